//! MLflow's four JSON forms: `dataframe_split`, `dataframe_records`, `instances` and `inputs`, of which a body has one.

use std::borrow::Cow;
use std::collections::HashMap;

use super::table::{Model, Places, Table};
use crate::json::tensor::Floats;
use crate::json::{Kind, Open, Reader};
use crate::refusal::{Refusal, shown};
use crate::tensorflow_serving::request::{Inputs, Takes};

const FORMS: [&str; 4] = ["dataframe_split", "dataframe_records", "instances", "inputs"];

/// Reads a body as the model's tensors.
///
/// # Errors
/// 400 saying what is wrong and where.
pub(crate) fn parse(body: &[u8], model: Model<'_>) -> Result<Inputs, Refusal> {
    let mut reader = Reader::with_bare_numbers(body);
    document(&mut reader, model).map_err(|refusal| match whole(body) {
        // What is cut off or no JSON at all is said to be so, whatever else is wrong before that.
        Err(fault) => fault.into(),
        Ok(()) => refusal,
    })
}

fn whole(body: &[u8]) -> Result<(), crate::json::Fault> {
    let mut reader = Reader::with_bare_numbers(body);
    reader.skip()?;
    reader.end()
}

fn document(reader: &mut Reader<'_>, model: Model<'_>) -> Result<Inputs, Refusal> {
    if reader.ahead()? != Kind::Object {
        return Err(one_form(&["no dictionary"]));
    }
    let mut given: Vec<Cow<'_, str>> = Vec::new();
    let mut inputs = None;
    let mut object = reader.object()?;
    while let Some(key) = reader.next_key(&mut object)? {
        if given.contains(&key) {
            return Err(Refusal::invalid(format!("\"{}\" is given twice", shown(&key))));
        }
        if given.len() == 64 {
            return Err(Refusal::invalid("the request has more than 64 keys"));
        }
        match &*key {
            // Models here have no parameters; MLflow passes over those that a model does not have.
            "params" => reader.skip()?,
            form if FORMS.contains(&form) && inputs.is_none() => inputs = Some(of_form(form, reader, model)?),
            _ => {
                let mut names: Vec<&str> =
                    given.iter().map(|name| &**name).filter(|name| *name != "params").collect();
                names.push(&key);
                return Err(one_form(&names));
            }
        }
        given.push(key);
    }
    reader.end()?;
    inputs.ok_or_else(|| one_form(&[]))
}

fn one_form(given: &[&str]) -> Refusal {
    let given: Vec<String> = given.iter().map(|name| format!("'{}'", shown(name))).collect();
    Refusal::invalid(format!(
        "The input must be a JSON dictionary with exactly one of the input fields {{'dataframe_split', 'dataframe_records', 'instances', 'inputs'}}. Received dictionary with input fields: [{}].",
        given.join(", ")
    ))
}

fn of_form(form: &str, reader: &mut Reader<'_>, model: Model<'_>) -> Result<Inputs, Refusal> {
    let takes = Takes { signature: model.signature, max_rows: model.max_rows, floats: Floats::MayBeMissing };
    match form {
        "dataframe_split" => split(reader, Table::new(model)),
        "dataframe_records" => records(reader, Table::new(model)),
        "instances" => {
            expect(reader, Kind::List, "instances", "a list of rows")?;
            let inputs = takes.rows(reader)?;
            if inputs.is_empty() {
                return Err(Refusal::invalid("the request has no rows; give at least one"));
            }
            Ok(inputs)
        }
        _ => takes.columns(reader),
    }
}

