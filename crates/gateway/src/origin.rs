//! Whom a request asks, and for whom: every request of HTTP/1.1 names one host, and pages of other sites, open in a browser on this
//! machine, do not drive the server.
//!
//! This version has no keys, so a page could post to the loopback address; browsers then send `Origin`, which
//! no other client does. Deliberately not here: protection from a client that forges its headers.

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Version, header};
use platform::{Error, Kind};

/// Refuses a request that a page of another site makes.
///
/// # Errors
/// [`Kind::PermissionDenied`] if the request's `Origin` is not the host it asks.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), Error> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let asking = origin.to_str().ok().and_then(authority);
    if asking.is_some() && asking == host {
        return Ok(());
    }
    let message = "requests of web pages from other origins are refused; call the server from a program or from its own pages";
    Err(Error::new(Kind::PermissionDenied, message))
}

/// The host and port by which the client has reached this server: HTTP/2 has it in the URI.
pub(crate) fn host(parts: &Parts) -> Option<&str> {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.or_else(|| parts.uri.authority().map(Authority::as_str))
}

/// Refuses a request whose host two readers may take for two: with two of them, with none, or with none that can be one
/// (RFC 9112, section 3.2).
///
/// # Errors
/// [`Kind::InvalidArgument`].
pub(crate) fn one_host(version: Version, headers: &HeaderMap) -> Result<(), Error> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let wrong = match (hosts.next(), hosts.next()) {
        // HTTP/2 has a field of its own for it, HTTP/1.0 none.
        (None, _) => version == Version::HTTP_11,
        (Some(host), None) => {
            let text = host.as_bytes();
            !is_plain(text) && (text.contains(&b'@') || Authority::try_from(text).is_err())
        }
        (Some(_), Some(_)) => true,
    };
    if wrong {
        return Err(Error::new(Kind::InvalidArgument, "a request names its host once, as HOST or HOST:PORT"));
    }
    Ok(())
}

/// Whether it is a name or an address of IPv4, with or without a port, as nearly all are; those need no closer look. So is none at all.
fn is_plain(host: &[u8]) -> bool {
    let name = host.iter().position(|&byte| byte == b':').unwrap_or(host.len());
    let (name, port) = host.split_at(name);
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let port_digits = match port {
        [] => true,
        [_, digits @ ..] => {
            !name.is_empty() && (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
    };
    port_digits && name.iter().all(is_of_name)
}

fn authority(origin: &str) -> Option<&str> {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "127.0.0.1:8080".parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check(&headers).is_ok()
    }

    #[test]
    fn a_host_is_named_once() {
        let with = |hosts: &[&str]| {
            let named = |host: &&str| (header::HOST, host.parse().unwrap());
            one_host(Version::HTTP_11, &hosts.iter().map(named).collect()).is_ok()
        };
        for good in ["localhost", "127.0.0.1:8080", "[::1]:8080", "a-b.example", "a_b:1", ""] {
            assert!(with(&[good]), "{good}");
        }
        for bad in ["a b", "a/b", "a@b", "a:b:c", "a, b", "a:1:2", "a:b@c"] {
            assert!(!with(&[bad]), "{bad}");
        }
        assert!(!with(&[]) && !with(&["a", "a"]));
        assert!(one_host(Version::HTTP_2, &HeaderMap::new()).is_ok());
        assert!(one_host(Version::HTTP_10, &HeaderMap::new()).is_ok());
    }

    #[test]
    fn only_its_own_pages_and_programs_may_ask() {
        assert!(allowed(None));
        assert!(allowed(Some("http://127.0.0.1:8080")));
        for foreign in ["null", "http://evil.example", "http://127.0.0.1:8081", "127.0.0.1:8080", ""] {
            assert!(!allowed(Some(foreign)), "{foreign}");
        }
    }
}
