//! One run: a thread reads, several ask, and one writes in the order of the rows.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use market::row_file::{
    AnswerBlock, AnswerColumn, AnswerFormat, AnswerLayout, AnswerWriter, NumberType, Numbers, RowChunk,
    RowFile, RowFormat, RowShape, RowSource, SymbolRow,
};
use predictor::{Tensor, TensorData};
use serde_json::json;

use super::errors::RowError;
use super::journal::Journal;
use super::parts::{Parts, Reached, Sink, errors_file};
use super::symbols::There;
use super::{Answerer, BatchObserver, BatchPredict, BatchReport, RowsProgress};
use crate::files::unwritable;
use crate::{Control, Error, Kind, Result};

/// The version of [`BatchReport`].
const REPORT_VERSION: u32 = 1;
/// Numbers of a stretch of rows, and the fewest and most rows of one.
const CHUNK_VALUES: usize = 1 << 20;
const CHUNK_ROWS_MIN: usize = 16;
const CHUNK_ROWS_MAX: usize = 4096;
/// Rows of a part, unless the request says otherwise.
const PART_ROWS: u64 = 1 << 18;
/// What standard input is called.
const STDIN: &str = "standard input";

/// Where a run without files reads and writes.
#[derive(Default)]
pub struct Streams {
    /// Read where there is no file to read.
    pub input: Option<Box<dyn Read + Send>>,
    /// Written where there is no file to write.
    pub output: Option<Box<dyn Write + Send>>,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}

/// Answers every row of the files. Blocks until it is done: not for a thread of an async runtime.
///
/// # Errors
/// [`Kind::InvalidArgument`] for a file that cannot be read or a row that cannot be answered, with its line and column;
/// [`Kind::AlreadyExists`] if the file is there; [`Kind::FailedPrecondition`] for what an earlier run has left, if it is not
/// to be gone on with or is of another run; [`Kind::Cancelled`] if the observer stops it: what is written stays.
pub fn run(
    request: &BatchPredict,
    answerer: &dyn Answerer,
    streams: Streams,
    observer: &mut dyn BatchObserver,
) -> Result<BatchReport> {
    let plan = Plan::new(request, answerer)?;
    let (mut sink, mut state) = plan.begin(streams.output)?;
    let resumed = state.rows;
    if resumed > 0 {
        observer.on_note(&format!("going on after {resumed} rows that are written and whole"));
    }
    let finished = matches!(&sink, Sink::Parts(parts) if parts.journal.finished.is_some());
    if !finished {
        let written = plan.write_rows(streams.input, (&mut sink, &mut state), observer);
        if let Err(error) = written {
            // What is done is not lost to whoever goes on with it.
            if let Sink::Parts(parts) = sink {
                parts.leave()?;
            }
            return Err(error);
        }
    }
    plan.end(sink, state, resumed)
}

/// What a run is made of.
struct Plan<'a> {
    request: &'a BatchPredict,
    answerer: &'a dyn Answerer,
    shape: RowShape,
    layout: AnswerLayout,
    input_formats: Vec<RowFormat>,
    output_format: AnswerFormat,
    threads: usize,
}

/// How far it is.
#[derive(Debug, Default)]
struct State {
    rows: u64,
    errors: u64,
    reached: Reached,
    ignored: Vec<String>,
}

/// A stretch of rows to answer.
struct Work {
    number: u64,
    reached: Reached,
    file: String,
    chunk: RowChunk,
}

/// A stretch of rows, answered.
struct Done {
    reached: Reached,
    fraction: Option<f64>,
    block: AnswerBlock,
    errors: Vec<RowError>,
}

type Numbered = (u64, Result<Done>);

