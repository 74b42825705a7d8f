//! Bars of several instruments on one calendar, daily or within the day.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::{Date, DateTime, Time};
use sha2::{Digest, Sha256};

use crate::nearest::{unknown, unknown_instrument};
use crate::periods::{Periods, SEPARATOR, period_key};
use crate::{Error, Result, Universe};

/// The most values (dates x instruments x fields) one panel holds: 1 GiB of them.
pub(crate) const MAX_VALUES: usize = 1 << 27;

/// Bars: sorted times x sorted instruments, for each named field one value, NaN where there is none.
///
/// A daily bar's time is midnight of its day. Times are those of the data set's own time zone. Fields are laid
/// out time-major: the value of `(time, instrument)` is at `time * instruments + instrument`.
/// An instrument has a *bar* at a time when at least one of its fields has a value there; its *calendar* is
/// every time of the panel from its first bar to its last, with or without a bar.
#[derive(Debug, Clone)]
pub struct Panel {
    times: Vec<DateTime>,
    /// The day of each time.
    dates: Vec<Date>,
    instruments: Vec<String>,
    fields: BTreeMap<String, Vec<f64>>,
    spans: Vec<Option<Span>>,
    universes: BTreeMap<String, Arc<Universe>>,
    periods: Arc<Periods>,
}

