//! Features of many rows at once, and of one row at serving time, by the same steps.

use std::ops::Range;

use rayon::prelude::*;

use super::{Evaluator, FeatureSet, Series};
use crate::{Error, Panel, Result, Universe};

/// Which bar a row is about: indices into the panel's dates and instruments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// Index into [`Panel::dates`].
    pub date: usize,
    /// Index into [`Panel::instruments`].
    pub instrument: usize,
}

/// The rows to compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRange {
    /// Date indices.
    pub dates: Range<usize>,
    /// Who has rows, and is compared with whom by operators across instruments.
    pub universe: Universe,
}

/// Features of rows, by date and then instrument.
#[derive(Debug, Clone)]
pub struct FeatureMatrix {
    /// What each row is about.
    pub rows: Vec<RowKey>,
    /// Features of a row.
    pub columns: usize,
    /// `rows.len() * columns` values, row-major; NaN where a feature is missing.
    pub values: Vec<f32>,
}

/// Computes the features of every bar in a range that has the whole look-back behind it.
///
/// A row appears if the instrument belongs to the universe on the date, has a bar there and at least [`FeatureSet::lookback_bars`] days of
/// its calendar before: features of cut windows would not be those of a model's training. A row depends on
/// those days alone, so bars before them and after the row change nothing, bit for bit.
///
/// # Errors
/// [`Error::Feature`] for a field the panel lacks, [`Error::Row`] for an index that is not in the panel.
pub fn compute(panel: &Panel, set: &FeatureSet, rows: &RowRange) -> Result<FeatureMatrix> {
    set.check_fields(panel)?;
    let instruments = check_range(panel, rows)?;
    let blocks = instruments
        .par_iter()
        .map_init(Evaluator::default, |evaluator, instrument| {
            block(panel, set, &Cut { instrument: *instrument, rows }, evaluator)
        })
        .collect::<Result<Vec<Block>>>()?;
    Ok(interleave(&blocks, rows.dates.clone(), set.names().len()))
}

/// The features of one bar, bit for bit those of [`compute`], from no more than its look-back.
///
/// # Errors
/// [`Error::Row`] if the instrument has no bar on that date or too short a history before it,
/// [`Error::Feature`] for a field the panel lacks.
pub fn latest(panel: &Panel, set: &FeatureSet, universe: &Universe, row: RowKey) -> Result<Vec<f32>> {
    let RowKey { date, instrument } = row;
    set.check_fields(panel)?;
    check_range(
        panel,
        &RowRange { dates: date..date.saturating_add(1), universe: Universe::fixed(vec![instrument]) },
    )?;
    let symbol = &panel.instruments()[instrument];
    let day = panel.dates()[date];
    let no_bar = || Error::Row(format!("{symbol} has no bar on {day}"));
    let series = Series::new(panel, instrument).ok_or_else(no_bar)?;
    if !panel.has_bar(date, instrument) {
        return Err(no_bar());
    }
    universe.check(panel.times().len(), panel.instruments().len())?;
    if !universe.contains(date, instrument, panel.instruments().len()) {
        return Err(Error::Row(format!("{symbol} is not in the universe on {day}")));
    }
    let place = date - series.first_date();
    let needed = set.lookback_bars();
    if place < needed {
        return Err(Error::Row(format!(
            "{symbol} has {place} bars before {day}, but the features need {needed}; ask for a later date"
        )));
    }
    let mut values = vec![0.0; set.names().len()];
    Evaluator::default().run(set.plan(), &series, place..place + 1, |column, result| {
        values[column] = result[0] as f32;
    })?;
    Ok(values)
}

fn check_range(panel: &Panel, rows: &RowRange) -> Result<Vec<usize>> {
    let (dates, width) = (panel.dates().len(), panel.instruments().len());
    if rows.dates.start > rows.dates.end || rows.dates.end > dates {
        let Range { start, end } = rows.dates;
        return Err(Error::Row(format!("date indices {start}..{end} are not within the panel's 0..{dates}")));
    }
    rows.universe.check(dates, width)?;
    Ok(rows.universe.instruments(width))
}

/// What of one instrument is computed.
struct Cut<'a> {
    instrument: usize,
    rows: &'a RowRange,
}

/// The rows of one instrument, by date.
struct Block {
    instrument: usize,
    dates: Vec<usize>,
    values: Vec<f32>,
}

fn block(panel: &Panel, set: &FeatureSet, cut: &Cut<'_>, evaluator: &mut Evaluator) -> Result<Block> {
    let mut block = Block { instrument: cut.instrument, dates: Vec::new(), values: Vec::new() };
    let Some(series) = Series::new(panel, cut.instrument) else { return Ok(block) };
    let origin = series.first_date();
    let from = cut.rows.dates.start.max(origin + set.lookback_bars());
    let to = cut.rows.dates.end.min(origin + series.len());
    if from >= to {
        return Ok(block);
    }
    let width = panel.instruments().len();
    let wanted = |date: &usize| {
        cut.rows.universe.contains(*date, cut.instrument, width) && panel.has_bar(*date, cut.instrument)
    };
    block.dates = (from..to).filter(wanted).collect();
    let columns = set.names().len();
    block.values = vec![0.0; block.dates.len() * columns];
    let Block { dates, values, .. } = &mut block;
    evaluator.run(set.plan(), &series, from - origin..to - origin, |column, result| {
        for (row, date) in dates.iter().enumerate() {
            values[row * columns + column] = result[date - from] as f32;
        }
    })?;
    Ok(block)
}

/// Orders the rows of all blocks by date; blocks are by instrument already.
fn interleave(blocks: &[Block], dates: Range<usize>, columns: usize) -> FeatureMatrix {
    let total: usize = blocks.iter().map(|block| block.dates.len()).sum();
    let mut matrix = FeatureMatrix {
        rows: Vec::with_capacity(total),
        columns,
        values: Vec::with_capacity(total * columns),
    };
    let mut next = vec![0; blocks.len()];
    for date in dates {
        for (block, next) in blocks.iter().zip(&mut next) {
            if block.dates.get(*next) == Some(&date) {
                matrix.rows.push(RowKey { date, instrument: block.instrument });
                matrix.values.extend_from_slice(&block.values[*next * columns..(*next + 1) * columns]);
                *next += 1;
            }
        }
    }
    matrix
}
