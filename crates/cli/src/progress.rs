//! How training goes, for a person: a bar on a terminal, plain lines elsewhere. Always on stderr.

use std::io::IsTerminal;

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
}

impl Progress {
    /// Progress on stderr.
    pub(crate) fn new(interrupt: &Interrupt) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { interrupt: interrupt.clone(), terminal, bar: None, epochs: 0 }
    }

    /// Prints the line of a stage: `data      sp500-20`.
    pub(crate) fn stage(&mut self, stage: &str, detail: &str) {
        self.clear();
        note(&format!("{stage:<10}{detail}"));
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

    fn on_batch_end(&mut self, progress: &BatchProgress) -> Control {
        if self.terminal {
            let steps = (progress.epochs * progress.steps) as u64;
            let bar = self.bar.get_or_insert_with(|| bar(steps));
            bar.set_message(format!(
                "epoch {}/{}  loss {:.4}  accuracy {:.4}  {} epochs left",
                progress.epoch,
                progress.epochs,
                progress.loss,
                progress.accuracy,
                progress.epochs.saturating_sub(progress.epoch)
            ));
            bar.set_position(steps_done(progress));
        }
        self.control()
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
fn bar(steps: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:18} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
    bar
}

fn steps_done(progress: &BatchProgress) -> u64 {
    ((progress.epoch.saturating_sub(1)) * progress.steps + progress.step) as u64
}

/// `epoch 3/10  loss 2.2991  accuracy 0.1123  val_loss 2.3010  val_accuracy 0.1100  0.8 s`
fn epoch_line(report: &EpochReport, epochs: usize) -> String {
    let mut line = format!(
        "epoch {:>2}/{epochs}  loss {:.4}  accuracy {:.4}",
        report.epoch, report.loss, report.accuracy
    );
    if let (Some(loss), Some(accuracy)) = (report.val_loss, report.val_accuracy) {
        line += &format!("  val_loss {loss:.4}  val_accuracy {accuracy:.4}");
    }
    line + &format!("  {:.1} s", report.seconds)
}
