//! A real bundle in service: it answers as the engine does, however many ask at once.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use serving::{Batching, Deployment, Error, Limits, LoadSpec, Resources};

mod made;

use made::{COLUMNS, bundle, rows};

const RESOURCES: Resources = Resources { cpu_cores: 2.0, memory_gb: 4.0 };

fn load(limits: Limits) -> Deployment {
    Deployment::load(LoadSpec {
        name: "e/1".to_owned(),
        bundle: &bundle(|_| {}),
        engine: None,
        resources: RESOURCES,
        limits,
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn answers_are_the_same_bit_for_bit_whoever_else_asks() {
    let bundle = bundle(|_| {});
    let engine = bundle.load(1).unwrap();
    let deployment = Arc::new(load(Limits { max_queued_requests: 420, ..Limits::default() }));
    let pool = rows(100, 5);
    let direct = engine.predict(vec![pool.clone()]).unwrap().remove(0);
    let sizes = [1usize, 2, 3, 7, 20, 64, 100];
    let asked: Vec<_> = (0..420)
        .map(|i| {
            let (deployment, n) = (Arc::clone(&deployment), sizes[i % sizes.len()]);
            let begin = i % (101 - n);
            let part = pool.slice_rows(begin..begin + n);
            tokio::spawn(
                async move { (begin..begin + n, deployment.predict(vec![part], None).await.unwrap()) },
            )
        })
        .collect();
    let mut total = 0;
    for asked in asked {
        let (range, reply) = asked.await.unwrap();
        total += range.len() as u64;
        assert_eq!(bits(&reply.outputs[0]), bits(&direct.slice_rows(range.clone())), "{range:?}");
    }
    assert_eq!(deployment.batching(), &Batching::On { least_rows: 2 });
    let counters = deployment.counters();
    assert_eq!((counters.requests, counters.rows), (420, total));
    assert_eq!(counters.queue.buckets.last().unwrap().count, 420);
    assert!(counters.compute.sum_seconds > 0.0);
}

#[tokio::test]
async fn a_loaded_bundle_says_what_it_is() {
    let deployment = load(Limits::default());
    assert_eq!((deployment.name(), deployment.threads()), ("e/1", 2));
    assert!(deployment.engine().starts_with("rten "));
    assert_eq!(deployment.signature().inputs[0].row_elements(), Some(COLUMNS));
    let model_bytes = bundle(|_| {}).file("model.onnx").unwrap().len() as u64;
    assert!(deployment.memory_bytes() >= model_bytes && deployment.memory_bytes() < 4_000_000_000);
    let largest = deployment.limits().max_rows_per_request;
    let reply = deployment.predict(vec![rows(largest, 1)], None).await.unwrap();
    assert_eq!(reply.outputs[0].shape()[0], largest);
    assert!(reply.compute_us > 0);
}

#[test]
fn a_bundle_that_does_not_reproduce_its_golden_sample_is_refused() {
    let wrong = bundle(|manifest| manifest.golden.outputs[0][0] += 0.01);
    let spec = LoadSpec {
        name: "e/1".to_owned(),
        bundle: &wrong,
        engine: None,
        resources: RESOURCES,
        limits: Limits::default(),
    };
    let refused = Deployment::load(spec).unwrap_err();
    assert!(matches!(refused, Error::Bundle(artifact::Error::Golden { .. })), "{refused}");
}

fn bits(tensor: &predictor::Tensor) -> Vec<u32> {
    tensor.as_float32().unwrap().iter().map(|x| x.to_bits()).collect()
}
