//! Operators that look back to the first bar of a series: their state is carried from bar to bar.
//!
//! N = 0 means "all bars so far" (pandas `expanding`), a decay between 0 and 1 an exponentially weighted mean
//! (pandas `ewm(alpha)`, adjusted). Sums are compensated (Neumaier, 1974), moments updated about their mean.

use super::order::SortedWindow;
use super::stat::{self, Newest, Spread, Tails, Trend};
use super::summary::{FirstLargest, Largest, Line, Shape};
use super::tree::Summary;
use super::{Stat, known};

/// The exponentially weighted mean of the bars so far; a missing bar lets the older ones fade all the same.
#[derive(Debug, Clone)]
pub(super) struct Decay {
    keep: f64,
    weight: f64,
    mean: f64,
}

impl Decay {
    pub(super) fn new(alpha: f64) -> Self {
        Self { keep: 1.0 - alpha, weight: 1.0, mean: f64::NAN }
    }

    pub(super) fn push(&mut self, value: f64) -> f64 {
        let value = known(value);
        if self.mean.is_nan() {
            self.mean = value;
            return self.mean;
        }
        self.weight *= self.keep;
        if !value.is_nan() {
            let total = self.weight + 1.0;
            self.mean = (self.weight * self.mean + value) / total;
            self.weight = total;
        }
        self.mean
    }
}

/// One operator over all bars so far.
#[derive(Debug, Clone)]
pub(super) struct Expanding {
    stat: Stat,
    bars: f64,
    sum: f64,
    lost: f64,
    count: f64,
    shape: [f64; 5],
    line: [f64; 6],
    largest: [f64; 1],
    first: [f64; 3],
    sorted: SortedWindow,
    all: Vec<f64>,
}

impl Expanding {
    pub(super) fn new(stat: Stat) -> Self {
        Self {
            stat,
            bars: 0.0,
            sum: 0.0,
            lost: 0.0,
            count: 0.0,
            shape: Shape::EMPTY,
            line: Line::EMPTY,
            largest: Largest::EMPTY,
            first: FirstLargest::EMPTY,
            sorted: SortedWindow::default(),
            all: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, raw: f64) -> f64 {
        self.bars += 1.0;
        let value = known(raw);
        let one = if value.is_nan() { 0.0 } else { 1.0 };
        let filled = if value.is_nan() { 0.0 } else { value };
        match self.stat {
            Stat::Count => {
                self.count += if raw.is_nan() { 0.0 } else { 1.0 };
                self.count
            }
            Stat::Sum | Stat::Mean => self.sum(one, filled),
            Stat::Var | Stat::Std | Stat::Skew | Stat::Kurt => {
                self.shape = Shape::merge(self.shape, [one, filled, 0.0, 0.0, 0.0], 1.0);
                let [n, mean, squares, ..] = self.shape;
                match self.stat {
                    Stat::Var => stat::spread(Spread::Var, [n, mean, squares]),
                    Stat::Std => stat::spread(Spread::Std, [n, mean, squares]),
                    Stat::Skew => stat::tails(Tails::Skew, self.shape),
                    _ => stat::tails(Tails::Kurt, self.shape),
                }
            }
            Stat::Max | Stat::Min => {
                let sign = if self.stat == Stat::Max { 1.0 } else { -1.0 };
                self.largest = Largest::merge(self.largest, [sign * value], 1.0);
                sign * self.largest[0]
            }
            Stat::IdxMax | Stat::IdxMin => {
                let sign = if self.stat == Stat::IdxMax { 1.0 } else { -1.0 };
                self.first = FirstLargest::merge(self.first, [sign * value, 0.0, one], 1.0);
                super::place(self.first, self.bars)
            }
            Stat::Quantile(_) | Stat::Rank => {
                self.sorted.enter(value);
                match self.stat {
                    Stat::Quantile(level) => self.sorted.quantile(level.value()),
                    _ => self.sorted.rank(value),
                }
            }
            Stat::Mad | Stat::GrowingMean => {
                self.all.push(value);
                super::visit(self.stat, &self.all)
            }
            Stat::Slope | Stat::Resi | Stat::Rsquare | Stat::R2 | Stat::Wma | Stat::WeightedMean => {
                self.line = Line::merge(self.line, [one, 0.0, filled, 0.0, 0.0, 0.0], 1.0);
                let newest = Newest { value, bars: self.bars };
                stat::trend(self.trend(), self.line, newest)
            }
        }
    }

    fn sum(&mut self, one: f64, value: f64) -> f64 {
        self.count += one;
        let total = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() {
            (self.sum - total) + value
        } else {
            (value - total) + self.sum
        };
        self.sum = total;
        let exact = self.sum + self.lost;
        match self.stat {
            Stat::Mean => exact / self.count,
            _ if self.count > 0.0 => exact,
            _ => f64::NAN,
        }
    }

    fn trend(&self) -> Trend {
        match self.stat {
            Stat::Resi => Trend::Resi,
            // Over all bars Qlib's Rsquare knows no flat window.
            Stat::Rsquare | Stat::R2 => Trend::R2,
            Stat::Wma => Trend::Wma,
            Stat::WeightedMean => Trend::WeightedMean,
            _ => Trend::Slope,
        }
    }
}
