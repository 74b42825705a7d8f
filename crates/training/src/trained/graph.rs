//! From weights and fitted processors to an operator graph: what the processors do in f32, then the layers under
//! the names Keras gives them.

use artifact::graph::{Graph, GraphBuilder, Value};
use market::{FittedProcessors, NanPolicy};
use predictor::{DataType, Tensor};

use super::DenseWeights;
use crate::{Activation, Error};

/// The graph from raw `features` to `probabilities`.
pub(super) fn build(layers: &[DenseWeights], processors: &FittedProcessors) -> Result<Graph, Error> {
    let columns = layers.first().map_or(0, |layer| layer.shape[0]);
    for scaled in [processors.fill.len(), processors.center.len(), processors.scale.len()] {
        if scaled != columns {
            return Err(Error::Processors { processors: scaled, network: columns });
        }
    }
    let mut graph = GraphBuilder::new();
    let features = graph.input("features", DataType::Float32, vec![None, Some(columns)])?;
    let mut x = process(&mut graph, features, processors)?;
    for (at, layer) in layers.iter().enumerate() {
        let name = if at == 0 { "dense".to_owned() } else { format!("dense_{at}") };
        x = dense(&mut graph, &name, x, layer)?;
    }
    graph.output("probabilities", x)?;
    Ok(graph.build()?)
}

/// The nodes of [`FittedProcessors::apply`], in its order.
fn process(graph: &mut GraphBuilder, features: Value, processors: &FittedProcessors) -> Result<Value, Error> {
    let mut x = features;
    if processors.nan_policy == NanPolicy::Fill {
        let missing = graph.is_nan("processors/missing", x)?;
        let fill = graph.constant("processors/fill", vector(&processors.fill)?)?;
        x = graph.select("processors/filled", missing, fill, x)?;
    }
    let center = graph.constant("processors/center", vector(&processors.center)?)?;
    x = graph.sub("processors/centered", x, center)?;
    let scale = graph.constant("processors/scale", vector(&processors.scale)?)?;
    x = graph.div("processors/scaled", x, scale)?;
    match processors.clip {
        Some(clip) => Ok(graph.clip("processors/clipped", x, -clip, clip)?),
        None => Ok(x),
    }
}

fn dense(graph: &mut GraphBuilder, name: &str, x: Value, layer: &DenseWeights) -> Result<Value, Error> {
    let kernel = graph.variable(&format!("{name}/kernel"), tensor(layer.shape.to_vec(), &layer.kernel)?)?;
    let bias = graph.variable(&format!("{name}/bias"), vector(&layer.bias)?)?;
    let product = graph.matmul(&format!("{name}/MatMul"), x, kernel)?;
    let sums = graph.add(&format!("{name}/BiasAdd"), product, bias)?;
    Ok(match layer.activation {
        Activation::Linear => sums,
        Activation::Relu => graph.relu(&format!("{name}/Relu"), sums)?,
        Activation::Tanh => graph.tanh(&format!("{name}/Tanh"), sums)?,
        Activation::Sigmoid => graph.sigmoid(&format!("{name}/Sigmoid"), sums)?,
        Activation::Softmax => graph.softmax(&format!("{name}/Softmax"), sums)?,
    })
}

fn vector(values: &[f32]) -> Result<Tensor, Error> {
    tensor(vec![values.len()], values)
}

fn tensor(shape: Vec<usize>, values: &[f32]) -> Result<Tensor, Error> {
    Ok(Tensor::float32(shape, values.to_vec())?)
}
