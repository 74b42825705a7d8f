//! `text/csv`: a line of column names, then a row a line. Empty cells, `NaN` and `NA` are missing values, as pandas reads them.

use std::borrow::Cow;

use super::table::{Model, Table};
use crate::refusal::Refusal;
use crate::tensorflow_serving::request::Inputs;

/// Reads a body as the model's tensors.
///
/// # Errors
/// 400 saying what is wrong and in which row.
pub(crate) fn parse(body: &[u8], model: Model<'_>) -> Result<Inputs, Refusal> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(body);
    let mut record = ::csv::StringRecord::new();
    if !reader.read_record(&mut record).map_err(|error| said(&error))? {
        return Err(Refusal::invalid("the CSV is empty; give a line of column names, then rows"));
    }
    let columns: Vec<Cow<'_, str>> = record.iter().map(|name| Cow::Owned(name.trim().to_owned())).collect();
    let mut table = Table::new(model);
    let places = table.header(&columns)?;
    while reader.read_record(&mut record).map_err(|error| said(&error))? {
        table.begin_row()?;
        for (place, cell) in places.iter().zip(record.iter()) {
            if let Some(field) = place {
                table.text(*field, cell)?;
            }
        }
    }
    table.tensors()
}

fn said(error: &::csv::Error) -> Refusal {
    match error.kind() {
        ::csv::ErrorKind::UnequalLengths { pos, expected_len, len } => Refusal::invalid(format!(
            "line {} of the CSV has {len} cells where the first has {expected_len}",
            pos.as_ref().map_or(0, ::csv::Position::line)
        )),
        ::csv::ErrorKind::Utf8 { pos, .. } => Refusal::invalid(format!(
            "line {} of the CSV is not UTF-8",
            pos.as_ref().map_or(0, ::csv::Position::line)
        )),
        _ => Refusal::invalid("the request body is not CSV"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::table::tests::{model, named, rows as by_row};
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

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&body);
            let _ = parse(&body, model(&named(), &[]));
        }
    }
}
