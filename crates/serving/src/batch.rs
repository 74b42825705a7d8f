//! Rows of several requests in one call of the engine, and whether a model allows it.
//!
//! A model is tried when it is loaded: rows computed alone, and beside others in batches of several sizes, must come out
//! the same, bit for bit where the engine promises bits. Where they do not, every request is computed by itself.

use std::ops::Range;

use predictor::{DataType, PredictError, Predictor, Signature, Tensor, TensorData, TensorSpec};

/// Rows of the batches that are tried; around the widths of vector units and of the blocks of matrix kernels.
const TRIED_ROWS: [usize; 6] = [2, 3, 7, 16, 33, 130];
/// The batches' rows, taken from here in turn.
const DIFFERENT_ROWS: usize = 5;

/// How the rows of a model may be computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batching {
    /// Requests may be computed together, and a large one in slices.
    On {
        /// Fewer rows than this are filled up with zeros before they are computed: the engine takes another way for a
        /// single row, with other last bits.
        least_rows: usize,
    },
    /// Each request is computed by itself.
    Off {
        /// Why.
        reason: String,
    },
}

impl Batching {
    /// Tries a model.
    pub(crate) fn of(predictor: &dyn Predictor) -> Self {
        let off = |reason: String| Self::Off { reason };
        if let Some(fixed) = without_batch(predictor.signature()) {
            return off(format!("\"{fixed}\" has no open first axis"));
        }
        let sample = sample(predictor.signature());
        let run = |inputs: Vec<Tensor>| super::worker::predict(predictor, inputs);
        let least = [1, 2].map(|least_rows| try_rows(&run, &sample, least_rows, predictor.row_tolerance()));
        match least {
            [Ok(()), _] => Self::On { least_rows: 1 },
            [_, Ok(())] => Self::On { least_rows: 2 },
            [_, Err(reason)] => off(reason),
        }
    }

    /// The fewest rows that a call of the engine has.
    pub(crate) fn least_rows(&self) -> usize {
        match self {
            Self::On { least_rows } => *least_rows,
            Self::Off { .. } => 1,
        }
    }

    /// Computes `rows` rows. No call of the engine has more than `max_batch_rows`.
    pub(crate) fn run(
        &self,
        predictor: &dyn Predictor,
        inputs: Vec<Tensor>,
        rows: usize,
        max_batch_rows: usize,
    ) -> Result<Vec<Tensor>, PredictError> {
        let Self::On { least_rows } = self else { return super::worker::predict(predictor, inputs) };
        if rows <= max_batch_rows {
            return padded(|inputs| super::worker::predict(predictor, inputs), inputs, *least_rows);
        }
        let mut outputs: Vec<Tensor> = Vec::new();
        for slice in self.slices(rows, max_batch_rows) {
            let inputs = take(&inputs, slice);
            let of_slice = padded(|inputs| super::worker::predict(predictor, inputs), inputs, *least_rows)?;
            if outputs.is_empty() {
                outputs = of_slice;
            } else {
                append(&mut outputs, &of_slice)?;
            }
        }
        Ok(outputs)
    }

    /// The rows of each call of the engine when so many are asked for together; at least one call.
    pub(crate) fn slices(
        &self,
        rows: usize,
        max_batch_rows: usize,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let most = match self {
            Self::On { .. } => max_batch_rows.max(1),
            Self::Off { .. } => rows.max(1),
        };
        (0..rows.max(1)).step_by(most).map(move |begin| begin..rows.min(begin.saturating_add(most)))
    }
}

/// The name of a tensor whose first axis the caller does not choose.
fn without_batch(signature: &Signature) -> Option<&str> {
    let mut specs = signature.inputs.iter().chain(&signature.outputs);
    specs.find(|spec| spec.shape.first() != Some(&None)).map(|spec| spec.name.as_str())
}

/// Some rows of harmless numbers, no two alike. Whole numbers are 0 or 1: they may be numbers of categories.
fn sample(signature: &Signature) -> Vec<Tensor> {
    let of_spec = |spec: &TensorSpec| {
        let mut shape: Vec<usize> = spec.shape.iter().map(|axis| axis.unwrap_or(1)).collect();
        shape[0] = DIFFERENT_ROWS;
        let count: usize = shape.iter().product();
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut draw = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut number = || (draw() >> 40) as f32 / (1u32 << 22) as f32 - 2.0;
        let data = match spec.dtype {
            DataType::Float32 => TensorData::Float32((0..count).map(|_| number()).collect()),
            DataType::Float64 => TensorData::Float64((0..count).map(|_| f64::from(number())).collect()),
            DataType::Int32 => TensorData::Int32((0..count).map(|_| i32::from(number() > 0.0)).collect()),
            DataType::Int64 => TensorData::Int64((0..count).map(|_| i64::from(number() > 0.0)).collect()),
            DataType::Bool => TensorData::Bool((0..count).map(|_| number() > 0.0).collect()),
        };
        Tensor::new(shape, data).ok()
    };
    signature.inputs.iter().filter_map(of_spec).collect()
}

