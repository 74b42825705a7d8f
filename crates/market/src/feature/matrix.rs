//! Features of many rows at once, and of one row at serving time, by the same steps.

use std::ops::Range;

use rayon::prelude::*;

use super::evaluate::Stored;
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

/// Times computed at once: at least so many look-backs, which bounds what is computed twice to an eighth.
const BLOCK_LOOKBACKS: usize = 8;
const BLOCK_TIMES_MIN: usize = 256;
/// A block takes no more than this, in bytes, even if more is then computed twice: 512 MiB.
const BLOCK_BYTES_MAX: usize = 512 << 20;

/// Computes the features of every bar in a range that has the whole look-back behind it.
///
/// A row appears if the instrument belongs to the universe on the date, has a bar there and at least
/// [`FeatureSet::lookback_bars`] days of its calendar before: features of cut windows would not be those of a
/// model's training. A row depends on those days alone, so bars before them and after the row change nothing,
/// bit for bit; features that look back to the first bar depend on all before.
///
/// Memory: the result, one block of it (see [`compute_blocks`]), and for each operator across instruments 8
/// bytes a time and instrument of the block and its look-back.
///
/// # Errors
/// [`Error::Feature`] for a field the panel lacks, [`Error::Row`] for an index that is not in the panel.
pub fn compute(panel: &Panel, set: &FeatureSet, rows: &RowRange) -> Result<FeatureMatrix> {
    let columns = set.names().len();
    let wanted = count(panel, set, rows)?;
    let mut matrix = FeatureMatrix {
        rows: Vec::with_capacity(wanted),
        columns,
        values: Vec::with_capacity(wanted * columns),
    };
    compute_blocks(panel, set, rows, |block| {
        matrix.rows.extend_from_slice(&block.rows);
        matrix.values.extend_from_slice(&block.values);
        Ok(())
    })?;
    Ok(matrix)
}

/// Computes as [`compute`], but hands out the rows of some times after the other instead of holding all.
///
/// A block has 256 times or 8 look-backs, whichever is more, but takes no more than 512 MiB: 2 x 4 bytes a
/// feature, instrument and time. If a feature looks back to the first bar, all of the range is one block.
///
/// # Errors
/// As [`compute`], and what `sink` returns.
pub fn compute_blocks(
    panel: &Panel,
    set: &FeatureSet,
    rows: &RowRange,
    mut sink: impl FnMut(&FeatureMatrix) -> Result<()>,
) -> Result<()> {
    set.check_fields(panel)?;
    let instruments = check_range(panel, rows)?;
    let times = match set.looks_back_to_the_first_bar() {
        true => rows.dates.len().max(1),
        false => (BLOCK_LOOKBACKS * set.lookback_bars()).max(BLOCK_TIMES_MIN),
    };
    // Both are made once, as large as they get: fresh memory costs as much as the features.
    let columns = set.names().len();
    let bytes_a_time = 2 * size_of::<f32>() * columns * instruments.len();
    let affordable = match set.looks_back_to_the_first_bar() {
        true => usize::MAX,
        false => BLOCK_BYTES_MAX / bytes_a_time.max(1),
    };
    let times = times.min(affordable).min(rows.dates.len()).max(1);
    let new = |instrument: usize| Block {
        instrument,
        dates: Vec::with_capacity(times),
        values: Vec::with_capacity(times * columns),
    };
    let cells = times * instruments.len();
    let mut matrix = FeatureMatrix {
        rows: Vec::with_capacity(cells),
        columns,
        values: Vec::with_capacity(cells * columns),
    };
    let mut blocks: Vec<Block> = instruments.into_iter().map(new).collect();
    for start in rows.dates.clone().step_by(times) {
        let dates = start..(start + times).min(rows.dates.end);
        let stored = across(panel, set, &rows.universe, &dates)?;
        let own = RowRange { dates: dates.clone(), universe: rows.universe.clone() };
        blocks.par_iter_mut().try_for_each_init(Evaluator::default, |evaluator, block| {
            let cut = Cut { instrument: block.instrument, rows: &own, stored: &stored };
            fill(block, panel, set, &cut, evaluator)
        })?;
        interleave(&blocks, &dates, &mut matrix);
        if !matrix.rows.is_empty() {
            sink(&matrix)?;
        }
    }
    Ok(())
}

/// What the features of some times need from across the instruments.
fn across(panel: &Panel, set: &FeatureSet, universe: &Universe, dates: &Range<usize>) -> Result<Vec<Stored>> {
    let from = match set.looks_back_to_the_first_bar() {
        true => 0,
        false => dates.start.saturating_sub(set.lookback_bars()),
    };
    set.program().across(panel, universe, from..dates.end)
}

/// How many rows [`compute`] gives.
fn count(panel: &Panel, set: &FeatureSet, rows: &RowRange) -> Result<usize> {
    let instruments = check_range(panel, rows)?;
    let of_one = |instrument: &usize| {
        let cut = Cut { instrument: *instrument, rows, stored: &[] };
        wanted_dates(panel, set, &cut).map_or(0, |(_, dates)| dates.count())
    };
    Ok(instruments.par_iter().map(of_one).sum())
}

