//! A model taken apart: what comes before its trees, the trees, and what comes after them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use predictor::{DataType, Signature, TensorSpec};
use protos::onnx::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::description::is_ensemble;
use super::finish::{Step, copies_labels};
use crate::format::onnx::nodes::{attribute, nested};
use crate::format::onnx::value_of_spec;

/// Where an ensemble's features come from: an input of the model, or an output of the stage before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Input(usize),
    Before(usize),
}

/// Where an output of the model comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Output {
    Scores {
        ensemble: usize,
        steps: Vec<Step>,
    },
    Labels {
        ensemble: usize,
    },
    /// The next output of the stage after.
    After,
}

/// What a stage is fed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feed {
    Input(usize),
    Scores(usize),
    Labels(usize),
}

/// A stage, not loaded yet.
pub(super) struct Draft {
    pub(super) model: ModelProto,
    pub(super) signature: Signature,
    /// What its inputs are, in order.
    pub(super) feeds: Vec<Feed>,
}

pub(super) struct Plan {
    pub(super) ensembles: Vec<(NodeProto, Source)>,
    pub(super) before: Option<Draft>,
    pub(super) after: Option<Draft>,
    pub(super) outputs: Vec<Output>,
}

impl Plan {
    pub(super) fn new(model: &ModelProto, signature: &Signature) -> Result<Self, String> {
        let graph = model.graph.as_ref().ok_or("it has no graph")?;
        check(graph)?;
        let taken = Taken { model, graph, signature, parts: Parts::new(graph) };
        taken.plan()
    }
}

/// Whether the trees of a graph can be taken out of it: none depends on another, none lies within a node.
pub(super) fn check(graph: &GraphProto) -> Result<(), String> {
    let parts = Parts::new(graph);
    for ensemble in &parts.ensembles {
        let input = ensemble.input.first().ok_or("an ensemble has no input")?;
        let (nodes, _) = parts.behind(&[input], &parts.of_ensembles());
        let on_another =
            nodes.iter().any(|at| graph.node[*at].input.iter().any(|name| parts.outputs.contains_key(name)));
        if on_another || parts.outputs.contains_key(input) {
            return Err("its trees depend on other trees".to_owned());
        }
    }
    let within = |node: &NodeProto| nested(node).iter().any(|graph| graph.node.iter().any(is_ensemble));
    if graph.node.iter().any(within) {
        return Err("it has trees within a branch or a loop".to_owned());
    }
    Ok(())
}

/// What an ensemble's output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    Scores(usize),
    Labels(usize),
}

/// A graph by names.
struct Parts<'a> {
    graph: &'a GraphProto,
    ensembles: Vec<&'a NodeProto>,
    /// What the ensembles give.
    outputs: HashMap<&'a String, Given>,
    /// Which node gives a value.
    givers: HashMap<&'a str, usize>,
    constants: HashMap<&'a str, &'a TensorProto>,
}

impl<'a> Parts<'a> {
    fn new(graph: &'a GraphProto) -> Self {
        let ensembles: Vec<&NodeProto> = graph.node.iter().filter(|node| is_ensemble(node)).collect();
        let mut outputs = HashMap::new();
        for (at, node) in ensembles.iter().enumerate() {
            let is_classifier = node.op_type() == "TreeEnsembleClassifier";
            let given = [Given::Labels(at), Given::Scores(at)];
            let given = if is_classifier { &given[..] } else { &given[1..] };
            outputs.extend(node.output.iter().zip(given.iter().copied()));
        }
        let mut givers = HashMap::new();
        for (at, node) in graph.node.iter().enumerate() {
            givers.extend(node.output.iter().map(|output| (output.as_str(), at)));
        }
        let mut constants: HashMap<&str, &TensorProto> =
            graph.initializer.iter().map(|tensor| (tensor.name(), tensor)).collect();
        for node in graph.node.iter().filter(|node| node.op_type() == "Constant") {
            if let (Some(output), Some(value)) = (node.output.first(), attribute(node, "value")) {
                constants.extend(value.t.as_ref().map(|tensor| (output.as_str(), tensor)));
            }
        }
        Self { graph, ensembles, outputs, givers, constants }
    }

    fn of_ensembles(&self) -> HashSet<&str> {
        self.outputs.keys().map(|name| name.as_str()).collect()
    }

    /// The nodes that `values` come from, in order, up to the values of `end`; and every name they use.
    fn behind(&self, values: &[&str], end: &HashSet<&str>) -> (BTreeSet<usize>, BTreeSet<String>) {
        let mut nodes = BTreeSet::new();
        let mut used: BTreeSet<String> = BTreeSet::new();
        let mut open: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        while let Some(value) = open.pop() {
            if !used.insert(value.clone()) || end.contains(value.as_str()) {
                continue;
            }
            if let Some(at) = self.givers.get(value.as_str())
                && nodes.insert(*at)
            {
                names_used(&self.graph.node[*at], &mut open);
            }
        }
        (nodes, used)
    }
}

/// The names a node uses, those its inner graphs capture included.
fn names_used(node: &NodeProto, names: &mut Vec<String>) {
    names.extend(node.input.iter().filter(|input| !input.is_empty()).cloned());
    for graph in nested(node) {
        graph.node.iter().for_each(|inner| names_used(inner, names));
        names.extend(graph.output.iter().map(|output| output.name().to_owned()));
    }
}

struct Taken<'a> {
    model: &'a ModelProto,
    graph: &'a GraphProto,
    signature: &'a Signature,
    parts: Parts<'a>,
}

