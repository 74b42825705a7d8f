//! Damaged, hostile and absurd SavedModels are errors with a reason: no panic, no waiting, no memory beyond the limits.

#![allow(clippy::unwrap_used)]

mod sample;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use artifact::Error;
use artifact::format::Format;
use artifact::format::saved_model::SavedModel;
use artifact::format::saved_model::read::{
    SavedModelSource, parse_saved_model_bytes, parse_variables_index_bytes,
};
use proptest::prelude::*;
use prost::Message;
use protos::tensorflow::{
    self, AttrValue, BundleEntryProto, FunctionDef, FunctionDefLibrary, GraphDef, MetaGraphDef, NameAttrList,
    NodeDef, OpDef, SignatureDef, TensorInfo, TensorProto, TensorShapeProto, attr_value, meta_graph_def,
    op_def, tensor_info, tensor_shape_proto,
};

const FLOAT: i32 = tensorflow::DataType::DtFloat as i32;
const SECONDS_MAX: u64 = 20;

fn node(name: &str, op: &str, inputs: &[&str], attributes: &[(&str, attr_value::Value)]) -> NodeDef {
    let attr =
        attributes.iter().map(|(key, value)| ((*key).to_owned(), AttrValue { value: Some(value.clone()) }));
    NodeDef {
        name: name.to_owned(),
        op: op.to_owned(),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        attr: attr.collect(),
        ..NodeDef::default()
    }
}

fn shape(sizes: &[i64]) -> TensorShapeProto {
    let dim = sizes.iter().map(|&size| tensor_shape_proto::Dim { size, name: String::new() }).collect();
    TensorShapeProto { dim, unknown_rank: false }
}

fn constant(name: &str, sizes: &[i64], values: &[i32]) -> NodeDef {
    let dtype = if values.is_empty() { FLOAT } else { tensorflow::DataType::DtInt32.into() };
    let tensor = TensorProto {
        dtype,
        tensor_shape: Some(shape(sizes)),
        int_val: values.to_vec(),
        float_val: if values.is_empty() { vec![0.5] } else { vec![] },
        ..TensorProto::default()
    };
    node(name, "Const", &[], &[("value", attr_value::Value::Tensor(tensor))])
}

fn calls(function: &str) -> (&'static str, attr_value::Value) {
    ("f", attr_value::Value::Func(NameAttrList { name: function.to_owned(), attr: BTreeMap::new() }))
}

fn function(name: &str, nodes: Vec<NodeDef>, returns: &str) -> FunctionDef {
    let argument =
        |name: &str| op_def::ArgDef { name: name.to_owned(), r#type: FLOAT, ..op_def::ArgDef::default() };
    let signature = OpDef {
        name: name.to_owned(),
        input_arg: vec![argument("a")],
        output_arg: vec![argument("r")],
        ..OpDef::default()
    };
    let ret = BTreeMap::from([("r".to_owned(), returns.to_owned())]);
    FunctionDef { signature: Some(signature), node_def: nodes, ret, ..FunctionDef::default() }
}

/// A model with the input `x`, `[batch, 2]`, and the output `y`, which is the node of that name.
fn model(mut nodes: Vec<NodeDef>, functions: Vec<FunctionDef>) -> tensorflow::SavedModel {
    nodes.push(node("x", "Placeholder", &[], &[]));
    let info = |tensor: &str| TensorInfo {
        dtype: FLOAT,
        tensor_shape: Some(shape(&[-1, 2])),
        encoding: Some(tensor_info::Encoding::Name(tensor.to_owned())),
    };
    let signature = SignatureDef {
        inputs: BTreeMap::from([("x".to_owned(), info("x:0"))]),
        outputs: BTreeMap::from([("y".to_owned(), info("y:0"))]),
        ..SignatureDef::default()
    };
    let library = FunctionDefLibrary { function: functions, ..FunctionDefLibrary::default() };
    let graph = MetaGraphDef {
        meta_info_def: Some(meta_graph_def::MetaInfoDef {
            tags: vec!["serve".to_owned()],
            ..meta_graph_def::MetaInfoDef::default()
        }),
        graph_def: Some(GraphDef { node: nodes, library: Some(library), ..GraphDef::default() }),
        signature_def: BTreeMap::from([("serving_default".to_owned(), signature)]),
        ..MetaGraphDef::default()
    };
    tensorflow::SavedModel { saved_model_schema_version: 1, meta_graphs: vec![graph] }
}

fn convert(model: &tensorflow::SavedModel) -> Result<Vec<String>, Error> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("saved_model.pb"), model.encode_to_vec()).unwrap();
    open_and_convert(directory.path())
}

