//! Files to panels: merging, quality, and what is refused.

use bytes::Bytes;
use jiff::civil::date;
use market::{AcceptJumps, Error, Import, ImportOptions, SourceFile, import};

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.to_owned(), bytes: Bytes::copy_from_slice(text.as_bytes()) }
}

fn import_text(text: &str) -> Result<Import, Error> {
    import(&[file("prices.csv", text)], &ImportOptions::default())
}

#[test]
fn files_are_merged_by_date_and_symbol() {
    let stocks = file("stocks.csv", "Date,B,A\n2020-01-03,2,1\n2020-01-02,2,1\n");
    let index = file("index.csv", "date,symbol,close,volume\n2020-01-03,IDX,100,5\n");
    let imported = import(&[stocks, index], &ImportOptions::default()).expect("they fit together");
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
fn the_same_symbol_and_date_twice_is_refused_within_a_file_and_across() {
    let text = "date,symbol,close\n2020-01-02,A,1\n2020-01-03,A,1\n2020-01-02,A,1\n";
    assert_eq!(
        import_text(text).expect_err("line 4 repeats line 2").to_string(),
        "A 2020-01-02 occurs twice: prices.csv, line 2 and prices.csv, line 4; keep one of the two rows"
    );
    let again = [file("a.csv", "Date,A\n2020-01-02,1\n"), file("b.csv", "Date,A\n2020-01-02,1\n")];
    assert_eq!(
        import(&again, &ImportOptions::default()).expect_err("b repeats a").to_string(),
        "A 2020-01-02 occurs twice: a.csv, line 2 and b.csv, line 2; keep one of the two rows"
    );
}

const SPLIT: &str = "Date,A\n2020-01-02,100\n2020-01-03,101\n2020-01-06,50.2\n2020-01-07,50.5\n";

#[test]
fn a_split_like_jump_is_refused_with_the_way_out() {
    assert_eq!(
        import_text(SPLIT).expect_err("it halves").to_string(),
        "prices jump as in a split that they are not adjusted for: A 2020-01-06 times 0.4970 (near 1/2); import \
         adjusted prices, or pass --accept-jumps to keep them"
    );
}

#[test]
fn a_split_like_jump_is_kept_where_it_is_accepted() {
    let with = |accept_jumps| {
        let options = ImportOptions { accept_jumps, ..ImportOptions::default() };
        import(&[file("prices.csv", SPLIT)], &options)
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
    assert!(import(&[], &ImportOptions::default()).is_err_and(|e| e.to_string().contains("no file")));
    assert!(import_text("Date,A\n2020-01-02,\n").is_err_and(|e| e.to_string().contains("holds no bar")));
}
