//! `[fit.checkpoint]`: when checkpoints are written, and how many are kept.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::config;
use crate::metric::{Direction, Mode};

const KEEP_MAX: usize = 10_000;
const MINUTES_MAX: f64 = 60.0 * 24.0 * 365.0;

/// `[fit.checkpoint]`: when checkpoints are written, and how many are kept. Without any of the three `every_...`
/// keys one is written after every epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// After every so many updates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_steps: Option<u64>,
    /// After so many minutes without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_minutes: Option<f64>,
    /// After every so many epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_epochs: Option<usize>,
    /// Only after epochs whose [`CheckpointConfig::monitor`] is better than ever.
    pub save_best_only: bool,
    /// What says how good an epoch is: `val_loss`, `val_accuracy`, ...
    pub monitor: String,
    /// Which way is better.
    pub mode: Mode,
    /// How many are kept, the newest.
    pub keep: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            every_steps: None,
            every_minutes: None,
            every_epochs: None,
            save_best_only: false,
            monitor: "val_loss".to_owned(),
            mode: Mode::Auto,
            keep: 3,
        }
    }
}

impl CheckpointConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`], naming the first key whose value cannot be.
    pub fn check(&self) -> Result<(), Error> {
        let key = |name: &str| format!("fit.checkpoint.{name}");
        if self.every_steps == Some(0) {
            return Err(config(key("every_steps"), &0, "it must be at least 1"));
        }
        if self.every_epochs == Some(0) {
            return Err(config(key("every_epochs"), &0, "it must be at least 1"));
        }
        if let Some(minutes) =
            self.every_minutes.filter(|minutes| !(*minutes > 0.0 && *minutes <= MINUTES_MAX))
        {
            let way_out = format!("it must be above 0 and at most {MINUTES_MAX}");
            return Err(config(key("every_minutes"), &minutes, way_out));
        }
        if !(1..=KEEP_MAX).contains(&self.keep) {
            return Err(config(key("keep"), &self.keep, format!("it must be between 1 and {KEEP_MAX}")));
        }
        if self.monitor.is_empty() {
            return Err(config(key("monitor"), &"empty", "name a measure of the fit, such as \"val_loss\""));
        }
        if self.save_best_only && (self.every_steps.is_some() || self.every_minutes.is_some()) {
            let way_out =
                "which epoch is the best is known at its end: leave every_steps and every_minutes out";
            return Err(config(key("save_best_only"), &true, way_out));
        }
        self.direction().map(|_| ())
    }

    /// Checks that what is monitored is among what the fit measures.
    ///
    /// # Errors
    /// [`Error::Config`], naming what is measured.
    pub fn check_monitor(&self, measured: &[String]) -> Result<(), Error> {
        if !self.save_best_only || measured.contains(&self.monitor) {
            return Ok(());
        }
        let way_out = format!("this fit measures {}", measured.join(", "));
        Err(config("fit.checkpoint.monitor", &format!("\"{}\"", self.monitor), way_out))
    }

    /// Which way what is monitored gets better, if only the best is written.
    pub(super) fn direction(&self) -> Result<Option<Direction>, Error> {
        let of_monitor = || self.mode.direction("fit.checkpoint.mode", &self.monitor);
        self.save_best_only.then(of_monitor).transpose()
    }

    /// Epochs between two checkpoints, unless they come by steps or minutes only.
    pub(super) fn epochs(&self) -> Option<usize> {
        let never_else = self.every_steps.is_none() && self.every_minutes.is_none();
        self.every_epochs.or(never_else.then_some(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<CheckpointConfig, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_section_is_read_written_and_checked() {
        assert_eq!(read(""), Ok(CheckpointConfig::default()));
        let config = read("every_steps = 500\nevery_minutes = 2.5\nkeep = 1\nmode = \"max\"").unwrap();
        assert_eq!((config.every_steps, config.every_minutes, config.keep), (Some(500), Some(2.5), 1));
        config.check().unwrap();
        assert_eq!(read(&toml::to_string(&config).unwrap()), Ok(config));
        assert!(read("every_step = 1").unwrap_err().starts_with("unknown field `every_step`"));
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        for (text, expected) in [
            ("every_steps = 0", "fit.checkpoint.every_steps is 0; it must be at least 1"),
            ("every_epochs = 0", "fit.checkpoint.every_epochs is 0; it must be at least 1"),
            (
                "every_minutes = nan",
                "fit.checkpoint.every_minutes is NaN; it must be above 0 and at most 525600",
            ),
            ("keep = 0", "fit.checkpoint.keep is 0; it must be between 1 and 10000"),
            (
                "monitor = \"\"",
                "fit.checkpoint.monitor is empty; name a measure of the fit, such as \"val_loss\"",
            ),
            (
                "save_best_only = true\nevery_steps = 3",
                "fit.checkpoint.save_best_only is true; which epoch is the best is known at its end: leave every_steps \
                 and every_minutes out",
            ),
        ] {
            assert_eq!(read(text).unwrap().check().unwrap_err().to_string(), expected);
        }
        let best = read("save_best_only = true\nmonitor = \"val_auc\"").unwrap();
        assert_eq!(
            best.check_monitor(&["loss".into(), "val_loss".into()]).unwrap_err().to_string(),
            "fit.checkpoint.monitor is \"val_auc\"; this fit measures loss, val_loss"
        );
        best.check_monitor(&["val_auc".into()]).unwrap();
        let unknown = read("save_best_only = true\nmonitor = \"val_luck\"").unwrap();
        assert!(
            unknown.check().unwrap_err().to_string().starts_with("fit.checkpoint.mode is \"auto\"; the name")
        );
        CheckpointConfig { save_best_only: false, ..unknown.clone() }.check().unwrap();
        CheckpointConfig { mode: Mode::Max, ..unknown }.check().unwrap();
    }
}
