//! One pass over a tensor: a rule applied to each element, in vectors, and by all threads where the tensor is
//! large.
//!
//! Every element is computed alone and nothing is fused, so neither threads nor the vectors of a machine change a
//! bit.

use crate::vectorised::{Vectorised, vectorised};

/// Tensors of more elements are divided between threads.
pub(super) const BLOCK: usize = 1 << 16;

/// What a rule does to parallel slices: weights, their gradient, and what it remembers of each weight.
pub(super) trait Update<const SLOTS: usize>: Copy + Send + Sync {
    /// Must be inlined, so that it is compiled for the vectors at hand.
    fn update(self, weights: &mut [f32], gradient: &[f32], slots: [&mut [f32]; SLOTS]);
}

/// Updates a whole tensor.
///
/// # Panics
/// If `slots` are not as many as the rule has.
pub(super) fn apply<const SLOTS: usize>(
    rule: impl Update<SLOTS>,
    weights: &mut [f32],
    gradient: &[f32],
    slots: &mut [Vec<f32>],
) {
    let slots: &mut [Vec<f32>; SLOTS] = slots.try_into().expect("as many slots were built as the rule has");
    divide(rule, weights, gradient, slots.each_mut().map(Vec::as_mut_slice));
}

fn divide<const SLOTS: usize>(
    rule: impl Update<SLOTS>,
    weights: &mut [f32],
    gradient: &[f32],
    slots: [&mut [f32]; SLOTS],
) {
    if weights.len() <= BLOCK {
        return vectorised(Pass { rule, weights, gradient, slots });
    }
    let middle = weights.len() / 2;
    let (left_weights, right_weights) = weights.split_at_mut(middle);
    let (left_gradient, right_gradient) = gradient.split_at(middle);
    let mut right_slots = [const { None }; SLOTS];
    let mut rights = right_slots.iter_mut();
    let left_slots = slots.map(|slot| {
        let (left, right) = slot.split_at_mut(middle);
        if let Some(place) = rights.next() {
            *place = Some(right);
        }
        left
    });
    let right_slots = right_slots.map(Option::unwrap_or_default);
    rayon::join(
        || divide(rule, left_weights, left_gradient, left_slots),
        || divide(rule, right_weights, right_gradient, right_slots),
    );
}

struct Pass<'a, R, const SLOTS: usize> {
    rule: R,
    weights: &'a mut [f32],
    gradient: &'a [f32],
    slots: [&'a mut [f32]; SLOTS],
}

impl<R: Update<SLOTS>, const SLOTS: usize> Vectorised for Pass<'_, R, SLOTS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.rule.update(self.weights, self.gradient, self.slots);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    struct Trace;

    impl Update<2> for Trace {
        fn update(self, weights: &mut [f32], gradient: &[f32], [a, b]: [&mut [f32]; 2]) {
            for (((w, g), a), b) in weights.iter_mut().zip(gradient).zip(a).zip(b) {
                *w += 2.0 * g;
                *a += 3.0 * g;
                *b += *a;
            }
        }
    }

    #[test]
    fn every_element_of_a_large_tensor_meets_its_own_slots_once() {
        let gradient: Vec<f32> = (0..3 * BLOCK + 5).map(|i| (i % 1000) as f32).collect();
        let mut weights = vec![1.0; gradient.len()];
        let mut slots = vec![vec![0.0; gradient.len()], vec![5.0; gradient.len()]];
        apply(Trace, &mut weights, &gradient, &mut slots);
        for (at, &g) in gradient.iter().enumerate() {
            let got = [weights[at], slots[0][at], slots[1][at]];
            assert_eq!(got, [1.0 + 2.0 * g, 3.0 * g, 5.0 + 3.0 * g], "element {at}");
        }
    }
}
