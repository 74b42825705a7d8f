//! Einstein sums of two tensors, as transpositions and one product of matrices.

use super::{Step, Target};
use crate::format::traced::dim::{self, Dim};
use crate::format::traced::tensor::Traced;

impl Target {
    /// The sum that an equation such as `bij,bjk->bik` names; every axis has one letter.
    pub(in crate::format) fn einsum(&mut self, equation: &str, tensors: &[&Traced]) -> Step {
        let equation: String = equation.chars().filter(|letter| !letter.is_whitespace()).collect();
        let refuse = || format!("the equation \"{equation}\" is not taken");
        let (inputs, output) = equation.split_once("->").ok_or_else(refuse)?;
        let inputs: Vec<Vec<char>> = inputs.split(',').map(|input| input.chars().collect()).collect();
        let output: Vec<char> = output.chars().collect();
        let plain = |axes: &Vec<char>| {
            let mut sorted = axes.clone();
            sorted.sort_unstable();
            sorted.dedup();
            sorted.len() == axes.len() && axes.iter().all(|letter| letter.is_ascii_alphabetic())
        };
        let fits = inputs.len() == tensors.len()
            && inputs.iter().zip(tensors).all(|(axes, x)| axes.len() == x.rank());
        if !fits || !inputs.iter().all(plain) || !plain(&output) {
            return Err(refuse().into());
        }
        match (inputs.as_slice(), tensors) {
            ([axes], [x]) => arranged(self, x, axes, &output),
            ([left, right], [x, y]) => product(self, (x, left), (y, right), &output),
            _ => Err(refuse().into()),
        }
    }
}

/// A tensor with its axes in another order; those that are not wanted are summed.
fn arranged(target: &mut Target, x: &Traced, axes: &[char], wanted: &[char]) -> Step {
    let summed: Vec<usize> = (0..axes.len()).filter(|at| !wanted.contains(&axes[*at])).collect();
    let x = target.reduce("ReduceSum", x, &summed, false)?;
    let axes: Vec<char> = axes.iter().copied().filter(|axis| wanted.contains(axis)).collect();
    let place = |axis: &char| axes.iter().position(|other| other == axis);
    let order: Option<Vec<usize>> = wanted.iter().map(place).collect();
    target.transpose(&x, &order.ok_or("an axis of the result is in no input")?)
}

/// Axes in both inputs and the result are batches, those in both only are summed, the others are rows and columns.
fn product(
    target: &mut Target,
    left: (&Traced, &[char]),
    right: (&Traced, &[char]),
    output: &[char],
) -> Step {
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
    let x = arranged(target, x, left, &[batch.as_slice(), &rows, &summed].concat())?;
    let y = arranged(target, y, right, &[batch.as_slice(), &summed, &columns].concat())?;
    let shape = |last: [&[char]; 2]| -> Step<Vec<Dim>> {
        Ok(sizes(&batch).into_iter().chain([joined(last[0])?, joined(last[1])?]).collect())
    };
    let x = target.reshape(&x, shape([&rows, &summed])?)?;
    // Without batches and with a weight on the right this is a plain product, which engines are fastest at.
    let y = target.reshape(&y, shape([&summed, &columns])?)?;
    let z = target.matmul(&x, &y)?;
    let axes = [batch.as_slice(), &rows, &columns].concat();
    let z = target.reshape(&z, sizes(&axes))?;
    arranged(target, &z, &axes, output)
}
