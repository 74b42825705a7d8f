//! Tensors as large as the values of the inputs say: `ConstantOfShape` of a number that a caller sends. A question of some bytes
//! could ask for all memory, so what decides the size is computed first, and refused if it is too much.
//!
//! Sizes that follow from the shapes of inputs are not looked at here: whoever serves the model bounds those. Deliberately not here:
//! graphs within nodes.

use std::collections::HashSet;

use predictor::PredictError;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use protos::onnx::{NodeProto, ValueInfoProto};
use rten::{Model, NodeId, Value};
use rten_tensor::AsView;

use crate::format::onnx::nodes::{is_standard, label, nested};

/// The most elements that values may ask for.
const ELEMENTS_MAX: f64 = (1 << 26) as f64;

/// How a node's size follows from some of its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The product of all numbers.
    Product,
    /// From, to, by.
    Range,
    /// Before and after each axis: as much as if each had one element.
    Pads,
}

/// What says how large a node's output is.
fn rule(operator: &str) -> Option<(Rule, &'static [usize])> {
    Some(match operator {
        "ConstantOfShape" => (Rule::Product, &[0]),
        "Expand" | "Tile" | "OneHot" | "CenterCropPad" => (Rule::Product, &[1]),
        "Resize" => (Rule::Product, &[2, 3]),
        "Range" => (Rule::Range, &[0, 1, 2]),
        "Pad" => (Rule::Pads, &[1]),
        _ => return None,
    })
}

/// A node whose size the caller chooses.
#[derive(Debug)]
struct Asked {
    operator: String,
    label: String,
    rule: Rule,
    values: Vec<NodeId>,
}

impl Asked {
    /// The node, if what says its size is among the values that are `told` by the inputs'.
    fn of(node: &NodeProto, told: &HashSet<&str>, model: &Model) -> Result<Option<Self>, String> {
        let Some((rule, places)) = rule(node.op_type()).filter(|_| is_standard(node)) else {
            return Ok(None);
        };
        let places = places.iter().filter_map(|place| node.input.get(*place));
        let names: Vec<&str> = places.map(String::as_str).filter(|name| !name.is_empty()).collect();
        if !names.iter().any(|name| told.contains(name)) {
            return Ok(None);
        }
        let label = label(node).to_owned();
        let values =
            names.iter().map(|name| model.node_id(name)).collect::<Result<_, _>>().map_err(|_| {
                format!(
                    "what \"{label}\" makes is as large as its inputs' values say, which are not to be seen"
                )
            })?;
        Ok(Some(Self { operator: node.op_type().to_owned(), label, rule, values }))
    }
}

fn takes(node: &NodeProto, told: &HashSet<&str>) -> bool {
    node.input.iter().any(|name| told.contains(name.as_str()))
}

/// Those of a model, in the order they are computed.
#[derive(Debug, Default)]
pub(super) struct AskedSizes(Vec<Asked>);

