//! Every version of every bar that was ever imported.

use std::collections::BTreeSet;

use super::timing::Timing;
use crate::civil_time::civil;
use crate::{Error, Result};

/// More rows than this are refused.
pub(crate) const ROWS_MAX: usize = 1 << 27;

/// A share's price factor may differ by so much and still be the same: prices are rounded.
const FACTOR_TOLERANCE: f64 = 5e-4;

/// The field that scales prices, if there is one.
pub(crate) const FACTOR: &str = "factor";

/// Versions of bars, by time, symbol and when the version became known; times in microseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct History {
    /// Ascending.
    pub(crate) symbols: Vec<String>,
    /// Ascending.
    pub(crate) fields: Vec<String>,
    /// When the bar is.
    pub(crate) time: Vec<i64>,
    /// Index into `symbols`.
    pub(crate) symbol: Vec<u32>,
    /// Since when this version is known.
    pub(crate) known: Vec<i64>,
    /// For each field a value a row; NaN where there is none.
    pub(crate) columns: Vec<Vec<f64>>,
}

/// What an append did to the bars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Appended {
    /// Bars that were not there: newer ones, older ones, or of new instruments.
    pub added: usize,
    /// Bars that arrived after later ones of the same instrument: known since the import.
    pub late: usize,
    /// Bars whose values changed: the new ones are known since the import, or since the time it was told.
    pub corrected: usize,
    /// Bars that were there already.
    pub unchanged: usize,
}

impl Appended {
    /// Whether the bars are the same as before.
    pub fn nothing(&self) -> bool {
        self.added + self.late + self.corrected == 0
    }
}

/// When what an append brings is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// When it happens.
    pub(crate) now: i64,
    /// What the user says about everything in it.
    pub(crate) told: Option<i64>,
}

impl History {
    /// How many versions there are.
    pub(crate) fn len(&self) -> usize {
        self.time.len()
    }

    /// Sorted and free of duplicates: the first versions of a set of bars.
    fn key(&self, row: usize) -> (i64, u32) {
        (self.time[row], self.symbol[row])
    }

    /// The bars seen at a time: for each, the newest version known then. Rows, ascending.
    pub(crate) fn visible(&self, as_of: Option<i64>) -> Vec<usize> {
        let mut rows: Vec<usize> = Vec::with_capacity(self.len());
        for row in 0..self.len() {
            if as_of.is_some_and(|as_of| self.known[row] > as_of) {
                continue;
            }
            match rows.last().copied() {
                Some(last) if self.key(last) == self.key(row) => {
                    rows.pop();
                    rows.push(row);
                }
                _ => rows.push(row),
            }
        }
        rows
    }

    /// The times at which something became known out of the ordinary: corrections and late bars. Ascending.
    pub(crate) fn restatements(&self, timing: &Timing) -> Vec<i64> {
        let irregular = (0..self.len()).filter(|row| self.known[*row] != timing.known(self.time[*row]));
        irregular.map(|row| self.known[row]).collect::<BTreeSet<i64>>().into_iter().collect()
    }

    /// Versions that replaced an earlier one.
    pub(crate) fn corrections(&self) -> usize {
        (1..self.len()).filter(|row| self.key(*row) == self.key(row - 1)).count()
    }

