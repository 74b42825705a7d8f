//! Operators that take elements from places, or find places.

use predictor::DataType;

use super::{Entry, Inputs, axis_of, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::dim::Dim;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::{Call, Step};
use crate::format::saved_model::read::value::{Traced, Value, scalar};

pub(super) const TABLE: &[Entry] = &[
    ("Gather", |c, _, x| one(c.target.gather(x.tensor(0)?, x.tensor(1)?, 0)?)),
    ("GatherV2", |c, node, x| gather(c, node, x)),
    ("GatherNd", |c, _, x| gather_nd(c, x)),
    ("OneHot", |c, node, x| one_hot(c, node, x)),
    ("TopK", |c, node, x| top_k(c, node, x)),
    ("TopKV2", |c, node, x| top_k(c, node, x)),
    ("MatrixBandPart", |c, _, x| band(c, x)),
];

fn gather(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let (tensor, places) = (x.tensor(0)?, x.tensor(1)?);
    let axis = axis_of(x.integer(2)?, tensor.rank())?;
    let batches = node.int("batch_dims", 0);
    if batches == 0 {
        return one(c.target.gather(tensor, places, axis)?);
    }
    // One more axis than those in common, and as many places as axes: that is ONNX's gathering along an axis.
    let shared = usize::try_from(batches).unwrap_or(usize::MAX);
    if axis == shared && tensor.rank() == places.rank() && shared + 1 == tensor.rank() {
        let call = Call::new("GatherElements", &[tensor, places]).int("axis", axis as i64);
        return one(c.target.emit(&call, tensor.dtype, places.shape.clone())?);
    }
    if axis == shared && shared == 1 {
        let raised = c.target.unsqueeze(places, &[places.rank()])?;
        let call = Call::new("GatherND", &[tensor, &raised]).int("batch_dims", 1);
        let shape = [&places.shape, &tensor.shape[2..]].concat();
        return one(c.target.emit(&call, tensor.dtype, shape)?);
    }
    Err("it gathers over several batch axes".into())
}

fn gather_nd(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let (tensor, places) = (x.tensor(0)?, x.tensor(1)?);
    let (depth, outer) = places.shape.split_last().ok_or("its places are a scalar")?;
    let depth = depth.size().filter(|depth| *depth <= tensor.rank()).ok_or("its places do not fit")?;
    let shape = [outer, &tensor.shape[depth..]].concat();
    let places = c.target.cast(places, DataType::Int64)?;
    one(c.target.emit(&Call::new("GatherND", &[tensor, &places]), tensor.dtype, shape)?)
}

fn one_hot(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let places = x.tensor(0)?;
    let depth = x.integer(1)?;
    if !(0..=1 << 20).contains(&depth) {
        return Err(format!("it spreads integers to {depth} places").into());
    }
    let axis = axis_of(node.int("axis", -1), places.rank() + 1)?;
    one(c.target.one_hot(places, depth, axis, [x.tensor(2)?, x.tensor(3)?])?)
}

fn top_k(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let count = if x.len() > 1 { x.integer(1)? } else { node.int("k", 1) };
    let [values, places] = c.target.top_k(x.tensor(0)?, count)?;
    let places = c.target.cast(&places, node.dtype("index_type", DataType::Int32)?)?;
    Ok(vec![Value::Tensor(values), Value::Tensor(places)])
}

/// Keeps the elements of matrices between a diagonal below and one above; a negative number keeps all of that side.
fn band(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    let (lower, upper) = (x.integer(1)?, x.integer(2)?);
    let [.., rows, columns] = tensor.shape.as_slice() else { return Err("it is no matrix".into()) };
    let (rows, columns) = (counted(c, rows)?, counted(c, columns)?);
    let column = c.target.unsqueeze(&rows, &[1])?;
    // How far an element lies right of the diagonal.
    let right = c.target.binary("Sub", &columns, &column)?;
    let mut kept = scalar(DataType::Bool, 1.0);
    if lower >= 0 {
        let inside = c.target.with_number("GreaterOrEqual", &right, -lower as f64)?;
        kept = c.target.binary("And", &kept, &inside)?;
    }
    if upper >= 0 {
        let inside = c.target.with_number("LessOrEqual", &right, upper as f64)?;
        kept = c.target.binary("And", &kept, &inside)?;
    }
    if tensor.dtype == DataType::Bool {
        return one(c.target.binary("And", tensor, &kept)?);
    }
    one(c.target.select(&kept, tensor, &scalar(tensor.dtype, 0.0))?)
}

/// 0, 1, ... for each place of an axis.
fn counted(c: &mut Converter, size: &Dim) -> Step {
    let size = Traced::sizes(DataType::Int64, vec![size.clone()], 0);
    let (zero, one) = (scalar(DataType::Int64, 0.0), scalar(DataType::Int64, 1.0));
    c.target.range(&zero, &size, &one)
}
