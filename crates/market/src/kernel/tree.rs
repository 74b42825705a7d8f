//! Windows put together from blocks of 1, 2, 4, 8, ... bars.
//!
//! The block of level k at a bar summarises the 2^k bars that end there: two blocks of level k - 1 merged. A
//! window of N bars is one block for each binary digit of N, the smallest newest. So a window costs at most
//! log2 N merges, windows of one series share all blocks, and which values are merged with which depends on
//! their distance from the newest bar alone: the result is a function of the window's values, whatever came
//! before them, to the bit. A sum made this way is off by at most 2 log2 N roundings of the sum of magnitudes.
//!
//! What a block holds and how two become one is a [`Summary`]; there is one in `summary` for each family of
//! operators. The same merge runs over many bars at once ([`Blocks`]) and over the newest alone
//! ([`BlockStream`]).

use std::collections::VecDeque;
use std::ops::Range;

/// Bars whose blocks are merged side by side: two vector registers of 256 bits.
pub(super) const LANES: usize = 8;

/// What is known of a block of bars: `C` numbers, and how two neighbouring blocks become one.
pub(super) trait Summary<const C: usize> {
    /// Of no bar at all, and of bars before the series began.
    const EMPTY: [f64; C];

    /// Of both blocks; the newer one spans `newer_bars` bars.
    fn merge(older: [f64; C], newer: [f64; C], newer_bars: f64) -> [f64; C];
}

/// The binary digits of a window, smallest first: level of the block, and how many newer bars there are.
fn digits(bars: usize) -> impl Iterator<Item = (usize, usize)> {
    let levels = usize::BITS as usize - bars.leading_zeros() as usize;
    (0..levels)
        .filter(move |level| bars >> level & 1 == 1)
        .map(move |level| (level, bars & ((1 << level) - 1)))
}

/// The highest level that windows of so many bars need.
fn top_level(bars: usize) -> usize {
    bars.max(1).ilog2() as usize
}

/// The blocks of all levels of a stretch of a series, number by number.
#[derive(Debug)]
pub(super) struct Blocks<const C: usize> {
    /// Of each level the numbers of the block at each bar, after [`Blocks::pad`] empty ones.
    levels: Vec<[Vec<f64>; C]>,
    merged: [Vec<f64>; C],
    spare: [Vec<f64>; C],
    pad: usize,
    /// Bars, rounded up to whole lanes.
    rows: usize,
}

impl<const C: usize> Default for Blocks<C> {
    fn default() -> Self {
        let none = || std::array::from_fn(|_| Vec::new());
        Self { levels: Vec::new(), merged: none(), spare: none(), pad: 0, rows: 0 }
    }
}

/// Summaries of one window at every bar: the numbers, and where the first bar's stand.
pub(super) struct View<'a, const C: usize> {
    numbers: &'a [Vec<f64>; C],
    from: usize,
}

impl<const C: usize> View<'_, C> {
    /// The summary at a bar.
    #[inline(always)]
    pub(super) fn at(&self, row: usize) -> [f64; C] {
        std::array::from_fn(|c| self.numbers[c][self.from + row])
    }
}

impl<const C: usize> Blocks<C> {
    /// Makes the blocks of `rows` bars for windows of up to `bars`; `leaf` is the summary of a single bar.
    #[inline(always)]
    pub(super) fn fill<S: Summary<C>>(&mut self, rows: usize, bars: usize, leaf: impl Fn(usize) -> [f64; C]) {
        let top = top_level(bars);
        self.pad = 1usize << top;
        self.rows = rows.next_multiple_of(LANES);
        if self.levels.len() <= top {
            self.levels.resize_with(top + 1, || std::array::from_fn(|_| Vec::new()));
        }
        for numbers in &mut self.levels[..=top] {
            for (number, empty) in numbers.iter_mut().zip(S::EMPTY) {
                number.resize(self.pad + self.rows, empty);
                number[..self.pad].fill(empty);
            }
        }
        for row in 0..self.rows {
            let own = if row < rows { leaf(row) } else { S::EMPTY };
            for (number, own) in self.levels[0].iter_mut().zip(own) {
                number[self.pad + row] = own;
            }
        }
        for level in 1..=top {
            let bars = 1usize << (level - 1);
            let (below, above) = self.levels.split_at_mut(level);
            let (below, pad) = (&below[level - 1], self.pad);
            merge_rows::<S, C>((below, pad - bars), (below, pad), bars, (&mut above[0], pad), 0..self.rows);
        }
    }