impl AskedSizes {
    /// Finds them.
    ///
    /// # Errors
    /// If a value that decides a size is not there any more in the loaded model.
    pub(super) fn of(nodes: Option<Nodes>, model: &Model) -> Result<Self, String> {
        let Some(Nodes { nodes, inputs }) = nodes else { return Ok(Self::default()) };
        let mut told: HashSet<&str> = inputs.iter().map(ValueInfoProto::name).collect();
        let mut found = Vec::new();
        for node in nodes
            .iter()
            .filter(|node| node.op_type() != "Shape" && node.op_type() != "Size" || !is_standard(node))
        {
            found.extend(Asked::of(node, &told, model)?);
            let within = nested(node).into_iter().flat_map(|graph| &graph.node);
            if !is_standard(node) || std::iter::once(node).chain(within).any(|one| takes(one, &told)) {
                told.extend(node.output.iter().map(String::as_str));
            }
        }
        Ok(Self(found))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses what asks for too much. `values` computes some of the model's values; it is called for one node after the other, so
    /// that none is computed that was not found to be small.
    pub(super) fn check(
        &self,
        values: impl Fn(&[NodeId]) -> Result<Vec<Value>, PredictError>,
    ) -> Result<(), PredictError> {
        for Asked { operator, label, rule, values: ids } in &self.0 {
            let numbers: Vec<Vec<f64>> = values(ids)?.iter().map(numbers).collect();
            let elements = elements(*rule, &numbers);
            if elements.is_nan() || elements > ELEMENTS_MAX {
                return Err(PredictError::Input(format!(
                    "the inputs make \"{label}\" ({operator}) give {elements} elements, more than the {ELEMENTS_MAX} it may"
                )));
            }
        }
        Ok(())
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Int32Tensor(tensor) => tensor.iter().map(|x| f64::from(*x)).collect(),
        Value::FloatTensor(tensor) => tensor.iter().map(|x| f64::from(*x)).collect(),
        _ => vec![f64::NAN],
    }
}

fn elements(rule: Rule, values: &[Vec<f64>]) -> f64 {
    let all = || values.iter().flatten().copied();
    match rule {
        Rule::Product => all().map(|x| x.max(1.0)).product(),
        Rule::Range => match all().collect::<Vec<f64>>().as_slice() {
            [from, to, by] => ((to - from) / by).max(0.0),
            _ => f64::NAN,
        },
        Rule::Pads => {
            let pads: Vec<f64> = all().map(|x| x.max(0.0)).collect();
            let axes = pads.len() / 2;
            (0..axes).map(|axis| 1.0 + pads[axis] + pads[axis + axes]).product()
        }
    }
}

/// The nodes and inputs of a model's graph, without its weights.
pub(super) struct Nodes {
    nodes: Vec<NodeProto>,
    inputs: Vec<ValueInfoProto>,
}

/// Those of a file; nothing if no node is of those that matter.
pub(super) fn nodes(model: &[u8]) -> Option<Nodes> {
    const GRAPH: u32 = 7;
    const NODE: u32 = 1;
    const INPUT: u32 = 11;
    let (mut nodes, mut inputs) = (Vec::new(), Vec::new());
    for graph in parts(model, &[GRAPH])?.into_iter().map(|(_, part)| part) {
        for (field, part) in parts(graph, &[NODE, INPUT])? {
            match field {
                NODE => nodes.push(NodeProto::decode(part).ok()?),
                _ => inputs.push(ValueInfoProto::decode(part).ok()?),
            }
        }
    }
    nodes.iter().any(|node| rule(node.op_type()).is_some()).then_some(Nodes { nodes, inputs })
}

/// The messages in some fields of a message.
fn parts<'a>(mut message: &'a [u8], fields: &[u32]) -> Option<Vec<(u32, &'a [u8])>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let (field, wire) = decode_key(&mut message).ok()?;
        if wire != WireType::LengthDelimited {
            skip_field(wire, field, &mut message, DecodeContext::default()).ok()?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
        let (part, rest) = message.split_at_checked(length)?;
        if fields.contains(&field) {
            found.push((field, part));
        }
        message = rest;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use predictor::{DataType, Predictor as _, Signature, Tensor, TensorData, TensorSpec};
    use protos::onnx::{GraphProto, ModelProto, OperatorSetIdProto, TensorProto, TypeProto, type_proto};

    use super::super::RtenPredictor;
    use super::*;
    use crate::format::onnx::proto;

    fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        NodeProto {
            op_type: Some(operator.to_owned()),
            input: owned(inputs),
            output: owned(&[output]),
            ..NodeProto::default()
        }
    }

    fn ints(name: &str, values: &[i64]) -> TensorProto {
        proto::tensor(name, &Tensor::new(vec![values.len()], TensorData::Int64(values.to_vec())).unwrap())
    }

    fn scalar(name: &str, value: i64) -> TensorProto {
        proto::tensor(name, &Tensor::new(vec![], TensorData::Int64(vec![value])).unwrap())
    }

    /// A model of `n` [batch] int64, whose `y` is the size of `big` for each row.
    fn predictor(mut nodes: Vec<NodeProto>) -> RtenPredictor {
        // The size of what was made, beside each row.
        nodes.extend([
            node("Size", &["big"], "size"),
            node("Mul", &["n", "zero"], "none"),
            node("Add", &["none", "size"], "y"),
        ]);
        let spec =
            |name: &str| TensorSpec { name: name.to_owned(), dtype: DataType::Int64, shape: vec![None] };
        let info = |name: &str| {
            let tensor = type_proto::Tensor { elem_type: Some(7), shape: None };
            let value = Some(type_proto::Value::TensorType(tensor));
            ValueInfoProto {
                name: Some(name.to_owned()),
                r#type: Some(TypeProto { value, ..TypeProto::default() }),
                ..ValueInfoProto::default()
            }
        };
        let graph = GraphProto {
            name: Some("g".to_owned()),
            node: nodes,
            input: vec![info("n")],
            output: vec![info("y")],
            initializer: vec![
                scalar("zero", 0),
                ints("zeros", &[0]),
                ints("ones", &[1]),
                scalar("one", 1),
                ints("pair", &[0, 1]),
            ],
            ..GraphProto::default()
        };
        let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(18) };
        let model = ModelProto {
            ir_version: Some(8),
            opset_import: vec![opset],
            graph: Some(graph),
            ..ModelProto::default()
        };
        let signature = Signature { inputs: vec![spec("n")], outputs: vec![spec("y")] };
        RtenPredictor::load(model.encode_to_vec(), &signature, 1).unwrap()
    }

    fn ask(model: &RtenPredictor, n: i64) -> Result<Vec<i64>, PredictError> {
        let outputs = model.predict(vec![Tensor::new(vec![1], TensorData::Int64(vec![n])).unwrap()])?;
        let TensorData::Int64(sizes) = outputs[0].data() else { panic!("{outputs:?}") };
        Ok(sizes.clone())
    }

    #[test]
    fn what_values_make_large_is_refused_before_it_is_made() {
        let first = || node("ReduceMax", &["n", "zeros"], "kept");
        let flat = || node("Reshape", &["kept", "ones"], "m");
        let scalar = || node("Squeeze", &["kept", "zeros"], "m");
        for nodes in [
            vec![first(), flat(), node("ConstantOfShape", &["m"], "big")],
            vec![first(), flat(), node("Expand", &["ones", "m"], "big")],
            vec![first(), flat(), node("Tile", &["ones", "m"], "big")],
            vec![first(), scalar(), node("Range", &["zero", "m", "one"], "big")],
            vec![first(), scalar(), node("OneHot", &["zeros", "m", "pair"], "big")],
        ] {
            let name = nodes.last().unwrap().op_type().to_owned();
            let model = predictor(nodes);
            assert_eq!(ask(&model, 7), Ok(vec![7]), "{name}");
            let Err(PredictError::Input(reason)) = ask(&model, 2_000_000_000) else { panic!("{name}") };
            assert!(
                reason.contains(&format!("({name}) give 2000000000 elements, more than the 67108864")),
                "{reason}"
            );
        }
    }

    #[test]
    fn what_shapes_make_large_is_not_asked_about() {
        let by_shape = predictor(vec![node("Shape", &["n"], "m"), node("ConstantOfShape", &["m"], "big")]);
        assert!(by_shape.asked.is_empty());
        assert_eq!(ask(&by_shape, 2_000_000_000), Ok(vec![1]));
    }

    #[test]
    fn sizes_follow_from_the_numbers() {
        assert_eq!(elements(Rule::Product, &[vec![3.0, 4.0], vec![0.0, -1.0]]), 12.0);
        assert_eq!(elements(Rule::Range, &[vec![10.0], vec![0.0], vec![-2.0]]), 5.0);
        assert!(elements(Rule::Range, &[vec![0.0], vec![1.0], vec![0.0]]).is_infinite());
        assert!(elements(Rule::Range, &[vec![0.0], vec![1.0]]).is_nan());
        assert_eq!(elements(Rule::Pads, &[vec![1.0, 0.0, 2.0, -5.0]]), 4.0);
        assert!(elements(Rule::Product, &[vec![f64::NAN]]).is_finite());
    }
}
