//! Rows as JSON, a document a line: `[0.1, null]`, `{"features": [0.1, null]}`, `{"ROC5": 0.1, "STD5": null}`, or
//! `{"symbol": "AAPL", "as_of": "2022-12-28"}`. `null` and `"NaN"` are missing values.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::columns::{AS_OF, SYMBOL, lacks};
use super::csv_rows::{date, narrowed, shown};
use super::kept::Kept;
use super::{RowChunk, RowFault, RowReader, RowShape, SymbolRow, pass_over};

/// The most bytes of one line.
const LINE_BYTES_MAX: u64 = 64 << 20;
const BUFFER_BYTES: usize = 256 << 10;
/// The key of a list of all numbers of a row.
const FEATURES: &str = "features";
const FORMS: &str =
    "a list of numbers, an object of the model's columns, {\"features\": [...]} or {\"symbol\": \"...\"}";

/// A file of JSON lines being read.
pub(super) struct JsonRows {
    reader: BufReader<Box<dyn Read + Send>>,
    size: Option<u64>,
    read_bytes: u64,
    shape: RowShape,
    places: HashMap<String, usize>,
    line: Vec<u8>,
    line_number: u64,
    next_row: u64,
}

impl JsonRows {
    pub(super) fn open(
        bytes: Box<dyn Read + Send>,
        size: Option<u64>,
        shape: &RowShape,
        skip: u64,
    ) -> Result<Self, String> {
        let places = shape.features.iter().enumerate().map(|(at, name)| (name.clone(), at)).collect();
        let mut rows = Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, bytes),
            size,
            read_bytes: 0,
            shape: shape.clone(),
            places,
            line: Vec::new(),
            line_number: 0,
            next_row: 0,
        };
        pass_over(skip, || rows.read())?;
        rows.next_row = skip;
        Ok(rows)
    }

    /// Reads the next line that is not blank.
    fn read(&mut self) -> Result<bool, String> {
        loop {
            self.line.clear();
            let mut limited = (&mut self.reader).take(LINE_BYTES_MAX);
            let read = limited.read_until(b'\n', &mut self.line).map_err(|error| error.to_string())?;
            if read == 0 {
                return Ok(false);
            }
            self.line_number += 1;
            self.read_bytes += read as u64;
            if read as u64 == LINE_BYTES_MAX && self.line.last() != Some(&b'\n') {
                return Err(format!("line {} is longer than {LINE_BYTES_MAX} bytes", self.line_number));
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    /// Puts the line that was read into the chunk's last row, and gives what of it is to be kept.
    fn take(&self, chunk: &mut RowChunk) -> Result<Vec<Option<String>>, RowFault> {
        let row = chunk.rows;
        let begin = row * self.shape.width;
        let mut reading = Reading {
            rows: self,
            numbers: &mut chunk.features[begin..],
            seen: vec![false; self.shape.width],
            kept: vec![None; self.shape.keep.len()],
            symbol: None,
            as_of: None,
            column: None,
        };
        let mut json = serde_json::Deserializer::from_slice(&self.line);
        let read = Document(&mut reading).deserialize(&mut json).and_then(|()| json.end());
        let line = Some(self.line_number);
        if let Err(error) = read {
            let text = error.to_string();
            let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
            let reason = format!("{reason} (character {})", error.column());
            return Err(RowFault { row, line, column: reading.column, reason });
        }
        let Reading { seen, symbol, as_of, kept, .. } = reading;
        if seen.iter().all(|seen| *seen) {
            return Ok(kept);
        }
        match symbol {
            Some(symbol) if self.shape.by_symbol && !seen.iter().any(|seen| *seen) => {
                let fault = |reason| RowFault { row, line, column: Some(AS_OF.to_owned()), reason };
                let as_of = as_of.map(|day| date(&day)).transpose().map_err(fault)?;
                chunk.symbols[row] = Some(SymbolRow { symbol, as_of });
                Ok(kept)
            }
            _ => {
                let names = self.shape.features.iter().zip(&seen);
                let missing: Vec<&str> =
                    names.filter(|(_, seen)| !**seen).map(|(name, _)| name.as_str()).collect();
                Err(RowFault { row, line, column: None, reason: lacks(&missing, &[]) })
            }
        }
    }
}

impl RowReader for JsonRows {
    fn next(&mut self, rows_max: usize) -> Result<Option<RowChunk>, String> {
        let mut chunk = RowChunk { first: self.next_row, ..RowChunk::default() };
        let mut kept: Vec<Vec<Option<String>>> = vec![Vec::new(); self.shape.keep.len()];
        while chunk.rows < rows_max && self.read()? {
            chunk.features.resize((chunk.rows + 1) * self.shape.width, f32::NAN);
            if self.shape.by_symbol {
                chunk.symbols.push(None);
            }
            let values = self.take(&mut chunk).unwrap_or_else(|fault| {
                let begin = chunk.rows * self.shape.width;
                chunk.features[begin..].fill(f32::NAN);
                chunk.faults.push(fault);
                vec![None; kept.len()]
            });
            for (column, value) in kept.iter_mut().zip(values) {
                column.push(value);
            }
            chunk.lines.push(self.line_number);
            if self.shape.echo {
                let text = String::from_utf8_lossy(self.line.trim_ascii());
                // What is no JSON is echoed as a text.
                let whole = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
                chunk.instances.push(if whole { text.into_owned() } else { Value::from(text).to_string() });
            }
            chunk.rows += 1;
        }
        self.next_row += chunk.rows as u64;
        chunk.kept = kept.into_iter().map(Kept::json).collect();
        chunk.fraction = self.size.map(|size| (self.read_bytes as f64 / size.max(1) as f64).min(1.0));
        Ok(Some(chunk).filter(|chunk| chunk.rows > 0))
    }

    fn ignored(&self) -> &[String] {
        &[]
    }
}

/// One line being read.
struct Reading<'a> {
    rows: &'a JsonRows,
    numbers: &'a mut [f32],
    seen: Vec<bool>,
    kept: Vec<Option<String>>,
    symbol: Option<String>,
    as_of: Option<String>,
    /// What was being read when it went wrong.
    column: Option<String>,
}

/// A whole line.
struct Document<'a, 'b>(&'a mut Reading<'b>);

impl<'de> DeserializeSeed<'de> for Document<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORMS)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        List(self.0).visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reading = self.0;
        let rows = reading.rows;
        while let Some(key) = map.next_key::<String>()? {
            let (place, keep) =
                (rows.places.get(&key).copied(), rows.shape.keep.iter().position(|k| *k == key));
            reading.column = Some(key.clone());
            let twice = match (place, keep) {
                (Some(at), _) => reading.seen[at],
                (None, Some(at)) => reading.kept[at].is_some(),
                _ => false,
            };
            if twice {
                return Err(A::Error::custom("the key is there twice"));
            }
            match (place, keep) {
                (Some(at), None) => reading.numbers[at] = map.next_value_seed(Number)?,
                (at, Some(kept)) => {
                    let value: Value = map.next_value()?;
                    if let Some(at) = at {
                        reading.numbers[at] = Number.deserialize(&value).map_err(A::Error::custom)?;
                    }
                    match (key.as_str(), value.as_str()) {
                        (SYMBOL, Some(text)) => reading.symbol = Some(text.to_owned()),
                        (AS_OF, Some(text)) => reading.as_of = Some(text.to_owned()),
                        _ => {}
                    }
                    reading.kept[kept] = Some(value.to_string());
                }
                (None, None) => match key.as_str() {
                    FEATURES => map.next_value_seed(List(reading))?,
                    SYMBOL => reading.symbol = Some(map.next_value()?),
                    AS_OF => reading.as_of = map.next_value()?,
                    _ => {
                        map.next_value::<serde::de::IgnoredAny>()?;
                    }
                },
            }
            if let Some(at) = place {
                reading.seen[at] = true;
            }
            reading.column = None;
        }
        Ok(())
    }
}