    /// Adds bars: `new` has one version of each, in order, whose `known` is not looked at.
    pub(crate) fn append(
        &self,
        mut new: Self,
        timing: &Timing,
        arrival: Arrival,
    ) -> Result<(Self, Appended)> {
        if self.len().saturating_add(new.len()) > ROWS_MAX {
            return Err(Error::Dataset(format!(
                "{} bars beside the {} stored are more than the limit of {ROWS_MAX}",
                new.len(),
                self.len()
            )));
        }
        if self.len() == 0 {
            let known = |time: &i64| {
                let usual = timing.known(*time);
                arrival.told.map_or(usual, |told| told.max(usual))
            };
            new.known = new.time.iter().map(known).collect();
            let report = Appended { added: new.len(), ..Appended::default() };
            return Ok((new, report));
        }
        let symbols = union(&self.symbols, &new.symbols);
        let fields = union(&self.fields, &new.fields);
        let old_symbols = places(&self.symbols, &symbols);
        let new_symbols = places(&new.symbols, &symbols);
        let spans = self.spans(&old_symbols, symbols.len());
        self.link_factors(&mut new)?;
        let mut merging = Merging {
            old: self,
            new: &new,
            old_fields: fields.iter().map(|field| self.fields.binary_search(field).ok()).collect(),
            new_fields: fields.iter().map(|field| new.fields.binary_search(field).ok()).collect(),
            factor: fields.iter().position(|field| field == FACTOR),
            out: Self { columns: vec![Vec::new(); fields.len()], symbols, fields, ..Self::default() },
        };
        let mut report = Appended::default();
        let mut at = 0;
        for row in 0..new.len() {
            let key = (new.time[row], new_symbols[new.symbol[row] as usize]);
            while at < self.len() && (self.time[at], old_symbols[self.symbol[at] as usize]) < key {
                merging.keep(at, old_symbols[self.symbol[at] as usize]);
                at += 1;
            }
            let first = at;
            while at < self.len() && (self.time[at], old_symbols[self.symbol[at] as usize]) == key {
                merging.keep(at, key.1);
                at += 1;
            }
            let usual = timing.known(key.0);
            let told = arrival.told.map(|told| told.max(usual));
            if first == at {
                let within = spans[key.1 as usize].is_some_and(|(first, last)| first < key.0 && key.0 < last);
                let known = told.unwrap_or(if within { arrival.now.max(usual) } else { usual });
                *(if within { &mut report.late } else { &mut report.added }) += 1;
                merging.add(row, key.1, known, None);
            } else if merging.differs(row, at - 1) {
                let known = told.unwrap_or(arrival.now.max(usual));
                if known <= self.known[at - 1] {
                    return Err(self.not_after(at - 1, known));
                }
                report.corrected += 1;
                merging.add(row, key.1, known, Some(at - 1));
            } else {
                report.unchanged += 1;
            }
        }
        while at < self.len() {
            merging.keep(at, old_symbols[self.symbol[at] as usize]);
            at += 1;
        }
        Ok((merging.out, report))
    }

    fn not_after(&self, row: usize, known: i64) -> Error {
        let shown = |micros| civil(micros).map_or_else(|| micros.to_string(), |time| time.to_string());
        Error::Dataset(format!(
            "a correction of {} {} known at {} is not after the version known at {}; give a later --known-at",
            self.symbols[self.symbol[row] as usize],
            shown(self.time[row]),
            shown(known),
            shown(self.known[row])
        ))
    }

    /// Times of the first and last bar of each symbol.
    fn spans(&self, places: &[u32], symbols: usize) -> Vec<Option<(i64, i64)>> {
        let mut spans: Vec<Option<(i64, i64)>> = vec![None; symbols];
        for row in 0..self.len() {
            let time = self.time[row];
            let span = spans[places[self.symbol[row] as usize] as usize].get_or_insert((time, time));
            span.1 = time;
        }
        spans
    }

