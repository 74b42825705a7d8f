//! The database as a file: what survives, what is refused, and how that is said.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use registry::{
    DeploymentLimits, Error, NewEndpoint, OperationOutcome, Residence, SqliteStore, Store, UploadMode,
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// Databases of every schema there was, as text, with one of everything in them. They must load for ever.
const SCHEMAS: [&str; 10] = [
    include_str!("samples/schema-1.sql"),
    include_str!("samples/schema-2.sql"),
    include_str!("samples/schema-3.sql"),
    include_str!("samples/schema-4.sql"),
    include_str!("samples/schema-5.sql"),
    include_str!("samples/schema-6.sql"),
    include_str!("samples/schema-7.sql"),
    include_str!("samples/schema-8.sql"),
    include_str!("samples/schema-9.sql"),
    include_str!("samples/schema-10.sql"),
];

fn new_endpoint(id: &str) -> NewEndpoint {
    let (project, id) = ("default".to_owned(), id.to_owned());
    NewEndpoint {
        project,
        id,
        display_name: String::new(),
        description: String::new(),
        labels: BTreeMap::new(),
    }
}

async fn refusal(path: &Path) -> String {
    let error = SqliteStore::open(path).await.unwrap_err();
    assert!(matches!(&error, Error::Unusable { path: named, .. } if named == path), "{error:?}");
    error.to_string().replace(&path.display().to_string(), "FILE")
}

async fn run_sql(path: &Path, sql: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    pool.close().await;
}

async fn made(directory: &Path) -> PathBuf {
    let path = directory.join("registry.sqlite");
    let store = SqliteStore::open(&path).await.unwrap();
    for n in 0..50 {
        store.create_endpoint(new_endpoint(&format!("e{n}")), NOW).await.unwrap();
    }
    store.close().await;
    path
}

#[tokio::test]
async fn what_was_written_is_there_when_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = made(directory.path()).await;
    let store = SqliteStore::open(&path).await.unwrap();
    assert_eq!(store.list_endpoints("default", None, 100).await.unwrap().len(), 50);
    // A second opening of the same file sees what the first writes.
    let second = SqliteStore::open(&path).await.unwrap();
    store.create_endpoint(new_endpoint("new"), NOW).await.unwrap();
    assert!(second.get_endpoint("default", "new").await.is_ok());
}

#[tokio::test]
async fn databases_of_every_older_schema_load_with_all_they_hold() {
    for (number, sql) in (1..).zip(SCHEMAS) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registry.sqlite");
        run_sql(&path, sql).await;
        let store = SqliteStore::open(&path).await.unwrap();
        let version = store.get_version("default", "sp500-deciles@champion").await.unwrap();
        assert_eq!((version.version, version.aliases.join(" ").as_str()), (1, "champion default"));
        assert_eq!(version.signature.inputs[0].row_elements(), Some(75));
        assert_eq!(version.summary["metrics"]["rank_ic"], 0.012);
        assert_eq!(
            (version.about.display_name.as_str(), version.labels["team"].as_str()),
            ("Deciles", "quant")
        );
        let desk = version.about.labels.get("desk").map(String::as_str);
        assert_eq!(
            (version.description.as_str(), desk),
            if number >= 7 { ("The first one", Some("us")) } else { ("", None) }
        );
        assert_eq!(version.model_created_at, version.created_at);
        let endpoint = store.get_endpoint("default", "live").await.unwrap();
        assert_eq!(endpoint.description, if number >= 9 { "What the desk trades on" } else { "" });
        let share = |id: &str| endpoint.traffic_split.get(id).copied().unwrap_or_default();
        assert_eq!((share("1"), share("2")), (100, 0));
        assert_eq!((endpoint.deployments[0].cpu_cores, endpoint.deployments[0].memory_gb), (2.0, 4.0));
        assert_eq!(endpoint.deployments[0].engine.as_deref(), (number >= 5).then_some("rten"));
        let standing = |at: usize| {
            endpoint.deployments.get(at).map(|deployment| (deployment.shadow_percent, deployment.residence))
        };
        assert_eq!(standing(0), Some((None, Residence::Pinned)), "schema {number}");
        assert_eq!(standing(1), (number >= 6).then_some((Some(20), Residence::OnDemand)), "schema {number}");
        let limits = endpoint.deployments.get(1).map(|deployment| deployment.limits).unwrap_or_default();
        let asked =
            DeploymentLimits { max_batch_rows: Some(256), max_delay_us: Some(0), ..Default::default() };
        let asked = if sql.contains("limits_json") { asked } else { DeploymentLimits::default() };
        assert_eq!(limits, asked, "schema {number}");
        assert_eq!(store.get_dataset("default", "sp500-20").await.unwrap().snapshot, 1);
        assert_eq!(store.get_operation("default", "1764000000000000").await.unwrap().kind, "UploadModel");
        let failed = endpoint.failed_attempt.as_ref();
        assert_eq!(
            failed.map(|failed| (failed.deployment.as_str(), failed.version)),
            (number >= 10).then_some(("3", 1))
        );
        if let Some(failed) = failed {
            let operation = store.get_operation("default", &failed.operation).await.unwrap();
            assert_eq!(operation.outcome, OperationOutcome::Failed(failed.failure.clone()));
        }
        assert_eq!(store.list_uploading().await.unwrap().len(), 1);
        let jobs = store.list_jobs("default", &[], None, 9).await.unwrap();
        assert_eq!(jobs.len(), if number >= 2 { 2 } else { 0 }, "schema {number}");
        if let Some(job) = jobs.first() {
            assert_eq!(job.made.as_ref().map(|made| made.version), Some(1));
        }
        let studies = store.list_studies("default", None, 9).await.unwrap();
        assert_eq!(studies.len(), usize::from(number >= 3));
        assert_eq!(store.list_keys().await.unwrap().len(), usize::from(number >= 4));
        let next = store.reserve_version("default", "sp500-deciles", UploadMode::Either, NOW).await;
        assert_eq!(next.unwrap(), 3);
    }
}

