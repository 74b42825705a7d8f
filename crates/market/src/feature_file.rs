//! Features as a Parquet file: one row a bar, `date` (or `time` within the day), `symbol`, one float32 column a
//! feature, missing values null.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, Float32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::civil_time::{days_since_epoch, micros};
use crate::{FeatureMatrix, Panel, Result};

/// Rows of one group of the file: what a reader holds at once.
const GROUP_ROWS: usize = 64 * 1024;

/// Rows turned into columns at once: few enough to stay in the second cache.
const BATCH_ROWS: usize = 1024;

/// Writes blocks of features as they are computed.
///
/// Values are stored plain: the digits of a feature do not compress, and a reader maps them at once.
pub struct FeatureWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: SchemaRef,
    daily: bool,
}

impl<W: Write + Send> FeatureWriter<W> {
    /// Begins a file of features with these names, in the order of their columns.
    ///
    /// # Errors
    /// [`crate::Error::Encode`] if the file cannot be begun.
    pub fn new(out: W, names: &[&str], daily: bool) -> Result<Self> {
        let time = if daily {
            Field::new("date", DataType::Date32, false)
        } else {
            Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, None), false)
        };
        let mut fields = vec![time, Field::new("symbol", DataType::Utf8, false)];
        fields.extend(names.iter().map(|name| Field::new(*name, DataType::Float32, true)));
        let schema = Arc::new(Schema::new(fields));
        let properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_dictionary_enabled(false)
            .set_column_dictionary_enabled("symbol".into(), true)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by("bellwether".to_owned())
            .build();
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(out, Arc::clone(&schema), options)?;
        Ok(Self { writer, schema, daily })
    }

    /// Writes one block; its rows are about `panel`.
    ///
    /// # Errors
    /// [`crate::Error::Encode`] if the block does not fit the file or cannot be written.
    pub fn write(&mut self, panel: &Panel, block: &FeatureMatrix) -> Result<()> {
        for from in (0..block.rows.len()).step_by(BATCH_ROWS) {
            let to = (from + BATCH_ROWS).min(block.rows.len());
            let rows = &block.rows[from..to];
            let values = &block.values[from * block.columns..to * block.columns];
            let times: ArrayRef = if self.daily {
                let days = rows.iter().map(|key| days_since_epoch(panel.dates()[key.date]));
                Arc::new(Date32Array::from_iter_values(days))
            } else {
                let micros = rows.iter().map(|key| micros(panel.times()[key.date]));
                Arc::new(TimestampMicrosecondArray::from_iter_values(micros))
            };
            let symbols = rows.iter().map(|key| panel.instruments()[key.instrument].as_str());
            let mut columns: Vec<ArrayRef> = vec![times, Arc::new(StringArray::from_iter_values(symbols))];
            for column in 0..block.columns {
                let own: Vec<f32> = values[column..].iter().step_by(block.columns.max(1)).copied().collect();
                let known = if own.iter().any(|value| value.is_nan()) {
                    own.into_iter().map(|value| Some(value).filter(|value| !value.is_nan())).collect()
                } else {
                    Float32Array::from(own)
                };
                columns.push(Arc::new(known));
            }
            let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
                .map_err(parquet::errors::ParquetError::from)?;
            self.writer.write(&batch)?;
        }
        Ok(())
    }

    /// Ends the file and hands back what it was written to.
    ///
    /// # Errors
    /// [`crate::Error::Encode`] if the end cannot be written.
    pub fn finish(self) -> Result<W> {
        Ok(self.writer.into_inner()?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Date32Type, Float32Type, TimestampMicrosecondType};
    use bytes::Bytes;
    use jiff::civil::{DateTime, date};

    use super::*;
    use crate::{FeatureSet, RowRange, Universe, compute, parquet_table};

    fn written(times: Vec<DateTime>) -> parquet_table::Table {
        let close = vec![1.0, f64::NAN, 2.0, 5.0];
        let names = vec!["A".to_owned(), "B".to_owned()];
        let panel = Panel::with_times(times, names, BTreeMap::from([("close".to_owned(), close)]));
        let panel = panel.expect("it fits");
        let set = FeatureSet::new(vec![
            ("NOW".to_owned(), "$close".to_owned()),
            ("NONE".to_owned(), "Log(-$close)".to_owned()),
        ]);
        let set = set.expect("it is well formed");
        let rows = RowRange { dates: 0..2, universe: Universe::all() };
        let matrix = compute(&panel, &set, &rows).expect("close is there");
        let mut writer = FeatureWriter::new(Vec::new(), &set.names(), panel.is_daily()).expect("it begins");
        writer.write(&panel, &matrix).expect("it fits the file");
        parquet_table::read(&Bytes::from(writer.finish().expect("it ends"))).expect("own file")
    }

    #[test]
    fn a_row_a_bar_with_missing_values_null() {
        let table = written(vec![date(2020, 1, 2).at(0, 0, 0, 0), date(2020, 1, 3).at(0, 0, 0, 0)]);
        let names: Vec<&String> = table.schema.fields().iter().map(|field| field.name()).collect();
        assert_eq!(names, ["date", "symbol", "NOW", "NONE"]);
        let batch = &table.batches[0];
        assert_eq!(batch.num_rows(), 3, "B has no bar on the first day");
        let days = batch.column(0).as_primitive::<Date32Type>();
        assert_eq!(days.values()[..], [18263, 18264, 18264]);
        let symbols: Vec<&str> = batch.column(1).as_string::<i32>().iter().flatten().collect();
        assert_eq!(symbols, ["A", "A", "B"]);
        let now = batch.column(2).as_primitive::<Float32Type>();
        assert_eq!((now.null_count(), &now.values()[..]), (0, &[1.0, 2.0, 5.0][..]));
        assert_eq!(batch.column(3).null_count(), 3);
    }

    #[test]
    fn bars_within_the_day_have_a_time() {
        let table = written(vec![date(2020, 1, 2).at(9, 30, 0, 0), date(2020, 1, 2).at(9, 31, 0, 0)]);
        assert_eq!(table.schema.field(0).name(), "time");
        let times = table.batches[0].column(0).as_primitive::<TimestampMicrosecondType>();
        let half_past_nine = (18263 * 86_400 + 9 * 3600 + 30 * 60) * 1_000_000;
        assert_eq!(
            times.values()[..],
            [half_past_nine, half_past_nine + 60_000_000, half_past_nine + 60_000_000]
        );
    }
}
