//! The arithmetic of the operators over plain slices of `f64`, one instrument at a time.
//!
//! A rolling result is a function of its window's values alone, to the bit: whatever came earlier, in a batch
//! ([`rolling`], [`rolling_pair`]) and bar by bar ([`RollingStream`], [`PairStream`]) alike. It costs O(log N) a bar for a
//! window of N bars, but for `Mad`, which visits the window. As in pandas, a value that is not finite counts as
//! missing inside a window, missing values are left out, and a window is cut where the data begins.

mod carried;
mod elementwise;
mod order;
mod ordered;
mod stat;
mod stream;
mod summary;
mod tree;

use pulp::{Arch, Simd, WithSimd};

pub(crate) use elementwise::{binary, select, unary};
pub(crate) use stat::PairStat;
pub(crate) use stream::{PairStream, RollingStream};

use carried::{Decay, Expanding};
use order::COUNTED_BARS_MAX;
use ordered::{Ranked, Sorted};
use stat::{Newest, Spread, Tails, Trend};
use summary::{FirstLargest, Largest, Line, Moments, Pairs, Shape, Sums};
use tree::{Blocks, Summary, View};

/// Results are computed so many bars at a time, which keeps all blocks in the second cache.
const CHUNK_BARS: usize = 1024;

/// How far back an operator looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Window {
    /// So many bars, at least 1, with the bar itself.
    Bars(usize),
    /// All bars so far.
    Expanding,
    /// All bars so far, each weighing 1 - alpha of the next; the bits of alpha, between 0 and 1.
    Decay(u64),
}

/// A quantile's level, 0 to 1, comparable by its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Level(u64);

impl Level {
    pub(crate) const MEDIAN: Self = Self(0.5f64.to_bits());

    pub(crate) fn new(level: f64) -> Option<Self> {
        (0.0..=1.0).contains(&level).then(|| Self(level.to_bits()))
    }

    pub(crate) fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// What is asked of a window of one series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stat {
    Count,
    Sum,
    Mean,
    Var,
    Std,
    Skew,
    Kurt,
    Max,
    Min,
    IdxMax,
    IdxMin,
    Quantile(Level),
    Rank,
    Mad,
    /// Exponentially weighted with the span of the window's own bars.
    GrowingMean,
    Wma,
    WeightedMean,
    Slope,
    Resi,
    Rsquare,
    R2,
}

/// Buffers that are reused from call to call.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    largest: Blocks<1>,
    sums: Blocks<2>,
    moments: Blocks<3>,
    shape: Blocks<5>,
    pairs: Blocks<6>,
    sides: [Blocks<3>; 2],
    known: Vec<f64>,
}

/// What summarises the windows of a statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Counts,
    Sums,
    Moments(Spread),
    Shape(Tails),
    Line(Trend),
    /// Of the values times a sign.
    Largest(Sign),
    FirstLargest(Sign),
    Sorted,
    /// Ranks in windows short enough to count.
    Ranked,
    Visited,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Plus,
    Minus,
}

impl Sign {
    #[inline(always)]
    fn value(self) -> f64 {
        match self {
            Self::Plus => 1.0,
            Self::Minus => -1.0,
        }
    }
}

impl Stat {
    /// How windows of so many bars are computed.
    fn family(self, bars: usize) -> Family {
        match self {
            Self::Rank if bars <= COUNTED_BARS_MAX => Family::Ranked,
            Self::Count => Family::Counts,
            Self::Sum | Self::Mean => Family::Sums,
            Self::Var => Family::Moments(Spread::Var),
            Self::Std => Family::Moments(Spread::Std),
            Self::Skew => Family::Shape(Tails::Skew),
            Self::Kurt => Family::Shape(Tails::Kurt),
            Self::Max => Family::Largest(Sign::Plus),
            Self::Min => Family::Largest(Sign::Minus),
            Self::IdxMax => Family::FirstLargest(Sign::Plus),
            Self::IdxMin => Family::FirstLargest(Sign::Minus),
            Self::Quantile(_) | Self::Rank => Family::Sorted,
            Self::Mad | Self::GrowingMean => Family::Visited,
            Self::Wma => Family::Line(Trend::Wma),
            Self::WeightedMean => Family::Line(Trend::WeightedMean),
            Self::Slope => Family::Line(Trend::Slope),
            Self::Resi => Family::Line(Trend::Resi),
            Self::Rsquare => Family::Line(Trend::Rsquare),
            Self::R2 => Family::Line(Trend::R2),
        }
    }
}

