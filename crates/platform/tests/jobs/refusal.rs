//! What cannot become a job, and what a job may read.

use platform::jobs::SubmitJob;
use platform::{ImportDataset, JobState, Kind, PinnedSnapshot, Platform, SourceFile};

use crate::fixture::{PIPELINE, World, prices, request, run, train, until_state};

fn with_data(lines: &str) -> SubmitJob {
    let pipeline = PIPELINE.replace("dataset = \"made-up\"\n", lines);
    assert_ne!(pipeline, PIPELINE);
    SubmitJob { pipeline, ..request("exit 1") }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_the_server_does_not_have_is_refused_with_the_way_out() {
    let world = World::new();
    let platform = world.open().await;
    let refused = async |lines: &str, kind: Kind, part: &str| {
        let error = platform.submit_job(with_data(lines)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    refused("dataset = \"gone\"\n", Kind::NotFound, "made-up").await;
    let local = "dataset = \"made-up\"\nsource = [\"prices.csv\"]\n";
    refused(local, Kind::InvalidArgument, "datasets?datasetId=made-up").await;
    refused("dataset = \"x\"\nsource = \"../prices.csv\"\n", Kind::InvalidArgument, "beside the pipeline")
        .await;
    refused("dataset = \"x\"\nsource = \"builtin:none\"\n", Kind::InvalidArgument, "sp500-20").await;
    refused("dataset = \"x\"\nsource = \"file:///etc/passwd\"\n", Kind::PermissionDenied, "--allow-root")
        .await;
    let tables = "dataset = \"x\"\nsource = \"file:///a\"\n[data.import]\nactions = \"/etc/passwd\"\n";
    refused(tables, Kind::InvalidArgument, "data.import").await;
    refused("dataset = \"made-up\"\ndatset = 1\n", Kind::InvalidArgument, "did you mean").await;
    assert!(platform.list_jobs("default", &platform::Page::default()).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_names_is_imported_by_the_server_before_the_job_starts() {
    let world = World::new();
    let platform = world.open().await;
    let file = world.path().join("more.csv");
    std::fs::write(&file, prices(40)).unwrap();
    let lines = format!("dataset = \"other\"\nsource = \"file://{}\"\n", file.display());
    let job = platform.submit_job(with_data(&lines)).await.unwrap();
    assert_eq!(platform.show_dataset("other", None).await.unwrap_err().kind(), Kind::NotFound);
    let runner = run(&platform);
    let failed = until_state(&platform, &job.id, JobState::Failed).await;
    assert_eq!((&failed.inputs["dataset"], &failed.inputs["snapshot"]), (&"other".into(), &1.into()));
    assert_eq!(platform.show_dataset("other", None).await.unwrap().quality.dates, 40);

    runner.stop().await;

    // What cannot be imported fails the job before it starts.
    let job = platform.submit_job(with_data(&lines)).await.unwrap();
    std::fs::write(&file, "date,close\n2020-01-02,abc\n").unwrap();
    let runner = run(&platform);
    let failed = until_state(&platform, &job.id, JobState::Failed).await;
    assert!(failed.error.contains("\"abc\" is not a number") && failed.inputs.is_null(), "{}", failed.error);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_reads_snapshots_that_do_not_move() {
    let world = World::new();
    let owner = world.open().await;
    let more = SourceFile::in_memory("more.csv", prices(310));
    owner.import_dataset(ImportDataset::new("made-up", vec![more])).await.unwrap();

    assert_eq!(Platform::open(world.options()).await.unwrap_err().kind(), Kind::FailedPrecondition);
    let pinned = PinnedSnapshot { dataset: "made-up".to_owned(), snapshot: 1 };
    let reader = Platform::open_read_only(world.options(), Some(pinned)).await.unwrap();
    assert_eq!(train(&reader, &world.path().join("old")).await["snapshot"], 1);
    let newest = Platform::open_read_only(world.options(), None).await.unwrap();
    assert_eq!(train(&newest, &world.path().join("new")).await["snapshot"], 2);

    let more = SourceFile::in_memory("more.csv", prices(320));
    let refused = newest.import_dataset(ImportDataset::new("made-up", vec![more])).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::FailedPrecondition);
    assert!(refused.to_string().contains("--read-only"), "{refused}");
    let mut options = world.options();
    options.data_dir = world.path().join("none");
    assert_eq!(Platform::open_read_only(options, None).await.unwrap_err().kind(), Kind::NotFound);
    assert!(!world.path().join("none").exists());
}
