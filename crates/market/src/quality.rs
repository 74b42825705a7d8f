//! What is odd about imported bars, in numbers.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::source::Repairs;
use crate::{Dataset, Panel};

/// A close this many times the one before, or one part of so many, is counted as suspicious.
const SUSPICIOUS_RATIO: f64 = 1.4;
/// The ratios splits come in, either way; 3 for 2 is left out, since prices do move by half.
const SPLITS: [f64; 16] =
    [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 100.0];
/// How far, as a logarithm, a ratio may be from a split's: what a price moves on an ordinary day besides.
const SPLIT_TOLERANCE: f64 = 0.03;
/// So many closes in a row without a change are a stale run.
const STALE_BARS: usize = 5;
/// A name that was silent for so many dates and comes back at another price may be another company's.
const REUSE_DATES: usize = 60;
const REUSE_RATIO: f64 = 2.0;
/// High, low, open and close may contradict each other by so much: adjusted prices are rounded.
const OHLC_TOLERANCE: f64 = 1e-6;
/// Findings of a kind that are listed; all are counted.
const FINDINGS_MAX: usize = 200;
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
    /// Rows that repeated another to the last digit and were left out; others are refused.
    pub duplicates: usize,
    /// Closes equal to the one before, in percent.
    pub zero_returns_pct: f64,
    /// Closes that jump, by date and symbol.
    pub suspicious_jumps: Vec<Jump>,
    /// The same by instrument, in the panel's order.
    pub per_instrument: Vec<InstrumentQuality>,
    /// What was done to the values on the way, in words.
    pub notes: Vec<String>,
    /// Bars on days that are not in the trading calendar.
    #[serde(default)]
    pub outside_calendar: usize,
    /// Bars whose high is below, or whose low is above, another of their prices.
    #[serde(default)]
    pub ohlc_violations: usize,
    /// Bars with a volume of 0.
    #[serde(default)]
    pub zero_volumes: usize,
    /// Runs of 5 or more closes without a change.
    #[serde(default)]
    pub stale_runs: usize,
    /// Instruments whose bars end before those of the data set: where none does, companies that failed may have
    /// been left out.
    #[serde(default)]
    pub ended_early: usize,
    /// Bars that were corrected after their first import.
    #[serde(default)]
    pub corrected: usize,
    /// What was repaired when the files were read.
    #[serde(default)]
    pub repairs: Repairs,
    /// For each universe the members that have no price.
    #[serde(default)]
    pub survivorship: Vec<Survivorship>,
    /// What was found and where: at most 200 of a kind.
    #[serde(default)]
    pub findings: Vec<Finding>,
}

/// Members of a universe that have no price in their time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Survivorship {
    /// The universe.
    pub universe: String,
    /// Instruments that were ever members within the span of the data.
    pub members: usize,
    /// Those without any bar while they were.
    pub without_prices: usize,
    /// The same in percent.
    pub without_prices_pct: f64,
    /// Some of them.
    pub examples: Vec<String>,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// High below, or low above, another price of the bar.
    Ohlc,
    /// Closes without a change.
    Stale,
    /// A name that was silent for long and came back at another price.
    TickerReuse,
    /// A bar on a day that is not in the trading calendar.
    OutsideCalendar,
}

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// The instrument.
    pub symbol: String,
    /// The day of its first bar.
    pub date: Date,
    /// What was found, in words.
    pub detail: String,
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
    /// Bars that contradict themselves.
    #[serde(default)]
    pub ohlc_violations: usize,
    /// Bars with a volume of 0.
    #[serde(default)]
    pub zero_volumes: usize,
    /// Runs of closes without a change.
    #[serde(default)]
    pub stale_runs: usize,
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

