//! `endpoint create|list|show|deploy|resize|undeploy`: the same output from a server and from the data directory.

use std::collections::BTreeMap;

use platform::{
    CreateEndpoint, Deploy, Deployment, DeploymentLimits, Endpoint, Error, FailedAttempt, Page, Redeploy,
    ResourceRequest, Standing, core_count, limits_in_effect, verb,
};
use serde::Serialize;

use crate::args::endpoint::{EndpointDeployArgs, EndpointNameArgs, EndpointResizeArgs, EndpointUndeployArgs};
use crate::client::DeployRequest;
use crate::client::resource::{DeployedModelResource, EndpointResource, FailedAttemptResource, last_segment};
use crate::context::{Backend, Context};
use crate::output::{Column, Show, table};

/// An endpoint and what is deployed to it.
#[derive(Debug, Serialize)]
pub(crate) struct EndpointView {
    endpoint: String,
    display_name: String,
    created_at: String,
    deployments: Vec<DeploymentView>,
    traffic_split: BTreeMap<String, u8>,
    /// The newest change of what it serves that came to nothing, unless one has succeeded since.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_attempt: Option<FailedAttemptView>,
    /// Cores of the machine that serves it, and those that all deployments there ask for: for people alone, as the data
    /// directory by itself serves nothing.
    #[serde(skip)]
    machine: Option<MachineView>,
}

/// A change that failed, what was to come into service by it, and why it did not.
#[derive(Debug, Serialize)]
struct FailedAttemptView {
    time: String,
    /// The verb: `deploy`, `resize`, `undeploy`, `traffic`.
    attempt: String,
    deployment: String,
    model: String,
    operation: String,
    reason: String,
}

impl FailedAttemptView {
    /// The verb of this program by which an operation of this kind is begun.
    fn verb(kind: &str) -> String {
        match kind {
            verb::DEPLOY => "deploy",
            verb::REDEPLOY => "resize",
            verb::UNDEPLOY => "undeploy",
            verb::UPDATE => "traffic",
            other => other,
        }
        .to_owned()
    }

    /// A line for people.
    fn text(&self, endpoint: &str) -> String {
        let Self { time, attempt, deployment, model, reason, .. } = self;
        format!(
            "endpoint {endpoint}: {attempt} of {model} as {deployment} failed at {time}, and what was served before is still served: {reason}\n"
        )
    }
}

impl From<FailedAttempt> for FailedAttemptView {
    fn from(attempt: FailedAttempt) -> Self {
        Self {
            time: attempt.failed_at.to_string(),
            attempt: Self::verb(&attempt.kind),
            deployment: attempt.deployment,
            model: format!("{}@{}", attempt.model, attempt.version),
            operation: attempt.operation,
            reason: attempt.failure.message,
        }
    }
}

impl From<FailedAttemptResource> for FailedAttemptView {
    fn from(attempt: FailedAttemptResource) -> Self {
        Self {
            time: attempt.time,
            attempt: Self::verb(&attempt.kind),
            deployment: attempt.deployed_model_id,
            model: format!("{}@{}", last_segment(&attempt.model), attempt.model_version_id),
            operation: last_segment(&attempt.operation).to_owned(),
            reason: attempt.error.message,
        }
    }
}

/// What the machine has, and what is asked of it.
#[derive(Debug, Clone, Copy)]
struct MachineView {
    cores: usize,
    cores_asked: f64,
}

impl MachineView {
    /// A line about cores that are asked for more than once.
    fn text(self) -> String {
        if self.cores_asked <= self.cores as f64 {
            return String::new();
        }
        format!(
            "over-committed: all deployments ask for {} cores and the machine has {}; under load they share them\n",
            self.cores_asked, self.cores
        )
    }
}

#[derive(Debug, Serialize)]
struct DeploymentView {
    id: String,
    model: String,
    version: String,
    cpu_cores: Option<f64>,
    memory_gb: Option<f64>,
    load: String,
    limits: DeploymentLimits,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow_percent: Option<u8>,
    /// How it is doing, where a server says so; for people alone.
    #[serde(skip)]
    state: Option<String>,
}

