//! What ships inside the binary: the quickstart's data set and pipeline file.

use bytes::Bytes;
use market::SourceFile;

use crate::{Error, Result};

/// The pipeline `bellwether quickstart` runs.
pub const QUICKSTART_PIPELINE: &str = include_str!("../../../examples/sp500-deciles.toml");
/// Its name in errors.
pub const QUICKSTART_ORIGIN: &str = "examples/sp500-deciles.toml (built in)";

/// A data set inside the binary.
#[derive(Debug)]
pub struct BuiltinDataset {
    /// What `source = "builtin:NAME"` calls it.
    pub name: &'static str,
    /// Its files, imported together.
    files: &'static [(&'static str, &'static [u8])],
    /// What a reader of any result must know about it.
    pub notes: &'static [&'static str],
}

const DATASETS: &[BuiltinDataset] = &[BuiltinDataset {
    name: "sp500-20",
    files: &[
        ("sp500_dataset.parquet", include_bytes!("../../../datasets/sp500-20/sp500_dataset.parquet")),
        ("sp500_index.parquet", include_bytes!("../../../datasets/sp500-20/sp500_index.parquet")),
        ("factors_dataset.parquet", include_bytes!("../../../datasets/sp500-20/factors_dataset.parquet")),
    ],
    notes: &[
        "prices are rounded to 0.001: in the 1990s one tick is up to 1.0 % of a price and many returns are exactly 0",
        "prices are back-adjusted for splits and dividends by their source: past values embed later corporate actions",
        "the 20 names were chosen with hindsight: they survived and were large in 2022, so level returns flatter any strategy",
    ],
}];

impl BuiltinDataset {
    /// Finds a data set by name.
    ///
    /// # Errors
    /// [`crate::Kind::InvalidArgument`] naming those there are.
    pub fn find(name: &str) -> Result<&'static Self> {
        DATASETS.iter().find(|dataset| dataset.name == name).ok_or_else(|| {
            let known: Vec<&str> = DATASETS.iter().map(|dataset| dataset.name).collect();
            Error::invalid(
                "data.source",
                format!("no built-in data set \"{name}\"; there is: {}", known.join(", ")),
            )
        })
    }

    /// Its files as the importer takes them.
    pub fn source_files(&self) -> Vec<SourceFile> {
        self.files
            .iter()
            .map(|(name, bytes)| SourceFile { name: (*name).to_owned(), bytes: Bytes::from_static(bytes) })
            .collect()
    }
}
