//! The corpora of `fuzz/` that are models or parts of them, replayed as they are and, for a while, mutated: an error or a
//! model, never a panic.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use artifact::format::keras::KerasSource;
use artifact::format::onnx::parse_and_load;
use artifact::format::saved_model::read::{SavedModelSource, parse_variables_index_bytes};
use artifact::import::Source;

/// How long each corpus is mutated.
const MUTATED_FOR: Duration = Duration::from_secs(2);

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

/// How many of the samples themselves were accepted.
fn each(name: &str, accepted: impl Fn(&[u8]) -> bool) -> usize {
    let corpus = corpus(name);
    let good = corpus.iter().filter(|bytes| accepted(bytes)).count();
    let (begin, mut state, mut at) = (Instant::now(), 7, 0);
    while begin.elapsed() < MUTATED_FOR {
        accepted(&mutated(&corpus[at % corpus.len()], &mut state));
        at += 1;
    }
    good
}

fn graph(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::write(folder.join("saved_model.pb"), bytes).unwrap();
    let Ok(source) = SavedModelSource::open(folder) else { return false };
    source.signatures().iter().for_each(|signature| drop(source.convert(&signature.name)));
    true
}

#[test]
fn onnx_models() {
    assert!(each("onnx", |bytes| parse_and_load(bytes).is_ok()) >= 2);
}

#[test]
fn graphs_of_saved_models() {
    let folder = tempfile::tempdir().unwrap();
    assert!(each("saved_model", |bytes| graph(folder.path(), bytes)) >= 2);
}

#[test]
fn indices_of_variables() {
    assert!(each("variables_index", |bytes| parse_variables_index_bytes(bytes).is_ok()) >= 2);
}

#[test]
fn networks_of_keras() {
    let converted = |bytes: &[u8]| {
        let mut parts = bytes.splitn(2, |byte| *byte == 0);
        let config = parts.next().unwrap_or_default();
        let weights = parts.next().unwrap_or_default();
        KerasSource::parse(config, weights.to_vec()).is_ok_and(|source| source.convert().is_ok())
    };
    assert!(each("keras", converted) >= 3);
}

#[test]
fn archives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    let opened = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Source::open(&path).is_ok()
    };
    assert!(each("archive", opened) >= 2);
}
