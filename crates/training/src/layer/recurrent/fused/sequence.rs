//! A recurrent layer over all steps of a batch: its axes, its weights, and how rows are divided.
//!
//! Rows are independent of each other but for the gradients of the weights. So a batch is divided into blocks, by its
//! size alone, and each block goes through all its steps on one thread, where it stays in that core's cache. What
//! blocks add to the gradients of the weights is added up in the order of the blocks.

use super::cell::Cell;
use super::matrix::STRIP;

/// Rows of a block, at most; so few that what a step of it touches fits into the cache.
const BLOCK_ROWS_MAX: usize = 64;

/// Blocks come in multiples of this, so that a few threads have as much to do each.
const BLOCKS: usize = 4;

/// The axes of a pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axes {
    pub(super) batch: usize,
    pub(super) steps: usize,
    pub(super) channels: usize,
    pub(super) units: usize,
    /// Whether the last step is taken first.
    pub(super) backwards: bool,
}

impl Axes {
    /// Units with those that fill up the last vector.
    pub(super) fn padded(self) -> usize {
        self.units.next_multiple_of(STRIP)
    }

    /// The rows of every block but the last.
    pub(super) fn block(self) -> usize {
        let blocks = self.batch.div_ceil(BLOCK_ROWS_MAX).next_multiple_of(BLOCKS);
        self.batch.div_ceil(blocks).max(1)
    }

    /// The step of the input that is taken at `step`.
    pub(super) fn place(self, step: usize) -> usize {
        if self.backwards { self.steps - 1 - step } else { step }
    }

    /// The gate's column in a kernel of the padded column `at`; none of padding.
    pub(super) fn column(self, at: usize) -> Option<usize> {
        let (gate, unit) = (at / self.padded(), at % self.padded());
        (unit < self.units).then_some(gate * self.units + unit)
    }
}

/// The weights as they are stored, row-major.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights<'a> {
    /// `[channels, gates * units]`.
    pub(super) kernel: &'a [f32],
    /// `[units, gates * units]`.
    pub(super) state_kernel: &'a [f32],
    /// `[gates * units]`, and as many again for the state's product if it has its own.
    pub(super) bias: &'a [f32],
}

impl Weights<'_> {
    /// The bias of the input's product and of the state's, padded.
    pub(super) fn biases<C: Cell>(&self, axes: Axes) -> [Vec<f32>; 2] {
        let columns = C::GATES * axes.units;
        [0, columns].map(|first| {
            let at = |column: usize| axes.column(column).and_then(|at| self.bias.get(first + at));
            (0..C::GATES * axes.padded()).map(|column| at(column).copied().unwrap_or(0.0)).collect()
        })
    }
}
