//! What every rule has in common: how gradients are clipped before it, and how weights decay.

use rayon::prelude::*;

use super::update::BLOCK;
use super::{not_negative, positive};
use crate::Error;
use crate::config::config;
use crate::vectorised::{Vectorised, vectorised};

/// The keys that all optimizers share.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    pub(super) weight_decay: Option<f64>,
    pub(super) clipnorm: Option<f64>,
    pub(super) clipvalue: Option<f64>,
    pub(super) global_clipnorm: Option<f64>,
}

/// What happens to the elements of one tensor before the rule sees them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prepare {
    /// The gradient is multiplied by it,
    pub(super) scale: f32,
    /// then kept within plus and minus this.
    pub(super) limit: f32,
    /// This share of a weight is taken from it.
    pub(super) decay: f32,
}

impl Prepare {
    /// The gradient to use; NaN stays NaN.
    #[inline(always)]
    pub(super) fn gradient(&self, gradient: f32) -> f32 {
        let scaled = gradient * self.scale;
        let below = if scaled > self.limit { self.limit } else { scaled };
        if below < -self.limit { -self.limit } else { below }
    }

    /// The weight after its decay.
    #[inline(always)]
    pub(super) fn weight(&self, weight: f32) -> f32 {
        weight - weight * self.decay
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), Error> {
        if let Some(decay) = self.weight_decay {
            not_negative("weight_decay", decay)?;
        }
        let mut first = None;
        for (key, value) in [
            ("clipnorm", self.clipnorm),
            ("clipvalue", self.clipvalue),
            ("global_clipnorm", self.global_clipnorm),
        ] {
            let Some(value) = value else { continue };
            positive(key, value)?;
            if let Some(first) = first {
                let way_out = format!("gradients are clipped in one way: take either it or {first}");
                return Err(config(format!("fit.optimizer.{key}"), &value, way_out));
            }
            first = Some(key);
        }
        Ok(())
    }

    /// What to do to each tensor at a learning rate.
    pub(super) fn prepare(&self, learning_rate: f64, gradients: &[Vec<f32>]) -> Vec<Prepare> {
        let decay = (self.weight_decay.unwrap_or(0.0) * learning_rate) as f32;
        let limit = self.clipvalue.map_or(f32::INFINITY, |limit| limit as f32);
        let global = self.global_clipnorm.map(|most| {
            let norm = gradients.iter().map(|gradient| sum_of_squares(gradient)).sum::<f64>().sqrt();
            // A norm that is no number must show in every weight, as in Keras.
            if norm.is_finite() { shrink(norm, most) } else { f32::NAN }
        });
        let scale = |gradient: &[f32]| match (global, self.clipnorm) {
            (Some(scale), _) => scale,
            (None, Some(most)) => shrink(sum_of_squares(gradient).sqrt(), most),
            (None, None) => 1.0,
        };
        gradients.iter().map(|gradient| Prepare { scale: scale(gradient), limit, decay }).collect()
    }
}

/// What a tensor of a norm is multiplied by so that its norm is `most` at most; NaN stays NaN.
fn shrink(norm: f64, most: f64) -> f32 {
    if norm <= most { 1.0 } else { (most / norm) as f32 }
}

/// In double precision, blocks added in order: the same for any number of threads.
pub(super) fn sum_of_squares(values: &[f32]) -> f64 {
    if values.len() <= BLOCK {
        return vectorised(Squares(values));
    }
    let blocks: Vec<f64> = values.par_chunks(BLOCK).map(|block| vectorised(Squares(block))).collect();
    blocks.iter().sum()
}

struct Squares<'a>(&'a [f32]);

impl Vectorised for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        const LANES: usize = 16;
        let mut sums = [0.0; LANES];
        let blocks = self.0.chunks_exact(LANES);
        let rest: f64 = blocks.remainder().iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        for block in blocks {
            for (sum, &x) in sums.iter_mut().zip(block) {
                *sum += f64::from(x) * f64::from(x);
            }
        }
        sums.iter().sum::<f64>() + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_follows_its_definitions() {
        let gradients = [vec![3.0f32, 4.0], vec![12.0]];
        let scales = |limits: Limits| -> Vec<f32> {
            limits.prepare(0.1, &gradients).iter().map(|prepare| prepare.scale).collect()
        };
        assert_eq!(scales(Limits::default()), [1.0, 1.0]);
        assert_eq!(scales(Limits { clipnorm: Some(1.0), ..Limits::default() }), [0.2, 1.0 / 12.0]);
        assert_eq!(scales(Limits { clipnorm: Some(10.0), ..Limits::default() }), [1.0, 10.0 / 12.0]);
        // The norm of all is 13.
        assert_eq!(scales(Limits { global_clipnorm: Some(6.5), ..Limits::default() }), [0.5, 0.5]);
        let prepare = Limits { clipvalue: Some(3.5), ..Limits::default() }.prepare(0.1, &gradients)[0];
        assert_eq!([3.0, 4.0, -4.0].map(|g| prepare.gradient(g)), [3.0, 3.5, -3.5]);
        assert!(prepare.gradient(f32::NAN).is_nan());
    }

    #[test]
    fn an_infinite_gradient_is_no_small_one() {
        let limits = Limits { global_clipnorm: Some(1.0), ..Limits::default() };
        let prepare = limits.prepare(0.1, &[vec![f32::INFINITY], vec![1.0]]);
        assert!(prepare.iter().all(|prepare| prepare.gradient(1.0).is_nan()));
    }

    #[test]
    fn a_sum_does_not_depend_on_threads() {
        let values: Vec<f32> = (0..3 * BLOCK + 7).map(|i| (i as f32 * 0.37).sin()).collect();
        let plain: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
        let sums: Vec<f64> = [1, 2, 5]
            .map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| sum_of_squares(&values))
            })
            .to_vec();
        assert!(sums.iter().all(|sum| sum.to_bits() == sums[0].to_bits()));
        assert!((sums[0] - plain).abs() < 1e-9 * plain);
    }
}
