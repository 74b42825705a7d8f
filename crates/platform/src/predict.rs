//! Answers: feature vectors or symbols in, probabilities out, with what the answer rests on.

use std::sync::Arc;
use std::time::Instant;

use jiff::civil::Date;
use market::{FeatureSet, Panel, RowKey, Universe};
use predictor::{Signature, Tensor, TensorSpec};
use registry::Endpoint;
use serde::{Deserialize, Serialize};

use crate::answerer::Answerer;
use crate::dataset::{LoadedDataset, days_between};
use crate::deployed::{DeployedModel, DeploymentStatus, Engine};
use crate::in_service::Picked;
use crate::shadow::{self, Shadows};
use crate::traffic::Together;
use crate::{Caller, Error, Kind, Platform, Result};

/// A question to an endpoint.
#[derive(Debug, Clone)]
pub struct PredictRequest {
    /// The project.
    pub project: String,
    /// The endpoint's id.
    pub endpoint: String,
    /// What to answer.
    pub question: Question,
}

/// What to answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// Rows for a model that takes one number a feature.
    Rows {
        /// What to answer for.
        instances: Vec<Instance>,
        /// Symbols: only what was known at the close of this date is used; absent: all there is.
        as_of: Option<Date>,
    },
    /// The model's inputs by name, in any order; the first axis of each is the batch.
    Tensors(Vec<(String, Tensor)>),
}

impl Question {
    /// How many rows are asked for; tensors that fit no model may disagree on it.
    fn rows(&self) -> usize {
        match self {
            Self::Rows { instances, .. } => instances.len(),
            Self::Tensors(tensors) => tensors.first().map_or(0, |(_, tensor)| tensor.rows()),
        }
    }
}

/// One row to answer for.
#[derive(Debug, Clone, PartialEq)]
pub enum Instance {
    /// Raw features in the model's order; NaN is a missing value.
    Vector(Vec<f32>),
    /// An instrument whose features are computed here, by the code that computed them for training.
    Symbol(String),
}

/// The data set behind an answer by symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetUse {
    /// Its name.
    pub name: String,
    /// The snapshot's number.
    pub snapshot: u32,
    /// The snapshot's SHA-256.
    pub digest: String,
    /// The day of the newest bar that was known.
    pub newest_date: Date,
    /// Days from that bar to today, in the data set's zone: how stale the data is.
    pub age_days: i64,
}

/// An answer, and what it rests on.
#[derive(Debug, Clone)]
pub struct PredictReply {
    /// What the model gave, in the order of its signature.
    pub outputs: Vec<(String, Tensor)>,
    /// Which deployment answered.
    pub deployment_id: String,
    /// Which model.
    pub model: String,
    /// Which version of it.
    pub version: u32,
    /// What people call the model.
    pub model_display_name: String,
    /// What the reader should know before using it.
    pub warnings: Vec<String>,
    /// Symbols: the date of the bar the features end at.
    pub as_of: Option<Date>,
    /// Symbols: the data used.
    pub dataset: Option<DatasetUse>,
    /// Microseconds waited for a free engine thread.
    pub queue_us: u64,
    /// Microseconds computed.
    pub compute_us: u64,
}

impl PredictReply {
    /// The first output, a row an instance.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`] if it is not `float32`.
    pub fn predictions(&self) -> Result<Vec<Vec<f32>>> {
        let (name, output) =
            self.outputs.first().ok_or_else(|| Error::new(Kind::Internal, "the model gave no output"))?;
        let rows = output.shape().first().copied().unwrap_or(1).max(1);
        let Some(values) = output.as_float32() else {
            let message = format!("output \"{name}\" is {}, not float32", output.data_type());
            return Err(Error::new(Kind::FailedPrecondition, message));
        };
        Ok(values.chunks_exact((values.len() / rows).max(1)).map(<[f32]>::to_vec).collect())
    }
}

