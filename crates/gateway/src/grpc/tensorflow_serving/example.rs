//! `Classify`, `Regress` and `MultiInference`: rows as `tensorflow.Example`s, a feature for each input of the model.
//!
//! Which features make which inputs is said in [`Fields`]: the same as in JSON. Classes have no names of their own: their label is their index in
//! the output, which is the one named `scores`, or the only one of floats.

use std::collections::BTreeMap;

use platform::{Error, Kind, PredictReply, Question, Signature, Target, Tensor, TensorData};
use protos::serving::tensorflow::Feature;
use protos::serving::tensorflow::feature::Kind as FeatureKind;
use protos::serving::tensorflow::serving::inference_result::Result as Outcome;
use protos::serving::tensorflow::serving::input::Kind as InputKind;
use protos::serving::tensorflow::serving::{
    Class, ClassificationRequest, ClassificationResponse, ClassificationResult, Classifications,
    InferenceResult, Input, ModelSpec, MultiInferenceRequest, MultiInferenceResponse, Regression,
    RegressionRequest, RegressionResponse, RegressionResult,
};

use super::{answered, check_signature, target};
use crate::grpc::call::Asked;
use crate::grpc::reply::{Answer, By, Refused};
use crate::tensorflow_serving::fields::{Field, Fields};

/// Tasks of one `MultiInference`.
const TASKS_MAX: usize = 16;
const CLASSIFY: &str = "tensorflow/serving/classify";
const REGRESS: &str = "tensorflow/serving/regress";

/// The features of a row by name.
pub(in crate::grpc) type Row = BTreeMap<String, Feature>;

/// The score of each class, for each example.
pub(super) async fn classify(
    gateway: Asked,
    request: ClassificationRequest,
) -> Result<Answer<ClassificationResponse>, Refused> {
    let rows = rows(gateway.options.max_instances, request.input)?;
    let (target, reply) = ask(&gateway, &request.model_spec, &rows).await?;
    let result = classes(&reply).map_err(|error| Refused::by(&target, error))?;
    let model_spec = answered(request.model_spec, reply.version);
    let message = ClassificationResponse { result: Some(result), model_spec };
    Ok(Answer { message, by: Some(By::reply(&target, &reply)) })
}

/// A number for each example.
pub(super) async fn regress(
    gateway: Asked,
    request: RegressionRequest,
) -> Result<Answer<RegressionResponse>, Refused> {
    let rows = rows(gateway.options.max_instances, request.input)?;
    let (target, reply) = ask(&gateway, &request.model_spec, &rows).await?;
    let result = values(&reply).map_err(|error| Refused::by(&target, error))?;
    let model_spec = answered(request.model_spec, reply.version);
    let message = RegressionResponse { result: Some(result), model_spec };
    Ok(Answer { message, by: Some(By::reply(&target, &reply)) })
}

/// Several of them about the same examples.
pub(super) async fn several(
    gateway: Asked,
    request: MultiInferenceRequest,
) -> Result<Answer<MultiInferenceResponse>, Refused> {
    if request.tasks.is_empty() || request.tasks.len() > TASKS_MAX {
        let message = format!("{} tasks; give 1 to {TASKS_MAX}", request.tasks.len());
        return Err(Error::invalid("tasks", message).into());
    }
    let rows = rows(gateway.options.max_instances, request.input)?;
    let (mut results, mut by) = (Vec::new(), None);
    for task in request.tasks {
        let (target, reply) = ask(&gateway, &task.model_spec, &rows).await?;
        let outcome = match task.method_name.as_str() {
            CLASSIFY => classes(&reply).map(Outcome::ClassificationResult),
            REGRESS => values(&reply).map(Outcome::RegressionResult),
            other => {
                let message =
                    format!("Unsupported signature method_name: {other}; use {CLASSIFY} or {REGRESS}");
                Err(Error::new(Kind::Unimplemented, message))
            }
        };
        let outcome = outcome.map_err(|error| Refused::by(&target, error))?;
        by.get_or_insert_with(|| By::reply(&target, &reply));
        results.push(InferenceResult {
            model_spec: answered(task.model_spec, reply.version),
            result: Some(outcome),
        });
    }
    Ok(Answer { message: MultiInferenceResponse { results }, by })
}

async fn ask(
    gateway: &Asked,
    spec: &Option<ModelSpec>,
    rows: &[Row],
) -> Result<(Target, PredictReply), Refused> {
    let target = target(gateway, spec)?;
    let refused = |error| Refused::by(&target, error);
    check_signature(spec).map_err(refused)?;
    let columns = if target.takes_rows() { target.feature_names() } else { &[] };
    let inputs = inputs(target.signature(), columns, rows).map_err(refused)?;
    let reply = gateway.platform.answer(&target, Question::Tensors(inputs)).await.map_err(refused)?;
    Ok((target, reply))
}

