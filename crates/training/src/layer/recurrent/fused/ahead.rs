//! The way there: the states of a batch, and what the way back needs of it.

use std::marker::PhantomData;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::cell::{Cell, Forward};
use super::matrix::{Packed, Product, Rows, Start};
use super::sequence::{Axes, Weights};

/// What a pass leaves.
#[derive(Debug)]
pub(super) struct Passed {
    /// `[batch, steps, units]`: the state after each step, in the order they were taken.
    pub(super) hidden: Vec<f32>,
    /// Of each block, `[steps, rows, KEPT, padded units]`, if the way back was asked for.
    pub(super) kept: Vec<Vec<f32>>,
}

/// `x` is `[batch, steps, channels]`; `keep` says whether there will be a way back.
pub(super) fn forward<C: Cell>(axes: Axes, x: &[f32], weights: &Weights<'_>, keep: bool) -> Passed {
    let Axes { batch, steps, channels, units, .. } = axes;
    let (padded, columns) = (axes.padded(), C::GATES * units);
    let pack = |depth: usize, values: &[f32]| {
        let at = |row: usize, column: usize| {
            axes.column(column).map_or(0.0, |column| values[row * columns + column])
        };
        Packed::new(depth, C::GATES * padded, at)
    };
    let of = Ahead {
        axes,
        kernel: pack(channels, weights.kernel),
        state_kernel: pack(units, weights.state_kernel),
        biases: weights.biases::<C>(axes),
        keep,
    };
    let mut hidden = vec![0.0; batch * steps * units];
    let rows = axes.block();
    let blocks = hidden.par_chunks_mut(rows * steps * units).zip(x.par_chunks(rows * steps * channels));
    let kept = blocks.map(|(hidden, x)| of.block::<C>(x, hidden)).collect();
    Passed { hidden, kept }
}

/// What every block needs on the way there.
struct Ahead {
    axes: Axes,
    kernel: Packed,
    state_kernel: Packed,
    biases: [Vec<f32>; 2],
    keep: bool,
}

impl Ahead {
    fn block<C: Cell>(&self, x: &[f32], states: &mut [f32]) -> Vec<f32> {
        let Axes { steps, channels, units, .. } = self.axes;
        let padded = self.axes.padded();
        let rows = states.len() / (steps * units);
        let size = rows * C::KEPT * padded;
        let mut kept = Vec::with_capacity(if self.keep { steps * size } else { size });
        let mut of_state = vec![0.0; rows * C::GATES * padded];
        let mut carried = vec![0.0; rows * padded];
        let mut hidden = vec![0.0; rows * padded];
        for step in 0..steps {
            if !self.keep {
                kept.clear();
            }
            // Grown step by step, it is in the cache when its numbers are written.
            let first = kept.len();
            kept.resize(first + size, 0.0);
            let kept = &mut kept[first..];
            Product {
                rows,
                a: Rows::new(&x[self.axes.place(step) * channels..], steps * channels),
                b: &self.kernel,
                start: Start::Row(&self.biases[0]),
                c: (kept, C::KEPT * padded),
            }
            .run();
            if step == 0 {
                // The state is zeros.
                for row in of_state.chunks_exact_mut(C::GATES * padded) {
                    row.copy_from_slice(&self.biases[1]);
                }
            } else {
                Product {
                    rows,
                    a: Rows::new(&hidden, padded),
                    b: &self.state_kernel,
                    start: Start::Row(&self.biases[1]),
                    c: (&mut of_state, C::GATES * padded),
                }
                .run();
            }
            let cell = PhantomData::<C>;
            let (carried, hidden) = (&mut carried, &mut hidden);
            Arch::new().dispatch(StepAhead { padded, kept, of_state: &of_state, carried, hidden, cell });
            for (state, hidden) in states.chunks_exact_mut(steps * units).zip(hidden.chunks_exact(padded)) {
                state[step * units..(step + 1) * units].copy_from_slice(&hidden[..units]);
            }
        }
        if self.keep { kept } else { Vec::new() }
    }
}

/// A step of a block.
struct StepAhead<'a, C> {
    padded: usize,
    kept: &'a mut [f32],
    of_state: &'a [f32],
    carried: &'a mut [f32],
    hidden: &'a mut [f32],
    cell: PhantomData<C>,
}

impl<C: Cell> WithSimd for StepAhead<'_, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let padded = self.padded;
        let kept = self.kept.chunks_exact_mut(C::KEPT * padded);
        let of_state = self.of_state.chunks_exact(C::GATES * padded);
        let states = self.carried.chunks_exact_mut(padded).zip(self.hidden.chunks_exact_mut(padded));
        for ((kept, of_state), (carried, hidden)) in kept.zip(of_state).zip(states) {
            C::forward(simd, Forward { kept, of_state, carried, hidden });
        }
    }
}
