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

/// A block takes no more than this, in bytes: 256 MiB. What its rows look back on is computed again for each block.
const BLOCK_BYTES_MAX: usize = 256 << 20;
/// Blocks of features that look back to the first bar begin there anew each, and so are fewer: 1 GiB.
const BLOCK_BYTES_MAX_FROM_FIRST_BAR: usize = 1 << 30;
/// A block has at least so many look-backs, which bounds what is computed twice to an eighth, ...
const BLOCK_LOOKBACKS: usize = 8;
/// ... but takes no more than this even so: 1 GiB.
const BLOCK_BYTES_MAX_OF_LOOKBACKS: usize = 1 << 30;
/// Groups of instruments for each thread, so that no thread waits long for the last.
const GROUPS_PER_THREAD: usize = 4;

/// Computes the features of every bar in a range that has the whole look-back behind it.
///
/// A row appears if the instrument belongs to the universe on the date, has a bar there and at least
/// [`FeatureSet::lookback_bars`] days of its calendar before: features of cut windows would not be those of a
/// model's training. A row's values depend on those days and its own alone, so no bar before them or after the row, of
/// any instrument, changes one, bit for bit; features that look back to the first bar depend on all before. All that an
/// older bar decides is whether there is a row: it may be the one that shows that the instrument had begun by then.
///
/// What a feature reads of other instruments does not depend on when they began either: days before an instrument's
/// first bar are to others what days without a bar are after it, so that a new name and one that was silent are alike.
///
/// Memory: the result, for each operator across instruments 8 bytes a time and instrument of it and its look-back,
/// and for each thread the features of one instrument.
///
/// # Errors
/// [`Error::Feature`] for a field the panel lacks, [`Error::Row`] for an index that is not in the panel.
pub fn compute(panel: &Panel, set: &FeatureSet, rows: &RowRange) -> Result<FeatureMatrix> {
    set.check_fields(panel)?;
    let instruments = check_range(panel, rows)?;
    let mut matrix = FeatureMatrix::empty(set);
    block(panel, set, rows, &instruments, &mut matrix)?;
    Ok(matrix)
}

/// Computes as [`compute`], but hands out the rows of some times after the other instead of holding all.
///
/// A block takes 4 bytes a feature, instrument and time, and no more than 256 MiB; if 8 look-backs take more than
/// that, they are a block up to 1 GiB, as they are if a feature looks back to the first bar: each such block is
/// computed from there.
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
    let bytes_a_time = (size_of::<f32>() * set.names().len() * instruments.len()).max(1);
    let times = if set.looks_back_to_the_first_bar() {
        BLOCK_BYTES_MAX_FROM_FIRST_BAR / bytes_a_time
    } else {
        let wanted = BLOCK_LOOKBACKS * set.lookback_bars();
        (BLOCK_BYTES_MAX / bytes_a_time).max(wanted.min(BLOCK_BYTES_MAX_OF_LOOKBACKS / bytes_a_time))
    };
    let times = times.clamp(1, rows.dates.len().max(1));
    // Room for the largest block at once: one that grew would be there twice while it does.
    let mut matrix = FeatureMatrix::empty(set);
    matrix.values = vec![0.0; times * instruments.len() * set.names().len()];
    for start in rows.dates.clone().step_by(times) {
        let dates = start..start.saturating_add(times).min(rows.dates.end);
        let own = RowRange { dates, universe: rows.universe.clone() };
        block(panel, set, &own, &instruments, &mut matrix)?;
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

/// Computes all rows of a range into `matrix`, in the place of those it has.
fn block(
    panel: &Panel,
    set: &FeatureSet,
    rows: &RowRange,
    instruments: &[usize],
    matrix: &mut FeatureMatrix,
) -> Result<()> {
    let stored = across(panel, set, &rows.universe, &rows.dates)?;
    let groups = (GROUPS_PER_THREAD * rayon::current_num_threads()).min(instruments.len()).max(1);
    let size = instruments.len().div_ceil(groups).max(1);
    let groups: Vec<&[usize]> = instruments.chunks(size).collect();
    let cut = |instrument: usize| Cut { instrument, rows, stored: &stored };
    // How many rows each group has on each date.
    let counts: Vec<Vec<usize>> = groups
        .par_iter()
        .map(|group| {
            let mut counts = vec![0; rows.dates.len()];
            for instrument in *group {
                let cut = cut(*instrument);
                for date in wanted_dates(panel, set, &cut).into_iter().flat_map(|(_, dates)| dates) {
                    counts[date - rows.dates.start] += 1;
                }
            }
            counts
        })
        .collect();
    let total = counts.iter().flatten().sum::<usize>();
    matrix.reset(total);
    // Rows are by date and then instrument, so each group has a stretch of every date.
    let mut parts: Vec<Vec<Stretch<'_>>> =
        groups.iter().map(|_| Vec::with_capacity(rows.dates.len())).collect();
    let (mut keys, mut values) = (matrix.rows.as_mut_slice(), matrix.values.as_mut_slice());
    for date in 0..rows.dates.len() {
        for (part, counts) in parts.iter_mut().zip(&counts) {
            let own_keys = keys.split_off_mut(..counts[date]).unwrap_or_default();
            let own_values = values.split_off_mut(..counts[date] * matrix.columns).unwrap_or_default();
            part.push(Stretch { keys: own_keys, values: own_values });
        }
    }
    groups.into_par_iter().zip(parts).try_for_each_init(Worker::default, |worker, (group, mut part)| {
        group.iter().try_for_each(|instrument| worker.fill(panel, set, &cut(*instrument), &mut part))
    })
}

impl FeatureMatrix {
    fn empty(set: &FeatureSet) -> Self {
        Self { rows: Vec::new(), columns: set.names().len(), values: Vec::new() }
    }

    /// Makes room for so many rows; what they hold is to be written.
    fn reset(&mut self, rows: usize) {
        self.rows.clear();
        self.rows.resize(rows, RowKey { date: 0, instrument: 0 });
        let values = rows * self.columns;
        if self.values.capacity() < values {
            // Zeros that the system makes when they are touched.
            self.values = vec![0.0; values];
        } else {
            self.values.resize(values, 0.0);
        }
    }
}

/// What of one instrument is computed.
struct Cut<'a> {
    instrument: usize,
    rows: &'a RowRange,
    stored: &'a [Stored],
}

