//! Files of rows through the facade: the bits of one row at a time, what was cut off and goes on, rows that are wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use platform::batch_predict::{
    Answerer, BatchModel, BatchObserver, BatchPredict, BatchReport, LocalAnswerer, RowsProgress, Streams, run,
};
use platform::{
    ArtifactSource, BatchProgress, Control, CreateEndpoint, DataType, Deploy, EpochReport, Error, FitOptions,
    ImportDataset, Instance, Kind, ModelTexts, Observer, Options, Pipeline, Platform, PredictRequest,
    Question, ResourceRequest, Signature, SourceFile, SymbolRow, Tensor, TensorData, TensorSpec,
    TrainObserver, TrainOptions, UploadModel, UploadTarget,
};
use serde_json::Value;

/// Stops a run once it has written so many rows.
#[derive(Default)]
struct Watching {
    stop_after: Option<u64>,
    notes: Vec<String>,
    last: Option<RowsProgress>,
}

impl BatchObserver for Watching {
    fn on_rows(&mut self, progress: &RowsProgress) -> Control {
        self.last = Some(*progress);
        let stop = self.stop_after.is_some_and(|rows| progress.new_rows >= rows);
        if stop { Control::Stop } else { Control::Continue }
    }

    fn on_note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }
}

/// A model of two columns that gives their sum, and both in a whole number.
struct Sums(BatchModel);

impl Sums {
    fn new() -> Self {
        let spec = |name: &str, dtype, shape: &[Option<usize>]| TensorSpec {
            name: name.to_owned(),
            dtype,
            shape: shape.to_vec(),
        };
        Self(BatchModel {
            model: "sums".to_owned(),
            version: 3,
            digest: "ab".repeat(32),
            features: vec!["A".to_owned(), "B".to_owned()],
            signature: Signature {
                inputs: vec![spec("x", DataType::Float32, &[None, Some(2)])],
                outputs: vec![
                    spec("both", DataType::Float32, &[None, Some(2)]),
                    spec("whole", DataType::Int64, &[None]),
                ],
            },
            rejects_missing: true,
            by_symbol: false,
            data: None,
        })
    }
}

impl Answerer for Sums {
    fn model(&self) -> &BatchModel {
        &self.0
    }

    fn answer(&self, rows: usize, values: Vec<f32>) -> Result<Vec<Tensor>, Error> {
        let whole = values.chunks(2).map(|row| (row[0] + row[1]) as i64).collect();
        let both = values.chunks(2).flat_map(|row| [row[0] + row[1], row[0] / 3.0]).collect();
        // Stretches come back in another order than they were asked.
        std::thread::sleep(std::time::Duration::from_micros(values[0] as u64 % 7 * 300));
        Ok(vec![
            Tensor::float32(vec![rows, 2], both).unwrap(),
            Tensor::new(vec![rows], TensorData::Int64(whole)).unwrap(),
        ])
    }

    fn features(&self, _: &SymbolRow) -> Result<Vec<f32>, Error> {
        unreachable!("it does not compute features")
    }
}

fn request(inputs: &[PathBuf], out: &Path) -> BatchPredict {
    BatchPredict {
        inputs: inputs.to_vec(),
        input_format: None,
        out: Some(out.to_owned()),
        output_format: None,
        keep: Vec::new(),
        as_of: None,
        max_errors: 0,
        resume: false,
        threads: 3,
        part_rows: None,
        report: None,
    }
}

fn answer(request: &BatchPredict, watching: &mut Watching) -> Result<BatchReport, Error> {
    run(request, &Sums::new(), Streams::default(), watching)
}

const ROWS: usize = 50_000;

/// A row's numbers: small, so that sums are exact.
fn row(n: usize) -> (f32, f32) {
    ((n % 4001) as f32, (n % 13) as f32 - 6.0)
}