impl From<Deployment> for DeploymentView {
    fn from(deployment: Deployment) -> Self {
        Self {
            id: deployment.id,
            model: deployment.model,
            version: deployment.version.to_string(),
            cpu_cores: Some(deployment.cpu_cores),
            memory_gb: Some(deployment.memory_gb),
            load: deployment.residence.word().to_owned(),
            limits: limits_in_effect(deployment.limits),
            shadow_percent: deployment.shadow_percent,
            state: None,
        }
    }
}

impl From<DeployedModelResource> for DeploymentView {
    fn from(deployed: DeployedModelResource) -> Self {
        Self {
            id: deployed.id,
            model: last_segment(&deployed.model).to_owned(),
            version: deployed.model_version_id,
            cpu_cores: deployed.resources.as_ref().map(|resources| resources.cpu_cores),
            memory_gb: deployed.resources.as_ref().map(|resources| resources.memory_gb),
            load: deployed.load,
            limits: deployed.limits.into(),
            shadow_percent: deployed.shadow_percent,
            state: Some(deployed.status.message).filter(|state| !state.is_empty()),
        }
    }
}

impl From<Endpoint> for EndpointView {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            endpoint: endpoint.id,
            display_name: endpoint.display_name,
            created_at: endpoint.created_at.to_string(),
            deployments: endpoint.deployments.into_iter().map(DeploymentView::from).collect(),
            traffic_split: endpoint.traffic_split,
            failed_attempt: endpoint.failed_attempt.map(FailedAttemptView::from),
            machine: None,
        }
    }
}

impl From<EndpointResource> for EndpointView {
    fn from(endpoint: EndpointResource) -> Self {
        let resources = endpoint.deployed_models.iter().find_map(|deployed| deployed.resources.as_ref());
        let machine = resources.filter(|resources| resources.machine_cores > 0).map(|resources| {
            MachineView { cores: resources.machine_cores, cores_asked: resources.machine_cores_asked }
        });
        Self {
            endpoint: last_segment(&endpoint.name).to_owned(),
            display_name: endpoint.display_name,
            created_at: endpoint.create_time,
            deployments: endpoint.deployed_models.into_iter().map(DeploymentView::from).collect(),
            traffic_split: endpoint.traffic_split,
            failed_attempt: endpoint.failed_attempt.map(FailedAttemptView::from),
            machine,
        }
    }
}

const COLUMNS: [Column; 7] = [
    Column::Text("endpoint"),
    Column::Text("deployment"),
    Column::Text("model"),
    Column::Figure("traffic %"),
    Column::Figure("cores"),
    Column::Figure("memory GB"),
    Column::Text("state"),
];

impl DeploymentView {
    /// What the server says of it; from the data directory, how it is deployed.
    fn state(&self, share: u8) -> String {
        match (&self.state, self.shadow_percent) {
            (Some(state), _) => state.clone(),
            (None, Some(percent)) if share == 0 => format!("shadow of {percent} %"),
            (None, _) => self.load.clone(),
        }
    }
}

impl EndpointView {
    fn failed_text(&self) -> String {
        self.failed_attempt.as_ref().map(|attempt| attempt.text(&self.endpoint)).unwrap_or_default()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        if self.deployments.is_empty() {
            let mut row = vec![self.endpoint.clone(), "nothing deployed".to_owned()];
            row.resize(COLUMNS.len(), String::new());
            return vec![row];
        }
        let figure = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let row = |deployment: &DeploymentView| {
            vec![
                self.endpoint.clone(),
                deployment.id.clone(),
                format!("{}@{}", deployment.model, deployment.version),
                self.traffic_split.get(&deployment.id).copied().unwrap_or_default().to_string(),
                figure(deployment.cpu_cores),
                figure(deployment.memory_gb),
                deployment.state(self.traffic_split.get(&deployment.id).copied().unwrap_or_default()),
            ]
        };
        self.deployments.iter().map(row).collect()
    }
}