impl<'a> Plan<'a> {
    fn new(request: &'a BatchPredict, answerer: &'a dyn Answerer) -> Result<Self> {
        let model = answerer.model();
        let input_formats = input_formats(request)?;
        let output_format = output_format(request)?;
        let shape = RowShape {
            features: model.features.clone(),
            width: model.width()?,
            by_symbol: model.by_symbol,
            keep: request.keep.clone(),
            echo: output_format == AnswerFormat::Predictions,
        };
        let layout = AnswerLayout {
            kept: request.keep.clone(),
            outputs: model.outputs()?,
            version: format!("{}@{}", model.model, model.version),
            digest: model.digest.clone(),
        };
        let threads = request.threads.max(1);
        Ok(Self { request, answerer, shape, layout, input_formats, output_format, threads })
    }

    fn begin(&self, stream: Option<Box<dyn Write + Send>>) -> Result<(Sink, State)> {
        let Some(out) = &self.request.out else {
            let stream = stream.ok_or_else(|| Error::invalid("--out", "there is nothing to write to"))?;
            if self.request.resume {
                return Err(Error::invalid(
                    "--resume",
                    "what went to standard output cannot be gone on with",
                ));
            }
            let mut writer = AnswerWriter::new(stream, self.output_format, self.layout.clone());
            writer.header()?;
            return Ok((Sink::Stream(Box::new(writer)), State::default()));
        };
        let exists = || {
            let message = format!("{} is there already; name another file or remove it", out.display());
            Error::new(Kind::AlreadyExists, message)
        };
        if out.exists() && !Journal::folder_of(out).exists() {
            return Err(exists());
        }
        let journal = Journal::open(out, self.identity()?, self.request.resume)?;
        let renamed = journal.finished.is_some() && !journal.whole().exists();
        if out.exists() && !renamed {
            return Err(exists());
        }
        let rows_max = self.request.part_rows.unwrap_or(PART_ROWS).max(1);
        let parts = Parts::new(journal, self.output_format, self.layout.clone(), rows_max);
        let (rows, errors, reached) = parts.done();
        Ok((Sink::Parts(Box::new(parts)), State { rows, errors, reached, ignored: Vec::new() }))
    }

    /// Everything that decides what is written: a run goes on only with one of the same.
    fn identity(&self) -> Result<serde_json::Value> {
        let mut inputs = Vec::new();
        for path in &self.request.inputs {
            let found = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
            let modified = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let modified = modified.map(|time| time.as_nanos().to_string());
            inputs.push(json!({"path": path, "bytes": found.len(), "modified": modified}));
        }
        Ok(json!({
            "model": self.layout.version,
            "model_digest": self.layout.digest,
            "data": self.answerer.model().data,
            "inputs": inputs,
            "input_formats": self.input_formats,
            "output_format": self.output_format,
            "keep": self.request.keep,
            "as_of": self.request.as_of,
        }))
    }

    /// Reads, asks and writes until all is done.
    fn write_rows(
        &self,
        input: Option<Box<dyn Read + Send>>,
        (sink, state): (&mut Sink, &mut State),
        observer: &mut dyn BatchObserver,
    ) -> Result<()> {
        let begin = state.reached;
        std::thread::scope(|scope| {
            // So many stretches are under way; the next is handed on once one is written.
            let (ticket, tickets) = sync_channel::<()>(2 * self.threads + 2);
            let (send_work, work) = sync_channel::<Work>(self.threads);
            let (send_done, done) = sync_channel::<Numbered>(self.threads);
            let (send_ignored, ignored) = sync_channel::<Vec<String>>(1);
            let work = Mutex::new(work);
            let to_writer = send_done.clone();
            scope.spawn(move || {
                let reader = Reader { plan: self, work: send_work, ticket, number: 0 };
                let (number, read) = reader.read(input, begin, &send_ignored);
                if let Err(error) = read {
                    // Nobody listens any more if the writer has failed before.
                    let _ = to_writer.send((number, Err(error)));
                }
            });
            // Owned by the workers, so that the reader's sending fails once all have left.
            let work = Arc::new(work);
            for _ in 0..self.threads {
                let (work, send_done) = (Arc::clone(&work), send_done.clone());
                scope.spawn(move || self.work(&work, &send_done));
            }
            drop((work, send_done));
            let written = self.write(&done, &tickets, (sink, state), observer);
            drop((done, tickets));
            state.ignored = ignored.try_recv().unwrap_or_default();
            written
        })
    }

