//! Which way a figure gets better, for what watches it.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::config;
use crate::name::{self, Kind};

/// Which way the figure that a callback watches gets better, as it is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Mode {
    /// What the figure's name tells.
    #[default]
    Auto,
    /// Smaller is better.
    Min,
    /// Larger is better.
    Max,
}

const KNOWN: &[(&str, Mode)] = &[("auto", Mode::Auto), ("max", Mode::Max), ("min", Mode::Min)];

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        name::find(Kind { one: "mode", all: "modes" }, &text, KNOWN)
    }
}

impl From<Mode> for &'static str {
    fn from(mode: Mode) -> Self {
        KNOWN.iter().find(|(_, known)| *known == mode).map_or("auto", |(name, _)| name)
    }
}

impl Mode {
    /// Of a figure; `key` is where the mode is configured.
    ///
    /// # Errors
    /// [`Error::Config`] if the figure's name must tell and does not.
    pub(crate) fn direction(self, key: &str, monitor: &str) -> Result<Direction, Error> {
        match self {
            Self::Min => Ok(Direction::Down),
            Self::Max => Ok(Direction::Up),
            Self::Auto => Direction::of(monitor).ok_or_else(|| {
                let way_out = format!(
                    "the name \"{monitor}\" does not tell which way is better; set it to \"min\" or \"max\""
                );
                config(key, &"\"auto\"", way_out)
            }),
        }
    }
}

/// Which way a figure gets better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// Smaller is better.
    Down,
    /// Larger is better.
    Up,
}

impl Direction {
    /// Of the figure under a name: `val_loss`, `accuracy`. `None` if its name does not tell.
    pub(crate) fn of(monitor: &str) -> Option<Self> {
        match monitor.strip_prefix("val_").unwrap_or(monitor) {
            "loss" | "mse" | "mae" | "log_loss" | "brier" => Some(Self::Down),
            "accuracy" | "precision" | "recall" | "f1_score" | "auc" | "r2_score" | "ic" | "rank_ic"
            | "icir" | "rank_icir" => Some(Self::Up),
            name if name.starts_with("top_") && name.ends_with("_categorical_accuracy") => Some(Self::Up),
            _ => None,
        }
    }

    /// Whether a value is better than another one by more than `min_delta`. NaN is better than nothing and nothing is
    /// better than NaN.
    pub(crate) fn improves(self, value: f64, reference: f64, min_delta: f64) -> bool {
        match self {
            Self::Down => value + min_delta.abs() < reference,
            Self::Up => value - min_delta.abs() > reference,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::KNOWN as METRICS;
    use super::*;

    #[test]
    fn a_name_tells_which_way_is_better() {
        for (monitor, expected) in [
            ("loss", Some(Direction::Down)),
            ("val_loss", Some(Direction::Down)),
            ("val_mse", Some(Direction::Down)),
            ("val_accuracy", Some(Direction::Up)),
            ("top_3_categorical_accuracy", Some(Direction::Up)),
            ("val_rank_ic", Some(Direction::Up)),
            ("confusion_matrix", None),
            ("seconds", None),
        ] {
            assert_eq!(Direction::of(monitor), expected, "{monitor}");
        }
        for (name, read) in METRICS.iter().filter(|(name, _)| *name != "confusion_matrix") {
            let metric = read(serde_json::Value::Object(serde_json::Map::new())).unwrap();
            assert!(Direction::of(&metric.name()).is_some(), "{name}");
        }
    }

    #[test]
    fn a_name_that_does_not_tell_needs_a_mode() {
        let error = Mode::Auto.direction("fit.early_stopping.mode", "val_luck").unwrap_err();
        assert_eq!(
            error.to_string(),
            "fit.early_stopping.mode is \"auto\"; the name \"val_luck\" does not tell which way is better; set it to \
             \"min\" or \"max\""
        );
        assert_eq!(Mode::Max.direction("", "val_luck").unwrap(), Direction::Up);
        assert_eq!(Mode::Min.direction("", "val_accuracy").unwrap(), Direction::Down);
        assert_eq!(
            serde_json::from_str::<Mode>("\"mim\"").unwrap_err().to_string(),
            "unknown mode \"mim\"; did you mean \"min\"? modes: auto, max, min"
        );
        assert_eq!(serde_json::to_string(&Mode::Min).unwrap(), "\"min\"");
    }
}
