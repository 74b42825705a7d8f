//! Runs a plan over one instrument's bars.

use std::ops::Range;

use crate::expression::{NodeId, Offsets, Op, Plan, Step};
use crate::kernel::{self, Before, PairStat, Scratch, Stat, Window};
use crate::panel::Span;
use crate::{Error, Panel, Result};

/// One instrument of a panel, place after place to its last bar.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Series<'a> {
    panel: &'a Panel,
    instrument: usize,
    /// The panel's time index of place 0.
    start: usize,
    span: Span,
    stored: &'a [Stored],
}

impl<'a> Series<'a> {
    /// On the instrument's own calendar: place 0 is its first bar. `None` if it has no bar at all; `stored` is what was
    /// computed across instruments before.
    pub(crate) fn new(panel: &'a Panel, instrument: usize, stored: &'a [Stored]) -> Option<Self> {
        panel.span(instrument).map(|span| Self { panel, instrument, start: span.first, span, stored })
    }

    /// On the panel's calendar, for what others read: as [`Series::new`], but place 0 is the panel's first time, and
    /// times before the first bar are bars without a value. So a window is the same whether the instrument is new or was
    /// silent at its start, and what it gives is a function of the window's values alone.
    pub(crate) fn of_all_times(panel: &'a Panel, instrument: usize, stored: &'a [Stored]) -> Option<Self> {
        Self::new(panel, instrument, stored).map(|own| Self { start: 0, ..own })
    }

    /// How many places there are.
    pub(crate) fn len(&self) -> usize {
        self.span.last - self.start + 1
    }

    /// The panel's time index of place 0.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// The place of the first bar.
    fn first_place(&self) -> usize {
        self.span.first - self.start
    }

    fn read(&self, field: &str, places: Range<usize>, out: &mut [f64]) -> Result<()> {
        let times = self.start + places.start..self.start + places.end;
        self.panel.read(field, self.instrument, times, out).ok_or_else(|| {
            let known = self.panel.field_names();
            Error::Feature(crate::nearest::unknown("field", field, &known))
        })
    }

    fn read_stored(&self, slot: usize, places: Range<usize>, out: &mut [f64]) {
        for (place, result) in places.zip(out) {
            *result = self.stored[slot].value(self.start + place, self.instrument);
        }
    }
}

/// Values computed across instruments, from one time of the panel on.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(super) first_time: usize,
    pub(super) width: usize,
    /// Time-major; of one instrument where all have the same.
    pub(super) values: Vec<f64>,
}

impl Stored {
    /// NaN where nothing was computed.
    pub(crate) fn value(&self, time: usize, instrument: usize) -> f64 {
        let column = if self.width == 1 { 0 } else { instrument };
        time.checked_sub(self.first_time)
            .and_then(|row| self.values.get(row * self.width + column))
            .copied()
            .unwrap_or(f64::NAN)
    }
}

/// The values of one op, for the places it is needed at.
#[derive(Debug, Default)]
struct Column {
    start: usize,
    values: Vec<f64>,
}

impl Column {
    fn part(&self, places: &Range<usize>) -> &[f64] {
        &self.values[places.start - self.start..places.end - self.start]
    }
}

/// Buffers that are reused from step to step and from instrument to instrument.
#[derive(Debug, Default)]
pub(crate) struct Evaluator {
    columns: Vec<Column>,
    spare: Vec<Vec<f64>>,
    scratch: Scratch,
}

