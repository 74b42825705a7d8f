//! How training goes, for a person: a bar on a terminal, plain lines elsewhere. Always on stderr.

use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use platform::{BatchProgress, Control, EpochReport, Observer, TrainObserver};

use crate::interrupt::Interrupt;
use crate::output::note;

/// Prints the stages and epochs of a training job, and stops it when the user asks.
#[derive(Debug)]
pub(crate) struct Progress {
    interrupt: Interrupt,
    terminal: bool,
    bar: Option<ProgressBar>,
    epochs: usize,
    pace: Option<Pace>,
    first_update: Option<Instant>,
}

/// How fast rows pass, and how long the rest will take.
#[derive(Debug)]
struct Pace {
    begin: Instant,
    first_step: u64,
    rows: u64,
}

impl Pace {
    fn new(progress: &BatchProgress<'_>) -> Self {
        Self { begin: Instant::now(), first_step: progress.global_step, rows: 0 }
    }

    /// `118k rows/s  0:42 left`
    fn text(&mut self, progress: &BatchProgress<'_>) -> String {
        let seconds = self.begin.elapsed().as_secs_f64();
        let steps = progress.global_step.saturating_sub(self.first_step);
        if steps == 0 || seconds <= 0.0 {
            return String::new();
        }
        self.rows += progress.rows as u64;
        let all = (progress.epochs * progress.steps) as u64;
        let left = all.saturating_sub(progress.global_step) as f64 * seconds / steps as f64;
        let left = left as u64;
        format!("{:.0}k rows/s  {}:{:02} left", self.rows as f64 / seconds / 1e3, left / 60, left % 60)
    }
}

impl Progress {
    /// Progress on stderr.
    pub(crate) fn new(interrupt: &Interrupt) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { interrupt: interrupt.clone(), terminal, bar: None, epochs: 0, pace: None, first_update: None }
    }

    /// Prints the line of a stage: `data      sp500-20`.
    pub(crate) fn stage(&mut self, stage: &str, detail: &str) {
        self.clear();
        note(&format!("{stage:<10}{detail}"));
    }

    /// When the first update was done, if one was.
    pub(crate) fn first_update(&self) -> Option<Instant> {
        self.first_update
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn control(&self) -> Control {
        if self.interrupt.requested() { Control::Stop } else { Control::Continue }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Observer for Progress {
    fn on_epoch_begin(&mut self, _epoch: usize, epochs: usize) {
        self.epochs = epochs;
    }

    fn on_batch_end(&mut self, progress: &BatchProgress<'_>) -> Control {
        self.first_update.get_or_insert_with(Instant::now);
        if self.terminal {
            let steps = (progress.epochs * progress.steps) as u64;
            let bar = self.bar.get_or_insert_with(|| bar(steps));
            let metrics: String =
                progress.metrics.iter().take(2).map(|(name, value)| format!("  {name} {value:.4}")).collect();
            let pace = self.pace.get_or_insert_with(|| Pace::new(progress));
            bar.set_message(format!(
                "epoch {}/{}  loss {:.4}{metrics}  {}",
                progress.epoch,
                progress.epochs,
                progress.loss,
                pace.text(progress)
            ));
            bar.set_position(steps_done(progress));
        }
        self.control()
    }

    fn on_note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => note(text),
        }
    }

    fn on_epoch_end(&mut self, report: &EpochReport) -> Control {
        let line = epoch_line(report, self.epochs);
        match &self.bar {
            Some(bar) => bar.println(line),
            None => note(&line),
        }
        self.control()
    }
}

impl TrainObserver for Progress {
    fn on_stage(&mut self, stage: &str, detail: &str) {
        self.stage(stage, detail);
    }
}

/// A bar that fits a terminal of 80 columns.
pub(crate) fn bar(steps: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:18} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
    bar
}

fn steps_done(progress: &BatchProgress<'_>) -> u64 {
    ((progress.epoch.saturating_sub(1)) * progress.steps + progress.step) as u64
}

/// `epoch  3/10  loss 2.2991  val_loss 2.3010  accuracy 0.1123  val_accuracy 0.1100  118k rows/s  0.8 s`
fn epoch_line(report: &EpochReport, epochs: usize) -> String {
    let mut line = format!("epoch {:>2}/{epochs}  loss {:.4}", report.epoch, report.loss);
    if let Some(loss) = report.val_loss {
        line += &format!("  val_loss {loss:.4}");
    }
    for (name, value) in &report.metrics {
        line += &format!("  {name} {value:.4}");
    }
    line + &format!("  {:.0}k rows/s  {:.1} s", report.rows_per_second / 1e3, report.seconds)
}
