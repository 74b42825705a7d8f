//! From an ONNX graph to the steps of a chain, if it is one.

use std::collections::HashMap;

use predictor::TensorData;
use prost::Message;
use protos::onnx::tensor_proto::DataType;
use protos::onnx::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::{Binary, Chain, MatMul, Step};
use crate::format::onnx::nodes::{attribute, data_type, is_standard};
use crate::format::onnx::tensors::tensor_of;

/// A file over this is not looked at: its weights would be in memory twice, and the graph costs it little.
const MODEL_BYTES_MAX: usize = 8 << 20;

/// Which biases are added in the same breath as their matrix is multiplied: it depends on what the engine fuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Biases {
    /// All.
    Fused,
    /// All but one that a softmax follows.
    FusedButBeforeSoftmax,
    /// None.
    Apart,
}

impl Biases {
    pub(super) const ALL: [Self; 3] = [Self::FusedButBeforeSoftmax, Self::Fused, Self::Apart];
}

/// What is done to each row, as the file says it.
#[derive(Debug, Clone, PartialEq)]
enum Layer {
    MatMul { weights: Vec<f32>, inputs: usize, units: usize },
    Columns(Binary, Vec<f32>),
    Fill(Vec<f32>),
    Clip(f32, f32),
    Relu,
    LeakyRelu(f32),
    Sigmoid,
    Tanh,
    Softmax,
}

/// The layers of a model that is nothing but one after another.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::engine::rten) struct Layers {
    width: usize,
    layers: Vec<Layer>,
}

impl Layers {
    /// Reads them; none if the model is anything else.
    pub(in crate::engine::rten) fn of(model: &[u8]) -> Option<Self> {
        if model.len() > MODEL_BYTES_MAX {
            return None;
        }
        let graph = ModelProto::decode(model).ok()?.graph?;
        let constants: HashMap<&str, &TensorProto> =
            graph.initializer.iter().map(|tensor| (tensor.name(), tensor)).collect();
        let mut inputs = graph.input.iter().filter(|input| !constants.contains_key(input.name()));
        let ([output], Some(input), None) = (graph.output.as_slice(), inputs.next(), inputs.next()) else {
            return None;
        };
        let width = width_of(&graph, input.name())?;
        let current = input.name().to_owned();
        let mut reading = Reading { constants, current, width, missing: None, layers: Vec::new() };
        for node in &graph.node {
            reading.take(node)?;
        }
        let Reading { current, missing, layers, .. } = reading;
        (missing.is_none() && current == output.name()).then_some(Self { width, layers })
    }

    /// Numbers of a row that goes in.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Ready to be computed.
    pub(super) fn chain(&self, biases: Biases) -> Chain {
        let mut steps = Vec::with_capacity(self.layers.len());
        let mut widest = self.width;
        let mut layers = self.layers.iter();
        while let Some(layer) = layers.next() {
            let step = match layer {
                Layer::MatMul { weights, inputs, units } => {
                    widest = widest.max(*units);
                    let mut ahead = layers.clone();
                    let bias = match (ahead.next(), ahead.next()) {
                        (_, Some(Layer::Softmax)) if biases == Biases::FusedButBeforeSoftmax => None,
                        (Some(Layer::Columns(Binary::Add, bias)), _) if biases != Biases::Apart => {
                            layers.next();
                            Some(bias.clone())
                        }
                        _ => None,
                    };
                    Step::MatMul(Box::new(MatMul::new(weights.clone(), [*inputs, *units], bias)))
                }
                Layer::Columns(operation, constants) => Step::Columns(*operation, constants.clone()),
                Layer::Fill(constants) => Step::Fill(constants.clone()),
                Layer::Clip(least, most) => Step::Clip(*least, *most),
                Layer::Relu => Step::Relu,
                Layer::LeakyRelu(alpha) => Step::LeakyRelu(*alpha),
                Layer::Sigmoid => Step::Sigmoid,
                Layer::Tanh => Step::Tanh,
                Layer::Softmax => Step::Softmax,
            };
            steps.push(step);
        }
        Chain { steps, widest }
    }
}

struct Reading<'a> {
    constants: HashMap<&'a str, &'a TensorProto>,
    /// The tensor that the layers so far give, and the numbers of its rows.
    current: String,
    width: usize,
    /// What says where the current one has missing values, until they are filled.
    missing: Option<String>,
    layers: Vec<Layer>,
}

