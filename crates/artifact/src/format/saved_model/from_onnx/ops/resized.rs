//! Images of other sizes.

use protos::tensorflow::DataType;

use super::{Entry, Written, one};
use crate::format::onnx::nodes::attribute;
use crate::format::saved_model::from_onnx::call::Call;
use crate::format::saved_model::from_onnx::lowering::Lowering;
use crate::format::saved_model::from_onnx::node::Node;
use crate::format::saved_model::from_onnx::value::{Value, open};

pub(super) const TABLE: &[Entry] = &[
    ("Resize", |l, n| {
        // Two inputs before version 11: the image and how often.
        let old = n.opset < 11;
        let (scales, sizes) = if old { (n.optional(1), None) } else { (n.optional(2), n.optional(3)) };
        let coordinates = if old {
            "asymmetric".to_owned()
        } else {
            n.text("coordinate_transformation_mode", "half_pixel")
        };
        resized(l, n, scales.and_then(|scales| scales.floats()), sizes.as_ref(), &coordinates)
    }),
    ("Upsample", |l, n| {
        let stated = attribute(n.proto, "scales").map(|scales| &scales.floats);
        let stated = stated.map(|scales| scales.iter().map(|scale| f64::from(*scale)).collect());
        let scales = stated.or_else(|| n.optional(1)?.floats());
        resized(l, n, scales, None, "asymmetric")
    }),
];

/// Along one or two axes of `[batch, channels, ..]`, by TensorFlow's operators for images, or by repeating elements where each
/// becomes a whole number of them.
fn resized(
    l: &mut Lowering,
    n: &Node<'_>,
    scales: Option<Vec<f64>>,
    sizes: Option<&Value>,
    coordinates: &str,
) -> Written {
    let x = n.input(0)?;
    let rank = x.rank()?;
    if n.ints("axes").is_some() || n.int("antialias", 0) != 0 {
        return Err("it resizes some axes, or smooths; TensorFlow's operators do not".to_owned());
    }
    let mode = n.text("mode", "nearest");
    let rounded = if n.opset < 11 { "floor" } else { "round_prefer_floor" };
    let nearest = n.text("nearest_mode", rounded);
    let factors = factors(&x, rank, scales, sizes);
    let is_whole = |factor: &f64| factor.fract() == 0.0 && *factor >= 1.0;
    // Between whole numbers of elements, both ways of rounding a half are the same.
    let repeats = match (coordinates, nearest.as_str()) {
        ("half_pixel" | "half_pixel_symmetric", "round_prefer_floor" | "round_prefer_ceil") => true,
        ("asymmetric", nearest) => nearest == "floor",
        _ => false,
    };
    if let Some(factors) = factors.as_ref().filter(|factors| factors.iter().all(is_whole))
        && mode == "nearest"
        && repeats
    {
        return one(repeated(l, &x, factors));
    }
    let others = factors.as_ref().and_then(|factors| factors.get(..2)).unwrap_or(&[1.0, 1.0]);
    if others != [1.0, 1.0] || !(3..=4).contains(&rank) {
        return Err("it resizes other than the one or two axes behind the channels".to_owned());
    }
    let flags = match (mode.as_str(), coordinates, nearest.as_str()) {
        ("nearest", "asymmetric", "floor") => [false, false],
        ("nearest", "half_pixel", "round_prefer_ceil") => [false, true],
        ("linear", "half_pixel", _) => [false, true],
        ("linear", "asymmetric", _) => [false, false],
        ("linear", "align_corners", _) => [true, false],
        (mode, ..) => {
            return Err(format!("TensorFlow does not resize as mode \"{mode}\" with \"{coordinates}\" says"));
        }
    };
    let operator = if mode == "nearest" { "ResizeNearestNeighbor" } else { "ResizeBilinear" };
    let target = space(l, &x, factors.as_deref(), sizes)?;
    let axes = rank - 2;
    let image = l.channels_last(&x, axes);
    let call = Call::typed(operator, "resized_images", &[&image, &target])
        .flag("align_corners", flags[0])
        .flag("half_pixel_centers", flags[1]);
    let height = if axes == 1 { Some(1) } else { None };
    let dtype = if mode == "nearest" { x.dtype } else { DataType::DtFloat };
    let image = l.emit(call, dtype, Some(vec![None, height, None, x.size(1)]));
    let result = l.channels_second(&image, axes)?;
    one(l.cast(&result, x.dtype))
}

/// How many times as large each axis becomes, where that is known.
fn factors(x: &Value, rank: usize, scales: Option<Vec<f64>>, sizes: Option<&Value>) -> Option<Vec<f64>> {
    if let Some(scales) = scales.filter(|scales| scales.len() == rank) {
        return Some(scales);
    }
    let sizes = sizes.and_then(Value::integers).filter(|sizes| sizes.len() == rank)?;
    let factor = |(at, size): (usize, &i64)| Some(*size as f64 / x.size(at)? as f64);
    sizes.iter().enumerate().map(factor).collect()
}

/// Height and width of the result, of 32 bits.
fn space(
    l: &mut Lowering,
    x: &Value,
    factors: Option<&[f64]>,
    sizes: Option<&Value>,
) -> Result<Value, String> {
    let rank = x.rank()?;
    let mut parts = vec![];
    if rank == 3 {
        parts.push(l.vector(&[1]));
    }
    match (factors, sizes) {
        (_, Some(sizes)) => {
            let sizes = l.cast(sizes, DataType::DtInt64);
            parts.push(l.window(&sizes, &[2], &[rank as i64]));
        }
        (Some(factors), None) => {
            for (at, factor) in factors.iter().enumerate().skip(2) {
                let size = x.size(at).ok_or("an axis that it resizes is open")? as f64;
                parts.push(l.vector(&[(size * factor).floor() as i64]));
            }
        }
        (None, None) => return Err("its scales are computed when the model runs".to_owned()),
    }
    let target = l.concatenated(&parts.iter().collect::<Vec<_>>(), 0);
    Ok(l.cast(&target, DataType::DtInt32))
}

/// Each element so many times along its axis.
fn repeated(l: &mut Lowering, x: &Value, factors: &[f64]) -> Value {
    let mut x = x.clone();
    for (at, factor) in factors.iter().enumerate() {
        let count = *factor as i64;
        if count == 1 {
            continue;
        }
        let sizes = l.sizes(&x);
        let mut inner = l.inserted(&x, at as i64 + 1);
        let mut counts = vec![1; factors.len() + 1];
        counts[at + 1] = count;
        let counts = l.vector(&counts);
        let call = Call::typed("Tile", "output", &[&inner, &counts]).dtype("Tmultiples", counts.dtype);
        inner = l.emit(call, x.dtype, open(factors.len() + 1));
        let mut by = vec![1; factors.len()];
        by[at] = count;
        let by = l.vector(&by);
        let target = l.binary("Mul", &sizes, &by);
        let shape = x.shape.clone().map(|mut shape| {
            shape[at] = shape[at].and_then(|size| size.checked_mul(count));
            shape
        });
        x = l.reshaped(&inner, &target, shape);
    }
    x
}
