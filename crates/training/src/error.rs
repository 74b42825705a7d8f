//! Why a network could not be fitted or handed over.

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
    /// The sets differ in width.
    #[error(
        "the validation set has {validation} features a row, the training set {training}; compute both alike"
    )]
    Columns {
        /// Columns of the training set.
        training: usize,
        /// Columns of the validation set.
        validation: usize,
    },
    /// A feature is NaN or infinite.
    #[error(
        "feature {column} of row {row} of the {set} set is {value} (both counted from 0); fill or drop missing \
         values before the fit"
    )]
    NotFinite {
        /// Which set.
        set: &'static str,
        /// The row, from 0.
        row: usize,
        /// The column, from 0.
        column: usize,
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
    /// The weights ran away.
    #[error(
        "training diverged in epoch {epoch} at step {step}: the {set} loss is {loss:e}; lower \
         optimizer.learning_rate (it is {learning_rate}) or scale the features"
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
    },
    /// The observer ended the fit.
    #[error("interrupted in epoch {epoch} of {epochs}; nothing was kept")]
    Interrupted {
        /// The epoch, from 1.
        epoch: usize,
        /// Epochs asked for.
        epochs: usize,
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
    /// A tensor of the operator graph cannot be made.
    #[error(transparent)]
    Tensor(#[from] predictor::TensorError),
    /// The operator graph cannot be built.
    #[error(transparent)]
    Graph(#[from] artifact::Error),
}