/// Time indices of an instrument's first and last bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl Panel {
    /// Makes a panel of daily bars; dates and instruments must be strictly ascending and every field of full
    /// size.
    ///
    /// # Errors
    /// [`Error::Panel`] naming what does not fit.
    pub fn new(
        dates: Vec<Date>,
        instruments: Vec<String>,
        fields: BTreeMap<String, Vec<f64>>,
    ) -> Result<Self> {
        if let Some(pair) = dates.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(Error::Panel(format!(
                "dates must ascend strictly, but {} follows {}",
                pair[1], pair[0]
            )));
        }
        let times = dates.into_iter().map(|date| date.to_datetime(Time::midnight())).collect();
        Self::with_times(times, instruments, fields)
    }

    /// Makes a panel of bars at any times; times and instruments must be strictly ascending and every field
    /// of full size.
    ///
    /// # Errors
    /// [`Error::Panel`] naming what does not fit.
    pub fn with_times(
        times: Vec<DateTime>,
        instruments: Vec<String>,
        fields: BTreeMap<String, Vec<f64>>,
    ) -> Result<Self> {
        if let Some(pair) = times.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(Error::Panel(format!(
                "times must ascend strictly, but {} follows {}",
                pair[1], pair[0]
            )));
        }
        if let Some(pair) = instruments.windows(2).find(|pair| pair[0] >= pair[1]) {
            let message = format!("instruments must ascend strictly, but {} follows {}", pair[1], pair[0]);
            return Err(Error::Panel(message));
        }
        if fields.is_empty() {
            return Err(Error::Panel("it has no field; a panel needs at least \"close\"".to_owned()));
        }
        let cells = times.len().saturating_mul(instruments.len());
        if cells.saturating_mul(fields.len()) > MAX_VALUES {
            return Err(Error::Panel(format!(
                "{} dates x {} instruments x {} fields are more than the limit of {MAX_VALUES} values",
                times.len(),
                instruments.len(),
                fields.len()
            )));
        }
        for (name, values) in &fields {
            if values.len() != cells {
                return Err(Error::Panel(format!(
                    "field \"{name}\" has {} values, but {} dates x {} instruments need {cells}",
                    values.len(),
                    times.len(),
                    instruments.len()
                )));
            }
        }
        let spans = spans(times.len(), instruments.len(), &fields);
        let dates = times.iter().map(|time| time.date()).collect();
        Ok(Self {
            times,
            dates,
            instruments,
            fields,
            spans,
            universes: BTreeMap::new(),
            periods: Arc::default(),
        })
    }

    /// The same panel with a named universe, which replaces one of that name.
    ///
    /// # Errors
    /// [`Error::Panel`] if the universe is not one of this panel's times and instruments.
    pub fn with_universe(mut self, name: &str, universe: Universe) -> Result<Self> {
        universe.check(self.times.len(), self.instruments.len())?;
        self.universes.insert(name.to_owned(), Arc::new(universe));
        Ok(self)
    }

    /// The same panel with published values by period.
    pub(crate) fn with_periods(mut self, periods: Periods) -> Self {
        self.periods = Arc::new(periods);
        self
    }

    /// The universe of a name.
    ///
    /// # Errors
    /// [`Error::UnknownUniverse`] with the nearest one.
    pub fn universe(&self, name: &str) -> Result<&Arc<Universe>> {
        self.universes.get(name).ok_or_else(|| {
            let known = self.universe_names();
            Error::UnknownUniverse(if known.is_empty() {
                format!("unknown universe \"{name}\": the data set has no membership table; import one")
            } else {
                unknown("universe", name, &known)
            })
        })
    }

    /// The names of the universes, ascending.
    pub fn universe_names(&self) -> Vec<&str> {
        self.universes.keys().map(String::as_str).collect()
    }

    /// The times, ascending; midnight for daily bars.
    pub fn times(&self) -> &[DateTime] {
        &self.times
    }

    /// The day of each time, ascending; a day comes once for each of its bars.
    pub fn dates(&self) -> &[Date] {
        &self.dates
    }

    /// Whether every bar is a whole day's.
    pub fn is_daily(&self) -> bool {
        self.times.iter().all(|time| time.time() == Time::midnight())
            && self.dates.windows(2).all(|pair| pair[0] < pair[1])
    }

    /// The instruments, ascending.
    pub fn instruments(&self) -> &[String] {
        &self.instruments
    }

    /// The names of the fields, ascending, without `$`.
    pub fn field_names(&self) -> Vec<&str> {
        self.fields.keys().map(String::as_str).collect()
    }

    /// The values of a field, date-major.
    pub fn field(&self, name: &str) -> Option<&[f64]> {
        self.fields.get(name).map(Vec::as_slice)
    }

    /// Whether expressions can read a field: one of the panel's, or `$roe@2020Q1`, one period of a published value.
    pub fn has_field(&self, name: &str) -> bool {
        self.fields.contains_key(name)
            || name.split_once(SEPARATOR).is_some_and(|(field, _)| self.periods.has(field))
    }

    /// The values of whatever [`Panel::has_field`] has, time-major.
    pub(crate) fn cells(&self, name: &str) -> Option<Vec<f64>> {
        if let Some(values) = self.field(name) {
            return Some(values.to_vec());
        }
        let (times, width) = (self.times.len(), self.instruments.len());
        let (mut cells, mut own) = (vec![f64::NAN; times * width], vec![f64::NAN; times]);
        for instrument in 0..width {
            self.read(name, instrument, 0..times, &mut own)?;
            for (cell, value) in cells[instrument..].iter_mut().step_by(width).zip(&own) {
                *cell = *value;
            }
        }
        Some(cells)
    }

    /// Reads a field of one instrument at some times into `out`; NaN where there is no value. `None` without such a
    /// field.
    pub(crate) fn read(
        &self,
        name: &str,
        instrument: usize,
        times: std::ops::Range<usize>,
        out: &mut [f64],
    ) -> Option<()> {
        let width = self.instruments.len();
        if let Some(values) = self.fields.get(name) {
            let column = values.get(times.start * width + instrument..).unwrap_or_default();
            for (result, value) in out.iter_mut().zip(column.iter().step_by(width)) {
                *result = *value;
            }
            return Some(());
        }
        let (field, period) = name.split_once(SEPARATOR)?;
        if !self.periods.has(field) {
            return None;
        }
        let period = period_key(period)?;
        let begin = times.start;
        self.periods.read((field, period), &self.instruments[instrument], times, |time, value| {
            if let Some(result) = out.get_mut(time - begin) {
                *result = if self.has_bar(time, instrument) { value } else { f64::NAN };
            }
        });
        Some(())
    }

    /// Where an instrument stands in [`Panel::instruments`].
    pub fn instrument_index(&self, symbol: &str) -> Option<usize> {
        self.instruments.binary_search_by(|known| known.as_str().cmp(symbol)).ok()
    }

    /// Where the first bar of a date stands in [`Panel::dates`].
    pub fn date_index(&self, date: Date) -> Option<usize> {
        let first = self.dates.partition_point(|known| *known < date);
        (self.dates.get(first) == Some(&date)).then_some(first)
    }

    /// Where a time stands in [`Panel::times`].
    pub fn time_index(&self, time: DateTime) -> Option<usize> {
        self.times.binary_search(&time).ok()
    }

    /// The newest bar of a date that is not after `date`.
    pub fn last_on_or_before(&self, date: Date) -> Option<usize> {
        self.dates.partition_point(|known| *known <= date).checked_sub(1)
    }

    /// Whether an instrument has a bar at a time; both are indices.
    pub fn has_bar(&self, time: usize, instrument: usize) -> bool {
        let cell = time * self.instruments.len() + instrument;
        self.fields.values().any(|values| !values[cell].is_nan())
    }

    /// The same panel without the bars after the day `as_of`; instruments stay, even those left without a bar.
    pub fn as_of(&self, as_of: Date) -> Self {
        self.prefix(self.dates.partition_point(|date| *date <= as_of))
    }

    /// The panel of the first so many times; instruments stay, even those left without a bar.
    pub fn prefix(&self, times: usize) -> Self {
        let kept = times.min(self.times.len());
        let width = self.instruments.len();
        let fields: BTreeMap<_, _> = self
            .fields
            .iter()
            .map(|(name, values)| (name.clone(), values[..kept * width].to_vec()))
            .collect();
        let spans = spans(kept, width, &fields);
        let universes = self.universes.iter();
        Self {
            times: self.times[..kept].to_vec(),
            dates: self.dates[..kept].to_vec(),
            instruments: self.instruments.clone(),
            fields,
            spans,
            universes: universes.map(|(name, of)| (name.clone(), Arc::new(of.prefix(kept, width)))).collect(),
            periods: Arc::clone(&self.periods),
        }
    }

    /// The panel of the named instruments alone, on the same dates.
    ///
    /// # Errors
    /// [`Error::UnknownInstrument`] with the nearest one, [`Error::Panel`] for one named twice.
    pub fn select(&self, instruments: &[String]) -> Result<Self> {
        let mut chosen = instruments.to_vec();
        chosen.sort_unstable();
        let indices = chosen
            .iter()
            .map(|symbol| {
                self.instrument_index(symbol)
                    .ok_or_else(|| Error::UnknownInstrument(unknown_instrument(symbol, &self.instruments)))
            })
            .collect::<Result<Vec<usize>>>()?;
        let width = self.instruments.len();
        let pick = |values: &Vec<f64>| -> Vec<f64> {
            (0..self.dates.len())
                .flat_map(|date| indices.iter().map(move |i| values[date * width + i]))
                .collect()
        };
        let fields = self.fields.iter().map(|(name, values)| (name.clone(), pick(values))).collect();
        let mut selected = Self::with_times(self.times.clone(), chosen, fields)?;
        for (name, universe) in &self.universes {
            selected = selected.with_universe(name, universe.select(self.times.len(), width, &indices))?;
        }
        selected.periods = Arc::clone(&self.periods);
        Ok(selected)
    }

    /// The same panel with other values: `value` gets the field, the cell (`time * instruments + instrument`) and its
    /// value, and is not asked about cells without one.
    pub fn map(&self, value: impl Fn(&str, usize, f64) -> f64) -> Self {
        let changed = |(name, values): (&String, &Vec<f64>)| {
            let each = values.iter().enumerate();
            let each = each.map(|(cell, old)| if old.is_nan() { *old } else { value(name, cell, *old) });
            (name.clone(), each.collect())
        };
        Self { fields: self.fields.iter().map(changed).collect(), ..self.clone() }
    }

    /// SHA-256, in hexadecimal, of times, instruments, fields and values; every NaN counts as the same.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let text = |hash: &mut Sha256, text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        hash.update(b"panel 1\n");
        for count in [self.dates.len(), self.instruments.len(), self.fields.len()] {
            hash.update((count as u64).to_le_bytes());
        }
        for time in &self.times {
            // A daily bar is known by its day alone.
            let midnight = time.time() == Time::midnight();
            text(&mut hash, &if midnight { time.date().to_string() } else { time.to_string() });
        }
        for symbol in &self.instruments {
            text(&mut hash, symbol);
        }
        for (name, values) in &self.fields {
            text(&mut hash, name);
            for value in values {
                let canonical = if value.is_nan() { f64::NAN } else { *value };
                hash.update(canonical.to_bits().to_le_bytes());
            }
        }
        hex::encode(hash.finalize())
    }

    /// The instrument's calendar, `None` without any bar.
    pub(crate) fn span(&self, instrument: usize) -> Option<Span> {
        self.spans.get(instrument).copied().flatten()
    }
}