    fn work(&self, work: &Mutex<Receiver<Work>>, done: &SyncSender<Numbered>) {
        loop {
            let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(next) = next else { return };
            let number = next.number;
            if done.send((number, self.answered(next))).is_err() {
                return;
            }
        }
    }

    /// Writes stretches as their turn comes.
    fn write(
        &self,
        done: &Receiver<Numbered>,
        tickets: &Receiver<()>,
        (sink, state): (&mut Sink, &mut State),
        observer: &mut dyn BatchObserver,
    ) -> Result<()> {
        let (mut next, mut waiting, before) = (0u64, BTreeMap::new(), state.rows);
        while let Ok((number, answered)) = done.recv() {
            waiting.insert(number, answered);
            while let Some(answered) = waiting.remove(&next) {
                let Done { reached, fraction, block, errors } = answered?;
                state.errors += errors.len() as u64;
                if state.errors > self.request.max_errors
                    && let Some(first) = errors.first()
                {
                    return Err(self.too_many(first));
                }
                if matches!(sink, Sink::Stream(_)) {
                    errors.iter().for_each(|error| observer.on_note(&error.text()));
                }
                state.rows += block.rows as u64;
                sink.write(&block, errors, reached)?;
                next += 1;
                // The reader has ended if there is none to take.
                let _ = tickets.try_recv();
                let progress = RowsProgress {
                    rows: state.rows,
                    new_rows: state.rows - before,
                    errors: state.errors,
                    fraction: fraction
                        .map(|part| (reached.input as f64 + part) / self.input_formats.len() as f64),
                };
                if observer.on_rows(&progress) == Control::Stop {
                    let message = "interrupted; the same command with --resume goes on after what is written";
                    return Err(Error::new(Kind::Cancelled, message));
                }
            }
        }
        Ok(())
    }

    fn too_many(&self, first: &RowError) -> Error {
        let allowed = self.request.max_errors;
        let way_out = if allowed == 0 {
            "; --max-errors N leaves up to N such rows without an answer".to_owned()
        } else {
            format!("; more than {allowed} rows cannot be answered, the limit of --max-errors")
        };
        Error::new(Kind::InvalidArgument, format!("{}{way_out}", first.text()))
    }

    fn answered(&self, work: Work) -> Result<Done> {
        let Work { reached, file, mut chunk, .. } = work;
        let width = self.shape.width;
        let mut faults: BTreeMap<usize, (Option<String>, String)> =
            chunk.faults.drain(..).map(|fault| (fault.row, (fault.column, fault.reason))).collect();
        let there = self.there(&chunk.symbols, &mut faults)?;
        for row in 0..chunk.rows {
            if faults.contains_key(&row) || there.has(row) {
                continue;
            }
            let values = &mut chunk.features[row * width..(row + 1) * width];
            if let Some(Some(symbol)) = chunk.symbols.get(row)
                && let Err(reason) = self.fill(symbol, values)
            {
                faults.insert(row, (Some("symbol".to_owned()), reason));
                continue;
            }
            if let Some((column, reason)) = self.refused(values) {
                faults.insert(row, (Some(column), reason));
            }
        }
        let answered: Vec<bool> = match faults.len() {
            0 => Vec::new(),
            _ => (0..chunk.rows).map(|row| !faults.contains_key(&row)).collect(),
        };
        let features = std::mem::take(&mut chunk.features);
        let outputs = self.outputs(&answered, chunk.rows, features, there)?;
        let errors = faults
            .into_iter()
            .map(|(row, (column, reason))| RowError {
                file: file.clone(),
                row: chunk.first + row as u64 + 1,
                line: chunk.lines.get(row).copied(),
                column,
                reason,
                instance: chunk.instances.get(row).cloned(),
            })
            .collect();
        let RowChunk { rows, kept, instances, fraction, .. } = chunk;
        Ok(Done {
            reached,
            fraction,
            block: AnswerBlock { rows, answered, outputs, kept, instances },
            errors,
        })
    }

