//! Bodies of `infer`, good and wrong.

use platform::DataType;
use proptest::prelude::*;

use super::*;

fn signature() -> Signature {
    let spec = |name: &str, dtype, shape: &[Option<usize>]| TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: shape.to_vec(),
    };
    Signature {
        inputs: vec![spec("x", DataType::Float32, &[None, Some(2)]), spec("n", DataType::Int64, &[None])],
        outputs: vec![spec("p", DataType::Float32, &[None, Some(3)]), spec("q", DataType::Float32, &[None])],
    }
}

fn parse_with(json: &str, raw: &[u8]) -> Result<InferRequest, String> {
    let signature = signature();
    let model = Model { name: "m", signature: &signature, max_rows: 4 };
    InferRequest::parse(json.as_bytes(), raw, model).map_err(|refusal| refusal.message)
}

fn parse(json: &str) -> Result<InferRequest, String> {
    parse_with(json, &[])
}

const X: &str = r#"{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2.5, null, -4e0]}"#;
const N: &str = r#"{"data": [[7], [8]], "shape": [2], "datatype": "INT64", "name": "n"}"#;

#[test]
fn json_tensors_are_read_flat_or_nested() {
    let flat = parse(&format!(r#"{{"id": "a1", "inputs": [{X}], "z": {{}}}}"#)).unwrap();
    assert_eq!(flat.id.as_deref(), Some("a1"));
    let (name, tensor) = &flat.inputs[0];
    assert_eq!((name.as_str(), tensor.shape()), ("x", [2, 2].as_slice()));
    let values = tensor.as_float32().unwrap();
    assert!(values[2].is_nan());
    assert_eq!((values[0], values[1], values[3]), (1.0, 2.5, -4.0));
    assert!(!flat.binary && flat.outputs.is_empty());
    let nested = X.replace("[1, 2.5, null, -4e0]", "[[1, 2.5], [null, -4]]");
    let nested = parse(&format!(r#"{{"inputs": [{nested}]}}"#)).unwrap();
    assert_eq!(nested.inputs[0].1.shape(), [2, 2]);
    // The type comes after the data, which is nested otherwise than the shape says.
    let error = parse(&format!(r#"{{"inputs": [{X}, {N}]}}"#)).unwrap_err();
    assert_eq!(error, "\"data\" of input 'n' is nested as [2, 1], where the shape is [2]");
}

#[test]
fn raw_tensors_follow_in_the_order_of_the_inputs() {
    let json = r#"{"inputs": [
        {"name": "n", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": 8}},
        {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}],
        "outputs": [{"name": "q", "parameters": {"binary_data": false}},
                    {"name": "p", "parameters": {"classification": 2, "x": [1]}}],
        "parameters": {"binary_data_output": true, "sequence_id": 5, "timeout": 9000}}"#;
    let mut raw = 7i64.to_le_bytes().to_vec();
    raw.extend([1.5f32, f32::INFINITY].iter().flat_map(|x| x.to_le_bytes()));
    let request = parse_with(json, &raw).unwrap();
    assert!(request.binary);
    assert_eq!(request.timeout_us, Some(9000));
    assert_eq!(request.inputs[0].1.data(), &TensorData::Int64(vec![7]));
    assert_eq!(request.inputs[1].1.as_float32().unwrap(), [1.5, f32::INFINITY]);
    let wanted = |name: &str, binary, classes| WantedOutput { name: name.to_owned(), binary, classes };
    assert_eq!(request.outputs, [wanted("q", Some(false), 0), wanted("p", None, 2)]);

    assert!(parse_with(json, &raw[..15]).unwrap_err().contains("only 7 bytes are left"));
    raw.push(0);
    assert!(parse_with(json, &raw).unwrap_err().starts_with("unexpected additional input data"));
}

#[test]
fn a_raw_body_is_one_row_of_the_only_input() {
    let mut signature = signature();
    let parse = |signature: &Signature, bytes: &[u8]| {
        let model = Model { name: "m", signature, max_rows: 4 };
        InferRequest::raw(bytes, model).map_err(|refusal| refusal.message)
    };
    assert!(parse(&signature, &[0; 8]).unwrap_err().contains("must only have 1 input (found 2)"));
    signature.inputs.truncate(1);
    let request = parse(&signature, &[0; 8]).unwrap();
    assert!(request.binary);
    assert_eq!(request.inputs[0].1.shape(), [1, 2]);
    let error = parse(&signature, &[0; 16]).unwrap_err();
    assert_eq!(error, "unexpected total byte size 16 for input 'x', expecting one row of [-1,2]");
    signature.inputs[0].shape = vec![None, None, Some(2)];
    assert_eq!(parse(&signature, &[0; 24]).unwrap().inputs[0].1.shape(), [1, 3, 2]);
    assert!(parse(&signature, &[0; 20]).is_err());
}

#[test]
fn what_is_wrong_is_named() {
    let with = |from: &str, to: &str| {
        assert!(X.contains(from), "{from}");
        format!(r#"{{"inputs": [{}]}}"#, X.replace(from, to))
    };
    let cases = [
        (with("\"x\"", "\"y\""), "unexpected inference input 'y' for model 'm'; it takes x, n"),
        (with("FP32", "FP64"), "inference input 'x' data-type is 'FP64', but model 'm' expects 'FP32'"),
        (with("FP32", "FP8"), "input 'x' has the unknown datatype 'FP8'"),
        (
            with("[2, 2]", "[2, 3]"),
            "unexpected shape for input 'x' for model 'm'. Expected [-1,2], got [2, 3]",
        ),
        (with("[2, 2]", "[4]"), "got [4]"),
        (with("[2, 2]", "[5, 2]"), "input 'x' has 5 rows; at most 4 are taken at a time"),
        (with("[2, 2]", "[-1, 2]"), "\"shape\" must be a whole number that is not negative"),
        (with("[2, 2]", "[2.0, 2]"), "\"shape\" must be a whole number"),
        (with("[2, 2]", "7"), "\"shape\" must be a list of integers"),
        (with("null", "3, 4"), "has 5 elements, where shape [2, 2] has 4"),
        (with("null", "1e39"), "has 1e39 at byte"),
        (with("null", "\"a\""), "has \"a\" at byte"),
        (with("null", "[1]"), "has a list at level 1 where an element is expected"),
        (
            with("[1, 2.5, null, -4e0]", "[[1, 2], [3]]"),
            "is ragged: a list of 1 at level 1 where others have 2",
        ),
        (with("[1, 2.5, null, -4e0]", "7"), "\"data\" of input 'x' must be a list"),
        (with(", \"data\": [1, 2.5, null, -4e0]", ""), "no \"data\" and no parameter \"binary_data_size\""),
        (with("\"name\": \"x\", ", ""), "an input has no \"name\""),
        (with("\"name\": \"x\"", "\"name\": 5"), "\"name\" must be a text"),
        (with("\"name\": \"x\"", "\"name\": \"x\", \"name\": \"x\""), "\"name\" is given twice"),
        (format!(r#"{{"inputs": [{X}, {X}]}}"#), "input 'x' is given twice"),
        (format!(r#"{{"inputs": [{X}], "outputs": [{{"name": "r"}}]}}"#), "unexpected inference output 'r'"),
        (
            format!(r#"{{"inputs": [{X}], "outputs": [{{"name": "p"}}, {{"name": "p"}}]}}"#),
            "output 'p' is requested twice",
        ),
        (format!(r#"{{"inputs": [{X}], "outputs": [{{}}]}}"#), "a requested output has no \"name\""),
        (format!(r#"{{"inputs": [{X}], "id": 5}}"#), "\"id\" must be a text"),
        (format!(r#"{{"inputs": [{X}], "inputs": []}}"#), "\"inputs\" is given twice"),
        ("{}".to_owned(), "JSON does not have an \"inputs\" list"),
        ("[]".to_owned(), "must be a JSON object"),
        ("".to_owned(), "not JSON: the document is empty at byte 0"),
        (format!(r#"{{"inputs": [{X}"#), "not JSON: missing a comma or ]"),
        (r#"{"inputs": [{"name": "nobody"}"#.to_owned(), "not JSON"),
        (format!(r#"{{"inputs": {}"#, "[".repeat(10_000)), "nested too deeply"),
        (format!(r#"{{"inputs": [{X}]}} x"#), "not JSON"),
    ];
    for (json, said) in cases {
        let error = parse(&json).unwrap_err();
        assert!(error.contains(said), "{json}: {error}");
    }
}

#[test]
fn a_huge_shape_is_refused_before_anything_is_made_for_it() {
    let mut signature = signature();
    signature.inputs[0].shape = vec![None, None, None];
    let model = Model { name: "m", signature: &signature, max_rows: usize::MAX };
    for (shape, said) in [
        ("[4294967296, 4294967296, 2]", "too large"),
        ("[1099511627776, 1, 1]", "has 1 elements, where shape"),
        ("[9223372036854775807, 2, 1]", "too large"),
    ] {
        let json =
            format!(r#"{{"inputs": [{{"name": "x", "shape": {shape}, "datatype": "FP32", "data": [1]}}]}}"#);
        let error = InferRequest::parse(json.as_bytes(), &[], model).unwrap_err().message;
        assert!(error.contains(said), "{shape}: {error}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(json in proptest::collection::vec(any::<u8>(), 0..200), raw in proptest::collection::vec(any::<u8>(), 0..40)) {
        let signature = signature();
        let model = Model { name: "m", signature: &signature, max_rows: 4 };
        let _ = InferRequest::parse(&json, &raw, model);
        let _ = InferRequest::raw(&raw, model);
    }
}
