//! A search from its first trial to the model it ends with, and on from where an interrupted one was.

use std::collections::BTreeMap;

use registry::{NewStudy, Trial, TrialEnd, TrialState};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::space::{Parameters, with};
use super::trial::{self, Windows};
use super::{Method, SearchSection};
use crate::fitting;
use crate::model::{UploadModel, UploadTarget};
use crate::model_source::ArtifactSource;
use crate::pipeline::Pipeline;
use crate::train::{TrainObserver, TrainOptions, TrainReport};
use crate::{Error, Kind, ModelVersion, Platform, Result};

/// Trials listed at once.
const PAGE: usize = 1000;

/// How a trial went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrialLine {
    /// Its number in the registry.
    pub number: u32,
    /// What was tried.
    pub parameters: serde_json::Value,
    /// `succeeded`, `stopped` (given up for better ones) or `failed`.
    pub state: String,
    /// The figure it was judged by, if it has it.
    pub value: Option<f64>,
    /// All its figures.
    pub metrics: serde_json::Value,
    /// Why it failed.
    pub error: String,
}

/// What a search found.
#[derive(Debug, Serialize)]
pub struct SearchReport {
    /// The study in the registry.
    pub study: String,
    /// The figure trials were compared by.
    pub monitor: String,
    /// Every trial, the best first.
    pub trials: Vec<TrialLine>,
    /// Trials of this model on this data set so far, those of other searches among them.
    pub trials_of_model: u64,
    /// The best one, trained and tested.
    pub best: TrainReport,
    /// The version it became.
    pub version: ModelVersion,
}

impl Platform {
    /// Tries a pipeline with other values, trains the best and registers it. A search that was interrupted goes on
    /// where it was when the same file is searched again.
    ///
    /// # Errors
    /// What data, pipeline or fit refuse; [`Kind::Cancelled`] if the observer stops it; [`Kind::FailedPrecondition`] if
    /// no trial came to an end.
    pub async fn search(
        &self,
        project: &str,
        pipeline: &Pipeline,
        options: &TrainOptions<'_>,
        observer: &mut (dyn TrainObserver + Send),
    ) -> Result<SearchReport> {
        let Some(section) = &pipeline.search else {
            let message = "the pipeline file has no [search]; say what to vary, or use `bellwether train`";
            return Err(Error::invalid("search", message));
        };
        observer.on_stage("data", &pipeline.data.dataset);
        let dataset = self.pipeline_dataset(pipeline, options.base_dir).await?;
        let study = Study {
            platform: self,
            project,
            id: study_id(pipeline),
            section,
            pipeline,
            larger_is_better: section.larger_is_better()?,
        };
        let mut known = study.open().await?;
        let mut windows = Windows::new(options.fit.device);
        let mut standing: Vec<Candidate> = section.candidates().into_iter().map(Candidate::new).collect();
        let rungs = section.rungs(pipeline.fit.epochs);
        for (rung, epochs) in rungs.iter().enumerate() {
            let last = rung + 1 == rungs.len();
            let count = standing.len();
            for (at, candidate) in standing.iter_mut().enumerate() {
                let trial = study.begun(&mut known, candidate).await?;
                if trial.state != TrialState::Running {
                    candidate.take(&study, trial);
                    continue;
                }
                let of =
                    format!("trial {} of {count}, {epochs} epochs: {}", at + 1, shown(&candidate.parameters));
                observer.on_stage("search", &of);
                let changed = with(pipeline, &candidate.parameters, Some(*epochs));
                let metrics = tokio::task::block_in_place(|| {
                    fitting::on_threads(options.fit.threads, || {
                        trial::run(&mut windows, &dataset, &changed?, observer)
                    })
                });
                study.ended(&mut known, candidate, metrics, last).await?;
            }
            if !last {
                study.halve(&mut known, &mut standing).await?;
            }
        }
        let best = study.best(&known)?;
        observer.on_stage("best", &shown(&best));
        let report = self.train(&with(pipeline, &best, None)?, options, observer).await?;
        let count = self
            .registry
            .count_trials(
                project,
                registry::TrialFilter { model: Some(pipeline.name()), dataset: Some(&pipeline.data.dataset) },
            )
            .await?;
        let labels = BTreeMap::from([
            ("study".to_owned(), study.id.clone()),
            ("trials".to_owned(), count.begun.to_string()),
        ]);
        let version = self
            .upload_model(UploadModel {
                project: project.to_owned(),
                target: UploadTarget::NewOrVersionOf { id: None },
                display_name: None,
                description: format!("the best of {} trials by {}", count.begun, section.monitor),
                source: ArtifactSource::Path(report.bundle_dir.clone()),
                aliases: Vec::new(),
                labels,
                signature: None,
            })
            .await?;
        Ok(SearchReport {
            trials: study.lines(&known),
            study: study.id,
            monitor: section.monitor.clone(),
            trials_of_model: count.begun,
            best: report,
            version,
        })
    }
}

