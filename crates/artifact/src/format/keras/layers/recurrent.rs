//! Recurrent layers.

use super::Entry;
use crate::format::keras::config::Object;
use crate::format::keras::convert::{Argument, Converter, Inputs, Layer, one};
use crate::format::keras::recurrent::{Kind, Walked, ZERO_OUTPUT, walk};
use crate::format::traced::target::Step;
use crate::format::traced::tensor::Traced;

pub(super) const TABLE: &[Entry] = &[
    ("LSTM", recurrent, &["initial_state", "mask"]),
    ("GRU", recurrent, &["initial_state", "mask"]),
    ("SimpleRNN", recurrent, &["initial_state", "mask"]),
    ("Bidirectional", bidirectional, &["initial_state", "mask"]),
];

/// The states a call is given: by name, or behind the first tensor.
fn initial(inputs: &Inputs) -> Vec<Traced> {
    let named = inputs.named_tensors("initial_state");
    let given = if named.is_empty() { inputs.tensors().into_iter().skip(1).collect() } else { named };
    given.into_iter().cloned().collect()
}

fn recurrent(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let walked = walk(c, layer, inputs, &initial(inputs))?;
    let mut results = vec![output(layer, &walked)];
    keep_mask(c, layer, inputs, &results)?;
    if settings.flag("return_state", false) {
        results.extend(walked.states);
    }
    Ok(results)
}

/// Which steps count is the same for outputs of steps.
fn keep_mask(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs, outputs: &[Traced]) -> Step<()> {
    let mask = c.mask(inputs)?;
    if let Some(mask) = mask.filter(|_| layer.settings().flag("return_sequences", false)) {
        outputs.iter().for_each(|output| c.set_mask(output, mask.clone()));
    }
    Ok(())
}

/// Every output, or the last one.
fn output(layer: &Layer<'_>, walked: &Walked) -> Traced {
    let all = layer.settings().flag("return_sequences", false);
    if all { walked.all.clone() } else { walked.last.clone() }
}

/// One layer forwards and one backwards.
fn bidirectional(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let object = |key: &str| -> Step<Object<'_>> {
        let object = settings.object(key)?.ok_or_else(|| format!("it has no {key}"))?;
        let taken = object.is_of_keras() && Kind::of(object.class).is_some();
        if taken {
            Ok(object)
        } else {
            Err(format!("it goes both ways with {}, which is not taken", object.full_name()).into())
        }
    };
    let paths = [format!("{}/forward_layer", layer.path), format!("{}/backward_layer", layer.path)];
    let forwards = Layer { object: object("layer")?, path: &paths[0] };
    let backwards = Layer { object: object("backward_layer")?, path: &paths[1] };
    if forwards.settings().flag("go_backwards", false) || !backwards.settings().flag("go_backwards", false) {
        return Err("its layers do not go one way each".into());
    }
    let given = initial(inputs);
    let half = given.len() / 2;
    let mut first = Inputs::of([inputs.one()?.clone()]);
    if let Some(mask) = c.mask(inputs)? {
        first.named.insert("mask".to_owned(), Argument::Tensor(mask));
        let zeros = forwards.settings().flag("return_sequences", false);
        first.named.insert(ZERO_OUTPUT.to_owned(), Argument::Plain(serde_json::Value::Bool(zeros)));
    }
    let there = walk(c, &forwards, &first, &given[..half])?;
    let back = walk(c, &backwards, &first, &given[half..])?;
    let (x, mut y) = (output(&forwards, &there), output(&backwards, &back));
    if backwards.settings().flag("return_sequences", false) {
        y = c.target.reverse(&y, &[1])?;
    }
    let mut results = match settings.get("merge_mode").and_then(serde_json::Value::as_str) {
        None => vec![x, y],
        Some("concat") => one(c.target.concat(&[&x, &y], x.rank() - 1)?)?,
        Some("sum") => one(c.target.binary("Add", &x, &y)?)?,
        Some("mul") => one(c.target.binary("Mul", &x, &y)?)?,
        Some("ave") => {
            let sum = c.target.binary("Add", &x, &y)?;
            one(c.target.with_number("Mul", &sum, 0.5)?)?
        }
        Some(other) => return Err(format!("its merge_mode \"{other}\" is unknown").into()),
    };
    keep_mask(c, &forwards, inputs, &results)?;
    if forwards.settings().flag("return_state", false) {
        results.extend(there.states.into_iter().chain(back.states));
    }
    Ok(results)
}
