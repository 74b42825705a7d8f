//! A recorded call of any signature: named tensors of any type in, named tensors out, as JSON.

use predictor::{DataType, Predictor, Signature, Tensor, TensorData, TensorSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// Rows of a made-up call, if these are not too many numbers; else one.
const ROWS: usize = 3;
/// The size of an open inner axis of a made-up call.
const OPEN_AXIS: usize = 4;
/// A sample with more numbers than this is no sample, and would not fit `bundle.json`.
const VALUES_MAX: usize = 1 << 21;

/// A call with its answer, in the order of the signature.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordedCall {
    /// What went in.
    pub inputs: Vec<RecordedTensor>,
    /// What came out.
    pub outputs: Vec<RecordedTensor>,
}

/// A tensor under the name the signature gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct RecordedTensor {
    /// The name.
    pub name: String,
    /// The tensor.
    pub tensor: Tensor,
}

/// In JSON: NaN is `null`, infinities are texts.
#[derive(Serialize, Deserialize)]
struct Written {
    name: String,
    dtype: DataType,
    shape: Vec<usize>,
    values: Vec<Value>,
}

impl RecordedCall {
    /// Calls a model with made-up values, the same for the same signature, and records what it gives.
    ///
    /// Numbers are spread over -1 to 1, integers are 0 and 1 (a place in any vocabulary), inner axes that are open
    /// have a size of 4. There are three rows, or one if a row is large.
    ///
    /// # Errors
    /// What is wrong with the signature, such as more than 2 million numbers for one row, or what the model says.
    pub fn made(predictor: &dyn Predictor) -> Result<Self, String> {
        let Signature { inputs: specs, outputs } = predictor.signature();
        let mut inputs = Vec::new();
        let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
        let rows = if fits(specs.iter().chain(outputs), ROWS) { ROWS } else { 1 };
        for spec in specs {
            inputs.push(RecordedTensor { name: spec.name.clone(), tensor: noise.tensor(spec, rows)? });
        }
        let tensors = inputs.iter().map(|input| input.tensor.clone()).collect();
        let found = predictor.predict(tensors).map_err(|error| error.to_string())?;
        let numbers: usize = found.iter().map(|tensor| tensor.data().len()).sum();
        if numbers > VALUES_MAX {
            return Err(format!("it gives {numbers} numbers for a batch of {rows}, more than {VALUES_MAX}"));
        }
        let named =
            |(spec, tensor): (&TensorSpec, Tensor)| RecordedTensor { name: spec.name.clone(), tensor };
        Ok(Self { inputs, outputs: outputs.iter().zip(found).map(named).collect() })
    }

    /// Repeats the call and gives the largest difference, over the larger of 1 and what was recorded.
    ///
    /// # Errors
    /// What differs by more than `tolerance`.
    pub fn repeat(&self, predictor: &dyn Predictor, tolerance: f32) -> Result<f32, String> {
        let tensors = self.inputs.iter().map(|input| input.tensor.clone()).collect();
        let found = predictor.predict(tensors).map_err(|error| error.to_string())?;
        if found.len() != self.outputs.len() {
            return Err(format!(
                "it gives {} outputs, the sample records {}",
                found.len(),
                self.outputs.len()
            ));
        }
        let mut largest = 0.0f32;
        for (found, RecordedTensor { name, tensor }) in found.iter().zip(&self.outputs) {
            if (found.shape(), found.data_type()) != (tensor.shape(), tensor.data_type()) {
                return Err(format!(
                    "output \"{name}\" is {} {:?}, recorded is {} {:?}",
                    found.data_type(),
                    found.shape(),
                    tensor.data_type(),
                    tensor.shape()
                ));
            }
            for (at, (found, expected)) in wide(found).zip(wide(tensor)).enumerate() {
                let same = found == expected || found.is_nan() && expected.is_nan();
                let difference = if same { 0.0 } else { (found - expected).abs() / expected.abs().max(1.0) };
                if difference.is_nan() || difference > f64::from(tolerance) {
                    return Err(format!(
                        "output \"{name}\", element {at} is {found} where {expected} was recorded (tolerance \
                         {tolerance}); the file or the engine is not the one that was validated"
                    ));
                }
                largest = largest.max(difference as f32);
            }
        }
        Ok(largest)
    }
}

fn wide(tensor: &Tensor) -> Box<dyn Iterator<Item = f64> + '_> {
    match tensor.data() {
        TensorData::Float32(values) => Box::new(values.iter().map(|x| f64::from(*x))),
        TensorData::Float64(values) => Box::new(values.iter().copied()),
        TensorData::Int32(values) => Box::new(values.iter().map(|x| f64::from(*x))),
        TensorData::Int64(values) => Box::new(values.iter().map(|x| *x as f64)),
        TensorData::Bool(values) => Box::new(values.iter().map(|x| f64::from(u8::from(*x)))),
    }
}