impl Taken<'_> {
    fn plan(&self) -> Result<Plan, String> {
        let input_of = |name: &str| self.signature.inputs.iter().position(|spec| spec.name == name);
        let mut computed: Vec<&str> = Vec::new();
        let mut ensembles = Vec::new();
        for node in &self.parts.ensembles {
            let name = self.through_copies(&node.input[0]);
            let source = match input_of(name) {
                Some(at) => Source::Input(at),
                None => {
                    let at = computed.iter().position(|known| *known == name).unwrap_or(computed.len());
                    if at == computed.len() {
                        computed.push(name);
                    }
                    Source::Before(at)
                }
            };
            ensembles.push(((*node).clone(), source));
        }
        let mut outputs = Vec::new();
        let mut left = Vec::new();
        for spec in &self.signature.outputs {
            let output = self.finished(&spec.name).unwrap_or(Output::After);
            if output == Output::After {
                left.push(spec.clone());
            }
            outputs.push(output);
        }
        // Of any shape: the ensemble looks at it.
        let features =
            |name: &&str| TensorSpec { name: (*name).to_owned(), dtype: DataType::Float32, shape: vec![] };
        let before = self.stage(computed.iter().map(features).collect(), false)?;
        let after = self.stage(left, true)?;
        Ok(Plan { ensembles, before, after, outputs })
    }

    /// Back through nodes that only copy an input of the model.
    fn through_copies<'b>(&'b self, name: &'b str) -> &'b str {
        let Some(at) = self.parts.givers.get(name) else {
            return name;
        };
        let node = &self.graph.node[*at];
        let is_identity = node.op_type() == "Identity" && node.domain().is_empty() && node.input.len() == 1;
        if is_identity { self.through_copies(&node.input[0]) } else { name }
    }

    /// What gives an output of the model, if it is an ensemble's output and no more than finished.
    fn finished(&self, output: &str) -> Option<Output> {
        let mut steps = Vec::new();
        let mut value = output;
        let mut copied_only = true;
        loop {
            if let Some(given) = self.parts.outputs.get(&value.to_owned()) {
                return match given {
                    Given::Scores(ensemble) => {
                        steps.reverse();
                        Some(Output::Scores { ensemble: *ensemble, steps })
                    }
                    Given::Labels(ensemble) if copied_only => Some(Output::Labels { ensemble: *ensemble }),
                    Given::Labels(_) => None,
                };
            }
            let node = &self.graph.node[*self.parts.givers.get(value)?];
            let constant = |name: &str| self.parts.constants.get(name).copied();
            let input = node.input.iter().find(|name| constant(name).is_none())?;
            match Step::of(node, input, constant) {
                Some(step) => {
                    copied_only &= step == Step::Copy && copies_labels(node);
                    steps.push(step);
                }
                // A cast to int64 is a copy of labels, but of nothing else.
                None if copies_labels(node) && steps.iter().all(|step| *step == Step::Copy) => {
                    let mut rest = input;
                    while let Some(at) = self.parts.givers.get(rest.as_str())
                        && copies_labels(&self.graph.node[*at])
                    {
                        rest = &self.graph.node[*at].input[0];
                    }
                    return match self.parts.outputs.get(rest) {
                        Some(Given::Labels(ensemble)) if copied_only => {
                            Some(Output::Labels { ensemble: *ensemble })
                        }
                        _ => None,
                    };
                }
                None => return None,
            }
            value = input;
        }
    }

    /// The part of the graph that computes `wanted`; none if nothing is wanted.
    fn stage(&self, wanted: Vec<TensorSpec>, with_ensembles: bool) -> Result<Option<Draft>, String> {
        if wanted.is_empty() {
            return Ok(None);
        }
        let end = self.parts.of_ensembles();
        let names: Vec<&str> = wanted.iter().map(|spec| spec.name.as_str()).collect();
        let (nodes, used) = self.parts.behind(&names, &end);
        let (mut feeds, mut inputs) = (Vec::new(), Vec::new());
        for (at, spec) in
            self.signature.inputs.iter().enumerate().filter(|(_, spec)| used.contains(&spec.name))
        {
            feeds.push(Feed::Input(at));
            inputs.push(spec.clone());
        }
        let given: BTreeMap<&String, Given> =
            self.parts.outputs.iter().map(|(name, given)| (*name, *given)).collect();
        for (name, given) in given.into_iter().filter(|(name, _)| used.contains(*name)) {
            if !with_ensembles {
                return Err("its trees depend on other trees".to_owned());
            }
            let (feed, dtype, shape) = match given {
                Given::Scores(at) => (Feed::Scores(at), DataType::Float32, vec![None, None]),
                Given::Labels(at) => (Feed::Labels(at), DataType::Int64, vec![None]),
            };
            feeds.push(feed);
            inputs.push(TensorSpec { name: name.clone(), dtype, shape });
        }
        let graph = GraphProto {
            name: self.graph.name.clone(),
            node: nodes.iter().map(|at| self.graph.node[*at].clone()).collect(),
            initializer: self.graph.initializer.iter().filter(|t| used.contains(t.name())).cloned().collect(),
            input: inputs.iter().map(value_of_spec).collect(),
            output: wanted.iter().map(value_of_spec).collect(),
            ..GraphProto::default()
        };
        let model = ModelProto {
            ir_version: self.model.ir_version,
            opset_import: self.model.opset_import.clone(),
            graph: Some(graph),
            ..ModelProto::default()
        };
        Ok(Some(Draft { model, signature: Signature { inputs, outputs: wanted }, feeds }))
    }
}
