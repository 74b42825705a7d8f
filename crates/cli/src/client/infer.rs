//! Many rows answered by a server: raw tensors over Open Inference's `POST /v2/models/M/versions/V/infer`, and what of a model must be
//! known for that. Rows by symbol are `infer_symbols`'.

use std::time::Duration;

use platform::batch_predict::{Answerer, BatchModel, SymbolAnswers};
use platform::{Error, Kind, ModelName, Signature, SymbolRow, Tensor, TensorData};
use serde::Deserialize;
use serde_json::json;

use super::infer_symbols::{RemoteSymbols, computes_features};
use super::resource::last_segment;
use super::{Client, VERSION_HEADER, segment};

/// The header that says where JSON ends and raw tensors begin.
const JSON_LENGTH: &str = "inference-header-content-length";
/// A server that is at a limit is asked again so often, each time after twice as long.
const TRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// A version at a server.
#[derive(Debug)]
pub(crate) struct RemoteAnswerer {
    client: Client,
    model: BatchModel,
    path: String,
    symbols: Option<RemoteSymbols>,
}

#[derive(Debug, Deserialize)]
struct Reply {
    outputs: Vec<ReplyTensor>,
}

#[derive(Debug, Deserialize)]
struct ReplyTensor {
    name: String,
    datatype: String,
    shape: Vec<usize>,
    parameters: ReplyParameters,
}

#[derive(Debug, Deserialize)]
struct ReplyParameters {
    binary_data_size: usize,
}

impl Client {
    /// A version that is deployed, to answer many rows.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none; [`Kind::FailedPrecondition`] if the server does not say what its columns are called.
    pub(crate) async fn answerer(self, reference: &str) -> Result<RemoteAnswerer, Error> {
        let resource = self.get_model(reference).await?;
        let model = last_segment(&resource.name).to_owned();
        let version = resource.version_id.parse().map_err(|error| {
            Error::internal(format!("the server answered version \"{}\"", resource.version_id), error)
        })?;
        let metadata = &resource.metadata;
        let signature: Signature = serde_json::from_value(metadata["signature"].clone())
            .map_err(|error| self.strange("a model's signature", &error))?;
        let features: Vec<String> = match metadata.get("featureNames") {
            Some(names) => serde_json::from_value(names.clone())
                .map_err(|error| self.strange("names of features", &error))?,
            // A model whose columns have no names.
            None if metadata["features"] == 0 => Vec::new(),
            None => {
                let message = format!(
                    "the server does not say what the columns of {reference} are called, as it was registered by an older build; upload the model again, or leave --server out"
                );
                return Err(Error::new(Kind::FailedPrecondition, message));
            }
        };
        let symbols = RemoteSymbols::of(&self, &resource).await?;
        let name = ModelName { project: self.project.clone(), model: model.clone() }.to_string();
        let path = format!("/v2/models/{}/versions/{version}/infer", segment(&name));
        let model = BatchModel {
            model,
            version,
            digest: metadata["bundleDigest"].as_str().unwrap_or_default().to_owned(),
            features,
            signature,
            rejects_missing: metadata["nanPolicy"] == "reject",
            by_symbol: computes_features(metadata),
            data: symbols.as_ref().and_then(RemoteSymbols::data),
        };
        Ok(RemoteAnswerer { client: self, model, path, symbols })
    }

    /// The version that an endpoint's traffic goes to.
    ///
    /// # Errors
    /// As [`Client::answerer`]; [`Kind::FailedPrecondition`] if the traffic goes to several.
    pub(crate) async fn answerer_of_endpoint(self, id: &str) -> Result<RemoteAnswerer, Error> {
        let endpoint = self.get_endpoint(id).await?;
        let share = |id: &str| endpoint.traffic_split.get(id).copied().unwrap_or_default();
        let serving = endpoint.deployed_models.iter().filter(|deployed| share(&deployed.id) > 0);
        let mut names: Vec<String> = serving
            .map(|deployed| format!("{}@{}", last_segment(&deployed.model), deployed.model_version_id))
            .collect();
        names.sort();
        names.dedup();
        match names.as_slice() {
            [only] => self.answerer(only).await,
            several => {
                let message = format!(
                    "endpoint \"{id}\" has {} versions in service ({}), and one file is answered by one; name it with --model",
                    several.len(),
                    several.join(", ")
                );
                Err(Error::new(Kind::FailedPrecondition, message))
            }
        }
    }
}

impl RemoteAnswerer {
    fn ask(&self, rows: usize, values: &[f32]) -> Result<Vec<Tensor>, Error> {
        let input = self.model.signature.inputs.first().map(|spec| spec.name.clone()).unwrap_or_default();
        let width = values.len() / rows.max(1);
        let head = json!({
            "inputs": [{
                "name": input, "shape": [rows, width], "datatype": "FP32",
                "parameters": {"binary_data_size": values.len() * 4},
            }],
            "parameters": {"binary_data_output": true},
        });
        let mut body = head.to_string().into_bytes();
        let length = body.len().to_string();
        body.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let reply = self.client.transport.post_bytes(&self.path, (JSON_LENGTH, &length), &body)?;
        let answered = reply.headers.get(VERSION_HEADER).and_then(|value| value.to_str().ok());
        let asked = format!("{}@{}", self.model.model, self.model.version);
        if answered.is_some_and(|answered| answered != asked) {
            let message = format!("{asked} was asked and {} has answered", answered.unwrap_or_default());
            return Err(Error::new(Kind::Internal, message));
        }
        let json_bytes = reply.headers.get(JSON_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        tensors(&reply.body, json_bytes.unwrap_or(reply.body.len()), &self.model.signature)
    }

    fn no_endpoint(&self) -> Error {
        let message = format!(
            "rows by symbol are asked of an endpoint, and the server has none whose traffic goes to {}@{} alone; give it one, or make it a batchPredictionJob of the server",
            self.model.model, self.model.version
        );
        Error::new(Kind::FailedPrecondition, message)
    }
}

impl Answerer for RemoteAnswerer {
    fn model(&self) -> &BatchModel {
        &self.model
    }

