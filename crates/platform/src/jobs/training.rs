//! What a training job is: a pipeline whose data the server has, and the command line that trains it.

use std::path::PathBuf;

use market::snapshot::Snapshot;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Files;
use super::launcher::Task;
use super::start::StartVersion;
use super::subject::Subject;
use crate::{Error, Platform, Result};

/// The kind of job this is.
pub(crate) const KIND: &str = "train";

/// What a training job is to do, as the registry keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrainingSpec {
    /// The text of the pipeline file.
    pub(crate) pipeline: String,
    /// The version whose weights it starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<StartVersion>,
}

/// What a training job reads, in its first attempt and any later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum TrainingInputs {
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

/// The command line of a training job. Every attempt has the same.
pub(crate) fn task(
    platform: &Platform,
    name: String,
    files: &Files,
    spec: &TrainingSpec,
    inputs: &TrainingInputs,
) -> Task {
    let shown = |path: PathBuf| path.display().to_string();
    let mut arguments = vec![
        "train".to_owned(),
        shown(files.pipeline()),
        "--out".to_owned(),
        shown(files.bundle()),
        "--resume".to_owned(),
        "--data-dir".to_owned(),
        platform.data_dir().display().to_string(),
        "--read-only".to_owned(),
    ];
    arguments.extend(match inputs {
        TrainingInputs::Snapshot { snapshot, .. } => vec!["--snapshot".to_owned(), snapshot.to_string()],
        TrainingInputs::Table { path, sha256, .. } => {
            vec!["--table".to_owned(), shown(path.clone()), "--table-sha256".to_owned(), sha256.clone()]
        }
    });
    if spec.from.is_some() {
        arguments.extend(["--from".to_owned(), shown(files.start())]);
    }
    Task { name, directory: files.directory().to_owned(), log: files.log(), arguments }
}

impl TrainingSpec {
    /// The spec of a stored job.
    pub(crate) fn of(document: &Value) -> Result<Self> {
        serde_json::from_value(document.clone())
            .map_err(|error| Error::internal("the registry holds a job this version cannot read", error))
    }
}

impl TrainingInputs {
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
    ///
    /// [`Kind::InvalidArgument`]: crate::Kind::InvalidArgument
    /// [`Kind::NotFound`]: crate::Kind::NotFound
    /// [`Kind::PermissionDenied`]: crate::Kind::PermissionDenied
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

    /// Imports what the pipeline names, and settles which snapshot or table is trained on.
    pub(crate) async fn settle_training(&self, project: &str, spec: &TrainingSpec) -> Result<TrainingInputs> {
        let subject = Subject::parse(&spec.pipeline)?;
        let (inputs, columns) = match &subject {
            Subject::Dataset(pipeline) => {
                let snapshot = match self.source_import(pipeline)? {
                    Some(import) => self.import_dataset(import).await?.snapshot,
                    None => self.dataset_at_hand(pipeline).await?,
                };
                (TrainingInputs::snapshot(&snapshot), pipeline.columns_over(&snapshot)?)
            }
            Subject::Table(pipeline) => {
                let (path, sha256) = self.table_content(pipeline).await?;
                let columns = self.table_columns(pipeline).await?;
                (TrainingInputs::Table { table: pipeline.data.table.clone(), path, sha256 }, columns)
            }
        };
        if let Some(columns) = columns {
            self.check_network(project, &subject, &columns, spec.from.as_ref()).await?;
        }
        Ok(inputs)
    }
}
