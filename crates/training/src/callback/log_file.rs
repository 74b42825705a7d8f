//! A log that a resumed fit goes on with: what it will do again is cut off first.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Component, Path, PathBuf};

use crate::Error;
use crate::config::config;
use crate::file::FileError;
use crate::observer::Control;

/// A larger log of a former process is not read.
const MAX_LOG_BYTES: u64 = 1 << 30;

/// What a record of a log is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// The whole file.
    Head,
    /// Update so many, counted from 1 over the whole fit.
    Step(u64),
    /// An epoch, counted from 1.
    Epoch(usize),
}

/// Where a fit is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// The epoch that runs or ends, from 1.
    pub(super) epoch: usize,
    /// The first update that is not in the log yet, from 1.
    pub(super) step: u64,
}

/// The records of a former process.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// What each is about, and the byte at which it begins, in order.
    pub(super) begins: Vec<(Mark, usize)>,
    /// The byte after the last whole one.
    pub(super) end: usize,
}

/// A log file, written record by record.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Records of a former process, until this one has something to say.
    former: Records,
}

impl LogFile {
    /// An empty one, with its folder.
    pub(super) fn create(path: &Path) -> Result<Self, FileError> {
        Self::open(path, true)
    }

    /// One that may be there already. `scan` tells its records apart; what follows the last whole one is what a
    /// kill left, and is cut off.
    pub(super) fn reopen(
        path: &Path,
        scan: impl FnOnce(&[u8]) -> Result<Records, String>,
    ) -> Result<Self, FileError> {
        let mut log = Self::open(path, false)?;
        let size = log.file.metadata().map_err(FileError::io("read", path))?.len();
        let refuse = |reason| FileError::Content { path: path.to_owned(), reason };
        if size > MAX_LOG_BYTES {
            return Err(refuse(format!(
                "it has {size} bytes, more than the limit of {MAX_LOG_BYTES}; move it away"
            )));
        }
        let bytes = std::fs::read(path).map_err(FileError::io("read", path))?;
        log.former = scan(&bytes).map_err(refuse)?;
        log.cut(log.former.end)?;
        Ok(log)
    }

    /// Whether nothing was written yet, now or by a former process.
    pub(super) fn is_empty(&self) -> Result<bool, FileError> {
        let metadata = self.file.metadata().map_err(FileError::io("read", &self.path))?;
        Ok(metadata.len() == 0)
    }

    /// Cuts off what a former process wrote of what is done again from `now` on; only the first call finds any.
    pub(super) fn rewind(&mut self, now: Now) -> Result<(), FileError> {
        let former = std::mem::take(&mut self.former);
        let again = former.begins.iter().find(|(mark, _)| match *mark {
            Mark::Head => false,
            Mark::Step(step) => step >= now.step,
            Mark::Epoch(epoch) => epoch >= now.epoch,
        });
        again.map_or(Ok(()), |&(_, begin)| self.cut(begin))
    }

    /// Adds a record, in one write.
    pub(super) fn append(&mut self, record: &[u8]) -> Result<(), FileError> {
        let way_out = || "make room there, then resume from the last checkpoint".to_owned();
        self.file.write_all(record).map_err(FileError::write(&self.path, way_out))
    }

    fn open(path: &Path, empty: bool) -> Result<Self, FileError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(FileError::io("make the folder", folder))?;
        }
        let mut options = OpenOptions::new();
        // In append mode every write goes to the end, wherever a cut has put it.
        options.append(true).create(true);
        let file = options.open(path).map_err(FileError::io("open", path))?;
        let mut log = Self { path: path.to_owned(), file, former: Records::default() };
        if empty {
            log.cut(0)?;
        }
        Ok(log)
    }

    fn cut(&mut self, length: usize) -> Result<(), FileError> {
        self.file.set_len(length as u64).map_err(FileError::io("shorten", &self.path))
    }
}

/// Why a log could not be written, kept until someone asks; a fit whose log fails is to stop.
#[derive(Debug, Default)]
pub(super) struct Failure(Option<FileError>);

impl Failure {
    /// What an observer answers after `result`. The first failure is kept.
    pub(super) fn control(&mut self, result: Result<(), FileError>) -> Control {
        if let Err(error) = result {
            self.0.get_or_insert(error);
        }
        if self.0.is_some() { Control::Stop } else { Control::Continue }
    }

