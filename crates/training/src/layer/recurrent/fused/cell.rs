//! What a recurrent layer does between its products: the state after a step, and the way back through it.
//!
//! Formulas are those of the layers' own files; here stands what one row of units does, in vectors. Units are padded
//! with zeros to whole vectors; zeros stay zeros on both ways.

use std::fmt::Debug;

use pulp::Simd;

use super::curve::{sigmoid, tanh};

/// A kind of recurrent layer.
pub(in super::super) trait Cell: Debug + Send + Sync + 'static {
    /// How many gates stand side by side in its kernels.
    const GATES: usize;
    /// How many numbers of a unit and step the way back needs.
    const KEPT: usize;
    /// Whether the input's product and the state's are only ever added, so that their gradients are the same.
    const ONE_SUM: bool;

    /// A row's state after a step.
    fn forward<S: Simd>(simd: S, row: Forward<'_>);

    /// The way back through a step of a row.
    fn backward<S: Simd>(simd: S, row: Backward<'_>);
}

/// One row of a step.
pub(in super::super) struct Forward<'a> {
    /// `[KEPT, units]`: comes with the input's products of all gates at its beginning.
    pub(super) kept: &'a mut [f32],
    /// `[GATES, units]`: the state's products.
    pub(super) of_state: &'a [f32],
    /// What is carried to the next step beside the state.
    pub(super) carried: &'a mut [f32],
    /// The state.
    pub(super) hidden: &'a mut [f32],
}

/// One row of a step on the way back.
pub(in super::super) struct Backward<'a> {
    pub(super) kept: &'a [f32],
    /// What was kept of the step before; none of the first.
    pub(super) kept_before: Option<&'a [f32]>,
    /// The state before the step.
    pub(super) hidden_before: &'a [f32],
    /// Gradient of the state after the step; becomes that of the state before it, but for what goes through its product.
    pub(super) by_hidden: &'a mut [f32],
    /// Gradient of what was carried on; becomes that of what came.
    pub(super) by_carried: &'a mut [f32],
    /// `[GATES, units]`: becomes the gradient of the input's products.
    pub(super) by_input: &'a mut [f32],
    /// That of the state's products, where it is another one.
    pub(super) by_state: &'a mut [f32],
}

/// Long short-term memory: input, forget, candidate, output; kept with the carried state.
#[derive(Debug)]
pub(in super::super) struct LstmCell;

impl Cell for LstmCell {
    const GATES: usize = 4;
    const KEPT: usize = 5;
    const ONE_SUM: bool = true;

    #[inline(always)]
    fn forward<S: Simd>(simd: S, row: Forward<'_>) {
        let [input, forget, candidate, output, kept] = parts_mut::<S, 5>(row.kept);
        let [of_input, of_forget, of_candidate, of_output] = parts::<S, 4>(row.of_state);
        let [carried] = parts_mut::<S, 1>(row.carried);
        let [hidden] = parts_mut::<S, 1>(row.hidden);
        for at in 0..hidden.len() {
            let i = sigmoid(simd, simd.add_f32s(input[at], of_input[at]));
            let f = sigmoid(simd, simd.add_f32s(forget[at], of_forget[at]));
            let g = tanh(simd, simd.add_f32s(candidate[at], of_candidate[at]));
            let o = sigmoid(simd, simd.add_f32s(output[at], of_output[at]));
            let c = simd.mul_add_f32s(f, carried[at], simd.mul_f32s(i, g));
            (input[at], forget[at], candidate[at], output[at], kept[at]) = (i, f, g, o, c);
            carried[at] = c;
            hidden[at] = simd.mul_f32s(o, tanh(simd, c));
        }
    }

    #[inline(always)]
    fn backward<S: Simd>(simd: S, row: Backward<'_>) {
        let [input, forget, candidate, output, carried] = parts::<S, 5>(row.kept);
        let before = row.kept_before.map(|kept| parts::<S, 5>(kept)[4]);
        let [by_hidden] = parts_mut::<S, 1>(row.by_hidden);
        let [by_carried] = parts_mut::<S, 1>(row.by_carried);
        let [by_input, by_forget, by_candidate, by_output] = parts_mut::<S, 4>(row.by_input);
        let zero = simd.splat_f32s(0.0);
        for at in 0..by_hidden.len() {
            let (i, f, g, o) = (input[at], forget[at], candidate[at], output[at]);
            let shown = tanh(simd, carried[at]);
            let dh = by_hidden[at];
            let dc = simd.mul_add_f32s(simd.mul_f32s(dh, o), of_tanh(simd, shown), by_carried[at]);
            by_output[at] = simd.mul_f32s(simd.mul_f32s(dh, shown), of_sigmoid(simd, o));
            by_input[at] = simd.mul_f32s(simd.mul_f32s(dc, g), of_sigmoid(simd, i));
            by_candidate[at] = simd.mul_f32s(simd.mul_f32s(dc, i), of_tanh(simd, g));
            by_forget[at] = match before {
                Some(before) => simd.mul_f32s(simd.mul_f32s(dc, before[at]), of_sigmoid(simd, f)),
                None => zero,
            };
            by_carried[at] = simd.mul_f32s(dc, f);
            by_hidden[at] = zero;
        }
    }
}

