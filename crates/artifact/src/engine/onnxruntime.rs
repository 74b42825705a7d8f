//! ONNX Runtime: a library of the machine, loaded when it is first asked for. Every operator of ONNX and of
//! ONNX-ML, any batch size from one load.
//!
//! A session runs one call at a time, so each thread that calls takes one from a pool and puts it back. Its C++ code
//! runs in this process: a model that crashes it takes the process along, which is why what rten and our
//! trees can run does not come here unasked.

mod library;

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, TensorElementType, ValueType};
use predictor::{DataType, PredictError, Predictor, Signature, Tensor, TensorData, TensorSpec};

use crate::Error;
use crate::import::Unsupported;
pub use library::LibraryPlaces;

const ENGINE: &str = "onnxruntime";

/// Where this process looks for the library; the first who says it decides.
static PLACES: OnceLock<LibraryPlaces> = OnceLock::new();

/// A process can have one library and one environment.
static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();

/// The library, loaded.
pub(super) struct Runtime {
    pub(super) version: String,
    pub(super) library: PathBuf,
    environment: Environment,
}

/// Says where this process looks for the library of ONNX Runtime; without it only the folders of the system are
/// looked at. To be called once, before an engine is used: `false` if it is too late, because it was said or
/// looked for already.
pub fn look_for_onnxruntime(places: LibraryPlaces) -> bool {
    PLACES.set(places).is_ok()
}

/// The library, loaded at the first call; else why it is not there.
pub(super) fn runtime() -> Result<&'static Runtime, &'static str> {
    let opened = RUNTIME.get_or_init(|| {
        let places = PLACES.get_or_init(LibraryPlaces::of_the_system);
        let library = places.find()?;
        // The library may be anything of that name, and the binding asserts what it expects of it.
        catch_unwind(|| open(library.clone())).unwrap_or_else(|_| {
            Err(format!("{} is not a library of ONNX Runtime that can be used", library.display()))
        })
    });
    opened.as_ref().map_err(String::as_str)
}

fn open(library: PathBuf) -> Result<Runtime, String> {
    let way_out =
        "name another library with BELLWETHER_ONNXRUNTIME, or install the Python package onnxruntime";
    let builder = ort::init_from(&library).map_err(|error| format!("{error}; {way_out}"))?;
    let environment = builder
        .with_name("bellwether")
        .with_telemetry(false)
        .build()
        .map_err(|error| format!("{} cannot be started: {error}; {way_out}", library.display()))?;
    // What goes wrong is told by the result of a call.
    environment.set_log_level(ort::logging::LogLevel::Fatal);
    Ok(Runtime { version: library::version(&library, ort::info()), library, environment })
}

/// What ONNX Runtime says when the model is loaded; empty if it takes it.
pub(super) fn unsupported(model: &[u8]) -> Result<Vec<Unsupported>, Error> {
    let runtime = runtime().map_err(|reason| Error::Load { engine: ENGINE, reason: reason.to_owned() })?;
    let refused = match session(runtime, model, 1) {
        Ok(_) => return Ok(vec![]),
        Err(reason) => reason,
    };
    Ok(vec![Unsupported { operator: "the model".to_owned(), nodes: vec![], layer: None, reason: refused }])
}

fn session(runtime: &Runtime, model: &[u8], threads: usize) -> Result<Session, String> {
    let build = || -> Result<Session, ort::Error> {
        let plain =
            |error: ort::Error<ort::session::builder::SessionBuilder>| ort::Error::new(error.to_string());
        Session::builder(&runtime.environment)?
            .with_optimization_level(GraphOptimizationLevel::Level3)
            .map_err(plain)?
            .with_intra_threads(threads)
            .map_err(plain)?
            .with_inter_threads(1)
            .map_err(plain)?
            // Threads that wait by spinning take the cores that other deployments compute on.
            .with_intra_op_spinning(false)
            .map_err(plain)?
            .commit_from_memory(model)
    };
    let made = catch_unwind(AssertUnwindSafe(build)).map_err(|_| "it panicked while reading the model")?;
    made.map_err(|error| error.to_string())
}

