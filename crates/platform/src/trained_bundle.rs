//! A trained network on its way to disk: what every bundle has, whatever its rows were, and the proof that the engine
//! answers as the network did. What its features, data and figures are is said by `train` and `table`.

use std::collections::BTreeMap;

use artifact::bundle::{
    self, Bundle, BundleParts, FeatureContract, Golden, GoldenRow, Manifest, NamedExpression, ObservedColumn,
    Version,
};
use artifact::format;
use market::{FittedProcessors, NanPolicy};
use serde::Serialize;
use serde_json::Value;
use training::Trained;

use crate::train::TrainOptions;
use crate::{Error, Result};

/// Who writes bundles.
pub(crate) const CREATED_BY: &str = concat!("bellwether ", env!("CARGO_PKG_VERSION"));

/// What the checks of a trained model say, beside it in the bundle; `bundle.json` has its SHA-256.
const LEAK_CERTIFICATE: &str = "leak-certificate.json";

/// A trained network and everything its bundle says of it.
pub(crate) struct TrainedBundle<'a> {
    pub(crate) trained: &'a Trained,
    pub(crate) processors: &'a FittedProcessors,
    /// The pipeline's name and text.
    pub(crate) name: &'a str,
    pub(crate) pipeline: &'a str,
    pub(crate) created_at: &'a str,
    pub(crate) seed: u64,
    /// Names of the columns, and how each is computed, if that is known.
    pub(crate) features: Vec<String>,
    pub(crate) expressions: Vec<(String, String)>,
    pub(crate) lookback_bars: usize,
    /// What the training rows held of each column, if that was looked at.
    pub(crate) observed: Vec<ObservedColumn>,
    pub(crate) label: Value,
    pub(crate) dataset: Value,
    pub(crate) splits: Value,
    pub(crate) metrics: Value,
    /// The leak certificate, as a document.
    pub(crate) certificate: Vec<u8>,
    /// Raw rows to be replayed, and where each comes from, if that is known.
    pub(crate) golden_inputs: Vec<Vec<f32>>,
    pub(crate) golden_rows: Vec<GoldenRow>,
}

impl TrainedBundle<'_> {
    /// Writes the bundle, manifest last, opens it again and replays its golden rows; the SHA-256 of its manifest.
    pub(crate) fn write(self, options: &TrainOptions<'_>) -> Result<String> {
        let graph = self.trained.graph(self.processors)?;
        let mut files = format::write_all(&graph)?;
        let golden = self.golden();
        let signature = graph.signature();
        let named = |(name, expression)| NamedExpression { name, expression };
        let units: BTreeMap<&str, &str> = self.expressions.iter().filter_map(unit_of).collect();
        let with_unit = |column: ObservedColumn| ObservedColumn {
            unit: units.get(column.name.as_str()).map(|unit| (*unit).to_owned()),
            ..column
        };
        let observed = self.observed.into_iter().map(with_unit).collect();
        let manifest = Manifest {
            version: Version::V1,
            created_by: CREATED_BY.to_owned(),
            created_at: self.created_at.to_owned(),
            model: self.name.to_owned(),
            files: BTreeMap::new(),
            formats: format::names(),
            tensor_names: format::tensor_names(&signature),
            signature,
            features: FeatureContract {
                names: self.features,
                expressions: self.expressions.into_iter().map(named).collect(),
                lookback_bars: self.lookback_bars,
                nan_policy: match self.processors.nan_policy {
                    NanPolicy::Fill => bundle::NanPolicy::Fill,
                    NanPolicy::Reject => bundle::NanPolicy::Reject,
                },
                observed,
            },
            processors: document("the processors", self.processors)?,
            label: self.label,
            dataset: self.dataset,
            splits: self.splits,
            seed: self.seed,
            metrics: self.metrics,
            golden,
            pipeline: self.pipeline.to_owned(),
            cpu: options.fit.computed_on(),
            origin: None,
        };
        files.push((LEAK_CERTIFICATE.to_owned(), self.certificate));
        bundle::write_directory(options.out, BundleParts { manifest, files })?;
        let written = Bundle::open(options.out)?;
        let model = written.load(1)?;
        written.verify_golden(model.as_ref())?;
        Ok(written.digest.clone())
    }

    /// The golden rows with what the network gives for each.
    fn golden(&self) -> Golden {
        let output = |input: &Vec<f32>| {
            let mut processed = input.clone();
            self.processors.apply(&mut processed);
            self.trained.predict(&processed).concat()
        };
        Golden {
            outputs: self.golden_inputs.iter().map(output).collect(),
            inputs: self.golden_inputs.clone(),
            rows: self.golden_rows.clone(),
            call: None,
        }
    }
}

/// The unit of a column that is a field of a bar as it is; what is computed of fields has none that is known.
fn unit_of((name, expression): &(String, String)) -> Option<(&str, &'static str)> {
    let unit = match expression.trim() {
        "$open" | "$high" | "$low" | "$close" | "$vwap" => "price",
        "$volume" => "shares",
        _ => return None,
    };
    Some((name, unit))
}

/// A part of the manifest; `what` names it in the error.
pub(crate) fn document(what: &str, value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value)
        .map_err(|error| Error::internal(format!("cannot write {what} into the bundle"), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_alone_have_units() {
        let unit = |expression: &str| unit_of(&("x".to_owned(), expression.to_owned())).map(|(_, unit)| unit);
        assert_eq!(
            [unit("$close"), unit(" $volume"), unit("$close/$open")],
            [Some("price"), Some("shares"), None]
        );
    }
}
