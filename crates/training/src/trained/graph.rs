//! From weights and fitted processors to an operator graph: what the processors do in f32, then the layers under
//! the names Keras gives them.

use artifact::graph::{Graph, GraphBuilder, Value};
use market::{ColumnStep, FittedProcessors};
use predictor::{DataType, Tensor};

use super::Weight;
use crate::Error;
use crate::layer::Export;
use crate::network::{Input, Network, Source};

/// The graph from raw `features` to the outputs.
pub(super) fn build(network: &Network, weights: &[Weight], processors: &FittedProcessors) -> Result<Graph, Error> {
    let columns = network.columns();
    let sizes = processors.steps.iter().flat_map(ColumnStep::sizes).chain([processors.columns]);
    if let Some(other) = sizes.into_iter().find(|size| *size != columns) {
        return Err(Error::Processors { processors: other, network: columns });
    }
    let mut graph = GraphBuilder::new();
    let features = graph.input("features", DataType::Float32, vec![None, Some(columns)])?;
    let x = process(&mut graph, features, processors)?;
    let inputs =
        network.inputs.iter().map(|input| chosen(&mut graph, x, input)).collect::<Result<Vec<_>, _>>()?;
    let mut values: Vec<Value> = Vec::with_capacity(network.nodes.len());
    for node in &network.nodes {
        let arguments: Vec<Value> = node
            .sources
            .iter()
            .map(|source| match *source {
                Source::Input(at) => inputs[at],
                Source::Node(at) => values[at],
            })
            .collect();
        let mut export = Export::new(&mut graph, &node.name, &weights[node.parameters.clone()]);
        values.push(node.layer.export(&arguments, &mut export)?);
    }
    for head in &network.outputs {
        graph.output(&head.name, values[head.node])?;
    }
    Ok(graph.build()?)
}

/// The columns an input takes, as runs of neighbours put end to end, in its shape.
fn chosen(graph: &mut GraphBuilder, features: Value, input: &Input) -> Result<Value, Error> {
    let mut x = features;
    if let Some(columns) = &input.columns {
        let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
        for &column in columns {
            match runs.last_mut() {
                Some(run) if run.end == column => run.end += 1,
                _ => runs.push(column..column + 1),
            }
        }
        let parts = runs.into_iter().enumerate().map(|(at, run)| {
            graph.slice(&format!("inputs/{}/columns_{at}", input.name), features, 1, run)
        });
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        x = match parts[..] {
            [whole] => whole,
            _ => graph.concat(&format!("inputs/{}/columns", input.name), &parts, 1)?,
        };
    }
    if input.shape.len() > 1 {
        x = graph.reshape(&format!("inputs/{}/steps", input.name), x, &input.shape)?;
    }
    Ok(x)
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

fn vector(values: &[f32]) -> Result<Tensor, Error> {
    Ok(Tensor::float32(vec![values.len()], values.to_vec())?)
}
