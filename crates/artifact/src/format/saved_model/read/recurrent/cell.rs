//! What cells are made of: sums, products with weights, gates cut from one matrix.

use std::rc::Rc;

use predictor::Tensor;

use super::Stepped;
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::ops::lists;
pub(super) use crate::format::saved_model::read::pattern::{either, name, operand, operands, scalar};
use crate::format::saved_model::read::target::{Step, Target};
use crate::format::saved_model::read::value::{Traced, Value};

/// Whether `next` is one more than a counter.
pub(super) fn is_next(c: &Converter, next: &Traced, counter: &Traced) -> bool {
    let Some([a, b]) = name(next).and_then(|next| operands(&c.target, next, "Add")) else { return false };
    let counter = name(counter);
    let is_one = |name: &str| scalar(&c.target, name) == Some(1.0);
    (Some(a) == counter && is_one(b)) || (Some(b) == counter && is_one(a))
}

/// A gate: which of `parts` equal ones of a matrix's columns it is, each of `units`, and the matrix.
pub(super) fn gate<'t>(
    target: &'t Target,
    value: &str,
    parts: usize,
    units: usize,
) -> Option<(usize, &'t str)> {
    let node = target.node_of(value)?;
    let matrix = node.input.first()?.as_str();
    match node.op_type() {
        "Split" if node.output.len() == parts => {
            let axis = node.attribute.iter().find(|attribute| attribute.name() == "axis")?;
            let place = node.output.iter().position(|output| output == value)?;
            (axis.i() == 1).then_some((place, matrix))
        }
        "Slice" => {
            let integer =
                |at: usize| Traced::shared(Rc::clone(target.initializer(node.input.get(at)?)?)).as_integer();
            let (start, end) = (usize::try_from(integer(1)?).ok()?, usize::try_from(integer(2)?).ok()?);
            let place = start.checked_div(units)?;
            let whole = start % units == 0 && place < parts && integer(3)? == 1 && integer(4)? == 1;
            let last = place + 1 == parts && end >= parts * units;
            (whole && (last || end == start + units)).then_some((place, matrix))
        }
        _ => None,
    }
}

/// A sum taken apart.
#[derive(Debug, Default)]
pub(super) struct Sum<'t> {
    /// What is multiplied with a weight, and the weight.
    pub products: Vec<(&'t str, Rc<Tensor>)>,
    /// Known vectors.
    pub biases: Vec<Rc<Tensor>>,
}

impl<'t> Sum<'t> {
    /// None if a summand is something else.
    pub(super) fn read(target: &'t Target, value: &'t str) -> Option<Self> {
        let mut sum = Self::default();
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            if sum.products.len() + sum.biases.len() + open.len() > 8 {
                return None;
            }
            if let Some(known) = target.initializer(value) {
                sum.biases.push(Rc::clone(known));
            } else if let Some([left, right]) = operands(target, value, "MatMul") {
                sum.products.push((left, Rc::clone(target.initializer(right)?)));
            } else {
                open.extend(operands(target, value, "Add")?);
            }
        }
        Some(sum)
    }

    /// The one weight that a value is multiplied with.
    pub(super) fn weight_of(&self, value: &str) -> Option<&Rc<Tensor>> {
        let mut weights =
            self.products.iter().filter(|(factor, _)| *factor == value).map(|(_, weight)| weight);
        let first = weights.next()?;
        weights.next().is_none().then_some(first)
    }
}

/// What a loop reads at each step: the list as one tensor, and what the step calls its item.
pub(super) fn item_of(
    c: &mut Converter,
    factor: &str,
    stepped: &Stepped,
    x: &[Value],
) -> Step<Option<Traced>> {
    let Some([whole, place]) = operands(&c.target, factor, "Gather").map(|pair| pair.map(str::to_owned))
    else {
        return Ok(None);
    };
    let counts = |counter: &super::Counter| counter.start == 0 && name(&counter.value) == Some(&place);
    if !stepped.counters.iter().any(counts) {
        return Ok(None);
    }
    for value in x {
        if let Value::List(list) = value
            && let Some(tensor) = lists::whole(list)
            && *c.target.name(tensor)? == *whole
        {
            return Ok(Some(tensor.clone()));
        }
    }
    Ok(None)
}

/// The columns of a weight, cut into gates, in another order and as rows: `[1, gates · units, inputs]`.
pub(super) fn weight(c: &mut Converter, weight: &Rc<Tensor>, order: &[usize]) -> Step {
    c.target.gate_rows(&Traced::shared(Rc::clone(weight)), order)
}

/// The sum of biases in another order of gates, `[gates · units]`; zeros if there is none.
pub(super) fn bias(c: &mut Converter, biases: &[Rc<Tensor>], order: &[usize], units: usize) -> Step {
    let count = order.len() * units;
    let zeros = Tensor::float32(vec![count], vec![0.0; count]).map_err(|error| error.to_string())?;
    let mut sum = Traced::known(zeros);
    for bias in biases {
        sum = c.target.binary("Add", &sum, &Traced::shared(Rc::clone(bias)))?;
    }
    c.target.gates(&sum, 0, order)
}

/// Whether a weight is a float32 matrix of this size.
pub(super) fn is_matrix(weight: &Tensor, rows: Option<usize>, columns: usize) -> bool {
    weight.as_float32().is_some()
        && weight.shape().len() == 2
        && weight.shape()[1] == columns
        && rows.is_none_or(|rows| rows == weight.shape()[0])
}

/// Whether each bias is a float32 vector of this length.
pub(super) fn are_vectors(biases: &[Rc<Tensor>], length: usize) -> bool {
    biases.iter().all(|bias| bias.as_float32().is_some() && bias.shape() == [length])
}
