//! The log: lines on stderr, as text or one JSON object each. A line that belongs to a request of the server says which.
//!
//! Deliberately not here: what is logged. Keys and headers never are.

use std::fmt;
use std::io::IsTerminal as _;

use gateway::{About, with_request};
use jiff::Timestamp;
use platform::Error;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs: `time` (RFC 3339), `level`, `target`, `message`, what the line tells, and of a request
    /// `request_id`, `protocol`, `trace_id`, `span_id`, `project`, `model` and `version`.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl std::str::FromStr for LogFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => {
                let message = format!("log format \"{other}\" is neither text nor json");
                Err(Error::invalid("--log-format", message))
            }
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log<'a> {
    /// A level, or a filter by target.
    pub(crate) filter: &'a str,
    pub(crate) format: LogFormat,
    /// Whether requests of the server get lines, whatever the filter says.
    pub(crate) requests: bool,
}

impl Log<'_> {
    /// Writes it to stderr from now on.
    ///
    /// # Errors
    /// [`platform::Kind::InvalidArgument`] for a filter that is none.
    pub(crate) fn start(self) -> Result<(), Error> {
        let colours = std::io::stderr().is_terminal();
        let subscriber = self.subscriber(std::io::stderr, colours)?;
        // It is started once a process.
        let _ = tracing::subscriber::set_global_default(subscriber);
        if self.format == LogFormat::Json {
            std::panic::set_hook(Box::new(|panic| {
                let place = panic.location().map(ToString::to_string);
                tracing::error!(target: "panic", place, "{}", panic.payload_as_str().unwrap_or("no text"));
            }));
        }
        Ok(())
    }

    fn subscriber<W>(self, writer: W, colours: bool) -> Result<Box<dyn Subscriber + Send + Sync>, Error>
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        let wrong = |error: &dyn fmt::Display| {
            let message =
                format!("log filter \"{}\" is wrong: {error}; try warn, info or debug", self.filter);
            Error::invalid("--log", message)
        };
        let mut filter = EnvFilter::builder().parse(self.filter).map_err(|error| wrong(&error))?;
        if self.requests {
            filter = filter.add_directive("access=info".parse().map_err(|error| wrong(&error))?);
        }
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(writer);
        Ok(match self.format {
            LogFormat::Text => Box::new(lines.event_format(Text).finish()),
            LogFormat::Json => Box::new(lines.event_format(Json).finish()),
        })
    }
}

struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        let (on, off) = if writer.has_ansi_escapes() { (colour(level), "\x1b[0m") } else { ("", "") };
        write!(writer, "{} {on}{level:>5}{off} {target}: ", now())?;
        context.format_fields(writer.by_ref(), event)?;
        with_request(|about| about.map_or(Ok(()), |about| write!(writer, "{about}")))?;
        writeln!(writer)
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[34m",
    }
}

struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut told = Told::default();
        event.record(&mut told);
        let line = |about: Option<&About<'_>>| {
            serde_json::to_string(&Line {
                time: now(),
                level: event.metadata().level().as_str(),
                target: event.metadata().target(),
                message: told.message,
                request: about.map(Request::of),
                fields: told.fields,
            })
        };
        writeln!(writer, "{}", with_request(line).map_err(|_| fmt::Error)?)
    }
}

/// The time, as RFC 3339 has it.
fn now() -> String {
    format!("{:.6}", Timestamp::now())
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'a str,
    target: &'a str,
    message: String,
    #[serde(flatten)]
    request: Option<Request<'a>>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

#[derive(Serialize)]
struct Request<'a> {
    request_id: &'a str,
    protocol: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<&'a str>,
    #[serde(flatten)]
    answerer: Option<Answerer<'a>>,
}

#[derive(Serialize)]
struct Answerer<'a> {
    project: &'a str,
    model: &'a str,
    version: u32,
}

impl<'a> Request<'a> {
    fn of(about: &About<'a>) -> Self {
        let answerer = about.answerer.map(|answerer| Answerer {
            project: answerer.project(),
            model: answerer.model(),
            version: answerer.version(),
        });
        let About { id: request_id, protocol, trace: trace_id, span: span_id, .. } = *about;
        Self { request_id, protocol, trace_id, span_id, answerer }
    }
}

/// What an event tells.
#[derive(Default)]
struct Told {
    message: String,
    fields: Map<String, Value>,
}

/// Names of a line's own.
const RESERVED: [&str; 11] = [
    "time",
    "level",
    "target",
    "message",
    "request_id",
    "protocol",
    "trace_id",
    "span_id",
    "project",
    "model",
    "version",
];

impl Told {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        // One name twice in an object is read in two ways.
        let name = if RESERVED.contains(&field.name()) {
            format!("field_{}", field.name())
        } else {
            field.name().to_owned()
        };
        self.fields.insert(name, value.into());
    }
}

impl Visit for Told {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.put(field, value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.put(field, format!("{value:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, requests: bool, tell: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = Log { filter, format, requests };
        let subscriber = log.subscriber(move || writer.clone(), false).unwrap();
        tracing::subscriber::with_default(subscriber, tell);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_of_json_is_one_object() {
        let text = logged(LogFormat::Json, "warn", false, || {
            tracing::warn!(target: "here", count = 3, text = "a\"b\nc", level = "x", error = %"why", half = 0.5, "two\nlines");
            tracing::info!("not this");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        let time: Timestamp = line["time"].as_str().unwrap().parse().unwrap();
        assert!(Timestamp::now().as_second() - time.as_second() < 60);
        for (name, expected) in [
            ("level", Value::from("WARN")),
            ("target", "here".into()),
            ("message", "two\nlines".into()),
            ("count", 3.into()),
            ("text", "a\"b\nc".into()),
            ("field_level", "x".into()),
            ("error", "why".into()),
            ("half", 0.5.into()),
        ] {
            assert_eq!(line[name], expected, "{name}");
        }
        assert!(line.get("request_id").is_none());
    }

    #[test]
    fn text_is_a_line_a_message() {
        let text = logged(LogFormat::Text, "warn", true, || {
            tracing::error!(target: "here", count = 3, "what");
            tracing::info!(target: "access", "answered");
            tracing::info!("not this");
        });
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with(" ERROR here: what count=3"), "{text}");
        assert!(lines[1].ends_with("  INFO access: answered") && lines.len() == 2, "{text}");
    }

    #[test]
    fn a_wrong_filter_is_told() {
        let log = Log { filter: "=,=", format: LogFormat::Text, requests: false };
        let error = log.subscriber(std::io::sink, false).err().unwrap();
        assert!(error.to_string().contains("\"=,=\" is wrong"), "{error}");
        assert!("xml".parse::<LogFormat>().unwrap_err().to_string().contains("neither text nor json"));
    }
}
