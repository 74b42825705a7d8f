//! The corpora, replayed as they are and, for some seconds, mutated: taken or refused, never a panic, and what is taken holds.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// SplitMix64: the same mutations in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut state = self.0;
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((state ^ (state >> 31)) % bound.max(1) as u64) as usize
    }
}

/// Bytes and bits changed, cut, put in, repeated and spliced.
fn mutated(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = corpus[chance.below(corpus.len())].clone();
    for _ in 0..1 + chance.below(6) {
        let at = chance.below(bytes.len());
        match chance.below(6) {
            0 if !bytes.is_empty() => bytes[at] = chance.below(256) as u8,
            1 if !bytes.is_empty() => bytes[at] ^= 1 << chance.below(8),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, b",\"\n\r-.0aN$("[chance.below(11)]),
            4 => {
                let part = bytes[at..bytes.len().min(at + 1 + chance.below(40))].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let other = &corpus[chance.below(corpus.len())];
                let from = chance.below(other.len());
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

/// How many of the corpus' samples, of which there are at least `samples`, were taken as they are.
fn replay(name: &str, samples: usize, seconds: u64, target: impl Fn(&[u8]) -> bool) -> usize {
    let corpus = corpus(name);
    assert!(corpus.len() >= samples, "the corpus of {name} is gone");
    let taken = corpus.iter().filter(|bytes| target(bytes)).count();
    let (begin, mut chance) = (Instant::now(), Chance(7));
    while begin.elapsed() < Duration::from_secs(seconds) {
        target(&mutated(&corpus, &mut chance));
    }
    taken
}

#[test]
fn bars() {
    replay("csv", 10, 3, crate::csv);
}

#[test]
fn expressions() {
    replay("expression", 10, 3, |bytes| crate::expression(&String::from_utf8_lossy(bytes)));
}

#[test]
fn rows() {
    replay("row_file", 10, 3, crate::row_file);
}

#[test]
fn onnx_models() {
    let loaded = |bytes: &[u8]| artifact::format::onnx::parse_and_load(bytes).is_ok();
    assert!(replay("onnx", 3, 2, loaded) >= 2);
}

#[test]
fn graphs_of_saved_models() {
    assert!(replay("saved_model", 3, 2, crate::saved_model) >= 2);
}

#[test]
fn indices_of_variables() {
    assert!(replay("variables_index", 3, 2, crate::variables_index) >= 2);
}

#[test]
fn networks_of_keras() {
    assert!(replay("keras", 3, 2, crate::keras) >= 3);
}

#[test]
fn archives() {
    assert!(replay("archive", 3, 2, crate::archive) >= 2);
}

#[test]
fn open_inference() {
    assert_eq!(replay("open_inference", 3, 1, gateway::fuzz::open_inference), 4);
}

#[test]
fn tensorflow_serving() {
    assert_eq!(replay("tensorflow_serving", 3, 1, gateway::fuzz::tensorflow_serving), 4);
}

#[test]
fn mlflow() {
    assert_eq!(replay("mlflow", 3, 1, gateway::fuzz::mlflow), 5);
}

#[test]
fn arrow_streams() {
    assert_eq!(replay("arrow_stream", 3, 1, gateway::fuzz::arrow), 3);
}

#[test]
fn vertex() {
    assert_eq!(replay("vertex", 3, 1, gateway::fuzz::vertex), 6);
}

#[test]
fn storage() {
    assert_eq!(replay("storage", 3, 1, gateway::fuzz::storage), 3);
}

#[test]
fn paths() {
    assert_eq!(replay("paths", 3, 1, gateway::fuzz::paths), 8);
}
