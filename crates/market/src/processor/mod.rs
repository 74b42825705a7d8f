//! Scaling of features by what the training window knew, fitted once and applied everywhere alike.
//!
//! A *processor* is a step of Qlib's list (`list`), or part of the usual three: fill, scale, clip. What looks at each
//! column alone is fitted here and becomes nodes of the model's graph; what looks across instruments becomes part of
//! the features' expressions, so that serving computes it as training did.

mod fitted;
mod list;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use fitted::{ColumnStep, FittedProcessors};
pub use list::{CrossMethod, Processor};

/// What is taken from a feature and what it is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// (x - median) / ((MAD + 1e-12) * 1.4826), MAD the median absolute deviation from the median.
    RobustZscore,
    /// (x - mean) / standard deviation with n.
    Zscore,
    /// x as it is.
    None,
}

/// What happens to a missing feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NanPolicy {
    /// It becomes the feature's median in the training window.
    Fill,
    /// The row is refused.
    Reject,
}

/// How features are scaled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessorConfig {
    /// Centre and scale.
    pub normalization: Normalization,
    /// Scaled values beyond +-clip become +-clip; `None` or infinite: no limit.
    pub clip: Option<f64>,
    /// Missing values.
    pub nan: NanPolicy,
    /// Qlib's processors, in order, instead of the three above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub infer: Vec<Processor>,
}

impl Default for ProcessorConfig {
    fn default() -> Self {
        Self {
            normalization: Normalization::RobustZscore,
            clip: Some(3.0),
            nan: NanPolicy::Fill,
            infer: Vec::new(),
        }
    }
}

impl ProcessorConfig {
    /// Fits to the raw features of the training window: row-major, `columns` wide.
    ///
    /// Statistics are taken in f64 over the values that are finite. A feature that never changes has nothing to scale:
    /// it becomes 0 by a score and stays as it is by `MinMaxNorm`. One that is the same in more than half of the rows
    /// has a MAD of 0 and, as in Qlib, a robust scale of 1.5e-12: what differs goes to the clip.
    ///
    /// # Errors
    /// [`Error::Processor`] without rows, for a feature without a finite value, for a missing value where
    /// those are rejected, for a clip that is not above 0, and for processors that cannot follow each other.
    pub fn fit(&self, values: &[f32], columns: usize, window: (Date, Date)) -> Result<FittedProcessors> {
        if columns == 0 || values.is_empty() || !values.len().is_multiple_of(columns) {
            let count = values.len();
            let message = format!("processors cannot be fitted to {count} values in rows of {columns}");
            return Err(Error::Processor(message));
        }
        let mut fitted = FittedProcessors {
            nan_policy: self.nan_policy()?,
            columns,
            steps: Vec::new(),
            fit_window: window,
            rows: values.len() / columns,
        };
        let missing = values.iter().position(|value| value.is_nan());
        if let (NanPolicy::Reject, Some(at)) = (fitted.nan_policy, missing) {
            return Err(Error::Processor(format!(
                "row {} of the training window lacks feature {}; set processors.nan = \"fill\", or leave the \
                 feature out",
                at / columns,
                at % columns
            )));
        }
        if self.infer.is_empty() {
            fitted.steps = self.usual(values, columns)?;
        } else {
            fitted.steps = list::fit(&self.infer, values, columns)?;
        }
        Ok(fitted)
    }

    /// What becomes of a missing feature.
    ///
    /// # Errors
    /// [`Error::Processor`] for processors that cannot follow each other.
    pub fn nan_policy(&self) -> Result<NanPolicy> {
        if self.infer.is_empty() { Ok(self.nan) } else { list::nan_policy(&self.infer) }
    }

    /// Whether a training row with a missing feature is left out rather than refused.
    pub fn drops_missing(&self) -> bool {
        self.infer.contains(&Processor::DropnaProcessor)
    }

    /// The features after the steps that choose columns or look across instruments: those are part of the expression.
    ///
    /// # Errors
    /// [`Error::Processor`] for a column that is not there, or if none is left.
    pub fn features(&self, named: Vec<(String, String)>) -> Result<Vec<(String, String)>> {
        list::features(&self.infer, named)
    }

