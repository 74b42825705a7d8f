//! Processors as fitted: steps on each column alone, in f32, as the graph of a saved model takes them.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::NanPolicy;
use crate::{Error, Result};

/// A step on the columns of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum ColumnStep {
    /// A missing value becomes this one, one for each column.
    Fill {
        /// What it becomes.
        values: Vec<f32>,
    },
    /// (x - center) / scale.
    Scale {
        /// Taken from each column.
        center: Vec<f32>,
        /// What each column is divided by; never 0.
        scale: Vec<f32>,
    },
    /// What lies beyond +-limit becomes +-limit.
    Clip {
        /// The limit.
        limit: f32,
    },
    /// tanh(x - 1).
    Tanh,
}

impl ColumnStep {
    /// Of how many columns its parts are.
    pub fn sizes(&self) -> Vec<usize> {
        match self {
            Self::Fill { values } => vec![values.len()],
            Self::Scale { center, scale } => vec![center.len(), scale.len()],
            Self::Clip { .. } | Self::Tanh => Vec::new(),
        }
    }
}

/// Processors of every feature, as fitted; part of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Stored", try_from = "Stored")]
pub struct FittedProcessors {
    /// Missing values.
    pub nan_policy: NanPolicy,
    /// Features of a row.
    pub columns: usize,
    /// In order.
    pub steps: Vec<ColumnStep>,
    /// First and last day of the window they were fitted on.
    pub fit_window: (Date, Date),
    /// Rows they were fitted on.
    pub rows: usize,
}

/// As stored: what version 1 can say, fill, scale and clip, is stored as version 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Steps {
        version: Version<2>,
        nan_policy: NanPolicy,
        columns: usize,
        steps: Vec<ColumnStep>,
        fit_window: (Date, Date),
        rows: usize,
    },
    Usual {
        version: Version<1>,
        nan_policy: NanPolicy,
        fill: Vec<f32>,
        center: Vec<f32>,
        scale: Vec<f32>,
        clip: Option<f32>,
        fit_window: (Date, Date),
        rows: usize,
    },
}

/// A version number that is this one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
struct Version<const N: u32>;

impl<const N: u32> From<Version<N>> for u32 {
    fn from(_: Version<N>) -> Self {
        N
    }
}

impl<const N: u32> TryFrom<u32> for Version<N> {
    type Error = String;

    fn try_from(found: u32) -> Result<Self, String> {
        if found == N { Ok(Self) } else { Err(format!("processors are of version {found}")) }
    }
}

impl FittedProcessors {
    /// For rows of `times` parts that are all scaled alike.
    pub fn repeated(self, times: usize) -> Self {
        let repeat = |values: Vec<f32>| values.repeat(times);
        let step = |step| match step {
            ColumnStep::Fill { values } => ColumnStep::Fill { values: repeat(values) },
            ColumnStep::Scale { center, scale } => {
                ColumnStep::Scale { center: repeat(center), scale: repeat(scale) }
            }
            other => other,
        };
        Self { columns: self.columns * times, steps: self.steps.into_iter().map(step).collect(), ..self }
    }
}

impl From<FittedProcessors> for Stored {
    fn from(fitted: FittedProcessors) -> Self {
        let FittedProcessors { nan_policy, columns, steps, fit_window, rows } = fitted;
        let usual = |fill: &[f32], center: &[f32], scale: &[f32], clip| Self::Usual {
            version: Version,
            nan_policy,
            fill: fill.to_vec(),
            center: center.to_vec(),
            scale: scale.to_vec(),
            clip,
            fit_window,
            rows,
        };
        match &steps[..] {
            [ColumnStep::Fill { values }, ColumnStep::Scale { center, scale }] => {
                usual(values, center, scale, None)
            }
            [
                ColumnStep::Fill { values },
                ColumnStep::Scale { center, scale },
                ColumnStep::Clip { limit },
            ] => usual(values, center, scale, Some(*limit)),
            _ => Self::Steps { version: Version, nan_policy, columns, steps, fit_window, rows },
        }
    }
}

impl TryFrom<Stored> for FittedProcessors {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let fitted = match stored {
            Stored::Steps { nan_policy, columns, steps, fit_window, rows, .. } => {
                Self { nan_policy, columns, steps, fit_window, rows }
            }
            Stored::Usual { nan_policy, fill, center, scale, clip, fit_window, rows, .. } => {
                let columns = center.len();
                let mut steps = Vec::new();
                if nan_policy == NanPolicy::Fill {
                    steps.push(ColumnStep::Fill { values: fill });
                }
                steps.push(ColumnStep::Scale { center, scale });
                steps.extend(clip.map(|limit| ColumnStep::Clip { limit }));
                Self { nan_policy, columns, steps, fit_window, rows }
            }
        };
        fitted.check()?;
        Ok(fitted)
    }
}

