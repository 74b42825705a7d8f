//! Configuration, resolved once: flag > environment > file > default. Every value remembers where it came from.
//! What the values are good for is decided by those who use them.

mod limits;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use platform::{Error, Kind};
use serde::Deserialize;

use crate::args::job::JobLimitArgs;
use crate::args::serve_limits::ServeLimitArgs;
use crate::args::{Cli, GlobalArgs, Verb};
use crate::client::Access;
use crate::log::LogFormat;
pub(crate) use limits::ServeLimits;

/// The file that is read from the working directory without being named.
pub(crate) const FILE_NAME: &str = "bellwether.toml";
const FILE_BYTES_MAX: u64 = 1 << 20;

const DATA_DIR_DEFAULT: &str = "bellwether-data";
const PROJECT_DEFAULT: &str = "default";
const LOG_DEFAULT: &str = "warn";
const LISTEN_DEFAULT: &str = "127.0.0.1:8080";
const MAX_RUNNING_JOBS_DEFAULT: usize = 1;
const MAX_QUEUED_JOBS_DEFAULT: usize = 100;
const BYTES_PER_GB: f64 = 1e9;
/// A petabyte is more than any disk.
const CACHE_GB_MAX: f64 = 1e6;
/// More jobs of either sort are a slip of the finger.
const JOBS_MAX: usize = 10_000;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag: `--data-dir`.
    Flag(&'static str),
    /// An environment variable.
    Environment(&'static str),
    /// A configuration file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it came from.
    pub(crate) origin: Origin,
}

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Folder of the registry, the data sets and the artifacts; absolute.
    pub(crate) data_dir: Setting<PathBuf>,
    /// Where bundles are stored; absent: `file://DATA-DIR/artifacts`.
    pub(crate) artifact_root: Setting<Option<String>>,
    /// Bytes of bundles kept on this machine when they are stored elsewhere.
    pub(crate) artifact_cache_bytes: Setting<u64>,
    /// Project that owns models and endpoints.
    pub(crate) project: Setting<String>,
    /// Server to talk to instead of the data directory.
    pub(crate) server: Setting<Option<String>>,
    /// API key for that server.
    pub(crate) api_key: Setting<Option<String>>,
    /// Certificate that server's must come from.
    pub(crate) server_certificate: Setting<Option<PathBuf>>,
    /// Filter of the log.
    pub(crate) log: Setting<String>,
    /// How the log is written.
    pub(crate) log_format: Setting<LogFormat>,
    /// One request of so many is logged; 0: none.
    pub(crate) log_requests: Setting<u64>,
    /// Address that `serve` listens on.
    pub(crate) listen: Setting<String>,
    /// Folders a client's `artifactUri` may name, besides the artifact root.
    pub(crate) allow_roots: Setting<Vec<String>>,
    /// The model that answers where a protocol has no names.
    pub(crate) default_model: Setting<Option<String>>,
    /// Jobs of a server that run at a time.
    pub(crate) max_running_jobs: Setting<usize>,
    /// Jobs of a server that may wait.
    pub(crate) max_queued_jobs: Setting<usize>,
    /// What a server allows its clients.
    pub(crate) limits: ServeLimits,
}

impl Settings {
    /// How a server is reached.
    pub(crate) fn access(&self) -> Access {
        Access { key: self.api_key.value.clone(), certificate: self.server_certificate.value.clone() }
    }
}

/// What was said on the command line.
#[derive(Debug, Default)]
pub(crate) struct Flags<'a> {
    global: Option<&'a GlobalArgs>,
    listen: Option<&'a str>,
    allow_roots: &'a [String],
    default_model: Option<&'a str>,
    log_requests: Option<u64>,
    jobs: JobLimitArgs,
    limits: ServeLimitArgs,
}

impl<'a> Flags<'a> {
    /// The flags of a parsed command line.
    pub(crate) fn of(cli: &'a Cli) -> Self {
        let (listen, allow_roots) = match &cli.verb {
            Verb::Serve(args) => (args.listen.as_deref(), args.allow_roots.as_slice()),
            Verb::Quickstart(args) => (args.listen.as_deref(), [].as_slice()),
            Verb::Run(args) => (args.listen.as_deref(), [].as_slice()),
            _ => (None, [].as_slice()),
        };
        let flags = Self { global: Some(&cli.global), listen, allow_roots, ..Self::default() };
        match &cli.verb {
            Verb::Serve(args) => Self {
                default_model: args.default_model.as_deref(),
                log_requests: args.log_requests,
                jobs: args.jobs,
                limits: args.limits,
                ..flags
            },
            _ => flags,
        }
    }
}

