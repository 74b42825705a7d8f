//! Fits on planted signals: what is learned, what is reported, what a seed decides, and what is refused.

#![allow(clippy::unwrap_used)]

use training::{
    Activation, AdamConfig, BatchProgress, Columns, Control, DenseConfig, DropoutConfig, EpochReport, Error,
    Fit, FitConfig, FlattenConfig, GaussianDropoutConfig, GaussianNoiseConfig, GruConfig, LayerKind,
    LstmConfig, Metric, MetricsConfig, ModelConfig, Observer, OptimizerConfig, OutputConfig, ReshapeConfig,
    Samples, Silent, SpatialDropout1dConfig, Trained,
};

const COLUMNS: usize = 8;
const CLASSES: usize = 3;

/// Rows of uniform noise whose class is the largest of three fixed linear scores.
struct Data {
    features: Vec<f32>,
    labels: Vec<u32>,
}

/// A small generator of our own (splitmix64): the tests share no random number with the code they test.
struct Noise(u64);

impl Noise {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn symmetric(&mut self) -> f32 {
        (self.word() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
}

impl Data {
    fn linear(rows: usize, seed: u64) -> Self {
        let mut noise = Noise(seed);
        let features: Vec<f32> = (0..rows * COLUMNS).map(|_| noise.symmetric()).collect();
        let score = |row: &[f32], class: usize| {
            row.iter().enumerate().map(|(i, x)| x * ((i * 3 + class * 5) as f32).sin()).sum::<f32>()
        };
        let class = |row: &[f32]| {
            let scores: Vec<f32> = (0..CLASSES).map(|class| score(row, class)).collect();
            (0..CLASSES).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap() as u32
        };
        let labels = features.chunks_exact(COLUMNS).map(class).collect();
        Self { features, labels }
    }

    /// The same rows, each with the class of another.
    fn with_shuffled_labels(mut self, seed: u64) -> Self {
        let mut noise = Noise(seed);
        for last in (1..self.labels.len()).rev() {
            self.labels.swap(last, (noise.word() % (last as u64 + 1)) as usize);
        }
        self
    }

