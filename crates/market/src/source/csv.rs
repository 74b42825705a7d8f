//! Text with a delimiter, plain or compressed with gzip or zstd, read as a stream.

use std::io::{Cursor, Read};

use super::number::{self, Repairs};
use super::time::Moment;
use super::{Cells, Row, Sink, Source, SourceFile};
use crate::Result;

const LOOKED_AT_BYTES: u64 = 4096;
/// The csv reader asks for so much at once; less than a line may have.
const BUFFER_BYTES: usize = 32 << 10;
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
const UTF8_MARK: &str = "\u{feff}";

pub(super) struct CsvSource;

impl Source for CsvSource {
    fn name(&self) -> &'static str {
        "csv (plain, gzip or zstd)"
    }

    fn recognises(&self, head: &[u8]) -> bool {
        SourceFile::is_compressed(head) || is_utf16(head) || !head.contains(&0)
    }

    fn rows(&self, file: &SourceFile, head: &[u8], cells: Cells<'_>, sink: &mut dyn Sink) -> Result<()> {
        let mut reader = open(file, head)?;
        let broken = |error: ::csv::Error| file.unreadable(describe(&error));
        sink.headers(&headers(reader.headers().map_err(broken)?))?;
        let mut record = ::csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(broken)? {
            let line = record.position().map_or(0, ::csv::Position::line);
            sink.row(line, &TextRow { record: &record, cells })?;
        }
        Ok(())
    }
}

/// A reader of records, by the delimiter of the first line.
fn open(file: &SourceFile, head: &[u8]) -> Result<::csv::Reader<impl Read + use<>>> {
    let mut text = file.text(head)?;
    let mut first = Vec::new();
    text.by_ref()
        .take(LOOKED_AT_BYTES)
        .read_to_end(&mut first)
        .map_err(|error| file.unreadable(unpacked(&error)))?;
    if is_utf16(&first) {
        return Err(file.unreadable("it is UTF-16 text; save it as UTF-8"));
    }
    if first.starts_with(b"PK\x03\x04") {
        return Err(file.unreadable("it is a zip archive; unpack it, or compress the file with gzip or zstd"));
    }
    Ok(::csv::ReaderBuilder::new()
        .delimiter(delimiter(&first))
        .buffer_capacity(BUFFER_BYTES)
        .from_reader(Cursor::new(first).chain(text)))
}

/// The names of the columns.
fn headers(read: &::csv::StringRecord) -> Vec<String> {
    let mut headers: Vec<String> = read.iter().map(|header| header.trim().to_owned()).collect();
    if let Some(first) = headers.first_mut()
        && let Some(rest) = first.strip_prefix(UTF8_MARK)
    {
        *first = rest.trim().trim_matches('"').to_owned();
    }
    headers
}

/// The delimiter that the first line has most of, outside quotes.
fn delimiter(head: &[u8]) -> u8 {
    let line = head.split(|byte| *byte == b'\n' || *byte == b'\r').find(|line| !line.is_empty());
    let mut counts = [0usize; DELIMITERS.len()];
    let mut quoted = false;
    for byte in line.unwrap_or_default() {
        quoted ^= *byte == b'"';
        if let Some(at) = DELIMITERS.iter().position(|delimiter| delimiter == byte).filter(|_| !quoted) {
            counts[at] += 1;
        }
    }
    let most = (0..DELIMITERS.len()).rev().max_by_key(|at| counts[*at]).unwrap_or(0);
    DELIMITERS[most]
}

fn is_utf16(head: &[u8]) -> bool {
    head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff])
}

struct TextRow<'a> {
    record: &'a ::csv::StringRecord,
    cells: Cells<'a>,
}

impl Row for TextRow<'_> {
    fn moment(&self, column: usize) -> Result<Moment, String> {
        self.cells.times.text(&self.record[column])
    }

    fn text(&self, column: usize) -> Result<&str, String> {
        Ok(&self.record[column])
    }

    fn number(&self, column: usize, repairs: &mut Repairs) -> Result<f64, String> {
        number::parse(self.record[column].trim_ascii(), self.cells.decimal, repairs)
    }
}

/// What is wrong with a text, in words.
fn describe(error: &::csv::Error) -> String {
    let line = error.position().map_or(0, ::csv::Position::line);
    match error.kind() {
        ::csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("line {line} has {len} cells, but the header has {expected_len}")
        }
        ::csv::ErrorKind::Utf8 { .. } => format!("line {line} is not UTF-8 text"),
        ::csv::ErrorKind::Io(error) => unpacked(error),
        _ => error.to_string(),
    }
}

fn unpacked(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::Other if error.get_ref().is_some() => error.to_string(),
        std::io::ErrorKind::UnexpectedEof => {
            format!("it does not decompress: its end is missing ({error}); fetch the file again")
        }
        _ => format!("it does not decompress: {error}"),
    }
}
