//! What `bundle.json` holds.

use std::collections::BTreeMap;

use predictor::Signature;
use serde::{Deserialize, Serialize};

use super::RecordedCall;
use crate::Error;
use crate::engine::EngineKind;

/// The version of the manifest's layout. A new layout is a new variant; old ones stay readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// Of a model that was trained here.
    #[serde(rename = "1")]
    V1,
    /// Of a model that was imported: it says from what, and its golden sample is a call of any signature.
    #[serde(rename = "2")]
    V2,
}

/// The manifest of a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The layout.
    pub version: Version,
    /// Program and version that wrote it.
    pub created_by: String,
    /// When, as RFC 3339.
    pub created_at: String,
    /// The model id the writer suggests.
    pub model: String,
    /// Every file of the bundle but the manifest, by path with `/`.
    pub files: BTreeMap<String, FileEntry>,
    /// The formats in the bundle: `saved_model`, `onnx`.
    pub formats: Vec<String>,
    /// What the model takes and gives.
    pub signature: Signature,
    /// What each format calls these tensors.
    pub tensor_names: TensorNames,
    /// How the inputs are computed from market data.
    pub features: FeatureContract,
    /// The fitted processors, as `market` writes them. They are nodes of the graph already.
    pub processors: serde_json::Value,
    /// The label the model was trained on.
    pub label: serde_json::Value,
    /// Name, snapshot, digest and span of the data.
    pub dataset: serde_json::Value,
    /// Train, validation and test windows.
    pub splits: serde_json::Value,
    /// The seed of the training run.
    pub seed: u64,
    /// What was measured on the test window.
    pub metrics: serde_json::Value,
    /// Inputs with the outputs the model must give.
    pub golden: Golden,
    /// What an imported model comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The text of the pipeline file.
    pub pipeline: String,
    /// The model of the CPU it was trained on, after `gpu:N beside` if a graphics card computed: the same pipeline and data give the same bytes on the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
}

/// What an imported model comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The format: `saved_model`, `onnx`, `keras`.
    pub format: String,
    /// Which of the source's signatures it is, where it has names for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Numbers of all weights together.
    pub parameters: u64,
    /// Bytes of memory that it took to load it and run it once, at least those of its weights; bundles made before this was measured
    /// say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The engine it runs on, which answered the golden sample: another one could answer otherwise.
    pub engine: EngineKind,
    /// The inputs that take random numbers: where a caller gives none, they are drawn from these seeds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samplers: Vec<crate::import::Sampler>,
    /// What a user should know of the import.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Size and digest of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// SHA-256 in lower-case hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// The names of the signature's tensors in each format.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorNames {
    /// In the SavedModel's signature `serving_default`.
    pub saved_model: FormatTensorNames,
    /// In `model.onnx`.
    pub onnx: FormatTensorNames,
}

/// Signature name to tensor name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormatTensorNames {
    /// Inputs.
    pub inputs: BTreeMap<String, String>,
    /// Outputs.
    pub outputs: BTreeMap<String, String>,
}

/// How the model's inputs are computed: one column a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureContract {
    /// Column names, in the model's order.
    pub names: Vec<String>,
    /// The expression of each column, in the same order.
    pub expressions: Vec<NamedExpression>,
    /// Bars of history a row needs.
    pub lookback_bars: usize,
    /// What becomes of a missing value.
    pub nan_policy: NanPolicy,
    /// What the training rows held of each column, in the same order; empty if that was not looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<ObservedColumn>,
}

/// What the training rows held of a column, before any processor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedColumn {
    /// Column name.
    pub name: String,
    /// The unit of its values, where one is known: `price`, `shares`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The smallest finite value; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f32>,
    /// The largest finite value; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f32>,
    /// How many rows had no finite value.
    pub missing: u64,
}

