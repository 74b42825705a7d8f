//! The shape an operator gives, by ONNX's definitions.

use protos::onnx::NodeProto;

use super::{MAX_INTEGERS, Value, constant, elements, int};
use crate::format::onnx::nodes::attribute;

/// What the first output of a node is: unknown where the operator or what it is given is, an error of how many elements where
/// those are too many.
pub(super) fn result(node: &NodeProto, inputs: &[Option<&Value>]) -> Result<Option<Value>, usize> {
    let value = match given_by_integers(node, inputs)? {
        Some(value) => Some(value),
        None => of_shapes(node, inputs),
    };
    if let Some(value) = &value {
        elements(&value.shape)?;
    }
    Ok(value)
}

fn plain(shape: Vec<usize>) -> Option<Value> {
    Some(Value { shape, integers: None })
}

/// The axes that integers say.
fn axes(integers: &[i64]) -> Vec<usize> {
    integers.iter().map(|axis| usize::try_from(*axis).unwrap_or(0)).collect()
}

/// Operators whose result is as large as a number they are given says.
fn given_by_integers(node: &NodeProto, inputs: &[Option<&Value>]) -> Result<Option<Value>, usize> {
    let integers = |at: usize| inputs.get(at).copied().flatten().and_then(|value| value.integers.as_deref());
    let shape = |at: usize| inputs.get(at).copied().flatten().map(|value| value.shape.clone());
    let listed = |name: &str| attribute(node, name).map(|attribute| attribute.ints.clone());
    Ok(match node.op_type() {
        "ConstantOfShape" => integers(0).and_then(|shape| plain(axes(shape))),
        "RandomNormal" | "RandomUniform" => listed("shape").and_then(|shape| plain(axes(&shape))),
        "Expand" => {
            let Some(wanted) = integers(1).map(axes) else {
                return Ok(None);
            };
            elements(&wanted)?;
            shape(0).and_then(|shape| broadcast(&[&shape, &wanted])).and_then(plain)
        }
        "Tile" => {
            let Some(repeats) = integers(1).map(axes) else {
                return Ok(None);
            };
            elements(&repeats)?;
            shape(0).and_then(|shape| {
                plain(shape.iter().zip(&repeats).map(|(a, b)| a.saturating_mul(*b)).collect())
            })
        }
        "Range" => {
            let (Some([start]), Some([limit]), Some([delta])) = (integers(0), integers(1), integers(2))
            else {
                return Ok(None);
            };
            let count = limit.saturating_sub(*start).checked_div(*delta).unwrap_or(0).max(0);
            plain(axes(&[count.saturating_add(1)]))
        }
        "OneHot" => {
            let Some([depth]) = integers(1) else {
                return Ok(None);
            };
            elements(&axes(&[*depth]))?;
            shape(0).and_then(|shape| plain([shape, axes(&[*depth])].concat()))
        }
        "Pad" => {
            let pads = integers(1).map(<[i64]>::to_vec).or_else(|| listed("pads"));
            let Some(pads) = pads else {
                return Ok(None);
            };
            for pad in &pads {
                elements(&axes(&[*pad]))?;
            }
            shape(0).filter(|shape| pads.len() == 2 * shape.len()).and_then(|shape| {
                let axis = |(at, axis): (usize, &usize)| {
                    let pad = axes(&[pads[at]])[0].saturating_add(axes(&[pads[at + shape.len()]])[0]);
                    axis.saturating_add(pad)
                };
                plain(shape.iter().enumerate().map(axis).collect())
            })
        }
        "Resize" => integers(3).and_then(|sizes| plain(axes(sizes))),
        _ => None,
    })
}

