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

use std::marker::PhantomData;
use std::ops::Range;

/// Bars whose blocks are merged side by side: two vector registers of 256 bits.
pub(super) const LANES: usize = 8;

/// What is known of a block of bars: `C` numbers, and how two neighbouring blocks become one.
pub(super) trait Summary<const C: usize> {
    /// Of no bar at all, and of bars before the series began.
    const EMPTY: [f64; C];
    /// Of one known bar, whose value is 0.
    const ONE: [f64; C];
    /// Which numbers depend on where known bars are alone, not on their values: over a stretch without missing
    /// values they are the same at every bar, and are not kept for each.
    const OF_PLACES: [bool; C];

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
    /// Of each level the summary of a block without missing values, as far as places alone decide it.
    full: Vec<[f64; C]>,
}

impl<const C: usize> Default for Blocks<C> {
    fn default() -> Self {
        let none = || std::array::from_fn(|_| Vec::new());
        Self { levels: Vec::new(), merged: none(), spare: none(), pad: 0, rows: 0, full: Vec::new() }
    }
}

/// Summaries at every bar: the numbers, where the first bar's stand, and those of a block without missing values.
struct Rows<'a, const C: usize> {
    numbers: &'a [Vec<f64>; C],
    from: usize,
    full: [f64; C],
}

/// Summaries of one window at every bar; `FULL` promises that none has a missing value.
pub(super) struct View<'a, S, const C: usize, const FULL: bool> {
    rows: Rows<'a, C>,
    summary: PhantomData<S>,
}

impl<S: Summary<C>, const C: usize, const FULL: bool> View<'_, S, C, FULL> {
    /// The summary at a bar.
    #[inline(always)]
    pub(super) fn at(&self, row: usize) -> [f64; C] {
        let Rows { numbers, from, full } = &self.rows;
        // A loop, since `from_fn` would be compiled apart.
        let mut summary = *full;
        for c in 0..C {
            if !(FULL && S::OF_PLACES[c]) {
                summary[c] = numbers[c][from + row];
            }
        }
        summary
    }
}

impl<S: Summary<C>, const C: usize, const FULL: bool> View<'_, S, C, FULL> {
    /// Gives `out` what `result` makes of the summary at each bar, from bar `first` on; it gets the place in `out` too.
    #[inline(always)]
    pub(super) fn each(&self, first: usize, out: &mut [f64], result: impl Fn(usize, [f64; C]) -> f64) {
        let numbers = self.numbers(first, out.len());
        for (row, out) in out.iter_mut().enumerate() {
            *out = result(row, self.summary(&numbers, row));
        }
    }

    /// As [`View::each`], with the summaries of another view at the same bars.
    #[inline(always)]
    pub(super) fn each_with(
        &self,
        other: &Self,
        first: usize,
        out: &mut [f64],
        result: impl Fn(usize, [f64; C], [f64; C]) -> f64,
    ) {
        let (numbers, others) = (self.numbers(first, out.len()), other.numbers(first, out.len()));
        for (row, out) in out.iter_mut().enumerate() {
            *out = result(row, self.summary(&numbers, row), other.summary(&others, row));
        }
    }

    /// The numbers that are kept for each bar, of so many bars: slices of one length, so that a loop over them has
    /// nothing to check and runs in vectors.
    #[inline(always)]
    fn numbers(&self, first: usize, rows: usize) -> [&[f64]; C] {
        let mut kept: [&[f64]; C] = [&[]; C];
        for (c, kept) in kept.iter_mut().enumerate() {
            if !(FULL && S::OF_PLACES[c]) {
                *kept = &self.rows.numbers[c][self.rows.from + first..][..rows];
            }
        }
        kept
    }

    #[inline(always)]
    fn summary(&self, numbers: &[&[f64]; C], row: usize) -> [f64; C] {
        let mut summary = self.rows.full;
        for c in 0..C {
            if !(FULL && S::OF_PLACES[c]) {
                summary[c] = numbers[c][row];
            }
        }
        summary
    }
}

