//! The part of Google Cloud Storage's JSON API that its own clients need to send a model here: objects in the staging
//! area, uploaded at once or in parts, read, listed and deleted.
//!
//! With `STORAGE_EMULATOR_HOST=http://HOST:PORT` the unmodified `google-cloud-storage` and the upload of local folders of
//! `google-cloud-aiplatform` work. Every bucket with a valid name is there. Source: the reference of the JSON API,
//! `storage.objects` and "Resumable uploads".

pub(crate) mod fuzz;
mod multipart;
mod object;
mod upload;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use platform::{Error, Kind};
use serde_json::json;

use crate::named::decoded;
use crate::observe::Route;
use crate::router::Gateway;
use crate::vertex::error::ApiError;
use crate::vertex::fields::{BODY_BYTES_MAX, tree};
use crate::vertex::query::Query;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    Buckets,
    Bucket(String),
    Objects(String),
    Object(String, String),
    Uploads(String),
}

/// Answers any request under `/storage/v1`, `/upload/storage/v1` and `/download/storage/v1`.
pub(crate) async fn answer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (route, answered) = match named(parts.uri.path()) {
        Ok(named) => (named.route(), call(&gateway, named, &parts, body).await),
        Err(error) => ("storage", Err(error)),
    };
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);
    response.extensions_mut().insert(Route(route));
    response
}

impl Named {
    fn route(&self) -> &'static str {
        match self {
            Self::Buckets => "storage.buckets",
            Self::Bucket(_) => "storage.bucket",
            Self::Objects(_) => "storage.objects",
            Self::Object(..) => "storage.object",
            Self::Uploads(_) => "storage.upload",
        }
    }
}

async fn call(gateway: &Gateway, named: Named, parts: &Parts, body: Body) -> Result<Response, ApiError> {
    let query = Query::parse(&parts.uri)?;
    let wrong = |allowed: &str| Err(ApiError::wrong_method(&parts.method, parts.uri.path(), allowed));
    match named {
        // A bucket need not be made, but clients do.
        Named::Buckets if parts.method == Method::POST => {
            let limit = gateway.options.max_body_bytes.min(BODY_BYTES_MAX);
            let body = crate::vertex::read(&parts.headers, body, limit).await?;
            let asked = tree(&body)?;
            bucket(gateway, asked["name"].as_str().unwrap_or_default())
        }
        Named::Buckets => wrong("POST"),
        Named::Bucket(name) if parts.method == Method::GET => bucket(gateway, &name),
        Named::Bucket(_) => wrong("GET"),
        Named::Objects(bucket) if parts.method == Method::GET => object::list(gateway, &bucket, &query),
        Named::Objects(_) => wrong("GET"),
        Named::Object(bucket, name) => match parts.method {
            Method::GET if query.get("alt", "alt") == Some("media") => {
                object::download(gateway, (&bucket, &name), generation(&query)?, &parts.headers).await
            }
            Method::GET => object::get(gateway, &bucket, &name, generation(&query)?),
            Method::DELETE => object::delete(gateway, &bucket, &name, generation(&query)?),
            _ => wrong("GET, DELETE"),
        },
        Named::Uploads(bucket) => upload::answer(gateway, &bucket, parts, &query, body).await,
    }
}

/// The generation that the object must have, if the client names one.
fn generation(query: &Query) -> Result<Option<i64>, Error> {
    for (camel, snake) in [
        ("ifGenerationNotMatch", "if_generation_not_match"),
        ("ifMetagenerationMatch", "if_metageneration_match"),
        ("ifMetagenerationNotMatch", "if_metageneration_not_match"),
    ] {
        // Whoever passed over it would do what the client wanted to prevent.
        if query.get(camel, snake).is_some() {
            let message = format!("{camel} is not offered by this version; use ifGenerationMatch");
            return Err(Error::new(Kind::Unimplemented, message));
        }
    }
    let Some(text) = query.get("ifGenerationMatch", "if_generation_match") else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let message =
            format!("ifGenerationMatch {text:?} is not a generation, as \"generation\" of an object is");
        Error::invalid("ifGenerationMatch", message)
    })
}

