//! The answers of a shadow on disk: JSON lines in numbered files, of which the newest are kept.
//!
//! Every line ends with the totals up to it, so that the last one says what was there before it, even in files that are
//! gone. A line that was cut short is taken away, and what follows goes on after the one before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ShadowTotals;

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
    bytes_max: u64,
}

#[derive(Serialize)]
struct Line<'a, C> {
    #[serde(flatten)]
    compared: &'a C,
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
        let number = numbers(folder)?.last().copied().unwrap_or(1);
        let file = begin(&path(folder, number))?;
        let found = fs::read(path(folder, number))?;
        let bytes = whole_lines(&found).len() as u64;
        // Only what was cut short is touched: a shadow that was one before may still write what it had taken, and a line that it
        // adds after this look must stay.
        if bytes < found.len() as u64 {
            file.set_len(bytes)?;
        }
        let log = Self { folder: folder.to_owned(), number, file, bytes, bytes_max: FILE_BYTES_MAX };
        log.forget()?;
        Ok((log, totals))
    }

    /// Adds a line: what came of a copy, and the totals with it.
    pub(super) fn append(&mut self, compared: &impl Serialize, totals: &ShadowTotals) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line { compared, totals })?;
        line.push(b'\n');
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.bytes_max {
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
        let bytes = fs::read(path(folder, *number))?;
        let mut lines = whole_lines(&bytes).rsplit(|byte| *byte == b'\n');
        if let Some(read) = lines.find_map(|line| serde_json::from_slice::<Read>(line).ok()) {
            return Ok(Some(read.totals));
        }
    }
    Ok(None)
}

/// What of a file ends with the end of a line: the rest was cut short, perhaps within a letter.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    &bytes[..end]
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use serde_json::{Value, json};

    use super::*;

    /// Lines of about 400 bytes: two to three a file.
    const BYTES_MAX: u64 = 1000;

    fn open(folder: &Path) -> (Log, u64) {
        let (log, totals) = Log::open(folder).unwrap();
        (Log { bytes_max: BYTES_MAX, ..log }, totals.answered)
    }

    fn append(log: &mut Log, answered: u64) {
        let totals = ShadowTotals { answered, ..ShadowTotals::default() };
        log.append(&json!({"request_id": format!("r{answered}"), "model": "m\u{fc}nchen@1"}), &totals)
            .unwrap();
    }

    /// The numbers of the requests that are kept, all of them in lines that are whole.
    fn kept(folder: &Path) -> Vec<u64> {
        let files = numbers(folder).unwrap();
        let texts = files.iter().map(|number| fs::read_to_string(path(folder, *number)).unwrap());
        let ids = |text: String| {
            assert!(text.is_empty() || text.ends_with('\n'), "{text}");
            let id = |line: &str| {
                let line: Value = serde_json::from_str(line).unwrap();
                line["request_id"].as_str().unwrap()[1..].parse::<u64>().unwrap()
            };
            text.lines().map(id).collect::<Vec<_>>()
        };
        texts.flat_map(ids).collect()
    }

    #[test]
    fn the_newest_files_are_kept_and_the_totals_of_all() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, before) = open(dir.path());
        assert_eq!(before, 0);
        (1..=20).for_each(|n| append(&mut log, n));
        let files = numbers(dir.path()).unwrap();
        assert_eq!(files.len(), FILES_MAX, "{files:?}");
        for number in &files {
            let bytes = fs::metadata(path(dir.path(), *number)).unwrap().len();
            assert!(bytes > 0 && bytes <= BYTES_MAX, "file {number} has {bytes} bytes");
        }
        let ids = kept(dir.path());
        let first = ids[0];
        assert!(first > 1 && ids == (first..=20).collect::<Vec<_>>(), "{ids:?}");
        assert_eq!(totals(dir.path()).unwrap().unwrap().answered, 20);
        // A line that is larger than a file has one of its own.
        let large = json!({"request_id": "r21", "inputs": "x".repeat(2 * BYTES_MAX as usize)});
        log.append(&large, &ShadowTotals { answered: 21, ..ShadowTotals::default() }).unwrap();
        append(&mut log, 22);
        assert_eq!(kept(dir.path()).last_chunk(), Some(&[20, 21, 22]));
    }

    #[test]
    fn starts_without_a_copy_between_them_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path());
        (1..=2).for_each(|n| append(&mut log, n));
        for _ in 0..3 * FILES_MAX {
            assert_eq!(open(dir.path()).1, 2);
        }
        append(&mut open(dir.path()).0, 3);
        assert_eq!((kept(dir.path()), open(dir.path()).1), (vec![1, 2, 3], 3));
    }

    #[test]
    fn a_file_of_whole_lines_is_not_touched_when_it_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path());
        append(&mut log, 1);
        let file = path(dir.path(), 1);
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        let touched = || fs::metadata(&file).unwrap().modified().unwrap();
        log.file.set_modified(long_ago).unwrap();
        assert_eq!((open(dir.path()).1, touched()), (1, long_ago));
        // Both may write: what the old one still had, and what the new one gets.
        let (mut new, _) = open(dir.path());
        append(&mut log, 2);
        append(&mut new, 3);
        assert_eq!(kept(dir.path()), [1, 2, 3]);
    }

    #[test]
    fn a_line_that_was_cut_short_anywhere_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path());
        append(&mut log, 1);
        let file = path(dir.path(), 1);
        let first = fs::metadata(&file).unwrap().len() as usize;
        append(&mut log, 2);
        drop(log);
        let mut whole = Vec::new();
        File::open(&file).unwrap().read_to_end(&mut whole).unwrap();
        for end in 0..whole.len() {
            fs::write(&file, &whole[..end]).unwrap();
            let before = u64::from(end >= first);
            // It is told before the file is opened for more as well.
            assert_eq!(totals(dir.path()).unwrap().unwrap_or_default().answered, before, "cut at {end}");
            let (mut log, answered) = open(dir.path());
            assert_eq!(answered, before, "cut at {end}");
            append(&mut log, 7);
            let expected = if before == 1 { vec![1, 7] } else { vec![7] };
            assert_eq!((kept(dir.path()), numbers(dir.path()).unwrap()), (expected, vec![1]), "cut at {end}");
        }
    }
}
