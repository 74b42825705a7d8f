//! What the test window says about a model, and whether that differs from chance.

use jiff::civil::Date;
use market::Panel;
use market::ic::{self, IcSummary};
use portfolio::SignalTable;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::prepare::WindowRows;

/// A mean daily rank IC with a smaller t-statistic than this is not told from chance.
const T_STATISTIC_MIN: f64 = 2.0;

/// The figures of the test window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestMetrics {
    /// Labelled rows of the window.
    pub rows: usize,
    /// How well classes were told, if the label is one of classes.
    #[serde(flatten)]
    pub classes: Option<ClassMetrics>,
    /// How near numbers came, if the label is a number.
    #[serde(flatten)]
    pub numbers: Option<NumberMetrics>,
    /// Daily Spearman correlation of score and realised return, summarised.
    pub rank_ic: IcSummary,
    /// The plain reading of these figures.
    pub verdict: String,
}

/// How well classes were told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// Share of rows whose most probable class is the true one.
    pub accuracy: f64,
    /// Accuracy of guessing one class: 1 / classes.
    pub chance_accuracy: f64,
    /// Mean of -ln(probability of the true class), in nats.
    pub log_loss: f64,
    /// Log-loss of equal probabilities: ln(classes).
    pub chance_log_loss: f64,
}

/// How near numbers came.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NumberMetrics {
    /// Mean squared difference.
    pub mse: f64,
    /// Mean difference without its sign.
    pub mae: f64,
    /// 1 - squared differences / squared differences from the mean.
    pub r2: f64,
}

/// Figures, and the series behind them.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The figures.
    pub metrics: TestMetrics,
    /// Rank IC of every date that has one.
    pub rank_ic_by_date: Vec<(Date, f64)>,
    /// Expected class of every date and instrument of the test window.
    pub signal: SignalTable,
    /// The return a decision of that date earned, in the signal's layout; NaN where unknown.
    pub returns: Vec<f64>,
}

/// The expected class, `sum of k * p[k]`: the score instruments are ranked by.
pub fn expected_class(probabilities: &[f32]) -> f64 {
    probabilities.iter().enumerate().map(|(class, p)| class as f64 * f64::from(*p)).sum()
}

/// What an answer ranks its instrument by, when only the answer is known: the expected class if its numbers are
/// probabilities of classes (they sum to 1), else the number in the middle.
pub fn score(answer: &[f32]) -> f64 {
    if is_distribution(answer) { expected_class(answer) } else { Reading::Numbers.score(answer) }
}

/// Whether numbers are probabilities of classes.
pub fn is_distribution(answer: &[f32]) -> bool {
    let sum: f64 = answer.iter().map(|p| f64::from(*p)).sum();
    answer.len() > 1 && (sum - 1.0).abs() < 1e-3 && answer.iter().all(|p| (0.0..=1.0).contains(p))
}

/// What the first output of a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Probabilities of classes; of the upper one alone if it has one unit.
    Classes(usize),
    /// Numbers, the first of which is what is wanted: the prediction, or of quantiles the middle one.
    Numbers,
}

impl Reading {
    pub(crate) fn new(classes: Option<usize>) -> Self {
        classes.map_or(Self::Numbers, Self::Classes)
    }

    /// What instruments are ranked by.
    pub(crate) fn score(self, row: &[f32]) -> f64 {
        match (self, row) {
            (Self::Classes(_), [upper]) => f64::from(*upper),
            (Self::Classes(_), _) => expected_class(row),
            (Self::Numbers, _) => row.get(row.len() / 2).map_or(f64::NAN, |x| f64::from(*x)),
        }
    }

    /// The scores of rows of `units` numbers.
    pub(crate) fn scores(self, outputs: &[f32], units: usize) -> Vec<f64> {
        outputs.chunks_exact(units.max(1)).map(|row| self.score(row)).collect()
    }
}

/// What a model gave for the test rows: `[rows, units]`, row-major.
pub(crate) struct Outputs<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) units: usize,
    pub(crate) reading: Reading,
}

/// Scores the test rows.
pub(crate) fn evaluate(
    panel: &Panel,
    test: &WindowRows,
    outputs: &Outputs<'_>,
    overlap: usize,
) -> Result<Evaluation> {
    let rows = test.keys.len();
    let scores = outputs.reading.scores(outputs.values, outputs.units);
    let (mut classes, mut numbers) = (None, None);
    match outputs.reading {
        Reading::Classes(count) => classes = Some(class_metrics(outputs, &test.classes, count)),
        Reading::Numbers => numbers = Some(number_metrics(&scores, &test.targets)),
    }
    let dates: Vec<usize> = test.keys.iter().map(|key| key.date).collect();
    let rank_ic_by_date = ic::rank_ic_by_date(&dates, &scores, &test.returns);
    let daily: Vec<f64> = rank_ic_by_date.iter().map(|(_, value)| *value).collect();
    let mut metrics = TestMetrics {
        rows,
        classes,
        numbers,
        rank_ic: ic::summarise(&daily, overlap),
        verdict: String::new(),
    };
    metrics.verdict = verdict(&metrics);
    let (signal, returns) = tables(panel, test, &scores)?;
    let rank_ic_by_date =
        rank_ic_by_date.into_iter().map(|(date, value)| (panel.dates()[date], value)).collect();
    Ok(Evaluation { metrics, rank_ic_by_date, signal, returns })
}

