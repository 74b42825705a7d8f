//! The static part of the leak certificate, over a pipeline and its data set.

use std::path::Path;

use market::certificate::{Certificate, Subject, certify, fields_beside, unchecked_features};
use market::dataset::Adjustment;
use market::{FeatureMatrix, FeatureSet, Fold, Labels, Panel, RowRange, Universe, compute, folds, label};
use serde::Serialize;

use crate::dataset::LoadedDataset;
use crate::pipeline::{Pipeline, UniverseChoice};
use crate::prepare::fit_processors;
use crate::{Platform, Result};

/// Fields that are prices and volumes as they were traded.
const TRADED: [&str; 8] = ["open", "high", "low", "close", "vwap", "volume", "trades", "factor"];

/// A certificate, and what it is about.
#[derive(Debug, Clone, Serialize)]
pub struct Certified {
    /// The pipeline.
    pub pipeline: String,
    /// The data set.
    pub dataset: String,
    /// Its snapshot.
    pub snapshot: u32,
    /// SHA-256 of the snapshot.
    pub dataset_digest: String,
    /// SHA-256 of the certificate.
    pub digest: String,
    /// Whether nothing was found.
    pub passed: bool,
    /// The checks.
    #[serde(flatten)]
    pub certificate: Certificate,
}

impl Platform {
    /// Checks that nothing in a pipeline looks ahead: features, labels, universe, windows and fits are asked again
    /// with the future cut off or changed. Expressions that look ahead are not refused here but named.
    ///
    /// # Errors
    /// What data, features, label or split refuse for other reasons.
    pub async fn certify(&self, pipeline: &Pipeline, base_dir: &Path) -> Result<Certified> {
        let dataset = self.pipeline_dataset(pipeline, base_dir).await?;
        let certificate = tokio::task::block_in_place(|| certificate(pipeline, &dataset))?;
        Ok(Certified {
            pipeline: pipeline.name().to_owned(),
            dataset: dataset.snapshot.name.clone(),
            snapshot: dataset.snapshot.number,
            dataset_digest: dataset.snapshot.digest.clone(),
            digest: certificate.digest(),
            passed: certificate.passed(),
            certificate,
        })
    }
}

/// The certificate of a pipeline over its data.
pub(crate) fn certificate(pipeline: &Pipeline, dataset: &LoadedDataset) -> Result<Certificate> {
    let (features, _) = pipeline.named_features(&dataset.panel)?;
    // A set that looks ahead is computed without the check that refuses it.
    let set = match FeatureSet::new(features.clone()) {
        Ok(set) => Some(set),
        Err(error) => {
            tracing::debug!(%error, "certifying expressions that are refused elsewhere");
            None
        }
    };
    Ok(certify(&PipelineSubject { pipeline, dataset, features, set })?)
}

struct PipelineSubject<'a> {
    pipeline: &'a Pipeline,
    dataset: &'a LoadedDataset,
    features: Vec<(String, String)>,
    set: Option<FeatureSet>,
}

impl Subject for PipelineSubject<'_> {
    fn panel(&self) -> &Panel {
        &self.dataset.panel
    }

    fn known_at(&self, time: usize) -> market::Result<Panel> {
        let moment = self.dataset.snapshot.timing.known_time(self.panel().times()[time]);
        let (panel, known) = self.dataset.known_at(moment)?;
        Ok(panel.prefix(known))
    }

    fn feature_names(&self) -> Vec<String> {
        self.features.iter().map(|(name, _)| name.clone()).collect()
    }

    fn features(&self, panel: &Panel) -> market::Result<Vec<Vec<f32>>> {
        let universe = self.universe(panel)?;
        let Some(set) = &self.set else {
            return unchecked_features(panel, &universe, &self.features);
        };
        let width = panel.instruments().len();
        let rows = RowRange { dates: 0..panel.times().len(), universe };
        let matrix = compute(panel, set, &rows)?;
        let mut columns = vec![vec![f32::NAN; panel.times().len() * width]; matrix.columns];
        for (key, values) in matrix.rows.iter().zip(matrix.values.chunks(matrix.columns.max(1))) {
            for (column, value) in columns.iter_mut().zip(values) {
                column[key.date * width + key.instrument] = *value;
            }
        }
        Ok(columns)
    }

    fn foreign_fields(&self) -> Vec<(String, Vec<String>)> {
        let imported = &self.dataset.snapshot.fields;
        // What is in the panel but not in the bars comes from tables, by publication time.
        let from_tables = self
            .panel()
            .field_names()
            .into_iter()
            .filter(|field| !imported.iter().any(|known| known == field));
        let known: Vec<&str> = from_tables.chain(TRADED).collect();
        fields_beside(&known, &self.features).unwrap_or_default()
    }

    fn universe(&self, panel: &Panel) -> market::Result<Universe> {
        let benchmark = self.pipeline.data.benchmark.as_deref();
        let symbols = panel.instruments().iter().enumerate();
        Ok(match &self.pipeline.data.universe {
            Some(UniverseChoice::Named(name)) => Universe::clone(panel.universe(name)?),
            Some(UniverseChoice::Symbols(chosen)) => Universe::fixed(
                symbols.filter(|(_, symbol)| chosen.contains(symbol)).map(|(at, _)| at).collect(),
            ),
            None => Universe::fixed(
                symbols.filter(|(_, symbol)| Some(symbol.as_str()) != benchmark).map(|(at, _)| at).collect(),
            ),
        })
    }

    fn labels(&self, panel: &Panel) -> market::Result<Labels> {
        label(panel, &self.universe(panel)?, &self.pipeline.label)
    }

    fn returns(&self, panel: &Panel) -> market::Result<Vec<f64>> {
        Ok(label(panel, &self.universe(panel)?, &self.pipeline.label.return_alone())?.returns)
    }

    fn folds(&self, labels: &Labels) -> market::Result<Vec<Fold>> {
        folds(self.panel().dates(), &self.pipeline.split, &labels.ends)
    }

    fn fitted(&self, rows: &FeatureMatrix, fold: &Fold) -> market::Result<String> {
        let train: Vec<f32> = rows
            .rows
            .iter()
            .zip(rows.values.chunks(rows.columns.max(1)))
            .filter(|(key, _)| fold.train.binary_search(&key.date).is_ok())
            .filter(|(_, values)| {
                !(self.pipeline.processors.drops_missing() && values.iter().any(|value| value.is_nan()))
            })
            .flat_map(|(_, values)| values.iter().copied())
            .collect();
        let fitted = fit_processors(self.panel(), self.pipeline, fold, &train, rows.columns)?;
        serde_json::to_string(&fitted).map_err(|error| market::Error::Processor(error.to_string()))
    }

    fn adjustment(&self) -> Adjustment {
        self.dataset.snapshot.adjustment
    }
}
