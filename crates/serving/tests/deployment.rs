//! How a deployment behaves under load, on bad input, when its engine fails and when it goes, with engines made
//! for the test.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::future::Future as _;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use predictor::{DataType, PredictError, Predictor, Signature, Tensor, TensorSpec};
use serving::{Deployment, Error, Key, Limits, Resources, StartSpec, Stay, Table};

const COLUMNS: usize = 3;

/// Has the memory of what this thread loads counted, and not how the process grows, in which all other tests are. These engines say of
/// nothing that they take it.
fn counted() {
    serving::count_allocated(0);
}

/// A gate that engines wait at, and that tests open.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
    waiting: AtomicUsize,
}

impl Gate {
    fn pass(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let open = self.open.lock().unwrap();
        drop(self.changed.wait_while(open, |open| !*open).unwrap());
    }

    fn set(&self, open: bool) {
        *self.open.lock().unwrap() = open;
        self.changed.notify_all();
    }
}

/// What an engine has seen.
#[derive(Default)]
struct Seen {
    gate: Gate,
    calls: AtomicUsize,
    inside: AtomicUsize,
    most_inside: AtomicUsize,
    threads: Mutex<BTreeSet<String>>,
    thread_ids: Mutex<Vec<ThreadId>>,
    values: Mutex<Vec<f32>>,
}

/// Doubles every number, once the gate is open. A first value below zero makes it panic, fail, or blame the caller.
struct Doubler {
    signature: Signature,
    seen: Arc<Seen>,
}

const PANIC: f32 = -1.0;
const FAIL: f32 = -2.0;
const BLAME: f32 = -3.0;

impl Predictor for Doubler {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> {
        let seen = &self.seen;
        let inside = seen.inside.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most_inside.fetch_max(inside, Ordering::SeqCst);
        seen.gate.pass();
        seen.inside.fetch_sub(1, Ordering::SeqCst);
        seen.calls.fetch_add(1, Ordering::SeqCst);
        let current = std::thread::current();
        seen.threads.lock().unwrap().insert(current.name().unwrap_or("").to_owned());
        seen.thread_ids.lock().unwrap().push(current.id());
        let values = inputs[0].as_float32().unwrap();
        let first = values.first().copied().unwrap_or_default();
        seen.values.lock().unwrap().push(first);
        assert!(first != PANIC, "asked to panic");
        if first == FAIL {
            return Err(PredictError::Engine("secret detail".to_owned()));
        }
        if first == BLAME {
            return Err(PredictError::Input("feature 0 is below zero".to_owned()));
        }
        let doubled = values.iter().map(|x| x * 2.0).collect();
        Ok(vec![Tensor::float32(inputs[0].shape().to_vec(), doubled).unwrap()])
    }

    fn engine(&self) -> &str {
        "doubler 1"
    }
}

fn signature() -> Signature {
    let spec = |name: &str| TensorSpec {
        name: name.to_owned(),
        dtype: DataType::Float32,
        shape: vec![None, Some(COLUMNS)],
    };
    Signature { inputs: vec![spec("features")], outputs: vec![spec("doubled")] }
}

fn spec(cpu_cores: f64, limits: Limits) -> StartSpec {
    let resources = Resources { cpu_cores, memory_gb: 8.0 };
    StartSpec { name: "e/1".to_owned(), resources, limits, weights_bytes: 100 }
}

/// A deployment whose gate is open for the first runs and closed afterwards. It computes one row at a time.
fn start(cpu_cores: f64, limits: Limits) -> (Arc<Deployment>, Arc<Seen>) {
    start_batching(cpu_cores, Limits { max_batch_rows: 1, ..limits })
}

/// The same, with requests computed together.
fn start_batching(cpu_cores: f64, limits: Limits) -> (Arc<Deployment>, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    seen.gate.set(true);
    let engine = Doubler { signature: signature(), seen: Arc::clone(&seen) };
    let deployment = Deployment::start(spec(cpu_cores, limits), || Ok(Box::new(engine))).unwrap();
    seen.gate.set(false);
    seen.gate.waiting.store(0, Ordering::SeqCst);
    seen.calls.store(0, Ordering::SeqCst);
    seen.threads.lock().unwrap().clear();
    seen.thread_ids.lock().unwrap().clear();
    seen.values.lock().unwrap().clear();
    (Arc::new(deployment), seen)
}

