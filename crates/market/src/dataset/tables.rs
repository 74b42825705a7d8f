//! What a data set knows besides its bars: corporate actions, point-in-time values, groups, members, trading days.
//!
//! Every row says since when it is known; a row that replaces one with the same key is a new version of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, DateTime, Time};

use crate::periods::period_order;
use crate::{Error, Result};

/// More rows of one table are refused.
pub(crate) const ROWS_MAX: usize = 10_000_000;

/// A split or a cash dividend, on the first day the shares trade without it.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// The instrument.
    pub symbol: String,
    /// The ex-date.
    pub date: Date,
    /// Shares after it for each share before: 2 for a 2-for-1 split, 1 for none.
    pub split: f64,
    /// Cash for each share held before, in the currency of the prices; 0 for none.
    pub dividend: f64,
    /// Since when it is known; at the first import the start of the ex-date.
    pub known: DateTime,
}

/// A value that was published once: earnings of a quarter.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The instrument.
    pub symbol: String,
    /// What the value is: `eps`, read as `P($$eps)`.
    pub field: String,
    /// What it is about: `2020Q1`, `2020-03-31`, `202003` or `2020`.
    pub period: String,
    /// When it was published; for a day without a time, the end of it.
    pub published: DateTime,
    /// The value.
    pub value: f64,
}

/// Which group an instrument belongs to from a day on.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The grouping: `sector`, read as `$sector`.
    pub field: String,
    /// The instrument.
    pub symbol: String,
    /// First day.
    pub from: Date,
    /// The group's name.
    pub label: String,
    /// The group's number within the grouping, from 0 in the order in which groups became known: the value of
    /// the field. Given by [`Tables::append`].
    pub code: u32,
    /// Since when it is known; at the first import the start of the first day.
    pub known: DateTime,
}

/// A spell of an instrument's membership in a universe.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The universe: `sp500`.
    pub universe: String,
    /// The instrument.
    pub symbol: String,
    /// First day.
    pub from: Date,
    /// Last day; absent: still a member.
    pub to: Option<Date>,
    /// Since when the spell is known; at the first import the start of its first day.
    pub known: DateTime,
}

/// All tables; rows in the order of their keys.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tables {
    /// Splits and dividends.
    pub actions: Vec<Action>,
    /// Values by publication time.
    pub points: Vec<Point>,
    /// Groups.
    pub groups: Vec<Group>,
    /// Universes.
    pub members: Vec<Member>,
    /// Trading days, ascending; empty: every day with a bar.
    pub calendar: Vec<Date>,
}

/// The start of a day.
pub(crate) fn start_of(date: Date) -> DateTime {
    date.to_datetime(Time::midnight())
}

/// The last moment of a day.
pub fn end_of(date: Date) -> DateTime {
    date.to_datetime(Time::constant(23, 59, 59, 999_999_000))
}

impl Tables {
    /// Whether there is nothing in them.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// Rows of all tables.
    pub fn rows(&self) -> usize {
        self.actions.len() + self.points.len() + self.groups.len() + self.members.len() + self.calendar.len()
    }

    /// Adds what is new; a row with the key of a stored one and another value is a correction, known from `now`
    /// on. Gives the tables and how many rows are new.
    ///
    /// # Errors
    /// [`Error::Dataset`] for a value that cannot be, for one published value that is given twice, and beyond the
    /// limit.
    pub fn append(&self, new: Self, now: DateTime) -> Result<(Self, usize)> {
        for action in &new.actions {
            check_action(action)?;
        }
        for point in &new.points {
            check_point(point)?;
        }
        for member in &new.members {
            if member.to.is_some_and(|to| to < member.from) {
                return Err(Error::Dataset(format!(
                    "{} leaves universe \"{}\" before it joins on {}",
                    member.symbol, member.universe, member.from
                )));
            }
        }
        let before = self.rows();
        let mut merged = Self {
            actions: merge(&self.actions, new.actions, now, |a| (a.symbol.clone(), a.date), |a| &mut a.known),
            points: merge_points(&self.points, new.points)?,
            groups: self.merged_groups(new.groups, now),
            members: merge(
                &self.members,
                new.members,
                now,
                |m| (m.universe.clone(), m.symbol.clone(), m.from),
                |m| &mut m.known,
            ),
            calendar: Vec::new(),
        };
        let days: BTreeSet<Date> = self.calendar.iter().chain(&new.calendar).copied().collect();
        merged.calendar = days.into_iter().collect();
        for (rows, table) in [
            (merged.actions.len(), "corporate actions"),
            (merged.points.len(), "published values"),
            (merged.groups.len(), "groups"),
            (merged.members.len(), "members"),
            (merged.calendar.len(), "trading days"),
        ] {
            if rows > ROWS_MAX {
                return Err(Error::Dataset(format!(
                    "the table of {table} has {rows} rows; at most {ROWS_MAX} are kept"
                )));
            }
        }
        let added = merged.rows() - before;
        Ok((merged, added))
    }