/// Who answers: the deployment that the traffic split chose for one question.
#[derive(Clone)]
pub struct Target {
    model: Arc<DeployedModel>,
    /// Who gets copies of its questions.
    shadows: Shadows,
    request_id: Option<String>,
    deadline: Option<Instant>,
    caller: Caller,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Target").field(&self.version()).finish()
    }
}

impl Target {
    pub(crate) fn new((model, shadows): Picked) -> Self {
        Self { model, shadows, request_id: None, deadline: None, caller: Caller::default() }
    }

    /// The same, for a question whose answer nobody wants later than `deadline`, or earlier if that was said before.
    #[must_use]
    pub fn until(self, deadline: Option<Instant>) -> Self {
        let earliest = [self.deadline, deadline].into_iter().flatten().min();
        Self { deadline: earliest, ..self }
    }

    /// The same, for a question of this caller, to whom its rows are counted.
    #[must_use]
    pub fn by(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    /// Who answers, without the question.
    pub fn answerer(&self) -> Answerer {
        Answerer::new(Arc::clone(&self.model))
    }

    /// Whether its questions may be copied to shadows.
    pub fn is_copied(&self) -> bool {
        self.shadows.is_some()
    }

    /// The same, for a question that is known to its caller by this id.
    #[must_use]
    pub fn known_as(self, request_id: Option<String>) -> Self {
        Self { request_id, ..self }
    }

    /// What is asked of callers, and what the model gives. Inputs that take random numbers are not asked for.
    pub fn signature(&self) -> &Signature {
        self.model.asked_signature()
    }

    /// The same for a question that gives inputs of these names: if it gives random numbers, all inputs are asked for.
    pub fn signature_for<'a>(&self, mut given: impl Iterator<Item = &'a str>) -> &Signature {
        match given.any(|name| self.model.samplers.has(name)) {
            true => &self.model.manifest.signature,
            false => self.signature(),
        }
    }

    /// Reads a question by what is asked of callers, or, if it does not fit that and the model takes random numbers, by all that
    /// the model takes.
    ///
    /// # Errors
    /// What `read` says of the first; [`Kind::ResourceExhausted`] if as many wait as may, and then it is not read at all.
    pub fn read<T, E: From<Error>>(
        &self,
        read: impl Fn(&Signature) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        if let Engine::Pinned(engine) = &self.model.engine {
            engine.has_room().map_err(Error::from)?;
        }
        read(self.signature()).or_else(|refused| match self.model.samplers.asked() {
            Some(_) => read(&self.model.manifest.signature).map_err(|_| refused),
            None => Err(refused),
        })
    }

    /// Whether it answers [`Question::Rows`]: it takes one number a feature.
    pub fn takes_rows(&self) -> bool {
        self.model.takes_rows()
    }

    /// Whether a model of this signature takes one number a feature.
    pub fn is_of_rows(signature: &Signature) -> bool {
        crate::deployed::is_of_rows(signature)
    }

    /// What the columns of a row are called, in the model's order; empty if they have no names.
    pub fn feature_names(&self) -> &[String] {
        &self.model.manifest.features.names
    }

    /// What an input or output is called inside the SavedModel, if the bundle has one.
    pub fn saved_model_tensor(&self, name: &str) -> Option<&str> {
        let names = &self.model.manifest.tensor_names.saved_model;
        names.inputs.get(name).or_else(|| names.outputs.get(name)).map(String::as_str)
    }

    /// The deployment's id.
    pub fn deployment_id(&self) -> &str {
        &self.model.deployment.id
    }

    /// Has it loaded, if it is not in memory.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if that cannot be done now.
    pub async fn load(&self, platform: &Platform) -> Result<()> {
        platform.engine(&self.model, self.deadline).await.map(drop)
    }

    /// Engine name and version.
    pub fn engine(&self) -> &str {
        self.model.engine_name()
    }

    /// The most rows of one question.
    pub fn max_rows(&self) -> usize {
        self.model.max_rows()
    }

    /// The model's project.
    pub fn project(&self) -> &str {
        &self.model.version.project
    }

    /// The model and its version.
    pub fn version(&self) -> (&str, u32) {
        (&self.model.version.model, self.model.version.version)
    }
}

