//! Load on an HTTP server: the same request again and again over kept connections, and how long the replies took.

mod histogram;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes};
use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use platform::{Error, Kind};
use tokio::net::TcpStream;
use tokio::time::Instant;

pub(crate) use histogram::Histogram;

/// After a connection failed.
const PAUSE: Duration = Duration::from_millis(20);

/// What is asked, how often and how long.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) connections: u16,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    /// Requests a second; absent: as fast as the answers come.
    pub(crate) rate: Option<f64>,
    pub(crate) http2: bool,
}

/// What came back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers {
    /// How long replies with a status below 400 took, from when they were due.
    pub(crate) good: Histogram,
    /// All other outcomes by status, or `connection`.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Bytes of the bodies of good replies.
    pub(crate) bytes: u64,
    /// From the end of the warm-up to the last reply: longer than was to be measured where replies, or requests that were
    /// due, came late.
    pub(crate) lasted: Duration,
}

impl Answers {
    fn merge(&mut self, other: Self) {
        self.good.merge(&other.good);
        for (outcome, count) in other.failures {
            *self.failures.entry(outcome).or_default() += count;
        }
        self.bytes += other.bytes;
        self.lasted = self.lasted.max(other.lasted);
    }
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Load {
    /// Puts the load on the server.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if nothing answers at the address.
    pub(crate) async fn run(&self) -> Result<Answers, Error> {
        // A wrong address is told before a whole run is spent on it.
        self.connect().await?;
        let (begin, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let mut tasks = Vec::with_capacity(usize::from(self.connections));
        for _ in 0..self.connections {
            let (load, next) = (self.clone(), Arc::clone(&next));
            tasks.push(tokio::spawn(async move { load.one_connection(begin, &next).await }));
        }
        let mut answers = Answers::default();
        for task in tasks {
            let one =
                task.await.map_err(|error| Error::internal("a connection stopped unexpectedly", error))?;
            answers.merge(one);
        }
        Ok(answers)
    }

    /// With a rate, a connection that is free takes the `next` request that is due, so that none is late unless all are busy.
    async fn one_connection(&self, begin: Instant, next: &AtomicU64) -> Answers {
        let (from, end) = (begin + self.warm_up, begin + self.warm_up + self.measured);
        let mut answers = Answers::default();
        let mut sender = None;
        loop {
            let due = |number: u64, rate: f64| begin + Duration::from_secs_f64(number as f64 / rate);
            let asked =
                self.rate.map_or_else(Instant::now, |rate| due(next.fetch_add(1, Ordering::Relaxed), rate));
            if asked >= end {
                return answers;
            }
            if self.rate.is_some() {
                tokio::time::sleep_until(asked).await;
            }
            let outcome = self.ask(&mut sender).await;
            if asked < from {
                continue;
            }
            answers.lasted = from.elapsed();
            match outcome {
                Ok((code, bytes)) if code < 400 => {
                    answers.good.add(u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX));
                    answers.bytes += bytes;
                }
                Ok((code, _)) => *answers.failures.entry(code.to_string()).or_default() += 1,
                Err(_) => {
                    *answers.failures.entry("connection".to_owned()).or_default() += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Status and length of the reply.
    async fn ask(&self, kept: &mut Option<Sender>) -> Result<(u16, u64), Error> {
        let mut sender = match kept.take() {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        let sent: hyper::Result<Response<_>> = match &mut sender {
            Sender::One(one) => {
                *request.uri_mut() = self.path();
                if let Some(host) = self.uri.authority().and_then(|host| host.as_str().parse().ok()) {
                    request.headers_mut().insert(HOST, host);
                }
                match one.ready().await {
                    Ok(()) => one.send_request(request).await,
                    Err(error) => Err(error),
                }
            }
            Sender::Two(two) => {
                *request.uri_mut() = self.uri.clone();
                two.send_request(request).await
            }
        };
        let broken = |error: hyper::Error| Error::new(Kind::Unavailable, format!("{}: {error}", self.uri));
        let (head, mut body) = sent.map_err(broken)?.into_parts();
        let mut bytes = 0;
        while !body.is_end_stream() {
            let Some(frame) = body.frame().await else { break };
            bytes += frame.map_err(broken)?.data_ref().map_or(0, |data| data.len() as u64);
        }
        *kept = Some(sender);
        Ok((head.status.as_u16(), bytes))
    }

    fn path(&self) -> Uri {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        path.parse().unwrap_or_default()
    }

    async fn connect(&self) -> Result<Sender, Error> {
        let host = self.uri.host().unwrap_or_default();
        let port = self.uri.port_u16().unwrap_or(80);
        let failed = |error: String| {
            let message = format!("nothing answers at {host}:{port}: {error}; is the server running?");
            Error::new(Kind::Unavailable, message)
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, port)).await.map_err(|error| failed(error.to_string()))?;
        // Requests are written whole.
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        let io = TokioIo::new(stream);
        if self.http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io)
                .await
                .map_err(|error| failed(error.to_string()))?;
            tokio::spawn(connection);
            return Ok(Sender::Two(sender));
        }
        let (sender, connection) = http1::handshake(io).await.map_err(|error| failed(error.to_string()))?;
        tokio::spawn(connection);
        Ok(Sender::One(sender))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers every fifth request of a connection with 503, and closes it after ten.
    async fn server() -> Uri {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/x?y=z", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    for request in 1..=10 {
                        let count = stream.read(&mut buffer).await.unwrap_or_default();
                        if count == 0 {
                            return;
                        }
                        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                        assert!(
                            text.starts_with("POST /x?y=z HTTP/1.1\r\n") && text.ends_with("body"),
                            "{text}"
                        );
                        let status = if request % 5 == 0 { "503 No" } else { "200 OK" };
                        let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
                        if stream.write_all(reply.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        uri
    }

    fn load(uri: Uri) -> Load {
        Load {
            method: Method::POST,
            uri,
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"body"),
            connections: 3,
            warm_up: Duration::ZERO,
            measured: Duration::from_millis(300),
            rate: None,
            http2: false,
        }
    }

    #[tokio::test]
    async fn replies_are_counted_by_their_outcome() {
        let uri = server().await;
        let mut answers = load(uri.clone()).run().await.unwrap();
        // A busy machine may keep it from asking for as long as is measured.
        for _ in 0..10 {
            if answers.good.total() > 100 {
                break;
            }
            answers = load(uri.clone()).run().await.unwrap();
        }
        let refused = answers.failures["503"];
        assert!(answers.good.total() > 100 && answers.bytes == 2 * answers.good.total(), "{answers:?}");
        assert!(answers.good.total().abs_diff(4 * refused) <= 15, "{answers:?}");
        assert!(answers.failures["connection"] > 0, "{answers:?}");
    }

    #[tokio::test]
    async fn a_rate_is_kept() {
        let load = Load { rate: Some(200.0), measured: Duration::from_millis(500), ..load(server().await) };
        let answers = load.run().await.unwrap();
        let all = answers.good.total() + answers.failures.values().sum::<u64>();
        assert!((60..=101).contains(&all), "{answers:?}");
    }

    #[tokio::test]
    async fn a_rate_that_is_too_much_takes_longer_than_was_to_be_measured() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    while stream.read(&mut [0; 1024]).await.unwrap_or_default() > 0 {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                    }
                });
            }
        });
        let measured = Duration::from_millis(100);
        let answers = Load { connections: 1, rate: Some(200.0), measured, ..load(uri) }.run().await.unwrap();
        // Twenty were due, each takes 20 ms, and they wait for each other.
        assert_eq!((answers.good.total(), answers.failures.len()), (20, 0), "{answers:?}");
        assert!(answers.lasted >= Duration::from_millis(400), "{answers:?}");
        assert!(answers.good.max() >= 200_000.0, "{answers:?}");
    }

    #[tokio::test]
    async fn where_nobody_listens_it_says_so() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        let error = load(uri).run().await.unwrap_err();
        assert!(error.to_string().contains("is the server running?"), "{error}");
    }
}