impl Show for EndpointView {
    fn text(&self) -> String {
        table(&COLUMNS, self.rows())
            + &self.failed_text()
            + &self.machine.map(MachineView::text).unwrap_or_default()
    }
}

/// An endpoint just made.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct CreatedView(EndpointView);

impl Show for CreatedView {
    fn text(&self) -> String {
        let name = &self.0.endpoint;
        format!("created endpoint {name}\nnext: bellwether endpoint deploy {name} --model MODEL\n")
    }
}

#[derive(Debug, Serialize)]
struct EndpointsView {
    endpoints: Vec<EndpointView>,
}

impl Show for EndpointsView {
    fn text(&self) -> String {
        if self.endpoints.is_empty() {
            return "no endpoints yet: bellwether endpoint create NAME\n".to_owned();
        }
        let machine = self.endpoints.iter().find_map(|endpoint| endpoint.machine);
        table(&COLUMNS, self.endpoints.iter().flat_map(EndpointView::rows))
            + &self.endpoints.iter().map(EndpointView::failed_text).collect::<String>()
            + &machine.map(MachineView::text).unwrap_or_default()
    }
}

/// What `deploy` and `undeploy` changed, and the endpoint since.
#[derive(Debug, Serialize)]
struct ChangedView {
    deployment: String,
    endpoint: EndpointView,
}

impl Show for ChangedView {
    fn text(&self) -> String {
        let known = self.endpoint.deployments.iter().any(|deployment| deployment.id == self.deployment);
        let done = if known { "deployed as" } else { "took out" };
        format!("{done} {}\n{}", self.deployment, self.endpoint.text())
    }
}

/// `endpoint create`
pub(crate) async fn create(context: &Context, args: EndpointNameArgs) -> Result<(), Error> {
    let view = match context.backend().await? {
        Backend::Server(client) => client.create_endpoint(&args.name).await?.into(),
        Backend::Local(platform) => {
            let request = CreateEndpoint {
                project: context.project().to_owned(),
                display_name: args.name.clone(),
                id: Some(args.name),
                description: String::new(),
                labels: BTreeMap::new(),
            };
            platform.create_endpoint(request).await?.into()
        }
    };
    context.output.show(&CreatedView(view))
}

/// `endpoint list`
pub(crate) async fn list(context: &Context) -> Result<(), Error> {
    let endpoints = match context.backend().await? {
        Backend::Server(client) => {
            client.list_endpoints().await?.into_iter().map(EndpointView::from).collect()
        }
        Backend::Local(platform) => {
            let mut page = Page { size: platform::PAGE_SIZE_MAX, token: None };
            let mut endpoints: Vec<EndpointView> = Vec::new();
            loop {
                let found = platform.list_endpoints(context.project(), &page).await?;
                endpoints.extend(found.items.into_iter().map(EndpointView::from));
                match found.next_token {
                    Some(token) => page.token = Some(token),
                    None => break,
                }
            }
            let deployments = endpoints.iter().flat_map(|endpoint| &endpoint.deployments);
            let cores_asked = deployments.filter_map(|deployment| deployment.cpu_cores).sum();
            if let Some(first) = endpoints.first_mut() {
                first.machine = Some(MachineView { cores: core_count(), cores_asked });
            }
            endpoints
        }
    };
    context.output.show(&EndpointsView { endpoints })
}

/// `endpoint show`
pub(crate) async fn show(context: &Context, args: &EndpointNameArgs) -> Result<(), Error> {
    let backend = context.backend().await?;
    context.output.show(&find(context, &backend, &args.name).await?)
}

