//! Where the body of a request of HTTP/1.1 ends, as far as two readers could see two ends, one of them a request inside of it.
//!
//! Deliberately not here: reading chunks and lengths, which is `hyper`'s; this is what it lets pass, and what it means by its errors.

use std::error::Error as StdError;
use std::io;

use axum::http::{HeaderMap, header};
use platform::{Error, Kind};

/// Refuses a body in any transfer coding but one `chunked` (RFC 9112, section 6.1). No other one is undone here, so taking it for plain
/// chunks would hand on something that was not sent.
///
/// # Errors
/// [`Kind::InvalidArgument`] for chunks in chunks, [`Kind::Unimplemented`] for another coding.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), Error> {
    let values = headers.get_all(header::TRANSFER_ENCODING).iter();
    let codings = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let codings: Vec<&[u8]> = codings.map(<[u8]>::trim_ascii).filter(|coding| !coding.is_empty()).collect();
    let (chunked, others): (Vec<&[u8]>, Vec<&[u8]>) =
        codings.into_iter().partition(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    if chunked.len() > 1 {
        return Err(Error::new(
            Kind::InvalidArgument,
            "transfer-encoding names chunked twice; chunk a body once",
        ));
    }
    if !others.is_empty() {
        let message = "no transfer-encoding but chunked is offered; compress the body by content-encoding";
        return Err(Error::new(Kind::Unimplemented, message));
    }
    Ok(())
}

/// Whether a body could not be read because its chunks or trailers are none; otherwise its client has left.
pub(crate) fn is_broken(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_chunked_once_and_nothing_else() {
        let with = |values: &[&str]| {
            let named = |value: &&str| (header::TRANSFER_ENCODING, value.parse().unwrap());
            check(&values.iter().map(named).collect()).map_err(|error| error.kind())
        };
        for good in [&[][..], &["chunked"], &["Chunked"], &[", chunked"], &["", " chunked "]] {
            assert_eq!(with(good), Ok(()), "{good:?}");
        }
        for twice in [&["chunked, chunked"][..], &["chunked", "CHUNKED"], &["chunked, gzip, chunked"]] {
            assert_eq!(with(twice), Err(Kind::InvalidArgument), "{twice:?}");
        }
        for other in
            [&["gzip, chunked"][..], &["gzip", "chunked"], &["identity,chunked"], &["x\u{b5}, chunked"]]
        {
            assert_eq!(with(other), Err(Kind::Unimplemented), "{other:?}");
        }
    }

    #[test]
    fn who_left_is_told_from_who_sends_no_chunks() {
        let read = |kind| axum::Error::new(io::Error::new(kind, "a chunk"));
        assert!(
            is_broken(&read(io::ErrorKind::InvalidInput)) && is_broken(&read(io::ErrorKind::InvalidData))
        );
        assert!(!is_broken(&read(io::ErrorKind::UnexpectedEof)) && !is_broken(&axum::Error::new("left")));
    }
}
