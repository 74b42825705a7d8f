//! From a method and a raw URL path to the call it means: `/v1/projects/P/locations/L/models/M%401:verb`.
//!
//! The table of calls lists all of Vertex AI's model, endpoint, data set, custom job and batch prediction calls, so that one this version
//! does not offer is told apart from one that does not exist.

use std::borrow::Cow;

use axum::http::Method;
use platform::{Error, Kind};

use super::error::ApiError;
use crate::named::decoded;

const SEGMENT_LENGTH_MAX: usize = 63;
/// No place is so deep.
const SEGMENTS_MAX: usize = 12;

/// Project and location of a path. The location is echoed in names and is no partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parent {
    /// The project.
    pub(crate) project: String,
    /// The location, as the client gave it.
    pub(crate) location: String,
}

impl Parent {
    /// The resource name of something in here: `projects/P/locations/L/TAIL`.
    pub(crate) fn name(&self, tail: &str) -> String {
        self.name_of("", tail)
    }

    /// The same of `COLLECTION/ID`, given as `COLLECTION/` and `ID`. By hand, as every answer has one: `format!` takes several times
    /// as long.
    pub(crate) fn name_of(&self, collection: &str, id: &str) -> String {
        let parts = ["projects/", &self.project, "/locations/", &self.location, "/", collection, id];
        parts.concat()
    }
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Project and location.
    pub(crate) parent: Parent,
    /// Id of the model (perhaps with `@version`), endpoint, data set, job or operation; empty for a whole collection.
    pub(crate) id: String,
    /// Operations, one or all: the resource they are nested under, `models/x`; absent at the top.
    pub(crate) nested_under: Option<String>,
    /// The call.
    pub(crate) call: Call,
}

/// The calls this version answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// `POST models:upload`
    UploadModel,
    /// `GET models/M`
    GetModel,
    /// `GET models`
    ListModels,
    /// `GET models/M:listVersions`
    ListModelVersions,
    /// `PATCH models/M`
    UpdateModel,
    /// `DELETE models/M`
    DeleteModel,
    /// `DELETE models/M@v:deleteVersion`
    DeleteModelVersion,
    /// `POST models/M@v:mergeVersionAliases`
    MergeVersionAliases,
    /// `PATCH endpoints/E`
    UpdateEndpoint,
    /// `POST endpoints/E:update`
    UpdateEndpointLongRunning,
    /// `DELETE endpoints/E`
    DeleteEndpoint,
    /// `POST endpoints`
    CreateEndpoint,
    /// `GET endpoints/E`
    GetEndpoint,
    /// `GET endpoints`
    ListEndpoints,
    /// `POST endpoints/E:deployModel`
    DeployModel,
    /// `POST endpoints/E:undeployModel`
    UndeployModel,
    /// `POST endpoints/E:mutateDeployedModel`
    MutateDeployedModel,
    /// `GET endpoints/E/shadows`, which is ours
    ListShadows,
    /// `POST endpoints/E:predict`
    Predict,
    /// `POST endpoints/E:rawPredict`
    RawPredict,
    /// `POST datasets`
    CreateDataset,
    /// `GET datasets/D`
    GetDataset,
    /// `GET datasets`
    ListDatasets,
    /// `POST datasets/D:import`
    ImportData,
    /// `POST customJobs`
    CreateCustomJob,
    /// `GET customJobs/J`
    GetCustomJob,
    /// `GET customJobs`
    ListCustomJobs,
    /// `POST customJobs/J:cancel`
    CancelCustomJob,
    /// `POST customJobs/J:resume`, which is ours
    ResumeCustomJob,
    /// `DELETE customJobs/J`
    DeleteCustomJob,
    /// `GET customJobs/J/logs`, which is ours
    ReadCustomJobLog,
    /// `POST batchPredictionJobs`
    CreateBatchPredictionJob,
    /// `GET batchPredictionJobs/J`
    GetBatchPredictionJob,
    /// `GET batchPredictionJobs`
    ListBatchPredictionJobs,
    /// `POST batchPredictionJobs/J:cancel`
    CancelBatchPredictionJob,
    /// `DELETE batchPredictionJobs/J`
    DeleteBatchPredictionJob,
    /// `GET operations/O`, `POST operations/O:wait`: operations are finished when they are recorded.
    GetOperation,
    /// `GET operations`
    ListOperations,
    /// `POST operations/O:cancel`
    CancelOperation,
    /// `DELETE operations/O`
    DeleteOperation,
}

