//! A client of our own server, over its Vertex AI REST routes: one small typed function per call.

pub(crate) mod infer;
mod infer_symbols;
pub(crate) mod job;
pub(crate) mod key;
mod lifecycle;
pub(crate) mod resource;
mod transport;

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::Date;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use platform::{ArtifactSource, DeploymentLimits, Error, Instance, Kind, ResourceRequest, Standing};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use resource::{DeployedModelResource, EndpointResource, ModelResource, PredictionResource, last_segment};
pub(crate) use transport::Access;
use transport::Transport;

/// The server echoes the location; it is not a partition.
const LOCATION: &str = "local";
const PAGE_SIZE: usize = 1000;
/// A server that pages for ever is not followed for ever.
const PAGES_MAX: usize = 1000;
/// What may stand in a path segment as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The header that says which version answered.
const VERSION_HEADER: &str = "x-bellwether-model-version";

/// A server, and the project to work in.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    transport: Transport,
    project: String,
}

/// A model version to put on an endpoint.
#[derive(Debug)]
pub(crate) struct DeployRequest<'a> {
    /// The endpoint.
    pub(crate) endpoint: &'a str,
    /// `id`, `id@version` or `id@alias`.
    pub(crate) model: &'a str,
    /// Cores and memory; what is absent is the server's default.
    pub(crate) resources: &'a ResourceRequest,
    /// The engine; absent: the version's.
    pub(crate) engine: Option<&'a str>,
    /// Percent of the traffic by deployment; `0` is the new one. Absent: unchanged.
    pub(crate) traffic: Option<&'a BTreeMap<String, u8>>,
    /// Whether it is a shadow, and when it is in memory.
    pub(crate) standing: Standing,
}

/// An answer of an endpoint, and which version gave it.
#[derive(Debug)]
pub(crate) struct Prediction {
    /// The answer.
    pub(crate) resource: PredictionResource,
    /// `MODEL@VERSION`, from the reply's header.
    pub(crate) answered_by: Option<String>,
}

impl Client {
    /// A client of the server at `url`.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for a URL that cannot be a server's, or a certificate that cannot be read.
    pub(crate) fn new(url: &str, project: &str, access: &Access) -> Result<Self, Error> {
        Ok(Self { transport: Transport::new(url, access)?, project: project.to_owned() })
    }

    /// The server's URL.
    pub(crate) fn url(&self) -> &str {
        self.transport.url()
    }

    /// Uploads a file or folder, which the server must be able to read, as a version of `model`; the newest one made.
    pub(crate) async fn upload_model(
        &self,
        source: &ArtifactSource,
        model: &str,
        signature: Option<&str>,
    ) -> Result<ModelResource, Error> {
        let uri = match source {
            ArtifactSource::Path(path) => file_uri(path)?,
            ArtifactSource::Store(uri) | ArtifactSource::Uri(uri) => uri.clone(),
        };
        let new = match self.get_model(model).await {
            Ok(_) => false,
            Err(error) if error.kind() == Kind::NotFound => true,
            Err(error) => return Err(error),
        };
        let mut description = json!({"displayName": model, "artifactUri": uri});
        if let Some(signature) = signature {
            description["labels"] = json!({"bellwether-signature": signature});
        }
        let body = if new {
            json!({"modelId": model, "model": description})
        } else {
            json!({"parentModel": format!("{}/models/{model}", self.parent()), "model": description})
        };
        let uploaded: UploadResponse = self.operate("models:upload", &body).await?;
        self.get_model(&format!("{}@{}", last_segment(&uploaded.model), uploaded.model_version_id)).await
    }

    /// One version of a model.
    pub(crate) async fn get_model(&self, reference: &str) -> Result<ModelResource, Error> {
        self.get(&format!("models/{}", segment(reference))).await
    }

    /// The default version of every model.
    pub(crate) async fn list_models(&self) -> Result<Vec<ModelResource>, Error> {
        self.list("models").await
    }

    /// Makes an endpoint.
    pub(crate) async fn create_endpoint(&self, id: &str) -> Result<EndpointResource, Error> {
        let path = format!("endpoints?endpointId={}", segment(id));
        self.operate(&path, &json!({"displayName": id})).await
    }

    /// One endpoint.
    pub(crate) async fn get_endpoint(&self, id: &str) -> Result<EndpointResource, Error> {
        self.get(&format!("endpoints/{}", segment(id))).await
    }