/// The rows of a request as one matrix, and where they came from.
struct Rows {
    values: Vec<f32>,
    warnings: Vec<String>,
    source: Option<(Date, DatasetUse)>,
}

impl Platform {
    /// Answers a question.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for an unknown endpoint or symbol, [`Kind::FailedPrecondition`] if nothing is
    /// deployed or a symbol has too little history, [`Kind::InvalidArgument`] for a vector that does not fit,
    /// [`Kind::OutOfRange`] for a date before the data, [`Kind::ResourceExhausted`] under overload.
    pub async fn predict(&self, request: PredictRequest) -> Result<PredictReply> {
        let PredictRequest { project, endpoint, question } = request;
        let target = self.target(&project, &endpoint, None).await?;
        self.answer(&target, question).await
    }

    /// Who answers the next question to an endpoint; questions that belong `together` get one answerer.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for an unknown endpoint, [`Kind::FailedPrecondition`] if nothing is deployed,
    /// [`Kind::Unavailable`] if what is deployed cannot answer.
    pub async fn target(&self, project: &str, endpoint: &str, together: Option<&Together>) -> Result<Target> {
        if let Some(picked) = self.serving.pick(project, endpoint, together) {
            return Ok(Target::new(picked));
        }
        let found = self.registry.get_endpoint(project, endpoint).await?;
        // It may have come into service while the registry was read.
        match self.serving.pick_or_absent(project, endpoint, together) {
            Ok(picked) => Ok(Target::new(picked)),
            Err(absent) => Err(nothing_serves(&found, &absent)),
        }
    }

    /// Has a question answered.
    ///
    /// # Errors
    /// As [`Platform::predict`].
    pub async fn answer(&self, target: &Target, question: Question) -> Result<PredictReply> {
        // The room for a copy is taken first: for want of it nobody waits.
        let copies = shadow::copies(&target.shadows, &question);
        let rows = question.rows();
        let reply = self.compute(&target.model, question, target.deadline).await?;
        target.caller.answered(rows);
        copies.answered(&reply, target.request_id.as_deref(), self.now());
        Ok(reply)
    }

    /// Has a model compute the answer to a question, whoever asks.
    pub(crate) async fn compute(
        &self,
        model: &Arc<DeployedModel>,
        question: Question,
        deadline: Option<Instant>,
    ) -> Result<PredictReply> {
        let (inputs, warnings, source) = match question {
            Question::Rows { instances, as_of } => {
                if instances.is_empty() {
                    return Err(Error::invalid("instances", "instances is empty; give at least one"));
                }
                if !model.takes_rows() {
                    return Err(takes_tensors(model));
                }
                let count = instances.len();
                let Rows { values, warnings, source } = self.rows(model, instances, as_of).await?;
                let input = Tensor::float32(vec![count, width(model)], values)
                    .map_err(|error| Error::internal("cannot lay out the features", error))?;
                (with_samples(model, input)?, warnings, source)
            }
            Question::Tensors(tensors) => {
                let inputs = all_inputs(model, tensors)?;
                if model.takes_rows() {
                    check_matrix(model, &inputs[0])?;
                }
                (inputs, Vec::new(), None)
            }
        };
        let reply = self.engine(model, deadline).await?.predict(inputs, deadline).await?;
        let (as_of, dataset) = source.unzip();
        let names = model.manifest.signature.outputs.iter().map(|spec| spec.name.clone());
        Ok(PredictReply {
            outputs: names.zip(reply.outputs).collect(),
            deployment_id: model.deployment.id.clone(),
            model: model.version.model.clone(),
            version: model.version.version,
            model_display_name: model.version.about.display_name.clone(),
            warnings,
            as_of,
            dataset,
            queue_us: reply.queue_us,
            compute_us: reply.compute_us,
        })
    }