    fn samples(&self) -> Samples<'_> {
        Samples::classes(&self.features, COLUMNS, &self.labels)
    }
}

fn dense(units: usize, activation: Activation) -> LayerKind {
    LayerKind::Dense(DenseConfig::new(units, activation))
}

fn model() -> ModelConfig {
    ModelConfig::sequential(vec![dense(16, Activation::Relu), dense(CLASSES, Activation::Softmax)])
}

fn fit(
    model: &ModelConfig,
    config: &FitConfig,
    train: Samples<'_>,
    valid: Option<Samples<'_>>,
    observer: &mut dyn Observer,
) -> Result<Trained, Error> {
    let output = OutputConfig { units: CLASSES, activation: Activation::Softmax };
    let columns = Columns::numbered(COLUMNS);
    let job = Fit {
        model,
        output,
        config,
        columns: &columns,
        train,
        valid,
        start: None,
        device: training::device_of_tests(),
        directory: None,
    };
    training::fit(&job, observer)
}

fn config(seed: u64) -> FitConfig {
    FitConfig {
        epochs: 5,
        batch_size: 50,
        seed,
        optimizer: adam(0.01),
        metrics: MetricsConfig::All(vec![Metric::Accuracy]),
        ..FitConfig::default()
    }
}

fn adam(learning_rate: f64) -> OptimizerConfig {
    OptimizerConfig::Adam(AdamConfig { learning_rate, ..AdamConfig::default() })
}

fn fit_quietly(config: &FitConfig, data: &Data) -> Result<Trained, Error> {
    fit(&model(), config, data.samples(), None, &mut Silent)
}

fn weight_bits(trained: &Trained) -> Vec<u32> {
    trained.weights().iter().flat_map(|weight| &weight.values).map(|x| x.to_bits()).collect()
}

fn accuracy(trained: &Trained, data: &Data) -> f64 {
    let probabilities = trained.predict(&data.features).remove(0);
    let rows = probabilities.chunks_exact(CLASSES).zip(&data.labels);
    let hit = |(row, label): &(&[f32], &u32)| row.iter().all(|p| *p <= row[**label as usize]);
    rows.filter(hit).count() as f64 / data.labels.len() as f64
}

#[test]
fn a_planted_signal_is_learned_and_shuffled_labels_are_not() {
    let (train, test) = (Data::linear(4000, 1), Data::linear(2000, 2));
    let trained = fit(&model(), &config(7), train.samples(), Some(test.samples()), &mut Silent).unwrap();
    let last = trained.history().last().unwrap();
    assert!(last.metrics["accuracy"] > 0.93 && last.metrics["val_accuracy"] > 0.93, "{last:?}");
    assert!(last.val_loss.unwrap() < trained.history()[0].val_loss.unwrap(), "{:?}", trained.history());
    assert!((accuracy(&trained, &test) - last.metrics["val_accuracy"]).abs() < 1e-12);

    let (train, test) = (train.with_shuffled_labels(3), test.with_shuffled_labels(4));
    let most = (0..CLASSES as u32).map(|c| test.labels.iter().filter(|l| **l == c).count()).max().unwrap();
    let chance = most as f64 / 2000.0;
    let trained = fit(&model(), &config(7), train.samples(), Some(test.samples()), &mut Silent).unwrap();
    // Four standard errors of a share of 2000 rows.
    assert!(
        trained.history()[4].metrics["val_accuracy"] < chance + 0.045,
        "{:?} of {chance}",
        trained.history()
    );
}

#[test]
fn reported_losses_are_those_of_the_weights() {
    let (train, valid) = (Data::linear(330, 1), Data::linear(5000, 2));
    let config = FitConfig { epochs: 1, ..config(7) };
    let trained = fit(&model(), &config, train.samples(), Some(valid.samples()), &mut Silent).unwrap();
    let probabilities = trained.predict(&valid.features).remove(0);
    let rows = probabilities.chunks_exact(CLASSES).zip(&valid.labels);
    let sum: f64 = rows.map(|(row, &label)| -f64::from(row[label as usize]).ln()).sum();
    let reported = trained.history()[0].val_loss.unwrap();
    assert!((sum / 5000.0 - reported).abs() < 1e-6, "{reported} is not {}", sum / 5000.0);
    assert!(probabilities.chunks_exact(CLASSES).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-6));
}

#[test]
fn a_seed_decides_every_byte() {
    let data = Data::linear(500, 1);
    let first = fit_quietly(&config(7), &data).unwrap();
    let again = fit_quietly(&config(7), &data).unwrap();
    let other = fit_quietly(&config(8), &data).unwrap();
    assert_eq!(weight_bits(&first), weight_bits(&again));
    assert_ne!(weight_bits(&first), weight_bits(&other));
    let losses = |trained: &Trained| trained.history().iter().map(|e| e.loss.to_bits()).collect::<Vec<_>>();
    assert_eq!(losses(&first), losses(&again));
    assert_ne!(losses(&first), losses(&other));
}

/// Large enough that the tensor library computes in parallel.
#[test]
fn the_number_of_threads_decides_no_byte() {
    let dense_layers =
        vec![dense(256, Activation::Relu), dense(256, Activation::Tanh), dense(CLASSES, Activation::Softmax)];
    threads_decide_no_byte(&dense_layers);
}

/// Batches of more rows than recurrent layers take at once.
#[test]
fn nor_do_they_in_recurrent_layers() {
    let lstm = LstmConfig { return_sequences: true, ..LstmConfig::new(20) };
    let layers = vec![
        LayerKind::Reshape(ReshapeConfig { target_shape: vec![COLUMNS / 2, 2] }),
        LayerKind::Lstm(lstm),
        LayerKind::Gru(GruConfig::new(20)),
        dense(CLASSES, Activation::Softmax),
    ];
    threads_decide_no_byte(&layers);
}

/// What is drawn at random in every update is drawn in one order.
#[test]
fn nor_do_they_in_layers_that_draw_at_random() {
    let layers = vec![
        LayerKind::GaussianNoise(GaussianNoiseConfig { stddev: 0.1 }),
        LayerKind::Reshape(ReshapeConfig { target_shape: vec![COLUMNS / 2, 2] }),
        LayerKind::SpatialDropout1d(SpatialDropout1dConfig { rate: 0.25 }),
        LayerKind::Flatten(FlattenConfig {}),
        dense(256, Activation::Relu),
        LayerKind::GaussianDropout(GaussianDropoutConfig { rate: 0.25 }),
        LayerKind::Dropout(DropoutConfig { rate: 0.25 }),
        dense(CLASSES, Activation::Softmax),
    ];
    threads_decide_no_byte(&layers);
}

