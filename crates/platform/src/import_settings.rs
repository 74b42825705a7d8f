//! What a user says about data when it is imported: the flags of `data import`, and `[data.import]`.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::Time;
use market::dataset::{Adjustment, Stamp, TableFile, TableKind, TimingOptions};
use market::{Decimal, ReadOptions};
use serde::{Deserialize, Serialize};

use crate::source_file::find_source_files;
use crate::{Error, Kind, Result};

/// How files are read and what else is known about their instruments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportSettings {
    /// What columns hold, by header: `date`, `close`, `ignore`, a field's name.
    pub columns: BTreeMap<String, String>,
    /// The field a wide file holds; absent: `close`.
    pub field: Option<String>,
    /// How dates are written: `%d/%m/%Y`.
    pub date_format: Option<String>,
    /// The zone of the data set's times: `America/New_York`.
    pub time_zone: Option<String>,
    /// How numbers are written.
    pub decimal: Option<Decimal>,
    /// How the prices deal with splits and dividends.
    pub adjustment: Option<Adjustment>,
    /// When the market closes: `16:00`.
    pub close_time: Option<Time>,
    /// Minutes after the close at which a bar is available.
    pub lag_minutes: Option<u32>,
    /// Whether a time within the day is when a bar began or ended.
    pub stamp: Option<Stamp>,
    /// Length of a bar within the day, in minutes.
    pub bar_minutes: Option<u32>,
    /// Splits and dividends: `symbol, date, split, dividend`.
    pub actions: Option<String>,
    /// Published values: `symbol, period, published`, and a column for each.
    pub points: Option<String>,
    /// Trading days: `date`.
    pub calendar: Option<String>,
    /// Groupings by name: `symbol, group, from`.
    pub groups: BTreeMap<String, String>,
    /// Universes by name: `symbol, from, to`.
    pub members: BTreeMap<String, String>,
}

impl ImportSettings {
    pub(crate) fn read_options(&self) -> ReadOptions {
        let usual = ReadOptions::default();
        ReadOptions {
            field: self.field.clone().unwrap_or(usual.field),
            columns: self.columns.clone(),
            date_format: self.date_format.clone(),
            time_zone: self.time_zone.clone(),
            decimal: self.decimal.unwrap_or_default(),
        }
    }

    pub(crate) fn timing(&self) -> TimingOptions {
        TimingOptions {
            close_time: self.close_time,
            lag_minutes: self.lag_minutes,
            stamp: self.stamp,
            bar_minutes: self.bar_minutes,
            time_zone: self.time_zone.clone(),
        }
    }

    /// The files of tables; relative paths start at `base_dir`.
    ///
    /// # Errors
    /// As [`find_source_files`]; [`Kind::InvalidArgument`] for a folder.
    pub async fn find_tables(&self, base_dir: &Path) -> Result<Vec<TableFile>> {
        let mut wanted = Vec::new();
        let single = [
            (TableKind::Actions, &self.actions),
            (TableKind::Points, &self.points),
            (TableKind::Calendar, &self.calendar),
        ];
        wanted.extend(single.into_iter().filter_map(|(kind, file)| Some((kind, file.as_ref()?))));
        wanted.extend(self.groups.iter().map(|(name, file)| (TableKind::Groups(name.clone()), file)));
        wanted.extend(self.members.iter().map(|(name, file)| (TableKind::Members(name.clone()), file)));
        let mut tables = Vec::new();
        for (kind, name) in wanted {
            let mut files = find_source_files(std::slice::from_ref(name), base_dir).await?;
            match (files.pop(), files.is_empty()) {
                (Some(file), true) => tables.push(TableFile { kind, file }),
                _ => {
                    let message = format!("\"{name}\" is a folder; a table is one file");
                    return Err(Error::new(Kind::InvalidArgument, message));
                }
            }
        }
        Ok(tables)
    }
}
