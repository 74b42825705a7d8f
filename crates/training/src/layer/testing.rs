//! What every layer is tested by: its result and its gradients against loops in double precision that share nothing
//! with the tensor library, and its nodes, run by the engine that serves, against its result.

use artifact::engine::load_onnx;
use artifact::format::{Format, onnx::Onnx};
use artifact::graph::GraphBuilder;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use predictor::DataType;

use super::{Export, Fitting, Layer, LayerKind, Leaf, Pass, Shape, Value};
use crate::seed::{Generator, Purpose};
use crate::trained::{Weight, elements};

/// Rows of each batch.
pub(super) const ROWS: usize = 3;

/// What a layer should give: of its parameters and inputs (row-major, with the batch), and whether it is being fitted.
pub(super) type Reference<'a> = &'a dyn Fn(&[Vec<f64>], &[Vec<f64>], bool) -> Vec<f64>;

/// A layer of these keys, read as from a file.
pub(super) fn layer(kind: &str, keys: serde_json::Value) -> Box<dyn Layer> {
    LayerKind::read(kind, keys).unwrap().layer()
}

/// Why keys or inputs are refused.
pub(super) fn refusal(kind: &str, keys: serde_json::Value, inputs: &[&[usize]]) -> String {
    let layer = match LayerKind::read(kind, keys) {
        Ok(kind) => kind.layer(),
        Err(reason) => return reason,
    };
    let shapes: Vec<Shape> = inputs.iter().map(|shape| shape.to_vec()).collect();
    match layer.check() {
        Ok(()) => layer.output(&shapes.iter().collect::<Vec<_>>()).unwrap_err(),
        Err(reason) => reason,
    }
}

/// A layer with weights and a batch.
struct Given {
    layer: Box<dyn Layer>,
    shapes: Vec<Shape>,
    weights: Vec<Weight>,
    trainable: Vec<bool>,
    inputs: Vec<Vec<f32>>,
}

impl Given {
    fn new(layer: Box<dyn Layer>, shapes: &[&[usize]]) -> Self {
        layer.check().unwrap();
        let shapes: Vec<Shape> = shapes.iter().map(|shape| shape.to_vec()).collect();
        let mut generator = Generator::new(5, Purpose::Weights);
        let specs = layer.parameters(&shapes.iter().collect::<Vec<_>>());
        let weights = specs.iter().map(|spec| {
            assert_eq!(spec.initializer.draw(&mut generator, spec.len()).len(), spec.len(), "{}", spec.name);
            // Whatever a parameter is, numbers of which none is special; variances are above 0.
            let shift = if spec.name.ends_with("variance") { 1.0 } else { 0.1 };
            let values = (0..spec.len()).map(|_| generator.symmetric(0.6) + shift).collect();
            Weight { name: format!("it/{}", spec.name), shape: spec.shape.clone(), values }
        });
        let weights = weights.collect();
        let trainable = specs.iter().map(|spec| spec.trainable).collect();
        let inputs = shapes.iter().map(|shape| {
            (0..ROWS * shape.iter().product::<usize>()).map(|_| generator.symmetric(1.5)).collect()
        });
        let inputs = inputs.collect();
        Self { layer, shapes, weights, trainable, inputs }
    }

    fn output(&self) -> Shape {
        self.layer.output(&self.shapes.iter().collect::<Vec<_>>()).unwrap()
    }

    fn values(&self, device: &Device) -> Vec<Value> {
        let value = |(shape, numbers): (&Shape, &Vec<f32>)| {
            let mut axes = vec![ROWS];
            axes.extend(shape);
            let data = TensorData::new(numbers.clone(), axes);
            let recorded = device.is_autodiff();
            match shape.len() {
                1 => Value::Rows(Tensor::from_data(data, device).set_require_grad(recorded)),
                _ => Value::Sequence(Tensor::from_data(data, device).set_require_grad(recorded)),
            }
        };
        self.shapes.iter().zip(&self.inputs).map(value).collect()
    }

    fn leaves(&self, device: &Device) -> Vec<Leaf> {
        let leaf = |(weight, trainable): (&Weight, &bool)| {
            Leaf::new(&weight.values, &weight.shape, *trainable && device.is_autodiff(), device)
        };
        self.weights.iter().zip(&self.trainable).map(leaf).collect()
    }

