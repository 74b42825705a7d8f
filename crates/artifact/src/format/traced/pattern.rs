//! Looks at what computes a value of the graph under construction, so that several operators can be seen as one.

use std::rc::Rc;

use super::target::Target;
use super::tensor::{Content, Traced};

/// The name of a value that the engine computes.
pub(in crate::format) fn name(x: &Traced) -> Option<&str> {
    match &x.content {
        Content::Computed(name) => Some(name),
        _ => None,
    }
}

/// A known scalar.
pub(in crate::format) fn scalar(target: &Target, name: &str) -> Option<f64> {
    Traced::shared(Rc::clone(target.initializer(name)?)).as_number()
}

/// The inputs of the operator of this kind that computes a value.
pub(in crate::format) fn operands<'t>(
    target: &'t Target,
    value: &str,
    operator: &str,
) -> Option<[&'t str; 2]> {
    let node = target.node_of(value).filter(|node| node.op_type() == operator)?;
    match node.input.as_slice() {
        [a, b] => Some([a, b]),
        _ => None,
    }
}

/// The same in both orders.
pub(in crate::format) fn either<'t>(
    target: &'t Target,
    value: &str,
    operator: &str,
) -> [Option<[&'t str; 2]>; 2] {
    let pair = operands(target, value, operator);
    [pair, pair.map(|[a, b]| [b, a])]
}

/// The input of the operator of this kind that computes a value.
pub(in crate::format) fn operand<'t>(target: &'t Target, value: &str, operator: &str) -> Option<&'t str> {
    let node = target.node_of(value).filter(|node| node.op_type() == operator)?;
    node.input.first().map(String::as_str)
}
