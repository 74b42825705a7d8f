//! `multipart/related`: what an object is called, then its bytes (RFC 2387, as Google's API uses it).

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use platform::{Error, StagedUpload};
use serde_json::Value;

use crate::vertex::fields::tree;

/// The JSON that describes the object, and its bytes.
///
/// # Errors
/// [`platform::Kind::InvalidArgument`] for a body that is not made of these two parts.
pub(super) fn parse<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<(Value, &'a [u8]), Error> {
    let wrong = |why: &str| {
        Error::invalid("body", format!("the body is no multipart/related of a description and bytes: {why}"))
    };
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = kind
        .split(';')
        .filter_map(|part| part.trim().strip_prefix("boundary="))
        .map(|boundary| boundary.trim_matches('"'))
        .next()
        .filter(|boundary| !boundary.is_empty())
        .ok_or_else(|| wrong("its content-type names no boundary"))?;
    let line = format!("--{boundary}");
    let rest =
        body.strip_prefix(line.as_bytes()).ok_or_else(|| wrong("it does not begin with the boundary"))?;
    let between = format!("\r\n{line}");
    let at = find(rest, between.as_bytes()).ok_or_else(|| wrong("it has one part"))?;
    let description = content(&rest[..at]).ok_or_else(|| wrong("its first part has no blank line"))?;
    let rest = &rest[at + between.len()..];
    // The bytes may hold the boundary of nobody; the last one ends them.
    let end = format!("\r\n{line}--");
    let at = rfind(rest, end.as_bytes()).ok_or_else(|| wrong("its end is missing; it was cut off"))?;
    let bytes = content(&rest[..at]).ok_or_else(|| wrong("its second part has no blank line"))?;
    let description = tree(description).map_err(|error| wrong(&format!("the first part: {error}")))?;
    Ok((description, bytes))
}

/// What an upload is of: from its description, else from the query.
///
/// # Errors
/// [`platform::Kind::InvalidArgument`] without a name, or with a checksum that is none.
pub(super) fn upload(bucket: &str, description: &Value, name: Option<&str>) -> Result<StagedUpload, Error> {
    let name = description["name"].as_str().or(name);
    let Some(name) = name else {
        return Err(Error::invalid("name", "the object has no name; give it as \"name\""));
    };
    let crc32c = match description["crc32c"].as_str() {
        None => None,
        Some(text) => {
            let bytes = STANDARD.decode(text).ok().and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
            let bytes =
                bytes.ok_or_else(|| Error::invalid("crc32c", "crc32c is not the base64 of 4 bytes"))?;
            Some(u32::from_be_bytes(bytes))
        }
    };
    Ok(StagedUpload { bucket: bucket.to_owned(), name: name.to_owned(), crc32c })
}

/// As Google writes a checksum: base64 of its bytes, the highest first.
pub(super) fn encoded_crc32c(crc32c: u32) -> String {
    STANDARD.encode(crc32c.to_be_bytes())
}

/// What follows the blank line of a part.
fn content(part: &[u8]) -> Option<&[u8]> {
    find(part, b"\r\n\r\n").map(|at| &part[at + 4..])
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn rfind(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).rposition(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(kind: &str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())])
    }

    const BODY: &[u8] = b"--==x==\r\ncontent-type: application/json\r\n\r\n{\"name\": \"a/b\"}\r\n--==x==\r\ncontent-type: x/y\r\n\r\n\x00\r\n--==x\xff\r\n\r\n\r\n--==x==--";

    #[test]
    fn a_description_and_bytes_come_apart() {
        for kind in ["multipart/related; boundary=\"==x==\"", "multipart/related;boundary===x=="] {
            let (description, bytes) = parse(&headers(kind), BODY).unwrap();
            assert_eq!(bytes, b"\x00\r\n--==x\xff\r\n\r\n");
            let upload = upload("models", &description, None).unwrap();
            assert_eq!((upload.name.as_str(), upload.crc32c), ("a/b", None));
        }
    }

    #[test]
    fn what_is_cut_or_odd_is_refused() {
        let kind = headers("multipart/related; boundary=\"==x==\"");
        for length in 0..BODY.len() {
            assert!(parse(&kind, &BODY[..length]).is_err(), "{length}");
        }
        assert!(parse(&headers("application/json"), BODY).is_err());
        assert!(upload("models", &Value::Null, None).is_err());
        assert_eq!(upload("models", &Value::Null, Some("q")).unwrap().name, "q");
        let odd = serde_json::json!({"name": "a", "crc32c": "AAA="});
        assert!(upload("models", &odd, None).is_err());
        let good = serde_json::json!({"name": "a", "crc32c": encoded_crc32c(0x0102_0304)});
        assert_eq!(upload("models", &good, None).unwrap().crc32c, Some(0x0102_0304));
    }
}
