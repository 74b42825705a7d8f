//! What a shadow answered beside what was answered: the record that is kept.

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Copied;
use crate::deployed::DeployedModel;
use crate::predict::{Instance, PredictReply, Question};
use crate::{Result, Tensor, TensorData};

/// The most numbers of a question, or of an answer, that are written out; of more there is the digest alone.
const NUMBERS_WRITTEN_MAX: usize = 4096;

/// A question, both answers, and how far they are apart.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Compared {
    version: u32,
    /// When it was answered.
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    endpoint: String,
    /// The deployment that answered, and its model and version.
    deployment: String,
    model: String,
    /// The shadow, and its model and version.
    shadow: String,
    shadow_model: String,
    /// SHA-256 of names, shapes and numbers of the question.
    inputs_sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow_outputs: Option<Value>,
    /// Microseconds from the question to the answer: waiting and computing.
    pub(super) micros: u64,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

/// What came of a copy.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    Answered(Difference),
    Failed { error: String },
}

/// How far two answers are apart.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Difference {
    pub(super) rows: u64,
    pub(super) shadow_micros: u64,
    /// Pairs of numbers, neither of which is missing.
    pub(super) numbers: u64,
    /// Pairs of which one is missing.
    pub(super) missing: u64,
    pub(super) max_absolute: f64,
    pub(super) sum_absolute: f64,
    /// Rows of which a class can be told.
    pub(super) classed_rows: u64,
    /// Those that both put into the same class.
    pub(super) agreeing_rows: u64,
}

impl Compared {
    /// Of a copy that was not answered, and nothing else.
    #[cfg(test)]
    pub(super) fn failed(error: &str) -> Self {
        let (text, outcome) = (String::new, Outcome::Failed { error: error.to_owned() });
        Self {
            version: 1,
            time: text(),
            request_id: None,
            endpoint: text(),
            deployment: text(),
            model: text(),
            shadow: text(),
            shadow_model: text(),
            inputs_sha256: text(),
            inputs: None,
            outputs: None,
            shadow_outputs: None,
            micros: 0,
            outcome,
        }
    }

    pub(super) fn new(copied: &Copied, model: &DeployedModel, answer: Result<PredictReply>) -> Self {
        let Copied { question, answer: given, request_id, at } = copied;
        let shadow_outputs = answer.as_ref().ok().and_then(|answer| written(&answer.outputs));
        let outcome = answer
            .map_err(|error| error.to_string())
            .and_then(|answer| difference(given, &answer))
            .map_or_else(|error| Outcome::Failed { error }, Outcome::Answered);
        Self {
            version: 1,
            time: at.to_string(),
            request_id: request_id.clone(),
            endpoint: model.endpoint.clone(),
            deployment: given.deployment_id.clone(),
            model: format!("{}@{}", given.model, given.version),
            shadow: model.deployment.id.clone(),
            shadow_model: model.reference(),
            inputs_sha256: digest(question),
            inputs: inputs(question),
            outputs: written(&given.outputs),
            shadow_outputs,
            micros: given.queue_us + given.compute_us,
            outcome,
        }
    }
}

/// Compares two answers output by output.
fn difference(given: &PredictReply, shadow: &PredictReply) -> Result<Difference, String> {
    let mut difference = Difference {
        rows: given.outputs.first().map_or(0, |(_, output)| output.rows()) as u64,
        shadow_micros: shadow.queue_us + shadow.compute_us,
        ..Difference::default()
    };
    for (place, (name, output)) in given.outputs.iter().enumerate() {
        let other = shadow.outputs.iter().find(|(other, _)| other == name).map(|(_, tensor)| tensor);
        let other = other.ok_or_else(|| format!("the shadow gives no output \"{name}\""))?;
        if output.shape() != other.shape() {
            let shapes = (output.shape(), other.shape());
            return Err(format!("output \"{name}\" is {:?}, the shadow's {:?}", shapes.0, shapes.1));
        }
        let (output, other) = (numbers(output), numbers(other));
        for pair in output.iter().zip(&other) {
            difference.add(*pair.0, *pair.1);
        }
        if place == 0 {
            difference.class_rows(&output, &other);
        }
    }
    Ok(difference)
}

