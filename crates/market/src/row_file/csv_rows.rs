//! Rows of a CSV file: a line of column names, then a row a line. An empty cell, `NaN`, `NA` and `null` are missing values.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv::{ByteRecord, Reader, ReaderBuilder};
use jiff::civil::Date;
use serde_json::Value;

use super::columns::{AS_OF, Asked, Columns, SYMBOL};
use super::kept::Kept;
use super::{RowChunk, RowFault, RowReader, RowShape, SymbolRow, pass_over};

/// The most bytes of one row: a quote that is never closed must not read the whole file into memory.
const ROW_BYTES_MAX: u64 = 64 << 20;
const BUFFER_BYTES: usize = 256 << 10;
/// As much of a cell as an error repeats.
const SHOWN_CHARS_MAX: usize = 40;

/// A CSV file being read.
pub(super) struct CsvRows {
    reader: Reader<Limited>,
    left: Arc<AtomicU64>,
    size: Option<u64>,
    header: Vec<String>,
    columns: Columns,
    width: usize,
    echo: bool,
    record: ByteRecord,
    /// What the reader's count of lines lacks: of `\r\n` it counts the `\n` with the row after it.
    lines_behind: u64,
    next_row: u64,
}

/// Bytes, at most so many until the limit is renewed.
struct Limited {
    bytes: Box<dyn Read + Send>,
    left: Arc<AtomicU64>,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            let message = format!("a row is longer than {ROW_BYTES_MAX} bytes; is a quote never closed?");
            return Err(io::Error::other(message));
        }
        let read = self.bytes.read(buffer)?;
        self.left.store(left.saturating_sub(read as u64), Ordering::Relaxed);
        Ok(read)
    }
}

impl CsvRows {
    pub(super) fn open(
        bytes: Box<dyn Read + Send>,
        size: Option<u64>,
        shape: &RowShape,
        skip: u64,
    ) -> Result<Self, String> {
        let left = Arc::new(AtomicU64::new(ROW_BYTES_MAX));
        let limited = Limited { bytes, left: Arc::clone(&left) };
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).flexible(true).buffer_capacity(BUFFER_BYTES);
        let mut reader = builder.from_reader(limited);
        let mut record = ByteRecord::new();
        if !reader.read_byte_record(&mut record).map_err(|error| error.to_string())? {
            return Err("it is empty; the first line must name the columns".to_owned());
        }
        let in_header = record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
        let lines_behind = (in_header + 2).saturating_sub(reader.position().line());
        let mut header = Vec::with_capacity(record.len());
        for (at, name) in record.iter().enumerate() {
            let name = if at == 0 { name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name) } else { name };
            let name = std::str::from_utf8(name).map_err(|_| "its header is not UTF-8".to_owned())?;
            header.push(name.trim().to_owned());
        }
        let names: Vec<&str> = header.iter().map(String::as_str).collect();
        let columns = Columns::find(&names, shape)?;
        let mut rows = Self {
            reader,
            left,
            size,
            header,
            columns,
            width: shape.width,
            echo: shape.echo,
            record,
            lines_behind,
            next_row: 0,
        };
        pass_over(skip, || rows.read())?;
        rows.next_row = skip;
        Ok(rows)
    }

    fn read(&mut self) -> Result<bool, String> {
        self.left.store(ROW_BYTES_MAX, Ordering::Relaxed);
        self.reader.read_byte_record(&mut self.record).map_err(|error| error.to_string())
    }

    /// The line that the row begins at.
    fn line(&self) -> u64 {
        self.record.position().map_or(0, csv::Position::line) + self.lines_behind
    }

    /// Puts the row that was read into a chunk.
    fn take(&self, chunk: &mut RowChunk) -> Result<(), RowFault> {
        let row = chunk.rows;
        let line = Some(self.line());
        let fault = |column: Option<usize>, reason: String| RowFault {
            row,
            line,
            column: column.map(|at| self.header[at].clone()),
            reason,
        };
        if self.record.len() != self.header.len() {
            let reason =
                format!("it has {} cells where the header has {}", self.record.len(), self.header.len());
            return Err(fault(None, reason));
        }
        match &self.columns.asked {
            Asked::Features(places) => {
                let begin = row * self.width;
                for (into, at) in chunk.features[begin..begin + self.width].iter_mut().zip(places) {
                    *into = number(&self.record[*at]).map_err(|reason| fault(Some(*at), reason))?;
                }
            }
            Asked::Symbols { symbol, as_of } => {
                let text = self.text(*symbol).trim().to_owned();
                if text.is_empty() {
                    return Err(fault(Some(*symbol), format!("{SYMBOL} is empty")));
                }
                let day = match as_of.map(|at| (at, self.text(at))) {
                    Some((at, day)) if !day.trim().is_empty() => {
                        Some(date(day.trim()).map_err(|reason| fault(Some(at), reason))?)
                    }
                    _ => None,
                };
                chunk.symbols[row] = Some(SymbolRow { symbol: text, as_of: day });
            }
        }
        Ok(())
    }

    fn text(&self, at: usize) -> String {
        String::from_utf8_lossy(self.record.get(at).unwrap_or_default()).into_owned()
    }

    /// The row as a list of its cells: numbers where they are numbers.
    fn instance(&self) -> String {
        let cell = |cell: &[u8]| {
            let text = String::from_utf8_lossy(cell);
            match text.trim() {
                "" => Value::Null,
                trimmed => match trimmed.parse::<f64>() {
                    Ok(number) if number.is_finite() => Value::from(number),
                    _ => Value::from(text.into_owned()),
                },
            }
        };
        Value::Array(self.record.iter().map(cell).collect()).to_string()
    }
}

