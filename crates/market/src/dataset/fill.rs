//! Tables on a panel's grid: each value where a bar is, as known when the bar was.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, DateTime};

use super::adjust::Fields;
use super::tables::{Group, Member, Point, Tables, as_known};
use crate::panel::MAX_VALUES;
use crate::periods::{Periods, Release, period_key, period_order};
use crate::{Error, Result, Universe};

/// The grid of a panel.
pub(super) struct Axis<'a> {
    pub(super) dates: &'a [Date],
    /// When the bars of each time are known.
    pub(super) known: &'a [DateTime],
    pub(super) instruments: &'a [String],
}

/// Published values and groups as fields.
pub(super) fn fields(
    tables: &Tables,
    axis: &Axis<'_>,
    bars: &Fields,
    as_of: Option<DateTime>,
) -> Result<Fields> {
    let points: BTreeSet<&str> = tables.points.iter().map(|point| point.field.as_str()).collect();
    let groups: BTreeSet<&str> = tables.groups.iter().map(|group| group.field.as_str()).collect();
    if let Some(twice) = groups.iter().find(|name| bars.contains_key(**name)) {
        return Err(Error::Dataset(format!(
            "\"{twice}\" is the name of two things: a field of the bars and a grouping; rename one"
        )));
    }
    let cells = axis.dates.len().saturating_mul(axis.instruments.len());
    if cells.saturating_mul(points.len() + groups.len() + bars.len()) > MAX_VALUES {
        return Err(Error::Panel(format!(
            "{} dates x {} instruments x {} fields are more than the limit of {MAX_VALUES} values",
            axis.dates.len(),
            axis.instruments.len(),
            points.len() + groups.len() + bars.len()
        )));
    }
    let mut filled = Fields::new();
    for name in points {
        let rows = tables.points.iter().filter(|point| point.field == name);
        // An expression reads it as P($$name).
        filled.insert(format!("${name}"), published(rows.collect(), axis));
    }
    for name in groups {
        let rows: Vec<&Group> =
            as_known(&tables.groups, as_of, |g| (&g.field, &g.symbol, g.from), |g| g.known);
        filled.insert(name.to_owned(), grouped(rows.into_iter().filter(|g| g.field == name), axis));
    }
    for cell in 0..cells {
        if bars.values().all(|values| values[cell].is_nan()) {
            filled.values_mut().for_each(|values| values[cell] = f64::NAN);
        }
    }
    Ok(filled)
}

/// At each bar the newest version of the newest period that was published by then.
fn published(mut points: Vec<&Point>, axis: &Axis<'_>) -> Vec<f64> {
    let width = axis.instruments.len();
    let mut values = vec![f64::NAN; axis.dates.len() * width];
    points.sort_by(|a, b| (&a.symbol, a.published).cmp(&(&b.symbol, b.published)));
    for (instrument, symbol) in axis.instruments.iter().enumerate() {
        let from = points.partition_point(|point| point.symbol < *symbol);
        let mut own = points[from..].iter().take_while(|point| point.symbol == *symbol).peekable();
        let mut newest: Option<(u32, f64)> = None;
        for (time, known) in axis.known.iter().enumerate() {
            while let Some(point) = own.next_if(|point| point.published <= *known) {
                let order = period_order(&point.period).unwrap_or_default();
                if newest.is_none_or(|(period, _)| order >= period) {
                    newest = Some((order, point.value));
                }
            }
            if let Some((_, value)) = newest {
                values[time * width + instrument] = value;
            }
        }
    }
    values
}

/// Published values by period, for `PRef`.
pub(super) fn periods(tables: &Tables, axis: &Axis<'_>) -> Periods {
    let mut releases: BTreeMap<(&str, &str), Vec<(DateTime, Release)>> = BTreeMap::new();
    for point in &tables.points {
        let time = axis.known.partition_point(|known| *known < point.published);
        let Some(period) = period_key(&point.period).filter(|_| time < axis.known.len()) else { continue };
        let release = Release { period, time, value: point.value };
        releases.entry((&point.field, &point.symbol)).or_default().push((point.published, release));
    }
    let mut periods = Periods::default();
    for ((field, symbol), mut own) in releases {
        own.sort_by_key(|(published, _)| *published);
        let own = own.into_iter().map(|(_, release)| release).collect();
        periods.insert(format!("${field}"), symbol.to_owned(), own);
    }
    periods
}

/// At each bar the number of the group of the newest row that began by then and was known.
fn grouped<'a>(groups: impl Iterator<Item = &'a Group>, axis: &Axis<'_>) -> Vec<f64> {
    let width = axis.instruments.len();
    let mut values = vec![f64::NAN; axis.dates.len() * width];
    let mut of_symbol: BTreeMap<&str, Vec<&Group>> = BTreeMap::new();
    for group in groups {
        of_symbol.entry(&group.symbol).or_default().push(group);
    }
    for (instrument, symbol) in axis.instruments.iter().enumerate() {
        let own = of_symbol.get(symbol.as_str()).map(Vec::as_slice).unwrap_or_default();
        for (time, (date, known)) in axis.dates.iter().zip(axis.known).enumerate() {
            // Rows are in the order of their first days.
            let began = own.partition_point(|group| group.from <= *date);
            if let Some(group) = own[..began].iter().rev().find(|group| group.known <= *known) {
                values[time * width + instrument] = f64::from(group.code);
            }
        }
    }
    values
}

/// Memberships as universes by time.
pub(super) fn universes(
    tables: &Tables,
    axis: &Axis<'_>,
    as_of: Option<DateTime>,
) -> Vec<(String, Universe)> {
    let width = axis.instruments.len();
    let spells: Vec<&Member> =
        as_known(&tables.members, as_of, |m| (&m.universe, &m.symbol, m.from), |m| m.known);
    let mut universes: BTreeMap<&str, Vec<bool>> = tables
        .members
        .iter()
        .map(|member| (member.universe.as_str(), vec![false; axis.dates.len() * width]))
        .collect();
    for spell in spells {
        let Ok(instrument) = axis.instruments.binary_search(&spell.symbol) else { continue };
        let Some(members) = universes.get_mut(spell.universe.as_str()) else { continue };
        let first = axis.dates.partition_point(|date| *date < spell.from);
        let after = spell.to.map_or(axis.dates.len(), |to| axis.dates.partition_point(|date| *date <= to));
        for time in first..after {
            // The end of a spell may be corrected later; that it began is known from the first version on.
            members[time * width + instrument] |= began_known(tables, spell) <= axis.known[time];
        }
    }
    universes.into_iter().map(|(name, members)| (name.to_owned(), Universe::by_time(members))).collect()
}

/// Since when the first version of a spell is known.
fn began_known(tables: &Tables, spell: &Member) -> DateTime {
    let key = (&spell.universe, &spell.symbol, spell.from);
    let first =
        tables.members.partition_point(|member| (&member.universe, &member.symbol, member.from) < key);
    tables.members.get(first).map_or(spell.known, |member| member.known)
}
