//! The ONNX graph while it is made. Whatever is known already is computed here instead of becoming a node.

mod activation;
mod arithmetic;
mod einsum;
mod layout;
mod normalized;
mod places;
mod recurrent;
mod resized;
mod shape;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use predictor::{DataType, Tensor};
use protos::onnx::{AttributeProto, GraphProto, NodeProto, TensorProto};

use super::dim::{Dim, Symbol};
use super::limits;
use super::tensor::{Content, Traced, vector};
use crate::Error;
use crate::format::onnx::proto;

pub(in crate::format) use layout::Span;

/// Why a node was not converted.
#[derive(Debug)]
pub(in crate::format) enum Refusal {
    /// It cannot be, for a reason in words; other nodes are still looked at.
    Cannot(String),
    /// Nothing more can be done.
    Stop(Error),
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Cannot(reason)
    }
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        Self::Cannot(reason.to_owned())
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Stop(error)
    }
}

/// The result of a step.
pub(in crate::format) type Step<T = Traced> = Result<T, Refusal>;

/// An operator to be added.
#[derive(Debug)]
pub(in crate::format) struct Call<'a> {
    operator: &'static str,
    /// An input that is left out is none.
    inputs: Vec<Option<&'a Traced>>,
    attributes: Vec<AttributeProto>,
}

impl<'a> Call<'a> {
    pub(in crate::format) fn new(operator: &'static str, inputs: &[&'a Traced]) -> Self {
        Self { operator, inputs: inputs.iter().map(|input| Some(*input)).collect(), attributes: Vec::new() }
    }

    /// Leaves out an optional input.
    pub(in crate::format) fn without(mut self) -> Self {
        self.inputs.push(None);
        self
    }

    pub(in crate::format) fn input(mut self, input: &'a Traced) -> Self {
        self.inputs.push(Some(input));
        self
    }

    pub(in crate::format) fn int(mut self, name: &str, value: i64) -> Self {
        self.attributes.push(proto::int(name, value));
        self
    }

    pub(in crate::format) fn ints(mut self, name: &str, values: &[i64]) -> Self {
        self.attributes.push(proto::ints(name, values.to_vec()));
        self
    }

    pub(in crate::format) fn float(mut self, name: &str, value: f32) -> Self {
        self.attributes.push(proto::float(name, value));
        self
    }

    pub(in crate::format) fn text(mut self, name: &str, value: &str) -> Self {
        self.attributes.push(proto::text(name, value));
        self
    }

    pub(in crate::format) fn graph(mut self, name: &str, graph: GraphProto) -> Self {
        self.attributes.push(proto::graph(name, graph));
        self
    }
}

/// What a place in the graph under construction can be taken back to.
#[derive(Debug, Clone, Copy)]
pub(in crate::format) struct Mark {
    nodes: usize,
}

/// A graph under construction.
#[derive(Debug, Default)]
pub(in crate::format) struct Target {
    pub nodes: Vec<NodeProto>,
    /// Known tensors that nodes use, by name.
    initializers: BTreeMap<Rc<str>, Rc<Tensor>>,
    /// The names of known tensors by their address, which they keep because `initializers` holds them.
    named: HashMap<*const Tensor, Rc<str>>,
    /// The names of small vectors by what they hold.
    vectors: BTreeMap<Vec<i64>, Rc<str>>,
    /// What known tensors should be called.
    labels: HashMap<*const Tensor, (Rc<Tensor>, String)>,
    taken: BTreeSet<Rc<str>>,
    /// How often a name was asked for, so that finding a free one takes one step.
    repeats: HashMap<String, usize>,
    /// Which node computes a value.
    producers: HashMap<Rc<str>, usize>,
    /// The value and axis that each symbol is the size of.
    symbols: Vec<(Rc<str>, usize)>,
    /// Values that give a size, so that each is computed once.
    size_values: HashMap<Symbol, Traced>,
    /// Under which name nodes are added: that of the node being converted.
    pub scope: String,
    folded_elements: usize,
}

