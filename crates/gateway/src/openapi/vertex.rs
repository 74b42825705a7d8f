//! Vertex AI's calls, from the table by which they are answered.

use super::operation::{Content, Operation};
use crate::dialect::Dialect;
use crate::vertex::path::{Call, documented};

const JSON: &[Content] = &[("application/json", Some("Object"))];

pub(super) fn operations() -> Vec<Operation> {
    let mut all = Vec::new();
    for (method, path, call) in documented() {
        let operation = Operation::new(Dialect::Vertex, method, path, call.route())
            .summary(summary(call))
            .query(query(call))
            .takes(if method == "get" || method == "delete" { &[] } else { takes(call) })
            .gives("200", "The resource, a page of them, or an operation", JSON);
        all.push(if call == Call::Predict { operation.asks() } else { operation });
    }
    all
}

fn summary(call: Call) -> &'static str {
    match call {
        Call::UploadModel => "Registers a model, or a version of one",
        Call::GetModel => "A model's version",
        Call::ListModels => "The models of a project",
        Call::ListModelVersions => "The versions of a model",
        Call::UpdateModel => "Changes what is said of a model, or of a version",
        Call::DeleteModel => "Deletes a model",
        Call::DeleteModelVersion => "Deletes a version",
        Call::MergeVersionAliases => "Gives a version aliases, or takes them (-NAME)",
        Call::UpdateEndpoint => "Changes an endpoint's names or traffic",
        Call::DeleteEndpoint => "Deletes an endpoint",
        Call::CreateEndpoint => "Makes an endpoint",
        Call::GetEndpoint => "An endpoint",
        Call::ListEndpoints => "The endpoints of a project",
        Call::DeployModel => "Brings a version into service",
        Call::UndeployModel => "Takes a deployment out of service",
        Call::Predict => "Asks an endpoint",
        Call::CreateDataset => "Makes a data set",
        Call::GetDataset => "A data set",
        Call::ListDatasets => "The data sets of a project",
        Call::ImportData => "Appends to a data set",
        Call::CreateCustomJob => "Trains a pipeline in the background",
        Call::GetCustomJob => "A training job",
        Call::ListCustomJobs => "The training jobs of a project",
        Call::CancelCustomJob => "Stops a training job",
        Call::ResumeCustomJob => "Goes on with a training job",
        Call::DeleteCustomJob => "Deletes a training job",
        Call::ReadCustomJobLog => "What a training job has written",
        Call::GetOperation => "An operation",
        #[allow(unreachable_patterns, reason = "a call that is offered next is described when it is known")]
        _ => "A call of Vertex AI",
    }
}

fn query(call: Call) -> &'static [&'static str] {
    match call {
        Call::ListModels | Call::ListModelVersions | Call::ListEndpoints => {
            &["pageSize", "pageToken", "filter", "orderBy", "readMask"]
        }
        Call::ListDatasets | Call::ListCustomJobs => &["pageSize", "pageToken"],
        Call::CreateEndpoint => &["endpointId"],
        Call::UpdateModel | Call::UpdateEndpoint => &["updateMask"],
        Call::DeleteEndpoint | Call::DeleteModel | Call::DeleteModelVersion => &["force"],
        Call::CreateDataset => &["datasetId", "fileName"],
        Call::ImportData => &["fileName", "table"],
        Call::ReadCustomJobLog => &["offset", "follow"],
        _ => &[],
    }
}

fn takes(call: Call) -> &'static [Content] {
    match call {
        Call::UploadModel => &[("application/json", Some("UploadModelRequest"))],
        Call::CreateEndpoint | Call::UpdateEndpoint => &[("application/json", Some("Endpoint"))],
        Call::UpdateModel => &[("application/json", Some("Model"))],
        Call::DeployModel => &[("application/json", Some("DeployModelRequest"))],
        Call::UndeployModel => &[("application/json", Some("UndeployModelRequest"))],
        Call::MergeVersionAliases => &[("application/json", Some("MergeVersionAliasesRequest"))],
        Call::Predict => &[("application/json", Some("PredictRequest"))],
        Call::CreateCustomJob => &[("application/json", Some("CustomJob"))],
        Call::CreateDataset | Call::ImportData => {
            &[("application/json", Some("Object")), ("text/csv", None), ("application/octet-stream", None)]
        }
        _ => JSON,
    }
}
