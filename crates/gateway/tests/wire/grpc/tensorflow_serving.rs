//! TensorFlow Serving: every method, and every way a question can be wrong.

use std::collections::BTreeMap;

use prost::Message as _;
use protos::serving::tensorflow::feature::Kind;
use protos::serving::tensorflow::serving::model_spec::VersionChoice;
use protos::serving::tensorflow::serving::model_version_status::State;
use protos::serving::tensorflow::serving::*;
use protos::serving::tensorflow::tensor_shape_proto::Dim;
use protos::serving::tensorflow::{
    DataType, Example, Feature, Features, FloatList, TensorProto, TensorShapeProto,
};
use tonic::Code;

use super::{call, metadata, rows_and_answers};
use crate::fixture::{FEATURES, Server};

const PREDICT: &str = "/tensorflow.serving.PredictionService/Predict";

fn spec(name: &str) -> ModelSpec {
    ModelSpec { name: name.to_owned(), ..Default::default() }
}

fn tensor(rows: &[f32]) -> TensorProto {
    let sizes = [rows.len() / FEATURES, FEATURES];
    let dim = sizes.iter().map(|size| Dim { size: *size as i64, name: String::new() }).collect();
    TensorProto {
        dtype: DataType::DtFloat.into(),
        tensor_shape: Some(TensorShapeProto { dim, unknown_rank: false }),
        float_val: rows.to_vec(),
        ..Default::default()
    }
}

fn question(rows: &[f32]) -> PredictRequest {
    PredictRequest {
        model_spec: Some(spec("tiny-model")),
        inputs: BTreeMap::from([("features".to_owned(), tensor(rows))]),
        ..Default::default()
    }
}

