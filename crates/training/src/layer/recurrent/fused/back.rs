//! The way back: gradients of the weights and of the input, from those of the states.

use std::marker::PhantomData;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::cell::{Backward, Cell};
use super::matrix::{Outer, Packed, Product, Rows, STRIP, Start};
use super::sequence::{Axes, Weights};

/// Gradients, each of the shape of what it belongs to.
#[derive(Debug)]
pub(super) struct Gradients {
    pub(super) x: Option<Vec<f32>>,
    pub(super) kernel: Vec<f32>,
    pub(super) state_kernel: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

/// What comes back to a pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pull<'a> {
    /// Gradient of the state after each step, `[batch, steps, units]`, or of that after the last one, `[batch, units]`.
    pub(super) states: &'a [f32],
    /// Whether the gradient of the input is wanted.
    pub(super) wants_x: bool,
}

/// The way back through what `ahead::forward` left of the same arguments.
pub(super) fn backward<C: Cell>(
    axes: Axes,
    x: &[f32],
    weights: &Weights<'_>,
    passed: (&[f32], &[Vec<f32>]),
    pull: Pull<'_>,
) -> Gradients {
    let Axes { batch, steps, channels, units, .. } = axes;
    let (hidden, kept) = passed;
    let columns = C::GATES * units;
    // The transposed kernels.
    let pack = |rows: usize, values: &[f32]| {
        let at = |column: usize, row: usize| match axes.column(column) {
            Some(column) if row < rows => values[row * columns + column],
            _ => 0.0,
        };
        Packed::new(C::GATES * axes.padded(), rows.next_multiple_of(STRIP), at)
    };
    let back = Back {
        axes,
        kernel: pull.wants_x.then(|| pack(channels, weights.kernel)),
        state_kernel: pack(units, weights.state_kernel),
    };
    let rows = axes.block();
    let mut by_x = pull.wants_x.then(|| vec![0.0; batch * steps * channels]);
    let by_states = pull.states.par_chunks(rows * pull.states.len() / batch);
    let mut by_blocks: Vec<&mut [f32]> = match &mut by_x {
        Some(by_x) => by_x.chunks_mut(rows * steps * channels).collect(),
        None => kept.iter().map(|_| Default::default()).collect(),
    };
    let blocks = (kept.par_iter().zip(hidden.par_chunks(rows * steps * units)))
        .zip(x.par_chunks(rows * steps * channels).zip(by_states))
        .zip(by_blocks.par_iter_mut());
    let parts: Vec<Sums> = blocks
        .map(|(((kept, hidden), (x, by_states)), by_x)| {
            back.block::<C>(&Block { kept, hidden, x, by_states }, by_x)
        })
        .collect();
    let mut parts = parts.into_iter();
    let mut sums = parts.next().expect("a batch has a block");
    for part in parts {
        sums.add(&part);
    }
    let gates = C::GATES * axes.padded();
    let unpadded = |values: &[f32]| -> Vec<f32> {
        let kept = |(at, value): (usize, &f32)| axes.column(at % gates).map(|_| *value);
        values.iter().enumerate().filter_map(kept).collect()
    };
    let mut bias = unpadded(&sums.biases[0]);
    if weights.bias.len() > bias.len() {
        bias.extend(unpadded(&sums.biases[1]));
    }
    Gradients { x: by_x, kernel: unpadded(&sums.kernel), state_kernel: unpadded(&sums.state_kernel), bias }
}

/// Gradients of the weights, padded.
struct Sums {
    kernel: Vec<f32>,
    state_kernel: Vec<f32>,
    biases: [Vec<f32>; 2],
}

impl Sums {
    fn all(&mut self) -> [&mut Vec<f32>; 4] {
        let [bias, state_bias] = &mut self.biases;
        [&mut self.kernel, &mut self.state_kernel, bias, state_bias]
    }

    fn add(&mut self, other: &Self) {
        let [bias, state_bias] = &other.biases;
        let others = [&other.kernel, &other.state_kernel, bias, state_bias];
        for (sums, others) in self.all().into_iter().zip(others) {
            for (sum, other) in sums.iter_mut().zip(others) {
                *sum += other;
            }
        }
    }
}

/// What every block needs on the way back: the transposed kernels, that of the input if its gradient is wanted.
struct Back {
    axes: Axes,
    kernel: Option<Packed>,
    state_kernel: Packed,
}

/// A block of rows as it was on the way there, and what comes back to it.
struct Block<'a> {
    kept: &'a [f32],
    hidden: &'a [f32],
    x: &'a [f32],
    by_states: &'a [f32],
}