impl Reading<'_> {
    /// Takes a node as the next layer, or for another name of what there is; nothing if it is neither.
    fn take(&mut self, node: &NodeProto) -> Option<()> {
        let [output] = node.output.as_slice() else { return None };
        if !is_standard(node) {
            return None;
        }
        let inputs: Vec<&str> = node.input.iter().map(String::as_str).collect();
        let is_current = |name: &str| name == self.current;
        // Between the question what is missing and the answer nothing else may come.
        if self.missing.is_some() && node.op_type() != "Where" {
            return None;
        }
        let layer = match (node.op_type(), inputs.as_slice()) {
            ("IsNaN", [x]) if is_current(x) => {
                self.missing = Some(output.clone());
                return Some(());
            }
            ("Where", [condition, fill, x])
                if is_current(x) && self.missing.take().as_deref() == Some(*condition) =>
            {
                Layer::Fill(self.columns(fill)?)
            }
            ("MatMul", [x, weights]) if is_current(x) => {
                let (shape, weights) = self.floats(weights)?;
                let [inputs, units]: [usize; 2] = shape.try_into().ok()?;
                if inputs != self.width || units == 0 {
                    return None;
                }
                self.width = units;
                Layer::MatMul { weights, inputs, units }
            }
            ("Add", [x, c] | [c, x]) if is_current(x) => Layer::Columns(Binary::Add, self.columns(c)?),
            ("Mul", [x, c] | [c, x]) if is_current(x) => Layer::Columns(Binary::Mul, self.columns(c)?),
            ("Sub", [x, c]) if is_current(x) => Layer::Columns(Binary::Sub, self.columns(c)?),
            ("Div", [x, c]) if is_current(x) => Layer::Columns(Binary::Div, self.columns(c)?),
            ("Clip", [x, least, most]) if is_current(x) => {
                Layer::Clip(self.scalar(least)?, self.scalar(most)?)
            }
            ("Relu", [x]) if is_current(x) => Layer::Relu,
            ("LeakyRelu", [x]) if is_current(x) => {
                Layer::LeakyRelu(attribute(node, "alpha").and_then(|alpha| alpha.f).unwrap_or(0.01))
            }
            ("Sigmoid", [x]) if is_current(x) => Layer::Sigmoid,
            ("Tanh", [x]) if is_current(x) => Layer::Tanh,
            ("Softmax", [x]) if is_current(x) && self.is_of_rows(node) => Layer::Softmax,
            ("Identity", [x]) if is_current(x) => return self.renamed(output),
            ("Reshape", [x, shape]) if is_current(x) && self.keeps_rows(shape) => {
                return self.renamed(output);
            }
            _ => return None,
        };
        self.layers.push(layer);
        self.renamed(output)
    }

    fn renamed(&mut self, output: &str) -> Option<()> {
        output.clone_into(&mut self.current);
        Some(())
    }

    /// Whether a softmax is that of each row.
    fn is_of_rows(&self, node: &NodeProto) -> bool {
        matches!(attribute(node, "axis").and_then(|axis| axis.i), None | Some(-1 | 1))
    }

    /// Whether a shape is that of the rows as they are.
    fn keeps_rows(&self, shape: &str) -> bool {
        let shape = self.constants.get(shape).and_then(|shape| integers(shape));
        matches!(shape.as_deref(), Some([0 | -1, width]) if *width == self.width as i64)
    }

    fn floats(&self, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
        let tensor = self.constants.get(name)?;
        if data_type(tensor) != DataType::Float || !tensor.external_data.is_empty() {
            return None;
        }
        let (_, tensor) = tensor_of(tensor).ok()?;
        let shape = tensor.shape().to_vec();
        match tensor.into_data() {
            TensorData::Float32(values) => Some((shape, values)),
            _ => None,
        }
    }

    /// A constant for each column of the current rows.
    fn columns(&self, name: &str) -> Option<Vec<f32>> {
        let (shape, values) = self.floats(name)?;
        let one_row =
            shape.split_last().is_none_or(|(_, outer)| outer.len() <= 1 && outer.iter().all(|dim| *dim == 1));
        match values.as_slice() {
            [one] if one_row => Some(vec![*one; self.width]),
            several if one_row && several.len() == self.width => Some(values),
            _ => None,
        }
    }

    fn scalar(&self, name: &str) -> Option<f32> {
        match self.floats(name)?.1.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }
}

fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    if data_type(tensor) != DataType::Int64 {
        return None;
    }
    Some(match tensor.raw_data() {
        [] => tensor.int64_data.clone(),
        bytes => bytes.as_chunks().0.iter().copied().map(i64::from_le_bytes).collect(),
    })
}

/// The numbers of a row of an input of float32 `[rows, width]`.
fn width_of(graph: &GraphProto, input: &str) -> Option<usize> {
    use protos::onnx::tensor_shape_proto::dimension::Value;
    use protos::onnx::type_proto::Value as Type;

    let info = graph.input.iter().find(|info| info.name() == input)?;
    let Some(Type::TensorType(tensor)) = info.r#type.as_ref()?.value.as_ref() else { return None };
    if tensor.elem_type != Some(DataType::Float.into()) {
        return None;
    }
    let [_, width] = tensor.shape.as_ref()?.dim.as_slice() else { return None };
    match width.value {
        Some(Value::DimValue(width)) => usize::try_from(width).ok().filter(|width| *width > 0),
        _ => None,
    }
}
