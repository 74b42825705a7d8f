//! Files of each kind, what is repaired and what is refused in them.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::civil::{Date, date, datetime};

use super::*;
use crate::civil_time::{civil, micros};

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile::in_memory(name, text.as_bytes().to_vec())
}

fn read_text(name: &str, text: &str) -> Result<Bars> {
    read_bars(&[file(name, text)], &ReadOptions::default())
}

fn refusal(name: &str, text: &str) -> String {
    read_text(name, text).expect_err("it is refused").to_string()
}

/// Symbol, day and values of each bar.
fn rows(bars: &Bars) -> Vec<(String, Date, Vec<f64>)> {
    (0..bars.times.len())
        .map(|row| {
            let day = civil(bars.times[row]).expect("it was a time").date();
            let values = bars.columns.iter().map(|column| column[row]).collect();
            (bars.symbols[bars.symbol_of[row] as usize].clone(), day, values)
        })
        .collect()
}

#[test]
fn a_wide_file_has_a_column_an_instrument() {
    let bars = read_text("w.csv", "Date,AAPL,LOW\n2020-01-02,1.5,\n2020-01-03,nan,2\n").expect("it is wide");
    assert_eq!(bars.fields, ["close"]);
    let expected =
        [("AAPL".to_owned(), date(2020, 1, 2), vec![1.5]), ("LOW".to_owned(), date(2020, 1, 3), vec![2.0])];
    assert_eq!(rows(&bars), expected);
    assert!(bars.daily);
}

#[test]
fn a_long_file_has_a_row_a_bar_whatever_its_vendor_calls_its_columns() {
    for header in [
        "Date,Symbol,Close,Volume",
        "timestamp,TICKER,close,volume",
        "date,Name,Last,VOLUME",
        "<DATE>,<TICKER>,<CLOSE>,<VOL>",
        "datetime,instrument,$close,$volume",
        "Trade Date,Code,Price,Vol.",
    ] {
        let text = format!("{header}\n20200102,A,1.5,10\n2020/01/03,A,1.25,\n");
        let bars = read_text("l.csv", &text).expect(header);
        assert_eq!(bars.fields, ["close", "volume"], "{header}");
        assert_eq!(bars.columns[0], [1.5, 1.25]);
        assert!(bars.columns[1][1].is_nan(), "an empty volume is missing");
    }
    let letters = "t,o,h,l,c,v,vw,n\n2020-01-02T05:00:00Z,1,2,0.5,1.5,10,1.2,3\n";
    let new_york = ReadOptions { time_zone: Some("America/New_York".to_owned()), ..ReadOptions::default() };
    let bars = read_bars(&[file("AAPL.csv", letters)], &new_york).expect("an interface's bars");
    assert_eq!(bars.fields, ["close", "high", "low", "open", "trades", "volume", "vwap"]);
    assert_eq!((bars.daily, bars.symbols[0].as_str()), (true, "AAPL"));
    let flat = "ticker,volume,open,close,high,low,window_start,transactions\nAAPL,9,1,1.5,2,0.5,1577941200000000000,3\n";
    let bars = read_bars(&[file("2020-01-02.csv", flat)], &new_york).expect("a day's file of all");
    assert_eq!(bars.fields, ["close", "high", "low", "open", "trades", "volume"]);
    assert_eq!(rows(&bars)[0].1, date(2020, 1, 2), "nanoseconds of its midnight there");
}

#[test]
fn a_file_of_one_instrument_is_named_after_it_and_files_may_order_columns_as_they_like() {
    let one = file("folder/NVDA.csv", "Date,Open,Close\n2020-01-02,1,2\n");
    let two = file("folder/AMD.csv", "Close,Date,Open\n4,2020-01-02,3\n");
    let bars = read_bars(&[one, two], &ReadOptions::default()).expect("they are long");
    let day = date(2020, 1, 2);
    assert_eq!(
        rows(&bars),
        [("AMD".to_owned(), day, vec![4.0, 3.0]), ("NVDA".to_owned(), day, vec![2.0, 1.0])]
    );
}

#[test]
fn the_user_says_what_a_column_holds() {
    let text = "when,who,last trade,flow,junk\n2020-01-02,A,10,-3.5,x\n";
    let columns =
        [("when", "date"), ("who", "symbol"), ("Last Trade", "close"), ("flow", "flow"), ("junk", "ignore")];
    let columns: BTreeMap<String, String> =
        columns.iter().map(|(header, meaning)| ((*header).to_owned(), (*meaning).to_owned())).collect();
    let options = ReadOptions { columns, ..ReadOptions::default() };
    let bars = read_bars(&[file("f.csv", text)], &options).expect("all is said");
    assert_eq!(bars.fields, ["close", "flow"]);
    assert_eq!((bars.columns[0][0], bars.columns[1][0]), (10.0, -3.5), "a field of one's own is any number");
    assert_eq!(bars.notes, ["f.csv: nothing is made of junk"]);
}