impl Call {
    /// What the call is counted under.
    pub(crate) fn route(self) -> &'static str {
        match self {
            Self::UploadModel => "vertex.UploadModel",
            Self::GetModel => "vertex.GetModel",
            Self::ListModels => "vertex.ListModels",
            Self::ListModelVersions => "vertex.ListModelVersions",
            Self::UpdateModel => "vertex.UpdateModel",
            Self::DeleteModel => "vertex.DeleteModel",
            Self::DeleteModelVersion => "vertex.DeleteModelVersion",
            Self::MergeVersionAliases => "vertex.MergeVersionAliases",
            Self::UpdateEndpoint => "vertex.UpdateEndpoint",
            Self::UpdateEndpointLongRunning => "vertex.UpdateEndpointLongRunning",
            Self::DeleteEndpoint => "vertex.DeleteEndpoint",
            Self::CreateEndpoint => "vertex.CreateEndpoint",
            Self::GetEndpoint => "vertex.GetEndpoint",
            Self::ListEndpoints => "vertex.ListEndpoints",
            Self::DeployModel => "vertex.DeployModel",
            Self::UndeployModel => "vertex.UndeployModel",
            Self::MutateDeployedModel => "vertex.MutateDeployedModel",
            Self::ListShadows => "vertex.ListShadows",
            Self::Predict => "vertex.Predict",
            Self::RawPredict => "vertex.RawPredict",
            Self::CreateDataset => "vertex.CreateDataset",
            Self::GetDataset => "vertex.GetDataset",
            Self::ListDatasets => "vertex.ListDatasets",
            Self::ImportData => "vertex.ImportData",
            Self::CreateCustomJob => "vertex.CreateCustomJob",
            Self::GetCustomJob => "vertex.GetCustomJob",
            Self::ListCustomJobs => "vertex.ListCustomJobs",
            Self::CancelCustomJob => "vertex.CancelCustomJob",
            Self::ResumeCustomJob => "vertex.ResumeCustomJob",
            Self::DeleteCustomJob => "vertex.DeleteCustomJob",
            Self::ReadCustomJobLog => "vertex.ReadCustomJobLog",
            Self::CreateBatchPredictionJob => "vertex.CreateBatchPredictionJob",
            Self::GetBatchPredictionJob => "vertex.GetBatchPredictionJob",
            Self::ListBatchPredictionJobs => "vertex.ListBatchPredictionJobs",
            Self::CancelBatchPredictionJob => "vertex.CancelBatchPredictionJob",
            Self::DeleteBatchPredictionJob => "vertex.DeleteBatchPredictionJob",
            Self::GetOperation => "vertex.GetOperation",
            Self::ListOperations => "vertex.ListOperations",
            Self::CancelOperation => "vertex.CancelOperation",
            Self::DeleteOperation => "vertex.DeleteOperation",
        }
    }
}

/// Where in the resource tree a path points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Models,
    Model,
    Endpoints,
    Endpoint,
    Shadows,
    Datasets,
    Dataset,
    CustomJobs,
    CustomJob,
    CustomJobLog,
    BatchPredictionJobs,
    BatchPredictionJob,
    Operations,
    Operation,
}

/// One of Vertex AI's calls.
struct Rpc {
    place: Place,
    method: Method,
    /// What follows the colon; empty if there is none.
    verb: &'static str,
    name: &'static str,
    /// The call, if this version answers it.
    offered: Option<Call>,
}

