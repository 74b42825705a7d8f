//! Parsers of foreign bytes never panic, whatever they are given.

use bytes::Bytes;
use market::{Expression, ImportOptions, SourceFile, import, read_parquet, write_parquet};
use proptest::prelude::*;

fn sound_parquet() -> Vec<u8> {
    let text = "date,symbol,close\n2020-01-02,A,1\n2020-01-03,A,1.1\n2020-01-03,B,2\n";
    let file = SourceFile { name: "p.csv".to_owned(), bytes: Bytes::from_static(text.as_bytes()) };
    let panel = import(&[file], &ImportOptions::default()).expect("it is sound").panel;
    write_parquet(&panel).expect("it is small")
}

fn import_bytes(bytes: Vec<u8>) {
    let file = SourceFile { name: "f".to_owned(), bytes: bytes.into() };
    let _ = import(&[file], &ImportOptions::default());
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
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), magic in 0usize..3) {
        let head: [&[u8]; 3] = [b"", b"PAR1", &[0x1f, 0x8b]];
        import_bytes([head[magic], &bytes].concat());
    }

    #[test]
    fn a_damaged_parquet_file(at in 0usize..2000, with in any::<u8>()) {
        let mut bytes = sound_parquet();
        let place = at % bytes.len();
        bytes[place] = with;
        let _ = read_parquet(&bytes.clone().into());
        import_bytes(bytes);
    }
}
