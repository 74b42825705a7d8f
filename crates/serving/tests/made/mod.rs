//! A small real bundle, made anew for each test: missing values filled, one dense layer, softmax.

use artifact::bundle::{
    Bundle, BundleParts, FeatureContract, Golden, Manifest, NanPolicy, Version, write_directory,
};
use artifact::format;
use artifact::graph::{Graph, GraphBuilder};
use predictor::{DataType, Tensor};
use serde_json::Value;

pub(crate) const COLUMNS: usize = 75;
const HIDDEN: usize = 128;
const CLASSES: usize = 10;

/// Opens a new bundle whose manifest `change` has had a hand in.
pub(crate) fn bundle(change: impl FnOnce(&mut Manifest)) -> Bundle {
    let graph = graph().unwrap();
    let files = format::write_all(&graph).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let write = |manifest: &Manifest| {
        let parts = BundleParts { manifest: manifest.clone(), files: files.clone() };
        write_directory(directory.path(), parts).unwrap();
        Bundle::open(directory.path()).unwrap()
    };
    let mut manifest = manifest(&graph);
    let engine = write(&manifest).load(1).unwrap();
    let inputs = rows(4, 7);
    let outputs = engine.predict(vec![inputs.clone()]).unwrap();
    let by_row = |tensor: &Tensor, columns| -> Vec<Vec<f32>> {
        tensor.as_float32().unwrap().chunks(columns).map(<[f32]>::to_vec).collect()
    };
    manifest.golden = Golden {
        inputs: by_row(&inputs, COLUMNS),
        outputs: by_row(&outputs[0], CLASSES),
        ..Golden::default()
    };
    change(&mut manifest);
    write(&manifest)
}

/// `n` rows of numbers that look arbitrary, the same for the same `seed`; some are missing.
pub(crate) fn rows(n: usize, seed: u64) -> Tensor {
    let value = |i: usize| if i % 31 == 30 { f32::NAN } else { arbitrary(seed.wrapping_add(i as u64)) * 3.0 };
    Tensor::float32(vec![n, COLUMNS], (0..n * COLUMNS).map(value).collect()).unwrap()
}

/// A number from -1 to 1 (SplitMix64).
fn arbitrary(index: u64) -> f32 {
    let mut x = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (((x ^ (x >> 31)) >> 40) as f32 / (1u64 << 24) as f32) * 2.0 - 1.0
}

fn graph() -> Result<Graph, artifact::Error> {
    let weights = |shape: Vec<usize>, seed: u64| {
        let n: usize = shape.iter().product();
        Tensor::float32(shape, (0..n).map(|i| arbitrary(seed + i as u64) * 0.2).collect()).unwrap()
    };
    let mut graph = GraphBuilder::new();
    let features = graph.input("features", DataType::Float32, vec![None, Some(COLUMNS)])?;
    let fill = graph.constant("fill", weights(vec![COLUMNS], 1 << 32))?;
    let missing = graph.is_nan("missing", features)?;
    let filled = graph.select("filled", missing, fill, features)?;
    let kernel = graph.variable("dense/kernel", weights(vec![COLUMNS, HIDDEN], 2 << 32))?;
    let hidden = graph.matmul("dense/matmul", filled, kernel)?;
    let hidden = graph.relu("dense/relu", hidden)?;
    let kernel = graph.variable("dense_1/kernel", weights(vec![HIDDEN, CLASSES], 3 << 32))?;
    let logits = graph.matmul("dense_1/matmul", hidden, kernel)?;
    let probabilities = graph.softmax("dense_1/softmax", logits)?;
    graph.output("probabilities", probabilities)?;
    graph.build()
}

fn manifest(graph: &Graph) -> Manifest {
    let signature = graph.signature();
    Manifest {
        version: Version::V1,
        created_by: "test".to_owned(),
        created_at: "2026-01-01T00:00:00Z".to_owned(),
        model: "m".to_owned(),
        files: Default::default(),
        formats: format::names(),
        tensor_names: format::tensor_names(&signature),
        signature,
        features: FeatureContract {
            names: (0..COLUMNS).map(|i| format!("F{i}")).collect(),
            expressions: vec![],
            lookback_bars: 1,
            nan_policy: NanPolicy::Fill,
            observed: Vec::new(),
        },
        processors: Value::Null,
        label: Value::Null,
        dataset: Value::Null,
        splits: Value::Null,
        seed: 0,
        metrics: Value::Null,
        golden: Golden::default(),
        pipeline: String::new(),
        cpu: None,
        origin: None,
    }
}