impl Family {
    /// Whether the same blocks serve both.
    fn shares_blocks(self, other: Self) -> bool {
        match (self, other) {
            (Self::Largest(a), Self::Largest(b)) | (Self::FirstLargest(a), Self::FirstLargest(b)) => a == b,
            _ => std::mem::discriminant(&self) == std::mem::discriminant(&other),
        }
    }
}

/// The value, or NaN for what counts as missing in a window.
#[inline(always)]
fn known(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

/// Whether no value counts as missing.
fn all_finite(values: &[f64]) -> bool {
    // Without a way out the loop runs in vectors.
    values.iter().fold(true, |all, value| all & value.is_finite())
}

#[inline(always)]
fn one_if(condition: bool) -> f64 {
    if condition { 1.0 } else { 0.0 }
}

/// What of a series is given before the first result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    /// So many bars.
    pub(crate) lead: usize,
    /// Of all that is given, so many come before the instrument's first bar: a window counts them as bars, what is
    /// carried from the first bar on does not.
    pub(crate) unbegun: usize,
}

/// Computes what is asked of one series: `input` begins `lead` bars before the first result, and `outs[i]`
/// takes one value a bar for request i. A series with carried state (`Expanding`, `Decay`) is given from its
/// first bar on, or from before it.
pub(crate) fn rolling(
    input: &[f64],
    before: Before,
    requests: &[(Stat, Window)],
    outs: &mut [Vec<f64>],
    scratch: &mut Scratch,
) {
    let lead = before.lead;
    let rows = input.len() - lead;
    let mut finite: Vec<Request> = Vec::with_capacity(requests.len());
    for (index, (stat, window)) in requests.iter().enumerate() {
        match window {
            Window::Bars(bars) => finite.push(Request { index, stat: *stat, bars: *bars }),
            Window::Expanding => {
                let mut state = Expanding::new(*stat);
                carry(input, before, &mut outs[index], |value| state.push(value));
            }
            Window::Decay(alpha) => {
                let mut state = Decay::new(f64::from_bits(*alpha));
                carry(input, before, &mut outs[index], |value| state.push(value));
            }
        }
    }
    while let Some(first) = finite.first() {
        let family = first.family();
        let (own, rest): (Vec<_>, Vec<_>) =
            finite.iter().partition(|request| request.family().shares_blocks(family));
        finite = rest;
        match family {
            Family::Sorted => Arch::new().dispatch(Sorted { input, lead, requests: &own, outs }),
            Family::Ranked => {
                let values = &mut scratch.known;
                Arch::new().dispatch(Ranked { input, lead, requests: &own, outs, values });
            }
            Family::Visited => visited(input, lead, &own, outs),
            _ => {
                let longest = own.iter().map(|request| request.bars).max().unwrap_or(1);
                for chunk in chunks(rows, longest) {
                    let begin = (lead + chunk.start).saturating_sub(longest - 1);
                    let part = Part {
                        input: &input[begin..lead + chunk.end],
                        lead: lead + chunk.start - begin,
                        before: begin,
                        start: chunk.start,
                    };
                    let full = part.lead + 1 >= longest && all_finite(part.input);
                    Arch::new().dispatch(Blocked { part, full, family, requests: &own, outs, scratch });
                }
            }
        }
    }
}

