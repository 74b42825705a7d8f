//! Images in another size.

use super::{Entry, Inputs, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::Value;

pub(super) const TABLE: &[Entry] = &[
    ("ResizeNearestNeighbor", |c, node, x| resize(c, node, x, "nearest")),
    ("ResizeBilinear", |c, node, x| resize(c, node, x, "linear")),
];

fn resize(c: &mut Converter, node: Node, x: &[Value], mode: &str) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    let target = x.integers(1)?;
    let [rows, columns] = target.as_slice() else {
        return Err("it takes images only".into());
    };
    let places = match (node.bool("align_corners", false), node.bool("half_pixel_centers", false)) {
        (true, false) => "align_corners",
        (false, true) => "half_pixel",
        (false, false) => "asymmetric",
        (true, true) => return Err("its corners and its centres cannot both be aligned".into()),
    };
    one(c.target.resized(tensor, [*rows, *columns], mode, places)?)
}