impl<const C: usize> Blocks<C> {
    /// Makes the blocks of `rows` bars for windows of up to `bars`; `leaf` is the summary of a single bar. With
    /// `FULL` no value is missing, and windows that reach beyond the first bar are not asked for.
    #[inline(always)]
    pub(super) fn fill<S: Summary<C>, const FULL: bool>(
        &mut self,
        rows: usize,
        bars: usize,
        leaf: impl Fn(usize) -> [f64; C],
    ) {
        let top = top_level(bars);
        self.pad = 1usize << top;
        self.rows = rows.next_multiple_of(LANES);
        if self.levels.len() <= top {
            self.levels.resize_with(top + 1, || std::array::from_fn(|_| Vec::new()));
        }
        self.full.clear();
        let mut full = S::ONE;
        for (level, numbers) in self.levels[..=top].iter_mut().enumerate() {
            for (number, empty) in numbers.iter_mut().zip(S::EMPTY) {
                number.resize(self.pad + self.rows, empty);
                number[..self.pad].fill(empty);
            }
            self.full.push(full);
            full = S::merge(full, full, (1usize << level) as f64);
        }
        let (pad, last) = (self.pad, self.rows);
        for (c, number) in self.levels[0].iter_mut().enumerate().filter(|(c, _)| !(FULL && S::OF_PLACES[*c]))
        {
            let number = &mut number[pad..pad + last];
            for (row, number) in number[..rows].iter_mut().enumerate() {
                *number = leaf(row)[c];
            }
            number[rows..].fill(S::EMPTY[c]);
        }
        for level in 1..=top {
            let bars = 1usize << (level - 1);
            let (below, above) = self.levels.split_at_mut(level);
            let full = self.full[level - 1];
            let older = Rows { numbers: &below[level - 1], from: pad - bars, full };
            let newer = Rows { numbers: &below[level - 1], from: pad, full };
            merge_rows::<S, C, FULL>(&older, &newer, bars, (&mut above[0], pad), 0..last);
        }
    }

    /// Summaries of the window of `bars` bars that ends at each bar from `first_row` on.
    #[inline(always)]
    pub(super) fn window<S: Summary<C>, const FULL: bool>(
        &mut self,
        bars: usize,
        first_row: usize,
    ) -> View<'_, S, C, FULL> {
        let mut parts = digits(bars);
        let (first, _) = parts.next().unwrap_or((0, 0));
        let from = first_row - first_row % LANES;
        let rows = from..self.rows;
        let mut full = self.full[first];
        let mut whole = true;
        for (level, newer_bars) in parts {
            for number in &mut self.spare {
                number.resize(self.rows, 0.0);
            }
            let older =
                Rows { numbers: &self.levels[level], from: self.pad - newer_bars, full: self.full[level] };
            let newer = if whole {
                Rows { numbers: &self.levels[first], from: self.pad, full }
            } else {
                Rows { numbers: &self.merged, from: 0, full }
            };
            merge_rows::<S, C, FULL>(&older, &newer, newer_bars, (&mut self.spare, 0), rows.clone());
            full = S::merge(self.full[level], full, newer_bars as f64);
            std::mem::swap(&mut self.merged, &mut self.spare);
            whole = false;
        }
        let rows = if whole {
            Rows { numbers: &self.levels[first], from: self.pad, full }
        } else {
            Rows { numbers: &self.merged, from: 0, full }
        };
        View { rows, summary: PhantomData }
    }

    /// Summaries of the last `bars` bars as two blocks that may overlap, for what does not count twice: the
    /// older block, how far it reaches beyond the newer one, and the newer block.
    #[inline(always)]
    pub(super) fn overlapping<S: Summary<C>, const FULL: bool>(
        &self,
        bars: usize,
    ) -> (View<'_, S, C, FULL>, usize, View<'_, S, C, FULL>) {
        let level = top_level(bars);
        let apart = bars - (1 << level);
        let view = |from: usize| {
            let rows = Rows { numbers: &self.levels[level], from, full: self.full[level] };
            View { rows, summary: PhantomData }
        };
        (view(self.pad - apart), apart, view(self.pad))
    }
}

