//! `residual`: `activation(x + f(x))`, where `f` is layers in a row (He et al. 2016, "Deep Residual Learning for Image
//! Recognition", equations 1 and 2). Where `f` changes the width, `x` goes through a product without activation first:
//! a dense layer, which for sequences is a convolution over one step.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{DenseConfig, Export, Layer, LayerKind, ParameterSpec, Pass, Shape, Value, only, single};
use crate::Error;
use crate::activation::Activation;

/// Fewer than `pass` has numbers for.
const LAYERS_MAX: usize = 256;

/// Layers in a row, and their input added to their result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResidualConfig {
    /// The layers, each of one input: `[{ type = "dense", units = 64 }]`.
    pub layers: Vec<LayerKind>,
    /// What is done to the sum; nothing by default.
    #[serde(default)]
    pub activation: Activation,
}

/// A layer in its place.
struct Child {
    name: String,
    layer: Box<dyn Layer>,
    input: Shape,
    output: Shape,
    /// Its parameters among those of all.
    parameters: Range<usize>,
}

impl Child {
    fn parameters(&self) -> Vec<ParameterSpec> {
        let named = |mut spec: ParameterSpec| {
            spec.name = format!("{}/{}", self.name, spec.name);
            spec
        };
        self.layer.parameters(&[&self.input]).into_iter().map(named).collect()
    }
}

/// The layers connected.
struct Plan {
    children: Vec<Child>,
    projection: Option<Child>,
    output: Shape,
}

impl Plan {
    fn all(&self) -> impl Iterator<Item = &Child> {
        self.children.iter().chain(&self.projection)
    }
}

impl ResidualConfig {
    /// Of layers, without an activation of the sum.
    pub fn new(layers: Vec<LayerKind>) -> Self {
        Self { layers, activation: Activation::Linear }
    }

    fn plan(&self, input: &Shape) -> Result<Plan, String> {
        let mut taken = BTreeMap::<&str, usize>::new();
        let mut children = Vec::with_capacity(self.layers.len());
        let (mut shape, mut first) = (input.clone(), 0);
        for (at, kind) in self.layers.iter().enumerate() {
            let count = taken.entry(kind.type_name()).and_modify(|count| *count += 1).or_insert(0);
            let name = match *count {
                0 => kind.type_name().to_owned(),
                n => format!("{}_{n}", kind.type_name()),
            };
            let layer = kind.layer();
            let output =
                layer.output(&[&shape]).map_err(|reason| format!("layers[{at}] ({name}): {reason}"))?;
            let parameters = first..first + layer.parameters(&[&shape]).len();
            first = parameters.end;
            children.push(Child { name, layer, input: shape, output: output.clone(), parameters });
            shape = output;
        }
        let without_width = |shape: &Shape| shape.split_last().map(|(_, others)| others.to_vec());
        if without_width(input) != without_width(&shape) {
            return Err(format!(
                "its layers make {shape:?} of {input:?}, which cannot be added; only the last axis may change (padding = \"causal\" or \"same\" keeps the steps)"
            ));
        }
        let projection = (input != &shape).then(|| {
            let units = shape.last().copied().unwrap_or_default();
            let layer = Box::new(DenseConfig::new(units, Activation::Linear));
            let parameters = first..first + layer.parameters(&[input]).len();
            let (name, input, output) = ("projection".to_owned(), input.clone(), shape.clone());
            Child { name, layer, input, output, parameters }
        });
        Ok(Plan { children, projection, output: shape })
    }

    fn checked(&self, input: &Shape) -> Plan {
        self.plan(input).expect("the network was checked with this input")
    }
}

impl Layer for ResidualConfig {
    fn check(&self) -> Result<(), String> {
        if !(1..=LAYERS_MAX).contains(&self.layers.len()) {
            let names: Vec<&str> = self.layers.iter().map(LayerKind::type_name).collect();
            return Err(format!("layers is {names:?}; it must have a layer, and at most {LAYERS_MAX}"));
        }
        for (at, kind) in self.layers.iter().enumerate() {
            kind.layer().check().map_err(|reason| format!("layers[{at}].{reason}"))?;
        }
        self.activation.check()
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        Ok(self.plan(single(inputs)?)?.output)
    }

