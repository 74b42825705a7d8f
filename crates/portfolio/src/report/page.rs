//! The frame of the page: head, title, verdict, key figures, contents; then the sections in reading order.

use super::{
    closing,
    content::Report,
    making,
    markup::Html,
    number,
    parts::number_cell,
    reading::{Standing, read_t_statistic},
    skill, trading,
};
use crate::statistics::{annual_return, max_drawdown, sharpe};

const STYLE: &str = include_str!("style.css");

/// The parts of the page as the contents list them.
const CONTENTS: [(&str, &str); 11] = [
    ("skill", "Skill"),
    ("groups", "Score groups"),
    ("backtest", "Backtest"),
    ("predictions", "Predictions"),
    ("caveats", "Caveats"),
    ("data", "Data"),
    ("features", "Features"),
    ("splits", "Splits"),
    ("training", "Training"),
    ("provenance", "Provenance"),
    ("next", "Next"),
];

/// The whole page.
pub(super) fn render(report: &Report) -> String {
    let mut page = Html::new();
    head(report, &mut page);
    page.raw("<body><header class=\"top\">");
    title(report, &mut page);
    verdict(report, &mut page);
    tiles(report, &mut page);
    page.raw("</header><nav aria-label=\"Contents\"><ul>");
    for (id, name) in CONTENTS {
        page.raw("<li><a href=\"#").raw(id).raw("\">").raw(name).raw("</a></li>");
    }
    page.raw("</ul></nav><main>");
    skill::section(report, &mut page);
    trading::groups(report, &mut page);
    trading::backtest(report, &mut page);
    trading::predictions(report, &mut page);
    closing::caveats(report, &mut page);
    making::data(report, &mut page);
    making::features(report, &mut page);
    making::splits(report, &mut page);
    making::training(report, &mut page);
    closing::provenance(report, &mut page);
    closing::next(report, &mut page);
    page.raw("</main><footer><p>").text(&report.title).raw(" \u{b7} ").text(&report.created_at);
    page.raw("</p><p>Past returns, real or simulated, say little about future ones. Nothing on this page is investment ");
    page.raw("advice.</p></footer></body></html>\n");
    page.into_string()
}

fn head(report: &Report, page: &mut Html) {
    page.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    page.raw("<meta name=\"color-scheme\" content=\"light dark\">");
    page.raw("<meta http-equiv=\"Content-Security-Policy\" ");
    page.raw(
        "content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">",
    );
    page.raw("<title>").text(&report.title).raw("</title><style>").raw(STYLE).raw("</style></head>");
}

fn title(report: &Report, page: &mut Html) {
    page.raw("<p class=\"kicker\">Model report \u{b7} ")
        .text(&report.created_at)
        .raw("</p><h1>")
        .text(&report.title);
    page.raw("</h1><p class=\"subtitle\">").text(&report.subtitle).raw("</p>");
}

fn verdict(report: &Report, page: &mut Html) {
    let t = report.test.rank_ic.t_statistic;
    let standing = Standing::of(t);
    page.raw("<div class=\"verdict ")
        .raw(standing.class())
        .raw("\"><p class=\"badge\">")
        .raw(standing.words())
        .raw("</p>");
    for line in &report.verdict {
        page.raw("<p>").text(line).raw("</p>");
    }
    page.raw("<p class=\"reading\">").text(read_t_statistic(t)).raw("</p></div>");
}

/// The key figures: each with what it has to be compared with.
fn tiles(report: &Report, page: &mut Html) {
    let test = &report.test;
    page.raw("<div class=\"tiles\">");
    let ic = &test.rank_ic;
    let beside =
        format!("t = {}, {}", number::signed(ic.t_statistic, 2), number::counted(ic.days, "day", "days"));
    tile(page, "Mean daily rank IC", &number::signed(ic.mean, 4), &beside);
    if let Some(classes) = &test.classes {
        let beside = format!("guessing {}", number::percent(classes.chance_accuracy, 2));
        tile(page, "Accuracy", &number::percent(classes.accuracy, 2), &beside);
        let beside = format!("guessing {}", number::decimal(classes.chance_log_loss, 4));
        tile(page, "Log-loss", &number::decimal(classes.log_loss, 4), &beside);
    }
    if let Some(numbers) = &test.numbers {
        tile(page, "R\u{b2}", &number::signed(numbers.r2, 4), "the mean of the labels 0");
    }
    if let Some(section) = &report.backtest {
        let run = &section.backtest;
        let shown =
            |value: Option<f64>| value.map_or(number::NONE.to_owned(), |value| number::percent(value, 1));
        let beside = format!("before costs {}", shown(annual_return(&run.gross)));
        tile(page, "Long-short, a year", &shown(annual_return(&run.net)), &beside);
        let ratio =
            |value: Option<f64>| value.map_or(number::NONE.to_owned(), |value| number::decimal(value, 2));
        tile(
            page,
            "Sharpe ratio, net",
            &ratio(sharpe(&run.net)),
            &format!("gross {}", ratio(sharpe(&run.gross))),
        );
        let depth = shown(max_drawdown(&run.net).map(|worst| worst.depth));
        tile(page, "Deepest drawdown", &depth, "of the net value");
    }
    page.raw("</div>");
}

fn tile(page: &mut Html, name: &'static str, value: &str, beside: &str) {
    page.raw("<div class=\"tile\"><p class=\"name\">")
        .raw(name)
        .raw("</p><p class=\"value\">")
        .add(&number_cell(value));
    page.raw("</p><p class=\"beside\">").text(beside).raw("</p></div>");
}