/// A refusal of the staging area, the only precondition of which is an object's generation.
fn refused(error: Error) -> ApiError {
    if error.kind() == Kind::FailedPrecondition { ApiError::condition_not_met(error) } else { error.into() }
}

fn bucket(gateway: &Gateway, name: &str) -> Result<Response, ApiError> {
    gateway.platform.staging().check_bucket(name)?;
    let bucket = json!({
        "kind": "storage#bucket",
        "id": name,
        "name": name,
        "location": "LOCAL",
        "storageClass": "STANDARD",
        "metageneration": "1",
    });
    Ok(axum::Json(bucket).into_response())
}

fn named(path: &str) -> Result<Named, ApiError> {
    let unknown =
        || ApiError::unknown_path(path, "see /storage/v1/b/BUCKET/o and /upload/storage/v1/b/BUCKET/o");
    let decode = |segment: &str| match decoded(segment) {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(ApiError::from(Error::new(Kind::InvalidArgument, "the path is not UTF-8"))),
    };
    let (upload, rest) = match path.strip_prefix("/upload/storage/v1/b") {
        Some(rest) => (true, rest),
        None => {
            let rest =
                path.strip_prefix("/storage/v1/b").or_else(|| path.strip_prefix("/download/storage/v1/b"));
            (false, rest.ok_or_else(unknown)?)
        }
    };
    let segments: Vec<&str> = rest.split('/').skip(1).collect();
    match (segments.as_slice(), upload) {
        ([] | [""], false) => Ok(Named::Buckets),
        ([bucket], false) => Ok(Named::Bucket(decode(bucket)?)),
        ([bucket, "o"], false) => Ok(Named::Objects(decode(bucket)?)),
        ([bucket, "o"], true) => Ok(Named::Uploads(decode(bucket)?)),
        // Clients encode the slashes of a name; whoever does not means the same.
        ([bucket, "o", name @ ..], false) => Ok(Named::Object(decode(bucket)?, decode(&name.join("/"))?)),
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_name_a_generation_and_no_other_condition() {
        let asked = |query: &str| generation(&Query::parse(&query.parse().unwrap()).unwrap());
        assert_eq!(asked("/b").unwrap(), None);
        assert_eq!(asked("/b?ifGenerationMatch=0").unwrap(), Some(0));
        assert_eq!(asked("/b?ifGenerationMatch=1732600000000000").unwrap(), Some(1_732_600_000_000_000));
        for (query, kind) in [
            ("/b?ifGenerationMatch=x", Kind::InvalidArgument),
            ("/b?ifGenerationNotMatch=0", Kind::Unimplemented),
            ("/b?ifMetagenerationMatch=1", Kind::Unimplemented),
        ] {
            assert_eq!(asked(query).unwrap_err().kind(), kind, "{query}");
        }
        let response = refused(Error::new(Kind::FailedPrecondition, "another")).into_response();
        assert_eq!(response.status(), 412);
    }

    #[test]
    fn paths_name_buckets_objects_and_uploads() {
        let text = |text: &str| text.to_owned();
        for (path, expected) in [
            ("/storage/v1/b", Named::Buckets),
            ("/storage/v1/b/models", Named::Bucket(text("models"))),
            ("/storage/v1/b/models/o", Named::Objects(text("models"))),
            ("/storage/v1/b/models/o/a%2Fb%20c", Named::Object(text("models"), text("a/b c"))),
            ("/download/storage/v1/b/models/o/a/b", Named::Object(text("models"), text("a/b"))),
            ("/upload/storage/v1/b/models/o", Named::Uploads(text("models"))),
        ] {
            assert_eq!(named(path).unwrap(), expected, "{path}");
        }
        for path in ["/upload/storage/v1/b/models", "/storage/v1/b/models/acl", "/storage/v1/b/m/o/%FF"] {
            assert!(named(path).is_err(), "{path}");
        }
    }
}