/// `{"columns": [...], "index": [...], "data": [[...], ...]}`
fn split(reader: &mut Reader<'_>, table: Table<'_>) -> Result<Inputs, Refusal> {
    expect(
        reader,
        Kind::Object,
        "dataframe_split",
        "an object {\"columns\": [...], \"data\": [[...], ...]}",
    )?;
    let (mut columns, mut data) = (None, None);
    let mut object = reader.object()?;
    while let Some(key) = reader.next_key(&mut object)? {
        let twice = match &*key {
            "columns" => columns.replace(names(reader, &table)?).is_some(),
            "data" => {
                // The columns may come after it.
                let twice = data.replace(reader.clone()).is_some();
                reader.skip()?;
                twice
            }
            "index" => {
                reader.skip()?;
                false
            }
            other => {
                let message = format!(
                    "unknown key \"dataframe_split.{}\"; known here: columns, index, data",
                    shown(other)
                );
                return Err(Refusal::invalid(message));
            }
        };
        if twice {
            return Err(Refusal::invalid(format!("\"dataframe_split.{key}\" is given twice")));
        }
    }
    let mut data = data.ok_or_else(|| Refusal::invalid("dataframe_split has no \"data\""))?;
    let places = match columns {
        Some(columns) => table.header(&columns)?,
        None => (0..table.fields()).map(Some).collect(),
    };
    rows(&mut data, table, &places)
}

fn names<'a>(reader: &mut Reader<'a>, table: &Table<'_>) -> Result<Vec<Cow<'a, str>>, Refusal> {
    expect(reader, Kind::List, "columns", "a list of names")?;
    let mut names = Vec::new();
    let mut list = reader.list()?;
    while reader.next_item(&mut list)? {
        table.check_more(names.len())?;
        let begin = reader.offset();
        names.push(match reader.ahead()? {
            Kind::Text => reader.text()?,
            Kind::Number => {
                reader.skip()?;
                String::from_utf8_lossy(reader.since(begin))
            }
            _ => return Err(Refusal::invalid("\"columns\" must be a list of names")),
        });
    }
    Ok(names)
}

fn rows(data: &mut Reader<'_>, mut table: Table<'_>, places: &Places) -> Result<Inputs, Refusal> {
    expect(data, Kind::List, "data", "a list of rows")?;
    let mut list = data.list()?;
    let mut row = 0;
    while data.next_item(&mut list)? {
        expect(data, Kind::List, "data", "a list of lists")?;
        table.begin_row()?;
        let mut cells = data.list()?;
        let mut at = 0;
        while data.next_item(&mut cells)? {
            match places.get(at) {
                Some(Some(field)) => table.json(*field, data)?,
                Some(None) => data.skip()?,
                None => return Err(width(row, "more", places.len())),
            }
            at += 1;
        }
        if at < places.len() {
            return Err(width(row, "fewer", places.len()));
        }
        row += 1;
    }
    table.tensors()
}

fn width(row: usize, how: &str, columns: usize) -> Refusal {
    Refusal::invalid(format!("row {row} of \"data\" has {how} values than the {columns} columns"))
}

/// `[{"COLUMN": VALUE, ...}, ...]`
fn records(reader: &mut Reader<'_>, mut table: Table<'_>) -> Result<Inputs, Refusal> {
    expect(reader, Kind::List, "dataframe_records", "a list of objects")?;
    let mut list = reader.list()?;
    // The columns are those of the first record, in its order; others are read fastest in the same order.
    let mut columns = Columns::default();
    while reader.next_item(&mut list)? {
        expect(reader, Kind::Object, "dataframe_records", "a list of objects")?;
        if columns.names.is_empty() {
            columns = Columns::of(keys(reader.clone(), &table)?, &table)?;
        }
        table.begin_row()?;
        let mut object = reader.object()?;
        record(reader, &mut object, &mut table, &mut columns)?;
    }
    table.tensors()
}

/// The columns of records.
#[derive(Default)]
struct Columns<'a> {
    names: Vec<Cow<'a, str>>,
    places: Places,
    /// Where each name is, once a record has been in another order: nobody shall wait for a search among 100,000 names.
    found: Option<HashMap<Cow<'a, str>, usize>>,
    /// The last record that gave each column, counted from 1; a list of its own for each record would be cleared for each.
    given: Vec<usize>,
    records: usize,
    /// How many columns a record must give.
    needed: usize,
}

impl<'a> Columns<'a> {
    fn of(names: Vec<Cow<'a, str>>, table: &Table<'_>) -> Result<Self, Refusal> {
        let places = table.header(&names)?;
        let needed = places.iter().flatten().count();
        Ok(Self { given: vec![0; names.len()], names, places, needed, ..Self::default() })
    }

