//! Files of each kind and what is refused in them.

use std::io::Write;

use arrow_array::{Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::civil::date;

use super::collect::parse_date;
use super::*;

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.to_owned(), bytes: Bytes::copy_from_slice(text.as_bytes()) }
}

fn read_text(name: &str, text: &str) -> Result<RawBars> {
    read(&file(name, text), &ReadOptions { field: "close".to_owned() })
}

fn refusal(name: &str, text: &str) -> String {
    read_text(name, text).expect_err("it is refused").to_string()
}

/// Symbol, day and values of each bar.
fn bars(raw: &RawBars) -> Vec<(String, Date, Vec<f64>)> {
    let values = raw.values.chunks(raw.fields.len());
    raw.rows
        .iter()
        .zip(values)
        .map(|(row, v)| (raw.symbols[row.symbol].clone(), row.date, v.to_vec()))
        .collect()
}

#[test]
fn a_wide_file_has_a_column_an_instrument() {
    let raw = read_text("w.csv", "Date,AAPL,LOW\n2020-01-02,1.5,\n2020-01-03,nan,2\n").expect("it is wide");
    assert_eq!(raw.fields, ["close"]);
    let expected =
        [("AAPL".to_owned(), date(2020, 1, 2), vec![1.5]), ("LOW".to_owned(), date(2020, 1, 3), vec![2.0])];
    assert_eq!(bars(&raw), expected);
    assert_eq!(raw.rows[1].line, 3);
}

#[test]
fn a_long_file_has_a_row_a_bar_whatever_its_columns_are_called() {
    for header in ["Date,Symbol,Close,Volume", "timestamp,TICKER,close,volume", "date,Name,Adj Close,VOLUME"]
    {
        let raw =
            read_text("l.csv", &format!("{header}\n20200102,A,1.5,10\n2020/01/03,A,1.25,\n")).expect(header);
        let mut columns = raw.fields.clone();
        columns.sort_unstable();
        assert_eq!(columns, ["close", "volume"]);
        let close = raw.fields.iter().position(|field| field == "close").expect("it has a close");
        assert_eq!(raw.values[close], 1.5);
        assert!(raw.values[2 + (1 - close)].is_nan(), "an empty volume is missing");
    }
}

#[test]
fn a_file_of_one_instrument_is_named_after_it() {
    let raw = read_text("folder/NVDA.csv", "Date,Open,Close\n2020-01-02,1,2\n").expect("it is long");
    assert_eq!(bars(&raw), [("NVDA".to_owned(), date(2020, 1, 2), vec![1.0, 2.0])]);
}

#[test]
fn an_adjusted_close_scales_the_other_prices() {
    let text = "date,symbol,open,close,adj close,volume\n2020-01-02,A,8,10,5,100\n";
    let raw = read_text("a.csv", text).expect("it is long");
    assert_eq!(raw.fields, ["open", "close", "volume"]);
    assert_eq!(raw.values, [4.0, 5.0, 200.0]);
    assert_eq!(raw.notes, ["a.csv: prices are multiplied, and volume divided, by \"adj close\" / close"]);
}

#[test]
fn a_gzip_file_reads_like_its_text_and_a_broken_one_is_named() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(b"Date,AAPL\n2020-01-02,1.5\n").expect("memory takes it");
    let bytes = encoder.finish().expect("memory takes it");
    let packed =
        |bytes: &[u8]| SourceFile { name: "w.csv.gz".to_owned(), bytes: Bytes::copy_from_slice(bytes) };
    let options = ReadOptions { field: "close".to_owned() };
    assert_eq!(read(&packed(&bytes), &options).expect("it is sound").values, [1.5]);
    let error = read(&packed(&bytes[..bytes.len() - 9]), &options).expect_err("its end is gone").to_string();
    assert!(error.starts_with("cannot read w.csv.gz: it does not decompress"), "{error}");
}

fn parquet_file(batch: &RecordBatch) -> SourceFile {
    let mut writer =
        ::parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("it is plain");
    writer.write(batch).expect("memory takes it");
    SourceFile { name: "p.parquet".to_owned(), bytes: writer.into_inner().expect("memory takes it").into() }
}

fn batch(columns: Vec<(&str, arrow_array::ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).expect("the columns fit")
}

