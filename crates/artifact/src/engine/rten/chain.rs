//! Small networks that are one layer after another, computed without the engine's graph, which for a few rows costs several
//! times what the numbers do.
//!
//! The kernels are the engine's own. Whether their order is, is tried when a model is loaded: on rows of all kinds the bits
//! must be those of the graph, else the graph computes as before. Many rows, and all other networks, always go through the
//! graph.

mod read;

use std::cell::RefCell;

use predictor::Tensor;
use rten_gemm::{BiasVector, GemmExecutor, GemmInputA, GemmInputB, GemmOptions, PackedBMatrix};
use rten_simd::{SimdOp as _, SimdUnaryOp as _};
use rten_tensor::NdTensorView;
use rten_vecmath::{LeakyRelu, Sigmoid, Softmax, Tanh};

use read::Biases;
pub(super) use read::Layers;

/// More numbers of a layer's output than these are computed by the graph.
const NUMBERS_MAX: usize = 16 << 10;

thread_local! {
    /// What goes into a layer and what comes out, kept from one call to the next.
    static LAYERS: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// A network that is one step after another.
pub(super) struct Chain {
    steps: Vec<Step>,
    /// Numbers of a row of the widest layer.
    widest: usize,
}

/// What is done to each row.
enum Step {
    /// Multiplied by a matrix; a bias is added in the same breath, which may round in another way than afterwards.
    MatMul(Box<MatMul>),
    /// With a constant for each column.
    Columns(Binary, Vec<f32>),
    /// What is missing becomes the column's constant.
    Fill(Vec<f32>),
    Clip(f32, f32),
    Relu,
    LeakyRelu(f32),
    Sigmoid,
    Tanh,
    Softmax,
}

struct MatMul {
    /// `inputs` rows of `units` columns.
    weights: Vec<f32>,
    inputs: usize,
    units: usize,
    /// The weights as the kernel wants them for more than one row.
    packed: PackedBMatrix<f32>,
    bias: Option<Vec<f32>>,
}

impl MatMul {
    fn new(weights: Vec<f32>, [inputs, units]: [usize; 2], bias: Option<Vec<f32>>) -> Self {
        let packed = GemmExecutor::<f32>::default()
            .prepack_b(NdTensorView::from_data([inputs, units], weights.as_slice()));
        Self { weights, inputs, units, packed, bias }
    }

    fn run(&self, rows: usize, input: &[f32], output: &mut Vec<f32>) -> Option<()> {
        output.resize(rows * self.units, 0.0);
        let input = NdTensorView::try_from_data([rows, self.inputs], input).ok()?;
        // The engine multiplies a single row in another way, with other last bits.
        let weights = match rows {
            1 => GemmInputB::Unpacked(NdTensorView::from_data(
                [self.inputs, self.units],
                self.weights.as_slice(),
            )),
            _ => GemmInputB::Packed(&self.packed),
        };
        let bias = self.bias.as_deref().map(BiasVector::Row);
        let options = GemmOptions { bias, ..GemmOptions::default() };
        GemmExecutor::<f32>::default().gemm(output, GemmInputA::Unpacked(input), weights, options).ok()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binary {
    Add,
    Sub,
    Mul,
    Div,
}

impl Chain {
    /// Whether it computes so many rows.
    pub(super) fn takes(&self, rows: usize) -> bool {
        rows.saturating_mul(self.widest) <= NUMBERS_MAX
    }

    /// The outputs of so many rows, row after row; none if a kernel refuses them.
    pub(super) fn run(&self, rows: usize, input: &[f32]) -> Option<Vec<f32>> {
        LAYERS.with_borrow_mut(|[current, next]| {
            current.clear();
            current.extend_from_slice(input);
            for step in &self.steps {
                let Step::MatMul(layer) = step else {
                    step.apply(current, rows);
                    continue;
                };
                layer.run(rows, current, next)?;
                std::mem::swap(current, next);
            }
            Some(current.as_slice().to_vec())
        })
    }
}

impl Step {
    /// Does it to `rows` rows that keep their width.
    fn apply(&self, values: &mut [f32], rows: usize) {
        let width = values.len().checked_div(rows).unwrap_or_default().max(1);
        let rows = values.chunks_exact_mut(width);
        match self {
            Self::MatMul(_) => {}
            Self::Columns(operation, constants) => {
                for row in rows {
                    let columns = row.iter_mut().zip(constants);
                    match operation {
                        Binary::Add => columns.for_each(|(x, c)| *x += c),
                        Binary::Sub => columns.for_each(|(x, c)| *x -= c),
                        Binary::Mul => columns.for_each(|(x, c)| *x *= c),
                        Binary::Div => columns.for_each(|(x, c)| *x /= c),
                    }
                }
            }
            Self::Fill(constants) => {
                for row in rows {
                    for (x, c) in row.iter_mut().zip(constants) {
                        *x = if x.is_nan() { *c } else { *x };
                    }
                }
            }
            Self::Clip(least, most) => values.iter_mut().for_each(|x| *x = x.max(*least).min(*most)),
            Self::Relu => values.iter_mut().for_each(|x| *x = x.max(0.0)),
            Self::LeakyRelu(alpha) => LeakyRelu { alpha: *alpha }.map_mut(values),
            Self::Sigmoid => Sigmoid {}.map_mut(values),
            Self::Tanh => Tanh {}.map_mut(values),
            Self::Softmax => rows.for_each(|row| {
                Softmax::new_mut(row).dispatch();
            }),
        }
    }
}

/// Batches on which a chain must give the bits of the graph.
const TRIED_ROWS: [usize; 6] = [1, 2, 3, 7, 16, 33];

/// Rows of all kinds: about 0, large, tiny, infinite, missing. The same in every run.
fn tried_rows(rows: usize, width: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut number = |row: usize| {
        let about_zero = (draw() >> 40) as f32 / (1u32 << 22) as f32 - 2.0;
        match (row % 5, draw() % 16) {
            (1, 0) => f32::NAN,
            (2, 0) => f32::INFINITY,
            (2, 1) => f32::NEG_INFINITY,
            (3, _) => about_zero * 1e30,
            (4, _) => about_zero * 1e-30,
            _ => about_zero,
        }
    };
    (0..rows * width).map(|at| number(at / width.max(1))).collect()
}

/// Whether two outputs are the same bits; one missing value is like another.
fn same(one: &[f32], other: &[f32]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
}

impl Chain {
    /// The chain of the layers, if it gives what `graph` gives for the same rows, bit for bit.
    pub(super) fn proven(layers: &Layers, graph: impl Fn(Tensor) -> Option<Vec<f32>>) -> Option<Self> {
        let width = layers.width();
        let tried: Vec<(usize, Vec<f32>)> =
            TRIED_ROWS.iter().map(|rows| (*rows, tried_rows(*rows, width))).collect();
        let mut expected = Vec::with_capacity(tried.len());
        for (rows, input) in &tried {
            expected.push(graph(Tensor::float32(vec![*rows, width], input.clone()).ok()?)?);
        }
        let agrees = |chain: &Self| {
            let mut pairs = tried.iter().zip(&expected);
            pairs.all(|((rows, input), expected)| {
                chain.takes(*rows) && chain.run(*rows, input).is_some_and(|given| same(&given, expected))
            })
        };
        Biases::ALL.into_iter().map(|biases| layers.chain(biases)).find(agrees)
    }
}

#[cfg(test)]
mod tests;
