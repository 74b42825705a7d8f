//! What rows cost whose callers choose more than their number: sequences of any length, say.
//!
//! The memory of such a call grows with what the caller chooses, and faster: attention takes its square. It is measured when
//! a model is loaded, a row at a time and twice as long each time, and for what is longer it is estimated from above.

use std::time::{Duration, Instant};

use predictor::{PredictError, Predictor, Signature, Tensor};

use crate::batch;
use crate::memory;

/// No longer rows are measured: larger ones are estimated.
const SIZE_MAX: usize = 1 << 16;
/// Nor is a longer one measured after one that took so long to compute.
const TRIED_MAX: Duration = Duration::from_millis(100);
/// Growth beyond the measured is taken for cubic where a doubling took more than this, else for quadratic.
const QUADRATIC_MAX: f64 = 4.6;

/// What a row costs, by the size of its largest open axis; nothing for a model without any.
#[derive(Debug)]
pub(crate) struct OpenAxes {
    /// For each input, its open axes within a row.
    axes: Vec<Vec<usize>>,
    /// Sizes that were tried and the bytes a row of each took, both climbing.
    measured: Vec<(usize, u64)>,
    /// Bytes that a call may take.
    call_bytes: u64,
}

impl OpenAxes {
    /// Measures a model within `call_bytes`, in batches of at least so many rows.
    pub(crate) fn of(predictor: &dyn Predictor, least_rows: usize, call_bytes: u64) -> Self {
        let mut found = Self { axes: open_axes(predictor.signature()), measured: Vec::new(), call_bytes };
        if found.is_closed() {
            return found;
        }
        let mut size = 1;
        while size <= SIZE_MAX && found.row_bytes(size).saturating_mul(least_rows as u64) <= call_bytes {
            let Ok(inputs) = batch::zeros_of(predictor.signature(), least_rows, size) else { break };
            let watch = Watch::begin();
            // A model may be made for no more than some size.
            let input_bytes: u64 = inputs.iter().map(|input| input.size_bytes() as u64).sum();
            let run = || crate::worker::predict(predictor, inputs);
            let (outputs, taken) = memory::measured(run, |_| predictor.allocates_outside());
            if outputs.is_err() {
                break;
            }
            // The inputs were there before; they may be freed meanwhile.
            let bytes = (taken.most + input_bytes).div_ceil(least_rows as u64);
            let before = found.measured.last().map_or(0, |(_, bytes)| *bytes);
            found.measured.push((size, bytes.max(before)));
            if watch.computed() > TRIED_MAX {
                break;
            }
            size *= 2;
        }
        found
    }

    fn is_closed(&self) -> bool {
        self.axes.iter().all(Vec::is_empty)
    }

    /// The most rows that a call may have of which these are some; an error if not even so many fit.
    pub(crate) fn rows_max(&self, inputs: &[Tensor], least_rows: usize) -> Result<usize, PredictError> {
        if self.is_closed() {
            return Ok(usize::MAX);
        }
        let size = self.size(inputs);
        let row_bytes = self.row_bytes(size);
        let rows = usize::try_from(self.call_bytes / row_bytes.max(1)).unwrap_or(usize::MAX);
        if rows >= least_rows {
            return Ok(rows);
        }
        let needed = row_bytes.saturating_mul(least_rows as u64);
        Err(PredictError::Input(format!(
            "an open axis has {size} elements: to compute it may take {} MB of memory, and the deployment has {} MB for a call; send a \
             smaller one, or deploy the model with more memory_gb",
            needed.div_ceil(1_000_000),
            self.call_bytes / 1_000_000
        )))
    }

    /// The largest open axis of a row.
    fn size(&self, inputs: &[Tensor]) -> usize {
        let of = |(axes, input): (&Vec<usize>, &Tensor)| {
            axes.iter().filter_map(|axis| input.shape().get(*axis).copied()).max()
        };
        self.axes.iter().zip(inputs).filter_map(of).max().unwrap_or(0)
    }

    /// What a row takes at most, of all that is known.
    fn row_bytes(&self, size: usize) -> u64 {
        if let Some((_, bytes)) = self.measured.iter().find(|(tried, _)| *tried >= size) {
            return *bytes;
        }
        let Some((last, bytes)) = self.measured.last().copied() else { return 0 };
        let growth = match self.measured.as_slice() {
            [.., (_, before), _] if bytes as f64 > QUADRATIC_MAX * *before as f64 => 3,
            _ => 2,
        };
        (bytes as f64 * (size as f64 / last as f64).powi(growth)) as u64
    }
}

/// How long this thread computes: one that gives way waits longer than that, and what it measures would end too soon.
struct Watch {
    begun: Instant,
    ran_before: Option<Duration>,
}

