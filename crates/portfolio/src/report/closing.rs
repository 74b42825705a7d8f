//! What a reader must know before believing a number, how to get the same again, and what to do next.

use super::{
    content::{Caveat, Report},
    markup::Html,
    number, parts,
};

pub(super) fn caveats(report: &Report, page: &mut Html) {
    let mut body = Html::new();
    body.raw("<dl class=\"caveats\">");
    for caveat in standing_caveats(report).iter().chain(&report.caveats) {
        body.raw("<div><dt>").text(&caveat.title).raw("</dt><dd>").text(&caveat.text).raw("</dd></div>");
    }
    body.raw("</dl>");
    parts::section(page, "caveats", "What these numbers do not show", &body);
}

fn caveat(title: &str, text: String) -> Caveat {
    Caveat { title: title.to_owned(), text }
}

/// The caveats of every report, with the numbers of this one.
fn standing_caveats(report: &Report) -> Vec<Caveat> {
    let mut list = data_caveats(report);
    if let Some(section) = &report.backtest {
        let benchmark =
            section.benchmark.as_ref().map_or("a long-only index", |benchmark| benchmark.name.as_str());
        list.push(caveat(
            "Long-short against long-only",
            format!(
                "The backtest holds as much short as long, so its market exposure is near zero; {benchmark} is fully \
                 invested. A difference of their returns compares two different risks: read it beside beta and volatility."
            ),
        ));
        list.push(caveat(
            "Costs that are missing",
            format!(
                "{} basis points are charged on every purchase and sale. Not charged: fees for borrowing the names sold \
                 short, margin interest, market impact, and the spread in a crisis. Every trade is assumed to be done at \
                 the closing price.",
                number::plain(section.backtest.config.cost_bps)
            ),
        ));
    }
    list.push(caveat(
        "One window, one run",
        "Everything is measured on one test window with one seed. Another seed or another period moves the numbers; a \
         setting chosen because of this page makes its test window part of the training."
            .to_owned(),
    ));
    list
}

fn data_caveats(report: &Report) -> Vec<Caveat> {
    let data = &report.data;
    let (names, alive) = (data.universe.len(), data.alive_at_end);
    let share = if alive == names { format!("All {names}") } else { format!("{alive} of {names}") };
    let selection = caveat(
        "Names chosen with hindsight",
        format!(
            "{share} names of the universe still trade on the last day. A list that was drawn up afterwards leaves out \
             the companies that failed, merged or fell out of favour, so anything held long looks better than it was. \
             Long-short results suffer less, not nothing."
        ),
    );
    let resolution = match data.price_resolution {
        Some(step) => format!(
            "Prices are rounded to {}. Where prices are low, one such step is a large part of a day's return{}.",
            number::plain(step),
            match data.zero_returns {
                Some(share) =>
                    format!("; {} of all daily returns are exactly 0 and tie", number::percent(share, 1)),
                None => String::new(),
            }
        ),
        None => {
            "The resolution of the prices is not recorded; rounded prices make small returns coarse and ties \
                 frequent."
                .to_owned()
        }
    };
    let adjustment = match &data.adjustment {
        Some(how) => format!(
            "Prices are {how}: dividends and splits are worked into the past, so levels are not what was traded, a \
             past price changes with every later dividend, and tick sizes are not those of the day."
        ),
        None => "How prices were adjusted for splits and dividends is not recorded. Without adjustment a split looks \
                 like a loss and dividends are missing from returns."
            .to_owned(),
    };
    vec![selection, caveat("Price rounding", resolution), caveat("Adjusted prices", adjustment)]
}

pub(super) fn provenance(report: &Report, page: &mut Html) {
    let mut body = Html::new();
    parts::paragraph(
        &mut body,
        "The same data, pipeline, seed and version give the same model again on the same kind of processor.",
    );
    parts::facts(&mut body, &report.provenance);
    parts::section(page, "provenance", "Provenance", &body);
}

pub(super) fn next(report: &Report, page: &mut Html) {
    let mut body = Html::new();
    for command in &report.next {
        parts::heading(&mut body, &command.title);
        body.raw("<pre><code class=\"")
            .text(&command.language)
            .raw("\">")
            .text(&command.code)
            .raw("</code></pre>");
    }
    parts::section(page, "next", "What to do next", &body);
}