fn row(first: f32) -> Vec<Tensor> {
    vec![Tensor::float32(vec![1, COLUMNS], vec![first, 1.0, 2.0]).unwrap()]
}

type Asked = tokio::task::JoinHandle<Result<serving::Reply, Error>>;

fn ask(deployment: &Arc<Deployment>, first: f32) -> Asked {
    let deployment = Arc::clone(deployment);
    tokio::spawn(async move { deployment.predict(row(first), None).await })
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..5000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("did not happen in time: {what}");
}

/// Occupies every thread and waits until they are in the engine.
async fn occupy(deployment: &Arc<Deployment>, seen: &Seen) -> Vec<Asked> {
    let asked = (0..deployment.threads()).map(|_| ask(deployment, 0.0)).collect();
    until("all threads compute", || seen.gate.waiting.load(Ordering::SeqCst) == deployment.threads()).await;
    asked
}

fn doubled(reply: &serving::Reply) -> &[f32] {
    reply.outputs[0].as_float32().unwrap()
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let limits = Limits { max_queued_requests: 3, ..Limits::default() };
    let (deployment, seen) = start(1.0, limits);
    let mut asked = occupy(&deployment, &seen).await;
    asked.extend((1..4).map(|n| ask(&deployment, n as f32)));
    until("three wait", || deployment.counters().queued == 3).await;
    let refused = deployment.predict(row(9.0), None).await.unwrap_err();
    assert!(matches!(refused, Error::Overloaded { queued: 3, .. }));
    assert_eq!(
        refused.to_string(),
        "deployment \"e/1\" is overloaded: 3 requests are waiting, the limit is 3; try again later"
    );
    // Before it is read it is refused in the same words, and counts as well.
    assert_eq!(deployment.has_room().unwrap_err().to_string(), refused.to_string());
    seen.gate.set(true);
    for (n, asked) in asked.into_iter().enumerate() {
        assert_eq!(doubled(&asked.await.unwrap().unwrap()), [n as f32 * 2.0, 2.0, 4.0]);
    }
    let counters = deployment.counters();
    assert_eq!((counters.requests, counters.rows, counters.queued), (6, 4, 0));
    assert_eq!(counters.errors.by_kind()[2], ("overloaded", 2));
    assert!(deployment.has_room().is_ok());
    assert_eq!(counters.compute.buckets.last().unwrap().count, 4);
    assert!(deployment.predict(row(9.0), None).await.is_ok());
}

