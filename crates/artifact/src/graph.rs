//! The small operator graph between a model's builder and the formats it is written in.
//!
//! A [`GraphBuilder`] checks every node as it is added, so a [`Graph`] is always well formed: names are unique,
//! nodes come in topological order, types and shapes fit. Operators mean exactly what the ONNX operator of the
//! same name means. Deliberately not here: evaluation, and any file format.

mod shape;

use std::collections::BTreeSet;

use predictor::{DataType, Signature, Tensor, TensorSpec};

use crate::Error;
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

/// What a node computes from its inputs, element by element unless said otherwise. Two inputs broadcast as in NumPy.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A tensor the caller gives.
    Input,
    /// A tensor that is part of the graph's structure.
    Constant(Tensor),
    /// A trained tensor, which formats store apart from the graph where they can.
    Variable(Tensor),
    /// Whether the element is NaN.
    IsNan,
    /// The second input where the first is true, else the third.
    Select,
    /// First minus second.
    Sub,
    /// First divided by second.
    Div,
    /// Sum.
    Add,
    /// Cut to the closed interval from `min` to `max`.
    Clip {
        /// The lower end.
        min: f32,
        /// The upper end.
        max: f32,
    },
    /// Matrix product of `[rows, k]` and `[k, columns]`.
    MatMul,
    /// `max(x, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Exponentials that sum to 1 along the last axis.
    Softmax,
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

/// Builds a [`Graph`] node by node.
///
/// Every method fails with [`Error::Graph`], naming the node, if the name is taken or malformed or the inputs
/// do not fit.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    nodes: Vec<Node>,
    outputs: Vec<Output>,
    names: BTreeSet<String>,
}