/// What surrounds the process, passed in so that nothing else reads it.
pub(crate) struct Surroundings<'a> {
    /// Environment variables by name.
    pub(crate) environment: &'a dyn Fn(&str) -> Option<OsString>,
    /// The working directory, absolute.
    pub(crate) working_dir: &'a Path,
}

/// Resolves every setting.
///
/// # Errors
/// [`Kind::NotFound`] for a named configuration file that is not there; [`Kind::InvalidArgument`] for one that
/// cannot be read or has a wrong key or value, and for a variable that is not UTF-8.
pub(crate) fn resolve(flags: &Flags<'_>, surroundings: &Surroundings<'_>) -> Result<Settings, Error> {
    let none = GlobalArgs::default();
    let flag = flags.global.unwrap_or(&none);
    let file = FileSettings::find(flag.config.as_deref(), surroundings)?;
    let said = &file.settings;
    let var = |name: &'static str| variable(surroundings, name);
    let from = |origin_dir: &Path, path: PathBuf| origin_dir.join(path);

    let layers = Layers { file: &file.path };
    let data_dir = layers.choose(
        flag.data_dir.clone().map(|path| ("--data-dir", from(surroundings.working_dir, path))),
        var("BELLWETHER_DATA_DIR")?.map(|(name, text)| (name, from(surroundings.working_dir, text.into()))),
        said.data_dir.clone().map(|path| from(&file.dir, path)),
        || from(surroundings.working_dir, DATA_DIR_DEFAULT.into()),
    );
    let artifact_root = layers.choose_optional(
        flag.artifact_root.clone().map(|uri| ("--artifact-root", uri)),
        var("BELLWETHER_ARTIFACT_ROOT")?,
        said.artifact_root.clone(),
    );
    let artifact_cache_gb = layers.choose_optional(
        flag.artifact_cache_gb.map(|size| ("--artifact-cache-gb", size)),
        var("BELLWETHER_ARTIFACT_CACHE_GB")?
            .map(|(name, text)| gigabytes(name, &text).map(|size| (name, size)))
            .transpose()?,
        said.artifact_cache_gb,
    );
    let artifact_cache_bytes = check_gigabytes(artifact_cache_gb)?;
    let project = layers.choose(
        flag.project.clone().map(|name| ("--project", name)),
        var("BELLWETHER_PROJECT")?,
        said.project.clone(),
        || PROJECT_DEFAULT.to_owned(),
    );
    let server = layers.choose_optional(
        flag.server.clone().map(|url| ("--server", url)),
        var("BELLWETHER_SERVER")?,
        said.server.clone(),
    );
    let api_key = layers.choose_optional(
        flag.api_key.clone().map(|key| ("--api-key", key)),
        var("BELLWETHER_API_KEY")?,
        None,
    );
    let server_certificate = layers.choose_optional(
        flag.server_certificate
            .clone()
            .map(|path| ("--server-certificate", from(surroundings.working_dir, path))),
        var("BELLWETHER_SERVER_CERTIFICATE")?
            .map(|(name, text)| (name, from(surroundings.working_dir, text.into()))),
        said.server_certificate.clone().map(|path| from(&file.dir, path)),
    );
    let log = layers.choose(
        flag.log.clone().map(|level| ("--log", level)),
        var("BELLWETHER_LOG")?,
        said.log.clone(),
        || LOG_DEFAULT.to_owned(),
    );
    let log_format = layers.choose(
        flag.log_format.map(|format| ("--log-format", format)),
        var("BELLWETHER_LOG_FORMAT")?
            .map(|(name, text)| text.parse().map(|format: LogFormat| (name, format)))
            .transpose()?,
        said.log_format,
        || LogFormat::Text,
    );
    let log_requests = layers.choose(
        flags.log_requests.map(|every| ("--log-requests", every)),
        var("BELLWETHER_LOG_REQUESTS")?
            .map(|(name, text)| count(name, &text).map(|every| (name, every as u64)))
            .transpose()?,
        said.log_requests,
        || 0,
    );
    let listen = layers.choose(
        flags.listen.map(|address| ("--listen", address.to_owned())),
        var("BELLWETHER_LISTEN")?,
        said.listen.clone(),
        || LISTEN_DEFAULT.to_owned(),
    );
    let listed = |text: String| text.split(',').map(|root| root.trim().to_owned()).collect();
    let allow_roots = layers.choose(
        (!flags.allow_roots.is_empty()).then(|| ("--allow-root", flags.allow_roots.to_vec())),
        var("BELLWETHER_ALLOW_ROOTS")?.map(|(name, text)| (name, listed(text))),
        said.allow_roots.clone(),
        Vec::new,
    );
    let default_model = layers.choose_optional(
        flags.default_model.map(|name| ("--default-model", name.to_owned())),
        var("BELLWETHER_DEFAULT_MODEL")?,
        said.default_model.clone(),
    );
    let jobs = |flag, given: Option<usize>, variable, file, default| {
        let setting = layers.choose(
            given.map(|count| (flag, count)),
            var(variable)?.map(|(name, text)| count(name, &text).map(|count| (name, count))).transpose()?,
            file,
            || default,
        );
        check_count(flag, setting)
    };
    let max_running_jobs = jobs(
        "--max-running-jobs",
        flags.jobs.max_running_jobs,
        "BELLWETHER_MAX_RUNNING_JOBS",
        said.max_running_jobs,
        MAX_RUNNING_JOBS_DEFAULT,
    )?;
    let max_queued_jobs = jobs(
        "--max-queued-jobs",
        flags.jobs.max_queued_jobs,
        "BELLWETHER_MAX_QUEUED_JOBS",
        said.max_queued_jobs,
        MAX_QUEUED_JOBS_DEFAULT,
    )?;
    let limits = limits::resolve(&flags.limits, &said.limits(), &layers, surroundings)?;
    Ok(Settings {
        data_dir,
        artifact_root,
        artifact_cache_bytes,
        project,
        server,
        api_key,
        server_certificate,
        log,
        log_format,
        log_requests,
        listen,
        allow_roots,
        default_model,
        max_running_jobs,
        max_queued_jobs,
        limits,
    })
}