impl Difference {
    fn add(&mut self, a: f64, b: f64) {
        match (a.is_nan(), b.is_nan()) {
            (true, true) => {}
            (false, false) => {
                let apart = if a == b { 0.0 } else { (a - b).abs() };
                self.numbers += 1;
                self.sum_absolute += apart;
                self.max_absolute = self.max_absolute.max(apart);
            }
            _ => self.missing += 1,
        }
    }

    /// A row's class is the place of its largest number, the first of equals; rows of one number have none.
    fn class_rows(&mut self, output: &[f64], other: &[f64]) {
        let columns = output.len() / usize::try_from(self.rows).unwrap_or_default().max(1);
        if columns < 2 {
            return;
        }
        for (a, b) in output.chunks_exact(columns).zip(other.chunks_exact(columns)) {
            if let (Some(a), Some(b)) = (class(a), class(b)) {
                self.classed_rows += 1;
                self.agreeing_rows += u64::from(a == b);
            }
        }
    }
}

fn class(row: &[f64]) -> Option<usize> {
    if row.iter().any(|x| x.is_nan()) {
        return None;
    }
    let larger = |best: usize, place: usize| if row[place] > row[best] { place } else { best };
    (0..row.len()).reduce(larger)
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    match tensor.data() {
        TensorData::Float32(values) => values.iter().map(|x| f64::from(*x)).collect(),
        TensorData::Float64(values) => values.clone(),
        TensorData::Int32(values) => values.iter().map(|x| f64::from(*x)).collect(),
        TensorData::Int64(values) => values.iter().map(|x| *x as f64).collect(),
        TensorData::Bool(values) => values.iter().map(|x| f64::from(u8::from(*x))).collect(),
    }
}

/// Tensors by name, each with its shape and its numbers in one list; `null` is what is missing.
fn written(tensors: &[(String, Tensor)]) -> Option<Value> {
    let count: usize = tensors.iter().map(|(_, tensor)| tensor.data().len()).sum();
    if count > NUMBERS_WRITTEN_MAX {
        return None;
    }
    let one = |(name, tensor): &(String, Tensor)| {
        let data = match tensor.data() {
            TensorData::Float32(values) => json!(values),
            TensorData::Float64(values) => json!(values),
            TensorData::Int32(values) => json!(values),
            TensorData::Int64(values) => json!(values),
            TensorData::Bool(values) => json!(values),
        };
        (name.clone(), json!({"shape": tensor.shape(), "data": data}))
    };
    Some(Value::Object(tensors.iter().map(one).collect()))
}

fn inputs(question: &Question) -> Option<Value> {
    match question {
        Question::Tensors(tensors) => written(tensors),
        Question::Rows { instances, as_of } => {
            let length = |instance: &Instance| match instance {
                Instance::Vector(vector) => vector.len(),
                Instance::Symbol(_) => 1,
            };
            if instances.iter().map(length).sum::<usize>() > NUMBERS_WRITTEN_MAX {
                return None;
            }
            let one = |instance: &Instance| match instance {
                Instance::Vector(vector) => json!(vector),
                Instance::Symbol(symbol) => json!({"symbol": symbol}),
            };
            let instances: Vec<Value> = instances.iter().map(one).collect();
            let mut inputs = json!({"instances": instances});
            if let Some(as_of) = as_of {
                inputs["as_of"] = json!(as_of.to_string());
            }
            Some(inputs)
        }
    }
}

