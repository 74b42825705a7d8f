//! `s3://bucket/path`: Amazon S3, and what speaks like it.
//!
//! Credentials, in this order: `AWS_ACCESS_KEY_ID` and its companions; a web identity; the shared files
//! `~/.aws/credentials` and `~/.aws/config` (keys, region and endpoint of `AWS_PROFILE`; no single sign-on, no
//! roles); the role of the container or machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

use super::{Backend, Keeper, Place, refuse};
use crate::{Environment, Error, Options, wire};

/// Variables that say where credentials come from before shared files do.
const EARLIER: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];
const SHARED_BYTES_MAX: u64 = 1 << 20;

pub(super) fn open(place: &Place, options: &Options) -> Result<Backend, Error> {
    let environment = &options.environment;
    let profile = shared_profile(environment)?;
    let keys = profile
        .iter()
        .filter(|(key, _)| !matches!(key, AmazonS3ConfigKey::Region | AmazonS3ConfigKey::Endpoint))
        .map(|(_, value)| value.clone());
    let secrets = environment.secrets().and(keys);
    let mut retry = options.retry;
    if let Some(attempts) = environment.get("AWS_MAX_ATTEMPTS").and_then(|text| text.parse::<usize>().ok()) {
        retry.tries = attempts.saturating_sub(1);
    }
    let mut builder = AmazonS3Builder::new()
        .with_client_options(wire::client_options(&options.transfer))
        .with_retry(wire::retry_config(&retry))
        .with_http_connector(wire::Connector);
    for (key, value) in profile {
        builder = builder.with_config(key, value);
    }
    for (name, value) in environment.beginning("AWS_") {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    let endpoint = builder
        .get_config_value(&AmazonS3ConfigKey::S3Endpoint)
        .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        // Whoever writes http:// means it, and requests are signed: no credential goes over the wire.
        builder = builder.with_allow_http(true);
    }
    let objects = builder
        .with_url(place.root())
        .build()
        .map_err(|error| place.refused(&error, Keeper::S3, &secrets))?;
    Ok(place.backend(objects, Keeper::S3, secrets))
}

/// Keys, region and endpoint of the profile that `AWS_PROFILE` names, if nothing says otherwise.
fn shared_profile(environment: &Environment) -> Result<Vec<(AmazonS3ConfigKey, String)>, Error> {
    if EARLIER.iter().any(|name| environment.get(name).is_some()) {
        return Ok(Vec::new());
    }
    let named = environment.get("AWS_PROFILE").or_else(|| environment.get("AWS_DEFAULT_PROFILE"));
    let profile = named.unwrap_or("default");
    let file = |variable: &str, name: &str| {
        let home = || Some(PathBuf::from(environment.get("HOME")?).join(".aws").join(name));
        environment.get(variable).map(PathBuf::from).or_else(home)
    };
    let mut found = BTreeMap::new();
    let mut looked = Vec::new();
    let files = [
        (file("AWS_CONFIG_FILE", "config"), format!("profile {profile}")),
        (file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), profile.to_owned()),
    ];
    for (path, section) in files {
        let Some(path) = path else { continue };
        if let Some(text) = read_small(&path)? {
            found.extend(values_of(&text, &section));
            found.extend((profile == "default").then(|| values_of(&text, profile)).into_iter().flatten());
        }
        looked.push(path.display().to_string());
    }
    if named.is_some() && found.is_empty() {
        let reason = format!("there is no such profile in {}; name another", looked.join(" and "));
        return Err(refuse(&format!("AWS_PROFILE={profile}"), &reason));
    }
    let keys = [
        ("aws_access_key_id", AmazonS3ConfigKey::AccessKeyId),
        ("aws_secret_access_key", AmazonS3ConfigKey::SecretAccessKey),
        ("aws_session_token", AmazonS3ConfigKey::Token),
        ("region", AmazonS3ConfigKey::Region),
        ("endpoint_url", AmazonS3ConfigKey::Endpoint),
    ];
    Ok(keys.into_iter().filter_map(|(name, key)| Some((key, found.remove(name)?))).collect())
}

fn read_small(path: &std::path::Path) -> Result<Option<String>, Error> {
    let io = |source| Error::Io { action: "read", url: path.display().to_string(), source };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
        Ok(meta) if meta.len() > SHARED_BYTES_MAX => {
            let size = meta.len();
            return Err(Error::TooLarge { url: path.display().to_string(), size, limit: SHARED_BYTES_MAX });
        }
        Ok(_) => {}
    }
    std::fs::read_to_string(path).map(Some).map_err(io)
}

/// The `name = value` lines of a section; indented ones belong to a value of their own and are passed over.
fn values_of(text: &str, section: &str) -> BTreeMap<String, String> {
    let mut inside = false;
    let mut values = BTreeMap::new();
    for line in text.lines() {
        if let Some(name) = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name.split_whitespace().eq(section.split_whitespace());
        } else if inside
            && !line.starts_with([' ', '\t', '#', ';'])
            && let Some((name, value)) = line.split_once('=')
        {
            values.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_profile_is_read_from_the_shared_files_unless_the_environment_has_keys() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".aws");
        std::fs::create_dir(&folder).unwrap();
        let credentials = "[default]\naws_access_key_id = A\n[ work ]\naws_access_key_id=W\n# no\naws_secret_access_key = s=1\ns3 =\n  region = inner\n";
        std::fs::write(folder.join("credentials"), credentials).unwrap();
        std::fs::write(folder.join("config"), "[profile work]\nregion = eu-west-1\n[default]\nregion = x\n")
            .unwrap();
        let home = home.path().display().to_string();
        let values = |variables: &[(&str, &str)]| {
            let all: Vec<_> = variables.iter().copied().chain([("HOME", home.as_str())]).collect();
            let values = shared_profile(&environment(&all)).unwrap();
            values.into_iter().map(|(key, value)| (key.as_ref().to_owned(), value)).collect::<Vec<_>>()
        };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(values(&[]), [pair("aws_access_key_id", "A"), pair("aws_region", "x")]);
        let work = values(&[("AWS_PROFILE", "work")]);
        assert_eq!(
            work,
            [
                pair("aws_access_key_id", "W"),
                pair("aws_secret_access_key", "s=1"),
                pair("aws_region", "eu-west-1")
            ]
        );
        assert!(values(&[("AWS_PROFILE", "work"), ("AWS_ACCESS_KEY_ID", "mine")]).is_empty());
        let error = shared_profile(&environment(&[("AWS_PROFILE", "none"), ("HOME", &home)])).unwrap_err();
        assert!(error.to_string().contains("AWS_PROFILE=none"), "{error}");
    }
}