const fn offered(place: Place, method: Method, verb: &'static str, call: Call) -> Rpc {
    Rpc { place, method, verb, name: "", offered: Some(call) }
}

const fn known(place: Place, method: Method, verb: &'static str, name: &'static str) -> Rpc {
    Rpc { place, method, verb, name, offered: None }
}

/// Vertex AI's calls on models, endpoints, data sets, custom jobs and operations, and ours.
const RPCS: &[Rpc] = &[
    offered(Place::Models, Method::POST, "upload", Call::UploadModel),
    offered(Place::Models, Method::GET, "", Call::ListModels),
    known(Place::Models, Method::POST, "copy", "CopyModel"),
    offered(Place::Model, Method::GET, "", Call::GetModel),
    offered(Place::Model, Method::GET, "listVersions", Call::ListModelVersions),
    offered(Place::Model, Method::PATCH, "", Call::UpdateModel),
    offered(Place::Model, Method::DELETE, "", Call::DeleteModel),
    offered(Place::Model, Method::DELETE, "deleteVersion", Call::DeleteModelVersion),
    offered(Place::Model, Method::POST, "mergeVersionAliases", Call::MergeVersionAliases),
    known(Place::Model, Method::POST, "export", "ExportModel"),
    offered(Place::Endpoints, Method::POST, "", Call::CreateEndpoint),
    offered(Place::Endpoints, Method::GET, "", Call::ListEndpoints),
    offered(Place::Endpoint, Method::GET, "", Call::GetEndpoint),
    offered(Place::Endpoint, Method::POST, "deployModel", Call::DeployModel),
    offered(Place::Endpoint, Method::POST, "undeployModel", Call::UndeployModel),
    offered(Place::Endpoint, Method::POST, "predict", Call::Predict),
    offered(Place::Endpoint, Method::PATCH, "", Call::UpdateEndpoint),
    offered(Place::Endpoint, Method::DELETE, "", Call::DeleteEndpoint),
    offered(Place::Endpoint, Method::POST, "update", Call::UpdateEndpointLongRunning),
    offered(Place::Endpoint, Method::POST, "mutateDeployedModel", Call::MutateDeployedModel),
    offered(Place::Endpoint, Method::POST, "rawPredict", Call::RawPredict),
    offered(Place::Shadows, Method::GET, "", Call::ListShadows),
    known(Place::Endpoint, Method::POST, "directPredict", "DirectPredict"),
    known(Place::Endpoint, Method::POST, "directRawPredict", "DirectRawPredict"),
    known(Place::Endpoint, Method::POST, "streamRawPredict", "StreamRawPredict"),
    known(Place::Endpoint, Method::POST, "serverStreamingPredict", "ServerStreamingPredict"),
    known(Place::Endpoint, Method::POST, "explain", "Explain"),
    offered(Place::Datasets, Method::POST, "", Call::CreateDataset),
    offered(Place::Datasets, Method::GET, "", Call::ListDatasets),
    offered(Place::Dataset, Method::GET, "", Call::GetDataset),
    offered(Place::Dataset, Method::POST, "import", Call::ImportData),
    known(Place::Dataset, Method::PATCH, "", "UpdateDataset"),
    known(Place::Dataset, Method::DELETE, "", "DeleteDataset"),
    known(Place::Dataset, Method::POST, "export", "ExportData"),
    offered(Place::CustomJobs, Method::POST, "", Call::CreateCustomJob),
    offered(Place::CustomJobs, Method::GET, "", Call::ListCustomJobs),
    offered(Place::CustomJob, Method::GET, "", Call::GetCustomJob),
    offered(Place::CustomJob, Method::DELETE, "", Call::DeleteCustomJob),
    offered(Place::CustomJob, Method::POST, "cancel", Call::CancelCustomJob),
    offered(Place::CustomJob, Method::POST, "resume", Call::ResumeCustomJob),
    offered(Place::CustomJobLog, Method::GET, "", Call::ReadCustomJobLog),
    offered(Place::BatchPredictionJobs, Method::POST, "", Call::CreateBatchPredictionJob),
    offered(Place::BatchPredictionJobs, Method::GET, "", Call::ListBatchPredictionJobs),
    offered(Place::BatchPredictionJob, Method::GET, "", Call::GetBatchPredictionJob),
    offered(Place::BatchPredictionJob, Method::DELETE, "", Call::DeleteBatchPredictionJob),
    offered(Place::BatchPredictionJob, Method::POST, "cancel", Call::CancelBatchPredictionJob),
    offered(Place::Operations, Method::GET, "", Call::ListOperations),
    offered(Place::Operation, Method::GET, "", Call::GetOperation),
    offered(Place::Operation, Method::POST, "wait", Call::GetOperation),
    offered(Place::Operation, Method::POST, "cancel", Call::CancelOperation),
    offered(Place::Operation, Method::DELETE, "", Call::DeleteOperation),
];

