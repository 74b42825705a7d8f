//! Tables of integers, bins, and counts.

use predictor::DataType;

use super::{Entry, Inputs, one};
use crate::format::saved_model::read::constant;
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::restore::Origin;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::{Traced, Value, scalar};

pub(super) const TABLE: &[Entry] = &[
    ("HashTableV2", |_, node, _| Ok(vec![Value::Table(node.def.name.as_str().into())])),
    ("MutableHashTableV2", |_, node, _| Ok(vec![Value::Table(node.def.name.as_str().into())])),
    ("LookupTableFindV2", |c, _, x| find(c, x)),
    ("LookupTableSizeV2", |c, _, x| {
        let [keys, _] = contents(c, x)?;
        c.target.count_of(&keys, DataType::Int64).and_then(one)
    }),
    ("Bucketize", |c, node, x| bucketize(c, node, x)),
    ("DenseBincount", |c, node, x| count(c, node, x)),
];

/// The keys and values of a table.
fn contents(c: &Converter, x: &[Value]) -> Step<[Traced; 2]> {
    let Some(Value::Table(name)) = x.first() else { return Err("what it looks into is no table".into()) };
    let filling = c.given.loaded.tables.get(&**name).ok_or("nothing fills its table")?;
    let column = |origin: &Origin| -> Step {
        match origin {
            Origin::Constant(proto) if proto.dtype == i32::from(protos::tensorflow::DataType::DtString) => {
                Err("its table holds strings; encode them as integers before the model".into())
            }
            Origin::Constant(proto) => Ok(Traced::known(constant::tensor(proto)?)),
            Origin::Stored(key) => Ok(Traced::known(c.given.checkpoint.tensor(key)?)),
            Origin::Node(_) | Origin::Other => {
                Err("its table is filled from a file or by a computation".into())
            }
        }
    };
    Ok([column(&filling.keys)?, column(&filling.values)?])
}

/// Compares with every key: the sum of the one value that fits, less the default, plus the default.
fn find(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    if let (Some(Value::Table(_)), Some(Value::Text)) = (x.first(), x.get(1)) {
        return Err("it looks up strings; encode them as integers before the model".into());
    }
    let [keys, values] = contents(c, x)?;
    let (wanted, default) = (x.tensor(1)?, x.tensor(2)?);
    let wide = |key: &i64| i32::try_from(*key).is_err();
    if keys.as_integers().is_some_and(|keys| keys.iter().any(wide)) {
        c.notes.insert(
            "a lookup table has keys beyond 32 bits, which the engine rten cannot tell apart".to_owned(),
        );
    }
    let raised = c.target.unsqueeze(wanted, &[wanted.rank()])?;
    let hit = c.target.binary("Equal", &raised, &keys)?;
    let above = c.target.binary("Sub", &values, default)?;
    let chosen = c.target.select(&hit, &above, &scalar(values.dtype, 0.0))?;
    let sum = c.target.reduce("ReduceSum", &chosen, &[wanted.rank()], false)?;
    one(c.target.binary("Add", &sum, default)?)
}

/// How many boundaries lie at or below each number.
fn bucketize(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let tensor = c.target.cast(x.tensor(0)?, DataType::Float32)?;
    let boundaries = node.floats("boundaries").to_vec();
    let boundaries =
        predictor::Tensor::float32(vec![boundaries.len()], boundaries).map_err(|error| error.to_string())?;
    let raised = c.target.unsqueeze(&tensor, &[tensor.rank()])?;
    let above = c.target.binary("GreaterOrEqual", &raised, &Traced::known(boundaries))?;
    let above = c.target.cast(&above, DataType::Int32)?;
    one(c.target.reduce("ReduceSum", &above, &[tensor.rank()], false)?)
}

/// How often each integer below a size is there, for each row of a matrix.
fn count(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let (tensor, size, weights) = (x.tensor(0)?, x.integer(1)?, x.tensor(2)?);
    let binary = node.bool("binary_output", false);
    let dtype = weights.dtype;
    if tensor.rank() != 2 {
        return Err("it counts in something else than the rows of a matrix".into());
    }
    if !(0..=1 << 20).contains(&size) {
        return Err(format!("it counts {size} integers").into());
    }
    let (one_, zero) = (scalar(dtype, 1.0), scalar(dtype, 0.0));
    let hits = c.target.one_hot(tensor, size, 2, [&one_, &zero])?;
    if binary {
        return one(c.target.reduce("ReduceMax", &hits, &[1], false)?);
    }
    let unweighted = weights.shape.iter().any(|axis| axis.known() == Some(0));
    let weighted = if unweighted {
        hits
    } else {
        let weights = c.target.unsqueeze(weights, &[2])?;
        c.target.binary("Mul", &hits, &weights)?
    };
    one(c.target.reduce("ReduceSum", &weighted, &[1], false)?)
}
