//! A conversion under way: what every layer may use, what it is given, and what could not be converted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use predictor::{DataType, Tensor};
use serde_json::Value;

use super::config::{Object, Settings};
use super::weights::{self, Weights};
use super::{CONFIG, layers, network, operations};
use crate::Error;
use crate::format::traced::dim::Dim;
use crate::format::traced::limits;
use crate::format::traced::target::{Refusal, Step, Target};
use crate::format::traced::tensor::{Content, Traced};
use crate::import::{ImportedModel, Unsupported};

/// Networks inside networks, and layers inside layers.
const DEPTH_MAX: usize = 16;
/// Calls of layers, each use of a shared one counted.
const CALLS_MAX: usize = 50_000;

/// A layer that is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer<'a> {
    pub object: Object<'a>,
    /// Where its weights are.
    pub path: &'a str,
}

impl<'a> Layer<'a> {
    pub(super) fn settings(&self) -> Settings<'a> {
        self.object.settings
    }
}

/// What a call is given.
#[derive(Debug, Clone)]
pub(super) enum Argument {
    Tensor(Traced),
    List(Vec<Argument>),
    /// Anything that is no tensor: a number, a place, nothing.
    Plain(Value),
}

/// What a call is given, in order and by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Inputs {
    pub arguments: Vec<Argument>,
    pub named: BTreeMap<String, Argument>,
}

impl Inputs {
    /// Of tensors alone.
    pub(super) fn of(tensors: impl IntoIterator<Item = Traced>) -> Self {
        let arguments = tensors.into_iter().map(Argument::Tensor).collect();
        Self { arguments, named: BTreeMap::new() }
    }

    /// The first tensor.
    pub(super) fn one(&self) -> Step<&Traced> {
        self.tensors().into_iter().next().ok_or_else(|| "it is called with no tensor".into())
    }

    /// All tensors that are given in order, also those in a list.
    pub(super) fn tensors(&self) -> Vec<&Traced> {
        fn gather<'i>(argument: &'i Argument, into: &mut Vec<&'i Traced>) {
            match argument {
                Argument::Tensor(tensor) => into.push(tensor),
                Argument::List(list) => list.iter().for_each(|argument| gather(argument, into)),
                Argument::Plain(_) => {}
            }
        }
        let mut tensors = Vec::new();
        self.arguments.iter().for_each(|argument| gather(argument, &mut tensors));
        tensors
    }

    /// The tensors of a name.
    pub(super) fn named_tensors(&self, name: &str) -> Vec<&Traced> {
        match self.named.get(name) {
            Some(Argument::Tensor(tensor)) => vec![tensor],
            Some(Argument::List(list)) => {
                let tensors = list.iter().filter_map(|argument| match argument {
                    Argument::Tensor(tensor) => Some(tensor),
                    _ => None,
                });
                tensors.collect()
            }
            _ => vec![],
        }
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.named.get(name), Some(Argument::Plain(Value::Bool(true))))
    }

    /// What is named, says something, and is none of `taken`.
    fn beyond(&self, taken: &[&str]) -> Option<&str> {
        let says =
            |argument: &Argument| !matches!(argument, Argument::Plain(Value::Null | Value::Bool(false)));
        let mut named = self.named.iter().filter(|(_, argument)| says(argument));
        named.find(|(name, _)| !taken.contains(&name.as_str())).map(|(name, _)| name.as_str())
    }
}

/// A conversion under way.
pub(super) struct Converter<'w> {
    pub target: Target,
    pub weights: &'w Weights,
    pub notes: BTreeSet<String>,
    /// Which steps of a value count, `[batch, steps]`, by the value's name.
    masks: HashMap<Rc<str>, Traced>,
    unsupported: BTreeMap<(String, String), Unsupported>,
    calls: usize,
    depth: usize,
}

impl<'w> Converter<'w> {
    pub(super) fn new(weights: &'w Weights) -> Self {
        Self {
            target: Target::default(),
            weights,
            notes: BTreeSet::new(),
            masks: HashMap::new(),
            unsupported: BTreeMap::new(),
            calls: 0,
            depth: 0,
        }
    }