/// Two questions with the same digest are the same to the bit.
fn digest(question: &Question) -> String {
    let mut digest = Sha256::new();
    match question {
        Question::Rows { instances, as_of } => {
            digest.update(as_of.map(|date| date.to_string()).unwrap_or_default());
            for instance in instances {
                match instance {
                    Instance::Vector(vector) => {
                        digest.update(b"\0vector");
                        vector.iter().for_each(|x| digest.update(x.to_le_bytes()));
                    }
                    Instance::Symbol(symbol) => {
                        digest.update(b"\0symbol");
                        digest.update(symbol);
                    }
                }
            }
        }
        Question::Tensors(tensors) => {
            let mut tensors: Vec<&(String, Tensor)> = tensors.iter().collect();
            tensors.sort_by(|a, b| a.0.cmp(&b.0));
            for (name, tensor) in tensors {
                digest.update(format!("\0{name} {} {:?}\0", tensor.data_type(), tensor.shape()));
                match tensor.data() {
                    TensorData::Float32(values) => values.iter().for_each(|x| digest.update(x.to_le_bytes())),
                    TensorData::Float64(values) => values.iter().for_each(|x| digest.update(x.to_le_bytes())),
                    TensorData::Int32(values) => values.iter().for_each(|x| digest.update(x.to_le_bytes())),
                    TensorData::Int64(values) => values.iter().for_each(|x| digest.update(x.to_le_bytes())),
                    TensorData::Bool(values) => values.iter().for_each(|x| digest.update([u8::from(*x)])),
                }
            }
        }
    }
    hex::encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(name: &str, shape: &[usize], values: &[f32]) -> PredictReply {
        PredictReply {
            outputs: vec![(name.to_owned(), Tensor::float32(shape.to_vec(), values.to_vec()).unwrap())],
            deployment_id: "1".to_owned(),
            model: "m".to_owned(),
            version: 1,
            model_display_name: String::new(),
            warnings: Vec::new(),
            as_of: None,
            dataset: None,
            queue_us: 2,
            compute_us: 3,
        }
    }

    #[test]
    fn answers_are_compared_number_by_number_and_class_by_class() {
        let given = reply("y", &[3, 2], &[0.5, 0.25, 1.0, 3.0, f32::NAN, 1.0]);
        let shadow = reply("y", &[3, 2], &[0.5, 0.75, 1.0, 2.0, f32::NAN, f32::NAN]);
        let expected = Difference {
            rows: 3,
            shadow_micros: 5,
            numbers: 4,
            missing: 1,
            max_absolute: 1.0,
            sum_absolute: 1.5,
            classed_rows: 2,
            agreeing_rows: 1,
        };
        assert_eq!(difference(&given, &shadow).unwrap(), expected);
        let one = difference(&reply("y", &[2, 1], &[1.0, 2.0]), &reply("y", &[2, 1], &[1.0, 2.0])).unwrap();
        assert_eq!((one.numbers, one.max_absolute, one.classed_rows), (2, 0.0, 0));
    }

    #[test]
    fn answers_that_cannot_be_compared_say_why() {
        let given = reply("y", &[1, 2], &[0.5, 0.25]);
        let renamed = difference(&given, &reply("z", &[1, 2], &[0.5, 0.25])).unwrap_err();
        assert_eq!(renamed, "the shadow gives no output \"y\"");
        let wider = difference(&given, &reply("y", &[1, 1], &[0.5])).unwrap_err();
        assert_eq!(wider, "output \"y\" is [1, 2], the shadow's [1, 1]");
    }

    #[test]
    fn a_digest_is_of_the_question_alone() {
        let rows = |vector: &[f32]| Question::Rows {
            instances: vec![Instance::Vector(vector.to_vec())],
            as_of: None,
        };
        assert_eq!(digest(&rows(&[1.0, 2.0])), digest(&rows(&[1.0, 2.0])));
        assert_ne!(digest(&rows(&[0.0])), digest(&rows(&[-0.0])));
        let tensor = |name: &str, x: f32| (name.to_owned(), Tensor::float32(vec![1, 1], vec![x]).unwrap());
        let one = Question::Tensors(vec![tensor("a", 1.0), tensor("b", 2.0)]);
        let other = Question::Tensors(vec![tensor("b", 2.0), tensor("a", 1.0)]);
        assert_eq!(digest(&one), digest(&other));
        assert!(inputs(&rows(&vec![0.0; NUMBERS_WRITTEN_MAX + 1])).is_none());
    }
}