    /// Has rows by symbol answered, if that is done where the data is.
    fn there(
        &self,
        symbols: &[Option<SymbolRow>],
        faults: &mut BTreeMap<usize, (Option<String>, String)>,
    ) -> Result<There> {
        if !self.answerer.answers_symbols() {
            return Ok(There::default());
        }
        let asked = symbols.iter().enumerate().filter(|(row, _)| !faults.contains_key(row));
        let asked: Vec<(usize, SymbolRow)> =
            asked.filter_map(|(row, symbol)| Some((row, self.as_of(symbol.as_ref()?)))).collect();
        if asked.is_empty() {
            return Ok(There::default());
        }
        let (places, rows): (Vec<usize>, Vec<SymbolRow>) = asked.into_iter().unzip();
        let answers = self.answerer.answer_symbols(&rows)?;
        let mut there = There { rows: vec![false; symbols.len()], outputs: answers.outputs };
        for (at, row) in places.into_iter().enumerate() {
            match answers.refused.get(&at) {
                Some(reason) => drop(faults.insert(row, (Some("symbol".to_owned()), reason.clone()))),
                None => there.rows[row] = true,
            }
        }
        Ok(there)
    }

    /// A row by symbol with its day.
    fn as_of(&self, row: &SymbolRow) -> SymbolRow {
        SymbolRow { symbol: row.symbol.clone(), as_of: row.as_of.or(self.request.as_of) }
    }

    fn fill(&self, symbol: &SymbolRow, values: &mut [f32]) -> Result<(), String> {
        let features = self.answerer.features(&self.as_of(symbol)).map_err(|error| error.to_string())?;
        values.copy_from_slice(&features);
        Ok(())
    }

    /// The first value the model does not take, as [`crate::predict`] has it.
    fn refused(&self, values: &[f32]) -> Option<(String, String)> {
        let rejects = self.answerer.model().rejects_missing;
        if self.shape.features.is_empty() && !rejects {
            return None;
        }
        let place = values.iter().position(|value| value.is_infinite() || (rejects && value.is_nan()))?;
        let name = self.shape.features.get(place).cloned().unwrap_or_else(|| place.to_string());
        let reason = if values[place].is_infinite() {
            "it is infinite; leave it empty, or write null or NaN, where a value is missing".to_owned()
        } else {
            format!(
                "it is missing, and model {} was trained with nan = \"reject\"; give a number",
                self.layout.version
            )
        };
        Some((name, reason))
    }

    fn outputs(
        &self,
        answered: &[bool],
        rows: usize,
        features: Vec<f32>,
        there: There,
    ) -> Result<Vec<Numbers>> {
        let width = self.shape.width.max(1);
        // Of the rows that are answered, in their order.
        let are_there: Vec<bool> = (0..rows)
            .filter(|row| answered.get(*row).is_none_or(|answered| *answered))
            .map(|row| there.has(row))
            .collect();
        let (asked, here) = (are_there.len(), are_there.iter().filter(|there| !**there).count());
        let values = if here == rows {
            features
        } else {
            let is_here = |row: usize| answered.get(row).is_none_or(|answered| *answered) && !there.has(row);
            let rows = features.chunks(width).enumerate().filter(|(row, _)| is_here(*row));
            rows.flat_map(|(_, row)| row).copied().collect()
        };
        let tensors = if here == 0 { Vec::new() } else { self.answerer.answer(here, values)? };
        let tensors = there.among(tensors, &are_there)?;
        let columns = self.layout.outputs.iter().enumerate();
        let column = |(at, column): (usize, &AnswerColumn)| {
            let tensor = tensors.get(at).cloned();
            let data = match tensor {
                Some(tensor) => self.checked(column, tensor, asked)?,
                None if asked == 0 => TensorData::Float32(Vec::new()),
                None => return Err(self.strange(column)),
            };
            let numbers = numbers(data, column, answered);
            if asked > 0 && numbers.kind() != column.kind { Err(self.strange(column)) } else { Ok(numbers) }
        };
        columns.map(column).collect()
    }