#[test]
fn an_adjusted_close_is_kept_as_a_factor_beside_the_prices_as_traded() {
    let text = "date,symbol,open,close,adj close,volume\n2020-01-02,A,8,10,5,100\n";
    let bars = read_text("a.csv", text).expect("it is long");
    assert_eq!(bars.fields, ["close", "factor", "open", "volume"]);
    assert_eq!(rows(&bars)[0].2, [10.0, 0.5, 8.0, 100.0]);
    assert_eq!(bars.adjusted, Adjusted::FactorColumn);
    let alone = read_text("a.csv", "date,symbol,adj close\n2020-01-02,A,5\n").expect("it is long");
    assert_eq!((alone.adjusted, &alone.fields[..]), (Adjusted::BackAdjusted, &["close".to_owned()][..]));
}

#[test]
fn compressed_files_read_like_their_text_and_truncated_ones_are_named() {
    let text = b"Date,AAPL\n2020-01-02,1.5\n";
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text).expect("memory takes it");
    let packed = [
        ("w.csv.gz", gzip.finish().expect("memory takes it"), 9),
        ("w.csv.zst", zstd::encode_all(&text[..], 1).expect("memory takes it"), 4),
    ];
    for (name, bytes, cut) in packed {
        let options = ReadOptions::default();
        let whole = SourceFile::in_memory(name, bytes.clone());
        assert_eq!(read_bars(&[whole], &options).expect("it is sound").columns, [[1.5]]);
        let part = SourceFile::in_memory(name, bytes[..bytes.len() - cut].to_vec());
        let error = read_bars(&[part], &options).expect_err("its end is gone").to_string();
        assert!(error.starts_with(&format!("cannot read {name}: it does not decompress")), "{error}");
    }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).expect("the columns fit")
}

fn parquet_file(batch: &RecordBatch) -> SourceFile {
    let mut writer =
        ::parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("it is plain");
    writer.write(batch).expect("memory takes it");
    SourceFile::in_memory("p.parquet", writer.into_inner().expect("memory takes it"))
}

fn arrow_stream(batch: &RecordBatch) -> Vec<u8> {
    let mut writer =
        arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).expect("it is plain");
    writer.write(batch).expect("memory takes it");
    writer.into_inner().expect("memory takes it")
}

const DAY_US: i64 = 86_400_000_000;

fn long_batch() -> RecordBatch {
    batch(vec![
        ("close", Arc::new(Float64Array::from(vec![Some(1.5), None]))),
        ("volume", Arc::new(Int64Array::from(vec![7, 8]))),
        ("Name", Arc::new(StringArray::from(vec!["A", "B"]))),
        ("date", Arc::new(TimestampMicrosecondArray::from(vec![18_263 * DAY_US, 18_264 * DAY_US]))),
    ])
}

#[test]
fn parquet_and_arrow_files_of_other_writers_are_read() {
    let streamed = SourceFile::in_memory("p.arrows", arrow_stream(&long_batch()));
    for file in [parquet_file(&long_batch()), streamed] {
        let bars = read_bars(&[file], &ReadOptions::default()).expect("it is long");
        let found = rows(&bars);
        assert_eq!((found[1].1, &found[0].2[..], found[1].2[1]), (date(2020, 1, 3), &[1.5, 7.0][..], 8.0));
    }
}

#[test]
fn an_instant_of_a_parquet_file_is_brought_to_the_zone() {
    let instants =
        TimestampMicrosecondArray::from(vec![18_263 * DAY_US + 5 * 3_600_000_000]).with_timezone("UTC");
    let columns: Vec<(&str, ArrayRef)> =
        vec![("date", Arc::new(instants)), ("close", Arc::new(Float64Array::from(vec![1.0])))];
    let options = ReadOptions { time_zone: Some("America/New_York".to_owned()), ..ReadOptions::default() };
    let bars = read_bars(&[parquet_file(&batch(columns))], &options).expect("it is daily there");
    assert_eq!((bars.daily, rows(&bars)[0].1), (true, date(2020, 1, 2)));
}

#[test]
fn damaged_binary_files_are_refused() {
    for bytes in
        [parquet_file(&long_batch()).whole().expect("in memory").to_vec(), arrow_stream(&long_batch())]
    {
        let half = SourceFile::in_memory("d", bytes[..bytes.len() / 2].to_vec());
        let error = read_bars(&[half], &ReadOptions::default()).expect_err("half is gone").to_string();
        assert!(error.starts_with("cannot read d: it is not sound "), "{error}");
    }
}

