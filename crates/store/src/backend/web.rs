//! `http://host/path` and `https://host/path`: objects that are only read, and cannot be listed.

use std::sync::Arc;

use object_store::http::HttpBuilder;

use super::{Backend, Keeper, Place};
use crate::{Error, Options, wire};

pub(super) fn open(place: &Place, options: &Options) -> Result<Backend, Error> {
    let secrets = options.environment.secrets();
    let plain = place.url.scheme() == "http";
    let objects = HttpBuilder::new()
        .with_client_options(wire::client_options(&options.transfer).with_allow_http(plain))
        .with_retry(wire::retry_config(&options.retry))
        .with_http_connector(wire::Connector)
        .with_url(place.uri())
        .build()
        .map_err(|error| place.refused(&error, Keeper::Web, &secrets))?;
    Ok(Backend {
        uri: place.uri(),
        keeper: Keeper::Web,
        objects: Arc::new(objects),
        multipart: None,
        local_root: None,
        secrets,
    })
}
