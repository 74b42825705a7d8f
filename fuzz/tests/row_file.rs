//! Any bytes as a file of rows, CSV and JSON lines: refused, or read so that every row has its numbers or a fault, and the same rows
//! come when the first are passed over; never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use market::row_file::{RowChunk, RowFile, RowFormat, RowShape, RowSource};

fn read(bytes: &[u8], format: RowFormat, skip: u64) -> Option<Vec<RowChunk>> {
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

fuzz_target!(|bytes: &[u8]| {
    for format in [RowFormat::Csv, RowFormat::Jsonl] {
        let Some(chunks) = read(bytes, format, 0) else { continue };
        let mut instances = Vec::new();
        for chunk in &chunks {
            assert_eq!((chunk.features.len(), chunk.instances.len()), (chunk.rows * 2, chunk.rows));
            assert!(chunk.faults.windows(2).all(|pair| pair[0].row < pair[1].row));
            assert!(chunk.faults.iter().all(|fault| fault.row < chunk.rows && !fault.reason.is_empty()));
            instances.extend(chunk.instances.clone());
        }
        let skip = instances.len() / 2;
        let rest = read(bytes, format, skip as u64).expect("what was read once is read again");
        let rest: Vec<String> = rest.into_iter().flat_map(|chunk| chunk.instances).collect();
        assert_eq!(rest, instances[skip..]);
    }
});
