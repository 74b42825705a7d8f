//! Published values by the period they are about, as `PRef($$field, period)` reads them.
//!
//! A panel's field `$$field` holds the newest period known at each bar; here each period has a history of its own.
//! What is kept are the releases, not a value for each bar, since a panel would have to hold every period's.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::civil::Date;

/// Between the field and the period in the name an expression reads them by: `$roe@2020Q1`.
pub(crate) const SEPARATOR: char = '@';

/// A value, and the time of the panel from which on it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Release {
    /// What it is about, by [`period_key`].
    pub(crate) period: u32,
    /// Index into the panel's times.
    pub(crate) time: usize,
    pub(crate) value: f64,
}

/// Releases by field (with its `$`) and instrument.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Periods {
    /// By period; those of one period in the order in which they became known.
    releases: BTreeMap<String, BTreeMap<String, Vec<Release>>>,
}

impl Periods {
    /// Adds the releases of a field and an instrument, in the order in which they became known.
    pub(crate) fn insert(&mut self, field: String, symbol: String, mut releases: Vec<Release>) {
        releases.sort_by_key(|release| (release.period, release.time));
        self.releases.entry(field).or_default().insert(symbol, releases);
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.releases.contains_key(field)
    }

    /// What is known of one period of an instrument at each of some times; NaN before anything is.
    pub(crate) fn read(
        &self,
        (field, period): (&str, u32),
        symbol: &str,
        times: Range<usize>,
        mut put: impl FnMut(usize, f64),
    ) {
        let own =
            self.releases.get(field).and_then(|of| of.get(symbol)).map(Vec::as_slice).unwrap_or_default();
        let from = own.partition_point(|release| release.period < period);
        let mut releases = own[from..].iter().take_while(|release| release.period == period).peekable();
        let mut value = f64::NAN;
        for time in times {
            while let Some(release) = releases.next_if(|release| release.time <= time) {
                value = release.value;
            }
            put(time, value);
        }
    }
}

/// What tells a period from all others: a year from its last quarter too, which ends when it does.
pub(crate) fn period_key(period: &str) -> Option<u32> {
    period_order(period).map(|order| 2 * order + u32::from(period.len() == 4))
}

/// Where a period stands among those of its kind.
pub(crate) fn period_order(period: &str) -> Option<u32> {
    let digits = |text: &str| -> Option<u32> {
        (text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
    };
    if let Some((year, quarter)) = period.split_once(['Q', 'q']) {
        let (year, quarter) = (digits(year)?, digits(quarter)?);
        return (year < 10_000 && (1..=4).contains(&quarter)).then_some(year * 10_000 + quarter * 300 + 99);
    }
    match period.len() {
        4 => Some(digits(period)? * 10_000 + 1299),
        6 => Some(digits(period)? * 100 + 99),
        8 => digits(period),
        10 => {
            let date: Date = period.parse().ok()?;
            Some(u32::try_from(date.year()).ok()? * 10_000 + date.month() as u32 * 100 + date.day() as u32)
        }
        _ => None,
    }
}