    /// Checks the steps and that nothing contradicts them.
    ///
    /// # Errors
    /// [`Error::Processor`].
    pub fn check(&self) -> Result<()> {
        let usual = Self::default();
        let both = (self.normalization, self.clip, self.nan) != (usual.normalization, usual.clip, usual.nan);
        if !self.infer.is_empty() && both {
            let message = "processors.infer replaces normalization, clip and nan; give one or the other";
            return Err(Error::Processor(message.to_owned()));
        }
        checked_clip(self.clip)?;
        self.nan_policy().map(|_| ())
    }

    /// The steps in words.
    pub fn describe(&self) -> Vec<String> {
        if !self.infer.is_empty() {
            return self.infer.iter().map(Processor::describe).collect();
        }
        let mut words = vec![match self.nan {
            NanPolicy::Fill => "a missing value becomes the median of the training window".to_owned(),
            NanPolicy::Reject => "a missing value is refused".to_owned(),
        }];
        words.push(match self.normalization {
            Normalization::RobustZscore => {
                "robust z-score: (x - median) / (1.4826 x MAD), fitted on the training window only".to_owned()
            }
            Normalization::Zscore => {
                "z-score: (x - mean) / standard deviation, fitted on the training window only".to_owned()
            }
            Normalization::None => "not scaled".to_owned(),
        });
        words.extend(self.clip.map(|clip| format!("clipped at -{clip} and +{clip}")));
        words
    }

    /// Fill, scale, clip.
    fn usual(&self, values: &[f32], columns: usize) -> Result<Vec<ColumnStep>> {
        let clip = checked_clip(self.clip)?;
        let scalings = scalings(values, columns, |values| Scaling::of(values, self.normalization))?;
        let each = |part: fn(&Scaling) -> f64| scalings.iter().map(|scaling| part(scaling) as f32).collect();
        let mut steps = Vec::new();
        if self.nan == NanPolicy::Fill {
            steps.push(ColumnStep::Fill { values: each(|scaling| scaling.median) });
        }
        steps.push(ColumnStep::Scale { center: each(|s| s.center), scale: each(|s| s.scale) });
        steps.extend(clip.map(|limit| ColumnStep::Clip { limit }));
        Ok(steps)
    }
}

/// What each column says, by its finite values.
fn scalings(
    values: &[f32],
    columns: usize,
    of: impl Fn(&mut [f64]) -> Option<Scaling>,
) -> Result<Vec<Scaling>> {
    let mut own: Vec<f64> = Vec::with_capacity(values.len() / columns);
    (0..columns)
        .map(|column| {
            own.clear();
            let known = values[column..].iter().step_by(columns).filter(|value| value.is_finite());
            own.extend(known.map(|value| f64::from(*value)));
            of(&mut own).ok_or_else(|| {
                Error::Processor(format!(
                    "feature {column} has no value in the training window; leave it out"
                ))
            })
        })
        .collect()
}

fn checked_clip(clip: Option<f64>) -> Result<Option<f32>> {
    match clip {
        None => Ok(None),
        Some(clip) if clip == f64::INFINITY => Ok(None),
        Some(clip) if clip > 0.0 && (clip as f32).is_normal() => Ok(Some(clip as f32)),
        Some(clip) => Err(Error::Processor(format!("processors.clip must be above 0, got {clip}"))),
    }
}

struct Scaling {
    median: f64,
    center: f64,
    scale: f64,
}

impl Scaling {
    /// (x - min) / (max - min); a column that never changes stays as it is. `None` without a value.
    fn between(values: &mut [f64]) -> Option<Self> {
        let min = values.iter().copied().min_by(f64::total_cmp)?;
        let max = values.iter().copied().max_by(f64::total_cmp)?;
        if !((max - min) as f32).is_normal() {
            return Some(Self { median: min, center: 0.0, scale: 1.0 });
        }
        Some(Self { median: min, center: min, scale: max - min })
    }

