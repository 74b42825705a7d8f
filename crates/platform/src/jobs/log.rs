//! A job's log: one file that the job appends to, kept to a size from outside, and read from any offset.
//!
//! Offsets count every byte the job has written. What was cut off at the front is counted in a file beside the log, so
//! that a reader's offset stays true. Readers and whoever cuts exclude each other: the count and the file change one after the
//! other, and belong together. The writer is another process, which nothing here holds up.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use crate::{Error, Kind, Result};

/// The most of a log that one answer holds.
const PART_BYTES_MAX: u64 = 256 << 10;
/// What is read of the end of a log to explain a failure.
const TAIL_BYTES: u64 = 8 << 10;
/// How often what a job has written meanwhile is read before its log is cut all the same: one that writes without a pause would
/// fill the disk.
const CATCH_UP_MAX: usize = 16;
/// Held while logs are read, and by whoever cuts one. One for all: a cut takes milliseconds, and comes once in megabytes.
static CUTTING: RwLock<()> = RwLock::new(());

/// A part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPart {
    /// The text; bytes that are no UTF-8 are replaced.
    pub text: String,
    /// Where it starts. It is after what was asked for if that has been cut off.
    pub offset: u64,
    /// Where the next part starts.
    pub next_offset: u64,
}

/// Reads what follows an offset, as far as whole characters are there; a log that is not there yet is empty.
pub(crate) fn read(path: &Path, offset: u64) -> Result<LogPart> {
    let _uncut = CUTTING.read().unwrap_or_else(PoisonError::into_inner);
    part(path, offset)
}

fn part(path: &Path, offset: u64) -> Result<LogPart> {
    let nothing = |offset| LogPart { text: String::new(), offset, next_offset: offset };
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(nothing(0)),
        Err(error) => return Err(unreadable(path, error)),
    };
    let start = cut_off(path);
    let end = start + file.metadata().map_err(|error| unreadable(path, error))?.len();
    let offset = offset.clamp(start, end);
    let mut bytes = Vec::new();
    let read = file
        .seek(SeekFrom::Start(offset - start))
        .and_then(|_| file.take(PART_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(path, error))?;
    // A character whose end is still to be written is left for the next part.
    if let Err(error) = std::str::from_utf8(&bytes)
        && error.error_len().is_none()
        && error.valid_up_to() > 0
    {
        bytes.truncate(error.valid_up_to());
    }
    let next_offset = offset + bytes.len() as u64;
    Ok(LogPart { text: String::from_utf8_lossy(&bytes).into_owned(), offset, next_offset })
}

/// The last lines, at most so many.
pub(crate) fn tail(path: &Path, lines: usize) -> Result<String> {
    let _uncut = CUTTING.read().unwrap_or_else(PoisonError::into_inner);
    let end = cut_off(path) + std::fs::metadata(path).map_or(0, |file| file.len());
    let part = part(path, end.saturating_sub(TAIL_BYTES))?;
    let text = part.text.trim_end();
    let last: Vec<&str> = text.lines().rev().take(lines).collect();
    Ok(last.into_iter().rev().collect::<Vec<_>>().join("\n"))
}

/// Cuts the front off a log that has more than so many bytes; about half of them are left.
pub(crate) fn bound(path: &Path, bytes_max: u64) -> Result<()> {
    let Ok(file) = std::fs::metadata(path) else {
        return Ok(());
    };
    if file.len() <= bytes_max {
        return Ok(());
    }
    let fail = |error| unreadable(path, error);
    let _alone = CUTTING.write().unwrap_or_else(PoisonError::into_inner);
    // Appended to, as the job does: what it writes meanwhile comes after, or between, but never in the middle.
    let mut log = OpenOptions::new().read(true).append(true).open(path).map_err(fail)?;
    let mut kept = Vec::new();
    let from = log.seek(SeekFrom::End(-((bytes_max / 2) as i64))).map_err(fail)?;
    catch_up(&mut log, from, &mut kept).map_err(fail)?;
    let whole_line = kept.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let start = cut_off(path) + from + whole_line as u64;
    std::fs::write(counter(path), start.to_string()).map_err(fail)?;
    // The job cannot be held up, so what it writes between a look and the cut is lost, and would be missing from all offsets. The
    // last look is therefore directly before the cut, and microseconds are left.
    let mut tries = 0;
    while catch_up(&mut log, from, &mut kept).map_err(fail)? && tries < CATCH_UP_MAX {
        tries += 1;
    }
    log.set_len(0).map_err(fail)?;
    log.write_all(&kept[whole_line..]).map_err(fail)
}

