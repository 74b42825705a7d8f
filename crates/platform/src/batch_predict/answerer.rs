//! Who answers a stretch of rows: a version loaded into this process, by the engine and the kernels that answer one row.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use artifact::bundle::{Bundle, Manifest, NanPolicy};
use jiff::civil::Date;
use market::FeatureSet;
use market::row_file::SymbolRow;
use predictor::Tensor;
use serving::{Limits, LoadSpec, Resources};

use super::{BatchModel, SymbolAnswers};
use crate::dataset::LoadedDataset;
use crate::deployed::{engine_of, feature_set};
use crate::predict::{Known, features_of_symbol};
use crate::{Error, Kind, Platform, Result};

/// Days whose knowledge is kept at hand.
const DAYS_MAX: usize = 64;
/// The budget on a machine that does not say how much memory it has.
const UNKNOWN_MEMORY_GB: f64 = 1e6;

/// Answers rows. Called from several threads at once; a call may block.
pub trait Answerer: Send + Sync {
    /// The model that answers, always the same.
    fn model(&self) -> &BatchModel;

    /// The outputs for `[rows, width]` numbers, in the order of the signature.
    ///
    /// # Errors
    /// Whatever keeps it from answering: the run ends with it.
    fn answer(&self, rows: usize, values: Vec<f32>) -> Result<Vec<Tensor>>;

    /// The features of an instrument.
    ///
    /// # Errors
    /// What is wrong with this row; the run goes on.
    fn features(&self, row: &SymbolRow) -> Result<Vec<f32>>;

    /// Whether it answers rows by symbol by [`Answerer::answer_symbols`], and does not tell their features.
    fn answers_symbols(&self) -> bool {
        false
    }

    /// The outputs for instruments.
    ///
    /// # Errors
    /// Whatever keeps it from answering: the run ends with it. What is wrong with single rows is in the answers.
    fn answer_symbols(&self, rows: &[SymbolRow]) -> Result<SymbolAnswers> {
        let message = format!("{} rows by symbol are to be answered by their features", rows.len());
        Err(Error::new(Kind::Internal, message))
    }
}

/// A version in this process.
pub struct LocalAnswerer {
    model: BatchModel,
    manifest: Manifest,
    engine: serving::Deployment,
    runtime: tokio::runtime::Handle,
    symbols: Option<Symbols>,
}

impl std::fmt::Debug for LocalAnswerer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LocalAnswerer").field(&self.model).finish()
    }
}

/// What features of a symbol are computed from.
struct Symbols {
    set: FeatureSet,
    dataset: LoadedDataset,
    known: Mutex<HashMap<Option<Date>, Arc<Known>>>,
}

impl Symbols {
    fn known(&self, as_of: Option<Date>) -> Result<Arc<Known>> {
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&as_of) {
            return Ok(Arc::clone(known));
        }
        let known = Arc::new(Known::on(&self.dataset, as_of)?);
        let mut days = lock();
        if days.len() >= DAYS_MAX {
            days.clear();
        }
        days.insert(as_of, Arc::clone(&known));
        Ok(known)
    }
}

impl Answerer for LocalAnswerer {
    fn model(&self) -> &BatchModel {
        &self.model
    }

    fn answer(&self, rows: usize, values: Vec<f32>) -> Result<Vec<Tensor>> {
        let input = Tensor::float32(vec![rows, values.len() / rows.max(1)], values)
            .map_err(|error| Error::internal("cannot lay out the features", error))?;
        Ok(self.runtime.block_on(self.engine.predict(vec![input], None))?.outputs)
    }

    fn features(&self, row: &SymbolRow) -> Result<Vec<f32>> {
        let Some(symbols) = &self.symbols else {
            return Err(Error::new(
                Kind::FailedPrecondition,
                "the model does not compute features of a symbol",
            ));
        };
        let known = symbols.known(row.as_of)?;
        features_of_symbol((&self.manifest, &symbols.set), &symbols.dataset, &known, &row.symbol)
    }
}

impl Platform {
    /// Loads a version, `MODEL`, `MODEL@VERSION` or `MODEL@ALIAS`, to answer files of rows.
    ///
    /// # Errors
    /// As [`Platform::deploy`]; [`Kind::NotFound`] for a version that is not there.
    pub async fn load_for_batch(
        &self,
        project: &str,
        reference: &str,
        engine: Option<&str>,
        threads: usize,
    ) -> Result<LocalAnswerer> {
        let version = self.get_model(project, reference).await?;
        let bundle = self.open_version(&version).await?;
        self.batch_answerer(bundle, (version.model, version.version), engine, threads).await
    }

