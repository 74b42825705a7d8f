//! Rows by symbol that are answered where the data is, and put among those whose features are at hand.

use std::collections::BTreeMap;

use predictor::{Tensor, TensorData};

use crate::{Error, Kind, Result};

/// What came of rows by symbol.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SymbolAnswers {
    /// The outputs of the rows that were answered, in their order and in that of the signature.
    pub outputs: Vec<Tensor>,
    /// Which rows were not, by their places, and why; the run goes on.
    pub refused: BTreeMap<usize, String>,
}

/// The rows of a stretch that are answered so.
#[derive(Debug, Default)]
pub(super) struct There {
    /// Whether each row is one; empty if none is.
    pub(super) rows: Vec<bool>,
    pub(super) outputs: Vec<Tensor>,
}

impl There {
    /// Whether a row is answered so.
    pub(super) fn has(&self, row: usize) -> bool {
        self.rows.get(row).is_some_and(|there| *there)
    }

    /// The outputs of all rows; `here` are those of the others, and `rows` says of each row that is answered whether it is one.
    pub(super) fn among(self, here: Vec<Tensor>, rows: &[bool]) -> Result<Vec<Tensor>> {
        if self.outputs.is_empty() {
            return Ok(here);
        }
        if here.is_empty() {
            return Ok(self.outputs);
        }
        here.into_iter().zip(self.outputs).map(|(here, there)| merged(here, there, rows)).collect()
    }
}

fn merged(here: Tensor, there: Tensor, rows: &[bool]) -> Result<Tensor> {
    let inner = here.shape().get(1..).unwrap_or_default().to_vec();
    let width: usize = inner.iter().product();
    let shape: Vec<usize> = [rows.len()].into_iter().chain(inner).collect();
    let data = match (here.into_data(), there.into_data()) {
        (TensorData::Float32(a), TensorData::Float32(b)) => {
            TensorData::Float32(interleaved(&a, &b, width, rows))
        }
        (TensorData::Float64(a), TensorData::Float64(b)) => {
            TensorData::Float64(interleaved(&a, &b, width, rows))
        }
        (TensorData::Int32(a), TensorData::Int32(b)) => TensorData::Int32(interleaved(&a, &b, width, rows)),
        (TensorData::Int64(a), TensorData::Int64(b)) => TensorData::Int64(interleaved(&a, &b, width, rows)),
        (TensorData::Bool(a), TensorData::Bool(b)) => TensorData::Bool(interleaved(&a, &b, width, rows)),
        _ => {
            return Err(Error::new(Kind::Internal, "an output is of one type by symbol and of another else"));
        }
    };
    Tensor::new(shape, data).map_err(|error| Error::internal("outputs cannot be put together", error))
}

fn interleaved<T: Copy>(here: &[T], there: &[T], width: usize, rows: &[bool]) -> Vec<T> {
    let (mut here, mut there) = (here.chunks(width.max(1)), there.chunks(width.max(1)));
    let row = |is_there: &bool| if *is_there { there.next() } else { here.next() };
    rows.iter().filter_map(row).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(rows: usize, values: &[f32]) -> Tensor {
        Tensor::float32(vec![rows, 2], values.to_vec()).unwrap()
    }

    #[test]
    fn rows_are_put_back_where_they_were() {
        let there = There { rows: Vec::new(), outputs: vec![tensor(2, &[5.0, 6.0, 7.0, 8.0])] };
        let rows = [true, false, true];
        let all = there.among(vec![tensor(1, &[1.0, 2.0])], &rows).unwrap();
        assert_eq!(all, [tensor(3, &[5.0, 6.0, 1.0, 2.0, 7.0, 8.0])]);
        let alone = There { rows: Vec::new(), outputs: vec![tensor(1, &[5.0, 6.0])] };
        assert_eq!(alone.among(Vec::new(), &[true]).unwrap(), [tensor(1, &[5.0, 6.0])]);
        assert_eq!(There::default().among(vec![tensor(1, &[1.0, 2.0])], &[false]).unwrap().len(), 1);
        // What does not come out even is told.
        let short = There { rows: Vec::new(), outputs: vec![tensor(1, &[5.0, 6.0])] };
        assert!(short.among(vec![tensor(1, &[1.0, 2.0])], &rows).is_err());
    }
}
