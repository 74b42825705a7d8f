//! Computes on tensors that are known, as the engine would, so that it need not.
//!
//! Whatever is not computed here is none, and left to the engine. The names of operators are ONNX's.

use predictor::{DataType, Tensor, TensorData};

/// Applies `$body` to the vector inside a [`TensorData`] and wraps the result in the same variant.
macro_rules! same_type {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            TensorData::Float32($values) => TensorData::Float32($body),
            TensorData::Float64($values) => TensorData::Float64($body),
            TensorData::Int32($values) => TensorData::Int32($body),
            TensorData::Int64($values) => TensorData::Int64($body),
            TensorData::Bool($values) => TensorData::Bool($body),
        }
    };
}

pub(in crate::format) fn unary(operator: &str, x: &Tensor) -> Option<Tensor> {
    let data = match x.data() {
        TensorData::Float32(values) => TensorData::Float32(floats(operator, values)?),
        TensorData::Float64(values) => {
            let f = float_function(operator)?;
            TensorData::Float64(values.iter().map(|value| f(*value)).collect())
        }
        TensorData::Int32(values) => {
            let f = integer_function(operator)?;
            TensorData::Int32(values.iter().map(|value| f(i64::from(*value)) as i32).collect())
        }
        TensorData::Int64(values) => {
            let f = integer_function(operator)?;
            TensorData::Int64(values.iter().map(|value| f(*value)).collect())
        }
        TensorData::Bool(values) if operator == "Not" => {
            TensorData::Bool(values.iter().map(|value| !value).collect())
        }
        TensorData::Bool(_) => return None,
    };
    Tensor::new(x.shape().to_vec(), data).ok()
}

/// In single precision, as engines compute.
fn floats(operator: &str, values: &[f32]) -> Option<Vec<f32>> {
    let f: fn(f32) -> f32 = match operator {
        "Neg" => |x| -x,
        "Abs" => f32::abs,
        "Exp" => f32::exp,
        "Log" => f32::ln,
        "Sqrt" => f32::sqrt,
        "Reciprocal" => f32::recip,
        "Floor" => f32::floor,
        "Ceil" => f32::ceil,
        "Round" => f32::round_ties_even,
        "Tanh" => f32::tanh,
        "Relu" => |x| x.max(0.0),
        _ => return None,
    };
    Some(values.iter().map(|value| f(*value)).collect())
}

fn float_function(operator: &str) -> Option<fn(f64) -> f64> {
    Some(match operator {
        "Neg" => |x| -x,
        "Abs" => f64::abs,
        "Exp" => f64::exp,
        "Log" => f64::ln,
        "Sqrt" => f64::sqrt,
        "Reciprocal" => f64::recip,
        "Floor" => f64::floor,
        "Ceil" => f64::ceil,
        _ => return None,
    })
}

fn integer_function(operator: &str) -> Option<fn(i64) -> i64> {
    Some(match operator {
        "Neg" => i64::wrapping_neg,
        "Abs" => i64::wrapping_abs,
        "Sign" => i64::signum,
        "Relu" => |x| x.max(0),
        _ => return None,
    })
}