/// The examples, `limit` at most, each with the features of the context that it does not have itself.
///
/// # Errors
/// [`Kind::InvalidArgument`] for none or too many.
pub(in crate::grpc) fn rows(limit: usize, input: Option<Input>) -> Result<Vec<Row>, Error> {
    let (examples, context) = match input.and_then(|input| input.kind) {
        Some(InputKind::ExampleList(list)) => (list.examples, None),
        Some(InputKind::ExampleListWithContext(list)) => (list.examples, list.context),
        None => (Vec::new(), None),
    };
    if examples.is_empty() || examples.len() > limit {
        let message = format!("Input is empty or too long: {} examples; give 1 to {limit}", examples.len());
        return Err(Error::invalid("input", message));
    }
    let context = context.and_then(|example| example.features).unwrap_or_default().feature;
    let row = |example: protos::serving::tensorflow::Example| {
        let mut row = example.features.unwrap_or_default().feature;
        for (name, feature) in &context {
            row.entry(name.clone()).or_insert_with(|| feature.clone());
        }
        row
    };
    Ok(examples.into_iter().map(row).collect())
}

/// The inputs of a model of this signature, whose only input has these columns, if any.
///
/// # Errors
/// [`Kind::InvalidArgument`] naming the feature, [`Kind::FailedPrecondition`] for axes of any size.
pub(in crate::grpc) fn inputs(
    signature: &Signature,
    columns: &[String],
    rows: &[Row],
) -> Result<Vec<(String, Tensor)>, Error> {
    let fields = Fields::of(signature, columns)?;
    fields.tensors(rows.len(), |row: usize, _, field: &Field<'_>, data| {
        let Some(kind) = rows[row].get(field.name).and_then(|feature| feature.kind.as_ref()) else {
            return Ok(false);
        };
        let (name, dtype) = (field.name, field.dtype);
        let wrong =
            || Error::invalid("input", format!("example {row}: feature \"{name}\" does not fit {dtype}"));
        push(data, kind).ok_or_else(wrong)?;
        Ok(true)
    })
}

/// Adds a feature's values, if they fit the type; whole numbers fit floats too.
fn push(data: &mut TensorData, kind: &FeatureKind) -> Option<()> {
    match (data, kind) {
        (TensorData::Float32(values), FeatureKind::FloatList(list)) => values.extend(&list.value),
        (TensorData::Float64(values), FeatureKind::FloatList(list)) => {
            values.extend(list.value.iter().map(|x| f64::from(*x)));
        }
        (TensorData::Float32(values), FeatureKind::Int64List(list)) => {
            values.extend(list.value.iter().map(|x| *x as f32));
        }
        (TensorData::Float64(values), FeatureKind::Int64List(list)) => {
            values.extend(list.value.iter().map(|x| *x as f64));
        }
        (TensorData::Int64(values), FeatureKind::Int64List(list)) => values.extend(&list.value),
        (TensorData::Int32(values), FeatureKind::Int64List(list)) => {
            for value in &list.value {
                values.push(i32::try_from(*value).ok()?);
            }
        }
        (TensorData::Bool(values), FeatureKind::Int64List(list)) => {
            values.extend(list.value.iter().map(|x| *x != 0));
        }
        _ => return None,
    }
    Some(())
}

/// The output with a score, and its values a row.
fn scores(reply: &PredictReply) -> Result<(&[f32], usize), Error> {
    let floats = || reply.outputs.iter().filter(|(_, output)| output.as_float32().is_some());
    let named = floats().find(|(name, _)| name == "scores");
    let only = || floats().next().filter(|_| floats().count() == 1);
    let Some((_, output)) = named.or_else(only) else {
        let names: Vec<&str> = reply.outputs.iter().map(|(name, _)| name.as_str()).collect();
        let message = format!(
            "Expected classification or regression signature: of the outputs {} none is \"scores\" or the only one of \
             floats; use Predict",
            names.join(", ")
        );
        return Err(Error::new(Kind::FailedPrecondition, message));
    };
    Ok((output.as_float32().unwrap_or_default(), output.shape().iter().skip(1).product()))
}

fn classes(reply: &PredictReply) -> Result<ClassificationResult, Error> {
    let (scores, width) = scores(reply)?;
    let class = |(index, score): (usize, &f32)| Class { label: index.to_string(), score: *score };
    let rows = scores.chunks(width.max(1));
    let classifications =
        rows.map(|row| Classifications { classes: row.iter().enumerate().map(class).collect() }).collect();
    Ok(ClassificationResult { classifications })
}

fn values(reply: &PredictReply) -> Result<RegressionResult, Error> {
    let (scores, width) = scores(reply)?;
    if width != 1 {
        let message = format!(
            "the model gives {width} values for an example, a regression has one; use Classify or Predict"
        );
        return Err(Error::new(Kind::FailedPrecondition, message));
    }
    let regressions = scores.iter().map(|value| Regression { value: *value }).collect();
    Ok(RegressionResult { regressions })
}

#[cfg(test)]
mod tests {
    use platform::{DataType, TensorSpec};
    use protos::serving::tensorflow::{BytesList, FloatList, Int64List};

    use super::*;

    fn row(kind: FeatureKind) -> Row {
        BTreeMap::from([("x".to_owned(), Feature { kind: Some(kind) })])
    }

