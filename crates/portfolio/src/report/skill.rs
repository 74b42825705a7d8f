//! The section on skill: the metrics of the test window, the daily rank IC and its cumulative sum.

use jiff::civil::Date;

use super::{
    content::{Report, TestSection},
    markup::Html,
    number, parts,
    parts::{Column, number_cell, text},
    plot::{Band, Bar, Chart, Line, Size, Spacing, Strip, XAxis, YAxis, blocks, day_number, thin},
    reading,
};

/// Bars the eye can still tell apart in a wide chart.
const BARS: usize = 260;
/// Points of a line in a wide chart.
const POINTS: usize = 600;
/// Strips of a line chart that answer when pointed at.
const STRIPS: usize = 90;
/// About a quarter of a year of trading days.
const ROLLING_DAYS: usize = 63;

pub(super) fn section(report: &Report, page: &mut Html) {
    let test = &report.test;
    let mut body = Html::new();
    parts::paragraph(
        &mut body,
        format!(
            "{} to {}: {} the model never saw in training or model selection.",
            test.first,
            test.last,
            number::counted(test.rows, "sample", "samples")
        ),
    );
    metrics(test, &mut body);
    parts::paragraph(&mut body, reading::read_skill(test));
    if !test.daily_rank_ic.is_empty() {
        daily(test, &mut body);
        cumulative(test, &mut body);
    }
    parts::section(page, "skill", "Skill on unseen data", &body);
}

fn metrics(test: &TestSection, body: &mut Html) {
    let ic = &test.rank_ic;
    let row = |name: &str, value: String, chance: String, meaning: &str| {
        vec![text(name), number_cell(&value), number_cell(&chance), text(meaning)]
    };
    let mut rows = Vec::new();
    if let Some(classes) = &test.classes {
        rows.push(row(
            "Accuracy",
            number::percent(classes.accuracy, 2),
            number::percent(classes.chance_accuracy, 2),
            "share of samples whose true class was the most probable one",
        ));
        rows.push(row(
            "Log-loss, nats",
            number::decimal(classes.log_loss, 4),
            number::decimal(classes.chance_log_loss, 4),
            "mean of \u{2212}ln p(true class); lower is better; guessing gives ln(classes)",
        ));
    }
    if let Some(numbers) = &test.numbers {
        rows.push(row(
            "R\u{b2}",
            number::signed(numbers.r2, 4),
            number::decimal(0.0, 4),
            "share of the variance of the labels that the predictions explain; the mean explains none",
        ));
        rows.push(row(
            "Mean absolute error",
            number::decimal(numbers.mae, 4),
            number::NONE.to_owned(),
            "mean difference of prediction and label, without its sign",
        ));
    }
    rows.extend([
        row(
            "Mean daily rank IC",
            number::signed(ic.mean, 4),
            number::decimal(0.0, 4),
            "Spearman correlation of score and next return across names, per day",
        ),
        row(
            "Deviation of the daily rank IC",
            number::decimal(ic.std, 4),
            number::NONE.to_owned(),
            "sample standard deviation over days",
        ),
        row(
            "ICIR",
            number::signed(ic.icir, 3),
            number::decimal(0.0, 3),
            "mean over deviation of the daily rank IC",
        ),
        row(
            "t-statistic of the rank IC",
            number::signed(ic.t_statistic, 2),
            "|t| < 2".to_owned(),
            "ICIR \u{d7} \u{221a}days; days do not overlap, so they count as independent",
        ),
        row(
            "Days judged",
            number::count(ic.days),
            number::NONE.to_owned(),
            &match ic.skipped {
                0 => "no day was left out".to_owned(),
                n => format!("{} more left out: too few names or no variation", number::count(n)),
            },
        ),
    ]);
    let columns = [
        Column::words("Test metric"),
        Column::numbers("Model"),
        Column::numbers("Chance"),
        Column::remarks("What it is"),
    ];
    parts::table(body, &columns, &rows);
}

fn axis_of(days: &[(Date, f64)]) -> XAxis {
    let fallback = Date::ZERO;
    let first = days.first().map_or(fallback, |day| day.0);
    XAxis::Dates { first, last: days.last().map_or(fallback, |day| day.0) }
}

