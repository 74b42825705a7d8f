//! The body of a request within the limit, as it was before it was compressed; and replies, compressed for who asks.
//!
//! A body is never larger than the limit in memory, compressed or not, so a bomb costs what an honest body costs; and it comes at
//! a pace, since a request counts as one in progress while its body is on its way.

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::framing;
use crate::observe;
use crate::pace::{Pace, Wait};

/// Smaller replies are sent as they are: they fit a packet either way.
const COMPRESSED_FROM_BYTES: usize = 1024;

/// So much is made room for at once on a client's word; more when it has come.
const ANNOUNCED_BYTES_TRUSTED: usize = 1 << 20;

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It is over the limit, of so many bytes.
    TooLarge(usize),
    /// The client stopped sending.
    Cut,
    /// Its chunks are none.
    Misframed,
    /// The client sends too slowly.
    Slow,
    /// Its coding is not offered.
    Coding(String),
    /// It is not what its coding says.
    Corrupt(&'static str),
}

/// A body as it comes, at a pace.
pub(crate) struct Paced {
    body: Body,
    wait: Wait,
}

impl Paced {
    /// Whose clock begins when it is first waited for.
    pub(crate) fn new(body: Body) -> Self {
        Self::at(observe::pace_of_body(), body)
    }

    fn at(pace: Pace, body: Body) -> Self {
        Self { body, wait: Wait::new(pace) }
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// [`BodyError::Slow`], [`BodyError::Cut`], [`BodyError::Misframed`].
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        while !self.body.is_end_stream() {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                ready!(self.wait.poll_late(context));
                return Poll::Ready(Err(BodyError::Slow));
            };
            match frame {
                None => break,
                Some(Err(error)) if framing::is_broken(&error) => {
                    return Poll::Ready(Err(BodyError::Misframed));
                }
                Some(Err(_)) => return Poll::Ready(Err(BodyError::Cut)),
                // Trailers mean nothing here.
                Some(Ok(frame)) => {
                    let Ok(part) = frame.into_data() else { continue };
                    self.wait.came(part.len());
                    return Poll::Ready(Ok(Some(part)));
                }
            }
        }
        Poll::Ready(Ok(None))
    }
}

/// Reads a body within the limit; one that is announced too long is not read at all.
///
/// # Errors
/// [`BodyError::TooLarge`], [`BodyError::Cut`], [`BodyError::Misframed`], [`BodyError::Slow`].
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, BodyError> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(BodyError::TooLarge(limit));
    }
    gathered(Paced::new(body), announced, limit).await
}

async fn gathered(mut paced: Paced, announced: Option<u64>, limit: usize) -> Result<Bytes, BodyError> {
    let Some(first) = paced.next().await? else { return Ok(Bytes::new()) };
    let mut whole = first;
    let mut gathered = Vec::new();
    while let Some(part) = paced.next().await? {
        if gathered.is_empty() {
            let announced = announced.map_or(0, |length| length as usize);
            gathered.reserve((whole.len() + part.len()).max(announced.min(ANNOUNCED_BYTES_TRUSTED)));
            gathered.extend_from_slice(&whole);
        }
        if gathered.len() + part.len() > limit {
            return Err(BodyError::TooLarge(limit));
        }
        gathered.extend_from_slice(&part);
    }
    if !gathered.is_empty() {
        whole = Bytes::from(gathered);
    }
    if whole.len() > limit { Err(BodyError::TooLarge(limit)) } else { Ok(whole) }
}

