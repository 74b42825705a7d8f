//! Layers connected: shapes checked from the inputs on, parameters laid out in one list, and a batch sent through.

use burn::tensor::{Device, Tensor, TensorData};

use crate::activation::Activation;
use crate::config::{InputConfig, ModelConfig};
use crate::layer::{Fitting, Layer, Leaf, ParameterSpec, Pass, Shape, Value};
use crate::sample::Columns;
use crate::seed::{Generator, Purpose};
use crate::trained::Weight;
use crate::{Error, LayerKind};

const PARAMETERS_MAX: usize = 1 << 28;

/// A checked network. It holds no numbers: those are a list of [`Weight`].
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) inputs: Vec<Input>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) outputs: Vec<Head>,
    pub(crate) parameters: Vec<ParameterSpec>,
    columns: usize,
    /// How many layers use the value of each.
    uses: Vec<usize>,
}

/// What of a row of features an input takes.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) name: String,
    /// The columns, in the order the input has them; none if it is the whole row.
    pub(crate) columns: Option<Vec<usize>>,
    pub(crate) shape: Shape,
}

/// Where a layer's input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Input(usize),
    Node(usize),
}

/// A layer in its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) type_name: &'static str,
    pub(crate) layer: Box<dyn Layer>,
    pub(crate) sources: Vec<Source>,
    pub(crate) shape: Shape,
    /// Its parameters among those of the network.
    pub(crate) parameters: std::ops::Range<usize>,
    /// Numbers kept for one row while fitting.
    pub(crate) scratch: usize,
}

/// An output.
#[derive(Debug)]
pub(crate) struct Head {
    /// The name callers see.
    pub(crate) name: String,
    pub(crate) node: usize,
    pub(crate) units: usize,
    /// Its last activation and the layer without it.
    without: Option<(Activation, Box<dyn Layer>)>,
}

impl Head {
    /// The activation that can be taken off.
    pub(crate) fn activation(&self) -> Activation {
        self.without.as_ref().map_or(Activation::Linear, |(activation, _)| *activation)
    }
}

impl Network {
    /// Connects the layers of a configuration for rows of these columns.
    ///
    /// # Errors
    /// [`Error::Config`] for a value that cannot be; [`Error::Layer`] naming the layer whose inputs do not fit.
    pub(crate) fn build(config: &ModelConfig, columns: &Columns) -> Result<Self, Error> {
        config.check()?;
        let mut network = Self {
            inputs: inputs(&config.inputs, columns)?,
            nodes: Vec::new(),
            outputs: Vec::new(),
            parameters: Vec::new(),
            columns: columns.len(),
            uses: Vec::new(),
        };
        let mut taken = Names::default();
        let mut last = Source::Input(0);
        for (at, layer) in config.layers.iter().enumerate() {
            let name = taken.name(&layer.kind, layer.name.as_deref(), at)?;
            let sources = if layer.inputs.is_empty() {
                if at == 0 && network.inputs.len() > 1 {
                    let message = "there are several inputs; say which with inputs = [..]";
                    return Err(Error::Layer { layer: name, reason: message.to_owned() });
                }
                vec![last]
            } else {
                let find = |input: &String| network.find(input, &name);
                layer.inputs.iter().map(find).collect::<Result<_, _>>()?
            };
            last = network.push(name, &layer.kind, sources)?;
        }
        network.heads(&config.outputs)?;
        let count: usize = network.parameters.iter().map(ParameterSpec::len).sum();
        if count > PARAMETERS_MAX {
            return Err(crate::config::config(
                "the number of weights of model.layers",
                &count,
                format!("it must be between 1 and {PARAMETERS_MAX}"),
            ));
        }
        Ok(network)
    }

    /// The parameters that gradients change.
    pub(crate) fn trainable(&self) -> impl Iterator<Item = &ParameterSpec> {
        self.parameters.iter().filter(|spec| spec.trainable)
    }

    /// How many features a row has.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// The weights a fit starts from.
    pub(crate) fn fresh(&self, seed: u64) -> Vec<Weight> {
        let mut generator = Generator::new(seed, Purpose::Weights);
        let weight = |spec: &ParameterSpec| Weight {
            name: spec.name.clone(),
            shape: spec.shape.clone(),
            values: spec.initializer.draw(&mut generator, spec.len()),
        };
        self.parameters.iter().map(weight).collect()
    }

    /// The weights of this network among those of any, by name.
    ///
    /// # Errors
    /// [`Error::Weights`], naming the first that is not there or has another shape.
    pub(crate) fn chosen(&self, weights: &[Weight]) -> Result<Vec<Weight>, Error> {
        let find = |spec: &ParameterSpec| {
            let named = weights.iter().find(|weight| weight.name == spec.name);
            match named {
                Some(weight) if weight.shape == spec.shape => Ok(weight.clone()),
                other => Err(Error::Weights {
                    expected: format!("{} {:?}", spec.name, spec.shape),
                    got: other
                        .map_or("nothing of that name".to_owned(), |weight| format!("{:?}", weight.shape)),
                }),
            }
        };
        self.parameters.iter().map(find).collect()
    }

