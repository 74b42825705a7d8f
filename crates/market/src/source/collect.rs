//! Rows of cells to checked bars.

use std::collections::HashMap;

use jiff::civil::{Date, DateTime};

use super::layout::{Layout, Long};
use super::{RawBars, RawRow, ReadOptions, SourceFile, unreadable};
use crate::panel::MAX_VALUES;
use crate::{Error, Result};

const MAX_SYMBOL_CHARS: usize = 64;

/// One row of a file, read by column; errors say what is wrong with the cell alone.
pub(super) trait Row {
    fn date(&self, column: usize) -> Result<Date, String>;
    fn text(&self, column: usize) -> Result<&str, String>;
    /// NaN for a cell without a value.
    fn number(&self, column: usize) -> Result<f64, String>;
}

/// Collects the bars of one file.
pub(super) struct Collector<'a> {
    file: &'a SourceFile,
    headers: &'a [String],
    layout: &'a Layout,
    bars: RawBars,
    known: HashMap<String, usize>,
    /// Index of the instrument in each column of a wide file.
    wide: Vec<usize>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(
        file: &'a SourceFile,
        headers: &'a [String],
        layout: &'a Layout,
        options: &ReadOptions,
    ) -> Result<Self> {
        let mut bars = RawBars { file: file.name.clone(), ..RawBars::default() };
        bars.fields = match layout {
            Layout::Wide { .. } => vec![options.field.clone()],
            Layout::Long(long) => long.fields.iter().map(|(_, field)| (*field).to_owned()).collect(),
        };
        let mut collector = Self { file, headers, layout, bars, known: HashMap::new(), wide: Vec::new() };
        if let Layout::Wide { instruments, .. } = layout {
            for column in instruments {
                let symbol = symbol(&headers[*column]).map_err(|reason| {
                    unreadable(file, format!("header of column {}: {reason}", column + 1))
                })?;
                let index = collector.instrument(symbol);
                collector.wide.push(index);
            }
        }
        if let Layout::Long(Long { adjusted: Some(column), .. }) = layout {
            collector.bars.notes.push(format!(
                "{}: prices are multiplied, and volume divided, by \"{}\" / close",
                file.name, headers[*column]
            ));
        }
        Ok(collector)
    }

    /// Takes one row; `line` is where errors say it is.
    pub(super) fn push(&mut self, line: u64, row: &impl Row) -> Result<()> {
        match self.layout {
            Layout::Wide { date, instruments } => {
                let day = row.date(*date).map_err(|reason| self.cell(line, *date, reason))?;
                for (place, column) in instruments.iter().enumerate() {
                    let value = self.value(line, row, (*column, 0))?;
                    if !value.is_nan() {
                        self.bars.rows.push(RawRow { date: day, symbol: self.wide[place], line });
                        self.bars.values.push(value);
                    }
                }
            }
            Layout::Long(long) => self.push_long(line, row, long)?,
        }
        if self.bars.values.len() > MAX_VALUES {
            return Err(unreadable(self.file, format!("it has more than the limit of {MAX_VALUES} values")));
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<RawBars> {
        if self.bars.rows.is_empty() {
            return Err(unreadable(self.file, "it holds no bar"));
        }
        Ok(self.bars)
    }

    fn push_long(&mut self, line: u64, row: &impl Row, long: &Long) -> Result<()> {
        let day = row.date(long.date).map_err(|reason| self.cell(line, long.date, reason))?;
        let name = match long.symbol {
            Some(column) => row
                .text(column)
                .and_then(symbol)
                .map_err(|reason| self.cell(line, column, reason))?
                .to_owned(),
            None => stem(&self.file.name).to_owned(),
        };
        let start = self.bars.values.len();
        for (place, (column, _)) in long.fields.iter().enumerate() {
            let value = self.value(line, row, (*column, place))?;
            self.bars.values.push(value);
        }
        if let Some(column) = long.adjusted {
            let adjusted = row.number(column).map_err(|reason| self.cell(line, column, reason))?;
            if !adjusted.is_nan() {
                check("close", adjusted).map_err(|reason| self.cell(line, column, reason))?;
            }
            adjust(&mut self.bars.values[start..], &long.fields, adjusted);
        }
        if self.bars.values[start..].iter().all(|value| value.is_nan()) {
            self.bars.values.truncate(start);
            return Ok(());
        }
        let symbol = self.instrument(&name);
        self.bars.rows.push(RawRow { date: day, symbol, line });
        Ok(())
    }

    /// The value of a column that holds the field at a place of [`RawBars::fields`].
    fn value(&self, line: u64, row: &impl Row, (column, field): (usize, usize)) -> Result<f64> {
        let value = row.number(column).map_err(|reason| self.cell(line, column, reason))?;
        if value.is_nan() {
            return Ok(value);
        }
        check(&self.bars.fields[field], value).map_err(|reason| self.cell(line, column, reason))?;
        Ok(value)
    }

    fn instrument(&mut self, symbol: &str) -> usize {
        if let Some(index) = self.known.get(symbol) {
            return *index;
        }
        let index = self.bars.symbols.len();
        self.bars.symbols.push(symbol.to_owned());
        self.known.insert(symbol.to_owned(), index);
        index
    }

    fn cell(&self, line: u64, column: usize, reason: String) -> Error {
        let column = self.headers.get(column).cloned().unwrap_or_default();
        Error::Cell { file: self.file.name.clone(), line, column, reason }
    }
}

/// Scales the prices of a bar to its adjusted close, and its volume the other way.
fn adjust(values: &mut [f64], fields: &[(usize, &'static str)], adjusted: f64) {
    let close =
        fields.iter().position(|(_, field)| *field == "close").map_or(f64::NAN, |place| values[place]);
    let factor = adjusted / close;
    for (value, (_, field)) in values.iter_mut().zip(fields) {
        match *field {
            "volume" => *value /= factor,
            "close" => *value = adjusted,
            _ => *value *= factor,
        }
    }
}

/// What a field may hold: volume from 0, anything else is a price above 0.
fn check(field: &str, value: f64) -> Result<(), String> {
    if !value.is_finite() {
        return Err(format!("{field} {value} is not finite; correct it or leave the cell empty"));
    }
    if field == "volume" && value < 0.0 {
        return Err(format!("volume {value} is below 0; correct it or leave the cell empty"));
    }
    if field != "volume" && value <= 0.0 {
        return Err(format!(
            "{field} {value} is not above 0; a price must be: correct it, or leave the cell empty if there was no \
             trade"
        ));
    }
    Ok(())
}

fn symbol(text: &str) -> Result<&str, String> {
    let symbol = text.trim();
    if symbol.is_empty() {
        return Err("the symbol is empty".to_owned());
    }
    if symbol.chars().count() > MAX_SYMBOL_CHARS || symbol.chars().any(char::is_control) {
        return Err(format!(
            "{symbol:?} is not a symbol; at most {MAX_SYMBOL_CHARS} printable characters are"
        ));
    }
    Ok(symbol)
}

/// `AAPL` of `folder/AAPL.csv.gz`.
fn stem(name: &str) -> &str {
    let base = name.rsplit(['/', '\\']).next().unwrap_or(name);
    base.split('.').find(|part| !part.is_empty()).unwrap_or(base)
}

/// Reads a day: `2020-01-31`, `2020/01/31` or `20200131`, with a time of midnight or none.
pub(super) fn parse_date(text: &str) -> Result<Date, String> {
    let text = text.trim();
    let refuse = || format!("\"{text}\" is not a date; write it as 2020-01-31");
    if let Some(plain) = compact(text) {
        return plain.parse().map_err(|_| refuse());
    }
    let dashed = text.replace('/', "-");
    // jiff reads more than a calendar day (weeks, intervals); a plain day has one shape.
    let day =
        dashed.get(..10).filter(|day| day.bytes().filter(|b| *b == b'-').count() == 2).ok_or_else(refuse)?;
    let date: Date = day.parse().map_err(|_| refuse())?;
    let rest = dashed[10..].trim_start_matches(['T', ' ']).trim_end_matches('Z');
    let rest = rest.split_once('+').map_or(rest, |(time, _)| time);
    if rest.is_empty() {
        return Ok(date);
    }
    let time: DateTime = format!("{day}T{rest}").parse().map_err(|_| refuse())?;
    at_midnight(time, text)
}

/// The day of a time of midnight; bars within a day are refused.
pub(super) fn at_midnight(time: DateTime, shown: &str) -> Result<Date, String> {
    if time != time.date().to_datetime(jiff::civil::Time::midnight()) {
        return Err(format!("\"{shown}\" is a time within a day; only daily bars are read"));
    }
    Ok(time.date())
}

/// `2020-01-31` of `20200131`.
fn compact(text: &str) -> Option<String> {
    let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..]))
}
