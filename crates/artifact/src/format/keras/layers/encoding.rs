//! Layers that make classes of numbers: bins, vocabularies of integers, one-hot vectors.

use predictor::{DataType, Tensor};

use super::Entry;
use crate::format::keras::convert::{Converter, Inputs, Layer, one};
use crate::format::traced::dim::Dim;
use crate::format::traced::target::Step;
use crate::format::traced::tensor::{Traced, integers, scalar};

pub(super) const TABLE: &[Entry] = &[
    ("Discretization", discretization, &[]),
    ("CategoryEncoding", category, &[]),
    ("IntegerLookup", lookup, &[]),
];

/// The most classes.
const CLASSES_MAX: i64 = 1 << 20;

/// How many boundaries lie at or below each number.
fn discretization(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let bounds = layer
        .settings()
        .numbers("bin_boundaries")
        .ok_or("it has no boundaries; adapt it before it is saved")?;
    let bounds: Vec<f32> = bounds.into_iter().map(|bound| bound as f32).collect();
    let classes = bounds.len() as i64 + 1;
    let bounds = Tensor::float32(vec![bounds.len()], bounds).map_err(|error| error.to_string())?;
    let x = c.float(inputs.one()?)?;
    let raised = c.target.unsqueeze(&x, &[x.rank()])?;
    let above = c.target.binary("GreaterOrEqual", &raised, &Traced::known(bounds))?;
    let above = c.target.cast(&above, DataType::Int32)?;
    let class = c.target.reduce("ReduceSum", &above, &[x.rank()], false)?;
    one(encoded(c, layer, &class, classes)?)
}

fn category(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let classes = layer.settings().count("num_tokens")? as i64;
    let x = inputs.one()?;
    let x = if x.is_integer() { x.clone() } else { c.target.cast(x, DataType::Int32)? };
    one(encoded(c, layer, &x, classes)?)
}

/// The place of each integer in a vocabulary, behind what stands for a mask and for what is not in it.
fn lookup(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let words = settings.integers("vocabulary").map_err(|_| "it has no vocabulary of whole numbers")?;
    let mode = settings.text("output_mode", "int");
    // A mask has a class of its own among integers only.
    let mask = settings.get("mask_token").and_then(serde_json::Value::as_i64).filter(|_| mode == "int");
    let others = settings.get("num_oov_indices").and_then(serde_json::Value::as_i64).unwrap_or(1);
    if settings.flag("invert", false) || !(0..=1).contains(&others) || mode == "tf_idf" {
        return Err("invert, several num_oov_indices and tf_idf are not taken".into());
    }
    if others == 0 {
        return Err("num_oov_indices of 0 is not taken: it fails for what is not in its vocabulary".into());
    }
    let first = others + i64::from(mask.is_some());
    let classes = first + words.len() as i64;
    let places: Vec<i64> = (0..words.len() as i64).map(|at| first + at).collect();
    let (mut keys, mut values) = (words, places);
    let other = i64::from(mask.is_some());
    if let Some(mask) = mask {
        keys.push(mask);
        values.push(0);
    }
    if keys.iter().any(|key| i32::try_from(*key).is_err()) {
        c.notes.insert(
            "a vocabulary has integers beyond 32 bits, which the engine rten cannot tell apart".to_owned(),
        );
    }
    let x = c.target.cast(inputs.one()?, DataType::Int64)?;
    let less: Vec<i64> = values.iter().map(|value| value - other).collect();
    let vector =
        |all: &[i64]| integers(DataType::Int64, vec![all.len()], all).map(Traced::known).ok_or("no integers");
    let (keys, less) = (vector(&keys)?, vector(&less)?);
    let raised = c.target.unsqueeze(&x, &[x.rank()])?;
    let hit = c.target.binary("Equal", &raised, &keys)?;
    let chosen = c.target.select(&hit, &less, &scalar(DataType::Int64, 0.0))?;
    let sum = c.target.reduce("ReduceSum", &chosen, &[x.rank()], false)?;
    let class = c.target.with_number("Add", &sum, other as f64)?;
    one(encoded(c, layer, &class, classes)?)
}

/// Classes in the form that `output_mode` names.
fn encoded(c: &mut Converter<'_>, layer: &Layer<'_>, class: &Traced, classes: i64) -> Step {
    if layer.settings().flag("sparse", false) {
        return Err("sparse tensors are not taken".into());
    }
    if classes > CLASSES_MAX {
        return Err(format!("it has {classes} classes; the limit is {CLASSES_MAX}").into());
    }
    // As Keras types them: whole numbers where a vocabulary is looked up, else those that layers compute with.
    let (int, number) = match layer.object.class {
        "IntegerLookup" => (DataType::Int64, DataType::Int64),
        _ => (DataType::Int32, DataType::Float32),
    };
    let on_off = [scalar(number, 1.0), scalar(number, 0.0)];
    let hot =
        |c: &mut Converter<'_>, x: &Traced| c.target.one_hot(x, classes, x.rank(), [&on_off[0], &on_off[1]]);
    // Each row is a sample; one class alone is a row of one.
    let rows = |c: &mut Converter<'_>| {
        if class.rank() == 1 { c.target.unsqueeze(class, &[1]) } else { Ok(class.clone()) }
    };
    match layer
        .settings()
        .text("output_mode", if layer.object.class == "CategoryEncoding" { "multi_hot" } else { "int" })
    {
        "int" => c.target.cast(class, int),
        "one_hot" => {
            let single = class.rank() > 1 && class.shape.last().is_some_and(Dim::is_one);
            let class = if single { c.target.squeeze(class, &[class.rank() - 1])? } else { class.clone() };
            hot(c, &class)
        }
        "multi_hot" => {
            let rows = rows(c)?;
            let hot = hot(c, &rows)?;
            c.target.reduce("ReduceMax", &hot, &[1], false)
        }
        "count" => {
            let rows = rows(c)?;
            let hot = hot(c, &rows)?;
            c.target.reduce("ReduceSum", &hot, &[1], false)
        }
        other => Err(format!("its output_mode \"{other}\" is not taken").into()),
    }
}