/// Computes what is asked of two series; as [`rolling`].
pub(crate) fn rolling_pair(
    inputs: [&[f64]; 2],
    before: Before,
    requests: &[(PairStat, Window)],
    outs: &mut [Vec<f64>],
    scratch: &mut Scratch,
) {
    let lead = before.lead;
    let rows = inputs[0].len() - lead;
    let mut finite: Vec<(usize, PairStat, usize)> = Vec::with_capacity(requests.len());
    for (index, (stat, window)) in requests.iter().enumerate() {
        match window {
            Window::Bars(bars) => finite.push((index, *stat, *bars)),
            Window::Expanding | Window::Decay(_) => {
                let mut state = PairStream::new(&[(*stat, *window)]);
                let mut value = [0.0];
                for (bar, (x, y)) in inputs[0].iter().zip(inputs[1]).enumerate() {
                    if bar == before.unbegun {
                        state.begin();
                    }
                    state.push([*x, *y], &mut value);
                    if bar >= lead {
                        outs[index][bar - lead] = value[0];
                    }
                }
            }
        }
    }
    let longest = finite.iter().map(|(_, _, bars)| *bars).max().unwrap_or(1);
    for chunk in chunks(rows, longest) {
        let begin = (lead + chunk.start).saturating_sub(longest - 1);
        let inputs = inputs.map(|input| &input[begin..lead + chunk.end]);
        let own_lead = lead + chunk.start - begin;
        let full = own_lead + 1 >= longest && inputs.into_iter().all(all_finite);
        let (lead, start) = (own_lead, chunk.start);
        Arch::new().dispatch(Paired { inputs, lead, start, full, requests: &finite, outs, scratch });
    }
}

/// One statistic of one window, and which of the outputs takes it.
#[derive(Debug, Clone, Copy)]
struct Request {
    index: usize,
    stat: Stat,
    bars: usize,
}

impl Request {
    fn family(self) -> Family {
        self.stat.family(self.bars)
    }
}

fn chunks(rows: usize, longest: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let step = CHUNK_BARS.max(4 * longest);
    (0..rows).step_by(step).map(move |start| start..(start + step).min(rows))
}

/// Before the instrument's first bar there is no result.
fn carry(input: &[f64], before: Before, out: &mut [f64], mut push: impl FnMut(f64) -> f64) {
    let Before { lead, unbegun } = before;
    let none = unbegun.saturating_sub(lead).min(out.len());
    out[..none].fill(f64::NAN);
    for (bar, value) in input.iter().enumerate().skip(unbegun) {
        let result = push(*value);
        if bar >= lead {
            out[bar - lead] = result;
        }
    }
}

/// Statistics of one family over a part of a series. That this and what follows are types rather than closures lets
/// their code be compiled for the vector instructions of the machine it runs on.
struct Blocked<'a> {
    part: Part<'a>,
    /// Whether no value is missing and no window begins before the series.
    full: bool,
    family: Family,
    requests: &'a [Request],
    outs: &'a mut [Vec<f64>],
    scratch: &'a mut Scratch,
}

impl WithSimd for Blocked<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { part, full, family, requests, outs, scratch } = self;
        match full {
            true => part.compute::<true>(family, requests, outs, scratch),
            false => part.compute::<false>(family, requests, outs, scratch),
        }
    }
}

/// Statistics of two series over a part of both.
struct Paired<'a> {
    inputs: [&'a [f64]; 2],
    lead: usize,
    start: usize,
    full: bool,
    requests: &'a [(usize, PairStat, usize)],
    outs: &'a mut [Vec<f64>],
    scratch: &'a mut Scratch,
}

impl WithSimd for Paired<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { inputs, lead, start, full, requests, outs, scratch } = self;
        match full {
            true => pairs::<true>(inputs, (lead, start), requests, outs, scratch),
            false => pairs::<false>(inputs, (lead, start), requests, outs, scratch),
        }
    }
}

