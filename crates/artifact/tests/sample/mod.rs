//! A model of 75 features, 128 hidden units and 10 classes with fixed pseudo-random weights, its processors in the
//! graph, and the same computed in plain Rust.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use artifact::bundle::{
    BundleParts, FeatureContract, Golden, GoldenRow, Manifest, NamedExpression, NanPolicy, ObservedColumn,
    Version,
};
use artifact::format;
use artifact::graph::{Graph, GraphBuilder};
use predictor::{DataType, Tensor};
use serde_json::json;

pub const FEATURES: usize = 75;
pub const HIDDEN: usize = 128;
pub const CLASSES: usize = 10;
pub const CLIP: f32 = 3.0;

/// Numbers in -1..1 from a multiplicative generator.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    }

    pub fn take(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.next() * scale).collect()
    }
}

pub struct Model {
    pub fill: Vec<f32>,
    pub center: Vec<f32>,
    pub scale: Vec<f32>,
    pub kernels: [Vec<f32>; 2],
    pub biases: [Vec<f32>; 2],
}

impl Model {
    pub fn new() -> Self {
        let mut numbers = Numbers::new(7);
        Self {
            fill: numbers.take(FEATURES, 1.0),
            center: numbers.take(FEATURES, 1.0),
            scale: numbers.take(FEATURES, 0.9).iter().map(|x| x + 1.0).collect(),
            kernels: [numbers.take(FEATURES * HIDDEN, 0.17), numbers.take(HIDDEN * CLASSES, 0.2)],
            biases: [numbers.take(HIDDEN, 0.1), numbers.take(CLASSES, 0.1)],
        }
    }

    pub fn graph(&self) -> Graph {
        let vector = |values: &[f32]| Tensor::float32(vec![values.len()], values.to_vec()).unwrap();
        let mut graph = GraphBuilder::new();
        let x = graph.input("features", DataType::Float32, vec![None, Some(FEATURES)]).unwrap();
        let missing = graph.is_nan("fill/is_nan", x).unwrap();
        let fill = graph.constant("fill/value", vector(&self.fill)).unwrap();
        let x = graph.select("fill/select", missing, fill, x).unwrap();
        let center = graph.constant("scale/center", vector(&self.center)).unwrap();
        let x = graph.sub("scale/sub", x, center).unwrap();
        let scale = graph.constant("scale/scale", vector(&self.scale)).unwrap();
        let x = graph.div("scale/div", x, scale).unwrap();
        let mut x = graph.clip("scale/clip", x, -CLIP, CLIP).unwrap();
        for (at, name) in ["dense", "dense_1"].iter().enumerate() {
            let units = self.biases[at].len();
            let shape = vec![self.kernels[at].len() / units, units];
            let kernel = Tensor::float32(shape, self.kernels[at].clone()).unwrap();
            let kernel = graph.variable(&format!("{name}/kernel"), kernel).unwrap();
            let bias = graph.variable(&format!("{name}/bias"), vector(&self.biases[at])).unwrap();
            x = graph.matmul(&format!("{name}/matmul"), x, kernel).unwrap();
            x = graph.add(&format!("{name}/add"), x, bias).unwrap();
            if at == 0 {
                x = graph.relu(&format!("{name}/relu"), x).unwrap();
            }
        }
        let x = graph.softmax("dense_1/softmax", x).unwrap();
        graph.output("probabilities", x).unwrap();
        graph.build().unwrap()
    }

    /// The model's answer to one row, in double precision where sums are long.
    pub fn forward(&self, row: &[f32]) -> Vec<f32> {
        let processed: Vec<f32> = (0..FEATURES)
            .map(|i| {
                let x = if row[i].is_nan() { self.fill[i] } else { row[i] };
                ((x - self.center[i]) / self.scale[i]).clamp(-CLIP, CLIP)
            })
            .collect();
        let hidden: Vec<f32> = self.dense(0, &processed).iter().map(|x| x.max(0.0)).collect();
        let logits = self.dense(1, &hidden);
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponentials: Vec<f64> = logits.iter().map(|x| f64::from(x - largest).exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        exponentials.iter().map(|x| (x / sum) as f32).collect()
    }

    fn dense(&self, layer: usize, x: &[f32]) -> Vec<f32> {
        let (kernel, bias) = (&self.kernels[layer], &self.biases[layer]);
        let unit = |j: usize| {
            let sum: f64 = x
                .iter()
                .enumerate()
                .map(|(i, x)| f64::from(*x) * f64::from(kernel[i * bias.len() + j]))
                .sum();
            (sum + f64::from(bias[j])) as f32
        };
        (0..bias.len()).map(unit).collect()
    }
}

/// Rows with ordinary, missing, huge and infinite values.
pub fn rows(count: usize) -> Vec<Vec<f32>> {
    let mut numbers = Numbers::new(11);
    let mut row = || -> Vec<f32> {
        (0..FEATURES)
            .map(|_| match (numbers.next().abs() * 100.0) as u32 {
                0..5 => f32::NAN,
                5 => 1e30,
                6 => -f32::MAX,
                7 => f32::INFINITY,
                _ => numbers.next() * 4.0,
            })
            .collect()
    };
    (0..count).map(|_| row()).collect()
}

pub fn parts(model: &Model) -> BundleParts {
    let graph = model.graph();
    let finite = |row: &Vec<f32>| row.iter().all(|x| !x.is_infinite());
    let inputs: Vec<Vec<f32>> = rows(200).into_iter().filter(finite).take(3).collect();
    let names: Vec<String> = (0..FEATURES).map(|i| format!("MA{i}")).collect();
    let expression = |name: &String| NamedExpression {
        name: name.clone(),
        expression: format!("Mean($close, {})/$close", name.trim_start_matches("MA")),
    };
    let manifest = Manifest {
        version: Version::V1,
        created_by: "bellwether 0.1.0".to_owned(),
        created_at: "2026-01-02T03:04:05Z".to_owned(),
        model: "sample".to_owned(),
        files: Default::default(),
        formats: format::names(),
        signature: graph.signature(),
        tensor_names: format::tensor_names(&graph.signature()),
        features: FeatureContract {
            expressions: names.iter().map(expression).collect(),
            names: names.clone(),
            lookback_bars: 61,
            nan_policy: NanPolicy::Fill,
            observed: ObservedColumn::of_rows(&names, &inputs.concat()),
        },
        processors: json!({"version": "1", "clip": CLIP}),
        label: json!({"expression": "Ref($close,-2)/Ref($close,-1)-1", "classes": CLASSES}),
        dataset: json!({"name": "sample", "snapshot": 1}),
        splits: json!({}),
        seed: 7,
        metrics: json!({"accuracy": 0.1}),
        golden: Golden {
            outputs: inputs.iter().map(|row| model.forward(row)).collect(),
            rows: vec![GoldenRow { date: "2022-12-28".to_owned(), symbol: "AAPL".to_owned() }; inputs.len()],
            inputs,
            call: None,
        },
        pipeline: "[data]\n".to_owned(),
        cpu: None,
        origin: None,
    };
    BundleParts { manifest, files: format::write_all(&graph).unwrap() }
}
