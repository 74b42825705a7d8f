//! Any bytes as a file of bars: refused, or read so that what was read is stored and comes back; never a panic.
#![no_main]

use jiff::civil::DateTime;
use libfuzzer_sys::fuzz_target;
use market::{Dataset, ImportRequest, SourceFile, import};

fuzz_target!(|bytes: &[u8]| {
    let file = SourceFile::in_memory("fuzz.csv", bytes.to_vec());
    let request = ImportRequest::new(vec![file], DateTime::constant(2024, 1, 1, 0, 0, 0, 0));
    let Ok(imported) = import(None, request) else { return };
    let dataset = imported.dataset;
    let files = dataset.to_files().expect("what is read is stored");
    let again = Dataset::from_files(&files, dataset.timing().clone(), dataset.adjustment());
    let panel = again.and_then(|again| again.panel(None)).expect("what is stored is read");
    assert_eq!(panel.digest(), imported.panel.digest());
    let close = panel.field("close").expect("a panel has closes");
    assert!(close.iter().all(|close| close.is_nan() || *close > 0.0));
});
