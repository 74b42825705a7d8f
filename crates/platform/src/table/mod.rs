//! Training on a table of rows computed elsewhere: a pipeline file that names columns of a Parquet file instead of
//! features, label and split of a data set.
//!
//! Nothing about when such a column was known can be checked: the certificate says of each that it is not certified,
//! and such a model answers vectors, not symbols. A table is a file, here or, for a job, where the server may read.

mod train;

use std::path::{Path, PathBuf};

use market::ProcessorConfig;
use market::row_table::RowColumns;
use serde::{Deserialize, Serialize};
use training::{FitConfig, ModelConfig, OutputConfig};

use crate::model::file_path;
use crate::pipeline::{self, DeploySection, STEPS_MAX, check_header, read_text, syntax_error};
use crate::{Error, Result};

pub use train::TableReport;
pub(crate) use train::{columns_of, sha256_of};

/// A parsed and checked pipeline file over a table. Unknown keys are errors, everywhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TablePipeline {
    version: u32,
    name: String,
    /// The file.
    pub data: TableData,
    /// Its columns that the model sees.
    #[serde(default)]
    pub features: TableFeatures,
    /// Its columns that the model learns.
    pub label: TableLabel,
    /// The column that says which rows train, validate and test.
    pub split: TableSplit,
    /// How raw features are scaled; not at all by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processors: Option<ProcessorConfig>,
    /// The network.
    pub model: ModelConfig,
    /// How it is fitted.
    #[serde(default)]
    pub fit: FitConfig,
    /// What `run` deploys it with.
    #[serde(default)]
    pub deploy: DeploySection,
    #[serde(skip)]
    text: String,
    #[serde(skip)]
    pinned: Option<PinnedTable>,
}

/// A table that was found already: where it lies, and what it must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedTable {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256, in hexadecimal, if another content is to be refused.
    pub sha256: Option<String>,
}

/// `[data]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableData {
    /// A Parquet file, relative to the pipeline file, or its `file://` URI; for a job of a server, a URI the server may read.
    pub table: String,
    /// The column with the date of each row, for metrics and losses by date.
    pub date: Option<String>,
    /// The column with the instrument of each row; no feature.
    pub symbol: Option<String>,
    /// The column that says how much each row counts.
    pub weight: Option<String>,
    /// Whether training rows are read from the file as they are needed, for tables that do not fit into memory. Rows
    /// are then shuffled in blocks.
    #[serde(default)]
    pub stream: bool,
}

/// `[features]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TableFeatures {
    /// The columns, in the model's order; all numeric ones without another role by default.
    pub columns: Vec<String>,
    /// How many steps a row has; its columns are then those of the oldest step, of the next, and so on.
    pub steps: Option<usize>,
}

/// `[label]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TableLabel {
    /// The column.
    pub column: Option<String>,
    /// Or several, each a number.
    pub columns: Vec<String>,
    /// How many classes it has: whole numbers from 0. A number is learned without.
    pub classes: Option<usize>,
}

/// `[split]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSplit {
    /// A text column of `train`, `valid` and `test`; rows that say anything else are left out.
    pub column: String,
}

impl TablePipeline {
    /// Whether a pipeline file is one over a table; what cannot be read is not.
    pub fn is_in(path: &Path) -> bool {
        read_text(path, "pipeline file").is_ok_and(|text| Self::is_text(&text))
    }

    /// Whether the text of a pipeline file is one over a table; what is not TOML is not.
    pub fn is_text(text: &str) -> bool {
        let parsed = text.parse::<toml::Table>();
        parsed.is_ok_and(|table| table.get("data").is_some_and(|data| data.get("table").is_some()))
    }

    /// The same over a table that was found already, wherever the file says that it lies.
    #[must_use]
    pub fn over(self, table: PinnedTable) -> Self {
        Self { pinned: Some(table), ..self }
    }

    /// Parses and checks a pipeline; `origin` names it in errors.
    ///
    /// # Errors
    /// [`crate::Kind::InvalidArgument`] with line and column for what is not TOML or not a key of ours, and for
    /// values that cannot be.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let parsed: std::result::Result<Self, toml::de::Error> = toml::from_str(text);
        let mut pipeline = parsed.map_err(|error| syntax_error(text, origin, &error))?;
        text.clone_into(&mut pipeline.text);
        pipeline.check().map_err(|error| error.context(origin))?;
        Ok(pipeline)
    }

    /// Reads and parses a pipeline file.
    ///
    /// # Errors
    /// As [`TablePipeline::parse`]; [`crate::Kind::NotFound`] if the file is not there.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&read_text(path, "pipeline file")?, &path.display().to_string())
    }

    /// The name, which is also the model's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What a ready architecture ends with.
    pub(crate) fn output(&self) -> OutputConfig {
        let mut output = pipeline::output(self.label.classes, &self.fit);
        if self.label.classes.is_none() && self.label.columns.len() > 1 {
            output.units = self.label.columns.len();
        }
        output
    }

    /// Where the table lies, and the SHA-256 it must have, if that is known.
    ///
    /// # Errors
    /// [`crate::Kind::InvalidArgument`] for a URI of anything but a file.
    pub(crate) fn file(&self, base_dir: &Path) -> Result<PinnedTable> {
        let table = &self.data.table;
        let path = match &self.pinned {
            Some(pinned) => return Ok(pinned.clone()),
            None if table.contains("://") => file_path(table).map_err(|_| {
                let message = format!(
                    "data.table \"{table}\" is no file of this machine; name a Parquet file, or its URI as \
                     file:///absolute/path (a gs:// URI is for a job of the server it was uploaded to)"
                );
                Error::invalid("data.table", message)
            })?,
            None => base_dir.join(table),
        };
        Ok(PinnedTable { path, sha256: None })
    }

    pub(crate) fn row_columns(&self) -> RowColumns {
        RowColumns {
            features: self.features.columns.clone(),
            labels: self.label.column.iter().chain(&self.label.columns).cloned().collect(),
            classes: self.label.classes,
            split: self.split.column.clone(),
            date: self.data.date.clone(),
            symbol: self.data.symbol.clone(),
            weight: self.data.weight.clone(),
            streams: self.data.stream,
        }
    }

    fn check(&self) -> Result<()> {
        check_header(self.version, &self.name)?;
        let labels = usize::from(self.label.column.is_some()) + self.label.columns.len();
        if labels == 0 || self.label.column.is_some() && !self.label.columns.is_empty() {
            let message =
                "name the label: label.column = \"NAME\", or label.columns = [..] for several numbers";
            return Err(Error::invalid("label", message));
        }
        if let Some(classes) = self.label.classes
            && (labels > 1 || !(2..=1_000_000).contains(&classes))
        {
            let message = format!("label.classes must be 2 to 1000000 of one column, got {classes}");
            return Err(Error::invalid("label.classes", message));
        }
        let steps = self.features.steps.unwrap_or(1);
        if !(1..=STEPS_MAX).contains(&steps) {
            let message = format!("features.steps must be 1 to {STEPS_MAX}, got {steps}");
            return Err(Error::invalid("features.steps", message));
        }
        if let Some(processors) = &self.processors {
            if self.data.stream {
                let message = "processors are fitted to all training rows at once, which a stream does not hold; scale the \
                               columns before, or leave data.stream out";
                return Err(Error::invalid("processors", message));
            }
            processors.check()?;
        }
        self.model.check()?;
        self.fit.check()?;
        // Numbers may be shares of classes, so that losses of classes fit them as well.
        pipeline::check_units(self.label.classes, &self.model, &self.fit)
    }
}