fn of_shapes(node: &NodeProto, inputs: &[Option<&Value>]) -> Option<Value> {
    let all = || inputs.iter().copied().collect::<Option<Vec<&Value>>>();
    let first = inputs.first().copied().flatten();
    match node.op_type() {
        "Constant" => constant(attribute(node, "value")?.t.as_ref()?),
        "Identity" | "Cast" => first.cloned(),
        "Abs" | "Acos" | "Asin" | "Atan" | "Ceil" | "Clip" | "Cos" | "CumSum" | "Dropout" | "Elu" | "Erf"
        | "Exp" | "EyeLike" | "Floor" | "Gelu" | "HardSigmoid" | "HardSwish" | "IsInf" | "IsNaN"
        | "LeakyRelu" | "Log" | "LogSoftmax" | "LayerNormalization" | "BatchNormalization"
        | "LpNormalization" | "Neg" | "Not" | "Reciprocal" | "Relu" | "Round" | "ScatterElements"
        | "ScatterND" | "Selu" | "Sigmoid" | "Sign" | "Sin" | "Softmax" | "Softplus" | "Softsign"
        | "Sqrt" | "Tan" | "Tanh" | "Trilu" => plain(first?.shape.clone()),
        "Add" | "Sub" | "Mul" | "Div" | "And" | "Or" | "Xor" | "Equal" | "Greater" | "GreaterOrEqual"
        | "Less" | "LessOrEqual" | "Max" | "Mean" | "Min" | "Mod" | "Pow" | "PRelu" | "Sum" | "Where" => {
            let all = all()?;
            let shape = broadcast(&all.iter().map(|value| value.shape.as_slice()).collect::<Vec<_>>())?;
            Some(Value { shape, integers: arithmetic(node.op_type(), &all) })
        }
        "MatMul" => match all()?.as_slice() {
            [a, b] => plain(product(&a.shape, &b.shape)?),
            _ => None,
        },
        "Gemm" => gemm(node, first?, inputs.get(1).copied().flatten()?),
        "Transpose" => transpose(node, first?),
        "Flatten" => {
            let shape = &first?.shape;
            let axis = place(int(node, "axis").unwrap_or(1), shape.len() + 1)?;
            let count = |axes: &[usize]| axes.iter().fold(1usize, |n, axis| n.saturating_mul(*axis));
            plain(vec![count(&shape[..axis]), count(&shape[axis..])])
        }
        "Reshape" => reshape(first?, inputs.get(1).copied().flatten()?),
        "Squeeze" | "Unsqueeze" => {
            let given = inputs.get(1).copied().flatten().and_then(|value| value.integers.clone());
            squeeze(node, first?, &given.or_else(|| attribute(node, "axes").map(|axes| axes.ints.clone()))?)
        }
        "Concat" => concat(node, &all()?),
        "Gather" => gather(node, first?, inputs.get(1).copied().flatten()?),
        "Shape" => {
            let shape: Vec<i64> = first?.shape.iter().map(|axis| *axis as i64).collect();
            // Parts of a shape are rare; then only the count is known.
            let is_whole = node.attribute.is_empty();
            Some(Value { shape: vec![shape.len()], integers: is_whole.then_some(shape) })
        }
        _ => None,
    }
}

/// Where a place counted from either end is.
fn place(axis: i64, count: usize) -> Option<usize> {
    let count_signed = i64::try_from(count).ok()?;
    let axis = if axis < 0 { axis.checked_add(count_signed)? } else { axis };
    usize::try_from(axis).ok().filter(|axis| *axis < count)
}

fn broadcast(shapes: &[&[usize]]) -> Option<Vec<usize>> {
    let rank = shapes.iter().map(|shape| shape.len()).max()?;
    let mut result = vec![1; rank];
    for shape in shapes {
        for (out, axis) in result[rank - shape.len()..].iter_mut().zip(*shape) {
            match (*out, *axis) {
                (1, axis) => *out = axis,
                (out, axis) if axis == 1 || axis == out => {}
                _ => return None,
            }
        }
    }
    Some(result)
}

fn product(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let (a, b) = (if a.len() == 1 { &[1, a[0]] } else { a }, if b.len() == 1 { &[b[0], 1] } else { b });
    if a.len() < 2 || b.len() < 2 {
        return None;
    }
    let mut shape = broadcast(&[&a[..a.len() - 2], &b[..b.len() - 2]])?;
    shape.extend([a[a.len() - 2], b[b.len() - 1]]);
    Some(shape)
}

fn gemm(node: &NodeProto, a: &Value, b: &Value) -> Option<Value> {
    let ([a0, a1], [b0, b1]) = (a.shape.as_slice(), b.shape.as_slice()) else {
        return None;
    };
    let rows = if int(node, "transA") == Some(1) { a1 } else { a0 };
    let columns = if int(node, "transB") == Some(1) { b0 } else { b1 };
    plain(vec![*rows, *columns])
}