    async fn rows(
        &self,
        model: &Arc<DeployedModel>,
        instances: Vec<Instance>,
        as_of: Option<Date>,
    ) -> Result<Rows> {
        let by_symbol = instances.iter().any(|instance| matches!(instance, Instance::Symbol(_)));
        if !by_symbol {
            if as_of.is_some() {
                let message = "as_of applies to {\"symbol\"} instances; a vector says itself what was known";
                return Err(Error::invalid("parameters.as_of", message));
            }
            return vector_rows(model, instances);
        }
        if model.set.is_none() {
            return Err(computed_elsewhere());
        }
        let name = model.manifest.dataset["name"].as_str().unwrap_or_default();
        let dataset = self.load_dataset(name, None).await.map_err(|error| {
            error.context(format!(
                "answering by symbol needs the data set \"{name}\" the model was trained on"
            ))
        })?;
        let model = Arc::clone(model);
        let today = self.civil_now(dataset.snapshot.timing.time_zone.as_deref()).date();
        // Rolling windows over many instruments take milliseconds: not on the async runtime.
        tokio::task::spawn_blocking(move || symbol_rows(&model, &dataset, instances, as_of, today))
            .await
            .map_err(|error| Error::internal("computing features stopped unexpectedly", error))?
    }
}

/// Why nothing answers at an endpoint: what the registry says of it, and which of its deployments do not answer.
fn nothing_serves(endpoint: &Endpoint, absent: &[DeploymentStatus]) -> Error {
    let id = &endpoint.id;
    if endpoint.deployments.is_empty() {
        let message = format!(
            "endpoint \"{id}\" has no model deployed; deploy one with `bellwether endpoint deploy {id} --model MODEL`"
        );
        return Error::new(Kind::FailedPrecondition, message);
    }
    let reason = |status: &DeploymentStatus| {
        Some(format!("deployment {}: {}", status.deployment, status.why_absent()?))
    };
    let reasons: Vec<String> = absent.iter().filter_map(reason).collect();
    let why = if !reasons.is_empty() {
        reasons.join("; ")
    } else if endpoint.traffic_split.values().all(|percent| *percent == 0) {
        "its traffic split gives no deployment any traffic".to_owned()
    } else {
        "it is being changed; try again later".to_owned()
    };
    Error::new(Kind::Unavailable, format!("endpoint \"{id}\" cannot answer: {why}"))
}

fn computed_elsewhere() -> Error {
    let message = "the model was trained on a table of features computed elsewhere, so it cannot compute those of a \
                   symbol; give a vector";
    Error::new(Kind::FailedPrecondition, message)
}

/// Numbers of a row.
fn width(model: &DeployedModel) -> usize {
    model.manifest.signature.inputs.first().and_then(TensorSpec::row_elements).unwrap_or_default()
}

fn takes_tensors(model: &DeployedModel) -> Error {
    let signature = &model.manifest.signature;
    let inputs: Vec<String> = signature
        .inputs
        .iter()
        .map(|spec| format!("\"{}\" ({} {:?})", spec.name, spec.dtype, spec.shape))
        .collect();
    let message =
        format!("model {} takes no row of features but the inputs {}", model.reference(), inputs.join(", "));
    Error::invalid("instances", message)
}

/// The tensors that a model of rows takes, in its order, given the rows.
fn with_samples(model: &DeployedModel, rows: Tensor) -> Result<Vec<Tensor>> {
    if model.manifest.signature.inputs.len() == 1 {
        return Ok(vec![rows]);
    }
    let name = model.asked_signature().inputs[0].name.clone();
    all_inputs(model, vec![(name, rows)])
}

/// The tensors a model takes, in its order; random numbers where the caller gives none.
fn all_inputs(model: &DeployedModel, mut tensors: Vec<(String, Tensor)>) -> Result<Vec<Tensor>> {
    let signature = &model.manifest.signature;
    model.samplers.fill(signature, &mut tensors)?;
    in_order(signature, tensors)
}

