//! How the model came about: data, features and label, splits, training.

use super::{
    content::{Border, DataSection, Fact, FeatureSection, Report, TrainingSection},
    markup::Html,
    number, parts,
    parts::{Column, number_cell, text},
    plot::{Chart, Level, Line, Size, Spacing, XAxis, YAxis},
};

/// Lists of dates up to this long are written out.
const LISTED_DATES: usize = 12;

pub(super) fn data(report: &Report, page: &mut Html) {
    let data = &report.data;
    let mut body = Html::new();
    parts::facts(&mut body, &data_facts(data));
    if !data.quality.is_empty() {
        parts::heading(&mut body, "Quality");
        let columns = [Column::words("Check"), Column::numbers("Found"), Column::remarks("Remark")];
        let rows: Vec<Vec<Html>> = data
            .quality
            .iter()
            .map(|row| vec![text(&row.check), number_cell(&row.value), text(&row.remark)])
            .collect();
        parts::table(&mut body, &columns, &rows);
    }
    if !data.notes.is_empty() {
        parts::heading(&mut body, "Notes");
        body.raw("<ul>");
        for note in &data.notes {
            body.raw("<li>").text(note).raw("</li>");
        }
        body.raw("</ul>");
    }
    parts::section(page, "data", "Data", &body);
}

fn data_facts(data: &DataSection) -> Vec<Fact> {
    let mut facts = vec![
        Fact::new("Data set", &data.dataset),
        Fact::new("Source", &data.source),
        Fact::new(
            "Span",
            format!(
                "{} to {}, {}",
                data.first,
                data.last,
                number::counted(data.dates, "trading day", "trading days")
            ),
        ),
        Fact::new(
            "Universe",
            format!(
                "{}: {}",
                number::counted(data.universe.len(), "name", "names"),
                data.universe.join(", ")
            ),
        ),
    ];
    facts.extend(data.price_resolution.map(|step| Fact::new("Price resolution", number::plain(step))));
    facts.extend(
        data.zero_returns.map(|share| Fact::new("Daily returns of exactly 0", number::percent(share, 2))),
    );
    facts.extend(data.adjustment.as_ref().map(|how| Fact::new("Adjustment", how)));
    facts
}

pub(super) fn features(report: &Report, page: &mut Html) {
    let features = &report.features;
    let mut body = Html::new();
    parts::facts(&mut body, &feature_facts(features));
    let mut list = Html::new();
    let columns = [Column::words("Feature"), Column::words("Expression")];
    let rows: Vec<Vec<Html>> = features
        .included
        .iter()
        .map(|feature| vec![text(&feature.name), code(&feature.expression)])
        .collect();
    parts::table(&mut list, &columns, &rows);
    let summary =
        number::counted(features.included.len(), "feature in model order", "features in model order");
    parts::details(&mut body, summary, &list);
    if !features.left_out.is_empty() {
        let mut list = Html::new();
        let columns = [Column::words("Feature"), Column::words("Why it was left out")];
        let rows: Vec<Vec<Html>> =
            features.left_out.iter().map(|left| vec![text(&left.name), text(&left.reason)]).collect();
        parts::table(&mut list, &columns, &rows);
        let summary = number::counted(features.left_out.len(), "feature left out", "features left out");
        parts::details(&mut body, summary, &list);
    }
    parts::section(page, "features", "Features and label", &body);
}

fn feature_facts(features: &FeatureSection) -> Vec<Fact> {
    let cut = features.classes.map(|classes| {
        let classes = number::counted(classes, "class", "equal classes");
        Fact::new("Cut into", format!("{classes} per date; tied returns share their average rank"))
    });
    let facts = vec![
        Fact::new(
            "Features",
            format!("{} used, {} left out", features.included.len(), features.left_out.len()),
        ),
        Fact::new("Look-back", number::counted(features.lookback_bars, "bar", "bars")),
        Fact::new("Processors", features.processors.join("; then ")),
    ];
    [Fact::new("Label", &features.label)].into_iter().chain(cut).chain(facts).collect()
}

fn code(expression: &str) -> Html {
    let mut html = Html::new();
    html.raw("<code>").text(expression).raw("</code>");
    html
}

pub(super) fn splits(report: &Report, page: &mut Html) {
    let mut body = Html::new();
    parts::paragraph(
        &mut body,
        "Windows follow each other in time. At each border the last dates of the earlier window whose label would look \
         into the later one are purged, and the first dates of the later window are left out as a safety distance.",
    );
    let columns = [
        Column::words("Window"),
        Column::words("First date"),
        Column::words("Last date"),
        Column::numbers("Dates"),
        Column::numbers("Samples"),
    ];
    let windows = report.splits.windows.iter().map(|window| {
        vec![
            text(&window.name),
            text(window.first),
            text(window.last),
            text(number::count(window.dates)),
            text(number::count(window.rows)),
        ]
    });
    parts::table(&mut body, &columns, &windows.collect::<Vec<_>>());
    let columns = [
        Column::words("Border"),
        Column::words("Purged (label horizon)"),
        Column::words("Embargoed (safety distance)"),
    ];
    let borders: Vec<Vec<Html>> = report.splits.borders.iter().map(border_row).collect();
    parts::table(&mut body, &columns, &borders);
    parts::section(page, "splits", "Splits, purge and embargo", &body);
}