    fn parameters(&self, inputs: &[&Shape]) -> Vec<ParameterSpec> {
        self.checked(inputs[0]).all().flat_map(Child::parameters).collect()
    }

    fn forward(&self, inputs: Vec<Value>, pass: &mut Pass<'_>) -> Value {
        let x = only(inputs);
        let plan = self.checked(&x.shape());
        let mut value = x.clone();
        for (at, child) in plan.children.iter().enumerate() {
            value = pass.within(at, child.parameters.clone(), |pass| child.layer.forward(vec![value], pass));
        }
        let shortcut = match &plan.projection {
            Some(child) => {
                let at = plan.children.len();
                pass.within(at, child.parameters.clone(), |pass| child.layer.forward(vec![x], pass))
            }
            None => x,
        };
        let sum = match (shortcut, value) {
            (Value::Rows(x), Value::Rows(more)) => Value::Rows(x + more),
            (x, more) => Value::Sequence(x.sequence() + more.sequence()),
        };
        self.activation.forward(sum)
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let shape = export.graph.shape(inputs[0]).cloned().unwrap_or_default();
        let plan = self.checked(&shape.into_iter().skip(1).flatten().collect());
        let mut value = inputs[0];
        for child in &plan.children {
            let parameters = child.parameters.clone();
            value = export.within(&child.name, parameters, |export| child.layer.export(&[value], export))?;
        }
        let shortcut = match &plan.projection {
            Some(child) => export.within(&child.name, child.parameters.clone(), |export| {
                child.layer.export(&[inputs[0]], export)
            })?,
            None => inputs[0],
        };
        let name = export.name("Add");
        let sum = export.graph.add(&name, shortcut, value)?;
        self.activation.export(sum, export)
    }

    fn without_activation(&self) -> Option<(Activation, Box<dyn Layer>)> {
        Some((self.activation, Box::new(Self { activation: Activation::Linear, ..self.clone() })))
    }

