//! Which deployments are in memory: the limit of all together, who goes for whom, and what those that go still do.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use predictor::{DataType, PredictError, Predictor, Signature, Tensor, TensorSpec};
use serving::{Deployment, Error, Key, Limits, Resources, StartSpec, Stay, Table};

/// Gives what it is given, after a while.
struct Echo {
    signature: Signature,
    takes: Duration,
    _alive: Arc<()>,
}

impl Predictor for Echo {
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn predict(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> {
        std::thread::sleep(self.takes);
        Ok(inputs)
    }
    fn engine(&self) -> &str {
        "echo 1"
    }
}

const GB: u64 = 1_000_000_000;

fn key(deployment: &str) -> Key {
    Key { project: "p".to_owned(), endpoint: "e".to_owned(), deployment: deployment.to_owned() }
}

/// A deployment that says it uses so many GB, and for which nothing else is counted.
fn of_size(gb: u64, takes: Duration, alive: &Arc<()>) -> Deployment {
    let column = |name: &str| TensorSpec {
        name: name.to_owned(),
        dtype: DataType::Float32,
        shape: vec![None, Some(1)],
    };
    let signature = Signature { inputs: vec![column("x")], outputs: vec![column("y")] };
    let spec = StartSpec {
        name: "e/1".to_owned(),
        resources: Resources { cpu_cores: 1.0, memory_gb: 10_000.0 },
        limits: Limits { max_batch_rows: 2, ..Limits::default() },
        weights_bytes: gb * GB,
    };
    let alive = Arc::clone(alive);
    let load = || {
        serving::count_allocated(0);
        Ok(Box::new(Echo { signature, takes, _alive: alive }) as Box<dyn Predictor>)
    };
    Deployment::start(spec, load).unwrap()
}

fn small(gb: u64) -> Deployment {
    of_size(gb, Duration::ZERO, &Arc::default())
}

fn names(table: &Table) -> Vec<String> {
    table.list().into_iter().map(|(key, _)| key.deployment).collect()
}

#[test]
fn those_not_used_for_longest_go_and_the_pinned_stay() {
    let table = Table::new(Some(1000 * GB));
    table.insert(key("pinned"), small(300), Stay::Always).unwrap();
    for name in ["a", "b", "c"] {
        table.insert(key(name), small(200), Stay::WhileRoom).unwrap();
    }
    assert!(table.get(&key("a")).is_some(), "used last of the three");
    table.insert(key("d"), small(200), Stay::WhileRoom).unwrap();
    assert_eq!(names(&table), ["a", "c", "d", "pinned"]);
    table.make_room(&key("e"), 350 * GB).unwrap();
    assert_eq!(names(&table), ["d", "pinned"], "a was used before d was put there");
    let refused = table.insert(key("e"), small(701), Stay::WhileRoom).unwrap_err();
    assert!(matches!(refused, Error::OverMachine { used_bytes, .. } if used_bytes == 300 * GB), "{refused}");
    assert_eq!(names(&table), ["d", "pinned"], "for what cannot fit nobody goes");
    table.insert(key("e"), small(700), Stay::Always).unwrap();
    assert_eq!(names(&table), ["e", "pinned"]);
}

#[test]
fn what_others_are_about_to_take_counts() {
    let table = Table::new(Some(1000 * GB));
    table.insert(key("pinned"), small(300), Stay::Always).unwrap();
    table.insert(key("a"), small(200), Stay::WhileRoom).unwrap();
    table.make_room_beside(&key("b"), 200 * GB, 300 * GB).unwrap();
    assert_eq!(names(&table), ["a", "pinned"]);
    let refused = table.make_room_beside(&key("b"), 200 * GB, 501 * GB).unwrap_err();
    assert!(
        matches!(refused, Error::OverMachine { needed_bytes, used_bytes, .. } if (needed_bytes, used_bytes) == (200 * GB, 801 * GB)),
        "{refused}"
    );
    table.make_room_beside(&key("b"), 200 * GB, 500 * GB).unwrap();
    assert_eq!(names(&table), ["pinned"]);
}

#[test]
fn a_limit_below_the_machine_counts() {
    let table = Table::new(Some(1000 * GB));
    table.insert(key("a"), small(400), Stay::WhileRoom).unwrap();
    table.limit(500 * GB);
    table.limit(900 * GB);
    assert_eq!(table.limit_bytes(), 500 * GB);
    assert!(table.insert(key("b"), small(501), Stay::Always).is_err());
    table.insert(key("b"), small(200), Stay::Always).unwrap();
    assert_eq!((names(&table), table.memory_bytes()), (vec!["b".to_owned()], 200 * GB));
}

#[test]
fn what_is_replaced_makes_room_for_its_successor() {
    let table = Table::new(Some(1000 * GB));
    let old = table.insert(key("a"), small(700), Stay::Always).unwrap();
    let (new, before) = table.replace(key("a"), small(900), Stay::WhileRoom).unwrap();
    assert!(Arc::ptr_eq(&old, &before.unwrap()));
    assert!(Arc::ptr_eq(&new, &table.get(&key("a")).unwrap()));
    assert!(table.replace(key("b"), small(1), Stay::Always).unwrap().1.is_none());
    assert!(table.replace(key("a"), small(1000), Stay::Always).is_err());
    assert!(Arc::ptr_eq(&new, &table.get(&key("a")).unwrap()), "a successor that cannot fit changes nothing");
}

#[test]
fn only_what_stays_while_there_is_room_is_unloaded() {
    let table = Table::new(None);
    table.insert(key("pinned"), small(1), Stay::Always).unwrap();
    table.insert(key("a"), small(1), Stay::WhileRoom).unwrap();
    assert!(table.unload(&key("a")) && !table.unload(&key("a")) && !table.unload(&key("pinned")));
    assert_eq!(names(&table), ["pinned"]);
}

#[tokio::test]
async fn what_goes_for_the_room_answers_what_it_has_taken_and_counts_until_then() {
    let alive = Arc::new(());
    let table = Table::new(Some(100 * GB));
    let deployment = of_size(80, Duration::from_millis(150), &alive);
    drop(table.insert(key("a"), deployment, Stay::WhileRoom).unwrap());
    let asked: Vec<_> = (0..3)
        .map(|n| {
            let deployment = table.get(&key("a")).unwrap();
            let row = vec![Tensor::float32(vec![1, 1], vec![n as f32]).unwrap()];
            tokio::spawn(async move { deployment.predict(row, None).await })
        })
        .collect();
    // Given out and not asked yet: it must not find it closed.
    let late = table.get(&key("a")).unwrap();
    table.insert(key("b"), small(30), Stay::Always).unwrap();
    assert!(table.get(&key("a")).is_none());
    assert_eq!(table.memory_bytes(), 110 * GB, "it still takes its memory");
    let row = vec![Tensor::float32(vec![1, 1], vec![9.0]).unwrap()];
    assert_eq!(late.predict(row, None).await.unwrap().outputs[0].as_float32(), Some([9.0].as_slice()));
    for (n, one) in asked.into_iter().enumerate() {
        assert_eq!(one.await.unwrap().unwrap().outputs[0].as_float32(), Some([n as f32].as_slice()));
    }
    drop(late);
    assert_eq!(table.memory_bytes(), 30 * GB);
    for _ in 0..500 {
        if Arc::strong_count(&alive) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("its threads did not end");
}