    /// Every endpoint.
    pub(crate) async fn list_endpoints(&self) -> Result<Vec<EndpointResource>, Error> {
        self.list("endpoints").await
    }

    /// Deploys a model version.
    pub(crate) async fn deploy(&self, request: &DeployRequest<'_>) -> Result<DeployedModelResource, Error> {
        let mut deployed = json!({"model": format!("{}/models/{}", self.parent(), request.model)});
        if let Some(cores) = request.resources.cpu_cores {
            deployed["cpuCores"] = json!(cores);
        }
        if let Some(memory) = request.resources.memory_gb {
            deployed["memoryGb"] = json!(memory);
        }
        if let Some(machine_type) = &request.resources.machine_type {
            deployed["dedicatedResources"] = json!({"machineSpec": {"machineType": machine_type}});
        }
        if let Some(limits) = limits_body(request.resources.limits) {
            deployed["limits"] = limits;
        }
        if let Some(engine) = request.engine {
            deployed["engine"] = json!(engine);
        }
        if let Some(percent) = request.standing.shadow_percent {
            deployed["shadowPercent"] = json!(percent);
        }
        deployed["load"] = json!(request.standing.residence.word());
        let mut body = json!({"deployedModel": deployed});
        if let Some(traffic) = request.traffic {
            body["trafficSplit"] = json!(traffic);
        }
        let path = format!("endpoints/{}:deployModel", segment(request.endpoint));
        let reply: DeployResponse = self.operate(&path, &body).await?;
        Ok(reply.deployed_model)
    }

    /// Takes a deployment out of service.
    pub(crate) async fn undeploy(
        &self,
        endpoint: &str,
        deployment: &str,
        traffic: Option<&BTreeMap<String, u8>>,
    ) -> Result<(), Error> {
        let mut body = json!({"deployedModelId": deployment});
        if let Some(traffic) = traffic {
            body["trafficSplit"] = json!(traffic);
        }
        let path = format!("endpoints/{}:undeployModel", segment(endpoint));
        let _: Value = self.operate(&path, &body).await?;
        Ok(())
    }

    /// Asks an endpoint.
    pub(crate) async fn predict(
        &self,
        endpoint: &str,
        instances: &[Instance],
        as_of: Option<Date>,
    ) -> Result<Prediction, Error> {
        let body = PredictBody {
            instances: instances.iter().map(InstanceBody::from).collect(),
            parameters: as_of.map(|as_of| ParametersBody { as_of }),
        };
        let path = self.path(&format!("endpoints/{}:predict", segment(endpoint)));
        let reply = self.transport.post(path, &body).await?;
        let answered_by = reply.headers.get(VERSION_HEADER).and_then(|value| value.to_str().ok());
        Ok(Prediction { answered_by: answered_by.map(str::to_owned), resource: reply.body })
    }

    fn parent(&self) -> String {
        format!("projects/{}/locations/{LOCATION}", self.project)
    }

    fn path(&self, tail: &str) -> String {
        format!("/v1/projects/{}/locations/{LOCATION}/{tail}", segment(&self.project))
    }

