//! rten, the engine that is always there: pure Rust, any batch size from one load.
//!
//! It has tensors of float32 and int32 (and bytes): int64 and bool are computed as int32, float64 as float32, and
//! converted where a model is called.

mod asked_sizes;
mod chain;
mod narrow;
mod operators;
mod quirks;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use predictor::{DataType, PredictError, Predictor, Signature, Tensor, TensorData, TensorSpec};
use rten::{
    Dimension, Model, ModelOptions, NodeId, RunError, RunErrorKind, RunOptions, ThreadPool, Value,
    ValueOrView, ValueType,
};
use rten_tensor::Layout;

use super::outputs;
use crate::Error;
use crate::graph::shape_text;
use asked_sizes::AskedSizes;
use chain::{Chain, Layers};
pub(super) use narrow::{computes_double, notes};
pub(super) use operators::unsupported;

pub(super) const VERSION: &str = "0.27";
const ENGINE: &str = "rten 0.27";

thread_local! {
    /// The one-thread pool of this thread: the one it belongs to inside [`run_as_worker`], else a companion that
    /// computes while this thread waits. rten computes only on pools, and one pool shared by all callers would
    /// make them queue.
    static OWN_POOL: RefCell<Option<Arc<ThreadPool>>> = const { RefCell::new(None) };
    /// Whether it is inside [`run_as_worker`].
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on a thread that engines compute on directly: a call of a single-threaded model from inside costs
/// no hand-over to another thread. For the loops of serving threads; the calling thread waits for the result. On such a
/// thread it is done where it is. The system shows the name of the calling thread.
pub fn run_as_worker<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if is_worker() {
        return work();
    }
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            OWN_POOL.take();
            IS_WORKER.set(false);
        }
    }
    let pool = Arc::new(ThreadPool::with_num_threads(1));
    let inside = Arc::clone(&pool);
    let name = std::thread::current().name().map(str::to_owned);
    pool.run(move || {
        show_name(name);
        OWN_POOL.set(Some(inside));
        IS_WORKER.set(true);
        let _leave = Leave;
        work()
    })
}

/// What the system shows this thread as: the first 15 bytes.
#[cfg(target_os = "linux")]
fn show_name(name: Option<String>) {
    // Whoever looks for it misses no more than a name.
    if let Some(name) = name.and_then(|name| std::ffi::CString::new(name).ok()) {
        let _ = rustix::thread::set_name(&name);
    }
}

#[cfg(not(target_os = "linux"))]
fn show_name(_name: Option<String>) {}

/// Whether this thread is one that engines compute on directly, see [`run_as_worker`].
pub fn is_worker() -> bool {
    IS_WORKER.get()
}

fn own_pool() -> Arc<ThreadPool> {
    OWN_POOL.with_borrow_mut(|pool| {
        Arc::clone(pool.get_or_insert_with(|| Arc::new(ThreadPool::with_num_threads(1))))
    })
}

/// A model loaded into rten.
pub(super) struct RtenPredictor {
    model: Model,
    signature: Signature,
    input_ids: Vec<NodeId>,
    output_ids: Vec<NodeId>,
    /// The pool all callers share; none when each computes on one thread.
    shared_pool: Option<Arc<ThreadPool>>,
    /// The short way for a few rows, if there is one.
    chain: Option<Chain>,
    /// What callers could make as large as they like.
    asked: AskedSizes,
}