fn border_row(border: &Border) -> Vec<Html> {
    let list = |dates: &[jiff::civil::Date]| match dates {
        [] => "none".to_owned(),
        [.., last] if dates.len() > LISTED_DATES => {
            format!("{} from {} to {last}", number::counted(dates.len(), "date", "dates"), dates[0])
        }
        _ => {
            let names: Vec<String> = dates.iter().map(ToString::to_string).collect();
            format!("{}: {}", number::counted(dates.len(), "date", "dates"), names.join(", "))
        }
    };
    vec![text(&border.name), text(list(&border.purged)), text(list(&border.embargoed))]
}

pub(super) fn training(report: &Report, page: &mut Html) {
    let training = &report.training;
    let mut body = Html::new();
    parts::facts(&mut body, &training.settings);
    if !training.history.is_empty() {
        body.raw("<div class=\"pair\">");
        loss(report, &mut body);
        if training.history.iter().any(|epoch| epoch.accuracy.is_some()) {
            accuracy(report, &mut body);
        }
        body.raw("</div>");
        let mut list = Html::new();
        epochs(training, &mut list);
        parts::details(&mut body, "The same in numbers", &list);
    }
    parts::section(page, "training", "Training", &body);
}

fn loss(report: &Report, body: &mut Html) {
    let label = if report.test.classes.is_some() { "cross-entropy, nats" } else { "loss" };
    let y = YAxis { label, format: number::decimal, spacing: Spacing::Linear };
    let mut chart = curve("loss", report, y);
    let history = &report.training.history;
    chart.title = "Loss by epoch.".to_owned();
    chart.lines.extend(line("train", "s1", history.iter().map(|epoch| Some(epoch.loss))));
    chart.lines.extend(line("valid", "s2", history.iter().map(|epoch| epoch.valid_loss)));
    let guessing = |classes: &super::ClassSkill| Level { name: "guessing".to_owned(), value: classes.chance_log_loss };
    chart.levels.extend(report.test.classes.as_ref().map(guessing));
    chart.description = described(&chart, 4);
    parts::figure(body, &chart, "A validation loss that rises while the training loss falls is overfitting.");
}

fn accuracy(report: &Report, body: &mut Html) {
    let format = |value, decimals: usize| number::percent(value, decimals.saturating_sub(2));
    let y = YAxis { label: "accuracy", format, spacing: Spacing::Linear };
    let mut chart = curve("accuracy", report, y);
    let history = &report.training.history;
    chart.title = "Accuracy by epoch.".to_owned();
    chart.lines.extend(line("train", "s1", history.iter().map(|epoch| epoch.accuracy)));
    chart.lines.extend(line("valid", "s2", history.iter().map(|epoch| epoch.valid_accuracy)));
    let guessing = |classes: &super::ClassSkill| Level { name: "guessing".to_owned(), value: classes.chance_accuracy };
    chart.levels.extend(report.test.classes.as_ref().map(guessing));
    chart.description = described(&chart, 4);
    parts::figure(body, &chart, "The share of samples whose true class was the most probable one.");
}

fn curve(id: &'static str, report: &Report, y: YAxis) -> Chart {
    let count = report.training.history.len();
    Chart::new(id, Size::HALF, XAxis::Steps { count, label: "epoch" }, y)
}

fn line(name: &str, class: &'static str, values: impl Iterator<Item = Option<f64>>) -> Option<Line> {
    let points: Vec<(f64, f64)> =
        values.enumerate().map(|(epoch, value)| (epoch as f64 + 1.0, value.unwrap_or(f64::NAN))).collect();
    points.iter().any(|point| point.1.is_finite()).then(|| Line { name: name.to_owned(), class, points })
}

fn described(chart: &Chart, decimals: usize) -> String {
    let ends = chart.lines.iter().filter_map(|line| {
        let (first, last) = (line.points.first()?, line.points.last()?);
        Some(format!(
            "{} from {} to {}",
            line.name,
            number::decimal(first.1, decimals),
            number::decimal(last.1, decimals)
        ))
    });
    format!("{}.", ends.collect::<Vec<_>>().join("; "))
}

fn epochs(training: &TrainingSection, list: &mut Html) {
    let columns =
        ["Epoch", "Train loss", "Valid loss", "Train accuracy", "Valid accuracy"].map(Column::numbers);
    let loss = |value: f64| text(number::decimal(value, 4));
    let share = |value: f64| text(number::percent(value, 2));
    let rows = training.history.iter().enumerate().map(|(index, epoch)| {
        vec![
            text(index + 1),
            loss(epoch.loss),
            loss(epoch.valid_loss.unwrap_or(f64::NAN)),
            share(epoch.accuracy.unwrap_or(f64::NAN)),
            share(epoch.valid_accuracy.unwrap_or(f64::NAN)),
        ]
    });
    parts::narrow_table(list, &columns, &rows.collect::<Vec<_>>());
}
