//! From a row's scores to its class and what each class gets, with onnxruntime's rules for two classes: what a model means
//! by one score for two classes is said by the signs of its weights.

use super::description::{Description, Labels, Node, Transform};
use super::number::Number;
use super::transform;

/// How the one score of two classes is completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Completion {
    /// It is a probability: the other is what is missing to one.
    Complement,
    /// It is a margin: the other is its opposite.
    Opposite,
    /// It stands alone.
    Alone,
}

/// How a classifier decides.
#[derive(Debug)]
pub(super) struct Classes {
    labels: Labels,
    base_values: Vec<f64>,
    transform: Transform,
    /// Two classes, and all weights are for one of them.
    one_is_weighed: bool,
    weights_are_positive: bool,
}

impl Classes {
    pub(super) fn new(description: &Description, labels: &Labels) -> Self {
        let leaves = description.nodes.iter().filter_map(|node| match node {
            Node::Leaf(weights) => Some(weights),
            Node::Branch { .. } => None,
        });
        let weights: Vec<(usize, f64)> = leaves.flatten().copied().collect();
        let same = weights.windows(2).all(|pair| pair[0].0 == pair[1].0);
        Self {
            labels: labels.clone(),
            base_values: description.base_values.clone(),
            transform: description.transform,
            one_is_weighed: labels.count() == 2 && same && !weights.is_empty(),
            weights_are_positive: weights.iter().all(|(_, weight)| *weight >= 0.0),
        }
    }

    /// The label of a row; what each class gets is written into `row`.
    pub(super) fn decide<T: Number>(&self, scores: &mut [T], given: &mut [bool], row: &mut [f32]) -> i64 {
        match scores.len() {
            1 => self.one(scores[0], row),
            2 => self.two(scores, given, row),
            _ => self.many(scores, given, row),
        }
    }

    fn many<T: Number>(&self, scores: &mut [T], given: &mut [bool], row: &mut [f32]) -> i64 {
        for (at, base) in self.base_values.iter().enumerate() {
            scores[at] = scores[at].plus(T::of(*base));
            given[at] = true;
        }
        let mut best = None;
        for (at, score) in scores.iter().enumerate().filter(|(at, _)| given[*at]) {
            if best.is_none_or(|best: usize| *score > scores[best]) {
                best = Some(at);
            }
        }
        self.write(scores, given, row);
        self.labels.of(best.unwrap_or(0))
    }

    fn two<T: Number>(&self, scores: &mut [T], given: &mut [bool], row: &mut [f32]) -> i64 {
        let base = |at: usize| T::of(self.base_values[at]);
        match self.base_values.len() {
            2 if given[1] => {
                scores[1] = base(1).plus(scores[0]);
                scores[0] = scores[1].minus();
            }
            2 => {
                scores[1] = scores[1].plus(base(1));
                scores[0] = scores[0].plus(base(0));
                let (label, _) = self.binary(scores[0], given[0]);
                self.write(scores, given, row);
                return label;
            }
            1 => scores[0] = scores[0].plus(base(0)),
            _ => {}
        }
        if given[1] {
            let (label, _) = self.binary(scores[1], true);
            self.write(scores, given, row);
            return label;
        }
        let (label, completion) = self.binary(scores[0], given[0]);
        let alone = if self.base_values.is_empty() { Completion::Opposite } else { Completion::Alone };
        self.complete(scores[0], completion.unwrap_or(alone), row);
        label
    }

    fn one<T: Number>(&self, score: T, row: &mut [f32]) -> i64 {
        let score = self.base_values.first().map_or(score, |base| score.plus(T::of(*base)));
        let (label, completion) = self.binary(score, true);
        self.complete(score, completion.unwrap_or(Completion::Alone), row);
        label
    }

    /// The label by the score of the second class, and how that score is to be completed.
    fn binary<T: Number>(&self, score: T, given: bool) -> (i64, Option<Completion>) {
        let score = if given { score } else { T::ZERO };
        if !self.one_is_weighed {
            return (i64::from(score > T::ZERO), None);
        }
        if self.weights_are_positive {
            let label = self.labels.of(usize::from(score > T::of(0.5)));
            return (label, Some(Completion::Complement));
        }
        (self.labels.of(usize::from(score > T::ZERO)), Some(Completion::Opposite))
    }

    fn complete<T: Number>(&self, score: T, completion: Completion, row: &mut [f32]) {
        let score = score.to_f32();
        row.fill(0.0);
        let both = match (self.transform, completion) {
            // Of a class that stands alone onnxruntime leaves the other unwritten.
            (Transform::Probit, _) => [transform::probit(score), 0.0],
            (Transform::Logistic, Completion::Complement | Completion::Opposite) => {
                [transform::logistic(-score), transform::logistic(score)]
            }
            (_, Completion::Complement) => [1.0 - score, score],
            (_, Completion::Opposite) => [-score, score],
            (_, Completion::Alone) => [score, 0.0],
        };
        for (out, value) in row.iter_mut().zip(both) {
            *out = value;
        }
    }

    /// A class that no tree weighed has nothing, whatever its base value.
    fn write<T: Number>(&self, scores: &[T], given: &[bool], row: &mut [f32]) {
        for (out, (score, given)) in row.iter_mut().zip(scores.iter().zip(given)) {
            *out = if *given { score.to_f32() } else { 0.0 };
        }
        transform::apply(self.transform, row);
    }
}
