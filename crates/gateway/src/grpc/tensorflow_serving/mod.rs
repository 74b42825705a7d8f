//! `tensorflow.serving.PredictionService` and `ModelService`.
//!
//! A model is named `M` (project `default`) or `PROJECT.M`, a version by number or by label, which is an alias. A model
//! has one signature, `serving_default`; it may be asked by `Predict`, and by `Classify` and `Regress` where its outputs
//! are scores. Errors begin with the words of TensorFlow Serving, which clients look for, and go on with the way out.

mod example;
mod model;
mod predict;
mod tensor;

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use platform::{Error, Kind, ModelName, Target, VersionChoice};
use protos::serving::tensorflow::serving::ModelSpec;
use protos::serving::tensorflow::serving::model_spec::VersionChoice as WireChoice;
use protos::serving::tensorflow::tensor_shape_proto::Dim;
use protos::serving::tensorflow::{BytesList, Example, Feature, Features, TensorProto, TensorShapeProto};

pub(super) use example::{inputs as example_inputs, rows};
pub(super) use predict::inputs;
pub(super) use tensor::Bounds;

use super::call::{self, Asked, Call, Method};
use super::cost::Cost;
use crate::refusal::shown;
use crate::router::Gateway;
use crate::tensorflow_serving::is_served;

const PREDICTIONS: &str = "tensorflow.serving.PredictionService";
const MODELS: &str = "tensorflow.serving.ModelService";
/// The one signature a model has.
const SIGNATURE: &str = "serving_default";

/// What the parts of a `PredictRequest` cost.
pub(super) const PREDICT: &[Cost] = &[
    Cost::entries::<TensorProto>(
        2,
        &[Cost::messages::<TensorProto>(
            2,
            &[
                Cost::messages::<TensorShapeProto>(2, &[Cost::messages::<Dim>(2, &[])]),
                Cost::numbers(7, size_of::<i32>()),
                Cost::numbers(10, size_of::<i64>()),
            ],
        )],
    ),
    Cost::value(3),
];
const FEATURE: &[Cost] = &[
    Cost::messages::<BytesList>(1, &[Cost::value(1)]),
    Cost::messages::<BytesList>(2, &[]),
    Cost::messages::<BytesList>(3, &[Cost::numbers(1, size_of::<i64>())]),
];
const EXAMPLE: &[Cost] = &[Cost::messages::<Features>(
    1,
    &[Cost::entries::<Feature>(1, &[Cost::messages::<Feature>(2, FEATURE)])],
)];
const EXAMPLES: &[Cost] = &[Cost::messages::<Example>(1, EXAMPLE), Cost::messages::<Example>(2, EXAMPLE)];
const INPUT: &[Cost] = &[Cost::messages::<Example>(1, EXAMPLES), Cost::messages::<Example>(2, EXAMPLES)];
/// What the parts of a request with examples cost.
pub(super) const ASK_EXAMPLES: &[Cost] = &[Cost::messages::<Example>(2, INPUT)];
const ASK_SEVERAL: &[Cost] = &[Cost::messages::<ModelSpec>(1, &[]), Cost::messages::<Example>(2, INPUT)];
const ASK_METADATA: &[Cost] = &[Cost::value(2)];

const PREDICT_METHOD: Method = Method::new("grpc.tensorflow.Predict", PREDICT);
const CLASSIFY: Method = Method::new("grpc.tensorflow.Classify", ASK_EXAMPLES);
const REGRESS: Method = Method::new("grpc.tensorflow.Regress", ASK_EXAMPLES);
const MULTI_INFERENCE: Method = Method::new("grpc.tensorflow.MultiInference", ASK_SEVERAL);
const METADATA: Method = Method::new("grpc.tensorflow.GetModelMetadata", ASK_METADATA);
const STATUS: Method = Method::uncounted("grpc.tensorflow.GetModelStatus");