impl Evaluator {
    /// Computes every result of a plan at `rows` (places on the series' calendar, within it), handing each to
    /// `sink` with its number.
    ///
    /// # Errors
    /// [`Error::Feature`] for a field the panel lacks.
    pub(crate) fn run(
        &mut self,
        plan: &Plan,
        series: &Series<'_>,
        rows: Range<usize>,
        mut sink: impl FnMut(usize, &[f64]),
    ) -> Result<()> {
        // Only what holds memory: an empty buffer on top would be made anew while full ones wait below it.
        self.spare.extend(
            self.columns.drain(..).map(|column| column.values).filter(|values| values.capacity() > 0),
        );
        self.columns.resize_with(plan.ops().len(), Column::default);
        for (index, step) in plan.steps().iter().enumerate() {
            self.step(plan, step, series, &rows)?;
            for id in step.results() {
                for result in plan.results_of(*id) {
                    sink(*result, self.columns[*id].part(&rows));
                }
                for argument in plan.ops()[*id].arguments() {
                    if plan.last_use(*argument) == index {
                        let done = std::mem::take(&mut self.columns[*argument].values);
                        if done.capacity() > 0 {
                            self.spare.push(done);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, plan: &Plan, step: &Step, series: &Series<'_>, rows: &Range<usize>) -> Result<()> {
        let need = step.results().iter().map(|id| plan.need(*id)).reduce(Offsets::union);
        let need = need.unwrap_or(Offsets::NOW);
        let places = place(rows.start, need.oldest, series.len())..place(rows.end, need.newest, series.len());
        let mut outs: Vec<Vec<f64>> = step.results().iter().map(|_| self.buffer(places.len())).collect();
        if !places.is_empty() {
            match step {
                Step::One(id) => self.one(&plan.ops()[*id], series, places.clone(), &mut outs[0])?,
                Step::Rolling { of, results } => {
                    let requests: Vec<(Stat, Window)> =
                        results.iter().filter_map(|id| rolling_request(&plan.ops()[*id])).collect();
                    let column = &self.columns[*of];
                    let before = before(series, column.start, places.start);
                    let input = &column.values[..before.lead + places.len()];
                    kernel::rolling(input, before, &requests, &mut outs, &mut self.scratch);
                }
                Step::Pair { of, results } => {
                    let requests: Vec<(PairStat, Window)> =
                        results.iter().filter_map(|id| pair_request(&plan.ops()[*id])).collect();
                    // Both sides are cut to the same places before they are paired.
                    let start = of.map(|id| self.columns[id].start).into_iter().max().unwrap_or(0);
                    let both = of.map(|id| self.columns[id].part(&(start..places.end)));
                    let before = before(series, start, places.start);
                    kernel::rolling_pair(both, before, &requests, &mut outs, &mut self.scratch);
                }
            }
        }
        for (id, values) in step.results().iter().zip(outs) {
            self.columns[*id] = Column { start: places.start, values };
        }
        Ok(())
    }

    /// So many values that are to be written.
    fn buffer(&mut self, len: usize) -> Vec<f64> {
        let mut values = self.spare.pop().unwrap_or_default();
        values.resize(len, f64::NAN);
        values
    }

    fn one(&self, op: &Op, series: &Series<'_>, places: Range<usize>, out: &mut [f64]) -> Result<()> {
        let column = |id: NodeId| &self.columns[id];
        match op {
            Op::Field(name) => series.read(name, places, out)?,
            Op::Stored(slot) => series.read_stored(*slot, places, out),
            Op::Number(bits) => out.fill(f64::from_bits(*bits)),
            Op::Unary(operator, of) => kernel::unary(*operator, column(*of).part(&places), out),
            Op::Binary(operator, of) => {
                kernel::binary(*operator, of.map(|id| column(id).part(&places)), out);
            }
            Op::If(of) => kernel::select(of.map(|id| column(id).part(&places)), out),
            Op::Shift(of, bars) => shift(column(*of), *bars, places.start, out),
            Op::First(of) => {
                let (of, first) = (column(*of), series.first_place());
                let none = first.saturating_sub(places.start).min(out.len());
                out[..none].fill(f64::NAN);
                out[none..].fill(of.values.get(first - of.start).copied().unwrap_or(f64::NAN));
            }
            // Computed together, above.
            Op::Rolling(..) | Op::Pair(..) => {}
        }
        Ok(())
    }
}

/// What of a series that is given from place `given` on lies before the result at place `first`.
fn before(series: &Series<'_>, given: usize, first: usize) -> Before {
    Before { lead: first - given, unbegun: series.first_place().saturating_sub(given) }
}

pub(super) fn rolling_request(op: &Op) -> Option<(Stat, Window)> {
    match op {
        Op::Rolling(stat, _, window) => Some((*stat, *window)),
        _ => None,
    }
}

pub(super) fn pair_request(op: &Op) -> Option<(PairStat, Window)> {
    match op {
        Op::Pair(stat, _, window) => Some((*stat, *window)),
        _ => None,
    }
}

/// `row + offset`, kept within the calendar.
fn place(row: usize, offset: i64, len: usize) -> usize {
    row.saturating_add_signed(isize::try_from(offset).unwrap_or(isize::MIN)).min(len)
}

/// Values `bars` ago; NaN where the calendar does not reach.
fn shift(of: &Column, bars: i64, start: usize, out: &mut [f64]) {
    // The place in `of` of what the first of `out` takes.
    let from = start as i64 - bars - of.start as i64;
    let within = |place: i64| usize::try_from(place).unwrap_or(0).min(out.len());
    let begin = within(-from);
    let end = within(of.values.len() as i64 - from).max(begin);
    out[..begin].fill(f64::NAN);
    out[end..].fill(f64::NAN);
    if begin < end {
        let first = (from + begin as i64) as usize;
        out[begin..end].copy_from_slice(&of.values[first..first + end - begin]);
    }
}