#[tokio::test]
async fn a_model_of_before_is_called_what_its_default_version_was_called() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.sqlite");
    run_sql(&path, SCHEMAS[5]).await;
    let second = "UPDATE versions SET description = 'of one' WHERE version = 1;
        UPDATE versions SET state = 'ready', display_name = 'Second', description = 'of two', labels_json = '{\"k\":\"v\"}',
            signature_json = (SELECT signature_json FROM versions WHERE version = 1), updated_at = 1764000000000009
            WHERE version = 2;
        UPDATE aliases SET version = 2 WHERE alias = 'default';";
    run_sql(&path, second).await;
    let store = SqliteStore::open(&path).await.unwrap();
    for (reference, own, labels) in
        [("sp500-deciles@1", "of one", ("team", "quant")), ("sp500-deciles", "of two", ("k", "v"))]
    {
        let version = store.get_version("default", reference).await.unwrap();
        assert_eq!(version.about.display_name, "Second");
        assert_eq!((version.about.description.as_str(), version.description.as_str()), ("of two", own));
        assert_eq!(version.about.labels, BTreeMap::new(), "labels stay where they were");
        assert_eq!(version.labels, [(labels.0.to_owned(), labels.1.to_owned())].into());
        assert_eq!(version.model_created_at.as_microsecond(), 1_764_000_000_000_000);
    }
}

#[test]
fn every_schema_there_was_has_a_sample() {
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    assert_eq!(
        std::fs::read_dir(migrations).unwrap().count(),
        SCHEMAS.len(),
        "a change needs tests/samples/schema-N.sql"
    );
}

/// Files beside a database, by name.
fn beside(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.contains(".before-"));
    names.sort();
    names
}

#[tokio::test]
async fn a_copy_is_kept_before_the_schema_changes_and_only_then() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.sqlite");
    for old in ["0001", "0002", "0003"] {
        std::fs::write(directory.path().join(format!("registry.sqlite.before-{old}")), "older").unwrap();
    }
    run_sql(&path, SCHEMAS[2]).await;
    let store = SqliteStore::open(&path).await.unwrap();
    store.create_endpoint(new_endpoint("later"), NOW).await.unwrap();
    store.close().await;
    let kept = ["registry.sqlite.before-0002", "registry.sqlite.before-0003", "registry.sqlite.before-0004"];
    assert_eq!(beside(&path), kept, "the newest three");
    SqliteStore::open(&path).await.unwrap().close().await;
    assert_eq!(beside(&path), kept, "nothing has changed since");

    // The copy is the database as it was, and opens by itself.
    let copy = directory.path().join("copy.sqlite");
    std::fs::copy(directory.path().join(kept[2]), &copy).unwrap();
    let store = SqliteStore::open(&copy).await.unwrap();
    assert!(store.get_endpoint("default", "later").await.is_err());
    assert!(store.get_endpoint("default", "live").await.is_ok());
}

#[tokio::test]
async fn a_new_database_needs_no_copy() {
    let directory = tempfile::tempdir().unwrap();
    let path = made(directory.path()).await;
    assert_eq!(beside(&path), [""; 0]);
}