/// All numbers of a row by their place.
struct List<'a, 'b>(&'a mut Reading<'b>);

impl<'de> DeserializeSeed<'de> for List<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let reading = self.0;
        let mut count = 0;
        while count < reading.numbers.len() {
            reading.column =
                Some(reading.rows.shape.features.get(count).cloned().unwrap_or_else(|| count.to_string()));
            let Some(number) = seq.next_element_seed(Number)? else { break };
            reading.numbers[count] = number;
            reading.seen[count] = true;
            count += 1;
        }
        reading.column = None;
        let mut more = 0;
        while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {
            more += 1;
        }
        if count + more == reading.numbers.len() {
            return Ok(());
        }
        let message =
            format!("it has {} values where the model takes {}", count + more, reading.numbers.len());
        Err(A::Error::custom(message))
    }
}

/// One number.
struct Number;

impl<'de> DeserializeSeed<'de> for Number {
    type Value = f32;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<f32, D::Error> {
        json.deserialize_any(self)
    }
}

impl Visitor<'_> for Number {
    type Value = f32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, null or \"NaN\"")
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<f32, E> {
        narrowed(value).ok_or_else(|| E::custom(format!("{value:e} does not fit float32")))
    }

    fn visit_i64<E>(self, value: i64) -> Result<f32, E> {
        Ok(value as f32)
    }

    fn visit_u64<E>(self, value: u64) -> Result<f32, E> {
        Ok(value as f32)
    }

    fn visit_unit<E>(self) -> Result<f32, E> {
        Ok(f32::NAN)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<f32, E> {
        if text == "NaN" {
            return Ok(f32::NAN);
        }
        Err(E::custom(format!("\"{}\" is not a number; write null where a value is missing", shown(text))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(keep: &[&str]) -> RowShape {
        RowShape::of_two(keep, true)
    }

    fn read(text: &str, keep: &[&str], skip: u64) -> RowChunk {
        let bytes = Box::new(std::io::Cursor::new(text.to_owned().into_bytes()));
        let mut rows = JsonRows::open(bytes, None, &shape(keep), skip).unwrap();
        let chunk = rows.next(100).unwrap().unwrap();
        assert!(rows.next(100).unwrap().is_none());
        chunk
    }

    #[test]
    fn every_form_of_a_row_is_read() {
        let text = "[1, 2]\n\n{\"features\": [3, 4.5]}\n{\"x\": [], \"B\": null, \"A\": 5}\n{\"symbol\": \"S\", \"as_of\": \"2020-01-02\"}\n";
        let chunk = read(text, &[], 0);
        assert!(chunk.faults.is_empty(), "{:?}", chunk.faults);
        assert_eq!(chunk.features[..5], [1.0, 2.0, 3.0, 4.5, 5.0]);
        assert!(chunk.features[5].is_nan());
        let day = Some(jiff::civil::date(2020, 1, 2));
        assert_eq!(chunk.symbols[3], Some(SymbolRow { symbol: "S".to_owned(), as_of: day }));
        assert_eq!(chunk.lines, [1, 3, 4, 5]);
        assert_eq!(chunk.instances[0], "[1, 2]");
        assert_eq!(read(text, &[], 2).features[0], 5.0);
    }

    #[test]
    fn what_is_to_be_kept_is_kept_as_it_is() {
        let chunk =
            read("{\"A\": 1, \"B\": 2, \"id\": {\"n\": 7}}\n{\"A\": 1, \"B\": \"NaN\"}\n", &["id", "A"], 0);
        assert_eq!(chunk.features[..3], [1.0, 2.0, 1.0]);
        let mut text = Vec::new();
        chunk.kept[0].write_json(0, &mut text);
        chunk.kept[0].write_json(1, &mut text);
        chunk.kept[1].write_json(0, &mut text);
        assert_eq!(String::from_utf8(text).unwrap(), "{\"n\":7}null1");
    }

    #[test]
    fn what_is_wrong_is_told_with_line_and_column() {
        for (line, column, said) in [
            ("[1]", None, "it has 1 values where the model takes 2"),
            ("[1, 2, 3]", None, "it has 3 values"),
            ("[1, \"x\"]", Some("B"), "\"x\" is not a number"),
            ("[1, 1e39]", Some("B"), "does not fit float32"),
            ("{\"A\": 1}", None, "it lacks 1 column of the model: \"B\""),
            ("{\"A\": 1, \"A\": 2}", Some("A"), "there twice"),
            ("{\"A\": 1, \"B\": [2]}", Some("B"), "expected a number"),
            ("{\"symbol\": \"S\", \"as_of\": \"yesterday\"}", Some("as_of"), "not a date"),
            ("7", None, "expected a list of numbers"),
            ("{\"A\": 1,", None, "EOF"),
            ("[1, 2] 3", None, "trailing characters"),
        ] {
            let chunk = read(&format!("[1,2]\n{line}\n[1,2]\n"), &[], 0);
            let [fault] = chunk.faults.as_slice() else { panic!("{line}: {:?}", chunk.faults) };
            assert_eq!((fault.row, fault.line, fault.column.as_deref()), (1, Some(2), column), "{line}");
            assert!(fault.reason.contains(said), "{line}: {}", fault.reason);
            assert!(serde_json::from_str::<Value>(&chunk.instances[1]).is_ok(), "{line}");
            assert_eq!((chunk.rows, chunk.features[4]), (3, 1.0));
        }
    }
}