    /// What the engine makes of the layer's nodes.
    fn served(&self) -> Vec<f32> {
        let mut graph = GraphBuilder::new();
        let mut inputs = Vec::new();
        for (at, shape) in self.shapes.iter().enumerate() {
            let mut axes = vec![None];
            axes.extend(shape.iter().map(|axis| Some(*axis)));
            inputs.push(graph.input(&format!("x{at}"), DataType::Float32, axes).unwrap());
        }
        let output = self.layer.export(&inputs, &mut Export::new(&mut graph, "it", &self.weights)).unwrap();
        graph.output("y", output).unwrap();
        let graph = graph.build().unwrap();
        let (_, model) = Onnx.write(&graph).unwrap().remove(0);
        let engine = load_onnx(model, &graph.signature(), 1).unwrap();
        let tensors = self.shapes.iter().zip(&self.inputs).map(|(shape, numbers)| {
            let mut axes = vec![ROWS];
            axes.extend(shape);
            predictor::Tensor::float32(axes, numbers.clone()).unwrap()
        });
        let outputs = engine.predict(tensors.collect()).unwrap();
        outputs[0].as_float32().unwrap().to_vec()
    }
}

fn flat(value: Value) -> Vec<f32> {
    elements(value.flat())
}

fn gradient_of_leaf(leaf: &Leaf, gradients: &Gradients) -> Vec<f32> {
    match leaf {
        Leaf::One(tensor) => elements(tensor.grad(gradients).unwrap()),
        Leaf::Two(tensor) => elements(tensor.grad(gradients).unwrap()),
        Leaf::Three(tensor) => elements(tensor.grad(gradients).unwrap()),
    }
}

fn gradient_of_value(value: &Value, gradients: &Gradients) -> Vec<f32> {
    match value {
        Value::Rows(tensor) => elements(tensor.grad(gradients).unwrap()),
        Value::Sequence(tensor) => elements(tensor.grad(gradients).unwrap()),
    }
}

fn doubles(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|x| f64::from(*x)).collect()
}

fn assert_near(got: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let near = (f64::from(*got) - expected).abs() <= tolerance * (1.0 + expected.abs());
        assert!(near, "{what} {at}: {got} is not {expected}");
    }
}

/// Checks a layer against `reference`: asked, being fitted, every gradient, and its nodes.
pub(super) fn check(layer: Box<dyn Layer>, shapes: &[&[usize]], reference: Reference<'_>) {
    let given = Given::new(layer, shapes);
    let mut weights: Vec<Vec<f64>> = given.weights.iter().map(|weight| doubles(&weight.values)).collect();
    let mut inputs: Vec<Vec<f64>> = given.inputs.iter().map(|numbers| doubles(numbers)).collect();
    let asked = reference(&weights, &inputs, false);
    assert_eq!(asked.len(), ROWS * given.output().iter().product::<usize>());

    let device = crate::device::open_for_tests();
    let leaves = given.leaves(&device);
    let mut pass = Pass::new(&device, None);
    pass.enter(0, 0, &leaves);
    let output = given.layer.forward(given.values(&device), &mut pass);
    assert_eq!(output.shape(), given.output());
    assert_near(&flat(output), &asked, 2e-6, "result");
    assert_near(&given.served(), &asked, 2e-6, "result of the graph");

    let device = device.autodiff();
    let leaves = given.leaves(&device);
    let values = given.values(&device);
    let mut pass = Pass::new(&device, Some(Fitting { seed: 1, step: 0 }));
    pass.enter(0, 0, &leaves);
    let output = given.layer.forward(values.clone(), &mut pass).flat();
    let fitted = reference(&weights, &inputs, true);
    assert_near(&elements(output.clone()), &fitted, 2e-6, "result while fitting");

    let mut generator = Generator::new(6, Purpose::Weights);
    let pull: Vec<f32> = (0..fitted.len()).map(|_| generator.symmetric(1.0)).collect();
    let factors = Tensor::<2>::from_data(TensorData::new(pull.clone(), output.dims()), &device);
    let gradients = (output * factors).sum().backward();
    let scalar = |weights: &[Vec<f64>], inputs: &[Vec<f64>]| -> f64 {
        reference(weights, inputs, true).iter().zip(&pull).map(|(y, g)| y * f64::from(*g)).sum()
    };
    const STEP: f64 = 1e-5;
    for at in (0..leaves.len()).filter(|at| given.trainable[*at]) {
        let mut expected = Vec::new();
        for index in 0..weights[at].len() {
            let here = weights[at][index];
            let mut moved = |by: f64| {
                weights[at][index] = here + by;
                scalar(&weights, &inputs)
            };
            expected.push((moved(STEP) - moved(-STEP)) / (2.0 * STEP));
            weights[at][index] = here;
        }
        let what = format!("gradient of {}", given.weights[at].name);
        assert_near(&gradient_of_leaf(&leaves[at], &gradients), &expected, 1e-5, &what);
    }
    for (at, value) in values.iter().enumerate() {
        let mut expected = Vec::new();
        for index in 0..inputs[at].len() {
            let here = inputs[at][index];
            let mut moved = |by: f64| {
                inputs[at][index] = here + by;
                scalar(&weights, &inputs)
            };
            expected.push((moved(STEP) - moved(-STEP)) / (2.0 * STEP));
            inputs[at][index] = here;
        }
        assert_near(
            &gradient_of_value(value, &gradients),
            &expected,
            1e-5,
            &format!("gradient of input {at}"),
        );
    }
}