/// `endpoint deploy`
pub(crate) async fn deploy(context: &Context, args: EndpointDeployArgs) -> Result<(), Error> {
    let backend = context.backend().await?;
    let traffic_split = args.traffic_split();
    let standing = Standing { shadow_percent: args.shadow, residence: args.load };
    let EndpointDeployArgs { name, model, size, engine, .. } = args;
    let resources = ResourceRequest::from(size);
    let deployment = match &backend {
        Backend::Server(client) => {
            let request = DeployRequest {
                endpoint: &name,
                model: &model,
                resources: &resources,
                engine: engine.as_deref(),
                traffic: traffic_split.as_ref(),
                standing,
            };
            client.deploy(&request).await?.id
        }
        Backend::Local(platform) => {
            let request = Deploy {
                project: context.project().to_owned(),
                endpoint: name.clone(),
                model,
                deployment_id: None,
                display_name: None,
                resources,
                engine,
                traffic_split,
                standing,
            };
            platform.deploy(request).await?.id
        }
    };
    let endpoint = find(context, &backend, &name).await?;
    context.output.show(&ChangedView { deployment, endpoint })
}

/// `endpoint resize`
pub(crate) async fn resize(context: &Context, args: EndpointResizeArgs) -> Result<(), Error> {
    let EndpointResizeArgs { name, deployment, size, load, shadow } = args;
    let change = Redeploy { resources: size.into(), shadow_percent: shadow, residence: load };
    if change == Redeploy::default() {
        let message = "give what is to change: --cpu-cores, --memory-gb, --machine-type, --load, --shadow or a limit (--max-...)";
        return Err(Error::invalid("endpoint resize", message));
    }
    let backend = context.backend().await?;
    match &backend {
        Backend::Server(client) => client.redeploy(&name, &deployment, &change).await?,
        Backend::Local(platform) => {
            platform.redeploy(context.project(), &name, &deployment, change).await?;
        }
    }
    let endpoint = find(context, &backend, &name).await?;
    context.output.show(&ChangedView { deployment, endpoint })
}

/// `endpoint undeploy`
pub(crate) async fn undeploy(context: &Context, args: EndpointUndeployArgs) -> Result<(), Error> {
    let EndpointUndeployArgs { name, deployment, traffic } = args;
    let traffic = traffic.map(|traffic| traffic.0);
    let backend = context.backend().await?;
    match &backend {
        Backend::Server(client) => client.undeploy(&name, &deployment, traffic.as_ref()).await?,
        Backend::Local(platform) => {
            platform.undeploy(context.project(), &name, &deployment, traffic).await?;
        }
    }
    let endpoint = find(context, &backend, &name).await?;
    context.output.show(&ChangedView { deployment, endpoint })
}

pub(crate) async fn find(context: &Context, backend: &Backend, name: &str) -> Result<EndpointView, Error> {
    match backend {
        Backend::Server(client) => Ok(client.get_endpoint(name).await?.into()),
        Backend::Local(platform) => Ok(platform.get_endpoint(context.project(), name).await?.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_that_failed_is_told_with_its_reason() {
        let resource = json!({
            "name": "projects/p/locations/l/endpoints/e",
            "failedAttempt": {
                "kind": "MutateDeployedModel",
                "operation": "projects/p/locations/l/endpoints/e/operations/77",
                "time": "2026-01-02T00:00:00Z",
                "deployedModelId": "4417",
                "model": "projects/p/locations/l/models/m",
                "modelVersionId": "3",
                "error": {"code": 8, "message": "no room"},
            },
        });
        let view = EndpointView::from(serde_json::from_value::<EndpointResource>(resource).unwrap());
        let text = view.text();
        let line = "endpoint e: resize of m@3 as 4417 failed at 2026-01-02T00:00:00Z, and what was served before is still served: no room\n";
        assert!(text.ends_with(line), "{text}");
        let shown = serde_json::to_value(&view).unwrap();
        assert_eq!(
            (&shown["failed_attempt"]["operation"], &shown["failed_attempt"]["attempt"]),
            (&json!("77"), &json!("resize"))
        );
        assert_eq!(FailedAttemptView::verb("UpdateEndpoint"), "traffic");
    }

    #[test]
    fn cores_that_are_asked_for_more_than_once_are_said() {
        let view = |cores, cores_asked| MachineView { cores, cores_asked }.text();
        assert_eq!(view(2, 2.0), "");
        assert!(
            view(2, 2.5)
                .starts_with("over-committed: all deployments ask for 2.5 cores and the machine has 2")
        );
    }
}
