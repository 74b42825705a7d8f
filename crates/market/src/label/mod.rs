//! What a model learns to tell: a later return, as it is, scaled, or as a class.

mod barrier;
mod classes;
mod config;
mod normalization;

use crate::feature::{cells, check_fields};
use crate::{Error, Expression, Panel, Result, Universe};

pub use config::{LabelConfig, LabelKind, LabelNormalization};

/// Labels in the layout of a panel's fields: time-major, `time * instruments + instrument`.
#[derive(Debug, Clone)]
pub struct Labels {
    /// The return behind each label; NaN outside the universe and where it is not known.
    pub returns: Vec<f64>,
    /// What a regression learns: the return, divided by its volatility and normalised among those of its date if the
    /// label says so.
    pub targets: Vec<f64>,
    /// The class of each label; `None` everywhere if there are no classes.
    pub classes: Vec<Option<u32>>,
    /// For each time the index of the last time that any of its labels reads.
    pub ends: Vec<usize>,
    /// How many bars after its own a label reads at most.
    pub horizon_bars: usize,
}

/// Computes the label of every bar of the universe.
///
/// - A *return* is what the expression says; with `volatility_bars` its target is divided by the standard deviation of
///   that many one-bar returns up to the bar itself.
/// - *Quantiles*: on each date the n instruments of the universe with a known target are ranked, **ties sharing their
///   average rank**, and class = ceil(classes * rank / n) - 1. Equal targets thus always get equal classes, and
///   where ties are many classes are of unequal size. A date with fewer than 2 known targets has no class.
/// - *Threshold*: 0 below -threshold, 2 above threshold, 1 between.
/// - *Triple barrier* (Lopez de Prado, Advances in Financial Machine Learning, chapter 3): see
///   [`LabelKind::TripleBarrier`].
///
/// # Errors
/// [`Error::Label`] for a number that cannot be, an expression that reads no later bar or a field the panel
/// lacks, or a universe that is not the panel's; [`Error::Expression`] for one that does not parse.
pub fn label(panel: &Panel, universe: &Universe, config: &LabelConfig) -> Result<Labels> {
    config.check()?;
    let width = panel.instruments().len();
    universe.check(panel.times().len(), width).map_err(|error| Error::Label(error.to_string()))?;
    let later = match config.kind {
        LabelKind::TripleBarrier => barrier::returns(panel, config)?,
        _ => by_expression(panel, universe, config)?,
    };
    let Later { mut returns, end_of, touched, horizon_bars } = later;
    let mut ends: Vec<usize> = (0..panel.times().len()).collect();
    for (cell, value) in returns.iter_mut().enumerate() {
        let time = cell / width.max(1);
        if !universe.contains(time, cell % width, width) || !panel.has_bar(time, cell % width) {
            *value = f64::NAN;
        }
        if !value.is_nan() {
            ends[time] = ends[time].max(end_of(cell));
        }
    }
    let mut targets = match (config.kind, config.volatility_bars) {
        (LabelKind::TripleBarrier, _) | (_, None) => returns.clone(),
        (_, Some(bars)) => scaled(&returns, &barrier::volatility(panel, bars)?),
    };
    if let Some(how) = config.normalization {
        targets.chunks_mut(width.max(1)).for_each(|date| normalization::normalize(how, date));
    }
    let classes = match config.kind {
        LabelKind::Return => vec![None; returns.len()],
        LabelKind::Quantiles => classes::quantiles(&targets, width, config.classes),
        LabelKind::Threshold => classes::threshold(&targets, config.threshold.unwrap_or_default()),
        LabelKind::TripleBarrier => classes::touched(&returns, &touched),
    };
    Ok(Labels { returns, targets, classes, ends, horizon_bars })
}

/// Later returns of all cells, and what goes with them.
struct Later {
    returns: Vec<f64>,
    /// The last time that the label of a cell reads.
    end_of: Box<dyn Fn(usize) -> usize>,
    /// The class of each cell, where the way to the return decides it.
    touched: Vec<u32>,
    horizon_bars: usize,
}

fn scaled(returns: &[f64], volatility: &[f64]) -> Vec<f64> {
    let quotient = |(value, volatility): (&f64, &f64)| {
        let scaled = value / volatility;
        if scaled.is_finite() { scaled } else { f64::NAN }
    };
    returns.iter().zip(volatility).map(quotient).collect()
}

