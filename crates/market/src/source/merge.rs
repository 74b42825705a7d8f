//! The bars of several files as one, in order.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{DateTime, Time};

use super::collect::FileBars;
use super::number::Repairs;
use super::{Adjusted, Bars};
use crate::civil_time::{MICROS_A_DAY, civil, micros};
use crate::panel::MAX_VALUES;
use crate::{Error, Result};

/// A bar's time, symbol, file and row in it: sorted, bars are in order.
type Place = (i64, u32, u32, u32);

/// Puts the bars of files together.
pub(super) fn merge(files: &[FileBars], zone_given: bool) -> Result<Bars> {
    let month_first = month_first(files)?;
    let symbols: Vec<String> =
        files.iter().flat_map(|file| &file.symbols).cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let fields: Vec<String> =
        files.iter().flat_map(|file| &file.fields).cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let rows: usize = files.iter().map(|file| file.moments.len()).sum();
    if rows.saturating_mul(fields.len()) > MAX_VALUES {
        return Err(Error::Panel(format!(
            "{rows} bars of {} fields are more than the limit of {MAX_VALUES} values",
            fields.len()
        )));
    }
    let mut repairs = Repairs::default();
    let mut places: Vec<Place> = Vec::with_capacity(rows);
    for (number, file) in files.iter().enumerate() {
        repairs.add(&file.repairs);
        let own: Vec<u32> = file
            .symbols
            .iter()
            .map(|symbol| symbols.partition_point(|known| known < symbol) as u32)
            .collect();
        let mut last = vec![i64::MIN; own.len()];
        for (row, (moment, symbol)) in file.moments.iter().zip(&file.symbol).enumerate() {
            let time = moment.resolve(month_first).map(micros).ok_or_else(|| {
                let reason = "its date is not one in the order that the other dates have".to_owned();
                Error::Cell {
                    file: file.file.clone(),
                    line: file.line[row].into(),
                    column: "date".to_owned(),
                    reason,
                }
            })?;
            let last = &mut last[*symbol as usize];
            repairs.out_of_order += usize::from(time < *last);
            *last = time.max(*last);
            // All are fewer than the limit of values, which u32 counts.
            places.push((time, own[*symbol as usize], number as u32, row as u32));
        }
    }
    let mut notes: Vec<String> = files.iter().flat_map(|file| file.notes.iter().cloned()).collect();
    let daily = settle_days(&mut places, &symbols, zone_given, &mut notes)?;
    let mut order = in_order(&places, symbols.len());
    let sources = Sources { files, fields: &fields, symbols: &symbols, places: &places };
    repairs.repeated_rows += sources.drop_repeats(&mut order)?;
    let adjusted = adjusted(files)?;
    Ok(Bars {
        daily,
        columns: sources.columns(&order),
        times: order.iter().map(|at| places[*at as usize].0).collect(),
        symbol_of: order.iter().map(|at| places[*at as usize].1).collect(),
        adjusted,
        notes: shortened(notes),
        repairs,
        symbols,
        fields,
    })
}

/// The numbers of the places by time and symbol; of the same bar twice, what came first stays first.
fn in_order(places: &[Place], symbols: usize) -> Vec<u32> {
    on_grid(places, symbols).unwrap_or_else(|| {
        // There are fewer bars than u32 counts.
        let mut order: Vec<u32> = (0..places.len() as u32).collect();
        order.sort_by_key(|at| {
            let (time, symbol, ..) = places[*at as usize];
            (i128::from(time) << 32) | i128::from(symbol)
        });
        order
    })
}

