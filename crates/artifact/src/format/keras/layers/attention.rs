//! Attention.

use predictor::DataType;

use super::activation::softmax;
use super::{Entry, shape};
use crate::format::keras::convert::{Argument, Converter, Inputs, Layer, last_axis, one};
use crate::format::traced::dim::Dim;
use crate::format::traced::target::Step;
use crate::format::traced::tensor::{Traced, scalar};

pub(super) const TABLE: &[Entry] = &[
    (
        "MultiHeadAttention",
        multi_head,
        &["query", "value", "key", "use_causal_mask", "return_attention_scores"],
    ),
    ("GroupedQueryAttention", grouped, &["query", "value", "key", "use_causal_mask"]),
    ("GroupQueryAttention", grouped, &["query", "value", "key", "use_causal_mask"]),
    ("Attention", plain, &["use_causal_mask"]),
    ("AdditiveAttention", additive, &["use_causal_mask"]),
];

/// Query, value and key, in order or by name; the key is the value where it is left out.
fn three(c: &mut Converter<'_>, inputs: &Inputs) -> Step<[Traced; 3]> {
    let given = |at: usize, name: &str| match inputs.arguments.get(at).or_else(|| inputs.named.get(name)) {
        Some(Argument::Tensor(tensor)) => Some(tensor),
        _ => None,
    };
    let query = given(0, "query").ok_or("it is called without a query")?;
    let value = given(1, "value").ok_or("it is called without a value")?;
    let key = given(2, "key").unwrap_or(value);
    if inputs.tensors().len() > 3 {
        return Err("it is called with a mask, which is not taken".into());
    }
    if [query, value, key].iter().any(|tensor| tensor.rank() != 3) {
        return Err("it takes something else than sequences".into());
    }
    Ok([c.float(query)?, c.float(value)?, c.float(key)?])
}

/// `[batch, steps, width]` as `[batch, steps, heads, size]`.
fn projected(
    c: &mut Converter<'_>,
    layer: &Layer<'_>,
    (name, x): (&str, &Traced),
    [heads, size]: [usize; 2],
) -> Step {
    let kernel =
        c.weight(layer, &format!("{name}/vars/0"), &[Some(last_axis(x)?), Some(heads), Some(size)])?;
    let bias = c.weight_if(
        layer.settings().flag("use_bias", true),
        layer,
        &format!("{name}/vars/1"),
        &[Some(heads), Some(size)],
    )?;
    let y = c.target.einsum("abc,cde->abde", &[x, &kernel])?;
    c.biased(y, bias.as_ref())
}

fn refuse_forms(layer: &Layer<'_>) -> Step<()> {
    let settings = layer.settings();
    if settings.flag("use_gate", false) || settings.get("sliding_window").is_some() {
        return Err("use_gate and sliding_window are not taken".into());
    }
    match settings.get("attention_axes").map(|_| settings.integers("attention_axes")).transpose()? {
        None => Ok(()),
        Some(axes) if axes == [1] => Ok(()),
        Some(axes) => Err(format!("its attention_axes {axes:?} are not taken").into()),
    }
}

/// Vaswani et al., Attention Is All You Need (2017), equation 1 for each head: what heads give, and their scores.
fn attend(
    c: &mut Converter<'_>,
    [query, value, key]: [&Traced; 3],
    size: usize,
    causal: bool,
) -> Step<[Traced; 2]> {
    let query = c.target.with_number("Mul", query, 1.0 / (size as f64).sqrt())?;
    let scores = c.target.einsum("bqnh,bknh->bnqk", &[&query, key])?;
    let scores = if causal { masked(c, &scores)? } else { scores };
    let scores = softmax(c, &scores, &[-1])?;
    let heads = c.target.einsum("bnqk,bknh->bqnh", &[&scores, value])?;
    Ok([heads, scores])
}

/// Scores of later steps, on the last axis, get no weight.
fn masked(c: &mut Converter<'_>, scores: &Traced) -> Step {
    let rank = scores.rank();
    let t = &mut c.target;
    let mut places = |axis: usize| {
        let count = Traced::sizes(DataType::Int64, vec![scores.shape[axis].clone()], 0);
        t.range(&scalar(DataType::Int64, 0.0), &count, &scalar(DataType::Int64, 1.0))
    };
    let (rows, columns) = (places(rank - 2)?, places(rank - 1)?);
    let rows = t.unsqueeze(&rows, &[1])?;
    let seen = t.binary("GreaterOrEqual", &rows, &columns)?;
    // The mask takes the sizes of the scores, of which open ones are not told by counting.
    let seen = Traced { shape: scores.shape[rank - 2..].to_vec(), ..seen };
    t.select(&seen, scores, &scalar(DataType::Float32, -1e30))
}

fn multi_head(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    refuse_forms(layer)?;
    let settings = layer.settings();
    let [query, value, key] = three(c, inputs)?;
    let heads = settings.count("num_heads")?;
    let size = settings.count("key_dim")?;
    let value_size = if settings.get("value_dim").is_some() { settings.count("value_dim")? } else { size };
    let width = match settings.get("output_shape") {
        None => last_axis(&query)?,
        Some(_) => match settings.integers("output_shape")?.as_slice() {
            [width] if *width > 0 => *width as usize,
            _ => return Err("its output_shape is not taken".into()),
        },
    };
    let q = projected(c, layer, ("query_dense", &query), [heads, size])?;
    let k = projected(c, layer, ("key_dense", &key), [heads, size])?;
    let v = projected(c, layer, ("value_dense", &value), [heads, value_size])?;
    let [y, scores] = attend(c, [&q, &v, &k], size, inputs.flag("use_causal_mask"))?;
    let y = gathered(c, layer, &y, [heads, value_size, width])?;
    Ok(if inputs.flag("return_attention_scores") { vec![y, scores] } else { vec![y] })
}

