//! Why a network could not be fitted or handed over.

use crate::FileError;

/// Why a network could not be fitted or handed over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configured value cannot be.
    #[error("{key} is {value}; {way_out}")]
    Config {
        /// The key: `fit.batch_size`.
        key: String,
        /// Its value.
        value: String,
        /// What it can be.
        way_out: String,
    },
    /// A set has no rows or no columns.
    #[error(
        "the {set} set is empty ({rows} rows of {columns} features); widen its window or import more data"
    )]
    Empty {
        /// Which set.
        set: &'static str,
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
    },
    /// A set has more rows than can be shuffled.
    #[error("the {set} set has {rows} rows; at most {} are supported", u32::MAX)]
    TooManyRows {
        /// Which set.
        set: &'static str,
        /// Its rows.
        rows: usize,
    },
    /// Features, labels and columns do not fit together.
    #[error(
        "the {set} set has {values} values where {rows} labels and {columns} columns ask for one per cell"
    )]
    Shape {
        /// Which set.
        set: &'static str,
        /// Features given.
        values: usize,
        /// Labels given.
        rows: usize,
        /// Columns stated.
        columns: usize,
    },
    /// A set is not as wide as the network.
    #[error("the {set} set has {got} features a row, the network takes {expected}; compute all sets alike")]
    Columns {
        /// Columns of the network.
        expected: usize,
        /// Which set.
        set: &'static str,
        /// Its columns.
        got: usize,
    },
    /// A feature is NaN or infinite.
    #[error(
        "feature \"{feature}\" of row {row} of the {set} set (counted from 0) is {value}; fill or drop missing values \
         before the fit"
    )]
    NotFinite {
        /// Which set.
        set: &'static str,
        /// The row, from 0.
        row: usize,
        /// The feature's name.
        feature: String,
        /// What it is.
        value: f32,
    },
    /// A label is no class of the network.
    #[error(
        "row {row} of the {set} set (counted from 0) has label {label}, the last layer tells classes 0 to {}; \
         give it more units or the label fewer classes", classes - 1
    )]
    Label {
        /// Which set.
        set: &'static str,
        /// The row, from 0.
        row: usize,
        /// Its label.
        label: u32,
        /// Units of the last layer.
        classes: usize,
    },
    /// A layer's inputs do not fit.
    #[error("layer \"{layer}\": {reason}")]
    Layer {
        /// Its name.
        layer: String,
        /// What it expects and what it got.
        reason: String,
    },
    /// Weights are those of another network.
    #[error("the weights do not fit the network: it has {expected} where the weights have {got}")]
    Weights {
        /// Name and shape of the network's tensor.
        expected: String,
        /// Name and shape of what was given.
        got: String,
    },
    /// A number to be predicted is NaN or infinite.
    #[error("the label of row {row} of the {set} set (counted from 0) is {value}; drop rows without a label")]
    LabelNotFinite {
        /// Which set.
        set: &'static str,
        /// The row, from 0.
        row: usize,
        /// What it is.
        value: f32,
    },
    /// A sample weight cannot be.
    #[error(
        "the weight of row {row} of the {set} set (counted from 0) is {value}; it must be a finite number of at least 0"
    )]
    Weight {
        /// Which set.
        set: &'static str,
        /// The row, from 0.
        row: usize,
        /// What it is.
        value: f32,
    },
    /// A loss or metric needs what the rows do not have.
    #[error("{what} needs {needs}, which the {set} set does not have; {way_out}")]
    Missing {
        /// `loss "negative_ic"`.
        what: String,
        /// `the date of each row`.
        needs: &'static str,
        /// Which set.
        set: &'static str,
        /// What to do.
        way_out: &'static str,
    },
    /// The weights ran away.
    #[error(
        "training diverged in epoch {epoch} at step {step}: the {set} loss is {loss:e}; lower \
         optimizer.learning_rate (it is {learning_rate}), set optimizer.clipnorm or scale the features{}",
        .good.map_or_else(String::new, |step| format!("; the last good weights are kept as of step {step}"))
    )]
    Diverged {
        /// The epoch, from 1.
        epoch: usize,
        /// The batch, from 1.
        step: usize,
        /// On which set it showed.
        set: &'static str,
        /// The loss.
        loss: f64,
        /// The learning rate.
        learning_rate: f64,
        /// The update whose weights were kept in a checkpoint.
        good: Option<u64>,
    },
    /// The observer ended the fit.
    #[error("interrupted in epoch {epoch} of {epochs}; {}", kept(*.saved))]
    Interrupted {
        /// The epoch, from 1.
        epoch: usize,
        /// Epochs asked for.
        epochs: usize,
        /// The update after which a checkpoint was written.
        saved: Option<u64>,
    },
    /// The processors are those of other features.
    #[error(
        "the processors scale {processors} features, the network takes {network}; fit both to the same columns"
    )]
    Processors {
        /// Columns of the processors.
        processors: usize,
        /// Columns of the network.
        network: usize,
    },
    /// A file of the fit cannot be written or read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Rows cannot be read from where they are.
    #[error("{0}")]
    Source(String),
    /// A checkpoint does not fit the fit.
    #[error("{0}")]
    Checkpoint(String),
    /// A device cannot be computed on.
    #[error("cannot compute on {device}: {reason}")]
    Device {
        /// The device.
        device: crate::ComputeDevice,
        /// What is missing, and the way out.
        reason: String,
    },
    /// A tensor of the operator graph cannot be made.
    #[error(transparent)]
    Tensor(#[from] predictor::TensorError),
    /// The operator graph cannot be built.
    #[error(transparent)]
    Graph(#[from] artifact::Error),
}

fn kept(saved: Option<u64>) -> String {
    match saved {
        Some(step) => format!("a checkpoint was written at step {step}, go on with --resume"),
        None => "nothing was kept".to_owned(),
    }
}