fn threads_decide_no_byte(layers: &[LayerKind]) {
    let data = Data::linear(9000, 1);
    let config = FitConfig { epochs: 2, batch_size: 3000, ..config(7) };
    let with_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let model = ModelConfig::sequential(layers.to_vec());
        pool.install(|| fit(&model, &config, data.samples(), Some(data.samples()), &mut Silent)).unwrap()
    };
    let one = with_threads(1);
    for threads in [2, 3] {
        let more = with_threads(threads);
        assert_eq!(weight_bits(&one), weight_bits(&more), "{threads} threads");
        assert_eq!(one.history()[1].val_loss, more.history()[1].val_loss);
    }
}

/// A batch as it was told.
#[derive(Debug, Clone, Copy)]
struct Batch {
    epoch: usize,
    epochs: usize,
    step: usize,
    steps: usize,
    loss: f64,
    accuracy: f64,
}

/// Notes every call; stops after so many batches or epochs.
#[derive(Default)]
struct Diary {
    begun: Vec<(usize, usize)>,
    batches: Vec<Batch>,
    epochs: Vec<EpochReport>,
    batches_max: Option<usize>,
    epochs_max: Option<usize>,
}

fn control(done: usize, most: Option<usize>) -> Control {
    if Some(done) == most { Control::Stop } else { Control::Continue }
}

impl Observer for Diary {
    fn on_epoch_begin(&mut self, epoch: usize, epochs: usize) {
        self.begun.push((epoch, epochs));
    }
    fn on_batch_end(&mut self, progress: &BatchProgress<'_>) -> Control {
        let BatchProgress { epoch, epochs, step, steps, loss, .. } = *progress;
        let accuracy = progress.metrics["accuracy"];
        self.batches.push(Batch { epoch, epochs, step, steps, loss, accuracy });
        control(self.batches.len(), self.batches_max)
    }
    fn on_epoch_end(&mut self, report: &EpochReport) -> Control {
        self.epochs.push(report.clone());
        control(self.epochs.len(), self.epochs_max)
    }
}

#[test]
fn an_observer_sees_every_batch_and_epoch() {
    let data = Data::linear(120, 1);
    let mut diary = Diary::default();
    let trained = fit(&model(), &config(7), data.samples(), Some(data.samples()), &mut diary).unwrap();
    assert_eq!(diary.begun, [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]);
    let steps: Vec<[usize; 2]> = diary.batches.iter().map(|b| [b.epoch, b.step]).collect();
    assert_eq!(steps[..4], [[1, 1], [1, 2], [1, 3], [2, 1]]);
    assert!(steps.len() == 15 && diary.batches.iter().all(|b| (b.steps, b.epochs) == (3, 5)));
    assert_eq!(diary.epochs, trained.history());
    for (report, last) in diary.epochs.iter().zip(diary.batches.chunks(3).map(|epoch| epoch[2])) {
        let accuracy = report.metrics["accuracy"];
        assert_eq!((report.loss, accuracy), (last.loss, last.accuracy));
        // 120 rows: the mean over rows counts the last batch of 20 as 20.
        assert!((accuracy * 120.0 - (accuracy * 120.0).round()).abs() < 1e-9);
    }
}

#[test]
fn an_observer_ends_a_fit_after_a_batch_or_an_epoch() {
    let data = Data::linear(120, 1);
    let mut diary = Diary { batches_max: Some(4), ..Diary::default() };
    let error = fit(&model(), &config(7), data.samples(), None, &mut diary).unwrap_err();
    assert!(matches!(error, Error::Interrupted { epoch: 2, epochs: 5, saved: None }), "{error:?}");
    assert_eq!(error.to_string(), "interrupted in epoch 2 of 5; nothing was kept");
    assert_eq!((diary.batches.len(), diary.epochs.len()), (4, 1));
    let mut diary = Diary { epochs_max: Some(3), ..Diary::default() };
    let error = fit(&model(), &config(7), data.samples(), None, &mut diary).unwrap_err();
    assert!(matches!(error, Error::Interrupted { epoch: 3, epochs: 5, saved: None }), "{error:?}");
}