impl RowReader for CsvRows {
    fn next(&mut self, rows_max: usize) -> Result<Option<RowChunk>, String> {
        let mut chunk = RowChunk { first: self.next_row, ..RowChunk::default() };
        let by_symbol = matches!(self.columns.asked, Asked::Symbols { .. });
        let mut kept: Vec<Vec<Option<String>>> = vec![Vec::new(); self.columns.kept.len()];
        while chunk.rows < rows_max && self.read()? {
            chunk.features.resize((chunk.rows + 1) * self.width, f32::NAN);
            if by_symbol {
                chunk.symbols.push(None);
            }
            if let Err(fault) = self.take(&mut chunk) {
                let begin = chunk.rows * self.width;
                chunk.features[begin..].fill(f32::NAN);
                chunk.faults.push(fault);
            }
            chunk.lines.push(self.line());
            for (column, at) in kept.iter_mut().zip(&self.columns.kept) {
                column.push(self.record.get(*at).map(|cell| String::from_utf8_lossy(cell).into_owned()));
            }
            if self.echo {
                chunk.instances.push(self.instance());
            }
            chunk.rows += 1;
        }
        self.next_row += chunk.rows as u64;
        chunk.kept = kept.into_iter().map(Kept::text).collect();
        let at = self.reader.position().byte() as f64;
        chunk.fraction = self.size.map(|size| (at / size.max(1) as f64).min(1.0));
        Ok(Some(chunk).filter(|chunk| chunk.rows > 0))
    }

    fn ignored(&self) -> &[String] {
        &self.columns.ignored
    }
}

/// A day as `YYYY-MM-DD`.
pub(super) fn date(text: &str) -> Result<Date, String> {
    let day = text.parse::<Date>().ok().filter(|day| day.to_string() == text);
    day.ok_or_else(|| format!("{AS_OF} \"{}\" is not a date; give it as YYYY-MM-DD", shown(text)))
}

/// A cell that is a number or missing. It is rounded as JSON's numbers are, by way of float64.
fn number(cell: &[u8]) -> Result<f32, String> {
    let cell = cell.trim_ascii();
    let missing = [b"".as_slice(), b"nan", b"na", b"null"];
    if missing.iter().any(|word| cell.eq_ignore_ascii_case(word)) {
        return Ok(f32::NAN);
    }
    let text = String::from_utf8_lossy(cell);
    let wide = text.parse::<f64>().map_err(|_| {
        format!("\"{}\" is not a number; leave the cell empty where a value is missing", shown(&text))
    })?;
    narrowed(wide).ok_or_else(|| format!("\"{}\" does not fit float32", shown(&text)))
}

/// A float64 as float32; none if only an infinity is near. Infinities stay.
pub(super) fn narrowed(wide: f64) -> Option<f32> {
    let narrow = wide as f32;
    (narrow.is_finite() || !wide.is_finite()).then_some(narrow)
}

pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(keep: &[&str]) -> RowShape {
        RowShape::of_two(keep, true)
    }

    fn open(text: &'static str, keep: &[&str], skip: u64) -> Result<CsvRows, String> {
        CsvRows::open(Box::new(text.as_bytes()), Some(text.len() as u64), &shape(keep), skip)
    }

    #[test]
    fn rows_come_in_the_models_order_with_missing_values() {
        let text = "\u{feff}B,id,\"A\"\r\n2,x,1\r\n,\"y,\"\"z\",NaN\r\n4e0,,-0.1\n";
        let mut rows = open(text, &["id"], 0).unwrap();
        let chunk = rows.next(2).unwrap().unwrap();
        assert_eq!(chunk.features[..2], [1.0, 2.0]);
        assert!(chunk.features[2].is_nan() && chunk.features[3].is_nan() && chunk.faults.is_empty());
        assert_eq!(chunk.lines, [2, 3]);
        assert_eq!(chunk.instances, ["[2.0,\"x\",1.0]", "[null,\"y,\\\"z\",\"NaN\"]"]);
        let chunk = rows.next(2).unwrap().unwrap();
        assert_eq!((chunk.first, chunk.features), (2, vec![-0.1, 4.0]));
        assert_eq!(chunk.fraction, Some(1.0));
        assert!(rows.next(2).unwrap().is_none());
        let chunk = open(text, &[], 2).unwrap().next(9).unwrap().unwrap();
        assert_eq!((chunk.first, chunk.rows, chunk.features), (2, 1, vec![-0.1, 4.0]));
    }

    #[test]
    fn what_is_wrong_with_a_row_is_told_with_line_and_column() {
        let mut rows = open("A,B\n1,x\n1\n1,1e39\n3,4\n", &[], 0).unwrap();
        let chunk = rows.next(9).unwrap().unwrap();
        let told: Vec<(usize, Option<u64>, Option<&str>)> =
            chunk.faults.iter().map(|f| (f.row, f.line, f.column.as_deref())).collect();
        assert_eq!(told, [(0, Some(2), Some("B")), (1, Some(3), None), (2, Some(4), Some("B"))]);
        assert!(chunk.faults[0].reason.contains("\"x\" is not a number"));
        assert!(chunk.faults[1].reason.contains("1 cells where the header has 2"));
        assert!(chunk.faults[2].reason.contains("does not fit float32"));
        assert!(chunk.features[..6].iter().all(|x| x.is_nan()));
        assert_eq!(chunk.features[6..], [3.0, 4.0]);
    }

    #[test]
    fn a_row_may_name_an_instrument_and_a_day() {
        let mut rows = open("symbol,as_of\nAAA,2020-01-02\nBBB,\n,\nC,2/1/2020\n", &["symbol"], 0).unwrap();
        let chunk = rows.next(9).unwrap().unwrap();
        let day = Some(jiff::civil::date(2020, 1, 2));
        assert_eq!(chunk.symbols[0], Some(SymbolRow { symbol: "AAA".to_owned(), as_of: day }));
        assert_eq!(chunk.symbols[1], Some(SymbolRow { symbol: "BBB".to_owned(), as_of: None }));
        let reasons: Vec<&str> = chunk.faults.iter().map(|fault| fault.reason.as_str()).collect();
        assert_eq!(reasons, ["symbol is empty", "as_of \"2/1/2020\" is not a date; give it as YYYY-MM-DD"]);
    }

    #[test]
    fn an_open_quote_does_not_read_the_whole_file() {
        let endless = io::repeat(b'x').take(1 << 30);
        let bytes = b"A,B\n1,\"".chain(endless);
        let mut rows = CsvRows::open(Box::new(bytes), None, &shape(&[]), 0).unwrap();
        assert!(rows.next(1).unwrap_err().contains("is a quote never closed"), "it must be refused");
    }

    #[test]
    fn a_file_without_a_header_or_with_too_few_rows_is_refused() {
        assert!(open("", &[], 0).err().unwrap().contains("it is empty"));
        assert!(open("A,B\n1,2\n", &[], 3).err().unwrap().contains("it has 1 rows, fewer"));
    }
}
