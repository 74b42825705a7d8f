//! Several files to one panel, checked.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use crate::quality::{Jump, Quality, examine, near_split};
use crate::source::{self, RawBars, ReadOptions, SourceFile};
use crate::{Error, Panel, Result};

/// Split-like jumps an error names.
const JUMPS_SHOWN: usize = 5;

/// How files are imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// Split-like jumps that are known to be real.
    pub accept_jumps: AcceptJumps,
    /// The field a wide file (one column an instrument) holds: `close`.
    pub field: String,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { accept_jumps: AcceptJumps::None, field: "close".to_owned() }
    }
}

/// Which split-like jumps are kept as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcceptJumps {
    /// None: each is an error.
    None,
    /// All.
    All,
    /// These, by symbol and day of the later close.
    Listed(Vec<(String, Date)>),
}

impl AcceptJumps {
    fn accepts(&self, jump: &Jump) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Listed(known) => {
                known.iter().any(|(symbol, date)| *symbol == jump.symbol && *date == jump.date)
            }
        }
    }
}

/// A panel and what is odd about it.
#[derive(Debug, Clone)]
pub struct Import {
    /// The bars.
    pub panel: Panel,
    /// What is odd about them.
    pub quality: Quality,
}

/// Reads files of any known kind and merges them by date and symbol.
///
/// # Errors
/// [`Error::File`] for a file that cannot be read or whose columns are unknown, [`Error::Cell`] for a date or
/// number that is wrong, [`Error::Duplicate`] for a symbol and date that occur twice, within a file or across,
/// [`Error::SplitLikeJumps`] for jumps that are not accepted, [`Error::Panel`] for more than fits.
pub fn import(files: &[SourceFile], options: &ImportOptions) -> Result<Import> {
    let read_options = ReadOptions { field: options.field.to_lowercase() };
    if files.is_empty() {
        return Err(Error::Panel("no file was given to import".to_owned()));
    }
    let mut bars = Vec::with_capacity(files.len());
    for file in files {
        bars.push(source::read(file, &read_options)?);
    }
    let panel = merge(&bars)?;
    let notes = bars.iter().flat_map(|bars| bars.notes.iter().cloned()).collect();
    let quality = examine(&panel, notes);
    let refused: Vec<&Jump> = quality
        .suspicious_jumps
        .iter()
        .filter(|jump| jump.split_like && !options.accept_jumps.accepts(jump))
        .collect();
    if refused.is_empty() {
        return Ok(Import { panel, quality });
    }
    Err(Error::SplitLikeJumps(shown(&refused)))
}

fn shown(jumps: &[&Jump]) -> String {
    let in_words = |jump: &&Jump| {
        let near = near_split(jump.ratio).unwrap_or_default();
        format!("{} {} times {:.4} (near {near})", jump.symbol, jump.date, jump.ratio)
    };
    let mut words: Vec<String> = jumps.iter().take(JUMPS_SHOWN).map(in_words).collect();
    if jumps.len() > JUMPS_SHOWN {
        words.push(format!("and {} more", jumps.len() - JUMPS_SHOWN));
    }
    words.join(", ")
}

fn merge(bars: &[RawBars]) -> Result<Panel> {
    let symbols: BTreeSet<&str> =
        bars.iter().flat_map(|b| b.rows.iter().map(|row| b.symbols[row.symbol].as_str())).collect();
    let dates: BTreeSet<Date> = bars.iter().flat_map(|b| b.rows.iter().map(|row| row.date)).collect();
    let fields: BTreeSet<&str> = bars.iter().flat_map(|b| b.fields.iter().map(String::as_str)).collect();
    let dates: Vec<Date> = dates.into_iter().collect();
    let symbols: Vec<String> = symbols.into_iter().map(str::to_owned).collect();
    let cells = dates.len().saturating_mul(symbols.len());
    if cells.saturating_mul(fields.len()) > crate::panel::MAX_VALUES {
        return Err(Error::Panel(format!(
            "{} dates x {} instruments x {} fields are more than the limit of {} values",
            dates.len(),
            symbols.len(),
            fields.len(),
            crate::panel::MAX_VALUES
        )));
    }
    let mut columns: BTreeMap<String, Vec<f64>> =
        fields.into_iter().map(|field| (field.to_owned(), vec![f64::NAN; cells])).collect();
    let mut taken: Vec<Option<(u32, u32)>> = vec![None; cells];
    for (file, raw) in bars.iter().enumerate() {
        let places: Vec<usize> =
            raw.symbols.iter().map(|symbol| symbols.binary_search(symbol).unwrap_or(usize::MAX)).collect();
        for (row, bar) in raw.rows.iter().enumerate() {
            let date = dates.partition_point(|date| *date < bar.date);
            let cell = date * symbols.len() + places[bar.symbol];
            // Files are limited to fewer values than u32 counts.
            if let Some((first_file, first_row)) = taken[cell].replace((file as u32, row as u32)) {
                let first = &bars[first_file as usize];
                return Err(Error::Duplicate {
                    symbol: raw.symbols[bar.symbol].clone(),
                    date: bar.date,
                    first: place(first, first_row as usize),
                    second: place(raw, row),
                });
            }
            for (field, value) in raw.fields.iter().zip(&raw.values[row * raw.fields.len()..]) {
                if let Some(column) = columns.get_mut(field) {
                    column[cell] = *value;
                }
            }
        }
    }
    Panel::new(dates, symbols, columns)
}

fn place(bars: &RawBars, row: usize) -> String {
    format!("{}, line {}", bars.file, bars.rows[row].line)
}
