//! What a report says: plain data, filled by the caller. Nothing here is computed or drawn.
//!
//! All texts are plain text; the page escapes them. All rates are fractions (0.01 is 1 %).

use jiff::civil::Date;

use crate::{GroupReturn, backtest::Backtest};

/// Everything on the page.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The heading: the model and its version.
    pub title: String,
    /// One line under the heading: what was done.
    pub subtitle: String,
    /// When the page was written, as text.
    pub created_at: String,
    /// The result in plain sentences, the most important first.
    pub verdict: Vec<String>,
    /// The data.
    pub data: DataSection,
    /// Features and label.
    pub features: FeatureSection,
    /// The windows and what was removed between them.
    pub splits: SplitSection,
    /// How the model was fitted.
    pub training: TrainingSection,
    /// The result on the test window.
    pub test: TestSection,
    /// The return of each score group on the test window (see [`crate::quantile_returns`]).
    pub groups: Vec<GroupReturn>,
    /// The long-short backtest on the test window.
    pub backtest: Option<BacktestSection>,
    /// The newest answers of the deployed model.
    pub predictions: Option<PredictionSection>,
    /// Caveats of this data or this run, besides the ones every report has.
    pub caveats: Vec<Caveat>,
    /// Digests, seed, versions: what it takes to get the same again.
    pub provenance: Vec<Fact>,
    /// What to type next.
    pub next: Vec<Command>,
}

/// A name and a value, shown as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Fact {
    /// A name and anything that can be written.
    pub fn new(name: impl Into<String>, value: impl std::fmt::Display) -> Fact {
        Fact { name: name.into(), value: format!("{value}") }
    }
}

/// The data set and its quality.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSection {
    /// Name and snapshot of the data set.
    pub dataset: String,
    /// Where it came from.
    pub source: String,
    /// The first date with data.
    pub first: Date,
    /// The last date with data.
    pub last: Date,
    /// The trading dates in between.
    pub dates: usize,
    /// The instruments that are ranked and traded, in tie-breaking order.
    pub universe: Vec<String>,
    /// How many of the universe still have a price on the last date.
    pub alive_at_end: usize,
    /// The smallest step between two prices, such as 0.001, if known.
    pub price_resolution: Option<f64>,
    /// The share of daily returns that are exactly 0, if counted.
    pub zero_returns: Option<f64>,
    /// How prices were adjusted for splits and dividends, if known: "back-adjusted by the source".
    pub adjustment: Option<String>,
    /// Further remarks on the data.
    pub notes: Vec<String>,
    /// The rows of the quality table.
    pub quality: Vec<QualityRow>,
}

/// One check of the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QualityRow {
    /// What was checked.
    pub check: String,
    /// What was found.
    pub value: String,
    /// What it means; may be empty.
    pub remark: String,
}

/// The features, the label and what is done to the features before the model sees them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FeatureSection {
    /// The features in model order.
    pub included: Vec<Expression>,
    /// The features of the set that could not be computed from this data.
    pub left_out: Vec<LeftOut>,
    /// The bars of history one feature vector needs.
    pub lookback_bars: usize,
    /// The label's expression.
    pub label: String,
    /// The classes the label is cut into per date; none if it is a number.
    pub classes: Option<usize>,
    /// The fitted processors in order, in words.
    pub processors: Vec<String>,
}

/// A named expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    /// The feature's name.
    pub name: String,
    /// How it is computed.
    pub expression: String,
}

/// A feature that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The feature's name.
    pub name: String,
    /// Why: normally the fields the data lacks.
    pub reason: String,
}

/// The windows of the data and the borders between them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SplitSection {
    /// The windows in order of time.
    pub windows: Vec<Window>,
    /// The borders between them.
    pub borders: Vec<Border>,
}

/// One window of the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Its name: train, valid or test.
    pub name: String,
    /// The first date used.
    pub first: Date,
    /// The last date used.
    pub last: Date,
    /// The dates used.
    pub dates: usize,
    /// The samples (dates x instruments with features and a label).
    pub rows: usize,
}

/// What was removed between two windows, so that no label reaches over the border.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Border {
    /// The two windows: "train | valid".
    pub name: String,
    /// Dates dropped from the earlier window because their label would look into the later one.
    pub purged: Vec<Date>,
    /// Dates dropped from the later window as a safety distance.
    pub embargoed: Vec<Date>,
}