fn open_and_convert(directory: &Path) -> Result<Vec<String>, Error> {
    let start = Instant::now();
    let result = SavedModelSource::open(directory).and_then(|source| source.convert("serving_default"));
    assert!(start.elapsed() < Duration::from_secs(SECONDS_MAX), "it took {:?}", start.elapsed());
    let graph = result?.model.graph.unwrap();
    Ok(graph.node.iter().map(|node| node.op_type().to_owned()).collect())
}

fn refusal(nodes: Vec<NodeDef>, functions: Vec<FunctionDef>) -> String {
    convert(&model(nodes, functions)).unwrap_err().to_string()
}

#[test]
fn a_plain_graph_is_taken() {
    let nodes = vec![node("y", "Tanh", &["h"], &[]), node("h", "Relu", &["x"], &[])];
    assert_eq!(convert(&model(nodes, vec![])).unwrap(), ["Relu", "Tanh"]);
}

#[test]
fn cycles_and_missing_parts_are_named() {
    let cycle = refusal(vec![node("y", "Tanh", &["z"], &[]), node("z", "Relu", &["y"], &[])], vec![]);
    assert!(cycle.ends_with("node \"y\" needs itself"), "{cycle}");
    let missing = refusal(vec![node("y", "Tanh", &["nowhere"], &[])], vec![]);
    assert!(missing.ends_with("there is no node \"nowhere\""), "{missing}");
    let function = refusal(vec![node("y", "PartitionedCall", &["x"], &[calls("gone")])], vec![]);
    assert!(function.contains("there is no function \"gone\""), "{function}");
    let output = refusal(vec![node("y", "Tanh", &["h:7"], &[]), node("h", "Relu", &["x"], &[])], vec![]);
    assert!(output.contains("\"y\" is no tensor of numbers"), "{output}");
    let arguments = refusal(
        vec![node("y", "PartitionedCall", &["x", "x"], &[calls("one")])],
        vec![function_of_identity("one")],
    );
    assert!(arguments.contains("a function of 1 arguments is given 2"), "{arguments}");
}

fn function_of_identity(name: &str) -> FunctionDef {
    function(name, vec![node("i", "Identity", &["a"], &[])], "i:output:0")
}

#[test]
fn a_function_that_calls_itself_ends() {
    let inner = node("again", "PartitionedCall", &["a"], &[calls("f")]);
    let functions = vec![function("f", vec![inner], "again:output:0")];
    let error = refusal(vec![node("y", "PartitionedCall", &["x"], &[calls("f")])], functions);
    assert!(error.contains("functions call one another more than 40 deep"), "{error}");
}

#[test]
fn functions_that_double_the_work_at_each_level_end() {
    let level = |at: usize| {
        let call = |name: &str, input: &str| {
            node(name, "PartitionedCall", &[input], &[calls(&format!("f{}", at + 1))])
        };
        function(&format!("f{at}"), vec![call("one", "a"), call("two", "one:output:0")], "two:output:0")
    };
    let mut functions: Vec<FunctionDef> = (0..30).map(level).collect();
    functions.push(function("f30", vec![node("r", "Relu", &["a"], &[])], "r:activations:0"));
    let error = refusal(vec![node("y", "PartitionedCall", &["x"], &[calls("f0")])], functions);
    assert!(error.contains("more than"), "{error}");
}

