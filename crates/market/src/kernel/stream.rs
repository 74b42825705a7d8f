//! The same operators bar by bar: the newest value in, the newest results out, to the bits of a batch.

use super::carried::{Decay, Expanding};
use super::order::{self, SlidingOrder};
use super::stat::{self, Newest};
use super::summary::{FirstLargest, Largest, Line, Moments, Pairs, Shape, Sums};
use super::tree::{BlockStream, Summary};
use super::{Family, PairStat, Stat, Window, known, moments_leaf, one_if, pair_leaf, place, visit};

/// Every statistic asked of one series, as of its newest bar. Memory grows with the longest window alone,
/// but for quantiles, ranks and `Mad` over all bars.
#[derive(Debug, Clone)]
pub(crate) struct RollingStream {
    requests: Vec<(Stat, Source)>,
    blocks: Vec<(Family, Summaries)>,
    sorted: Vec<(usize, SlidingOrder)>,
    /// As many values as the longest window that visits or sorts them has, and one more.
    recent: Recent,
    bars: usize,
    begun: bool,
}

/// Where a request finds what it needs.
#[derive(Debug, Clone)]
enum Source {
    Blocks { index: usize, bars: usize },
    Sorted { index: usize },
    Ranked { bars: usize },
    Visited { bars: usize },
    Expanding(Box<Expanding>),
    Decay(Decay),
}

#[derive(Debug, Clone)]
enum Summaries {
    Sums(BlockStream<2>),
    Moments(BlockStream<3>),
    Shape(BlockStream<5>),
    Line(BlockStream<6>),
    Largest(BlockStream<1>),
    FirstLargest(BlockStream<3>),
}

impl RollingStream {
    /// Before the first bar.
    pub(crate) fn new(requests: &[(Stat, Window)]) -> Self {
        let mut stream = Self {
            requests: Vec::with_capacity(requests.len()),
            blocks: Vec::new(),
            sorted: Vec::new(),
            recent: Recent::default(),
            bars: 0,
            begun: false,
        };
        let mut recent_bars = 0;
        for (stat, window) in requests {
            let source = match window {
                Window::Expanding => Source::Expanding(Box::new(Expanding::new(*stat))),
                Window::Decay(alpha) => Source::Decay(Decay::new(f64::from_bits(*alpha))),
                Window::Bars(bars) => stream.source(stat.family(*bars), *bars, requests),
            };
            recent_bars = recent_bars.max(match (window, &source) {
                (
                    Window::Bars(bars),
                    Source::Sorted { .. } | Source::Ranked { .. } | Source::Visited { .. },
                ) => bars + 1,
                _ => 0,
            });
            stream.requests.push((*stat, source));
        }
        stream.recent = Recent::new(recent_bars);
        stream
    }

    fn source(&mut self, family: Family, bars: usize, requests: &[(Stat, Window)]) -> Source {
        match family {
            Family::Sorted => {
                let known = self.sorted.iter().position(|(length, _)| *length == bars);
                let index = known.unwrap_or_else(|| {
                    self.sorted.push((bars, SlidingOrder::new(bars)));
                    self.sorted.len() - 1
                });
                Source::Sorted { index }
            }
            Family::Ranked => Source::Ranked { bars },
            Family::Visited => Source::Visited { bars },
            _ => {
                let known = self.blocks.iter().position(|(other, _)| other.shares_blocks(family));
                let index = known.unwrap_or_else(|| {
                    let lengths = requests.iter().filter_map(|(stat, window)| match window {
                        Window::Bars(bars) if stat.family(*bars).shares_blocks(family) => Some(*bars),
                        _ => None,
                    });
                    let longest = lengths.max().unwrap_or(1);
                    self.blocks.push((family, Summaries::new(family, longest)));
                    self.blocks.len() - 1
                });
                Source::Blocks { index, bars }
            }
        }
    }

    /// Says that the instrument's first bar comes next: what is carried from the first bar on begins there, while windows
    /// count the bars before it as well.
    pub(crate) fn begin(&mut self) {
        self.begun = true;
    }