#[test]
fn files_that_hold_no_table_of_bars_are_refused() {
    for (text, reason) in [
        (
            "a,b\n\0\0",
            "it is not text and of no known kind; known: parquet, arrow, csv (plain, gzip or zstd)",
        ),
        ("", "it has 0 columns; 2 to 20000, separated by commas, semicolons, tabs or |, are read"),
        ("Date AAPL\n", "it has 1 columns; 2 to 20000, separated by commas, semicolons, tabs or |, are read"),
        (
            "AAPL,MSFT\n1,2\n",
            "it has no date column; name one \"date\", or say which it is with --column NAME=date. columns: AAPL, \
             MSFT",
        ),
        ("Date,A,A\n", "column \"A\" occurs twice; rename or remove one"),
        ("Date,A\n", "it holds no bar"),
        ("Date,A\n2020-01-02,1,2\n", "line 2 has 3 cells, but the header has 2"),
        ("date,symbol,open\n", "it has no \"close\" column; columns: date, symbol, open"),
        (
            "date,symbol,closs,close\n",
            "unknown column \"closs\"; did you mean \"close\"? columns: date, time, symbol, open, high, low, close, \
             adj close, vwap, volume, factor, trades; say what it holds with --column \"closs=MEANING\" (date, \
             time, symbol, open, high, low, close, adj_close, vwap, volume, factor, ignore, or a name of your own)",
        ),
        (
            "date,symbol,close,Price\n",
            "columns \"close\" and \"Price\" both hold close; ignore one with --column \"Price=ignore\"",
        ),
        (
            "date,symbol,open,adj_close\n",
            "it has an adjusted close but no \"close\" to scale its other prices by; add it, or remove the other \
             prices",
        ),
        ("PK\u{3}\u{4}rest\n", "it is a zip archive; unpack it, or compress the file with gzip or zstd"),
    ] {
        assert_eq!(refusal("f.csv", text), format!("cannot read f.csv: {reason}"));
    }
    let utf16 = SourceFile::in_memory("u.csv", b"\xff\xfed\0a\0t\0e\0".to_vec());
    let error = read_bars(&[utf16], &ReadOptions::default()).expect_err("it is not UTF-8").to_string();
    assert_eq!(error, "cannot read u.csv: it is UTF-16 text; save it as UTF-8");
}

#[test]
fn cells_that_cannot_be_are_named_with_line_and_column() {
    let not_a_date = "is not a date; write it as 2020-01-31, or say how it is written with --date-format";
    for (row, place, reason) in [
        ("soon,A,1,1", "column \"date\"", format!("\"soon\" {not_a_date}")),
        ("2020-02-30,A,1,1", "column \"date\"", format!("\"2020-02-30\" {not_a_date}")),
        ("2020-01-02,,1,1", "column \"symbol\"", "the symbol is empty".to_owned()),
        ("2020-01-02,A,x,1", "column \"close\"", "\"x\" is not a number".to_owned()),
        (
            "2020-01-02,A,\"1,5\",1",
            "column \"close\"",
            "\"1,5\" is not a number; if the comma is its decimal sign, say --decimal comma".to_owned(),
        ),
        (
            "2020-01-02,A,0,1",
            "column \"close\"",
            "close 0 is not above 0; a price must be: correct it, or leave the cell empty if there was no trade"
                .to_owned(),
        ),
        ("2020-01-02,A,inf,1", "column \"close\"", "close inf is not finite; correct it or leave the cell empty".to_owned()),
        ("2020-01-02,A,1,-1", "column \"volume\"", "volume -1 is below 0; correct it or leave the cell empty".to_owned()),
    ] {
        let text = format!("date,symbol,close,volume\n2020-01-01,A,1,0\n{row}\n");
        assert_eq!(refusal("f.csv", &text), format!("f.csv, line 3, {place}: {reason}"));
    }
    assert!(
        refusal("w.csv", "Date,AAPL\n2020-01-02,-3\n")
            .starts_with("w.csv, line 2, column \"AAPL\": close -3 is")
    );
}