/// Answers `PredictionService`.
pub(super) async fn predictions(
    State(gateway): State<Arc<Gateway>>,
    Path(method): Path<String>,
    request: Request,
) -> Response {
    let call = Call::new(gateway, request);
    match method.as_str() {
        "Predict" => call.unary(&PREDICT_METHOD, predict::predict).await,
        "Classify" => call.unary(&CLASSIFY, example::classify).await,
        "Regress" => call.unary(&REGRESS, example::regress).await,
        "MultiInference" => call.unary(&MULTI_INFERENCE, example::several).await,
        "GetModelMetadata" => call.unary(&METADATA, model::metadata).await,
        other => call::no_method(PREDICTIONS, other),
    }
}

/// Answers `ModelService`.
pub(super) async fn models(
    State(gateway): State<Arc<Gateway>>,
    Path(method): Path<String>,
    request: Request,
) -> Response {
    let call = Call::new(gateway, request);
    match method.as_str() {
        "GetModelStatus" => call.unary(&STATUS, model::status).await,
        "HandleReloadConfigRequest" => call::not_offered(
            "models are not configured by this protocol; deploy them with `bellwether endpoint deploy`, and name \
             versions with aliases",
        ),
        other => call::no_method(MODELS, other),
    }
}

/// Who answers for what a request names.
///
/// # Errors
/// [`Kind::InvalidArgument`] without a name or for a label that no version has, [`Kind::NotFound`] for what else is not deployed,
/// [`Kind::Unavailable`] for what is and does not answer.
fn target(gateway: &Asked, spec: &Option<ModelSpec>) -> Result<Target, Error> {
    let spec =
        spec.as_ref().ok_or_else(|| Error::invalid("model_spec", "Missing ModelSpec; name a model"))?;
    if spec.name.is_empty() {
        return Err(Error::invalid("model_spec", "Model name is missing in the ModelSpec; name a model"));
    }
    let (choice, named) = choice(spec);
    let name = ModelName::parse(&spec.name);
    gateway.target(&name, &choice).map_err(|error| match (error.kind(), choice) {
        (Kind::NotFound, VersionChoice::Alias(label)) if is_served(gateway, &name) => unknown_label(&label),
        (Kind::NotFound, _) => error.context(format!("Servable not found for request: {named}")),
        (Kind::Unavailable, _) => error.context(format!("Servable not available for request: {named}")),
        _ => error,
    })
}

/// A label that no version has.
fn unknown_label(label: &str) -> Error {
    let message = format!("Unrecognized servable version label: {}", shown(label));
    Error::invalid("model_spec", message)
}

/// The version asked for, and how TensorFlow Serving writes it.
fn choice(spec: &ModelSpec) -> (VersionChoice, String) {
    let name = &spec.name;
    match &spec.version_choice {
        None => (VersionChoice::Default, format!("Latest({name})")),
        Some(WireChoice::VersionLabel(label)) => {
            (VersionChoice::Alias(label.clone()), format!("Label({name}, {label})"))
        }
        // A number that none of ours has is not there.
        Some(WireChoice::Version(number)) => (
            VersionChoice::Number(u32::try_from(*number).unwrap_or(0)),
            format!("Specific({name}, {number})"),
        ),
    }
}

/// Refuses a signature the model does not have.
///
/// # Errors
/// [`Kind::FailedPrecondition`], as TensorFlow Serving's.
fn check_signature(spec: &Option<ModelSpec>) -> Result<(), Error> {
    let asked = spec.as_ref().map_or("", |spec| spec.signature_name.as_str());
    if asked.is_empty() || asked == SIGNATURE {
        return Ok(());
    }
    let message = format!("Serving signature key \"{asked}\" not found; the model has \"{SIGNATURE}\"");
    Err(Error::new(Kind::FailedPrecondition, message))
}

/// The model that answered, by the name it was asked under.
fn answered(spec: Option<ModelSpec>, version: u32) -> Option<ModelSpec> {
    Some(ModelSpec {
        name: spec.map(|spec| spec.name).unwrap_or_default(),
        signature_name: SIGNATURE.to_owned(),
        version_choice: Some(WireChoice::Version(version.into())),
    })
}
