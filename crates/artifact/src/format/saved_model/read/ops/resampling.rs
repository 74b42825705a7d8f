//! Images in another size.

use predictor::DataType;

use super::{Entry, Inputs, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::dim::Dim;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::{Call, Step};
use crate::format::saved_model::read::value::{Traced, Value};

pub(super) const TABLE: &[Entry] = &[
    ("ResizeNearestNeighbor", |c, node, x| resize(c, node, x, "nearest")),
    ("ResizeBilinear", |c, node, x| resize(c, node, x, "linear")),
];

fn resize(c: &mut Converter, node: Node, x: &[Value], mode: &str) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    let target = x.integers(1)?;
    let ([batch, height, width, channels], [rows, columns]) = (tensor.shape.as_slice(), target.as_slice())
    else {
        return Err("it takes images only".into());
    };
    let places = match (node.bool("align_corners", false), node.bool("half_pixel_centers", false)) {
        (true, false) => "align_corners",
        (false, true) => "half_pixel",
        (false, false) => "asymmetric",
        (true, true) => return Err("its corners and its centres cannot both be aligned".into()),
    };
    // TensorFlow takes the element below (i + 1/2) s, which is the nearest to ONNX's half pixel (i + 1/2) s - 1/2.
    let nearest = if places == "asymmetric" { "floor" } else { "round_prefer_ceil" };
    let first = c.target.transpose(tensor, &[0, 3, 1, 2])?;
    let (rows, columns) = (Dim::fixed(*rows), Dim::fixed(*columns));
    let sizes = match (height.known(), width.known()) {
        (Some(_), Some(_)) => vec![batch.clone(), channels.clone(), rows.clone(), columns.clone()],
        _ => return Err("an image of open size is resized".into()),
    };
    let target = Traced::sizes(DataType::Int64, sizes.clone(), 1);
    let call = Call::new("Resize", &[&first])
        .without()
        .without()
        .input(&target)
        .text("mode", mode)
        .text("coordinate_transformation_mode", places)
        .text("nearest_mode", nearest);
    let y = c.target.emit(&call, DataType::Float32, sizes)?;
    one(c.target.transpose(&y, &[0, 2, 3, 1])?)
}
