//! A search from its first trial to the model it ends with, and on from where an interrupted one was.

use std::collections::BTreeMap;
use std::path::Path;

use registry::{Trial, TrialEnd, TrialState};
use serde::Serialize;
use serde_json::json;

use super::journal::{End, Entry, Journal};
use super::record::{study_id, upload};
use super::space::{Parameters, with};
use super::trial::{self, Windows};
use super::{Method, SearchSection};
use crate::fitting;
use crate::model_source::ArtifactSource;
use crate::pipeline::Pipeline;
use crate::train::{TrainObserver, TrainOptions, TrainReport};
use crate::{Error, Kind, ModelVersion, Platform, Result};

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
    /// The version it became, if this process registers it.
    pub version: Option<ModelVersion>,
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
        self.check_writable("record trials")?;
        let study = Study::new(self, project, pipeline)?;
        let trials = study.open().await?;
        let mut report = study.run(trials, options, observer).await?;
        report.trials_of_model = study.trials_of_model().await?;
        let source = ArtifactSource::Path(report.best.bundle_dir.clone());
        let request = upload(project, pipeline, source, report.trials_of_model)?;
        report.version = Some(self.upload_model(request).await?);
        Ok(report)
    }

    /// The same beside the process that owns the data directory: trials are noted in a journal that the owner began,
    /// and the best one is left in its bundle for the owner to register.
    ///
    /// # Errors
    /// As [`Platform::search`]; [`Kind::InvalidArgument`] for a journal of another study, or what is none.
    pub async fn search_beside(
        &self,
        journal: &Path,
        pipeline: &Pipeline,
        options: &TrainOptions<'_>,
        observer: &mut (dyn TrainObserver + Send),
    ) -> Result<SearchReport> {
        if !self.is_read_only() {
            let message = "a journal of trials is for a process beside the one that owns the data directory; add --read-only";
            return Err(Error::invalid("trials", message));
        }
        // Seen by this process alone, like the registry that it is in.
        let study = Study::new(self, "default", pipeline)?;
        let (trials, other_trials) = study.take_up(journal).await?;
        let mut report = study.run(trials, options, observer).await?;
        report.trials_of_model = study.trials_of_model().await? + other_trials;
        Ok(report)
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

/// The trials of a study, by number, and where they are noted beside the registry, if they are.
struct Trials {
    known: BTreeMap<u32, Trial>,
    journal: Option<Journal>,
}

impl Trials {
    /// Notes what has happened in the registry.
    fn note(&mut self, trial: Trial, entry: impl FnOnce(&Trial) -> Entry) -> Result<()> {
        if let Some(journal) = &mut self.journal {
            journal.add(&entry(&trial))?;
        }
        self.known.insert(trial.number, trial);
        Ok(())
    }
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

impl<'a> Study<'a> {
    fn new(platform: &'a Platform, project: &'a str, pipeline: &'a Pipeline) -> Result<Self> {
        let section = super::check(pipeline)?;
        let larger_is_better = section.larger_is_better()?;
        Ok(Self { platform, project, id: study_id(pipeline), section, pipeline, larger_is_better })
    }

    async fn trials_of_model(&self) -> Result<u64> {
        self.platform.trials_of_model(self.project, self.pipeline).await
    }

    async fn open(&self) -> Result<Trials> {
        let known = self.platform.open_study(self.project, self.pipeline).await?;
        Ok(Trials { known, journal: None })
    }

    /// The trials a journal knows of, and how many there were of other studies.
    async fn take_up(&self, path: &Path) -> Result<(Trials, u64)> {
        let (journal, head, entries) = Journal::open(path)?;
        if head.study != self.id {
            let message = format!(
                "{} is the journal of study {}, and the pipeline file is study {}; name its own",
                path.display(),
                head.study,
                self.id
            );
            return Err(Error::invalid("trials", message));
        }
        self.platform.open_study(self.project, self.pipeline).await?;
        for entry in entries {
            self.platform.record(self.project, &self.id, entry).await?;
        }
        let known = self.platform.open_study(self.project, self.pipeline).await?;
        Ok((Trials { known, journal: Some(journal) }, head.other_trials))
    }

    /// Tries what is left to try, and trains the best.
    async fn run(
        &self,
        mut trials: Trials,
        options: &TrainOptions<'_>,
        observer: &mut (dyn TrainObserver + Send),
    ) -> Result<SearchReport> {
        let Self { section, pipeline, .. } = *self;
        observer.on_stage("data", &pipeline.data.dataset);
        let dataset = self.platform.pipeline_dataset(pipeline, options.base_dir).await?;
        let mut windows = Windows::new(options.fit.device);
        let mut standing: Vec<Candidate> = section.candidates().into_iter().map(Candidate::new).collect();
        let rungs = section.rungs(pipeline.fit.epochs);
        for (rung, epochs) in rungs.iter().enumerate() {
            let last = rung + 1 == rungs.len();
            let count = standing.len();
            for (at, candidate) in standing.iter_mut().enumerate() {
                let trial = self.begun(&mut trials, candidate).await?;
                if trial.state != TrialState::Running {
                    candidate.take(self, trial);
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
                self.ended(&mut trials, candidate, metrics, last).await?;
            }
            if !last {
                self.halve(&mut trials, &mut standing).await?;
            }
        }
        let best = self.best(&trials.known)?;
        observer.on_stage("best", &shown(&best));
        let report = self.platform.train(&with(pipeline, &best, None)?, options, observer).await?;
        Ok(SearchReport {
            trials: self.lines(&trials.known),
            study: self.id.clone(),
            monitor: section.monitor.clone(),
            trials_of_model: 0,
            best: report,
            version: None,
        })
    }

    /// The trial of a candidate: the one of this run, one of an earlier run, or a new one.
    async fn begun<'k>(&self, trials: &'k mut Trials, candidate: &mut Candidate) -> Result<&'k Trial> {
        let parameters = json!(candidate.parameters);
        let earlier =
            trials.known.values().find(|trial| trial.parameters == parameters).map(|trial| trial.number);
        let number = match candidate.number.or(earlier) {
            Some(number) => number,
            None => {
                let now = self.platform.now();
                let trial =
                    self.platform.registry.start_trial(self.project, &self.id, parameters, now).await?;
                let number = trial.number;
                let begun = |trial: &Trial| Entry::Begun { number, parameters: trial.parameters.clone() };
                trials.note(trial, begun)?;
                number
            }
        };
        candidate.number = Some(number);
        Ok(&trials.known[&number])
    }

    /// Records how a rung of a trial ended; only the last rung ends a trial that could be fitted.
    async fn ended(
        &self,
        trials: &mut Trials,
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
        self.finish(trials, candidate, end).await
    }

    async fn finish(&self, trials: &mut Trials, candidate: &Candidate, end: TrialEnd) -> Result<()> {
        let number = candidate.number.unwrap_or_default();
        let now = self.platform.now();
        let noted = Entry::Ended { number, end: End::from(&end) };
        let trial = self.platform.registry.finish_trial(self.project, &self.id, number, end, now).await?;
        trials.note(trial, |_| noted)
    }

    /// Gives up all but the best one of `factor`, at least one.
    async fn halve(&self, trials: &mut Trials, standing: &mut Vec<Candidate>) -> Result<()> {
        standing.retain(|candidate| candidate.value.is_some());
        standing.sort_by(|a, b| self.order(a.value, b.value));
        let keep = standing.len().div_ceil(self.section.factor).max(1).min(standing.len());
        for given_up in standing.split_off(keep) {
            let running = given_up.number.and_then(|number| trials.known.get(&number));
            if running.is_some_and(|trial| trial.state == TrialState::Running) {
                let end = TrialEnd::Stopped { metrics: given_up.metrics.clone() };
                self.finish(trials, &given_up, end).await?;
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

fn shown(parameters: &Parameters) -> String {
    parameters.iter().map(|(path, value)| format!("{path} = {value}")).collect::<Vec<_>>().join(", ")
}