    /// When rows became known that changed what a bar of the past shows.
    pub(crate) fn restatements(&self) -> Vec<DateTime> {
        let mut times: Vec<DateTime> =
            self.actions.iter().filter(|a| a.known > start_of(a.date)).map(|a| a.known).collect();
        let replaced = |same: bool, known: DateTime| same.then_some(known);
        times.extend(self.actions.windows(2).filter_map(|pair| {
            replaced((&pair[0].symbol, pair[0].date) == (&pair[1].symbol, pair[1].date), pair[1].known)
        }));
        times.extend(self.groups.windows(2).filter_map(|pair| {
            let key = |g: &Group| (g.field.clone(), g.symbol.clone(), g.from);
            replaced(key(&pair[0]) == key(&pair[1]), pair[1].known)
        }));
        times.extend(self.members.windows(2).filter_map(|pair| {
            let key = |m: &Member| (m.universe.clone(), m.symbol.clone(), m.from);
            replaced(key(&pair[0]) == key(&pair[1]), pair[1].known)
        }));
        times
    }

    /// Numbers the groups that are new and merges the rows.
    fn merged_groups(&self, mut new: Vec<Group>, now: DateTime) -> Vec<Group> {
        let mut codes: BTreeMap<(String, String), u32> =
            self.groups.iter().map(|row| ((row.field.clone(), row.label.clone()), row.code)).collect();
        let mut next: BTreeMap<String, u32> = BTreeMap::new();
        for row in &self.groups {
            let after = next.entry(row.field.clone()).or_default();
            *after = (row.code + 1).max(*after);
        }
        new.sort_by(|a, b| (a.from, &a.label, &a.symbol).cmp(&(b.from, &b.label, &b.symbol)));
        for row in &mut new {
            row.code = *codes.entry((row.field.clone(), row.label.clone())).or_insert_with(|| {
                let next = next.entry(row.field.clone()).or_default();
                *next += 1;
                *next - 1
            });
        }
        merge(
            &self.groups,
            new,
            now,
            |row| (row.field.clone(), row.symbol.clone(), row.from),
            |row| &mut row.known,
        )
    }
}

fn check_action(action: &Action) -> Result<()> {
    let Action { symbol, date, split, dividend, .. } = action;
    if !(split.is_finite() && *split > 0.0) {
        return Err(Error::Dataset(format!(
            "the split of {symbol} on {date} is {split}; give the shares after it for each before, above 0: 2 for \
             a 2-for-1 split"
        )));
    }
    if !(dividend.is_finite() && *dividend >= 0.0) {
        return Err(Error::Dataset(format!(
            "the dividend of {symbol} on {date} is {dividend}; give the cash for each share, 0 or more"
        )));
    }
    Ok(())
}

fn check_point(point: &Point) -> Result<()> {
    let Point { symbol, field, period, value, .. } = point;
    if period_order(period).is_none() {
        return Err(Error::Dataset(format!(
            "\"{period}\" of {symbol} is not a period; write 2020Q1, 2020-03-31, 202003 or 2020"
        )));
    }
    if !value.is_finite() {
        return Err(Error::Dataset(format!(
            "{field} of {symbol} in {period} is {value}; give a finite number"
        )));
    }
    Ok(())
}

/// Published values have their publication time as part of their key: a restatement is published again.
fn merge_points(old: &[Point], new: Vec<Point>) -> Result<Vec<Point>> {
    let key =
        |point: &Point| (point.symbol.clone(), point.field.clone(), point.period.clone(), point.published);
    let mut rows: BTreeMap<_, Point> = old.iter().map(|point| (key(point), point.clone())).collect();
    for point in new {
        let at = key(&point);
        match rows.get(&at) {
            Some(known) if known.value == point.value => {}
            Some(known) => {
                return Err(Error::Dataset(format!(
                    "{} of {} in {} published {} is given as {} and as {}; a restatement has its own publication \
                     time",
                    point.field, point.symbol, point.period, point.published, known.value, point.value
                )));
            }
            None => {
                rows.insert(at, point);
            }
        }
    }
    Ok(rows.into_values().collect())
}

