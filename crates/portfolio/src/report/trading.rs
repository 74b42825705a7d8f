//! What the scores were worth: group returns, the long-short backtest, the newest predictions.

use jiff::civil::Date;

use super::{
    content::{BacktestSection, PredictionRow, PredictionSection, Report},
    markup::Html,
    number, parts,
    parts::{Column, number_cell, text},
    plot::{Band, Bar, Chart, Level, Line, Size, Spacing, Strip, XAxis, YAxis, blocks, day_number, thin},
    reading,
};
use crate::{
    GroupReturn,
    backtest::Backtest,
    statistics::{Statistics, drawdowns, equity, total_return},
};

const POINTS: usize = 600;
const STRIPS: usize = 90;
/// The ratio of highest to lowest value from which the value chart has a logarithmic axis.
const LOGARITHMIC_FROM: f64 = 3.0;
const BASIS_POINTS: f64 = 10_000.0;

pub(super) fn groups(report: &Report, page: &mut Html) {
    let mut body = Html::new();
    if report.groups.is_empty() {
        parts::paragraph(&mut body, "No group returns were computed.");
    } else {
        parts::figure(
            &mut body,
            &group_chart(&report.groups),
            "Each day the names are ranked by score and cut into groups of equal size; whiskers are one standard error \
             of the mean over days. Without skill the bars differ by no more than their whiskers suggest; with skill \
             they climb from left to right. Before costs.",
        );
    }
    parts::section(page, "groups", "Return by score group", &body);
}

fn group_chart(groups: &[GroupReturn]) -> Chart {
    let names = groups.iter().map(|group| (group.group + 1).to_string()).collect();
    let x = XAxis::Slots { names, label: "score group, lowest to highest" };
    let y =
        YAxis { label: "mean return, basis points a day", format: number::decimal, spacing: Spacing::Linear };
    let mut chart = Chart::new("groups-plot", Size::WIDE, x, y);
    chart.title = "Mean daily return of each score group.".to_owned();
    chart.bars = groups.iter().enumerate().map(|(slot, group)| group_bar(slot, group)).collect();
    let ends = |group: Option<&GroupReturn>| {
        number::decimal(group.and_then(|group| group.mean).unwrap_or(f64::NAN) * BASIS_POINTS, 1)
    };
    let (low, high) = (ends(groups.first()), ends(groups.last()));
    chart.description = format!(
        "{} bars; the lowest group earned {low}, the highest {high} basis points a day.",
        groups.len()
    );
    chart
}

fn group_bar(slot: usize, group: &GroupReturn) -> Bar {
    let value = group.mean.unwrap_or(f64::NAN) * BASIS_POINTS;
    let error = group.standard_error.map(|error| error * BASIS_POINTS);
    let spread = error.map_or(String::new(), |error| format!(" \u{b1} {}", number::decimal(error, 1)));
    let days = number::counted(group.days, "day", "days");
    Bar {
        from: slot as f64 + 0.2,
        to: slot as f64 + 0.8,
        value,
        whisker: error,
        label: Some(number::decimal(value, 1)),
        title: format!(
            "group {}: {}{spread} basis points a day over {days}",
            group.group + 1,
            number::decimal(value, 1)
        ),
    }
}

pub(super) fn backtest(report: &Report, page: &mut Html) {
    let mut body = Html::new();
    match &report.backtest {
        None => parts::paragraph(&mut body, "No backtest was run."),
        Some(section) => run(&Run::of(section), report, &mut body),
    }
    parts::section(page, "backtest", "Long-short backtest", &body);
}

/// A backtest with the benchmark that fits it.
struct Run<'a> {
    test: &'a Backtest,
    /// Name and returns; absent if there is none or it does not fit.
    benchmark: Option<(&'a str, &'a [f64])>,
    /// Said when a benchmark was given and does not fit.
    complaint: Option<String>,
}

