//! Loops: a recurrent network whose cell is known becomes one operator, any other loop is written out step by step.

use std::collections::BTreeSet;

use super::Entry;
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::limits;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::recurrent;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::{Traced, Value};

pub(super) const TABLE: &[Entry] = &[("While", repeat), ("StatelessWhile", repeat)];

fn repeat<'a>(c: &mut Converter<'a>, node: Node<'a>, x: &[Value]) -> Step<Vec<Value>> {
    let (Some(condition), Some(body)) = (node.function("cond"), node.function("body")) else {
        return Err("it names no functions".into());
    };
    if x.iter().any(|value| matches!(value, Value::Unknown)) {
        for function in [condition, body] {
            c.scan(function, &mut BTreeSet::new());
        }
        return Ok(vec![]);
    }
    if let Some(results) = recurrent::convert(c, [condition, body], x)? {
        return Ok(results);
    }
    let scope = c.target.scope.clone();
    let mut values = x.to_vec();
    for _ in 0..limits::LOOP_STEPS {
        let goes_on = c.call(condition, &values)?;
        let goes_on = match goes_on.first() {
            Some(Value::Tensor(truth)) => known_truth(truth),
            Some(Value::Unknown) => return Ok(vec![]),
            _ => None,
        };
        match goes_on {
            Some(true) => values = c.call(body, &values)?,
            Some(false) => return Ok(values),
            None => {
                c.target.scope = scope;
                return Err("how often it repeats is computed while the model runs; give the axis it walks along a fixed size".into());
            }
        }
        if values.len() != x.len() {
            return Err("its body gives another number of values than it takes".into());
        }
    }
    Err(format!("it repeats more than {} times", limits::LOOP_STEPS).into())
}

fn known_truth(truth: &Traced) -> Option<bool> {
    truth.as_bool()
}