fn csv(path: &Path, rows: std::ops::Range<usize>) -> PathBuf {
    let mut text = "id,B,unused,A\n".to_owned();
    for n in rows {
        let (a, b) = row(n);
        text += &format!("row {n},{b},x,{a}\n");
    }
    std::fs::write(path, text).unwrap();
    path.to_owned()
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn every_row_is_answered_in_order_with_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = [csv(&dir.path().join("1.csv"), 0..30_000), csv(&dir.path().join("2.csv"), 30_000..ROWS)];
    let out = dir.path().join("out.csv");
    let mut watching = Watching::default();
    let asked = BatchPredict { keep: vec!["id".to_owned()], ..request(&inputs, &out) };
    let report = answer(&asked, &mut watching).unwrap();
    assert_eq!((report.rows, report.errors, report.resumed_rows), (ROWS as u64, 0, 0));
    assert_eq!((report.model.as_str(), report.model_version), ("sums", 3));
    assert_eq!(report.ignored_columns, ["unused"]);
    let fraction = watching.last.unwrap().fraction.unwrap();
    assert!((0.99..=1.0).contains(&fraction), "{fraction}");
    let written = lines(&out);
    assert_eq!(written[0], "id,both_0,both_1,whole,model_version");
    assert_eq!(written.len(), ROWS + 1);
    for (n, line) in written[1..].iter().enumerate() {
        let (a, b) = row(n);
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!((cells[0], cells[4]), (format!("row {n}").as_str(), "sums@3"));
        let both: Vec<f32> = cells[1..3].iter().map(|cell| cell.parse().unwrap()).collect();
        assert_eq!(both, [a + b, a / 3.0]);
        assert_eq!(cells[3].parse::<i64>().unwrap(), (a + b) as i64);
    }
    assert!(
        !dir.path().join("out.csv.partial").exists() && !dir.path().join("out.csv.errors.jsonl").exists()
    );
}

#[test]
fn many_small_files_follow_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let file = |n: usize| csv(&dir.path().join(format!("{n}.csv")), n * 3..n * 3 + 3);
    let inputs: Vec<PathBuf> = (0..60).map(file).collect();
    let out = dir.path().join("out.csv");
    let asked = BatchPredict { keep: vec!["id".to_owned()], threads: 1, ..request(&inputs, &out) };
    assert_eq!(answer(&asked, &mut Watching::default()).unwrap().rows, 180);
    let order: Vec<String> =
        lines(&out)[1..].iter().map(|line| line.split(',').next().unwrap().to_owned()).collect();
    assert_eq!(order, (0..180).map(|n| format!("row {n}")).collect::<Vec<_>>());
}

/// Answers of any format as text, a line a row.
fn decoded(path: &Path) -> Vec<String> {
    if path.extension().unwrap() != "parquet" {
        return lines(path);
    }
    let builder = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
    let said = builder.metadata().file_metadata().key_value_metadata().unwrap();
    let version = said.iter().find(|pair| pair.key == "bellwether.model_version").unwrap();
    assert_eq!(version.value.as_deref(), Some("sums@3"));
    let mut rows = Vec::new();
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        assert_eq!(batch.schema().field(0).name(), "id");
        let both = batch.column_by_name("both").unwrap().as_fixed_size_list().clone();
        let whole = batch.column_by_name("whole").unwrap().as_primitive::<Int64Type>().clone();
        for n in 0..batch.num_rows() {
            let pair = both.value(n).as_primitive::<Float32Type>().values().to_vec();
            rows.push(format!(
                "{:?} {pair:?} {}",
                batch.column(0).as_string::<i32>().value(n),
                whole.value(n)
            ));
        }
    }
    rows
}