    /// Takes the next bar's value and gives every result, in the order of the requests.
    pub(crate) fn push(&mut self, raw: f64, out: &mut [f64]) {
        self.bars += 1;
        for (family, summaries) in &mut self.blocks {
            summaries.push(*family, raw);
        }
        self.recent.push(raw);
        for (bars, window) in &mut self.sorted {
            window.slide(self.recent.newest(*bars + 1)[0], raw);
        }
        for ((stat, source), out) in self.requests.iter_mut().zip(out) {
            *out = match source {
                Source::Expanding(_) | Source::Decay(_) if !self.begun => f64::NAN,
                Source::Expanding(state) => state.push(raw),
                Source::Decay(state) => state.push(raw),
                Source::Sorted { index } => match stat {
                    Stat::Quantile(level) => self.sorted[*index].1.quantile(level.value()),
                    _ => self.sorted[*index].1.rank(raw),
                },
                Source::Ranked { bars } => order::rank_of_last(self.recent.newest(*bars)),
                // Bars before the first are missing, and add nothing.
                Source::Visited { bars } => visit(*stat, self.recent.newest(*bars)),
                Source::Blocks { index, bars } => {
                    let spanned = self.bars.min(*bars) as f64;
                    self.blocks[*index].1.result(*stat, *bars, Newest { value: known(raw), bars: spanned })
                }
            };
        }
    }
}

/// The newest values of a series, side by side.
#[derive(Debug, Clone, Default)]
struct Recent {
    /// Twice as many as are kept, so that they are moved to the front once in a while only.
    values: Vec<f64>,
    kept: usize,
    end: usize,
}

impl Recent {
    fn new(kept: usize) -> Self {
        Self { values: vec![f64::NAN; 2 * kept], kept, end: kept }
    }

    fn push(&mut self, value: f64) {
        if self.kept == 0 {
            return;
        }
        if self.end == self.values.len() {
            self.values.copy_within(self.end - self.kept + 1.., 0);
            self.end = self.kept - 1;
        }
        self.values[self.end] = value;
        self.end += 1;
    }

    /// The last `bars` values, oldest first; NaN before the first bar.
    fn newest(&self, bars: usize) -> &[f64] {
        &self.values[self.end - bars..self.end]
    }
}

impl Summaries {
    fn new(family: Family, bars: usize) -> Self {
        match family {
            Family::Moments(_) => Self::Moments(BlockStream::new::<Moments>(bars)),
            Family::Shape(_) => Self::Shape(BlockStream::new::<Shape>(bars)),
            Family::Line(_) => Self::Line(BlockStream::new::<Line>(bars)),
            Family::Largest(_) => Self::Largest(BlockStream::new::<Largest>(bars)),
            Family::FirstLargest(_) => Self::FirstLargest(BlockStream::new::<FirstLargest>(bars)),
            Family::Counts | Family::Sums | Family::Sorted | Family::Ranked | Family::Visited => {
                Self::Sums(BlockStream::new::<Sums>(bars))
            }
        }
    }

    fn push(&mut self, family: Family, raw: f64) {
        let [n, mean, _] = moments_leaf(raw);
        match (self, family) {
            (Self::Sums(blocks), Family::Counts) => blocks.push::<Sums>([one_if(!raw.is_nan()), 0.0]),
            (Self::Sums(blocks), _) => blocks.push::<Sums>([n, mean]),
            (Self::Moments(blocks), _) => blocks.push::<Moments>([n, mean, 0.0]),
            (Self::Shape(blocks), _) => blocks.push::<Shape>([n, mean, 0.0, 0.0, 0.0]),
            (Self::Line(blocks), _) => blocks.push::<Line>([n, 0.0, mean, 0.0, 0.0, 0.0]),
            (Self::Largest(blocks), Family::Largest(sign)) => {
                blocks.push::<Largest>([sign.value() * known(raw)]);
            }
            (Self::FirstLargest(blocks), Family::FirstLargest(sign)) => {
                blocks.push::<FirstLargest>([sign.value() * known(raw), 0.0, n]);
            }
            (Self::Largest(_) | Self::FirstLargest(_), _) => {}
        }
    }

