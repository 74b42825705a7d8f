//! What a training job is: a pipeline whose data the server has, and the command line that trains it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Files;
use super::launcher::Task;
use crate::pipeline::{DataSource, Pipeline};
use crate::{BuiltinDataset, Error, ImportDataset, Kind, Platform, Result};

/// The kind of job this is.
pub(crate) const KIND: &str = "train";

/// What a training job is to do, as the registry keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrainingSpec {
    /// The text of the pipeline file.
    pub(crate) pipeline: String,
}

/// What a training job reads, in its first attempt and any later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrainingInputs {
    /// The data set.
    pub(crate) dataset: String,
    /// The snapshot of it.
    pub(crate) snapshot: u32,
}

/// The command line of a training job. Every attempt has the same.
pub(crate) fn task(platform: &Platform, name: String, files: &Files, inputs: &TrainingInputs) -> Task {
    let path = |path: PathBuf| path.display().to_string();
    let arguments = vec![
        "train".to_owned(),
        path(files.pipeline()),
        "--out".to_owned(),
        path(files.bundle()),
        "--resume".to_owned(),
        "--data-dir".to_owned(),
        platform.data_dir().display().to_string(),
        "--read-only".to_owned(),
        "--snapshot".to_owned(),
        inputs.snapshot.to_string(),
    ];
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
}

impl Platform {
    /// Checks that a pipeline can be trained by a job: its data is here, or can be imported by the server.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for what the pipeline file says, and for data on another machine;
    /// [`Kind::NotFound`] for a data set that is not here; [`Kind::PermissionDenied`] for a URI outside the
    /// allowed roots.
    pub(crate) async fn check_training(&self, text: &str) -> Result<Pipeline> {
        let pipeline = Pipeline::parse(text, "pipeline")?;
        if self.source_import(&pipeline)?.is_none() {
            let name = &pipeline.data.dataset;
            self.show_dataset(name, None).await.map_err(|error| match error.kind() {
                Kind::NotFound => error.context(format!(
                    "data.dataset \"{name}\" must be at the server before it is trained on"
                )),
                _ => error,
            })?;
        }
        Ok(pipeline)
    }

    /// Imports what the pipeline names, and settles which snapshot is trained on.
    pub(crate) async fn settle_training(&self, spec: &TrainingSpec) -> Result<TrainingInputs> {
        let pipeline = Pipeline::parse(&spec.pipeline, "pipeline")?;
        let dataset = pipeline.data.dataset.clone();
        let snapshot = match self.source_import(&pipeline)? {
            Some(import) => self.import_dataset(import).await?.snapshot,
            None => self.show_dataset(&dataset, None).await?,
        };
        Ok(TrainingInputs { dataset, snapshot: snapshot.number })
    }

    /// The import of a pipeline's source, which a client may name as it may name files of a data set.
    fn source_import(&self, pipeline: &Pipeline) -> Result<Option<ImportDataset>> {
        let data = &pipeline.data;
        let names = match &data.source {
            None => return Ok(None),
            Some(DataSource::One(one)) => std::slice::from_ref(one),
            Some(DataSource::Many(many)) => many.as_slice(),
        };
        if let [one] = names
            && let Some(builtin) = one.strip_prefix("builtin:")
        {
            return Ok(Some(BuiltinDataset::find(builtin)?.import(&data.dataset, one)));
        }
        let way_out = format!(
            "import it at the server (POST .../datasets?datasetId={} with the file as the body) and leave \
             data.source out, or name a file:// URI under an allowed root of the server",
            data.dataset
        );
        if let Some(local) = names.iter().find(|name| !name.contains("://")) {
            let message = format!(
                "data.source \"{local}\" is a file beside the pipeline, which the server does not have; {way_out}"
            );
            return Err(Error::invalid("data.source", message));
        }
        let tables = &data.import;
        let names_tables = tables.actions.is_some()
            || tables.points.is_some()
            || tables.calendar.is_some()
            || !tables.groups.is_empty()
            || !tables.members.is_empty();
        if names_tables {
            let message =
                format!("data.import names files of tables, which a job does not import; {way_out}");
            return Err(Error::invalid("data.import", message));
        }
        let files = self.find_allowed_files(names).map_err(|error| error.context("data.source"))?;
        let settings = data.import.clone();
        Ok(Some(ImportDataset {
            settings,
            source: names.join(", "),
            ..ImportDataset::new(&data.dataset, files)
        }))
    }
}
