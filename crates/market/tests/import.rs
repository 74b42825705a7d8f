//! Files to panels: merging, quality, and what is refused.

use jiff::civil::{Date, DateTime, date};
use market::dataset::{TableFile, TableKind};
use market::{AcceptJumps, Error, FindingKind, Import, ImportRequest, SourceFile, import};

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile::in_memory(name, text.as_bytes().to_vec())
}

fn request(files: Vec<SourceFile>) -> ImportRequest {
    ImportRequest::new(files, DateTime::constant(2024, 1, 1, 0, 0, 0, 0))
}

fn import_text(text: &str) -> Result<Import, Error> {
    import(None, request(vec![file("prices.csv", text)]))
}

#[test]
fn files_are_merged_by_date_and_symbol() {
    let stocks = file("stocks.csv", "Date,B,A\n2020-01-03,2,1\n2020-01-02,2,1\n");
    let index = file("index.csv", "date,symbol,close,volume\n2020-01-03,IDX,100,5\n");
    let imported = import(None, request(vec![stocks, index])).expect("they fit together");
    let panel = &imported.panel;
    assert_eq!(panel.instruments(), ["A", "B", "IDX"]);
    assert_eq!(panel.dates(), [date(2020, 1, 2), date(2020, 1, 3)]);
    assert_eq!(panel.field_names(), ["close", "volume"]);
    let close = panel.field("close").expect("it is there");
    assert_eq!((&close[..2], &close[3..]), (&[1.0, 2.0][..], &[1.0, 2.0, 100.0][..]));
    assert!(close[2].is_nan());
}

#[test]
fn quality_counts_gaps_repeats_and_jumps() {
    let text = "Date,A,B\n2020-01-02,10,\n2020-01-03,,5\n2020-01-06,10,5\n2020-01-07,16,5.1\n";
    let quality = import_text(text).expect("nothing is refused").quality;
    assert_eq!((quality.rows, quality.dates, quality.instruments), (6, 4, 2));
    assert_eq!((quality.first_date, quality.last_date), (date(2020, 1, 2), date(2020, 1, 7)));
    assert_eq!((quality.missing, quality.duplicates), (1, 0));
    assert!((quality.missing_pct - 100.0 / 7.0).abs() < 1e-12);
    assert_eq!(quality.zero_returns_pct, 50.0);
    let [jump] = &quality.suspicious_jumps[..] else { panic!("one jump, of A on the last day") };
    assert_eq!(
        (jump.symbol.as_str(), jump.date, jump.ratio, jump.split_like),
        ("A", date(2020, 1, 7), 1.6, false)
    );
    assert_eq!((quality.per_instrument[0].bars, quality.per_instrument[1].missing), (3, 0));
}

#[test]
fn a_bar_twice_with_other_values_is_refused_within_a_file_and_across() {
    let text = "date,symbol,close\n2020-01-02,A,1\n2020-01-03,A,1\n2020-01-02,A,2\n";
    assert_eq!(
        import_text(text).expect_err("line 4 contradicts line 2").to_string(),
        "A 2020-01-02 occurs twice with different values: prices.csv, line 2 and prices.csv, line 4; keep one of \
         the two rows"
    );
    let again = vec![file("a.csv", "Date,A\n2020-01-02,1\n"), file("b.csv", "Date,A\n2020-01-02,2\n")];
    assert_eq!(
        import(None, request(again)).expect_err("b contradicts a").to_string(),
        "A 2020-01-02 occurs twice with different values: a.csv, line 2 and b.csv, line 2; keep one of the two rows"
    );
    let same = vec![file("a.csv", "Date,A\n2020-01-02,1\n"), file("b.csv", "Date,A\n2020-01-02,1\n")];
    let quality = import(None, request(same)).expect("b repeats a").quality;
    assert_eq!((quality.rows, quality.duplicates), (1, 1));
}

const SPLIT: &str = "Date,A\n2020-01-02,100\n2020-01-03,101\n2020-01-06,50.2\n2020-01-07,50.5\n";

#[test]
fn a_split_like_jump_is_refused_with_the_way_out() {
    assert_eq!(
        import_text(SPLIT).expect_err("it halves").to_string(),
        "prices jump as in a split that they are not adjusted for: A 2020-01-06 times 0.4970 (near 1/2); import \
         adjusted prices, or keep them with --accept-jumps (acceptJumps=all over the network)"
    );
}

#[test]
fn a_split_like_jump_is_kept_where_it_is_accepted() {
    let with = |accept_jumps| {
        import(None, ImportRequest { accept_jumps, ..request(vec![file("prices.csv", SPLIT)]) })
    };
    let imported = with(AcceptJumps::All).expect("all are accepted");
    assert!(imported.quality.suspicious_jumps[0].split_like, "it is still reported");
    assert!(with(AcceptJumps::Listed(vec![("A".to_owned(), date(2020, 1, 6))])).is_ok());
    assert!(with(AcceptJumps::Listed(vec![("A".to_owned(), date(2020, 1, 7))])).is_err());
    assert!(with(AcceptJumps::Listed(vec![("B".to_owned(), date(2020, 1, 6))])).is_err());
}

