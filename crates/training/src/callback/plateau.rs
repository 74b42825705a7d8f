//! Lowers the learning rate where a fit gets no better, as Keras's `ReduceLROnPlateau` does. It only decides: who
//! calls it sets the learning rate.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::config;
use crate::metric::{Direction, Mode};

/// When the learning rate is lowered, and by how much; keys and defaults are Keras's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReduceLrOnPlateauConfig {
    /// The figure it watches.
    pub monitor: String,
    /// The learning rate is multiplied by it.
    pub factor: f64,
    /// After so many epochs in a row that are no better.
    pub patience: usize,
    /// Which way is better.
    pub mode: Mode,
    /// By how much a figure must be better to count.
    pub min_delta: f64,
    /// So many epochs after it lowered the rate do not count.
    pub cooldown: usize,
    /// The lowest it goes.
    pub min_lr: f64,
}

impl Default for ReduceLrOnPlateauConfig {
    fn default() -> Self {
        Self {
            monitor: "val_loss".to_owned(),
            factor: 0.1,
            patience: 10,
            mode: Mode::Auto,
            min_delta: 1e-4,
            cooldown: 0,
            min_lr: 0.0,
        }
    }
}

impl ReduceLrOnPlateauConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`], naming the first key whose value cannot be.
    pub fn check(&self) -> Result<(), Error> {
        self.start().map(|_| ())
    }

    /// Begins to watch a fit.
    pub(crate) fn start(&self) -> Result<ReduceLrOnPlateau, Error> {
        let key = |name: &str| format!("fit.reduce_lr_on_plateau.{name}");
        if !(self.factor > 0.0 && self.factor < 1.0) {
            return Err(config(key("factor"), &self.factor, "it must be above 0 and below 1"));
        }
        if !self.min_delta.is_finite() {
            return Err(config(key("min_delta"), &self.min_delta, "it must be a finite number"));
        }
        if !(self.min_lr.is_finite() && self.min_lr >= 0.0) {
            return Err(config(key("min_lr"), &self.min_lr, "it must be a finite number of at least 0"));
        }
        let direction = self.mode.direction(&key("mode"), &self.monitor)?;
        Ok(ReduceLrOnPlateau { config: self.clone(), direction, best: None, wait: 0, cooldown: 0 })
    }
}

/// Watches a fit; it can be stored between epochs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReduceLrOnPlateau {
    config: ReduceLrOnPlateauConfig,
    direction: Direction,
    best: Option<f64>,
    wait: usize,
    cooldown: usize,
}

impl ReduceLrOnPlateau {
    /// An epoch ended with `value` for the figure it watches, if there is one, at a learning rate; gives the new one if
    /// it is to be lowered.
    ///
    /// A value that is not a number is no better than any other.
    pub(crate) fn on_epoch_end(&mut self, value: Option<f64>, learning_rate: f64) -> Option<f64> {
        let value = value?;
        if self.cooldown > 0 {
            self.cooldown -= 1;
            self.wait = 0;
        }
        if self.improves(value) {
            self.best = Some(value);
            self.wait = 0;
            return None;
        }
        if self.cooldown > 0 {
            return None;
        }
        self.wait += 1;
        if self.wait < self.config.patience || learning_rate <= self.config.min_lr {
            return None;
        }
        self.cooldown = self.config.cooldown;
        self.wait = 0;
        Some((learning_rate * self.config.factor).max(self.config.min_lr))
    }

    /// The figure it watches.
    pub(crate) fn monitor(&self) -> &str {
        &self.config.monitor
    }

    fn improves(&self, value: f64) -> bool {
        match self.best {
            Some(best) => self.direction.improves(value, best, self.config.min_delta),
            None => !value.is_nan(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of [`VALUES`]: the configuration and the learning rate after each epoch, from 1.
    /// `tests/golden/callbacks_keras.py` made it.
    #[rustfmt::skip]
    const KERAS: &[(&str, [f64; 12])] = &[
        ("", [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("patience = 1", [1.0, 1.0, 0.10000000149011612, 0.10000000149011612, 0.009999999776482582, 0.009999999776482582, 0.0009999999310821295, 9.99999901978299e-05, 9.99999901978299e-05, 9.99999883788405e-06, 9.99999883788405e-07, 9.999998695775503e-08]),
        ("patience = 1\nfactor = 0.5\ncooldown = 1", [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.0625, 0.0625, 0.03125, 0.015625, 0.0078125]),
        ("patience = 1\nfactor = 0.5\ncooldown = 3", [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125, 0.125]),
        ("patience = 2\nfactor = 0.2\nmin_delta = 0.02", [1.0, 1.0, 1.0, 1.0, 1.0, 0.20000000298023224, 0.20000000298023224, 0.03999999910593033, 0.03999999910593033, 0.007999999448657036, 0.007999999448657036, 0.0015999998431652784]),
        ("patience = 0\nfactor = 0.5\nmin_lr = 0.3", [1.0, 1.0, 0.5, 0.5, 0.30000001192092896, 0.30000001192092896, 0.30000001192092896, 0.30000001192092896, 0.30000001192092896, 0.30000001192092896, 0.30000001192092896, 0.30000001192092896]),
        ("monitor = \"score\"\nmode = \"max\"\npatience = 3\nfactor = 0.3", [1.0, 1.0, 1.0, 0.30000001192092896, 0.30000001192092896, 0.30000001192092896, 0.09000000357627869, 0.09000000357627869, 0.09000000357627869, 0.027000000700354576, 0.027000000700354576, 0.027000000700354576]),
    ];

    const VALUES: [f64; 12] = [0.9, 0.7, 0.72, 0.65, 0.66, 0.64, 0.7, 0.645, 0.63, 0.8, 0.9, 0.95];

    /// Stored and read again after each epoch.
    #[test]
    fn rates_are_those_of_keras() {
        for (text, expected) in KERAS {
            let mut watch = toml::from_str::<ReduceLrOnPlateauConfig>(text).unwrap().start().unwrap();
            let mut rate = 1.0;
            for (at, value) in VALUES.into_iter().enumerate() {
                rate = watch.on_epoch_end(Some(value), rate).unwrap_or(rate);
                watch = serde_json::from_str(&serde_json::to_string(&watch).unwrap()).unwrap();
                // Keras holds it in single precision.
                let off = (rate - expected[at]).abs() / expected[at];
                assert!(off < 1e-6, "{text}: {rate} is not {} after epoch {}", expected[at], at + 1);
            }
        }
    }

    #[test]
    fn what_is_not_a_number_lowers_the_rate() {
        let config = ReduceLrOnPlateauConfig { patience: 2, ..ReduceLrOnPlateauConfig::default() };
        let mut watch = config.start().unwrap();
        let mut next = |value| watch.on_epoch_end(value, 1.0);
        assert_eq!([next(Some(f64::NAN)), next(None), next(Some(f64::NAN))], [None, None, Some(0.1)]);
        assert_eq!([next(Some(0.5)), next(Some(0.5)), next(Some(f64::NAN))], [None, None, Some(0.1)]);
        assert_eq!(watch.monitor(), "val_loss");
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        let default = ReduceLrOnPlateauConfig::default;
        for (config, expected) in [
            (
                ReduceLrOnPlateauConfig { factor: 1.0, ..default() },
                "fit.reduce_lr_on_plateau.factor is 1; it must be above 0 and below 1",
            ),
            (
                ReduceLrOnPlateauConfig { min_lr: -1.0, ..default() },
                "fit.reduce_lr_on_plateau.min_lr is -1; it must be a finite number of at least 0",
            ),
            (
                ReduceLrOnPlateauConfig { min_delta: f64::INFINITY, ..default() },
                "fit.reduce_lr_on_plateau.min_delta is inf; it must be a finite number",
            ),
        ] {
            assert_eq!(config.check().unwrap_err().to_string(), expected);
        }
        let config = ReduceLrOnPlateauConfig { monitor: "luck".to_owned(), ..default() };
        assert!(
            config.check().unwrap_err().to_string().starts_with("fit.reduce_lr_on_plateau.mode is \"auto\"")
        );
    }
}
