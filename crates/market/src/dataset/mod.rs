//! A data set in time: every version of every bar, and what else is known about its instruments.
//!
//! [`Dataset::append`] adds what an import brings, [`Dataset::panel`] shows what was known at a time. Nothing is
//! ever overwritten: a correction is a later version. Files and numbers of snapshots are `snapshot`'s.

mod adjust;
mod files;
mod fill;
pub(crate) mod history;
mod table_file;
pub(crate) mod tables;
mod timing;

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime};
use serde::{Deserialize, Serialize};

use crate::civil_time::{civil, micros};
use crate::panel::MAX_VALUES;
use crate::source::{Adjusted, Bars};
use crate::{Error, Panel, Result};

use adjust::Fields;
pub use history::Appended;
use history::{Arrival, FACTOR, History};
pub use table_file::{TableFile, TableKind, read_tables};
pub use tables::{Action, Group, Member, Point, Tables, end_of};
pub use timing::{Stamp, Timing, TimingOptions};

/// How the prices of a data set deal with splits and dividends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adjustment {
    /// As they came; nothing is known about it.
    #[default]
    AsTheyCame,
    /// Stored as traded and adjusted forward from the first bar when read.
    Forward,
    /// Adjusted backwards by the source: a later split or dividend rewrites earlier prices.
    BackAdjusted,
}

impl Adjustment {
    /// What a reader of any result must know; empty if nothing.
    pub fn note(self) -> Option<&'static str> {
        match self {
            Self::AsTheyCame => None,
            Self::Forward => Some("prices are adjusted for splits and dividends forward from the first bar"),
            Self::BackAdjusted => Some(
                "prices are back-adjusted by their source: splits and dividends after a bar have changed its price",
            ),
        }
    }
}

/// Bars and what else is known, in all versions.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    pub(crate) timing: Timing,
    pub(crate) adjustment: Adjustment,
    pub(crate) history: History,
    pub(crate) tables: Tables,
}

/// What an import brings.
#[derive(Debug)]
pub struct Append {
    /// New bars; absent: tables alone.
    pub bars: Option<Bars>,
    /// New rows of tables.
    pub tables: Tables,
    /// When it happens, in the data set's zone: since then corrections and late bars are known.
    pub now: DateTime,
    /// What the user says about when all of the bars became known; never before their close.
    pub known_at: Option<DateTime>,
    /// What the user says about how bars become known; the rest is as stored, or the default.
    pub timing: TimingOptions,
    /// What the user says about the prices; absent: what the columns tell.
    pub adjustment: Option<Adjustment>,
}

/// What an append did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendReport {
    /// What became of the bars.
    #[serde(flatten)]
    pub bars: Appended,
    /// New rows of tables.
    pub table_rows: usize,
}

impl Dataset {
    /// A data set of the bars and tables of its first import.
    ///
    /// # Errors
    /// As [`Dataset::append`].
    pub fn first(append: Append) -> Result<(Self, AppendReport)> {
        let empty = Self {
            timing: Timing::default(),
            adjustment: Adjustment::default(),
            history: History::default(),
            tables: Tables::default(),
        };
        empty.append(append)
    }

    /// The data set with what an import brings.
    ///
    /// A bar that was there with the same values is left alone; with other values it is a correction, known
    /// since `known_at` or `now`. A bar between others of its instrument comes late and is known since then too.
    ///
    /// # Errors
    /// [`Error::Dataset`] for another timing or adjustment than the stored one, daily bars where the data set has
    /// bars within the day or the other way, a correction known before what it corrects, adjustment factors that
    /// cannot be brought to one scale, rows of tables that cannot be, and beyond the limits.
    pub fn append(&self, append: Append) -> Result<(Self, AppendReport)> {
        let Append { bars, tables, now, known_at, timing, adjustment } = append;
        let begins = self.history.len() == 0;
        let mut grown = self.clone();
        let mut report = AppendReport::default();
        (grown.tables, report.table_rows) = self.tables.append(tables, now)?;
        if let Some(bars) = bars {
            grown.timing = self.checked_timing(begins, timing.over(&self.timing), &bars)?;
            let adjusted = adjustment.unwrap_or(match bars.adjusted {
                Adjusted::BackAdjusted => Adjustment::BackAdjusted,
                Adjusted::FactorColumn => Adjustment::Forward,
                Adjusted::Unknown if begins => Adjustment::AsTheyCame,
                Adjusted::Unknown => self.adjustment,
            });
            let arrival = Arrival { now: micros(now), told: known_at.map(micros) };
            (grown.history, report.bars) =
                self.history.append(History::from_bars(bars)?, &grown.timing, arrival)?;
            grown.adjustment = self.checked_adjustment(begins, adjusted)?;
        }
        if !grown.tables.actions.is_empty() {
            grown.check_actions()?;
            grown.adjustment = Adjustment::Forward;
        }
        Ok((grown, report))
    }