    /// Summaries of the window of `bars` bars that ends at each bar from `first_row` on.
    #[inline(always)]
    pub(super) fn window<S: Summary<C>>(&mut self, bars: usize, first_row: usize) -> View<'_, C> {
        let mut parts = digits(bars);
        let (first, _) = parts.next().unwrap_or((0, 0));
        let from = first_row - first_row % LANES;
        let rows = from..self.rows;
        let mut whole = true;
        for (level, newer_bars) in parts {
            for number in &mut self.spare {
                number.resize(self.rows, 0.0);
            }
            let older = (&self.levels[level], self.pad - newer_bars);
            let newer = if whole { (&self.levels[first], self.pad) } else { (&self.merged, 0) };
            merge_rows::<S, C>(older, newer, newer_bars, (&mut self.spare, 0), rows.clone());
            std::mem::swap(&mut self.merged, &mut self.spare);
            whole = false;
        }
        if whole {
            View { numbers: &self.levels[first], from: self.pad }
        } else {
            View { numbers: &self.merged, from: 0 }
        }
    }

    /// Summaries of the last `bars` bars as two blocks that may overlap, for what does not count twice: the
    /// older block, how far it reaches beyond the newer one, and the newer block.
    #[inline(always)]
    pub(super) fn overlapping(&self, bars: usize) -> (View<'_, C>, usize, View<'_, C>) {
        let level = top_level(bars);
        let apart = bars - (1 << level);
        let numbers = &self.levels[level];
        (View { numbers, from: self.pad - apart }, apart, View { numbers, from: self.pad })
    }
}

/// Numbers of blocks, and where the first row's stand.
type Rows<'a, const C: usize> = (&'a [Vec<f64>; C], usize);

/// Merges the blocks of many bars, whole lanes of them.
#[inline(always)]
fn merge_rows<S: Summary<C>, const C: usize>(
    older: Rows<'_, C>,
    newer: Rows<'_, C>,
    newer_bars: usize,
    out: (&mut [Vec<f64>; C], usize),
    rows: Range<usize>,
) {
    let (older, older_from) = older;
    let (newer, newer_from) = newer;
    let (out, out_from) = out;
    let newer_bars = newer_bars as f64;
    for row in rows.step_by(LANES) {
        // Copied to the stack, where the compiler knows that nothing overlaps.
        let mut left = [[0.0; LANES]; C];
        let mut right = [[0.0; LANES]; C];
        for c in 0..C {
            left[c].copy_from_slice(&older[c][older_from + row..older_from + row + LANES]);
            right[c].copy_from_slice(&newer[c][newer_from + row..newer_from + row + LANES]);
        }
        let mut both = [[0.0; LANES]; C];
        for lane in 0..LANES {
            let a = std::array::from_fn(|c| left[c][lane]);
            let b = std::array::from_fn(|c| right[c][lane]);
            let merged = S::merge(a, b, newer_bars);
            for c in 0..C {
                both[c][lane] = merged[c];
            }
        }
        for c in 0..C {
            out[c][out_from + row..out_from + row + LANES].copy_from_slice(&both[c]);
        }
    }
}

/// The blocks that the windows of the newest bar need, bar after bar.
#[derive(Debug, Clone)]
pub(super) struct BlockStream<const C: usize> {
    /// Of each level the newest blocks, newest first: one more than it spans bars.
    levels: Vec<VecDeque<[f64; C]>>,
}

impl<const C: usize> BlockStream<C> {
    /// For windows of up to `bars` bars.
    pub(super) fn new<S: Summary<C>>(bars: usize) -> Self {
        let ring = |level: usize| VecDeque::from(vec![S::EMPTY; (1 << level) + 1]);
        Self { levels: (0..=top_level(bars)).map(ring).collect() }
    }

    /// Takes the next bar's summary.
    pub(super) fn push<S: Summary<C>>(&mut self, leaf: [f64; C]) {
        let mut block = leaf;
        for level in 0..self.levels.len() {
            let bars = 1usize << level;
            let ring = &mut self.levels[level];
            ring.pop_back();
            ring.push_front(block);
            block = S::merge(ring[bars], block, bars as f64);
        }
    }

    /// The summary of the last `bars` bars.
    pub(super) fn window<S: Summary<C>>(&self, bars: usize) -> [f64; C] {
        let mut merged: Option<[f64; C]> = None;
        for (level, newer_bars) in digits(bars) {
            let block = self.levels[level][newer_bars];
            merged = Some(merged.map_or(block, |newer| S::merge(block, newer, newer_bars as f64)));
        }
        merged.unwrap_or(S::EMPTY)
    }

    /// As [`Blocks::overlapping`].
    pub(super) fn overlapping(&self, bars: usize) -> ([f64; C], usize, [f64; C]) {
        let level = top_level(bars);
        let apart = bars - (1 << level);
        (self.levels[level][apart], apart, self.levels[level][0])
    }
}