#[test]
fn what_was_cut_off_anywhere_goes_on_to_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = [csv(&dir.path().join("1.csv"), 0..20_000), csv(&dir.path().join("2.csv"), 20_000..ROWS)];
    for name in ["out.csv", "out.jsonl", "out.parquet"] {
        let asked = |file: &str, resume| BatchPredict {
            keep: vec!["id".to_owned()],
            part_rows: Some(5_000),
            resume,
            ..request(&inputs, &dir.path().join(file))
        };
        let whole = format!("whole-{name}");
        answer(&asked(&whole, false), &mut Watching::default()).unwrap();
        let expected = decoded(&dir.path().join(&whole));
        let out = dir.path().join(name);
        let folder = dir.path().join(format!("{name}.partial"));
        let mut cuts = 0;
        let report = loop {
            let mut watching = Watching { stop_after: Some(9_000), ..Watching::default() };
            match answer(&asked(name, cuts > 0), &mut watching) {
                Ok(report) => break report,
                Err(error) => assert_eq!(error.kind(), Kind::Cancelled, "{error}"),
            }
            assert!(!out.exists(), "it appears whole");
            cuts += 1;
            match cuts {
                // A crash leaves a torn line and a part nobody noted; a disk, a part that is damaged.
                1 => {
                    let journal = folder.join("journal.jsonl");
                    let mut text = std::fs::read_to_string(&journal).unwrap();
                    text += "{\"part\":{\"rows\":1";
                    std::fs::write(journal, text).unwrap();
                    std::fs::write(folder.join("00000077"), "torn").unwrap();
                }
                2 => std::fs::write(folder.join("00000001"), "damaged").unwrap(),
                _ => {}
            }
        };
        assert!(cuts >= 4, "{cuts}");
        assert_eq!(report.rows, ROWS as u64);
        assert!(report.resumed_rows > 0);
        assert_eq!(decoded(&out), expected, "{name}");
        assert!(!folder.exists());
    }
}

#[test]
fn a_run_that_ended_before_it_was_tidied_is_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("rows.csv");
    std::fs::write(&input, "A,B\n1,2\n1,x\n3,4\n").unwrap();
    let (out, folder) = (dir.path().join("out.csv"), dir.path().join("out.csv.partial"));
    let asked = BatchPredict { resume: true, max_errors: 1, ..request(std::slice::from_ref(&input), &out) };
    // What is in the way of the file of errors stops it when all is put together.
    let obstacle = dir.path().join("out.csv.errors.jsonl");
    std::fs::create_dir_all(obstacle.join("x")).unwrap();
    let error = answer(&asked, &mut Watching::default()).unwrap_err().to_string();
    assert!(error.contains("out.csv.errors.jsonl") && folder.join("whole").exists(), "{error}");
    std::fs::remove_dir_all(&obstacle).unwrap();
    let kept = std::fs::read(folder.join("journal.jsonl")).unwrap();
    let part = std::fs::read(folder.join("00000000")).unwrap();
    let errors = std::fs::read(folder.join("00000000.errors")).unwrap();
    let report = answer(&asked, &mut Watching::default()).unwrap();
    assert_eq!((report.rows, report.resumed_rows, report.errors), (3, 3, 1));
    let before = std::fs::read(&out).unwrap();

    // A crash after the file has appeared, before the folder has gone.
    std::fs::create_dir(&folder).unwrap();
    for (name, bytes) in [("journal.jsonl", &kept), ("00000000", &part), ("00000000.errors", &errors)] {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let again = answer(&asked, &mut Watching::default()).unwrap();
    assert_eq!((again.rows, again.errors, again.errors_file), (3, 1, Some(obstacle)));
    assert!(!folder.exists() && std::fs::read(&out).unwrap() == before);
    assert_eq!(answer(&asked, &mut Watching::default()).unwrap_err().kind(), Kind::AlreadyExists);
}

#[test]
fn only_the_same_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let input = csv(&dir.path().join("1.csv"), 0..10_000);
    let out = dir.path().join("out.csv");
    let asked = BatchPredict { part_rows: Some(1000), ..request(std::slice::from_ref(&input), &out) };
    answer(&asked, &mut Watching { stop_after: Some(1), ..Watching::default() }).unwrap_err();
    let refused = |asked: &BatchPredict| answer(asked, &mut Watching::default()).unwrap_err().to_string();
    assert!(refused(&asked).contains("--resume goes on with it"));
    let other = BatchPredict { resume: true, keep: vec!["id".to_owned()], ..asked.clone() };
    assert!(refused(&other).contains("a run with another keep; remove it"), "{}", refused(&other));
    csv(&input, 0..9_999);
    let changed = BatchPredict { resume: true, ..asked };
    assert!(refused(&changed).contains("another inputs"), "{}", refused(&changed));
}