    /// Where a name is that is expected to be the next one.
    fn find(&mut self, name: &str, next: usize) -> Option<usize> {
        if self.names.get(next).is_some_and(|expected| expected == name) {
            return Some(next);
        }
        let names = &self.names;
        let found = self.found.get_or_insert_with(|| {
            // Of two of one name the first.
            names.iter().enumerate().rev().map(|(at, name)| (name.clone(), at)).collect()
        });
        found.get(name).copied()
    }
}

fn keys<'a>(mut reader: Reader<'a>, table: &Table<'_>) -> Result<Vec<Cow<'a, str>>, Refusal> {
    let mut keys = Vec::new();
    let mut object = reader.object()?;
    while let Some(key) = reader.next_key(&mut object)? {
        table.check_more(keys.len())?;
        keys.push(key);
        reader.skip()?;
    }
    Ok(keys)
}

fn record(
    reader: &mut Reader<'_>,
    object: &mut Open,
    table: &mut Table<'_>,
    columns: &mut Columns<'_>,
) -> Result<(), Refusal> {
    columns.records += 1;
    let (mut next, mut left) = (0, columns.needed);
    while let Some(key) = reader.next_key(object)? {
        let Some(at) = columns.find(&key, next) else {
            reader.skip()?;
            continue;
        };
        next = at + 1;
        if std::mem::replace(&mut columns.given[at], columns.records) == columns.records {
            return Err(Refusal::invalid(format!("column \"{}\" is given twice in a record", shown(&key))));
        }
        match columns.places[at] {
            Some(field) => {
                left -= 1;
                table.json(field, reader)?;
            }
            None => reader.skip()?,
        }
    }
    if left == 0 {
        return Ok(());
    }
    let lacks = |(given, place): (&usize, &Option<usize>)| *given != columns.records && place.is_some();
    let lacking = columns.given.iter().zip(&columns.places).position(lacks);
    match lacking {
        None => Ok(()),
        Some(at) => Err(Refusal::invalid(format!(
            "a record has no \"{}\"; write null for a missing value",
            shown(&columns.names[at])
        ))),
    }
}

fn expect(reader: &mut Reader<'_>, kind: Kind, name: &str, what: &str) -> Result<(), Refusal> {
    if reader.ahead()? == kind { Ok(()) } else { Err(Refusal::invalid(format!("\"{name}\" must be {what}"))) }
}

#[cfg(test)]
mod tests {
    use platform::TensorData;
    use proptest::prelude::*;

    use super::super::table::tests::{ROWS_COLUMNS_MAX, model, named, rows as by_row};
    use super::*;

    fn read(body: &str) -> Result<Vec<f32>, String> {
        let (signature, features) = by_row();
        let inputs =
            parse(body.as_bytes(), model(&signature, &features)).map_err(|refusal| refusal.message)?;
        assert_eq!(inputs[0].1.shape()[1], 3);
        Ok(inputs[0].1.as_float32().unwrap().to_vec())
    }

    #[test]
    fn the_four_forms_are_one_table() {
        let expected = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        for body in [
            r#"{"dataframe_split": {"columns": ["C", "A", "B"], "index": [0, 1], "data": [[3, 1, 2], [6, 4, 5]]}}"#,
            r#"{"dataframe_split": {"data": [[1, 2, 3], [4, 5, 6]]}, "params": {"x": 1}}"#,
            r#"{"dataframe_split": {"data": [["z", 1, 2, 3], [{}, 4, 5, 6]], "columns": ["x", "A", "B", "C"]}}"#,
            r#"{"dataframe_split": {"columns": [0, 1, 2], "data": [[1, 2, 3], [4, 5, 6]]}}"#,
            r#"{"dataframe_records": [{"A": 1, "B": 2, "C": 3}, {"C": 6, "B": 5, "x": null, "A": 4}]}"#,
            r#"{"instances": [[1, 2, 3], [4, 5, 6]]}"#,
            r#"{"instances": [{"features": [1, 2, 3]}, {"features": [4, 5, 6]}]}"#,
            r#"{"inputs": [[1, 2, 3], [4, 5, 6]]}"#,
            r#"{"inputs": {"features": [[1, 2, 3], [4, 5, 6]]}}"#,
        ] {
            assert_eq!(read(body).unwrap(), expected, "{body}");
        }
        for body in [
            r#"{"dataframe_records": [{"A": null, "B": "NaN", "C": NaN}]}"#,
            r#"{"instances": [[null, "NaN", NaN]]}"#,
        ] {
            assert!(read(body).unwrap().iter().all(|value| value.is_nan()), "{body}");
        }
    }

