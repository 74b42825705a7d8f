//! Tree ensembles as ONNX-ML writes them, read into one form: nodes that name their children, and leaves that name their
//! weights. Everything is checked here but the shape of the trees, which [`super::forest`] checks.

mod attributes;
mod classic;
mod ensemble;

use protos::onnx::NodeProto;

/// How trees are combined for each target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// What becomes of the combined scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transform {
    None,
    Softmax,
    Logistic,
    SoftmaxZero,
    Probit,
}

/// When a node sends a row to its first child.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// `x <= t`
    AtMost(f64),
    /// `x < t`
    Below(f64),
    /// `x >= t`
    AtLeast(f64),
    /// `x > t`
    Above(f64),
    /// `x == t`
    Equal(f64),
    /// `x != t`
    NotEqual(f64),
    /// `x` is one of these.
    Member(Vec<f64>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Branch {
        feature: usize,
        test: Test,
        /// Whether a missing value goes to `yes`, whatever the test says of it.
        missing_is_yes: bool,
        /// Places in [`Description::nodes`].
        yes: usize,
        no: usize,
    },
    /// Targets and weights, in order.
    Leaf(Vec<(usize, f64)>),
}

/// What the labels of a classifier are.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Labels {
    Integers(Vec<i64>),
    /// So many strings: a label is the index of its class.
    Strings(usize),
}

impl Labels {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Integers(labels) => labels.len(),
            Self::Strings(count) => *count,
        }
    }

    pub(super) fn of(&self, class: usize) -> i64 {
        match self {
            Self::Integers(labels) => labels[class],
            Self::Strings(_) => class as i64,
        }
    }
}

/// A tree ensemble.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Description {
    /// Targets, or classes.
    pub(super) targets: usize,
    pub(super) nodes: Vec<Node>,
    /// The place of each tree's root.
    pub(super) roots: Vec<usize>,
    /// Added to the scores; none, or one a target (a classifier of two classes may have one).
    pub(super) base_values: Vec<f64>,
    pub(super) aggregate: Aggregate,
    pub(super) transform: Transform,
    /// Of a classifier.
    pub(super) labels: Option<Labels>,
    /// Whether the output has the type of the input; else it is float32.
    pub(super) typed_output: bool,
}

impl Description {
    /// Reads an operator that [`is_ensemble`].
    pub(super) fn read(node: &NodeProto) -> Result<Self, String> {
        match node.op_type() {
            "TreeEnsemble" => ensemble::read(node),
            "TreeEnsembleClassifier" => classic::classifier(node),
            _ => classic::regressor(node),
        }
    }
}

/// Whether an operator is a tree ensemble.
pub(super) fn is_ensemble(node: &NodeProto) -> bool {
    node.domain() == "ai.onnx.ml"
        && matches!(node.op_type(), "TreeEnsemble" | "TreeEnsembleClassifier" | "TreeEnsembleRegressor")
}