/// So many rows of zeros; an open inner axis has one element.
pub(crate) fn zeros(signature: &Signature, rows: usize) -> Result<Vec<Tensor>, PredictError> {
    zeros_of(signature, rows, 1)
}

/// So many rows of zeros whose open inner axes have `size` elements.
pub(crate) fn zeros_of(signature: &Signature, rows: usize, size: usize) -> Result<Vec<Tensor>, PredictError> {
    let of_spec = |spec: &TensorSpec| {
        let open =
            |(index, axis): (usize, &Option<usize>)| axis.unwrap_or(if index == 0 { rows } else { size });
        let shape: Vec<usize> = spec.shape.iter().enumerate().map(open).collect();
        let n = shape.iter().try_fold(1usize, |n, axis| n.checked_mul(*axis)).unwrap_or(usize::MAX);
        let data = match spec.dtype {
            DataType::Float32 => TensorData::Float32(vec![0.0; n]),
            DataType::Float64 => TensorData::Float64(vec![0.0; n]),
            DataType::Int32 => TensorData::Int32(vec![0; n]),
            DataType::Int64 => TensorData::Int64(vec![0; n]),
            DataType::Bool => TensorData::Bool(vec![false; n]),
        };
        Tensor::new(shape, data).map_err(|error| PredictError::Input(error.to_string()))
    };
    signature.inputs.iter().map(of_spec).collect()
}

type Run<'a> = dyn Fn(Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> + 'a;