    fn checked(&self, column: &AnswerColumn, tensor: Tensor, rows: usize) -> Result<TensorData> {
        let data = tensor.into_data();
        if data.len() == rows * column.width() { Ok(data) } else { Err(self.strange(column)) }
    }

    fn strange(&self, column: &AnswerColumn) -> Error {
        let message =
            format!("model {} gave output \"{}\" otherwise than it says", self.layout.version, column.name);
        Error::new(Kind::Internal, message)
    }

    fn end(&self, sink: Sink, state: State, resumed: u64) -> Result<BatchReport> {
        let model = self.answerer.model();
        let mut report = BatchReport {
            version: REPORT_VERSION,
            model: model.model.clone(),
            model_version: model.version,
            model_digest: model.digest.clone(),
            rows: state.rows,
            resumed_rows: resumed,
            errors: state.errors,
            out: self.request.out.clone(),
            errors_file: None,
            ignored_columns: state.ignored,
        };
        match (sink, &self.request.out) {
            (Sink::Parts(mut parts), Some(out)) => {
                let finished = parts.put_together(&report.ignored_columns)?;
                report.rows = finished.rows;
                report.errors = finished.errors;
                report.ignored_columns = finished.ignored;
                report.errors_file = (finished.errors > 0).then(|| errors_file(out));
                if let Some(path) = &self.request.report {
                    write_report(path, &report)?;
                }
                parts.appear(out)?;
            }
            (Sink::Stream(writer), _) => {
                writer.finish()?;
            }
            (Sink::Parts(_), None) => {}
        }
        Ok(report)
    }
}

/// What reads the files.
struct Reader<'a, 'b> {
    plan: &'a Plan<'b>,
    work: SyncSender<Work>,
    ticket: SyncSender<()>,
    number: u64,
}

impl Reader<'_, '_> {
    /// Reads on from where an earlier run came to; the number after the last stretch.
    fn read(
        mut self,
        mut input: Option<Box<dyn Read + Send>>,
        begin: Reached,
        ignored: &SyncSender<Vec<String>>,
    ) -> (u64, Result<()>) {
        for at in begin.input..self.plan.input_formats.len() {
            let skip = if at == begin.input { begin.input_rows } else { 0 };
            match self.read_one(at, skip, input.take()) {
                // The writer has left.
                Ok(None) => break,
                Ok(Some(names)) => {
                    let _ = ignored.try_send(names);
                }
                Err(error) => return (self.number, Err(error)),
            }
        }
        (self.number, Ok(()))
    }

    /// Reads one file to its end; the columns of it that mean nothing, or none if nobody wants more.
    fn read_one(
        &mut self,
        at: usize,
        skip: u64,
        stream: Option<Box<dyn Read + Send>>,
    ) -> Result<Option<Vec<String>>> {
        let plan = self.plan;
        let (source, name) = match (plan.request.inputs.get(at), stream) {
            (Some(path), _) => (RowSource::File(path.clone()), path.display().to_string()),
            (None, Some(stream)) => (RowSource::Stream(stream, STDIN.to_owned()), STDIN.to_owned()),
            (None, None) => return Err(Error::invalid("--input", "there is nothing to read")),
        };
        let mut file = RowFile::open(source, plan.input_formats[at], &plan.shape, skip)?;
        let rows_max = (CHUNK_VALUES / plan.shape.width.max(1)).clamp(CHUNK_ROWS_MIN, CHUNK_ROWS_MAX);
        loop {
            let Some(chunk) = file.next(rows_max)? else {
                return Ok(Some(file.ignored().to_vec()));
            };
            if self.ticket.send(()).is_err() {
                return Ok(None);
            }
            let reached = Reached { input: at, input_rows: chunk.first + chunk.rows as u64 };
            let work = Work { number: self.number, reached, file: name.clone(), chunk };
            self.number += 1;
            if self.work.send(work).is_err() {
                return Ok(None);
            }
        }
    }
}