/// Looks through what a data set shows.
pub(crate) fn examine(dataset: &Dataset, panel: &Panel, mut notes: Vec<String>, repairs: Repairs) -> Quality {
    notes.extend(holes(panel.dates()));
    let mut suspicious_jumps = Vec::new();
    let mut per_instrument = Vec::new();
    let mut findings = Vec::new();
    let mut counted = Returns::default();
    let mut outside_calendar = 0;
    let mut ended_early = 0;
    let calendar = &dataset.tables().calendar;
    let [open, high, low, close, volume] =
        ["open", "high", "low", "close", "volume"].map(|name| panel.field(name));
    let prices = Fields { open, high, low, close, volume };
    for (instrument, symbol) in panel.instruments().iter().enumerate() {
        let Some(span) = panel.span(instrument) else { continue };
        let looked = Instrument { panel, symbol, instrument, closes: closes(panel, instrument), prices };
        let present: Vec<usize> =
            (span.first..=span.last).filter(|at| panel.has_bar(*at, instrument)).collect();
        let returns = Returns::of(&looked.closes);
        let jumps = jumps(panel, symbol, &looked.closes);
        counted.zero += returns.zero;
        counted.all += returns.all;
        let violations = looked.ohlc(&present);
        let stale = looked.stale();
        let outside: Vec<usize> = present
            .iter()
            .copied()
            .filter(|at| !calendar.is_empty() && calendar.binary_search(&panel.dates()[*at]).is_err())
            .collect();
        outside_calendar += outside.len();
        ended_early += usize::from(span.last + 1 < panel.times().len());
        per_instrument.push(InstrumentQuality {
            symbol: symbol.clone(),
            first_date: panel.dates()[span.first],
            last_date: panel.dates()[span.last],
            bars: present.len(),
            missing: span.last - span.first + 1 - present.len(),
            zero_returns_pct: returns.zero_pct(),
            suspicious_jumps: jumps.len(),
            ohlc_violations: violations.len(),
            zero_volumes: looked.zero_volumes(&present),
            stale_runs: stale.len(),
        });
        suspicious_jumps.extend(jumps);
        findings.extend(violations.into_iter().chain(stale).chain(looked.reuse(&present)));
        findings.extend(outside.iter().map(|at| {
            looked.finding(FindingKind::OutsideCalendar, *at, "a bar on a day without trading".to_owned())
        }));
    }
    suspicious_jumps.sort_by(|a: &Jump, b: &Jump| (a.date, &a.symbol).cmp(&(b.date, &b.symbol)));
    let total = |of: fn(&InstrumentQuality) -> usize| per_instrument.iter().map(of).sum::<usize>();
    let rows = total(|quality| quality.bars);
    let missing = total(|quality| quality.missing);
    let (first, last) = (panel.dates().first(), panel.dates().last());
    Quality {
        rows,
        dates: panel.dates().len(),
        first_date: first.copied().unwrap_or_default(),
        last_date: last.copied().unwrap_or_default(),
        instruments: panel.instruments().len(),
        missing,
        missing_pct: percent(missing, rows + missing),
        duplicates: repairs.repeated_rows,
        zero_returns_pct: counted.zero_pct(),
        suspicious_jumps,
        outside_calendar,
        ohlc_violations: total(|quality| quality.ohlc_violations),
        zero_volumes: total(|quality| quality.zero_volumes),
        stale_runs: total(|quality| quality.stale_runs),
        ended_early,
        corrected: dataset.corrections(),
        survivorship: survivorship(dataset, panel),
        findings: first_of_each(findings),
        per_instrument,
        notes,
        repairs,
    }
}

/// Stretches without any bar at all, longer than markets close: the longest, in words.
fn holes(dates: &[Date]) -> Option<String> {
    /// The longest that exchanges have closed for in living memory is 12 days.
    const CLOSED_DAYS_MAX: i32 = 14;
    /// Beside the usual distance of two dates, so that weekly and monthly bars have none.
    const USUAL_TIMES: i32 = 5;
    /// With fewer dates there is no usual distance.
    const DATES_MIN: usize = 20;
    let steps = || dates.windows(2).map(|pair| ((pair[1] - pair[0]).get_days(), pair[0], pair[1]));
    let mut apart: Vec<i32> = steps().map(|(days, ..)| days).filter(|days| *days > 0).collect();
    apart.sort_unstable();
    let usual = *apart.get(apart.len() / 2).filter(|_| apart.len() >= DATES_MIN)?;
    let long = |days: i32| days > CLOSED_DAYS_MAX.max(USUAL_TIMES * usual);
    let (days, from, to) = steps().filter(|(days, ..)| long(*days)).max_by_key(|(days, ..)| *days)?;
    let count = steps().filter(|(days, ..)| long(*days)).count();
    let others = if count > 1 { format!(", the longest of {count} such holes") } else { String::new() };
    Some(format!("no instrument has a bar between {from} and {to}, {days} days apart{others}"))
}

/// The first so many findings of each kind, by date.
fn first_of_each(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| (a.kind, a.date, &a.symbol).cmp(&(b.kind, b.date, &b.symbol)));
    let mut kept: Vec<Finding> = Vec::new();
    for of_kind in findings.chunk_by(|a, b| a.kind == b.kind) {
        kept.extend_from_slice(&of_kind[..of_kind.len().min(FINDINGS_MAX)]);
    }
    kept
}

