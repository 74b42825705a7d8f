//! What the columns of a file are: dates, instruments, fields.
//!
//! A *long* file has one row a bar: a date column, a symbol column (or one instrument, named by the file), and
//! columns named after fields. A *wide* file has one row a date and one column an instrument. Names are
//! matched without regard to case, spaces and punctuation; what the user says about a column comes first.

use super::{ReadOptions, SourceFile};
use crate::Result;
use crate::nearest::unknown;

/// In the order of preference, where a file has several.
const DATE_NAMES: &[&str] =
    &["date", "datetime", "timestamp", "day", "indexlevel0", "tradedate", "opentime", "windowstart"];
const TIME_NAMES: &[&str] = &["time"];
const SYMBOL_NAMES: &[&str] = &["symbol", "ticker", "instrument", "name", "code", "secid"];
/// What columns are called, and what they hold.
const NAMES: &[(&str, &str)] = &[
    ("open", "open"),
    ("high", "high"),
    ("low", "low"),
    ("close", "close"),
    ("closelast", "close"),
    ("last", "close"),
    ("price", "close"),
    ("vwap", "vwap"),
    ("volume", "volume"),
    ("vol", "volume"),
    ("adjclose", "adj_close"),
    ("adjustedclose", "adj_close"),
    ("closeadj", "adj_close"),
    ("factor", "factor"),
    ("adjfactor", "factor"),
    ("trades", "trades"),
    ("tradecount", "trades"),
    ("numberoftrades", "trades"),
    ("transactions", "trades"),
];
/// Bars of programming interfaces: only where open, high, low and close are called so too.
const LETTERS: &[(&str, &str)] = &[
    ("t", "date"),
    ("o", "open"),
    ("h", "high"),
    ("l", "low"),
    ("c", "close"),
    ("v", "volume"),
    ("vw", "vwap"),
    ("n", "trades"),
    ("s", "symbol"),
];
/// What usual files have besides, and nothing here is made of.
const LEFT_OUT: &[&str] = &[
    "openint",
    "openinterest",
    "per",
    "dividends",
    "stocksplits",
    "capitalgains",
    "exdividend",
    "splitratio",
    "divcash",
    "splitfactor",
    "adjopen",
    "adjhigh",
    "adjlow",
    "adjvolume",
    "change",
    "changepercent",
    "changepct",
];
/// The meanings of a column, for messages.
const MEANINGS: &str = "date, time, symbol, open, high, low, close, adj_close, vwap, volume, factor, ignore, or a name of your own";
const FIELDS_SHOWN: &[&str] = &[
    "date",
    "time",
    "symbol",
    "open",
    "high",
    "low",
    "close",
    "adj close",
    "vwap",
    "volume",
    "factor",
    "trades",
];
/// Wider files are refused.
const MAX_COLUMNS: usize = 20_000;

/// What each column is, by its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    Wide { date: usize, instruments: Vec<usize> },
    Long(Long),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Long {
    pub(super) date: usize,
    /// The time of day, in a column of its own.
    pub(super) time: Option<usize>,
    /// Absent: the file holds one instrument and is named after it.
    pub(super) symbol: Option<usize>,
    /// Column and field, `close` among them.
    pub(super) fields: Vec<(usize, String)>,
    /// Adjusted close beside the close.
    pub(super) adjusted: Option<usize>,
    /// Whether what is called close here is an adjusted close.
    pub(super) adjusted_alone: bool,
    /// Columns nothing is made of.
    pub(super) left_out: Vec<usize>,
}

/// What the user says a column holds.
fn said<'a>(options: &'a ReadOptions, header: &str) -> Option<&'a str> {
    let exact = options.columns.get(header);
    let found = exact.or_else(|| {
        let plain = folded(header);
        options.columns.iter().find(|(said, _)| folded(said) == plain).map(|(_, meaning)| meaning)
    });
    found.map(String::as_str)
}

