//! Files of tables: corporate actions, published values, groups, members, trading days.

use jiff::civil::{Date, DateTime};

use super::tables::{Action, Group, Member, Point, ROWS_MAX, Tables, end_of, start_of};
use crate::nearest::unknown;
use crate::source::layout::{folded, is_field_name};
use crate::source::{ReadOptions, Repairs, Row, Sink, SourceFile, read_table};
use crate::{Error, Result};

/// What a file of rows that are not bars holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableKind {
    /// `symbol, date, split, dividend`: shares after for each before, cash for each share.
    Actions,
    /// `symbol, period, published`, and a column for each value.
    Points,
    /// `symbol, group, from`; the name is that of the grouping: `sector`.
    Groups(String),
    /// `symbol, from, to`; the name is the universe's: `sp500`.
    Members(String),
    /// `date`: trading days.
    Calendar,
}

/// A file of rows that are not bars.
#[derive(Debug, Clone)]
pub struct TableFile {
    /// What it holds.
    pub kind: TableKind,
    /// The file.
    pub file: SourceFile,
}

/// Names of the columns of each kind; the first of each is what messages call it.
const SYMBOL: &[&str] = &["symbol", "ticker", "instrument", "name", "code"];
const DATE: &[&str] = &["date", "exdate", "day"];
const SPLIT: &[&str] = &["split", "splitratio", "stocksplits", "splitfactor", "ratio"];
const DIVIDEND: &[&str] = &["dividend", "dividends", "cash", "divcash", "amount"];
const PERIOD: &[&str] = &["period", "quarter", "fiscalperiod", "perioddate"];
const PUBLISHED: &[&str] = &["published", "publicationdate", "publishdate", "filingdate", "filed", "known"];
const GROUP: &[&str] = &["group", "label", "sector", "industry", "class"];
const FROM: &[&str] = &["from", "start", "startdate", "date", "since", "added"];
const TO: &[&str] = &["to", "end", "enddate", "until", "removed"];
const KNOWN: &[&str] = &["known", "knownat", "announced"];

/// Reads files of tables.
///
/// # Errors
/// [`Error::File`] for a file that cannot be read or lacks a column, [`Error::Cell`] for a value that is wrong.
pub fn read_tables(files: &[TableFile], options: &ReadOptions) -> Result<Tables> {
    let mut tables = Tables::default();
    for TableFile { kind, file } in files {
        if let TableKind::Groups(name) | TableKind::Members(name) = kind
            && !is_field_name(name)
        {
            return Err(Error::Dataset(format!(
                "\"{name}\" cannot be the name of a grouping or universe; it is of a-z, 0-9 and _, and begins with \
                 a letter"
            )));
        }
        let mut reading = Reading {
            kind,
            file,
            columns: Columns::default(),
            headers: Vec::new(),
            rows: 0,
            tables: &mut tables,
        };
        read_table(file, options, &mut reading)?;
        if reading.rows == 0 {
            return Err(file.unreadable("it holds no row"));
        }
    }
    Ok(tables)
}

/// Where the columns of a file are.
#[derive(Debug, Default)]
struct Columns {
    symbol: usize,
    date: usize,
    split: Option<usize>,
    dividend: Option<usize>,
    period: usize,
    published: usize,
    values: Vec<(usize, String)>,
    group: usize,
    from: usize,
    to: Option<usize>,
    known: Option<usize>,
}

struct Reading<'a> {
    kind: &'a TableKind,
    file: &'a SourceFile,
    columns: Columns,
    headers: Vec<String>,
    rows: usize,
    tables: &'a mut Tables,
}