impl Watch {
    fn begin() -> Self {
        Self { begun: Instant::now(), ran_before: ran() }
    }

    fn computed(&self) -> Duration {
        let ran = ran().zip(self.ran_before).map(|(now, before)| now.saturating_sub(before));
        ran.unwrap_or_else(|| self.begun.elapsed())
    }
}

/// How long this thread has run; nothing where the system does not say.
fn ran() -> Option<Duration> {
    crate::thread_times("thread-self").map(|(ran, _)| ran)
}

/// For each input, its axes within a row whose size the caller chooses.
fn open_axes(signature: &Signature) -> Vec<Vec<usize>> {
    let of = |shape: &[Option<usize>]| (1..shape.len()).filter(|axis| shape[*axis].is_none()).collect();
    signature.inputs.iter().map(|spec| of(&spec.shape)).collect()
}

#[cfg(test)]
mod tests {
    use predictor::{DataType, TensorSpec};

    use super::*;

    /// Takes `bytes(size)` a row of a size, as its allocator tells, and no size above 500.
    struct Hungry(Signature, fn(usize) -> usize);

    impl Hungry {
        fn new(axis: Option<usize>, bytes: fn(usize) -> usize) -> Self {
            let spec =
                |name: &str, shape| TensorSpec { name: name.to_owned(), dtype: DataType::Float32, shape };
            Self(
                Signature { inputs: vec![spec("x", vec![None, axis])], outputs: vec![spec("y", vec![None])] },
                bytes,
            )
        }
    }

    impl Predictor for Hungry {
        fn signature(&self) -> &Signature {
            &self.0
        }

        fn predict(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> {
            let (rows, size) = (inputs[0].rows(), inputs[0].shape()[1]);
            if size > 500 {
                return Err(PredictError::Input("too long".to_owned()));
            }
            let bytes = (rows * (self.1)(size)) as i64;
            memory::count_allocated(bytes);
            memory::count_allocated(-bytes);
            Ok(vec![Tensor::float32(vec![rows], vec![0.0; rows]).unwrap()])
        }

        fn engine(&self) -> &str {
            "hungry"
        }
    }

    fn rows(count: usize, size: usize) -> Vec<Tensor> {
        vec![Tensor::float32(vec![count, size], vec![0.0; count * size]).unwrap()]
    }

    #[test]
    fn what_a_row_takes_bounds_the_rows_of_a_call() {
        const MB: usize = 1 << 20;
        // 256 MB at 256, and so 1 GB at 512.
        let model = Hungry::new(None, |size| size * size * (MB / 256));
        let axes = OpenAxes::of(&model, 1, 1_000 * MB as u64);
        let most = |size| axes.rows_max(&rows(2, size), 1);
        assert_eq!(most(256), Ok(3), "{axes:?}");
        assert_eq!(most(200), Ok(3));
        assert_eq!(most(16), Ok(999));
        let Err(PredictError::Input(reason)) = most(4096) else { panic!("{axes:?}") };
        assert!(reason.starts_with("an open axis has 4096 elements: to compute it may take 68"), "{reason}");
        assert!(reason.contains("send a smaller one"), "{reason}");
        assert_eq!(axes.measured.last().map(|(size, _)| *size), Some(256));
    }

    #[test]
    fn what_a_thread_waits_is_not_what_it_computes() {
        let watch = Watch::begin();
        std::thread::sleep(TRIED_MAX * 2);
        let waited = watch.computed();
        let until = Instant::now() + TRIED_MAX;
        while Instant::now() < until || watch.computed() < TRIED_MAX / 2 {}
        assert!(ran().is_none() || waited < TRIED_MAX, "{waited:?}");
    }

    #[test]
    fn a_model_without_open_axes_is_not_tried() {
        let axes = OpenAxes::of(&Hungry::new(Some(3), |_| panic!("tried")), 1, 0);
        assert_eq!(axes.rows_max(&rows(5, 3), 2), Ok(usize::MAX));
    }

    #[test]
    fn beyond_the_measured_it_grows_as_it_did_at_last() {
        let of = |measured: Vec<(usize, u64)>| OpenAxes { axes: vec![vec![1]], measured, call_bytes: 1000 };
        assert_eq!(of(vec![(1, 10), (2, 15)]).row_bytes(4), 60);
        assert_eq!(of(vec![(1, 10), (2, 80)]).row_bytes(4), 640);
        assert_eq!(of(vec![(1, 10), (2, 15)]).row_bytes(1), 10);
        assert_eq!(of(vec![(1, u64::MAX)]).row_bytes(usize::MAX), u64::MAX);
    }
}