/// The rows of some instruments on one date that are still to be written.
struct Stretch<'a> {
    keys: &'a mut [RowKey],
    values: &'a mut [f32],
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

/// So many rows are written side by side.
const LANES: usize = 8;

/// The features of one instrument, feature after feature.
struct Columns<'a> {
    values: &'a [f32],
    /// From one feature to the next.
    stride: usize,
    features: usize,
}

impl Columns<'_> {
    /// Writes the features of some neighbouring rows, from `row` on, into them.
    fn turn<const N: usize>(&self, row: usize, mut rows: [&mut [f32]; N]) {
        if rows.iter().any(|values| values.len() != self.features) {
            return;
        }
        for feature in 0..self.features {
            let from = feature * self.stride + row;
            let own: &[f32; N] = match self.values[from..from + N].try_into() {
                Ok(own) => own,
                Err(_) => return,
            };
            for (values, value) in rows.iter_mut().zip(own) {
                values[feature] = *value;
            }
        }
    }
}

/// The next row of a date that is still to be written.
fn take_row<'a>(stretch: &mut Stretch<'a>, features: usize) -> &'a mut [f32] {
    stretch.values.split_off_mut(..features).unwrap_or_default()
}

/// Values in one cache line; so many rows are turned at once, while the columns they come from stay in the first
/// cache.
const LINE_VALUES: usize = 16;

/// Computes one instrument after the other.
#[derive(Default)]
struct Worker {
    evaluator: Evaluator,
    dates: Vec<usize>,
    /// Feature after feature, one value a date; small enough to stay in a cache.
    columns: Vec<f32>,
}

impl Worker {
    /// Writes the rows of an instrument, the next of each date.
    fn fill(
        &mut self,
        panel: &Panel,
        set: &FeatureSet,
        cut: &Cut<'_>,
        part: &mut [Stretch<'_>],
    ) -> Result<()> {
        let Some((stretch, wanted)) = wanted_dates(panel, set, cut) else { return Ok(()) };
        let Some(series) = Series::new(panel, cut.instrument, cut.stored) else { return Ok(()) };
        let Self { evaluator, dates, columns } = self;
        dates.clear();
        dates.extend(wanted);
        let kept = dates.len();
        if kept == 0 {
            return Ok(());
        }
        // An odd number of cache lines, so that the columns of a row do not all fall on the same few.
        let stride = (kept.div_ceil(LINE_VALUES) | 1) * LINE_VALUES;
        let features = set.names().len();
        columns.resize(features * stride, 0.0);
        let origin = series.start();
        let rows = stretch.start - origin..stretch.end - origin;
        let gaps = kept < stretch.len();
        evaluator.run(set.program().plan(), &series, rows, |column, result| {
            let out = &mut columns[column * stride..column * stride + kept];
            if gaps {
                for (out, date) in out.iter_mut().zip(dates.iter()) {
                    *out = result[date - stretch.start] as f32;
                }
            } else {
                for (out, value) in out.iter_mut().zip(result) {
                    *out = *value as f32;
                }
            }
        })?;
        let first = cut.rows.dates.start;
        for date in dates.iter() {
            if let Some(key) = part[date - first].keys.split_off_first_mut() {
                *key = RowKey { date: *date, instrument: cut.instrument };
            }
        }
        let columns = Columns { values: columns, stride, features };
        let mut next = dates.iter().map(|date| take_row(&mut part[date - first], features));
        let mut row = 0;
        while row + LANES <= kept {
            columns.turn::<LANES>(row, std::array::from_fn(|_| next.next().unwrap_or_default()));
            row += LANES;
        }
        for (row, values) in (row..kept).zip(next) {
            columns.turn(row, [values]);
        }
        Ok(())
    }
}
