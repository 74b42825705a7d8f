//! Values that come from no other: constants, sizes, ranges.

use predictor::{Tensor, TensorData};
use protos::tensorflow::DataType;

use super::{Entry, Written, one};
use crate::format::onnx::nodes::attribute;
use crate::format::saved_model::from_onnx::call::Call;
use crate::format::saved_model::from_onnx::lowering::Lowering;
use crate::format::saved_model::from_onnx::node::Node;
use crate::format::saved_model::from_onnx::value::{Shape, open};
use crate::format::saved_model::from_onnx::weight::Weight;

pub(super) const TABLE: &[Entry] = &[
    ("Constant", constant),
    ("ConstantOfShape", filled),
    ("Shape", shape),
    ("Size", |l, n| {
        let x = n.input(0)?;
        let call = Call::typed("Size", "output", &[&x]).dtype("out_type", DataType::DtInt64);
        one(l.emit(call, DataType::DtInt64, Some(vec![])))
    }),
    ("Range", |l, n| {
        let mut ends = n.all()?;
        for end in &mut ends {
            *end = l.shaped(end, &[]);
        }
        let [start, limit, delta] = ends.as_slice() else {
            return Err("it takes three inputs".to_owned());
        };
        let call = Call::new("Range", "output", &[start, limit, delta]).dtype("Tidx", start.dtype);
        one(l.emit(call, start.dtype, open(1)))
    }),
];

fn constant(l: &mut Lowering, n: &Node<'_>) -> Written {
    let output = n.proto.output.first().map_or("constant", String::as_str);
    let number = attribute(n.proto, "value_float").and_then(|value| value.f);
    let whole = attribute(n.proto, "value_int").and_then(|value| value.i);
    let numbers = attribute(n.proto, "value_floats").map(|value| value.floats.clone());
    let (shape, data) = match (number, whole, numbers, n.ints("value_ints")) {
        (Some(number), ..) => (vec![], TensorData::Float32(vec![number])),
        (_, Some(whole), ..) => (vec![], TensorData::Int64(vec![whole])),
        (.., Some(numbers), _) => (vec![numbers.len()], TensorData::Float32(numbers)),
        (.., Some(wholes)) => (vec![wholes.len()], TensorData::Int64(wholes)),
        _ => {
            let value = attribute(n.proto, "value").and_then(|value| value.t.as_ref());
            let mut weight = Weight::of(value.ok_or("its value is no dense tensor of numbers")?)?;
            output.clone_into(&mut weight.name);
            return one(l.add(weight));
        }
    };
    let tensor = Tensor::new(shape, data).map_err(|error| error.to_string())?;
    one(l.add(Weight::constant(output, tensor)))
}

fn filled(l: &mut Lowering, n: &Node<'_>) -> Written {
    let sizes = n.input(0)?;
    let value = match attribute(n.proto, "value").and_then(|value| value.t.as_ref()) {
        Some(tensor) => l.add(Weight { is_variable: false, ..Weight::of(tensor)? }),
        None => {
            let zero = Tensor::float32(vec![1], vec![0.0]).map_err(|error| error.to_string())?;
            l.add(Weight::constant("zero", zero))
        }
    };
    let value = l.shaped(&value, &[]);
    let shape: Shape = sizes.integers().map(|sizes| sizes.into_iter().map(Some).collect());
    let shape = shape.or_else(|| open(usize::try_from(sizes.size(0)?).ok()?));
    let call = Call::new("Fill", "output", &[&sizes, &value])
        .dtype("T", value.dtype)
        .dtype("index_type", sizes.dtype);
    one(l.emit(call, value.dtype, shape))
}

fn shape(l: &mut Lowering, n: &Node<'_>) -> Written {
    let x = n.input(0)?;
    let sizes = l.sizes(&x);
    let end = attribute(n.proto, "end").and_then(|end| end.i);
    let start = n.int("start", 0);
    if start == 0 && end.is_none() {
        return one(sizes);
    }
    let rank = x.rank()? as i64;
    let place = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank);
    one(l.window(&sizes, &[place(start)], &[place(end.unwrap_or(rank))]))
}