/// The features of one bar, bit for bit those of [`compute`], from no more than its look-back.
///
/// # Errors
/// [`Error::Row`] if the instrument has no bar on that date, does not belong to the universe then, or has too
/// short a history, [`Error::Feature`] for a field the panel lacks.
pub fn latest(panel: &Panel, set: &FeatureSet, universe: &Universe, row: RowKey) -> Result<Vec<f32>> {
    let RowKey { date, instrument } = row;
    set.check_fields(panel)?;
    let dates = date..date.saturating_add(1);
    check_range(panel, &RowRange { dates: dates.clone(), universe: Universe::fixed(vec![instrument]) })?;
    let symbol = &panel.instruments()[instrument];
    let day = panel.dates()[date];
    let no_bar = || Error::Row(format!("{symbol} has no bar on {day}"));
    if !panel.has_bar(date, instrument) {
        return Err(no_bar());
    }
    universe.check(panel.times().len(), panel.instruments().len())?;
    if !universe.contains(date, instrument, panel.instruments().len()) {
        return Err(Error::Row(format!("{symbol} is not in the universe on {day}")));
    }
    let place = panel.span(instrument).map_or(0, |span| date - span.first);
    let needed = set.lookback_bars();
    if place < needed {
        return Err(Error::Row(format!(
            "{symbol} has {place} bars before {day}, but the features need {needed}; ask for a later date"
        )));
    }
    let stored = across(panel, set, universe, &dates)?;
    let series = Series::new(panel, instrument, &stored).ok_or_else(no_bar)?;
    let mut values = vec![0.0; set.names().len()];
    Evaluator::default().run(set.program().plan(), &series, place..place + 1, |column, result| {
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
    stored: &'a [Stored],
}

/// The rows of one instrument, by date.
struct Block {
    instrument: usize,
    dates: Vec<usize>,
    /// Feature after feature, one value a date.
    values: Vec<f32>,
}

/// The stretch of dates an instrument can have rows in, and those it has.
fn wanted_dates<'a>(
    panel: &'a Panel,
    set: &FeatureSet,
    cut: &'a Cut<'_>,
) -> Option<(Range<usize>, impl Iterator<Item = usize> + 'a)> {
    let span = panel.span(cut.instrument)?;
    let from = cut.rows.dates.start.max(span.first + set.lookback_bars());
    let to = cut.rows.dates.end.min(span.last + 1);
    let width = panel.instruments().len();
    let wanted = move |date: &usize| {
        cut.rows.universe.contains(*date, cut.instrument, width) && panel.has_bar(*date, cut.instrument)
    };
    (from < to).then(|| (from..to, (from..to).filter(wanted)))
}

fn fill(
    block: &mut Block,
    panel: &Panel,
    set: &FeatureSet,
    cut: &Cut<'_>,
    evaluator: &mut Evaluator,
) -> Result<()> {
    block.dates.clear();
    block.values.clear();
    let Some((stretch, wanted)) = wanted_dates(panel, set, cut) else { return Ok(()) };
    let Some(series) = Series::new(panel, cut.instrument, cut.stored) else { return Ok(()) };
    let origin = series.first_date();
    block.dates.extend(wanted);
    if block.dates.is_empty() {
        return Ok(());
    }
    let columns = set.names().len();
    let kept = block.dates.len();
    block.values.resize(kept * columns, 0.0);
    let Block { dates, values, .. } = block;
    let rows = stretch.start - origin..stretch.end - origin;
    let gaps = kept < stretch.len();
    evaluator.run(set.program().plan(), &series, rows, |column, result| {
        let out = &mut values[column * kept..(column + 1) * kept];
        if gaps {
            for (out, date) in out.iter_mut().zip(dates.iter()) {
                *out = result[date - stretch.start] as f32;
            }
        } else {
            for (out, value) in out.iter_mut().zip(result) {
                *out = *value as f32;
            }
        }
    })
}

/// Dates whose rows are put in order at once: few enough for their rows of one instrument to stay in the first
/// cache.
const TILE_DATES: usize = 16;

/// Puts the rows of all blocks into the matrix by date; blocks are by instrument already.
fn interleave(blocks: &[Block], dates: &Range<usize>, matrix: &mut FeatureMatrix) {
    let columns = matrix.columns;
    // How many rows there are before each date.
    let mut before = vec![0; dates.len() + 1];
    for date in blocks.iter().flat_map(|block| &block.dates) {
        before[date - dates.start + 1] += 1;
    }
    for date in 0..dates.len() {
        before[date + 1] += before[date];
    }
    let total = before[dates.len()];
    matrix.rows.clear();
    matrix.rows.resize(total, RowKey { date: 0, instrument: 0 });
    // Every value is written below.
    matrix.values.resize(total * columns, 0.0);
    let mut tiles = Vec::new();
    let (mut rows, mut values) = (matrix.rows.as_mut_slice(), matrix.values.as_mut_slice());
    for start in (0..dates.len()).step_by(TILE_DATES) {
        let end = (start + TILE_DATES).min(dates.len());
        let count = before[end] - before[start];
        let (own_rows, own_values);
        (own_rows, rows) = rows.split_at_mut(count);
        (own_values, values) = values.split_at_mut(count * columns);
        tiles.push((start..end, own_rows, own_values));
    }
    tiles.into_par_iter().for_each(|(tile, rows, values)| {
        // Where the next row of each date goes.
        let mut next: Vec<usize> = before[tile.clone()].iter().map(|row| row - before[tile.start]).collect();
        for block in blocks {
            let kept = block.dates.len();
            let from = block.dates.partition_point(|date| *date < dates.start + tile.start);
            let to = block.dates.partition_point(|date| *date < dates.start + tile.end);
            let mut places = [0; TILE_DATES];
            for (place, date) in places.iter_mut().zip(&block.dates[from..to]) {
                let slot = &mut next[date - dates.start - tile.start];
                *place = *slot;
                rows[*slot] = RowKey { date: *date, instrument: block.instrument };
                *slot += 1;
            }
            for column in 0..columns {
                let own = &block.values[column * kept + from..column * kept + to];
                for (value, place) in own.iter().zip(places) {
                    values[place * columns + column] = *value;
                }
            }
        }
    });
}
