//! Random numbers: they become inputs of the model, so that the same numbers give the same answer, on every engine and
//! in a golden sample. Where a caller gives none, they are drawn from a seed.

use predictor::DataType;

use super::{Entry, Inputs, one};
use crate::format::saved_model::read::convert::{Converter, Sampled};
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::Value;
use crate::import::Distribution;

pub(super) const TABLE: &[Entry] = &[
    ("RandomStandardNormal", |c, node, x| sampler(c, node, x, NORMAL)),
    ("StatelessRandomNormal", |c, node, x| sampler(c, node, x, NORMAL)),
    ("StatelessRandomNormalV2", |c, node, x| sampler(c, node, x, NORMAL)),
    ("RandomUniform", |c, node, x| sampler(c, node, x, UNIFORM)),
    ("StatelessRandomUniform", |c, node, x| sampler(c, node, x, UNIFORM)),
    ("StatelessRandomUniformV2", |c, node, x| sampler(c, node, x, UNIFORM)),
    ("TruncatedNormal", |c, node, x| sampler(c, node, x, TRUNCATED)),
    ("StatelessTruncatedNormal", |c, node, x| sampler(c, node, x, TRUNCATED)),
    ("StatelessTruncatedNormalV2", |c, node, x| sampler(c, node, x, TRUNCATED)),
];

/// What an input is called, and what it takes, here and in words.
type Drawn = (&'static str, Distribution, &'static str);

const NORMAL: Drawn = ("sampler_normal", Distribution::Normal, "of the standard normal distribution");
const UNIFORM: Drawn = ("sampler_uniform", Distribution::Uniform, "from 0 to 1, evenly distributed");
const TRUNCATED: Drawn = (
    "sampler_truncated_normal",
    Distribution::TruncatedNormal,
    "of the standard normal distribution, none farther than 2 from 0",
);

/// Whether an operator draws numbers: of its inputs, only the shape is looked at, and what leads to its seed is not.
pub(in super::super) fn draws(op: &str) -> bool {
    TABLE.iter().any(|(name, _)| *name == op)
}

fn sampler(
    c: &mut Converter,
    node: Node,
    x: &[Value],
    (name, distribution, numbers): Drawn,
) -> Step<Vec<Value>> {
    let shape = x.sizes(0)?;
    let dtype = node.dtype("dtype", DataType::Float32)?;
    let rows = shape.first().zip(c.batch.as_ref()).is_some_and(|(first, batch)| first == batch);
    if !rows || shape[1..].iter().any(|axis| axis.size().is_none()) {
        let sizes: Vec<String> =
            shape.iter().map(|axis| axis.known().map_or("?".to_owned(), |size| size.to_string())).collect();
        let reason = format!(
            "it draws random numbers of the shape [{}], which is not so many for each row; pass the noise as an input of the model",
            sizes.join(", ")
        );
        return Err(reason.into());
    }
    let (name, input) = c.target.further_input(name, dtype, shape);
    c.notes.insert(format!("the model draws random numbers; the input \"{name}\" takes them: {numbers}; left out, they are drawn from a seed"));
    c.samplers.push(Sampled { name, tensor: input.clone(), distribution });
    one(input)
}