#[test]
fn a_loop_without_end_ends() {
    let flag = |name: &str| ("unused", calls(name).1);
    let key = |key: &'static str, name: &str| (key, flag(name).1);
    let truth = TensorProto {
        dtype: tensorflow::DataType::DtBool.into(),
        tensor_shape: Some(shape(&[])),
        bool_val: vec![true],
        ..TensorProto::default()
    };
    let always = node("t", "Const", &[], &[("value", attr_value::Value::Tensor(truth))]);
    let functions = vec![
        function("always", vec![always], "t:output:0"),
        function("step", vec![node("r", "Relu", &["a"], &[])], "r:activations:0"),
    ];
    let repeat = node("y", "While", &["x"], &[key("cond", "always"), key("body", "step")]);
    let error = refusal(vec![repeat], functions);
    assert!(error.contains("it repeats more than 4096 times"), "{error}");
}

#[test]
fn absurd_sizes_are_refused_before_they_are_allocated() {
    let huge = refusal(vec![constant("y", &[1 << 40, 1 << 20], &[])], vec![]);
    assert!(huge.contains("its shape [1099511627776, 1048576] is absurd"), "{huge}");
    let repeated = refusal(vec![constant("y", &[1 << 30], &[])], vec![]);
    assert!(repeated.contains("repeats one value 1073741824 times"), "{repeated}");
    let range = refusal(
        vec![
            node("y", "Range", &["zero", "many", "one"], &[]),
            constant("zero", &[], &[0]),
            constant("one", &[], &[1]),
            constant("many", &[], &[i32::MAX]),
        ],
        vec![],
    );
    assert!(range.contains("a range of 2147483647 integers"), "{range}");
    // A large constant of one value stays small in the result.
    let sizes = constant("sizes", &[2], &[1 << 15, 1 << 15]);
    let filled = vec![
        node("y", "Add", &["x", "sum"], &[]),
        node("sum", "Sum", &["filled", "axes"], &[]),
        constant("axes", &[2], &[0, 1]),
        node("filled", "Fill", &["sizes", "value"], &[]),
        constant("value", &[], &[]),
        sizes,
    ];
    assert_eq!(convert(&model(filled, vec![])).unwrap(), ["Expand", "ReduceSum", "Add"]);
}

#[test]
fn all_that_is_unsupported_is_told_at_once() {
    let nodes = vec![
        node("y", "Add", &["head/a", "tail/b"], &[]),
        node("head/a", "EagerPyFunc", &["x"], &[]),
        node("tail/b", "StringLower", &["tail/c"], &[]),
        node("tail/c", "Lgamma", &["head/a"], &[]),
    ];
    let Error::Unsupported(list) = convert(&model(nodes, vec![])).unwrap_err() else {
        panic!("it is unsupported")
    };
    let found: Vec<(&str, &str)> =
        list.iter().map(|each| (each.operator.as_str(), each.layer.as_deref().unwrap())).collect();
    assert_eq!(found, [("EagerPyFunc", "head"), ("Lgamma", "tail"), ("StringLower", "tail")]);
    assert!(list[0].reason.contains("Python code"), "{}", list[0]);
}

#[test]
fn wrong_attributes_are_no_panic() {
    let text = |text: &str| attr_value::Value::S(text.as_bytes().to_vec());
    let list =
        |i: &[i64]| attr_value::Value::List(attr_value::ListValue { i: i.to_vec(), ..Default::default() });
    let wrong = [
        node("y", "Conv2D", &["x", "x"], &[("strides", list(&[0, 0]))]),
        node("y", "MaxPool", &["x"], &[("ksize", list(&[-1, i64::MAX])), ("padding", text("?"))]),
        node("y", "Squeeze", &["x"], &[("squeeze_dims", list(&[i64::MIN, 9]))]),
        node("y", "Split", &["x", "x"], &[("num_split", attr_value::Value::I(-3))]),
        node("y", "Pack", &["x"], &[("axis", attr_value::Value::I(i64::MAX))]),
        node("y", "Einsum", &["x", "x"], &[("equation", text("ab,,->->"))]),
        node("y", "StridedSlice", &["x"], &[]),
        node("y", "Transpose", &[], &[]),
        node("y", "Reshape", &["x", "x"], &[]),
        node("y", "TensorListGetItem", &["x", "x"], &[]),
        node("y", "LookupTableFindV2", &["x", "x", "x"], &[]),
        node("y", "SpaceToBatchND", &["x", "x", "x"], &[]),
        node("y", "TopKV2", &["x", "x"], &[]),
        node("y", "OneHot", &["x", "x", "x", "x"], &[]),
        node("y", "FusedBatchNormV3", &["x"], &[("is_training", attr_value::Value::B(false))]),
        node("y", "While", &["x"], &[]),
        node("y", "ReadVariableOp", &["x"], &[]),
    ];
    for wrong in wrong {
        let op = wrong.op.clone();
        let error = convert(&model(vec![wrong], vec![])).unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{op}: {error}");
    }
}

