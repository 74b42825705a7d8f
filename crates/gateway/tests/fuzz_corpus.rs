//! The corpora of `fuzz/` that are bodies of requests, replayed as they are and, for a while, mutated: a refusal or tensors, never
//! a panic.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long each corpus is mutated.
const MUTATED_FOR: Duration = Duration::from_secs(1);

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 3, "the corpus of {name} is gone");
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// A few bytes changed, cut or doubled, the same ones in every run.
fn mutated(bytes: &[u8], state: &mut u64) -> Vec<u8> {
    let mut below = |bound: usize| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) as usize % bound.max(1)
    };
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + below(4) {
        let at = below(bytes.len());
        match below(4) {
            0 if !bytes.is_empty() => bytes[at] = below(256) as u8,
            1 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
            2 => bytes.truncate(at),
            _ => {
                let part = bytes[at..bytes.len().min(at + 1 + below(40))].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

/// How many of the samples themselves were taken.
fn each(name: &str, taken: impl Fn(&[u8]) -> bool) -> usize {
    let corpus = corpus(name);
    let good = corpus.iter().filter(|bytes| taken(bytes)).count();
    let (begin, mut state, mut at) = (Instant::now(), 7, 0);
    while begin.elapsed() < MUTATED_FOR {
        taken(&mutated(&corpus[at % corpus.len()], &mut state));
        at += 1;
    }
    good
}

#[test]
fn open_inference() {
    assert_eq!(each("open_inference", gateway::fuzz::open_inference), 4);
}

#[test]
fn tensorflow_serving() {
    assert_eq!(each("tensorflow_serving", gateway::fuzz::tensorflow_serving), 4);
}

#[test]
fn mlflow() {
    assert_eq!(each("mlflow", gateway::fuzz::mlflow), 5);
}

#[test]
fn arrow_streams() {
    assert_eq!(each("arrow_stream", gateway::fuzz::arrow), 3);
}

#[test]
fn vertex() {
    assert_eq!(each("vertex", gateway::fuzz::vertex), 6);
}

#[test]
fn storage() {
    assert_eq!(each("storage", gateway::fuzz::storage), 3);
}

#[test]
fn paths() {
    assert_eq!(each("paths", gateway::fuzz::paths), 8);
}
