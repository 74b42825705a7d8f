//! What the bodies of `:predict` mean, and what is said of wrong ones.

use jiff::civil::date;
use proptest::prelude::*;

use super::*;

fn parse(body: &str) -> Result<PredictBody, Error> {
    PredictBody::parse(body.as_bytes(), 3)
}

fn refusal(body: &str) -> (String, String) {
    let error = parse(body).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    let field = error.violations().first().map(|v| v.field.clone()).unwrap_or_default();
    (field, error.to_string())
}

#[test]
fn the_three_forms_of_an_instance() {
    let body = parse(
        r#"{"instances": [[1, -2.5, 3e-7], {"features": [4]}, {"symbol": "AAPL"}],
            "parameters": {"as_of": "2022-12-28"}, "labels": {"a": [1, {}]}}"#,
    )
    .unwrap();
    assert_eq!(
        body.instances,
        [
            Instance::Vector(vec![1.0, -2.5, 3e-7]),
            Instance::Vector(vec![4.0]),
            Instance::Symbol("AAPL".to_owned())
        ]
    );
    assert_eq!(body.as_of, Some(date(2022, 12, 28)));
    for none in [r#""parameters": null"#, r#""parameters": {}"#, r#""parameters": {"as_of": null}"#] {
        assert_eq!(parse(&format!("{{{none}, \"instances\": [[1]]}}")).unwrap().as_of, None, "{none}");
    }
}

#[test]
fn a_missing_value_is_null_or_nan() {
    let body = parse(r#"{"instances": [[null, "NaN", 0]]}"#).unwrap();
    let Instance::Vector(vector) = &body.instances[0] else { panic!("a vector") };
    assert!(vector[0].is_nan() && vector[1].is_nan() && vector[2] == 0.0);
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        (r#"{"instances": [[1], [1, 2, 1e39]]}"#, "instances[1][2]", "instance 1 place 2 must be a number"),
        (r#"{"instances": [[1, -1e300]]}"#, "instances[0][1]", "-1e300, which does not fit float32"),
        (r#"{"instances": [["Infinity"]]}"#, "instances[0][0]", "got the text \"Infinity\""),
        (r#"{"instances": [[true]]}"#, "instances[0][0]", "got true"),
        (r#"{"instances": [[[1]]]}"#, "instances[0][0]", "got a list"),
        (r#"{"instances": [[{}]]}"#, "instances[0][0]", "got an object"),
        (r#"{"instances": [[1], 5]}"#, "instances[1]", "got the bare number 5"),
        (r#"{"instances": ["AAPL"]}"#, "instances[0]", r#"written {"symbol": "AAPL"}"#),
        (r#"{"instances": [null]}"#, "instances[0]", "got null"),
        (r#"{"instances": [{}]}"#, "instances[0]", "got an empty object"),
        (r#"{"instances": [{"sybmol": "A"}]}"#, "instances[0].sybmol", "known here: features, symbol"),
        (r#"{"instances": [{"symbol": "A", "features": [1]}]}"#, "instances[0]", "exactly one of"),
        (r#"{"instances": [{"symbol": ""}]}"#, "instances[0].symbol", "0 bytes"),
        (r#"{"instances": [[1], [1], [1], [1]]}"#, "instances", "more than 3 instances"),
        (r#"{"instances": []}"#, "instances", "instances is empty"),
        (r"{}", "instances", "instances is missing"),
        (r#"{"instances": [[1]], "instances": [[1]]}"#, "instances", "given twice"),
        (r#"{"instances": [[1]], "instance": 1}"#, "instance", "known here: instances, parameters, labels"),
        (r#"{"instances": [[1]], "parameters": {"asof": "x"}}"#, "parameters.asof", "known here: as_of"),
        (r#"{"instances": [[1]], "parameters": {"account": 7}}"#, "parameters.account", "must be text"),
        (r#"{"instances": [[1]], "parameters": {"strategy": ""}}"#, "parameters.strategy", "0 bytes"),
        (r#"{"instances": [[1]], "parameters": {"as_of": "28.12.2022"}}"#, "parameters.as_of", "not a date"),
        (
            r#"{"instances": [[1]], "parameters": {"as_of": "2022-12-28T10:00"}}"#,
            "parameters.as_of",
            "not a date",
        ),
        (r#"{"instances": [[1]], "parameters": {"as_of": "2022-02-30"}}"#, "parameters.as_of", "not a date"),
    ];
    for (body, field, part) in cases {
        let (got, text) = refusal(body);
        assert_eq!(got, field, "{body}: {text}");
        assert!(text.contains(part), "{body}: {text}");
        assert!(text.contains("line 1 column"), "{body}: {text}");
    }
}

#[test]
fn broken_json_says_line_and_column() {
    let (_, text) = refusal("{\"instances\":\n [[1, ]]}");
    assert_eq!(text, "the request body is not JSON: invalid value at line 2 column 7");
    let (_, text) = refusal(r#"{"instances": [[1]]} x"#);
    assert!(text.ends_with("must not be followed by other values at line 1 column 22"), "{text}");
    assert!(refusal("").1.ends_with("the document is empty at line 1 column 1"));
    assert!(refusal(r#"{"instances": [[1e999]]}"#).1.contains("number too big"));
    assert!(refusal(r#"{"instances": [[01]]}"#).1.contains("not JSON"));
    let deep = format!("{{\"labels\": {}", "[".repeat(1_000_000));
    assert!(refusal(&deep).1.contains("nested too deeply"));
}

#[test]
fn what_is_of_another_kind_is_named() {
    for (body, said) in [
        ("[1]", "the request body must be an object like"),
        (r#"{"instances": {"a": 1}}"#, "instances must be a list of"),
        (
            r#"{"instances": [{"features": 7}]}"#,
            "the features of instance 0 must be a list of numbers, got the bare number 7",
        ),
        (r#"{"instances": [{"symbol": [1]}]}"#, "instance 0 must have its symbol as text, got a list"),
        (r#"{"instances": [[1]], "parameters": 5}"#, "parameters must be an object"),
        (
            r#"{"instances": [[1]], "parameters": {"as_of": 5}}"#,
            "as_of must be a date as YYYY-MM-DD, got the bare number 5",
        ),
        (r#"{"instances": [false]}"#, "instance 0 must be"),
    ] {
        let text = refusal(body).1;
        assert!(text.contains(said) && text.contains("line 1 column"), "{body}: {text}");
    }
}

proptest! {
    #[test]
    fn any_finite_float32_survives_its_shortest_text(values in proptest::collection::vec(any::<f32>(), 1..20)) {
        let values: Vec<f32> = values.into_iter().filter(|x| x.is_finite()).collect();
        let body = format!("{{\"instances\": [{}]}}", serde_json::to_string(&values).unwrap());
        let parsed = parse(&body).unwrap();
        prop_assert_eq!(&parsed.instances[0], &Instance::Vector(values));
    }

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = PredictBody::parse(&body, 3);
    }
}