fn written() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in SavedModel.write(&sample::Model::new().graph()).unwrap() {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    directory
}

#[test]
fn damaged_weights_are_found() {
    let directory = written();
    let data = directory.path().join("variables/variables.data-00000-of-00001");
    let bytes = std::fs::read(&data).unwrap();
    let mut changed = bytes.clone();
    changed[100] ^= 1;
    std::fs::write(&data, &changed).unwrap();
    let error = open_and_convert(directory.path()).unwrap_err().to_string();
    assert!(error.contains("its checksum differs"), "{error}");
    std::fs::write(&data, &bytes[..bytes.len() / 2]).unwrap();
    let error = open_and_convert(directory.path()).unwrap_err().to_string();
    assert!(
        error.contains("it lies at byte") && error.contains("variables.data-00000-of-00001 has"),
        "{error}"
    );
}

/// Keras stores every variable twice, of which the signature reads one: the other is as much a part of the model that leaves again.
#[test]
fn a_damaged_copy_that_nothing_here_reads_is_found() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dense");
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("variables")).unwrap();
    for name in ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"] {
        std::fs::copy(fixture.join(name), directory.path().join(name)).unwrap();
    }
    open_and_convert(directory.path()).unwrap();
    let data = directory.path().join("variables/variables.data-00000-of-00001");
    let bytes = std::fs::read(&data).unwrap();
    for at in [0, bytes.len() / 4, bytes.len() / 2, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        std::fs::write(&data, &changed).unwrap();
        let error = open_and_convert(directory.path()).unwrap_err().to_string();
        assert!(error.contains("its checksum differs"), "byte {at}: {error}");
    }
    std::fs::remove_dir_all(directory.path().join("variables")).unwrap();
    let error = open_and_convert(directory.path()).unwrap_err().to_string();
    assert!(error.contains("there is no variables/variables.index; copy the whole folder"), "{error}");
}

#[test]
fn an_index_that_claims_a_terabyte_is_refused() {
    let directory = written();
    let path = directory.path().join("variables/variables.index");
    let index = parse_variables_index_bytes(&std::fs::read(&path).unwrap()).unwrap();
    let keys: Vec<&str> = index.keys().collect();
    assert!(keys.contains(&"dense_kernel/.ATTRIBUTES/VARIABLE_VALUE"), "{keys:?}");
    for (sizes, size) in
        [(vec![1 << 38], 1i64 << 40), (vec![1 << 20], 1 << 40), (vec![1 << 28], 1 << 30), (vec![-1], 4)]
    {
        let entry = BundleEntryProto {
            dtype: FLOAT,
            shape: Some(shape(&sizes)),
            size,
            ..BundleEntryProto::default()
        };
        std::fs::write(&path, table(&keys, &entry)).unwrap();
        let error = open_and_convert(directory.path()).unwrap_err().to_string();
        assert!(error.contains("dense"), "{sizes:?}: {error}");
    }
}

/// A table in which every key has the same entry.
fn table(keys: &[&str], entry: &BundleEntryProto) -> Vec<u8> {
    let header = tensorflow::BundleHeaderProto { num_shards: 1, ..Default::default() }.encode_to_vec();
    let entry = entry.encode_to_vec();
    let mut entries: Vec<(&str, &[u8])> = vec![("", &header)];
    entries.extend(keys.iter().map(|key| (*key, entry.as_slice())));
    let mut file = Vec::new();
    let data = block(&mut file, &entries);
    let empty = block(&mut file, &[]);
    let index = block(&mut file, &[("~", &data)]);
    let mut footer = [empty, index].concat();
    footer.resize(40, 0);
    file.extend(footer);
    file.extend(0xdb47_7524_8b80_fb57u64.to_le_bytes());
    file
}