    /// Converts the network that `config.json` describes.
    pub(super) fn model(mut self, config: &Value) -> Result<ImportedModel, Error> {
        let refuse = |reason: String| Error::Import { place: CONFIG.to_owned(), reason };
        let stop = |refusal| match refusal {
            Refusal::Cannot(reason) => refuse(reason),
            Refusal::Stop(error) => error,
        };
        let object = Object::read(config).map_err(stop)?;
        let ports = match network::whole(&mut self, object) {
            Ok(ports) => ports,
            Err(Refusal::Cannot(reason)) if self.unsupported.is_empty() => return Err(refuse(reason)),
            Err(Refusal::Cannot(_)) => None,
            Err(Refusal::Stop(error)) => return Err(error),
        };
        if !self.unsupported.is_empty() {
            return Err(Error::Unsupported(std::mem::take(&mut self.unsupported).into_values().collect()));
        }
        let ports = ports.ok_or_else(|| refuse("nothing leads to its outputs".to_owned()))?;
        ports.model(self.target, self.notes.into_iter().collect())
    }

    /// What a layer makes of its inputs; none if that is not known, which has been reported.
    pub(super) fn call(&mut self, layer: &Layer<'_>, inputs: &Inputs) -> Step<Option<Vec<Traced>>> {
        self.calls += 1;
        if self.calls > CALLS_MAX {
            let reason = format!("its layers are called more than {CALLS_MAX} times");
            return Err(Refusal::Stop(Error::Import { place: CONFIG.to_owned(), reason }));
        }
        let scope = std::mem::replace(&mut self.target.scope, layer.object.name.to_owned());
        let result = self.compute(layer, inputs);
        self.target.scope = scope;
        match result {
            Err(Refusal::Cannot(reason)) => {
                self.report(&layer.object, reason);
                Ok(None)
            }
            Ok(results) => Ok(Some(results)),
            Err(stop) => Err(stop),
        }
    }

    /// The same, of a layer inside of one that is converted.
    pub(super) fn compute(&mut self, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
        let object = &layer.object;
        let (convert, taken) = known(object)?;
        if let Some(name) = inputs.beyond(taken) {
            let way_out = "export the model with model.export(\"folder\") and give that folder";
            return Err(format!("it is called with {name}, which is not taken; {way_out}").into());
        }
        self.check_type(object)?;
        let masked = inputs.tensors().into_iter().find_map(|x| self.mask_of(x).cloned());
        let masks = layers::masks(object.class);
        if masked.is_some() && masks == layers::Masks::Unknown {
            return Err(
                "its input has masked steps, which it is not known to leave out; export the model with \
                        model.export(\"folder\") and give that folder"
                    .into(),
            );
        }
        if self.depth == DEPTH_MAX {
            return Err(format!("it lies more than {DEPTH_MAX} networks or layers deep").into());
        }
        self.depth += 1;
        let results = convert(self, layer, inputs);
        self.depth -= 1;
        if let (Ok(results), Some(mask), layers::Masks::Kept) = (&results, masked, masks) {
            results.iter().for_each(|result| self.set_mask(result, mask.clone()));
        }
        results
    }

    /// Which steps of the first tensor of a call count, if some do not: as the call says, or as the tensor does.
    pub(super) fn mask(&mut self, inputs: &Inputs) -> Step<Option<Traced>> {
        match inputs.named_tensors("mask").first() {
            Some(mask) => Ok(Some(self.target.cast(mask, DataType::Bool)?)),
            None => Ok(self.mask_of(inputs.one()?).cloned()),
        }
    }

    /// Which steps of a value count, if some do not.
    fn mask_of(&self, x: &Traced) -> Option<&Traced> {
        match &x.content {
            Content::Computed(name) => self.masks.get(name),
            Content::Known(_) | Content::Sizes(_) => None,
        }
    }

    /// Says which steps of a value count.
    pub(super) fn set_mask(&mut self, x: &Traced, mask: Traced) {
        if let Content::Computed(name) = &x.content {
            self.masks.insert(Rc::clone(name), mask);
        }
    }

    /// Numbers of what type a layer computes with.
    fn check_type(&mut self, object: &Object<'_>) -> Step<()> {
        let policy = match object.settings.get("dtype") {
            Some(Value::Object(policy)) => {
                if policy.get("class_name").is_some_and(|class| class != "DTypePolicy") {
                    return Err("it is quantised; save the model before it is".into());
                }
                let name = policy.get("config").and_then(|config| config.get("name"));
                name.and_then(Value::as_str).unwrap_or("float32")
            }
            Some(Value::String(name)) => name,
            _ => "float32",
        };
        if object.settings.get("quantization_config").is_some() || policy.starts_with("int8") {
            return Err("it is quantised; save the model before it is".into());
        }
        if policy.contains("16") && !policy.starts_with("int") {
            let note = "layers that Keras computes in half precision are computed in single precision";
            self.notes.insert(note.to_owned());
        }
        if policy == "float64" {
            let note = "layers that Keras computes in double precision are computed in single precision";
            self.notes.insert(note.to_owned());
        }
        Ok(())
    }

