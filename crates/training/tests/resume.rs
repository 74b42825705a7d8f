//! A fit that is interrupted anywhere and resumed ends with the bits of one that never was.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::json;
use training::{
    BatchProgress, Columns, Control, Directory, EpochReport, Error, Fit, FitConfig, ModelConfig, Observer,
    OutputConfig, Samples, Trained, fit,
};

const COLUMNS: usize = 6;
const ROWS: usize = 90;
/// Batches of an epoch.
const STEPS: u64 = 5;

/// Everything that has a state: moving averages, left out units, noise, moments, a schedule, a plateau, the best weights, and
/// metrics that need all rows of an epoch.
const MODEL: &str = r#"
[[layers]]
type = "dense"
units = 8
activation = "relu"
kernel_regularizer = { l2 = 0.001 }
[[layers]]
type = "batch_normalization"
[[layers]]
type = "dropout"
rate = 0.3
[[layers]]
type = "gaussian_noise"
stddev = 0.05
[[layers]]
type = "dense"
units = 3
activation = "softmax"
"#;

const FIT: &str = r#"
epochs = 4
batch_size = 20
optimizer = { name = "adamw", learning_rate = 0.05 }
schedule = { name = "cosine", warmup_steps = 3 }
metrics = ["accuracy", "auc", "log_loss"]
seed = 5
class_weight = "balanced"
early_stopping = { monitor = "val_loss", patience = 2, restore_best_weights = true }
reduce_lr_on_plateau = { monitor = "val_loss", patience = 1, factor = 0.5 }
checkpoint = { every_steps = 2, every_epochs = 1, keep = 2 }
"#;

struct Data {
    features: Vec<f32>,
    classes: Vec<u32>,
}

fn data(shift: usize) -> Data {
    let value = |at: usize| ((at * 7919 + shift * 104_729) % 1009) as f32 / 504.5 - 1.0;
    let features: Vec<f32> = (0..ROWS * COLUMNS).map(value).collect();
    let class = |row: &[f32]| u32::from(row[0] > 0.2) + u32::from(row[1] + row[2] > 0.1);
    let classes = features.chunks_exact(COLUMNS).map(class).collect();
    Data { features, classes }
}

/// Stops after so many updates; remembers what was said.
#[derive(Default)]
struct Stop {
    after: Option<u64>,
    seen: u64,
    notes: Vec<String>,
    resumed_at: Option<u64>,
}

impl Observer for Stop {
    fn on_train_begin(&mut self, begin: &training::TrainBegin) {
        self.resumed_at = begin.resumed_at;
    }
    fn on_batch_end(&mut self, progress: &BatchProgress<'_>) -> Control {
        self.seen = progress.global_step;
        if self.after == Some(self.seen) { Control::Stop } else { Control::Continue }
    }
    fn on_note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }
}

fn run(out: Option<&Path>, resume: bool, fit_text: &str, observer: &mut Stop) -> Result<Trained, Error> {
    let (train, valid) = (data(1), data(2));
    let model: ModelConfig = toml::from_str(MODEL).unwrap();
    let config: FitConfig = toml::from_str(fit_text).unwrap();
    let identity = json!({ "digest": "a" });
    let job = Fit {
        model: &model,
        output: OutputConfig { units: 3, activation: training::Activation::Softmax },
        config: &config,
        columns: &Columns::numbered(COLUMNS),
        train: Samples::classes(&train.features, COLUMNS, &train.classes),
        valid: Some(Samples::classes(&valid.features, COLUMNS, &valid.classes)),
        start: None,
        device: training::device_of_tests(),
        directory: out.map(|path| Directory { path, resume, identity: &identity, clock: || 0.0 }),
    };
    fit(&job, observer)
}

fn bits(trained: &Trained) -> Vec<u32> {
    trained.weights().iter().flat_map(|weight| &weight.values).map(|x| x.to_bits()).collect()
}

/// All but what a clock decides.
fn figures(history: &[EpochReport]) -> Vec<EpochReport> {
    let of = |epoch: &EpochReport| EpochReport { rows_per_second: 0.0, seconds: 0.0, ..epoch.clone() };
    history.iter().map(of).collect()
}