/// A whole number from a variable.
fn count(name: &'static str, text: &str) -> Result<usize, Error> {
    text.trim().parse().map_err(|_| Error::invalid(name, format!("{name} \"{text}\" is not a whole number")))
}

/// A number from a variable.
fn gigabytes(name: &'static str, text: &str) -> Result<f64, Error> {
    text.trim().parse().map_err(|_| Error::invalid(name, format!("{name} \"{text}\" is not a number")))
}

/// The size of the cache in bytes.
fn check_gigabytes(setting: Setting<Option<f64>>) -> Result<Setting<u64>, Error> {
    let Setting { value, origin } = setting;
    let Some(size) = value else {
        return Ok(Setting { value: platform::ARTIFACT_CACHE_BYTES, origin });
    };
    if size > 0.0 && size <= CACHE_GB_MAX {
        return Ok(Setting { value: (size * BYTES_PER_GB) as u64, origin });
    }
    let name = "--artifact-cache-gb";
    let message = format!("{name} must be above 0 and at most {CACHE_GB_MAX}, got {size} ({origin})");
    Err(Error::invalid(name, message))
}

fn check_count(name: &'static str, setting: Setting<usize>) -> Result<Setting<usize>, Error> {
    if (1..=JOBS_MAX).contains(&setting.value) {
        return Ok(setting);
    }
    let Setting { value, origin } = setting;
    Err(Error::invalid(name, format!("{name} must be 1 to {JOBS_MAX}, got {value} ({origin})")))
}

struct Layers<'a> {
    file: &'a Path,
}