/// A stretch of one series.
struct Part<'a> {
    input: &'a [f64],
    /// Bars of `input` before the first result.
    lead: usize,
    /// Bars of the series before `input`.
    before: usize,
    /// Where the first result stands in the outputs.
    start: usize,
}

impl Part<'_> {
    #[inline(always)]
    fn compute<const FULL: bool>(
        &self,
        family: Family,
        requests: &[Request],
        outs: &mut [Vec<f64>],
        scratch: &mut Scratch,
    ) {
        let longest = requests.iter().map(|request| request.bars).max().unwrap_or(1);
        let bars = self.input.len();
        let value = |row: usize| self.input[row];
        let filled = |row: usize| {
            let value = self.input[row];
            if value.is_finite() { [1.0, value] } else { [0.0, 0.0] }
        };
        match family {
            Family::Counts => {
                let blocks = &mut scratch.sums;
                blocks.fill::<Sums, FULL>(bars, longest, |row| [one_if(!value(row).is_nan()), 0.0]);
                for request in requests {
                    let view = blocks.window::<Sums, FULL>(request.bars, self.lead);
                    view.each(self.lead, self.out(request, outs), |_, [n, _]| n);
                }
            }
            Family::Sums => {
                let blocks = &mut scratch.sums;
                blocks.fill::<Sums, FULL>(bars, longest, filled);
                for request in requests {
                    let view = blocks.window::<Sums, FULL>(request.bars, self.lead);
                    let out = self.out(request, outs);
                    if request.stat == Stat::Mean {
                        view.each(self.lead, out, |_, [n, sum]| sum / n);
                    } else {
                        view.each(self.lead, out, |_, [n, sum]| sum / one_if(n > 0.0));
                    }
                }
            }
            Family::Moments(_) => {
                let blocks = &mut scratch.moments;
                blocks.fill::<Moments, FULL>(bars, longest, |row| {
                    let [n, value] = filled(row);
                    [n, value, 0.0]
                });
                for request in requests {
                    let Family::Moments(kind) = request.family() else { continue };
                    let view = blocks.window::<Moments, FULL>(request.bars, self.lead);
                    let out = self.out(request, outs);
                    match kind {
                        Spread::Var => view.each(self.lead, out, |_, at| stat::spread(Spread::Var, at)),
                        Spread::Std => view.each(self.lead, out, |_, at| stat::spread(Spread::Std, at)),
                    }
                }
            }
            Family::Shape(_) => {
                let blocks = &mut scratch.shape;
                blocks.fill::<Shape, FULL>(bars, longest, |row| {
                    let [n, value] = filled(row);
                    [n, value, 0.0, 0.0, 0.0]
                });
                for request in requests {
                    let Family::Shape(kind) = request.family() else { continue };
                    let view = blocks.window::<Shape, FULL>(request.bars, self.lead);
                    view.each(self.lead, self.out(request, outs), |_, at| stat::tails(kind, at));
                }
            }
            Family::Line(_) => {
                let blocks = &mut scratch.pairs;
                blocks.fill::<Line, FULL>(bars, longest, |row| {
                    let [n, value] = filled(row);
                    [n, 0.0, value, 0.0, 0.0, 0.0]
                });
                // Several statistics of one window share its summary.
                let mut windows: Vec<usize> = requests.iter().map(|request| request.bars).collect();
                windows.sort_unstable();
                windows.dedup();
                for bars in windows {
                    let view = blocks.window::<Line, FULL>(bars, self.lead);
                    for request in requests.iter().filter(|request| request.bars == bars) {
                        let Family::Line(kind) = request.family() else { continue };
                        let out = self.out(request, outs);
                        let own = &self.input[self.lead..][..out.len()];
                        let newest = |row: usize| Newest {
                            value: known(own[row]),
                            bars: self.spanned::<FULL>(self.lead + row, bars),
                        };
                        // One loop for each, so that each has no choice to make inside.
                        match kind {
                            Trend::Slope => {
                                view.each(self.lead, out, |row, at| {
                                    stat::trend(Trend::Slope, at, newest(row))
                                });
                            }
                            Trend::Resi => {
                                view.each(self.lead, out, |row, at| {
                                    stat::trend(Trend::Resi, at, newest(row))
                                });
                            }
                            Trend::Rsquare => {
                                view.each(self.lead, out, |row, at| {
                                    stat::trend(Trend::Rsquare, at, newest(row))
                                });
                            }
                            other => {
                                view.each(self.lead, out, |row, at| stat::trend(other, at, newest(row)));
                            }
                        }
                    }
                }
            }
            Family::Largest(sign) => {
                let blocks = &mut scratch.largest;
                let sign = sign.value();
                blocks.fill::<Largest, FULL>(bars, longest, |row| [sign * known(value(row))]);
                for request in requests {
                    let (older, apart, newer) = blocks.overlapping::<Largest, FULL>(request.bars);
                    let apart = apart as f64;
                    older.each_with(&newer, self.lead, self.out(request, outs), |_, older, newer| {
                        let [largest] = Largest::merge(older, newer, apart);
                        sign * largest
                    });
                }
            }
            Family::FirstLargest(sign) => {
                let blocks = &mut scratch.moments;
                let sign = sign.value();
                blocks.fill::<FirstLargest, FULL>(bars, longest, |row| {
                    let value = known(value(row));
                    [sign * value, 0.0, one_if(!value.is_nan())]
                });
                for request in requests {
                    let (older, apart, newer) = blocks.overlapping::<FirstLargest, FULL>(request.bars);
                    let apart = apart as f64;
                    older.each_with(&newer, self.lead, self.out(request, outs), |row, older, newer| {
                        let spanned = self.spanned::<FULL>(self.lead + row, request.bars);
                        place(FirstLargest::merge(older, newer, apart), spanned)
                    });
                }
            }
            Family::Sorted | Family::Ranked | Family::Visited => {}
        }
    }

    /// How many bars a window spans.
    #[inline(always)]
    fn spanned<const FULL: bool>(&self, row: usize, bars: usize) -> f64 {
        if FULL { bars as f64 } else { (self.before + row + 1).min(bars) as f64 }
    }

    /// Where the results of a request stand.
    #[inline(always)]
    fn out<'a>(&self, request: &Request, outs: &'a mut [Vec<f64>]) -> &'a mut [f64] {
        let rows = self.input.len() - self.lead;
        &mut outs[request.index][self.start..self.start + rows]
    }
}

