//! Sizes of tensors, and tensors made from sizes.

use predictor::DataType;

use super::{Entry, Inputs, all, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::{Value, scalar};

pub(super) const TABLE: &[Entry] = &[
    ("Shape", |c, node, x| one(c.target.shape_of(x.tensor(0)?, node.dtype("out_type", DataType::Int32)?))),
    ("ShapeN", |c, node, x| {
        let dtype = node.dtype("out_type", DataType::Int32)?;
        all(x.tensors()?.into_iter().map(|each| c.target.shape_of(each, dtype)).collect())
    }),
    ("Size", |c, node, x| one(c.target.count_of(x.tensor(0)?, node.dtype("out_type", DataType::Int32)?)?)),
    ("Rank", |_, _, x| one(scalar(DataType::Int32, x.tensor(0)?.rank() as f64))),
    ("Fill", |c, _, x| fill(c, x)),
    ("ZerosLike", |c, _, x| one(c.target.filled_like(x.tensor(0)?, 0.0)?)),
    ("OnesLike", |c, _, x| one(c.target.filled_like(x.tensor(0)?, 1.0)?)),
    ("Range", |c, _, x| range(c, x)),
    ("BroadcastTo", |c, _, x| one(c.target.expand(x.tensor(0)?, x.sizes(1)?)?)),
    ("BroadcastArgs", |_, _, _| {
        Err("shapes are spread by sizes that are computed while the model runs".into())
    }),
];

fn fill(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    one(c.target.fill(x.sizes(0)?, x.tensor(1)?)?)
}

fn range(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let (start, end, step) = (x.tensor(0)?, x.tensor(1)?, x.tensor(2)?);
    if start.is_integer() {
        return one(c.target.range(start, end, step)?);
    }
    let (Some(from), Some(to), Some(by)) = (start.as_number(), end.as_number(), step.as_number()) else {
        return Err("a range of fractions must be constant".into());
    };
    let count = ((to - from) / by).ceil();
    if !(0.0..1e6).contains(&count) {
        return Err(format!("a range of {count} numbers is not taken").into());
    }
    let places = c.target.integers(DataType::Int64, &(0..count as i64).collect::<Vec<_>>())?;
    let places = c.target.cast(&places, start.dtype)?;
    let scaled = c.target.with_number("Mul", &places, by)?;
    let range = c.target.with_number("Add", &scaled, from)?;
    one(range)
}
