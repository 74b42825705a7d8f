//! `text/csv`: a line of column names, then a row a line. Empty cells, `NaN` and `NA` are missing values, as pandas reads them.

use std::borrow::Cow;

use csv_core::{ReadFieldResult, Reader};

use super::table::{Model, Table};
use crate::refusal::Refusal;
use crate::tensorflow_serving::request::Inputs;

/// What a cell is made room for at first; few are longer.
const CELL_BYTES: usize = 64;

/// Reads a body as the model's tensors, a cell at a time: a cell of no bytes would take more memory in a list of a row's cells than
/// in the body.
///
/// # Errors
/// 400 saying what is wrong and in which row.
pub(crate) fn parse(body: &[u8], model: Model<'_>) -> Result<Inputs, Refusal> {
    let mut cells = Cells::new(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
    let mut table = Table::new(model);
    let mut columns: Vec<Cow<'_, str>> = Vec::new();
    while let Some(name) = cells.next()? {
        table.check_more(columns.len())?;
        columns.push(Cow::Owned(name.trim().to_owned()));
    }
    if columns.is_empty() {
        return Err(Refusal::invalid("the CSV is empty; give a line of column names, then rows"));
    }
    let places = table.header(&columns)?;
    while cells.next_row() {
        let mut count = 0;
        while let Some(cell) = cells.next()? {
            if count == 0 {
                table.begin_row()?;
            }
            if let Some(Some(field)) = places.get(count) {
                table.text(*field, cell)?;
            }
            count += 1;
        }
        // After the last row comes one without cells.
        if count != 0 && count != places.len() {
            return Err(Refusal::invalid(format!(
                "line {} of the CSV has {count} cells where the first has {}",
                cells.line,
                places.len()
            )));
        }
    }
    table.tensors()
}

/// The cells of a document, one row after the other.
struct Cells<'a> {
    reader: Reader,
    left: &'a [u8],
    cell: Vec<u8>,
    /// Where the row began, from 1 on.
    line: u64,
    /// Whether its last cell was given.
    row_ended: bool,
    ended: bool,
}

impl<'a> Cells<'a> {
    /// At the first row.
    fn new(body: &'a [u8]) -> Self {
        let cell = vec![0; CELL_BYTES];
        Self { reader: Reader::new(), left: body, cell, line: 1, row_ended: false, ended: false }
    }

    /// Begins the next row, if it is not certain that there is none.
    fn next_row(&mut self) -> bool {
        self.line = self.reader.line();
        self.row_ended = false;
        !self.ended
    }

    /// The row's next cell; none at its end.
    ///
    /// # Errors
    /// If it is not UTF-8.
    fn next(&mut self) -> Result<Option<&str>, Refusal> {
        if self.row_ended || self.ended {
            return Ok(None);
        }
        let mut length = 0;
        loop {
            let (result, read, written) = self.reader.read_field(self.left, &mut self.cell[length..]);
            self.left = &self.left[read..];
            length += written;
            match result {
                // Nothing left is what says that nothing comes any more.
                ReadFieldResult::InputEmpty => {}
                ReadFieldResult::OutputFull => self.cell.resize(2 * self.cell.len(), 0),
                ReadFieldResult::Field { record_end } => {
                    self.row_ended = record_end;
                    break;
                }
                ReadFieldResult::End => {
                    self.ended = true;
                    return Ok(None);
                }
            }
        }
        let text = std::str::from_utf8(&self.cell[..length]);
        text.map(Some).map_err(|_| Refusal::invalid(format!("line {} of the CSV is not UTF-8", self.line)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::table::tests::{ROWS_COLUMNS_MAX, model, named, rows as by_row};
    use super::*;

    fn read(body: &[u8]) -> Result<Vec<f32>, String> {
        let (signature, features) = by_row();
        let inputs = parse(body, model(&signature, &features)).map_err(|refusal| refusal.message)?;
        Ok(inputs[0].1.as_float32().unwrap().to_vec())
    }

    #[test]
    fn columns_come_in_any_order() {
        assert_eq!(
            read(b"\xef\xbb\xbfC,x,A,\"B\"\r\n3,z,1,2e0\r\n6,,4,\"5\"\r\n").unwrap(),
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        );
        assert_eq!(read(b"0,1,2\n1,2,3").unwrap(), [1.0, 2.0, 3.0]);
        assert!(read(b"A,B,C\n,NaN,NA\n").unwrap().iter().all(|value| value.is_nan()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, said) in [
            (b"".as_slice(), "the CSV is empty"),
            (b"A,B,C\n", "no rows"),
            (b"A,B\n1,2\n", "Model is missing inputs ['C']."),
            (b"A,B,C\n1,2\n", "line 2 of the CSV has 2 cells where the first has 3"),
            (b"A,B,C\n1,2,x\n", "row 0 column \"C\" has \"x\", which does not fit"),
            (b"A,B,C\n1,2,1e39\n", "row 0 column \"C\" has \"1e39\""),
            (b"A,B,C\n1,2,inf\n", "row 0 column \"C\" has \"inf\""),
            (b"A,B,C\n1,2,\xff\n", "line 2 of the CSV is not UTF-8"),
            (b"A,B,C\n1,2,3\n1,2,3\n1,2,3\n1,2,3\n", "more than 3 rows"),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let signature = named();
        let error = parse(b"pair,code\n1,7\n", model(&signature, &[])).unwrap_err();
        assert_eq!(error.message, "row 0 column \"pair\" has 1 values where the model takes 2");
    }

    #[test]
    fn cells_are_counted_before_they_are_kept() {
        // Bytes that are not UTF-8 follow, so whoever had read on would say that.
        let names = format!("{}\u{e4}", ",".repeat(ROWS_COLUMNS_MAX + 1)).into_bytes();
        let error = read(&names[..names.len() - 1]).unwrap_err();
        assert!(error.starts_with(&format!("more than {ROWS_COLUMNS_MAX} columns")), "{error}");
        let row = format!("A,B,C\n1,2,3{}\n", ",".repeat(1000));
        assert_eq!(
            read(row.as_bytes()).unwrap_err(),
            "line 2 of the CSV has 1003 cells where the first has 3"
        );
        let beside = ",".repeat(ROWS_COLUMNS_MAX - 3);
        assert_eq!(read(format!("A,B,C{beside}\n1,2,3{beside}\n").as_bytes()).unwrap(), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn quotes_blank_lines_and_long_cells_are_read_as_ever() {
        let long = "0".repeat(1000);
        let body = format!("\"A\",B,\"x, \"\"y\"\"\nz\",C\n\n1,{long}2,\"a,b\nc\",3\n\r\n\"4\",5,,6");
        assert_eq!(read(body.as_bytes()).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    proptest! {
        #[test]
        fn cells_are_those_of_the_ready_reader(text in "[a,\"\r\n ]{0,40}") {
            let mut reader = ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let expected: Vec<Vec<String>> = reader
                .records()
                .map(|record| record.unwrap().iter().map(str::to_owned).collect())
                .collect();
            let mut cells = Cells::new(text.as_bytes());
            let mut rows = Vec::new();
            while cells.next_row() {
                let mut row = Vec::new();
                while let Some(cell) = cells.next().unwrap() {
                    row.push(cell.to_owned());
                }
                rows.extend(Some(row).filter(|row| !row.is_empty()));
            }
            prop_assert_eq!(rows, expected);
        }

        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&body);
            let _ = parse(&body, model(&named(), &[]));
        }
    }
}