    fn answer(&self, rows: usize, values: Vec<f32>) -> Result<Vec<Tensor>, Error> {
        patiently(|| self.ask(rows, &values))
    }

    fn features(&self, _: &SymbolRow) -> Result<Vec<f32>, Error> {
        Err(self.no_endpoint())
    }

    fn answers_symbols(&self) -> bool {
        self.symbols.is_some()
    }

    fn answer_symbols(&self, rows: &[SymbolRow]) -> Result<SymbolAnswers, Error> {
        let symbols = self.symbols.as_ref().ok_or_else(|| self.no_endpoint())?;
        symbols.answer(&self.client, &self.model, rows)
    }
}

/// Asks until a refusal that passes by itself has passed.
pub(super) fn patiently<T>(ask: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match ask() {
            Err(error) if passes(error.kind()) => std::thread::sleep(pause),
            done => return done,
        }
        pause *= 2;
    }
    ask()
}

/// Whether a refusal passes by itself.
fn passes(kind: Kind) -> bool {
    matches!(kind, Kind::ResourceExhausted | Kind::Unavailable)
}

/// The tensors of a reply, in the order of the signature.
fn tensors(body: &[u8], json_bytes: usize, signature: &Signature) -> Result<Vec<Tensor>, Error> {
    let strange =
        |why: String| Error::new(Kind::Internal, format!("the server's answer cannot be read: {why}"));
    let (head, mut raw) =
        body.split_at_checked(json_bytes).ok_or_else(|| strange("it is cut short".to_owned()))?;
    let reply: Reply = serde_json::from_slice(head).map_err(|error| strange(error.to_string()))?;
    let mut found = Vec::with_capacity(reply.outputs.len());
    for output in reply.outputs {
        let (bytes, rest) = raw
            .split_at_checked(output.parameters.binary_data_size)
            .ok_or_else(|| strange("a tensor is cut short".to_owned()))?;
        raw = rest;
        let data =
            data(&output.datatype, bytes).ok_or_else(|| strange(format!("type {}", output.datatype)))?;
        let tensor = Tensor::new(output.shape, data).map_err(|error| strange(error.to_string()))?;
        found.push((output.name, tensor));
    }
    let take = |name: &str| {
        let at = found.iter().position(|(found, _)| found == name);
        at.map(|at| found[at].1.clone()).ok_or_else(|| strange(format!("output \"{name}\" is missing")))
    };
    signature.outputs.iter().map(|spec| take(&spec.name)).collect()
}

/// Raw little-endian elements.
fn data(datatype: &str, bytes: &[u8]) -> Option<TensorData> {
    fn of<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
        let (chunks, rest) = bytes.as_chunks::<N>();
        rest.is_empty().then(|| chunks.iter().map(|chunk| read(*chunk)).collect())
    }
    Some(match datatype {
        "FP32" => TensorData::Float32(of(bytes, f32::from_le_bytes)?),
        "FP64" => TensorData::Float64(of(bytes, f64::from_le_bytes)?),
        "INT32" => TensorData::Int32(of(bytes, i32::from_le_bytes)?),
        "INT64" => TensorData::Int64(of(bytes, i64::from_le_bytes)?),
        "BOOL" => TensorData::Bool(bytes.iter().map(|byte| *byte != 0).collect()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use platform::{DataType, TensorSpec};

    use super::*;

    #[test]
    fn raw_tensors_are_read_by_their_names() {
        let spec =
            |name: &str, dtype| TensorSpec { name: name.to_owned(), dtype, shape: vec![None, Some(1)] };
        let signature = Signature {
            inputs: Vec::new(),
            outputs: vec![spec("a", DataType::Float32), spec("b", DataType::Int64)],
        };
        let head = json!({"outputs": [
            {"name": "b", "datatype": "INT64", "shape": [2, 1], "parameters": {"binary_data_size": 16}},
            {"name": "a", "datatype": "FP32", "shape": [2, 1], "parameters": {"binary_data_size": 8}},
        ]});
        let mut body = head.to_string().into_bytes();
        let length = body.len();
        body.extend([7i64, -1].iter().flat_map(|n| n.to_le_bytes()));
        body.extend([0.5f32, -0.25].iter().flat_map(|n| n.to_le_bytes()));
        let read = tensors(&body, length, &signature).unwrap();
        assert_eq!(read[0].as_float32(), Some(&[0.5f32, -0.25][..]));
        assert_eq!(read[1].data(), &TensorData::Int64(vec![7, -1]));
        assert!(tensors(&body[..body.len() - 1], length, &signature).is_err());
        assert!(tensors(&body, body.len() + 1, &signature).is_err());
    }
}