/// What a layer without parameters makes of rows of this shape while it is fitted, by a seed, in an update,
/// at a place in its network.
pub(super) fn fitted(layer: &dyn Layer, x: &[f32], shape: &[usize], [seed, step, at]: [u64; 3]) -> Vec<f32> {
    layer.check().unwrap();
    let device = crate::device::open_for_tests();
    let columns: usize = shape.iter().product();
    let rows = Tensor::from_data(TensorData::new(x.to_vec(), [x.len() / columns, columns]), &device);
    let mut pass = Pass::new(&device, Some(Fitting { seed, step }));
    pass.enter(at as usize, 0, &[]);
    flat(layer.forward(vec![Value::shaped(rows, shape)], &mut pass))
}

/// What the state of a recurrent layer is multiplied by while [`check`] fits it, `[gate][row * units + unit]`: drawn by the
/// layer's own stream beside that of its input. All ones without a rate.
pub(super) fn state_factors(rate: f64, gates: usize, units: usize) -> Vec<Vec<f64>> {
    let size = ROWS * units;
    let mut factors = vec![0.0f32; gates * size];
    // The first place within layer 0 of a network.
    let mut generator = Generator::new(1, Purpose::Dropout { step: 0, layer: 1 << 10 });
    generator.keep(rate, (1.0 / (1.0 - rate)) as f32, &mut factors);
    factors.chunks_exact(size).map(doubles).collect()
}

/// Checks that a network that is asked, and its graph, leave what they are given as it is.
pub(super) fn passed_on(layer: Box<dyn Layer>, shape: &[usize]) {
    let given = Given::new(layer, &[shape]);
    let device = crate::device::open_for_tests();
    let output = given.layer.forward(given.values(&device), &mut Pass::new(&device, None));
    assert_eq!(output.shape(), shape);
    assert_eq!(flat(output), given.inputs[0]);
    assert_eq!(given.served(), given.inputs[0]);
}

/// Mean, standard deviation, skewness and kurtosis (3 for a normal distribution).
pub(super) fn moments(x: &[f32]) -> [f64; 4] {
    let count = x.len() as f64;
    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let central = |power: i32| x.iter().map(|x| (f64::from(*x) - mean).powi(power)).sum::<f64>() / count;
    let deviation = central(2).sqrt();
    [mean, deviation, central(3) / deviation.powi(3), central(4) / deviation.powi(4)]
}

/// `[rows, inner] x [inner, columns]`, row-major.
pub(super) fn product(a: &[f64], b: &[f64], inner: usize, columns: usize) -> Vec<f64> {
    let cell = |at: usize| {
        let (row, column) = (at / columns, at % columns);
        (0..inner).map(|k| a[row * inner + k] * b[k * columns + column]).sum()
    };
    (0..a.len() / inner * columns).map(cell).collect()
}

/// `row` of `columns` numbers each.
pub(super) fn row(x: &[f64], at: usize, columns: usize) -> &[f64] {
    &x[at * columns..(at + 1) * columns]
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
