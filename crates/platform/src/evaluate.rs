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
    /// Share of rows whose most probable class is the true one.
    pub accuracy: f64,
    /// Accuracy of guessing one class: 1 / classes.
    pub chance_accuracy: f64,
    /// Mean of -ln(probability of the true class), in nats.
    pub log_loss: f64,
    /// Log-loss of equal probabilities: ln(classes).
    pub chance_log_loss: f64,
    /// Daily Spearman correlation of score and realised return, summarised.
    pub rank_ic: IcSummary,
    /// The plain reading of these figures.
    pub verdict: String,
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

/// Scores the test rows; `probabilities` is row-major, `classes` wide.
pub(crate) fn evaluate(
    panel: &Panel,
    test: &WindowRows,
    probabilities: &[f32],
    classes: usize,
    overlap: usize,
) -> Result<Evaluation> {
    let rows = test.keys.len();
    let mut hits = 0usize;
    let mut loss = 0.0;
    let mut scores = Vec::with_capacity(rows);
    for (p, label) in probabilities.chunks_exact(classes).zip(&test.labels) {
        let label = *label as usize;
        let best = (0..classes).fold(0, |best, class| if p[class] > p[best] { class } else { best });
        hits += usize::from(best == label);
        loss -= f64::from(p[label].max(f32::MIN_POSITIVE)).ln();
        scores.push(expected_class(p));
    }
    let dates: Vec<usize> = test.keys.iter().map(|key| key.date).collect();
    let rank_ic_by_date = ic::rank_ic_by_date(&dates, &scores, &test.returns);
    let daily: Vec<f64> = rank_ic_by_date.iter().map(|(_, value)| *value).collect();
    let mut metrics = TestMetrics {
        rows,
        accuracy: hits as f64 / rows as f64,
        chance_accuracy: 1.0 / classes as f64,
        log_loss: loss / rows as f64,
        chance_log_loss: (classes as f64).ln(),
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
    let gain = metrics.chance_log_loss - metrics.log_loss;
    let classes = if gain <= 0.0 {
        format!(
            "the class probabilities are no better than equal ones: log-loss {:.4} against {:.4}",
            metrics.log_loss, metrics.chance_log_loss
        )
    } else {
        format!(
            "the class probabilities beat equal ones by {gain:.4} nats (log-loss {:.4} against {:.4}), which can be skill in dispersion rather than direction",
            metrics.log_loss, metrics.chance_log_loss
        )
    };
    format!("{direction}; {classes}")
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