impl GraphBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tensor the caller gives; axis 0 is the batch and must be `None`, all others fixed.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; names of inputs are lower-case identifiers.
    pub fn input(&mut self, name: &str, dtype: DataType, shape: Shape) -> Result<Value, Error> {
        check_public_name(name)?;
        if shape.first() != Some(&None) || shape.iter().skip(1).any(Option::is_none) {
            return Err(fault(name, "the first axis of an input is the open batch, all others have a size"));
        }
        self.push(Node { name: name.to_owned(), op: Op::Input, inputs: vec![], dtype, shape })
    }

    /// A fixed tensor that belongs to the structure (scales, fill values).
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> Result<Value, Error> {
        let (dtype, shape) = (tensor.data_type(), fixed(tensor.shape()));
        self.push(Node { name: name.to_owned(), op: Op::Constant(tensor), inputs: vec![], dtype, shape })
    }

    /// A trained tensor, named as Keras does: `dense/kernel`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn variable(&mut self, name: &str, tensor: Tensor) -> Result<Value, Error> {
        let (dtype, shape) = (tensor.data_type(), fixed(tensor.shape()));
        self.push(Node { name: name.to_owned(), op: Op::Variable(tensor), inputs: vec![], dtype, shape })
    }

    /// Whether each element of a `float32` value is NaN.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn is_nan(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        let shape = self.float(name, x)?;
        self.push(Node {
            name: name.to_owned(),
            op: Op::IsNan,
            inputs: vec![x],
            dtype: DataType::Bool,
            shape,
        })
    }

    /// `yes` where `condition` is true, else `no`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn select(&mut self, name: &str, condition: Value, yes: Value, no: Value) -> Result<Value, Error> {
        let test = self.known(name, condition)?;
        if test.dtype != DataType::Bool {
            return Err(fault(
                name,
                &format!("the condition must be bool, \"{}\" is {}", test.name, test.dtype),
            ));
        }
        let branches = shape::broadcast(&self.float(name, yes)?, &self.float(name, no)?);
        let whole = branches.and_then(|branches| shape::broadcast(&test.shape, &branches));
        let shape = whole.map_err(|reason| fault(name, &reason))?;
        let inputs = vec![condition, yes, no];
        self.push(Node { name: name.to_owned(), op: Op::Select, inputs, dtype: DataType::Float32, shape })
    }

    /// `a - b`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn sub(&mut self, name: &str, a: Value, b: Value) -> Result<Value, Error> {
        self.binary(name, Op::Sub, [a, b])
    }

    /// `a / b`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn div(&mut self, name: &str, a: Value, b: Value) -> Result<Value, Error> {
        self.binary(name, Op::Div, [a, b])
    }

    /// `a + b`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn add(&mut self, name: &str, a: Value, b: Value) -> Result<Value, Error> {
        self.binary(name, Op::Add, [a, b])
    }

    /// `x` cut to `min..=max`; what becomes of NaN is up to the engine, so fill it before.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; also if `min > max` or one of them is NaN.
    pub fn clip(&mut self, name: &str, x: Value, min: f32, max: f32) -> Result<Value, Error> {
        if min.is_nan() || max.is_nan() || min > max {
            return Err(fault(name, &format!("the interval {min}..={max} is empty")));
        }
        self.unary(name, Op::Clip { min, max }, x)
    }

    /// The product of `a` `[rows, k]` and `b` `[k, columns]`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn matmul(&mut self, name: &str, a: Value, b: Value) -> Result<Value, Error> {
        let shape = shape::product(&self.float(name, a)?, &self.float(name, b)?);
        let shape = shape.map_err(|reason| fault(name, &reason))?;
        let inputs = vec![a, b];
        self.push(Node { name: name.to_owned(), op: Op::MatMul, inputs, dtype: DataType::Float32, shape })
    }

    /// `max(x, 0)`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn relu(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        self.unary(name, Op::Relu, x)
    }

    /// Hyperbolic tangent.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn tanh(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        self.unary(name, Op::Tanh, x)
    }

    /// The logistic function.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn sigmoid(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        self.unary(name, Op::Sigmoid, x)
    }

    /// Softmax along the last axis.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn softmax(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        self.unary(name, Op::Softmax, x)
    }

    /// Shows `value` to callers under `name`; its first axis must be the batch.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; names of outputs are lower-case identifiers.
    pub fn output(&mut self, name: &str, value: Value) -> Result<(), Error> {
        check_public_name(name)?;
        let node = self.known(name, value)?;
        if node.shape.first() != Some(&None) {
            return Err(fault(name, &format!("the first axis of \"{}\" is not the batch", node.name)));
        }
        if !self.names.insert(name.to_owned()) {
            return Err(fault(name, "the name is taken"));
        }
        self.outputs.push(Output { name: name.to_owned(), value });
        Ok(())
    }

    /// The finished graph.
    ///
    /// # Errors
    /// [`Error::Graph`] if it has no input or no output.
    pub fn build(self) -> Result<Graph, Error> {
        let graph = Graph { nodes: self.nodes, outputs: self.outputs };
        if graph.inputs().next().is_none() {
            return Err(fault("", "a graph needs an input"));
        }
        if graph.outputs.is_empty() {
            return Err(fault("", "a graph needs an output"));
        }
        Ok(graph)
    }

    fn unary(&mut self, name: &str, op: Op, x: Value) -> Result<Value, Error> {
        let shape = self.float(name, x)?;
        self.push(Node { name: name.to_owned(), op, inputs: vec![x], dtype: DataType::Float32, shape })
    }

    fn binary(&mut self, name: &str, op: Op, inputs: [Value; 2]) -> Result<Value, Error> {
        let [a, b] = inputs;
        let shape = shape::broadcast(&self.float(name, a)?, &self.float(name, b)?);
        let shape = shape.map_err(|reason| fault(name, &reason))?;
        self.push(Node {
            name: name.to_owned(),
            op,
            inputs: inputs.to_vec(),
            dtype: DataType::Float32,
            shape,
        })
    }

    fn known(&self, name: &str, value: Value) -> Result<&Node, Error> {
        self.nodes.get(value.0).ok_or_else(|| fault(name, "an input is a value of another graph"))
    }

    fn float(&self, name: &str, value: Value) -> Result<Shape, Error> {
        let node = self.known(name, value)?;
        if node.dtype != DataType::Float32 {
            return Err(fault(name, &format!("it takes float32, \"{}\" is {}", node.name, node.dtype)));
        }
        Ok(node.shape.clone())
    }

    fn push(&mut self, node: Node) -> Result<Value, Error> {
        check_node_name(&node.name)?;
        if !self.names.insert(node.name.clone()) {
            return Err(fault(&node.name, "the name is taken"));
        }
        self.nodes.push(node);
        Ok(Value(self.nodes.len() - 1))
    }
}

fn fixed(shape: &[usize]) -> Shape {
    shape.iter().map(|&axis| Some(axis)).collect()
}

fn fault(node: &str, reason: &str) -> Error {
    Error::Graph { node: node.to_owned(), reason: reason.to_owned() }
}

/// TensorFlow's rule for the names of nodes, which is the strictest of the formats.
fn check_node_name(name: &str) -> Result<(), Error> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-')) {
        return Ok(());
    }
    Err(fault(name, "a name starts with a letter or digit and holds letters, digits, and _ / . -"))
}

/// Inputs and outputs become keyword arguments of TensorFlow functions.
fn check_public_name(name: &str) -> Result<(), Error> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if starts_well && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        return Ok(());
    }
    Err(fault(name, "an input or output is named like features_2: lower-case letters, digits and _"))
}
