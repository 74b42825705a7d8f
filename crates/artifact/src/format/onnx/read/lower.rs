//! Operators of ONNX-ML (scikit-learn's, mostly) written in ONNX's own, so that every engine knows them. Tree ensembles
//! stay; what cannot be written so stays too, for the engine that knows it.

mod linear;
mod scaling;
mod zipmap;

use protos::onnx::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto};

use super::edit::{Names, integers, node};
use crate::format::onnx::nodes::{attribute, label, nested, opset};

/// The version of ONNX's operators for a model that used none, by what its IR version knew.
const NEW_OPSET: i64 = 13;

/// The first version whose operators are what this module writes.
const LEAST_OPSET: i64 = 11;

/// Writes ONNX-ML operators out; says in `notes` what changed for callers.
pub(super) fn lower(model: &mut ModelProto, notes: &mut Vec<String>) -> Result<(), String> {
    let Some(graph) = &mut model.graph else {
        return Ok(());
    };
    if !graph.node.iter().any(|node| node.domain() == "ai.onnx.ml") {
        return Ok(());
    }
    let mut seen = std::collections::BTreeSet::new();
    model.opset_import.retain(|import| seen.insert(import.domain().to_owned()));
    if opset(&model.opset_import, "") == 0 {
        let domain = Some(String::new());
        model.opset_import.push(OperatorSetIdProto { domain, version: Some(NEW_OPSET) });
    }
    zipmap::replace(graph, notes)?;
    if opset(&model.opset_import, "") < LEAST_OPSET {
        return Ok(());
    }
    let mut names = Names::of(graph);
    for old in std::mem::take(&mut graph.node) {
        let mut lowering = Lowering { names: &mut names, node: &old, steps: vec![], constants: vec![] };
        let is_lowered = old.domain() == "ai.onnx.ml" && nested(&old).is_empty() && lowering.lower(graph)?;
        let Lowering { steps, constants, .. } = lowering;
        if is_lowered {
            graph.node.extend(steps);
            graph.initializer.extend(constants);
        } else {
            graph.node.push(old);
        }
    }
    Ok(())
}

/// One operator being written out.
struct Lowering<'a> {
    names: &'a mut Names,
    node: &'a NodeProto,
    steps: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Lowering<'_> {
    /// Whether it was written out.
    fn lower(&mut self, graph: &GraphProto) -> Result<bool, String> {
        if self.node.input.iter().chain(&self.node.output).any(String::is_empty) {
            return Ok(false);
        }
        match (self.node.op_type(), self.node.input.len(), self.node.output.len()) {
            ("Scaler", 1, 1) => self.scaler(),
            ("Normalizer", 1, 1) => self.normalizer(),
            ("Imputer", 1, 1) => self.imputer(),
            ("Binarizer", 1, 1) => self.binarizer(),
            ("LinearRegressor", 1, 1) => self.linear_regressor(),
            ("LinearClassifier", 1, 2) => self.linear_classifier(),
            ("ArrayFeatureExtractor", 2, 1) => Ok(self.array_feature_extractor(graph)),
            _ => Ok(false),
        }
    }

    fn input(&self) -> &str {
        &self.node.input[0]
    }

    /// The name of a value between the steps.
    fn between(&mut self, part: &str) -> String {
        self.names.free(&format!("{}/{part}", self.node.output[0]))
    }

    /// The input as float32.
    fn input_as_float(&mut self) -> String {
        let name = self.between("float");
        self.steps.push(super::edit::cast(self.input(), &name, protos::onnx::tensor_proto::DataType::Float));
        name
    }

    fn constant(&mut self, part: &str, dims: &[usize], values: &[f32]) -> String {
        let name = self.between(part);
        self.constants.push(super::edit::floats(&name, dims, values));
        name
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        attribute(self.node, name).map_or(vec![], |attribute| attribute.floats.clone())
    }

    fn text(&self, name: &str) -> Option<String> {
        let s = attribute(self.node, name)?.s.as_deref()?;
        Some(String::from_utf8_lossy(s).into_owned())
    }

    fn wrong(&self, reason: &str) -> String {
        format!("{} \"{}\": {reason}", self.node.op_type(), label(self.node))
    }

    /// Picks along the last axis; of a vector it makes one row.
    fn array_feature_extractor(&mut self, graph: &GraphProto) -> bool {
        let (from, which, output) =
            (self.input().to_owned(), self.node.input[1].clone(), self.node.output[0].clone());
        let constant = graph.initializer.iter().find(|tensor| tensor.name() == from);
        let is_vector = constant.is_some_and(|tensor| tensor.dims.len() == 1);
        let (flat, all) = (self.between("indices"), self.between("all"));
        self.constants.push(integers(&all, &[-1]));
        self.steps.push(node("Reshape", &[&which, &all], &flat, vec![]));
        let gather = |output: &str| {
            node("Gather", &[&from, &flat], output, vec![crate::format::onnx::proto::int("axis", -1)])
        };
        if is_vector {
            let (picked, row) = (self.between("picked"), self.between("row"));
            self.constants.push(integers(&row, &[1, -1]));
            self.steps.push(gather(&picked));
            self.steps.push(node("Reshape", &[&picked, &row], &output, vec![]));
        } else {
            self.steps.push(gather(&output));
        }
        true
    }
}
