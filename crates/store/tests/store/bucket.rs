//! The part of S3 that a store uses, on [`Server`], with a plan of what goes wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use store::{Options, Retry, Store, Transfer};

use crate::server::{Answer, Request, Server};

/// What is in the bucket.
#[derive(Default)]
pub(crate) struct Content {
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    /// Parts by upload.
    pub(crate) uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    begun: usize,
}

/// A bucket, and a store that is it.
pub(crate) struct Bucket {
    pub(crate) content: Arc<Mutex<Content>>,
    pub(crate) server: Server,
    pub(crate) store: Store,
}

pub(crate) const SECRET: &str = "a-secret-nobody-may-see";

impl Bucket {
    pub(crate) fn start(fault: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) -> Self {
        let content = Arc::new(Mutex::new(Content::default()));
        let inside = content.clone();
        let server = Server::start(move |request| {
            let honest = inside.lock().unwrap().answer(request);
            fault(request, honest)
        });
        let store = Store::open_with("s3://bucket/root", &options(&server.address)).unwrap();
        Self { content, server, store }
    }

    /// The same bucket by a store that waits no longer than that for a word, and asks again more often than a busy machine is silent.
    pub(crate) fn with_patience(self, silence: std::time::Duration) -> Self {
        let mut options = options(&self.server.address);
        options.transfer.silence = silence;
        options.retry.tries = 20;
        let store = Store::open_with("s3://bucket/root", &options).unwrap();
        Self { store, ..self }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.content.lock().unwrap().objects.keys().cloned().collect()
    }
}

/// Credentials for a server, parts of 64 bytes, and short pauses.
pub(crate) fn options(address: &str) -> Options {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_ENDPOINT_URL", &format!("http://{address}")),
    ];
    let milliseconds = std::time::Duration::from_millis;
    Options {
        environment: variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        transfer: Transfer { whole_bytes: 100, part_bytes: 64, parallel: 3, silence: milliseconds(5000) },
        retry: Retry {
            tries: 4,
            first_pause: milliseconds(2),
            longest_pause: milliseconds(20),
            limit: milliseconds(20_000),
        },
    }
}

impl Content {
    fn answer(&mut self, request: &Request) -> Answer {
        let key = request.path().strip_prefix("/bucket").unwrap().trim_start_matches('/').to_owned();
        let upload = request.query("uploadId").map(str::to_owned);
        match (request.method.as_str(), upload) {
            ("PUT", Some(id)) => {
                let number = request.query("partNumber").unwrap().parse().unwrap();
                let Some(parts) = self.uploads.get_mut(&id) else { return missing("NoSuchUpload") };
                parts.insert(number, request.body.clone());
                reply(200, vec![("etag", format!("\"part-{number}\""))], "")
            }
            ("PUT", None) => {
                if request.headers.contains_key("if-none-match") && self.objects.contains_key(&key) {
                    return reply(412, vec![], "<Error><Code>PreconditionFailed</Code></Error>");
                }
                self.objects.insert(key, request.body.clone());
                reply(200, vec![("etag", "\"put\"".to_owned())], "")
            }
            ("POST", None) if request.query("uploads").is_some() => {
                self.begun += 1;
                let id = format!("upload-{}", self.begun);
                self.uploads.insert(id.clone(), BTreeMap::new());
                let text = format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                );
                reply(200, vec![], &text)
            }
            ("POST", Some(id)) => {
                let Some(parts) = self.uploads.remove(&id) else { return missing("NoSuchUpload") };
                self.objects.insert(key, parts.into_values().flatten().collect());
                let text =
                    "<CompleteMultipartUploadResult><ETag>\"whole\"</ETag></CompleteMultipartUploadResult>";
                reply(200, vec![], text)
            }
            ("POST", None) => {
                let text = String::from_utf8(request.body.clone()).unwrap();
                let mut deleted = String::new();
                for part in text.split("<Key>").skip(1) {
                    let key = part.split("</Key>").next().unwrap();
                    self.objects.remove(key);
                    deleted += &format!("<Deleted><Key>{key}</Key></Deleted>");
                }
                reply(200, vec![], &format!("<DeleteResult>{deleted}</DeleteResult>"))
            }
            ("DELETE", Some(id)) => match self.uploads.remove(&id) {
                Some(_) => reply(204, vec![], ""),
                None => missing("NoSuchUpload"),
            },
            ("DELETE", None) => {
                self.objects.remove(&key);
                reply(204, vec![], "")
            }
            (_, None) if request.query("list-type").is_some() => self.listing(request),
            _ => self.object(&key, request),
        }
    }

    fn object(&self, key: &str, request: &Request) -> Answer {
        let Some(bytes) = self.objects.get(key) else { return missing("NoSuchKey") };
        let tag = format!("\"{}\"", bytes.len());
        let modified = ("last-modified", "Wed, 25 Nov 2026 10:00:00 GMT".to_owned());
        let head = vec![("etag", tag.clone()), modified];
        if request.headers.get("if-match").is_some_and(|wanted| *wanted != tag) {
            return reply(412, vec![], "<Error><Code>PreconditionFailed</Code></Error>");
        }
        match request.range() {
            Some((begin, end)) => {
                let end = end.min(bytes.len());
                let range = ("content-range", format!("bytes {begin}-{}/{}", end - 1, bytes.len()));
                Answer::Reply(206, [head, vec![range]].concat(), bytes[begin..end].to_vec())
            }
            None => {
                let length = ("content-length", bytes.len().to_string());
                Answer::Reply(200, [head, vec![length]].concat(), bytes.clone())
            }
        }
    }

    fn listing(&self, request: &Request) -> Answer {
        let prefix = request.query("prefix").unwrap_or_default().replace("%2F", "/").replace('+', " ");
        let mut text = "<ListBucketResult>".to_owned();
        let mut folders = std::collections::BTreeSet::new();
        for (key, bytes) in self.objects.iter().filter(|(key, _)| key.starts_with(&prefix)) {
            match key[prefix.len()..].split_once('/') {
                Some((folder, _)) if request.query("delimiter").is_some() => {
                    folders.insert(format!("{prefix}{folder}/"));
                }
                _ => {
                    text += &format!(
                        "<Contents><Key>{key}</Key><Size>{}</Size><LastModified>2026-11-25T10:00:00Z</LastModified><ETag>\"x\"</ETag></Contents>",
                        bytes.len()
                    );
                }
            }
        }
        for folder in folders {
            text += &format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>");
        }
        reply(200, vec![], &(text + "</ListBucketResult>"))
    }
}

pub(crate) fn reply(status: u16, headers: Vec<(&'static str, String)>, body: &str) -> Answer {
    Answer::Reply(status, headers, body.as_bytes().to_vec())
}

fn missing(code: &str) -> Answer {
    reply(404, vec![], &format!("<Error><Code>{code}</Code><Message>not there</Message></Error>"))
}