    fn floats(values: &[f32]) -> Row {
        row(FeatureKind::FloatList(FloatList { value: values.to_vec() }))
    }

    fn spec(dtype: DataType, shape: &[Option<usize>]) -> TensorSpec {
        TensorSpec { name: "x".to_owned(), dtype, shape: shape.to_vec() }
    }

    fn reply(outputs: Vec<(&str, Tensor)>) -> PredictReply {
        PredictReply {
            outputs: outputs.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect(),
            deployment_id: String::new(),
            model: "m".to_owned(),
            version: 1,
            model_display_name: String::new(),
            warnings: Vec::new(),
            as_of: None,
            dataset: None,
            queue_us: 0,
            compute_us: 0,
        }
    }

    fn of(spec: TensorSpec, columns: &[&str], rows: &[Row]) -> Result<Tensor, String> {
        let signature = Signature { inputs: vec![spec], outputs: Vec::new() };
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let read = inputs(&signature, &columns, rows).map_err(|error| error.to_string())?;
        Ok(read.into_iter().next().unwrap().1)
    }

    #[test]
    fn features_are_rows() {
        let rows = [
            floats(&[1.0, 2.0, 3.0, 4.0]),
            row(FeatureKind::Int64List(Int64List { value: vec![5, 6, 7, 8] })),
        ];
        let tensor = of(spec(DataType::Float32, &[None, Some(2), Some(2)]), &[], &rows).unwrap();
        let values = (1..=8).map(|x| x as f32).collect();
        assert_eq!(tensor, Tensor::float32(vec![2, 2, 2], values).unwrap());
    }

    #[test]
    fn features_are_columns_of_who_takes_rows() {
        let mut first = floats(&[1.0]);
        first.insert("y".to_owned(), floats(&[2.0]).remove("x").unwrap());
        let two = || TensorSpec { name: "in".to_owned(), ..spec(DataType::Float32, &[None, Some(2)]) };
        let whole = Row::from([("in".to_owned(), floats(&[3.0, 4.0]).remove("x").unwrap())]);
        let tensor = of(two(), &["y", "x"], &[first, whole]).unwrap();
        assert_eq!(tensor, Tensor::float32(vec![2, 2], vec![2.0, 1.0, 3.0, 4.0]).unwrap());
        let refusal = of(two(), &["y", "x"], &[floats(&[1.0])]).unwrap_err();
        assert_eq!(refusal, "Feature: y (data type: float) is required but could not be found.");
    }

    #[test]
    fn a_wrong_feature_is_named() {
        let one = || spec(DataType::Float32, &[None, Some(1)]);
        let refusal = |spec: TensorSpec, rows: &[Row]| of(spec, &[], rows).unwrap_err();
        assert_eq!(
            refusal(one(), &[floats(&[1.0]), floats(&[1.0, 2.0])]),
            "Key: x. Number of float values != expected. values size: 2 but output shape: [1]"
        );
        assert!(refusal(one(), &[Row::new()]).contains("Feature: x (data type: float) is required"));
        let text = row(FeatureKind::BytesList(BytesList { value: vec![bytes::Bytes::new()] }));
        assert!(refusal(one(), &[text]).contains("example 0: feature \"x\" does not fit float32"));
        let large = row(FeatureKind::Int64List(Int64List { value: vec![1 << 40] }));
        assert!(refusal(spec(DataType::Int32, &[None, Some(1)]), &[large]).contains("does not fit int32"));
        assert!(refusal(spec(DataType::Float32, &[None, None]), &[floats(&[1.0])]).contains("use Predict"));
    }

    #[test]
    fn scores_are_found_by_name_or_alone() {
        let two = Tensor::float32(vec![2, 2], vec![0.1, 0.9, 0.6, 0.4]).unwrap();
        let ids = Tensor::new(vec![2, 1], TensorData::Int64(vec![1, 0])).unwrap();
        let alone = classes(&reply(vec![("ids", ids), ("p", two.clone())])).unwrap();
        let classes_of = |row: usize| -> Vec<(String, f32)> {
            let classes = alone.classifications[row].classes.iter();
            classes.map(|class| (class.label.clone(), class.score)).collect()
        };
        assert_eq!(classes_of(0), [("0".to_owned(), 0.1), ("1".to_owned(), 0.9)]);
        assert_eq!(classes_of(1), [("0".to_owned(), 0.6), ("1".to_owned(), 0.4)]);
        assert!(classes(&reply(vec![("a", two.clone()), ("scores", two.clone())])).is_ok());
        let several = classes(&reply(vec![("a", two.clone()), ("b", two.clone())])).unwrap_err();
        assert!(several.to_string().contains("a, b none is"), "{several}");
        assert!(values(&reply(vec![("p", two)])).unwrap_err().to_string().contains("2 values"));
        let one = Tensor::float32(vec![2, 1], vec![0.5, 1.5]).unwrap();
        let regressions = values(&reply(vec![("p", one)])).unwrap().regressions;
        assert_eq!(regressions.iter().map(|each| each.value).collect::<Vec<_>>(), [0.5, 1.5]);
    }
}