    fn scratch(&self, inputs: &[&Shape], output: &Shape) -> usize {
        let plan = self.checked(inputs[0]);
        let inner: usize = plan.all().map(|child| child.layer.scratch(&[&child.input], &child.output)).sum();
        inner + 2 * output.iter().product::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;
    use serde_json::json;

    use super::super::testing::{check, layer, product, refusal};
    use super::super::{Fitting, Leaf};
    use super::*;
    use crate::trained::elements;

    /// `x @ kernel + bias`.
    fn dense(x: &[f64], kernel: &[f64], bias: &[f64], inner: usize) -> Vec<f64> {
        let sums = product(x, kernel, inner, bias.len());
        sums.iter().enumerate().map(|(at, sum)| sum + bias[at % bias.len()]).collect()
    }

    #[test]
    fn it_adds_its_input_to_what_its_layers_make_of_it() {
        let keys = json!({
            "layers": [{"type": "dense", "units": 4, "activation": "tanh"}, {"type": "dense", "units": 3}],
            "activation": "sigmoid",
        });
        let reference = |weights: &[Vec<f64>], inputs: &[Vec<f64>], _: bool| {
            let hidden: Vec<f64> =
                dense(&inputs[0], &weights[0], &weights[1], 3).iter().map(|x| x.tanh()).collect();
            let more = dense(&hidden, &weights[2], &weights[3], 4);
            inputs[0].iter().zip(more).map(|(x, more)| 1.0 / (1.0 + (-x - more).exp())).collect()
        };
        check(layer("residual", keys.clone()), &[&[3]], &reference);
        check(layer("residual", keys), &[&[2, 3]], &reference);
    }

    #[test]
    fn another_width_is_projected_to() {
        let keys = json!({
            "layers": [{"type": "batch_normalization"}, {"type": "dense", "units": 2}],
        });
        let reference = |weights: &[Vec<f64>], inputs: &[Vec<f64>], fitting: bool| {
            let x = &inputs[0];
            let rows = x.len() / 3;
            let one = |(at, value): (usize, &f64)| {
                let c = at % 3;
                let (mut mean, mut variance) = (weights[2][c], weights[3][c]);
                if fitting {
                    mean = (0..rows).map(|row| x[row * 3 + c]).sum::<f64>() / rows as f64;
                    variance =
                        (0..rows).map(|row| (x[row * 3 + c] - mean).powi(2)).sum::<f64>() / rows as f64;
                }
                (value - mean) / (variance + 1e-3).sqrt() * weights[0][c] + weights[1][c]
            };
            let normal: Vec<f64> = x.iter().enumerate().map(one).collect();
            let more = dense(&normal, &weights[4], &weights[5], 3);
            let shortcut = dense(x, &weights[6], &weights[7], 3);
            more.iter().zip(shortcut).map(|(a, b)| a + b).collect()
        };
        check(layer("residual", keys), &[&[2, 3]], &reference);
    }

    #[test]
    fn inner_layers_have_names_places_and_random_numbers_of_their_own() {
        let keys = json!({"layers": [
            {"type": "dropout", "rate": 0.5},
            {"type": "residual", "layers": [{"type": "dropout", "rate": 0.5}, {"type": "batch_normalization"}]},
            {"type": "dense", "units": 64},
            {"type": "dense", "units": 64, "use_bias": false},
        ]});
        let residual = layer("residual", keys);
        let names: Vec<String> =
            residual.parameters(&[&vec![64]]).into_iter().map(|spec| spec.name).collect();
        assert_eq!(
            names,
            [
                "residual/batch_normalization/gamma",
                "residual/batch_normalization/beta",
                "residual/batch_normalization/moving_mean",
                "residual/batch_normalization/moving_variance",
                "dense/kernel",
                "dense/bias",
                "dense_1/kernel",
            ]
        );
        let device = crate::device::open_for_tests();
        let leaves: Vec<Leaf> = residual
            .parameters(&[&vec![64]])
            .iter()
            .map(|spec| Leaf::new(&vec![0.0; spec.len()], &spec.shape, false, &device))
            .collect();
        let mut pass = Pass::new(&device, Some(Fitting { seed: 1, step: 0 }));
        pass.enter(0, 20, &leaves);
        residual.forward(vec![Value::Rows(Tensor::ones([3, 64], &device))], &mut pass);
        let places: Vec<usize> = pass.into_updates().iter().map(|(at, _)| *at).collect();
        assert_eq!(places, [22, 23]);

        // With the same numbers both dropouts would leave out the same half.
        let twice = layer(
            "residual",
            json!({"layers": [{"type": "dropout", "rate": 0.5}, {"type": "dropout", "rate": 0.5}]}),
        );
        let mut pass = Pass::new(&device, Some(Fitting { seed: 1, step: 0 }));
        pass.enter(0, 0, &[]);
        let output = twice.forward(vec![Value::Rows(Tensor::ones([100, 100], &device))], &mut pass);
        let kept = elements(output.rows()).iter().filter(|x| **x > 4.0).count() as f64 / 1e4;
        assert!((kept - 0.25).abs() < 0.02, "{kept}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |keys| refusal("residual", keys, &[&[7, 2]]);
        assert_eq!(refused(json!({"layers": []})), "layers is []; it must have a layer, and at most 256");
        assert_eq!(
            refused(json!({"layers": [{"type": "dense", "units": 0}]})),
            "layers[0].units is 0; it must be between 1 and 65536"
        );
        assert!(refused(json!({"layers": [{"type": "dens"}]})).contains("did you mean \"dense\"?"));
        assert!(
            refused(json!({"layers": [{"type": "flatten"}, {"type": "last_step"}]}))
                .starts_with("layers[1] (last_step): it takes a sequence [steps, channels], got [14]")
        );
        assert!(
            refused(json!({"layers": [{"type": "conv1d", "filters": 2, "kernel_size": 3}]}))
                .starts_with("its layers make [5, 2] of [7, 2], which cannot be added")
        );
    }
}
