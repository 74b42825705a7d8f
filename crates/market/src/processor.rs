//! Scaling of features by what the training window knew, fitted once and applied everywhere alike.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The version of [`FittedProcessors`] as stored.
const VERSION: u32 = 1;

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
}

impl Default for ProcessorConfig {
    fn default() -> Self {
        Self { normalization: Normalization::RobustZscore, clip: Some(3.0), nan: NanPolicy::Fill }
    }
}

/// Scaling parameters of every feature, as fitted; part of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Stored", try_from = "Stored")]
pub struct FittedProcessors {
    /// Missing values.
    pub nan_policy: NanPolicy,
    /// What a missing value of each feature becomes.
    pub fill: Vec<f32>,
    /// Taken from each feature.
    pub center: Vec<f32>,
    /// What each feature is divided by afterwards; never 0.
    pub scale: Vec<f32>,
    /// Limit of the scaled values.
    pub clip: Option<f32>,
    /// First and last day of the window they were fitted on.
    pub fit_window: (Date, Date),
    /// Rows they were fitted on.
    pub rows: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    version: u32,
    nan_policy: NanPolicy,
    fill: Vec<f32>,
    center: Vec<f32>,
    scale: Vec<f32>,
    clip: Option<f32>,
    fit_window: (Date, Date),
    rows: usize,
}

impl From<FittedProcessors> for Stored {
    fn from(fitted: FittedProcessors) -> Self {
        let FittedProcessors { nan_policy, fill, center, scale, clip, fit_window, rows } = fitted;
        Self { version: VERSION, nan_policy, fill, center, scale, clip, fit_window, rows }
    }
}

impl TryFrom<Stored> for FittedProcessors {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let Stored { version, nan_policy, fill, center, scale, clip, fit_window, rows } = stored;
        if version != VERSION {
            let message = format!("processors are of version {version}; this build reads version {VERSION}");
            return Err(Error::Processor(message));
        }
        let columns = center.len();
        if fill.len() != columns || scale.len() != columns {
            let message = format!(
                "processors do not fit together: {} fill, {columns} center and {} scale values",
                fill.len(),
                scale.len()
            );
            return Err(Error::Processor(message));
        }
        let usable = |column: usize| {
            fill[column].is_finite() && center[column].is_finite() && scale[column].is_normal()
        };
        if let Some(column) = (0..columns).find(|column| !usable(*column)) {
            let message = format!("processor of feature {column} is not finite, or its scale is 0");
            return Err(Error::Processor(message));
        }
        if clip.is_some_and(|clip| !(clip.is_finite() && clip > 0.0)) {
            return Err(Error::Processor(
                "the clip of processors must be a finite number above 0".to_owned(),
            ));
        }
        Ok(Self { nan_policy, fill, center, scale, clip, fit_window, rows })
    }
}

impl FittedProcessors {
    /// Fits processors to the raw features of the training window: row-major, `columns` wide.
    ///
    /// Statistics are taken in f64 over the values that are finite. A feature that never changes has nothing
    /// to scale: its scale is 1, so that it becomes 0. One that is the same in more than half of the rows has
    /// a MAD of 0 and, as in Qlib, a robust scale of 1.5e-12: what differs goes to the clip.
    ///
    /// # Errors
    /// [`Error::Processor`] without rows, for a feature without a finite value, for a missing value where
    /// those are rejected, and for a clip that is not above 0.
    pub fn fit(
        config: &ProcessorConfig,
        values: &[f32],
        columns: usize,
        window: (Date, Date),
    ) -> Result<Self> {
        if columns == 0 || values.is_empty() || !values.len().is_multiple_of(columns) {
            let count = values.len();
            let message = format!("processors cannot be fitted to {count} values in rows of {columns}");
            return Err(Error::Processor(message));
        }
        let clip = checked_clip(config.clip)?;
        let missing = values.iter().position(|value| value.is_nan());
        if let (NanPolicy::Reject, Some(at)) = (config.nan, missing) {
            return Err(Error::Processor(format!(
                "row {} of the training window lacks feature {}; set processors.nan = \"fill\", or leave the \
                 feature out",
                at / columns,
                at % columns
            )));
        }
        let mut fitted = Self {
            nan_policy: config.nan,
            fill: Vec::with_capacity(columns),
            center: Vec::with_capacity(columns),
            scale: Vec::with_capacity(columns),
            clip,
            fit_window: window,
            rows: values.len() / columns,
        };
        let mut column_values: Vec<f64> = Vec::with_capacity(fitted.rows);
        for column in 0..columns {
            column_values.clear();
            let known = values[column..].iter().step_by(columns).filter(|value| value.is_finite());
            column_values.extend(known.map(|value| f64::from(*value)));
            let Some(scaling) = Scaling::of(&mut column_values, config.normalization) else {
                let message = format!("feature {column} has no value in the training window; leave it out");
                return Err(Error::Processor(message));
            };
            fitted.fill.push(scaling.median as f32);
            fitted.center.push(scaling.center as f32);
            fitted.scale.push(scaling.scale as f32);
        }
        Ok(fitted)
    }

