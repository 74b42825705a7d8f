//! `predict --input FILE --out FILE`: every row of files answered by one version, here or by a server.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use jiff::civil::Date;
use platform::batch_predict::{
    Answerer, BatchObserver, BatchPredict, BatchReport, RowsProgress, Streams, run,
};
use platform::{Control, Error, PinnedSnapshot, Platform};
use serde::Serialize;

use crate::args::predict::{AnsweringArgs, FileArgs};
use crate::client::Client;
use crate::client::infer::RemoteAnswerer;
use crate::context::{Backend, Context};
use crate::interrupt::Interrupt;
use crate::output::{Output, Show, note, pairs};
use crate::progress;

/// Without a terminal a line is printed so often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What a run came to.
#[derive(Debug, Serialize)]
struct FilesView {
    #[serde(flatten)]
    report: BatchReport,
    seconds: f64,
    /// Of the rows this run has answered.
    rows_per_second: f64,
}

impl Show for FilesView {
    fn text(&self) -> String {
        let report = &self.report;
        let resumed = match report.resumed_rows {
            0 => String::new(),
            rows => format!(", {rows} of them by an earlier run"),
        };
        let mut lines = vec![
            ("model", format!("{}@{}", report.model, report.model_version)),
            (
                "rows",
                format!(
                    "{}{resumed}; {:.1} s, {:.0} rows/s",
                    report.rows, self.seconds, self.rows_per_second
                ),
            ),
        ];
        if let Some(out) = &report.out {
            lines.push(("written", out.display().to_string()));
        }
        if let Some(errors) = &report.errors_file {
            lines.push(("without answer", format!("{}; {} says why", report.errors, errors.display())));
        }
        if !report.ignored_columns.is_empty() {
            lines.push(("not used", report.ignored_columns.join(", ")));
        }
        pairs(lines)
    }
}

/// Answers every row of files.
pub(crate) async fn predict_files(
    context: &Context,
    answering: AnsweringArgs,
    (inputs, as_of): (Vec<PathBuf>, Option<Date>),
    files: FileArgs,
) -> Result<(), Error> {
    let threads = files.threads.unwrap_or_else(platform::core_count);
    let request = request(context, (inputs, as_of), &files, threads)?;
    let answerer = answerer(context, answering, &files, threads).await?;
    // It stops between two stretches of rows, and leaves what it has written whole.
    context.interrupt.drains();
    let to_stdout = request.out.is_none();
    let interrupt = context.interrupt.clone();
    let started = Instant::now();
    let work = move || {
        let streams = Streams {
            input: request.inputs.is_empty().then(|| Box::new(std::io::stdin()) as Box<_>),
            output: to_stdout
                .then(|| Box::new(std::io::BufWriter::new(std::io::stdout())) as Box<dyn Write + Send>),
        };
        let mut watching = Watching::new(&interrupt);
        let report = run(&request, &*answerer, streams, &mut watching)?;
        Ok::<_, Error>((report, watching.new_rows))
    };
    let done = tokio::task::spawn_blocking(work).await;
    let (report, new_rows) =
        done.map_err(|error| Error::internal("a batch prediction stopped unexpectedly", error))??;
    let seconds = started.elapsed().as_secs_f64();
    let view = FilesView { report, seconds, rows_per_second: new_rows as f64 / seconds.max(1e-9) };
    if to_stdout {
        view.text().lines().for_each(note);
        return Ok(());
    }
    context.output.show(&view)
}

fn request(
    context: &Context,
    (inputs, as_of): (Vec<PathBuf>, Option<Date>),
    files: &FileArgs,
    threads: usize,
) -> Result<BatchPredict, Error> {
    let standard = |path: &PathBuf| path.as_os_str() == "-";
    let inputs = match inputs.as_slice() {
        [only] if standard(only) => Vec::new(),
        several if several.iter().any(standard) => {
            return Err(Error::invalid("--input", "standard input (-) is read alone, not beside files"));
        }
        _ => inputs,
    };
    let out = files.out.clone().filter(|out| !standard(out));
    if out.is_none() && context.output == Output::Json {
        let message = "--json prints a document on standard output; name a file with --out";
        return Err(Error::invalid("--out", message));
    }
    if inputs.is_empty() && files.resume {
        return Err(Error::invalid("--resume", "what came from standard input cannot be gone on with"));
    }
    Ok(BatchPredict {
        inputs,
        input_format: files.input_format,
        out,
        output_format: files.output_format,
        keep: files.keep.clone(),
        as_of,
        max_errors: files.max_errors,
        resume: files.resume,
        threads,
        part_rows: files.part_rows,
        report: files.report.clone(),
    })
}