/// Both spread to `shape`.
pub(in crate::format) fn binary(operator: &str, x: &Tensor, y: &Tensor, shape: &[usize]) -> Option<Tensor> {
    let (x, y) = (spread(x, shape)?, spread(y, shape)?);
    let data = match (x.data(), y.data()) {
        (TensorData::Float32(a), TensorData::Float32(b)) => {
            numbers(operator, a, b, float_pair::<f32>, TensorData::Float32)?
        }
        (TensorData::Float64(a), TensorData::Float64(b)) => {
            numbers(operator, a, b, float_pair::<f64>, TensorData::Float64)?
        }
        (TensorData::Int32(a), TensorData::Int32(b)) => {
            let widen = |values: &[i32]| values.iter().map(|value| i64::from(*value)).collect::<Vec<_>>();
            let narrow =
                |values: Vec<i64>| TensorData::Int32(values.into_iter().map(|value| value as i32).collect());
            numbers(operator, &widen(a), &widen(b), integer_pair, narrow)?
        }
        (TensorData::Int64(a), TensorData::Int64(b)) => {
            numbers(operator, a, b, integer_pair, TensorData::Int64)?
        }
        (TensorData::Bool(a), TensorData::Bool(b)) => {
            let f: fn(bool, bool) -> bool = match operator {
                "And" => |a, b| a && b,
                "Or" => |a, b| a || b,
                "Xor" => |a, b| a != b,
                "Equal" => |a, b| a == b,
                _ => return None,
            };
            TensorData::Bool(a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect())
        }
        _ => return None,
    };
    Tensor::new(shape.to_vec(), data).ok()
}

/// A function of two numbers of a type.
type Pair<T> = fn(T, T) -> T;

fn numbers<T: Copy + PartialOrd>(
    operator: &str,
    a: &[T],
    b: &[T],
    pair: fn(&str) -> Option<Pair<T>>,
    wrap: impl Fn(Vec<T>) -> TensorData,
) -> Option<TensorData> {
    let compare: fn(T, T) -> bool = match operator {
        "Equal" => |a, b| a == b,
        "Less" => |a, b| a < b,
        "LessOrEqual" => |a, b| a <= b,
        "Greater" => |a, b| a > b,
        "GreaterOrEqual" => |a, b| a >= b,
        _ => {
            let f = pair(operator)?;
            return Some(wrap(a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect()));
        }
    };
    Some(TensorData::Bool(a.iter().zip(b).map(|(a, b)| compare(*a, *b)).collect()))
}

/// The arithmetic that both float types have.
trait Float:
    Copy
    + PartialOrd
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
{
}
impl Float for f32 {}
impl Float for f64 {}

fn float_pair<T: Float>(operator: &str) -> Option<Pair<T>> {
    Some(match operator {
        "Add" => |a, b| a + b,
        "Sub" => |a, b| a - b,
        "Mul" => |a, b| a * b,
        "Div" => |a, b| a / b,
        "Max" => |a, b| if a > b { a } else { b },
        "Min" => |a, b| if a < b { a } else { b },
        _ => return None,
    })
}