#[tokio::test]
async fn a_copy_is_one_state_of_a_database_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let path = made(directory.path()).await;
    let store = SqliteStore::open(&path).await.unwrap();
    store.create_endpoint(new_endpoint("written-ahead"), NOW).await.unwrap();
    let into = directory.path().join("copy.sqlite");
    SqliteStore::copy(&path, &into).await.unwrap();
    store.create_endpoint(new_endpoint("later"), NOW).await.unwrap();
    let copy = SqliteStore::open(&into).await.unwrap();
    assert_eq!(copy.list_endpoints("default", None, 100).await.unwrap().len(), 51);
    assert!(SqliteStore::copy(&path, &into).await.is_err(), "nothing is overwritten");
    let none = SqliteStore::copy(&directory.path().join("none"), &directory.path().join("x")).await;
    assert!(none.unwrap_err().to_string().contains("cannot be opened"));
}

#[tokio::test]
async fn artifacts_that_moved_are_named_where_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.sqlite");
    run_sql(&path, SCHEMAS[0]).await;
    let store = SqliteStore::open(&path).await.unwrap();
    store.move_artifacts("file:///art", "file:///new").await.unwrap();
    let uri = || async { store.get_version("default", "sp500-deciles").await.unwrap().artifact_uri };
    assert_eq!(uri().await, "file:///artifacts/default/sp500-deciles/1", "of another folder");
    store.move_artifacts("file:///artifacts", "file:///b/artifacts").await.unwrap();
    assert_eq!(uri().await, "file:///b/artifacts/default/sp500-deciles/1");
}

#[tokio::test]
async fn a_database_of_a_newer_build_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = made(directory.path()).await;
    run_sql(
        &path,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', TRUE, x'00', 0)",
    )
    .await;
    let refused = refusal(&path).await;
    let expected =
        "cannot use the registry FILE: it was made by a newer build (schema 9999, this build knows up to ";
    assert!(refused.starts_with(expected) && refused.ends_with("); use that build"), "{refused}");
    assert_eq!(beside(&path), [""; 0]);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.sqlite");
    let contents = "date,symbol,close\n".repeat(1000);
    std::fs::write(&path, &contents).unwrap();
    assert_eq!(
        refusal(&path).await,
        "cannot use the registry FILE: it is not a SQLite database; move it away, or restore it from a backup"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), contents);
}

#[tokio::test]
async fn a_damaged_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = made(directory.path()).await;
    let whole = std::fs::read(&path).unwrap();
    let damaged = "cannot use the registry FILE: it is damaged; restore it from a backup, or move it away to \
                   begin anew";
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(refusal(&path).await, damaged);
    let mut torn = whole.clone();
    torn[4096..].fill(0xa5);
    std::fs::write(&path, torn).unwrap();
    assert_eq!(refusal(&path).await, damaged);
}

#[tokio::test]
async fn a_missing_directory_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none").join("registry.sqlite");
    assert_eq!(
        refusal(&path).await,
        "cannot use the registry FILE: it cannot be opened; check that its directory exists and may be written to"
    );
}

/// A child process that is killed (signal 9) when this goes, however the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A child process writes and says what it has written; it is killed at some point, again and again. Whatever it
/// said is there afterwards.
#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    const CHILD: &str = "REGISTRY_TEST_CHILD_DIRECTORY";
    if let Some(directory) = std::env::var_os(CHILD) {
        return write_until_killed(Path::new(&directory)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("acknowledged");
    for round in 0..6 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["what_was_acknowledged_survives_kill_9", "--exact"])
            .env(CHILD, directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut child = Killed(child);
        let lines = || std::fs::read(&log).map_or(0, |text| text.iter().filter(|b| **b == b'\n').count());
        let before = lines();
        while lines() < before + 3 {
            assert!(child.0.try_wait().unwrap().is_none(), "the child ended by itself");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(700 * round)).await;
        drop(child);
        let store = SqliteStore::open(&directory.path().join("registry.sqlite")).await.unwrap();
        let acknowledged = std::fs::read_to_string(&log).unwrap();
        assert!(acknowledged.lines().count() >= before + 3);
        for id in acknowledged.split_terminator('\n') {
            assert!(store.get_endpoint("default", id).await.is_ok(), "{id} was acknowledged and is gone");
        }
        store.close().await;
    }
}

async fn write_until_killed(directory: &Path) {
    let store = SqliteStore::open(&directory.join("registry.sqlite")).await.unwrap();
    let log = directory.join("acknowledged");
    let mut log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    for n in 0..100_000 {
        let id = format!("e{}-{n}", std::process::id());
        store.create_endpoint(new_endpoint(&id), NOW).await.unwrap();
        log.write_all(format!("{id}\n").as_bytes()).unwrap();
    }
}
