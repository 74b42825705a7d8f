//! What the columns of a file are: dates, instruments, fields.
//!
//! A *long* file has one row a bar: a date column, a symbol column (or one instrument, named by the file), and
//! columns named after fields. A *wide* file has one row a date and one column an instrument. Names are
//! matched without regard to case, spaces, `_`, `-` and `.`.

use super::{SourceFile, unreadable};
use crate::Result;
use crate::nearest::unknown;

const DATE_NAMES: &[&str] = &["date", "timestamp", "datetime", "time", "day", "indexlevel0"];
const SYMBOL_NAMES: &[&str] = &["symbol", "ticker", "instrument", "name", "code"];
/// What columns are called, and the field they hold.
const FIELD_NAMES: &[(&str, Holds)] = &[
    ("open", Holds::Field("open")),
    ("high", Holds::Field("high")),
    ("low", Holds::Field("low")),
    ("close", Holds::Field("close")),
    ("vwap", Holds::Field("vwap")),
    ("volume", Holds::Field("volume")),
    ("adjclose", Holds::AdjustedClose),
    ("adjustedclose", Holds::AdjustedClose),
    ("closeadj", Holds::AdjustedClose),
];
/// The fields of a long file, for messages.
const FIELDS_SHOWN: &[&str] =
    &["date", "symbol", "open", "high", "low", "close", "adj close", "vwap", "volume"];
/// Wider files are refused.
const MAX_COLUMNS: usize = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Field(&'static str),
    AdjustedClose,
}

/// What each column is, by its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    Wide { date: usize, instruments: Vec<usize> },
    Long(Long),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Long {
    pub(super) date: usize,
    /// Absent: the file holds one instrument and is named after it.
    pub(super) symbol: Option<usize>,
    pub(super) fields: Vec<(usize, &'static str)>,
    /// Adjusted close beside the close: every price is scaled by the ratio of the two.
    pub(super) adjusted: Option<usize>,
}

/// Decides what the columns of a file are.
pub(super) fn detect(file: &SourceFile, headers: &[String]) -> Result<Layout> {
    let refuse = |reason: String| Err(unreadable(file, reason));
    if headers.len() < 2 || headers.len() > MAX_COLUMNS {
        return refuse(format!(
            "it has {} columns; 2 to {MAX_COLUMNS}, separated by commas, are read",
            headers.len()
        ));
    }
    if let Some(name) = repeated(headers) {
        return refuse(format!("column \"{name}\" occurs twice; rename or remove one"));
    }
    let plain: Vec<String> = headers.iter().map(|header| folded(header)).collect();
    let find = |names: &[&str]| plain.iter().position(|header| names.contains(&header.as_str()));
    let unnamed_first = plain[0].is_empty().then_some(0);
    let Some(date) = find(DATE_NAMES).or(unnamed_first) else {
        return refuse(format!("it has no date column; name one \"date\". columns: {}", headers.join(", ")));
    };
    let symbol = find(SYMBOL_NAMES);
    let has_close =
        plain.iter().any(|header| matches!(holds(header), Some(Holds::AdjustedClose)) || header == "close");
    if symbol.is_none() && !has_close {
        let instruments = (0..headers.len()).filter(|column| *column != date).collect();
        return Ok(Layout::Wide { date, instruments });
    }
    long(file, headers, &plain, (date, symbol)).map(Layout::Long)
}

fn long(
    file: &SourceFile,
    headers: &[String],
    plain: &[String],
    (date, symbol): (usize, Option<usize>),
) -> Result<Long> {
    let mut fields = Vec::new();
    let mut adjusted = None;
    for (column, name) in plain.iter().enumerate() {
        // pandas writes its row numbers as a first column without a name.
        if column == date || Some(column) == symbol || (name.is_empty() && column == 0) {
            continue;
        }
        match holds(name) {
            Some(Holds::Field(field)) => fields.push((column, field)),
            Some(Holds::AdjustedClose) if adjusted.is_none() => adjusted = Some(column),
            Some(Holds::AdjustedClose) => {
                let reason = format!("column \"{}\" is a second adjusted close; remove one", headers[column]);
                return Err(unreadable(file, reason));
            }
            None => {
                let reason = unknown("column", &headers[column], FIELDS_SHOWN);
                return Err(unreadable(file, format!("{reason}; rename or remove it")));
            }
        }
    }
    let has_close = fields.iter().any(|(_, field)| *field == "close");
    match adjusted {
        None if !has_close => {
            let columns = headers.join(", ");
            return Err(unreadable(file, format!("it has no \"close\" column; columns: {columns}")));
        }
        Some(column) if !has_close => {
            if fields.iter().any(|(_, field)| *field != "volume") {
                let reason = "it has an adjusted close but no \"close\" to scale its other prices by; add it, or \
                              remove the other prices";
                return Err(unreadable(file, reason));
            }
            fields.push((column, "close"));
            adjusted = None;
        }
        _ => {}
    }
    Ok(Long { date, symbol, fields, adjusted })
}

fn holds(plain: &str) -> Option<Holds> {
    FIELD_NAMES.iter().find(|(name, _)| *name == plain).map(|(_, holds)| *holds)
}

fn folded(header: &str) -> String {
    header.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn repeated(headers: &[String]) -> Option<&str> {
    let mut sorted: Vec<&str> = headers.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}