#[test]
fn a_fit_interrupted_after_any_update_goes_on_to_the_same_bits() {
    let whole = run(None, false, FIT, &mut Stop::default()).unwrap();
    for after in 1..4 * STEPS {
        let out = tempfile::tempdir().unwrap();
        let mut stop = Stop { after: Some(after), ..Stop::default() };
        let error = run(Some(out.path()), false, FIT, &mut stop).unwrap_err();
        assert!(matches!(error, Error::Interrupted { saved: Some(step), .. } if step == after), "{error:?}");
        let mut rest = Stop::default();
        let resumed = run(Some(out.path()), true, FIT, &mut rest).unwrap();
        assert_eq!(rest.resumed_at, Some(after));
        assert_eq!(rest.notes[0], format!("resumed at step {after}"));
        assert_eq!(bits(&resumed), bits(&whole), "interrupted after {after}");
        assert_eq!(figures(resumed.history()), figures(whole.history()), "interrupted after {after}");
        assert_eq!(resumed.best_epoch(), whole.best_epoch());
    }
}

/// A kill leaves the last checkpoint that was due, at most two updates old.
#[test]
fn a_torn_checkpoint_is_passed_over() {
    let whole = run(None, false, FIT, &mut Stop::default()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut stop = Stop { after: Some(13), ..Stop::default() };
    run(Some(out.path()), false, FIT, &mut stop).unwrap_err();
    let folder = out.path().join("checkpoints");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 2, "{files:?}");
    let bytes = std::fs::read(&files[1]).unwrap();
    std::fs::write(&files[1], &bytes[..bytes.len() / 2]).unwrap();
    let mut rest = Stop::default();
    let resumed = run(Some(out.path()), true, FIT, &mut rest).unwrap();
    assert!(rest.notes[0].starts_with("skipped the damaged checkpoint"), "{:?}", rest.notes);
    assert_eq!(rest.resumed_at, Some(12));
    assert_eq!(bits(&resumed), bits(&whole));
}

#[test]
fn without_a_checkpoint_it_starts_afresh_and_says_so() {
    let out = tempfile::tempdir().unwrap();
    let mut stop = Stop::default();
    let trained = run(Some(out.path()), true, FIT, &mut stop).unwrap();
    assert_eq!(
        (stop.resumed_at, stop.notes[0].as_str()),
        (None, "there is no checkpoint yet: starting from step 0")
    );
    let whole = run(None, false, FIT, &mut Stop::default()).unwrap();
    assert_eq!(bits(&trained), bits(&whole));
    // A finished fit that is resumed has nothing left to do.
    let mut again = Stop::default();
    let finished = run(Some(out.path()), true, FIT, &mut again).unwrap();
    assert_eq!((again.seen, bits(&finished)), (0, bits(&whole)));
}

#[test]
fn an_unfinished_fit_is_not_thrown_away_and_callbacks_watch_what_is_measured() {
    let out = tempfile::tempdir().unwrap();
    let mut stop = Stop { after: Some(7), ..Stop::default() };
    run(Some(out.path()), false, FIT, &mut stop).unwrap_err();
    let mut afresh = Stop::default();
    run(Some(out.path()), false, FIT, &mut afresh).unwrap();
    assert!(afresh.notes[0].starts_with("starting afresh; the checkpoints of the fit that was not finished"));
    assert!(out.path().join("checkpoints.old/step-000000000007.safetensors").is_file());
    // Finished, it may be fitted again, and there is nothing to keep.
    let mut again = Stop::default();
    run(Some(out.path()), false, FIT, &mut again).unwrap();
    assert!(again.notes.iter().all(|note| !note.starts_with("starting afresh")), "{:?}", again.notes);
    let unknown = FIT.replacen("monitor = \"val_loss\"", "monitor = \"val_brier\"", 1);
    let error = run(None, false, &unknown, &mut Stop::default()).unwrap_err().to_string();
    assert!(
        error.starts_with("fit.early_stopping.monitor is \"val_brier\"; this fit measures loss, accuracy"),
        "{error}"
    );
}

#[test]
fn a_changed_configuration_is_refused_with_what_changed() {
    let out = tempfile::tempdir().unwrap();
    let mut stop = Stop { after: Some(3), ..Stop::default() };
    run(Some(out.path()), false, FIT, &mut stop).unwrap_err();
    let changed = FIT.replace("batch_size = 20", "batch_size = 10");
    let error = run(Some(out.path()), true, &changed, &mut Stop::default()).unwrap_err().to_string();
    assert!(error.contains("fit.batch_size: 20 -> 10"), "{error}");
    // What is only written beside the weights may change.
    let logged = format!("{FIT}csv_log = {{}}\n");
    run(Some(out.path()), true, &logged, &mut Stop::default()).unwrap();
    assert!(out.path().join("training.csv").is_file());
}
