//! Every operator of the graph in a small computation, beside the same in plain loops.
//!
//! All cases take the same inputs, so that they can be run one by one or as the outputs of one graph.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

mod array;
mod elementwise;
mod layers;
mod shapes;
mod windows;

use artifact::Error;
use artifact::graph::{Graph, GraphBuilder, Value};
use predictor::{DataType, Tensor};

use crate::sample::Numbers;
pub use array::Array;

/// Relative to the larger of 1 and the expected value.
pub const TOLERANCE: f64 = 1e-5;

pub const FLAT: usize = 12;
pub const STEPS: usize = 7;
pub const CHANNELS: usize = 4;
/// Name, and the shape of a row.
pub const INPUTS: [(&str, &[usize]); 4] =
    [("flat", &[FLAT]), ("gaps", &[FLAT]), ("series", &[STEPS, CHANNELS]), ("stack", &[2, 3, CHANNELS])];

/// The inputs in a graph.
pub struct Inputs {
    /// `[batch, 12]`, with values up to 100 and down to -100.
    pub flat: Value,
    /// `[batch, 12]`, some of them NaN.
    pub gaps: Value,
    /// `[batch, 7, 4]`.
    pub series: Value,
    /// `[batch, 2, 3, 4]`.
    pub stack: Value,
}

/// The same as arrays.
pub struct Arrays {
    pub flat: Array,
    pub gaps: Array,
    pub series: Array,
    pub stack: Array,
}

/// One computation.
pub struct Case {
    pub name: &'static str,
    /// Adds it to a graph, all nodes under the name.
    pub build: fn(&mut GraphBuilder, &Inputs) -> Result<Value, Error>,
    /// What must come out.
    pub expected: fn(&Arrays) -> Array,
}

/// All cases.
pub fn cases() -> Vec<Case> {
    [elementwise::cases(), shapes::cases(), windows::cases(), layers::cases()].into_iter().flatten().collect()
}

/// A graph with the inputs and an output for each case, named as it is.
pub fn graph(cases: &[Case]) -> Graph {
    let mut graph = GraphBuilder::new();
    let [flat, gaps, series, stack] = INPUTS.map(|(name, row)| {
        let shape = std::iter::once(None).chain(row.iter().map(|size| Some(*size))).collect();
        graph.input(name, DataType::Float32, shape).unwrap()
    });
    let inputs = Inputs { flat, gaps, series, stack };
    for case in cases {
        let value =
            (case.build)(&mut graph, &inputs).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        graph.output(case.name, value).unwrap();
    }
    graph.build().unwrap()
}

/// A batch of inputs, in their order.
pub fn batch(rows: usize) -> Vec<Tensor> {
    let mut numbers = Numbers::new(23);
    let mut tensor = |at: usize, scale: f32| {
        let (_, row) = INPUTS[at];
        let shape: Vec<usize> = std::iter::once(rows).chain(row.iter().copied()).collect();
        Tensor::float32(shape.clone(), numbers.take(shape.iter().product(), scale)).unwrap()
    };
    let (flat, gaps) = (tensor(0, 4.0), tensor(1, 2.0));
    let (series, stack) = (tensor(2, 1.5), tensor(3, 1.5));
    let changed = |tensor: Tensor, every: usize, values: &[f32]| {
        let mut data = tensor.as_float32().unwrap().to_vec();
        for (i, x) in data.iter_mut().step_by(every).enumerate() {
            *x = values[i % values.len()];
        }
        Tensor::float32(tensor.shape().to_vec(), data).unwrap()
    };
    let flat = changed(flat, 5, &[100.0, -100.0, 30.0, -30.0, 0.0, 1e-6, -1e-3]);
    vec![flat, changed(gaps, 3, &[f32::NAN]), series, stack]
}

/// The inputs of [`batch`] as arrays.
pub fn arrays(batch: &[Tensor]) -> Arrays {
    let array = |at: usize| Array::from_f32(batch[at].shape(), batch[at].as_float32().unwrap());
    Arrays { flat: array(0), gaps: array(1), series: array(2), stack: array(3) }
}

/// Fixed weights.
pub fn weights(seed: u64, shape: &[usize]) -> Tensor {
    Tensor::float32(shape.to_vec(), Numbers::new(seed).take(shape.iter().product(), 0.8)).unwrap()
}

/// The same as an array.
pub fn weight_array(seed: u64, shape: &[usize]) -> Array {
    Array::from_f32(shape, weights(seed, shape).as_float32().unwrap())
}

/// The largest difference of a result from what is expected, relative to the larger of 1 and the expected; infinite
/// if the shapes differ or one value is NaN.
pub fn difference(found: &Tensor, expected: &Array) -> f64 {
    if found.shape() != expected.shape {
        return f64::INFINITY;
    }
    let found = found.as_float32().unwrap();
    let gaps = found.iter().zip(&expected.data).map(|(x, y)| (f64::from(*x) - y).abs() / y.abs().max(1.0));
    gaps.fold(0.0, |worst, gap| if gap.is_nan() { f64::INFINITY } else { worst.max(gap) })
}
