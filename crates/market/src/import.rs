//! Files to a data set, checked.

use jiff::civil::{Date, DateTime};

use crate::dataset::{
    Adjustment, Append, AppendReport, Dataset, TableFile, Tables, TimingOptions, read_tables,
};
use crate::quality::{Jump, Quality, examine, near_split};
use crate::source::{ReadOptions, Repairs, SourceFile, read_bars};
use crate::{Error, Panel, Result};

/// Split-like jumps an error names.
const JUMPS_SHOWN: usize = 5;

/// What is imported, and what the user says about it.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// Files of bars, of any known kind; may be empty if there are tables.
    pub files: Vec<SourceFile>,
    /// Files of tables.
    pub tables: Vec<TableFile>,
    /// How the files are to be read.
    pub read: ReadOptions,
    /// How bars become known.
    pub timing: TimingOptions,
    /// How the prices deal with splits and dividends; absent: what the columns tell.
    pub adjustment: Option<Adjustment>,
    /// When it happens, in the data set's zone.
    pub now: DateTime,
    /// When the bars became known, if not at their close.
    pub known_at: Option<DateTime>,
    /// Split-like jumps that are known to be real.
    pub accept_jumps: AcceptJumps,
}

impl ImportRequest {
    /// An import of files of bars, as they say themselves, at a time.
    pub fn new(files: Vec<SourceFile>, now: DateTime) -> Self {
        Self {
            files,
            tables: Vec::new(),
            read: ReadOptions::default(),
            timing: TimingOptions::default(),
            adjustment: None,
            now,
            known_at: None,
            accept_jumps: AcceptJumps::None,
        }
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

/// A data set with what was imported, and what is odd about it.
#[derive(Debug, Clone)]
pub struct Import {
    /// The data set.
    pub dataset: Dataset,
    /// What the import added to it.
    pub report: AppendReport,
    /// What it shows now.
    pub panel: Panel,
    /// What is odd about that.
    pub quality: Quality,
}

/// Reads files of any known kind and adds their content to a data set, or begins one.
///
/// # Errors
/// As [`read_bars`], [`read_tables`] and [`Dataset::append`]; [`Error::SplitLikeJumps`] for jumps that look like
/// splits nobody adjusted for and are not accepted.
pub fn import(stored: Option<&Dataset>, request: ImportRequest) -> Result<Import> {
    let ImportRequest { files, tables, mut read, mut timing, adjustment, now, known_at, accept_jumps } =
        request;
    if files.is_empty() && (tables.is_empty() || stored.is_none()) {
        return Err(Error::Dataset("no file of bars was given to import".to_owned()));
    }
    if read.time_zone.is_none() {
        read.time_zone = stored.and_then(|dataset| dataset.timing().time_zone.clone());
    }
    timing.time_zone.clone_from(&read.time_zone);
    let mut notes = Vec::new();
    let mut repairs = Repairs::default();
    let bars = if files.is_empty() {
        None
    } else {
        let mut bars = read_bars(&files, &read)?;
        notes.append(&mut bars.notes);
        notes.extend(bars.repairs.words());
        repairs = std::mem::take(&mut bars.repairs);
        Some(bars)
    };
    // The words above are of the bars' columns; a table's are its own.
    let table_options = ReadOptions { columns: std::collections::BTreeMap::new(), ..read };
    let tables = if tables.is_empty() { Tables::default() } else { read_tables(&tables, &table_options)? };
    let append = Append { bars, tables, now, known_at, timing, adjustment };
    let (dataset, report) = match stored {
        Some(stored) => stored.append(append)?,
        None => Dataset::first(append)?,
    };
    let panel = dataset.panel(None)?;
    let quality = examine(&dataset, &panel, notes, repairs);
    let refused: Vec<&Jump> = quality
        .suspicious_jumps
        .iter()
        .filter(|jump| jump.split_like && !accept_jumps.accepts(jump))
        .collect();
    if refused.is_empty() {
        return Ok(Import { dataset, report, panel, quality });
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
