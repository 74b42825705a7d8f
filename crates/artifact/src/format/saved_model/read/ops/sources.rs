//! Where values come from: constants, variables, and what passes a value on unchanged.

use predictor::DataType;

use super::{Entry, Inputs, one};
use crate::format::saved_model::read::constant;
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::{Traced, Value};

pub(super) const TABLE: &[Entry] = &[
    ("Const", constant_value),
    ("HostConst", constant_value),
    ("VarHandleOp", |c, node, _| Ok(vec![c.variable(node)])),
    ("ReadVariableOp", |c, _, x| read_variable(c, x)),
    ("VariableV2", |c, node, _| old_variable(c, node)),
    ("Variable", |c, node, _| old_variable(c, node)),
    ("VariableShape", |c, node, x| variable_shape(c, node, x)),
    ("ResourceGather", |c, node, x| resource_gather(c, node, x)),
    ("Identity", |_, _, x| Ok(x[..1.min(x.len())].to_vec())),
    ("IdentityN", |_, _, x| Ok(x.to_vec())),
    ("StopGradient", |_, _, x| Ok(x[..1.min(x.len())].to_vec())),
    ("PreventGradient", |_, _, x| Ok(x[..1.min(x.len())].to_vec())),
    ("Snapshot", |_, _, x| Ok(x[..1.min(x.len())].to_vec())),
    ("CheckNumerics", |_, _, x| Ok(x[..1.min(x.len())].to_vec())),
    ("EnsureShape", |_, _, x| Ok(x[..1.min(x.len())].to_vec())),
    ("OptimizationBarrier", |_, _, x| Ok(x.to_vec())),
    ("PlaceholderWithDefault", |_, _, x| Ok(x[..1.min(x.len())].to_vec())),
    ("Placeholder", |_, _, _| Err("it is an input that the signature does not have".into())),
    ("NoOp", |_, _, _| Ok(vec![])),
];

fn constant_value<'a>(_: &mut Converter<'a>, node: Node<'a>, _: &[Value]) -> Step<Vec<Value>> {
    let proto = node.tensor("value").ok_or("it has no value")?;
    if proto.dtype == i32::from(protos::tensorflow::DataType::DtString) {
        return Ok(vec![Value::Text]);
    }
    one(Traced::known(constant::tensor(proto)?))
}

fn read_variable(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    match x.first() {
        Some(Value::Variable(place)) => one(Traced::shared(c.read_variable(*place)?)),
        _ => Err("what it reads is no variable".into()),
    }
}

fn old_variable(c: &mut Converter, node: Node) -> Step<Vec<Value>> {
    let handle = c.variable(node);
    read_variable(c, &[handle])
}

fn variable_shape(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let Some(Value::Variable(place)) = x.first() else { return Err("what it reads is no variable".into()) };
    let variable = Traced::shared(c.read_variable(*place)?);
    one(c.target.shape_of(&variable, node.dtype("out_type", DataType::Int32)?))
}

fn resource_gather(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let Some(Value::Variable(place)) = x.first() else { return Err("what it reads is no variable".into()) };
    if node.int("batch_dims", 0) != 0 {
        return Err("batches of tables are not taken".into());
    }
    let table = Traced::shared(c.read_variable(*place)?);
    one(c.target.gather(&table, x.tensor(1)?, 0)?)
}
