//! What a model learns to tell: a later return, cut into classes within each date.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::average_rank::doubled_ranks;
use crate::feature::{Evaluator, Program, Series, check_fields};
use crate::{Error, Expression, Panel, Result, Universe};

/// How a label is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelConfig {
    /// The return to tell, as an expression that reads later bars: `Ref($close,-2)/Ref($close,-1)-1`.
    pub expression: String,
    /// How many classes of equal size each date is cut into: 2 to 1000.
    pub classes: usize,
}

/// Labels in the layout of a panel's fields: date-major, `date * instruments + instrument`.
#[derive(Debug, Clone)]
pub struct Labels {
    /// The return behind each label; NaN outside the universe and where it is not known.
    pub returns: Vec<f64>,
    /// The class of each label, 0 the lowest returns.
    pub classes: Vec<Option<u32>>,
    /// How many bars after its own a label reads.
    pub horizon_bars: usize,
}

/// Computes the label of every bar of the universe (instrument indices).
///
/// On each date the n instruments of the universe with a known return are ranked, **ties sharing their average
/// rank**, and class = ceil(classes * rank / n) - 1. Equal returns thus always get equal classes, and where
/// ties are many (prices rounded so coarsely that returns are exactly 0) classes are of unequal size. A date
/// with fewer than 2 known returns has no class.
///
/// # Errors
/// [`Error::Label`] for a number of classes out of range, an expression that reads no later bar or a field
/// the panel lacks, or an index outside the panel; [`Error::Expression`] for one that does not parse.
pub fn label(panel: &Panel, universe: &[usize], config: &LabelConfig) -> Result<Labels> {
    if !(2..=1000).contains(&config.classes) {
        let message = format!("a label needs 2 to 1000 classes, got {}", config.classes);
        return Err(Error::Label(message));
    }
    let expression = Expression::parse(&config.expression)?;
    check_fields(&expression, panel).map_err(|reason| Error::Label(format!("label {reason}")))?;
    if expression.horizon_bars() == 0 {
        return Err(Error::Label(format!(
            "label {expression} reads no later bar, so there is nothing to predict; refer to one, as in \
             Ref($close,-2)/Ref($close,-1)-1"
        )));
    }
    let width = panel.instruments().len();
    if let Some(beyond) = universe.iter().find(|index| **index >= width) {
        return Err(Error::Label(format!("instrument index {beyond} is not within the panel's 0..{width}")));
    }
    let returns = returns(panel, universe, &expression)?;
    let mut classes = vec![None; returns.len()];
    for date in 0..panel.dates().len() {
        let row = date * width..(date + 1) * width;
        cut(&returns[row.clone()], config.classes, &mut classes[row]);
    }
    Ok(Labels { returns, classes, horizon_bars: expression.horizon_bars() })
}

fn returns(panel: &Panel, universe: &[usize], expression: &Expression) -> Result<Vec<f64>> {
    let program = Program::new([expression.root()]);
    let across = program.across(panel, &Universe::fixed(universe.to_vec()), 0..panel.times().len())?;
    let lookback = expression.lookback_bars();
    let columns = universe
        .par_iter()
        .map_init(Evaluator::default, |evaluator, instrument| {
            let Some(series) = Series::new(panel, *instrument, &across) else {
                return Ok((*instrument, 0, Vec::new()));
            };
            let from = lookback.min(series.len());
            let mut column = Vec::new();
            evaluator.run(program.plan(), &series, from..series.len(), |_, values| {
                column.extend_from_slice(values);
            })?;
            Ok((*instrument, series.first_date() + from, column))
        })
        .collect::<Result<Vec<_>>>()?;
    let width = panel.instruments().len();
    let mut returns = vec![f64::NAN; panel.dates().len() * width];
    for (instrument, first_date, column) in columns {
        for (row, value) in column.into_iter().enumerate() {
            let date = first_date + row;
            if value.is_finite() && panel.has_bar(date, instrument) {
                returns[date * width + instrument] = value;
            }
        }
    }
    Ok(returns)
}

/// Cuts one date's returns into classes, in whole numbers so that no rounding moves a border.
fn cut(returns: &[f64], classes: usize, out: &mut [Option<u32>]) {
    let known: Vec<usize> = (0..returns.len()).filter(|i| !returns[*i].is_nan()).collect();
    if known.len() < 2 {
        return;
    }
    let values: Vec<f64> = known.iter().map(|i| returns[*i]).collect();
    for (index, doubled) in known.iter().zip(doubled_ranks(&values)) {
        let class = (classes * doubled).div_ceil(2 * known.len()) - 1;
        out[*index] = u32::try_from(class).ok();
    }
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
        LabelConfig { expression: expression.to_owned(), classes }
    }

    const NEXT: &str = "Ref($close,-2)/Ref($close,-1)-1";

    #[test]
    fn a_label_is_the_return_from_the_next_close_to_the_one_after() {
        let panel = panel(&[&[1.0, 2.0, 3.0, 6.0], &[1.0, 1.0, 1.0, 1.0]]);
        let labels = label(&panel, &[0, 1], &config(NEXT, 2)).expect("it is well formed");
        assert_eq!(labels.horizon_bars, 2);
        assert_eq!(labels.returns[..4], [0.5, 0.0, 1.0, 0.0]);
        assert!(labels.returns[4..].iter().all(|value| value.is_nan()), "the last 2 dates know no label");
        assert_eq!(labels.classes[..5], [Some(1), Some(0), Some(1), Some(0), None]);
    }

    #[test]
    fn classes_are_cut_within_the_universe_alone() {
        let panel = panel(&[&[1.0, 1.0, 5.0], &[1.0, 1.0, 2.0], &[1.0, 1.0, 9.0]]);
        let labels = label(&panel, &[0, 1], &config(NEXT, 2)).expect("it is well formed");
        assert_eq!(labels.classes[..3], [Some(1), Some(0), None]);
        assert!(labels.returns[2].is_nan());
    }

    #[test]
    fn deciles_of_twenty_names_hold_two_each() {
        let returns: Vec<f64> = (0..20).map(|i| f64::from((i * 7) % 20)).collect();
        let mut classes = vec![None; 20];
        cut(&returns, 10, &mut classes);
        for (value, class) in returns.iter().zip(&classes) {
            assert_eq!(*class, Some((*value as u32) / 2));
        }
    }

    #[test]
    fn tied_returns_share_the_class_of_their_average_rank() {
        // Four zeros hold the ranks 2 to 5 of 6; ceil(3 * 3.5 / 6) - 1 = 1.
        let mut classes = vec![None; 6];
        cut(&[0.0, -1.0, 0.0, 0.0, 0.0, 1.0], 3, &mut classes);
        assert_eq!(classes, [Some(1), Some(0), Some(1), Some(1), Some(1), Some(2)]);
        let mut alone = vec![None; 2];
        cut(&[f64::NAN, -1.0], 3, &mut alone);
        assert_eq!(alone, [None, None]);
    }

    #[test]
    fn a_label_that_cannot_be_is_refused() {
        let panel = panel(&[&[1.0, 1.0], &[1.0, 1.0]]);
        let refusal = |config| label(&panel, &[0], &config).expect_err("it is refused").to_string();
        assert_eq!(refusal(config(NEXT, 1)), "a label needs 2 to 1000 classes, got 1");
        assert!(refusal(config("$close/Ref($close,1)-1", 2)).contains("reads no later bar"));
        assert_eq!(
            refusal(config("Ref($clos,-1)", 2)),
            "label Ref($clos,-1): unknown field \"clos\"; did you mean \"close\"? fields: close"
        );
    }
}
