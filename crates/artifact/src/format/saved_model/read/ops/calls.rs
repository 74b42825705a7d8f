//! Operators that run one function, or one of two.

use std::collections::BTreeSet;

use super::{Entry, Inputs};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::{Traced, Value};

pub(super) const TABLE: &[Entry] =
    &[("PartitionedCall", call), ("StatefulPartitionedCall", call), ("If", branch), ("StatelessIf", branch)];

fn call<'a>(c: &mut Converter<'a>, node: Node<'a>, x: &[Value]) -> Step<Vec<Value>> {
    c.call(node.function("f").ok_or("it names no function")?, x)
}

/// A condition that is known takes one branch; both are computed and one is chosen where it is not.
fn branch<'a>(c: &mut Converter<'a>, node: Node<'a>, x: &[Value]) -> Step<Vec<Value>> {
    let (Some(holds), Some(fails)) = (node.function("then_branch"), node.function("else_branch")) else {
        return Err("it names no functions".into());
    };
    if matches!(x.first(), Some(Value::Unknown)) {
        for function in [holds, fails] {
            c.scan(function, &mut BTreeSet::new());
        }
        return Ok(vec![]);
    }
    let condition = x.tensor(0)?.clone();
    let arguments = &x[1..];
    match truth(&condition) {
        Some(true) => return c.call(holds, arguments),
        Some(false) => return c.call(fails, arguments),
        None => {}
    }
    if condition.rank() != 0 {
        return Err("its condition is no scalar".into());
    }
    let (first, second) = (c.call(holds, arguments)?, c.call(fails, arguments)?);
    let condition = c.target.cast(&condition, predictor::DataType::Bool)?;
    let choose = |(first, second): (&Value, &Value)| match (first, second) {
        (Value::Tensor(a), Value::Tensor(b)) => c.target.select(&condition, a, b).map(Value::Tensor),
        (Value::Unknown, _) | (_, Value::Unknown) => Ok(Value::Unknown),
        _ => Err("its branches give something else than tensors".into()),
    };
    first.iter().zip(&second).map(choose).collect()
}

/// A known condition: a truth value, or a number that is not 0.
fn truth(condition: &Traced) -> Option<bool> {
    condition.as_bool().or_else(|| condition.as_number().map(|number| number != 0.0))
}