#[test]
fn rows_that_are_wrong_are_told_and_the_others_answered() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("rows.csv");
    std::fs::write(&input, "A,B\n1,2\n1,x\n3,\n4,inf\n5,6\n7\n").unwrap();
    let out = dir.path().join("out.jsonl");
    let asked = request(std::slice::from_ref(&input), &out);
    let error = answer(&asked, &mut Watching::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    let said = "row 2 (line 3), column \"B\": \"x\" is not a number";
    assert!(error.to_string().contains(said) && error.to_string().contains("--max-errors N"), "{error}");
    assert!(!dir.path().join("out.jsonl.partial").exists(), "nothing was written");

    let three = BatchPredict { max_errors: 3, ..asked.clone() };
    let error = answer(&three, &mut Watching::default()).unwrap_err().to_string();
    assert!(error.contains("more than 3 rows cannot be answered"), "{error}");
    assert!(!dir.path().join("out.jsonl.partial").exists(), "nothing was written");

    let four = BatchPredict { max_errors: 4, report: Some(dir.path().join("report.json")), ..asked };
    let report = answer(&four, &mut Watching::default()).unwrap();
    assert_eq!((report.rows, report.errors), (6, 4));
    let noted: BatchReport =
        serde_json::from_slice(&std::fs::read(dir.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(noted, report);
    let parsed = |path: &Path| -> Vec<Value> {
        lines(path).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let answers = parsed(&out);
    assert_eq!(answers[0]["both"][0], 3.0);
    assert_eq!((&answers[0]["whole"], &answers[0]["model_version"]), (&3.into(), &"sums@3".into()));
    assert!([1, 2, 3, 5].iter().all(|n| answers[*n]["both"].is_null() && answers[*n]["whole"].is_null()));
    assert_eq!(answers[4]["whole"], 11);
    let errors = parsed(&report.errors_file.unwrap());
    let told: Vec<(u64, u64, Option<&str>)> = errors
        .iter()
        .map(|e| (e["row"].as_u64().unwrap(), e["line"].as_u64().unwrap(), e["column"].as_str()))
        .collect();
    assert_eq!(told, [(2, 3, Some("B")), (3, 4, Some("B")), (4, 5, Some("B")), (6, 7, None)]);
    assert!(errors[1]["error"].as_str().unwrap().contains("nan = \"reject\""));
    assert!(errors[2]["error"].as_str().unwrap().contains("infinite"));
}

#[test]
fn a_stream_is_answered_by_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("stream");
    let asked = BatchPredict {
        input_format: Some(platform::RowFormat::Jsonl),
        out: None,
        max_errors: 1,
        ..request(&[], Path::new("-"))
    };
    let streams = Streams {
        input: Some(Box::new("[1,2]\n[1]\n{\"B\": 4, \"A\": 3}\n".as_bytes())),
        output: Some(Box::new(std::fs::File::create(&out).unwrap())),
    };
    let mut watching = Watching::default();
    let report = run(&asked, &Sums::new(), streams, &mut watching).unwrap();
    assert_eq!((report.rows, report.errors, report.out), (3, 1, None));
    let rows: Vec<Value> = lines(&out).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&rows[0]["whole"], &rows[2]["whole"]), (&3.into(), &7.into()));
    assert!(
        watching.notes[0].contains("standard input, row 2 (line 2): it has 1 values"),
        "{:?}",
        watching.notes
    );
    let refused = |asked: BatchPredict| {
        let streams = Streams { input: None, output: Some(Box::new(Vec::new())) };
        run(&asked, &Sums::new(), streams, &mut Watching::default()).unwrap_err().to_string()
    };
    let parquet = platform::AnswerFormat::named("parquet");
    assert!(
        refused(BatchPredict { output_format: parquet, ..asked.clone() }).contains("Parquet file cannot go")
    );
    assert!(refused(BatchPredict { input_format: None, ..asked }).contains("--input-format"));
}