/// The axes of a tensor for so many rows.
fn sizes(spec: &TensorSpec, rows: usize) -> impl Iterator<Item = usize> + '_ {
    spec.shape
        .iter()
        .enumerate()
        .map(move |(at, axis)| axis.unwrap_or(if at == 0 { rows } else { OPEN_AXIS }))
}

fn count(spec: &TensorSpec, rows: usize) -> Option<usize> {
    sizes(spec, rows).try_fold(1usize, usize::checked_mul)
}

/// Whether tensors for so many rows are few numbers together.
fn fits<'a>(mut specs: impl Iterator<Item = &'a TensorSpec>, rows: usize) -> bool {
    let all = specs.try_fold(0usize, |all, spec| all.checked_add(count(spec, rows)?));
    all.is_some_and(|all| all <= VALUES_MAX / 8)
}

/// Numbers that look random and are always the same (splitmix64; Steele, Lea and Flood 2014).
struct Noise(u64);

impl Noise {
    fn tensor(&mut self, spec: &TensorSpec, rows: usize) -> Result<Tensor, String> {
        let shape: Vec<usize> = sizes(spec, rows).collect();
        let count = count(spec, rows).filter(|count| *count <= VALUES_MAX).ok_or_else(|| {
            format!("input \"{}\" has more than {VALUES_MAX} numbers for a batch of {rows}", spec.name)
        })?;
        let data = match spec.dtype {
            DataType::Float32 => TensorData::Float32((0..count).map(|_| self.unit() as f32).collect()),
            DataType::Float64 => TensorData::Float64((0..count).map(|_| self.unit()).collect()),
            DataType::Int32 => TensorData::Int32((0..count).map(|_| (self.next() & 1) as i32).collect()),
            DataType::Int64 => TensorData::Int64((0..count).map(|_| (self.next() & 1) as i64).collect()),
            DataType::Bool => TensorData::Bool((0..count).map(|_| self.next() & 1 == 1).collect()),
        };
        Tensor::new(shape, data).map_err(|error| error.to_string())
    }

