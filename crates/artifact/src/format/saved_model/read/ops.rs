//! What each TensorFlow operator becomes. A new operator is one function and one line in the table of its file.

mod calls;
mod convolution;
mod einsum;
mod elementwise;
mod layout;
pub(super) mod lists;
mod lookup;
mod loops;
mod normalization;
mod places;
mod pooling;
mod products;
pub(super) mod random;
mod reductions;
mod resampling;
mod sizes;
mod sources;
mod space;
mod strided_slice;

use std::rc::Rc;

use super::convert::Converter;
use super::dim::Dim;
use super::node::Node;
use super::target::Step;
use super::value::{List, Traced, Value};

/// Converts a node with these inputs.
pub(super) type Convert = for<'a> fn(&mut Converter<'a>, Node<'a>, &[Value]) -> Step<Vec<Value>>;

/// An operator and its conversion.
type Entry = (&'static str, Convert);

/// The conversion of an operator, if there is one.
pub(super) fn converter(op: &str) -> Option<Convert> {
    let tables: [&[Entry]; 19] = [
        elementwise::TABLE,
        layout::TABLE,
        sources::TABLE,
        sizes::TABLE,
        calls::TABLE,
        products::TABLE,
        reductions::TABLE,
        strided_slice::TABLE,
        places::TABLE,
        normalization::TABLE,
        convolution::TABLE,
        pooling::TABLE,
        lists::TABLE,
        loops::TABLE,
        einsum::TABLE,
        resampling::TABLE,
        space::TABLE,
        lookup::TABLE,
        random::TABLE,
    ];
    tables.iter().flat_map(|table| table.iter()).find(|(name, _)| *name == op).map(|(_, convert)| *convert)
}

/// Whether an operator runs functions, which are looked into even where their arguments are unknown.
pub(super) fn enters_functions(op: &str) -> bool {
    calls::TABLE.iter().chain(loops::TABLE).any(|(name, _)| *name == op)
}

/// Why an operator has no conversion.
pub(super) fn reason(op: &str) -> String {
    let reason = match op {
        "PyFunc" | "PyFuncStateless" | "EagerPyFunc" => {
            "it runs Python code, which is not in the model; write it with TensorFlow or Keras operations"
        }
        "Merge" | "Switch" | "Enter" | "Exit" | "NextIteration" | "LoopCond" => {
            "control flow of TensorFlow 1 is not taken; save the model with TensorFlow 2"
        }
        _ if op.starts_with("Random") || op.starts_with("Stateless") || op.contains("RandomNormal") => {
            "it draws random numbers of a kind that is not taken; pass them as an input of the model"
        }
        _ if op.starts_with("String")
            || op.contains("Regex")
            || op.starts_with("Parse")
            || op.starts_with("Decode") =>
        {
            "strings are not taken; encode them as integers before the model"
        }
        _ if op.contains("Ragged") || op.starts_with("Sparse") => {
            "ragged and sparse tensors are not taken; give the model dense ones"
        }
        _ if op.contains("File") || op.contains("Write") || op.contains("Print") => {
            "it reaches outside of the model; remove it before saving"
        }
        _ if op.starts_with("Quantize") || op.starts_with("Dequantize") || op.starts_with("FakeQuant") => {
            "quantised models are not taken; save the model before it is quantised"
        }
        _ => "there is no equivalent among ONNX operators here; export the model without it",
    };
    reason.to_owned()
}

/// Several ways to read a node's inputs.
pub(super) trait Inputs {
    /// The tensor at a place.
    fn tensor(&self, at: usize) -> Step<&Traced>;
    /// All tensors.
    fn tensors(&self) -> Step<Vec<&Traced>>;
    /// Sizes, or places, that are known or follow from sizes.
    fn sizes(&self, at: usize) -> Step<Vec<Dim>>;
    /// Known integers.
    fn integers(&self, at: usize) -> Step<Vec<i64>>;
    /// A known integer.
    fn integer(&self, at: usize) -> Step<i64>;
    /// Known axes of a tensor of this rank, each once; negative ones count from the end.
    fn axes(&self, at: usize, rank: usize) -> Step<Vec<usize>>;
    fn list(&self, at: usize) -> Step<&Rc<List>>;
}

impl Inputs for [Value] {
    fn tensor(&self, at: usize) -> Step<&Traced> {
        match self.get(at) {
            Some(Value::Tensor(tensor)) => Ok(tensor),
            Some(Value::Text) => {
                Err("strings are not taken; encode them as integers before the model".into())
            }
            Some(_) => Err(format!("its input {at} is no tensor").into()),
            None => Err(format!("it has no input {at}").into()),
        }
    }

    fn tensors(&self) -> Step<Vec<&Traced>> {
        (0..self.len()).map(|at| self.tensor(at)).collect()
    }

    fn sizes(&self, at: usize) -> Step<Vec<Dim>> {
        let computed = || {
            format!(
                "its input {at} is computed while the model runs; it must follow from the shapes of inputs"
            )
        };
        Ok(self.tensor(at)?.as_sizes().ok_or_else(computed)?)
    }

    fn integers(&self, at: usize) -> Step<Vec<i64>> {
        let computed = || format!("its input {at} is computed while the model runs; it must be constant");
        Ok(self.tensor(at)?.as_integers().ok_or_else(computed)?)
    }

    fn integer(&self, at: usize) -> Step<i64> {
        match self.integers(at)?.as_slice() {
            [value] => Ok(*value),
            values => Err(format!("its input {at} has {} elements in place of one", values.len()).into()),
        }
    }

    fn axes(&self, at: usize, rank: usize) -> Step<Vec<usize>> {
        let axes =
            self.integers(at)?.into_iter().map(|axis| axis_of(axis, rank)).collect::<Step<Vec<usize>>>()?;
        match (1..axes.len()).any(|at| axes[..at].contains(&axes[at])) {
            true => Err("it names an axis twice".into()),
            false => Ok(axes),
        }
    }

    fn list(&self, at: usize) -> Step<&Rc<List>> {
        match self.get(at) {
            Some(Value::List(list)) => Ok(list),
            _ => Err(format!("its input {at} is no list of tensors").into()),
        }
    }
}

/// An axis of a tensor of this rank; a negative one counts from the end.
pub(super) fn axis_of(axis: i64, rank: usize) -> Step<usize> {
    let counted = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    let axis = usize::try_from(counted).ok().filter(|axis| *axis < rank);
    Ok(axis.ok_or_else(|| format!("a tensor of {rank} axes has no axis {counted}"))?)
}

/// The one result of a node.
fn one(tensor: Traced) -> Step<Vec<Value>> {
    Ok(vec![Value::Tensor(tensor)])
}

fn all(tensors: Vec<Traced>) -> Step<Vec<Value>> {
    Ok(tensors.into_iter().map(Value::Tensor).collect())
}
