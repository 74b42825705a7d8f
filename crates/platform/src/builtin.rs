//! What ships inside the binary: the quickstart's data set and pipeline file.

use bytes::Bytes;
use market::SourceFile;
use market::dataset::Adjustment;

use crate::{Error, ImportDataset, ImportSettings, Result};

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
    /// How its prices deal with splits and dividends.
    adjustment: Adjustment,
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
    adjustment: Adjustment::BackAdjusted,
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

    /// Its import under a name; `source` is what asked for it.
    pub fn import(&self, name: &str, source: &str) -> ImportDataset {
        let in_memory =
            |(name, bytes): &(&str, &'static [u8])| SourceFile::in_memory(*name, Bytes::from_static(bytes));
        ImportDataset {
            settings: ImportSettings { adjustment: Some(self.adjustment), ..ImportSettings::default() },
            notes: self.notes.iter().map(|note| (*note).to_owned()).collect(),
            source: source.to_owned(),
            ..ImportDataset::new(name, self.files.iter().map(in_memory).collect())
        }
    }
}
