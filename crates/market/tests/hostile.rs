//! Parsers of foreign bytes never panic, whatever they are given.

use jiff::civil::DateTime;
use market::dataset::{Adjustment, Timing};
use market::{Dataset, Expression, ImportRequest, SourceFile, import};
use proptest::prelude::*;

const NOW: DateTime = DateTime::constant(2024, 1, 1, 0, 0, 0, 0);

fn sound_parquet() -> Vec<u8> {
    let text = "date,symbol,close\n2020-01-02,A,1\n2020-01-03,A,1.1\n2020-01-03,B,2\n";
    let request = ImportRequest::new(vec![SourceFile::in_memory("p.csv", text)], NOW);
    let files = import(None, request).expect("it is sound").dataset.to_files().expect("it is small");
    files[0].1.to_vec()
}

fn import_bytes(bytes: Vec<u8>) {
    let _ = import(None, ImportRequest::new(vec![SourceFile::in_memory("f", bytes)], NOW));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_expression(text in "[$a-zA-Z0-9.,()<>=!*/+ -]{0,60}|\\PC{0,40}") {
        let _ = Expression::parse(&text);
    }

    #[test]
    fn a_text_file(rows in "(date|Date|2020-01-0[1-5]|[0-9a,.\n\"-]{1,5}){0,30}") {
        import_bytes(rows.into_bytes());
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), magic in 0usize..6) {
        let head: [&[u8]; 6] =
            [b"", b"PAR1", &[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], b"ARROW1\0\0", &[0xff; 4]];
        import_bytes([head[magic], &bytes].concat());
    }

    #[test]
    fn a_damaged_parquet_file(at in 0usize..2000, with in any::<u8>()) {
        let mut bytes = sound_parquet();
        let place = at % bytes.len();
        bytes[place] = with;
        let files = [("bars.parquet".to_owned(), bytes.clone().into())];
        let _ = Dataset::from_files(&files, Timing::default(), Adjustment::AsTheyCame);
        import_bytes(bytes);
    }
}