fn block(file: &mut Vec<u8>, entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in entries {
        for number in [0, key.len(), value.len()] {
            prost::encoding::encode_varint(number as u64, &mut bytes);
        }
        bytes.extend(key.as_bytes());
        bytes.extend(*value);
    }
    bytes.extend([0, 0, 0, 0, 1, 0, 0, 0]);
    let mut handle = Vec::new();
    prost::encoding::encode_varint(file.len() as u64, &mut handle);
    prost::encoding::encode_varint(bytes.len() as u64, &mut handle);
    bytes.push(0);
    let crc = crc32c::crc32c(&bytes).rotate_right(15).wrapping_add(0xa282_ead8);
    file.extend(bytes);
    file.extend(crc.to_le_bytes());
    handle
}

#[test]
fn what_is_no_saved_model_says_so() {
    for bytes in [&b""[..], b"\x08\x01", b"PK\x03\x04", &[0xff; 64]] {
        assert!(matches!(parse_saved_model_bytes(bytes), Err(Error::Import { .. })));
    }
    let empty = tempfile::tempdir().unwrap();
    let error = SavedModelSource::open(empty.path()).unwrap_err().to_string();
    assert!(error.starts_with("cannot open"), "{error}");
}

/// Operators with a conversion, and one without.
const OPERATORS: &[&str] = &[
    "Abs",
    "Add",
    "AddN",
    "All",
    "ArgMax",
    "AvgPool",
    "BatchMatMulV2",
    "BatchToSpaceND",
    "BiasAdd",
    "Bitcast",
    "BitwiseAnd",
    "BroadcastTo",
    "Bucketize",
    "Cast",
    "ClipByValue",
    "ConcatV2",
    "Conv2D",
    "Conv2DBackpropInput",
    "Conv3D",
    "Cumsum",
    "DenseBincount",
    "DepthToSpace",
    "DepthwiseConv2dNative",
    "DivNoNan",
    "Einsum",
    "EmptyTensorList",
    "Equal",
    "Erfc",
    "ExpandDims",
    "Expm1",
    "Fill",
    "FloorDiv",
    "FloorMod",
    "FusedBatchNormV3",
    "GatherNd",
    "GatherV2",
    "HashTableV2",
    "Identity",
    "IdentityN",
    "IsFinite",
    "LeakyRelu",
    "Less",
    "Log1p",
    "LogicalAnd",
    "LogicalNot",
    "LookupTableFindV2",
    "MatMul",
    "MatrixBandPart",
    "Max",
    "MaxPool",
    "Maximum",
    "Mean",
    "Min",
    "Minimum",
    "MirrorPad",
    "Mul",
    "Neg",
    "NotEqual",
    "OneHot",
    "Pack",
    "Pad",
    "PadV2",
    "Pow",
    "Prod",
    "RandomStandardNormal",
    "Range",
    "Rank",
    "ReadVariableOp",
    "RealDiv",
    "Relu6",
    "Reshape",
    "ResizeBilinear",
    "ReverseV2",
    "Roll",
    "Rsqrt",
    "SelectV2",
    "Selu",
    "Shape",
    "Size",
    "Slice",
    "Softmax",
    "Softplus",
    "SpaceToBatchND",
    "SpaceToDepth",
    "Split",
    "SplitV",
    "SquaredDifference",
    "Squeeze",
    "StridedSlice",
    "Sub",
    "Sum",
    "Tanh",
    "TensorListFromTensor",
    "TensorListGetItem",
    "TensorListLength",
    "TensorListPopBack",
    "TensorListPushBack",
    "TensorListReserve",
    "TensorListResize",
    "TensorListSetItem",
    "TensorListStack",
    "Tile",
    "TopKV2",
    "Transpose",
    "Unpack",
    "VarHandleOp",
    "While",
    "ZerosLike",
    "Lgamma",
];
const CONSTANTS: &[(&[i64], &[i32])] = &[
    (&[], &[0]),
    (&[], &[1]),
    (&[], &[-1]),
    (&[], &[2]),
    (&[], &[i32::MAX]),
    (&[], &[i32::MIN]),
    (&[1], &[0]),
    (&[2], &[0, 1]),
    (&[2], &[-1, 2]),
    (&[2], &[1, i32::MAX]),
    (&[4], &[0, 2, 1, 3]),
    (&[2, 2], &[0, 1, 1, 0]),
    (&[0], &[]),
    (&[], &[]),
    (&[3], &[]),
    (&[2, 2], &[]),
    (&[1, 3, 3, 2], &[]),
    (&[1 << 12], &[]),
    (&[4], &[1, 1, 2, 1]),
];
const KEYS: &[&str] = &[
    "axis",
    "num_split",
    "N",
    "begin_mask",
    "end_mask",
    "ellipsis_mask",
    "new_axis_mask",
    "shrink_axis_mask",
    "batch_dims",
    "block_size",
    "k",
    "num",
];

