//! Einstein sums.

use super::{Entry, Inputs, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::Value;

pub(super) const TABLE: &[Entry] = &[("Einsum", |c, node, x| einsum(c, node, x))];

fn einsum(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let tensors = x.tensors()?;
    one(c.target.einsum(node.text("equation", ""), &tensors)?)
}
