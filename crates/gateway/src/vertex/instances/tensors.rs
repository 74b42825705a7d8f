//! Instances for a model of any signature: nested lists, or objects with one for each input.
//!
//! An instance of a model with one input is that input's row, `[[1, 2], [3, 4]]` or a bare number; of a model with
//! several, an object `{"prices": [...], "sector": 3}`. Missing numbers are `null` or `"NaN"`. An integer may be written `3.0`:
//! Google's clients send every number as a double.

use platform::{DataType, Error, Kind, Signature, Tensor, TensorData, TensorSpec};
use serde_json::Value;

use super::{shown, traffic_key};
use crate::json::{self, Fault, Reader};

/// 2^53: up to here each integer is a double of its own.
const DOUBLE_EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// What a body may have.
const KEYS: [&str; 3] = ["instances", "parameters", "labels"];

/// Reads a body of at most `max_instances` instances as the tensors of a signature, in its order. What is read is held as the
/// elements of these tensors and nothing else.
///
/// # Errors
/// [`Kind::InvalidArgument`] naming instance, input and place.
pub(crate) fn parse(
    body: &[u8],
    signature: &Signature,
    max_instances: usize,
) -> Result<Vec<(String, Tensor)>, Error> {
    let mut columns: Vec<Column<'_>> = signature.inputs.iter().map(Column::new).collect();
    let rows = whole(&mut Reader::new(body), &mut columns, max_instances).map_err(|wrong| match wrong {
        Wrong::Syntax(fault) => {
            let message = format!("the request body is not JSON: {}", fault.within(body));
            Error::new(Kind::InvalidArgument, message)
        }
        Wrong::Said(error) => error,
    })?;
    columns.into_iter().map(|column| column.tensor(rows)).collect()
}

/// Why a body is refused.
enum Wrong {
    /// It is not JSON.
    Syntax(Fault),
    /// It does not fit.
    Said(Error),
}

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Self {
        Self::Syntax(fault)
    }
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self::Said(error)
    }
}

fn whole(json: &mut Reader<'_>, columns: &mut [Column<'_>], max_instances: usize) -> Result<usize, Wrong> {
    if json.ahead()? != json::Kind::Object {
        let message = "the request body is not an object {\"instances\": [...]}";
        return Err(Error::new(Kind::InvalidArgument, message).into());
    }
    let mut rows = None;
    let mut seen = [false; KEYS.len()];
    let mut body = json.object()?;
    while let Some(key) = json.next_key(&mut body)? {
        let Some(at) = KEYS.iter().position(|known| *known == key) else {
            let (key, known) = (shown(&key), KEYS.join(", "));
            let message = format!("unknown key \"{key}\"; known here: {known}");
            return Err(Error::invalid(&key, message).into());
        };
        if std::mem::replace(&mut seen[at], true) {
            return Err(Error::invalid(&key, format!("\"{key}\" is given twice")).into());
        }
        match &*key {
            "instances" => rows = Some(all(json, columns, max_instances)?),
            "parameters" => none(json)?,
            _ => json.skip()?,
        }
    }
    json.end()?;
    match rows {
        None => Err(Error::invalid("instances", "instances is missing; give a list").into()),
        Some(0) => Err(Error::invalid("instances", "instances is empty; give at least one").into()),
        Some(rows) => Ok(rows),
    }
}

/// `parameters`, of which there are none but those that say with whom the caller belongs together.
fn none(json: &mut Reader<'_>) -> Result<(), Wrong> {
    let nothing = match json.ahead()? {
        json::Kind::Null => json.null().map(|()| true)?,
        json::Kind::Object => {
            let mut parameters = json.object()?;
            let mut of_traffic = true;
            while let Some(key) = json.next_key(&mut parameters)? {
                of_traffic &= traffic_key::NAMES.contains(&&*key);
                match single(json)? {
                    Some(value) => of_traffic &= is_traffic_key(&value),
                    None => {
                        of_traffic = false;
                        json.skip()?;
                    }
                }
            }
            of_traffic
        }
        _ => false,
    };
    if nothing {
        return Ok(());
    }
    let message =
        "the model takes tensors, so it has no parameters but texts strategy and account; leave others out";
    Err(Error::invalid("parameters", message).into())
}

