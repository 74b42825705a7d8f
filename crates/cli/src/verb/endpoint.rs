//! `endpoint create|list|show|deploy|undeploy`: the same output from a server and from the data directory.

use std::collections::BTreeMap;

use platform::{CreateEndpoint, Deploy, Deployment, Endpoint, Error, Page, ResourceRequest};
use serde::Serialize;

use crate::args::endpoint::{EndpointDeployArgs, EndpointNameArgs, EndpointUndeployArgs};
use crate::client::DeployRequest;
use crate::client::resource::{DeployedModelResource, EndpointResource, last_segment};
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
}

#[derive(Debug, Serialize)]
struct DeploymentView {
    id: String,
    model: String,
    version: String,
    cpu_cores: Option<f64>,
    memory_gb: Option<f64>,
}

impl From<Deployment> for DeploymentView {
    fn from(deployment: Deployment) -> Self {
        Self {
            id: deployment.id,
            model: deployment.model,
            version: deployment.version.to_string(),
            cpu_cores: Some(deployment.cpu_cores),
            memory_gb: Some(deployment.memory_gb),
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
        }
    }
}

impl From<EndpointResource> for EndpointView {
    fn from(endpoint: EndpointResource) -> Self {
        Self {
            endpoint: last_segment(&endpoint.name).to_owned(),
            display_name: endpoint.display_name,
            created_at: endpoint.create_time,
            deployments: endpoint.deployed_models.into_iter().map(DeploymentView::from).collect(),
            traffic_split: endpoint.traffic_split,
        }
    }
}

const COLUMNS: [Column; 6] = [
    Column::Text("endpoint"),
    Column::Text("deployment"),
    Column::Text("model"),
    Column::Figure("traffic %"),
    Column::Figure("cores"),
    Column::Figure("memory GB"),
];

impl EndpointView {
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
            ]
        };
        self.deployments.iter().map(row).collect()
    }
}

impl Show for EndpointView {
    fn text(&self) -> String {
        table(&COLUMNS, self.rows())
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
        table(&COLUMNS, self.endpoints.iter().flat_map(EndpointView::rows))
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
            let mut endpoints = Vec::new();
            loop {
                let found = platform.list_endpoints(context.project(), &page).await?;
                endpoints.extend(found.items.into_iter().map(EndpointView::from));
                match found.next_token {
                    Some(token) => page.token = Some(token),
                    None => break endpoints,
                }
            }
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
    let resources =
        ResourceRequest { cpu_cores: args.cpu_cores, memory_gb: args.memory_gb, machine_type: None };
    let deployment = match &backend {
        Backend::Server(client) => {
            let request = DeployRequest {
                endpoint: &args.name,
                model: &args.model,
                resources: &resources,
                engine: args.engine.as_deref(),
                traffic: &args.traffic.0,
            };
            client.deploy(&request).await?.id
        }
        Backend::Local(platform) => {
            let request = Deploy {
                project: context.project().to_owned(),
                endpoint: args.name.clone(),
                model: args.model,
                deployment_id: None,
                display_name: None,
                resources,
                engine: args.engine,
                traffic_split: Some(args.traffic.0),
            };
            platform.deploy(request).await?.id
        }
    };
    let endpoint = find(context, &backend, &args.name).await?;
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