/// The same by putting each where it belongs on a grid of times and symbols; `None` if the grid would be
/// mostly empty, or if two belong in one place.
fn on_grid(places: &[Place], symbols: usize) -> Option<Vec<u32>> {
    const EMPTY_MAX: usize = 8;
    let mut axis: Vec<i64> = Vec::new();
    let mut beside: Vec<i64> = Vec::new();
    let mut cursor = Cursor::default();
    for (time, ..) in places {
        match cursor.find(&axis, *time) {
            Some(_) => {}
            // The first file is usually in order and has most of the times.
            None if axis.last().is_none_or(|last| last < time) => axis.push(*time),
            None => beside.push(*time),
        }
    }
    if !beside.is_empty() {
        axis.extend(beside);
        axis.sort_unstable();
        axis.dedup();
    }
    let cells = axis.len().checked_mul(symbols)?;
    if cells > places.len().saturating_mul(EMPTY_MAX) {
        return None;
    }
    let mut grid: Vec<u32> = vec![u32::MAX; cells];
    let mut cursor = Cursor::default();
    for (number, (time, symbol, ..)) in places.iter().enumerate() {
        let cell = &mut grid[cursor.find(&axis, *time)? * symbols + *symbol as usize];
        if *cell != u32::MAX {
            return None;
        }
        // There are fewer bars than u32 counts.
        *cell = number as u32;
    }
    grid.retain(|number| *number != u32::MAX);
    Some(grid)
}

/// Finds times that mostly follow each other.
#[derive(Default)]
struct Cursor {
    next: usize,
}

impl Cursor {
    fn find(&mut self, axis: &[i64], time: i64) -> Option<usize> {
        if axis.get(self.next) != Some(&time) {
            self.next = axis.binary_search(&time).ok()?;
        }
        self.next += 1;
        Some(self.next - 1)
    }
}

/// Whether the month comes first in dates with slashes: the dates of all files together say.
fn month_first(files: &[FileBars]) -> Result<bool> {
    let slashed = || {
        files
            .iter()
            .flat_map(|file| file.moments.iter())
            .filter(|moment| moment.resolve(true) != moment.resolve(false))
    };
    if slashed().next().is_none() {
        return Ok(true);
    }
    match (slashed().all(|m| m.resolve(true).is_some()), slashed().all(|m| m.resolve(false).is_some())) {
        (true, false) => Ok(true),
        (false, true) => Ok(false),
        (both, _) => {
            let reason = if both {
                "its dates could be month/day/year or day/month/year"
            } else {
                "some of its dates have the month first, others the day"
            };
            Err(Error::File {
                file: files[0].file.clone(),
                reason: format!("{reason}; say which with --date-format %m/%d/%Y or %d/%m/%Y"),
            })
        }
    }
}

/// Whether bars are daily; the times of day that daily bars of some sources have are dropped.
fn settle_days(
    places: &mut [Place],
    symbols: &[String],
    zone_given: bool,
    notes: &mut Vec<String>,
) -> Result<bool> {
    const LATEST: i64 = 16 * 3_600_000_000;
    let within = |time: i64| time.rem_euclid(MICROS_A_DAY);
    if places.iter().all(|place| within(place.0) == 0) {
        return Ok(true);
    }
    // For each symbol whether it has two bars in a day, and whether one away from midnight.
    let mut days: Vec<(BTreeMap<i64, ()>, bool, bool)> = Vec::new();
    days.resize_with(symbols.len(), || (BTreeMap::new(), false, false));
    for (time, symbol, ..) in places.iter() {
        let (seen, twice, off) = &mut days[*symbol as usize];
        *off |= within(*time) != 0;
        if !*twice {
            *twice = seen.insert(time.div_euclid(MICROS_A_DAY), ()).is_some();
        }
    }
    if days.iter().any(|(_, twice, _)| *twice) {
        let daily = days.iter().position(|(seen, twice, off)| !twice && !off && seen.len() > 1);
        return match daily {
            None => Ok(false),
            Some(symbol) => Err(Error::Dataset(format!(
                "{} has daily bars where others have bars within the day; import them as two data sets",
                symbols[symbol]
            ))),
        };
    }
    let one = places.first().map_or(0, |place| place.0);
    let shown = civil(one).map(|time| time.to_string()).unwrap_or_default();
    if !zone_given || places.iter().any(|place| within(place.0) > LATEST) {
        return Err(Error::Dataset(format!(
            "there is one bar a day, at times as {shown}; for daily bars say in which zone their days are, with \
             --time-zone America/New_York"
        )));
    }
    notes.push(format!("one bar a day: times of day, as in {shown}, are left out"));
    for place in places.iter_mut() {
        place.0 -= within(place.0);
    }
    Ok(true)
}

