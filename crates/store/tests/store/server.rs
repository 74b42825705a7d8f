//! A web server that does what a test says: answers, answers late, stops in the middle, or hangs up.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a client asked for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Without its query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, not decoded.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let pairs = self.target.split_once('?')?.1.split('&');
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|pair| pair.0 == name)
            .map(|pair| pair.1)
    }

    /// Begin and end (exclusive) of a `Range` header.
    pub(crate) fn range(&self) -> Option<(usize, usize)> {
        let (begin, last) = self.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((begin.parse().ok()?, last.parse::<usize>().ok()? + 1))
    }
}

/// What the server does.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Status, headers and body.
    Reply(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// The same, but the connection ends after so many bytes of the body.
    Cut(usize, Box<Answer>),
    /// The same, after a pause.
    Late(Duration, Box<Answer>),
    /// The connection is reset before a reply.
    Reset,
}

/// A server on a port of its own; it ends with the test.
pub(crate) struct Server {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `answer` is asked for every request.
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, log) = (answer.clone(), log.clone());
                std::thread::spawn(move || serve(&stream.unwrap(), &*answer, &log));
            }
        });
        Self { address, seen }
    }

    /// Every request so far, as `METHOD /path?query`.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().iter().map(|request| format!("{} {}", request.method, request.target)).collect()
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(stream: &TcpStream, answer: &dyn Fn(&Request) -> Answer, seen: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read(&mut reader) {
        seen.lock().unwrap().push(request.clone());
        if !send(stream, &request, answer(&request), usize::MAX) {
            // Let a client that is still sending see the end rather than a full buffer.
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, target, headers, body })
}

/// Whether the connection goes on.
fn send(mut stream: &TcpStream, request: &Request, answer: Answer, most: usize) -> bool {
    match answer {
        Answer::Reset => false,
        Answer::Cut(bytes, answer) => {
            send(stream, request, *answer, bytes);
            false
        }
        Answer::Late(pause, answer) => {
            std::thread::sleep(pause);
            send(stream, request, *answer, most)
        }
        Answer::Reply(status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} Said\r\n");
            if !headers.iter().any(|(name, _)| *name == "content-length") {
                head += &format!("content-length: {}\r\n", body.len());
            }
            for (name, value) in headers {
                head += &format!("{name}: {value}\r\n");
            }
            let body = if request.method == "HEAD" { &[][..] } else { &body[..body.len().min(most)] };
            stream.write_all(format!("{head}\r\n").as_bytes()).is_ok() && stream.write_all(body).is_ok()
        }
    }
}