    fn checked_timing(&self, begins: bool, mut timing: Timing, bars: &Bars) -> Result<Timing> {
        timing.daily = bars.daily;
        if begins {
            if !timing.daily && timing.bar_seconds == 0 {
                timing.bar_seconds = shortest_step(bars);
            }
            timing.check()?;
            return Ok(timing);
        }
        let stored = &self.timing;
        if timing == *stored {
            return Ok(timing);
        }
        if timing.daily != stored.daily {
            let kind = |daily| if daily { "daily bars" } else { "bars within the day" };
            return Err(Error::Dataset(format!(
                "the data set has {}, the file {}; import it under another name",
                kind(stored.daily),
                kind(timing.daily)
            )));
        }
        Err(Error::Dataset(
            "close time, lag, stamps, length and zone of the bars are those of the first import; import under \
             another name, or start again with --replace, to change them"
                .to_owned(),
        ))
    }

    fn checked_adjustment(&self, begins: bool, new: Adjustment) -> Result<Adjustment> {
        // What was not known about the stored prices may be said later.
        let said = (self.adjustment, new) == (Adjustment::AsTheyCame, Adjustment::BackAdjusted);
        if begins || said || new == self.adjustment || !self.tables.actions.is_empty() {
            return Ok(new);
        }
        let words = |adjustment| match adjustment {
            Adjustment::AsTheyCame => "as they came",
            Adjustment::Forward => "as traded, with adjustment factors",
            Adjustment::BackAdjusted => "back-adjusted",
        };
        Err(Error::Dataset(format!(
            "the stored prices are {}, those of the file {}; import a file of the same kind, or start again with \
             --replace",
            words(self.adjustment),
            words(new)
        )))
    }

    fn check_actions(&self) -> Result<()> {
        let twice = |how: &str| {
            Err(Error::Dataset(format!(
                "the prices are {how} already; splits and dividends apply to prices as traded: leave out the \
                 table, or import the prices as traded"
            )))
        };
        if self.adjustment == Adjustment::BackAdjusted {
            return twice("back-adjusted");
        }
        if self.history.fields.iter().any(|field| field == FACTOR) {
            return twice("adjusted by a column of factors");
        }
        Ok(())
    }

    /// Names of the fields of the bars, as stored.
    pub fn fields(&self) -> &[String] {
        &self.history.fields
    }

    /// How bars become known.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// How the prices deal with splits and dividends.
    pub fn adjustment(&self) -> Adjustment {
        self.adjustment
    }

    /// What is known besides the bars.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Bars that were corrected: versions that replaced an earlier one.
    pub fn corrections(&self) -> usize {
        self.history.corrections()
    }

    /// When the newest version of any bar became known; `None` without bars.
    pub fn newest_known(&self) -> Option<DateTime> {
        self.history.known.iter().max().and_then(|known| civil(*known))
    }

