//! Uploads: at once (`uploadType=media`, `multipart`), or in parts that survive a lost connection (`resumable`).

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use platform::{Error, Received, StagedUpload, Staging};
use serde_json::Value;

use super::{multipart, object, refused};
use crate::body::Paced;
use crate::origin;
use crate::router::Gateway;
use crate::vertex::error::ApiError;
use crate::vertex::fields::{BODY_BYTES_MAX, tree};
use crate::vertex::query::Query;

/// Bytes that are collected before they are written.
const WRITE_BYTES: usize = 1 << 20;

pub(super) async fn answer(
    gateway: &Gateway,
    bucket: &str,
    parts: &Parts,
    query: &Query,
    body: Body,
) -> Result<Response, ApiError> {
    let staging = gateway.platform.staging();
    let limit = gateway.options.max_body_bytes;
    let name = query.get("name", "name");
    let replaces = super::generation(query)?;
    let described = |description: &Value| {
        multipart::upload(bucket, description, name).map(|upload| StagedUpload { replaces, ..upload })
    };
    let session = query.get("upload_id", "uploadId");
    match (&parts.method, query.get("uploadType", "upload_type"), session) {
        (&Method::PUT, _, Some(session)) => resume(staging, session, &parts.headers, body).await,
        (&Method::DELETE, _, Some(session)) => {
            staging.cancel(session)?;
            // What Google answers to a cancelled upload.
            Ok(StatusCode::from_u16(499).unwrap_or(StatusCode::NO_CONTENT).into_response())
        }
        (&Method::POST, Some("resumable"), None) => {
            let body = crate::vertex::read(&parts.headers, body, limit.min(BODY_BYTES_MAX)).await?;
            let description = if body.is_empty() { Value::Null } else { tree(&body)? };
            let session = staging.begin(&described(&description)?).map_err(refused)?;
            let scheme = if gateway.options.tls { "https" } else { "http" };
            let location = location(scheme, parts, bucket, &session);
            Ok((StatusCode::OK, [(header::LOCATION, location)]).into_response())
        }
        (&Method::POST, Some("multipart"), None) => {
            let body = crate::vertex::read(&parts.headers, body, limit).await?;
            let (description, bytes) = multipart::parse(&parts.headers, &body)?;
            put(staging, &described(&description)?, bytes)
        }
        (&Method::POST, Some("media") | None, None) => {
            let body = crate::vertex::read(&parts.headers, body, limit).await?;
            put(staging, &described(&Value::Null)?, &body)
        }
        (&Method::POST, Some(other), None) => {
            let message = format!("uploadType \"{other}\" is not known; use media, multipart or resumable");
            Err(Error::invalid("uploadType", message).into())
        }
        _ => Err(ApiError::wrong_method(&parts.method, parts.uri.path(), "POST; PUT, DELETE with upload_id")),
    }
}

fn put(staging: &Staging, upload: &StagedUpload, bytes: &[u8]) -> Result<Response, ApiError> {
    Ok(axum::Json(object::resource(&staging.put(upload, bytes).map_err(refused)?)).into_response())
}

/// Where the parts go: this server, by the name the client knows it.
fn location(scheme: &str, parts: &Parts, bucket: &str, session: &str) -> String {
    let host = origin::host(parts).unwrap_or("localhost");
    format!("{scheme}://{host}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={session}")
}

async fn resume(
    staging: &Staging,
    session: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let range = headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let Some(Range { first, total }) = Range::parse(range) else {
        let message =
            "content-range must be \"bytes FIRST-LAST/TOTAL\", \"bytes FIRST-LAST/*\" or \"bytes */TOTAL\"";
        return Err(Error::invalid("content-range", message).into());
    };
    let mut at = match first {
        Some(first) => first,
        None => staging.received(session)?,
    };
    let mut parts = Paced::new(body);
    let mut pending: Vec<u8> = Vec::new();
    // What came before a connection is lost stays.
    while let Some(part) = parts.next().await.map_err(ApiError::no_body)? {
        pending.extend_from_slice(&part);
        if pending.len() >= WRITE_BYTES {
            staging.append(session, at, &pending, None)?;
            at += pending.len() as u64;
            pending.clear();
        }
    }
    let total = match (first, total) {
        // A body without a range is the whole object.
        (Some(0), None) if range.is_none() => Some(at + pending.len() as u64),
        (_, total) => total,
    };
    match staging.append(session, at, &pending, total).map_err(refused)? {
        Received::Whole(found) => Ok(axum::Json(object::resource(&found)).into_response()),
        Received::Part(safe) => {
            let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
            if let Some(last) = safe.checked_sub(1)
                && let Ok(range) = HeaderValue::try_from(format!("bytes=0-{last}"))
            {
                response.headers_mut().insert(header::RANGE, range);
            }
            Ok(response)
        }
    }
}

/// Which bytes a part holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// None if it holds none and only asks.
    first: Option<u64>,
    /// None if the client does not know yet.
    total: Option<u64>,
}

impl Range {
    pub(super) fn parse(text: Option<&str>) -> Option<Self> {
        let Some(text) = text else { return Some(Self { first: Some(0), total: None }) };
        let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        if range == "*" {
            return Some(Self { first: None, total });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last && total.is_none_or(|total| last < total))
            .then_some(Self { first: Some(first), total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_parts() {
        for (text, expected) in [
            (Some("bytes 0-9/10"), Some((Some(0), Some(10)))),
            (Some("bytes 5-9/*"), Some((Some(5), None))),
            (Some("bytes */10"), Some((None, Some(10)))),
            (Some("bytes */*"), Some((None, None))),
            (None, Some((Some(0), None))),
            (Some("bytes 5-4/10"), None),
            (Some("bytes 0-10/10"), None),
            (Some("0-9/10"), None),
            (Some("bytes 0-9"), None),
        ] {
            assert_eq!(Range::parse(text).map(|range| (range.first, range.total)), expected, "{text:?}");
        }
    }
}