impl Sink for Reading<'_> {
    fn headers(&mut self, headers: &[String]) -> Result<()> {
        headers.clone_into(&mut self.headers);
        let plain: Vec<String> = headers.iter().map(|header| folded(header)).collect();
        let maybe =
            |names: &[&str]| names.iter().find_map(|name| plain.iter().position(|header| header == name));
        let need = |names: &[&str]| {
            maybe(names).ok_or_else(|| {
                let shown: Vec<&str> = headers.iter().map(String::as_str).collect();
                self.file.unreadable(format!("it lacks {}", unknown("column", names[0], &shown)))
            })
        };
        let mut columns = Columns::default();
        match self.kind {
            TableKind::Actions => {
                columns.symbol = need(SYMBOL)?;
                columns.date = need(DATE)?;
                (columns.split, columns.dividend) = (maybe(SPLIT), maybe(DIVIDEND));
                if columns.split.is_none() && columns.dividend.is_none() {
                    need(SPLIT)?;
                }
                columns.known = maybe(KNOWN);
            }
            TableKind::Points => {
                columns.symbol = need(SYMBOL)?;
                columns.period = need(PERIOD)?;
                columns.published = need(PUBLISHED)?;
                let taken = [columns.symbol, columns.period, columns.published];
                for (at, header) in headers.iter().enumerate().filter(|(at, _)| !taken.contains(at)) {
                    let name = header.to_lowercase().replace([' ', '-'], "_");
                    if !is_field_name(&name) {
                        return Err(self.file.unreadable(format!(
                            "column \"{header}\" cannot be a field; a field's name is of a-z, 0-9 and _, and \
                             begins with a letter"
                        )));
                    }
                    columns.values.push((at, name));
                }
                if columns.values.is_empty() {
                    return Err(self
                        .file
                        .unreadable("it has no column of values beside symbol, period and published"));
                }
            }
            TableKind::Groups(name) => {
                columns.symbol = need(SYMBOL)?;
                columns.group = plain
                    .iter()
                    .position(|header| *header == folded(name))
                    .map_or_else(|| need(GROUP), Ok)?;
                columns.from = need(FROM)?;
                columns.known = maybe(KNOWN);
            }
            TableKind::Members(_) => {
                columns.symbol = need(SYMBOL)?;
                columns.from = need(FROM)?;
                columns.to = maybe(TO);
                columns.known = maybe(KNOWN);
            }
            TableKind::Calendar => columns.date = need(DATE)?,
        }
        self.columns = columns;
        Ok(())
    }

    fn row(&mut self, line: u64, row: &dyn Row) -> Result<()> {
        self.rows += 1;
        if self.rows > ROWS_MAX {
            return Err(self.file.unreadable(format!("it has more than the limit of {ROWS_MAX} rows")));
        }
        let cells = Cells { file: self.file, headers: &self.headers, line, row };
        let Columns { symbol, date, period, published, from, group, to, known, .. } = self.columns;
        match self.kind {
            TableKind::Actions => {
                let date = cells.day(date)?;
                let split = self.columns.split.map_or(Ok(f64::NAN), |column| cells.number(column))?;
                let dividend = self.columns.dividend.map_or(Ok(f64::NAN), |column| cells.number(column))?;
                self.tables.actions.push(Action {
                    symbol: cells.text(symbol)?,
                    date,
                    // Some sources write 0 where there is no split.
                    split: if split.is_nan() || split == 0.0 { 1.0 } else { split },
                    dividend: if dividend.is_nan() { 0.0 } else { dividend },
                    known: cells.known(known)?.unwrap_or(start_of(date)),
                });
            }
            TableKind::Points => {
                let published = cells.published(published)?;
                for (column, field) in &self.columns.values {
                    let value = cells.number(*column)?;
                    if !value.is_nan() {
                        let period = cells.period(period)?;
                        let symbol = cells.text(symbol)?;
                        self.tables.points.push(Point {
                            symbol,
                            field: field.clone(),
                            period,
                            published,
                            value,
                        });
                    }
                }
            }
            TableKind::Groups(name) => {
                let from = cells.day(from)?;
                self.tables.groups.push(Group {
                    field: name.clone(),
                    symbol: cells.text(symbol)?,
                    from,
                    label: cells.text(group)?,
                    code: 0,
                    known: cells.known(known)?.unwrap_or(start_of(from)),
                });
            }
            TableKind::Members(name) => {
                let from = cells.day(from)?;
                let to = match to {
                    Some(column) if !cells.is_empty(column) => Some(cells.day(column)?),
                    _ => None,
                };
                self.tables.members.push(Member {
                    universe: name.clone(),
                    symbol: cells.text(symbol)?,
                    from,
                    to,
                    known: cells.known(known)?.unwrap_or(start_of(from)),
                });
            }
            TableKind::Calendar => self.tables.calendar.push(cells.day(date)?),
        }
        Ok(())
    }
}

/// The cells of one row, with errors that say where they are.
struct Cells<'a> {
    file: &'a SourceFile,
    headers: &'a [String],
    line: u64,
    row: &'a dyn Row,
}

impl Cells<'_> {
    fn at(&self, column: usize, reason: String) -> Error {
        let column = self.headers.get(column).cloned().unwrap_or_default();
        Error::Cell { file: self.file.name.clone(), line: self.line, column, reason }
    }

    fn is_empty(&self, column: usize) -> bool {
        self.row.text(column).is_ok_and(|text| text.trim().is_empty())
    }

    fn text(&self, column: usize) -> Result<String> {
        let text = self.row.text(column).map_err(|reason| self.at(column, reason))?.trim();
        if text.is_empty() {
            return Err(self.at(column, "the cell is empty".to_owned()));
        }
        Ok(text.to_owned())
    }

    fn number(&self, column: usize) -> Result<f64> {
        self.row.number(column, &mut Repairs::default()).map_err(|reason| self.at(column, reason))
    }

    fn time(&self, column: usize) -> Result<DateTime> {
        let moment = self.row.moment(column).map_err(|reason| self.at(column, reason))?;
        match (moment.resolve(true), moment.resolve(false)) {
            (Some(time), other) if other == Some(time) => Ok(time),
            _ => Err(self.at(
                column,
                "the date could be month/day/year or day/month/year; write it as 2020-01-31".to_owned(),
            )),
        }
    }

    fn day(&self, column: usize) -> Result<Date> {
        Ok(self.time(column)?.date())
    }

    /// A time, or the end of a day without one: on that day itself a value may not have been out yet.
    fn published(&self, column: usize) -> Result<DateTime> {
        let time = self.time(column)?;
        Ok(if time == start_of(time.date()) { end_of(time.date()) } else { time })
    }

    fn known(&self, column: Option<usize>) -> Result<Option<DateTime>> {
        column.filter(|column| !self.is_empty(*column)).map(|column| self.published(column)).transpose()
    }

    /// `2020Q1` as text, and `202003` or a day from a column that holds numbers or dates.
    fn period(&self, column: usize) -> Result<String> {
        if let Ok(text) = self.text(column) {
            return Ok(text);
        }
        match self.row.number(column, &mut Repairs::default()) {
            Ok(number) if number.fract() == 0.0 => Ok(format!("{number:.0}")),
            _ => Ok(self.day(column)?.to_string()),
        }
    }
}
