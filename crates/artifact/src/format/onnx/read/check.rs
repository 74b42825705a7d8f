//! Whether a model is what ONNX says a model is: known versions, tensors with the elements they claim, values that are
//! computed before they are used.

use std::collections::HashSet;

use protos::onnx::tensor_proto::DataType;
use protos::onnx::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::OPSETS;
use super::functions::Functions;
use crate::format::onnx::nodes::{data_type, is_standard, label, nested, opset};

/// The most nodes a model may have, those of inner graphs included, and those of its functions as often as they are called.
const MAX_NODES: usize = 1 << 20;

/// Checks a model whose external data is folded in.
pub(super) fn check(model: &ModelProto) -> Result<(), String> {
    let graph = model.graph.as_ref().ok_or("it has no graph")?;
    if graph.output.is_empty() {
        return Err("it is no ONNX model, or one without outputs".to_owned());
    }
    let version = opset(&model.opset_import, "");
    if uses_standard(graph) && !OPSETS.contains(&version) {
        return Err(format!(
            "it uses version {version} of ONNX's operators, {} to {} are read; export it with opset_version=18, or convert \
             it with onnx.version_converter",
            OPSETS.start(),
            OPSETS.end()
        ));
    }
    let mut checking = Checking { nodes: 0, functions: Functions::of(model), known: HashSet::new() };
    checking.graph(graph)
}

fn uses_standard(graph: &GraphProto) -> bool {
    graph.node.iter().any(is_standard)
}

struct Checking<'a> {
    nodes: usize,
    functions: Functions<'a>,
    /// The values that are there at this place, those of outer graphs included.
    known: HashSet<&'a str>,
}

impl<'a> Checking<'a> {
    fn graph(&mut self, graph: &'a GraphProto) -> Result<(), String> {
        let mut own = Vec::new();
        let inputs = graph.input.iter().map(|input| input.name());
        for name in inputs {
            self.define(name, &mut own)?;
        }
        for tensor in &graph.initializer {
            elements(tensor)?;
            self.define(tensor.name(), &mut own)?;
        }
        for sparse in &graph.sparse_initializer {
            let values = sparse.values.as_ref().ok_or("a sparse tensor of it has no values")?;
            self.define(values.name(), &mut own)?;
        }
        for node in &graph.node {
            self.node(node)?;
            for output in node.output.iter().filter(|output| !output.is_empty()) {
                self.define(output, &mut own)?;
            }
        }
        for output in &graph.output {
            if !self.known.contains(output.name()) {
                return Err(format!("nothing computes its output \"{}\"", output.name()));
            }
        }
        for name in own {
            self.known.remove(name);
        }
        Ok(())
    }

    fn define(&mut self, name: &'a str, own: &mut Vec<&'a str>) -> Result<(), String> {
        if name.is_empty() {
            return Err("a value of it has no name".to_owned());
        }
        if !self.known.insert(name) {
            return Err(format!("its value \"{name}\" is defined twice"));
        }
        own.push(name);
        Ok(())
    }

    fn node(&mut self, node: &'a NodeProto) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(self.functions.nodes(node)?);
        if self.nodes > MAX_NODES {
            return Err(format!("it has more than {MAX_NODES} nodes"));
        }
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            if !self.known.contains(input.as_str()) {
                return Err(format!(
                    "node \"{}\" uses \"{input}\", which nothing before it computes",
                    label(node)
                ));
            }
        }
        for attribute in &node.attribute {
            for tensor in attribute.t.iter().chain(&attribute.tensors) {
                elements(tensor).map_err(|reason| format!("node \"{}\": {reason}", label(node)))?;
            }
        }
        nested(node).into_iter().try_for_each(|graph| self.graph(graph))
    }
}

/// Checks that a tensor has as many elements as its shape says.
fn elements(tensor: &TensorProto) -> Result<(), String> {
    let name = tensor.name();
    let dim = |dim: &i64| usize::try_from(*dim).ok();
    let count = tensor.dims.iter().try_fold(1usize, |count, next| count.checked_mul(dim(next)?));
    let count =
        count.ok_or_else(|| format!("tensor \"{name}\" has the impossible shape {:?}", tensor.dims))?;
    let bits = bits(data_type(tensor));
    let typed = |found: usize, wanted: usize, what: &str| {
        if found == wanted {
            return Ok(());
        }
        Err(format!("tensor \"{name}\" of shape {:?} needs {wanted} {what}, it has {found}", tensor.dims))
    };
    if let Some(raw) = &tensor.raw_data {
        let bits = bits.ok_or_else(|| format!("tensor \"{name}\" has raw bytes of no type that has them"))?;
        let wanted = count.checked_mul(bits).map(|bits| bits.div_ceil(8));
        return typed(raw.len(), wanted.unwrap_or(usize::MAX), "bytes");
    }
    match data_type(tensor) {
        DataType::Float => typed(tensor.float_data.len(), count, "elements"),
        DataType::Complex64 => typed(tensor.float_data.len(), count.saturating_mul(2), "parts"),
        DataType::Double => typed(tensor.double_data.len(), count, "elements"),
        DataType::Complex128 => typed(tensor.double_data.len(), count.saturating_mul(2), "parts"),
        DataType::Int64 => typed(tensor.int64_data.len(), count, "elements"),
        DataType::Uint32 | DataType::Uint64 => typed(tensor.uint64_data.len(), count, "elements"),
        DataType::String => typed(tensor.string_data.len(), count, "elements"),
        DataType::Undefined => Err(format!("tensor \"{name}\" has no type")),
        _ => {
            // Of small types several elements share a number.
            let in_one = 8 / bits.unwrap_or(8).clamp(1, 8);
            typed(tensor.int32_data.len(), count.div_ceil(in_one), "numbers")
        }
    }
}

/// Bits an element takes.
fn bits(dtype: DataType) -> Option<usize> {
    Some(match dtype {
        DataType::Undefined | DataType::String => return None,
        DataType::Uint2 | DataType::Int2 => 2,
        DataType::Uint4 | DataType::Int4 | DataType::Float4e2m1 => 4,
        DataType::Float6e2m3 | DataType::Float6e3m2 => 6,
        DataType::Uint8
        | DataType::Int8
        | DataType::Bool
        | DataType::Float8e4m3fn
        | DataType::Float8e4m3fnuz
        | DataType::Float8e5m2
        | DataType::Float8e5m2fnuz
        | DataType::Float8e8m0 => 8,
        DataType::Uint16 | DataType::Int16 | DataType::Float16 | DataType::Bfloat16 => 16,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 32,
        DataType::Double | DataType::Int64 | DataType::Uint64 | DataType::Complex64 => 64,
        DataType::Complex128 => 128,
    })
}