fn integer_pair(operator: &str) -> Option<Pair<i64>> {
    Some(match operator {
        "Add" => i64::wrapping_add,
        "Sub" => i64::wrapping_sub,
        "Mul" => i64::wrapping_mul,
        // A division by zero has no value; TensorFlow refuses it when it runs.
        "Div" => |a, b| a.checked_div(b).unwrap_or_default(),
        "Mod" => |a, b| {
            a.checked_rem(b)
                .map_or(0, |rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        },
        "Max" => i64::max,
        "Min" => i64::min,
        _ => return None,
    })
}

pub(in crate::format) fn cast(x: &Tensor, to: DataType) -> Option<Tensor> {
    let wide: Vec<f64> = match x.data() {
        data if data.data_type() == to => return Some(x.clone()),
        TensorData::Int32(values) => {
            return integers(x.shape(), values.iter().map(|value| i64::from(*value)), to);
        }
        TensorData::Int64(values) => return integers(x.shape(), values.iter().copied(), to),
        TensorData::Bool(values) => {
            return integers(x.shape(), values.iter().map(|value| i64::from(*value)), to);
        }
        TensorData::Float32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        TensorData::Float64(values) => values.clone(),
    };
    let data = match to {
        DataType::Float32 => TensorData::Float32(wide.iter().map(|value| *value as f32).collect()),
        DataType::Float64 => TensorData::Float64(wide),
        DataType::Int32 => TensorData::Int32(wide.iter().map(|value| *value as i32).collect()),
        DataType::Int64 => TensorData::Int64(wide.iter().map(|value| *value as i64).collect()),
        DataType::Bool => TensorData::Bool(wide.iter().map(|value| *value != 0.0).collect()),
    };
    Tensor::new(x.shape().to_vec(), data).ok()
}

fn integers(shape: &[usize], values: impl Iterator<Item = i64>, to: DataType) -> Option<Tensor> {
    let data = match to {
        DataType::Float32 => TensorData::Float32(values.map(|value| value as f32).collect()),
        DataType::Float64 => TensorData::Float64(values.map(|value| value as f64).collect()),
        DataType::Int32 => TensorData::Int32(values.map(|value| value as i32).collect()),
        DataType::Int64 => TensorData::Int64(values.collect()),
        DataType::Bool => TensorData::Bool(values.map(|value| value != 0).collect()),
    };
    Tensor::new(shape.to_vec(), data).ok()
}

/// The elements at `offset` plus `steps` times the position, for each position of `shape`. Every such place must exist.
fn strided(x: &Tensor, shape: &[usize], steps: &[isize], offset: usize) -> Option<Tensor> {
    let count: usize = shape.iter().product();
    let mut places = Vec::with_capacity(count);
    let mut position = vec![0usize; shape.len()];
    let mut place = offset as isize;
    for _ in 0..count {
        places.push(place as usize);
        for axis in (0..shape.len()).rev() {
            position[axis] += 1;
            place += steps[axis];
            if position[axis] < shape[axis] {
                break;
            }
            place -= steps[axis] * position[axis] as isize;
            position[axis] = 0;
        }
    }
    if places.iter().any(|place| *place >= x.data().len()) {
        return None;
    }
    let data = same_type!(x.data(), values => places.iter().map(|place| values[*place]).collect());
    Tensor::new(shape.to_vec(), data).ok()
}

/// How far apart neighbours of each axis are.
fn steps(shape: &[usize]) -> Vec<isize> {
    let mut steps = vec![1isize; shape.len()];
    for axis in (1..shape.len()).rev() {
        steps[axis - 1] = steps[axis] * shape[axis] as isize;
    }
    steps
}

/// Spreads axes of one element.
pub(in crate::format) fn spread(x: &Tensor, shape: &[usize]) -> Option<Tensor> {
    if x.shape() == shape {
        return Some(x.clone());
    }
    let missing = shape.len().checked_sub(x.shape().len())?;
    let own = steps(x.shape());
    let step = |axis: usize| match axis.checked_sub(missing) {
        Some(axis) if x.shape()[axis] != 1 => own[axis],
        _ => 0,
    };
    let fits = (missing..shape.len()).all(|axis| [1, shape[axis]].contains(&x.shape()[axis - missing]));
    fits.then(|| strided(x, shape, &(0..shape.len()).map(step).collect::<Vec<_>>(), 0))?
}

pub(in crate::format) fn transpose(x: &Tensor, order: &[usize]) -> Option<Tensor> {
    let own = steps(x.shape());
    let shape: Vec<usize> = order.iter().map(|axis| x.shape()[*axis]).collect();
    strided(x, &shape, &order.iter().map(|axis| own[*axis]).collect::<Vec<_>>(), 0)
}

/// `count` elements of an axis from `start` on, `step` apart.
pub(in crate::format) fn slice(
    x: &Tensor,
    axis: usize,
    start: usize,
    step: isize,
    count: usize,
) -> Option<Tensor> {
    let mut own = steps(x.shape());
    let offset = start * own[axis] as usize;
    own[axis] *= step;
    let mut shape = x.shape().to_vec();
    shape[axis] = count;
    strided(x, &shape, &own, offset)
}

/// The elements of an axis at `places`, whose shape takes the axis' place.
pub(in crate::format) fn gather(
    x: &Tensor,
    places: &[usize],
    places_shape: &[usize],
    axis: usize,
) -> Option<Tensor> {
    let own = steps(x.shape());
    let inner = own[axis] as usize;
    let size = x.shape()[axis];
    let outer: usize = x.shape()[..axis].iter().product();
    if places.iter().any(|place| *place >= size) {
        return None;
    }
    let data = same_type!(x.data(), values => {
        let mut all = Vec::with_capacity(outer * places.len() * inner);
        for block in 0..outer {
            for place in places {
                let from = (block * size + place) * inner;
                all.extend_from_slice(&values[from..from + inner]);
            }
        }
        all
    });
    let shape = [&x.shape()[..axis], places_shape, &x.shape()[axis + 1..]].concat();
    Tensor::new(shape, data).ok()
}

pub(in crate::format) fn concat(parts: &[&Tensor], axis: usize) -> Option<Tensor> {
    let first = parts.first()?;
    let outer: usize = first.shape().get(..axis)?.iter().product();
    let mut shape = first.shape().to_vec();
    shape[axis] = 0;
    for part in parts {
        let same = part.shape().len() == shape.len()
            && (0..shape.len()).all(|at| at == axis || part.shape()[at] == shape[at]);
        if !same || part.data_type() != first.data_type() {
            return None;
        }
        shape[axis] += part.shape()[axis];
    }
    let data = same_type!(first.data(), values => joined(values, parts, outer));
    Tensor::new(shape, data).ok()
}

/// The elements of `parts` in turn, for each of `outer` blocks; `first` are those of the first part.
fn joined<T: Element>(first: &[T], parts: &[&Tensor], outer: usize) -> Vec<T> {
    let mut all: Vec<T> = Vec::with_capacity(first.len() * parts.len());
    for block in 0..outer {
        for part in parts {
            let size = part.data().len() / outer.max(1);
            all.extend(elements::<T>(part.data()).skip(block * size).take(size));
        }
    }
    all
}

/// The elements as the type that the caller's tensor has.
fn elements<T: Element>(data: &TensorData) -> impl Iterator<Item = T> + '_ {
    T::slice(data).unwrap_or_default().iter().copied()
}