fn verdict(metrics: &TestMetrics) -> String {
    let ic = &metrics.rank_ic;
    let direction = if !ic.t_statistic.is_finite() {
        format!("too few dates ({}) to tell the ranking from chance", ic.days)
    } else if ic.t_statistic.abs() < T_STATISTIC_MIN {
        format!(
            "the ranking is indistinguishable from chance: mean daily rank IC {:+.4}, t-statistic {:+.2} over {} days (|t| < 2)",
            ic.mean, ic.t_statistic, ic.days
        )
    } else if ic.mean < 0.0 {
        format!(
            "the ranking is worse than chance: mean daily rank IC {:+.4}, t-statistic {:+.2} over {} days; do not trade it",
            ic.mean, ic.t_statistic, ic.days
        )
    } else {
        format!(
            "the ranking differs from chance before costs: mean daily rank IC {:+.4}, t-statistic {:+.2} over {} days",
            ic.mean, ic.t_statistic, ic.days
        )
    };
    let size = match (&metrics.classes, &metrics.numbers) {
        (Some(classes), _) => reading_of_classes(classes),
        (None, Some(numbers)) if numbers.r2 <= 0.0 => {
            format!("the numbers are no nearer than their mean: R2 {:+.4}", numbers.r2)
        }
        (None, Some(numbers)) => format!("the numbers are nearer than their mean: R2 {:+.4}", numbers.r2),
        (None, None) => return direction,
    };
    format!("{direction}; {size}")
}

fn reading_of_classes(classes: &ClassMetrics) -> String {
    let gain = classes.chance_log_loss - classes.log_loss;
    if gain <= 0.0 {
        format!(
            "the class probabilities are no better than equal ones: log-loss {:.4} against {:.4}",
            classes.log_loss, classes.chance_log_loss
        )
    } else {
        format!(
            "the class probabilities beat equal ones by {gain:.4} nats (log-loss {:.4} against {:.4}), which can be skill in dispersion rather than direction",
            classes.log_loss, classes.chance_log_loss
        )
    }
}

fn class_metrics(outputs: &Outputs<'_>, labels: &[u32], count: usize) -> ClassMetrics {
    let mut hits = 0usize;
    let mut loss = 0.0;
    for (row, label) in outputs.values.chunks_exact(outputs.units.max(1)).zip(labels) {
        let upper_alone = [1.0 - row[0], row[0]];
        let p = if outputs.units == 1 { &upper_alone[..] } else { row };
        let label = *label as usize;
        let best = (0..p.len()).fold(0, |best, class| if p[class] > p[best] { class } else { best });
        hits += usize::from(best == label);
        loss -= f64::from(p[label].max(f32::MIN_POSITIVE)).ln();
    }
    let rows = labels.len() as f64;
    ClassMetrics {
        accuracy: hits as f64 / rows,
        chance_accuracy: 1.0 / count as f64,
        log_loss: loss / rows,
        chance_log_loss: (count as f64).ln(),
    }
}

fn number_metrics(scores: &[f64], targets: &[f32]) -> NumberMetrics {
    let rows = targets.len() as f64;
    let mean = targets.iter().map(|x| f64::from(*x)).sum::<f64>() / rows;
    let (mut squares, mut sizes, mut about_mean) = (0.0, 0.0, 0.0);
    for (score, target) in scores.iter().zip(targets) {
        let target = f64::from(*target);
        squares += (score - target).powi(2);
        sizes += (score - target).abs();
        about_mean += (target - mean).powi(2);
    }
    NumberMetrics { mse: squares / rows, mae: sizes / rows, r2: 1.0 - squares / about_mean }
}

fn tables(panel: &Panel, test: &WindowRows, scores: &[f64]) -> Result<(SignalTable, Vec<f64>)> {
    let mut dates: Vec<usize> = test.keys.iter().map(|key| key.date).collect();
    dates.dedup();
    dates.sort_unstable();
    dates.dedup();
    let mut instruments: Vec<usize> = test.keys.iter().map(|key| key.instrument).collect();
    instruments.sort_unstable();
    instruments.dedup();
    let mut table = vec![f64::NAN; dates.len() * instruments.len()];
    let mut returns = table.clone();
    for ((key, score), earned) in test.keys.iter().zip(scores).zip(&test.returns) {
        let found = (dates.binary_search(&key.date), instruments.binary_search(&key.instrument));
        if let (Ok(date), Ok(instrument)) = found {
            table[date * instruments.len() + instrument] = *score;
            returns[date * instruments.len() + instrument] = *earned;
        }
    }
    let signal = SignalTable::new(
        dates.iter().map(|&date| panel.dates()[date]).collect(),
        instruments.iter().map(|&i| panel.instruments()[i].clone()).collect(),
        table,
    )?;
    Ok((signal, returns))
}
