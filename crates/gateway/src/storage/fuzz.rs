//! What reads foreign bytes here, for the targets in `fuzz/`: whether it takes them.

use axum::http::HeaderMap;

use super::{multipart, named, upload};

/// A `content-range`.
pub(crate) fn range(text: &str) -> bool {
    upload::Range::parse(Some(text)).is_some()
}

/// A body in parts, the first of which says what the second is.
pub(crate) fn multipart(headers: &HeaderMap, body: &[u8]) -> bool {
    multipart::parse(headers, body).is_ok_and(|(described, bytes)| {
        assert!(bytes.len() < body.len(), "more than was sent");
        multipart::upload("bucket", &described, None).is_ok()
    })
}

/// A path below `/storage/v1` and its like.
pub(crate) fn path(path: &str) -> bool {
    named(path).is_ok()
}
