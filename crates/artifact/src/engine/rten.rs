//! rten, the engine that is always there: pure Rust, any batch size from one load.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use predictor::{DataType, PredictError, Predictor, Signature, Tensor, TensorData, TensorSpec};
use rten::{Dimension, Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView, ValueType};
use rten_tensor::Layout;

use crate::Error;
use crate::graph::shape_text;

const ENGINE: &str = "rten 0.27";

thread_local! {
    /// The one-thread pool of this thread: the one it belongs to inside [`run_as_worker`], else a companion that
    /// computes while this thread waits. rten computes only on pools, and one pool shared by all callers would
    /// make them queue.
    static OWN_POOL: RefCell<Option<Arc<ThreadPool>>> = const { RefCell::new(None) };
}

/// Runs `work` on a thread that engines compute on directly: a call of a single-threaded model from inside costs
/// no hand-over to another thread. For the loops of serving threads; the calling thread waits for the result.
pub fn run_as_worker<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            OWN_POOL.take();
        }
    }
    let pool = Arc::new(ThreadPool::with_num_threads(1));
    let inside = Arc::clone(&pool);
    pool.run(move || {
        OWN_POOL.set(Some(inside));
        let _leave = Leave;
        work()
    })
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
}

impl RtenPredictor {
    pub(super) fn load(bytes: Vec<u8>, signature: &Signature, threads: usize) -> Result<Self, Error> {
        let fail = |reason: String| Error::Load { engine: ENGINE, reason };
        // The bytes may be anything, and rten may panic on a graph it did not expect.
        let loaded =
            catch_unwind(AssertUnwindSafe(|| ModelOptions::with_all_ops().prepack_weights(true).load(bytes)));
        let model = loaded
            .map_err(|_| fail("it panicked while reading the model".to_owned()))?
            .map_err(|error| fail(error.to_string()))?;
        let input_ids = ids(&model, model.input_ids(), &signature.inputs, "input").map_err(fail)?;
        let output_ids = ids(&model, model.output_ids(), &signature.outputs, "output").map_err(fail)?;
        let shared_pool = (threads > 1).then(|| Arc::new(ThreadPool::with_num_threads(threads)));
        Ok(Self { model, signature: signature.clone(), input_ids, output_ids, shared_pool })
    }

    fn empty_outputs(&self) -> Result<Vec<Tensor>, PredictError> {
        self.signature.outputs.iter().map(|spec| make(spec, empty(spec.dtype)?, 0)).collect()
    }
}

impl Predictor for RtenPredictor {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> {
        let rows = self.signature.check_inputs(&inputs)?;
        if rows == 0 {
            return self.empty_outputs();
        }
        let mut values = Vec::with_capacity(inputs.len());
        for (id, tensor) in self.input_ids.iter().zip(inputs) {
            values.push((*id, to_value(tensor)?));
        }
        let pool = self.shared_pool.as_ref().map_or_else(own_pool, Arc::clone);
        let options = RunOptions::default().with_thread_pool(Some(pool));
        let outputs = self
            .model
            .run(values, &self.output_ids, Some(options))
            .map_err(|error| PredictError::Engine(error.to_string()))?;
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
        DataType::Float32 => rten::DataType::Float,
        DataType::Int32 => rten::DataType::Int32,
        other => return Err(format!("is {other}; the engine takes float32 and int32")),
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
    if node.shape().is_some_and(|shape| !fits(shape)) {
        return Err(format!("is not {}, as the signature says", shape_text(&spec.shape)));
    }
    Ok(())
}

/// Moves the elements into the engine's tensor.
fn to_value(tensor: Tensor) -> Result<ValueOrView<'static>, PredictError> {
    let shape = tensor.shape().to_vec();
    let value: Value = match tensor.into_data() {
        TensorData::Float32(data) => rten_tensor::Tensor::from_data(&shape, data).into(),
        TensorData::Int32(data) => rten_tensor::Tensor::from_data(&shape, data).into(),
        other => return Err(PredictError::Input(format!("the engine takes no {}", other.data_type()))),
    };
    Ok(value.into())
}

/// Moves the elements out of the engine's tensor (a copy only if it is not contiguous).
fn from_value(spec: &TensorSpec, value: Value, rows: usize) -> Result<Tensor, PredictError> {
    let (shape, data) = match value {
        Value::FloatTensor(tensor) => (tensor.shape().to_vec(), TensorData::Float32(tensor.into_data())),
        Value::Int32Tensor(tensor) => (tensor.shape().to_vec(), TensorData::Int32(tensor.into_data())),
        other => return Err(misfit(spec, &format!("{:?}", other.dtype()))),
    };
    let fits = shape.first() == Some(&rows)
        && shape.len() == spec.shape.len()
        && shape.iter().zip(&spec.shape).all(|(got, want)| want.is_none_or(|want| want == *got));
    if !fits || data.data_type() != spec.dtype {
        return Err(misfit(spec, &format!("{} {shape:?}", data.data_type())));
    }
    Tensor::new(shape, data).map_err(|error| PredictError::Engine(error.to_string()))
}

fn misfit(spec: &TensorSpec, got: &str) -> PredictError {
    PredictError::Engine(format!("output \"{}\" is {got}, not as the signature says", spec.name))
}

fn empty(dtype: DataType) -> Result<TensorData, PredictError> {
    match dtype {
        DataType::Float32 => Ok(TensorData::Float32(vec![])),
        DataType::Int32 => Ok(TensorData::Int32(vec![])),
        other => Err(PredictError::Engine(format!("the engine gives no {other}"))),
    }
}

fn make(spec: &TensorSpec, data: TensorData, rows: usize) -> Result<Tensor, PredictError> {
    let shape = spec.shape.iter().map(|axis| axis.unwrap_or(rows)).collect();
    Tensor::new(shape, data).map_err(|error| PredictError::Engine(error.to_string()))
}