#[test]
fn what_real_files_do_is_repaired_and_counted_or_refused() {
    let text = "\u{feff}\"Date\",\"Symbol\",\"Close\",\"Volume\"\r\n\r\n2020-01-03,A,\"1,234.50\",1.2M\n\
                2020-01-02,A,$1200,N/A\r2020-01-06,A,,\n2020-01-02,A,$1200,N/A\n\n";
    let bars = read_text("real.csv", text).expect("all of it can be repaired");
    assert_eq!(
        rows(&bars).iter().map(|row| row.2[0]).collect::<Vec<_>>(),
        [1200.0, 1234.5],
        "in order, without repeats and empty rows"
    );
    let expected = Repairs {
        thousands_separators: 1,
        currency_signs: 2,
        magnitudes: 1,
        missing_words: 2,
        empty_rows: 1,
        out_of_order: 2,
        repeated_rows: 1,
    };
    assert_eq!(bars.repairs, expected);
    assert_eq!(bars.columns[1][1], 1.2e6);
    let comma = ReadOptions { decimal: Decimal::Comma, ..ReadOptions::default() };
    let european = file("eu.csv", "Datum;Schluss\n31.01.2020;1.234,5\n").name;
    let text = "date;close\n31.01.2020;1.234,5\n";
    let bars = read_bars(&[file(&european, text)], &comma).expect("said to be so");
    assert_eq!(rows(&bars), [("eu".to_owned(), date(2020, 1, 31), vec![1234.5])]);
}

#[test]
fn a_line_without_end_is_refused_in_bounded_memory() {
    let endless = format!("date,close\n2020-01-02,{}\n", "1".repeat(3 << 20));
    let error = refusal("long.csv", &endless);
    assert!(error.contains("is longer than the limit of 1048576 bytes"), "{error}");
    let quoted = format!("date,close\n2020-01-02,\"{}", "1\n".repeat(1 << 20));
    assert!(refusal("open.csv", &quoted).contains("the end of a quote"), "a quote that is never closed");
}

#[test]
fn the_other_dates_of_a_file_tell_day_from_month() {
    let days = |text: &str| {
        read_text("d.csv", text).map(|bars| rows(&bars).iter().map(|row| row.1).collect::<Vec<_>>())
    };
    let us = days("date,close\n01/02/2020,1\n01/31/2020,2\n").expect("31 is no month");
    assert_eq!(us, [date(2020, 1, 2), date(2020, 1, 31)]);
    let eu = days("date,close\n01/02/2020,1\n31/01/2020,2\n").expect("31 is no month");
    assert_eq!(eu, [date(2020, 1, 31), date(2020, 2, 1)]);
    let error = days("date,close\n01/02/2020,1\n").expect_err("it could be either").to_string();
    assert!(error.contains("month/day/year or day/month/year; say which with --date-format"), "{error}");
    assert!(days("date,close\n13/02/2020,1\n02/13/2020,1\n").is_err());
    let said = ReadOptions { date_format: Some("%d/%m/%Y".to_owned()), ..ReadOptions::default() };
    let bars = read_bars(&[file("d.csv", "date,close\n01/02/2020,1\n")], &said).expect("it is said");
    assert_eq!(rows(&bars)[0].1, date(2020, 2, 1));
}

#[test]
fn bars_within_the_day_are_told_from_daily_ones() {
    let minutes = "date,time,close\n2020-01-02,09:30:00,1\n2020-01-02,09:31:00,2\n";
    let bars = read_text("A.csv", minutes).expect("two bars in a day");
    assert!(!bars.daily);
    assert_eq!(bars.times[1], micros(datetime(2020, 1, 2, 9, 31, 0, 0)));
    let slashed = "date,time,close\n1/31/2020,09:30,1\n2/3/2020,09:30,2\n2/3/2020,09:31,3\n";
    let bars = read_text("A.csv", slashed).expect("31 is no month");
    assert_eq!(bars.times[2], micros(datetime(2020, 2, 3, 9, 31, 0, 0)));
    let closing = "date,close\n2020-01-02T21:00:00Z,1\n2020-01-03T21:00:00Z,2\n";
    let error = refusal("A.csv", closing);
    assert!(error.contains("one bar a day") && error.contains("--time-zone"), "{error}");
    let zone = ReadOptions { time_zone: Some("America/New_York".to_owned()), ..ReadOptions::default() };
    let bars = read_bars(&[file("A.csv", closing)], &zone).expect("16:00 in New York");
    assert!(bars.daily && bars.notes[0].contains("times of day"), "{:?}", bars.notes);
    let mixed = [file("A.csv", minutes), file("B.csv", "date,close\n2020-01-02,1\n2020-01-03,2\n")];
    let error = read_bars(&mixed, &ReadOptions::default()).expect_err("daily and not").to_string();
    assert!(error.contains("B has daily bars where others have bars within the day"), "{error}");
}

#[test]
fn files_must_agree_on_how_they_are_adjusted() {
    let files = [
        file("A.csv", "date,close,adj close\n2020-01-02,2,1\n"),
        file("B.csv", "date,close\n2020-01-02,1\n"),
    ];
    let error = read_bars(&files, &ReadOptions::default()).expect_err("they differ").to_string();
    assert!(error.starts_with("A.csv and B.csv deal differently with splits and dividends"), "{error}");
}
