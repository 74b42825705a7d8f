//! The answers of a shadow on disk: JSON lines in numbered files, of which the newest are kept.
//!
//! Every line ends with the totals up to it, so that the last one says what was there before it, even in files that are
//! gone. A line that was cut short is left behind: what follows begins a new file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ShadowTotals;
use super::compare::Compared;

/// A file that is so large is followed by the next.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// How many files are kept.
const FILES_MAX: usize = 4;
const EXTENSION: &str = "jsonl";

/// The files of one shadow.
pub(super) struct Log {
    folder: PathBuf,
    number: u32,
    file: File,
    bytes: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    compared: &'a Compared,
    totals: &'a ShadowTotals,
}

/// What is read of a line again.
#[derive(Deserialize)]
struct Read {
    totals: ShadowTotals,
}

impl Log {
    /// Opens the files in a folder, which is made, and tells what was counted before.
    pub(super) fn open(folder: &Path) -> io::Result<(Self, ShadowTotals)> {
        fs::create_dir_all(folder)?;
        let totals = totals(folder)?.unwrap_or_default();
        let number = numbers(folder)?.last().map_or(1, |last| last + 1);
        let log = Self { folder: folder.to_owned(), number, file: begin(&path(folder, number))?, bytes: 0 };
        log.forget()?;
        Ok((log, totals))
    }

    /// Adds a line.
    pub(super) fn append(&mut self, compared: &Compared, totals: &ShadowTotals) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line { compared, totals })?;
        line.push(b'\n');
        if self.bytes > 0 && self.bytes + line.len() as u64 > FILE_BYTES_MAX {
            self.number += 1;
            self.file = begin(&path(&self.folder, self.number))?;
            self.bytes = 0;
            self.forget()?;
        }
        self.file.write_all(&line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn forget(&self) -> io::Result<()> {
        let numbers = numbers(&self.folder)?;
        for number in numbers.iter().take(numbers.len().saturating_sub(FILES_MAX)) {
            fs::remove_file(path(&self.folder, *number))?;
        }
        Ok(())
    }
}

/// What the newest whole line in a folder says was counted; nothing if there is none.
pub(super) fn totals(folder: &Path) -> io::Result<Option<ShadowTotals>> {
    for number in numbers(folder)?.iter().rev() {
        let text = fs::read_to_string(path(folder, *number))?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let last = whole.lines().next_back().and_then(|line| serde_json::from_str::<Read>(line).ok());
        if let Some(read) = last {
            return Ok(Some(read.totals));
        }
    }
    Ok(None)
}

/// The numbers of the files in a folder, ascending.
fn numbers(folder: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem: Option<u32> =
            path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            numbers.extend(stem);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:06}.{EXTENSION}"))
}

fn begin(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