fn by_expression(panel: &Panel, universe: &Universe, config: &LabelConfig) -> Result<Later> {
    let expression = Expression::parse(&config.expression)?;
    check_fields(&expression, panel).map_err(|reason| Error::Label(format!("label {reason}")))?;
    let horizon_bars = expression.horizon_bars();
    if horizon_bars == 0 {
        return Err(Error::Label(format!(
            "label {expression} reads no later bar, so there is nothing to predict; refer to one, as in \
             Ref($close,-2)/Ref($close,-1)-1"
        )));
    }
    let width = panel.instruments().len().max(1);
    let last = panel.times().len().saturating_sub(1);
    Ok(Later {
        returns: cells(panel, universe, &[&expression])?.remove(0),
        end_of: Box::new(move |cell| (cell / width + horizon_bars).min(last)),
        touched: Vec::new(),
        horizon_bars,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::ToSpan;
    use jiff::civil::date;

    use super::*;

    fn panel(columns: &[&[f64]]) -> Panel {
        let dates = (0..columns[0].len()).map(|i| date(2020, 1, 1) + (i as i64).days()).collect();
        let instruments = (0..columns.len()).map(|i| format!("N{i:02}")).collect();
        let close =
            (0..columns[0].len()).flat_map(|day| columns.iter().map(move |column| column[day])).collect();
        Panel::new(dates, instruments, BTreeMap::from([("close".to_owned(), close)])).expect("it fits")
    }

    fn config(expression: &str, classes: usize) -> LabelConfig {
        LabelConfig { expression: expression.to_owned(), classes, ..LabelConfig::default() }
    }

    const NEXT: &str = "Ref($close,-2)/Ref($close,-1)-1";

    #[test]
    fn a_label_is_the_return_from_the_next_close_to_the_one_after() {
        let panel = panel(&[&[1.0, 2.0, 3.0, 6.0], &[1.0, 1.0, 1.0, 1.0]]);
        let labels =
            label(&panel, &Universe::fixed(vec![0, 1]), &config(NEXT, 2)).expect("it is well formed");
        assert_eq!(labels.horizon_bars, 2);
        assert_eq!(labels.returns[..4], [0.5, 0.0, 1.0, 0.0]);
        assert!(labels.returns[4..].iter().all(|value| value.is_nan()), "the last 2 dates know no label");
        assert_eq!(labels.classes[..5], [Some(1), Some(0), Some(1), Some(0), None]);
    }

    #[test]
    fn classes_are_cut_within_the_universe_alone() {
        let panel = panel(&[&[1.0, 1.0, 5.0], &[1.0, 1.0, 2.0], &[1.0, 1.0, 9.0]]);
        let labels =
            label(&panel, &Universe::fixed(vec![0, 1]), &config(NEXT, 2)).expect("it is well formed");
        assert_eq!(labels.classes[..3], [Some(1), Some(0), None]);
        assert!(labels.returns[2].is_nan());
    }

    #[test]
    fn a_label_that_cannot_be_is_refused() {
        let panel = panel(&[&[1.0, 1.0], &[1.0, 1.0]]);
        let refusal = |config| {
            label(&panel, &Universe::fixed(vec![0]), &config).expect_err("it is refused").to_string()
        };
        assert_eq!(refusal(config(NEXT, 1)), "label.classes must be 2 to 100, got 1");
        assert!(refusal(config("$close/Ref($close,1)-1", 2)).contains("reads no later bar"));
        assert_eq!(
            refusal(config("Ref($clos,-1)", 2)),
            "label Ref($clos,-1): unknown field \"clos\"; did you mean \"close\"? fields: close"
        );
    }

    #[test]
    fn a_threshold_tells_up_from_flat_from_down() {
        let panel = panel(&[&[1.0, 1.0, 1.02, 1.02, 0.9]]);
        let config = LabelConfig { kind: LabelKind::Threshold, threshold: Some(0.01), ..config(NEXT, 0) };
        let labels = label(&panel, &Universe::all(), &config).expect("it is well formed");
        assert_eq!(labels.classes[..3], [Some(2), Some(1), Some(0)]);
        assert_eq!(labels.ends, [2, 3, 4, 3, 4], "a date whose labels are not known reads nothing");
    }

    #[test]
    fn a_return_can_be_scaled_by_what_was_volatile_before() {
        let panel = panel(&[&[1.0, 1.1, 1.0, 1.2, 1.1, 1.3]]);
        let plain = LabelConfig { kind: LabelKind::Return, ..config(NEXT, 0) };
        let scaled = LabelConfig { volatility_bars: Some(2), ..plain.clone() };
        let [plain, scaled] =
            [plain, scaled].map(|config| label(&panel, &Universe::all(), &config).expect("well formed"));
        assert_eq!(plain.returns[3], scaled.returns[3]);
        assert!(scaled.targets[1].is_nan(), "one return has no deviation");
        // Returns to the bars 2 and 3: -1/11 and 0.2; their deviation with n - 1.
        let deviation = ((-1.0f64 / 11.0) - 0.2).abs() / 2f64.sqrt();
        assert!((scaled.targets[3] - plain.returns[3] / deviation).abs() < 1e-12);
        assert!(plain.classes.iter().all(Option::is_none));
    }

    #[test]
    fn a_member_of_the_universe_is_one_at_its_own_time() {
        let panel = panel(&[&[1.0, 2.0, 3.0, 6.0], &[1.0, 1.0, 2.0, 2.0]]);
        let universe = Universe::by_time(vec![true, false, true, true, true, true, true, true]);
        let labels = label(&panel, &universe, &config(NEXT, 2)).expect("it is well formed");
        assert!(labels.returns[1].is_nan() && labels.classes[0].is_none(), "alone, there is no rank");
        assert_eq!(labels.classes[2..4], [Some(1), Some(0)]);
    }
}