impl Address {
    /// Reads a method and a raw (still percent-encoded) path.
    ///
    /// # Errors
    /// 404 for a path that means nothing, 405 for a method it does not have, 501 for a call of Vertex AI that
    /// this version does not offer, 400 for a project or location that cannot be one.
    pub(crate) fn parse(method: &Method, path: &str) -> Result<Self, ApiError> {
        let unknown = || {
            ApiError::unknown_path(
                path,
                "see .../models, .../endpoints, .../datasets, .../customJobs, .../batchPredictionJobs, .../operations",
            )
        };
        let mut texts = [const { Cow::Borrowed("") }; SEGMENTS_MAX];
        let mut count = 0;
        for segment in path.split('/') {
            *texts.get_mut(count).ok_or_else(unknown)? = decode(segment)?;
            count += 1;
        }
        let mut segments: [&str; SEGMENTS_MAX] = std::array::from_fn(|at| &*texts[at]);
        // A path has at least one segment, and `:verb` follows the last one.
        let (last, verb) = segments[count - 1].rsplit_once(':').unwrap_or((segments[count - 1], ""));
        segments[count - 1] = last;
        let ["", version, "projects", project, "locations", location, resource @ ..] = &segments[..count]
        else {
            return Err(unknown());
        };
        let parent = Parent { project: sane("project", project)?, location: sane("location", location)? };
        let (place, id, nested_under) = place(resource).ok_or_else(unknown)?;
        let polling_only = *version == "ui";
        if polling_only && !matches!(place, Place::Operation | Place::Operations) {
            return Err(unknown());
        }
        let call = call(place, method, verb, path)?;
        Ok(Self { parent, id, nested_under, call })
    }
}

/// What this version answers, for who describes it: method in lower case, template of the path, call.
pub(crate) fn documented() -> Vec<(&'static str, String, Call)> {
    const WITHIN: &str = "projects/{project}/locations/{location}";
    let mut all = Vec::new();
    for rpc in RPCS {
        let Some(call) = rpc.offered else { continue };
        let method = match rpc.method {
            Method::POST => "post",
            Method::PATCH => "patch",
            Method::PUT => "put",
            Method::DELETE => "delete",
            _ => "get",
        };
        let verb = if rpc.verb.is_empty() { String::new() } else { format!(":{}", rpc.verb) };
        // Google's SDK polls operations under another prefix.
        let prefixes: &[&str] =
            if matches!(rpc.place, Place::Operation | Place::Operations) { &["v1", "ui"] } else { &["v1"] };
        for prefix in prefixes {
            for template in templates(rpc.place) {
                all.push((method, format!("/{prefix}/{WITHIN}/{template}{verb}"), call));
            }
        }
    }
    all
}