impl Back {
    fn block<C: Cell>(&self, block: &Block<'_>, by_x: &mut [f32]) -> Sums {
        let Axes { steps, channels, units, .. } = self.axes;
        let padded = self.axes.padded();
        let gates = C::GATES * padded;
        let rows = block.hidden.len() / (steps * units);
        let size = rows * C::KEPT * padded;
        let mut sums = Sums {
            kernel: vec![0.0; channels * gates],
            state_kernel: vec![0.0; units * gates],
            biases: [vec![0.0; gates], vec![0.0; gates]],
        };
        let mut before = vec![0.0; rows * padded];
        let mut by_hidden = vec![0.0; rows * padded];
        let mut by_carried = vec![0.0; rows * padded];
        let mut by_input = vec![0.0; rows * gates];
        let mut by_state = vec![0.0; if C::ONE_SUM { 0 } else { rows * gates }];
        let width = channels.next_multiple_of(STRIP);
        let mut by_place = vec![0.0; if self.kernel.is_some() { rows * width } else { 0 }];
        for step in (0..steps).rev() {
            pull(&mut by_hidden, (padded, units), block.by_states, steps, step);
            if step > 0 {
                let states = block.hidden.chunks_exact(steps * units);
                for (before, states) in before.chunks_exact_mut(padded).zip(states) {
                    before[..units].copy_from_slice(&states[(step - 1) * units..step * units]);
                }
            } else {
                before.fill(0.0);
            }
            Arch::new().dispatch(StepBack {
                padded,
                kept: &block.kept[step * size..][..size],
                kept_before: step.checked_sub(1).map(|step| &block.kept[step * size..][..size]),
                before: &before,
                by_hidden: &mut by_hidden,
                by_carried: &mut by_carried,
                by_input: &mut by_input,
                by_state: &mut by_state,
                cell: PhantomData::<C>,
            });
            let by_state = if C::ONE_SUM { &by_input } else { &by_state };
            let place = self.axes.place(step);
            let [by_input, by_state] =
                [by_input.as_slice(), by_state].map(|by| (Rows::new(by, gates), gates));
            let ones = (Rows::new(&[1.0], 0), 1);
            let x = (Rows::new(&block.x[place * channels..], steps * channels), channels);
            Outer { rows, a: x, b: by_input, c: &mut sums.kernel }.run();
            Outer { rows, a: ones, b: by_input, c: &mut sums.biases[0] }.run();
            if !C::ONE_SUM {
                Outer { rows, a: ones, b: by_state, c: &mut sums.biases[1] }.run();
            }
            if let Some(kernel) = &self.kernel {
                let c = (by_place.as_mut_slice(), width);
                Product { rows, a: by_input.0, b: kernel, start: Start::Zero, c }.run();
                let places = by_x.chunks_exact_mut(steps * channels);
                for (by_x, by_place) in places.zip(by_place.chunks_exact(width)) {
                    by_x[place * channels..(place + 1) * channels].copy_from_slice(&by_place[..channels]);
                }
            }
            if step > 0 {
                Outer {
                    rows,
                    a: (Rows::new(&before, padded), units),
                    b: by_state,
                    c: &mut sums.state_kernel,
                }
                .run();
                let (b, c) = (&self.state_kernel, (by_hidden.as_mut_slice(), padded));
                Product { rows, a: by_state.0, b, start: Start::There, c }.run();
            }
        }
        sums
    }
}

/// Adds the gradients of the states after `step` that come from outside to what comes from the next step.
fn pull(
    by_hidden: &mut [f32],
    (padded, units): (usize, usize),
    by_states: &[f32],
    steps: usize,
    step: usize,
) {
    let each = by_states.len() / (by_hidden.len() / padded);
    let first = match each == units {
        // Only the state after the last step was given away.
        true if step + 1 < steps => return,
        true => 0,
        false => step * units,
    };
    for (by_hidden, by_states) in by_hidden.chunks_exact_mut(padded).zip(by_states.chunks_exact(each)) {
        for (sum, more) in by_hidden[..units].iter_mut().zip(&by_states[first..first + units]) {
            *sum += more;
        }
    }
}

/// A step of a block on the way back.
struct StepBack<'a, C> {
    padded: usize,
    kept: &'a [f32],
    kept_before: Option<&'a [f32]>,
    before: &'a [f32],
    by_hidden: &'a mut [f32],
    by_carried: &'a mut [f32],
    by_input: &'a mut [f32],
    by_state: &'a mut [f32],
    cell: PhantomData<C>,
}

impl<C: Cell> WithSimd for StepBack<'_, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let padded = self.padded;
        let (kept, gates) = (C::KEPT * padded, C::GATES * padded);
        for row in 0..self.before.len() / padded {
            let (states, sums) = (row * padded..(row + 1) * padded, row * gates..(row + 1) * gates);
            let by_state = if C::ONE_SUM { 0..0 } else { sums.clone() };
            let kept = row * kept..(row + 1) * kept;
            C::backward(
                simd,
                Backward {
                    kept: &self.kept[kept.clone()],
                    kept_before: self.kept_before.map(|before| &before[kept]),
                    hidden_before: &self.before[states.clone()],
                    by_hidden: &mut self.by_hidden[states.clone()],
                    by_carried: &mut self.by_carried[states],
                    by_input: &mut self.by_input[sums],
                    by_state: &mut self.by_state[by_state],
                },
            );
        }
    }
}