fn is_traffic_key(value: &Value) -> bool {
    value.as_str().map_or(value.is_null(), |text| traffic_key::fault(text).is_none())
}

/// `instances`: how many there are.
fn all(json: &mut Reader<'_>, columns: &mut [Column<'_>], max_instances: usize) -> Result<usize, Wrong> {
    if json.ahead()? != json::Kind::List {
        return Err(Error::invalid("instances", "instances is not a list").into());
    }
    let mut index = 0;
    let mut list = json.list()?;
    while json.next_item(&mut list)? {
        if index == max_instances {
            let message = format!("more than {max_instances} instances; send them in several requests");
            return Err(Error::invalid("instances", message).into());
        }
        match (json.ahead()?, &mut *columns) {
            (json::Kind::Object, columns) => by_name(json, index, columns)?,
            (_, [only]) => only.push(json, index)?,
            (_, several) => {
                let message = format!(
                    "instance {index} must be an object with each of the model's inputs: {}",
                    names(several)
                );
                return Err(Error::invalid(&format!("instances[{index}]"), message).into());
            }
        }
        index += 1;
    }
    Ok(index)
}

fn by_name(json: &mut Reader<'_>, index: usize, columns: &mut [Column<'_>]) -> Result<(), Wrong> {
    let mut given = vec![false; columns.len()];
    let mut next = 0;
    let mut members = json.object()?;
    while let Some(key) = json.next_key(&mut members)? {
        let is = |column: &Column<'_>| column.spec.name == key;
        // Most clients give them in one order.
        let expected = columns.get(next).is_some_and(is).then_some(next);
        let Some(at) = expected.or_else(|| columns.iter().position(is)) else {
            let odd = shown(&key);
            let message = format!("instance {index} has \"{odd}\", the model takes {}", names(columns));
            return Err(Error::invalid(&format!("instances[{index}].{odd}"), message).into());
        };
        if std::mem::replace(&mut given[at], true) {
            let message = format!("instance {index}: \"{key}\" is given twice");
            return Err(Error::invalid(&format!("instances[{index}].{key}"), message).into());
        }
        columns[at].push(json, index)?;
        next = at + 1;
    }
    let Some(lacking) = given.iter().position(|given| !given) else { return Ok(()) };
    let name = &columns[lacking].spec.name;
    let message = format!("instance {index} lacks the input \"{name}\"");
    Err(Error::invalid(&format!("instances[{index}].{name}"), message).into())
}