    pub(super) fn take(&mut self) -> Option<FileError> {
        self.0.take()
    }
}

/// Records of a text, one a line; `mark` reads a line, counted from 0.
pub(super) fn lines(bytes: &[u8], mark: impl Fn(usize, &str) -> Option<Mark>) -> Result<Records, String> {
    let mut records = Records::default();
    for (at, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let Some(line) = line.strip_suffix(b"\n") else { break };
        let known = str::from_utf8(line).ok().and_then(|line| mark(at, line));
        let Some(mark) = known else {
            return Err(format!(
                "line {} is none of this log; move the file away to resume without it",
                at + 1
            ));
        };
        records.begins.push((mark, records.end));
        records.end += line.len() + 1;
    }
    Ok(records)
}

/// Checks that a path stays inside the folder of the fit.
pub(super) fn check_path(key: &str, path: &str) -> Result<(), Error> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if !path.is_empty() && Path::new(path).components().all(plain) {
        return Ok(());
    }
    Err(config(key, &format!("\"{path}\""), "it must be a relative path inside the output folder"))
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(FileError::Io { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(bytes: &[u8]) -> Result<Records, String> {
        lines(bytes, |_, line| match line.split_at_checked(1)? {
            ("h", _) => Some(Mark::Head),
            ("e", epoch) => Some(Mark::Epoch(epoch.parse().ok()?)),
            ("s", step) => Some(Mark::Step(step.parse().ok()?)),
            _ => None,
        })
    }

    #[test]
    fn what_is_done_again_is_cut_off_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/log");
        let whole = "h\ns1\ns2\ne1\ns3\ns4\ne2\ns5\n";
        for (now, kept) in [
            (Now { epoch: 3, step: 6 }, whole),
            (Now { epoch: 3, step: 5 }, "h\ns1\ns2\ne1\ns3\ns4\ne2\n"),
            (Now { epoch: 2, step: 5 }, "h\ns1\ns2\ne1\ns3\ns4\n"),
            (Now { epoch: 2, step: 4 }, "h\ns1\ns2\ne1\ns3\n"),
            (Now { epoch: 1, step: 1 }, "h\n"),
        ] {
            LogFile::create(&path).unwrap().append(whole.as_bytes()).unwrap();
            LogFile::create(&path).unwrap().append(format!("{whole}s6").as_bytes()).unwrap();
            let mut log = LogFile::reopen(&path, scan).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
            log.rewind(now).unwrap();
            log.append(b"s9\n").unwrap();
            log.rewind(Now { epoch: 1, step: 1 }).unwrap();
            log.append(b"e9\n").unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{kept}s9\ne9\n"));
        }
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "h\nnothing of ours\n").unwrap();
        let error = LogFile::reopen(&path, scan).unwrap_err().to_string();
        assert!(
            error.ends_with("line 2 is none of this log; move the file away to resume without it"),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "h\nnothing of ours\n");
    }

    #[test]
    fn a_path_stays_inside() {
        for path in ["training.csv", "logs/a.csv"] {
            check_path("fit.csv_log.filename", path).unwrap();
        }
        for path in ["", "/etc/a", "../a", "a/../../b", "."] {
            assert_eq!(
                check_path("fit.csv_log.filename", path).unwrap_err().to_string(),
                format!(
                    "fit.csv_log.filename is \"{path}\"; it must be a relative path inside the output folder"
                )
            );
        }
    }

    /// `/dev/full` refuses every write as a full disk does.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_stops_the_fit_with_a_reason() {
        let mut log = LogFile {
            path: PathBuf::from("/out/log"),
            file: OpenOptions::new().append(true).open("/dev/full").unwrap(),
            former: Records::default(),
        };
        let mut failure = Failure::default();
        assert_eq!(failure.control(Ok(())), Control::Continue);
        assert_eq!(failure.control(log.append(b"x")), Control::Stop);
        assert_eq!(failure.control(Ok(())), Control::Stop);
        let error = failure.take().unwrap().to_string();
        assert!(error.starts_with("cannot write /out/log: "), "{error}");
        assert!(error.ends_with("; make room there, then resume from the last checkpoint"), "{error}");
    }
}
