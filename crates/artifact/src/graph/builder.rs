//! What is added to a graph, and the checks that all nodes share. The operators by kind: [`elementwise`] values,
//! [`axes`] of a value, [`product`]s and windows.

mod axes;
mod elementwise;
mod product;

use std::collections::BTreeSet;

use predictor::{DataType, Tensor};

use super::shape::{self, AXIS_MAX};
use super::{Graph, Node, Op, Output, Shape, Value};
use crate::Error;

/// Axes of a value; all formats and engines take this many in every operator.
const RANK_MAX: usize = 5;

/// Builds a [`Graph`] node by node.
///
/// Every method fails with [`Error::Graph`], naming the node, if the name is taken or malformed, the inputs do not
/// fit, or the batch would be at another axis than 0. Axes are counted from the front. If a method that adds
/// several nodes fails, some of them may be there; a builder that has failed is best dropped.
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

    /// A constant of shape `[]`, which broadcasts against everything.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn scalar(&mut self, name: &str, value: f32) -> Result<Value, Error> {
        let tensor = Tensor::float32(vec![], vec![value]).map_err(|error| fault(name, &error.to_string()))?;
        self.constant(name, tensor)
    }

    /// A trained tensor, named as Keras does: `dense/kernel`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn variable(&mut self, name: &str, tensor: Tensor) -> Result<Value, Error> {
        let (dtype, shape) = (tensor.data_type(), fixed(tensor.shape()));
        self.push(Node { name: name.to_owned(), op: Op::Variable(tensor), inputs: vec![], dtype, shape })
    }

    /// The shape of a value; `None` if it is of another graph.
    pub fn shape(&self, value: Value) -> Option<&Shape> {
        self.nodes.get(value.0).map(|node| &node.shape)
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

    fn known(&self, name: &str, value: Value) -> Result<&Node, Error> {
        self.nodes.get(value.0).ok_or_else(|| fault(name, "an input is a value of another graph"))
    }

    /// The shape of an input that must be `float32`.
    fn float(&self, name: &str, value: Value) -> Result<Shape, Error> {
        let node = self.known(name, value)?;
        if node.dtype != DataType::Float32 {
            return Err(fault(name, &format!("it takes float32, \"{}\" is {}", node.name, node.dtype)));
        }
        Ok(node.shape.clone())
    }

    /// Adds a node that gives `float32`.
    fn compute(&mut self, name: &str, op: Op, inputs: &[Value], shape: Shape) -> Result<Value, Error> {
        let (name, inputs) = (name.to_owned(), inputs.to_vec());
        self.push(Node { name, op, inputs, dtype: DataType::Float32, shape })
    }

    fn push(&mut self, node: Node) -> Result<Value, Error> {
        check_node_name(&node.name)?;
        check_shape(&node.shape).map_err(|reason| fault(&node.name, &reason))?;
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

fn check_shape(axes: &[Option<usize>]) -> Result<(), String> {
    let text = || shape::text(axes);
    if axes.len() > RANK_MAX {
        return Err(format!("its result {} has {} axes, the limit is {RANK_MAX}", text(), axes.len()));
    }
    if let Some(axis) = axes.iter().skip(1).position(Option::is_none) {
        return Err(format!(
            "its result {} has the batch as axis {}, it belongs to axis 0",
            text(),
            axis + 1
        ));
    }
    if axes.iter().flatten().any(|&size| size > AXIS_MAX) {
        return Err(format!("its result {} has an axis of more than {AXIS_MAX} elements", text()));
    }
    Ok(())
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