/// Templates of the paths to a place, after the location.
fn templates(place: Place) -> &'static [&'static str] {
    match place {
        Place::Models => &["models"],
        Place::Model => &["models/{model}"],
        Place::Endpoints => &["endpoints"],
        Place::Endpoint => &["endpoints/{endpoint}"],
        Place::Datasets => &["datasets"],
        Place::Dataset => &["datasets/{dataset}"],
        Place::Shadows => &["endpoints/{endpoint}/shadows"],
        Place::CustomJobs => &["customJobs"],
        Place::CustomJob => &["customJobs/{customJob}"],
        Place::CustomJobLog => &["customJobs/{customJob}/logs"],
        Place::BatchPredictionJobs => &["batchPredictionJobs"],
        Place::BatchPredictionJob => &["batchPredictionJobs/{batchPredictionJob}"],
        Place::Operations => &[
            "operations",
            "models/{model}/operations",
            "endpoints/{endpoint}/operations",
            "datasets/{dataset}/operations",
            "customJobs/{customJob}/operations",
        ],
        Place::Operation => &[
            "operations/{operation}",
            "models/{model}/operations/{operation}",
            "endpoints/{endpoint}/operations/{operation}",
            "datasets/{dataset}/operations/{operation}",
            "customJobs/{customJob}/operations/{operation}",
        ],
    }
}

/// The place of the segments after the location, the id they end with, and what an operation is nested under.
fn place(resource: &[&str]) -> Option<(Place, String, Option<String>)> {
    let at = |place, id: &str| Some((place, id.to_owned(), None));
    match resource {
        [.., ""] | ["", ..] => None,
        ["models"] => at(Place::Models, ""),
        ["models", id] => at(Place::Model, id),
        ["endpoints"] => at(Place::Endpoints, ""),
        ["endpoints", id] => at(Place::Endpoint, id),
        ["endpoints", id, "shadows"] => at(Place::Shadows, id),
        ["datasets"] => at(Place::Datasets, ""),
        ["datasets", id] => at(Place::Dataset, id),
        ["customJobs"] => at(Place::CustomJobs, ""),
        ["customJobs", id] => at(Place::CustomJob, id),
        ["customJobs", id, "logs"] => at(Place::CustomJobLog, id),
        ["batchPredictionJobs"] => at(Place::BatchPredictionJobs, ""),
        ["batchPredictionJobs", id] => at(Place::BatchPredictionJob, id),
        ["operations"] => at(Place::Operations, ""),
        ["operations", id] => at(Place::Operation, id),
        [
            collection @ ("models" | "endpoints" | "datasets" | "customJobs" | "batchPredictionJobs"),
            id,
            "operations",
        ] => Some((Place::Operations, String::new(), Some(format!("{collection}/{id}")))),
        [
            collection @ ("models" | "endpoints" | "datasets" | "customJobs" | "batchPredictionJobs"),
            id,
            "operations",
            operation,
        ] => Some((Place::Operation, (*operation).to_owned(), Some(format!("{collection}/{id}")))),
        _ => None,
    }
}

fn call(place: Place, method: &Method, verb: &str, path: &str) -> Result<Call, ApiError> {
    let here = || RPCS.iter().filter(|rpc| rpc.place == place && rpc.verb == verb);
    if let Some(rpc) = here().find(|rpc| rpc.method == method) {
        return rpc.offered.ok_or_else(|| {
            let message = format!("{} ({method} {path}) is not offered by this version", rpc.name);
            Error::new(Kind::Unimplemented, message).into()
        });
    }
    let allowed: Vec<&str> = here().map(|rpc| rpc.method.as_str()).collect();
    if !allowed.is_empty() {
        return Err(ApiError::wrong_method(method, path, &allowed.join(", ")));
    }
    let verbs: Vec<String> = RPCS
        .iter()
        .filter(|rpc| rpc.place == place && !rpc.verb.is_empty())
        .map(|rpc| format!(":{}", rpc.verb))
        .collect();
    let hint =
        if verbs.is_empty() { "it takes no verb".to_owned() } else { format!("verbs: {}", verbs.join(", ")) };
    Err(ApiError::unknown_path(path, &hint))
}

fn decode(segment: &str) -> Result<Cow<'_, str>, ApiError> {
    decoded(segment).map_err(|_| {
        Error::new(Kind::InvalidArgument, format!("path segment \"{segment}\" is not UTF-8")).into()
    })
}