impl Target {
    /// An input of the model; open axes become symbols, the first one `batch`, if given.
    pub(in crate::format) fn input(
        &mut self,
        name: &str,
        dtype: DataType,
        axes: &[Option<usize>],
        batch: &Option<Dim>,
    ) -> Traced {
        let name: Rc<str> = name.into();
        self.taken.insert(Rc::clone(&name));
        let axis = |(at, size): (usize, &Option<usize>)| match (size, batch) {
            (Some(size), _) => Dim::fixed(*size as i64),
            (None, Some(batch)) if at == 0 => batch.clone(),
            (None, _) => self.symbol(&name, at),
        };
        let shape = axes.iter().enumerate().map(axis).collect();
        Traced { dtype, shape, content: Content::Computed(name) }
    }

    /// An input beside those of the signature, under this name or a free variant of it.
    pub(in crate::format) fn further_input(
        &mut self,
        name: &str,
        dtype: DataType,
        shape: Vec<Dim>,
    ) -> (String, Traced) {
        let name = self.free_name(name);
        (name.to_string(), Traced { dtype, shape, content: Content::Computed(name) })
    }

    /// Keeps a name free for later.
    pub(in crate::format) fn reserve(&mut self, name: &str) {
        self.taken.insert(name.into());
    }

    /// The size of an axis of a value, as a new symbol.
    pub(in crate::format) fn symbol(&mut self, value: &Rc<str>, axis: usize) -> Dim {
        let symbol = self.symbols.len() as Symbol;
        self.symbols.push((Rc::clone(value), axis));
        Dim::symbol(symbol)
    }

    pub(in crate::format) fn symbol_source(&self, symbol: Symbol) -> (&Rc<str>, usize) {
        let (value, axis) = &self.symbols[symbol as usize];
        (value, *axis)
    }

    /// Calls a known tensor by this name where it becomes an initializer.
    pub(in crate::format) fn label(&mut self, tensor: &Rc<Tensor>, name: &str) {
        let entry = (Rc::clone(tensor), name.to_owned());
        self.labels.entry(Rc::as_ptr(tensor)).or_insert(entry);
    }

    pub(in crate::format) fn mark(&self) -> Mark {
        Mark { nodes: self.nodes.len() }
    }

    /// Removes the nodes added since, and returns them. Values made since must not be used outside of them.
    pub(in crate::format) fn take_back(&mut self, mark: Mark) -> Vec<NodeProto> {
        let nodes = self.nodes.split_off(mark.nodes);
        self.producers.retain(|_, at| *at < mark.nodes);
        let producers = &self.producers;
        self.size_values.retain(|_, value| match &value.content {
            Content::Computed(name) => producers.contains_key(name),
            Content::Known(_) | Content::Sizes(_) => true,
        });
        nodes
    }

    /// How many nodes were added since.
    pub(in crate::format) fn count_since(&self, mark: Mark) -> usize {
        self.nodes.len() - mark.nodes
    }

    /// A value that nothing computes yet: of a step that is looked at by itself.
    pub(in crate::format) fn placeholder(&mut self, name: &str, dtype: DataType, shape: Vec<Dim>) -> Traced {
        let name = self.free_name(&format!("{}/{name}", self.scope));
        Traced { dtype, shape, content: Content::Computed(name) }
    }

    /// The node that computes a value, if one does.
    pub(in crate::format) fn producer(&self, value: &Traced) -> Option<&NodeProto> {
        match &value.content {
            Content::Computed(name) => self.node_of(name),
            _ => None,
        }
    }

    pub(in crate::format) fn node_of(&self, name: &str) -> Option<&NodeProto> {
        self.producers.get(name).map(|at| &self.nodes[*at])
    }

    /// The initializer of a name.
    pub(in crate::format) fn initializer(&self, name: &str) -> Option<&Rc<Tensor>> {
        self.initializers.get(name)
    }

    /// Adds an operator with one result.
    pub(in crate::format) fn emit(&mut self, call: &Call, dtype: DataType, shape: Vec<Dim>) -> Step {
        let results = self.emit_all(call, vec![Some((dtype, shape))])?;
        Ok(results.into_iter().flatten().next().expect("one result was asked for"))
    }