/// How the model was fitted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrainingSection {
    /// Architecture, optimizer, batch size, seed, duration.
    pub settings: Vec<Fact>,
    /// The loss and accuracy of every epoch.
    pub history: Vec<Epoch>,
}

/// One pass over the training window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Mean loss on the training window.
    pub loss: f64,
    /// Accuracy on the training window, if the label is one of classes and it was counted.
    pub accuracy: Option<f64>,
    /// Mean loss on the validation window.
    pub valid_loss: Option<f64>,
    /// Accuracy on the validation window, likewise.
    pub valid_accuracy: Option<f64>,
}

/// The result on data the model has never seen.
#[derive(Debug, Clone, PartialEq)]
pub struct TestSection {
    /// The first test date.
    pub first: Date,
    /// The last test date.
    pub last: Date,
    /// The samples scored.
    pub rows: usize,
    /// How well classes were told, if the label is one of classes.
    pub classes: Option<ClassSkill>,
    /// How near numbers came, if the label is a number.
    pub numbers: Option<NumberSkill>,
    /// The daily rank ICs, summarised.
    pub rank_ic: RankIc,
    /// The Spearman correlation of score and return across the names of each decision date.
    pub daily_rank_ic: Vec<(Date, f64)>,
}

/// How well classes were told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassSkill {
    /// The share of samples whose class was the most probable one.
    pub accuracy: f64,
    /// What guessing gives.
    pub chance_accuracy: f64,
    /// Mean negative log-likelihood of the true class, in nats.
    pub log_loss: f64,
    /// What equal probabilities give: ln(classes).
    pub chance_log_loss: f64,
}

/// How near numbers came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NumberSkill {
    /// Mean squared difference.
    pub mse: f64,
    /// Mean difference without its sign.
    pub mae: f64,
    /// 1 - squared differences / squared differences from the mean.
    pub r2: f64,
}

/// The daily rank information coefficients, summarised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankIc {
    /// Mean over days.
    pub mean: f64,
    /// Sample standard deviation over days.
    pub std: f64,
    /// Mean over standard deviation.
    pub icir: f64,
    /// `icir x sqrt(days)`.
    pub t_statistic: f64,
    /// The days counted.
    pub days: usize,
    /// The days left out: too few names or no variation.
    pub skipped: usize,
}

/// The backtest and what to compare it with.
#[derive(Debug, Clone, PartialEq)]
pub struct BacktestSection {
    /// The finished backtest.
    pub backtest: Backtest,
    /// A long-only benchmark; its returns have one value per day of the backtest (see [`Backtest::align`]).
    pub benchmark: Option<Benchmark>,
}

/// A long-only benchmark.
#[derive(Debug, Clone, PartialEq)]
pub struct Benchmark {
    /// Its name, as in "S&P 500".
    pub name: String,
    /// Its return from the close of t+1 to the close of t+2 per day of the backtest; NaN where unknown.
    pub returns: Vec<f64>,
}

/// What the deployed model answered.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionSection {
    /// The newest bar the answer was computed from.
    pub as_of: Date,
    /// The model version that answered, and how.
    pub answered_by: String,
    /// One row per instrument.
    pub rows: Vec<PredictionRow>,
    /// The probability of one class by chance, 1 / classes; none if the score is a predicted number.
    pub chance: Option<f64>,
    /// Warnings that came with the answer.
    pub warnings: Vec<String>,
}

/// The answer for one instrument.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionRow {
    /// The instrument.
    pub symbol: String,
    /// The probability of the top class.
    pub top: f64,
    /// The probability of the bottom class.
    pub bottom: f64,
    /// The expected class, or the predicted number.
    pub score: f64,
    /// 1 is the highest score.
    pub rank: usize,
}

/// Something a reader must know before believing a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caveat {
    /// A few words.
    pub title: String,
    /// One or two sentences.
    pub text: String,
}

/// Something to paste into a terminal or an editor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What it does.
    pub title: String,
    /// "sh" or "python".
    pub language: String,
    /// The text to paste.
    pub code: String,
}