/// The 1-based place of the first largest value, counted from the oldest of `spanned` bars.
#[inline(always)]
fn place([_, age, known]: [f64; 3], spanned: f64) -> f64 {
    if known > 0.0 { spanned - age } else { f64::NAN }
}

/// The pair of one bar: missing if either side is.
#[inline(always)]
fn pair_leaf([x, y]: [f64; 2]) -> [f64; 6] {
    let both = x.is_finite() & y.is_finite();
    if both { [1.0, x, y, 0.0, 0.0, 0.0] } else { Pairs::EMPTY }
}

#[inline(always)]
fn moments_leaf(value: f64) -> [f64; 3] {
    if value.is_finite() { [1.0, value, 0.0] } else { Moments::EMPTY }
}

#[inline(always)]
fn pairs<const FULL: bool>(
    inputs: [&[f64]; 2],
    (lead, start): (usize, usize),
    requests: &[(usize, PairStat, usize)],
    outs: &mut [Vec<f64>],
    scratch: &mut Scratch,
) {
    let bars = inputs[0].len();
    let longest = requests.iter().map(|(_, _, bars)| *bars).max().unwrap_or(1);
    let Scratch { pairs, sides, .. } = scratch;
    pairs.fill::<Pairs, FULL>(bars, longest, |row| pair_leaf([inputs[0][row], inputs[1][row]]));
    // Where both sides are known on the same bars, what a side is alone it is in the pairs, to the bit.
    let alone = !FULL
        && requests.iter().any(|(_, stat, _)| *stat == PairStat::Corr)
        && inputs[0].iter().zip(inputs[1]).any(|(x, y)| x.is_finite() != y.is_finite());
    if alone {
        for (side, input) in sides.iter_mut().zip(inputs) {
            side.fill::<Moments, FULL>(bars, longest, |row| moments_leaf(input[row]));
        }
    }
    for (index, stat, window) in requests {
        let out = &mut outs[*index][start..start + bars - lead];
        let view = pairs.window::<Pairs, FULL>(*window, lead);
        if alone {
            let [left, right] = sides;
            let left = left.window::<Moments, FULL>(*window, lead);
            let right = right.window::<Moments, FULL>(*window, lead);
            for (row, out) in out.iter_mut().enumerate() {
                let row = lead + row;
                let flat = stat::is_flat_to_qlib(left.at(row)) | stat::is_flat_to_qlib(right.at(row));
                *out = stat::pair(*stat, view.at(row), flat);
            }
        } else {
            // One loop for each, so that each has no choice to make inside.
            match stat {
                PairStat::Corr => each_pair(PairStat::Corr, &view, lead, out),
                PairStat::Pearson => each_pair(PairStat::Pearson, &view, lead, out),
                PairStat::Cov => each_pair(PairStat::Cov, &view, lead, out),
            }
        }
    }
}

