//! `model alias|delete|prune`, `endpoint traffic|delete`: what happens to models and endpoints after they were made.

use std::collections::BTreeMap;

use platform::{AliasChange, EndpointUpdate, Error, Kind, Pruned};
use serde::Serialize;

use super::endpoint::{EndpointView, find};
use super::model::ModelView;
use crate::args::lifecycle::{
    EndpointDeleteArgs, EndpointTrafficArgs, ModelAliasArgs, ModelDeleteArgs, ModelPruneArgs,
};
use crate::client::resource::ModelResource;
use crate::context::{Backend, Context};
use crate::output::Show;

/// A version and its aliases from now on.
#[derive(Debug, Serialize)]
struct AliasesView {
    model: String,
    version: u32,
    aliases: Vec<String>,
}

impl Show for AliasesView {
    fn text(&self) -> String {
        let aliases = if self.aliases.is_empty() { "none".to_owned() } else { self.aliases.join(", ") };
        format!("{}@{}: aliases {aliases}\n", self.model, self.version)
    }
}

/// What is gone.
#[derive(Debug, Serialize)]
struct DeletedView {
    deleted: String,
}

impl Show for DeletedView {
    fn text(&self) -> String {
        format!("deleted {}\n", self.deleted)
    }
}

/// What retention did.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct PrunedView(Pruned);

impl Show for PrunedView {
    fn text(&self) -> String {
        let list = |numbers: &[u32]| match numbers {
            [] => "none".to_owned(),
            some => some.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
        };
        let Pruned { model, deleted, kept } = &self.0;
        format!("{model}: deleted versions {}; kept {}\n", list(deleted), list(kept))
    }
}

/// `model alias`
pub(crate) async fn alias(context: &Context, args: ModelAliasArgs) -> Result<(), Error> {
    let ModelAliasArgs { model, add, remove } = args;
    if add.is_empty() && remove.is_empty() {
        return Err(Error::invalid("ALIAS", "give an alias to set, or --remove ALIAS"));
    }
    let view = match context.backend().await? {
        Backend::Server(client) => {
            ModelView::from_server(client.change_aliases(&model, &add, &remove).await?)?
        }
        Backend::Local(platform) => {
            let change = AliasChange { add, remove };
            ModelView::from_platform(platform.change_aliases(context.project(), &model, change).await?)?
        }
    };
    let (model, version, aliases) = view.into_aliases();
    context.output.show(&AliasesView { model, version, aliases })
}

/// `model delete`
pub(crate) async fn delete_model(context: &Context, args: ModelDeleteArgs) -> Result<(), Error> {
    let ModelDeleteArgs { model: name, force } = args;
    let one = name.contains('@');
    let project = context.project();
    match context.backend().await? {
        Backend::Server(client) => client.delete_model(&name, force).await?,
        Backend::Local(platform) => match (one, force) {
            (true, true) => drop(platform.force_delete_model_version(project, &name).await?),
            (true, false) => platform.delete_model_version(project, &name).await?,
            (false, true) => drop(platform.force_delete_model(project, &name).await?),
            (false, false) => platform.delete_model(project, &name).await?,
        },
    }
    let deleted = if one { name } else { format!("{name} and all its versions") };
    context.output.show(&DeletedView { deleted })
}

/// `model prune`
pub(crate) async fn prune(context: &Context, args: &ModelPruneArgs) -> Result<(), Error> {
    let pruned = match context.backend().await? {
        Backend::Local(platform) => platform.prune_model(context.project(), &args.model, args.keep).await?,
        Backend::Server(client) => {
            let versions = client.list_model_versions(&args.model).await?;
            let versions = versions.into_iter().map(held).collect::<Result<Vec<_>, _>>()?;
            let mut pruned = Pruned::plan(&args.model, &versions, args.keep);
            for number in std::mem::take(&mut pruned.deleted) {
                match client.delete_model(&format!("{}@{number}", args.model), false).await {
                    Ok(()) => pruned.deleted.push(number),
                    // A job needs it, or it has just been deployed.
                    Err(error) if error.kind() == Kind::FailedPrecondition => pruned.kept.push(number),
                    Err(error) => return Err(error),
                }
            }
            pruned.kept.sort_unstable();
            pruned
        }
    };
    context.output.show(&PrunedView(pruned))
}

/// A version's number, and whether an alias or a deployment holds it.
fn held(version: ModelResource) -> Result<(u32, bool), Error> {
    let deployed = !version.deployed_models.is_empty();
    let (_, number, aliases) = ModelView::from_server(version)?.into_aliases();
    Ok((number, !aliases.is_empty() || deployed))
}

/// `endpoint traffic`
pub(crate) async fn traffic(context: &Context, args: EndpointTrafficArgs) -> Result<(), Error> {
    let backend = context.backend().await?;
    let split: BTreeMap<String, u8> = args.traffic.0;
    match &backend {
        Backend::Server(client) => client.set_traffic(&args.name, &split).await?,
        Backend::Local(platform) => {
            let update = EndpointUpdate { traffic_split: Some(split), ..EndpointUpdate::default() };
            platform.update_endpoint(context.project(), &args.name, update).await?;
        }
    }
    let view: EndpointView = find(context, &backend, &args.name).await?;
    context.output.show(&view)
}

/// `endpoint delete`
pub(crate) async fn delete_endpoint(context: &Context, args: &EndpointDeleteArgs) -> Result<(), Error> {
    match context.backend().await? {
        Backend::Server(client) => client.delete_endpoint(&args.name, args.force).await?,
        Backend::Local(platform) => {
            platform.delete_endpoint(context.project(), &args.name, args.force).await?;
        }
    }
    context.output.show(&DeletedView { deleted: format!("endpoint {}", args.name) })
}