    /// -1 to 1.
    fn unit(&mut self) -> f64 {
        // 24 bits, so that float32 holds the same number.
        (self.next() >> 40) as f64 / f64::from(1u32 << 23) - 1.0
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl From<RecordedTensor> for Written {
    fn from(RecordedTensor { name, tensor }: RecordedTensor) -> Self {
        let (dtype, shape) = (tensor.data_type(), tensor.shape().to_vec());
        let values = match tensor.into_data() {
            TensorData::Float32(values) => values.into_iter().map(float32).collect(),
            TensorData::Float64(values) => values.into_iter().map(float64).collect(),
            TensorData::Int32(values) => values.into_iter().map(Value::from).collect(),
            TensorData::Int64(values) => values.into_iter().map(Value::from).collect(),
            TensorData::Bool(values) => values.into_iter().map(Value::from).collect(),
        };
        Self { name, dtype, shape, values }
    }
}

fn float64(x: f64) -> Value {
    match Number::from_f64(x) {
        Some(number) => Value::Number(number),
        None if x.is_nan() => Value::Null,
        None => Value::from(if x > 0.0 { "Infinity" } else { "-Infinity" }),
    }
}

/// As wide a number as needed to read back the same bits; -0 too.
fn float32(x: f32) -> Value {
    float64(f64::from(x))
}

impl TryFrom<Written> for RecordedTensor {
    type Error = String;

    fn try_from(Written { name, dtype, shape, values }: Written) -> Result<Self, String> {
        let odd = |value: &Value| format!("tensor \"{name}\" is {dtype} and holds {value}");
        let float = |value: &Value| match value {
            Value::Null => Ok(f64::NAN),
            Value::String(text) if text == "Infinity" => Ok(f64::INFINITY),
            Value::String(text) if text == "-Infinity" => Ok(f64::NEG_INFINITY),
            value => value.as_f64().ok_or_else(|| odd(value)),
        };
        let int = |value: &Value| value.as_i64().ok_or_else(|| odd(value));
        let values = values.iter();
        let data = match dtype {
            DataType::Float32 => TensorData::Float32(
                values.map(|value| float(value).map(|x| x as f32)).collect::<Result<_, _>>()?,
            ),
            DataType::Float64 => TensorData::Float64(values.map(float).collect::<Result<_, _>>()?),
            DataType::Int32 => {
                let narrow = |value| int(value).and_then(|x| i32::try_from(x).map_err(|_| odd(value)));
                TensorData::Int32(values.map(narrow).collect::<Result<_, _>>()?)
            }
            DataType::Int64 => TensorData::Int64(values.map(int).collect::<Result<_, _>>()?),
            DataType::Bool => {
                let flag = |value: &Value| value.as_bool().ok_or_else(|| odd(value));
                TensorData::Bool(values.map(flag).collect::<Result<_, _>>()?)
            }
        };
        let tensor = Tensor::new(shape, data).map_err(|error| format!("tensor \"{name}\": {error}"))?;
        Ok(Self { name, tensor })
    }
}

#[cfg(test)]
mod tests {
    use predictor::PredictError;

    use super::*;

    /// Gives its inputs back, the floats times a factor.
    struct Scaled {
        signature: Signature,
        factor: f32,
    }

    impl Predictor for Scaled {
        fn signature(&self) -> &Signature {
            &self.signature
        }

        fn predict(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> {
            self.signature.check_inputs(&inputs)?;
            let scaled = |tensor: Tensor| match tensor.as_float32() {
                Some(values) => {
                    let values = values.iter().map(|x| x * self.factor).collect();
                    Tensor::float32(tensor.shape().to_vec(), values).unwrap()
                }
                None => tensor,
            };
            Ok(inputs.into_iter().map(scaled).collect())
        }

        fn engine(&self) -> &str {
            "test"
        }
    }

    fn scaled(factor: f32) -> Scaled {
        let types = [DataType::Float32, DataType::Float64, DataType::Int32, DataType::Int64, DataType::Bool];
        let specs: Vec<TensorSpec> = types
            .into_iter()
            .map(|dtype| TensorSpec { name: dtype.to_string(), dtype, shape: vec![None, Some(5), None] })
            .collect();
        Scaled { signature: Signature { inputs: specs.clone(), outputs: specs }, factor }
    }

    #[test]
    fn a_call_of_every_type_is_recorded_and_repeated() {
        let call = RecordedCall::made(&scaled(1.0)).unwrap();
        assert_eq!(call, RecordedCall::made(&scaled(1.0)).unwrap());
        assert_eq!(call.inputs[0].tensor.shape(), [ROWS, 5, OPEN_AXIS]);
        let text = serde_json::to_string(&call).unwrap();
        assert_eq!(serde_json::from_str::<RecordedCall>(&text).unwrap(), call);
        assert_eq!(call.repeat(&scaled(1.0), 1e-5), Ok(0.0));
        let difference = call.repeat(&scaled(1.001), 0.01).unwrap();
        assert!(difference > 1e-4 && difference < 1e-2, "{difference}");
        let refusal = call.repeat(&scaled(1.001), 1e-5).unwrap_err();
        assert!(refusal.contains("output \"float32\", element"), "{refusal}");
    }

    #[test]
    fn a_wide_row_is_recorded_alone_and_one_that_is_too_wide_is_refused() {
        let wide = |columns: usize| {
            let spec =
                |name: &str, shape| TensorSpec { name: name.to_owned(), dtype: DataType::Float32, shape };
            let inputs = vec![spec("x", vec![None, Some(columns)])];
            let signature = Signature { inputs: inputs.clone(), outputs: inputs };
            RecordedCall::made(&Scaled { signature, factor: 1.0 })
        };
        assert_eq!(wide(40_000).unwrap().outputs[0].tensor.shape(), [3, 40_000]);
        assert_eq!(wide(1_200_000).unwrap().outputs[0].tensor.shape(), [1, 1_200_000]);
        let refusal = wide(2_200_000).unwrap_err();
        assert_eq!(refusal, "input \"x\" has more than 2097152 numbers for a batch of 1");
    }

    #[test]
    fn what_json_has_no_number_for_reads_back() {
        let values = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MIN_POSITIVE, 0.1];
        let tensor = Tensor::float32(vec![6], values.clone()).unwrap();
        let text = serde_json::to_string(&RecordedTensor { name: "x".to_owned(), tensor }).unwrap();
        let back: RecordedTensor = serde_json::from_str(&text).unwrap();
        for (before, after) in values.iter().zip(back.tensor.as_float32().unwrap()) {
            assert!(before.to_bits() == after.to_bits() || before.is_nan() && after.is_nan());
        }
    }

    #[test]
    fn what_does_not_fit_its_type_is_named() {
        for (dtype, value) in [("int32", "3000000000"), ("int64", "1.5"), ("bool", "1"), ("float32", "\"x\"")]
        {
            let text = format!(r#"{{"name":"x","dtype":"{dtype}","shape":[1],"values":[{value}]}}"#);
            let refusal = serde_json::from_str::<RecordedTensor>(&text).unwrap_err().to_string();
            assert!(refusal.contains(dtype), "{refusal}");
        }
        let text = r#"{"name":"x","dtype":"bool","shape":[2],"values":[true]}"#;
        assert!(serde_json::from_str::<RecordedTensor>(text).is_err());
    }
}
