//! The tensors a layer has, how they start and what is added to the loss for their size.

use serde::{Deserialize, Serialize};

use crate::seed::Generator;

/// `kernel_regularizer = { l1 = 0.0, l2 = 0.01 }`: what a tensor adds to the loss, `l1 sum |w| + l2 sum w^2`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Regularizer {
    /// Weight of the sum of magnitudes.
    pub l1: f64,
    /// Weight of the sum of squares.
    pub l2: f64,
}

impl Regularizer {
    pub(crate) fn check(&self) -> Result<(), String> {
        for (key, value) in [("l1", self.l1), ("l2", self.l2)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(format!(
                    "kernel_regularizer.{key} is {value}; it must be a finite number of at least 0"
                ));
            }
        }
        Ok(())
    }
}

/// One tensor of a layer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ParameterSpec {
    /// `kernel`; the network puts the layer's name before it.
    pub(crate) name: String,
    /// One to three axes.
    pub(crate) shape: Vec<usize>,
    /// How it starts.
    pub(crate) initializer: Initializer,
    /// Whether gradients change it; moving averages are changed by their layer.
    pub(crate) trainable: bool,
    /// What it adds to the loss.
    pub(crate) regularizer: Regularizer,
}

impl ParameterSpec {
    /// A trainable tensor that adds nothing to the loss.
    pub(crate) fn new(name: &str, shape: Vec<usize>, initializer: Initializer) -> Self {
        Self {
            name: name.to_owned(),
            shape,
            initializer,
            trainable: true,
            regularizer: Regularizer::default(),
        }
    }

    /// A tensor that gradients do not change.
    pub(crate) fn fixed(name: &str, shape: Vec<usize>, initializer: Initializer) -> Self {
        Self { trainable: false, ..Self::new(name, shape, initializer) }
    }

    /// How many numbers it holds.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// How a tensor starts; names and formulas are Keras's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Initializer {
    /// The same number everywhere.
    Constant(f32),
    /// These numbers.
    Values(Vec<f32>),
    /// Uniform in `±sqrt(6 / (fan_in + fan_out))` (Glorot and Bengio 2010, "Understanding the difficulty of
    /// training deep feedforward neural networks", equation 16).
    GlorotUniform {
        /// Inputs an output sees.
        fan_in: usize,
        /// Outputs an input reaches.
        fan_out: usize,
    },
    /// `rows x columns` with orthonormal rows or columns, whichever are fewer (Saxe et al. 2014, "Exact solutions to
    /// the nonlinear dynamics of learning in deep linear neural networks", section 3).
    Orthogonal {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
}

impl Initializer {
    /// `length` numbers.
    pub(crate) fn draw(&self, generator: &mut Generator, length: usize) -> Vec<f32> {
        match self {
            Self::Constant(value) => vec![*value; length],
            Self::Values(values) => values.clone(),
            Self::GlorotUniform { fan_in, fan_out } => {
                let limit = (6.0 / (fan_in + fan_out) as f64).sqrt() as f32;
                (0..length).map(|_| generator.symmetric(limit)).collect()
            }
            Self::Orthogonal { rows, columns } => orthogonal(generator, *rows, *columns),
        }
    }
}

/// Normal draws made orthonormal one after the other (modified Gram-Schmidt, twice for accuracy).
fn orthogonal(generator: &mut Generator, rows: usize, columns: usize) -> Vec<f32> {
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(count);
    while basis.len() < count {
        let mut vector: Vec<f64> = (0..length).map(|_| generator.normal()).collect();
        for _ in 0..2 {
            for other in &basis {
                let along: f64 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
                vector.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
        }
        let norm = vector.iter().map(|a| a * a).sum::<f64>().sqrt();
        // Draws that lie in the span of the ones before are drawn again; that has probability 0.
        if norm > 1e-6 {
            vector.iter_mut().for_each(|a| *a /= norm);
            basis.push(vector);
        }
    }
    let cell = |row: usize, column: usize| {
        if rows <= columns { basis[row][column] } else { basis[column][row] }
    };
    (0..rows * columns).map(|at| cell(at / columns, at % columns) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Purpose;

    #[test]
    fn a_kernel_fills_the_glorot_interval() {
        let initializer = Initializer::GlorotUniform { fan_in: 75, fan_out: 128 };
        let kernel = initializer.draw(&mut Generator::new(1, Purpose::Weights), 75 * 128);
        let limit = (6.0f32 / 203.0).sqrt();
        let largest = kernel.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        assert_eq!(kernel.len(), 75 * 128);
        assert!(largest <= limit && largest > 0.99 * limit, "{largest} of {limit}");
    }

    #[test]
    fn orthogonal_rows_or_columns_are_orthonormal() {
        for (rows, columns) in [(4, 16), (16, 4), (7, 7)] {
            let mut generator = Generator::new(3, Purpose::Weights);
            let matrix = Initializer::Orthogonal { rows, columns }.draw(&mut generator, rows * columns);
            let count = rows.min(columns);
            let vector = |i: usize| -> Vec<f32> {
                if rows <= columns {
                    matrix[i * columns..(i + 1) * columns].to_vec()
                } else {
                    (0..rows).map(|row| matrix[row * columns + i]).collect()
                }
            };
            for i in 0..count {
                for j in 0..count {
                    let product: f32 = vector(i).iter().zip(vector(j)).map(|(a, b)| a * b).sum();
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((product - expected).abs() < 1e-6, "{rows}x{columns} {i} {j}: {product}");
                }
            }
        }
    }
}
