//! Products of matrices.

use super::{Entry, Written, one};
use crate::format::saved_model::from_onnx::call::Call;
use crate::format::saved_model::from_onnx::lowering::Lowering;
use crate::format::saved_model::from_onnx::node::Node;
use crate::format::saved_model::from_onnx::value::{Shape, Value, broadcast};

pub(super) const TABLE: &[Entry] = &[("MatMul", matrices), ("Gemm", affine), ("Einsum", einsum)];

impl Lowering {
    /// The product of the last two axes; those before them spread.
    pub(super) fn product(&mut self, a: &Value, b: &Value) -> Value {
        let flat = [a, b].iter().all(|x| x.rank().is_ok_and(|rank| rank == 2));
        let (operator, output) = if flat { ("MatMul", "product") } else { ("BatchMatMulV2", "output") };
        let shape = product_shape(&a.shape, &b.shape);
        self.emit(Call::typed(operator, output, &[a, b]), a.dtype, shape)
    }
}

fn product_shape(a: &Shape, b: &Shape) -> Shape {
    let (a, b) = (a.as_ref()?, b.as_ref()?);
    let ([a_rest @ .., rows, _], [b_rest @ .., _, columns]) = (a.as_slice(), b.as_slice()) else {
        return None;
    };
    let mut shape = broadcast(&Some(a_rest.to_vec()), &Some(b_rest.to_vec()))?;
    shape.extend([*rows, *columns]);
    Some(shape)
}

/// As NumPy's: a vector is a row on the left and a column on the right.
fn matrices(l: &mut Lowering, n: &Node<'_>) -> Written {
    let (mut a, mut b) = (n.input(0)?, n.input(1)?);
    let is_vector = |x: &Value| x.rank().is_ok_and(|rank| rank == 1);
    let (row, column) = (is_vector(&a), is_vector(&b));
    if row {
        a = l.inserted(&a, 0);
    }
    if column {
        b = l.inserted(&b, 1);
    }
    let mut product = l.product(&a, &b);
    let gone: Vec<i64> =
        [(row, -2), (column, -1)].into_iter().filter(|gone| gone.0).map(|gone| gone.1).collect();
    if !gone.is_empty() {
        product = l.removed(&product, &gone)?;
    }
    one(product)
}

/// `alpha A B + beta C`.
fn affine(l: &mut Lowering, n: &Node<'_>) -> Written {
    let (a, b) = (n.input(0)?, n.input(1)?);
    let [left, right] = ["transA", "transB"].map(|name| n.int(name, 0) != 0);
    let size = |x: &Value, at: usize| x.size(at);
    let shape = Some(vec![size(&a, usize::from(left)), size(&b, usize::from(!right))]);
    let call = Call::typed("MatMul", "product", &[&a, &b]);
    let call = call.flag("transpose_a", left).flag("transpose_b", right);
    let mut result = l.emit(call, a.dtype, shape);
    let alpha = n.float("alpha", 1.0);
    if alpha != 1.0 {
        let alpha = l.number(f64::from(alpha), &result);
        result = l.binary("Mul", &result, &alpha);
    }
    let Some(mut c) = n.optional(2) else {
        return one(result);
    };
    let beta = n.float("beta", 1.0);
    if beta != 1.0 {
        let beta = l.number(f64::from(beta), &c);
        c = l.binary("Mul", &c, &beta);
    }
    one(l.binary("AddV2", &result, &c))
}

fn einsum(l: &mut Lowering, n: &Node<'_>) -> Written {
    let equation: String = n.text("equation", "").chars().filter(|c| !c.is_whitespace()).collect();
    let Some((_, result)) = equation.split_once("->") else {
        return Err(format!("its equation \"{equation}\" does not say what comes out"));
    };
    let rank = result.chars().count();
    let shape = (!result.contains('.')).then(|| vec![None; rank]);
    let inputs = n.all()?;
    let references: Vec<&Value> = inputs.iter().collect();
    let call = Call::typed("Einsum", "output", &references);
    let call = call.int("N", inputs.len() as i64).text("equation", &equation);
    one(l.emit(call, n.input(0)?.dtype, shape))
}