    /// How many features a row has.
    pub fn columns(&self) -> usize {
        self.center.len()
    }

    /// Scales rows in place: fill, subtract, divide, clamp, each in f32 and in this order, as the graph of a
    /// saved model does. With [`NanPolicy::Reject`] a missing value stays missing; rows that have one are
    /// refused before they come here.
    pub fn apply(&self, values: &mut [f32]) {
        for row in values.chunks_mut(self.columns().max(1)) {
            for (column, value) in row.iter_mut().enumerate() {
                let known = match self.nan_policy {
                    NanPolicy::Fill if value.is_nan() => self.fill[column],
                    _ => *value,
                };
                let scaled = (known - self.center[column]) / self.scale[column];
                *value = match self.clip {
                    Some(clip) => scaled.clamp(-clip, clip),
                    None => scaled,
                };
            }
        }
    }
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
        FittedProcessors::fit(config, values, columns, window())
    }

    #[test]
    fn robust_scores_use_median_and_mad_of_known_values() {
        let values = [1.0, 2.0, 3.0, f32::NAN, 4.0, 100.0, f32::INFINITY];
        let fitted = fit(&ProcessorConfig::default(), &values, 1).expect("it has values");
        assert_eq!((fitted.fill[0], fitted.center[0], fitted.rows), (3.0, 3.0, 7));
        assert!((fitted.scale[0] - 1.4826).abs() < 1e-6);
        let mut scaled = [3.0, 4.4826, f32::NAN, 100.0, f32::NEG_INFINITY];
        fitted.apply(&mut scaled);
        assert_eq!([scaled[0], scaled[2], scaled[3], scaled[4]], [0.0, 0.0, 3.0, -3.0]);
        assert!((scaled[1] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn plain_scores_use_mean_and_deviation() {
        let config =
            ProcessorConfig { normalization: Normalization::Zscore, clip: None, nan: NanPolicy::Fill };
        let fitted = fit(&config, &[1.0, 10.0, 3.0, 30.0], 2).expect("it has values");
        assert_eq!((&fitted.center[..], &fitted.scale[..]), (&[2.0, 20.0][..], &[1.0, 10.0][..]));
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
            assert_eq!((fitted.scale[0], value), (1.0, [0.0]));
        }
    }

    #[test]
    fn what_is_stored_comes_back_bit_for_bit() {
        let values: Vec<f32> = (0..999u16).map(|i| (f32::from(i) * 0.37).sin() * 1e-3 + 0.1).collect();
        let fitted = fit(&ProcessorConfig::default(), &values, 3).expect("it has values");
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
        assert_eq!((fitted.fill[0], fitted.clip, fitted.fit_window), (0.5, Some(3.0), window()));
        let later = sample.replace("\"version\":1", "\"version\":2");
        let error = serde_json::from_str::<FittedProcessors>(&later).expect_err("version 2 is not known");
        assert!(error.to_string().starts_with("processors are of version 2; this build reads version 1"));
        let zero = sample.replace("2.0", "0.0");
        assert!(serde_json::from_str::<FittedProcessors>(&zero).is_err());
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