    /// Remembers that a layer whose inputs are not known cannot be converted, if that is so.
    pub(super) fn look_at(&mut self, object: &Object<'_>) {
        if let Err(Refusal::Cannot(reason)) = known(object) {
            self.report(object, reason);
        }
    }

    fn report(&mut self, object: &Object<'_>, reason: String) {
        const NODES_MAX: usize = 1000;
        let operator = if object.is_of_keras() { object.class.to_owned() } else { object.full_name() };
        let entry = self.unsupported.entry((operator.clone(), reason.clone()));
        let entry = entry.or_insert_with(|| Unsupported { operator, nodes: vec![], layer: None, reason });
        if entry.nodes.len() < NODES_MAX && !entry.nodes.iter().any(|node| node == object.name) {
            entry.nodes.push(object.name.to_owned());
        }
    }

    /// A weight of a layer, in this shape; an axis of any size is none.
    pub(super) fn weight(&mut self, layer: &Layer<'_>, name: &str, shape: &[Option<usize>]) -> Step {
        let path = format!("{}/{name}", layer.path);
        let tensor: Rc<Tensor> = self.weights.get(&path, shape)?;
        self.target.label(&tensor, &path);
        Ok(weights::known(&tensor))
    }

    /// The same, where another setting may leave it out.
    pub(super) fn weight_if(
        &mut self,
        is_there: bool,
        layer: &Layer<'_>,
        name: &str,
        shape: &[Option<usize>],
    ) -> Step<Option<Traced>> {
        if is_there { self.weight(layer, name, shape).map(Some) } else { Ok(None) }
    }

    /// Adds a bias, if there is one, along the last axes.
    pub(super) fn biased(&mut self, x: Traced, bias: Option<&Traced>) -> Step {
        match bias {
            Some(bias) => self.target.binary("Add", &x, bias),
            None => Ok(x),
        }
    }

    /// As floating-point numbers, which layers compute with.
    pub(super) fn float(&mut self, x: &Traced) -> Step {
        self.target.cast(x, DataType::Float32)
    }
}

type Known = (layers::Convert, &'static [&'static str]);

/// How an object is converted; why it is not.
fn known(object: &Object<'_>) -> Step<Known> {
    const WAY_OUT: &str =
        "export the model with model.export(\"folder\"), which writes what it computes, and give that folder";
    if object.class == "Lambda" || object.class == "__lambda__" {
        return Err(format!("it is Python code, which is not run; {WAY_OUT}").into());
    }
    if !object.is_of_keras() {
        let name = object.full_name();
        return Err(
            format!("{name} is Python code that is not in the file and would not be run; {WAY_OUT}").into()
        );
    }
    let found = if object.is_operation() {
        operations::converter(object.class)
    } else {
        layers::converter(object.class)
    };
    Ok(found.ok_or_else(|| format!("it is not among what is read from .keras files; {WAY_OUT}"))?)
}

/// The last axis, whose size must be known and no more than may be written out.
pub(super) fn last_axis(x: &Traced) -> Step<usize> {
    let last = x.shape.last().and_then(Dim::size).ok_or("its input has no last axis of known size")?;
    match last <= limits::FOLDED_ELEMENTS {
        true => Ok(last),
        false => {
            Err(format!("its last axis has {last} elements; the limit is {}", limits::FOLDED_ELEMENTS).into())
        }
    }
}

/// An axis of a tensor of this rank; a negative one counts from the end.
pub(super) fn axis_of(axis: i64, rank: usize) -> Step<usize> {
    let counted = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    let axis = usize::try_from(counted).ok().filter(|axis| *axis < rank);
    Ok(axis.ok_or_else(|| format!("a tensor of {rank} axes has no axis {counted}"))?)
}

/// Axes of a tensor, in order, each once.
pub(super) fn axes_of(axes: &[i64], rank: usize) -> Step<Vec<usize>> {
    let axes = axes.iter().map(|axis| axis_of(*axis, rank)).collect::<Step<BTreeSet<usize>>>()?;
    Ok(axes.into_iter().collect())
}

/// The one result of a layer.
pub(super) fn one(x: Traced) -> Step<Vec<Traced>> {
    Ok(vec![x])
}