    fn result(&self, stat: Stat, bars: usize, newest: Newest) -> f64 {
        match (self, stat.family(bars)) {
            (Self::Sums(blocks), family) => {
                let [n, sum] = blocks.window::<Sums>(bars);
                match stat {
                    _ if family == Family::Counts => n,
                    Stat::Mean => sum / n,
                    _ => sum / one_if(n > 0.0),
                }
            }
            (Self::Moments(blocks), Family::Moments(kind)) => {
                stat::spread(kind, blocks.window::<Moments>(bars))
            }
            (Self::Shape(blocks), Family::Shape(kind)) => stat::tails(kind, blocks.window::<Shape>(bars)),
            (Self::Line(blocks), Family::Line(kind)) => {
                stat::trend(kind, blocks.window::<Line>(bars), newest)
            }
            (Self::Largest(blocks), Family::Largest(sign)) => {
                let (older, apart, newer) = blocks.overlapping(bars);
                let [largest] = Largest::merge(older, newer, apart as f64);
                sign.value() * largest
            }
            (Self::FirstLargest(blocks), Family::FirstLargest(_)) => {
                let (older, apart, newer) = blocks.overlapping(bars);
                place(FirstLargest::merge(older, newer, apart as f64), newest.bars)
            }
            _ => f64::NAN,
        }
    }
}

/// Every statistic asked of two series together, as of their newest bar.
#[derive(Debug, Clone)]
pub(crate) struct PairStream {
    /// With the bars of its window; all so far without.
    requests: Vec<(PairStat, Option<usize>)>,
    pairs: BlockStream<6>,
    sides: [BlockStream<3>; 2],
    all: [f64; 6],
    all_sides: [[f64; 3]; 2],
    bars: usize,
    begun: bool,
}

impl PairStream {
    /// Before the first bar.
    pub(crate) fn new(requests: &[(PairStat, Window)]) -> Self {
        let bars = |window: &Window| match window {
            Window::Bars(bars) => Some(*bars),
            _ => None,
        };
        let requests: Vec<_> = requests.iter().map(|(stat, window)| (*stat, bars(window))).collect();
        let longest = requests.iter().filter_map(|(_, bars)| *bars).max().unwrap_or(1);
        Self {
            requests,
            pairs: BlockStream::new::<Pairs>(longest),
            sides: [(); 2].map(|()| BlockStream::new::<Moments>(longest)),
            all: Pairs::EMPTY,
            all_sides: [Moments::EMPTY; 2],
            bars: 0,
            begun: false,
        }
    }

    /// As [`RollingStream::begin`].
    pub(crate) fn begin(&mut self) {
        self.begun = true;
    }

    /// Takes the next bar's values and gives every result, in the order of the requests.
    pub(crate) fn push(&mut self, values: [f64; 2], out: &mut [f64]) {
        self.bars += 1;
        self.pairs.push::<Pairs>(pair_leaf(values));
        for (side, value) in values.into_iter().enumerate() {
            self.sides[side].push::<Moments>(moments_leaf(value));
        }
        if self.begun {
            self.all = Pairs::merge(self.all, pair_leaf(values), 1.0);
            for (all, value) in self.all_sides.iter_mut().zip(values) {
                *all = Moments::merge(*all, moments_leaf(value), 1.0);
            }
        }
        for ((stat, bars), out) in self.requests.iter().zip(out) {
            let summary = match bars {
                Some(bars) => self.pairs.window::<Pairs>(*bars),
                None => self.all,
            };
            let [n, x, y, xx, yy, _] = summary;
            let sides = match bars {
                // Without missing values what a side is alone it is in the pairs, to the bit.
                Some(bars) if n == self.bars.min(*bars) as f64 => [[n, x, xx], [n, y, yy]],
                Some(bars) => [0, 1].map(|side| self.sides[side].window::<Moments>(*bars)),
                None => self.all_sides,
            };
            *out = stat::pair(*stat, summary, sides.into_iter().any(stat::is_flat_to_qlib));
        }
    }
}
