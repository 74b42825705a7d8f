//! What a network is before it is fitted: layers, shapes, parameters, and the memory a fit will take.

use serde::Serialize;

use crate::config::{ModelConfig, OutputConfig};
use crate::network::{Network, Source};
use crate::sample::Columns;
use crate::{Error, FitConfig};

/// One layer of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerSummary {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Names of the layers or inputs it takes.
    pub inputs: Vec<String>,
    /// The shape of its result for one row.
    pub output_shape: Vec<usize>,
    /// Numbers it holds.
    pub parameters: usize,
    /// Of these, how many gradients change.
    pub trainable: usize,
}

/// A network and what fitting it takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Names and shapes of the inputs, for one row.
    pub inputs: Vec<(String, Vec<usize>)>,
    /// The layers, in the order they are computed.
    pub layers: Vec<LayerSummary>,
    /// Names and units of the outputs.
    pub outputs: Vec<(String, usize)>,
    /// Numbers of the network.
    pub parameters: usize,
    /// Of these, how many gradients change.
    pub trainable: usize,
    /// Bytes of weights, gradients and the state of the optimizer.
    pub weights_bytes: u64,
    /// Bytes of the activations of one batch and their gradients.
    pub batch_bytes: u64,
}

impl Summary {
    /// Builds the network without computing anything.
    ///
    /// # Errors
    /// What the configuration refuses.
    pub fn new(
        model: &ModelConfig,
        output: OutputConfig,
        columns: &Columns,
        fit: &FitConfig,
    ) -> Result<Self, Error> {
        fit.check()?;
        let network = Network::build(&model.written_out(output)?, columns)?;
        let layers: Vec<LayerSummary> = network
            .nodes
            .iter()
            .map(|node| {
                let parameters = &network.parameters[node.parameters.clone()];
                LayerSummary {
                    name: node.name.clone(),
                    type_name: node.type_name.to_owned(),
                    inputs: node.sources.iter().map(|source| network.source_name(*source)).collect(),
                    output_shape: node.shape.clone(),
                    parameters: parameters.iter().map(|spec| spec.len()).sum(),
                    trainable: parameters.iter().filter(|spec| spec.trainable).map(|spec| spec.len()).sum(),
                }
            })
            .collect();
        let parameters = layers.iter().map(|layer| layer.parameters).sum();
        let trainable: usize = layers.iter().map(|layer| layer.trainable).sum();
        let scratch: usize = network.nodes.iter().map(|node| node.scratch).sum::<usize>() + columns.len();
        Ok(Self {
            inputs: network.inputs.iter().map(|input| (input.name.clone(), input.shape.clone())).collect(),
            layers,
            outputs: network.outputs.iter().map(|head| (head.name.clone(), head.units)).collect(),
            parameters,
            trainable,
            // The weights twice (the fit's and the batch's), gradients, and two numbers of an optimizer like Adam.
            weights_bytes: 4 * (2 * parameters + 3 * trainable) as u64,
            // Values are kept for the way back, and their gradients live beside them.
            batch_bytes: 4 * 2 * (fit.batch_size as u64) * scratch as u64,
        })
    }
}

impl Network {
    fn source_name(&self, source: Source) -> String {
        match source {
            Source::Input(at) => self.inputs[at].name.clone(),
            Source::Node(at) => self.nodes[at].name.clone(),
        }
    }
}