    /// The times at which what is known of the past changed: corrections and late bars, and rows of tables that
    /// replaced others or came after their day. Ascending. Between two of them only newer bars become known.
    pub fn restatements(&self) -> Vec<DateTime> {
        let of_bars = self.history.restatements(&self.timing).into_iter().filter_map(civil);
        of_bars.chain(self.tables.restatements()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What was known at a time, that time included; everything without one.
    ///
    /// Prices are adjusted forward from the first bar if the data set has factors or corporate actions; `$factor`
    /// is then a field. Published values and groups are fields, where there is a bar, as known when the bar was;
    /// memberships are universes.
    ///
    /// # Errors
    /// [`Error::Panel`] for more values than a panel holds, [`Error::Dataset`] for corporate actions that do not
    /// fit the prices.
    pub fn panel(&self, as_of: Option<DateTime>) -> Result<Panel> {
        let rows = self.history.visible(as_of.map(micros));
        let times = self.axis(&rows)?;
        let instruments = self.instruments(&rows);
        let history = &self.history;
        let cells = times.len().saturating_mul(instruments.len());
        if cells.saturating_mul(history.fields.len()) > MAX_VALUES {
            return Err(Error::Panel(format!(
                "{} dates x {} instruments x {} fields are more than the limit of {MAX_VALUES} values",
                times.len(),
                instruments.len(),
                history.fields.len()
            )));
        }
        let place: Vec<usize> = history
            .symbols
            .iter()
            .map(|symbol| instruments.partition_point(|known| known < symbol))
            .collect();
        let mut fields: Fields =
            history.fields.iter().map(|field| (field.clone(), vec![f64::NAN; cells])).collect();
        let (mut time, mut targets) = (0, Vec::with_capacity(rows.len()));
        for row in &rows {
            while times[time] < history.time[*row] {
                time += 1;
            }
            targets.push(time * instruments.len() + place[history.symbol[*row] as usize]);
        }
        for (column, values) in history.columns.iter().zip(fields.values_mut()) {
            for (row, target) in rows.iter().zip(&targets) {
                values[*target] = column[*row];
            }
        }
        self.assemble(&times, instruments, fields, as_of)
    }

    /// Adjusts prices and adds what the tables know.
    fn assemble(
        &self,
        times: &[i64],
        instruments: Vec<String>,
        mut fields: Fields,
        as_of: Option<DateTime>,
    ) -> Result<Panel> {
        let out_of_range = || Error::Dataset("a bar lies beyond the year 9999".to_owned());
        let civil_times =
            times.iter().map(|time| civil(*time).ok_or_else(out_of_range)).collect::<Result<Vec<_>>>()?;
        let dates: Vec<Date> = civil_times.iter().map(|time| time.date()).collect();
        let actions = tables::as_known(&self.tables.actions, as_of, |a| (&a.symbol, a.date), |a| a.known);
        if actions.is_empty() {
            adjust::by_column(&mut fields, instruments.len());
        } else {
            adjust::by_actions(&mut fields, &dates, &instruments, &actions)?;
        }
        let known: Vec<DateTime> = times
            .iter()
            .map(|time| civil(self.timing.known(*time)).ok_or_else(out_of_range))
            .collect::<Result<_>>()?;
        let axis = fill::Axis { dates: &dates, known: &known, instruments: &instruments };
        let extra = fill::fields(&self.tables, &axis, &fields, as_of)?;
        let universes = fill::universes(&self.tables, &axis, as_of);
        let periods = fill::periods(&self.tables, &axis);
        fields.extend(extra);
        if fields.is_empty() {
            return Err(Error::Panel("it has no bar; import prices".to_owned()));
        }
        let mut panel = Panel::with_times(civil_times, instruments, fields)?.with_periods(periods);
        for (name, universe) in universes {
            panel = panel.with_universe(&name, universe)?;
        }
        Ok(panel)
    }

    /// The times of the rows, and the trading days between the first and the last of them.
    fn axis(&self, rows: &[usize]) -> Result<Vec<i64>> {
        let mut times: Vec<i64> = rows.iter().map(|row| self.history.time[*row]).collect();
        times.dedup();
        if !self.timing.daily || self.tables.calendar.is_empty() {
            return Ok(times);
        }
        let (Some(first), Some(last)) = (times.first().copied(), times.last().copied()) else {
            return Ok(times);
        };
        let trading = self.tables.calendar.iter().map(|day| micros(tables::start_of(*day)));
        let within = trading.filter(|time| (first..=last).contains(time));
        let all: BTreeSet<i64> = times.into_iter().chain(within).collect();
        Ok(all.into_iter().collect())
    }

    fn instruments(&self, rows: &[usize]) -> Vec<String> {
        let mut present = vec![false; self.history.symbols.len()];
        for row in rows {
            present[self.history.symbol[*row] as usize] = true;
        }
        let symbols = self.history.symbols.iter().zip(present);
        symbols.filter(|(_, present)| *present).map(|(symbol, _)| symbol.clone()).collect()
    }
}

/// The shortest time between two bars of an instrument, in seconds; 0 if none has two.
fn shortest_step(bars: &Bars) -> u32 {
    let mut last: Vec<Option<i64>> = vec![None; bars.symbols.len()];
    let mut shortest = i64::MAX;
    for (time, symbol) in bars.times.iter().zip(&bars.symbol_of) {
        if let Some(before) = last[*symbol as usize].replace(*time) {
            shortest = shortest.min(*time - before);
        }
    }
    u32::try_from(shortest / crate::civil_time::MICROS_A_SECOND).unwrap_or(0)
}

impl History {
    /// One version of each bar; `known` is to be filled in.
    fn from_bars(bars: Bars) -> Result<Self> {
        let Bars { fields, symbols, times, symbol_of, columns, .. } = bars;
        let mut order: Vec<usize> = (0..fields.len()).collect();
        order.sort_by(|a, b| fields[*a].cmp(&fields[*b]));
        let mut columns: Vec<Option<Vec<f64>>> = columns.into_iter().map(Some).collect();
        let rows = times.len();
        let history = Self {
            symbols,
            fields: order.iter().map(|at| fields[*at].clone()).collect(),
            time: times,
            symbol: symbol_of,
            known: vec![0; rows],
            columns: order.iter().filter_map(|at| columns[*at].take()).collect(),
        };
        let ascend = |row: usize| {
            (history.time[row - 1], history.symbol[row - 1]) < (history.time[row], history.symbol[row])
        };
        if let Some(row) = (1..rows).find(|row| !ascend(*row)) {
            let symbol = &history.symbols[history.symbol[row] as usize];
            let time = civil(history.time[row]).map(|time| time.to_string()).unwrap_or_default();
            return Err(Error::Dataset(format!(
                "the bar of {symbol} at {time} is out of order or there twice"
            )));
        }
        Ok(history)
    }
}

#[cfg(test)]
mod tests;