/// What the files say about splits and dividends; all must say the same.
fn adjusted(files: &[FileBars]) -> Result<Adjusted> {
    let first = files.first().map_or(Adjusted::Unknown, |file| file.adjusted);
    match files.iter().find(|file| file.adjusted != first) {
        None => Ok(first),
        Some(other) => Err(Error::Dataset(format!(
            "{} and {} deal differently with splits and dividends: one has an adjusted close or a factor, the other \
             not; import them as two data sets, or leave the column out with --column NAME=ignore",
            files[0].file, other.file
        ))),
    }
}

/// Notes that say the same of many files, as one.
fn shortened(notes: Vec<String>) -> Vec<String> {
    const SHOWN: usize = 3;
    let mut by_text: Vec<(String, Vec<String>)> = Vec::new();
    for note in notes {
        let (file, text) = note.split_once(": ").unwrap_or(("", &note));
        match by_text.iter_mut().find(|(known, _)| known == text) {
            Some((_, files)) => files.push(file.to_owned()),
            None => by_text.push((text.to_owned(), vec![file.to_owned()])),
        }
    }
    let joined = |(text, files): (String, Vec<String>)| match files.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{} and {more} more files: {text}", files[..SHOWN].join(", ")),
        _ if files.iter().all(String::is_empty) => text,
        _ => format!("{}: {text}", files.join(", ")),
    };
    by_text.into_iter().map(joined).collect()
}

struct Sources<'a> {
    files: &'a [FileBars],
    fields: &'a [String],
    symbols: &'a [String],
    places: &'a [Place],
}

impl Sources<'_> {
    /// For each field of the result where it is in each file.
    fn columns_of(&self, field: &String) -> Vec<Option<&Vec<f64>>> {
        let of_file = |file: &'_ FileBars| file.fields.iter().position(|known| known == field);
        self.files.iter().map(|file| of_file(file).map(|at| &file.columns[at])).collect()
    }

    fn columns(&self, order: &[u32]) -> Vec<Vec<f64>> {
        let gather = |field| {
            let own = self.columns_of(field);
            let value = |at: &u32| {
                let (_, _, file, row) = self.places[*at as usize];
                own[file as usize].map_or(f64::NAN, |column| column[row as usize])
            };
            order.iter().map(value).collect()
        };
        self.fields.iter().map(gather).collect()
    }

    /// Leaves out rows that repeat another; two that differ are refused.
    fn drop_repeats(&self, order: &mut Vec<u32>) -> Result<usize> {
        let before = order.len();
        let mut differing = None;
        order.dedup_by(|second, first| {
            let (second, first) = (self.places[*second as usize], self.places[*first as usize]);
            let same_bar = (second.0, second.1) == (first.0, first.1);
            if same_bar && differing.is_none() && !self.equal(first, second) {
                differing = Some((first, second));
            }
            same_bar
        });
        let Some((first, second)) = differing else { return Ok(before - order.len()) };
        let at = |(_, _, file, row): Place| {
            let file = &self.files[file as usize];
            format!("{}, line {}", file.file, file.line[row as usize])
        };
        Err(Error::Duplicate {
            symbol: self.symbols[first.1 as usize].clone(),
            time: civil(first.0).map(shown).unwrap_or_default(),
            first: at(first),
            second: at(second),
        })
    }

    fn equal(&self, first: Place, second: Place) -> bool {
        let value = |field: &String, (_, _, file, row): Place| {
            let file = &self.files[file as usize];
            let at = file.fields.iter().position(|known| known == field);
            at.map_or(f64::NAN, |at| file.columns[at][row as usize])
        };
        self.fields.iter().all(|field| {
            let (first, second) = (value(field, first), value(field, second));
            first == second || (first.is_nan() && second.is_nan())
        })
    }
}

/// A day for midnight, a time otherwise.
fn shown(time: DateTime) -> String {
    if time.time() == Time::midnight() { time.date().to_string() } else { time.to_string() }
}