/// One statistic of pairs at every bar, where each side is known on the same bars.
#[inline(always)]
fn each_pair<const FULL: bool>(
    stat: PairStat,
    view: &View<'_, Pairs, 6, FULL>,
    lead: usize,
    out: &mut [f64],
) {
    view.each(lead, out, |_, at| {
        let [n, x, y, xx, yy, _] = at;
        let flat = stat::is_flat_to_qlib([n, x, xx]) | stat::is_flat_to_qlib([n, y, yy]);
        stat::pair(stat, at, flat)
    });
}

/// What cannot be put together from blocks, window by window.
fn visited(input: &[f64], lead: usize, requests: &[Request], outs: &mut [Vec<f64>]) {
    for request in requests {
        for bar in lead..input.len() {
            let window = &input[(bar + 1).saturating_sub(request.bars)..=bar];
            outs[request.index][bar - lead] = visit(request.stat, window);
        }
    }
}

/// A statistic of a window, oldest bar first, from all of its values.
fn visit(stat: Stat, window: &[f64]) -> f64 {
    match stat {
        Stat::GrowingMean => growing_mean(window),
        _ => mean_deviation(window),
    }
}

/// Qlib's `EMA(x, 0)`: the bars so far, n of them, each weighing 1 - 2 / (n + 1) of the next; the weights sum to 1 over
/// all bars, missing ones too (`exp_weighted_mean` in `qlib/data/ops.py`).
fn growing_mean(window: &[f64]) -> f64 {
    let keep = 1.0 - 2.0 / (window.len() as f64 + 1.0);
    // By Horner's rule, from the oldest bar on.
    let (mut sum, mut weights, mut count) = (0.0, 0.0, 0.0);
    for value in window {
        let known = value.is_finite();
        sum = sum * keep + if known { *value } else { 0.0 };
        weights = weights * keep + 1.0;
        count += one_if(known);
    }
    if count > 0.0 { sum / weights } else { f64::NAN }
}

/// Mean absolute deviation from the mean of the known values, oldest first.
fn mean_deviation(window: &[f64]) -> f64 {
    let values = || window.iter().copied().filter(|value| value.is_finite());
    let (n, sum) = values().fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
    let mean = sum / n;
    values().map(|value| (value - mean).abs()).sum::<f64>() / n
}

#[cfg(test)]
mod tests;