    /// Adds an operator whose result has an open axis wherever the shape has none.
    pub(in crate::format) fn emit_open(
        &mut self,
        call: &Call,
        dtype: DataType,
        shape: &[Option<Dim>],
    ) -> Step {
        let marked = shape.iter().map(|axis| axis.clone().unwrap_or_default()).collect();
        let mut result = self.emit(call, dtype, marked)?;
        let Content::Computed(name) = &result.content else { return Ok(result) };
        let name = Rc::clone(name);
        for (at, axis) in shape.iter().enumerate() {
            if axis.is_none() {
                result.shape[at] = self.symbol(&name, at);
            }
        }
        Ok(result)
    }

    /// Adds an operator with several results, of which some may be left out.
    pub(in crate::format) fn emit_all(
        &mut self,
        call: &Call,
        results: Vec<Option<(DataType, Vec<Dim>)>>,
    ) -> Step<Vec<Option<Traced>>> {
        if self.nodes.len() >= limits::EMITTED_NODES {
            return Err(Refusal::Stop(Error::Import {
                place: format!("node \"{}\"", self.scope),
                reason: format!("the model becomes more than {} operators", limits::EMITTED_NODES),
            }));
        }
        if results.iter().flatten().any(|(_, shape)| shape.len() > limits::RANK) {
            return Err(format!("it has more than {} axes", limits::RANK).into());
        }
        let mut inputs = Vec::with_capacity(call.inputs.len());
        for input in &call.inputs {
            inputs.push(match input {
                Some(input) => self.name(input)?.to_string(),
                None => String::new(),
            });
        }
        let name = self.free_name(&format!("{}/{}", self.scope, call.operator));
        let mut outputs = Vec::new();
        let mut traced = Vec::new();
        for (at, result) in results.into_iter().enumerate() {
            let Some((dtype, shape)) = result else {
                outputs.push(String::new());
                traced.push(None);
                continue;
            };
            let output = if at == 0 { Rc::clone(&name) } else { self.free_name(&format!("{name}:{at}")) };
            outputs.push(output.to_string());
            self.producers.insert(Rc::clone(&output), self.nodes.len());
            traced.push(Some(Traced { dtype, shape, content: Content::Computed(output) }));
        }
        self.nodes.push(NodeProto {
            name: Some(name.to_string()),
            op_type: Some(call.operator.to_owned()),
            input: inputs,
            output: outputs,
            attribute: call.attributes.clone(),
            ..NodeProto::default()
        });
        Ok(traced)
    }

    /// What nodes call a value; known ones become initializers, sizes are computed.
    pub(in crate::format) fn name(&mut self, value: &Traced) -> Step<Rc<str>> {
        match &value.content {
            Content::Computed(name) => Ok(Rc::clone(name)),
            Content::Known(tensor) => Ok(self.initializer_name(tensor)),
            Content::Sizes(sizes) => {
                let computed = self.computed_sizes(value, &Rc::clone(sizes))?;
                self.name(&computed)
            }
        }
    }

    fn initializer_name(&mut self, tensor: &Rc<Tensor>) -> Rc<str> {
        if let Some(name) = self.named.get(&Rc::as_ptr(tensor)) {
            return Rc::clone(name);
        }
        let small = match tensor.data() {
            predictor::TensorData::Int64(values) if tensor.shape().len() == 1 && values.len() < 16 => {
                Some(values.clone())
            }
            _ => None,
        };
        if let Some(name) = small.as_ref().and_then(|values| self.vectors.get(values)) {
            return Rc::clone(name);
        }
        let label = match (self.labels.get(&Rc::as_ptr(tensor)), &small) {
            (Some((_, label)), _) => label.clone(),
            (None, Some(values)) => {
                let texts: Vec<String> = values.iter().map(i64::to_string).collect();
                format!("integers/{}", texts.join("_"))
            }
            (None, None) => format!("{}/constant", self.scope),
        };
        let name = self.free_name(&label);
        if let Some(values) = small {
            self.vectors.insert(values, Rc::clone(&name));
        }
        self.named.insert(Rc::as_ptr(tensor), Rc::clone(&name));
        self.initializers.insert(Rc::clone(&name), Rc::clone(tensor));
        name
    }

