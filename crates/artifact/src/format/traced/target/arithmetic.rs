//! Operators on elements, and reductions.

use predictor::DataType;

use super::{Call, Step, Target};
use crate::format::traced::dim::{self, Dim};
use crate::format::traced::fold;
use crate::format::traced::tensor::{Traced, scalar};

impl Target {
    /// An operator of one input, by its name in ONNX. Predicates give truth values.
    pub(in crate::format) fn unary(&mut self, operator: &'static str, x: &Traced) -> Step {
        if let Some(tensor) = x.tensor()
            && let Some(folded) = self.folded(tensor.shape(), || fold::unary(operator, tensor))
        {
            return Ok(folded);
        }
        let dtype = if matches!(operator, "IsNaN" | "IsInf") { DataType::Bool } else { x.dtype };
        self.emit(&Call::new(operator, &[x]), dtype, x.shape.clone())
    }

    /// Several operators of one input, the first one first.
    pub(in crate::format) fn unaries(&mut self, operators: &[&'static str], x: &Traced) -> Step {
        operators.iter().try_fold(x.clone(), |x, operator| self.unary(operator, &x))
    }

    /// An operator of two inputs that spread to one another, by its name in ONNX.
    pub(in crate::format) fn binary(&mut self, operator: &'static str, x: &Traced, y: &Traced) -> Step {
        if let Some(sizes) = symbolic(operator, x, y) {
            return Ok(sizes);
        }
        let shape = dim::broadcast(&x.shape, &y.shape).ok_or_else(|| misfit(operator, x, y))?;
        if let (Some(a), Some(b), Some(known)) = (x.tensor(), y.tensor(), dim::known(&shape))
            && let Some(folded) = self.folded(&known, || fold::binary(operator, a, b, &known))
        {
            return Ok(folded);
        }
        if operator == "Min"
            && let Some(bound) = self.clamped(x, y).or_else(|| self.clamped(y, x))
        {
            return Ok(bound);
        }
        let compares = matches!(operator, "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual");
        let dtype = if compares { DataType::Bool } else { x.dtype };
        if operator == "Add" {
            if let Some(normalized) = self.layer_normalization(x, y)? {
                return Ok(normalized);
            }
            let (x, y) = (self.summand(x, y)?, self.summand(y, x)?);
            return self.emit(&Call::new(operator, &[&x, &y]), dtype, shape);
        }
        self.emit(&Call::new(operator, &[x, y]), dtype, shape)
    }

    /// The upper bound, where `x` is an integer that was raised to at least as much: min(max(x, 6), 5) is 5.
    fn clamped(&self, x: &Traced, bound: &Traced) -> Option<Traced> {
        let upper = bound.as_integer().filter(|_| bound.rank() == 0 && x.rank() == 0)?;
        let raised = self.producer(x).filter(|node| node.op_type() == "Max")?;
        let known = |name: &String| Traced::shared(std::rc::Rc::clone(self.initializer(name)?)).as_integer();
        raised.input.iter().filter_map(known).any(|lower| lower >= upper).then(|| bound.clone())
    }

    /// `long`, or itself with a second axis: rten 0.27 takes a product and a summand of one axis as one operation, and
    /// panics if rows of one element are spread over a longer summand.
    fn summand(&mut self, long: &Traced, spread: &Traced) -> Step {
        let rows_of_one = spread.rank() > 1 && spread.shape.last().is_some_and(Dim::is_one);
        match rows_of_one && long.rank() == 1 && !long.shape[0].is_one() {
            true => self.unsqueeze(long, &[0]),
            false => Ok(long.clone()),
        }
    }

    /// The same with a number of `x`'s type.
    pub(in crate::format) fn with_number(&mut self, operator: &'static str, x: &Traced, number: f64) -> Step {
        let number = scalar(x.dtype, number);
        self.binary(operator, x, &number)
    }

    /// `number` minus, over, ... `x`.
    pub(in crate::format) fn number_with(&mut self, operator: &'static str, number: f64, x: &Traced) -> Step {
        let number = scalar(x.dtype, number);
        self.binary(operator, &number, x)
    }

    /// Rounds quotients down.
    pub(in crate::format) fn floor_divide(&mut self, x: &Traced, y: &Traced) -> Step {
        if x.is_float() {
            let quotient = self.binary("Div", x, y)?;
            return self.unary("Floor", &quotient);
        }
        if let (Some(a), Some(b)) = (x.as_sizes(), y.as_sizes())
            && let ([a], [b]) = (a.as_slice(), b.as_slice())
            && let Some(quotient) = a.divided(b)
        {
            return Ok(Traced::sizes(x.dtype, vec![quotient], x.rank().max(y.rank())));
        }
        let rest = self.floor_mod(x, y)?;
        let whole = self.binary("Sub", x, &rest)?;
        self.binary("Div", &whole, y)
    }

    /// The rest of a division that rounds down; it has the divisor's sign.
    pub(in crate::format) fn floor_mod(&mut self, x: &Traced, y: &Traced) -> Step {
        if !x.is_float() {
            return self.binary("Mod", x, y);
        }
        let shape = dim::broadcast(&x.shape, &y.shape).ok_or_else(|| misfit("FloorMod", x, y))?;
        let rest = self.emit(&Call::new("Mod", &[x, y]).int("fmod", 1), x.dtype, shape)?;
        let other_sign = {
            let product = self.binary("Mul", &rest, y)?;
            self.with_number("Less", &product, 0.0)?
        };
        let raised = self.binary("Add", &rest, y)?;
        self.select(&other_sign, &raised, &rest)
    }

    pub(in crate::format) fn cast(&mut self, x: &Traced, to: DataType) -> Step {
        if x.dtype == to {
            return Ok(x.clone());
        }
        if let Some(tensor) = x.tensor()
            && let Some(folded) = self.folded(tensor.shape(), || fold::cast(tensor, to))
        {
            return Ok(folded);
        }
        if let Some(sizes) = x.as_sizes()
            && matches!(to, DataType::Int32 | DataType::Int64)
        {
            return Ok(Traced::sizes(to, sizes, x.rank()));
        }
        let onnx = i64::from(crate::format::onnx::proto::data_type(to));
        self.emit(&Call::new("Cast", &[x]).int("to", onnx), to, x.shape.clone())
    }

    /// `x` where the condition holds, `y` elsewhere.
    pub(in crate::format) fn select(&mut self, condition: &Traced, x: &Traced, y: &Traced) -> Step {
        if let Some(first) = condition.as_bool() {
            let chosen = if first { x } else { y };
            let shape = dim::broadcast(&x.shape, &y.shape).ok_or_else(|| misfit("Where", x, y))?;
            if condition.rank() <= chosen.rank() && shape == chosen.shape {
                return Ok(chosen.clone());
            }
        }
        let pair = dim::broadcast(&x.shape, &y.shape).ok_or_else(|| misfit("Where", x, y))?;
        let shape = dim::broadcast(&condition.shape, &pair).ok_or_else(|| misfit("Where", condition, x))?;
        if let (Some(c), Some(a), Some(b), Some(known)) =
            (condition.tensor(), x.tensor(), y.tensor(), dim::known(&shape))
            && let Some(folded) = self.folded(&known, || fold::select(c, a, b, &known))
        {
            return Ok(folded);
        }
        self.emit(&Call::new("Where", &[condition, x, y]), x.dtype, shape)
    }

    /// A reduction, by its name in ONNX. No axes: nothing happens.
    pub(in crate::format) fn reduce(
        &mut self,
        operator: &'static str,
        x: &Traced,
        axes: &[usize],
        keep: bool,
    ) -> Step {
        if axes.is_empty() {
            return Ok(x.clone());
        }
        let shape: Vec<Dim> = (0..x.rank())
            .filter(|axis| keep || !axes.contains(axis))
            .map(|axis| if axes.contains(&axis) { Dim::fixed(1) } else { x.shape[axis].clone() })
            .collect();
        if let Some(tensor) = x.tensor()
            && let Some(folded) = self.folded(tensor.shape(), || fold::reduce(operator, tensor, axes, keep))
        {
            return Ok(folded);
        }
        if operator == "ReduceProd"
            && let Some(product) = x.as_sizes().and_then(|sizes| dim::product(&sizes))
        {
            return Ok(Traced::sizes(x.dtype, vec![product], shape.len()));
        }
        // What holds for all is the smallest truth value, in a type that every engine reduces.
        if x.dtype == DataType::Bool {
            let numbers = self.cast(x, DataType::Int32)?;
            let reduced = self.reduce(operator, &numbers, axes, keep)?;
            return self.cast(&reduced, DataType::Bool);
        }
        let axes: Vec<i64> = axes.iter().map(|axis| *axis as i64).collect();
        let axes = crate::format::traced::tensor::vector(&axes);
        // These take their axes as an input from opset 13 (sum) or 18 (all others) on.
        let call = Call::new(operator, &[x, &axes]).int("keepdims", i64::from(keep));
        self.emit(&call, x.dtype, shape)
    }

    pub(in crate::format) fn matmul(&mut self, x: &Traced, y: &Traced) -> Step {
        let (rank_x, rank_y) = (x.rank(), y.rank());
        if rank_x < 2 || rank_y < 2 {
            return Err("products of vectors are not taken".into());
        }
        let batch = dim::broadcast(&x.shape[..rank_x - 2], &y.shape[..rank_y - 2]);
        let mut shape = batch.ok_or_else(|| misfit("MatMul", x, y))?;
        shape.extend([x.shape[rank_x - 2].clone(), y.shape[rank_y - 1].clone()]);
        self.emit(&Call::new("MatMul", &[x, y]), x.dtype, shape)
    }
}

/// What a computation on sizes gives, if it is a size again.
fn symbolic(operator: &str, x: &Traced, y: &Traced) -> Option<Traced> {
    if !x.is_integer() || (x.tensor().is_some() && y.tensor().is_some()) {
        return None;
    }
    let (a, b) = (x.as_sizes()?, y.as_sizes()?);
    let count = match (a.len(), b.len()) {
        (a, b) if a == b => a,
        (a, 1) => a,
        (1, b) => b,
        _ => return None,
    };
    let pair = |at: usize| (&a[if a.len() == 1 { 0 } else { at }], &b[if b.len() == 1 { 0 } else { at }]);
    let rank = x.rank().max(y.rank());
    if matches!(operator, "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual") {
        return compared(operator, &(0..count).map(pair).collect::<Vec<_>>(), rank);
    }
    let apply = |(a, b): (&Dim, &Dim)| match operator {
        "Add" => a.plus(b),
        "Sub" => a.minus(b),
        "Mul" => a.times(b),
        "Div" => a.divided(b),
        "Max" | "Min" => larger(a, b, operator == "Max"),
        _ => None,
    };
    let sizes: Option<Vec<Dim>> = (0..count).map(pair).map(apply).collect();
    Some(Traced::sizes(x.dtype, sizes?, rank))
}

/// The larger (or smaller) size, where it is the same whatever the symbols are: each of them is at least 1.
fn larger(a: &Dim, b: &Dim, largest: bool) -> Option<Dim> {
    match bounds(&a.minus(b)?) {
        (Some(least), _) if least >= 0 => Some(if largest { a.clone() } else { b.clone() }),
        (_, Some(most)) if most <= 0 => Some(if largest { b.clone() } else { a.clone() }),
        _ => None,
    }
}

/// The least and the largest value, where there is one, of a size whose symbols are at least 1.
fn bounds(size: &Dim) -> (Option<i64>, Option<i64>) {
    let at_ones = size.terms().try_fold(0i64, |sum, (_, coefficient)| sum.checked_add(coefficient));
    let all = |grows: fn(i64) -> bool| size.terms().all(|(product, by)| product.is_empty() || grows(by));
    (at_ones.filter(|_| all(|by| by > 0)), at_ones.filter(|_| all(|by| by < 0)))
}

/// A comparison whose answer does not depend on the symbols.
fn compared(operator: &str, pairs: &[(&Dim, &Dim)], rank: usize) -> Option<Traced> {
    let [(a, b)] = pairs else { return None };
    let (least, most) = bounds(&a.minus(b)?);
    let below = |limit: i64| match (least, most) {
        (_, Some(most)) if most < limit => Some(true),
        (Some(least), _) if least >= limit => Some(false),
        _ => None,
    };
    let holds = match operator {
        "Equal" => {
            let same = least == Some(0) && most == Some(0);
            let apart = least.is_some_and(|least| least > 0) || most.is_some_and(|most| most < 0);
            (same || apart).then_some(same)?
        }
        "Less" => below(0)?,
        "LessOrEqual" => below(1)?,
        "Greater" => !below(1)?,
        _ => !below(0)?,
    };
    let truth = scalar(DataType::Bool, f64::from(u8::from(holds)));
    (rank == 0).then_some(truth)
}

fn misfit(operator: &str, x: &Traced, y: &Traced) -> String {
    format!("{operator} cannot spread {:?} and {:?} to one shape", sizes(x), sizes(y))
}

fn sizes(x: &Traced) -> Vec<Option<usize>> {
    x.shape.iter().map(Dim::size).collect()
}
