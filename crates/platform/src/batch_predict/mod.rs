//! Batch prediction: every row of files answered by one version of a model, into one file in the same order.
//!
//! Rows are read a stretch at a time, answered side by side, and written in parts that are noted in a journal once they are
//! whole: what was cut off goes on after its last part, no row twice and none missing. The file itself appears in one step
//! at the end. Deliberately not here: formats of files, which are `market`'s, and progress bars.

mod answerer;
mod errors;
mod journal;
mod parts;
mod run;
mod symbols;

use std::path::PathBuf;

use jiff::civil::Date;
use market::row_file::{AnswerColumn, AnswerFormat, NumberType, RowFormat};
use predictor::{DataType, Signature, TensorSpec};
use serde::{Deserialize, Serialize};

use crate::{Control, Error, Kind, Result};

pub use answerer::{Answerer, LocalAnswerer};
pub(crate) use parts::errors_file;
pub use run::{Streams, run};
pub use symbols::SymbolAnswers;

/// Rows to answer.
#[derive(Debug, Clone)]
pub struct BatchPredict {
    /// The files, in the order of their answers; none: standard input.
    pub inputs: Vec<PathBuf>,
    /// Their format; absent: by their names.
    pub input_format: Option<RowFormat>,
    /// The file to write; none: standard output.
    pub out: Option<PathBuf>,
    /// Its format; absent: by its name.
    pub output_format: Option<AnswerFormat>,
    /// Columns to hand on.
    pub keep: Vec<String>,
    /// Rows by symbol: only what was known at the end of this day counts, where a row does not say another.
    pub as_of: Option<Date>,
    /// Rows that may go without an answer.
    pub max_errors: u64,
    /// Goes on with what an earlier run has left.
    pub resume: bool,
    /// Questions under way at once.
    pub threads: usize,
    /// Rows of a part that is safe from a crash; absent: 262,144.
    pub part_rows: Option<u64>,
    /// Where the report is written as well, before the file appears.
    pub report: Option<PathBuf>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowsProgress {
    /// Rows written, of this run and those it goes on with.
    pub rows: u64,
    /// Those of them that this run has written.
    pub new_rows: u64,
    /// Rows without an answer.
    pub errors: u64,
    /// How much of all files is read, 0 to 1, where their size is known.
    pub fraction: Option<f64>,
}

/// Sees how far a run is and may stop it; it is asked after every stretch of rows.
pub trait BatchObserver {
    /// Rows were written.
    fn on_rows(&mut self, progress: &RowsProgress) -> Control;
    /// Something worth knowing.
    fn on_note(&mut self, text: &str);
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchReport {
    /// The version of this document.
    pub version: u32,
    /// The model.
    pub model: String,
    /// The version that answered.
    pub model_version: u32,
    /// The SHA-256 of its manifest, in hexadecimal.
    pub model_digest: String,
    /// Rows read, which is rows written.
    pub rows: u64,
    /// Those of them that an earlier run had written.
    pub resumed_rows: u64,
    /// Rows without an answer.
    pub errors: u64,
    /// The file written; none for standard output.
    pub out: Option<PathBuf>,
    /// What is wrong with the rows without an answer, a JSON document a line; none if there is no such row.
    pub errors_file: Option<PathBuf>,
    /// Columns of the files that mean nothing.
    pub ignored_columns: Vec<String>,
}

/// The model that answers.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchModel {
    /// Its id.
    pub model: String,
    /// Its version.
    pub version: u32,
    /// The SHA-256 of its manifest, in hexadecimal.
    pub digest: String,
    /// Names of the features in its order; empty if they have none.
    pub features: Vec<String>,
    /// What it takes and gives.
    pub signature: Signature,
    /// Whether missing values are refused.
    pub rejects_missing: bool,
    /// Whether it computes the features of a symbol.
    pub by_symbol: bool,
    /// The data set it computes them from, `NAME@SNAPSHOT`.
    pub data: Option<String>,
}

impl BatchModel {
    /// Numbers of a row.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`] if the model takes anything but one row of `float32` numbers.
    pub fn width(&self) -> Result<usize> {
        let [only] = self.signature.inputs.as_slice() else {
            return Err(self.unfit("several inputs"));
        };
        match only.row_elements() {
            Some(width) if only.dtype == DataType::Float32 && only.shape.len() == 2 => Ok(width),
            _ => Err(self.unfit(&format!("{} {:?}", only.dtype, only.shape))),
        }
    }

    fn unfit(&self, takes: &str) -> Error {
        let message = format!(
            "model {}@{} takes {takes}; a file of rows is answered by models that take one row of float32 numbers",
            self.model, self.version
        );
        Error::new(Kind::FailedPrecondition, message)
    }

    fn outputs(&self) -> Result<Vec<AnswerColumn>> {
        let column = |spec: &TensorSpec| {
            let axes = spec.shape.get(1..).unwrap_or_default();
            let shape: Option<Vec<usize>> = axes.iter().copied().collect();
            let shape = shape.ok_or_else(|| {
                let message = format!(
                    "output \"{}\" of model {}@{} has no fixed size for a row, so it cannot be columns of a file",
                    spec.name, self.model, self.version
                );
                Error::new(Kind::FailedPrecondition, message)
            })?;
            Ok(AnswerColumn { name: spec.name.clone(), shape, kind: number_type(spec.dtype) })
        };
        self.signature.outputs.iter().map(column).collect()
    }
}

fn number_type(kind: DataType) -> NumberType {
    match kind {
        DataType::Float32 => NumberType::Float32,
        DataType::Float64 => NumberType::Float64,
        DataType::Int32 => NumberType::Int32,
        DataType::Int64 => NumberType::Int64,
        DataType::Bool => NumberType::Bool,
    }
}
