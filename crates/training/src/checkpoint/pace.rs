//! When a checkpoint is due: by updates, by time, by epochs, or when an epoch is better than ever.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::CheckpointConfig;
use crate::metric::Direction;

/// Says when a checkpoint is due. Time is an argument: what has passed since the process began to fit. Which
/// checkpoints are written never changes what is fitted.
#[derive(Debug, Clone)]
pub struct Pace {
    config: CheckpointConfig,
    /// Which way is better, where only the best is written.
    direction: Option<Direction>,
    /// When the last checkpoint was due.
    last: Duration,
    /// The best value of what is monitored.
    best: Option<f64>,
}

/// What a [`Pace`] remembers from one process to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    best: Option<f64>,
}

impl Pace {
    /// For a configuration that was checked.
    pub fn new(config: &CheckpointConfig) -> Self {
        // One that was checked has a direction where it needs one.
        let direction = config.direction().unwrap_or_default();
        Self { config: config.clone(), direction, last: Duration::ZERO, best: None }
    }

    /// Whether one is due after update `step`, counted from 1 over the whole fit.
    pub fn after_step(&mut self, step: u64, elapsed: Duration) -> bool {
        let by_step = self.config.every_steps.is_some_and(|every| step.is_multiple_of(every));
        let by_time = self
            .config
            .every_minutes
            .is_some_and(|minutes| elapsed.saturating_sub(self.last).as_secs_f64() >= minutes * 60.0);
        self.due(by_step || by_time, elapsed)
    }

    /// Whether one is due after epoch `epoch`, counted from 1, whose monitored measure is `measured`.
    pub fn after_epoch(&mut self, epoch: usize, measured: Option<f64>, elapsed: Duration) -> bool {
        let better = self.is_best(measured);
        let by_epoch = self.config.epochs().is_some_and(|every| epoch.is_multiple_of(every));
        self.due(by_epoch && (better || !self.config.save_best_only), elapsed)
    }

    /// What a checkpoint keeps.
    pub fn state(&self) -> serde_json::Value {
        serde_json::json!(State { best: self.best })
    }

    /// Takes up what a checkpoint kept.
    ///
    /// # Errors
    /// A message if it is not of this kind.
    pub fn restore(&mut self, state: &serde_json::Value) -> Result<(), String> {
        let State { best } = State::deserialize(state).map_err(|error| error.to_string())?;
        self.best = best;
        Ok(())
    }

    fn due(&mut self, due: bool, elapsed: Duration) -> bool {
        if due {
            self.last = elapsed;
        }
        due
    }

    /// Whether an epoch is better than ever; what is no number never is.
    fn is_best(&mut self, measured: Option<f64>) -> bool {
        let Some(direction) = self.direction else { return false };
        let better = measured
            .filter(|value| value.is_finite())
            .filter(|&value| self.best.is_none_or(|best| direction.improves(value, best, 0.0)));
        self.best = better.or(self.best);
        better.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn steps_are_counted_over_the_whole_fit() {
        let mut pace = Pace::new(&CheckpointConfig { every_steps: Some(3), ..Default::default() });
        let due: Vec<u64> = (5..=13).filter(|&step| pace.after_step(step, SECOND)).collect();
        assert_eq!(due, [6, 9, 12]);
        assert!(!pace.after_epoch(1, Some(0.1), SECOND));
    }

    #[test]
    fn minutes_are_counted_from_the_last_one() {
        let config =
            CheckpointConfig { every_minutes: Some(0.5), every_epochs: Some(2), ..Default::default() };
        let mut pace = Pace::new(&config);
        let mut due = |second: u64| pace.after_step(second, SECOND * second as u32);
        assert!(!due(29) && due(31) && !due(60) && due(61));
        assert!(pace.after_epoch(2, None, SECOND * 80));
        assert!(!pace.after_step(9, SECOND * 109) && pace.after_step(9, SECOND * 110));
        // A clock that goes back does no harm.
        assert!(!pace.after_step(9, SECOND * 5));
    }

    #[test]
    fn without_a_word_it_is_every_epoch() {
        let mut pace = Pace::new(&CheckpointConfig::default());
        assert!(!pace.after_step(1, SECOND * 100_000));
        assert!(pace.after_epoch(1, None, SECOND) && pace.after_epoch(2, Some(f64::NAN), SECOND));
    }

    #[test]
    fn the_best_is_remembered_over_a_resume() {
        let config = CheckpointConfig { save_best_only: true, ..Default::default() };
        let mut pace = Pace::new(&config);
        let due: Vec<bool> = [0.5, f64::NAN, 0.6, 0.4]
            .into_iter()
            .zip(1..)
            .map(|(loss, epoch)| pace.after_epoch(epoch, Some(loss), SECOND))
            .collect();
        assert_eq!(due, [true, false, false, true]);
        let mut resumed = Pace::new(&config);
        resumed.restore(&pace.state()).unwrap();
        assert!(!resumed.after_epoch(5, Some(0.45), SECOND) && resumed.after_epoch(6, Some(0.39), SECOND));
        assert!(!resumed.after_epoch(7, None, SECOND) && !resumed.after_epoch(8, Some(0.39), SECOND));
        assert!(!resumed.after_epoch(9, Some(f64::NEG_INFINITY), SECOND));
        assert!(resumed.restore(&serde_json::json!({"better": 1})).is_err());
        // Of some measures more is better.
        let mut pace = Pace::new(&CheckpointConfig { monitor: "val_r2_score".to_owned(), ..config });
        let due: Vec<bool> =
            [0.1, 0.0, 0.2].map(|score| pace.after_epoch(1, Some(score), SECOND)).into_iter().collect();
        assert_eq!(due, [true, false, true]);
    }
}