#[test]
fn what_cannot_be_read_or_written_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let input = csv(&dir.path().join("1.csv"), 0..10);
    let out = dir.path().join("out.csv");
    let told = |asked: BatchPredict| {
        let error = answer(&asked, &mut Watching::default()).unwrap_err();
        (error.kind(), error.to_string())
    };
    let (kind, text) = told(request(&[dir.path().join("none.csv")], &out));
    assert!(kind == Kind::NotFound && text.contains("none.csv"), "{text}");
    let odd = dir.path().join("rows.txt");
    std::fs::write(&odd, "x").unwrap();
    assert!(told(request(&[odd], &out)).1.contains("--input-format"));
    assert!(
        told(request(std::slice::from_ref(&input), &dir.path().join("out.txt")))
            .1
            .contains("--output-format")
    );
    let keep = BatchPredict { keep: vec!["ids".to_owned()], ..request(std::slice::from_ref(&input), &out) };
    let (_, text) = told(keep);
    assert!(text.contains("unknown column to keep \"ids\"; did you mean \"id\"?"), "{text}");
    std::fs::write(&input, "A,C\n1,2\n").unwrap();
    let fresh = dir.path().join("fresh.csv");
    let (_, text) = told(request(std::slice::from_ref(&input), &fresh));
    assert!(text.contains("it lacks 1 column of the model: \"B\""), "{text}");
    std::fs::write(&fresh, "precious").unwrap();
    assert!(!dir.path().join("fresh.csv.partial").exists(), "nothing was written");
    assert_eq!(told(request(std::slice::from_ref(&input), &fresh)).0, Kind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&fresh).unwrap(), "precious");
}

#[test]
fn a_file_without_rows_gives_one_without_answers() {
    let dir = tempfile::tempdir().unwrap();
    let input = csv(&dir.path().join("1.csv"), 0..0);
    for name in ["out.csv", "out.jsonl", "out.parquet"] {
        let out = dir.path().join(name);
        let asked =
            BatchPredict { keep: vec!["id".to_owned()], ..request(std::slice::from_ref(&input), &out) };
        assert_eq!(answer(&asked, &mut Watching::default()).unwrap().rows, 0);
        let expected = if name == "out.csv" { 1 } else { 0 };
        assert_eq!(decoded(&out).len(), expected, "{name}");
    }
}

// From here on with a real model.

const NAMES: usize = 5;
const DAYS: usize = 300;
const PIPELINE: &str = r#"
version = 1
name = "tiny"
[data]
dataset = "made-up"
[features]
set = "alpha158"
families = ["ROC", "STD"]
[label]
expression = "Ref($close,-2)/Ref($close,-1)-1"
classes = 3
[split]
train = ["2020-01-01", "2020-06-30"]
valid = ["2020-07-01", "2020-08-31"]
test = ["2020-09-01", "2021-12-31"]
[[model.layers]]
type = "dense"
units = 16
activation = "relu"
[[model.layers]]
type = "dense"
units = 3
activation = "softmax"
[fit]
epochs = 1
batch_size = 64
seed = 1
"#;

struct Quiet;

impl Observer for Quiet {
    fn on_batch_end(&mut self, _: &BatchProgress) -> Control {
        Control::Continue
    }
    fn on_epoch_end(&mut self, _: &EpochReport) -> Control {
        Control::Continue
    }
}

impl TrainObserver for Quiet {
    fn on_stage(&mut self, _: &str, _: &str) {}
}

/// Numbers that look random and are the same in every run, -0.5 to 0.5.
struct Walk(u64);

impl Walk {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    }
}

