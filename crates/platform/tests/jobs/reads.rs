//! What a job reads beside snapshots: a table where the server may read, and the version whose weights it starts from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use platform::jobs::{SubmitJob, Work, started_from};
use platform::{JobState, Kind, Platform, StagedUpload};

use crate::fixture::{
    P, PIPELINE, World, in_a_runtime, log, request, run, run_and_die, submit, until, until_state,
};

const TABLE_PIPELINE: &str = r#"
version = 1
name = "rows"
[data]
table = "TABLE"
[label]
column = "label"
classes = 2
[split]
column = "part"
[[model.layers]]
type = "dense"
units = 2
activation = "softmax"
[fit]
epochs = 1
"#;

fn write_table(path: &Path, rows: usize) {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", Arc::new(Float32Array::from_iter_values((0..rows).map(|row| row as f32)))),
        ("b", Arc::new(Float32Array::from_iter_values((0..rows).map(|row| -(row as f32))))),
        ("label", Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row as i64 % 2)))),
        ("part", Arc::new(StringArray::from_iter_values((0..rows).map(|row| ["train", "valid"][row % 2])))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

pub(crate) fn over(table: &str, fake: &str) -> SubmitJob {
    let pipeline = format!("# fake: {fake}\n{}", TABLE_PIPELINE.replace("TABLE", table));
    SubmitJob { pipeline, ..request("") }
}

fn from(reference: &str, fake: &str) -> SubmitJob {
    SubmitJob { work: Work::Train { from: Some(reference.to_owned()) }, ..request(fake) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_read_where_the_server_may_read() {
    let world = World::new();
    let platform = world.open_trained().await;
    let file = world.path().join("rows.parquet");
    write_table(&file, 40);
    let bytes = std::fs::read(&file).unwrap();
    let upload = StagedUpload {
        bucket: "mine".to_owned(),
        name: "of/rows.parquet".to_owned(),
        ..StagedUpload::default()
    };
    platform.staging().put(&upload, &bytes).unwrap();
    let runner = run(&platform);
    let real = |path: PathBuf| path.canonicalize().unwrap().display().to_string();
    for (number, (table, path)) in [
        (format!("file://{}", file.display()), real(file.clone())),
        (
            "gs://mine/of/rows.parquet".to_owned(),
            real(world.path().join("data/staging/mine/of/rows.parquet")),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let fake = format!("echo \"$@\"; {}", world.copy_bundle());
        let id = platform.submit_job(over(&table, &fake)).await.unwrap().id;
        let done = until_state(&platform, &id, JobState::Succeeded).await;
        let made = done.made.unwrap();
        assert_eq!((made.model.as_str(), made.version), ("rows", number as u32 + 1));
        let sha256 = done.inputs["sha256"].as_str().unwrap();
        assert_eq!((&done.inputs["table"], &done.inputs["path"]), (&table.into(), &path.clone().into()));
        assert_eq!(sha256.len(), 64);
        let said = log(&platform, &id).await;
        assert!(
            said.ends_with(&format!(" --read-only --table {path} --table-sha256 {sha256}\n")),
            "the child reads what was settled: {said}"
        );
    }
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_the_server_may_not_read_or_cannot_train_on_is_refused_at_once() {
    let world = World::new();
    let platform = world.open().await;
    let file = world.path().join("rows.parquet");
    write_table(&file, 40);
    let here = format!("file://{}", file.display());
    std::fs::write(world.path().join("no.parquet"), "PAR1").unwrap();
    let refused = async |request: SubmitJob, kind: Kind, part: &str| {
        let error = platform.submit_job(request).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    for (table, kind, part) in [
        ("rows.parquet", Kind::InvalidArgument, "gs://BUCKET/OBJECT"),
        ("/etc/passwd", Kind::InvalidArgument, "beside the pipeline"),
        ("s3://bucket/rows.parquet", Kind::InvalidArgument, "s3://"),
        ("file:///etc/passwd", Kind::PermissionDenied, "--allow-root"),
        ("file:///nowhere/rows.parquet", Kind::PermissionDenied, "--allow-root"),
        ("gs://mine/rows.parquet", Kind::NotFound, "staging area"),
        ("gs://mine/../../registry.sqlite", Kind::NotFound, "staging area"),
        (&here.replace("rows.", "no."), Kind::InvalidArgument, "no.parquet"),
        (&here.replace("/rows.parquet", ""), Kind::PermissionDenied, "is not a file"),
    ] {
        refused(over(table, ""), kind, part).await;
    }
    let changed = |from: &str, to: &str| {
        let request = over(&here, "");
        assert!(request.pipeline.contains(from));
        SubmitJob { pipeline: request.pipeline.replacen(from, to, 1), ..request }
    };
    refused(changed("\"label\"", "\"lable\""), Kind::InvalidArgument, "lable").await;
    let conv = changed("type = \"dense\"\nunits = 2", "type = \"lstm\"\nunits = 2");
    refused(
        SubmitJob { pipeline: conv.pipeline.replace("activation = \"softmax\"\n", ""), ..conv },
        Kind::InvalidArgument,
        "lstm",
    )
    .await;
    assert!(platform.list_jobs(P, &platform::Page::default()).await.unwrap().items.is_empty());
}

/// The version `tiny@1`, made by a job.
async fn with_a_version(world: &World, platform: &Platform) {
    let id = submit(platform, &world.copy_bundle()).await;
    until_state(platform, &id, JobState::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_to_start_from_is_chosen_when_the_job_is_queued_and_lies_beside_it() {
    let world = World::new();
    let platform = world.open_trained().await;
    let runner = run(&platform);
    with_a_version(&world, &platform).await;
    let stored = world.path().join("data/artifacts/default/tiny/1");
    let fake = format!(
        "if [ -e half ]; then echo \"$@\"; {}; else touch half; echo x > from/model.onnx; exit 3; fi",
        world.copy_bundle()
    );
    let job = platform.submit_job(from("tiny", &fake)).await.unwrap();
    assert_eq!(started_from(&job).as_deref(), Some("tiny@1"));
    let failed = until_state(&platform, &job.id, JobState::Failed).await;
    assert!(failed.error.starts_with("exit code 3"), "{}", failed.error);
    let placed = world.job_dir(&job.id).join("from");
    assert_eq!(
        std::fs::read(placed.join("bundle.json")).unwrap(),
        std::fs::read(stored.join("bundle.json")).unwrap()
    );

    // What the first attempt damaged is whole again in the second, which reads it where it lies.
    platform.resume_job(P, &job.id).await.unwrap();
    let done = until_state(&platform, &job.id, JobState::Succeeded).await;
    assert_eq!((done.attempts, done.made.as_ref().unwrap().version), (2, 2));
    let said = log(&platform, &job.id).await;
    let expected = format!(
        " --snapshot 1 --from {}\n",
        world.job_dir(&job.id).canonicalize().unwrap().join("from").display()
    );
    assert!(said.ends_with(&expected), "{said}");
    until(&platform, &job.id, |_| !placed.exists()).await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_the_network_cannot_start_from_is_refused_at_once() {
    let world = World::new();
    let platform = world.open_trained().await;
    let runner = run(&platform);
    with_a_version(&world, &platform).await;
    let refused = async |request: SubmitJob, kind: Kind, part: &str| {
        let error = platform.submit_job(request).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    refused(from("tiny@7", ""), Kind::NotFound, "tiny").await;
    refused(from("other", ""), Kind::NotFound, "other").await;
    // A bundle of this machine's disk is no version of the registry.
    let bundle = world.bundle().display().to_string();
    assert_eq!(platform.submit_job(from(&bundle, "")).await.unwrap_err().kind(), Kind::NotFound);
    let layers = "[[model.layers]]\ntype = \"dense\"\n";
    let deeper = PIPELINE.replacen(layers, &format!("{layers}units = 4\n{layers}"), 1);
    refused(SubmitJob { pipeline: deeper, ..from("tiny", "") }, Kind::InvalidArgument, "dense/kernel").await;
    let other = PIPELINE.replace("families = [\"ROC\"]", "families = [\"ROC\", \"MA\"]");
    refused(
        SubmitJob { pipeline: other, ..from("tiny@1", "") },
        Kind::InvalidArgument,
        "the network cannot start from tiny@1",
    )
    .await;
    assert_eq!(platform.list_jobs(P, &platform::Page::default()).await.unwrap().items.len(), 1);
    runner.stop().await;
}

#[test]
fn a_job_from_a_version_goes_on_after_its_server_died() {
    let world = World::new();
    in_a_runtime(async {
        let platform = world.open_trained().await;
        let runner = run(&platform);
        with_a_version(&world, &platform).await;
        runner.stop().await;
    });
    let fake = format!(
        "if [ -e half ]; then cat from/bundle.json >/dev/null && {}; else touch half; echo up; sleep 1000; fi",
        world.copy_bundle()
    );
    let id = run_and_die(&world, from("tiny@1", &fake));
    crate::crash::kill_group(&world.job_dir(&id));
    in_a_runtime(async {
        let platform = world.reopened().await;
        let runner = run(&platform);
        let done = until_state(&platform, &id, JobState::Succeeded).await;
        assert_eq!((done.attempts, done.made.as_ref().unwrap().version), (2, 2));
        assert_eq!(started_from(&done).as_deref(), Some("tiny@1"));
        runner.stop().await;
    });
}
