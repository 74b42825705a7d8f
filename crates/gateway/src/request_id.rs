//! The id of a request: the client's if it is fit to be logged and echoed, else one of ours.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

/// The header that carries the id, in both directions.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LENGTH_MAX: usize = 128;

/// Hands out request ids that repeat neither within a process nor, by its start time, across processes.
#[derive(Debug)]
pub(crate) struct RequestIds {
    prefix: String,
    next: AtomicU64,
}

impl RequestIds {
    /// Ids of a process that started at `start`.
    pub(crate) fn new(start: Timestamp) -> Self {
        Self { prefix: format!("{:x}-", start.as_microsecond()), next: AtomicU64::new(1) }
    }

    /// The id of a request with these headers.
    pub(crate) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(&REQUEST_ID) {
            Some(asked) if is_sane(asked.as_bytes()) => asked.clone(),
            _ => self.made(),
        }
    }

    fn made(&self) -> HeaderValue {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(self.next.fetch_add(1, Ordering::Relaxed));
        let (dash, end) = (self.prefix.len(), self.prefix.len() + digits.len());
        // 16 hexadecimal digits, a dash, 20 digits.
        let mut text = [0u8; 40];
        text[..dash].copy_from_slice(self.prefix.as_bytes());
        text[dash..end].copy_from_slice(digits.as_bytes());
        HeaderValue::from_bytes(&text[..end]).expect("hex digits and a dash fit a header")
    }
}

/// Short, and nothing that could break a log line or a header.
fn is_sane(id: &[u8]) -> bool {
    (1..=LENGTH_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(id: &[u8]) -> HeaderMap {
        HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_bytes(id).unwrap())])
    }

    #[test]
    fn a_sane_id_is_kept_and_any_other_replaced() {
        let ids = RequestIds::new("2024-01-02T03:04:05Z".parse().unwrap());
        assert_eq!(ids.of(&with(b"trace-1:a/b_c.d")), "trace-1:a/b_c.d");
        for bad in [b"".as_slice(), b"two words", b"\xff", &[b'a'; 129], b"<b>"] {
            let made = ids.of(&with(bad));
            assert!(is_sane(made.as_bytes()) && made.as_bytes() != bad, "{bad:?}");
        }
        assert_ne!(ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
        let ids = RequestIds { prefix: "60de0a7d4b2c0-".to_owned(), next: AtomicU64::new(9) };
        assert_eq!(
            (ids.made(), ids.made()),
            ("60de0a7d4b2c0-9".parse().unwrap(), "60de0a7d4b2c0-10".parse().unwrap())
        );
        let last = RequestIds { prefix: "ffffffffffffffff-".to_owned(), next: AtomicU64::new(u64::MAX) };
        assert_eq!(last.made(), "ffffffffffffffff-18446744073709551615");
    }
}