/// What all heads give, as one.
fn gathered(c: &mut Converter<'_>, layer: &Layer<'_>, x: &Traced, [heads, size, width]: [usize; 3]) -> Step {
    let shape = [Some(heads), Some(size), Some(width)];
    let kernel = c.weight(layer, "output_dense/vars/0", &shape)?;
    let has_bias = layer.settings().flag("use_bias", true);
    let bias = c.weight_if(has_bias, layer, "output_dense/vars/1", &[Some(width)])?;
    let y = c.target.einsum("bqnh,nhm->bqm", &[x, &kernel])?;
    c.biased(y, bias.as_ref())
}

/// Ainslie et al., GQA (2023): several heads of queries share one of keys and values.
fn grouped(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    refuse_forms(layer)?;
    let settings = layer.settings();
    let [query, value, key] = three(c, inputs)?;
    let size = settings.count("head_dim")?;
    let (heads, shared) = (settings.count("num_query_heads")?, settings.count("num_key_value_heads")?);
    if !heads.is_multiple_of(shared) {
        return Err(format!("{heads} heads share {shared}").into());
    }
    let q = projected(c, layer, ("_query_dense", &query), [heads, size])?;
    let k = projected(c, layer, ("_key_dense", &key), [shared, size])?;
    let v = projected(c, layer, ("_value_dense", &value), [shared, size])?;
    let times = (heads / shared) as i64;
    let (k, v) = (shape::repeated(c, &k, 2, times)?, shape::repeated(c, &v, 2, times)?);
    let [y, _] = attend(c, [&q, &v, &k], size, inputs.flag("use_causal_mask"))?;
    let kernel =
        c.weight(layer, "_output_dense/vars/0", &[Some(heads), Some(size), Some(last_axis(&query)?)])?;
    let has_bias = settings.flag("use_bias", true);
    let bias = c.weight_if(has_bias, layer, "_output_dense/vars/1", &[Some(last_axis(&query)?)])?;
    let y = c.target.einsum("bqnh,nhm->bqm", &[&y, &kernel])?;
    one(c.biased(y, bias.as_ref())?)
}

/// Query, value and key of a list, which are not projected.
fn listed(c: &mut Converter<'_>, inputs: &Inputs) -> Step<[Traced; 3]> {
    let tensors = inputs.tensors();
    let (query, value, key) = match tensors.as_slice() {
        [query, value] => (*query, *value, *value),
        [query, value, key] => (*query, *value, *key),
        _ => return Err("it takes a query, a value and a key".into()),
    };
    if [query, value, key].iter().any(|tensor| tensor.rank() != 3) {
        return Err("it takes something else than sequences".into());
    }
    Ok([c.float(query)?, c.float(value)?, c.float(key)?])
}

fn weighed(c: &mut Converter<'_>, scores: &Traced, value: &Traced, causal: bool) -> Step<Vec<Traced>> {
    let scores = if causal { masked(c, scores)? } else { scores.clone() };
    let weights = softmax(c, &scores, &[-1])?;
    one(c.target.matmul(&weights, value)?)
}

fn plain(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let [query, value, key] = listed(c, inputs)?;
    let scale = c.weight_if(settings.flag("use_scale", false), layer, "vars/0", &[])?;
    let causal = inputs.flag("use_causal_mask");
    if settings.text("score_mode", "dot") == "dot" {
        let mut scores = c.target.einsum("bqh,bkh->bqk", &[&query, &key])?;
        if let Some(scale) = &scale {
            scores = c.target.binary("Mul", &scores, scale)?;
        }
        return weighed(c, &scores, &value, causal);
    }
    let name = if scale.is_some() { "vars/1" } else { "vars/0" };
    let weight = c.weight(layer, name, &[])?;
    let sums = pairs(c, &query, &key)?;
    let scaled = match &scale {
        Some(scale) => c.target.binary("Mul", &sums, scale)?,
        None => sums,
    };
    let tanh = c.target.unary("Tanh", &scaled)?;
    let scores = c.target.reduce("ReduceSum", &tanh, &[3], false)?;
    let scores = c.target.binary("Mul", &scores, &weight)?;
    weighed(c, &scores, &value, causal)
}

/// The sum of each query with each key: `[batch, queries, keys, width]`.
fn pairs(c: &mut Converter<'_>, query: &Traced, key: &Traced) -> Step {
    let (query, key) = (c.target.unsqueeze(query, &[2])?, c.target.unsqueeze(key, &[1])?);
    c.target.binary("Add", &query, &key)
}

fn additive(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let [query, value, key] = listed(c, inputs)?;
    let width = query.shape.last().and_then(Dim::size);
    let scale = c.weight_if(layer.settings().flag("use_scale", true), layer, "vars/0", &[width])?;
    let sums = pairs(c, &query, &key)?;
    let mut tanh = c.target.unary("Tanh", &sums)?;
    if let Some(scale) = &scale {
        tanh = c.target.binary("Mul", scale, &tanh)?;
    }
    let scores = c.target.reduce("ReduceSum", &tanh, &[3], false)?;
    weighed(c, &scores, &value, inputs.flag("use_causal_mask"))
}
