//! Einstein sums of two tensors, as transpositions and one product of matrices.

use super::{Entry, Inputs, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::dim::{self, Dim};
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::{Traced, Value};

pub(super) const TABLE: &[Entry] = &[("Einsum", |c, node, x| einsum(c, node, x))];

fn einsum(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let equation: String =
        node.text("equation", "").chars().filter(|letter| !letter.is_whitespace()).collect();
    let refuse = || format!("the equation \"{equation}\" is not taken");
    let (inputs, output) = equation.split_once("->").ok_or_else(refuse)?;
    let tensors = x.tensors()?;
    let inputs: Vec<Vec<char>> = inputs.split(',').map(|input| input.chars().collect()).collect();
    let output: Vec<char> = output.chars().collect();
    let plain = |axes: &Vec<char>| {
        let mut sorted = axes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        sorted.len() == axes.len() && axes.iter().all(|letter| letter.is_ascii_alphabetic())
    };
    let fits =
        inputs.len() == tensors.len() && inputs.iter().zip(&tensors).all(|(axes, x)| axes.len() == x.rank());
    if !fits || !inputs.iter().all(plain) || !plain(&output) {
        return Err(refuse().into());
    }
    match (inputs.as_slice(), tensors.as_slice()) {
        ([axes], [x]) => one(arranged(c, x, axes, &output)?),
        ([left, right], [x, y]) => one(product(c, (x, left), (y, right), &output)?),
        _ => Err(refuse().into()),
    }
}

/// A tensor with its axes in another order; those that are not wanted are summed.
fn arranged(c: &mut Converter, x: &Traced, axes: &[char], wanted: &[char]) -> Step {
    let summed: Vec<usize> = (0..axes.len()).filter(|at| !wanted.contains(&axes[*at])).collect();
    let x = c.target.reduce("ReduceSum", x, &summed, false)?;
    let axes: Vec<char> = axes.iter().copied().filter(|axis| wanted.contains(axis)).collect();
    let place = |axis: &char| axes.iter().position(|other| other == axis);
    let order: Option<Vec<usize>> = wanted.iter().map(place).collect();
    c.target.transpose(&x, &order.ok_or("an axis of the result is in no input")?)
}

/// Axes in both inputs and the result are batches, those in both only are summed, the others are rows and columns.
fn product(c: &mut Converter, left: (&Traced, &[char]), right: (&Traced, &[char]), output: &[char]) -> Step {
    let (x, left) = left;
    let (y, right) = right;
    let of = |axes: &[char], keep: &dyn Fn(&char) -> bool| {
        axes.iter().copied().filter(keep).collect::<Vec<char>>()
    };
    let batch = of(output, &|axis| left.contains(axis) && right.contains(axis));
    let summed = of(left, &|axis| right.contains(axis) && !output.contains(axis));
    let rows = of(output, &|axis| left.contains(axis) && !right.contains(axis));
    let columns = of(output, &|axis| right.contains(axis) && !left.contains(axis));
    let size = |axis: &char| {
        let known = |tensor: &Traced, axes: &[char]| {
            axes.iter().position(|other| other == axis).map(|at| tensor.shape[at].clone())
        };
        let both = [known(x, left), known(y, right)];
        both.iter().flatten().find(|size| size.known().is_some()).or(both.iter().flatten().next()).cloned()
    };
    let sizes = |axes: &[char]| axes.iter().filter_map(size).collect::<Vec<Dim>>();
    let joined = |axes: &[char]| dim::product(&sizes(axes)).ok_or("its axes are too large");
    let x = arranged(c, x, left, &[batch.as_slice(), &rows, &summed].concat())?;
    let y = arranged(c, y, right, &[batch.as_slice(), &summed, &columns].concat())?;
    let shape = |last: [&[char]; 2]| -> Step<Vec<Dim>> {
        Ok(sizes(&batch).into_iter().chain([joined(last[0])?, joined(last[1])?]).collect())
    };
    let x = c.target.reshape(&x, shape([&rows, &summed])?)?;
    // Without batches and with a weight on the right this is a plain product, which engines are fastest at.
    let y = c.target.reshape(&y, shape([&summed, &columns])?)?;
    let z = c.target.matmul(&x, &y)?;
    let axes = [batch.as_slice(), &rows, &columns].concat();
    let z = c.target.reshape(&z, sizes(&axes))?;
    arranged(c, &z, &axes, output)
}