fn transpose(node: &NodeProto, of: &Value) -> Option<Value> {
    let Some(perm) = attribute(node, "perm") else {
        return plain(of.shape.iter().rev().copied().collect());
    };
    let axis = |axis: &i64| of.shape.get(usize::try_from(*axis).ok()?).copied();
    plain(perm.ints.iter().map(axis).collect::<Option<_>>()?)
}

fn reshape(of: &Value, to: &Value) -> Option<Value> {
    let count = of.shape.iter().fold(1usize, |n, axis| n.saturating_mul(*axis));
    let mut shape = Vec::new();
    let mut open = None;
    for (at, axis) in to.integers.as_ref()?.iter().enumerate() {
        shape.push(match axis {
            -1 => {
                open = Some(at);
                1
            }
            0 => *of.shape.get(at)?,
            axis => usize::try_from(*axis).ok()?,
        });
    }
    let said = shape.iter().fold(1usize, |n, axis| n.saturating_mul(*axis));
    if let Some(at) = open {
        shape[at] = count.checked_div(said)?;
    } else if said != count {
        return None;
    }
    Some(Value { shape, integers: of.integers.clone() })
}

fn squeeze(node: &NodeProto, of: &Value, axes: &[i64]) -> Option<Value> {
    let mut shape = of.shape.clone();
    let rank = if node.op_type() == "Squeeze" { shape.len() } else { shape.len() + axes.len() };
    let mut places: Vec<usize> = axes.iter().map(|axis| place(*axis, rank)).collect::<Option<_>>()?;
    places.sort_unstable();
    if node.op_type() == "Squeeze" {
        for at in places.into_iter().rev() {
            if *shape.get(at)? != 1 {
                return None;
            }
            shape.remove(at);
        }
    } else {
        for at in places {
            if at > shape.len() {
                return None;
            }
            shape.insert(at, 1);
        }
    }
    Some(Value { shape, integers: of.integers.clone() })
}

fn concat(node: &NodeProto, parts: &[&Value]) -> Option<Value> {
    let mut shape = parts.first()?.shape.clone();
    let axis = place(int(node, "axis")?, shape.len())?;
    shape[axis] = 0;
    for part in parts {
        shape[axis] = shape[axis].saturating_add(*part.shape.get(axis)?);
    }
    let integers: Option<Vec<&[i64]>> = parts.iter().map(|part| part.integers.as_deref()).collect();
    let integers =
        integers.filter(|_| shape.len() == 1 && shape[0] <= MAX_INTEGERS).map(|parts| parts.concat());
    Some(Value { shape, integers })
}

fn gather(node: &NodeProto, of: &Value, which: &Value) -> Option<Value> {
    let axis = place(int(node, "axis").unwrap_or(0), of.shape.len())?;
    let shape = [&of.shape[..axis], &which.shape, &of.shape[axis + 1..]].concat();
    let pick = |from: &Vec<i64>, places: &Vec<i64>| -> Option<Vec<i64>> {
        places.iter().map(|at| from.get(place(*at, from.len())?).copied()).collect()
    };
    let integers = match (&of.integers, &which.integers) {
        (Some(from), Some(places)) if of.shape.len() == 1 => pick(from, places),
        _ => None,
    };
    Some(Value { shape, integers })
}

/// Sums and products of shapes: element by element, or with one number.
fn arithmetic(operator: &str, of: &[&Value]) -> Option<Vec<i64>> {
    let [a, b] = of else {
        return None;
    };
    let (a, b) = (a.integers.as_ref()?, b.integers.as_ref()?);
    let count = a.len().max(b.len());
    let at = |values: &[i64], at: usize| values.get(if values.len() == 1 { 0 } else { at }).copied();
    let one = |place: usize| {
        let (a, b) = (at(a, place)?, at(b, place)?);
        match operator {
            "Add" => a.checked_add(b),
            "Sub" => a.checked_sub(b),
            "Mul" => a.checked_mul(b),
            "Div" => a.checked_div(b),
            _ => None,
        }
    };
    (0..count).map(one).collect()
}