trait Element: Copy + 'static {
    fn slice(data: &TensorData) -> Option<&[Self]>;
}

macro_rules! element {
    ($type:ty, $variant:ident) => {
        impl Element for $type {
            fn slice(data: &TensorData) -> Option<&[Self]> {
                match data {
                    TensorData::$variant(values) => Some(values),
                    _ => None,
                }
            }
        }
    };
}
element!(f32, Float32);
element!(f64, Float64);
element!(i32, Int32);
element!(i64, Int64);
element!(bool, Bool);

/// The same elements in another shape.
pub(in crate::format) fn reshape(x: &Tensor, shape: Vec<usize>) -> Option<Tensor> {
    Tensor::new(shape, x.data().clone()).ok()
}

/// Integers or truth values reduced over axes.
pub(in crate::format) fn reduce(operator: &str, x: &Tensor, axes: &[usize], keep: bool) -> Option<Tensor> {
    let rest: Vec<usize> = (0..x.shape().len()).filter(|axis| !axes.contains(axis)).collect();
    let order = [rest.as_slice(), axes].concat();
    let ordered = transpose(x, &order)?;
    let inner: usize = axes.iter().map(|axis| x.shape()[*axis]).product();
    let kept = |axis: usize| if axes.contains(&axis) { 1 } else { x.shape()[axis] };
    let shape: Vec<usize> = match keep {
        true => (0..x.shape().len()).map(kept).collect(),
        false => rest.iter().map(|axis| x.shape()[*axis]).collect(),
    };
    if inner == 0 {
        return None;
    }
    let data = match ordered.data() {
        TensorData::Int32(values) => {
            let values: Vec<i64> = values.iter().map(|value| i64::from(*value)).collect();
            let reduced = integers_reduced(operator, &values, inner)?;
            TensorData::Int32(reduced.into_iter().map(|value| value as i32).collect())
        }
        TensorData::Int64(values) => TensorData::Int64(integers_reduced(operator, values, inner)?),
        TensorData::Bool(values) => TensorData::Bool(match operator {
            "ReduceMin" => values.chunks(inner).map(|block| block.iter().all(|value| *value)).collect(),
            "ReduceMax" => values.chunks(inner).map(|block| block.iter().any(|value| *value)).collect(),
            _ => return None,
        }),
        _ => return None,
    };
    Tensor::new(shape, data).ok()
}

