//! What is odd about imported bars, in numbers.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::Panel;

/// A close this many times the one before, or one part of so many, is counted as suspicious.
const SUSPICIOUS_RATIO: f64 = 1.4;
/// The ratios splits come in, either way; 3 for 2 is left out, since prices do move by half.
const SPLITS: [f64; 16] =
    [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 100.0];
/// How far, as a logarithm, a ratio may be from a split's: what a price moves on an ordinary day besides.
const SPLIT_TOLERANCE: f64 = 0.03;
/// Bars on each side in which the fineness of prices is looked for.
const FINENESS_BARS: usize = 20;

/// What is odd about imported bars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Bars.
    pub rows: usize,
    /// Dates with at least one bar.
    pub dates: usize,
    /// First of them.
    pub first_date: Date,
    /// Last of them.
    pub last_date: Date,
    /// Instruments.
    pub instruments: usize,
    /// Dates without a bar between an instrument's first and last, over all instruments.
    pub missing: usize,
    /// The same in percent of those calendars.
    pub missing_pct: f64,
    /// Rows with the same symbol and date as another: always 0, since such files are refused.
    pub duplicates: usize,
    /// Closes equal to the one before, in percent.
    pub zero_returns_pct: f64,
    /// Closes that jump, by date and symbol.
    pub suspicious_jumps: Vec<Jump>,
    /// The same by instrument, in the panel's order.
    pub per_instrument: Vec<InstrumentQuality>,
    /// What was done to the values on the way, in words.
    pub notes: Vec<String>,
}

/// What is odd about one instrument's bars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstrumentQuality {
    /// Its symbol.
    pub symbol: String,
    /// Day of its first bar.
    pub first_date: Date,
    /// Day of its last bar.
    pub last_date: Date,
    /// Bars.
    pub bars: usize,
    /// Dates without a bar in between.
    pub missing: usize,
    /// Closes equal to the one before, in percent.
    pub zero_returns_pct: f64,
    /// Closes that jump.
    pub suspicious_jumps: usize,
}

/// A close far from the one before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Jump {
    /// The instrument.
    pub symbol: String,
    /// Day of the later close.
    pub date: Date,
    /// Later close / earlier close.
    pub ratio: f64,
    /// Whether it looks like a split that the prices are not adjusted for: the ratio is within 3 % of a whole
    /// number from 2 (or of one part of it), and the prices around it move finely enough (by 3 % or less at
    /// least once in 20 bars on either side, or not at all) for that to be no accident of a coarse tick.
    pub split_like: bool,
}

/// Looks through a panel that has a bar on each of its instruments.
pub(crate) fn examine(panel: &Panel, notes: Vec<String>) -> Quality {
    let mut suspicious_jumps = Vec::new();
    let mut per_instrument = Vec::new();
    let mut counted = Returns::default();
    for (instrument, symbol) in panel.instruments().iter().enumerate() {
        let Some(span) = panel.span(instrument) else { continue };
        let bars = (span.first..=span.last).filter(|date| panel.has_bar(*date, instrument)).count();
        let closes = closes(panel, instrument);
        let returns = Returns::of(&closes);
        let jumps = jumps(panel, symbol, &closes);
        counted.zero += returns.zero;
        counted.all += returns.all;
        per_instrument.push(InstrumentQuality {
            symbol: symbol.clone(),
            first_date: panel.dates()[span.first],
            last_date: panel.dates()[span.last],
            bars,
            missing: span.last - span.first + 1 - bars,
            zero_returns_pct: returns.zero_pct(),
            suspicious_jumps: jumps.len(),
        });
        suspicious_jumps.extend(jumps);
    }
    suspicious_jumps.sort_by(|a: &Jump, b: &Jump| (a.date, &a.symbol).cmp(&(b.date, &b.symbol)));
    let rows: usize = per_instrument.iter().map(|quality| quality.bars).sum();
    let missing: usize = per_instrument.iter().map(|quality| quality.missing).sum();
    let (first, last) = (panel.dates().first(), panel.dates().last());
    Quality {
        rows,
        dates: panel.dates().len(),
        first_date: first.copied().unwrap_or_default(),
        last_date: last.copied().unwrap_or_default(),
        instruments: panel.instruments().len(),
        missing,
        missing_pct: percent(missing, rows + missing),
        duplicates: 0,
        zero_returns_pct: counted.zero_pct(),
        suspicious_jumps,
        per_instrument,
        notes,
    }
}