#[test]
fn a_fall_that_is_no_whole_ratio_is_only_counted() {
    let text = "Date,A\n2000-09-27,49\n2000-09-28,53.5\n2000-09-29,25.75\n2000-10-02,24.25\n";
    let quality = import_text(text).expect("0.481 is not one half").quality;
    assert!(!quality.suspicious_jumps[0].split_like);
}

#[test]
fn no_file_and_no_bar_are_refused() {
    assert!(import(None, request(Vec::new())).is_err_and(|e| e.to_string().contains("no file")));
    assert!(import_text("Date,A\n2020-01-02,\n").is_err_and(|e| e.to_string().contains("holds no bar")));
}

#[test]
fn quality_names_contradictions_stale_runs_reused_names_and_missing_members() {
    let mut text = "date,symbol,open,high,low,close,volume\n".to_owned();
    text += "2020-01-01,A,5,4,3,4,10\n";
    for day in 2..8 {
        text += &format!("2020-01-{day:02},A,4,4,4,4,0\n");
    }
    // B is silent for 90 days and comes back at ten times the price; C fills the days between.
    text += "2020-01-01,B,1,1,1,1,5\n";
    for day in 0..90 {
        let date = date(2020, 2, 1).checked_add(jiff::ToSpan::days(day)).expect("it is a date");
        text += &format!("{date},C,{0},{0},{0},{0},5\n", 2.0 + 0.01 * day as f64);
    }
    text += "2020-06-01,B,10,10,10,10,5\n";
    let members =
        "symbol,from,to\nA,2020-01-01,2020-06-30\nGONE,2020-01-01,2020-02-01\nOLD,2010-01-01,2011-01-01\n";
    let calendar = "date\n2020-01-01\n2020-01-02\n2020-01-03\n";
    let mut request = ImportRequest { accept_jumps: AcceptJumps::All, ..request(vec![file("p.csv", &text)]) };
    request.tables = vec![
        TableFile { kind: TableKind::Members("top".to_owned()), file: file("m.csv", members) },
        TableFile { kind: TableKind::Calendar, file: file("c.csv", calendar) },
    ];
    let quality = import(None, request).expect("all is only counted").quality;
    assert_eq!((quality.ohlc_violations, quality.zero_volumes, quality.stale_runs), (1, 6, 1));
    assert_eq!((quality.ended_early, quality.outside_calendar), (2, 4 + 90 + 1));
    let [top] = &quality.survivorship[..] else { panic!("one universe: {:?}", quality.survivorship) };
    assert_eq!((top.members, top.without_prices, top.without_prices_pct), (2, 1, 50.0));
    assert_eq!(top.examples, ["GONE"]);
    let of = |kind| quality.findings.iter().find(|found| found.kind == kind).expect("it was found");
    assert_eq!(of(FindingKind::Ohlc).detail, "high 4 is below 5");
    assert_eq!(of(FindingKind::Stale).detail, "7 closes in a row at 4");
    assert!(of(FindingKind::TickerReuse).detail.contains("10.00 times the price"));
    assert_eq!(of(FindingKind::OutsideCalendar).symbol, "A");
}

#[test]
fn a_hole_in_all_of_the_data_is_said() {
    let rows = |first: Date, step: i64| -> String {
        let day = |i| first.checked_add(jiff::ToSpan::days(step * i)).expect("it is a date");
        (0..15).map(|i| format!("{},{}\n", day(i), 10.0 + 0.01 * i as f64)).collect()
    };
    let daily = format!("Date,A\n{}{}", rows(date(2017, 12, 15), 1), rows(date(2021, 1, 2), 1));
    let notes = import_text(&daily).expect("it is sound").quality.notes;
    assert_eq!(notes, ["no instrument has a bar between 2017-12-29 and 2021-01-02, 1100 days apart"]);
    let monthly = format!("Date,A\n{}{}", rows(date(2018, 1, 1), 30), rows(date(2019, 4, 1), 30));
    assert!(import_text(&monthly).expect("it is sound").quality.notes.is_empty(), "its usual distance");
}

#[test]
fn tables_that_lack_a_column_or_hold_nonsense_are_refused() {
    let with = |kind, text: &str| {
        let tables = vec![TableFile { kind, file: file("t.csv", text) }];
        let request =
            ImportRequest { tables, ..request(vec![file("p.csv", "date,symbol,close\n2020-01-02,A,1\n")]) };
        import(None, request).map(|_| ()).expect_err("it is refused").to_string()
    };
    assert_eq!(
        with(TableKind::Actions, "symbol,date\nA,2020-01-02\n"),
        "cannot read t.csv: it lacks unknown column \"split\"; columns: symbol, date"
    );
    assert!(with(TableKind::Actions, "symbol,date,split\nA,2020-01-02,-2\n").contains("the split of A"));
    assert!(
        with(TableKind::Actions, "symbol,date,split\nA,someday,2\n")
            .contains("t.csv, line 2, column \"date\"")
    );
    assert!(
        with(TableKind::Points, "symbol,period,published\nA,2020,2020-02-01\n")
            .contains("no column of values")
    );
    assert!(
        with(TableKind::Members("Top 5".to_owned()), "symbol,from\nA,2020-01-01\n")
            .contains("cannot be the name")
    );
    assert!(with(TableKind::Calendar, "date\n").contains("holds no row"));
}