fn daily(test: &TestSection, body: &mut Html) {
    let days = &test.daily_rank_ic;
    let y = YAxis { label: "rank IC", format: number::decimal, spacing: Spacing::Linear };
    let mut chart = Chart::new("ic-daily", Size::WIDE, axis_of(days), y);
    chart.title = "Daily rank IC on the test window.".to_owned();
    let ranges = blocks(days.len(), BARS);
    let per_bar = ranges.first().map_or(1, |range| range.len());
    for range in ranges {
        chart.bars.extend(bar(&days[range]));
    }
    chart.lines.extend(rolling(days));
    chart.description = format!(
        "Bars of the rank correlation of score and return over {} days from {} to {}; the mean is {}.",
        days.len(),
        test.first,
        test.last,
        number::signed(test.rank_ic.mean, 4)
    );
    let blocks = match per_bar {
        1 => "One bar a day.".to_owned(),
        n => format!("Each bar is the mean of {n} consecutive test days."),
    };
    let caption = format!(
        "{blocks} The line is the mean of the last {ROLLING_DAYS} days. Bars above zero are days on which names with a \
         higher score earned more."
    );
    parts::figure(body, &chart, caption);
}

fn bar(block: &[(Date, f64)]) -> Option<Bar> {
    let (first, last) = (block.first()?.0, block.last()?.0);
    let known: Vec<f64> = block.iter().map(|day| day.1).filter(|value| value.is_finite()).collect();
    let value = known.iter().sum::<f64>() / known.len() as f64;
    let shown = number::signed(value, 3);
    let title = match block.len() {
        1 => format!("{first}: rank IC {shown}"),
        n => format!("{first} to {last}: mean rank IC {shown} over {n} days"),
    };
    Some(Bar {
        from: day_number(first),
        to: day_number(last) + 1.0,
        value,
        whisker: None,
        label: None,
        title,
    })
}

fn rolling(days: &[(Date, f64)]) -> Option<Line> {
    let mean = |window: &[(Date, f64)]| {
        let known: Vec<f64> = window.iter().map(|day| day.1).filter(|value| value.is_finite()).collect();
        known.iter().sum::<f64>() / known.len() as f64
    };
    let windows = days.windows(ROLLING_DAYS).filter(|_| days.len() >= 2 * ROLLING_DAYS);
    let points: Vec<(f64, f64)> =
        windows.filter_map(|window| window.last().map(|day| (day_number(day.0), mean(window)))).collect();
    (!points.is_empty()).then(|| Line {
        name: format!("{ROLLING_DAYS}-day mean"),
        class: "s0",
        points: thin(&points, POINTS),
    })
}

fn cumulative(test: &TestSection, body: &mut Html) {
    let days = &test.daily_rank_ic;
    let y = YAxis { label: "sum of daily rank IC", format: number::decimal, spacing: Spacing::Linear };
    let mut chart = Chart::new("ic-sum", Size::WIDE, axis_of(days), y);
    chart.title = "Cumulative rank IC against pure luck.".to_owned();
    let mut sum = 0.0;
    let points: Vec<(f64, f64)> = days
        .iter()
        .map(|(date, value)| {
            sum += if value.is_finite() { *value } else { 0.0 };
            (day_number(*date), sum)
        })
        .collect();
    let luck = |after: usize| 2.0 * test.rank_ic.std * (after as f64).sqrt();
    let every = days.len().div_ceil(120).max(1);
    let last = days.len() - 1;
    let edge = (0..days.len()).filter(|day| day % every == 0 || *day == last);
    if test.rank_ic.std.is_finite() {
        let points = edge.map(|day| (points[day].0, -luck(day + 1), luck(day + 1))).collect();
        chart.bands.push(Band { class: "band", points });
    }
    for range in blocks(days.len(), STRIPS) {
        let day = range.end - 1;
        let title = format!(
            "{}: sum {} after {} days; luck stays within \u{b1}{}",
            days[day].0,
            number::signed(points[day].1, 2),
            day + 1,
            number::decimal(luck(day + 1), 2)
        );
        chart.strips.push(Strip { from: points[range.start].0, to: points[day].0, title });
    }
    chart.description = format!("A line that ends at {} after {} days.", number::signed(sum, 2), days.len());
    chart.lines.push(Line { name: "cumulative".to_owned(), class: "s1", points: thin(&points, POINTS) });
    parts::figure(
        body,
        &chart,
        "The shaded cone is two standard deviations of the sum of as many days without any skill: a line that stays \
         inside it is what luck looks like, a line with skill leaves it upwards.",
    );
}
