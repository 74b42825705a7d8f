//! How many batches had how many rows, counted without a lock: each size has a place, made in runs of sizes as they come up.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::counters::{add, get, nanoseconds};

/// Run `n` has the sizes from 2^n to 2^(n+1) - 1: all up to 2,047 rows together, 32 KiB at most.
const RUNS: usize = 11;

/// Batches of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize {
    /// Their rows.
    pub rows: usize,
    /// How many there were.
    pub batches: u64,
    /// How long they took to compute together.
    pub time: Duration,
}

/// Batches by size; larger ones than the runs have are not counted here.
#[derive(Default)]
pub(crate) struct Sizes {
    runs: [OnceLock<Box<[Place]>>; RUNS],
}

#[derive(Default)]
struct Place {
    batches: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Sizes {
    pub(crate) fn add(&self, rows: usize, time: Duration) {
        let Some(run) = rows.checked_ilog2() else { return };
        let Some(places) = self.runs.get(run as usize) else { return };
        let first = 1 << run;
        let places = places.get_or_init(|| (0..first).map(|_| Place::default()).collect());
        add(&places[rows - first].batches, 1);
        add(&places[rows - first].nanoseconds, nanoseconds(time));
    }

    /// Those of all parts together.
    pub(crate) fn snapshot<'a>(parts: impl Iterator<Item = &'a Self>) -> Vec<BatchSize> {
        let mut sizes: BTreeMap<usize, (u64, Duration)> = BTreeMap::new();
        for part in parts {
            for (run, places) in part.runs.iter().enumerate() {
                for (place, counted) in places.get().into_iter().flatten().enumerate() {
                    let batches = get(&counted.batches);
                    if batches > 0 {
                        let (sum, time) = sizes.entry((1 << run) + place).or_default();
                        *sum += batches;
                        *time += Duration::from_nanos(get(&counted.nanoseconds));
                    }
                }
            }
        }
        sizes.into_iter().map(|(rows, (batches, time))| BatchSize { rows, batches, time }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_is_counted_by_itself() {
        let sizes = Sizes::default();
        for rows in [0, 1, 2, 3, 3, 1024, 2047, 2048, usize::MAX] {
            sizes.add(rows, Duration::from_micros(rows as u64 & 0xfff));
        }
        let counted: Vec<(usize, u64, u64)> = Sizes::snapshot(std::iter::once(&sizes))
            .iter()
            .map(|size| (size.rows, size.batches, size.time.as_micros() as u64))
            .collect();
        assert_eq!(counted, [(1, 1, 1), (2, 1, 2), (3, 2, 6), (1024, 1, 1024), (2047, 1, 2047)]);
    }
}
