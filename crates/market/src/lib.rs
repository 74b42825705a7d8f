//! From files to numbers a model can learn from: panels of daily bars, features and labels over them, splits.
//!
//! [`import()`] turns foreign files into a [`Panel`] and says what is wrong with them; [`snapshot`] keeps panels
//! in a store; [`Expression`] and [`FeatureSet`] compute features and labels with one set of kernels, in a
//! batch ([`compute`]) and at serving time ([`latest`]) alike; [`folds()`] cuts time so that nothing leaks;
//! [`FittedProcessors`] scale features by what the training window knew. Deliberately not here: models,
//! backtests, the network and the clock.

mod panel;
mod periods;
mod universe;

mod expression;
mod kernel;

mod feature;
mod feature_file;
pub mod row_file;
pub mod row_table;
pub mod set;

pub mod certificate;
pub mod ic;
mod label;
mod processor;
mod split;

pub mod dataset;
mod import;
mod quality;
mod source;

mod parquet_table;
pub mod snapshot;

mod average_rank;
mod civil_time;
mod error;
mod nearest;

pub use dataset::Dataset;
pub use error::Error;
pub use expression::{Explained, Expression, Operator, Part, operators};
pub use feature::{
    Closed, FeatureMatrix, FeatureSet, FeatureStream, RowKey, RowRange, StreamConfig, compute,
    compute_blocks, latest,
};
pub use feature_file::FeatureWriter;
pub use import::{AcceptJumps, Import, ImportRequest, import};
pub use label::{LabelConfig, LabelKind, LabelNormalization, Labels, label};
pub use nearest::unknown_instrument;
pub use panel::Panel;
pub use processor::{
    ColumnStep, CrossMethod, FittedProcessors, NanPolicy, Normalization, Processor, ProcessorConfig,
};
pub use quality::{Finding, FindingKind, InstrumentQuality, Jump, Quality, Survivorship};
pub use source::{Adjusted, Bars, Decimal, ReadOptions, Repairs, SourceFile, read_bars};
pub use split::{Border, Fold, SplitConfig, SplitKind, backtest_paths, folds};
pub use universe::Universe;

/// What this crate's fallible functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