#[test]
fn samples_that_cannot_be_learned_from_are_named() {
    let message = |data: &Data| fit_quietly(&config(7), data).unwrap_err().to_string();
    let mut data = Data::linear(20, 1);
    data.features[3 * COLUMNS + 5] = f32::NAN;
    let of_row_3 = "feature \"f5\" of row 3 of the training set (counted from 0) is NaN; fill or drop missing values \
                    before the fit";
    assert_eq!(message(&data), of_row_3);
    data.features[5] = f32::INFINITY;
    assert!(
        message(&data).starts_with("feature \"f5\" of row 0 of the training set (counted from 0) is inf")
    );
    let mut data = Data::linear(20, 1);
    data.labels[4] = 3;
    assert_eq!(
        message(&data),
        "row 4 of the training set (counted from 0) has label 3, the last layer tells classes 0 to 2; give it \
         more units or the label fewer classes"
    );
    data.labels.pop();
    assert_eq!(
        message(&data),
        "the training set has 160 values where 19 labels and 8 columns ask for one per cell"
    );
    let empty = Data { features: vec![], labels: vec![] };
    assert!(message(&empty).starts_with("the training set is empty (0 rows of 8 features)"));

    let (train, bad) = (Data::linear(20, 1), Data { features: vec![f32::NAN; 8], labels: vec![0] });
    let with =
        |valid| fit(&model(), &config(7), train.samples(), Some(valid), &mut Silent).unwrap_err().to_string();
    assert!(
        with(bad.samples())
            .starts_with("feature \"f0\" of row 0 of the validation set (counted from 0) is NaN")
    );
    assert_eq!(
        with(Samples { columns: 4, classes: Some(&[0, 0]), features: &[0.0; 8], ..bad.samples() }),
        "the validation set has 4 features a row, the network takes 8; compute all sets alike"
    );
}

#[test]
fn a_fit_that_runs_away_says_so() {
    let data = Data::linear(200, 1);
    let config = FitConfig { optimizer: adam(1e6), ..config(7) };
    let error = fit_quietly(&config, &data).unwrap_err();
    assert!(matches!(error, Error::Diverged { epoch: 1, step: 2, set: "training", .. }), "{error}");
    assert!(error.to_string().ends_with(
        "lower optimizer.learning_rate (it is 1000000), set optimizer.clipnorm or scale the features"
    ));
    // With one batch in all, only the validation rows can show it.
    let config = FitConfig { epochs: 1, batch_size: 200, ..config };
    let error = fit(&model(), &config, data.samples(), Some(data.samples()), &mut Silent).unwrap_err();
    assert!(matches!(error, Error::Diverged { set: "validation", .. }), "{error}");
    // Features so large that squared gradients would overflow.
    let mut huge = Data::linear(200, 1);
    huge.features.iter_mut().for_each(|x| *x *= 1e38);
    let error = fit_quietly(&config_of_one_epoch(), &huge).unwrap_err();
    assert!(matches!(error, Error::Diverged { epoch: 1, step: 1, .. }), "{error}");
}

fn config_of_one_epoch() -> FitConfig {
    FitConfig { epochs: 1, ..config(7) }
}

#[test]
fn a_configuration_that_cannot_be_is_refused_before_anything_runs() {
    let data = Data::linear(20, 1);
    let mut diary = Diary::default();
    let config = FitConfig { batch_size: 0, ..config(7) };
    let error = fit(&model(), &config, data.samples(), None, &mut diary).unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error}");
    assert!(diary.begun.is_empty());
}

#[test]
#[should_panic(expected = "9 values are no whole number of rows of 8")]
fn a_part_of_a_row_is_not_predicted() {
    let trained = fit_quietly(&config_of_one_epoch(), &Data::linear(20, 1)).unwrap();
    trained.predict(&[0.0; 9]);
}

/// Notes alone.
#[derive(Default)]
struct Notes(Vec<String>);