    /// The weights on a device.
    pub(crate) fn leaves(&self, weights: &[Weight], device: &Device) -> Vec<Leaf> {
        let leaf = |(spec, weight): (&ParameterSpec, &Weight)| {
            Leaf::new(&weight.values, &spec.shape, spec.trainable && device.is_autodiff(), device)
        };
        self.parameters.iter().zip(weights).map(leaf).collect()
    }

    /// The outputs `[batch, units]` of rows, and what layers want to become of parameters that gradients do not
    /// change. `take_off[head]` leaves the last activation of a head out.
    pub(crate) fn forward(&self, call: &Call<'_>) -> Forward {
        let mut pass = Pass::new(call.device, call.fitting);
        let inputs: Vec<Value> = self.inputs.iter().map(|input| input.value(call)).collect();
        let mut uses = self.uses.clone();
        let mut values: Vec<Option<Value>> = vec![None; self.nodes.len()];
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for (at, node) in self.nodes.iter().enumerate() {
            // A value that nobody needs any more is handed over, so that it can be changed in place.
            let mut take = |source: &Source| match *source {
                Source::Input(input) => inputs[input].clone(),
                Source::Node(from) => {
                    uses[from] -= 1;
                    let value = if uses[from] == 0 { values[from].take() } else { values[from].clone() };
                    value.expect("nodes are in topological order")
                }
            };
            let arguments: Vec<Value> = node.sources.iter().map(&mut take).collect();
            pass.enter(at, node.parameters.start, &call.leaves[node.parameters.clone()]);
            let heads: Vec<(usize, &Head)> =
                self.outputs.iter().enumerate().filter(|(_, head)| head.node == at).collect();
            let bare = heads.iter().find_map(|(index, head)| {
                head.without.as_ref().filter(|_| call.take_off[*index]).map(|(_, layer)| layer)
            });
            let value = match bare {
                Some(layer) => layer.forward(arguments, &mut pass),
                None => node.layer.forward(arguments, &mut pass),
            };
            for (index, _) in &heads {
                outputs.push((*index, value.clone().flat()));
            }
            values[at] = Some(value);
        }
        outputs.sort_by_key(|(index, _)| *index);
        Forward {
            outputs: outputs.into_iter().map(|(_, output)| output).collect(),
            updates: pass.into_updates(),
        }
    }

    fn count_uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        for source in self.nodes.iter().flat_map(|node| &node.sources) {
            if let Source::Node(from) = source {
                uses[*from] += 1;
            }
        }
        uses
    }

    fn shape(&self, source: Source) -> &Shape {
        match source {
            Source::Input(at) => &self.inputs[at].shape,
            Source::Node(at) => &self.nodes[at].shape,
        }
    }

    fn find(&self, name: &str, layer: &str) -> Result<Source, Error> {
        if let Some(at) = self.nodes.iter().position(|node| node.name == name) {
            return Ok(Source::Node(at));
        }
        if let Some(at) = self.inputs.iter().position(|input| input.name == name) {
            return Ok(Source::Input(at));
        }
        let inputs = self.inputs.iter().map(|input| input.name.as_str());
        let known: Vec<&str> = inputs.chain(self.nodes.iter().map(|node| node.name.as_str())).collect();
        let reason = format!("its input \"{name}\" is no layer before it; there are {}", known.join(", "));
        Err(Error::Layer { layer: layer.to_owned(), reason })
    }

    fn push(&mut self, name: String, kind: &LayerKind, sources: Vec<Source>) -> Result<Source, Error> {
        let layer = kind.layer();
        let refused = |reason: String| Error::Layer { layer: name.clone(), reason };
        layer.check().map_err(refused)?;
        let shapes: Vec<&Shape> = sources.iter().map(|source| self.shape(*source)).collect();
        let shape = layer.output(&shapes).map_err(refused)?;
        let scratch = layer.scratch(&shapes, &shape);
        let mut specs = layer.parameters(&shapes);
        for spec in &mut specs {
            spec.name = format!("{name}/{}", spec.name);
        }
        let first = self.parameters.len();
        self.parameters.extend(specs);
        let parameters = first..self.parameters.len();
        let type_name = kind.type_name();
        self.nodes.push(Node { name, type_name, layer, sources, shape, parameters, scratch });
        Ok(Source::Node(self.nodes.len() - 1))
    }

    /// The outputs: those named, or the last layer.
    fn heads(&mut self, names: &[String]) -> Result<(), Error> {
        let last = self.nodes.len() - 1;
        let chosen = if names.is_empty() {
            vec![last]
        } else {
            let find = |name: &String| {
                self.nodes.iter().position(|node| node.name == *name).ok_or_else(|| {
                    let known: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
                    let way_out = format!("it must name layers; there are {}", known.join(", "));
                    crate::config::config("model.outputs", &format!("\"{name}\""), way_out)
                })
            };
            names.iter().map(find).collect::<Result<Vec<_>, _>>()?
        };
        let uses = self.count_uses();
        for node in &chosen {
            let Node { name, shape, layer, .. } = &self.nodes[*node];
            let [units] = shape[..] else {
                let reason = format!(
                    "an output gives [units] for a row, this one gives {shape:?}; end with a layer that keeps the last step, pooling or flatten"
                );
                return Err(Error::Layer { layer: name.clone(), reason });
            };
            // An activation can only be taken off where nobody else sees its result.
            let without = if uses[*node] == 0 { layer.without_activation() } else { None };
            let activation = without.as_ref().map_or(Activation::Linear, |(activation, _)| *activation);
            let public = match (chosen.len(), activation) {
                (1, Activation::Softmax | Activation::Sigmoid) => "probabilities".to_owned(),
                (1, _) => "predictions".to_owned(),
                _ => name.clone(),
            };
            self.outputs.push(Head { name: public, node: *node, units, without });
        }
        if let Some(dead) = (0..self.nodes.len()).find(|at| uses[*at] == 0 && !chosen.contains(at)) {
            let reason = "no layer and no output uses its result; name it in inputs or in model.outputs";
            return Err(Error::Layer { layer: self.nodes[dead].name.clone(), reason: reason.to_owned() });
        }
        self.uses = uses;
        Ok(())
    }
}