/// A model loaded into ONNX Runtime.
pub(super) struct OnnxRuntimePredictor {
    runtime: &'static Runtime,
    signature: Signature,
    engine: String,
    model: Vec<u8>,
    threads: usize,
    /// The most calls that run side by side: as many as there are cores.
    most_sessions: usize,
    pool: Mutex<Pool>,
    freed: Condvar,
}

struct Pool {
    idle: Vec<Session>,
    /// Idle and running.
    made: usize,
}

impl OnnxRuntimePredictor {
    pub(super) fn load(model: Vec<u8>, signature: &Signature, threads: usize) -> Result<Self, Error> {
        let fail = |reason: String| Error::Load { engine: ENGINE, reason };
        let runtime = runtime().map_err(|reason| fail(reason.to_owned()))?;
        let threads = threads.max(1);
        let first = session(runtime, &model, threads).map_err(fail)?;
        let named = |outlets: &[ort::value::Outlet]| -> Vec<(String, ValueType)> {
            outlets.iter().map(|outlet| (outlet.name().to_owned(), outlet.dtype().clone())).collect()
        };
        check(&named(first.inputs()), &signature.inputs, "input").map_err(fail)?;
        check(&named(first.outputs()), &signature.outputs, "output").map_err(fail)?;
        Ok(Self {
            runtime,
            signature: signature.clone(),
            engine: format!("{ENGINE} {}", runtime.version),
            model,
            threads,
            most_sessions: std::thread::available_parallelism().map_or(1, usize::from),
            pool: Mutex::new(Pool { idle: vec![first], made: 1 }),
            freed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session of the caller's own: an idle one, a new one, or the next that becomes free.
    fn take(&self) -> Result<Session, PredictError> {
        let mut pool = self.lock();
        loop {
            if let Some(session) = pool.idle.pop() {
                return Ok(session);
            }
            if pool.made < self.most_sessions {
                break;
            }
            pool = self.freed.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        pool.made += 1;
        drop(pool);
        session(self.runtime, &self.model, self.threads).map_err(|reason| {
            self.lock().made -= 1;
            self.freed.notify_one();
            PredictError::Engine(reason)
        })
    }

    fn put_back(&self, session: Option<Session>) {
        let mut pool = self.lock();
        match session {
            Some(session) => pool.idle.push(session),
            None => pool.made -= 1,
        }
        self.freed.notify_one();
    }

    fn run(
        &self,
        session: &mut Session,
        inputs: Vec<Tensor>,
        rows: usize,
    ) -> Result<Vec<Tensor>, PredictError> {
        let fail = |error: ort::Error| PredictError::Engine(error.to_string());
        let mut values: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::with_capacity(inputs.len());
        for (spec, tensor) in self.signature.inputs.iter().zip(inputs) {
            values.push((Cow::Borrowed(spec.name.as_str()), to_value(tensor).map_err(fail)?.into()));
        }
        let outputs = session.run(values).map_err(|error| match error.code() {
            ort::ErrorCode::InvalidArgument => super::outputs::refused(&error),
            _ => fail(error),
        })?;
        let one = |spec: &TensorSpec| {
            let value = outputs
                .get(&spec.name)
                .ok_or_else(|| PredictError::Engine(format!("it gave no output \"{}\"", spec.name)))?;
            from_value(spec, value, rows)
        };
        self.signature.outputs.iter().map(one).collect()
    }
}

impl Predictor for OnnxRuntimePredictor {
    fn row_tolerance(&self) -> f64 {
        1e-6
    }

    fn allocates_outside(&self) -> bool {
        true
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> {
        let rows = self.signature.check_inputs(&inputs)?;
        if rows == 0 {
            return super::outputs::empty(&self.signature);
        }
        let mut session = self.take()?;
        let ran = catch_unwind(AssertUnwindSafe(|| self.run(&mut session, inputs, rows)));
        self.put_back(ran.is_ok().then_some(session));
        ran.unwrap_or_else(|_| Err(PredictError::Engine("it panicked".to_owned())))
    }

    fn engine(&self) -> &str {
        &self.engine
    }
}

fn element(dtype: DataType) -> TensorElementType {
    match dtype {
        DataType::Float32 => TensorElementType::Float32,
        DataType::Float64 => TensorElementType::Float64,
        DataType::Int32 => TensorElementType::Int32,
        DataType::Int64 => TensorElementType::Int64,
        DataType::Bool => TensorElementType::Bool,
    }
}

/// Checks that the model has the tensors of the signature, and no others, with these types and ranks.
fn check(found: &[(String, ValueType)], specs: &[TensorSpec], kind: &str) -> Result<(), String> {
    if found.len() != specs.len() {
        return Err(format!("it has {} {kind}s, the signature {}", found.len(), specs.len()));
    }
    for spec in specs {
        let Some((_, value)) = found.iter().find(|(name, _)| *name == spec.name) else {
            return Err(format!("it has no {kind} \"{}\"", spec.name));
        };
        if value.tensor_type() != Some(element(spec.dtype)) {
            return Err(format!(
                "{kind} \"{}\" is {value}, not {} as the signature says",
                spec.name, spec.dtype
            ));
        }
        if spec.shape.is_empty() {
            continue;
        }
        let stated = value.tensor_shape().map_or(&[][..], |shape| &shape[..]);
        let fits = |(stated, wanted): (&i64, &Option<usize>)| match wanted {
            _ if *stated < 0 => true,
            Some(wanted) => usize::try_from(*stated) == Ok(*wanted),
            // What comes out is looked at when it does.
            None => kind == "output",
        };
        if stated.len() != spec.shape.len() || !stated.iter().zip(&spec.shape).all(fits) {
            let wanted = crate::graph::shape_text(&spec.shape);
            return Err(format!("{kind} \"{}\" is not {wanted}, as the signature says", spec.name));
        }
    }
    Ok(())
}

/// Moves the elements into the engine's tensor.
fn to_value(tensor: Tensor) -> Result<DynValue, ort::Error> {
    use ort::value::Tensor as Owned;
    let shape = tensor.shape().to_vec();
    Ok(match tensor.into_data() {
        TensorData::Float32(data) => Owned::from_array((shape, data))?.into_dyn(),
        TensorData::Float64(data) => Owned::from_array((shape, data))?.into_dyn(),
        TensorData::Int32(data) => Owned::from_array((shape, data))?.into_dyn(),
        TensorData::Int64(data) => Owned::from_array((shape, data))?.into_dyn(),
        TensorData::Bool(data) => Owned::from_array((shape, data))?.into_dyn(),
    })
}

/// Copies the elements out of the engine's tensor.
fn from_value(spec: &TensorSpec, value: &DynValue, rows: usize) -> Result<Tensor, PredictError> {
    let fail = |error: ort::Error| PredictError::Engine(format!("output \"{}\": {error}", spec.name));
    let (shape, data) = match spec.dtype {
        DataType::Float32 => {
            value.try_extract_tensor().map(|(shape, data)| (shape, TensorData::Float32(data.to_vec())))
        }
        DataType::Float64 => {
            value.try_extract_tensor().map(|(shape, data)| (shape, TensorData::Float64(data.to_vec())))
        }
        DataType::Int32 => {
            value.try_extract_tensor().map(|(shape, data)| (shape, TensorData::Int32(data.to_vec())))
        }
        DataType::Int64 => {
            value.try_extract_tensor().map(|(shape, data)| (shape, TensorData::Int64(data.to_vec())))
        }
        DataType::Bool => {
            value.try_extract_tensor().map(|(shape, data)| (shape, TensorData::Bool(data.to_vec())))
        }
    }
    .map_err(fail)?;
    let shape: Vec<usize> = shape.iter().map(|axis| usize::try_from(*axis).unwrap_or(0)).collect();
    super::outputs::checked(spec, shape, data, rows)
}