impl<'a> Run<'a> {
    fn of(section: &'a BacktestSection) -> Run<'a> {
        let test = &section.backtest;
        let given = section
            .benchmark
            .as_ref()
            .map(|benchmark| (benchmark.name.as_str(), benchmark.returns.as_slice()));
        let benchmark = given.filter(|(_, returns)| returns.len() == test.net.len());
        let complaint = given.filter(|_| benchmark.is_none()).map(|(name, returns)| {
            format!(
                "{name} is left out: it has {} returns where the backtest has {} days.",
                returns.len(),
                test.net.len()
            )
        });
        Run { test, benchmark, complaint }
    }

    /// The series that are drawn and tabulated: name, class, returns without gaps.
    fn series(&self) -> Vec<(String, &'static str, Vec<f64>)> {
        let mut list = vec![
            ("net of costs".to_owned(), "s1", self.test.net.clone()),
            ("before costs".to_owned(), "s2", self.test.gross.clone()),
        ];
        if let Some((name, returns)) = self.benchmark {
            list.push((name.to_owned(), "s3", without_gaps(returns)));
        }
        list.push(("equal-weight names".to_owned(), "s4", self.test.universe.clone()));
        list
    }

    fn axis(&self) -> XAxis {
        let dates = &self.test.dates;
        let first = dates.first().copied().unwrap_or(Date::ZERO);
        XAxis::Dates { first, last: dates.last().copied().unwrap_or(first) }
    }
}

/// A missing return is drawn as no move.
fn without_gaps(returns: &[f64]) -> Vec<f64> {
    returns.iter().map(|value| if value.is_nan() { 0.0 } else { *value }).collect()
}

fn run(run: &Run, report: &Report, body: &mut Html) {
    let test = run.test;
    parts::paragraph(
        body,
        format!(
            "Each day after the close the names are ranked by score. The top 1/{n} is bought with the whole equity in \
             equal parts, the bottom 1/{n} is sold short for as much; trades are done at the next close and earn until \
             the close after it. Every traded value, drift and the first purchase included, costs {} basis points.",
            number::plain(test.config.cost_bps),
            n = test.config.groups
        ),
    );
    let net = Statistics::of_backtest(test, run.benchmark.map(|(_, returns)| returns)).unwrap_or_default();
    parts::paragraph(body, read_result(&net, test));
    if let Some(complaint) = &run.complaint {
        parts::remark(body, complaint);
    }
    value_figure(run, body);
    drawdown_figure(run, &net, body);
    statistics_table(run, &net, body);
    years_table(run, report, body);
    irregular(test, body);
}

fn read_result(net: &Statistics, test: &Backtest) -> String {
    let percent = |value: Option<f64>| number::percent(value.unwrap_or(f64::NAN), 1);
    let gross = Statistics::of_returns(&test.gross);
    let t = gross.t_statistic.unwrap_or(f64::NAN);
    let break_even = net.break_even_cost_bps.unwrap_or(f64::NAN);
    let earns = if break_even > 0.0 {
        format!("It would break even at {} basis points.", number::decimal(break_even, 2))
    } else {
        "It would not earn anything even if trading were free.".to_owned()
    };
    format!(
        "Before costs the portfolio made {} a year, after costs {}. It trades {} times its equity a day, which costs {} \
         of the equity a year. {earns} {}",
        percent(gross.annual_return),
        percent(net.annual_return),
        number::decimal(net.mean_turnover.unwrap_or(f64::NAN), 2),
        percent(net.annual_cost),
        reading::read_t_statistic(t).replace("the result is", "the mean daily return before costs is"),
    )
}

fn value_figure(run: &Run, body: &mut Html) {
    let paths: Vec<(String, &'static str, Vec<f64>)> = run
        .series()
        .into_iter()
        .filter_map(|(name, class, returns)| Some((name, class, equity(&returns)?)))
        .collect();
    let all = || paths.iter().flat_map(|path| &path.2).copied().chain([1.0]);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    let wide = low > 0.0 && high / low > LOGARITHMIC_FROM;
    let (label, spacing) = match wide {
        true => ("value of 1 invested (logarithmic)", Spacing::Logarithmic),
        false => ("value of 1 invested", Spacing::Linear),
    };
    let y = YAxis { label, format: number::decimal, spacing };
    let mut chart = Chart::new("value", Size::WIDE, run.axis(), y);
    chart.title = "Value of 1 invested.".to_owned();
    let days: Vec<f64> = run.test.dates.iter().map(|date| day_number(*date)).collect();
    for (name, class, path) in &paths {
        let start = days.first().map(|day| (*day, 1.0));
        let points: Vec<(f64, f64)> =
            start.into_iter().chain(days.iter().copied().zip(path.iter().copied())).collect();
        chart.lines.push(Line { name: name.clone(), class, points: thin(&points, POINTS) });
    }
    chart.levels.push(Level { name: String::new(), value: 1.0 });
    for range in blocks(days.len(), STRIPS) {
        let day = range.end - 1;
        let values = paths.iter().map(|(name, _, path)| format!("{name} {}", number::decimal(path[day], 3)));
        let title = format!("{}: {}", run.test.dates[day], values.collect::<Vec<_>>().join(", "));
        chart.strips.push(Strip { from: days[range.start], to: days[day], title });
    }
    let ends = paths
        .iter()
        .filter_map(|(name, _, path)| Some(format!("{name} {}", number::decimal(*path.last()?, 2))));
    chart.description = format!("Ends at: {}.", ends.collect::<Vec<_>>().join(", "));
    parts::figure(
        body,
        &chart,
        "Compounded daily. The long-short portfolio is drawn with and without costs; the others are long only, without \
         costs. Equal-weight names is the mean of all names of the universe: it shares their hindsight selection.",
    );
}

fn drawdown_figure(run: &Run, net: &Statistics, body: &mut Html) {
    let Some(path) = drawdowns(&run.test.net) else { return };
    let format = |value, decimals: usize| number::percent(value, decimals.saturating_sub(2));
    let y = YAxis { label: "drawdown, net of costs", format, spacing: Spacing::Linear };
    let mut chart = Chart::new("drawdown", Size::LOW, run.axis(), y);
    chart.title = "Drawdown: the fall from the highest value so far.".to_owned();
    let days: Vec<f64> = run.test.dates.iter().map(|date| day_number(*date)).collect();
    let points: Vec<(f64, f64)> =
        thin(&days.iter().copied().zip(path.iter().copied()).collect::<Vec<_>>(), POINTS);
    chart
        .bands
        .push(Band { class: "area", points: points.iter().map(|(day, fall)| (*day, *fall, 0.0)).collect() });
    chart.lines.push(Line { name: "net of costs".to_owned(), class: "s1", points });
    for range in blocks(days.len(), STRIPS) {
        let day = range.end - 1;
        let title = format!("{}: {} below the peak", run.test.dates[day], number::percent(-path[day], 1));
        chart.strips.push(Strip { from: days[range.start], to: days[day], title });
    }
    let worst = net.max_drawdown;
    let when =
        |index: Option<usize>| index.map_or("the start".to_owned(), |day| run.test.dates[day].to_string());
    let caption = match worst.filter(|worst| worst.trough.is_some()) {
        Some(worst) => format!(
            "Deepest fall: {}, from {} to {}.",
            number::percent(worst.depth, 1),
            when(worst.peak),
            when(worst.trough)
        ),
        None => "The value never fell.".to_owned(),
    };
    chart.description.clone_from(&caption);
    parts::figure(body, &chart, caption);
}

/// A row of the statistics table: its name, how a value is written, its value, its formula.
type StatisticRow = (&'static str, fn(f64) -> String, fn(&Statistics) -> Option<f64>, &'static str);

const STATISTICS: [StatisticRow; 13] = [
    ("Total return", percent, |s| s.total_return, "\u{220f}(1 + r) \u{2212} 1"),
    ("Annual return", percent, |s| s.annual_return, "\u{220f}(1 + r)^(252 / days) \u{2212} 1"),
    ("Volatility, a year", percent, |s| s.volatility, "std(r) \u{221a}252"),
    ("Sharpe ratio", two, |s| s.sharpe, "mean(r) / std(r) \u{221a}252, risk-free rate 0"),
    ("t-statistic of the mean", two, |s| s.t_statistic, "mean(r) / std(r) \u{221a}days; |t| < 2 is chance"),
    (
        "Deepest drawdown",
        percent,
        |s| s.max_drawdown.map(|worst| worst.depth),
        "lowest value / highest value before \u{2212} 1",
    ),
    ("Days with a gain", percent, |s| s.hit_rate, "share of days with r > 0"),
    ("Beta", two, |s| s.beta, "cov(r, benchmark) / var(benchmark)"),
    ("Alpha, a year", percent, |s| s.alpha, "(mean(r) \u{2212} beta mean(benchmark)) 252"),
    ("Excess, a year", percent, |s| s.excess_return, "annual return \u{2212} the benchmark\u{2019}s"),
    ("Turnover, a day", two, |s| s.mean_turnover, "purchases + sales, times equity"),
    ("Cost, a year", percent, |s| s.annual_cost, "mean daily cost \u{d7} 252"),
    ("Break-even cost, bp", two, |s| s.break_even_cost_bps, "mean gross return / mean turnover"),
];

fn percent(value: f64) -> String {
    number::percent(value, 1)
}

fn two(value: f64) -> String {
    number::decimal(value, 2)
}

fn statistics_table(run: &Run, net: &Statistics, body: &mut Html) {
    let mut columns = vec![
        Column::words("Statistic"),
        Column::numbers("Long-short, net"),
        Column::numbers("Long-short, gross"),
    ];
    let mut series = vec![*net, against(&run.test.gross, run.benchmark)];
    if let Some((name, returns)) = run.benchmark {
        columns.push(Column::numbers(name));
        series.push(Statistics::of_returns(&without_gaps(returns)));
    }
    columns.push(Column::numbers("Equal-weight names"));
    series.push(against(&run.test.universe, run.benchmark));
    columns.push(Column::remarks("How it is computed"));
    let rows: Vec<Vec<Html>> = STATISTICS
        .iter()
        .map(|(name, write, value, formula)| {
            let cells =
                series.iter().map(|statistics| number_cell(&write(value(statistics).unwrap_or(f64::NAN))));
            [text(name)].into_iter().chain(cells).chain([text(formula)]).collect()
        })
        .collect();
    parts::heading(body, "Statistics");
    parts::table(body, &columns, &rows);
    let against = run
        .benchmark
        .map_or(String::new(), |(name, _)| format!(" Beta, alpha and excess are against {name}."));
    parts::remark(body, format!("{} of daily returns.{against}", number::counted(net.days, "day", "days")));
}

fn against(returns: &[f64], benchmark: Option<(&str, &[f64])>) -> Statistics {
    let compared = benchmark.and_then(|(_, benchmark)| Statistics::against(returns, benchmark).ok());
    compared.unwrap_or_else(|| Statistics::of_returns(returns))
}

/// One row a calendar year: whether a result comes from one good year alone.
fn years_table(run: &Run, report: &Report, body: &mut Html) {
    let mut columns = vec![Column::words("Year")];
    columns.extend(["Days", "Long-short, net", "Long-short, gross"].map(Column::numbers));
    columns.extend(run.benchmark.map(|(name, _)| Column::numbers(name)));
    columns.extend(["Equal-weight names", "Mean rank IC"].map(Column::numbers));
    let test = run.test;
    let mut rows = Vec::new();
    for year in test.dates.chunk_by(|a, b| a.year() == b.year()) {
        let Some(first) = year.first() else { continue };
        let start = test.dates.partition_point(|date| date < first);
        let range = start..start + year.len();
        let value = |series: &[f64]| {
            number_cell(&percent(total_return(&without_gaps(&series[range.clone()])).unwrap_or(f64::NAN)))
        };
        let mut row =
            vec![text(first.year()), text(number::count(year.len())), value(&test.net), value(&test.gross)];
        row.extend(run.benchmark.map(|(_, returns)| value(returns)));
        row.push(value(&test.universe));
        row.push(number_cell(&number::decimal(mean_rank_ic(report, first.year()), 4)));
        rows.push(row);
    }
    parts::heading(body, "Year by year");
    parts::table(body, &columns, &rows);
}

fn mean_rank_ic(report: &Report, year: i16) -> f64 {
    let days = report.test.daily_rank_ic.iter().filter(|day| day.0.year() == year && day.1.is_finite());
    let values: Vec<f64> = days.map(|day| day.1).collect();
    values.iter().sum::<f64>() / values.len() as f64
}

fn irregular(test: &Backtest, body: &mut Html) {
    let found = &test.irregular;
    let counts = [
        (
            found.too_few_names,
            "dates had fewer scored names than groups: nothing was traded and the holding was kept",
        ),
        (found.no_returns, "dates have no return yet and are left out"),
        (found.missing_returns, "held names had no return on a day and count as earning nothing"),
        (found.ties, "dates had equal scores at the edge of a traded group: the order of the names decided"),
    ];
    let said: Vec<String> = counts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{} {what}", number::count(*n)))
        .collect();
    if !said.is_empty() {
        parts::remark(body, format!("Irregular: {}.", said.join("; ")));
    }
    if let Some(day) = test.ruined_on {
        parts::remark(body, format!("The portfolio lost its whole equity on {day}; the series ends there."));
    }
}

pub(super) fn predictions(report: &Report, page: &mut Html) {
    let mut body = Html::new();
    match &report.predictions {
        None => parts::paragraph(&mut body, "Nothing was predicted."),
        Some(section) => predicted(section, &mut body),
    }
    parts::section(page, "predictions", "Predictions for the newest date", &body);
}

fn predicted(section: &PredictionSection, body: &mut Html) {
    let from = format!("From bars up to {}, answered by {}.", section.as_of, section.answered_by);
    let score = match section.chance {
        Some(chance) => format!(
            "The score is the expected class; chance gives each class a probability of {}, marked by the thin lines.",
            number::percent(chance, 1)
        ),
        None => "The score is the predicted number.".to_owned(),
    };
    parts::paragraph(body, format!("{from} {score}"));
    for warning in &section.warnings {
        parts::remark(body, warning);
    }
    let mut columns = vec![Column::numbers("Rank"), Column::words("Symbol"), Column::numbers("Score")];
    if section.chance.is_some() {
        columns.extend([
            Column::numbers("P(bottom)"),
            Column::drawings("bottom | top"),
            Column::numbers("P(top)"),
        ]);
    }
    let mut rows: Vec<&PredictionRow> = section.rows.iter().collect();
    rows.sort_by(|a, b| a.rank.cmp(&b.rank).then_with(|| a.symbol.cmp(&b.symbol)));
    let values = section.rows.iter().flat_map(|row| [row.top, row.bottom]).filter(|value| value.is_finite());
    let most = values.fold(section.chance.unwrap_or_default(), f64::max);
    let cells = rows.iter().map(|row| {
        // Classes are whole numbers apart, returns are not.
        let decimals = if section.chance.is_some() { 3 } else { 5 };
        let mut cells =
            vec![text(row.rank), text(&row.symbol), text(number::decimal(row.score, decimals))];
        if let Some(chance) = section.chance {
            cells.push(text(number::percent(row.bottom, 1)));
            cells.push(tails(row, chance, most));
            cells.push(text(number::percent(row.top, 1)));
        }
        cells
    });
    parts::narrow_table(body, &columns, &cells.collect::<Vec<_>>());
}

/// The two tail probabilities as bars to the left and to the right of a middle line.
fn tails(row: &PredictionRow, chance: f64, most: f64) -> Html {
    const HALF: f64 = 90.0;
    let length = |value: f64| {
        if value.is_finite() && most > 0.0 { (value / most).clamp(0.0, 1.0) * (HALF - 1.0) } else { 0.0 }
    };
    let (left, right, mark) = (length(row.bottom), length(row.top), length(chance));
    let mut svg = Html::new();
    svg.raw("<svg class=\"tails\" viewBox=\"0 0 180 14\" role=\"img\"><title>")
        .text(&row.symbol)
        .raw(": bottom ");
    svg.text(number::percent(row.bottom, 1)).raw(", top ").text(number::percent(row.top, 1)).raw("</title>");
    svg.raw("<rect class=\"down\" x=\"")
        .px(HALF - left)
        .raw("\" y=\"3\" width=\"")
        .px(left)
        .raw("\" height=\"8\"/>");
    svg.raw("<rect class=\"up\" x=\"").px(HALF).raw("\" y=\"3\" width=\"").px(right).raw("\" height=\"8\"/>");
    svg.raw("<path class=\"zero\" d=\"M90 0V14\"/><path class=\"mark\" d=\"M").px(HALF - mark).raw(" 1V13M");
    svg.px(HALF + mark).raw(" 1V13\"/></svg>");
    svg
}