    /// `wanted`, or its first free variant.
    fn free_name(&mut self, wanted: &str) -> Rc<str> {
        loop {
            let repeat = self.repeats.entry(wanted.to_owned()).or_insert(0);
            let name: Rc<str> =
                if *repeat == 0 { wanted.into() } else { format!("{wanted}_{repeat}").into() };
            *repeat += 1;
            if self.taken.insert(Rc::clone(&name)) {
                return name;
            }
        }
    }

    /// Whether a tensor of this shape may be computed while converting.
    pub(in crate::format) fn may_fold(&mut self, shape: &[usize]) -> bool {
        let count = shape.iter().try_fold(1usize, |count, axis| count.checked_mul(*axis));
        let small = |count: &usize| *count <= limits::FOLDED_ELEMENTS && shape.len() <= limits::RANK;
        let Some(count) = count.filter(small) else { return false };
        self.folded_elements = self.folded_elements.saturating_add(count);
        self.folded_elements <= limits::FOLDED_ELEMENTS_ALL
    }

    /// The result of a computation on what is known.
    pub(in crate::format) fn folded(
        &mut self,
        shape: &[usize],
        compute: impl FnOnce() -> Option<Tensor>,
    ) -> Option<Traced> {
        self.may_fold(shape).then(compute)?.map(Traced::known)
    }

    /// A scalar or vector of sizes, computed by the engine.
    fn computed_sizes(&mut self, value: &Traced, sizes: &[Dim]) -> Step {
        let mut parts: Vec<Traced> = Vec::new();
        for size in sizes {
            parts.push(self.computed_size(size)?);
        }
        let mut all = if parts.len() == 1 {
            parts.remove(0)
        } else {
            self.concat(&parts.iter().collect::<Vec<_>>(), 0)?
        };
        if value.rank() == 0 {
            all = self.squeeze(&all, &[0])?;
        }
        self.cast(&all, value.dtype)
    }

    /// A size as a vector of one int64.
    fn computed_size(&mut self, size: &Dim) -> Step {
        let mut sum: Option<Traced> = None;
        let terms: Vec<(Vec<Symbol>, i64)> =
            size.terms().map(|(product, by)| (product.to_vec(), by)).collect();
        for (product, coefficient) in terms {
            let mut term = vector(&[coefficient]);
            for symbol in product {
                let factor = self.symbol_value(symbol)?;
                let one = term.as_integer() == Some(1);
                term = if one { factor } else { self.binary("Mul", &factor, &term)? };
            }
            sum = Some(match sum {
                Some(sum) => self.binary("Add", &sum, &term)?,
                None => term,
            });
        }
        Ok(sum.unwrap_or_else(|| vector(&[0])))
    }

    fn symbol_value(&mut self, symbol: Symbol) -> Step {
        if let Some(value) = self.size_values.get(&symbol) {
            return Ok(value.clone());
        }
        let (source, axis) = self.symbol_source(symbol);
        let (source, axis) = (Rc::clone(source), axis as i64);
        // The shape of the source does not matter to the operator, only its name.
        let source = Traced { dtype: DataType::Float32, shape: vec![], content: Content::Computed(source) };
        let call = Call::new("Shape", &[&source]).int("start", axis).int("end", axis + 1);
        let value = self.emit(&call, DataType::Int64, vec![Dim::fixed(1)])?;
        self.size_values.insert(symbol, value.clone());
        Ok(value)
    }

    /// The tensors that nodes use.
    pub(in crate::format) fn initializer_protos(&self, used: &BTreeSet<String>) -> Vec<TensorProto> {
        let used = self.initializers.iter().filter(|(name, _)| used.contains(&***name));
        used.map(|(name, tensor)| proto::tensor(name, tensor)).collect()
    }
}