    /// `None` without a value; reorders and overwrites the values.
    fn of(values: &mut [f64], normalization: Normalization) -> Option<Self> {
        let first = *values.first()?;
        let constant = values.iter().all(|value| *value == first);
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        let median = median(values);
        let (center, scale) = match normalization {
            Normalization::None => (0.0, 1.0),
            _ if constant => (first, 1.0),
            Normalization::Zscore => (mean, deviation),
            Normalization::RobustZscore => {
                for value in values.iter_mut() {
                    *value = (*value - median).abs();
                }
                (median, (self::median(values) + 1e-12) * 1.4826)
            }
        };
        // A spread too small for f32 to hold is no spread.
        let scale = if (scale as f32).is_normal() { scale } else { 1.0 };
        Some(Self { median, center, scale })
    }
}

/// Median of at least one value; the middle two are averaged.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    let odd = values.len() % 2 == 1;
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    if odd {
        return upper;
    }
    let lower = below.iter().copied().max_by(f64::total_cmp).unwrap_or(upper);
    lower + (upper - lower) / 2.0
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn window() -> (Date, Date) {
        (date(2000, 1, 3), date(2014, 12, 31))
    }

    fn fit(config: &ProcessorConfig, values: &[f32], columns: usize) -> Result<FittedProcessors> {
        config.fit(values, columns, window())
    }

    #[test]
    fn robust_scores_use_median_and_mad_of_known_values() {
        let values = [1.0, 2.0, 3.0, f32::NAN, 4.0, 100.0, f32::INFINITY];
        let fitted = fit(&ProcessorConfig::default(), &values, 1).expect("it has values");
        let [
            ColumnStep::Fill { values: fill },
            ColumnStep::Scale { center, scale },
            ColumnStep::Clip { limit },
        ] = &fitted.steps[..]
        else {
            panic!("fill, scale, clip: {fitted:?}")
        };
        assert_eq!((fill[0], center[0], *limit, fitted.rows), (3.0, 3.0, 3.0, 7));
        assert!((scale[0] - 1.4826).abs() < 1e-6);
        let mut scaled = [3.0, 4.4826, f32::NAN, 100.0, f32::NEG_INFINITY];
        fitted.apply(&mut scaled);
        assert_eq!([scaled[0], scaled[2], scaled[3], scaled[4]], [0.0, 0.0, 3.0, -3.0]);
        assert!((scaled[1] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn plain_scores_use_mean_and_deviation() {
        let config = ProcessorConfig {
            normalization: Normalization::Zscore,
            clip: None,
            ..ProcessorConfig::default()
        };
        let fitted = fit(&config, &[1.0, 10.0, 3.0, 30.0], 2).expect("it has values");
        assert_eq!(fitted.steps[1], ColumnStep::Scale { center: vec![2.0, 20.0], scale: vec![1.0, 10.0] });
        let mut far = [1e6, 0.0];
        fitted.apply(&mut far);
        assert_eq!(far, [999_998.0, -2.0]);
    }

    #[test]
    fn a_constant_feature_becomes_zero() {
        for normalization in [Normalization::RobustZscore, Normalization::Zscore] {
            let config = ProcessorConfig { normalization, ..ProcessorConfig::default() };
            let fitted = fit(&config, &[0.1; 9], 1).expect("it has values");
            let mut value = [0.1];
            fitted.apply(&mut value);
            assert_eq!(value, [0.0]);
        }
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let refusal = |config: &ProcessorConfig, values: &[f32]| {
            fit(config, values, 2).expect_err("it is refused").to_string()
        };
        let usual = ProcessorConfig::default();
        assert_eq!(
            refusal(&usual, &[1.0, f32::NAN]),
            "feature 1 has no value in the training window; leave it out"
        );
        assert_eq!(refusal(&usual, &[]), "processors cannot be fitted to 0 values in rows of 2");
        let reject = ProcessorConfig { nan: NanPolicy::Reject, ..usual.clone() };
        assert!(
            refusal(&reject, &[1.0, 2.0, 3.0, f32::NAN]).starts_with("row 1 of the training window lacks")
        );
        let flat = ProcessorConfig { clip: Some(0.0), ..usual };
        assert_eq!(refusal(&flat, &[1.0, 2.0]), "processors.clip must be above 0, got 0");
    }
}
