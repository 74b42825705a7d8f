//! `serve`: brings the deployments of the data directory back and answers until stopped.

use gateway::{Tls, TlsFiles};
use platform::{DeploymentStatus, Error};
use serde::Serialize;

use crate::args::ServeArgs;
use crate::context::Context;
use crate::output::{Column, Show, table};
use crate::server::{Guard, Server, addresses, bind, check_exposure};

/// What is served, and where.
#[derive(Debug, Serialize)]
pub(crate) struct ServingView {
    url: String,
    data_dir: String,
    ready: bool,
    deployments: Vec<DeploymentStatus>,
}

impl ServingView {
    /// What is served at `url`.
    pub(crate) fn new(context: &Context, url: &str, deployments: Vec<DeploymentStatus>) -> Self {
        Self {
            url: url.to_owned(),
            data_dir: context.settings.data_dir.value.display().to_string(),
            ready: deployments.iter().all(|status| status.error.is_none()),
            deployments,
        }
    }
}

impl Show for ServingView {
    fn text(&self) -> String {
        let url = &self.url;
        if self.deployments.is_empty() {
            return format!(
                "serving {} at {url}\nnothing is deployed yet: bellwether endpoint deploy NAME --model MODEL --server {url}\n",
                self.data_dir
            );
        }
        let columns = [
            Column::Text("endpoint"),
            Column::Text("deployment"),
            Column::Text("model"),
            Column::Text("engine"),
            Column::Figure("threads"),
            Column::Figure("MB"),
            Column::Text("state"),
        ];
        let rows = self.deployments.iter().map(|status| {
            vec![
                status.endpoint.clone(),
                status.deployment.clone(),
                format!("{}@{}", status.model, status.version),
                status.engine.clone(),
                status.threads.to_string(),
                format!("{:.1}", status.memory_bytes as f64 / 1e6),
                status.state(),
            ]
        });
        format!("{}serving {} at {url}; Ctrl-C stops it\n", table(&columns, rows), self.data_dir)
    }
}

/// `serve`
pub(crate) async fn serve(context: &Context, args: &ServeArgs) -> Result<(), Error> {
    context.refuse_server()?;
    let listen = &context.settings.listen.value;
    // A wrong address is told before a data directory is made for it.
    let addresses = addresses(listen).await?;
    let tls = match (&args.tls_certificate, &args.tls_key) {
        (Some(certificate), Some(key)) => {
            Some(Tls::load(TlsFiles { certificate: certificate.clone(), key: key.clone() })?)
        }
        _ => None,
    };
    let mut guard = Guard { keys: false, tls: tls.is_some(), insecure: args.insecure_listen };
    if !context.settings.data_dir.value.exists() {
        check_exposure(listen, &addresses, guard)?;
    }
    let platform = context.open_platform().await?;
    if let Some(gb) = args.max_loaded_gb {
        platform.limit_memory(gb)?;
    }
    guard.keys = platform.keys_required();
    // Before the first question can come: what is deployed and not loaded yet is to be asked for later, not unknown.
    platform.announce_deployments().await?;
    let server = Server::start(&platform, bind(listen, guard).await?, &context.settings, tls)?;
    // From here on the end is `stop`, in its own time, also while models load.
    context.interrupt.drains();
    // Health checks are answered while models load.
    let deployments = tokio::select! {
        restored = platform.restore_deployments() => restored?,
        () = context.interrupt.wait() => return server.stop().await,
    };
    context.output.show(&ServingView::new(context, server.url(), deployments))?;
    server.until_interrupted(&context.interrupt).await
}
