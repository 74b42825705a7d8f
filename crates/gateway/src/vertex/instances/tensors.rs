//! Instances for a model of any signature: nested lists, or objects with one for each input.
//!
//! An instance of a model with one input is that input's row, `[[1, 2], [3, 4]]` or a bare number; of a model with
//! several, an object `{"prices": [...], "sector": 3}`. Missing numbers are `null` or `"NaN"`. An integer may be written `3.0`:
//! Google's clients send every number as a double.

use platform::{DataType, Error, Kind, Signature, Tensor, TensorData, TensorSpec};
use serde_json::{Map, Value};

use super::{shown, traffic_key};

/// 2^53: up to here each integer is a double of its own.
const DOUBLE_EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Reads a body of at most `max_instances` instances as the tensors of a signature, in its order.
///
/// # Errors
/// [`Kind::InvalidArgument`] naming instance, input and place.
pub(crate) fn parse(
    body: &[u8],
    signature: &Signature,
    max_instances: usize,
) -> Result<Vec<(String, Tensor)>, Error> {
    let Value::Object(mut body) = crate::vertex::fields::tree(body)? else {
        return Err(Error::new(
            Kind::InvalidArgument,
            "the request body is not an object {\"instances\": [...]}",
        ));
    };
    let instances = match body.remove("instances") {
        Some(Value::Array(instances)) => instances,
        Some(_) => return Err(Error::invalid("instances", "instances is not a list")),
        None => return Err(Error::invalid("instances", "instances is missing; give a list")),
    };
    match body.remove("parameters") {
        None | Some(Value::Null) => {}
        Some(Value::Object(parameters)) if parameters.iter().all(is_of_traffic) => {}
        Some(_) => {
            let message = "the model takes tensors, so it has no parameters but texts strategy and account; leave others out";
            return Err(Error::invalid("parameters", message));
        }
    }
    body.remove("labels");
    if let Some(key) = body.keys().next() {
        let message = format!("unknown key \"{}\"; known here: instances, parameters, labels", shown(key));
        return Err(Error::invalid(&shown(key), message));
    }
    if instances.is_empty() {
        return Err(Error::invalid("instances", "instances is empty; give at least one"));
    }
    if instances.len() > max_instances {
        let message = format!("more than {max_instances} instances; send them in several requests");
        return Err(Error::invalid("instances", message));
    }
    let mut columns: Vec<Column<'_>> = signature.inputs.iter().map(Column::new).collect();
    for (index, instance) in instances.iter().enumerate() {
        match (instance, columns.as_mut_slice()) {
            (Value::Object(values), _) => by_name(values, index, &mut columns)?,
            (value, [only]) => only.push(value, index)?,
            (_, several) => {
                let names: Vec<&str> = several.iter().map(|column| column.spec.name.as_str()).collect();
                let message = format!(
                    "instance {index} must be an object with each of the model's inputs: {}",
                    names.join(", ")
                );
                return Err(Error::invalid(&format!("instances[{index}]"), message));
            }
        }
    }
    columns.into_iter().map(|column| column.tensor(instances.len())).collect()
}

/// Whether a parameter only says with whom the caller belongs together.
fn is_of_traffic((name, value): (&String, &Value)) -> bool {
    let text = value.as_str().map_or(value.is_null(), |text| traffic_key::fault(text).is_none());
    text && traffic_key::NAMES.contains(&name.as_str())
}

fn by_name(values: &Map<String, Value>, index: usize, columns: &mut [Column<'_>]) -> Result<(), Error> {
    let known = |columns: &[Column<'_>]| {
        columns.iter().map(|column| column.spec.name.clone()).collect::<Vec<_>>().join(", ")
    };
    if let Some(odd) = values.keys().find(|key| columns.iter().all(|column| column.spec.name != **key)) {
        let message = format!("instance {index} has \"{}\", the model takes {}", shown(odd), known(columns));
        return Err(Error::invalid(&format!("instances[{index}].{}", shown(odd)), message));
    }
    for column in columns {
        let name = column.spec.name.clone();
        let Some(value) = values.get(&name) else {
            let message = format!("instance {index} lacks the input \"{name}\"");
            return Err(Error::invalid(&format!("instances[{index}].{name}"), message));
        };
        column.push(value, index)?;
    }
    Ok(())
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

    fn push(&mut self, row: &Value, index: usize) -> Result<(), Error> {
        let mut place = vec![index];
        self.nested(row, 0, &mut place)
    }

    fn nested(&mut self, value: &Value, axis: usize, place: &mut Vec<usize>) -> Result<(), Error> {
        let Some(size) = self.shape.get(axis).copied() else {
            return self.number(value, place);
        };
        let Value::Array(items) = value else {
            let expected = size.map_or_else(String::new, |size| format!(" of {size}"));
            return Err(self.wrong(place, &format!("a list{expected}"), value));
        };
        if *self.shape[axis].get_or_insert(items.len()) != items.len() {
            let expected = self.shape[axis].unwrap_or_default();
            return Err(self.wrong(place, &format!("a list of {expected}"), value));
        }
        for (at, item) in items.iter().enumerate() {
            place.push(at);
            self.nested(item, axis + 1, place)?;
            place.pop();
        }
        Ok(())
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
        let expected = match self.spec.dtype {
            DataType::Float32 | DataType::Float64 => "a number, or null or \"NaN\" where it is missing",
            DataType::Int32 | DataType::Int64
                if value.as_f64().is_some_and(|x| x.abs() > DOUBLE_EXACT_MAX) =>
            {
                "an integer, written without point and exponent beyond 2^53, where a double does not say which one"
            }
            DataType::Int32 | DataType::Int64 => "an integer",
            DataType::Bool => "true or false",
        };
        taken.ok_or_else(|| self.wrong(place, &format!("{expected} ({})", self.spec.dtype), value))
    }

    fn wrong(&self, place: &[usize], expected: &str, got: &Value) -> Error {
        let got = match got {
            Value::Array(items) => format!("a list of {}", items.len()),
            Value::Object(_) => "an object".to_owned(),
            other => shown(&other.to_string()),
        };
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
        ] {
            let refusal = parsed(&with(from, to)).unwrap_err();
            assert!(refusal.contains(said), "{refusal}");
        }
        for (text, said) in [
            ("[]", "not an object"),
            ("{}", "instances is missing"),
            (r#"{"instances": []}"#, "instances is empty"),
            (r#"{"instances": [[1]]}"#, "must be an object with each of the model's inputs"),
            (r#"{"instances": [1, 2, 3, 4]}"#, "more than 3 instances"),
            (r#"{"instances": [1], "parameters": {"as_of": 1}}"#, "has no parameters"),
            (r#"{"instances": [1], "x": 1}"#, "unknown key \"x\""),
            (r#"{"instances": [{"sector": 1, "sector": 2}]}"#, "\"sector\" is given twice"),
            ("{", "line 1"),
        ] {
            let refusal = parsed(text).unwrap_err();
            assert!(refusal.contains(said), "{text}: {refusal}");
        }
    }
}