/// Decides what the columns of a file are.
pub(super) fn detect(file: &SourceFile, headers: &[String], options: &ReadOptions) -> Result<Layout> {
    let refuse = |reason: String| Err(file.unreadable(reason));
    if headers.len() < 2 || headers.len() > MAX_COLUMNS {
        return refuse(format!(
            "it has {} columns; 2 to {MAX_COLUMNS}, separated by commas, semicolons, tabs or |, are read",
            headers.len()
        ));
    }
    if let Some(name) = repeated(headers) {
        return refuse(format!("column \"{name}\" occurs twice; rename or remove one"));
    }
    let plain: Vec<String> = headers.iter().map(|header| folded(header)).collect();
    let letters = ["o", "h", "l", "c"].iter().all(|letter| plain.iter().any(|header| header == letter));
    let meanings: Vec<Option<&str>> = headers
        .iter()
        .zip(&plain)
        .map(|(header, plain)| {
            let known = |names: &[(&str, &'static str)]| {
                names.iter().find(|(name, _)| name == plain).map(|(_, meaning)| *meaning)
            };
            said(options, header)
                .or_else(|| known(NAMES))
                .or_else(|| known(LETTERS).filter(|_| letters))
                .or_else(|| LEFT_OUT.contains(&plain.as_str()).then_some("ignore"))
        })
        .collect();
    let columns = Columns { file, headers, plain: &plain, meanings: &meanings };
    let time = columns.find("time", TIME_NAMES);
    let Some(date) = columns.find("date", DATE_NAMES).or(time).or(plain[0].is_empty().then_some(0)) else {
        return refuse(format!(
            "it has no date column; name one \"date\", or say which it is with --column NAME=date. columns: {}",
            headers.join(", ")
        ));
    };
    let time = time.filter(|time| *time != date);
    let symbol = columns.find("symbol", SYMBOL_NAMES);
    let prices = ["close", "adj_close"];
    let has_close = meanings.iter().flatten().any(|meaning| prices.contains(meaning));
    if symbol.is_none() && !has_close {
        let mut instruments = Vec::new();
        for column in (0..headers.len()).filter(|column| *column != date && Some(*column) != time) {
            match said(options, &headers[column]) {
                None => instruments.push(column),
                Some("ignore") => {}
                Some(meaning) => {
                    return refuse(format!(
                        "column \"{}\" is said to be {meaning}, but no column is said to be the close",
                        headers[column]
                    ));
                }
            }
        }
        return Ok(Layout::Wide { date, instruments });
    }
    columns.long(date, time, symbol).map(Layout::Long)
}

struct Columns<'a> {
    file: &'a SourceFile,
    headers: &'a [String],
    plain: &'a [String],
    meanings: &'a [Option<&'a str>],
}

impl Columns<'_> {
    /// The column of a meaning: what the user says, or the first of the usual names.
    fn find(&self, meaning: &str, names: &[&str]) -> Option<usize> {
        self.meanings.iter().position(|found| *found == Some(meaning)).or_else(|| {
            names.iter().find_map(|name| {
                (0..self.plain.len()).find(|at| self.plain[*at] == *name && self.meanings[*at].is_none())
            })
        })
    }

    fn long(&self, date: usize, time: Option<usize>, symbol: Option<usize>) -> Result<Long> {
        let refuse = |reason: String| Err(self.file.unreadable(reason));
        let mut long = Long { date, time, symbol, ..Long::default() };
        for (column, meaning) in self.meanings.iter().enumerate() {
            // pandas writes its row numbers as a column without a name, or with this one.
            let row_number =
                (self.plain[column].is_empty() && column == 0) || self.plain[column] == "indexlevel0";
            if [Some(date), time, symbol].contains(&Some(column)) || row_number {
                continue;
            }
            let header = &self.headers[column];
            match *meaning {
                None => {
                    return refuse(format!(
                        "{}; say what it holds with --column \"{header}=MEANING\" ({MEANINGS})",
                        unknown("column", header, FIELDS_SHOWN)
                    ));
                }
                Some("ignore") => long.left_out.push(column),
                Some("adj_close") if long.adjusted.is_none() => long.adjusted = Some(column),
                Some("adj_close") => {
                    return refuse(format!("column \"{header}\" is a second adjusted close; remove one"));
                }
                Some(meaning @ ("date" | "time" | "symbol")) => {
                    return refuse(format!("column \"{header}\" is a second {meaning} column; ignore one"));
                }
                Some(field) => {
                    if !is_field_name(field) {
                        return refuse(format!(
                            "\"{field}\" cannot be what column \"{header}\" holds; it is {MEANINGS} of a-z, 0-9 \
                             and _"
                        ));
                    }
                    if let Some((first, _)) = long.fields.iter().find(|(_, known)| known == field) {
                        return refuse(format!(
                            "columns \"{}\" and \"{header}\" both hold {field}; ignore one with --column \
                             \"{header}=ignore\"",
                            self.headers[*first]
                        ));
                    }
                    long.fields.push((column, field.to_owned()));
                }
            }
        }
        self.settle_close(&mut long)?;
        Ok(long)
    }

    fn settle_close(&self, long: &mut Long) -> Result<()> {
        let refuse = |reason: String| Err(self.file.unreadable(reason));
        let has = |name: &str| long.fields.iter().any(|(_, field)| field == name);
        match long.adjusted {
            None if !has("close") => {
                refuse(format!("it has no \"close\" column; columns: {}", self.headers.join(", ")))
            }
            Some(_) if has("close") && has("factor") => refuse(
                "it has both an adjusted close and a factor; ignore one of them with --column NAME=ignore"
                    .to_owned(),
            ),
            Some(column) if !has("close") => {
                if ["open", "high", "low", "vwap"].iter().any(|price| has(price)) {
                    return refuse(
                        "it has an adjusted close but no \"close\" to scale its other prices by; add it, or remove \
                         the other prices"
                            .to_owned(),
                    );
                }
                long.fields.push((column, "close".to_owned()));
                long.adjusted = None;
                long.adjusted_alone = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Whether an expression can read a field of this name.
pub(crate) fn is_field_name(name: &str) -> bool {
    const CHARS_MAX: usize = 40;
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= CHARS_MAX
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

pub(crate) fn folded(header: &str) -> String {
    header.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn repeated(headers: &[String]) -> Option<&str> {
    let mut sorted: Vec<&str> = headers.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}