/// A batch to send through.
pub(crate) struct Call<'a> {
    pub(crate) leaves: &'a [Leaf],
    pub(crate) device: &'a Device,
    pub(crate) fitting: Option<Fitting>,
    /// Rows of features, row-major.
    pub(crate) features: &'a [f32],
    pub(crate) rows: usize,
    /// For each head, whether its last activation is left out.
    pub(crate) take_off: &'a [bool],
}

/// What came out.
pub(crate) struct Forward {
    /// `[batch, units]` of each head.
    pub(crate) outputs: Vec<Tensor<2>>,
    /// New values of parameters that gradients do not change, by their place.
    pub(crate) updates: Vec<(usize, Tensor<1>)>,
}

impl Input {
    fn value(&self, call: &Call<'_>) -> Value {
        let columns = call.features.len() / call.rows.max(1);
        let width = self.shape.iter().product();
        let values = match &self.columns {
            None => call.features.to_vec(),
            Some(chosen) => {
                let mut values = Vec::with_capacity(call.rows * width);
                for row in call.features.chunks_exact(columns.max(1)) {
                    values.extend(chosen.iter().map(|&column| row[column]));
                }
                values
            }
        };
        match self.shape[..] {
            [steps, channels] => {
                let data = TensorData::new(values, [call.rows, steps, channels]);
                Value::Sequence(Tensor::from_data(data, call.device))
            }
            _ => Value::Rows(Tensor::from_data(TensorData::new(values, [call.rows, width]), call.device)),
        }
    }
}

/// The inputs a configuration asks for; one called `features` if it says nothing.
fn inputs(configs: &[InputConfig], columns: &Columns) -> Result<Vec<Input>, Error> {
    let shape = |width: usize| if columns.steps > 1 { vec![columns.steps, width] } else { vec![width] };
    if configs.is_empty() {
        let width = columns.names.len();
        return Ok(vec![Input { name: "features".to_owned(), columns: None, shape: shape(width) }]);
    }
    let mut inputs = Vec::with_capacity(configs.len());
    for (at, config) in configs.iter().enumerate() {
        let within = config.select(&columns.names, at)?;
        let width = columns.names.len();
        let all = (0..columns.steps).flat_map(|step| within.iter().map(move |column| step * width + column));
        inputs.push(Input {
            name: config.name.clone(),
            columns: Some(all.collect()),
            shape: shape(within.len()),
        });
    }
    Ok(inputs)
}

/// Keras's default names: the type, then with a number.
#[derive(Debug, Default)]
struct Names {
    taken: std::collections::BTreeSet<String>,
    counts: std::collections::BTreeMap<&'static str, usize>,
}

impl Names {
    fn name(&mut self, kind: &LayerKind, given: Option<&str>, at: usize) -> Result<String, Error> {
        let name = match given {
            Some(name) => name.to_owned(),
            None => {
                let count = self.counts.entry(kind.type_name()).or_insert(0);
                let name = match *count {
                    0 => kind.type_name().to_owned(),
                    n => format!("{}_{n}", kind.type_name()),
                };
                *count += 1;
                name
            }
        };
        if !self.taken.insert(name.clone()) {
            let key = format!("model.layers[{at}].name");
            let way_out = "another layer has it; give each a name of its own";
            return Err(crate::config::config(key, &format!("\"{name}\""), way_out));
        }
        Ok(name)
    }
}