/// A project or location: letters, digits, `-`, `_` and `.`, led by a letter or digit.
fn sane(what: &str, text: &str) -> Result<String, Error> {
    let led_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let all_well = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if led_well && all_well && text.len() <= SEGMENT_LENGTH_MAX {
        return Ok(text.to_owned());
    }
    let rule = format!(
        "1 to {SEGMENT_LENGTH_MAX} letters, digits, \"-\", \"_\" and \".\", led by a letter or digit"
    );
    let message = format!("{what} {text:?} is not one: give {rule}");
    Err(Error::invalid(what, message))
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    const N: &str = "/v1/projects/p/locations/us-central1";

    fn parse(method: &Method, tail: &str) -> (Call, String, Option<String>) {
        let address = Address::parse(method, &format!("{N}/{tail}")).unwrap();
        assert_eq!(address.parent.name("x"), "projects/p/locations/us-central1/x");
        (address.call, address.id, address.nested_under)
    }

    fn refusal(method: &Method, path: &str) -> (u16, String) {
        let error = Address::parse(method, path).unwrap_err();
        let text = format!("{error:?}");
        (error.into_response().status().as_u16(), text)
    }

    #[test]
    fn every_offered_call_has_its_path() {
        let (get, post) = (&Method::GET, &Method::POST);
        let (patch, delete) = (&Method::PATCH, &Method::DELETE);
        let cases = [
            (patch, "models/m", Call::UpdateModel, "m"),
            (delete, "models/m", Call::DeleteModel, "m"),
            (delete, "models/m@2:deleteVersion", Call::DeleteModelVersion, "m@2"),
            (post, "models/m@1:mergeVersionAliases", Call::MergeVersionAliases, "m@1"),
            (patch, "endpoints/e", Call::UpdateEndpoint, "e"),
            (delete, "endpoints/e", Call::DeleteEndpoint, "e"),
            (post, "models:upload", Call::UploadModel, ""),
            (get, "models", Call::ListModels, ""),
            (get, "models/m-1", Call::GetModel, "m-1"),
            (get, "models/m%402", Call::GetModel, "m@2"),
            (get, "models/m@challenger", Call::GetModel, "m@challenger"),
            (get, "models/m%401:listVersions", Call::ListModelVersions, "m@1"),
            (get, "models/m%401%3AlistVersions", Call::ListModelVersions, "m@1"),
            (post, "endpoints", Call::CreateEndpoint, ""),
            (get, "endpoints", Call::ListEndpoints, ""),
            (get, "endpoints/e", Call::GetEndpoint, "e"),
            (post, "endpoints/e:deployModel", Call::DeployModel, "e"),
            (post, "endpoints/e:undeployModel", Call::UndeployModel, "e"),
            (post, "endpoints/e:predict", Call::Predict, "e"),
            (post, "endpoints/e:rawPredict", Call::RawPredict, "e"),
            (post, "endpoints/e:mutateDeployedModel", Call::MutateDeployedModel, "e"),
            (post, "endpoints/e:update", Call::UpdateEndpointLongRunning, "e"),
            (get, "endpoints/e/shadows", Call::ListShadows, "e"),
            (post, "datasets", Call::CreateDataset, ""),
            (get, "datasets", Call::ListDatasets, ""),
            (get, "datasets/us-stocks", Call::GetDataset, "us-stocks"),
            (post, "datasets/us-stocks:import", Call::ImportData, "us-stocks"),
            (post, "customJobs", Call::CreateCustomJob, ""),
            (get, "customJobs", Call::ListCustomJobs, ""),
            (get, "customJobs/7", Call::GetCustomJob, "7"),
            (&Method::DELETE, "customJobs/7", Call::DeleteCustomJob, "7"),
            (post, "customJobs/7:cancel", Call::CancelCustomJob, "7"),
            (post, "customJobs/7:resume", Call::ResumeCustomJob, "7"),
            (get, "customJobs/7/logs", Call::ReadCustomJobLog, "7"),
            (post, "batchPredictionJobs", Call::CreateBatchPredictionJob, ""),
            (get, "batchPredictionJobs/7", Call::GetBatchPredictionJob, "7"),
            (get, "batchPredictionJobs", Call::ListBatchPredictionJobs, ""),
            (post, "batchPredictionJobs/7:cancel", Call::CancelBatchPredictionJob, "7"),
            (&Method::DELETE, "batchPredictionJobs/7", Call::DeleteBatchPredictionJob, "7"),
            (get, "operations/7", Call::GetOperation, "7"),
            (post, "operations/7:wait", Call::GetOperation, "7"),
            (post, "operations/7:cancel", Call::CancelOperation, "7"),
            (delete, "operations/7", Call::DeleteOperation, "7"),
            (get, "operations", Call::ListOperations, ""),
        ];
        for (method, tail, call, id) in cases {
            assert_eq!(parse(method, tail), (call, id.to_owned(), None), "{tail}");
        }
        let nested = parse(get, "endpoints/e/operations/7");
        assert_eq!(nested, (Call::GetOperation, "7".to_owned(), Some("endpoints/e".to_owned())));
        let nested = parse(get, "models/m/operations");
        assert_eq!(nested, (Call::ListOperations, String::new(), Some("models/m".to_owned())));
    }

    #[test]
    fn the_polling_prefix_serves_operations_only() {
        for path in
            ["/ui/projects/p/locations/l/operations/7", "/ui/projects/p/locations/l/models/m/operations/7"]
        {
            assert_eq!(Address::parse(&Method::GET, path).unwrap().call, Call::GetOperation, "{path}");
        }
        assert_eq!(refusal(&Method::GET, "/ui/projects/p/locations/l/models").0, 404);
    }

    #[test]
    fn what_vertex_has_and_we_do_not_is_named() {
        let cases = [
            (Method::POST, "models/m:export", "ExportModel"),
            (Method::POST, "models:copy", "CopyModel"),
            (Method::POST, "endpoints/e:explain", "Explain"),
            (Method::POST, "endpoints/e:streamRawPredict", "StreamRawPredict"),
            (Method::POST, "endpoints/e:directPredict", "DirectPredict"),
            (Method::DELETE, "datasets/d", "DeleteDataset"),
        ];
        for (method, tail, name) in cases {
            let (code, text) = refusal(&method, &format!("{N}/{tail}"));
            assert_eq!(code, 501, "{tail}");
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn a_wrong_method_and_an_unknown_path_differ() {
        let (code, text) = refusal(&Method::GET, &format!("{N}/endpoints/e:predict"));
        assert_eq!(code, 405);
        assert!(text.contains("POST"), "{text}");
        assert_eq!(refusal(&Method::PUT, &format!("{N}/models")).0, 405);
        for tail in [
            "",
            "/",
            "/models/",
            "/models/a/b",
            "/features",
            "/models/m:frob",
            "/endpoints:upload",
            "/operations/7/x",
            "/customJobs/7/log",
        ] {
            assert_eq!(refusal(&Method::GET, &format!("{N}{tail}")).0, 404, "{tail}");
        }
        assert_eq!(refusal(&Method::GET, "/v1/projects/p/models").0, 404);
    }

    #[test]
    fn a_hostile_project_or_location_is_refused() {
        let long = "a".repeat(64);
        for bad in ["..", "%2E%2E", "a%2Fb", "", "-a", "a%20b", "a%00", "%E2%82%AC", &long] {
            assert_eq!(
                refusal(&Method::GET, &format!("/v1/projects/{bad}/locations/l/models")).0,
                400,
                "{bad}"
            );
            assert_eq!(
                refusal(&Method::GET, &format!("/v1/projects/p/locations/{bad}/models")).0,
                400,
                "{bad}"
            );
        }
        assert_eq!(refusal(&Method::GET, "/v1/projects/%FF/locations/l/models").0, 400);
    }
}
