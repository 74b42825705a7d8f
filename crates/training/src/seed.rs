//! Random numbers from a seed.
//!
//! The generator is ChaCha8; the steps from its words to floats and to an order of rows are ours, so that the
//! bytes of a model depend on no library's choice. Each purpose draws from its own stream, so that one more
//! draw for one of them changes none of the others.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What random numbers are drawn for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// The weights a network starts from.
    Weights,
    /// The order of rows in an epoch, counted from 1.
    Order {
        /// The epoch.
        epoch: usize,
    },
    /// What a layer leaves out in an update.
    Dropout {
        /// The update, from 0.
        step: u64,
        /// The place of the layer in its network.
        layer: usize,
    },
}

/// A generator for one purpose.
pub(crate) struct Generator(ChaCha8Rng);

impl Generator {
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Self {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        if let Purpose::Dropout { layer, .. } = purpose {
            // Keys of their own, since streams are numbered by updates.
            key[8..16].copy_from_slice(&(layer as u64 + 1).to_le_bytes());
        }
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(match purpose {
            Purpose::Weights => 0,
            Purpose::Order { epoch } => epoch as u64,
            Purpose::Dropout { step, .. } => step,
        });
        Self(generator)
    }

    /// A float of `[-limit, limit)`, from 24 random bits.
    pub(crate) fn symmetric(&mut self, limit: f32) -> f32 {
        const STEP: f32 = 1.0 / (1u32 << 24) as f32;
        let unit = (self.0.next_u32() >> 8) as f32 * STEP;
        (2.0 * unit - 1.0) * limit
    }

    /// A draw of the standard normal distribution (Box and Muller 1958), from 53 random bits each.
    pub(crate) fn normal(&mut self) -> f64 {
        let mut unit = || ((self.0.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let (radius, angle) = ((-2.0 * unit().ln()).sqrt(), std::f64::consts::TAU * unit());
        radius * angle.cos()
    }

    /// Sets each element to `kept` with probability `1 - rate`, and leaves the others.
    pub(crate) fn keep(&mut self, rate: f64, kept: f32, elements: &mut [f32]) {
        let threshold = (rate * f64::from(u32::MAX)) as u32;
        for element in elements {
            if self.0.next_u32() >= threshold {
                *element = kept;
            }
        }
    }

    /// Puts `items` into a uniformly random order (Fisher-Yates).
    pub(crate) fn shuffle(&mut self, items: &mut [u32]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// An integer of `0..bound` without bias (Lemire, "Fast random integer generation in an interval", 2019).
    fn below(&mut self, bound: u64) -> u64 {
        let mut product = u128::from(self.0.next_u64()) * u128::from(bound);
        let unfair = bound.wrapping_neg() % bound;
        while (product as u64) < unfair {
            product = u128::from(self.0.next_u64()) * u128::from(bound);
        }
        (product >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seed: u64, epoch: usize) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..1000).collect();
        Generator::new(seed, Purpose::Order { epoch }).shuffle(&mut rows);
        rows
    }

    #[test]
    fn an_order_is_a_permutation_that_seed_and_epoch_decide() {
        let first = order(7, 1);
        assert_eq!(first, order(7, 1));
        assert_ne!(first, order(7, 2));
        assert_ne!(first, order(8, 1));
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<u32>>());
    }

    #[test]
    fn every_order_of_three_is_equally_likely() {
        let mut generator = Generator::new(1, Purpose::Weights);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..60_000 {
            let mut items = [0, 1, 2];
            generator.shuffle(&mut items);
            *counts.entry(items).or_insert(0usize) += 1;
        }
        assert_eq!(counts.len(), 6);
        // Five standard deviations of a binomial count with mean 10,000.
        assert!(counts.values().all(|&n| n.abs_diff(10_000) < 460), "{counts:?}");
    }

    #[test]
    fn floats_fill_their_interval_evenly() {
        let mut generator = Generator::new(3, Purpose::Weights);
        let draws: Vec<f32> = (0..100_000).map(|_| generator.symmetric(0.25)).collect();
        assert!(draws.iter().all(|x| (-0.25..0.25).contains(x)));
        let mean = draws.iter().map(|&x| f64::from(x)).sum::<f64>() / 1e5;
        let variance = draws.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.0025, "{mean}");
        assert!((variance - 0.25 * 0.25 / 3.0).abs() < 5e-4, "{variance}");
    }

    #[test]
    fn normal_draws_have_mean_0_and_variance_1_and_shares_are_kept() {
        let mut generator = Generator::new(3, Purpose::Dropout { step: 4, layer: 2 });
        let draws: Vec<f64> = (0..100_000).map(|_| generator.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.015 && (variance - 1.0).abs() < 0.025, "{mean} {variance}");
        let mut kept = vec![0.0f32; 100_000];
        generator.keep(0.3, 2.0, &mut kept);
        let share = kept.iter().filter(|x| **x == 2.0).count() as f64 / 1e5;
        assert!((share - 0.7).abs() < 0.007, "{share}");
        let other = |step, layer| Generator::new(3, Purpose::Dropout { step, layer }).normal();
        assert_ne!(other(4, 2), other(5, 2));
        assert_ne!(other(4, 2), other(4, 3));
    }

    /// Words of ChaCha8 with key 7, nonce 0: 742701683, 3281823346, 3936197989, by an implementation apart.
    #[test]
    fn the_words_of_a_seed_never_change() {
        let mut generator = Generator::new(7, Purpose::Weights);
        let draws: Vec<u32> = (0..3).map(|_| generator.symmetric(1.0).to_bits()).collect();
        assert_eq!(draws, [3_207_034_508, 1_057_438_028, 1_062_550_330]);
    }
}
