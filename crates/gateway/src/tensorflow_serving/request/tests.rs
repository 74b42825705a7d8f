//! Bodies of `:predict`, good and wrong; what is said of wrong ones is what TensorFlow Serving says.

use proptest::prelude::*;

use super::*;

fn signature(inputs: usize) -> Signature {
    let spec = |name: &str, dtype, shape: &[Option<usize>]| TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: shape.to_vec(),
    };
    let mut all = vec![spec("b", DataType::Float32, &[None, Some(2)]), spec("a", DataType::Int64, &[None])];
    all.truncate(inputs);
    Signature { inputs: all, outputs: Vec::new() }
}

fn parse(inputs: usize, body: &str) -> Result<PredictRequest, String> {
    PredictRequest::parse(body.as_bytes(), &signature(inputs), 3).map_err(|refusal| refusal.message)
}

#[test]
fn rows_and_columns_become_the_same_tensors() {
    let rows =
        parse(1, r#"{"signature_name": "serving_default", "instances": [[1, 2.5], [NaN, -3]]} trailing"#);
    let rows = rows.unwrap();
    assert!(rows.by_row);
    assert_eq!(rows.inputs[0].1.shape(), [2, 2]);
    let values = rows.inputs[0].1.as_float32().unwrap();
    assert!(values[2].is_nan());
    assert_eq!((values[0], values[1], values[3]), (1.0, 2.5, -3.0));
    let columns = parse(1, r#"{"inputs": [[1, 2.5], [4, -Infinity]], "x": [{}]}"#).unwrap();
    assert!(!columns.by_row);
    assert_eq!(columns.inputs[0].1.as_float32().unwrap(), [1.0, 2.5, 4.0, f32::NEG_INFINITY]);
    let columns = parse(1, r#"{"inputs": {"b": [[1, 2]], "ignored": "x"}}"#).unwrap();
    assert_eq!(columns.inputs[0].1.shape(), [1, 2]);

    let rows = parse(2, r#"{"instances": [{"a": 7, "b": [1, 2]}, {"b": [3, 4], "a": -8}]}"#).unwrap();
    let columns = parse(2, r#"{"inputs": {"a": [7, -8], "b": [[1, 2], [3, 4]]}}"#).unwrap();
    assert_eq!(rows.inputs, columns.inputs);
    assert_eq!(rows.inputs[1].1.data(), &TensorData::Int64(vec![7, -8]));
}

#[test]
fn errors_are_those_of_the_server() {
    let element = "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: ";
    let of_row = |wrong: &str| format!("{element}{wrong}");
    let plain = |text: &str| text.to_owned();
    let cases = [
        (1, "", plain("JSON Parse error: The document is empty")),
        (1, " ", plain("JSON Parse error: The document is empty. at offset: 1")),
        (1, r#"{"instances": }"#, plain("JSON Parse error: Invalid value. at offset: 14")),
        (1, r#"{"instances": [[1, "a"], "#, plain("JSON Parse error: Invalid value. at offset: 25")),
        (1, "[1,2]", plain("JSON Value: [\n    1,\n    2\n] Is not object")),
        (1, "{}", plain("Missing 'inputs' or 'instances' key")),
        (
            1,
            r#"{"instances": [[1,2]], "inputs": 1}"#,
            plain(
                "JSON Value: {\n    \"instances\": [\n        [\n            1,\n            2\n        ]\n    ],\n    \"inputs\": 1\n} Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
            ),
        ),
        (
            1,
            r#"{"instances": 7}"#,
            plain("JSON Value: {\n    \"instances\": 7\n} Expecting 'instances' to be an list/array"),
        ),
        (
            1,
            r#"{"instances": []}"#,
            plain("JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
        ),
        (
            1,
            r#"{"instances": [[1,2]], "signature_name": "foo"}"#,
            plain("Serving signature name: \"foo\" not found in signature def"),
        ),
        (
            1,
            r#"{"signature_name": 1}"#,
            plain(
                "JSON Value: {\n    \"signature_name\": 1\n} not formatted correctly. 'signature_name' key must be a string value.",
            ),
        ),
        (
            1,
            r#"{"instances": [[1,2],["a",2]]}"#,
            of_row("JSON Value: \"a\" Type: String is not of expected type: float"),
        ),
        (
            1,
            r#"{"instances": [[1,2],[null,2]]}"#,
            of_row("JSON Value: null Type: Null is not of expected type: float"),
        ),
        (
            1,
            r#"{"instances": [[1,2],[1e39,2]]}"#,
            of_row("Cannot convert JSON value: 1e+39 to float without loss of precision."),
        ),
        (
            1,
            r#"{"instances": [[1,2],[16777217,2]]}"#,
            of_row("Cannot convert JSON value: 16777217 to float without loss of precision."),
        ),
        (1, r#"{"instances": [[1,2],[1,2,3]]}"#, of_row("Expecting tensor size: 2 but got: 3")),
        (1, r#"{"instances": [[1,2],[[1,2]]]}"#, of_row("Expecting shape [2] but got: [1,2]")),
        (
            1,
            r#"{"instances": [[1,2],[1,[2]]]}"#,
            of_row("Encountered list at unexpected level: 1 expected < 1"),
        ),
        (
            1,
            r#"{"instances": [[1,2],[[1,2],3]]}"#,
            of_row("JSON Value: 3 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ),
        (
            1,
            r#"{"instances": [[1,2],{"b64": "AA=="}]}"#,
            of_row("JSON Value: {\n    \"b64\": \"AA==\"\n} Type: Object is not of expected type: float"),
        ),
        (
            1,
            r#"{"instances": [[1,2],{"b": [1,2]}]}"#,
            plain("Expecting value/list but got object at item 1 of input list"),
        ),
        (
            1,
            r#"{"instances": [{"b": [1,2]},[1,2]]}"#,
            plain("Expecting object but got list at item 1 of input list"),
        ),
        (
            1,
            r#"{"instances": [{"z": 1}]}"#,
            plain(
                "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have named input: z",
            ),
        ),
        (
            2,
            r#"{"instances": [[1,2]]}"#,
            plain(
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map",
            ),
        ),
        (
            2,
            r#"{"instances": [{"b": [1,2]}]}"#,
            plain(
                "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"b\": [\n        1,\n        2\n    ]\n} keys must be equal to: a,b",
            ),
        ),
        (
            2,
            r#"{"inputs": [1,2]}"#,
            plain(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map",
            ),
        ),
        (2, r#"{"inputs": {"b": [[1,2]]}}"#, plain("Missing named input: a in 'inputs' object.")),
        (
            2,
            r#"{"inputs": {"b": [[1,2]], "a": [3.0]}}"#,
            plain("JSON Value: 3.0 Type: Number is not of expected type: int64"),
        ),
        (
            1,
            r#"{"inputs": [[1,2],[1,2,3]]}"#,
            plain("Encountered list at unexpected size: 3 at level: 1 expected size: 2"),
        ),
        (
            1,
            r#"{"instances": [[1,2],[1,2],[1,2],[1,2]]}"#,
            plain("more than 3 instances; send them in several requests"),
        ),
        (
            1,
            r#"{"inputs": [[1,2],[1,2],[1,2],[1,2]]}"#,
            plain("more than 3 rows; send them in several requests"),
        ),
        (1, r#"{"instances": [[1,2]], "instances": [[1,2]]}"#, plain("'instances' key is given twice")),
    ];
    for (inputs, body, said) in cases {
        assert_eq!(parse(inputs, body).unwrap_err(), said, "{body}");
    }
    let deep = format!("{{\"instances\": {}", "[".repeat(10_000));
    assert_eq!(parse(1, &deep).unwrap_err(), "JSON Parse error: Nested too deeply. at offset: 113");
}

proptest! {
    #[test]
    fn any_finite_float_survives_its_shortest_text(values in proptest::collection::vec(any::<f32>(), 1..20)) {
        let values: Vec<f32> = values.into_iter().filter(|x| x.is_finite()).collect();
        // A whole number needs a point: the server takes no integer that a float cannot be sure to hold.
        let texts: Vec<String> = values.iter().map(|value| format!("{value:e}")).collect();
        let body = format!("{{\"inputs\": [[{}]]}}", texts.join(","));
        let parsed = parse(1, &body).unwrap();
        prop_assert_eq!(parsed.inputs[0].1.as_float32().unwrap(), values);
    }

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = PredictRequest::parse(&body, &signature(2), 3);
    }

    #[test]
    fn no_json_makes_it_panic(body in r#"\{"(instances|inputs)": [\[\]{}:, "ab0-9.]{0,40}\}"#) {
        let _ = PredictRequest::parse(body.as_bytes(), &signature(1), 3);
        let _ = PredictRequest::parse(body.as_bytes(), &signature(2), 3);
    }
}
