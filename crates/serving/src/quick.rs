//! What is so quick that waking another thread for it would cost more than to compute it where it is asked.
//!
//! A caller's thread has other requests to read and answer meanwhile, so this is bounded by time: it is measured when a
//! model is loaded.

use std::time::{Duration, Instant};

use predictor::{PredictError, Predictor, Signature, TensorSpec};

use crate::batch::{self, Batching};

/// The longest that a caller computes by itself.
const QUICK: Duration = Duration::from_micros(200);
/// The least of so many times is taken, since a thread may be interrupted.
const TRIES: usize = 5;
/// Rows of the larger of two batches that are timed.
const MANY_ROWS: usize = 33;

/// The most rows that are computed within [`QUICK`]; 0 for a model that is not quick, or of which this cannot be told
/// from the number of rows.
pub(crate) fn rows(predictor: &dyn Predictor, batching: &Batching) -> usize {
    if has_open_axes(predictor.signature()) {
        return 0;
    }
    let time = |rows: usize| -> Result<Duration, PredictError> {
        let mut least = Duration::MAX;
        for _ in 0..TRIES {
            let inputs = batch::zeros(predictor.signature(), rows)?;
            let begun = Instant::now();
            batching.run(predictor, inputs, rows, usize::MAX)?;
            least = least.min(begun.elapsed());
        }
        Ok(least)
    };
    let Ok(one) = time(1) else { return 0 };
    if one > QUICK {
        return 0;
    }
    let many = match batching {
        Batching::On { .. } => time(MANY_ROWS),
        Batching::Off { .. } => return 1,
    };
    let Ok(many) = many else { return 1 };
    let row = many.saturating_sub(one) / (MANY_ROWS as u32 - 1);
    let more = (QUICK - one).as_nanos() / row.as_nanos().max(1);
    usize::try_from(more).unwrap_or(usize::MAX).saturating_add(1)
}

/// Whether the caller chooses more than the number of rows.
fn has_open_axes(signature: &Signature) -> bool {
    let open = |spec: &TensorSpec| spec.shape.iter().skip(1).any(Option::is_none);
    signature.inputs.iter().any(open)
}

#[cfg(test)]
mod tests {
    use predictor::{DataType, Tensor};

    use super::*;

    /// Takes so long for a row.
    struct Slow(Signature, Duration);

    impl Slow {
        fn new(width: Option<usize>, row: Duration) -> Self {
            let spec =
                |name: &str, shape| TensorSpec { name: name.to_owned(), dtype: DataType::Float32, shape };
            let inputs = vec![spec("x", vec![None, width])];
            Self(Signature { inputs, outputs: vec![spec("y", vec![None])] }, row)
        }
    }

    impl Predictor for Slow {
        fn signature(&self) -> &Signature {
            &self.0
        }

        fn predict(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> {
            let rows = inputs[0].rows();
            let begun = Instant::now();
            while begun.elapsed() < self.1 * rows as u32 {}
            Ok(vec![Tensor::float32(vec![rows], vec![0.0; rows]).unwrap()])
        }

        fn engine(&self) -> &str {
            "slow"
        }
    }

    #[test]
    fn rows_that_fit_the_time_are_quick() {
        let on = Batching::On { least_rows: 1 };
        let of = |micros| rows(&Slow::new(Some(3), Duration::from_micros(micros)), &on);
        let found = of(20);
        assert!((5..=11).contains(&found), "{found}");
        assert_eq!(of(400), 0);
        assert!(of(0) > 100);
    }

    #[test]
    fn what_the_number_of_rows_does_not_tell_is_not_quick() {
        let quick = Duration::ZERO;
        assert_eq!(rows(&Slow::new(None, quick), &Batching::On { least_rows: 1 }), 0);
        assert_eq!(rows(&Slow::new(Some(3), quick), &Batching::Off { reason: String::new() }), 1);
    }
}
