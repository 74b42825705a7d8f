//! How long replies took, in buckets of 1.6 %.

/// Buckets a power of two.
const FINE: u64 = 64;
const FINE_BITS: u32 = FINE.trailing_zeros();

/// Counts of durations in nanoseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum: u128,
    largest: u64,
}

impl Histogram {
    /// Counts one.
    pub(crate) fn add(&mut self, nanoseconds: u64) {
        let bucket = bucket(nanoseconds);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
        self.sum += u128::from(nanoseconds);
        self.largest = self.largest.max(nanoseconds);
    }

    /// Counts all that `other` has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.sum += other.sum;
        self.largest = self.largest.max(other.largest);
    }

    /// How many were counted.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Microseconds that `percent` of all took at most; 0 if there are none.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let rank = (self.total as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(at).min(self.largest) as f64 / 1000.0;
            }
        }
        self.largest as f64 / 1000.0
    }

    /// Mean in microseconds; 0 if there are none.
    pub(crate) fn mean(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.sum as f64 / self.total as f64 / 1000.0 }
    }

    /// The longest in microseconds.
    pub(crate) fn max(&self) -> f64 {
        self.largest as f64 / 1000.0
    }
}

fn bucket(value: u64) -> usize {
    let power = (64 - value.leading_zeros()).saturating_sub(FINE_BITS + 1);
    (u64::from(power) * FINE + (value >> power)) as usize
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * FINE {
        return bucket;
    }
    let power = bucket / FINE - 1;
    ((bucket - power * FINE + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket() {
        let mut last = None;
        for value in (0..5000).chain([1 << 20, (1 << 30) + 12345, u64::MAX / 3]) {
            let at = bucket(value);
            assert!(upper(at) >= value, "{value} in {at} up to {}", upper(at));
            assert!(upper(at) as f64 <= value as f64 * 1.016 + 1.0, "{value} in {at} up to {}", upper(at));
            assert!(last.is_none_or(|before| at >= before), "{value}");
            last = Some(at);
        }
    }

    #[test]
    fn percentiles_are_of_what_was_counted() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        for micros in 1..=50u64 {
            one.add(micros * 1000);
            other.add((micros + 50) * 1000);
        }
        one.merge(&other);
        assert_eq!((one.total(), one.max()), (100, 100.0));
        for (percent, micros) in [(50.0, 50.0), (99.0, 99.0), (100.0, 100.0), (0.0, 1.0)] {
            let found = one.percentile(percent);
            assert!((found - micros).abs() <= 0.016 * micros + 0.01, "{percent}: {found}");
        }
        assert!((one.mean() - 50.5).abs() < 1e-9);
        assert_eq!(Histogram::default().percentile(50.0), 0.0);
    }
}
