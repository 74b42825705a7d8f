//! Keeps pages of other sites, open in a browser on this machine, from driving the server.
//!
//! This version has no keys, so a page could post to the loopback address; browsers then send `Origin`, which
//! no other client does. Deliberately not here: protection from a client that forges its headers.

use axum::http::{HeaderMap, header};
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
    fn only_its_own_pages_and_programs_may_ask() {
        assert!(allowed(None));
        assert!(allowed(Some("http://127.0.0.1:8080")));
        for foreign in ["null", "http://evil.example", "http://127.0.0.1:8081", "127.0.0.1:8080", ""] {
            assert!(!allowed(Some(foreign)), "{foreign}");
        }
    }
}
