//! `GET /v1/models/M` and `.../metadata`: which versions there are and how they do, and the signature.

use axum::http::StatusCode;
use platform::{ModelName, Platform, ServedVersion, Target, TensorSpec, VersionChoice, VersionState};
use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::ser::PrettyFormatter;

use super::path::Call;
use super::request::{SIGNATURE, type_name};
use crate::refusal::{Refusal, shown};

/// The messages' fields in the order of their numbers, as the server prints them.
#[derive(Serialize)]
struct Status {
    model_version_status: Vec<VersionStatus>,
}

#[derive(Serialize)]
struct VersionStatus {
    version: String,
    state: &'static str,
    status: Outcome,
}

#[derive(Serialize)]
struct Outcome {
    error_code: &'static str,
    error_message: String,
}

/// How the versions of a model do, the newest first, and which one it is if there is one alone.
///
/// # Errors
/// 404 if there is none of those asked for.
pub(crate) fn status(platform: &Platform, call: &Call) -> Result<(Vec<u8>, Option<u32>), Refusal> {
    let name = ModelName::parse(&call.model);
    let models = platform.served_models();
    let versions = models.iter().filter(|model| model.name == name).flat_map(|model| &model.versions);
    let wanted = |version: &&ServedVersion| match &call.version {
        VersionChoice::Default => true,
        VersionChoice::Number(number) => version.number == *number,
        VersionChoice::Alias(alias) => version.aliases.contains(alias),
    };
    let versions: Vec<&ServedVersion> = versions.filter(wanted).collect();
    let only = if let [only] = versions.as_slice() { Some(only.number) } else { None };
    let found: Vec<VersionStatus> = versions.into_iter().rev().map(of_version).collect();
    if found.is_empty() {
        let model = shown(&call.model);
        let message = match (&call.version, call.number) {
            (VersionChoice::Alias(alias), _) => {
                return Err(Refusal::invalid(format!(
                    "Unrecognized servable version label: {}",
                    shown(alias)
                )));
            }
            (_, Some(number)) => format!("Could not find version {number} of model {model}"),
            _ => format!("Could not find any versions of model {model}"),
        };
        return Err(Refusal::new(StatusCode::NOT_FOUND, message));
    }
    Ok((written(&Status { model_version_status: found })?, only))
}

fn of_version(version: &ServedVersion) -> VersionStatus {
    let ok = Outcome { error_code: "OK", error_message: String::new() };
    let (state, status) = match version.state() {
        VersionState::Ready | VersionState::Unloaded => ("AVAILABLE", ok),
        VersionState::Announced => ("START", ok),
        VersionState::Loading => ("LOADING", ok),
        VersionState::Failed(reason) => {
            ("END", Outcome { error_code: "UNAVAILABLE", error_message: reason.to_owned() })
        }
    };
    VersionStatus { version: version.number.to_string(), state, status }
}

#[derive(Serialize)]
struct Metadata<'a> {
    model_spec: ModelSpec<'a>,
    metadata: Inner<'a>,
}

#[derive(Serialize)]
struct ModelSpec<'a> {
    name: &'a str,
    signature_name: &'static str,
    version: String,
}

#[derive(Serialize)]
struct Inner<'a> {
    signature_def: SignatureDefs<'a>,
}

#[derive(Serialize)]
struct SignatureDefs<'a> {
    signature_def: Serving<'a>,
}

#[derive(Serialize)]
struct Serving<'a> {
    serving_default: SignatureDef<'a>,
}

#[derive(Serialize)]
struct SignatureDef<'a> {
    inputs: Infos<'a>,
    outputs: Infos<'a>,
    method_name: &'static str,
}

/// Tensors by name.
struct Infos<'a>(&'a [TensorSpec], &'a Target);

impl Serialize for Infos<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for spec in self.0 {
            let name = self.1.saved_model_tensor(&spec.name).unwrap_or(&spec.name);
            map.serialize_entry(&spec.name, &Info::of(spec, name))?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Info<'a> {
    dtype: String,
    tensor_shape: Shape,
    name: &'a str,
}

#[derive(Serialize)]
struct Shape {
    dim: Vec<Dim>,
    unknown_rank: bool,
}

#[derive(Serialize)]
struct Dim {
    size: String,
    name: &'static str,
}

impl<'a> Info<'a> {
    fn of(spec: &TensorSpec, name: &'a str) -> Self {
        let size = |axis: &Option<usize>| axis.map_or("-1".to_owned(), |size| size.to_string());
        let dim = spec.shape.iter().map(|axis| Dim { size: size(axis), name: "" }).collect();
        let dtype = format!("DT_{}", type_name(spec.dtype).to_ascii_uppercase());
        Self { dtype, tensor_shape: Shape { dim, unknown_rank: false }, name }
    }
}

/// What a version takes and gives.
///
/// # Errors
/// None but those of the writer.
pub(crate) fn metadata(call: &Call, target: &Target) -> Result<Vec<u8>, Refusal> {
    let signature = target.signature();
    debug_assert_eq!(SIGNATURE, "serving_default", "the field of `Serving` has this name");
    written(&Metadata {
        model_spec: ModelSpec {
            name: &call.model,
            signature_name: "",
            version: target.version().1.to_string(),
        },
        metadata: Inner {
            signature_def: SignatureDefs {
                signature_def: Serving {
                    serving_default: SignatureDef {
                        inputs: Infos(&signature.inputs, target),
                        outputs: Infos(&signature.outputs, target),
                        method_name: "tensorflow/serving/predict",
                    },
                },
            },
        },
    })
}

/// As protocol buffers print JSON: one space a level, and a new line at the end.
fn written(message: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    let mut json = serde_json::Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(b" "));
    let written = message.serialize(&mut json);
    written.map_err(|error| platform::Error::internal("cannot write the reply", error))?;
    out.push(b'\n');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use platform::DataType;

    use super::*;

    #[test]
    fn a_status_looks_like_the_servers() {
        let version = ServedVersion { number: 3, aliases: Vec::new(), deployments: Vec::new() };
        let out = written(&Status { model_version_status: vec![of_version(&version)] }).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\n \"model_version_status\": [\n  {\n   \"version\": \"3\",\n   \"state\": \"END\",\n   \"status\": {\n    \"error_code\": \"UNAVAILABLE\",\n    \"error_message\": \"\"\n   }\n  }\n ]\n}\n"
        );
    }

    #[test]
    fn a_tensor_has_its_defaults_printed() {
        let spec = TensorSpec { name: "x".to_owned(), dtype: DataType::Int64, shape: vec![None, Some(4)] };
        let json = serde_json::to_value(Info::of(&spec, "serving_default_x:0")).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "dtype": "DT_INT64",
                "tensor_shape": {"dim": [{"size": "-1", "name": ""}, {"size": "4", "name": ""}], "unknown_rank": false},
                "name": "serving_default_x:0",
            })
        );
    }
}