impl Observer for Notes {
    fn on_note(&mut self, note: &str) {
        self.0.push(note.to_owned());
    }
}

#[test]
fn what_was_hardly_meant_is_said_and_learned_from_all_the_same() {
    let mut data = Data::linear(40, 1);
    data.features.chunks_mut(COLUMNS).for_each(|row| (row[2], row[7]) = (0.5, -1.0));
    data.labels.iter_mut().for_each(|label| *label = (*label).min(1));
    let mut notes = Notes::default();
    fit(&model(), &config_of_one_epoch(), data.samples(), None, &mut notes).unwrap();
    let expected = [
        "2 features never change in the training set: f2, f7",
        "no training row is of class 2: it cannot be learned",
    ];
    assert_eq!(notes.0, expected);
    let row =
        Samples { features: &data.features[..COLUMNS], classes: Some(&data.labels[..1]), ..data.samples() };
    let mut notes = Notes::default();
    fit(&model(), &config_of_one_epoch(), row, None, &mut notes).unwrap();
    assert!(notes.0[0].starts_with("the training set is a single row"), "{:?}", notes.0);
}

/// Two outputs that share a layer, two inputs that are put together: what Keras calls a functional network.
#[test]
fn networks_of_several_inputs_and_outputs_learn_all_of_them() {
    let text = r#"
outputs = ["way", "size"]
[[inputs]]
name = "left"
features = ["f0", "f1", "f2"]
[[inputs]]
name = "right"
features = ["f3", "f4", "f5", "f6", "f7"]
[[layers]]
type = "dense"
name = "a"
inputs = ["left"]
units = 8
activation = "tanh"
[[layers]]
type = "dense"
name = "b"
inputs = ["right"]
units = 8
activation = "tanh"
[[layers]]
type = "concatenate"
name = "both"
inputs = ["a", "b"]
[[layers]]
type = "dense"
name = "way"
units = 3
activation = "softmax"
[[layers]]
type = "dense"
name = "size"
inputs = ["both"]
units = 1
"#;
    let model: ModelConfig = toml::from_str(text).unwrap();
    let data = Data::linear(2000, 1);
    let sizes: Vec<f32> = data.features.chunks(COLUMNS).map(|row| row[0] - 0.5 * row[6]).collect();
    let samples = Samples { values: Some((&sizes, 1)), ..data.samples() };
    let fit_text = "epochs = 12\nbatch_size = 50\noptimizer = { name = \"adam\", learning_rate = 0.01 }\n\
                    loss = { way = \"sparse_categorical_crossentropy\", size = \"mse\" }\n\
                    loss_weights = { size = 0.5 }\nmetrics = { way = [\"accuracy\"], size = [\"r2_score\"] }";
    let config: FitConfig = toml::from_str(fit_text).unwrap();
    let trained = fit(&model, &config, samples, Some(samples), &mut Silent).unwrap();
    let last = trained.history().last().unwrap();
    assert!(last.metrics["val_way_accuracy"] > 0.9 && last.metrics["val_size_r2_score"] > 0.9, "{last:?}");
    assert_eq!(trained.outputs(), [("way", 3), ("size", 1)]);
    let outputs = trained.predict(&data.features);
    assert_eq!((outputs[0].len(), outputs[1].len()), (6000, 2000));
    // The loss is that of both, the second by half.
    let log_loss: f64 = outputs[0]
        .chunks(3)
        .zip(&data.labels)
        .map(|(row, label)| -f64::from(row[*label as usize]).ln())
        .sum::<f64>()
        / 2000.0;
    let mse: f64 =
        outputs[1].iter().zip(&sizes).map(|(got, size)| f64::from(got - size).powi(2)).sum::<f64>() / 2000.0;
    let reported = last.val_loss.unwrap();
    assert!((reported - log_loss - 0.5 * mse).abs() < 1e-5, "{reported} is not {log_loss} + half of {mse}");
    let dead = text.replace("inputs = [\"a\", \"b\"]", "inputs = [\"a\", \"a\"]");
    let dead: ModelConfig = toml::from_str(&dead).unwrap();
    let error = fit(&dead, &config, samples, None, &mut Silent).unwrap_err().to_string();
    assert!(error.starts_with("layer \"b\": no layer and no output uses its result"), "{error}");
}