/// Which members of each universe have no bar while they are members.
fn survivorship(dataset: &Dataset, panel: &Panel) -> Vec<Survivorship> {
    const EXAMPLES: usize = 10;
    let (Some(first), Some(last)) = (panel.dates().first(), panel.dates().last()) else { return Vec::new() };
    let mut universes: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    for spell in &dataset.tables().members {
        let to = spell.to.unwrap_or(*last).min(*last);
        if spell.from > *last || to < *first {
            continue;
        }
        let priced = panel.instrument_index(&spell.symbol).is_some_and(|instrument| {
            let from = panel.dates().partition_point(|date| *date < spell.from);
            let after = panel.dates().partition_point(|date| *date <= to);
            (from..after).any(|at| panel.has_bar(at, instrument))
        });
        *universes.entry(&spell.universe).or_default().entry(&spell.symbol).or_default() |= priced;
    }
    universes
        .into_iter()
        .map(|(universe, members)| {
            let without: Vec<&str> =
                members.iter().filter(|(_, priced)| !**priced).map(|(name, _)| *name).collect();
            Survivorship {
                universe: universe.to_owned(),
                members: members.len(),
                without_prices: without.len(),
                without_prices_pct: percent(without.len(), members.len()),
                examples: without.iter().take(EXAMPLES).map(|name| (*name).to_owned()).collect(),
            }
        })
        .collect()
}

/// One instrument of a panel.
struct Instrument<'a> {
    panel: &'a Panel,
    symbol: &'a str,
    instrument: usize,
    /// Time index and close of each bar that has one.
    closes: Vec<(usize, f64)>,
    prices: Fields<'a>,
}

/// The fields that are looked at, time-major.
#[derive(Clone, Copy)]
struct Fields<'a> {
    open: Option<&'a [f64]>,
    high: Option<&'a [f64]>,
    low: Option<&'a [f64]>,
    close: Option<&'a [f64]>,
    volume: Option<&'a [f64]>,
}

impl Instrument<'_> {
    fn finding(&self, kind: FindingKind, at: usize, detail: String) -> Finding {
        Finding { kind, symbol: self.symbol.to_owned(), date: self.panel.dates()[at], detail }
    }

    fn value(&self, field: Option<&[f64]>, at: usize) -> f64 {
        field.map_or(f64::NAN, |values| values[at * self.panel.instruments().len() + self.instrument])
    }

    fn ohlc(&self, present: &[usize]) -> Vec<Finding> {
        let contradiction = |at: &usize| {
            let Fields { open, high, low, close, .. } = self.prices;
            let [open, high, low, close] = [open, high, low, close].map(|field| self.value(field, *at));
            // A missing price contradicts nothing: comparisons with NaN are false.
            let above = [open, low, close].into_iter().find(|price| *price > high * (1.0 + OHLC_TOLERANCE));
            let below = [open, close].into_iter().find(|price| *price < low * (1.0 - OHLC_TOLERANCE));
            let detail = match (above, below) {
                (Some(price), _) => format!("high {high} is below {price}"),
                (None, Some(price)) => format!("low {low} is above {price}"),
                (None, None) => return None,
            };
            Some(self.finding(FindingKind::Ohlc, *at, detail))
        };
        present.iter().filter_map(contradiction).collect()
    }

    fn zero_volumes(&self, present: &[usize]) -> usize {
        present.iter().filter(|at| self.value(self.prices.volume, **at) == 0.0).count()
    }

    fn stale(&self) -> Vec<Finding> {
        let runs = self.closes.chunk_by(|a, b| a.1 == b.1).filter(|run| run.len() >= STALE_BARS);
        runs.map(|run| {
            self.finding(
                FindingKind::Stale,
                run[0].0,
                format!("{} closes in a row at {}", run.len(), run[0].1),
            )
        })
        .collect()
    }

    fn reuse(&self, present: &[usize]) -> Vec<Finding> {
        let silent = present.windows(2).filter(|pair| pair[1] - pair[0] > REUSE_DATES);
        silent
            .filter_map(|pair| {
                let ratio = self.value(self.prices.close, pair[1]) / self.value(self.prices.close, pair[0]);
                let other = !(1.0 / REUSE_RATIO..=REUSE_RATIO).contains(&ratio) && !ratio.is_nan();
                other.then(|| {
                    let detail = format!(
                        "silent for {} dates, then {ratio:.2} times the price: another company's?",
                        pair[1] - pair[0] - 1
                    );
                    self.finding(FindingKind::TickerReuse, pair[1], detail)
                })
            })
            .collect()
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