#[tokio::test]
async fn who_left_is_not_computed() {
    let (deployment, seen) = start(1.0, Limits::default());
    let busy = occupy(&deployment, &seen).await;
    let (left, stayed) = (ask(&deployment, 1.0), ask(&deployment, 2.0));
    until("two wait", || deployment.counters().queued == 2).await;
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    seen.gate.set(true);
    assert!(stayed.await.unwrap().is_ok());
    for asked in busy {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(*seen.values.lock().unwrap(), [0.0, 2.0]);
    assert_eq!((deployment.counters().errors.cancelled, deployment.counters().rows), (1, 2));
}

#[tokio::test]
async fn as_many_threads_compute_as_there_are_cores() {
    for (cpu_cores, threads) in [(0.5, 1), (1.0, 1), (2.0, 2), (2.5, 3)] {
        let (deployment, seen) = start(cpu_cores, Limits::default());
        assert_eq!(deployment.threads(), threads);
        let mut asked = occupy(&deployment, &seen).await;
        asked.extend((0..20).map(|_| ask(&deployment, 1.0)));
        until("the others wait", || deployment.counters().queued == 20).await;
        assert_eq!(seen.inside.load(Ordering::SeqCst), threads);
        seen.gate.set(true);
        for asked in asked {
            asked.await.unwrap().unwrap();
        }
        assert_eq!(seen.most_inside.load(Ordering::SeqCst), threads);
        assert_eq!(seen.calls.load(Ordering::SeqCst), 20 + threads);
        let ids: std::collections::HashSet<_> = seen.thread_ids.lock().unwrap().drain(..).collect();
        assert_eq!(ids.len(), threads);
        assert!(!ids.contains(&std::thread::current().id()));
    }
}

#[test]
fn resources_must_make_sense() {
    let bad = [
        (0.0, 1.0),
        (-1.0, 1.0),
        (f64::NAN, 1.0),
        (2000.0, 1.0),
        (1.0, 0.0),
        (1.0, f64::NAN),
        (1.0, f64::INFINITY),
    ];
    for (cpu_cores, memory_gb) in bad {
        let resources = Resources { cpu_cores, memory_gb };
        let refused = Deployment::start(StartSpec { resources, ..spec(1.0, Limits::default()) }, || {
            panic!("must not be loaded")
        });
        assert!(matches!(refused, Err(Error::Resources(_))), "{resources:?}");
    }
}

#[tokio::test]
async fn what_does_not_fit_the_signature_is_said_at_once() {
    let (deployment, seen) = start(1.0, Limits { max_rows_per_request: 4, ..Limits::default() });
    let tensor =
        |rows: usize, columns| vec![Tensor::float32(vec![rows, columns], vec![0.0; rows * columns]).unwrap()];
    let shape = deployment.predict(tensor(2, 4), None).await.unwrap_err();
    assert_eq!(shape.to_string(), "input \"features\" must have shape [batch, 3], got [2, 4]");
    assert!(matches!(shape, Error::Input(_)));
    let count = deployment.predict(vec![], None).await.unwrap_err();
    assert_eq!(count.to_string(), "the model takes 1 inputs (features), got 0");
    let rows = deployment.predict(tensor(5, 3), None).await.unwrap_err();
    assert_eq!(rows.to_string(), "the request has 5 rows, more than the 4 one request may have; split it");
    assert_eq!(seen.gate.waiting.load(Ordering::SeqCst), 0);
    let errors = deployment.counters().errors;
    assert_eq!((errors.input, errors.too_large, errors.engine), (2, 1, 0));
}

#[tokio::test]
async fn a_failing_engine_fails_one_request() {
    let (deployment, seen) = start(1.0, Limits::default());
    seen.gate.set(true);
    for bad in [PANIC, FAIL, PANIC] {
        let error = deployment.predict(row(bad), None).await.unwrap_err();
        assert!(matches!(error, Error::Engine(_)));
        assert_eq!(
            error.to_string(),
            "deployment \"e/1\": the engine failed on this request; the log has the detail"
        );
        assert_eq!(doubled(&deployment.predict(row(4.0), None).await.unwrap()), [8.0, 2.0, 4.0]);
    }
    let blamed = deployment.predict(row(BLAME), None).await.unwrap_err();
    assert!(matches!(&blamed, Error::Input(reason) if reason == "feature 0 is below zero"));
    let errors = deployment.counters().errors;
    assert_eq!((errors.engine, errors.input), (3, 1));
    let ids: std::collections::HashSet<_> = seen.thread_ids.lock().unwrap().drain(..).collect();
    assert_eq!(ids.len(), 1, "the thread survives");
}

#[test]
fn an_engine_that_fails_or_panics_at_first_is_not_put_into_service() {
    struct Broken(Signature, bool);
    impl Predictor for Broken {
        fn signature(&self) -> &Signature {
            &self.0
        }
        fn predict(&self, _: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> {
            assert!(!self.1, "asked to panic");
            Err(PredictError::Engine("no such operator".to_owned()))
        }
        fn engine(&self) -> &str {
            "broken 1"
        }
    }
    for (panics, reason) in [(false, "no such operator"), (true, "broken 1 panicked")] {
        let limits = Limits { max_rows_per_request: 7, ..Limits::default() };
        let refused = Deployment::start(spec(1.0, limits), || Ok(Box::new(Broken(signature(), panics))));
        assert_eq!(
            refused.unwrap_err().to_string(),
            format!(
                "deployment \"e/1\" cannot be run: its first run, on 7 rows of zeros, failed: engine failed: {reason}"
            )
        );
    }
}

#[test]
fn a_model_over_its_memory_budget_is_refused_with_both_numbers() {
    let resources = Resources { cpu_cores: 1.0, memory_gb: 0.25 };
    let weights = StartSpec { resources, weights_bytes: 300_000_000, ..spec(1.0, Limits::default()) };
    let refused = Deployment::start(weights, || panic!("must not be loaded")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "deployment \"e/1\" needs 300.0 MB of memory and its budget is 250.0 MB; raise memory_gb"
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_is_measured_while_loading_and_while_running() {
    const SIZE: usize = 400 << 20;

    /// Holds memory from the start, or takes it for the time of a call.
    struct Hungry {
        signature: Signature,
        held: Vec<u8>,
        scratch: usize,
        _alive: Arc<()>,
    }
    impl Predictor for Hungry {
        fn signature(&self) -> &Signature {
            &self.signature
        }
        fn predict(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> {
            assert_eq!(self.held.iter().map(|x| usize::from(*x)).sum::<usize>(), self.held.len());
            let scratch = vec![1u8; self.scratch];
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(scratch.iter().map(|x| usize::from(*x)).sum::<usize>(), self.scratch);
            Ok(inputs)
        }
        fn engine(&self) -> &str {
            "hungry 1"
        }
    }
    for (held, scratch) in [(SIZE, 0), (0, SIZE)] {
        let alive = Arc::new(());
        let load = || {
            let predictor: Box<dyn Predictor> = Box::new(Hungry {
                signature: signature(),
                held: std::hint::black_box(vec![1u8; held]),
                scratch,
                _alive: Arc::clone(&alive),
            });
            Ok(predictor)
        };
        let budget = |memory_gb| StartSpec {
            resources: Resources { cpu_cores: 1.0, memory_gb },
            ..spec(1.0, Limits::default())
        };
        let refused = Deployment::start(budget(0.2), load).unwrap_err();
        let Error::OverMemory { needed_bytes, budget_bytes, .. } = refused else { panic!("{refused}") };
        assert_eq!(budget_bytes, 200_000_000);
        assert!(needed_bytes >= SIZE as u64 * 9 / 10, "{needed_bytes}");
        let deployment = Deployment::start(budget(64.0), load).unwrap();
        assert!(deployment.memory_bytes() >= SIZE as u64 * 9 / 10, "{}", deployment.memory_bytes());
        drop(deployment);
        // Its memory goes with its threads; what is freed while the next one is measured would be missed.
        until("the threads end", || Arc::strong_count(&alive) == 1).await;
    }
}

#[tokio::test]
async fn requests_stay_within_the_memory_budget() {
    // 10 MB of weights leave room for few rows of 2 x 40 kB.
    const WIDE: usize = 10_000;
    struct Wide(Signature, Arc<Seen>);
    impl Predictor for Wide {
        fn signature(&self) -> &Signature {
            &self.0
        }
        fn predict(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> {
            self.1.gate.pass();
            Ok(inputs)
        }
        fn engine(&self) -> &str {
            "wide 1"
        }
    }
    let mut wide = signature();
    wide.inputs[0].shape[1] = Some(WIDE);
    wide.outputs[0].shape[1] = Some(WIDE);
    let seen = Arc::new(Seen::default());
    seen.gate.set(true);
    // The weights are declared as nearly all of the budget.
    let start = StartSpec {
        name: "e/1".to_owned(),
        resources: Resources { cpu_cores: 1.0, memory_gb: 100.0 },
        limits: Limits { max_rows_per_request: 1000, ..Limits::default() },
        weights_bytes: 99_990_000_000,
    };
    let deployment = Deployment::start(start, || {
        counted();
        Ok(Box::new(Wide(wide, Arc::clone(&seen))))
    })
    .unwrap();
    assert_eq!(deployment.memory_bytes(), 99_990_000_000);
    let rows = |n: usize| vec![Tensor::float32(vec![n, WIDE], vec![0.0; n * WIDE]).unwrap()];
    let refused = deployment.predict(rows(126), None).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the request's tensors take 10.1 MB, and deployment \"e/1\" has 10.0 MB of its memory budget left; \
         split the request or raise memory_gb"
    );
    assert!(deployment.predict(rows(125), None).await.is_ok());
    seen.gate.set(false);
    seen.gate.waiting.store(0, Ordering::SeqCst);
    let deployment = Arc::new(deployment);
    let held = {
        let deployment = Arc::clone(&deployment);
        let rows = rows(100);
        tokio::spawn(async move { deployment.predict(rows, None).await })
    };
    until("it computes", || seen.gate.waiting.load(Ordering::SeqCst) == 1).await;
    let refused = deployment.predict(rows(100), None).await.unwrap_err();
    assert!(matches!(refused, Error::Overloaded { .. }), "{refused}");
    seen.gate.set(true);
    assert!(held.await.unwrap().is_ok());
    assert!(deployment.predict(rows(100), None).await.is_ok());
}

#[tokio::test]
async fn what_was_taken_is_answered_when_it_goes() {
    let table = Table::new(None);
    let key = Key { project: "p".to_owned(), endpoint: "e".to_owned(), deployment: "1".to_owned() };
    let seen = Arc::new(Seen::default());
    seen.gate.set(true);
    let engine = Doubler { signature: signature(), seen: Arc::clone(&seen) };
    let deployment = Deployment::start(spec(2.0, Limits { max_batch_rows: 1, ..Limits::default() }), || {
        Ok(Box::new(engine))
    })
    .unwrap();
    seen.gate.set(false);
    seen.gate.waiting.store(0, Ordering::SeqCst);
    let deployment = table.insert(key.clone(), deployment, Stay::Always).unwrap();
    let mut asked = occupy(&deployment, &seen).await;
    asked.extend((0..10).map(|_| ask(&deployment, 0.0)));
    until("ten wait", || deployment.counters().queued == 10).await;

    drop(table.remove(&key).unwrap());
    assert!(table.get(&key).is_none() && table.remove(&key).is_none());
    // Whoever was given it before may be about to ask it, and its memory counts until they let go.
    asked.push(ask(&deployment, 0.0));
    until("eleven wait", || deployment.counters().queued == 11).await;
    assert!(table.are_leaving() && table.memory_bytes() == deployment.memory_bytes());
    deployment.stop();
    let late = deployment.predict(row(1.0), None).await.unwrap_err();
    assert_eq!(late.to_string(), "deployment \"e/1\" is being taken out of service");
    seen.gate.set(true);
    for asked in asked {
        assert!(asked.await.unwrap().is_ok());
    }
    assert_eq!(deployment.counters().errors.stopped, 1);
    drop(deployment);
    // The threads let go of the engine: the last one to hold what it saw is this test.
    until("the threads end", || Arc::strong_count(&seen) == 1).await;
    assert!(!table.are_leaving() && table.memory_bytes() == 0);
}

#[test]
fn a_table_keeps_the_sum_of_memory_within_the_machine() {
    let table = Table::new(Some(200_000_000_000));
    let key = |deployment: &str| Key {
        project: "p".to_owned(),
        endpoint: "e".to_owned(),
        deployment: deployment.to_owned(),
    };
    let of_size = |weights_bytes| {
        let seen = Arc::new(Seen::default());
        seen.gate.set(true);
        let engine = Doubler { signature: signature(), seen };
        let resources = Resources { cpu_cores: 1.0, memory_gb: 1000.0 };
        let spec = StartSpec { resources, weights_bytes, ..spec(1.0, Limits::default()) };
        let load = || {
            counted();
            Ok(Box::new(engine) as Box<dyn Predictor>)
        };
        Deployment::start(spec, load).unwrap()
    };
    table.insert(key("2"), of_size(120_000_000_000), Stay::Always).unwrap();
    let refused = table.insert(key("1"), of_size(90_000_000_000), Stay::Always).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "deployment 1 of endpoint \"e\" in project \"p\" needs 90000.0 MB of memory, the others use 120000.0 MB, \
         and all together may use 200000.0 MB; undeploy one first"
    );
    table.insert(key("1"), of_size(80_000_000_000), Stay::Always).unwrap();
    assert_eq!(table.memory_bytes(), 200_000_000_000);
    assert!(matches!(table.insert(key("1"), of_size(1), Stay::Always), Err(Error::AlreadyInService(_))));
    let listed: Vec<_> = table.list().into_iter().map(|(key, _)| key.deployment).collect();
    assert_eq!(listed, ["1", "2"]);
    table.remove(&key("2")).unwrap();
    assert_eq!(table.memory_bytes(), 80_000_000_000);
    assert!(table.get(&key("1")).is_some());
}

#[tokio::test]
async fn what_waits_is_computed_together_and_each_gets_its_own() {
    let limits = Limits { max_batch_rows: 4, ..Limits::default() };
    let (deployment, seen) = start_batching(1.0, limits);
    let first = occupy(&deployment, &seen).await;
    let asked: Vec<Asked> = (1..=6).map(|n| ask(&deployment, n as f32)).collect();
    until("all wait", || deployment.counters().queued == 6).await;
    seen.gate.set(true);
    for one in first {
        one.await.unwrap().unwrap();
    }
    for (n, one) in (1..=6).zip(asked) {
        let reply = one.await.unwrap().unwrap();
        assert_eq!(
            (doubled(&reply), reply.outputs[0].shape()),
            ([n as f32 * 2.0, 2.0, 4.0].as_slice(), [1, 3].as_slice())
        );
    }
    let counters = deployment.counters();
    // One alone, then four, then two.
    assert_eq!((counters.batches, counters.batched_rows, counters.rows), (3, 7, 7));
    assert_eq!(*seen.values.lock().unwrap(), [0.0, 1.0, 5.0]);
}

#[tokio::test]
async fn what_the_engine_does_not_take_costs_its_neighbours_nothing() {
    let (deployment, seen) = start_batching(1.0, Limits::default());
    let first = occupy(&deployment, &seen).await;
    let asked: Vec<Asked> = [FAIL, 1.0, BLAME].into_iter().map(|value| ask(&deployment, value)).collect();
    until("all wait", || deployment.counters().queued == 3).await;
    seen.gate.set(true);
    for one in first {
        one.await.unwrap().unwrap();
    }
    let [failed, good, blamed] = <[Asked; 3]>::try_from(asked).ok().unwrap();
    assert!(matches!(failed.await.unwrap(), Err(Error::Engine(_))));
    assert_eq!(doubled(&good.await.unwrap().unwrap()), [2.0, 2.0, 4.0]);
    let blamed = blamed.await.unwrap().unwrap_err();
    assert!(matches!(&blamed, Error::Input(reason) if reason == "feature 0 is below zero"), "{blamed}");
    let errors = deployment.counters().errors;
    assert_eq!((errors.engine, errors.input), (1, 1));
    assert!(deployment.predict(row(1.0), None).await.is_ok());
}

#[tokio::test]
async fn a_request_whose_time_is_over_is_not_computed() {
    let (deployment, seen) = start(1.0, Limits::default());
    let first = occupy(&deployment, &seen).await;
    let late = {
        let deployment = Arc::clone(&deployment);
        let deadline = Instant::now() + Duration::from_millis(20);
        tokio::spawn(async move { deployment.predict(row(1.0), Some(deadline)).await })
    };
    let far = Instant::now() + Duration::from_secs(600);
    let patient = {
        let deployment = Arc::clone(&deployment);
        tokio::spawn(async move { deployment.predict(row(2.0), Some(far)).await })
    };
    // A busy machine may be so late that the first one does not wait at all.
    until("both wait", || deployment.counters().queued + usize::from(late.is_finished()) == 2).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    seen.gate.set(true);
    let error = late.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Expired(_)), "{error}");
    assert!(patient.await.unwrap().is_ok());
    for one in first {
        one.await.unwrap().unwrap();
    }
    assert_eq!(*seen.values.lock().unwrap(), [0.0, 2.0]);
    assert_eq!(deployment.counters().errors.expired, 1);
}

/// What the first look at a request gives: its answer, if it is computed where it is asked.
fn look(
    deployment: &Deployment,
    first: f32,
    deadline: Option<Instant>,
) -> Poll<Result<serving::Reply, Error>> {
    let asked = pin!(deployment.predict(row(first), deadline));
    asked.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn what_is_quick_is_computed_where_it_is_asked() {
    // One of its own, whose thread may have the turn for a while, and whose answer is not there before anybody looks.
    let (closed, inside) = start_batching(1.0, Limits::default());
    assert!(look(&closed, 1.0, None).is_pending(), "engines do not compute on this thread");
    inside.gate.set(true);
    let (deployment, seen) = start_batching(1.0, Limits::default());
    seen.gate.set(true);
    serving::run_as_worker(|| {
        let Poll::Ready(Ok(reply)) = look(&deployment, 4.0, None) else { panic!("it waits") };
        assert_eq!((doubled(&reply)[0], reply.queue_us), (8.0, 0));
        assert_eq!(*seen.thread_ids.lock().unwrap(), [std::thread::current().id()]);
        let Poll::Ready(Err(error)) = look(&deployment, 4.0, Some(Instant::now())) else {
            panic!("computed")
        };
        assert!(matches!(error, Error::Expired(_)), "{error}");
        let Poll::Ready(Err(error)) = look(&deployment, PANIC, None) else { panic!("it waits") };
        assert!(matches!(error, Error::Engine(_)), "{error}");
    });
    let counters = deployment.counters();
    assert_eq!((counters.errors.expired, counters.errors.engine), (1, 1));

    // No more is computed at once than the deployment has threads.
    seen.gate.set(false);
    seen.gate.waiting.store(0, Ordering::SeqCst);
    let busy = occupy(&deployment, &seen).await;
    serving::run_as_worker(|| assert!(look(&deployment, 5.0, None).is_pending()));
    seen.gate.set(true);
    for one in busy {
        one.await.unwrap().unwrap();
    }
}

#[test]
fn what_shall_wait_for_others_is_not_computed_where_it_is_asked() {
    // Longer than anybody is late to look; it is given up when the deployment goes.
    let limits = Limits { max_delay: Duration::from_secs(600), ..Limits::default() };
    let (deployment, seen) = start_batching(1.0, limits);
    seen.gate.set(true);
    serving::run_as_worker(|| assert!(look(&deployment, 1.0, None).is_pending()));
}

#[test]
fn a_model_is_freed_by_a_thread_of_its_own() {
    /// Says which thread drops it.
    struct Told(Signature, std::sync::mpsc::Sender<String>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.1.send(std::thread::current().name().unwrap_or_default().to_owned());
        }
    }
    impl Predictor for Told {
        fn signature(&self) -> &Signature {
            &self.0
        }
        fn predict(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> {
            Ok(inputs)
        }
        fn engine(&self) -> &str {
            "told"
        }
    }
    let (tell, told) = std::sync::mpsc::channel();
    let engine = Told(signature(), tell);
    let deployment = Deployment::start(spec(2.0, Limits::default()), || Ok(Box::new(engine))).unwrap();
    let caller = Arc::new(deployment);
    caller.stop();
    assert!(told.recv_timeout(Duration::from_millis(100)).is_err(), "a caller has it still");
    drop(caller);
    assert_eq!(told.recv_timeout(Duration::from_secs(20)).unwrap(), "m0 e/1");
}

#[tokio::test]
async fn a_large_request_lets_others_in_between_its_slices() {
    let (deployment, seen) = start(1.0, Limits::default());
    let first = occupy(&deployment, &seen).await;
    let values: Vec<f32> = (0..10 * COLUMNS).map(|at| 100.0 + at as f32).collect();
    let large = Tensor::float32(vec![10, COLUMNS], values.clone()).unwrap();
    let large = tokio::spawn({
        let deployment = Arc::clone(&deployment);
        async move { deployment.predict(vec![large], None).await }
    });
    until("it waits", || deployment.counters().queued == 1).await;
    let small = ask(&deployment, 5.0);
    until("both wait", || deployment.counters().queued == 2).await;
    seen.gate.set(true);
    assert_eq!(doubled(&small.await.unwrap().unwrap())[0], 10.0);
    let reply = large.await.unwrap().unwrap();
    assert_eq!(doubled(&reply), values.iter().map(|x| 2.0 * x).collect::<Vec<f32>>());
    for one in first {
        one.await.unwrap().unwrap();
    }
    // One row is computed at a time: the other request after the first of ten.
    let order = seen.values.lock().unwrap().clone();
    assert_eq!(order.iter().position(|value| *value == 5.0), Some(2), "{order:?}");
    assert_eq!(order.len(), 12, "{order:?}");
}