    #[test]
    fn columns_may_be_inputs() {
        let signature = named();
        let inputs =
            parse(br#"{"dataframe_records": [{"code": 7, "pair": [1, 2]}]}"#, model(&signature, &[]))
                .unwrap();
        assert_eq!(inputs[0].1.as_float32().unwrap(), [1.0, 2.0]);
        assert_eq!(inputs[1].1.data(), &TensorData::Int64(vec![7]));
        let wrong =
            parse(br#"{"dataframe_records": [{"code": 7, "pair": [1, 2, 3]}]}"#, model(&signature, &[]));
        assert_eq!(wrong.unwrap_err().message, "row 0 column \"pair\" has 3 values where the model takes 2");
    }

    /// A busy machine may be late once, and again.
    fn least_of_three(run: impl Fn()) -> std::time::Duration {
        let took = || {
            let begun = std::time::Instant::now();
            run();
            begun.elapsed()
        };
        took().min(took()).min(took())
    }

    #[test]
    fn records_in_another_order_are_found_at_once() {
        let names: Vec<String> = (0..60_000).map(|at| format!("\"x{at}\": 0")).collect();
        let backwards: Vec<&str> = names.iter().rev().map(String::as_str).collect();
        let own = r#""A": 1, "B": 2, "C": 3"#;
        let body = format!(
            "{{\"dataframe_records\": [{{{own}, {}}}, {{{}, {own}}}]}}",
            names.join(", "),
            backwards.join(", ")
        );
        let took = least_of_three(|| assert_eq!(read(&body).unwrap(), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]));
        assert!(took.as_secs() < 3, "names are searched one after the other");
    }

    #[test]
    fn columns_are_counted_before_they_are_kept() {
        // Bytes that are no JSON follow, so whoever had read on would say that.
        let refused = |form: &str, name: &str| {
            let names = name.repeat(ROWS_COLUMNS_MAX + 1);
            let body = format!("{{{form}{names}!");
            let (signature, features) = by_row();
            document(&mut Reader::new(body.as_bytes()), model(&signature, &features)).unwrap_err().message
        };
        let said = format!("more than {ROWS_COLUMNS_MAX} columns");
        assert!(refused("\"dataframe_split\": {\"columns\": [", "\"\",").starts_with(&said));
        assert!(refused("\"dataframe_records\": [{", "\"\":0,").starts_with(&said));
        let beside = ",\"x\"".repeat(ROWS_COLUMNS_MAX - 3);
        let row = format!("[1,2,3{}]", ",0".repeat(ROWS_COLUMNS_MAX - 3));
        let most = format!(
            "{{\"dataframe_split\": {{\"columns\": [\"A\",\"B\",\"C\"{beside}], \"data\": [{row}]}}}}"
        );
        assert_eq!(read(&most).unwrap(), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn records_cost_what_they_say_and_not_what_the_first_one_said() {
        let beside: Vec<String> = (0..100_000).map(|at| format!("\"x{at}\":0")).collect();
        let own = "\"A\":1,\"B\":2,\"C\":3";
        let others = format!(",{{{own}}}").repeat(20_000);
        let body = format!("[{{{own},{}}}{others}]", beside.join(","));
        let (signature, features) = by_row();
        let took = least_of_three(|| {
            let table = Table::new(Model { max_rows: 65_536, ..model(&signature, &features) });
            let inputs = records(&mut Reader::new(body.as_bytes()), table).unwrap();
            assert_eq!(inputs[0].1.shape(), [20_001, 3]);
        });
        assert!(took.as_secs_f32() < 1.0, "all columns are looked at for each record");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let only = "The input must be a JSON dictionary with exactly one of the input fields {'dataframe_split', 'dataframe_records', 'instances', 'inputs'}. Received dictionary with input fields: ";
        for (body, said) in [
            ("{}", format!("{only}[].")),
            ("[1]", format!("{only}['no dictionary'].")),
            (r#"{"columns": ["A"], "data": [[1]]}"#, format!("{only}['columns'].")),
            (r#"{"instances": [[1,2,3]], "inputs": 1}"#, format!("{only}['instances', 'inputs'].")),
            (r#"{"instances": [[1,2,3]], "instances": 1}"#, "\"instances\" is given twice".to_owned()),
            (r#"{"instances": []}"#, "no rows".to_owned()),
            (r#"{"instances": 7}"#, "\"instances\" must be a list of rows".to_owned()),
            (r#"{"dataframe_split": {"data": []}}"#, "no rows".to_owned()),
            (r#"{"dataframe_split": {"columns": ["A"]}}"#, "no \"data\"".to_owned()),
            (r#"{"dataframe_split": {"rows": 1}}"#, "unknown key \"dataframe_split.rows\"".to_owned()),
            (
                r#"{"dataframe_split": {"columns": ["A", "B"], "data": [[1, 2]]}}"#,
                "Model is missing inputs ['C'].".to_owned(),
            ),
            (
                r#"{"dataframe_split": {"data": [[1, 2, 3], [1, 2]]}}"#,
                "row 1 of \"data\" has fewer values than the 3 columns".to_owned(),
            ),
            (
                r#"{"dataframe_split": {"data": [[1, 2, 3, 4]]}}"#,
                "row 0 of \"data\" has more values".to_owned(),
            ),
            (
                r#"{"dataframe_split": {"data": [[1, "x", 3]]}}"#,
                "row 0 column \"B\" has \"x\", which does not fit".to_owned(),
            ),
            (r#"{"dataframe_split": {"data": [[1, 1e39, 3]]}}"#, "has 1e39, which does not fit".to_owned()),
            (r#"{"dataframe_split": {"data": [[1, [2], 3]]}}"#, "has [2], which does not fit".to_owned()),
            (r#"{"dataframe_split": {"data": [1]}}"#, "\"data\" must be a list of lists".to_owned()),
            (
                r#"{"dataframe_records": [{"A": 1, "B": 2, "C": 3}, {"A": 1}]}"#,
                "a record has no \"B\"".to_owned(),
            ),
            (
                r#"{"dataframe_records": [{"A": 1, "B": 2, "C": 3, "A": 4}]}"#,
                "column \"A\" is given twice".to_owned(),
            ),
            (r#"{"dataframe_records": [{}]}"#, "Model is missing inputs".to_owned()),
            (r#"{"dataframe_records": {}}"#, "\"dataframe_records\" must be a list of objects".to_owned()),
            (r#"{"instances": [[1,2,3],[1,2,3],[1,2,3],[1,2,3]]}"#, "more than 3 instances".to_owned()),
            (
                r#"{"dataframe_split": {"data": [[1,2,3],[1,2,3],[1,2,3],[1,2,3]]}}"#,
                "more than 3 rows".to_owned(),
            ),
            (r#"{"instances": [[1,2"#, "not JSON: missing a comma or ]".to_owned()),
            (r#"{"dataframe_split": {"data": [[1, "x", 3]"#, "not JSON".to_owned()),
            ("", "not JSON: the document is empty".to_owned()),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains(&said), "{body}: {error}");
        }
        let deep = format!("{{\"inputs\": {}", "[".repeat(10_000));
        assert!(read(&deep).unwrap_err().contains("nested too deeply"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (signature, features) = by_row();
            let _ = parse(&body, model(&signature, &features));
        }

        #[test]
        fn no_json_makes_it_panic(form in "(dataframe_split|dataframe_records|instances|inputs)", value in r#"(\{"data": )?[\[\]{}:, "ABC0-9.]{0,40}"#) {
            let (signature, features) = by_row();
            let body = format!("{{\"{form}\": {value}}}");
            let _ = parse(body.as_bytes(), model(&signature, &features));
            let _ = parse(body.as_bytes(), model(&named(), &[]));
        }
    }
}