/// The tensors a signature asks for, in its order.
fn in_order(signature: &Signature, mut tensors: Vec<(String, Tensor)>) -> Result<Vec<Tensor>> {
    let known = || signature.inputs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut inputs = Vec::with_capacity(signature.inputs.len());
    for spec in &signature.inputs {
        let Some(at) = tensors.iter().position(|(name, _)| *name == spec.name) else {
            let message = format!("input \"{}\" is missing; the model takes {}", spec.name, known());
            return Err(Error::invalid(&spec.name, message));
        };
        inputs.push(tensors.swap_remove(at).1);
    }
    if let Some((name, _)) = tensors.first() {
        let message = format!("input \"{name}\" is unknown or given twice; the model takes {}", known());
        return Err(Error::invalid(name, message));
    }
    Ok(inputs)
}

fn vector_rows(model: &DeployedModel, instances: Vec<Instance>) -> Result<Rows> {
    let columns = width(model);
    let instances = match <[Instance; 1]>::try_from(instances) {
        Ok([Instance::Vector(values)]) => {
            check_vector(model, 0, &values)?;
            return Ok(Rows { values, warnings: Vec::new(), source: None });
        }
        Ok(only) => only.into(),
        Err(several) => several,
    };
    let mut values = Vec::with_capacity(instances.len() * columns);
    for (index, instance) in instances.into_iter().enumerate() {
        if let Instance::Vector(vector) = instance {
            check_vector(model, index, &vector)?;
            values.extend(vector);
        }
    }
    Ok(Rows { values, warnings: Vec::new(), source: None })
}

fn check_vector(model: &DeployedModel, index: usize, vector: &[f32]) -> Result<()> {
    if vector.len() != width(model) {
        let names = &model.manifest.features.names;
        let shown: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
        let listed = if shown.is_empty() { String::new() } else { format!(" ({}, ...)", shown.join(", ")) };
        let message = format!(
            "instance {index} has {} values where model {} takes {} features{listed}",
            vector.len(),
            model.reference(),
            width(model)
        );
        return Err(Error::invalid(&format!("instances[{index}]"), message));
    }
    check_values(model, index, vector)
}

/// The rows of a tensor obey the same rules; whether it is one of rows is told by the engine.
fn check_matrix(model: &DeployedModel, input: &Tensor) -> Result<()> {
    match (input.as_float32(), input.shape()) {
        (Some(values), [_, columns]) if *columns == width(model) => check_values(model, 0, values),
        _ => Ok(()),
    }
}

/// Refuses infinities, and missing values where the model was trained without; `values` are rows from `first` on. Who imported
/// a model agreed on no features with it: it takes every number.
fn check_values(model: &DeployedModel, first: usize, values: &[f32]) -> Result<()> {
    let contract = &model.manifest.features;
    let rejects = contract.nan_policy == artifact::bundle::NanPolicy::Reject;
    if contract.names.is_empty() && !rejects {
        return Ok(());
    }
    let Some(bad) = values.iter().position(|x| x.is_infinite() || (rejects && x.is_nan())) else {
        return Ok(());
    };
    let (index, place) = (first + bad / width(model).max(1), bad % width(model).max(1));
    let name = contract.names.get(place).cloned().unwrap_or_else(|| place.to_string());
    let message = if values[bad].is_infinite() {
        format!("instance {index} feature \"{name}\" is infinite; use null or NaN for a missing value")
    } else {
        let id = model.reference();
        format!(
            "instance {index} feature \"{name}\" is missing (null or NaN) and model {id} was trained with nan = \"reject\"; give a number"
        )
    };
    Err(Error::invalid(&format!("instances[{index}][{place}]"), message))
}

fn symbol_rows(
    model: &DeployedModel,
    dataset: &LoadedDataset,
    instances: Vec<Instance>,
    as_of: Option<Date>,
    today: Date,
) -> Result<Rows> {
    let known = Known::on(dataset, as_of)?;
    let panel = &*known.panel;
    let mut values = Vec::new();
    for (index, instance) in instances.into_iter().enumerate() {
        let vector = match instance {
            Instance::Vector(vector) => vector,
            Instance::Symbol(symbol) => {
                let set = model.set.as_ref().ok_or_else(computed_elsewhere)?;
                features_of_symbol((&model.manifest, set), dataset, &known, &symbol)?
            }
        };
        check_vector(model, index, &vector)?;
        values.extend(vector);
    }
    let used = panel.dates()[known.time];
    let source = DatasetUse {
        name: dataset.snapshot.name.clone(),
        snapshot: dataset.snapshot.number,
        digest: dataset.snapshot.digest.clone(),
        newest_date: used,
        age_days: days_between(used, today),
    };
    Ok(Rows { values, warnings: warnings(model, panel, used, as_of), source: Some((used, source)) })
}