/// Reads a body within the limit and undoes its `Content-Encoding`; the limit holds before and after.
///
/// # Errors
/// As [`BodyError`] says.
pub(crate) async fn read_decoded(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, BodyError> {
    if !headers.contains_key(header::CONTENT_ENCODING) {
        return read(headers, body, limit).await;
    }
    Box::pin(read_packed(headers, body, limit)).await
}

async fn read_packed(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, BodyError> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let named = match (codings.next(), codings.next()) {
        (Some(_), Some(_)) => return Err(BodyError::Coding("several".to_owned())),
        (one, _) => one.map_or(&b""[..], |one| one.as_bytes()),
    };
    let named = String::from_utf8_lossy(named).trim().to_ascii_lowercase();
    let unpack: fn(&[u8], usize) -> Result<Vec<u8>, BodyError> = match named.as_str() {
        "identity" | "" => return read(headers, body, limit).await,
        "gzip" | "x-gzip" => gunzip,
        "deflate" => inflate,
        _ => return Err(BodyError::Coding(named.chars().take(40).collect())),
    };
    let packed = read(headers, body, limit).await?;
    let unpacked = tokio::task::spawn_blocking(move || unpack(&packed, limit));
    unpacked.await.unwrap_or(Err(BodyError::Cut)).map(Bytes::from)
}

fn gunzip(packed: &[u8], limit: usize) -> Result<Vec<u8>, BodyError> {
    bounded(MultiGzDecoder::new(packed), limit, "gzip")
}

/// `deflate` is the format of zlib; some clients send it without that format's header.
fn inflate(packed: &[u8], limit: usize) -> Result<Vec<u8>, BodyError> {
    match bounded(ZlibDecoder::new(packed), limit, "deflate") {
        Err(BodyError::Corrupt(_)) => bounded(DeflateDecoder::new(packed), limit, "deflate"),
        done => done,
    }
}

fn bounded(decoder: impl std::io::Read, limit: usize, name: &'static str) -> Result<Vec<u8>, BodyError> {
    let mut unpacked = Vec::new();
    let read = decoder.take(limit as u64 + 1).read_to_end(&mut unpacked);
    if unpacked.len() > limit {
        return Err(BodyError::TooLarge(limit));
    }
    read.map(|_| unpacked).map_err(|_| BodyError::Corrupt(name))
}

/// A coding of replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
}

/// What the client would like a reply to be compressed with.
pub(crate) fn accepted(headers: &HeaderMap) -> Option<Coding> {
    let listed = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let accepted: Vec<&str> =
        listed.flat_map(|list| list.split(',')).filter(|one| !is_refused(one)).map(name_of).collect();
    let named = |name: &str| accepted.iter().any(|one| one.eq_ignore_ascii_case(name));
    if named("gzip") {
        return Some(Coding::Gzip);
    }
    named("deflate").then_some(Coding::Deflate)
}

/// What is listed, without its weight and other parameters.
pub(crate) fn name_of(one: &str) -> &str {
    one.split(';').next().unwrap_or_default().trim()
}

/// Whether its weight is 0.
pub(crate) fn is_refused(one: &str) -> bool {
    let weight =
        one.split(';').skip(1).find_map(|part| part.trim().strip_prefix(['q', 'Q'])?.strip_prefix('='));
    weight.and_then(|weight| weight.trim().parse::<f32>().ok()) == Some(0.0)
}