/// Gated recurrent units with `reset_after`: update, reset, candidate; kept with the state's product of the candidate.
#[derive(Debug)]
pub(in super::super) struct GruCell;

impl Cell for GruCell {
    const GATES: usize = 3;
    const KEPT: usize = 4;
    const ONE_SUM: bool = false;

    #[inline(always)]
    fn forward<S: Simd>(simd: S, row: Forward<'_>) {
        let [update, reset, candidate, kept] = parts_mut::<S, 4>(row.kept);
        let [of_update, of_reset, of_candidate] = parts::<S, 3>(row.of_state);
        let [hidden] = parts_mut::<S, 1>(row.hidden);
        for at in 0..hidden.len() {
            let z = sigmoid(simd, simd.add_f32s(update[at], of_update[at]));
            let r = sigmoid(simd, simd.add_f32s(reset[at], of_reset[at]));
            let g = tanh(simd, simd.mul_add_f32s(r, of_candidate[at], candidate[at]));
            (update[at], reset[at], candidate[at], kept[at]) = (z, r, g, of_candidate[at]);
            // z h + (1 - z) g = g + z (h - g)
            hidden[at] = simd.mul_add_f32s(z, simd.sub_f32s(hidden[at], g), g);
        }
    }

    #[inline(always)]
    fn backward<S: Simd>(simd: S, row: Backward<'_>) {
        let [update, reset, candidate, of_candidate] = parts::<S, 4>(row.kept);
        let [before] = parts::<S, 1>(row.hidden_before);
        let [by_hidden] = parts_mut::<S, 1>(row.by_hidden);
        let [by_update, by_reset, by_candidate] = parts_mut::<S, 3>(row.by_input);
        let [by_update_too, by_reset_too, by_product] = parts_mut::<S, 3>(row.by_state);
        for at in 0..by_hidden.len() {
            let (z, r, g, dh) = (update[at], reset[at], candidate[at], by_hidden[at]);
            let through = simd.mul_f32s(dh, z);
            let dg = simd.mul_f32s(simd.sub_f32s(dh, through), of_tanh(simd, g));
            let dz = simd.mul_f32s(simd.mul_f32s(dh, simd.sub_f32s(before[at], g)), of_sigmoid(simd, z));
            let dr = simd.mul_f32s(simd.mul_f32s(dg, of_candidate[at]), of_sigmoid(simd, r));
            (by_update[at], by_reset[at], by_candidate[at]) = (dz, dr, dg);
            (by_update_too[at], by_reset_too[at], by_product[at]) = (dz, dr, simd.mul_f32s(dg, r));
            by_hidden[at] = through;
        }
    }
}

/// The slope of `tanh` where its value is `y`.
#[inline(always)]
fn of_tanh<S: Simd>(simd: S, y: S::f32s) -> S::f32s {
    simd.negate_mul_add_f32s(y, y, simd.splat_f32s(1.0))
}

/// The slope of `sigmoid` where its value is `y`.
#[inline(always)]
fn of_sigmoid<S: Simd>(simd: S, y: S::f32s) -> S::f32s {
    simd.negate_mul_add_f32s(y, y, y)
}

/// A row in `N` parts of the same length, as vectors.
#[inline(always)]
fn parts<S: Simd, const N: usize>(row: &[f32]) -> [&[S::f32s]; N] {
    let (vectors, _) = S::as_simd_f32s(row);
    let length = vectors.len() / N;
    let mut parts = [&vectors[..0]; N];
    for (at, part) in parts.iter_mut().enumerate() {
        *part = &vectors[at * length..(at + 1) * length];
    }
    parts
}

/// [`parts`] to be written.
#[inline(always)]
fn parts_mut<S: Simd, const N: usize>(row: &mut [f32]) -> [&mut [S::f32s]; N] {
    let (vectors, _) = S::as_mut_simd_f32s(row);
    let length = vectors.len() / N;
    let mut rest = vectors;
    std::array::from_fn(|_| {
        let (here, after) = std::mem::take(&mut rest).split_at_mut(length);
        rest = after;
        here
    })
}
