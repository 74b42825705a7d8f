//! What each fuzz target does with its bytes, where the crate that reads them does not say so itself (as `gateway::fuzz` does).
//! libFuzzer asks by way of `tests/`, `cargo test` by way of `replay`. Each says whether the bytes were taken.

use artifact::format::keras::KerasSource;
use artifact::format::saved_model::read::{SavedModelSource, parse_variables_index_bytes};
use artifact::import::Source;
use jiff::civil::DateTime;
use market::row_file::{RowChunk, RowFile, RowFormat, RowShape, RowSource};
use market::{Dataset, Expression, ImportRequest, SourceFile, import};

#[cfg(test)]
mod replay;

/// Lets pass the panics of crates whose names begin with `name`: their readers panic on some damaged input, which ours catch and
/// refuse. Any other still ends the process, as libFuzzer set it up. For the `init` of a target.
pub fn end_unless_from(name: &'static str) {
    let folder = format!("/{name}");
    let end = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.location().is_none_or(|place| !place.file().contains(&folder)) {
            end(panic);
        }
    }));
}

/// An archive of a model: refused, or unpacked inside its folder.
pub fn archive(bytes: &[u8]) -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("archive");
    std::fs::write(&path, bytes).expect("a file in it");
    let taken = Source::open(&path).is_ok();
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("the folder").count(),
        1,
        "something was unpacked beside the file"
    );
    taken
}

/// A file of bars: refused, or read so that what was read is stored and comes back.
pub fn csv(bytes: &[u8]) -> bool {
    let file = SourceFile::in_memory("fuzz.csv", bytes.to_vec());
    let request = ImportRequest::new(vec![file], DateTime::constant(2024, 1, 1, 0, 0, 0, 0));
    let Ok(imported) = import(None, request) else { return false };
    let dataset = imported.dataset;
    let files = dataset.to_files().expect("what is read is stored");
    let again = Dataset::from_files(&files, dataset.timing().clone(), dataset.adjustment());
    let panel = again.and_then(|again| again.panel(None)).expect("what is stored is read");
    assert_eq!(panel.digest(), imported.panel.digest());
    let close = panel.field("close").expect("a panel has closes");
    assert!(close.iter().all(|close| close.is_nan() || *close > 0.0));
    true
}

/// An expression: refused, or printed so that it parses to the same.
pub fn expression(text: &str) -> bool {
    let Ok(expression) = Expression::parse(text) else { return false };
    let printed = expression.to_string();
    let again = Expression::parse(&printed).expect("what is printed parses");
    assert_eq!(again.to_string(), printed, "{text}");
    true
}

/// The description of a network, up to the first zero, and its weights behind it: refused, or converted.
pub fn keras(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let config = parts.next().unwrap_or_default();
    let weights = parts.next().unwrap_or_default();
    KerasSource::parse(config, weights.to_vec()).is_ok_and(|source| source.convert().is_ok())
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

/// A file of rows, CSV and JSON lines: refused, or read so that every row has its numbers or a fault, and the same rows come when
/// the first are passed over.
pub fn row_file(bytes: &[u8]) -> bool {
    let mut taken = false;
    for format in [RowFormat::Csv, RowFormat::Jsonl] {
        let Some(chunks) = rows(bytes, format, 0) else { continue };
        taken = true;
        let mut instances = Vec::new();
        for chunk in &chunks {
            assert_eq!((chunk.features.len(), chunk.instances.len()), (chunk.rows * 2, chunk.rows));
            assert!(chunk.faults.windows(2).all(|pair| pair[0].row < pair[1].row));
            assert!(chunk.faults.iter().all(|fault| fault.row < chunk.rows && !fault.reason.is_empty()));
            instances.extend(chunk.instances.clone());
        }
        let skip = instances.len() / 2;
        let rest = rows(bytes, format, skip as u64).expect("what was read once is read again");
        let rest: Vec<String> = rest.into_iter().flat_map(|chunk| chunk.instances).collect();
        assert_eq!(rest, instances[skip..]);
    }
    taken
}

/// The graph of a SavedModel: refused, or converted as far as it goes without variables.
pub fn saved_model(bytes: &[u8]) -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("saved_model.pb"), bytes).expect("a file in it");
    let Ok(source) = SavedModelSource::open(folder.path()) else { return false };
    source.signatures().iter().for_each(|signature| drop(source.convert(&signature.name)));
    true
}

/// The index of a SavedModel's variables: refused, or read.
pub fn variables_index(bytes: &[u8]) -> bool {
    let Ok(index) = parse_variables_index_bytes(bytes) else { return false };
    assert!(index.keys().count() <= bytes.len());
    true
}