/// The numbers of all rows; those of rows without an answer are zeros.
fn numbers(data: TensorData, column: &AnswerColumn, answered: &[bool]) -> Numbers {
    fn spread<T: Copy + Default>(values: Vec<T>, width: usize, answered: &[bool]) -> Vec<T> {
        if answered.is_empty() {
            return values;
        }
        let mut all = vec![T::default(); answered.len() * width];
        let places = answered.iter().enumerate().filter(|(_, answered)| **answered);
        for ((row, _), from) in places.zip(values.chunks(width.max(1))) {
            all[row * width..(row + 1) * width].copy_from_slice(from);
        }
        all
    }
    let width = column.width();
    if data.is_empty() {
        let count = answered.len() * width;
        return match column.kind {
            NumberType::Float32 => Numbers::Float32(vec![0.0; count]),
            NumberType::Float64 => Numbers::Float64(vec![0.0; count]),
            NumberType::Int32 => Numbers::Int32(vec![0; count]),
            NumberType::Int64 => Numbers::Int64(vec![0; count]),
            NumberType::Bool => Numbers::Bool(vec![false; count]),
        };
    }
    match data {
        TensorData::Float32(values) => Numbers::Float32(spread(values, width, answered)),
        TensorData::Float64(values) => Numbers::Float64(spread(values, width, answered)),
        TensorData::Int32(values) => Numbers::Int32(spread(values, width, answered)),
        TensorData::Int64(values) => Numbers::Int64(spread(values, width, answered)),
        TensorData::Bool(values) => Numbers::Bool(spread(values, width, answered)),
    }
}

fn input_formats(request: &BatchPredict) -> Result<Vec<RowFormat>> {
    let of = |path: &Path| {
        request.input_format.or_else(|| RowFormat::of_path(path)).ok_or_else(|| {
            let message = format!(
                "{} does not end with .csv, .jsonl or .parquet; say what it is with --input-format",
                path.display()
            );
            Error::invalid("--input-format", message)
        })
    };
    if request.inputs.is_empty() {
        let message = "say what comes from standard input with --input-format csv or jsonl";
        return Ok(vec![request.input_format.ok_or_else(|| Error::invalid("--input-format", message))?]);
    }
    request.inputs.iter().map(|path| of(path)).collect()
}

fn output_format(request: &BatchPredict) -> Result<AnswerFormat> {
    let by_name = |path: &Path| RowFormat::of_path(path).map(AnswerFormat::Rows);
    let format = match &request.out {
        Some(path) => request.output_format.or_else(|| by_name(path)),
        // What comes as text goes as text of the same kind.
        None => request.output_format.or(request.input_format.map(AnswerFormat::Rows)),
    };
    let format = format.ok_or_else(|| {
        let out = request.out.as_ref().map_or("standard output".to_owned(), |out| out.display().to_string());
        let message = format!(
            "{out} does not say what to write by its end; say it with --output-format csv, jsonl or parquet"
        );
        Error::invalid("--output-format", message)
    })?;
    if request.out.is_none() && !format.is_text() {
        let message =
            "a Parquet file cannot go to standard output; name a file with --out, or --output-format csv";
        return Err(Error::invalid("--output-format", message));
    }
    Ok(format)
}

fn write_report(path: &Path, report: &BatchReport) -> Result<()> {
    let text = serde_json::to_vec_pretty(report)
        .map_err(|error| Error::internal("cannot write the report of a batch prediction", error))?;
    let beside = path.with_extension("new");
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| unwritable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => Kind::NotFound,
        _ => Kind::InvalidArgument,
    };
    Error::new(kind, format!("cannot read {}: {error}", path.display()))
}
