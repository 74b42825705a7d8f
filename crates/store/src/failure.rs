//! What a failure of a backend means, in words that fit on a line and hold no secret.

use std::error::Error as StdError;
use std::io;

use object_store::client::HttpError;

use crate::Error;
use crate::backend::Keeper;
use crate::environment::Secrets;

const REASON_CHARS_MAX: usize = 300;
/// Where machines of a cloud ask for their credentials: asked because nothing else gave any.
const METADATA_HOSTS: [&str; 3] = ["169.254.169.254", "169.254.170.2", "metadata.google.internal"];
/// Replies to a request with credentials that are not good, some of them with the status of a wrong request.
const DENIALS: [&str; 6] = [
    "ExpiredToken",
    "InvalidToken",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "AuthFailure",
];

/// What was tried, where, by whom.
pub(crate) struct Attempt<'a> {
    pub(crate) action: &'static str,
    pub(crate) url: String,
    pub(crate) keeper: Keeper,
    pub(crate) secrets: &'a Secrets,
}

impl Attempt<'_> {
    pub(crate) fn failed(self, error: &object_store::Error) -> Error {
        let Self { action, url, keeper, secrets } = self;
        let last = last_cause(error);
        let code = between(&last, "<Code>", "</Code>");
        let reason = shorten(&secrets.hidden_in(&reason_of(&last, code)));
        let everything = error.to_string();
        let container_missing = matches!(code, Some("NoSuchBucket" | "ContainerNotFound"))
            || (matches!(error, object_store::Error::NotFound { .. }) && matches!(action, "write" | "list"));
        if container_missing && !matches!(keeper, Keeper::Web) {
            let container = keeper.container();
            let reason = format!("there is no such {container} ({reason}); make it first, or name another");
            return Error::Refused { action, url, reason };
        }
        match error {
            object_store::Error::NotFound { .. } => return Error::NotFound { url },
            object_store::Error::AlreadyExists { .. } => return Error::AlreadyExists { url },
            object_store::Error::Precondition { .. } => return Error::Changed { url },
            _ => {}
        }
        if status_of(&everything) == Some(412) {
            return Error::Changed { url };
        }
        let denied = matches!(
            error,
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }
        );
        if METADATA_HOSTS.iter().any(|host| everything.contains(host)) {
            let reason =
                format!("no credentials were found, and this machine has none of its own ({reason})");
            return Error::Denied { action, url, reason, advice: keeper.credentials() };
        }
        let denied = denied || matches!(status_of(&everything).or_else(|| status_of(&last)), Some(401 | 403));
        if denied || code.is_some_and(|code| DENIALS.contains(&code)) {
            return Error::Denied { action, url, reason, advice: keeper.credentials() };
        }
        if reason.contains("invalid peer certificate") {
            let way = "add its authority to the certificates of this machine, or name a file with it in SSL_CERT_FILE";
            return Error::Refused { action, url, reason: format!("{reason}; {way}") };
        }
        if is_of_the_network(error)
            || status_of(&everything).is_some_and(|status| matches!(status, 408 | 429 | 500..))
        {
            return Error::Unavailable { action, url, reason, advice: keeper.endpoint() };
        }
        match keeper {
            Keeper::Folder | Keeper::Memory => match of_the_disk(error) {
                Some(source) => Error::Io { action, url, source },
                None => Error::Backend { action, url, reason },
            },
            _ => Error::Refused { action, url, reason },
        }
    }
}

/// What the system said of a file.
fn of_the_disk(error: &object_store::Error) -> Option<io::Error> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(code) = current.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(io::Error::from_raw_os_error(code));
        }
        cause = current.source();
    }
    None
}

fn is_of_the_network(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        if current.is::<HttpError>() {
            return true;
        }
        cause = current.source();
    }
    false
}

fn last_cause(error: &object_store::Error) -> String {
    let mut current: &dyn StdError = error;
    while let Some(next) = current.source() {
        current = next;
    }
    current.to_string()
}

/// What services say in XML, or else all of it.
fn reason_of(text: &str, code: Option<&str>) -> String {
    let message = between(text, "<Message>", "</Message>");
    match (code, message, status_of(text)) {
        (Some(code), Some(message), Some(status)) => format!("{code}: {message} (status {status})"),
        (Some(code), None, Some(status)) => format!("{code} (status {status})"),
        _ => text.to_owned(),
    }
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let rest = text.split_once(begin)?.1;
    Some(rest.split_once(end)?.0.trim())
}

/// The number after "status code: ", as `object_store` writes it; its own types are not public.
fn status_of(text: &str) -> Option<u16> {
    text.split_once("status code: ")?.1.get(..3)?.parse().ok()
}

fn shorten(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.trim_end_matches(['.', ':', ' ']);
    if line.chars().count() <= REASON_CHARS_MAX {
        return line.to_owned();
    }
    line.chars().take(REASON_CHARS_MAX).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use object_store::client::HttpErrorKind;

    use super::*;

    fn failed(action: &'static str, error: &object_store::Error) -> Error {
        let secrets = Secrets::default().and(["AKIDSECRET".to_owned()]);
        Attempt { action, url: "s3://b/x".to_owned(), keeper: Keeper::S3, secrets: &secrets }.failed(error)
    }

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn a_reply_becomes_a_line_without_secrets_and_with_the_way_out() {
        let reply = "Server returned non-2xx status code: 503 Service Unavailable: <Error>\n<Code>SlowDown</Code><Message>AKIDSECRET, slow\ndown.</Message></Error>";
        let error = failed("write", &generic(reply));
        assert!(matches!(error, Error::Unavailable { .. }));
        assert_eq!(
            error.to_string(),
            "cannot write s3://b/x: SlowDown: ***, slow down. (status 503); it was tried until the limit: check the network, AWS_REGION and AWS_ENDPOINT_URL, then run it again"
        );
    }

    #[test]
    fn a_full_disk_is_called_so() {
        // 28 is `ENOSPC`.
        let full = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::from_raw_os_error(28)),
        };
        let url = "file:///a/b".to_owned();
        let attempt = Attempt { action: "write", url, keeper: Keeper::Folder, secrets: &Secrets::default() };
        let Error::Io { source, .. } = attempt.failed(&full) else { panic!("another failure") };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn failures_are_told_apart() {
        let reset = HttpError::new(HttpErrorKind::Request, io::Error::other("reset"));
        let network = object_store::Error::Generic { store: "S3", source: Box::new(reset) };
        assert!(matches!(failed("read", &network), Error::Unavailable { .. }));
        let expired = "status code: 400 Bad Request: <Code>ExpiredToken</Code>";
        assert!(matches!(failed("read", &generic(expired)), Error::Denied { .. }));
        let refused = "status code: 403 Forbidden: <Code>AuthorizationFailure</Code>";
        assert!(matches!(failed("list", &generic(refused)), Error::Denied { .. }));
        let nowhere = "Error performing PUT http://169.254.169.254/latest/api/token: timed out";
        let error = failed("read", &generic(nowhere)).to_string();
        assert!(error.contains("no credentials were found") && error.contains("AWS_PROFILE"), "{error}");
        assert!(matches!(
            failed("read", &generic("status code: 400 Bad Request: odd")),
            Error::Refused { .. }
        ));
        let missing = || object_store::Error::NotFound { path: "x".to_owned(), source: "gone".into() };
        assert!(matches!(failed("read", &missing()), Error::NotFound { .. }));
        assert!(failed("write", &missing()).to_string().contains("no such bucket"));
    }
}