#[test]
fn parquet_files_of_other_writers_are_read() {
    const DAY_US: i64 = 86_400_000_000;
    let days = TimestampMicrosecondArray::from(vec![18_263 * DAY_US, 18_264 * DAY_US]);
    let options = ReadOptions { field: "close".to_owned() };
    let long = parquet_file(&batch(vec![
        ("close", std::sync::Arc::new(Float64Array::from(vec![Some(1.5), None]))),
        ("volume", std::sync::Arc::new(Int64Array::from(vec![7, 8]))),
        ("Name", std::sync::Arc::new(StringArray::from(vec!["A", "B"]))),
        ("date", std::sync::Arc::new(days.clone())),
    ]));
    let raw = read(&long, &options).expect("it is long");
    assert_eq!(raw.rows[1].date, date(2020, 1, 3));
    assert_eq!((raw.values[0], raw.values[1], raw.values[3]), (1.5, 7.0, 8.0));
    let within = TimestampMicrosecondArray::from(vec![18_263 * DAY_US, 18_263 * DAY_US + 1]);
    let intraday = parquet_file(&batch(vec![
        ("AAPL", std::sync::Arc::new(Float64Array::from(vec![1.0, 2.0]))),
        ("Date", std::sync::Arc::new(within)),
    ]));
    assert_eq!(
        read(&intraday, &options).expect_err("bars within a day").to_string(),
        "p.parquet, line 2, column \"Date\": \"2020-01-02T00:00:00.000001Z\" is a time within a day; only daily \
         bars are read"
    );
    let texts = parquet_file(&batch(vec![
        ("AAPL", std::sync::Arc::new(StringArray::from(vec!["1", "2"]))),
        ("Date", std::sync::Arc::new(days)),
    ]));
    assert!(
        read(&texts, &options)
            .is_err_and(|e| e.to_string().contains("column \"AAPL\": the column must hold numbers"))
    );
}

#[test]
fn damaged_parquet_is_refused() {
    let whole = parquet_file(&batch(vec![
        ("AAPL", std::sync::Arc::new(Float64Array::from(vec![1.0]))),
        ("Date", std::sync::Arc::new(StringArray::from(vec!["2020-01-02"]))),
    ]));
    let options = ReadOptions { field: "close".to_owned() };
    assert_eq!(read(&whole, &options).expect("it is sound").values, [1.0]);
    let cut = SourceFile { name: whole.name.clone(), bytes: whole.bytes.slice(..whole.bytes.len() / 2) };
    let error = read(&cut, &options).expect_err("half is gone").to_string();
    assert!(error.starts_with("cannot read p.parquet: it is not sound parquet"), "{error}");
}

#[test]
fn files_that_hold_no_table_of_bars_are_refused() {
    for (text, reason) in [
        ("a,b\n\0\0", "it is not text and of no known kind; known: parquet, csv (plain or gzip)"),
        ("", "it has 0 columns; 2 to 20000, separated by commas, are read"),
        ("Date;AAPL\n", "it has 1 columns; 2 to 20000, separated by commas, are read"),
        ("AAPL,MSFT\n1,2\n", "it has no date column; name one \"date\". columns: AAPL, MSFT"),
        ("Date,A,A\n", "column \"A\" occurs twice; rename or remove one"),
        ("Date,A\n", "it holds no bar"),
        ("Date,A\n2020-01-02,1,2\n", "line 2 has 3 cells, but the header has 2"),
        ("date,symbol,open\n", "it has no \"close\" column; columns: date, symbol, open"),
        (
            "date,symbol,closs,close\n",
            "unknown column \"closs\"; did you mean \"close\"? columns: date, symbol, open, high, low, close, adj \
             close, vwap, volume; rename or remove it",
        ),
        (
            "date,symbol,open,adj_close\n",
            "it has an adjusted close but no \"close\" to scale its other prices by; add it, or remove the other \
             prices",
        ),
    ] {
        assert_eq!(refusal("f.csv", text), format!("cannot read f.csv: {reason}"));
    }
}

#[test]
fn cells_that_cannot_be_are_named_with_line_and_column() {
    for (row, place, reason) in [
        ("31/12/2020,A,1,1", "column \"date\"", "\"31/12/2020\" is not a date; write it as 2020-01-31"),
        ("2020-02-30,A,1,1", "column \"date\"", "\"2020-02-30\" is not a date; write it as 2020-01-31"),
        ("2020-01-02,,1,1", "column \"symbol\"", "the symbol is empty"),
        ("2020-01-02,A,x,1", "column \"close\"", "\"x\" is not a number"),
        (
            "2020-01-02,A,0,1",
            "column \"close\"",
            "close 0 is not above 0; a price must be: correct it, or leave the cell empty if there was no trade",
        ),
        (
            "2020-01-02,A,inf,1",
            "column \"close\"",
            "close inf is not finite; correct it or leave the cell empty",
        ),
        (
            "2020-01-02,A,1,-1",
            "column \"volume\"",
            "volume -1 is below 0; correct it or leave the cell empty",
        ),
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
fn days_are_read_in_the_shapes_that_cannot_be_misread() {
    let day = date(2020, 1, 31);
    for text in [
        "2020-01-31",
        "2020/01/31",
        "20200131",
        " 2020-01-31 ",
        "2020-01-31 00:00:00",
        "2020-01-31T00:00:00Z",
        "2020-01-31 00:00:00+00:00",
    ] {
        assert_eq!(parse_date(text), Ok(day), "{text}");
    }
    for text in [
        "",
        "31.01.2020",
        "2020-1-31",
        "01/31/2020",
        "2020-01-31x",
        "2020-01",
        "12345678",
        "2020-01-31 10:00:00",
    ] {
        assert!(parse_date(text).is_err(), "{text}");
    }
}
