//! Objects: what is said of one, its bytes, lists, deletion.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use platform::{Checksums, Error, Kind, StagedObject};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::multipart::encoded;
use super::refused;
use crate::router::Gateway;
use crate::vertex::error::ApiError;
use crate::vertex::query::Query;

/// The most entries of one page of a list, Google's own limit.
const PAGE_MAX: usize = 1000;
/// Bytes sent at a time.
const PART_BYTES: usize = 1 << 18;

/// An object as Google's API shows it.
pub(super) fn resource(object: &StagedObject) -> Value {
    let generation = object.generation().to_string();
    let mut shown = json!({
        "kind": "storage#object",
        "id": format!("{}/{}/{generation}", object.bucket, object.name),
        "name": object.name,
        "bucket": object.bucket,
        "generation": generation,
        "metageneration": "1",
        "contentType": "application/octet-stream",
        "storageClass": "STANDARD",
        "size": object.size.to_string(),
        "timeCreated": object.updated.to_string(),
        "updated": object.updated.to_string(),
    });
    if let Some(Checksums { crc32c, md5 }) = object.checksums {
        shown["crc32c"] = json!(encoded(&crc32c.to_be_bytes()));
        shown["md5Hash"] = json!(encoded(&md5));
    }
    shown
}

/// An object, of a generation if one is named.
fn found(
    gateway: &Gateway,
    bucket: &str,
    name: &str,
    generation: Option<i64>,
) -> Result<StagedObject, ApiError> {
    let object = gateway.platform.staging().stat(bucket, name)?;
    object.check_generation(generation).map_err(refused)?;
    Ok(object)
}

pub(super) fn get(
    gateway: &Gateway,
    bucket: &str,
    name: &str,
    generation: Option<i64>,
) -> Result<Response, ApiError> {
    Ok(axum::Json(resource(&found(gateway, bucket, name, generation)?)).into_response())
}

pub(super) fn delete(
    gateway: &Gateway,
    bucket: &str,
    name: &str,
    generation: Option<i64>,
) -> Result<Response, ApiError> {
    gateway.platform.staging().delete(bucket, name, generation).map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A page of the objects under a prefix; with a delimiter, what lies deeper is shown as prefixes.
pub(super) fn list(gateway: &Gateway, bucket: &str, query: &Query) -> Result<Response, ApiError> {
    let prefix = query.get("prefix", "prefix").unwrap_or_default();
    let delimiter = query.get("delimiter", "delimiter");
    let after = query.get("pageToken", "page_token").unwrap_or_default();
    let size = match query.get("maxResults", "max_results").map(str::parse::<usize>) {
        None => PAGE_MAX,
        Some(Ok(size)) if size > 0 => size.min(PAGE_MAX),
        Some(_) => {
            return Err(Error::invalid("maxResults", "maxResults must be a number of at least 1").into());
        }
    };
    let (mut items, mut prefixes): (Vec<Value>, Vec<String>) = (Vec::new(), Vec::new());
    let mut next = None;
    // The token is the last entry of the page before.
    let mut last = after.to_owned();
    for object in gateway.platform.staging().list(bucket, prefix)? {
        let deeper = delimiter.and_then(|delimiter| {
            let end = object.name[prefix.len()..].find(delimiter)? + prefix.len() + delimiter.len();
            Some(object.name[..end].to_owned())
        });
        let entry = deeper.as_deref().unwrap_or(&object.name);
        if entry <= after || prefixes.last().is_some_and(|known| known == entry) {
            continue;
        }
        if items.len() + prefixes.len() == size {
            next = Some(last);
            break;
        }
        entry.clone_into(&mut last);
        match deeper {
            Some(deeper) => prefixes.push(deeper),
            None => items.push(resource(&object)),
        }
    }
    let mut page = json!({"kind": "storage#objects"});
    if !items.is_empty() {
        page["items"] = json!(items);
    }
    if !prefixes.is_empty() {
        page["prefixes"] = json!(prefixes);
    }
    if let Some(next) = next {
        page["nextPageToken"] = json!(next);
    }
    Ok(axum::Json(page).into_response())
}

/// The bytes of an object, or the range of them that is asked for.
pub(super) async fn download(
    gateway: &Gateway,
    (bucket, name): (&str, &str),
    generation: Option<i64>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let object = found(gateway, bucket, name, generation)?;
    let path = gateway.platform.staging().file(bucket, name)?;
    let unreadable =
        |error| ApiError::from(Error::internal(format!("cannot read gs://{bucket}/{name}"), error));
    let mut file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let range = asked.and_then(|range| byte_range(range, object.size));
    if asked.is_some() && range.is_none() {
        let mut response = ApiError::from(Error::new(
            Kind::OutOfRange,
            format!("gs://{bucket}/{name} has {} bytes; ask for bytes=FIRST-LAST inside", object.size),
        ))
        .into_response();
        *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
        return Ok(response);
    }
    let (begin, end) = range.unwrap_or((0, object.size));
    file.seek(std::io::SeekFrom::Start(begin)).await.map_err(unreadable)?;
    let left = end - begin;
    let parts = futures_of(file, left);
    let mut response = Body::from_stream(parts).into_response();
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let shown = format!("bytes {begin}-{}/{}", end.saturating_sub(1), object.size);
        if let Ok(shown) = HeaderValue::try_from(shown) {
            response.headers_mut().insert(header::CONTENT_RANGE, shown);
        }
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(left));
    if let Ok(generation) = HeaderValue::try_from(object.generation().to_string()) {
        headers.insert("x-goog-generation", generation);
    }
    Ok(response)
}

/// The file in parts, `left` bytes of it.
fn futures_of(
    file: tokio::fs::File,
    left: u64,
) -> impl futures::Stream<Item = std::io::Result<axum::body::Bytes>> {
    futures::stream::try_unfold((file, left), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut part = vec![0u8; PART_BYTES.min(usize::try_from(left).unwrap_or(PART_BYTES))];
        let read = file.read(&mut part).await?;
        if read == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
        }
        part.truncate(read);
        Ok(Some((axum::body::Bytes::from(part), (file, left - read as u64))))
    })
}

/// First byte, and the one after the last, of `bytes=A-B`, `bytes=A-` or `bytes=-N`.
fn byte_range(text: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let (begin, end) = match (first, last) {
        ("", count) => (size.saturating_sub(count.parse().ok()?), size),
        (first, "") => (first.parse().ok()?, size),
        (first, last) => (first.parse().ok()?, last.parse::<u64>().ok()?.checked_add(1)?.min(size)),
    };
    (begin < end).then_some((begin, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_bytes() {
        for (text, expected) in [
            ("bytes=0-3", Some((0, 4))),
            ("bytes=4-", Some((4, 10))),
            ("bytes=-3", Some((7, 10))),
            ("bytes=8-100", Some((8, 10))),
            ("bytes=-100", Some((0, 10))),
            ("bytes=10-", None),
            ("bytes=5-4", None),
            ("bytes=0-18446744073709551615", None),
            ("bytes=x-1", None),
            ("lines=0-1", None),
        ] {
            assert_eq!(byte_range(text, 10), expected, "{text}");
        }
    }
}