fn integers_reduced(operator: &str, values: &[i64], inner: usize) -> Option<Vec<i64>> {
    let f: Pair<i64> = match operator {
        "ReduceSum" => i64::wrapping_add,
        "ReduceProd" => i64::wrapping_mul,
        "ReduceMax" => i64::max,
        "ReduceMin" => i64::min,
        _ => return None,
    };
    Some(values.chunks(inner).filter_map(|block| block.iter().copied().reduce(f)).collect())
}

/// Elements of `x` where `condition` holds, of `y` elsewhere; all spread to `shape`.
pub(in crate::format) fn select(
    condition: &Tensor,
    x: &Tensor,
    y: &Tensor,
    shape: &[usize],
) -> Option<Tensor> {
    let condition = spread(condition, shape)?;
    let (x, y) = (spread(x, shape)?, spread(y, shape)?);
    let TensorData::Bool(chosen) = condition.data() else { return None };
    if x.data_type() != y.data_type() {
        return None;
    }
    let data = same_type!(x.data(), values => {
        let pairs = values.iter().zip(elements(y.data()));
        chosen.iter().zip(pairs).map(|(first, (x, y))| if *first { *x } else { y }).collect()
    });
    Tensor::new(shape.to_vec(), data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Tensor {
        Tensor::new(vec![2, 3], TensorData::Int64(vec![1, 2, 3, 4, 5, 6])).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<i64> {
        elements(tensor.data()).collect()
    }

    #[test]
    fn axes_move() {
        assert_eq!(values(&transpose(&matrix(), &[1, 0]).unwrap()), [1, 4, 2, 5, 3, 6]);
        assert_eq!(values(&slice(&matrix(), 1, 2, -2, 2).unwrap()), [3, 1, 6, 4]);
        assert_eq!(values(&gather(&matrix(), &[2, 0], &[2], 1).unwrap()), [3, 1, 6, 4]);
        assert_eq!(gather(&matrix(), &[3], &[1], 1), None);
        assert_eq!(
            values(&concat(&[&matrix(), &matrix()], 1).unwrap()),
            [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6]
        );
        let row = Tensor::new(vec![3], TensorData::Int64(vec![7, 8, 9])).unwrap();
        assert_eq!(values(&spread(&row, &[2, 3]).unwrap()), [7, 8, 9, 7, 8, 9]);
        assert_eq!(spread(&row, &[2, 4]), None);
    }

    #[test]
    fn numbers_compute() {
        let row = Tensor::new(vec![3], TensorData::Int64(vec![2, -2, 0])).unwrap();
        assert_eq!(values(&binary("Mod", &matrix(), &row, &[2, 3]).unwrap()), [1, 0, 0, 0, -1, 0]);
        assert_eq!(values(&reduce("ReduceSum", &matrix(), &[0], false).unwrap()), [5, 7, 9]);
        assert_eq!(reduce("ReduceProd", &matrix(), &[0, 1], true).unwrap().shape(), [1, 1]);
        let less = binary("Less", &matrix(), &row, &[2, 3]).unwrap();
        assert_eq!(values(&select(&less, &matrix(), &row, &[2, 3]).unwrap()), [1, -2, 0, 2, -2, 0]);
        let halves = Tensor::float32(vec![2], vec![2.5, -0.5]).unwrap();
        assert_eq!(unary("Round", &halves).unwrap().as_float32().unwrap(), [2.0, 0.0]);
        assert_eq!(values(&cast(&halves, DataType::Int64).unwrap()), [2, 0]);
    }
}
