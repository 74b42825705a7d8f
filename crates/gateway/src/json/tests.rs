//! Documents, well-formed and not; the judge is `serde_json`.

use proptest::prelude::*;

use super::*;

fn skipped(bytes: &[u8]) -> Result<(), Fault> {
    let mut reader = Reader::new(bytes);
    reader.skip()?;
    reader.end()
}

#[test]
fn a_document_is_walked_in_its_order() {
    let mut reader = Reader::new(br#" {"a": [1, true, null], "b\u00e9": "x\n\ud83d\ude00", "c": {}} "#);
    let mut object = reader.object().unwrap();
    assert_eq!(reader.next_key(&mut object).unwrap().unwrap(), "a");
    let mut list = reader.list().unwrap();
    assert!(reader.next_item(&mut list).unwrap());
    assert_eq!(reader.number().unwrap().as_i64(), Some(1));
    assert!(reader.next_item(&mut list).unwrap());
    assert!(reader.boolean().unwrap());
    assert!(reader.next_item(&mut list).unwrap());
    reader.null().unwrap();
    assert!(!reader.next_item(&mut list).unwrap());
    assert_eq!(reader.next_key(&mut object).unwrap().unwrap(), "b\u{e9}");
    assert_eq!(reader.text().unwrap(), "x\n\u{1f600}");
    assert_eq!(reader.next_key(&mut object).unwrap().unwrap(), "c");
    let begin = reader.offset();
    reader.skip().unwrap();
    assert_eq!(reader.since(begin), b"{}");
    assert!(reader.next_key(&mut object).unwrap().is_none());
    reader.end().unwrap();
}

#[test]
fn faults_are_those_of_rapidjson() {
    for (text, offset, said) in [
        ("", 0, EMPTY),
        (" \n", 2, EMPTY),
        ("[1,]", 3, INVALID),
        ("[1 2]", 3, NO_BRACKET),
        ("[1", 2, NO_BRACKET),
        ("{1: 2}", 1, NO_NAME),
        ("{\"a\" 2}", 5, NO_COLON),
        ("{\"a\": 2", 7, NO_BRACE),
        ("{\"a\": 2,}", 8, NO_NAME),
        ("\"a", 2, NO_QUOTE),
        ("\"\\x\"", 1, BAD_ESCAPE),
        ("\"\\u12g4\"", 1, BAD_HEX),
        ("\"\\ud800x\"", 1, BAD_SURROGATE),
        ("\"\\udc00\"", 1, BAD_SURROGATE),
        ("\"a\nb\"", 2, BAD_ENCODING),
        ("nul", 0, INVALID),
        ("NaN", 0, INVALID),
        ("1 2", 2, ROOT_NOT_SINGULAR),
    ] {
        assert_eq!(skipped(text.as_bytes()).unwrap_err(), Fault { offset, text: said }, "{text}");
    }
    assert_eq!(skipped(b"\"a\xff\"").unwrap_err(), Fault { offset: 2, text: BAD_ENCODING });
    assert_eq!(skipped(b"\xff").unwrap_err(), Fault { offset: 0, text: INVALID });
    let fault = Fault { offset: 3, text: NO_BRACE };
    assert_eq!(fault.to_string(), "missing a comma or } after an object member at byte 3");
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(skipped(nested(DEPTH_MAX).as_bytes()).is_ok());
    assert_eq!(skipped(nested(DEPTH_MAX + 1).as_bytes()).unwrap_err().text, TOO_DEEP);
    assert_eq!(skipped("{\"a\":".repeat(1_000_000).as_bytes()).unwrap_err().text, TOO_DEEP);
}

proptest! {
    #[test]
    fn what_serde_takes_is_taken_and_nothing_else(text in r#"[\[\]{}:, "a\\u0-9eE.+\-tfn]{0,24}"#) {
        prop_assert_eq!(
            skipped(text.as_bytes()).is_ok(),
            serde_json::from_str::<serde_json::Value>(&text).is_ok(),
            "{}", text
        );
    }

    #[test]
    fn any_text_comes_back(text: String) {
        let written = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(Reader::new(written.as_bytes()).text().unwrap(), text.as_str());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = skipped(&bytes);
    }
}