impl ObservedColumn {
    /// Looks at rows of these columns, row by row in `values`; none if the values are no whole rows.
    pub fn of_rows(names: &[String], values: &[f32]) -> Vec<Self> {
        if names.is_empty() || values.is_empty() || !values.len().is_multiple_of(names.len()) {
            return Vec::new();
        }
        let nothing =
            |name: &String| Self { name: name.clone(), unit: None, min: None, max: None, missing: 0 };
        let mut columns: Vec<Self> = names.iter().map(nothing).collect();
        for row in values.chunks_exact(names.len()) {
            for (column, value) in columns.iter_mut().zip(row) {
                if value.is_finite() {
                    column.min = Some(column.min.map_or(*value, |least| least.min(*value)));
                    column.max = Some(column.max.map_or(*value, |most| most.max(*value)));
                } else {
                    column.missing += 1;
                }
            }
        }
        columns
    }
}

/// A feature and how it is computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedExpression {
    /// Column name.
    pub name: String,
    /// Qlib-style expression.
    pub expression: String,
}

/// What becomes of a missing value in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NanPolicy {
    /// The graph fills it.
    Fill,
    /// The request is refused.
    Reject,
}

/// A recorded call. A missing (NaN) input is `null`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    /// Rows of raw features.
    #[serde(with = "rows_with_nulls")]
    pub inputs: Vec<Vec<f32>>,
    /// The model's answer to each row.
    #[serde(with = "rows_with_nulls")]
    pub outputs: Vec<Vec<f32>>,
    /// Where each row comes from; empty if they are synthetic.
    pub rows: Vec<GoldenRow>,
    /// The call of an imported model; rows are empty then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<RecordedCall>,
}

/// Where a golden row comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoldenRow {
    /// The date of the bar, `YYYY-MM-DD`.
    pub date: String,
    /// The instrument.
    pub symbol: String,
}

impl Manifest {
    /// Reads a manifest of any known version.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`], or [`Error::Manifest`] with line and column.
    pub fn from_json(text: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Tag {
            version: String,
        }
        let invalid = |error: serde_json::Error| Error::Manifest { reason: error.to_string() };
        let tag: Tag = serde_json::from_slice(text).map_err(invalid)?;
        if !["1", "2"].contains(&tag.version.as_str()) {
            return Err(Error::UnknownVersion { found: tag.version });
        }
        serde_json::from_slice(text).map_err(invalid)
    }

    /// The bytes of `bundle.json`. Every `f32` reads back bit for bit, NaN as some NaN.
    ///
    /// # Errors
    /// [`Error::Manifest`] if an opaque document cannot be written.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|error| Error::Manifest { reason: error.to_string() })
    }
}

/// Rows of `f32`, with `null` for NaN.
mod rows_with_nulls {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(rows: &[Vec<f32>], serializer: S) -> Result<S::Ok, S::Error> {
        let nullable = |x: &f32| (!x.is_nan()).then_some(*x);
        serializer.collect_seq(rows.iter().map(|row| row.iter().map(nullable).collect::<Vec<_>>()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<f32>>, D::Error> {
        let rows = Vec::<Vec<Option<f32>>>::deserialize(deserializer)?;
        Ok(rows.into_iter().map(|row| row.into_iter().map(|x| x.unwrap_or(f32::NAN)).collect()).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_told_apart_before_the_rest_is_read() {
        let error = Manifest::from_json(br#"{"version": "7", "anything": 1}"#).unwrap_err();
        assert!(matches!(&error, Error::UnknownVersion { found } if found == "7"), "{error}");
        for broken in ["", "[]", "{}", r#"{"version": "1"}"#, r#"{"version": 1}"#] {
            let error = Manifest::from_json(broken.as_bytes()).unwrap_err();
            assert!(matches!(error, Error::Manifest { .. }), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn golden_floats_round_trip_bit_for_bit(bits: Vec<u32>) {
            let row: Vec<f32> = bits.into_iter().map(f32::from_bits).filter(|x| !x.is_infinite()).collect();
            let golden = Golden { inputs: vec![row.clone()], ..Golden::default() };
            let text = serde_json::to_string(&golden).unwrap();
            let back: Golden = serde_json::from_str(&text).unwrap();
            for (before, after) in row.iter().zip(&back.inputs[0]) {
                prop_assert!(before.to_bits() == after.to_bits() || before.is_nan() && after.is_nan());
            }
            prop_assert_eq!(row.len(), back.inputs[0].len());
        }
    }
}
