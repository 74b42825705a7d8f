//! From rows to scores: every tree's weights combined, for blocks of rows, in the order of the trees, so that a row's
//! sum does not depend on the rows beside it.

use super::description::Aggregate;
use super::forest::{Forest, LANES, Leaf};
use super::number::Number;

/// How many rows are scored together: they and their scores stay in the cache while tree after tree passes.
const BLOCK: usize = 64;

/// The combined weights of one row for each target, and whether a tree gave any.
pub(super) struct Scores<T> {
    targets: usize,
    aggregate: Aggregate,
    score: Vec<T>,
    given: Vec<bool>,
}

impl<T: Number> Scores<T> {
    pub(super) fn new(targets: usize, aggregate: Aggregate) -> Self {
        let size = targets * BLOCK;
        Self { targets, aggregate, score: vec![T::ZERO; size], given: vec![false; size] }
    }

    /// Scores the rows and hands each row's number, scores and whether they were given to `finish`, in order.
    pub(super) fn of_rows(
        &mut self,
        forest: &Forest<T>,
        rows: &[T],
        width: usize,
        mut finish: impl FnMut(usize, &mut [T], &mut [bool]),
    ) {
        for (block, part) in rows.chunks(BLOCK * width).enumerate() {
            let count = part.len() / width;
            self.score[..count * self.targets].fill(T::ZERO);
            self.given[..count * self.targets].fill(false);
            self.block(forest, part, width);
            for row in 0..count {
                let own = row * self.targets..(row + 1) * self.targets;
                finish(block * BLOCK + row, &mut self.score[own.clone()], &mut self.given[own]);
            }
        }
    }

    fn block(&mut self, forest: &Forest<T>, rows: &[T], width: usize) {
        let count = rows.len() / width;
        let row = |at: usize| &rows[at * width..(at + 1) * width];
        let together = if count >= LANES / 2 { count } else { 0 };
        for tree in 0..forest.trees() {
            for from in (0..together).step_by(LANES) {
                // Behind the last row it is walked again, for nothing.
                let lanes = std::array::from_fn(|lane| row((from + lane).min(count - 1)));
                let leaves = forest.walk_rows(tree, lanes);
                for (at, leaf) in (from..count).zip(leaves) {
                    self.add(forest, at, leaf);
                }
            }
        }
        for at in together..count {
            for from in (0..forest.trees()).step_by(LANES) {
                let leaves = forest.walk_trees(from, row(at));
                for (_, leaf) in (from..forest.trees()).zip(leaves) {
                    self.add(forest, at, leaf);
                }
            }
        }
    }

    #[inline]
    fn add(&mut self, forest: &Forest<T>, row: usize, leaf: Leaf) {
        if self.targets == 1 {
            // Of several weights for the one target onnxruntime takes the first.
            self.combine(row, forest.first_weight(leaf));
            return;
        }
        for (target, weight) in forest.weights(leaf) {
            self.combine(row * self.targets + *target as usize, *weight);
        }
    }

    #[inline]
    fn combine(&mut self, at: usize, weight: T) {
        let (score, given) = (&mut self.score[at], &mut self.given[at]);
        match self.aggregate {
            Aggregate::Sum | Aggregate::Average => *score = score.plus(weight),
            Aggregate::Min if !*given || weight < *score => *score = weight,
            Aggregate::Max if !*given || weight > *score => *score = weight,
            Aggregate::Min | Aggregate::Max => {}
        }
        *given = true;
    }
}