/// Merges the blocks of many bars, whole lanes of them.
#[inline(always)]
fn merge_rows<S: Summary<C>, const C: usize, const FULL: bool>(
    older: &Rows<'_, C>,
    newer: &Rows<'_, C>,
    newer_bars: usize,
    out: (&mut [Vec<f64>; C], usize),
    rows: Range<usize>,
) {
    let (out, out_from) = out;
    let newer_bars = newer_bars as f64;
    let kept = |c: usize| !(FULL && S::OF_PLACES[c]);
    for row in rows.step_by(LANES) {
        // Copied to the stack, where the compiler knows that nothing overlaps.
        let mut left = [[0.0; LANES]; C];
        let mut right = [[0.0; LANES]; C];
        for c in (0..C).filter(|c| kept(*c)) {
            left[c].copy_from_slice(&older.numbers[c][older.from + row..older.from + row + LANES]);
            right[c].copy_from_slice(&newer.numbers[c][newer.from + row..newer.from + row + LANES]);
        }
        let mut both = [[0.0; LANES]; C];
        for lane in 0..LANES {
            let (mut a, mut b) = (older.full, newer.full);
            for c in 0..C {
                if kept(c) {
                    (a[c], b[c]) = (left[c][lane], right[c][lane]);
                }
            }
            let merged = S::merge(a, b, newer_bars);
            for c in 0..C {
                both[c][lane] = merged[c];
            }
        }
        for c in (0..C).filter(|c| kept(*c)) {
            out[c][out_from + row..out_from + row + LANES].copy_from_slice(&both[c]);
        }
    }
}

/// The blocks that the windows of the newest bar need, bar after bar.
#[derive(Debug, Clone)]
pub(super) struct BlockStream<const C: usize> {
    /// Of level k the newest 2^k blocks in a ring, which begins after those of all lower levels.
    blocks: Vec<[f64; C]>,
    top: usize,
    /// Bars so far.
    bars: usize,
}

impl<const C: usize> BlockStream<C> {
    /// For windows of up to `bars` bars.
    pub(super) fn new<S: Summary<C>>(bars: usize) -> Self {
        let top = top_level(bars);
        Self { blocks: vec![S::EMPTY; (2 << top) - 1], top, bars: 0 }
    }

    /// Takes the next bar's summary.
    #[inline]
    pub(super) fn push<S: Summary<C>>(&mut self, leaf: [f64; C]) {
        self.bars += 1;
        let mut block = leaf;
        for level in 0..=self.top {
            // The block it overwrites ends where the new one begins.
            let place = self.place(level, 0);
            let older = std::mem::replace(&mut self.blocks[place], block);
            if level < self.top {
                block = S::merge(older, block, (1usize << level) as f64);
            }
        }
    }

    /// Where the block of a level stands that ended so many bars ago.
    #[inline]
    fn place(&self, level: usize, ago: usize) -> usize {
        let ring = 1 << level;
        ring - 1 + (self.bars.wrapping_sub(ago) & (ring - 1))
    }

    /// The summary of the last `bars` bars.
    #[inline]
    pub(super) fn window<S: Summary<C>>(&self, bars: usize) -> [f64; C] {
        let mut merged: Option<[f64; C]> = None;
        for (level, newer_bars) in digits(bars) {
            let block = self.blocks[self.place(level, newer_bars)];
            merged = Some(merged.map_or(block, |newer| S::merge(block, newer, newer_bars as f64)));
        }
        merged.unwrap_or(S::EMPTY)
    }

    /// As [`Blocks::overlapping`].
    #[inline]
    pub(super) fn overlapping(&self, bars: usize) -> ([f64; C], usize, [f64; C]) {
        let level = top_level(bars);
        let apart = bars - (1 << level);
        (self.blocks[self.place(level, apart)], apart, self.blocks[self.place(level, 0)])
    }
}
