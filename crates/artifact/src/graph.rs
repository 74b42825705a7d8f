//! The small operator graph between a model's builder and the formats it is written in.
//!
//! A [`GraphBuilder`] checks every node as it is added, so a [`Graph`] is always well formed: names are unique,
//! nodes come in topological order, types and shapes fit, and the batch is axis 0 wherever it is. Operators mean
//! what the ONNX operator of the same name means; windows over steps take `[batch, steps, channels]` as Keras
//! does. Deliberately not here: evaluation, and any file format.

mod builder;
mod op;
mod shape;

use predictor::{DataType, Signature, Tensor, TensorSpec};

pub use builder::GraphBuilder;
pub use op::{Axes, Conv1d, Gelu, Op, Padding, Pool1d, Pooling, Reduction};
pub(crate) use shape::text as shape_text;

/// The axes of a value; `None` is the batch, whose size the caller chooses.
pub type Shape = Vec<Option<usize>>;

/// A handle to the result of a node, only meaningful in the builder (and graph) that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(usize);

impl Value {
    /// The value of the node at a position in [`Graph::nodes`].
    pub(crate) fn at(position: usize) -> Self {
        Self(position)
    }

    /// The position of its node in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// One node, which gives one value.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Unique in the graph.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it computes it from; all come earlier in the graph.
    pub inputs: Vec<Value>,
    /// The element type of the result.
    pub dtype: DataType,
    /// The shape of the result.
    pub shape: Shape,
}

/// One result that callers see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The name callers use.
    pub name: String,
    /// The value it shows.
    pub value: Value,
}

/// A checked model graph with its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    nodes: Vec<Node>,
    outputs: Vec<Output>,
}

impl Graph {
    /// All nodes, in an order in which they can be computed.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node that gives `value`.
    pub fn node(&self, value: Value) -> &Node {
        &self.nodes[value.0]
    }

    /// The inputs, in the order they were added.
    pub fn inputs(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.op == Op::Input)
    }

    /// The variables, in the order they were added.
    pub fn variables(&self) -> impl Iterator<Item = (&Node, &Tensor)> {
        self.nodes.iter().filter_map(|node| match &node.op {
            Op::Variable(tensor) => Some((node, tensor)),
            _ => None,
        })
    }

    /// The outputs, in the order they were added.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// What callers give and get.
    pub fn signature(&self) -> Signature {
        let spec = |name: &str, node: &Node| TensorSpec {
            name: name.to_owned(),
            dtype: node.dtype,
            shape: node.shape.clone(),
        };
        Signature {
            inputs: self.inputs().map(|node| spec(&node.name, node)).collect(),
            outputs: self.outputs.iter().map(|out| spec(&out.name, self.node(out.value))).collect(),
        }
    }
}
