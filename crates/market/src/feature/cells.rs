//! Expressions at every cell of a panel, in its layout: what labels and certificates are made of.

use rayon::prelude::*;

use super::{Evaluator, Program, Series};
use crate::{Expression, Panel, Result, Universe};

/// Expressions, which may read later bars, at every cell with a bar: for each one value a cell, time-major; NaN where
/// it is not known, and where the history is shorter than the longest look-back of all.
pub(crate) fn cells(
    panel: &Panel,
    universe: &Universe,
    expressions: &[&Expression],
) -> Result<Vec<Vec<f64>>> {
    let program = Program::new(expressions.iter().map(|expression| expression.root()));
    let across = program.across(panel, universe, 0..panel.times().len())?;
    let lookback = expressions.iter().map(|expression| expression.lookback_bars()).max().unwrap_or(0);
    let width = panel.instruments().len();
    let columns = (0..width)
        .into_par_iter()
        .map_init(Evaluator::default, |evaluator, instrument| {
            let Some(series) = Series::new(panel, instrument, &across) else {
                return Ok((instrument, 0, Vec::new()));
            };
            let from = lookback.min(series.len());
            let mut columns = vec![Vec::new(); expressions.len()];
            evaluator.run(program.plan(), &series, from..series.len(), |column, values| {
                columns[column].extend_from_slice(values);
            })?;
            Ok((instrument, series.start() + from, columns))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut cells = vec![vec![f64::NAN; panel.times().len() * width]; expressions.len()];
    for (instrument, first, columns) in columns {
        for (cells, column) in cells.iter_mut().zip(columns) {
            for (row, value) in column.into_iter().enumerate() {
                let time = first + row;
                if value.is_finite() && panel.has_bar(time, instrument) {
                    cells[time * width + instrument] = value;
                }
            }
        }
    }
    Ok(cells)
}
