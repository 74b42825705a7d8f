//! Ends a fit that gets no better, as Keras's `EarlyStopping` does. It only decides: who calls it keeps and restores
//! weights, and ends the fit.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::config;
use crate::metric::{Direction, Mode};

/// When a fit gets no better; keys and defaults are Keras's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EarlyStoppingConfig {
    /// The figure it watches.
    pub monitor: String,
    /// By how much a figure must be better to count.
    pub min_delta: f64,
    /// So many epochs in a row may be no better.
    pub patience: usize,
    /// Which way is better.
    pub mode: Mode,
    /// Patience starts anew only by figures that are also better than this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// Whether the fit ends with the weights of its best epoch rather than its last.
    pub restore_best_weights: bool,
    /// So many first epochs are not looked at.
    pub start_from_epoch: usize,
}

impl Default for EarlyStoppingConfig {
    fn default() -> Self {
        Self {
            monitor: "val_loss".to_owned(),
            min_delta: 0.0,
            patience: 0,
            mode: Mode::Auto,
            baseline: None,
            restore_best_weights: false,
            start_from_epoch: 0,
        }
    }
}

impl EarlyStoppingConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`], naming the first key whose value cannot be.
    pub fn check(&self) -> Result<(), Error> {
        self.start().map(|_| ())
    }

    /// Begins to watch a fit.
    pub(crate) fn start(&self) -> Result<EarlyStopping, Error> {
        if !self.min_delta.is_finite() {
            return Err(config(
                "fit.early_stopping.min_delta",
                &self.min_delta,
                "it must be a finite number",
            ));
        }
        if let Some(baseline) = self.baseline.filter(|baseline| !baseline.is_finite()) {
            return Err(config("fit.early_stopping.baseline", &baseline, "it must be a finite number"));
        }
        let direction = self.mode.direction("fit.early_stopping.mode", &self.monitor)?;
        let config = self.clone();
        Ok(EarlyStopping {
            config,
            direction,
            best: None,
            best_epoch: 0,
            keeps: false,
            wait: 0,
            stopped: None,
        })
    }
}

/// Watches a fit; it can be stored between epochs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EarlyStopping {
    config: EarlyStoppingConfig,
    direction: Direction,
    best: Option<f64>,
    best_epoch: usize,
    /// Whether weights were kept.
    keeps: bool,
    wait: usize,
    stopped: Option<usize>,
}

/// What to do after an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Verdict {
    /// Keep the present weights: they are the best so far, and will be restored.
    pub(crate) keep_weights: bool,
    /// End the fit.
    pub(crate) stop: bool,
}

impl EarlyStopping {
    /// Epoch `epoch`, from 1, ended with `value` for the figure it watches, if there is one.
    ///
    /// A value that is not a number is no better than any other. (In Keras a first one that is not could never be
    /// improved on.)
    pub(crate) fn on_epoch_end(&mut self, epoch: usize, value: Option<f64>) -> Verdict {
        let Some(value) = value.filter(|_| epoch > self.config.start_from_epoch) else {
            return Verdict::default();
        };
        let first = self.config.restore_best_weights && !self.keeps;
        if first {
            self.keeps = true;
            self.best_epoch = epoch;
        }
        self.wait += 1;
        if self.improves(value, self.best) {
            self.best = Some(value);
            self.best_epoch = epoch;
            if self.improves(value, self.config.baseline) {
                self.wait = 0;
            }
            return Verdict { keep_weights: self.config.restore_best_weights, stop: false };
        }
        let stop = self.wait >= self.config.patience && epoch > 1;
        if stop {
            self.stopped = Some(epoch);
        }
        Verdict { keep_weights: first, stop }
    }

    /// The epoch, from 1, of the best figure or of the weights kept; `None` before either.
    #[cfg(test)]
    pub(crate) fn best_epoch(&self) -> Option<usize> {
        (self.best_epoch > 0).then_some(self.best_epoch)
    }

    /// The epoch, from 1, after which it ended the fit.
    #[cfg(test)]
    pub(crate) fn stopped_epoch(&self) -> Option<usize> {
        self.stopped
    }

    /// The figure it watches.
    pub(crate) fn monitor(&self) -> &str {
        &self.config.monitor
    }

    fn improves(&self, value: f64, reference: Option<f64>) -> bool {
        match reference {
            Some(reference) => self.direction.improves(value, reference, self.config.min_delta),
            None => !value.is_nan(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of [`VALUES`]: the configuration, after which epoch the fit ends (0 for never), the best epoch, and the epochs
    /// whose weights are kept. `tests/golden/callbacks_keras.py` made it, with epochs counted from 1.
    #[rustfmt::skip]
    const KERAS: &[(&str, usize, usize, &[usize])] = &[
        ("", 3, 2, &[]),
        ("patience = 1", 3, 2, &[]),
        ("patience = 2\nrestore_best_weights = true", 8, 6, &[1, 2, 4, 6]),
        ("patience = 3\nrestore_best_weights = true", 12, 9, &[1, 2, 4, 6, 9]),
        ("patience = 2\nmin_delta = 0.02\nrestore_best_weights = true", 6, 4, &[1, 2, 4]),
        ("patience = 4\nbaseline = 0.64\nrestore_best_weights = true", 5, 4, &[1, 2, 4]),
        ("patience = 2\nbaseline = 0.1", 3, 2, &[]),
        ("patience = 1\nstart_from_epoch = 3\nrestore_best_weights = true", 5, 4, &[4]),
        ("patience = 20\nrestore_best_weights = true", 0, 9, &[1, 2, 4, 6, 9]),
        ("monitor = \"score\"\nmode = \"max\"\npatience = 3\nrestore_best_weights = true", 4, 1, &[1]),
        ("monitor = \"score\"\nmode = \"min\"\npatience = 1", 3, 2, &[]),
    ];

    const VALUES: [f64; 12] = [0.9, 0.7, 0.72, 0.65, 0.66, 0.64, 0.7, 0.645, 0.63, 0.8, 0.9, 0.95];

    fn start(text: &str) -> EarlyStopping {
        toml::from_str::<EarlyStoppingConfig>(text).unwrap().start().unwrap()
    }

    /// Stored and read again after each epoch.
    #[test]
    fn fits_end_where_keras_ends_them() {
        for (text, stopped, best, kept) in KERAS {
            let mut watch = start(text);
            let mut keeps = Vec::new();
            for (epoch, value) in (1..).zip(VALUES) {
                let verdict = watch.on_epoch_end(epoch, Some(value));
                watch = serde_json::from_str(&serde_json::to_string(&watch).unwrap()).unwrap();
                if verdict.keep_weights {
                    keeps.push(epoch);
                }
                if verdict.stop {
                    break;
                }
            }
            assert_eq!(watch.stopped_epoch().unwrap_or(0), *stopped, "{text}");
            assert_eq!(watch.best_epoch(), Some(*best), "{text}");
            assert_eq!(keeps, *kept, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_no_improvement_and_never_the_best() {
        let mut watch = start("patience = 2\nrestore_best_weights = true");
        let verdicts: Vec<Verdict> = [f64::NAN, 0.5, f64::NAN, f64::NAN]
            .into_iter()
            .zip(1..)
            .map(|(value, epoch)| watch.on_epoch_end(epoch, Some(value)))
            .collect();
        assert_eq!(verdicts.iter().map(|v| v.keep_weights).collect::<Vec<_>>(), [true, true, false, false]);
        assert_eq!(verdicts.iter().map(|v| v.stop).collect::<Vec<_>>(), [false, false, false, true]);
        assert_eq!((watch.best_epoch(), watch.stopped_epoch()), (Some(2), Some(4)));
        assert_eq!(watch.monitor(), "val_loss");
    }

    #[test]
    fn the_first_epoch_never_ends_a_fit() {
        let mut watch = start("patience = 0");
        assert!(!watch.on_epoch_end(1, Some(f64::NAN)).stop);
        assert!(watch.on_epoch_end(2, Some(f64::NAN)).stop);
    }

    #[test]
    fn epochs_without_the_figure_do_not_count() {
        let mut watch = start("");
        for epoch in 1..=5 {
            assert_eq!(watch.on_epoch_end(epoch, None), Verdict::default());
        }
        assert_eq!(watch.best_epoch(), None);
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        let config = EarlyStoppingConfig { min_delta: f64::NAN, ..EarlyStoppingConfig::default() };
        let expected = "fit.early_stopping.min_delta is NaN; it must be a finite number";
        assert_eq!(config.check().unwrap_err().to_string(), expected);
        let config = EarlyStoppingConfig { baseline: Some(f64::INFINITY), ..EarlyStoppingConfig::default() };
        let expected = "fit.early_stopping.baseline is inf; it must be a finite number";
        assert_eq!(config.check().unwrap_err().to_string(), expected);
        let config = EarlyStoppingConfig { monitor: "val_luck".to_owned(), ..EarlyStoppingConfig::default() };
        assert!(config.check().unwrap_err().to_string().contains("set it to \"min\" or \"max\""));
        let read = toml::from_str::<EarlyStoppingConfig>("patiense = 3").unwrap_err();
        assert!(read.message().starts_with("unknown field `patiense`, expected one of `monitor`"), "{read}");
    }
}