    async fn get<T: DeserializeOwned + Send + 'static>(&self, tail: &str) -> Result<T, Error> {
        Ok(self.transport.get(self.path(tail)).await?.body)
    }

    /// Reads a collection to its end.
    async fn list<T: DeserializeOwned>(&self, collection: &str) -> Result<Vec<T>, Error> {
        self.list_at(collection, collection).await
    }

    /// Reads a list of `collection` at `tail` to its end.
    async fn list_at<T: DeserializeOwned>(&self, tail: &str, collection: &str) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        let mut token = String::new();
        for _ in 0..PAGES_MAX {
            let page: ListPage =
                self.get(&format!("{tail}?pageSize={PAGE_SIZE}&pageToken={}", segment(&token))).await?;
            for item in page.items.get(collection).and_then(Value::as_array).into_iter().flatten() {
                let parsed = serde_json::from_value(item.clone());
                items.push(parsed.map_err(|error| self.strange(collection, &error))?);
            }
            token = page.next_page_token;
            if token.is_empty() {
                return Ok(items);
            }
        }
        let message = format!("{} lists more than {} {collection}", self.url(), PAGES_MAX * PAGE_SIZE);
        Err(Error::new(Kind::ResourceExhausted, message))
    }

    /// Calls a verb that answers with an operation, and takes the operation's response.
    async fn operate<T: DeserializeOwned>(&self, tail: &str, body: &Value) -> Result<T, Error> {
        let operation: OperationResource = self.transport.post(self.path(tail), body).await?.body;
        if let Some(error) = operation.error {
            return Err(Error::new(Kind::Internal, error.message));
        }
        if !operation.done {
            let message = format!("{} is still at it; its operation is {}", self.url(), operation.name);
            return Err(Error::new(Kind::Unavailable, message));
        }
        serde_json::from_value(operation.response).map_err(|error| self.strange(tail, &error))
    }

    fn strange(&self, what: &str, error: &serde_json::Error) -> Error {
        let message = format!("{} answered {what} as a bellwether server does not: {error}", self.url());
        Error::new(Kind::Internal, message)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListPage {
    #[serde(default)]
    next_page_token: String,
    #[serde(flatten)]
    items: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct OperationResource {
    name: String,
    #[serde(default)]
    done: bool,
    #[serde(default)]
    response: Value,
    error: Option<OperationError>,
}

#[derive(Debug, Deserialize)]
struct OperationError {
    message: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UploadResponse {
    model: String,
    model_version_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeployResponse {
    deployed_model: DeployedModelResource,
}

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

#[derive(Debug, Serialize)]
struct PredictBody<'a> {
    instances: Vec<InstanceBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<ParametersBody>,
}

#[derive(Debug, Serialize)]
struct ParametersBody {
    as_of: Date,
}

/// JSON has no NaN; serde_json writes it as null, which is how a missing value travels.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum InstanceBody<'a> {
    Symbol { symbol: &'a str },
    Vector(&'a [f32]),
}

impl<'a> From<&'a Instance> for InstanceBody<'a> {
    fn from(instance: &'a Instance) -> Self {
        match instance {
            Instance::Symbol(symbol) => Self::Symbol { symbol },
            Instance::Vector(vector) => Self::Vector(vector),
        }
    }
}

/// Limits in the names of the API; none where none is given.
fn limits_body(limits: DeploymentLimits) -> Option<Value> {
    let given = [
        ("maxBatchRows", limits.max_batch_rows),
        ("maxDelayUs", limits.max_delay_us),
        ("maxQueuedRequests", limits.max_queued_requests),
        ("maxRowsPerRequest", limits.max_rows_per_request),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
    Some(given.collect::<serde_json::Map<_, _>>()).filter(|given| !given.is_empty()).map(Value::Object)
}

/// The `file://` URI of a directory of this machine.
fn file_uri(dir: &Path) -> Result<String, Error> {
    let absolute = dir.canonicalize().map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::InvalidArgument,
        };
        Error::new(kind, format!("cannot read the bundle directory {}: {error}", dir.display()))
    })?;
    let text = absolute.to_str().ok_or_else(|| {
        Error::invalid(
            "DIR",
            format!("the path of the bundle directory is not UTF-8: {}", absolute.display()),
        )
    })?;
    let segments: Vec<String> = text.split('/').map(segment).collect();
    Ok(format!("file://{}", segments.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_names_stays_in_its_segment() {
        let client = Client::new("http://h", "p/../q", &Access::default()).unwrap();
        let path = client.path(&format!("models/{}", segment("a/../b@1?x=y#z")));
        assert_eq!(path, "/v1/projects/p%2F..%2Fq/locations/local/models/a%2F..%2Fb%401%3Fx%3Dy%23z");
    }

    #[test]
    fn a_missing_value_travels_as_null_and_a_number_as_it_is() {
        let instances = [Instance::Vector(vec![0.1, f32::NAN, -3.0e-12]), Instance::Symbol("BRK.B".into())];
        let body = PredictBody {
            instances: instances.iter().map(InstanceBody::from).collect(),
            parameters: Some(ParametersBody { as_of: jiff::civil::date(2022, 12, 28) }),
        };
        let expected =
            r#"{"instances":[[0.1,null,-3e-12],{"symbol":"BRK.B"}],"parameters":{"as_of":"2022-12-28"}}"#;
        assert_eq!(serde_json::to_string(&body).unwrap(), expected);
    }

    #[test]
    fn a_directory_becomes_a_uri() {
        let dir = tempfile::tempdir().unwrap();
        let spaced = dir.path().join("a b");
        std::fs::create_dir(&spaced).unwrap();
        assert!(file_uri(&spaced).unwrap().ends_with("/a%20b"));
        assert_eq!(file_uri(&dir.path().join("gone")).unwrap_err().kind(), Kind::NotFound);
    }
}