    /// Brings the factors of new bars to the scale of the stored ones, by the last bar that both have: a source
    /// that adjusts backwards scales all its factors anew at each dividend.
    fn link_factors(&self, new: &mut Self) -> Result<()> {
        let (Ok(old_factor), Ok(new_factor)) = (
            self.fields.binary_search_by(|field| field.as_str().cmp(FACTOR)),
            new.fields.binary_search_by(|field| field.as_str().cmp(FACTOR)),
        ) else {
            return Ok(());
        };
        let places: Vec<Option<u32>> = new
            .symbols
            .iter()
            .map(|symbol| self.symbols.binary_search(symbol).ok().and_then(|at| u32::try_from(at).ok()))
            .collect();
        let mut links: Vec<Option<f64>> = vec![None; new.symbols.len()];
        for row in 0..new.len() {
            let Some(symbol) = places[new.symbol[row] as usize] else { continue };
            let key = (new.time[row], symbol);
            let end = self.rows_before_or_at(key);
            if end > 0 && self.key(end - 1) == key {
                let link = self.columns[old_factor][end - 1] / new.columns[new_factor][row];
                if link.is_finite() {
                    links[new.symbol[row] as usize] = Some(link);
                }
            }
        }
        if let Some(unlinked) =
            (0..links.len()).find(|symbol| links[*symbol].is_none() && places[*symbol].is_some())
        {
            return Err(Error::Dataset(format!(
                "the new bars of {} have adjustment factors but no bar in common with the stored ones, so that \
                 the two cannot be brought to one scale; import a file that overlaps by at least one bar, or \
                 start again with --replace",
                new.symbols[unlinked]
            )));
        }
        for row in 0..new.len() {
            if let Some(link) = links[new.symbol[row] as usize] {
                new.columns[new_factor][row] *= link;
            }
        }
        Ok(())
    }

    fn rows_before_or_at(&self, key: (i64, u32)) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle) <= key { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// Two histories on their way to one.
struct Merging<'a> {
    old: &'a History,
    new: &'a History,
    /// Where each field of the result is in the old and in the new one.
    old_fields: Vec<Option<usize>>,
    new_fields: Vec<Option<usize>>,
    factor: Option<usize>,
    out: History,
}

impl Merging<'_> {
    /// Takes over a stored version.
    fn keep(&mut self, row: usize, symbol: u32) {
        self.begin(self.old.time[row], symbol, self.old.known[row]);
        for (column, at) in self.out.columns.iter_mut().zip(&self.old_fields) {
            column.push(at.map_or(f64::NAN, |at| self.old.columns[at][row]));
        }
    }

    /// Takes a new version; where it says nothing, what it replaces stays.
    fn add(&mut self, row: usize, symbol: u32, known: i64, replaces: Option<usize>) {
        self.begin(self.new.time[row], symbol, known);
        for field in 0..self.out.columns.len() {
            let value = self.value(row, field);
            let kept = replaces.map_or(f64::NAN, |old| self.stored(old, field));
            let same = self.same(field, value, kept);
            self.out.columns[field].push(if value.is_nan() || same { kept } else { value });
        }
    }

    fn begin(&mut self, time: i64, symbol: u32, known: i64) {
        self.out.time.push(time);
        self.out.symbol.push(symbol);
        self.out.known.push(known);
    }

    /// Whether a new row says something else than a stored version.
    fn differs(&self, row: usize, stored: usize) -> bool {
        (0..self.out.columns.len()).any(|field| {
            let value = self.value(row, field);
            !value.is_nan() && !self.same(field, value, self.stored(stored, field))
        })
    }

    fn same(&self, field: usize, value: f64, stored: f64) -> bool {
        value == stored || (self.factor == Some(field) && (value / stored - 1.0).abs() <= FACTOR_TOLERANCE)
    }

    fn value(&self, row: usize, field: usize) -> f64 {
        self.new_fields[field].map_or(f64::NAN, |at| self.new.columns[at][row])
    }

    fn stored(&self, row: usize, field: usize) -> f64 {
        self.old_fields[field].map_or(f64::NAN, |at| self.old.columns[at][row])
    }
}

fn union(left: &[String], right: &[String]) -> Vec<String> {
    left.iter().chain(right).cloned().collect::<BTreeSet<String>>().into_iter().collect()
}

/// Where each of `own` stands in `all`, which has them all.
fn places(own: &[String], all: &[String]) -> Vec<u32> {
    // Rows are limited to fewer than u32 counts, and so are symbols.
    own.iter().map(|symbol| all.partition_point(|known| known < symbol) as u32).collect()
}
