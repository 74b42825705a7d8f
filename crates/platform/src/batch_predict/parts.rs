//! Where answers go: into parts that a journal notes, put together at the end; or straight to a stream.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use market::row_file::{AnswerBlock, AnswerFormat, AnswerLayout, AnswerWriter, merge_answers};
use sha2::{Digest, Sha256};

use super::errors::RowError;
use super::journal::{Finished, Journal, Part};
use crate::files::unwritable;
use crate::{Error, Kind, Result};

/// A part ends after so many bytes or so long a time, whatever its rows.
const PART_BYTES_MAX: u64 = 64 << 20;
const PART_TIME_MAX: Duration = Duration::from_secs(5);

/// Where the rows that are written end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reached {
    /// The file that the last row is of.
    pub(super) input: usize,
    /// Rows of it that are written.
    pub(super) input_rows: u64,
}

/// Where answers go.
pub(super) enum Sink {
    /// Parts of a file.
    Parts(Box<Parts>),
    /// A stream.
    Stream(Box<AnswerWriter<Box<dyn Write + Send>>>),
}

/// Parts of a file.
pub(super) struct Parts {
    pub(super) journal: Journal,
    format: AnswerFormat,
    layout: AnswerLayout,
    rows_max: u64,
    open: Option<OpenPart>,
}

struct OpenPart {
    path: PathBuf,
    writer: AnswerWriter<Hashing>,
    begun: Instant,
    rows: u64,
    errors: Vec<RowError>,
    reached: Reached,
}

/// A file whose SHA-256 is known once it is written.
struct Hashing {
    file: BufWriter<File>,
    digest: Sha256,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Parts {
    pub(super) fn new(journal: Journal, format: AnswerFormat, layout: AnswerLayout, rows_max: u64) -> Self {
        Self { journal, format, layout, rows_max, open: None }
    }

    /// Rows written and those of them without an answer, and where they end.
    pub(super) fn done(&self) -> (u64, u64, Reached) {
        let parts = &self.journal.parts;
        let reached = parts.last().map(|part| Reached { input: part.input, input_rows: part.input_rows });
        (
            parts.iter().map(|part| part.rows).sum(),
            parts.iter().map(|part| part.errors).sum(),
            reached.unwrap_or_default(),
        )
    }

    fn write(&mut self, block: &AnswerBlock, errors: Vec<RowError>, reached: Reached) -> Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        open.writer.write(block)?;
        open.rows += block.rows as u64;
        open.errors.extend(errors);
        open.reached = reached;
        let full = open.rows >= self.rows_max
            || open.writer.bytes() >= PART_BYTES_MAX
            || open.begun.elapsed() >= PART_TIME_MAX;
        self.open = Some(open);
        if full { self.close() } else { Ok(()) }
    }

    fn begin(&self) -> Result<OpenPart> {
        let path = self.journal.part(self.journal.parts.len());
        let file = File::create(&path).map_err(|error| unwritable(&path, &error))?;
        let out = Hashing { file: BufWriter::new(file), digest: Sha256::new() };
        let writer = AnswerWriter::new(out, self.format, self.layout.clone());
        let reached = Reached::default();
        Ok(OpenPart { path, writer, begun: Instant::now(), rows: 0, errors: Vec::new(), reached })
    }

    /// Ends the part that is being written, if there is one.
    pub(super) fn close(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let OpenPart { path, writer, rows, errors, reached, .. } = open;
        let Hashing { file, digest } = writer.finish()?;
        let file = file.into_inner().map_err(|error| unwritable(&path, error.error()))?;
        file.sync_all().map_err(|error| unwritable(&path, &error))?;
        let errors_sha256 = match errors.as_slice() {
            [] => None,
            some => Some(self.write_errors(some)?),
        };
        self.journal.note(Part {
            rows,
            errors: errors.len() as u64,
            input: reached.input,
            input_rows: reached.input_rows,
            sha256: hex::encode(digest.finalize()),
            errors_sha256,
        })
    }

    /// Leaves what is written to a run that goes on; nothing, if nothing is.
    pub(super) fn leave(mut self) -> Result<()> {
        self.close()?;
        if self.journal.parts.is_empty() {
            self.journal.remove();
        }
        Ok(())
    }

    fn write_errors(&self, errors: &[RowError]) -> Result<String> {
        let path = self.journal.errors(self.journal.parts.len());
        let text: String = errors.iter().map(|error| error.document(self.format)).collect();
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| unwritable(&path, &error))?;
        Ok(hex::encode(Sha256::digest(text.as_bytes())))
    }

    /// Puts the parts together, unless an earlier run has; the file does not appear yet.
    pub(super) fn put_together(&mut self, ignored: &[String]) -> Result<Finished> {
        self.close()?;
        if let Some(finished) = &self.journal.finished {
            return Ok(finished.clone());
        }
        let numbers = 0..self.journal.parts.len();
        let parts: Vec<PathBuf> = numbers.clone().map(|number| self.journal.part(number)).collect();
        merge_answers(self.format, &self.layout, &parts, &self.journal.whole())?;
        let errors: Vec<PathBuf> = numbers
            .filter(|number| self.journal.parts[*number].errors > 0)
            .map(|number| self.journal.errors(number))
            .collect();
        if !errors.is_empty() {
            merge_answers(AnswerFormat::Predictions, &self.layout, &errors, &self.journal.whole_errors())?;
        }
        let (rows, errors, _) = self.done();
        let finished = Finished { rows, errors, ignored: ignored.to_vec() };
        self.journal.finish(finished.clone())?;
        Ok(finished)
    }

    /// Makes the file appear, and removes what was needed for it.
    pub(super) fn appear(self, out: &Path) -> Result<()> {
        let errors = errors_file(out);
        for (whole, place) in [(self.journal.whole_errors(), errors.as_path()), (self.journal.whole(), out)] {
            match std::fs::rename(&whole, place) {
                Ok(()) => {}
                // An earlier run came so far.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(unwritable(place, &error)),
            }
        }
        if !out.exists() {
            let message =
                format!("{} has gone; run it again without --resume", self.journal.whole().display());
            return Err(Error::new(Kind::FailedPrecondition, message));
        }
        let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| unwritable(folder, &error))?;
        self.journal.remove();
        Ok(())
    }
}

impl Sink {
    pub(super) fn write(
        &mut self,
        block: &AnswerBlock,
        errors: Vec<RowError>,
        reached: Reached,
    ) -> Result<()> {
        match self {
            Self::Parts(parts) => parts.write(block, errors, reached),
            Self::Stream(writer) => Ok(writer.write(block)?),
        }
    }
}

/// `OUT.errors.jsonl`
pub(crate) fn errors_file(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".errors.jsonl");
    out.with_file_name(name)
}
