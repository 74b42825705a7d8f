//! Why market data, an expression or a split was refused.

/// Why market data, an expression or a split was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The parts of a panel do not fit together.
    #[error("cannot make a panel: {0}")]
    Panel(String),
    /// A file as a whole cannot be read.
    #[error("cannot read {file}: {reason}")]
    File {
        /// The file as the caller named it.
        file: String,
        /// What is wrong and the way out.
        reason: String,
    },
    /// One value in a file is wrong.
    #[error("{file}, line {line}, column \"{column}\": {reason}")]
    Cell {
        /// The file as the caller named it.
        file: String,
        /// 1-based line of a text file (the header is line 1), or 1-based row of a Parquet file.
        line: u64,
        /// The column's header.
        column: String,
        /// What is wrong and the way out.
        reason: String,
    },
    /// The same bar occurs twice, with different values.
    #[error(
        "{symbol} {time} occurs twice with different values: {first} and {second}; keep one of the two rows"
    )]
    Duplicate {
        /// The instrument.
        symbol: String,
        /// Its day, or its time.
        time: String,
        /// File and line of the first occurrence.
        first: String,
        /// File and line of the second.
        second: String,
    },
    /// What is imported does not fit, into itself or to what is stored.
    #[error("{0}")]
    Dataset(String),
    /// Prices jump by a ratio that looks like a split nobody adjusted for.
    #[error(
        "prices jump as in a split that they are not adjusted for: {0}; import adjusted prices, or keep them with --accept-jumps (acceptJumps=all over the network)"
    )]
    SplitLikeJumps(String),
    /// An expression cannot be understood or is not allowed where it stands.
    #[error("expression \"{text}\", column {column}: {reason}")]
    Expression {
        /// The expression.
        text: String,
        /// 1-based column, in characters.
        column: usize,
        /// What is wrong and the way out.
        reason: String,
    },
    /// A feature set cannot be used.
    #[error("{0}")]
    Feature(String),
    /// An instrument is not in the panel.
    #[error("{0}")]
    UnknownInstrument(String),
    /// A universe is not in the panel.
    #[error("{0}")]
    UnknownUniverse(String),
    /// A row was asked for that the panel cannot give.
    #[error("{0}")]
    Row(String),
    /// A label is not usable.
    #[error("{0}")]
    Label(String),
    /// Processors cannot be fitted or read.
    #[error("{0}")]
    Processor(String),
    /// A split is not usable.
    #[error("{0}")]
    Split(String),
    /// A data set or snapshot is not in the store.
    #[error("{0}")]
    UnknownDataset(String),
    /// A data set's name cannot be used.
    #[error("{0}")]
    DatasetName(String),
    /// What is stored is not what was written.
    #[error("{path} is damaged: {reason}")]
    Corrupt {
        /// The object or directory.
        path: String,
        /// What does not fit.
        reason: String,
    },
    /// Writing a panel file failed.
    #[error("cannot write a panel as parquet: {0}")]
    Encode(#[from] parquet::errors::ParquetError),
    /// A file of a model's answers cannot be written.
    #[error("cannot write the answers: {0}; is the disk full?")]
    Answers(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}