fn examples(rows: &[f32]) -> Option<Input> {
    let example = |row: &[f32]| {
        let kind = Some(Kind::FloatList(FloatList { value: row.to_vec() }));
        let feature = BTreeMap::from([("features".to_owned(), Feature { kind })]);
        Example { features: Some(Features { feature }) }
    };
    let list = ExampleList { examples: rows.chunks(FEATURES).map(example).collect() };
    Some(Input { kind: Some(input::Kind::ExampleList(list)) })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_the_one_over_http() {
    let server = Server::deployed().await;
    let (rows, expected) = rows_and_answers(&server).await;
    let content: Vec<u8> = rows.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut as_content = question(&rows);
    let input = as_content.inputs.get_mut("features").unwrap();
    input.float_val.clear();
    input.tensor_content = content.into();
    let mut by_label = question(&rows);
    let label = VersionChoice::VersionLabel("default".to_owned());
    by_label.model_spec.as_mut().unwrap().version_choice = Some(label);
    let mut by_number = question(&rows);
    by_number.model_spec.as_mut().unwrap().version_choice = Some(VersionChoice::Version(1));
    let mut by_signature = question(&rows);
    by_signature.model_spec.as_mut().unwrap().signature_name = "serving_default".to_owned();
    for request in [question(&rows), as_content, by_label, by_number, by_signature] {
        let response: tonic::Response<PredictResponse> = call(&server, PREDICT, request).await.unwrap();
        assert_eq!(metadata(&response, "x-bellwether-model-version"), "tiny-model@1");
        assert!(metadata(&response, "server-timing").contains("compute;dur="));
        let reply = response.into_inner();
        let answered = reply.model_spec.unwrap();
        assert_eq!(
            (answered.name.as_str(), answered.signature_name.as_str()),
            ("tiny-model", "serving_default")
        );
        assert_eq!(answered.version_choice, Some(VersionChoice::Version(1)));
        assert_eq!(reply.outputs.len(), 1);
        let output = reply.outputs.values().next().unwrap();
        let sizes: Vec<i64> = output.tensor_shape.as_ref().unwrap().dim.iter().map(|dim| dim.size).collect();
        assert_eq!((sizes, &output.float_val), (vec![2, 3], &expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_are_filtered() {
    let server = Server::deployed().await;
    let (rows, _) = rows_and_answers(&server).await;
    let name = signature(&server).await.outputs.keys().next().unwrap().clone();
    let request = PredictRequest { output_filter: vec![name.clone()], ..question(&rows) };
    let reply: PredictResponse = call(&server, PREDICT, request).await.unwrap().into_inner();
    assert_eq!(reply.outputs.keys().collect::<Vec<_>>(), [&name]);
    let request = PredictRequest { output_filter: vec!["other".to_owned()], ..question(&rows) };
    let refused = call::<_, PredictResponse>(&server, PREDICT, request).await.unwrap_err();
    let twice = PredictRequest { output_filter: vec![name.clone(); 2], ..question(&rows) };
    let twice = call::<_, PredictResponse>(&server, PREDICT, twice).await.unwrap_err();
    assert_eq!(twice.code(), Code::InvalidArgument);
    assert!(twice.message().starts_with(&format!("duplicate output tensor alias: {name}")), "{twice}");
    let said = format!("output tensor alias not found in signature: other; the model gives {name}");
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, said.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_are_classified() {
    let server = Server::deployed().await;
    let (rows, expected) = rows_and_answers(&server).await;
    let request = ClassificationRequest { model_spec: Some(spec("tiny-model")), input: examples(&rows) };
    let path = "/tensorflow.serving.PredictionService/Classify";
    let reply: ClassificationResponse = call(&server, path, request).await.unwrap().into_inner();
    let result = reply.result.unwrap();
    let classes: Vec<&Class> = result.classifications.iter().flat_map(|row| &row.classes).collect();
    assert_eq!(classes.iter().map(|class| class.score).collect::<Vec<_>>(), expected);
    assert_eq!(
        classes.iter().map(|class| class.label.as_str()).collect::<Vec<_>>(),
        ["0", "1", "2", "0", "1", "2"]
    );

    let request = RegressionRequest { model_spec: Some(spec("tiny-model")), input: examples(&rows) };
    let path = "/tensorflow.serving.PredictionService/Regress";
    let refused = call::<_, RegressionResponse>(&server, path, request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("3 values for an example"), "{refused}");

    let task = |method: &str| InferenceTask {
        model_spec: Some(spec("tiny-model")),
        method_name: format!("tensorflow/serving/{method}"),
    };
    let path = "/tensorflow.serving.PredictionService/MultiInference";
    let request =
        MultiInferenceRequest { tasks: vec![task("classify"), task("classify")], input: examples(&rows) };
    let response: tonic::Response<MultiInferenceResponse> = call(&server, path, request).await.unwrap();
    assert_eq!(metadata(&response, "x-bellwether-model-version"), "tiny-model@1");
    for each in response.into_inner().results {
        let Some(inference_result::Result::ClassificationResult(again)) = each.result else {
            panic!("{:?}", each.result);
        };
        assert_eq!(again, result);
    }
    let request = MultiInferenceRequest { tasks: vec![task("predict")], input: examples(&rows) };
    let refused = call::<_, MultiInferenceResponse>(&server, path, request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

async fn signature(server: &Server) -> protos::serving::tensorflow::SignatureDef {
    let request = GetModelMetadataRequest {
        model_spec: Some(spec("tiny-model")),
        metadata_field: vec!["signature_def".to_owned()],
    };
    let path = "/tensorflow.serving.PredictionService/GetModelMetadata";
    let reply: GetModelMetadataResponse = call(server, path, request).await.unwrap().into_inner();
    assert_eq!(reply.model_spec.unwrap().version_choice, Some(VersionChoice::Version(1)));
    let any = &reply.metadata["signature_def"];
    assert_eq!(any.type_url, "type.googleapis.com/tensorflow.serving.SignatureDefMap");
    SignatureDefMap::decode(any.value.as_slice()).unwrap().signature_def.remove("serving_default").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_says_what_it_takes_and_how_it_is() {
    let server = Server::deployed().await;
    let signature = signature(&server).await;
    let input = &signature.inputs["features"];
    let sizes: Vec<i64> = input.tensor_shape.as_ref().unwrap().dim.iter().map(|dim| dim.size).collect();
    assert_eq!((input.dtype(), sizes), (DataType::DtFloat, vec![-1, FEATURES as i64]));
    assert_eq!(signature.method_name, "tensorflow/serving/predict");

    let path = "/tensorflow.serving.ModelService/GetModelStatus";
    let status = async |spec: Option<ModelSpec>| {
        let request = GetModelStatusRequest { model_spec: spec };
        call::<_, GetModelStatusResponse>(&server, path, request).await.map(tonic::Response::into_inner)
    };
    let label = |label: &str| {
        Some(ModelSpec {
            version_choice: Some(VersionChoice::VersionLabel(label.to_owned())),
            ..spec("tiny-model")
        })
    };
    for spec in [Some(spec("tiny-model")), label("default")] {
        let versions = status(spec).await.unwrap().model_version_status;
        assert_eq!((versions.len(), versions[0].version, versions[0].state()), (1, 1, State::Available));
        assert_eq!(versions[0].status.as_ref().unwrap().error_code, 0);
    }
    for (spec, code) in [(None, Code::InvalidArgument), (Some(spec("other")), Code::NotFound)] {
        assert_eq!(status(spec).await.unwrap_err().code(), code);
    }
    let unknown = status(label("other")).await.unwrap_err();
    let said = "Unrecognized servable version label: other";
    assert_eq!((unknown.code(), unknown.message()), (Code::InvalidArgument, said));
    let path = "/tensorflow.serving.ModelService/HandleReloadConfigRequest";
    assert_eq!(call::<_, ()>(&server, path, ()).await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_question_is_answered_with_what_is_wrong() {
    let server = Server::deployed().await;
    let (rows, _) = rows_and_answers(&server).await;
    type Change = fn(&mut PredictRequest);
    let cases: [(Change, Code, &str); 9] = [
        (|q| q.model_spec = None, Code::InvalidArgument, "Missing ModelSpec"),
        (
            |q| q.model_spec = Some(spec("half")),
            Code::NotFound,
            "Servable not found for request: Latest(half)",
        ),
        (
            |q| q.model_spec.as_mut().unwrap().version_choice = Some(VersionChoice::Version(7)),
            Code::NotFound,
            "Servable not found for request: Specific(tiny-model, 7)",
        ),
        (
            |q| {
                let label = VersionChoice::VersionLabel("canary".to_owned());
                q.model_spec.as_mut().unwrap().version_choice = Some(label);
            },
            Code::InvalidArgument,
            "Unrecognized servable version label: canary",
        ),
        (
            |q| q.model_spec.as_mut().unwrap().version_choice = Some(VersionChoice::Version(-1)),
            Code::NotFound,
            "Specific(tiny-model, -1): model \"tiny-model\" has no such version deployed; deployed: versions 1",
        ),
        (
            |q| q.model_spec.as_mut().unwrap().signature_name = "foo".to_owned(),
            Code::FailedPrecondition,
            "Serving signature key \"foo\" not found",
        ),
        (
            |q| drop(q.inputs.remove("features")),
            Code::InvalidArgument,
            "0 != 1 len({}) != len({features}). Missing but required: {features}.",
        ),
        (
            |q| drop(q.inputs.insert("y".to_owned(), TensorProto::default())),
            Code::InvalidArgument,
            "2 != 1 len({features,y}) != len({features}). Sent extra: {y}.",
        ),
        (
            |q| q.inputs.get_mut("features").unwrap().dtype = DataType::DtString.into(),
            Code::InvalidArgument,
            "must be DT_FLOAT, got DT_STRING",
        ),
    ];
    for (change, code, part) in cases {
        let mut request = question(&rows);
        change(&mut request);
        let refused = call::<_, PredictResponse>(&server, PREDICT, request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(part), "{refused}");
    }
}
