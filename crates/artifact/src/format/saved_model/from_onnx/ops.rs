//! What becomes of each operator of ONNX: one function each, by name.

mod activations;
mod control;
mod elementwise;
mod layout;
mod normalization;
mod places;
mod pooling;
mod products;
mod recurrent;
mod reductions;
mod resized;
mod slices;
mod sources;
mod windows;

use super::lowering::{Lowering, Scope};
use super::node::Node;
use super::value::Value;

/// The result of writing a node: its results, or why it cannot be written.
type Written = Result<Vec<Value>, String>;

/// How a node is written.
#[derive(Clone, Copy)]
pub(super) enum Operator {
    /// From its inputs.
    Plain(fn(&mut Lowering, &Node<'_>) -> Written),
    /// From its inputs and what its inner graphs use.
    Scoped(fn(&mut Lowering, &Node<'_>, &Scope) -> Written),
}

type Entry = (&'static str, fn(&mut Lowering, &Node<'_>) -> Written);

/// How the nodes of an operator are written.
pub(super) fn operator(name: &str) -> Option<Operator> {
    match name {
        "Loop" => return Some(Operator::Scoped(control::repeated)),
        "If" => return Some(Operator::Scoped(control::chosen)),
        _ => {}
    }
    let tables: [&[Entry]; 13] = [
        elementwise::TABLE,
        activations::TABLE,
        layout::TABLE,
        slices::TABLE,
        places::TABLE,
        sources::TABLE,
        reductions::TABLE,
        products::TABLE,
        normalization::TABLE,
        windows::TABLE,
        pooling::TABLE,
        resized::TABLE,
        recurrent::TABLE,
    ];
    let entry = tables.into_iter().flatten().find(|(entry, _)| *entry == name);
    entry.map(|(_, write)| Operator::Plain(*write))
}

fn one(value: Value) -> Written {
    Ok(vec![value])
}