/// Reads on what begins at an offset, as far as it is there now; says whether there was more.
fn catch_up(log: &mut std::fs::File, from: u64, kept: &mut Vec<u8>) -> std::io::Result<bool> {
    let more = log.metadata()?.len().saturating_sub(from + kept.len() as u64);
    if more > 0 {
        log.take(more).read_to_end(kept)?;
    }
    Ok(more > 0)
}

/// How many bytes were cut off at the front.
fn cut_off(path: &Path) -> u64 {
    let text = std::fs::read_to_string(counter(path)).unwrap_or_default();
    text.trim().parse().unwrap_or_default()
}

fn counter(path: &Path) -> PathBuf {
    path.with_extension("start")
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let message = format!("cannot keep the log {}: {error}", path.display());
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Error::new(Kind::FailedPrecondition, message),
        _ => Error::internal(message, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_in_parts_and_never_cut_inside_a_character() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.txt");
        assert_eq!(read(&path, 5).unwrap(), LogPart { text: String::new(), offset: 0, next_offset: 0 });
        let mut bytes = b"eins\nzwei \xc3".to_vec();
        std::fs::write(&path, &bytes).unwrap();
        let first = read(&path, 0).unwrap();
        assert_eq!((first.text.as_str(), first.next_offset), ("eins\nzwei ", 10));
        bytes.extend(b"\xa9!\n\xff\n");
        std::fs::write(&path, &bytes).unwrap();
        let rest = read(&path, first.next_offset).unwrap();
        assert_eq!((rest.text.as_str(), rest.next_offset), ("é!\n\u{fffd}\n", bytes.len() as u64));
        assert_eq!(read(&path, 1 << 40).unwrap().offset, bytes.len() as u64);
        assert_eq!(tail(&path, 2).unwrap(), "zwei é!\n\u{fffd}");
        let long = "x".repeat(PART_BYTES_MAX as usize + 7);
        std::fs::write(&path, &long).unwrap();
        let part = read(&path, 0).unwrap();
        assert_eq!(part.text.len() as u64, PART_BYTES_MAX);
        assert_eq!(read(&path, part.next_offset).unwrap().text.len(), 7);
    }

    #[test]
    fn a_long_log_loses_its_front_and_offsets_stay_true() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.txt");
        bound(&path, 100).unwrap();
        let mut writer = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let mut written = String::new();
        for n in 0..200 {
            let line = format!("line {n}\n");
            written += &line;
            writer.write_all(line.as_bytes()).unwrap();
            bound(&path, 100).unwrap();
            assert!(std::fs::metadata(&path).unwrap().len() <= 100);
        }
        let all = read(&path, 0).unwrap();
        assert_eq!(all.next_offset, written.len() as u64);
        assert_eq!(all.text, written[all.offset as usize..]);
        assert!(all.text.starts_with("line ") && all.text.ends_with("line 199\n"), "{}", all.text);
        assert_eq!(read(&path, all.next_offset - 9).unwrap().text, "line 199\n");
    }

    #[test]
    fn readers_find_the_same_at_an_offset_while_the_front_is_cut_off() {
        const LINE_BYTES: u64 = 10;
        let line = |n: u64| format!("line {n:04}\n");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.txt");
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let follow = || {
                let mut offset = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let part = read(&path, offset).unwrap();
                    assert!(part.offset >= offset, "{} after {offset}", part.offset);
                    let (first, within) = (part.offset / LINE_BYTES, (part.offset % LINE_BYTES) as usize);
                    let lines: String = (first..=part.next_offset / LINE_BYTES).map(line).collect();
                    assert_eq!(part.text, lines[within..within + part.text.len()], "at {}", part.offset);
                    offset = part.next_offset;
                }
            };
            let followers = [scope.spawn(follow), scope.spawn(follow)];
            // Not the job's process: it waits for a cut, so that nothing is lost.
            let mut writer = OpenOptions::new().create(true).append(true).open(&path).unwrap();
            for n in 0..2000 {
                writer.write_all(line(n).as_bytes()).unwrap();
                bound(&path, 200).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            followers.into_iter().for_each(|follower| follower.join().unwrap());
        });
    }
}
