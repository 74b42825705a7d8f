//! Products of matrices.

use super::{Entry, Inputs, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::{Traced, Value};

pub(super) const TABLE: &[Entry] = &[
    ("MatMul", |c, node, x| product(c, node, x, ["transpose_a", "transpose_b"])),
    ("BatchMatMul", |c, node, x| product(c, node, x, ["adj_x", "adj_y"])),
    ("BatchMatMulV2", |c, node, x| product(c, node, x, ["adj_x", "adj_y"])),
    ("BatchMatMulV3", |c, node, x| product(c, node, x, ["adj_x", "adj_y"])),
];

fn product(c: &mut Converter, node: Node, x: &[Value], transposed: [&str; 2]) -> Step<Vec<Value>> {
    let [left, right] = [0, 1].map(|at| x.tensor(at));
    let left = oriented(c, left?, node.bool(transposed[0], false))?;
    let right = oriented(c, right?, node.bool(transposed[1], false))?;
    one(c.target.matmul(&left, &right)?)
}

fn oriented(c: &mut Converter, x: &Traced, transposed: bool) -> Step {
    if !transposed {
        return Ok(x.clone());
    }
    let rank = x.rank();
    if rank < 2 {
        return Err("a vector cannot be transposed".into());
    }
    let mut order: Vec<usize> = (0..rank).collect();
    order.swap(rank - 1, rank - 2);
    c.target.transpose(x, &order)
}
