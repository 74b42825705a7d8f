//! Comma-separated text, plain or compressed with gzip.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use jiff::civil::Date;

use super::collect::{Collector, Row, parse_date};
use super::layout::detect;
use super::{RawBars, ReadOptions, Source, SourceFile, unreadable};
use crate::Result;

/// More text than this, after decompression, is refused: 1 GiB.
const MAX_TEXT_BYTES: u64 = 1 << 30;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// What stands for a value that is not there.
const MISSING: [&str; 7] = ["", "nan", "na", "n/a", "null", "none", "-"];

pub(super) struct CsvSource;

impl Source for CsvSource {
    fn name(&self) -> &'static str {
        "csv (plain or gzip)"
    }

    fn recognises(&self, file: &SourceFile) -> bool {
        const LOOKED_AT: usize = 4096;
        let head = &file.bytes[..file.bytes.len().min(LOOKED_AT)];
        head.starts_with(&GZIP_MAGIC) || !head.contains(&0)
    }

    fn read(&self, file: &SourceFile, options: &ReadOptions) -> Result<RawBars> {
        if file.bytes.starts_with(&GZIP_MAGIC) {
            let mut text = Vec::new();
            let mut limited = MultiGzDecoder::new(&file.bytes[..]).take(MAX_TEXT_BYTES + 1);
            limited
                .read_to_end(&mut text)
                .map_err(|error| unreadable(file, format!("it does not decompress: {error}")))?;
            return read_text(file, &text, options);
        }
        read_text(file, &file.bytes, options)
    }
}

fn read_text(file: &SourceFile, text: &[u8], options: &ReadOptions) -> Result<RawBars> {
    if text.len() as u64 > MAX_TEXT_BYTES {
        return Err(unreadable(
            file,
            format!("it has more than the limit of {MAX_TEXT_BYTES} bytes of text"),
        ));
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut reader = ::csv::ReaderBuilder::new().trim(::csv::Trim::All).from_reader(text);
    let broken = |error: ::csv::Error| unreadable(file, describe(&error));
    let headers: Vec<String> = reader.headers().map_err(broken)?.iter().map(str::to_owned).collect();
    let layout = detect(file, &headers)?;
    let mut collector = Collector::new(file, &headers, &layout, options)?;
    let mut record = ::csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(broken)? {
        let line = record.position().map_or(0, ::csv::Position::line);
        collector.push(line, &record)?;
    }
    collector.finish()
}

impl Row for ::csv::StringRecord {
    fn date(&self, column: usize) -> Result<Date, String> {
        parse_date(&self[column])
    }

    fn text(&self, column: usize) -> Result<&str, String> {
        Ok(&self[column])
    }

    fn number(&self, column: usize) -> Result<f64, String> {
        let cell = &self[column];
        if let Ok(value) = cell.parse() {
            return Ok(value);
        }
        if MISSING.iter().any(|missing| missing.eq_ignore_ascii_case(cell)) {
            return Ok(f64::NAN);
        }
        Err(format!("\"{cell}\" is not a number"))
    }
}

fn describe(error: &::csv::Error) -> String {
    let line = error.position().map_or(0, ::csv::Position::line);
    match error.kind() {
        ::csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("line {line} has {len} cells, but the header has {expected_len}")
        }
        ::csv::ErrorKind::Utf8 { .. } => format!("line {line} is not UTF-8 text"),
        _ => error.to_string(),
    }
}
