//! Our evaluator of tree ensembles (ONNX-ML's TreeEnsembleRegressor, TreeEnsembleClassifier, TreeEnsemble), with the
//! results of onnxruntime, its special cases of two classes included.
//!
//! What a model computes before its trees and after them is left to rten, but for the little that exporters of
//! gradient boosting append to nearly every model ([`finish`]).

mod classes;
mod description;
mod ensemble;
mod finish;
mod forest;
mod number;
mod plan;
mod scores;
mod stage;
mod transform;

use predictor::{DataType, PredictError, Predictor, Signature, Tensor, TensorData, TensorSpec};
use prost::Message;
use protos::onnx::ModelProto;

use super::outputs;
use crate::Error;
use crate::format::onnx::nodes::label;
use crate::import::Unsupported;
use description::is_ensemble;
use ensemble::{Ensemble, Scored};
use plan::{Output, Plan, Source};
use stage::Stage;

pub(super) const VERSION: &str = "1";
const ENGINE: &str = "trees 1";

/// The most targets or classes of an ensemble.
const MAX_TARGETS: usize = 1 << 16;

/// The most features an ensemble may ask for.
const MAX_FEATURES: usize = 1 << 24;

/// Whether a model has tree ensembles.
pub(super) fn has_trees(model: &ModelProto) -> bool {
    model.graph.iter().flat_map(|graph| &graph.node).any(is_ensemble)
}

/// Everything of `model` that keeps this engine from it.
pub(super) fn unsupported(model: &ModelProto) -> Vec<Unsupported> {
    let mut around = model.clone();
    let mut found = Vec::new();
    let mut add = |operator: &str, node: &str, reason: String| {
        let nodes = vec![node.to_owned()];
        found.push(Unsupported { operator: operator.to_owned(), nodes, layer: None, reason });
    };
    if let Some(graph) = &mut around.graph {
        for node in graph.node.iter().filter(|node| is_ensemble(node)) {
            if let Err(reason) = Ensemble::new(node, false) {
                add(node.op_type(), label(node), reason);
            }
        }
        if let Err(reason) = plan::check(graph) {
            add("the model", "", reason);
        }
        graph.node.retain(|node| !is_ensemble(node));
    }
    found.extend(super::rten::unsupported(&around));
    found
}

/// A model of trees, ready to be called.
pub(super) struct TreePredictor {
    signature: Signature,
    ensembles: Vec<(Ensemble, Source)>,
    /// What gives the ensembles their inputs, where those are not inputs of the model.
    before: Option<Stage>,
    /// What turns the ensembles' outputs into outputs of the model, where that is more than a finish.
    after: Option<Stage>,
    outputs: Vec<Output>,
}

impl TreePredictor {
    pub(super) fn load(model: &[u8], signature: &Signature, threads: usize) -> Result<Self, Error> {
        let fail = |reason: String| Error::Load { engine: ENGINE, reason };
        let model = ModelProto::decode(model).map_err(|error| fail(error.to_string()))?;
        let plan = Plan::new(&model, signature).map_err(fail)?;
        let mut ensembles = Vec::with_capacity(plan.ensembles.len());
        for (node, source) in &plan.ensembles {
            let spec = match source {
                Source::Input(at) => Some(&signature.inputs[*at]),
                Source::Before(_) => None,
            };
            let named = |reason: String| fail(format!("{} \"{}\": {reason}", node.op_type(), label(node)));
            let double = spec.is_some_and(|spec| spec.dtype == DataType::Float64);
            let ensemble = Ensemble::new(node, double).map_err(named)?;
            spec.map_or(Ok(()), |spec| check_width(&ensemble, spec)).map_err(named)?;
            ensembles.push((ensemble, *source));
        }
        let load = |stage: plan::Draft| Stage::load(stage, threads);
        let before = plan.before.map(load).transpose()?;
        let after = plan.after.map(load).transpose()?;
        Ok(Self { signature: signature.clone(), ensembles, before, after, outputs: plan.outputs })
    }
}

impl Predictor for TreePredictor {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> {
        let rows = self.signature.check_inputs(&inputs)?;
        if rows == 0 {
            return outputs::empty(&self.signature);
        }
        let before = match &self.before {
            Some(stage) => stage.run(&inputs, &[])?,
            None => vec![],
        };
        let mut scored = Vec::with_capacity(self.ensembles.len());
        for (ensemble, source) in &self.ensembles {
            let input = match source {
                Source::Input(at) => &inputs[*at],
                Source::Before(at) => &before[*at],
            };
            scored.push(ensemble.run(input).map_err(PredictError::Input)?);
        }
        let after = match &self.after {
            Some(stage) => stage.run(&inputs, &scored)?,
            None => vec![],
        };
        let mut after = after.into_iter();
        let mut results = Vec::with_capacity(self.outputs.len());
        for (spec, output) in self.signature.outputs.iter().zip(&self.outputs) {
            let tensor = match output {
                Output::After => {
                    after.next().ok_or_else(|| PredictError::Engine("an output is missing".to_owned()))?
                }
                Output::Scores { ensemble, steps } => finish::scores(&scored[*ensemble], steps),
                Output::Labels { ensemble } => labels(&scored[*ensemble]),
            };
            let shape = tensor.shape().to_vec();
            results.push(outputs::checked(spec, shape, tensor.into_data(), rows)?);
        }
        Ok(results)
    }

    fn engine(&self) -> &str {
        ENGINE
    }
}

fn labels(scored: &Scored) -> Tensor {
    let labels = scored.labels.clone();
    Tensor::new(vec![labels.len()], TensorData::Int64(labels)).expect("the shape is the count")
}

fn check_width(ensemble: &Ensemble, spec: &TensorSpec) -> Result<(), String> {
    if spec.shape.len() != 2 {
        return Err(format!("input \"{}\" must have rows and features, two axes", spec.name));
    }
    match spec.shape[1] {
        Some(width) if width < ensemble.width() => {
            Err(format!("it asks for feature {}, input \"{}\" has {width}", ensemble.width() - 1, spec.name))
        }
        _ => Ok(()),
    }
}
