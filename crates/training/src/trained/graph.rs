//! From weights and fitted processors to an operator graph: what the processors do in f32, then the layers under
//! the names Keras gives them.

use artifact::graph::{Graph, GraphBuilder, Value};
use market::{ColumnStep, FittedProcessors};
use predictor::{DataType, Tensor};

use super::DenseWeights;
use crate::{Activation, Error};

/// The graph from raw `features` to `probabilities`.
pub(super) fn build(layers: &[DenseWeights], processors: &FittedProcessors) -> Result<Graph, Error> {
    let columns = layers.first().map_or(0, |layer| layer.shape[0]);
    let sizes = processors.steps.iter().flat_map(ColumnStep::sizes).chain([processors.columns]);
    if let Some(other) = sizes.into_iter().find(|size| *size != columns) {
        return Err(Error::Processors { processors: other, network: columns });
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
    let mut taken = std::collections::BTreeMap::<&str, usize>::new();
    for step in &processors.steps {
        // The names of a second step of a kind end with its number.
        let mut name = |part: &'static str| {
            let count = taken.entry(part).and_modify(|count| *count += 1).or_insert(0);
            if *count == 0 { format!("processors/{part}") } else { format!("processors/{part}_{count}") }
        };
        x = match step {
            ColumnStep::Fill { values } => {
                let missing = graph.is_nan(&name("missing"), x)?;
                let fill = graph.constant(&name("fill"), vector(values)?)?;
                graph.select(&name("filled"), missing, fill, x)?
            }
            ColumnStep::Scale { center, scale } => {
                let center = graph.constant(&name("center"), vector(center)?)?;
                let centered = graph.sub(&name("centered"), x, center)?;
                let scale = graph.constant(&name("scale"), vector(scale)?)?;
                graph.div(&name("scaled"), centered, scale)?
            }
            ColumnStep::Clip { limit } => graph.clip(&name("clipped"), x, -limit, *limit)?,
            ColumnStep::Tanh => {
                let one = graph.constant(&name("one"), vector(&vec![1.0; processors.columns])?)?;
                let less = graph.sub(&name("less_one"), x, one)?;
                graph.tanh(&name("tanh"), less)?
            }
        };
    }
    Ok(x)
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