impl RtenPredictor {
    pub(super) fn load(bytes: Vec<u8>, signature: &Signature, threads: usize) -> Result<Self, Error> {
        let fail = |reason: String| Error::Load { engine: ENGINE, reason };
        let bytes = quirks::rewrite(bytes);
        let layers = Layers::of(&bytes);
        let nodes = asked_sizes::nodes(&bytes);
        // The bytes may be anything, and rten may panic on a graph it did not expect.
        let loaded =
            catch_unwind(AssertUnwindSafe(|| ModelOptions::with_all_ops().prepack_weights(true).load(bytes)));
        let model = loaded
            .map_err(|_| fail("it panicked while reading the model".to_owned()))?
            .map_err(|error| fail(error.to_string()))?;
        let input_ids = ids(&model, model.input_ids(), &signature.inputs, "input").map_err(fail)?;
        let output_ids = ids(&model, model.output_ids(), &signature.outputs, "output").map_err(fail)?;
        let shared_pool = (threads > 1).then(|| Arc::new(ThreadPool::with_num_threads(threads)));
        let signature = signature.clone();
        let asked = AskedSizes::of(nodes, &model).map_err(fail)?;
        let mut loaded = Self { model, signature, input_ids, output_ids, shared_pool, chain: None, asked };
        if let Some(layers) = layers
            && loaded.shared_pool.is_none()
        {
            loaded.chain = run_as_worker(|| {
                Chain::proven(&layers, |rows| {
                    let [output] = loaded.predict(vec![rows]).ok()?.try_into().ok()?;
                    output.as_float32().map(<[f32]>::to_vec)
                })
            });
        }
        Ok(loaded)
    }

    /// The outputs by the short way, where there is one.
    fn by_chain(&self, inputs: &[Tensor], rows: usize) -> Option<Result<Vec<Tensor>, PredictError>> {
        let chain = self.chain.as_ref().filter(|chain| is_worker() && chain.takes(rows))?;
        let ([input], [output]) = (inputs, self.signature.outputs.as_slice()) else { return None };
        let values = chain.run(rows, input.as_float32()?)?;
        let shape = vec![rows, values.len() / rows];
        Some(outputs::checked(output, shape, TensorData::Float32(values), rows).map(|output| vec![output]))
    }

    /// Some of the model's values, of these inputs.
    fn run(&self, inputs: Vec<Tensor>, wanted: &[NodeId]) -> Result<Vec<Value>, PredictError> {
        let mut values = Vec::with_capacity(inputs.len());
        for (id, tensor) in self.input_ids.iter().zip(inputs) {
            values.push((*id, to_value(tensor)?));
        }
        let pool = self.shared_pool.as_ref().map_or_else(own_pool, Arc::clone);
        let options = RunOptions::default().with_thread_pool(Some(pool));
        let run = || self.model.run(values, wanted, Some(options));
        catch_unwind(AssertUnwindSafe(run))
            .map_err(|_| PredictError::Engine("it panicked".to_owned()))?
            .map_err(|error| fault(&error))
    }
}

impl Predictor for RtenPredictor {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> {
        let rows = self.signature.check_inputs(&inputs)?;
        if rows == 0 {
            return outputs::empty(&self.signature);
        }
        if let Some(outputs) = self.by_chain(&inputs, rows) {
            return outputs;
        }
        if !self.asked.is_empty() {
            self.asked.check(|ids| self.run(inputs.clone(), ids))?;
        }
        let outputs = self.run(inputs, &self.output_ids)?;
        self.signature
            .outputs
            .iter()
            .zip(outputs)
            .map(|(spec, value)| from_value(spec, value, rows))
            .collect()
    }

    fn engine(&self) -> &str {
        ENGINE
    }
}

/// Whose fault it is. A model that has run before, as all that are served have, stumbles over the values or the shapes it was given.
fn fault(error: &RunError) -> PredictError {
    match error.kind() {
        RunErrorKind::OperatorError | RunErrorKind::InvalidInput => outputs::refused(error),
        _ => PredictError::Engine(error.to_string()),
    }
}

/// Finds the node of each tensor of the signature, and checks type and shape where the model states them.
fn ids(model: &Model, nodes: &[NodeId], specs: &[TensorSpec], kind: &str) -> Result<Vec<NodeId>, String> {
    let named = |name: &str| {
        nodes.iter().copied().find(|id| model.node_info(*id).and_then(|node| node.name()) == Some(name))
    };
    if nodes.len() != specs.len() {
        return Err(format!("it has {} {kind}s, the signature {}", nodes.len(), specs.len()));
    }
    let mut found = Vec::with_capacity(specs.len());
    for spec in specs {
        let id = named(&spec.name).ok_or_else(|| format!("it has no {kind} \"{}\"", spec.name))?;
        check_node(model, id, spec).map_err(|reason| format!("{kind} \"{}\" {reason}", spec.name))?;
        found.push(id);
    }
    Ok(found)
}

