//! The corpora of `fuzz/`, replayed as they are and, for some seconds, mutated: no panic, and what is read holds.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::civil::DateTime;
use market::row_file::{RowChunk, RowFile, RowFormat, RowShape, RowSource};
use market::{Expression, ImportRequest, SourceFile, import};

/// How long each corpus is mutated.
const MUTATED_FOR: Duration = Duration::from_secs(3);

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "the corpus of {name} is gone");
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

/// Flips, cuts, repeats and splices.
fn mutated(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = corpus[chance.below(corpus.len())].clone();
    for _ in 0..1 + chance.below(6) {
        let at = chance.below(bytes.len());
        match chance.below(5) {
            0 if !bytes.is_empty() => bytes[at] = chance.below(256) as u8,
            1 => bytes.truncate(at),
            2 => bytes.insert(at, b",\"\n\r-.0aN$("[chance.below(11)]),
            3 => {
                let part = bytes[at..bytes.len().min(at + 1 + chance.below(20))].to_vec();
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

fn each(name: &str, check: impl Fn(Vec<u8>)) {
    let corpus = corpus(name);
    for bytes in &corpus {
        check(bytes.clone());
    }
    let mut chance = Chance(7);
    let begin = Instant::now();
    while begin.elapsed() < MUTATED_FOR {
        check(mutated(&corpus, &mut chance));
    }
}

#[test]
fn any_bytes_are_bars_or_refused() {
    each("csv", |bytes| {
        let request = ImportRequest::new(
            vec![SourceFile::in_memory("fuzz.csv", bytes)],
            DateTime::constant(2024, 1, 1, 0, 0, 0, 0),
        );
        if let Ok(imported) = import(None, request) {
            // What is read is stored, and comes back.
            let dataset = imported.dataset;
            let files = dataset.to_files().unwrap();
            let again =
                market::Dataset::from_files(&files, dataset.timing().clone(), dataset.adjustment()).unwrap();
            assert_eq!(again.panel(None).unwrap().digest(), imported.panel.digest());
            let close = imported.panel.field("close").unwrap();
            assert!(close.iter().all(|close| close.is_nan() || *close > 0.0));
        }
    });
}

#[test]
fn any_text_is_an_expression_or_refused() {
    each("expression", |bytes| {
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(expression) = Expression::parse(&text) {
            let printed = expression.to_string();
            assert_eq!(Expression::parse(&printed).unwrap().to_string(), printed, "{text}");
        }
    });
}

fn rows(bytes: &[u8], format: RowFormat, skip: u64) -> Option<Vec<RowChunk>> {
    let shape = RowShape {
        features: vec!["A".to_owned(), "B".to_owned()],
        width: 2,
        by_symbol: true,
        keep: Vec::new(),
        echo: true,
    };
    let source = RowSource::Stream(Box::new(std::io::Cursor::new(bytes.to_vec())), "fuzz".to_owned());
    let mut file = RowFile::open(source, format, &shape, skip).ok()?;
    let mut chunks = Vec::new();
    while let Some(chunk) = file.next(3).ok()? {
        chunks.push(chunk);
    }
    Some(chunks)
}

#[test]
fn any_bytes_are_rows_or_refused() {
    each("row_file", |bytes| {
        for format in [RowFormat::Csv, RowFormat::Jsonl] {
            let Some(chunks) = rows(&bytes, format, 0) else { continue };
            let mut instances = Vec::new();
            for chunk in &chunks {
                assert_eq!((chunk.features.len(), chunk.instances.len()), (chunk.rows * 2, chunk.rows));
                assert!(chunk.faults.windows(2).all(|pair| pair[0].row < pair[1].row));
                assert!(chunk.faults.iter().all(|fault| fault.row < chunk.rows && !fault.reason.is_empty()));
                instances.extend(chunk.instances.clone());
            }
            // Rows that are passed over are those that were read.
            let skip = instances.len() / 2;
            let rest = rows(&bytes, format, skip as u64).unwrap();
            let rest: Vec<String> = rest.into_iter().flat_map(|chunk| chunk.instances).collect();
            assert_eq!(rest, instances[skip..]);
        }
    });
}