fn names(columns: &[Column<'_>]) -> String {
    columns.iter().map(|column| column.spec.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The rows of one input.
struct Column<'a> {
    spec: &'a TensorSpec,
    /// The axes after the batch; what is open is known from the first row on.
    shape: Vec<Option<usize>>,
    data: TensorData,
}

impl<'a> Column<'a> {
    fn new(spec: &'a TensorSpec) -> Self {
        let data = match spec.dtype {
            DataType::Float32 => TensorData::Float32(Vec::new()),
            DataType::Float64 => TensorData::Float64(Vec::new()),
            DataType::Int32 => TensorData::Int32(Vec::new()),
            DataType::Int64 => TensorData::Int64(Vec::new()),
            DataType::Bool => TensorData::Bool(Vec::new()),
        };
        Self { spec, shape: spec.shape.iter().skip(1).copied().collect(), data }
    }

    fn push(&mut self, json: &mut Reader<'_>, index: usize) -> Result<(), Wrong> {
        let mut place = vec![index];
        self.nested(json, 0, &mut place)
    }

    fn nested(&mut self, json: &mut Reader<'_>, axis: usize, place: &mut Vec<usize>) -> Result<(), Wrong> {
        let begin = json.clone();
        let Some(size) = self.shape.get(axis).copied() else {
            return match single(json)? {
                Some(value) => Ok(self.number(&value, place)?),
                None => Err(self.unfit(place, &self.element(), begin)),
            };
        };
        let list_of =
            |size: Option<usize>| size.map_or("a list".to_owned(), |size| format!("a list of {size}"));
        if json.ahead()? != json::Kind::List {
            return Err(self.unfit(place, &list_of(size), begin));
        }
        let mut count = 0;
        let mut list = json.list()?;
        while json.next_item(&mut list)? {
            if size == Some(count) {
                return Err(self.unfit(place, &list_of(size), begin));
            }
            place.push(count);
            self.nested(json, axis + 1, place)?;
            place.pop();
            count += 1;
        }
        let size = *self.shape[axis].get_or_insert(count);
        if count == size { Ok(()) } else { Err(self.unfit(place, &list_of(Some(size)), begin)) }
    }

    fn element(&self) -> String {
        let expected = match self.spec.dtype {
            DataType::Float32 | DataType::Float64 => "a number, or null or \"NaN\" where it is missing",
            DataType::Int32 | DataType::Int64 => "an integer",
            DataType::Bool => "true or false",
        };
        format!("{expected} ({})", self.spec.dtype)
    }

    fn number(&mut self, value: &Value, place: &[usize]) -> Result<(), Error> {
        let taken = match &mut self.data {
            TensorData::Float32(values) => float(value)
                .filter(|wide| (*wide as f32).is_finite() || !wide.is_finite())
                .map(|wide| values.push(wide as f32)),
            TensorData::Float64(values) => float(value).map(|x| values.push(x)),
            TensorData::Int32(values) => {
                integer(value).and_then(|x| i32::try_from(x).ok()).map(|x| values.push(x))
            }
            TensorData::Int64(values) => integer(value).map(|x| values.push(x)),
            TensorData::Bool(values) => value.as_bool().map(|x| values.push(x)),
        };
        let inexact = matches!(self.spec.dtype, DataType::Int32 | DataType::Int64)
            && value.as_f64().is_some_and(|x| x.abs() > DOUBLE_EXACT_MAX);
        let expected = if inexact {
            let dtype = self.spec.dtype;
            format!(
                "an integer, written without point and exponent beyond 2^53, where a double does not say which one ({dtype})"
            )
        } else {
            self.element()
        };
        taken.ok_or_else(|| self.wrong(place, &expected, &shown(&value.to_string())))
    }

    /// What is wrong with the value ahead.
    fn unfit(&self, place: &[usize], expected: &str, mut json: Reader<'_>) -> Wrong {
        match found(&mut json) {
            Ok(got) => self.wrong(place, expected, &got).into(),
            Err(fault) => fault.into(),
        }
    }

    fn wrong(&self, place: &[usize], expected: &str, got: &str) -> Error {
        let (index, inside) = (place[0], &place[1..]);
        let inside: String = inside.iter().map(|at| format!("[{at}]")).collect();
        let name = &self.spec.name;
        let message = format!("instance {index}: {name}{inside} must be {expected}, got {got}");
        Error::invalid(&format!("instances[{index}].{name}{inside}"), message)
    }

    fn tensor(self, rows: usize) -> Result<(String, Tensor), Error> {
        let inner = self.shape.iter().map(|size| size.unwrap_or_default());
        let shape: Vec<usize> = std::iter::once(rows).chain(inner).collect();
        let tensor = Tensor::new(shape, self.data)
            .map_err(|error| Error::internal("cannot lay out the instances", error))?;
        Ok((self.spec.name.clone(), tensor))
    }
}

/// The integer that a number is, however it is written: a double that is whole, as long as doubles tell integers apart.
fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let whole = value.as_f64().filter(|x| !value.is_u64() && x.fract() == 0.0);
        whole.filter(|x| x.abs() <= DOUBLE_EXACT_MAX).map(|x| x as i64)
    })
}

/// The value ahead, unless it is a list or an object, which is not read.
fn single(json: &mut Reader<'_>) -> Result<Option<Value>, Fault> {
    Ok(Some(match json.ahead()? {
        json::Kind::Null => json.null().map(|()| Value::Null)?,
        json::Kind::True | json::Kind::False => Value::Bool(json.boolean()?),
        json::Kind::Text => Value::String(json.text()?.into_owned()),
        json::Kind::Number => {
            let (number, float) = json.number().map(|number| (number, number.as_f64()))?;
            match number.as_i64() {
                // An integer has no -0.
                Some(integer) if integer != 0 || float.is_sign_positive() => Value::from(integer),
                _ => Value::from(float),
            }
        }
        json::Kind::List | json::Kind::Object => return Ok(None),
    }))
}