/// What was known, and the newest bar of it.
pub(crate) struct Known {
    panel: Arc<Panel>,
    /// Index of the bar's time.
    time: usize,
}

impl Known {
    pub(crate) fn on(dataset: &LoadedDataset, as_of: Option<Date>) -> Result<Self> {
        let name = &dataset.snapshot.name;
        let (panel, known) = match as_of {
            Some(as_of) => dataset.known_on(as_of)?,
            None => (Arc::clone(&dataset.panel), dataset.panel.times().len()),
        };
        let (Some(&first), Some(&last)) = (dataset.panel.dates().first(), dataset.panel.dates().last())
        else {
            return Err(Error::new(Kind::FailedPrecondition, format!("data set \"{name}\" holds no bar")));
        };
        let time = known.checked_sub(1).ok_or_else(|| {
            let asked = as_of.unwrap_or(last);
            let message =
                format!("as_of {asked} is before the data: data set \"{name}\" spans {first} to {last}");
            Error::new(Kind::OutOfRange, message)
        })?;
        Ok(Self { panel, time })
    }
}

/// The features of an instrument at the newest bar that was known, by the kernels that computed them for training.
pub(crate) fn features_of_symbol(
    (manifest, set): (&artifact::bundle::Manifest, &FeatureSet),
    dataset: &LoadedDataset,
    known: &Known,
    symbol: &str,
) -> Result<Vec<f32>> {
    let panel = &*known.panel;
    let instrument = panel.instrument_index(symbol).ok_or_else(|| {
        let known = market::unknown_instrument(symbol, panel.instruments());
        Error::new(Kind::NotFound, format!("{known} (data set \"{}\")", dataset.snapshot.name))
    })?;
    let universe = universe(manifest, set, panel);
    market::latest(panel, set, &universe, RowKey { date: known.time, instrument })
        .map_err(|error| Error::new(Kind::FailedPrecondition, Error::from(error).to_string()))
}

/// Whom a symbol is compared with: where features look across instruments, the members of the universe it was
/// trained on, or the instruments that the panel has of it; otherwise it does not matter.
pub(crate) fn universe(manifest: &artifact::bundle::Manifest, set: &FeatureSet, panel: &Panel) -> Universe {
    if !set.is_cross_sectional() {
        return Universe::all();
    }
    if let Some(universe) =
        manifest.splits["universe_name"].as_str().and_then(|name| panel.universe(name).ok())
    {
        return Universe::clone(universe);
    }
    let trained_on = manifest.splits["universe"].as_array().map(Vec::as_slice).unwrap_or_default();
    let symbols = trained_on.iter().filter_map(serde_json::Value::as_str);
    Universe::fixed(symbols.filter_map(|symbol| panel.instrument_index(symbol)).collect())
}

fn warnings(model: &DeployedModel, panel: &Panel, used: Date, as_of: Option<Date>) -> Vec<String> {
    let mut warnings = Vec::new();
    let window = &model.manifest.splits["train"];
    let edge = |key: &str| window[key].as_str().and_then(|text| text.parse::<Date>().ok());
    if let (Some(from), Some(to)) = (edge("first_date"), edge("last_date"))
        && used >= from
        && used <= to
    {
        warnings.push(format!(
            "as_of {used} lies inside the training window {from} to {to}: the model has seen this answer"
        ));
    }
    if let (Some(asked), Some(&newest)) = (as_of, panel.dates().last())
        && asked > newest
    {
        warnings.push(format!("as_of {asked} is after the newest bar: the answer rests on {newest}"));
    }
    warnings
}