impl Layers<'_> {
    fn choose<T>(
        &self,
        flag: Option<(&'static str, T)>,
        environment: Option<(&'static str, T)>,
        file: Option<T>,
        default: impl FnOnce() -> T,
    ) -> Setting<T> {
        if let Some((name, value)) = flag {
            return Setting { value, origin: Origin::Flag(name) };
        }
        if let Some((name, value)) = environment {
            return Setting { value, origin: Origin::Environment(name) };
        }
        match file {
            Some(value) => Setting { value, origin: Origin::File(self.file.to_owned()) },
            None => Setting { value: default(), origin: Origin::Default },
        }
    }

    fn choose_optional<T>(
        &self,
        flag: Option<(&'static str, T)>,
        environment: Option<(&'static str, T)>,
        file: Option<T>,
    ) -> Setting<Option<T>> {
        let some = |(name, value)| (name, Some(value));
        self.choose(flag.map(some), environment.map(some), file.map(Some), || None)
    }
}

/// A variable that is set and not empty.
fn variable(
    surroundings: &Surroundings<'_>,
    name: &'static str,
) -> Result<Option<(&'static str, String)>, Error> {
    let Some(value) = (surroundings.environment)(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let text = value.into_string().map_err(|value| {
        Error::invalid(name, format!("environment variable {name} is not UTF-8: {}", value.display()))
    })?;
    Ok(Some((name, text)))
}

/// `bellwether.toml`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    data_dir: Option<PathBuf>,
    artifact_root: Option<String>,
    artifact_cache_gb: Option<f64>,
    project: Option<String>,
    server: Option<String>,
    server_certificate: Option<PathBuf>,
    log: Option<String>,
    log_format: Option<LogFormat>,
    log_requests: Option<u64>,
    listen: Option<String>,
    allow_roots: Option<Vec<String>>,
    default_model: Option<String>,
    max_running_jobs: Option<usize>,
    max_queued_jobs: Option<usize>,
    max_connections: Option<u64>,
    max_requests: Option<u64>,
    max_body_mib: Option<u64>,
    max_request_rows: Option<u64>,
    request_timeout_s: Option<u64>,
    head_timeout_s: Option<u64>,
    body_timeout_s: Option<u64>,
}

impl Keys {
    fn limits(&self) -> ServeLimitArgs {
        ServeLimitArgs {
            max_connections: self.max_connections,
            max_requests: self.max_requests,
            max_body_mib: self.max_body_mib,
            max_request_rows: self.max_request_rows,
            request_timeout_s: self.request_timeout_s,
            head_timeout_s: self.head_timeout_s,
            body_timeout_s: self.body_timeout_s,
        }
    }
}

#[derive(Debug)]
struct FileSettings {
    settings: Keys,
    path: PathBuf,
    /// Relative paths in the file are relative to this.
    dir: PathBuf,
}

impl FileSettings {
    fn find(flag: Option<&Path>, surroundings: &Surroundings<'_>) -> Result<Self, Error> {
        let variable = variable(surroundings, "BELLWETHER_CONFIG")?;
        let named = flag.map(Path::to_owned).or_else(|| variable.map(|(_, path)| path.into()));
        let path = surroundings.working_dir.join(named.as_deref().unwrap_or(Path::new(FILE_NAME)));
        let dir = path.parent().unwrap_or(surroundings.working_dir).to_owned();
        if named.is_none() && !path.exists() {
            return Ok(Self { settings: Keys::default(), path, dir });
        }
        let text = read(&path)?;
        let settings = toml::from_str(&text).map_err(|error| wrong(&path, &text, &error))?;
        Ok(Self { settings, path, dir })
    }
}

fn read(path: &Path) -> Result<String, Error> {
    let refused = |kind, why: &dyn fmt::Display| {
        Error::new(kind, format!("cannot read configuration file {}: {why}", path.display()))
    };
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => refused(Kind::NotFound, &"no such file"),
        _ => refused(Kind::InvalidArgument, &error),
    };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        let why = format!("it has {bytes} bytes, at most {FILE_BYTES_MAX} are read");
        return Err(refused(Kind::InvalidArgument, &why));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

fn wrong(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let line = error.span().map(|span| 1 + text.get(..span.start).unwrap_or(text).matches('\n').count());
    let place = line.map(|line| format!(":{line}")).unwrap_or_default();
    let message = with_nearest(error.message()).unwrap_or_else(|| error.message().to_owned());
    Error::new(Kind::InvalidArgument, format!("{}{place}: {message}", path.display()))
}

/// Turns serde's list of expected keys into the one that was probably meant.
fn with_nearest(message: &str) -> Option<String> {
    let (head, expected) = message.split_once(", expected ")?;
    let unknown = head.strip_prefix("unknown field `")?.strip_suffix('`')?;
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let closeness = |key: &str| strsim::jaro_winkler(unknown, key);
    let nearest = known.iter().max_by(|a, b| closeness(a).total_cmp(&closeness(b)))?;
    Some(format!("unknown key \"{unknown}\"; did you mean \"{nearest}\"? keys: {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use clap::Parser;

    use super::*;

    struct Case {
        dir: tempfile::TempDir,
        variables: HashMap<&'static str, &'static str>,
    }

    impl Case {
        fn new(file: &str, variables: &[(&'static str, &'static str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            if !file.is_empty() {
                std::fs::write(dir.path().join(FILE_NAME), file).unwrap();
            }
            Self { dir, variables: variables.iter().copied().collect() }
        }

        fn resolve(&self, line: &[&str]) -> Result<Settings, Error> {
            let cli = Cli::parse_from(std::iter::once("bellwether").chain(line.iter().copied()));
            let environment = |name: &str| self.variables.get(name).map(OsString::from);
            let surroundings = Surroundings { environment: &environment, working_dir: self.dir.path() };
            resolve(&Flags::of(&cli), &surroundings)
        }
    }

    #[test]
    fn the_flag_beats_the_variable_beats_the_file_beats_the_default() {
        let bare = Case::new("", &[]).resolve(&["config", "show"]).unwrap();
        assert_eq!(bare.project, Setting { value: "default".into(), origin: Origin::Default });

        let case = Case::new("project = \"filed\"", &[]);
        let filed = case.resolve(&["config", "show"]).unwrap().project;
        assert_eq!(filed.value, "filed");
        assert_eq!(filed.origin, Origin::File(case.dir.path().join(FILE_NAME)));

        let case = Case::new("project = \"filed\"", &[("BELLWETHER_PROJECT", "varied")]);
        let varied = case.resolve(&["config", "show"]).unwrap().project;
        assert_eq!(
            varied,
            Setting { value: "varied".into(), origin: Origin::Environment("BELLWETHER_PROJECT") }
        );

        let flagged = case.resolve(&["config", "show", "--project", "flagged"]).unwrap().project;
        assert_eq!(flagged, Setting { value: "flagged".into(), origin: Origin::Flag("--project") });
    }

    #[test]
    fn an_empty_variable_says_nothing() {
        let case = Case::new("", &[("BELLWETHER_LOG", "")]);
        assert_eq!(case.resolve(&["config", "show"]).unwrap().log.origin, Origin::Default);
    }

    #[test]
    fn paths_in_a_file_are_relative_to_it() {
        let case = Case::new("", &[]);
        std::fs::create_dir(case.dir.path().join("etc")).unwrap();
        std::fs::write(case.dir.path().join("etc/b.toml"), "data_dir = \"here\"").unwrap();
        let settings = case.resolve(&["config", "show", "--config", "etc/b.toml"]).unwrap();
        assert_eq!(settings.data_dir.value, case.dir.path().join("etc/here"));
        let settings = case.resolve(&["config", "show", "--data-dir", "there"]).unwrap();
        assert_eq!(settings.data_dir.value, case.dir.path().join("there"));
    }

    #[test]
    fn listen_and_roots_come_from_the_verbs_flags_too() {
        let case =
            Case::new("listen = \"127.0.0.1:1\"", &[("BELLWETHER_ALLOW_ROOTS", "file:///a, file:///b")]);
        let settings =
            case.resolve(&["serve", "--listen", "127.0.0.1:2", "--default-model", "deciles"]).unwrap();
        assert_eq!(settings.listen.value, "127.0.0.1:2");
        assert_eq!(settings.default_model.value.as_deref(), Some("deciles"));
        assert_eq!(settings.allow_roots.value, ["file:///a", "file:///b"]);
        assert_eq!(case.resolve(&["config", "show"]).unwrap().listen.value, "127.0.0.1:1");
    }

    #[test]
    fn how_the_log_is_written_is_a_setting() {
        let case = Case::new("log_format = \"json\"", &[("BELLWETHER_LOG_REQUESTS", "100")]);
        let settings = case.resolve(&["serve"]).unwrap();
        assert_eq!((settings.log_format.value, settings.log_requests.value), (LogFormat::Json, 100));
        let settings = case.resolve(&["serve", "--log-requests", "--log-format", "text"]).unwrap();
        assert_eq!((settings.log_format.value, settings.log_requests.value), (LogFormat::Text, 1));
        let case = Case::new("", &[("BELLWETHER_LOG_FORMAT", "xml")]);
        assert!(
            case.resolve(&["serve"]).unwrap_err().to_string().contains("\"xml\" is neither text nor json")
        );
        let settings = Case::new("", &[]).resolve(&["serve"]).unwrap();
        assert_eq!((settings.log_format.value, settings.log_requests.value), (LogFormat::Text, 0));
    }

    #[test]
    fn counts_of_jobs_are_whole_numbers_from_1() {
        let case = Case::new("max_queued_jobs = 7", &[("BELLWETHER_MAX_RUNNING_JOBS", "3")]);
        let settings = case.resolve(&["serve"]).unwrap();
        assert_eq!((settings.max_running_jobs.value, settings.max_queued_jobs.value), (3, 7));
        let settings = case.resolve(&["serve", "--max-running-jobs", "2"]).unwrap();
        assert_eq!(settings.max_running_jobs.value, 2);
        let refused = case.resolve(&["serve", "--max-running-jobs", "0"]).unwrap_err().to_string();
        assert_eq!(refused, "--max-running-jobs must be 1 to 10000, got 0 (flag --max-running-jobs)");
        let case = Case::new("", &[("BELLWETHER_MAX_QUEUED_JOBS", "many")]);
        assert!(case.resolve(&["serve"]).unwrap_err().to_string().contains("\"many\" is not a whole number"));
    }

    #[test]
    fn limits_of_a_server_come_from_all_layers_and_are_bounded() {
        let bare = Case::new("", &[]).resolve(&["serve"]).unwrap().limits;
        assert_eq!(bare.options(), gateway::GatewayOptions::default());
        let file = "max_body_mib = 64\nhead_timeout_s = 5\nmax_connections = 10";
        let case =
            Case::new(file, &[("BELLWETHER_HEAD_TIMEOUT_S", "6"), ("BELLWETHER_MAX_CONNECTIONS", "20")]);
        let line = ["serve", "--max-connections", "30", "--max-requests", "7", "--body-timeout-s", "3"];
        let limits = case.resolve(&line).unwrap().limits;
        let options = limits.options();
        assert_eq!((options.max_connections, options.max_concurrent_requests), (30, 7));
        assert_eq!((options.max_body_bytes, options.max_instances), (64 << 20, 65_536));
        assert_eq!((options.head_timeout.as_secs(), options.body_timeout.as_secs()), (6, 3));
        let origins: Vec<String> = limits.all().map(|(_, setting)| setting.origin.to_string()).into();
        assert_eq!(origins[0], "flag --max-connections");
        assert!(origins[2].starts_with("file ") && origins[2].ends_with(FILE_NAME), "{origins:?}");
        assert_eq!(
            (origins[3].as_str(), origins[5].as_str()),
            ("default", "environment BELLWETHER_HEAD_TIMEOUT_S")
        );
        let refused = case.resolve(&["serve", "--max-requests", "0"]).unwrap_err().to_string();
        assert_eq!(refused, "--max-requests must be 1 to 1000000, got 0 (flag --max-requests)");
        let refused = Case::new("max_body_mib = 4096", &[]).resolve(&["serve"]).unwrap_err().to_string();
        assert!(refused.starts_with("--max-body-mib must be 1 to 2047, got 4096 (file "), "{refused}");
    }

    #[test]
    fn the_size_of_the_cache_is_a_number_above_0() {
        let case = Case::new("artifact_cache_gb = 2", &[]);
        let settings = case.resolve(&["serve"]).unwrap();
        assert_eq!(settings.artifact_cache_bytes.value, 2_000_000_000);
        let settings = case.resolve(&["model", "list", "--artifact-cache-gb", "0.5"]).unwrap();
        assert_eq!(settings.artifact_cache_bytes.value, 500_000_000);
        assert_eq!(Case::new("", &[]).resolve(&["serve"]).unwrap().artifact_cache_bytes.value, 8_000_000_000);
        for wrong in ["0", "nan", "1e9"] {
            let refused = case.resolve(&["serve", "--artifact-cache-gb", wrong]).unwrap_err().to_string();
            assert!(refused.contains("must be above 0 and at most 1000000"), "{refused}");
        }
        let case = Case::new("", &[("BELLWETHER_ARTIFACT_CACHE_GB", "large")]);
        assert!(case.resolve(&["serve"]).unwrap_err().to_string().contains("\"large\" is not a number"));
    }

    #[test]
    fn a_wrong_file_is_refused_with_the_line_and_the_nearest_key() {
        let refused = |file: &str| Case::new(file, &[]).resolve(&["config", "show"]).unwrap_err();
        let error = refused("project = \"a\"\ndata_dri = \"x\"");
        assert_eq!(error.kind(), Kind::InvalidArgument);
        let text = error.to_string();
        assert!(
            text.contains("bellwether.toml:2: unknown key \"data_dri\"; did you mean \"data_dir\"?"),
            "{text}"
        );
        let text = refused("\n\nlog = 3").to_string();
        assert!(text.contains("bellwether.toml:3: "), "{text}");
    }

    #[test]
    fn a_named_file_must_be_there() {
        let error = Case::new("", &[]).resolve(&["config", "show", "--config", "gone.toml"]).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.to_string().contains("gone.toml: no such file"), "{error}");
    }
}