/// The value ahead, for an error message.
fn found(json: &mut Reader<'_>) -> Result<String, Fault> {
    if let Some(value) = single(json)? {
        return Ok(shown(&value.to_string()));
    }
    if json.ahead()? == json::Kind::Object {
        return Ok("an object".to_owned());
    }
    let mut count = 0;
    let mut list = json.list()?;
    while json.next_item(&mut list)? {
        json.skip()?;
        count += 1;
    }
    Ok(format!("a list of {count}"))
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Null => Some(f64::NAN),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        value => value.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature() -> Signature {
        let spec = |name: &str, dtype, shape: &[Option<usize>]| TensorSpec {
            name: name.to_owned(),
            dtype,
            shape: shape.to_vec(),
        };
        Signature {
            inputs: vec![
                spec("prices", DataType::Float32, &[None, None, Some(2)]),
                spec("sector", DataType::Int64, &[None]),
                spec("listed", DataType::Bool, &[None, Some(1)]),
            ],
            outputs: Vec::new(),
        }
    }

    fn parsed(text: &str) -> Result<Vec<(String, Tensor)>, String> {
        parse(text.as_bytes(), &signature(), 3).map_err(|error| error.to_string())
    }

    #[test]
    fn objects_become_the_tensors_of_the_signature() {
        let tensors = parsed(
            r#"{"instances": [
                {"prices": [[1, null], [2.5, "Infinity"]], "sector": 9007199254740993, "listed": [true]},
                {"listed": [false], "sector": -1, "prices": [[0, 1], [2, 3]]}], "labels": {}}"#,
        )
        .unwrap();
        let names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["prices", "sector", "listed"]);
        assert_eq!(tensors[0].1.shape(), [2, 2, 2]);
        let prices = tensors[0].1.as_float32().unwrap();
        assert!(prices[1].is_nan() && prices[3] == f32::INFINITY && prices[6] == 2.0);
        assert_eq!(tensors[1].1.data(), &TensorData::Int64(vec![9_007_199_254_740_993, -1]));
        assert_eq!(tensors[2].1.data(), &TensorData::Bool(vec![true, false]));
    }

    #[test]
    fn an_integer_may_be_written_as_a_double() {
        let one = |dtype, text: &str| {
            let spec = TensorSpec { name: "n".to_owned(), dtype, shape: vec![None] };
            let signature = Signature { inputs: vec![spec], outputs: Vec::new() };
            let body = format!("{{\"instances\": [{text}]}}");
            let read = parse(body.as_bytes(), &signature, 3).map_err(|error| error.to_string())?;
            Ok::<TensorData, String>(read[0].1.data().clone())
        };
        for (text, expected) in [
            ("3.0", 3),
            ("-3.0", -3),
            ("3e2", 300),
            ("-0.0", 0),
            ("9007199254740992.0", 1 << 53),
            ("-9.007199254740992e15", -(1 << 53)),
            ("9007199254740993", (1 << 53) + 1),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(one(DataType::Int64, text), Ok(TensorData::Int64(vec![expected])), "{text}");
        }
        for (text, expected) in [("2147483647.0", i32::MAX), ("-2147483648.0", i32::MIN), ("7", 7)] {
            assert_eq!(one(DataType::Int32, text), Ok(TensorData::Int32(vec![expected])), "{text}");
        }
        for (dtype, text, said) in [
            (DataType::Int64, "3.5", "n must be an integer (int64), got 3.5"),
            (DataType::Int64, "9007199254740994.0", "beyond 2^53, where a double does not say which one"),
            (DataType::Int64, "1e300", "beyond 2^53"),
            (DataType::Int64, "9223372036854775808", "must be an integer"),
            (DataType::Int32, "2147483648.0", "must be an integer (int32), got 2147483648.0"),
            (DataType::Int32, "-2147483649.0", "must be an integer (int32)"),
            (DataType::Int32, "\"3\"", "must be an integer (int32)"),
            (DataType::Int32, "null", "must be an integer (int32)"),
            (DataType::Bool, "1.0", "must be true or false (bool), got 1.0"),
        ] {
            let refusal = one(dtype, text).unwrap_err();
            assert!(refusal.contains(said), "{text}: {refusal}");
        }
    }

    #[test]
    fn numbers_are_those_that_were_written() {
        let one = Signature {
            inputs: vec![TensorSpec {
                name: "x".to_owned(),
                dtype: DataType::Float64,
                shape: vec![None, None],
            }],
            outputs: Vec::new(),
        };
        let written =
            br#"{"instances": [[-0, 0, -0.0, 1e-7, 0.1, 12345678901234567890, 9007199254740993, "NaN"]]}"#;
        let data = parse(written, &one, 1).unwrap().remove(0).1;
        let TensorData::Float64(values) = data.data() else { panic!("another type") };
        let expected = [-0.0, 0.0, -0.0, 1e-7, 0.1, 12_345_678_901_234_567_890.0, 9_007_199_254_740_992.0];
        assert_eq!(values[..7].iter().map(|x| x.to_bits()).collect::<Vec<_>>(), expected.map(f64::to_bits));
        assert!(values[7].is_nan());
    }

    #[test]
    fn what_is_refused_is_not_read_to_its_end() {
        // Bytes that are no JSON follow, so whoever had read on would say that.
        for (text, said) in [
            (r#"{"instances": [{"odd": 1, !"#, "has \"odd\""),
            (r#"{"instances": [{"sector": 1.5, !"#, "sector must be an integer"),
            (r#"{"odd": !"#, "unknown key \"odd\""),
        ] {
            let refusal = parsed(text).unwrap_err();
            assert!(refusal.contains(said), "{refusal}");
        }
    }

    #[test]
    fn one_input_needs_no_name() {
        let mut one = signature();
        one.inputs.truncate(1);
        let read = |text: &str| parse(text.as_bytes(), &one, 3).unwrap();
        assert_eq!(read(r#"{"instances": [[[1, 2]]]}"#), read(r#"{"instances": [{"prices": [[1, 2]]}]}"#));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = r#"{"prices": [[1, 2]], "sector": 1, "listed": [true]}"#;
        let with = |from: &str, to: &str| format!("{{\"instances\": [{good}, {}]}}", good.replace(from, to));
        for (from, to, said) in [
            ("[[1, 2]]", "[[1, 2], [3, 4]]", "instance 1: prices must be a list of 1, got a list of 2"),
            ("[[1, 2]]", "[[1]]", "instance 1: prices[0] must be a list of 2, got a list of 1"),
            ("[[1, 2]]", "[[1, true]]", "prices[0][1] must be a number, or null"),
            ("[[1, 2]]", "[[1, 1e39]]", "prices[0][1] must be a number"),
            ("[[1, 2]]", "7", "prices must be a list of 1, got 7"),
            ("\"sector\": 1", "\"sector\": 1.5", "sector must be an integer (int64), got 1.5"),
            (
                "\"sector\": 1",
                "\"sektor\": 1",
                "instance 1 has \"sektor\", the model takes prices, sector, listed",
            ),
            (", \"listed\": [true]", "", "instance 1 lacks the input \"listed\""),
            ("[true]", "[1]", "listed[0] must be true or false (bool), got 1"),
            ("[true]", "[[true, true]]", "listed[0] must be true or false (bool), got a list of 2"),
            ("\"sector\": 1", "\"sector\": {}", "sector must be an integer (int64), got an object"),
            ("\"sector\": 1", "\"sector\": 1, \"sector\": 2", "\"sector\" is given twice"),
        ] {
            let refusal = parsed(&with(from, to)).unwrap_err();
            assert!(refusal.contains(said), "{refusal}");
        }
        let many = format!("{{\"instances\": [{}]}}", [good; 4].join(", "));
        for (text, said) in [
            ("[]", "not an object"),
            ("{}", "instances is missing"),
            (r#"{"instances": []}"#, "instances is empty"),
            (r#"{"instances": [[1]]}"#, "must be an object with each of the model's inputs"),
            (many.as_str(), "more than 3 instances"),
            (r#"{"parameters": {"as_of": 1}, "instances": [1]}"#, "has no parameters"),
            (r#"{"parameters": [], "instances": [1]}"#, "has no parameters"),
            (r#"{"x": 1, "instances": [1]}"#, "unknown key \"x\""),
            (r#"{"labels": {}, "labels": {}}"#, "\"labels\" is given twice"),
            (r#"{"instances": [{"sector": 1, "sector": 2}]}"#, "\"sector\" is given twice"),
            ("{", "line 1"),
        ] {
            let refusal = parsed(text).unwrap_err();
            assert!(refusal.contains(said), "{text}: {refusal}");
        }
    }
}