/// Merges versions of rows: by key, then by when each is known.
fn merge<T: Clone + PartialEq, K: Ord>(
    old: &[T],
    new: Vec<T>,
    now: DateTime,
    key: impl Fn(&T) -> K,
    known: impl Fn(&mut T) -> &mut DateTime,
) -> Vec<T> {
    let mut versions: BTreeMap<K, Vec<T>> = BTreeMap::new();
    for row in old {
        versions.entry(key(row)).or_default().push(row.clone());
    }
    for mut row in new {
        let of_key = versions.entry(key(&row)).or_default();
        if let Some(last) = of_key.last() {
            let mut last = last.clone();
            let since = *known(&mut last);
            let stated = *known(&mut row);
            *known(&mut row) = since;
            if row == last {
                continue;
            }
            *known(&mut row) = now.max(stated).max(since);
        }
        of_key.push(row);
    }
    versions.into_values().flatten().collect()
}

/// Of the versions of each key the newest that is known at a time; rows are in the order of their keys.
pub(crate) fn as_known<'a, T, K: PartialEq>(
    rows: &'a [T],
    as_of: Option<DateTime>,
    key: impl Fn(&'a T) -> K,
    known: impl Fn(&'a T) -> DateTime,
) -> Vec<&'a T> {
    let mut kept: Vec<&T> = Vec::new();
    for row in rows {
        if as_of.is_some_and(|as_of| known(row) > as_of) {
            continue;
        }
        if kept.last().is_some_and(|last| key(last) == key(row)) {
            kept.pop();
        }
        kept.push(row);
    }
    kept
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn group(symbol: &str, from: Date, label: &str) -> Group {
        let (field, label) = ("sector".to_owned(), label.to_owned());
        Group { field, symbol: symbol.to_owned(), from, label, code: 0, known: start_of(from) }
    }

    #[test]
    fn periods_of_a_kind_are_in_order() {
        for ordered in [["2019Q4", "2020Q1"], ["2020-03-31", "2020-06-30"], ["201912", "202001"]] {
            let [first, second] = ordered.map(|period| period_order(period).expect("it is a period"));
            assert!(first < second, "{ordered:?}");
        }
        for bad in ["", "2020Q5", "Q1", "20x0", "2020-13-01", "last quarter"] {
            assert_eq!(period_order(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_group_keeps_its_number_when_others_come() {
        let now = start_of(date(2021, 1, 1));
        let first = Tables {
            groups: vec![group("A", date(2020, 1, 1), "tech"), group("B", date(2020, 1, 1), "energy")],
            ..Tables::default()
        };
        let (tables, added) = Tables::default().append(first.clone(), now).expect("it is sound");
        assert_eq!(added, 2);
        let again = tables.append(first, now).expect("the same again");
        assert_eq!((again.0.groups.len(), again.1), (2, 0));
        let later = Tables { groups: vec![group("C", date(2020, 6, 1), "banks")], ..Tables::default() };
        let (tables, _) = tables.append(later, now).expect("it is sound");
        let codes: Vec<(&str, u32)> = tables.groups.iter().map(|g| (g.label.as_str(), g.code)).collect();
        assert_eq!(codes, [("tech", 1), ("energy", 0), ("banks", 2)]);
    }

    #[test]
    fn a_correction_is_known_from_the_import_on() {
        let split = |split| Action {
            symbol: "A".to_owned(),
            date: date(2020, 1, 2),
            split,
            dividend: 0.0,
            known: start_of(date(2020, 1, 2)),
        };
        let table = |row| Tables { actions: vec![row], ..Tables::default() };
        let now = start_of(date(2020, 3, 1));
        let (tables, _) = Tables::default().append(table(split(2.0)), now).expect("it is sound");
        let (tables, _) = tables.append(table(split(4.0)), now).expect("it is sound");
        let seen = |as_of| -> Vec<f64> {
            let rows = as_known(&tables.actions, as_of, |a| (&a.symbol, a.date), |a| a.known);
            rows.iter().map(|a| a.split).collect()
        };
        assert_eq!(seen(None), [4.0]);
        assert_eq!(seen(Some(start_of(date(2020, 2, 1)))), [2.0]);
        assert!(seen(Some(start_of(date(2020, 1, 1)))).is_empty());
        assert!(Tables::default().append(table(split(0.0)), now).is_err());
    }

    #[test]
    fn a_published_value_is_not_changed_but_published_again() {
        let point = |published, value| Point {
            symbol: "A".to_owned(),
            field: "eps".to_owned(),
            period: "2020Q1".to_owned(),
            published: end_of(published),
            value,
        };
        let table = |rows| Tables { points: rows, ..Tables::default() };
        let now = start_of(date(2021, 1, 1));
        let restated = table(vec![point(date(2020, 4, 30), 1.0), point(date(2020, 8, 1), 0.9)]);
        let (tables, added) = Tables::default().append(restated, now).expect("it is sound");
        assert_eq!(added, 2);
        let error = tables.append(table(vec![point(date(2020, 4, 30), 1.1)]), now);
        assert!(error.is_err_and(|error| error.to_string().contains("given as 1 and as 1.1")));
    }
}
