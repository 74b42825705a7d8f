//! The golden sample: a call recorded at training, repeated before a model is trusted on an engine.

use predictor::{Predictor, Tensor};

use super::Golden;
use crate::Error;

/// The largest absolute difference a golden output may show. Outputs are probabilities; engines differ by about 1e-7.
pub const GOLDEN_TOLERANCE: f32 = 1e-5;

/// JSON has no infinity, so one would silently read back as missing.
pub(super) fn check_writable(golden: &Golden) -> Result<(), Error> {
    let rows = golden.inputs.iter().chain(&golden.outputs);
    if rows.flatten().any(|x| x.is_infinite()) {
        return Err(Error::Manifest {
            reason: "a golden value is infinite, which JSON cannot hold".to_owned(),
        });
    }
    Ok(())
}

pub(super) fn verify(golden: &Golden, predictor: &dyn Predictor) -> Result<f32, Error> {
    let fail = |reason: String| Error::Golden { engine: predictor.engine().to_owned(), reason };
    if let Some(call) = &golden.call {
        return call.repeat(predictor, GOLDEN_TOLERANCE).map_err(fail);
    }
    let input = batch_of(&golden.inputs).map_err(fail)?;
    let outputs = predictor.predict(vec![input]).map_err(|error| fail(error.to_string()))?;
    let [output] = outputs.as_slice() else {
        return Err(fail(format!("the model gives {} outputs, the sample records one", outputs.len())));
    };
    let found = output.as_float32().ok_or_else(|| fail(format!("the output is {}", output.data_type())))?;
    let expected = golden.outputs.concat();
    if golden.outputs.len() != golden.inputs.len() || expected.len() != found.len() {
        return Err(fail(format!("it records {} values, the model gives {}", expected.len(), found.len())));
    }
    let columns = found.len() / golden.inputs.len();
    let mut largest = 0.0;
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let difference = (found - expected).abs();
        if difference.is_nan() || difference > GOLDEN_TOLERANCE {
            let (row, column) = (at / columns, at % columns);
            return Err(fail(format!(
                "row {row}, column {column} gives {found} where {expected} was recorded \
                 (tolerance {GOLDEN_TOLERANCE}); the file or the engine is not the one that was validated"
            )));
        }
        largest = f32::max(largest, difference);
    }
    Ok(largest)
}

fn batch_of(rows: &[Vec<f32>]) -> Result<Tensor, String> {
    let columns = rows.first().map(Vec::len).ok_or("the bundle records no sample")?;
    if let Some(row) = rows.iter().position(|row| row.len() != columns) {
        return Err(format!("row {row} has {} values, row 0 has {columns}", rows[row].len()));
    }
    Tensor::float32(vec![rows.len(), columns], rows.concat()).map_err(|error| error.to_string())
}