async fn trained(dir: &Path) -> Arc<Platform> {
    let options = Options {
        data_dir: dir.join("data"),
        artifact_root: None,
        artifact_cache_bytes: platform::ARTIFACT_CACHE_BYTES,
        allowed_roots: Vec::new(),
        holder: "test".to_owned(),
        clock: Arc::new(jiff::Timestamp::now),
    };
    let platform = Platform::open(options).await.unwrap();
    let (mut walk, mut last) = (Walk(7), [100.0; NAMES]);
    let mut text = "date,S0,S1,S2,S3,S4\n".to_owned();
    for day in jiff::civil::date(2020, 1, 1).series(jiff::Span::new().days(1)).take(DAYS) {
        let prices = last.each_mut().map(|price| {
            *price *= 1.0 + 0.04 * walk.next();
            format!("{price:.4}")
        });
        text += &format!("{day},{}\n", prices.join(","));
    }
    let prices = SourceFile::in_memory("prices.csv", text);
    platform.import_dataset(ImportDataset::new("made-up", vec![prices])).await.unwrap();
    let pipeline = Pipeline::parse(PIPELINE, "tiny.toml").unwrap();
    let out = dir.join("bundle");
    let options = TrainOptions { out: &out, base_dir: Path::new("."), fit: FitOptions::default() };
    platform.train(&pipeline, &options, &mut Quiet).await.unwrap();
    let upload = UploadModel {
        project: "default".to_owned(),
        target: UploadTarget::NewOrVersionOf { id: None },
        about: ModelTexts::default(),
        description: String::new(),
        source: ArtifactSource::Path(out),
        aliases: Vec::new(),
        labels: BTreeMap::new(),
        signature: None,
    };
    let version = platform.upload_model(upload).await.unwrap();
    assert!(version.summary["featureNames"].as_array().unwrap().len() > 4, "clients must know the columns");
    let endpoint = CreateEndpoint {
        project: "default".to_owned(),
        id: Some("tiny".to_owned()),
        display_name: "tiny".to_owned(),
        description: String::new(),
        labels: BTreeMap::new(),
    };
    platform.create_endpoint(endpoint).await.unwrap();
    let deploy = Deploy {
        project: "default".to_owned(),
        endpoint: "tiny".to_owned(),
        model: "tiny".to_owned(),
        deployment_id: None,
        display_name: None,
        resources: ResourceRequest { cpu_cores: Some(1.0), memory_gb: Some(1.0), ..Default::default() },
        engine: None,
        standing: platform::Standing::default(),
        traffic_split: Some(BTreeMap::from([("0".to_owned(), 100)])),
    };
    platform.deploy(deploy).await.unwrap();
    platform
}

async fn one(platform: &Platform, instance: Instance, as_of: Option<jiff::civil::Date>) -> Vec<u32> {
    let question = Question::Rows { instances: vec![instance], as_of };
    let asked = PredictRequest { project: "default".to_owned(), endpoint: "tiny".to_owned(), question };
    let reply = platform.predict(asked).await.unwrap();
    reply.predictions().unwrap()[0].iter().map(|value| value.to_bits()).collect()
}

