//! What a job is to do: the kinds of work, what each reads, and the command line that does it.

use std::path::PathBuf;

use market::snapshot::Snapshot;
use registry::Job;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Files;
use super::launcher::Task;
use super::start::StartVersion;
use super::subject::Subject;
use crate::{Error, Kind, Pipeline, Platform, Result, search};

/// The kinds of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkKind {
    /// A pipeline is trained.
    Train,
    /// It is tried with other values of its fields, and the best trained.
    Search,
    /// Files of rows are answered by a version.
    BatchPredict,
}

impl WorkKind {
    /// Those that make a version from a pipeline.
    pub(crate) const OF_PIPELINES: [&str; 2] = ["train", "search"];

    /// The word the registry keeps, which is the verb of the command line of a pipeline too.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Search => "search",
            Self::BatchPredict => "batch_predict",
        }
    }

    /// The kind of a stored job.
    pub(crate) fn of(job: &Job) -> Result<Self> {
        let known =
            [Self::Train, Self::Search, Self::BatchPredict].into_iter().find(|kind| kind.word() == job.kind);
        known.ok_or_else(|| {
            let message =
                format!("job \"{}\" is of kind \"{}\", which this version cannot run", job.id, job.kind);
            Error::new(Kind::FailedPrecondition, message)
        })
    }
}

/// What a job is to do, as the registry keeps it beside its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobSpec {
    /// The text of the pipeline file.
    pub(crate) pipeline: String,
    /// The version whose weights it starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<StartVersion>,
}

/// What a job reads, in its first attempt and any later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum JobInputs {
    /// A snapshot of a data set.
    Snapshot {
        /// The data set.
        dataset: String,
        /// The snapshot's number.
        snapshot: u32,
    },
    /// A table.
    Table {
        /// What the pipeline calls it.
        table: String,
        /// The file it is.
        path: PathBuf,
        /// The SHA-256 of that, in hexadecimal.
        sha256: String,
    },
}

/// What an attempt of a job is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) kind: WorkKind,
    pub(crate) spec: &'a JobSpec,
    pub(crate) inputs: &'a JobInputs,
}

/// The command line of a job. Every attempt has the same.
pub(crate) fn task(platform: &Platform, name: String, files: &Files, attempt: Attempt<'_>) -> Task {
    let Attempt { kind, spec, inputs } = attempt;
    let shown = |path: PathBuf| path.display().to_string();
    let mut arguments = vec![
        kind.word().to_owned(),
        shown(files.pipeline()),
        "--out".to_owned(),
        shown(files.bundle()),
        "--resume".to_owned(),
        "--data-dir".to_owned(),
        platform.data_dir().display().to_string(),
        "--read-only".to_owned(),
    ];
    arguments.extend(match inputs {
        JobInputs::Snapshot { snapshot, .. } => vec!["--snapshot".to_owned(), snapshot.to_string()],
        JobInputs::Table { path, sha256, .. } => {
            vec!["--table".to_owned(), shown(path.clone()), "--table-sha256".to_owned(), sha256.clone()]
        }
    });
    if spec.from.is_some() {
        arguments.extend(["--from".to_owned(), shown(files.start())]);
    }
    if kind == WorkKind::Search {
        arguments.extend(["--trials".to_owned(), shown(files.trials())]);
    }
    Task { name, directory: files.directory().to_owned(), log: files.log(), arguments }
}

impl JobSpec {
    /// The spec of a stored job.
    pub(crate) fn of(document: &Value) -> Result<Self> {
        serde_json::from_value(document.clone())
            .map_err(|error| Error::internal("the registry holds a job this version cannot read", error))
    }
}

impl JobInputs {
    /// The inputs of a stored job, once they are settled.
    pub(crate) fn of(document: &Value) -> Result<Option<Self>> {
        serde_json::from_value(document.clone())
            .map_err(|error| Error::internal("the registry holds a job this version cannot read", error))
    }

    fn snapshot(snapshot: &Snapshot) -> Self {
        Self::Snapshot { dataset: snapshot.name.clone(), snapshot: snapshot.number }
    }
}

impl Platform {
    /// Checks that a pipeline can be trained by a job, as far as that is known before its turn: its data is here, or can
    /// be imported by the server, and its network fits the data and the weights it starts from.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for what the pipeline file says, and for data on another machine;
    /// [`Kind::NotFound`] for a data set, a staged table or a version that is not here; [`Kind::PermissionDenied`] for a
    /// URI outside the allowed roots.
    pub(crate) async fn check_training(
        &self,
        project: &str,
        text: &str,
        from: Option<&str>,
    ) -> Result<(Subject, Option<StartVersion>)> {
        let subject = Subject::parse(text)?;
        let columns = match &subject {
            Subject::Dataset(pipeline) => match self.source_import(pipeline)? {
                // It is imported when the job's turn has come.
                Some(_) => None,
                None => Some(pipeline.columns_over(&self.dataset_at_hand(pipeline).await?)?),
            },
            Subject::Table(pipeline) => Some(self.table_columns(pipeline).await?),
        };
        let start = match from {
            Some(reference) => Some(self.start_version(project, reference).await?),
            None => None,
        };
        if let Some(columns) = columns.flatten() {
            self.check_network(project, &subject, &columns, start.as_ref()).await?;
        }
        Ok((subject, start))
    }

    /// Checks that a job can search a pipeline, as far as that is known before its turn.
    ///
    /// # Errors
    /// As [`Platform::check_training`]; [`Kind::InvalidArgument`] for a pipeline without `[search]`.
    pub(crate) async fn check_search(&self, text: &str) -> Result<Pipeline> {
        let pipeline = match Subject::parse(text)? {
            Subject::Dataset(pipeline) => *pipeline,
            Subject::Table(_) => {
                let message =
                    "a search compares windows in time, which a table does not have; name a data set";
                return Err(Error::invalid("data.table", message));
            }
        };
        search::check(&pipeline)?;
        if self.source_import(&pipeline)?.is_none() {
            self.dataset_at_hand(&pipeline).await?;
        }
        Ok(pipeline)
    }

    /// Imports what the pipeline names, and settles which snapshot or table is trained on.
    pub(crate) async fn settle_job(
        &self,
        project: &str,
        kind: WorkKind,
        spec: &JobSpec,
    ) -> Result<JobInputs> {
        let subject = Subject::parse(&spec.pipeline)?;
        let (inputs, columns) = match &subject {
            Subject::Dataset(pipeline) => {
                let snapshot = match self.source_import(pipeline)? {
                    Some(import) => self.import_dataset(import).await?.snapshot,
                    None => self.dataset_at_hand(pipeline).await?,
                };
                (JobInputs::snapshot(&snapshot), pipeline.columns_over(&snapshot)?)
            }
            Subject::Table(pipeline) => {
                let (path, sha256) = self.table_content(pipeline).await?;
                let columns = self.table_columns(pipeline).await?;
                (JobInputs::Table { table: pipeline.data.table.clone(), path, sha256 }, columns)
            }
        };
        // The fields of a network that are searched may say nothing yet.
        if let Some(columns) = columns.filter(|_| kind == WorkKind::Train) {
            self.check_network(project, &subject, &columns, spec.from.as_ref()).await?;
        }
        Ok(inputs)
    }
}