fn spans(dates: usize, instruments: usize, fields: &BTreeMap<String, Vec<f64>>) -> Vec<Option<Span>> {
    let mut spans: Vec<Option<Span>> = vec![None; instruments];
    for values in fields.values() {
        for date in 0..dates {
            let row = &values[date * instruments..(date + 1) * instruments];
            for (span, value) in spans.iter_mut().zip(row) {
                if value.is_nan() {
                    continue;
                }
                let known = span.get_or_insert(Span { first: date, last: date });
                known.first = known.first.min(date);
                known.last = known.last.max(date);
            }
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn panel() -> Panel {
        let dates = vec![date(2020, 1, 2), date(2020, 1, 3), date(2020, 1, 6)];
        let close = vec![1.0, f64::NAN, 2.0, 20.0, f64::NAN, 30.0];
        let fields = BTreeMap::from([("close".to_owned(), close)]);
        Panel::new(dates, vec!["A".to_owned(), "B".to_owned()], fields).expect("it fits")
    }

    #[test]
    fn dates_are_found_exactly_and_as_the_last_known() {
        let panel = panel();
        assert_eq!(panel.date_index(date(2020, 1, 4)), None);
        assert_eq!(panel.last_on_or_before(date(2020, 1, 4)), Some(1));
        assert_eq!(panel.last_on_or_before(date(2020, 1, 1)), None);
    }

    #[test]
    fn a_span_runs_from_the_first_bar_to_the_last() {
        let panel = panel();
        assert_eq!(panel.span(0), Some(Span { first: 0, last: 1 }));
        assert_eq!(panel.span(1), Some(Span { first: 1, last: 2 }));
        assert_eq!(panel.as_of(date(2020, 1, 2)).span(1), None);
    }

    #[test]
    fn as_of_keeps_no_later_bar() {
        let cut = panel().as_of(date(2020, 1, 5));
        assert_eq!(cut.dates().last(), Some(&date(2020, 1, 3)));
        assert_eq!(cut.field("close").map(<[f64]>::len), Some(4));
    }

    #[test]
    fn select_picks_columns_and_names_an_unknown_symbol() {
        let only = panel().select(&["B".to_owned()]).expect("B is there");
        assert_eq!(only.field("close").map(|close| close[1..].to_vec()), Some(vec![20.0, 30.0]));
        let error = panel().select(&["b".to_owned()]).expect_err("symbols are case-sensitive");
        assert_eq!(error.to_string(), "unknown instrument \"b\"; did you mean \"B\"? instruments: A, B");
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let fields = BTreeMap::from([("close".to_owned(), vec![1.0])]);
        let error = Panel::new(vec![date(2020, 1, 2)], vec!["A".to_owned(), "B".to_owned()], fields.clone());
        let text = error.expect_err("one value for two cells").to_string();
        assert_eq!(
            text,
            "cannot make a panel: field \"close\" has 1 values, but 1 dates x 2 instruments need 2"
        );
        let unsorted = Panel::new(vec![date(2020, 1, 3), date(2020, 1, 2)], vec!["A".to_owned()], fields);
        assert!(unsorted.is_err_and(|e| e.to_string().contains("2020-01-02 follows 2020-01-03")));
    }

    #[test]
    fn the_digest_tells_values_apart_and_ignores_how_nan_is_written() {
        let panel = panel();
        let mut same = panel.clone();
        let mut other = panel.clone();
        same.fields.get_mut("close").expect("close")[1] = -f64::NAN;
        other.fields.get_mut("close").expect("close")[0] = 1.5;
        assert_eq!(panel.digest(), same.digest());
        assert_ne!(panel.digest(), other.digest());
    }
}
