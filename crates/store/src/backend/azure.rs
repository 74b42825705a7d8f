//! `az://container/path`, `abfs[s]://container@account.dfs.core.windows.net/path`: Azure Blob Storage.
//!
//! Credentials: the `AZURE_` variables of Azure's tools (an account's key, a shared access signature, a client's
//! secret, a workload identity, a connection string), the identity of the machine.

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::{Backend, Keeper, Place};
use crate::{Error, Options, wire};

pub(super) fn open(place: &Place, options: &Options) -> Result<Backend, Error> {
    let environment = &options.environment;
    let connection = environment.get("AZURE_STORAGE_CONNECTION_STRING").map(settings_of).unwrap_or_default();
    let keys = connection
        .iter()
        .filter(|(key, _)| matches!(key, AzureConfigKey::AccessKey | AzureConfigKey::SasKey))
        .map(|(_, value)| value.clone());
    let secrets = environment.secrets().and(keys);
    let mut builder = MicrosoftAzureBuilder::new()
        .with_client_options(wire::client_options(&options.transfer))
        .with_retry(wire::retry_config(&options.retry))
        .with_http_connector(wire::Connector);
    let also = [
        ("AZURE_STORAGE_ACCOUNT", AzureConfigKey::AccountName),
        ("AZURE_STORAGE_KEY", AzureConfigKey::AccessKey),
        ("IDENTITY_ENDPOINT", AzureConfigKey::MsiEndpoint),
    ];
    for (key, value) in connection {
        builder = builder.with_config(key, value);
    }
    for (name, key) in also {
        if let Some(value) = environment.get(name) {
            builder = builder.with_config(key, value);
        }
    }
    for (name, value) in environment.beginning("AZURE_") {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    let objects = builder
        .with_url(place.root())
        .build()
        .map_err(|error| place.refused(&error, Keeper::Azure, &secrets))?;
    Ok(place.backend(objects, Keeper::Azure, secrets))
}

/// What a connection string says: `AccountName=..;AccountKey=..;BlobEndpoint=..`.
fn settings_of(connection: &str) -> Vec<(AzureConfigKey, String)> {
    let pairs = connection.split(';').filter_map(|pair| pair.split_once('='));
    let setting = |(name, value): (&str, &str)| {
        let key = match name.trim().to_ascii_lowercase().as_str() {
            "accountname" => AzureConfigKey::AccountName,
            "accountkey" => AzureConfigKey::AccessKey,
            "sharedaccesssignature" => AzureConfigKey::SasKey,
            "blobendpoint" => AzureConfigKey::Endpoint,
            "usedevelopmentstorage" => AzureConfigKey::UseEmulator,
            _ => return None,
        };
        Some((key, value.trim().to_owned()))
    };
    pairs.filter_map(setting).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_is_taken_apart_at_its_first_equals_signs() {
        let settings = settings_of(
            "DefaultEndpointsProtocol=https;AccountName=me;AccountKey=a2V5PT0=;EndpointSuffix=core.windows.net",
        );
        let texts: Vec<_> = settings.iter().map(|(key, value)| (key.as_ref(), value.as_str())).collect();
        assert_eq!(texts, [("azure_storage_account_name", "me"), ("azure_storage_account_key", "a2V5PT0=")]);
    }
}
