//! `multipart/related`: what an object is called, then its bytes (RFC 2387, as Google's API uses it).

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use platform::{Error, StagedUpload};
use serde_json::Value;

use crate::vertex::fields::tree;

/// RFC 2046's limit; whoever looks for a longer one of like bytes looks long.
const BOUNDARY_BYTES_MAX: usize = 70;

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
        .filter(|boundary| (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()))
        .ok_or_else(|| wrong("its content-type names no boundary of at most 70 bytes"))?;
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
    let crc32c = decoded(description, "crc32c")?.map(u32::from_be_bytes);
    let md5 = decoded(description, "md5Hash")?;
    Ok(StagedUpload { bucket: bucket.to_owned(), name: name.to_owned(), crc32c, md5, replaces: None })
}

fn decoded<const N: usize>(description: &Value, field: &str) -> Result<Option<[u8; N]>, Error> {
    let wrong = || Error::invalid(field, format!("{field} is not the base64 of {N} bytes"));
    match &description[field] {
        Value::Null => Ok(None),
        Value::String(text) => {
            let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
            bytes.map(Some).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

/// As Google writes a checksum: base64 of its bytes, the highest first.
pub(super) fn encoded(checksum: &[u8]) -> String {
    STANDARD.encode(checksum)
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
        for odd in [
            serde_json::json!({"name": "a", "crc32c": "AAA="}),
            serde_json::json!({"name": "a", "crc32c": 7}),
            serde_json::json!({"name": "a", "md5Hash": "AAAA"}),
        ] {
            assert!(upload("models", &odd, None).is_err(), "{odd}");
        }
        let good = serde_json::json!({
            "name": "a",
            "crc32c": encoded(&0x0102_0304_u32.to_be_bytes()),
            "md5Hash": encoded(&[7; 16]),
        });
        let good = upload("models", &good, None).unwrap();
        assert_eq!((good.crc32c, good.md5), (Some(0x0102_0304), Some([7; 16])));
        let long = format!("multipart/related; boundary={}", "a".repeat(71));
        assert!(
            parse(
                &headers(&long),
                format!("--{0}\r\n\r\n{{}}\r\n--{0}\r\n\r\nx\r\n--{0}--", "a".repeat(71)).as_bytes()
            )
            .is_err()
        );
    }
}