async fn run_real(answerer: LocalAnswerer, asked: BatchPredict) -> BatchReport {
    let work = move || run(&asked, &answerer, Streams::default(), &mut Watching::default()).unwrap();
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// The bits of every row of a Parquet file of answers.
fn bits(path: &Path) -> Vec<Vec<u32>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
    let mut rows = Vec::new();
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        let list = batch.columns().last().unwrap().as_fixed_size_list();
        let row =
            |n| list.value(n).as_primitive::<Float32Type>().values().iter().map(|x| x.to_bits()).collect();
        rows.extend((0..batch.num_rows()).map(row));
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_answered_with_the_bits_of_one_row_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let platform = trained(dir.path()).await;
    let answerer = platform.load_for_batch("default", "tiny@1", None, 2).await.unwrap();
    let names = answerer.model().features.clone();
    let count = 5_003;
    let mut walk = Walk(11);
    let rows: Vec<Vec<f64>> = (0..count)
        .map(|n| names.iter().map(|_| if n % 50 == 3 { f64::NAN } else { 3.0 * walk.next() }).collect())
        .collect();
    // The columns stand in another order than the model's.
    let mut columns: Vec<(String, ArrayRef)> =
        vec![("id".to_owned(), Arc::new(Int64Array::from_iter_values(0..count as i64)))];
    for (at, name) in names.iter().enumerate().rev() {
        let values = rows.iter().map(|row| Some(row[at]).filter(|value| !value.is_nan()));
        columns.push((name.clone(), Arc::new(Float64Array::from_iter(values))));
    }
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let input = dir.path().join("rows.parquet");
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(&input).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let out = dir.path().join("out.parquet");
    let asked = BatchPredict { part_rows: Some(2_000), ..request(std::slice::from_ref(&input), &out) };
    let report = run_real(answerer, asked).await;
    assert_eq!((report.rows, report.ignored_columns.as_slice()), (count as u64, &["id".to_owned()][..]));
    let found = bits(&out);
    assert_eq!(found.len(), count);
    for n in (0..count).step_by(61).chain([0, 3, 4095, 4096, count - 1]) {
        let vector = rows[n].iter().map(|value| *value as f32).collect();
        assert_eq!(found[n], one(&platform, Instance::Vector(vector), None).await, "row {n}");
    }

    // The same by way of the endpoint, and one row of its own.
    let answerer = platform.load_endpoint_for_batch("default", "tiny", 1).await.unwrap();
    let input = dir.path().join("one.jsonl");
    let list: Vec<String> = rows[7].iter().map(f64::to_string).collect();
    std::fs::write(&input, format!("[{}]\n", list.join(","))).unwrap();
    let alone = dir.path().join("one.parquet");
    run_real(answerer, request(std::slice::from_ref(&input), &alone)).await;
    assert_eq!(bits(&alone), [found[7].clone()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_by_symbol_are_answered_as_predict_answers_them() {
    let dir = tempfile::tempdir().unwrap();
    let platform = trained(dir.path()).await;
    let input = dir.path().join("symbols.csv");
    let mut text = "symbol,as_of\n".to_owned();
    let days: Vec<jiff::civil::Date> =
        (0..40).map(|n| jiff::civil::date(2020, 7, 1).saturating_add(jiff::Span::new().days(n))).collect();
    for (n, day) in days.iter().enumerate() {
        text += &format!("S{},{day}\n", n % NAMES);
    }
    text += "S1,\nNOBODY,2020-08-01\nS2,1999-01-01\n";
    std::fs::write(&input, text).unwrap();
    let out = dir.path().join("out.parquet");
    let asked = BatchPredict { max_errors: 2, ..request(std::slice::from_ref(&input), &out) };
    let answerer = platform.load_for_batch("default", "tiny", None, 2).await.unwrap();
    assert_eq!(answerer.model().data.as_deref(), Some("made-up@1"));
    let report = run_real(answerer, asked).await;
    assert_eq!((report.rows, report.errors), (43, 2));
    let found = bits_or_null(&out);
    for (n, day) in days.iter().enumerate().step_by(7) {
        let symbol = Instance::Symbol(format!("S{}", n % NAMES));
        assert_eq!(found[n].as_ref(), Some(&one(&platform, symbol, Some(*day)).await), "{day}");
    }
    let newest = one(&platform, Instance::Symbol("S1".to_owned()), None).await;
    assert_eq!(found[40..], [Some(newest), None, None]);
    let errors = lines(&report.errors_file.unwrap());
    assert!(errors[0].contains("NOBODY") && errors[1].contains("before the data"), "{errors:?}");

    // What a job does: a bundle in a folder, beside whoever holds the directory.
    let options = Options {
        data_dir: dir.path().join("data"),
        artifact_root: None,
        artifact_cache_bytes: platform::ARTIFACT_CACHE_BYTES,
        allowed_roots: Vec::new(),
        holder: "test".to_owned(),
        clock: Arc::new(jiff::Timestamp::now),
    };
    let reading = Platform::open_read_only(options, None).await.unwrap();
    let bundle = dir.path().join("bundle");
    let answerer = reading.load_bundle_for_batch(&bundle, ("tiny".to_owned(), 1), 1).await.unwrap();
    let again = dir.path().join("again.parquet");
    let asked = BatchPredict { max_errors: 2, ..request(std::slice::from_ref(&input), &again) };
    run_real(answerer, asked).await;
    assert_eq!(bits_or_null(&again), found);
}

fn bits_or_null(path: &Path) -> Vec<Option<Vec<u32>>> {
    use arrow_array::Array as _;
    let builder = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
    let mut rows = Vec::new();
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        let list = batch.columns().last().unwrap().as_fixed_size_list();
        let row = |n| {
            let values = list.value(n);
            list.is_valid(n)
                .then(|| values.as_primitive::<Float32Type>().values().iter().map(|x| x.to_bits()).collect())
        };
        rows.extend((0..batch.num_rows()).map(row));
    }
    rows
}