/// A search under way.
struct Study<'a> {
    platform: &'a Platform,
    project: &'a str,
    id: String,
    section: &'a SearchSection,
    pipeline: &'a Pipeline,
    larger_is_better: bool,
}

/// Values that are still in the running.
#[derive(Debug, Clone)]
struct Candidate {
    parameters: Parameters,
    /// Its number in the registry, once it has begun.
    number: Option<u32>,
    /// The figure of its last rung.
    value: Option<f64>,
    metrics: serde_json::Value,
}

impl Candidate {
    fn new(parameters: Parameters) -> Self {
        Self { parameters, number: None, value: None, metrics: serde_json::Value::Null }
    }

    /// Takes over how a trial of an earlier run of this search ended.
    fn take(&mut self, study: &Study<'_>, trial: &Trial) {
        self.number = Some(trial.number);
        self.value = study.value(&trial.metrics);
        self.metrics = trial.metrics.clone();
    }
}

impl Study<'_> {
    /// The trials so far; the study is begun if there is none.
    async fn open(&self) -> Result<BTreeMap<u32, Trial>> {
        let registry = &self.platform.registry;
        if let Err(registry::Error::NotFound(_)) = registry.get_study(self.project, &self.id).await {
            let new = NewStudy {
                project: self.project.to_owned(),
                id: self.id.clone(),
                model: self.pipeline.name().to_owned(),
                dataset: self.pipeline.data.dataset.clone(),
                spec: json!(self.section),
            };
            registry.create_study(new, self.platform.now()).await?;
        }
        let mut known = BTreeMap::new();
        loop {
            let after = known.keys().next_back().copied();
            let page = registry.list_trials(self.project, &self.id, after, PAGE).await?;
            if page.is_empty() {
                return Ok(known);
            }
            known.extend(page.into_iter().map(|trial| (trial.number, trial)));
        }
    }

    /// The trial of a candidate: the one of this run, one of an earlier run, or a new one.
    async fn begun<'k>(
        &self,
        known: &'k mut BTreeMap<u32, Trial>,
        candidate: &mut Candidate,
    ) -> Result<&'k Trial> {
        let parameters = json!(candidate.parameters);
        let earlier = known.values().find(|trial| trial.parameters == parameters).map(|trial| trial.number);
        let number = match candidate.number.or(earlier) {
            Some(number) => number,
            None => {
                let now = self.platform.now();
                let trial =
                    self.platform.registry.start_trial(self.project, &self.id, parameters, now).await?;
                let number = trial.number;
                known.insert(number, trial);
                number
            }
        };
        candidate.number = Some(number);
        Ok(&known[&number])
    }

    /// Records how a rung of a trial ended; only the last rung ends a trial that could be fitted.
    async fn ended(
        &self,
        known: &mut BTreeMap<u32, Trial>,
        candidate: &mut Candidate,
        metrics: Result<BTreeMap<String, f64>>,
        last: bool,
    ) -> Result<()> {
        let end = match metrics {
            Err(error) if error.kind() == Kind::Cancelled => return Err(error),
            Err(error) => {
                candidate.value = None;
                TrialEnd::Failed { error: error.to_string() }
            }
            Ok(metrics) => {
                candidate.metrics = json!(metrics);
                candidate.value = self.value(&candidate.metrics);
                if candidate.value.is_none() {
                    let has: Vec<&str> = metrics.keys().map(String::as_str).collect();
                    let monitor = &self.section.monitor;
                    let message = format!("the trial has no {monitor}; it has {}", has.join(", "));
                    return Err(Error::invalid("search.monitor", message));
                }
                if !last {
                    return Ok(());
                }
                TrialEnd::Succeeded { metrics: candidate.metrics.clone(), bundle_digest: None }
            }
        };
        self.finish(known, candidate, end).await
    }

    async fn finish(
        &self,
        known: &mut BTreeMap<u32, Trial>,
        candidate: &Candidate,
        end: TrialEnd,
    ) -> Result<()> {
        let number = candidate.number.unwrap_or_default();
        let now = self.platform.now();
        let trial = self.platform.registry.finish_trial(self.project, &self.id, number, end, now).await?;
        known.insert(number, trial);
        Ok(())
    }

    /// Gives up all but the best one of `factor`, at least one.
    async fn halve(&self, known: &mut BTreeMap<u32, Trial>, standing: &mut Vec<Candidate>) -> Result<()> {
        standing.retain(|candidate| candidate.value.is_some());
        standing.sort_by(|a, b| self.order(a.value, b.value));
        let keep = standing.len().div_ceil(self.section.factor).max(1).min(standing.len());
        for given_up in standing.split_off(keep) {
            let running = given_up.number.and_then(|number| known.get(&number));
            if running.is_some_and(|trial| trial.state == TrialState::Running) {
                let end = TrialEnd::Stopped { metrics: given_up.metrics.clone() };
                self.finish(known, &given_up, end).await?;
            }
        }
        Ok(())
    }

    /// The better one first; what has no figure last.
    fn order(&self, a: Option<f64>, b: Option<f64>) -> std::cmp::Ordering {
        match (a, b) {
            (Some(a), Some(b)) if self.larger_is_better => b.total_cmp(&a),
            (Some(a), Some(b)) => a.total_cmp(&b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }

    fn value(&self, metrics: &serde_json::Value) -> Option<f64> {
        metrics[&self.section.monitor].as_f64().filter(|value| value.is_finite())
    }

    fn best(&self, known: &BTreeMap<u32, Trial>) -> Result<Parameters> {
        let ended = known.values().filter(|trial| trial.state == TrialState::Succeeded);
        let best = ended.min_by(|a, b| self.order(self.value(&a.metrics), self.value(&b.metrics)));
        let Some(best) = best else {
            let first = known.values().find(|trial| trial.state == TrialState::Failed);
            let why =
                first.map_or_else(String::new, |trial| format!(": trial {}: {}", trial.number, trial.error));
            return Err(Error::new(
                Kind::FailedPrecondition,
                format!("no trial of the search came to its end{why}"),
            ));
        };
        serde_json::from_value(best.parameters.clone())
            .map_err(|error| Error::internal("the registry holds a trial this version cannot read", error))
    }

    fn lines(&self, known: &BTreeMap<u32, Trial>) -> Vec<TrialLine> {
        let mut trials: Vec<&Trial> = known.values().collect();
        let ended = |trial: &Trial| trial.state == TrialState::Succeeded;
        trials.sort_by(|a, b| {
            let figures = || self.order(self.value(&a.metrics), self.value(&b.metrics));
            ended(b).cmp(&ended(a)).then_with(figures)
        });
        let line = |trial: &Trial| TrialLine {
            number: trial.number,
            parameters: trial.parameters.clone(),
            state: trial.state.word().to_owned(),
            value: self.value(&trial.metrics),
            metrics: trial.metrics.clone(),
            error: trial.error.clone(),
        };
        trials.into_iter().map(line).collect()
    }
}

impl SearchSection {
    /// Epochs of each rung; one rung unless candidates are halved.
    fn rungs(&self, epochs: usize) -> Vec<usize> {
        let mut rungs = Vec::new();
        if self.method == Method::Halving {
            let mut rung = self.min_epochs;
            while rung < epochs {
                rungs.push(rung);
                rung = rung.saturating_mul(self.factor);
            }
        }
        rungs.push(epochs);
        rungs
    }
}

/// The same file searched again is the same study.
fn study_id(pipeline: &Pipeline) -> String {
    let digest = hex::encode(Sha256::digest(pipeline.text().as_bytes()));
    let name: String = pipeline.name().chars().take(50).collect();
    format!("{name}-{}", &digest[..12])
}

fn shown(parameters: &Parameters) -> String {
    parameters.iter().map(|(path, value)| format!("{path} = {value}")).collect::<Vec<_>>().join(", ")
}