#[derive(Debug, Default)]
struct Returns {
    zero: usize,
    all: usize,
}

impl Returns {
    fn of(closes: &[(usize, f64)]) -> Self {
        let zero = closes.windows(2).filter(|pair| pair[0].1 == pair[1].1).count();
        Self { zero, all: closes.len().saturating_sub(1) }
    }

    fn zero_pct(&self) -> f64 {
        percent(self.zero, self.all)
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

/// Date index and close of each bar that has one.
fn closes(panel: &Panel, instrument: usize) -> Vec<(usize, f64)> {
    let Some(close) = panel.field("close") else { return Vec::new() };
    let width = panel.instruments().len();
    let column = close.iter().skip(instrument).step_by(width).copied().enumerate();
    column.filter(|(_, close)| !close.is_nan()).collect()
}

fn jumps(panel: &Panel, symbol: &str, closes: &[(usize, f64)]) -> Vec<Jump> {
    let mut jumps = Vec::new();
    for (bar, pair) in closes.windows(2).enumerate() {
        let ratio = pair[1].1 / pair[0].1;
        if ratio < SUSPICIOUS_RATIO && ratio > 1.0 / SUSPICIOUS_RATIO {
            continue;
        }
        let split_like = near_split(ratio).is_some() && moves_finely(closes, bar);
        jumps.push(Jump { symbol: symbol.to_owned(), date: panel.dates()[pair[1].0], ratio, split_like });
    }
    jumps
}

/// The split a ratio looks like: `2` or `1/2`.
pub(crate) fn near_split(ratio: f64) -> Option<String> {
    let size = ratio.ln().abs();
    let split = SPLITS.iter().find(|split| (size - split.ln()).abs() <= SPLIT_TOLERANCE)?;
    Some(if ratio > 1.0 { format!("{split}") } else { format!("1/{split}") })
}

/// Whether the closes around the move from `bar` to the next resolve what [`SPLIT_TOLERANCE`] asks: where the
/// finest move is coarser, one tick is a large part of the price and any ratio of small numbers is common.
fn moves_finely(closes: &[(usize, f64)], bar: usize) -> bool {
    let around = &closes[bar.saturating_sub(FINENESS_BARS)..closes.len().min(bar + 2 + FINENESS_BARS)];
    let moves = around.windows(2).map(|pair| (pair[1].1 / pair[0].1).ln().abs());
    let jump = (closes[bar + 1].1 / closes[bar].1).ln().abs();
    let finest = moves.filter(|size| *size > 0.0 && *size != jump).fold(f64::INFINITY, f64::min);
    finest == f64::INFINITY || finest <= SPLIT_TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_of_splits_are_recognised_and_others_not() {
        for (ratio, expected) in [
            (0.504, Some("1/2")),
            (2.02, Some("2")),
            (0.3333, Some("1/3")),
            (10.1, Some("10")),
            (0.0501, Some("1/20")),
            (0.4815, None),
            (0.549, None),
            (1.5, None),
            (0.65, None),
        ] {
            assert_eq!(near_split(ratio).as_deref(), expected, "{ratio}");
        }
    }

    #[test]
    fn a_coarse_tick_makes_whole_ratios_by_accident() {
        let series = |closes: &[f64]| closes.iter().copied().enumerate().collect::<Vec<(usize, f64)>>();
        let eighths = series(&[0.375, 0.375, 0.125, 0.125, 0.25, 0.375]);
        assert!(!moves_finely(&eighths, 1));
        let cents = series(&[90.0, 89.5, 44.8, 44.9, 45.3]);
        assert!(moves_finely(&cents, 1));
        let still = series(&[100.0, 100.0, 50.0, 50.0]);
        assert!(moves_finely(&still, 1));
    }
}