    /// The same with the version that an endpoint's traffic goes to.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`] if that is none, or several: one file is answered by one version.
    pub async fn load_endpoint_for_batch(
        &self,
        project: &str,
        endpoint: &str,
        threads: usize,
    ) -> Result<LocalAnswerer> {
        let endpoint = self.get_endpoint(project, endpoint).await?;
        let share = |id: &str| endpoint.traffic_split.get(id).copied().unwrap_or_default();
        let mut serving: Vec<_> = endpoint.deployments.iter().filter(|one| share(&one.id) > 0).collect();
        serving.dedup_by_key(|one| (one.model.clone(), one.version, one.engine.clone()));
        let [deployment] = serving.as_slice() else {
            let names: Vec<String> =
                serving.iter().map(|one| format!("{}@{}", one.model, one.version)).collect();
            return Err(one_version(&endpoint.id, &names));
        };
        let reference = format!("{}@{}", deployment.model, deployment.version);
        self.load_for_batch(project, &reference, deployment.engine.as_deref(), threads).await
    }

    /// The same from the directory of a bundle that is a registered version, as a job has it.
    ///
    /// # Errors
    /// As [`Platform::load_for_batch`].
    pub async fn load_bundle_for_batch(
        &self,
        directory: &Path,
        named: (String, u32),
        threads: usize,
    ) -> Result<LocalAnswerer> {
        let directory = directory.to_owned();
        let opened = tokio::task::spawn_blocking(move || Bundle::open(&directory)).await;
        let bundle =
            opened.map_err(|error| Error::internal("reading a bundle stopped unexpectedly", error))??;
        self.batch_answerer(bundle, named, None, threads).await
    }

    async fn batch_answerer(
        &self,
        bundle: Bundle,
        (model, version): (String, u32),
        engine: Option<&str>,
        threads: usize,
    ) -> Result<LocalAnswerer> {
        let set = feature_set(&bundle)?;
        let manifest = bundle.manifest.clone();
        let symbols = match set {
            None => None,
            Some(set) => self.symbols_for_batch(&manifest, set).await?,
        };
        let batch_model = BatchModel {
            model,
            version,
            digest: bundle.digest.clone(),
            features: manifest.features.names.clone(),
            signature: manifest.signature.clone(),
            rejects_missing: manifest.features.nan_policy == NanPolicy::Reject,
            by_symbol: symbols.is_some(),
            data: symbols.as_ref().map(|symbols| {
                let snapshot = &symbols.dataset.snapshot;
                format!("{}@{}", snapshot.name, snapshot.number)
            }),
        };
        batch_model.width()?;
        let engine = engine_of(engine)?;
        let load = move || {
            serving::Deployment::load(LoadSpec {
                name: "batch".to_owned(),
                bundle: &bundle,
                engine,
                // The process does nothing else.
                resources: Resources {
                    cpu_cores: threads.max(1) as f64,
                    memory_gb: serving::machine_bytes().map_or(UNKNOWN_MEMORY_GB, |bytes| bytes as f64 / 1e9),
                },
                limits: Limits::default(),
            })
        };
        let loaded = tokio::task::spawn_blocking(load).await;
        let engine =
            loaded.map_err(|error| Error::internal("loading a model stopped unexpectedly", error))??;
        let runtime = tokio::runtime::Handle::current();
        Ok(LocalAnswerer { model: batch_model, manifest, engine, runtime, symbols })
    }

    /// What rows by symbol rest on, proven as for a deployment; none if the data set is not here.
    async fn symbols_for_batch(&self, manifest: &Manifest, set: FeatureSet) -> Result<Option<Symbols>> {
        let name = manifest.dataset["name"].as_str().unwrap_or_default();
        let dataset = match self.load_dataset(name, None).await {
            Ok(dataset) => dataset,
            Err(error) if error.kind() == Kind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        self.replay(manifest, &set).await?;
        Ok(Some(Symbols { set, dataset, known: Mutex::default() }))
    }
}

/// The refusal of an endpoint that is not one version.
fn one_version(endpoint: &str, versions: &[String]) -> Error {
    let message = if versions.is_empty() {
        format!("endpoint \"{endpoint}\" gives no deployment any traffic; name a version with --model")
    } else {
        format!(
            "endpoint \"{endpoint}\" divides its traffic between {}, and one file is answered by one version; name it with --model",
            versions.join(" and ")
        )
    };
    Error::new(Kind::FailedPrecondition, message)
}