/// Bytes that choose what a node is.
fn random_node(at: usize, choice: &[u8; 16]) -> NodeDef {
    let input = |byte: u8| match usize::from(byte) % (at + CONSTANTS.len() + 1) {
        0 => "x".to_owned(),
        place if place <= CONSTANTS.len() => format!("c{}", place - 1),
        place => format!("n{}:{}", place - CONSTANTS.len() - 1, byte >> 7),
    };
    let inputs: Vec<String> =
        choice[1..=usize::from(choice[8] % 5)].iter().map(|byte| input(*byte)).collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let integers = |count: u8, low: u8| {
        let i = (0..count % 7)
            .map(|at| i64::from(choice[9 + usize::from(at) % 7] % 5) - i64::from(low % 2))
            .collect();
        attr_value::Value::List(attr_value::ListValue { i, ..attr_value::ListValue::default() })
    };
    let text = |text: &str| attr_value::Value::S(text.as_bytes().to_vec());
    let padding = ["SAME", "VALID", "EXPLICIT"][usize::from(choice[10] % 3)];
    let mut attributes = vec![
        ("strides", integers(choice[9], choice[11])),
        ("ksize", integers(choice[9], choice[12])),
        ("squeeze_dims", integers(choice[13] % 3, choice[14])),
        ("padding", text(padding)),
        ("equation", text(["ab,bc->ac", "abc,cd->abd", "ab->ba", "ab,ab->"][usize::from(choice[11] % 4)])),
        ("is_training", attr_value::Value::B(choice[12].is_multiple_of(4))),
        ("keep_dims", attr_value::Value::B(choice[12].is_multiple_of(2))),
    ];
    for (place, key) in KEYS.iter().enumerate() {
        if choice[9 + place % 7].is_multiple_of(3) {
            attributes.push((key, attr_value::Value::I(i64::from(choice[15 - place % 7] % 9) - 2)));
        }
    }
    node(&format!("n{at}"), OPERATORS[usize::from(choice[0]) % OPERATORS.len()], &inputs, &attributes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A graph of TensorFlow with bytes changed is converted or refused, and never a panic.
    #[test]
    fn changed_graphs_are_no_panic(at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), which in 0..5usize) {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let source = fixture.join(["dense", "convolution", "lstm", "gru", "objects"][which]);
        let mut bytes = std::fs::read(source.join("saved_model.pb")).unwrap();
        for (place, value) in at {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("saved_model.pb"), bytes).unwrap();
        std::fs::create_dir(directory.path().join("variables")).unwrap();
        for name in ["variables.index", "variables.data-00000-of-00001"] {
            std::fs::copy(source.join("variables").join(name), directory.path().join("variables").join(name)).unwrap();
        }
        let _ = open_and_convert(directory.path());
    }

    /// Any operators on anything are converted or refused, and never a panic.
    #[test]
    fn random_graphs_are_no_panic(choices in prop::collection::vec(any::<[u8; 16]>(), 1..14)) {
        let mut nodes: Vec<NodeDef> = CONSTANTS
            .iter()
            .enumerate()
            .map(|(at, (sizes, values))| constant(&format!("c{at}"), sizes, values))
            .collect();
        nodes.extend(choices.iter().enumerate().map(|(at, choice)| random_node(at, choice)));
        nodes.push(node("y", "Identity", &[&format!("n{}", choices.len() - 1)], &[]));
        let _ = convert(&model(nodes, vec![]));
    }
}