/// A reply with this body, compressed if the client likes and it is worth while.
pub(crate) async fn compressed(body: Vec<u8>, coding: Option<Coding>) -> Response {
    let Some(coding) = coding.filter(|_| body.len() >= COMPRESSED_FROM_BYTES) else {
        return Response::new(Body::from(body));
    };
    let packing = tokio::task::spawn_blocking(move || match pack(&body, coding) {
        Ok(packed) => (packed, true),
        Err(_) => (body, false),
    });
    // It neither panics nor is it cancelled; if it were, an empty reply could not be taken for an answer.
    let (body, packed) = packing.await.unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    if packed {
        let name = match coding {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        };
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    response
}

fn pack(body: &[u8], coding: Coding) -> std::io::Result<Vec<u8>> {
    match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(body)?;
            encoder.finish()
        }
        Coding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(body)?;
            encoder.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    async fn decoded(coding: &str, body: Vec<u8>, limit: usize) -> Result<Bytes, BodyError> {
        read_decoded(&headers(header::CONTENT_ENCODING, coding), Body::from(body), limit).await
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_told_from_a_broken_one() {
        let none = HeaderMap::new();
        assert_eq!(read(&none, Body::from("12345"), 5).await.unwrap(), "12345");
        assert_eq!(read(&none, Body::from("123456"), 5).await, Err(BodyError::TooLarge(5)));
        let announced = headers(header::CONTENT_LENGTH, "6");
        assert_eq!(read(&announced, Body::empty(), 5).await, Err(BodyError::TooLarge(5)));
    }

    /// A client that sends so many bytes every so often.
    fn dribbled(bytes: usize, every: Duration) -> Body {
        let part = Bytes::from(vec![b' '; bytes]);
        Body::from_stream(futures::stream::unfold((), move |()| {
            let part = part.clone();
            async move {
                tokio::time::sleep(every).await;
                Some((Ok::<_, std::convert::Infallible>(part), ()))
            }
        }))
    }

    #[tokio::test]
    async fn a_client_keeps_nobody_waiting_for_its_body() {
        let pace = Pace { silence_max: Duration::from_millis(100), bytes_per_second_min: 1000 };
        let read = |bytes, millis| {
            gathered(Paced::at(pace, dribbled(bytes, Duration::from_millis(millis))), None, 600)
        };
        let begun = Instant::now();
        assert_eq!(read(1, 60_000).await, Err(BodyError::Slow), "silent");
        assert_eq!(read(1, 10).await, Err(BodyError::Slow), "a byte at a time");
        // Long enough that a busy machine is late with neither.
        assert_eq!(read(300, 5000).await, Err(BodyError::Slow), "with long pauses");
        assert!(begun.elapsed() < Duration::from_secs(20));
        // Twice as fast as it must be, unless the machine makes a pause of its own.
        for tried in 1.. {
            let end = read(40, 20).await;
            if end == Err(BodyError::TooLarge(600)) {
                break;
            }
            assert!(tried < 10, "{end:?}");
        }
    }

    #[tokio::test]
    async fn codings_are_undone_within_the_limit() {
        let text = b"what was sent, what was sent, what was sent".to_vec();
        let packed = |coding| pack(&text, coding).unwrap();
        for (name, body) in [
            ("gzip", packed(Coding::Gzip)),
            ("X-GZIP", packed(Coding::Gzip)),
            ("deflate", packed(Coding::Deflate)),
            // Without the two bytes before and the four after that zlib adds.
            ("deflate", packed(Coding::Deflate)[2..packed(Coding::Deflate).len() - 4].to_vec()),
            ("identity", text.clone()),
        ] {
            assert_eq!(decoded(name, body, 100).await.unwrap(), text, "{name}");
        }
        let bomb = pack(&vec![0; 10 << 20], Coding::Gzip).unwrap();
        assert!(bomb.len() < 1_000_000);
        assert_eq!(decoded("gzip", bomb, 1_000_000).await, Err(BodyError::TooLarge(1_000_000)));
        assert_eq!(decoded("gzip", b"{}".to_vec(), 100).await, Err(BodyError::Corrupt("gzip")));
        let mut cut = packed(Coding::Gzip);
        cut.truncate(20);
        assert_eq!(decoded("gzip", cut, 100).await, Err(BodyError::Corrupt("gzip")));
        assert_eq!(decoded("br", text, 100).await, Err(BodyError::Coding("br".to_owned())));
    }

    #[test]
    fn the_client_chooses_how_a_reply_is_compressed() {
        for (asked, coding) in [
            ("gzip", Some(Coding::Gzip)),
            ("deflate, gzip;q=1.0, *;q=0.5", Some(Coding::Gzip)),
            ("gzip;q=0, deflate", Some(Coding::Deflate)),
            ("br", None),
            ("", None),
        ] {
            assert_eq!(accepted(&headers(header::ACCEPT_ENCODING, asked)), coding, "{asked}");
        }
        assert_eq!(accepted(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn a_reply_is_compressed_where_it_is_worth_while() {
        let body = vec![b'a'; 5000];
        let response = compressed(body.clone(), Some(Coding::Gzip)).await;
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        let packed = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        assert_eq!(gunzip(&packed, 10_000).unwrap(), body);
        let small = compressed(b"{}".to_vec(), Some(Coding::Gzip)).await;
        assert!(small.headers().is_empty());
    }
}
