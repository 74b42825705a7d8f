//! The page as a reader's browser gets it: complete, closed to the outside, safe against hostile names.

mod sample;

use portfolio::report::{Report, html};
use sample::{Market, report};

fn page(days: usize) -> String {
    html(&report(&Market::new(days, 0.0), "AAPL"))
}

/// The page without what a user pastes and without the style sheet.
fn without_code(page: &str) -> String {
    let mut rest = page;
    let mut kept = String::new();
    while let Some(start) = rest.find("<pre>") {
        kept.push_str(&rest[..start]);
        rest = rest[start..].split_once("</pre>").expect("a closed code block").1;
    }
    kept + rest
}

#[test]
fn every_section_is_there_and_linked_from_the_contents() {
    let page = page(300);
    for id in [
        "skill",
        "groups",
        "backtest",
        "predictions",
        "caveats",
        "data",
        "features",
        "splits",
        "training",
        "provenance",
        "next",
    ] {
        assert_eq!(page.matches(&format!("<section id=\"{id}\">")).count(), 1, "{id}");
        assert!(page.contains(&format!("href=\"#{id}\"")), "{id}");
    }
    for plot in ["ic-daily", "ic-sum", "groups-plot", "value", "drawdown", "loss", "accuracy"] {
        assert_eq!(page.matches(&format!("<title id=\"{plot}-t\">")).count(), 1, "{plot}");
        assert_eq!(page.matches(&format!("<desc id=\"{plot}-d\">")).count(), 1, "{plot}");
    }
}

#[test]
fn says_what_the_issue_of_honesty_asks_for() {
    let page = page(300);
    for words in [
        "indistinguishable from chance",
        "Names chosen with hindsight",
        "All 20 names",
        "rounded to 0.001",
        "back-adjusted by their source",
        "Long-short against long-only",
        "borrowing the names sold short",
        "sha256:1f0c7a52",
        "Purged (label horizon)",
        "Break-even cost",
        "bellwether serve",
    ] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn a_hostile_name_stays_text_everywhere() {
    let hostile = "<script>alert(1)</script>\"'&";
    let market = Market::new(300, 0.0);
    let mut report = report(&market, hostile);
    report.title = hostile.to_owned();
    report.verdict = vec![hostile.to_owned()];
    report.data.notes = vec![hostile.to_owned()];
    report.features.included[0].expression = hostile.to_owned();
    report.next[0].code = hostile.to_owned();
    report.next[0].language = hostile.to_owned();
    if let Some(benchmark) = report.backtest.as_mut().and_then(|section| section.benchmark.as_mut()) {
        benchmark.name = hostile.to_owned();
    }
    let page = html(&report);
    assert!(!page.contains("<script"), "markup got through");
    assert!(!page.contains("\"'&\""), "an attribute was left");
    assert!(page.matches("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;").count() >= 10);
    assert_balanced(&page);
}

#[test]
fn nothing_points_outside() {
    let page = without_code(&page(300));
    for mark in ["http:", "https:", "url(", "@import", "src=", "<script", "<link", "javascript:"] {
        assert!(!page.contains(mark), "{mark}");
    }
    assert!(page.contains("default-src 'none'"));
    let links = page.split("href=\"").skip(1);
    assert!(links.clone().count() > 0 && links.clone().all(|link| link.starts_with('#')));
}

#[test]
fn every_element_is_closed_in_order() {
    assert_balanced(&page(300));
}

/// Walks the tags: every one that is not void is closed by its own name, in order.
fn assert_balanced(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let body = page.split_once("<html").expect("an html element").1;
    for piece in body.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').unwrap_or_else(|| panic!("an open tag: {piece}"));
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        if ["meta", "br"].contains(&name) || tag.ends_with('/') {
            continue;
        }
        if tag.starts_with('/') {
            if name != "html" {
                assert_eq!(open.pop(), Some(name), "closing {name}");
            }
        } else {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
}

#[test]
fn ids_are_unique() {
    let page = page(300);
    let mut ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[test]
fn the_page_of_a_long_span_stays_small_and_of_any_span_is_the_same_twice() {
    let long = page(8313);
    assert!(long.len() < 600_000, "{} bytes", long.len());
    assert_eq!(page(300), page(300));
}

#[test]
fn numbers_that_are_not_defined_never_show_as_nan() {
    let mut report = report(&Market::new(40, 0.0), "AAPL");
    report.test.rank_ic.t_statistic = f64::NAN;
    report.test.classes.as_mut().unwrap().log_loss = f64::INFINITY;
    report.test.daily_rank_ic[3].1 = f64::NAN;
    report.training.history[2].loss = f64::NAN;
    report.groups[1].mean = None;
    if let Some(benchmark) = report.backtest.as_mut().and_then(|section| section.benchmark.as_mut()) {
        benchmark.returns[5] = f64::NAN;
    }
    let page = html(&report);
    assert!(!page.contains("NaN") && !page.contains("inf<") && !page.contains(">inf"));
    assert!(page.contains("Too little data to judge"));
}

#[test]
fn a_benchmark_that_does_not_fit_is_left_out_and_said_so() {
    let mut report = report(&Market::new(40, 0.0), "AAPL");
    if let Some(benchmark) = report.backtest.as_mut().and_then(|section| section.benchmark.as_mut()) {
        benchmark.returns.pop();
    }
    assert!(
        html(&report).contains("S&amp;P 500 is left out: it has 39 returns where the backtest has 40 days.")
    );
}

#[test]
fn the_smallest_report_is_a_whole_page() {
    let full = report(&Market::new(1, 0.0), "AAPL");
    let small = Report {
        verdict: Vec::new(),
        groups: Vec::new(),
        backtest: None,
        predictions: None,
        provenance: Vec::new(),
        next: Vec::new(),
        ..full
    };
    let page = html(&small);
    assert!(page.contains("No backtest was run.") && page.contains("Nothing was predicted."));
    assert_balanced(&page);
}

#[test]
fn skill_is_read_as_skill() {
    let page = html(&report(&Market::new(600, 0.3), "AAPL"));
    assert!(page.contains("Unlikely to be chance alone") && page.contains("class=\"verdict good\""));
}