impl FittedProcessors {
    /// Checks that all steps are of the same columns and can be taken.
    ///
    /// # Errors
    /// [`Error::Processor`] naming the column.
    pub fn check(&self) -> Result<()> {
        let columns = self.columns;
        for step in &self.steps {
            if let Some(size) = step.sizes().into_iter().find(|size| *size != columns) {
                return Err(Error::Processor(format!(
                    "processors do not fit together: a step of {size} columns among {columns}"
                )));
            }
            let bad = match step {
                ColumnStep::Fill { values } => values.iter().position(|value| !value.is_finite()),
                ColumnStep::Scale { center, scale } => {
                    let usable = |(center, scale): (&f32, &f32)| center.is_finite() && scale.is_normal();
                    center.iter().zip(scale).position(|pair| !usable(pair))
                }
                ColumnStep::Clip { limit } if !(limit.is_finite() && *limit > 0.0) => {
                    let message = "the clip of processors must be a finite number above 0";
                    return Err(Error::Processor(message.to_owned()));
                }
                ColumnStep::Clip { .. } | ColumnStep::Tanh => None,
            };
            if let Some(column) = bad {
                let message = format!("processor of feature {column} is not finite, or its scale is 0");
                return Err(Error::Processor(message));
            }
        }
        Ok(())
    }

    /// How many features a row has.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Processes rows in place, each step in f32 and in order, as the graph of a saved model does. With
    /// [`NanPolicy::Reject`] a missing value stays missing; rows that have one are refused before they come here.
    pub fn apply(&self, values: &mut [f32]) {
        for step in &self.steps {
            apply(step, values, self.columns);
        }
    }
}

/// Takes one step on rows of so many columns.
pub(super) fn apply(step: &ColumnStep, values: &mut [f32], columns: usize) {
    for row in values.chunks_mut(columns.max(1)) {
        match step {
            ColumnStep::Fill { values } => {
                for (value, fill) in row.iter_mut().zip(values) {
                    if value.is_nan() {
                        *value = *fill;
                    }
                }
            }
            ColumnStep::Scale { center, scale } => {
                for ((value, center), scale) in row.iter_mut().zip(center).zip(scale) {
                    *value = (*value - center) / scale;
                }
            }
            ColumnStep::Clip { limit } => {
                for value in row {
                    *value = value.clamp(-limit, *limit);
                }
            }
            ColumnStep::Tanh => {
                for value in row {
                    *value = (*value - 1.0).tanh();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::super::{Processor, ProcessorConfig};
    use super::*;

    fn window() -> (Date, Date) {
        (date(2000, 1, 3), date(2014, 12, 31))
    }

    #[test]
    fn what_is_stored_comes_back_bit_for_bit() {
        let values: Vec<f32> = (0..999u16).map(|i| (f32::from(i) * 0.37).sin() * 1e-3 + 0.1).collect();
        let fitted = ProcessorConfig::default().fit(&values, 3, window()).expect("it has values");
        let text = serde_json::to_string(&fitted).expect("it is plain data");
        assert_eq!(serde_json::from_str::<FittedProcessors>(&text).expect("own text"), fitted);
        let document: serde_json::Value = serde_json::to_value(&fitted).expect("it is plain data");
        assert_eq!(serde_json::from_value::<FittedProcessors>(document).expect("own document"), fitted);
    }

    #[test]
    fn a_stored_sample_of_version_1_loads() {
        let sample = r#"{"version":1,"nan_policy":"fill","fill":[0.5],"center":[0.25],"scale":[2.0],"clip":3.0,
            "fit_window":["2000-01-03","2014-12-31"],"rows":7}"#;
        let fitted: FittedProcessors = serde_json::from_str(sample).expect("version 1 loads for ever");
        assert_eq!(fitted.steps[0], ColumnStep::Fill { values: vec![0.5] });
        assert_eq!(fitted.steps[2], ColumnStep::Clip { limit: 3.0 });
        assert_eq!((fitted.columns, fitted.fit_window), (1, window()));
        let written = serde_json::to_value(&fitted).expect("it is plain data");
        assert_eq!(written["version"], 1, "what version 1 can say is written as such");
        let later = sample.replace("\"version\":1", "\"version\":3");
        assert!(serde_json::from_str::<FittedProcessors>(&later).is_err(), "version 3 is not known");
        let zero = sample.replace("2.0", "0.0");
        assert!(serde_json::from_str::<FittedProcessors>(&zero).is_err());
    }

    #[test]
    fn other_steps_are_stored_as_version_2() {
        let infer = vec![Processor::MinMaxNorm, Processor::TanhProcess, Processor::Fillna { value: 0.5 }];
        let config = ProcessorConfig { infer, ..ProcessorConfig::default() };
        let fitted = config.fit(&[1.0, 3.0, f32::NAN], 1, window()).expect("it has values");
        let document = serde_json::to_value(&fitted).expect("it is plain data");
        assert_eq!((&document["version"], &document["steps"][0]["step"]), (&2.into(), &"scale".into()));
        assert_eq!(serde_json::from_value::<FittedProcessors>(document).expect("own document"), fitted);
        let mut values = [1.0, f32::NAN];
        fitted.apply(&mut values);
        assert_eq!(values, [(-1f32).tanh(), 0.5]);
    }
}
