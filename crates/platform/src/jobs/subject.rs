//! What a job trains on: a data set or a table, which must lie where the server may read.
//!
//! A client names files of the server as it does for data sets and models: a `file://` URI under an allowed root, or, for
//! a table, what it has uploaded to the staging area. What can be known of the network before the data is read in full is
//! checked when a job is queued.

use std::path::{Path, PathBuf};

use market::snapshot::Snapshot;
use training::{Columns, Summary};

use super::start::StartVersion;
use crate::pipeline::{DataSource, Pipeline};
use crate::table::{columns_of, sha256_of};
use crate::{BuiltinDataset, Error, ImportDataset, Kind, Platform, Result, TablePipeline};

/// A pipeline over a data set or over a table.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    /// Over a data set.
    Dataset(Box<Pipeline>),
    /// Over a table of rows computed elsewhere.
    Table(Box<TablePipeline>),
}

impl Subject {
    /// Parses the text of a pipeline file.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if TablePipeline::is_text(text) {
            return Ok(Self::Table(Box::new(TablePipeline::parse(text, "pipeline")?)));
        }
        Ok(Self::Dataset(Box::new(Pipeline::parse(text, "pipeline")?)))
    }

    /// The name, which is also the model's.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Dataset(pipeline) => pipeline.name(),
            Self::Table(pipeline) => pipeline.name(),
        }
    }
}

impl Pipeline {
    /// The columns of a row over a snapshot; none if the snapshot does not say which fields it has, as old ones do not.
    pub(super) fn columns_over(&self, snapshot: &Snapshot) -> Result<Option<Columns>> {
        if snapshot.fields.is_empty() {
            return Ok(None);
        }
        let fields: Vec<&str> = snapshot.fields.iter().map(String::as_str).collect();
        self.columns(&fields).map(Some)
    }
}

impl Platform {
    /// The newest snapshot of the data set a pipeline names.
    pub(super) async fn dataset_at_hand(&self, pipeline: &Pipeline) -> Result<Snapshot> {
        let name = &pipeline.data.dataset;
        self.show_dataset(name, None).await.map_err(|error| match error.kind() {
            Kind::NotFound => error
                .context(format!("data.dataset \"{name}\" must be at the server before it is trained on")),
            _ => error,
        })
    }

    /// The columns of a table that a client may name.
    pub(super) async fn table_columns(&self, pipeline: &TablePipeline) -> Result<Option<Columns>> {
        let path = self.allowed_table(&pipeline.data.table)?;
        let pipeline = pipeline.clone();
        blocking(move || columns_of(&pipeline, &path).map(Some)).await
    }

    /// Where a table lies that a client may name, and the SHA-256 of its content now.
    pub(super) async fn table_content(&self, pipeline: &TablePipeline) -> Result<(PathBuf, String)> {
        let path = self.allowed_table(&pipeline.data.table)?;
        blocking(move || Ok((path.clone(), sha256_of(&path)?))).await
    }

    /// Checks that the network of a pipeline connects over these columns, and that it can start from a version.
    pub(super) async fn check_network(
        &self,
        project: &str,
        subject: &Subject,
        columns: &Columns,
        start: Option<&StartVersion>,
    ) -> Result<()> {
        let (model, output, fit) = match subject {
            Subject::Dataset(pipeline) => (&pipeline.model, pipeline.output(), &pipeline.fit),
            Subject::Table(pipeline) => (&pipeline.model, pipeline.output(), &pipeline.fit),
        };
        Summary::new(model, output, columns, fit)?;
        let Some(start) = start else { return Ok(()) };
        let weights = crate::fitting::weights_of(&self.open_start(project, start).await?)?;
        let checked = training::check_start(model, output, columns, &weights);
        checked.map_err(|error| Error::from(error).context(format!("the network cannot start from {start}")))
    }

    /// The file of a table that a client names: staged here, or under an allowed root.
    fn allowed_table(&self, table: &str) -> Result<PathBuf> {
        if table.starts_with("gs://") {
            let staged = self.staging().resolve(table).filter(|path| path.is_file());
            return staged.ok_or_else(|| {
                let message = format!(
                    "data.table \"{table}\" is no object of this server's staging area; upload it there first \
                     (Cloud Storage's API, STORAGE_EMULATOR_HOST)"
                );
                Error::new(Kind::NotFound, message)
            });
        }
        if !table.contains("://") {
            let message = format!(
                "data.table \"{table}\" is a file beside the pipeline, which the server does not have; upload it to the \
                 server's staging area (Cloud Storage's API, STORAGE_EMULATOR_HOST) and name it gs://BUCKET/OBJECT, or \
                 name a file:// URI under an allowed root of the server"
            );
            return Err(Error::invalid("data.table", message));
        }
        self.allowed_path("data.table", table, "a file", Path::is_file)
    }

    /// The import of a pipeline's source, which a client may name as it may name files of a data set.
    pub(super) fn source_import(&self, pipeline: &Pipeline) -> Result<Option<ImportDataset>> {
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

async fn blocking<T: Send + 'static>(call: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(call).await;
    done.map_err(|error| Error::internal("reading a table stopped unexpectedly", error))?
}
