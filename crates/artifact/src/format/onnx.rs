//! ONNX: one file, `model.onnx`, opset 18, with the batch as the axis `batch`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use predictor::{DataType, Signature, Tensor};
use prost::Message;
use protos::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, attribute_proto, tensor_proto, tensor_shape_proto, type_proto,
};

use super::Format;
use super::bytes::little_endian;
use crate::Error;
use crate::bundle::{FormatTensorNames, ONNX_MODEL};
use crate::graph::{Graph, Node, Op, Value};

const OPSET: i64 = 18;
/// The first IR version that knows opset 18.
const IR_VERSION: i64 = 8;

/// The ONNX format.
#[derive(Debug, Clone, Copy)]
pub struct Onnx;

impl Format for Onnx {
    fn name(&self) -> &'static str {
        "onnx"
    }

    fn recognise(&self, directory: &Path) -> bool {
        directory.join(ONNX_MODEL).is_file()
    }

    fn write(&self, graph: &Graph) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let model = ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some("bellwether".to_owned()),
            opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
            graph: Some(Writer::new(graph).write()),
            ..ModelProto::default()
        };
        Ok(vec![(ONNX_MODEL.to_owned(), model.encode_to_vec())])
    }

    fn tensor_names(&self, signature: &Signature) -> FormatTensorNames {
        let same = |specs: &[predictor::TensorSpec]| {
            specs.iter().map(|spec| (spec.name.clone(), spec.name.clone())).collect()
        };
        FormatTensorNames { inputs: same(&signature.inputs), outputs: same(&signature.outputs) }
    }
}

struct Writer<'a> {
    graph: &'a Graph,
    /// What ONNX calls each value.
    names: BTreeMap<Value, String>,
    taken: BTreeSet<String>,
    proto: GraphProto,
}

impl<'a> Writer<'a> {
    fn new(graph: &'a Graph) -> Self {
        let values = graph.nodes().iter().enumerate();
        let mut names: BTreeMap<Value, String> =
            values.map(|(at, node)| (Value::at(at), node.name.clone())).collect();
        let mut taken: BTreeSet<String> = names.values().cloned().collect();
        taken.extend(graph.outputs().iter().map(|output| output.name.clone()));
        for output in graph.outputs() {
            // A computed value simply takes its public name; only what has a name already needs a copy.
            let node = graph.node(output.value);
            if is_computed(node) && names[&output.value] == node.name {
                names.insert(output.value, output.name.clone());
            }
        }
        let proto = GraphProto { name: Some("model".to_owned()), ..GraphProto::default() };
        Self { graph, names, taken, proto }
    }

    fn write(mut self) -> GraphProto {
        for (at, node) in self.graph.nodes().iter().enumerate() {
            self.node(Value::at(at), node);
        }
        for output in self.graph.outputs() {
            let node = self.graph.node(output.value);
            self.proto.output.push(value_info(&output.name, node));
            let source = self.names[&output.value].clone();
            if source != output.name {
                self.operator("Identity", &format!("{}/identity", output.name), vec![source], &output.name);
            }
        }
        self.proto
    }

    fn node(&mut self, value: Value, node: &Node) {
        let mut inputs: Vec<String> = node.inputs.iter().map(|input| self.names[input].clone()).collect();
        let operator = match &node.op {
            Op::Input => {
                self.proto.input.push(value_info(&node.name, node));
                return;
            }
            Op::Constant(tensor) | Op::Variable(tensor) => {
                self.proto.initializer.push(tensor_proto(&node.name, tensor));
                return;
            }
            Op::Clip { min, max } => {
                inputs.push(self.scalar(&format!("{}/min", node.name), *min));
                inputs.push(self.scalar(&format!("{}/max", node.name), *max));
                "Clip"
            }
            Op::IsNan => "IsNaN",
            Op::Select => "Where",
            Op::Sub => "Sub",
            Op::Div => "Div",
            Op::Add => "Add",
            Op::MatMul => "MatMul",
            Op::Relu => "Relu",
            Op::Tanh => "Tanh",
            Op::Sigmoid => "Sigmoid",
            Op::Softmax => "Softmax",
        };
        let output = self.names[&value].clone();
        self.operator(operator, &node.name, inputs, &output);
    }

    fn operator(&mut self, operator: &str, name: &str, input: Vec<String>, output: &str) {
        let axis = AttributeProto {
            name: Some("axis".to_owned()),
            r#type: Some(attribute_proto::AttributeType::Int.into()),
            i: Some(-1),
            ..AttributeProto::default()
        };
        self.proto.node.push(NodeProto {
            name: Some(name.to_owned()),
            op_type: Some(operator.to_owned()),
            input,
            output: vec![output.to_owned()],
            attribute: if operator == "Softmax" { vec![axis] } else { vec![] },
            ..NodeProto::default()
        });
    }

    /// Adds a scalar under `name`, or a free variant of it.
    fn scalar(&mut self, name: &str, value: f32) -> String {
        let mut name = name.to_owned();
        while !self.taken.insert(name.clone()) {
            name.push('_');
        }
        self.proto.initializer.push(TensorProto {
            name: Some(name.clone()),
            data_type: Some(tensor_proto::DataType::Float.into()),
            raw_data: Some(value.to_le_bytes().to_vec()),
            ..TensorProto::default()
        });
        name
    }
}

fn is_computed(node: &Node) -> bool {
    !matches!(node.op, Op::Input | Op::Constant(_) | Op::Variable(_))
}

fn tensor_proto(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(data_type(tensor.data_type())),
        dims: tensor.shape().iter().map(|&axis| axis as i64).collect(),
        raw_data: Some(little_endian(tensor)),
        ..TensorProto::default()
    }
}

fn value_info(name: &str, node: &Node) -> ValueInfoProto {
    use tensor_shape_proto::dimension::Value as Axis;
    let axis = |size: &Option<usize>| tensor_shape_proto::Dimension {
        value: Some(match size {
            Some(size) => Axis::DimValue(*size as i64),
            None => Axis::DimParam("batch".to_owned()),
        }),
        ..tensor_shape_proto::Dimension::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: Some(data_type(node.dtype)),
        shape: Some(TensorShapeProto { dim: node.shape.iter().map(axis).collect() }),
    };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(r#type), ..ValueInfoProto::default() }
}

fn data_type(dtype: DataType) -> i32 {
    let onnx = match dtype {
        DataType::Float32 => tensor_proto::DataType::Float,
        DataType::Float64 => tensor_proto::DataType::Double,
        DataType::Int32 => tensor_proto::DataType::Int32,
        DataType::Int64 => tensor_proto::DataType::Int64,
        DataType::Bool => tensor_proto::DataType::Bool,
    };
    onnx.into()
}