fn check_node(model: &Model, id: NodeId, spec: &TensorSpec) -> Result<(), String> {
    let rten_type = match spec.dtype {
        DataType::Float32 | DataType::Float64 => rten::DataType::Float,
        DataType::Int32 | DataType::Int64 | DataType::Bool => rten::DataType::Int32,
    };
    let Some(node) = model.node_info(id) else {
        return Ok(());
    };
    if node.dtype().is_some_and(|stated| stated != ValueType::Tensor(rten_type)) {
        return Err(format!("is not {}, as the signature says", spec.dtype));
    }
    let same = |(stated, wanted): (&Dimension, &Option<usize>)| match (stated, wanted) {
        (Dimension::Fixed(stated), Some(wanted)) => stated == wanted,
        (Dimension::Fixed(_), None) => false,
        (Dimension::Symbolic(_), _) => true,
    };
    let fits =
        |shape: Vec<Dimension>| shape.len() == spec.shape.len() && shape.iter().zip(&spec.shape).all(same);
    if !spec.shape.is_empty() && node.shape().is_some_and(|shape| !fits(shape)) {
        return Err(format!("is not {}, as the signature says", shape_text(&spec.shape)));
    }
    Ok(())
}

/// Moves the elements into the engine's tensor; what it has no type for is converted.
fn to_value(tensor: Tensor) -> Result<ValueOrView<'static>, PredictError> {
    let shape = tensor.shape().to_vec();
    let narrowed = |x: i64| {
        i32::try_from(x).map_err(|_| {
            PredictError::Input(format!("{x} does not fit int32, in which the engine rten computes int64"))
        })
    };
    let rounded = |x: f64| {
        let single = x as f32;
        if single.is_infinite() && x.is_finite() {
            let reason = format!("{x:e} does not fit float32, in which the engine rten computes float64");
            return Err(PredictError::Input(reason));
        }
        Ok(single)
    };
    let integers = |data: Vec<i32>| Value::from(rten_tensor::Tensor::from_data(&shape, data));
    let floats = |data: Vec<f32>| Value::from(rten_tensor::Tensor::from_data(&shape, data));
    let value = match tensor.into_data() {
        TensorData::Float32(data) => floats(data),
        TensorData::Float64(data) => floats(data.into_iter().map(rounded).collect::<Result<_, _>>()?),
        TensorData::Int32(data) => integers(data),
        TensorData::Int64(data) => integers(data.into_iter().map(narrowed).collect::<Result<_, _>>()?),
        TensorData::Bool(data) => integers(data.into_iter().map(i32::from).collect()),
    };
    Ok(value.into())
}

/// Moves the elements out of the engine's tensor (a copy only if it is not contiguous, or of another type).
fn from_value(spec: &TensorSpec, value: Value, rows: usize) -> Result<Tensor, PredictError> {
    let (shape, data) = match (value, spec.dtype) {
        (Value::FloatTensor(tensor), dtype) => {
            let (shape, data) = (tensor.shape().to_vec(), tensor.into_data());
            let data = match dtype {
                DataType::Float64 => TensorData::Float64(data.into_iter().map(f64::from).collect()),
                _ => TensorData::Float32(data),
            };
            (shape, data)
        }
        (Value::Int32Tensor(tensor), dtype) => {
            let (shape, data) = (tensor.shape().to_vec(), tensor.into_data());
            let data = match dtype {
                DataType::Int64 => TensorData::Int64(data.into_iter().map(i64::from).collect()),
                DataType::Bool => TensorData::Bool(data.into_iter().map(|x| x != 0).collect()),
                _ => TensorData::Int32(data),
            };
            (shape, data)
        }
        (other, _) => return Err(outputs::misfit(spec, &format!("{:?}", other.dtype()))),
    };
    outputs::checked(spec, shape, data, rows)
}
