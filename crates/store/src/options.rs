//! How a store is opened: where credentials come from, how much goes over the wire at once, how long it tries.

use std::time::Duration;

use crate::Environment;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where credentials and endpoints are looked for.
    pub environment: Environment,
    /// How much goes over the wire at once.
    pub transfer: Transfer,
    /// How often a call over the wire is tried.
    pub retry: Retry,
}

impl Default for Options {
    /// The variables of this process, and what suits most networks.
    fn default() -> Self {
        Self {
            environment: Environment::of_process(),
            transfer: Transfer::default(),
            retry: Retry::default(),
        }
    }
}

/// How much goes over the wire at once. The memory for one transfer is `part_bytes` times `parallel`.
#[derive(Debug, Clone, Copy)]
pub struct Transfer {
    /// A larger object is sent and fetched in parts: 16 MiB.
    pub whole_bytes: u64,
    /// Bytes of a part: 8 MiB; clouds take no smaller ones than 5 MiB, but for the last.
    pub part_bytes: usize,
    /// Parts of an object under way at once, and files of a directory: 4.
    pub parallel: usize,
    /// The longest silence of a server: 30 s.
    pub silence: Duration,
}

impl Default for Transfer {
    fn default() -> Self {
        Self { whole_bytes: 16 << 20, part_bytes: 8 << 20, parallel: 4, silence: Duration::from_secs(30) }
    }
}

/// How often a call over the wire is tried: pauses grow about 1.5 times each, at random.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Tries after the first: 8.
    pub tries: usize,
    /// The first pause: 100 ms.
    pub first_pause: Duration,
    /// The longest pause: 5 s.
    pub longest_pause: Duration,
    /// No try begins later after the first: 60 s.
    pub limit: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            tries: 8,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
            limit: Duration::from_secs(60),
        }
    }
}
