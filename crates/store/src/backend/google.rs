//! `gs://bucket/path`: Google Cloud Storage, by its XML API.
//!
//! Credentials: `GOOGLE_APPLICATION_CREDENTIALS` and the other `GOOGLE_` variables, what `gcloud auth
//! application-default login` left, the service account of the machine. `STORAGE_EMULATOR_HOST` is an emulator
//! that needs none.

use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};

use super::{Backend, Keeper, Place};
use crate::{Error, Options, wire};

pub(super) fn open(place: &Place, options: &Options) -> Result<Backend, Error> {
    let environment = &options.environment;
    let secrets = environment.secrets();
    let mut client_options = wire::client_options(&options.transfer);
    let emulator = environment.get("STORAGE_EMULATOR_HOST");
    if emulator.is_some() {
        client_options = client_options.with_allow_http(true);
    }
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_client_options(client_options)
        .with_retry(wire::retry_config(&options.retry))
        .with_http_connector(wire::Connector);
    for (name, value) in environment.beginning("GOOGLE_") {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(host) = emulator {
        let base = if host.contains("://") { host.to_owned() } else { format!("http://{host}") };
        let nobody = GcpCredential { bearer: "anonymous".to_owned() };
        builder = builder
            .with_base_url(base.trim_end_matches('/'))
            .with_credentials(Arc::new(StaticCredentialProvider::new(nobody)));
    }
    let objects = builder
        .with_url(place.root())
        .build()
        .map_err(|error| place.refused(&error, Keeper::Google, &secrets))?;
    Ok(place.backend(objects, Keeper::Google, secrets))
}
