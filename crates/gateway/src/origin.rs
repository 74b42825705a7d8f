//! Whom a request asks, and for whom: every request of HTTP/1.1 names one host, and pages of other sites, open in a browser on this
//! machine, do not drive the server.
//!
//! A server without keys does what it is asked, and any page can have a browser ask the loopback address. What gives it away are headers
//! that browsers add and no page can take away:
//!
//! - `Origin`, with every request to another site and with every one that is not `GET` or `HEAD`. It must be the host that is asked.
//! - A site can have its own name lead here once its page is loaded (DNS rebinding): host and origin are the same then. So without keys
//!   pages are answered only where no DNS has a say, under an address or as `localhost`.
//! - What such a page reads by `GET` comes without `Origin`, and with `Sec-Fetch-Site` only if it is encrypted or the host is `localhost`
//!   (<https://www.w3.org/TR/fetch-metadata/>, section 2: a trustworthy URL); `Referer` can be turned off. `Accept-Language` is always there.
//!
//! Deliberately not here: protection from a client that forges its headers; that is what keys are for.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, Uri, Version, header};
use platform::{Error, Kind};

use crate::refusal::shown;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Refuses a request that a page of another site makes; `has_keys` says whether the server asks for keys, which no such page has.
///
/// # Errors
/// [`Kind::PermissionDenied`] if the request's `Origin` is not the host it asks, or if without keys a page asks a host by a name that may
/// be its own.
pub(crate) fn check(request: &Request, has_keys: impl FnOnce() -> bool) -> Result<(), Error> {
    let headers = request.headers();
    let host = || asked(headers, request.uri()).unwrap_or_default();
    let origin = headers.get(header::ORIGIN);
    if let Some(origin) = origin {
        let asking = origin.to_str().ok().and_then(authority);
        if asking != Some(host()) {
            let message = "requests of web pages from other origins are refused; call the server from a program or from its own pages";
            return Err(Error::new(Kind::PermissionDenied, message));
        }
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    let host = host();
    if is_of_no_dns(host) || origin.is_none() && !is_of_a_page(headers) || has_keys() {
        return Ok(());
    }
    let message = format!(
        "without keys web pages are answered under an address or as localhost alone, as any site can have a name like \"{}\" lead here; \
        ask there, or create a key (`bellwether key create`)",
        shown(host)
    );
    Err(Error::new(Kind::PermissionDenied, message))
}

/// The host and port by which the client has reached this server: HTTP/2 has it in the URI.
pub(crate) fn host(parts: &Parts) -> Option<&str> {
    asked(&parts.headers, &parts.uri)
}

fn asked<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.or_else(|| uri.authority().map(Authority::as_str))
}

/// Whether a host is reached without asking DNS: an address, or `localhost` and names below it (RFC 6761, section 6.3).
fn is_of_no_dns(host: &str) -> bool {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let last = name.rsplit_once('.').map_or(name, |(_, last)| last);
    last.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok()
}

/// Whether a browser asks, as far as a page cannot hide it. Node's `fetch` has a language too, and names a mode without a site, which no
/// browser does and no page can.
fn is_of_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ACCEPT_LANGUAGE) && !headers.contains_key(SEC_FETCH_MODE)
        || headers.contains_key(SEC_FETCH_SITE)
        || headers.contains_key(header::REFERER)
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

    fn request(method: Method, host: &str, headers: &[(&str, &str)]) -> Request {
        let request = Request::builder().method(method).uri("/v1/models/m").header("host", host);
        let with = |request: axum::http::request::Builder, (name, value): &(&str, &str)| {
            request.header(*name, *value)
        };
        headers.iter().fold(request, with).body(axum::body::Body::empty()).unwrap()
    }

    fn allowed(host: &str, origin: Option<&str>, keys: bool) -> bool {
        let headers: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
        check(&request(Method::POST, host, &headers), || keys).is_ok()
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
        const HOST: &str = "127.0.0.1:8080";
        assert!(allowed(HOST, None, false) && allowed("models:8080", None, false));
        assert!(allowed(HOST, Some("http://127.0.0.1:8080"), false));
        for foreign in ["null", "http://evil.example", "http://127.0.0.1:8081", "127.0.0.1:8080", ""] {
            assert!(!allowed(HOST, Some(foreign), false) && !allowed(HOST, Some(foreign), true), "{foreign}");
        }
        assert!(!allowed("", Some("http://"), false));
    }

    #[test]
    fn without_keys_a_name_of_dns_is_no_pages_own() {
        let own = |host: &str, keys| allowed(host, Some(&format!("http://{host}")), keys);
        for host in [
            "localhost",
            "LocalHost:1",
            "models.localhost:8080",
            "127.0.0.1",
            "192.168.1.5:80",
            "[::1]:8080",
            "[fe80::1]",
        ] {
            assert!(own(host, false) && own(host, true), "{host}");
        }
        for host in [
            "evil.example",
            "models:8080",
            "localhost.example:8080",
            "127.0.0.1.example",
            "1.2.3",
            "notlocalhost",
            "[x]:1",
        ] {
            assert!(!own(host, false) && own(host, true), "{host}");
        }
    }

    #[test]
    fn what_a_rebound_page_reads_is_told_by_what_browsers_add() {
        let reads = |host, headers: &[(&str, &str)]| {
            let read = |method| check(&request(method, host, headers), || false).is_ok();
            assert_eq!(read(Method::GET), read(Method::HEAD));
            assert!(read(Method::DELETE), "a browser adds its origin to it");
            assert!(check(&request(Method::GET, host, headers), || true).is_ok(), "no page has a key");
            read(Method::GET)
        };
        let browsers: [&[(&str, &str)]; 3] = [
            &[
                ("accept", "*/*"),
                ("accept-language", "en-GB,en;q=0.9"),
                ("referer", "http://evil.example:8080/"),
            ],
            // Of a page that hides what it can.
            &[("user-agent", "curl/8"), ("accept-language", "")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors"), ("accept-language", "en")],
        ];
        for headers in browsers {
            assert!(!reads("evil.example:8080", headers), "{headers:?}");
            assert!(reads("localhost:8080", headers) && reads("127.0.0.1:8080", headers), "{headers:?}");
        }
        let programs: [&[(&str, &str)]; 3] = [
            &[],
            &[("user-agent", "python-requests/2"), ("accept-encoding", "gzip, deflate"), ("accept", "*/*")],
            // Node's.
            &[
                ("accept", "*/*"),
                ("accept-language", "*"),
                ("sec-fetch-mode", "cors"),
                ("user-agent", "node"),
            ],
        ];
        for headers in programs {
            assert!(reads("models:8080", headers), "{headers:?}");
        }
    }

    #[test]
    fn http_2_has_its_host_in_the_uri() {
        let with = |uri: &str, origin: &str| {
            let request = Request::post(uri).version(Version::HTTP_2).header("origin", origin);
            check(&request.body(axum::body::Body::empty()).unwrap(), || false).is_ok()
        };
        assert!(with("https://localhost:8443/v1/models/m:predict", "https://localhost:8443"));
        assert!(!with("https://localhost:8443/v1/models/m:predict", "https://evil.example"));
    }
}