/// Whether every row comes out the same in batches of every tried size as it does alone.
fn try_rows(run: &Run<'_>, sample: &[Tensor], least_rows: usize, tolerance: f64) -> Result<(), String> {
    let failed = |error: PredictError| format!("a batch could not be tried: {error}");
    let single = |row: usize| padded(run, take(sample, row..row + 1), least_rows);
    let singles: Vec<Vec<Tensor>> =
        (0..DIFFERENT_ROWS).map(single).collect::<Result<_, _>>().map_err(failed)?;
    for rows in TRIED_ROWS {
        // Each size begins elsewhere, so that a row has other neighbours and another place.
        let order: Vec<usize> = (0..rows).map(|at| (at * 3 + rows) % DIFFERENT_ROWS).collect();
        let mut inputs = take(sample, order[0]..order[0] + 1);
        for row in &order[1..] {
            append(&mut inputs, &take(sample, *row..row + 1)).map_err(failed)?;
        }
        let outputs = run(inputs).map_err(failed)?;
        for (at, row) in order.iter().enumerate() {
            for (output, alone) in outputs.iter().zip(&singles[*row]) {
                if output.shape().first() != Some(&rows) {
                    return Err(format!("{rows} rows in give an output of shape {:?}", output.shape()));
                }
                let gap = output.slice_rows(at..at + 1).difference(alone);
                if gap > tolerance {
                    return Err(format!(
                        "a row computed beside {} others differs by {gap:e} from the same row computed alone",
                        rows - 1
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Runs at least `least_rows` rows, zeros after those given, and returns those given.
fn padded(
    run: impl Fn(Vec<Tensor>) -> Result<Vec<Tensor>, PredictError>,
    mut inputs: Vec<Tensor>,
    least_rows: usize,
) -> Result<Vec<Tensor>, PredictError> {
    let rows = inputs.first().map_or(0, Tensor::rows);
    if rows == 0 || rows >= least_rows {
        return run(inputs);
    }
    for input in &mut inputs {
        input.pad_rows(least_rows);
    }
    let mut outputs = run(inputs)?;
    for output in &mut outputs {
        output.truncate_rows(rows);
    }
    Ok(outputs)
}

/// These rows of each tensor.
pub(crate) fn take(tensors: &[Tensor], rows: Range<usize>) -> Vec<Tensor> {
    tensors.iter().map(|tensor| tensor.slice_rows(rows.clone())).collect()
}

/// The rows of a batch taken apart again, so many for each of `counts`.
pub(crate) fn parts(outputs: Vec<Tensor>, counts: &[usize]) -> Vec<Vec<Tensor>> {
    if let [_] = counts {
        return vec![outputs];
    }
    let mut begin = 0;
    let part = |count: &usize| {
        begin += count;
        take(&outputs, begin - count..begin)
    };
    counts.iter().map(part).collect()
}

/// Adds the rows of each tensor of `more` to its fellow.
pub(crate) fn append(tensors: &mut [Tensor], more: &[Tensor]) -> Result<(), PredictError> {
    for (tensor, more) in tensors.iter_mut().zip(more) {
        tensor.append_rows(more).map_err(|error| PredictError::Engine(error.to_string()))?;
    }
    Ok(())
}

/// Whether the rows of two requests can stand in one batch.
pub(crate) fn alike(one: &[Tensor], other: &[Tensor]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            one.data_type() == other.data_type() && one.shape().get(1..) == other.shape().get(1..)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds up each row, and does to the sums what `spoil` says, given the number of rows.
    struct Sums(Signature, fn(&mut [f32], usize));

    impl Sums {
        fn new(spoil: fn(&mut [f32], usize)) -> Self {
            let spec =
                |name: &str, shape| TensorSpec { name: name.to_owned(), dtype: DataType::Float32, shape };
            let inputs = vec![spec("x", vec![None, Some(3)])];
            Self(Signature { inputs, outputs: vec![spec("y", vec![None])] }, spoil)
        }
    }

    impl Predictor for Sums {
        fn signature(&self) -> &Signature {
            &self.0
        }

        fn predict(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> {
            let rows = inputs[0].rows();
            let mut sums: Vec<f32> =
                inputs[0].as_float32().unwrap().chunks_exact(3).map(|row| row.iter().sum()).collect();
            (self.1)(&mut sums, rows);
            Ok(vec![Tensor::float32(vec![rows], sums).unwrap()])
        }

        fn engine(&self) -> &str {
            "sums"
        }
    }

    #[test]
    fn rows_that_stand_alone_may_be_batched() {
        assert_eq!(Batching::of(&Sums::new(|_, _| ())), Batching::On { least_rows: 1 });
    }

    #[test]
    fn another_way_for_a_single_row_is_avoided() {
        let nudge: fn(&mut [f32], usize) = |sums, rows| {
            if rows == 1 {
                sums[0] = f32::from_bits(sums[0].to_bits() + 1);
            }
        };
        let sums = Sums::new(nudge);
        let batching = Batching::of(&sums);
        assert_eq!(batching, Batching::On { least_rows: 2 });
        let row = Tensor::float32(vec![1, 3], vec![0.1, 0.2, 0.3]).unwrap();
        let [alone] = batching.run(&sums, vec![row], 1, 8).unwrap().try_into().unwrap();
        assert_eq!(alone.as_float32().unwrap(), [0.1 + 0.2 + 0.3]);
    }

    #[test]
    fn rows_that_see_each_other_are_not_batched() {
        let mean: fn(&mut [f32], usize) = |sums, rows| {
            let mean = sums.iter().sum::<f32>() / rows as f32;
            sums.iter_mut().for_each(|sum| *sum -= mean);
        };
        let Batching::Off { reason } = Batching::of(&Sums::new(mean)) else { panic!("batched") };
        assert!(reason.starts_with("a row computed beside 1 others differs by"), "{reason}");
        let late: fn(&mut [f32], usize) = |sums, rows| sums[0] += if rows > 100 { 1.0 } else { 0.0 };
        let Batching::Off { reason } = Batching::of(&Sums::new(late)) else { panic!("batched") };
        assert!(reason.contains("beside 129 others"), "{reason}");
    }

    #[test]
    fn a_fixed_first_axis_is_not_batched() {
        let mut sums = Sums::new(|_, _| ());
        sums.0.inputs[0].shape[0] = Some(1);
        let Batching::Off { reason } = Batching::of(&sums) else { panic!("batched") };
        assert_eq!(reason, "\"x\" has no open first axis");
    }

    #[test]
    fn a_large_request_is_computed_in_slices() {
        let widest: fn(&mut [f32], usize) = |_, rows| assert!(rows <= 4, "{rows}");
        let sums = Sums::new(widest);
        let values: Vec<f32> = (0..33).map(|x| x as f32).collect();
        let inputs = || vec![Tensor::float32(vec![11, 3], values.clone()).unwrap()];
        let batching = Batching::On { least_rows: 2 };
        let sliced = batching.run(&sums, inputs(), 11, 4).unwrap();
        assert_eq!(sliced, Sums::new(|_, _| ()).predict(inputs()).unwrap());
    }
}