async fn answerer(
    context: &Context,
    answering: AnsweringArgs,
    files: &FileArgs,
    threads: usize,
) -> Result<Arc<dyn Answerer>, Error> {
    if let Some(bundle) = answering.bundle {
        return of_bundle(context, &bundle, files, threads).await;
    }
    match context.backend().await? {
        Backend::Server(client) => Ok(Arc::new(remote(client, answering).await?)),
        Backend::Local(platform) => local(context, &platform, answering, threads).await,
    }
}

async fn local(
    context: &Context,
    platform: &Platform,
    answering: AnsweringArgs,
    threads: usize,
) -> Result<Arc<dyn Answerer>, Error> {
    let project = context.project();
    Ok(match (answering.endpoint, answering.model) {
        (Some(endpoint), _) => Arc::new(platform.load_endpoint_for_batch(project, &endpoint, threads).await?),
        (None, Some(model)) => Arc::new(platform.load_for_batch(project, &model, None, threads).await?),
        (None, None) => return Err(nobody()),
    })
}

async fn remote(client: Client, answering: AnsweringArgs) -> Result<RemoteAnswerer, Error> {
    match (answering.endpoint, answering.model) {
        (Some(endpoint), _) => client.answerer_of_endpoint(&endpoint).await,
        (None, Some(model)) => client.answerer(&model).await,
        (None, None) => Err(nobody()),
    }
}

fn nobody() -> Error {
    Error::invalid("--model", "say who answers with --endpoint or --model")
}

/// A bundle in a folder, as a job has it, beside whoever holds the data directory.
async fn of_bundle(
    context: &Context,
    bundle: &Path,
    files: &FileArgs,
    threads: usize,
) -> Result<Arc<dyn Answerer>, Error> {
    context.refuse_server()?;
    let pair = |flag: &str, text: &Option<String>| {
        let parsed = text.as_ref().and_then(|text| {
            let (name, number) = text.split_once('@')?;
            Some((name.to_owned(), number.parse::<u32>().ok()?))
        });
        if text.is_some() && parsed.is_none() {
            return Err(Error::invalid(flag, format!("{flag} is not NAME@N")));
        }
        Ok(parsed)
    };
    let named =
        pair("--named", &files.named)?.ok_or_else(|| Error::invalid("--named", "--named is missing"))?;
    let pinned = pair("--dataset", &files.dataset)?;
    let pinned = pinned.map(|(dataset, snapshot)| PinnedSnapshot { dataset, snapshot });
    let platform =
        if files.read_only { context.open_read_only(pinned).await? } else { context.open_platform().await? };
    Ok(Arc::new(platform.load_bundle_for_batch(bundle, named, threads).await?))
}

/// Shows how far a run is: a bar on a terminal, lines elsewhere. Always on stderr.
struct Watching {
    interrupt: Interrupt,
    terminal: bool,
    bar: Option<ProgressBar>,
    begun: Instant,
    said: Instant,
    new_rows: u64,
}

impl Watching {
    fn new(interrupt: &Interrupt) -> Self {
        let (terminal, now) = (std::io::stderr().is_terminal(), Instant::now());
        Self { interrupt: interrupt.clone(), terminal, bar: None, begun: now, said: now, new_rows: 0 }
    }

    /// `1234567 rows  410k rows/s  0:42 left`
    fn text(&self, progress: &RowsProgress) -> String {
        let seconds = self.begun.elapsed().as_secs_f64().max(1e-9);
        let pace = progress.new_rows as f64 / seconds;
        let mut text = format!("{} rows  {:.0}k rows/s", progress.rows, pace / 1e3);
        if let Some(fraction) = progress.fraction.filter(|fraction| *fraction > 0.0) {
            let all = progress.rows as f64 / fraction;
            let left = ((all - progress.rows as f64).max(0.0) / pace.max(1e-9)) as u64;
            text += &format!("  {}:{:02} left", left / 60, left % 60);
        }
        if progress.errors > 0 {
            text += &format!("  {} without answer", progress.errors);
        }
        text
    }
}

impl BatchObserver for Watching {
    fn on_rows(&mut self, progress: &RowsProgress) -> Control {
        const STEPS: u64 = 1000;
        self.new_rows = progress.new_rows;
        if self.terminal {
            let text = self.text(progress);
            let bar = self.bar.get_or_insert_with(|| progress::bar(STEPS));
            bar.set_position((progress.fraction.unwrap_or_default() * STEPS as f64) as u64);
            bar.set_message(text);
        } else if self.said.elapsed() >= LINE_EVERY {
            self.said = Instant::now();
            note(&self.text(progress));
        }
        if self.interrupt.requested() { Control::Stop } else { Control::Continue }
    }

    fn on_note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => note(text),
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
