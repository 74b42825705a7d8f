//! Somebody else's models through the facade: as folders, files, archives and numbered versions in, asked by rows and by
//! tensors, and out again.
//!
//! The models were exported by Keras, whose answers lie beside them (`crates/artifact/tests/data`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use platform::{
    ArtifactSource, CreateEndpoint, Deploy, Instance, Kind, ModelFormat, ModelTexts, Options, Platform,
    PredictReply, PredictRequest, Question, ResourceRequest, StagedUpload, Tensor, UploadModel, UploadTarget,
    convert_model,
};
use serde_json::Value;

fn exported(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../artifact/tests/data").join(name)
}

/// Keras's input and output: shape and numbers.
fn sample(name: &str, side: &str) -> (Vec<usize>, Vec<f32>) {
    let text = std::fs::read_to_string(exported(name).join("sample.json")).unwrap();
    let sample: Value = serde_json::from_str(&text).unwrap();
    let shape = sample[side]["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize);
    let numbers = sample[side]["elements"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32);
    (shape.collect(), numbers.collect())
}

fn options(data_dir: &Path) -> Options {
    Options {
        data_dir: data_dir.to_owned(),
        artifact_root: None,
        artifact_cache_bytes: platform::ARTIFACT_CACHE_BYTES,
        allowed_roots: Vec::new(),
        holder: "test".to_owned(),
        clock: Arc::new(|| "2024-01-02T00:00:00Z".parse().unwrap()),
    }
}

async fn open(data_dir: &Path) -> Arc<Platform> {
    Platform::open(options(data_dir)).await.unwrap()
}

fn upload(source: ArtifactSource, id: &str) -> UploadModel {
    UploadModel {
        project: "default".to_owned(),
        target: UploadTarget::NewOrVersionOf { id: Some(id.to_owned()) },
        about: ModelTexts::default(),
        description: String::new(),
        source,
        aliases: Vec::new(),
        labels: BTreeMap::new(),
        signature: None,
    }
}

async fn served(platform: &Platform, model: &str) {
    let (project, endpoint) = ("default".to_owned(), model.to_owned());
    let request = CreateEndpoint {
        project: project.clone(),
        id: Some(endpoint.clone()),
        display_name: model.to_owned(),
        description: String::new(),
        labels: BTreeMap::new(),
    };
    platform.create_endpoint(request).await.unwrap();
    let deploy = Deploy {
        project,
        endpoint,
        model: model.to_owned(),
        deployment_id: None,
        display_name: None,
        resources: ResourceRequest { cpu_cores: Some(1.0), memory_gb: Some(1.0), ..Default::default() },
        engine: None,
        traffic_split: Some(BTreeMap::from([("0".to_owned(), 100)])),
        standing: platform::Standing::default(),
    };
    platform.deploy(deploy).await.unwrap();
}

async fn ask(platform: &Platform, endpoint: &str, question: Question) -> platform::Result<PredictReply> {
    let request = PredictRequest { project: "default".to_owned(), endpoint: endpoint.to_owned(), question };
    platform.predict(request).await
}

fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{found} {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keras_export_is_uploaded_served_and_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let platform = open(&dir.path().join("data")).await;
    let version =
        platform.upload_model(upload(ArtifactSource::Path(exported("dense")), "dense")).await.unwrap();
    assert_eq!(version.summary["origin"]["format"], "saved_model");
    assert_eq!(version.summary["origin"]["engine"], "rten");
    let parameters = version.summary["origin"]["parameters"].as_u64().unwrap();
    assert!(parameters > 0);
    assert!(version.summary["origin"]["memory_bytes"].as_u64().unwrap() >= 4 * parameters);
    assert!(version.summary["bytes"].as_u64().unwrap() > 4 * parameters);
    served(&platform, "dense").await;

    let (shape, numbers) = sample("dense", "input");
    let (_, expected) = sample("dense", "output");
    let rows = numbers.chunks(shape[1]).map(|row| Instance::Vector(row.to_vec())).collect();
    let reply = ask(&platform, "dense", Question::Rows { instances: rows, as_of: None }).await.unwrap();
    close(&reply.predictions().unwrap().concat(), &expected);
    let name = version.signature.inputs[0].name.clone();
    let tensor = Tensor::float32(shape, numbers).unwrap();
    let by_tensor = ask(&platform, "dense", Question::Tensors(vec![(name, tensor.clone())])).await.unwrap();
    assert_eq!(by_tensor.outputs, reply.outputs);
    // It has no contract on what its numbers are: whatever a float32 is it takes, in rows as in tensors.
    let mut infinite = tensor.into_data();
    let platform::TensorData::Float32(values) = &mut infinite else { panic!("of another type") };
    values[sample("dense", "input").0[1]] = f32::INFINITY;
    let tensor = Tensor::new(sample("dense", "input").0, infinite).unwrap();
    let name = version.signature.inputs[0].name.clone();
    let rows = tensor.as_float32().unwrap().chunks(5).map(|row| Instance::Vector(row.to_vec())).collect();
    let by_rows = ask(&platform, "dense", Question::Rows { instances: rows, as_of: None }).await.unwrap();
    let by_tensor = ask(&platform, "dense", Question::Tensors(vec![(name, tensor)])).await.unwrap();
    let bits = |reply: &PredictReply| -> Vec<u32> {
        reply.outputs[0].1.as_float32().unwrap().iter().map(|x| x.to_bits()).collect()
    };
    assert_eq!(bits(&by_tensor), bits(&by_rows));
    let (row, outputs) = (bits(&by_tensor), expected.len() / sample("dense", "input").0[0]);
    assert_eq!(row[..outputs], bits(&reply)[..outputs], "the other rows are answered as ever");
    let tensor = Tensor::float32(sample("dense", "input").0, sample("dense", "input").1).unwrap();

    let refused = |question| async { ask(&platform, "dense", question).await.unwrap_err() };
    let unknown = refused(Question::Tensors(vec![("odd".to_owned(), tensor)])).await;
    assert!(unknown.to_string().contains("is missing; the model takes"), "{unknown}");
    let short = refused(Question::Rows { instances: vec![Instance::Vector(vec![1.0])], as_of: None }).await;
    assert!(short.to_string().contains("has 1 values where model dense@1 takes 5"), "{short}");
    let symbol = Instance::Symbol("AAPL".to_owned());
    let symbol = refused(Question::Rows { instances: vec![symbol], as_of: None }).await;
    assert_eq!(symbol.kind(), Kind::FailedPrecondition);

    // It comes back by itself, and leaves in each format, which come in again as the same model.
    drop(platform);
    let platform = open(&dir.path().join("data")).await;
    assert_eq!(platform.restore_deployments().await.unwrap().len(), 1);
    for (format, name) in
        [(ModelFormat::SavedModel, "saved"), (ModelFormat::Onnx, "net.onnx"), (ModelFormat::Bundle, "bundle")]
    {
        let out = dir.path().join(name);
        let written = platform.export_model("default", "dense@1", format, &out).await.unwrap();
        assert!(written.bytes > 0);
        let again = platform.export_model("default", "dense@1", format, &out).await.unwrap_err();
        assert_eq!(again.kind(), Kind::AlreadyExists);
        let id = name.replace('.', "-");
        platform.upload_model(upload(ArtifactSource::Path(out), &id)).await.unwrap();
        served(&platform, &id).await;
        let (_, numbers) = sample("dense", "input");
        let rows = numbers.chunks(5).map(|row| Instance::Vector(row.to_vec())).collect();
        let same = ask(&platform, &id, Question::Rows { instances: rows, as_of: None }).await.unwrap();
        close(&same.predictions().unwrap().concat(), &expected);
    }
    // What came as ONNX leaves as a SavedModel too, and as a whole: with variables.
    let out = dir.path().join("written");
    let written =
        platform.export_model("default", "net-onnx@1", ModelFormat::SavedModel, &out).await.unwrap();
    assert_eq!(
        written.files,
        ["variables/variables.data-00000-of-00001", "variables/variables.index", "saved_model.pb"]
    );
    let version = platform.upload_model(upload(ArtifactSource::Path(out), "written")).await.unwrap();
    assert_eq!(version.summary["origin"]["format"], "saved_model");
    served(&platform, "written").await;
    let (_, numbers) = sample("dense", "input");
    let rows = numbers.chunks(5).map(|row| Instance::Vector(row.to_vec())).collect();
    let same = ask(&platform, "written", Question::Rows { instances: rows, as_of: None }).await.unwrap();
    close(&same.predictions().unwrap().concat(), &expected);

    let saved = dir.path().join("saved");
    assert!(saved.join("saved_model.pb").is_file() && saved.join("variables/variables.index").is_file());
    assert!(!saved.join("model.onnx").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn sequences_and_numbered_versions_come_by_staging() {
    let dir = tempfile::tempdir().unwrap();
    let platform = open(&dir.path().join("data")).await;
    for number in [2, 10] {
        for file in ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
        {
            let name = format!("in/2026-11-26-00:57:12.123/{number}/{file}");
            let object = StagedUpload { bucket: "models".to_owned(), name, ..StagedUpload::default() };
            platform.staging().put(&object, &std::fs::read(exported("lstm").join(file)).unwrap()).unwrap();
        }
    }
    let uri = "gs://models/in/2026-11-26-00:57:12.123".to_owned();
    let versions = platform.upload_models(upload(ArtifactSource::Uri(uri), "lstm")).await.unwrap();
    let numbers: Vec<u32> = versions.iter().map(|version| version.version).collect();
    assert_eq!(numbers, [1, 2]);
    served(&platform, "lstm").await;
    let (shape, numbers) = sample("lstm", "input");
    let name = versions[0].signature.inputs[0].name.clone();
    let tensor = Tensor::float32(shape, numbers).unwrap();
    let reply = ask(&platform, "lstm", Question::Tensors(vec![(name, tensor)])).await.unwrap();
    let (_, expected) = sample("lstm", "output");
    close(reply.outputs[0].1.as_float32().unwrap(), &expected);
    let rows = Question::Rows { instances: vec![Instance::Vector(vec![1.0])], as_of: None };
    let refusal = ask(&platform, "lstm", rows).await.unwrap_err();
    assert!(refusal.to_string().contains("takes no row of features but the inputs"), "{refusal}");
    let nowhere = ArtifactSource::Uri("gs://models/elsewhere".to_owned());
    assert!(platform.upload_models(upload(nowhere, "x")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keras_file_becomes_a_version_and_its_engine_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let platform = open(&dir.path().join("data")).await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../artifact/tests/keras/chain.keras");
    assert!(platform.engine_uses("default").await.unwrap().is_empty());
    let version = platform.upload_model(upload(ArtifactSource::Path(file), "chain")).await.unwrap();
    assert_eq!(version.summary["origin"]["format"], "keras");
    served(&platform, "chain").await;
    let uses = platform.engine_uses("default").await.unwrap();
    let shown: Vec<[&str; 3]> =
        uses.iter().map(|each| [&each.endpoint, &each.model, &each.engine].map(String::as_str)).collect();
    assert_eq!(shown, [["chain", "chain@1", "rten"]]);
    let question = Question::Rows { instances: vec![Instance::Vector(vec![0.1, 0.2, 0.3])], as_of: None };
    assert_eq!(ask(&platform, "chain", question).await.unwrap().outputs[0].1.shape(), [1, 2]);
}

/// Nothing is asked of a store that the operator did not allow.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_names_no_store_outside_of_the_allowed_roots() {
    let dir = tempfile::tempdir().unwrap();
    let options = |roots: &[&str]| Options {
        allowed_roots: roots.iter().map(|root| (*root).to_owned()).collect(),
        ..options(&dir.path().join("data"))
    };
    let platform = Platform::open(options(&["http://127.0.0.1:9/models/"])).await.unwrap();
    for (uri, kind) in [
        ("http://127.0.0.1:9/others/net.onnx", Kind::PermissionDenied),
        ("http://127.0.0.1:9/models/../others/net.onnx", Kind::PermissionDenied),
        ("gs://models/net", Kind::PermissionDenied),
    ] {
        let error =
            platform.upload_model(upload(ArtifactSource::Uri(uri.to_owned()), "x")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{uri}: {error}");
        assert!(error.to_string().contains(uri), "{error}");
    }
    drop(platform);
    let error = Platform::open(options(&["gopher://models"])).await.unwrap_err();
    assert!(error.to_string().contains("allowed root \"gopher://models\""), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_model_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let platform = open(&dir.path().join("data")).await;
    let place = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        path
    };
    let graph = std::fs::read(exported("dense").join("saved_model.pb")).unwrap();
    let bare = dir.path().join("bare");
    std::fs::create_dir(&bare).unwrap();
    std::fs::write(bare.join("saved_model.pb"), &graph).unwrap();
    for path in [
        place("noise.onnx", b"\x08\x07noise"),
        place("empty.onnx", b""),
        place("cut.zip", b"PK\x03\x04"),
        place("model.pt", b"torch"),
        bare,
        dir.path().join("nothing"),
        dir.path().to_owned(),
    ] {
        let error =
            platform.upload_model(upload(ArtifactSource::Path(path.clone()), "bad")).await.unwrap_err();
        assert!(
            !error.to_string().is_empty() && error.kind() != Kind::Internal,
            "{}: {error}",
            path.display()
        );
    }
    let named = UploadModel {
        signature: Some("score".to_owned()),
        ..upload(ArtifactSource::Path(exported("dense")), "bad")
    };
    let error = platform.upload_model(named).await.unwrap_err().to_string();
    assert!(error.contains("no signature \"score\"; it has") && error.contains("serving_default"), "{error}");
    assert_eq!(platform.get_model("default", "bad").await.unwrap_err().kind(), Kind::NotFound);
    let out = dir.path().join("out.onnx");
    let now = "2024-01-02T00:00:00Z".parse().unwrap();
    let written = convert_model(&exported("convolution"), None, ModelFormat::Onnx, &out, now).unwrap();
    assert_eq!(written.files, ["model.onnx"]);
    assert!(out.is_file());
    // In the way of the folder is a file.
    let error = convert_model(&out, None, ModelFormat::SavedModel, &out.join("inside"), now).unwrap_err();
    assert!(
        error.kind() == Kind::FailedPrecondition && error.to_string().contains("cannot write"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_put_in_its_place_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let now = "2024-01-02T00:00:00Z".parse().unwrap();
    let left = dir.path().join(".out.partial");
    std::fs::create_dir_all(left.join("variables")).unwrap();
    std::fs::write(left.join("variables/of a run that was killed"), "x").unwrap();
    let out = dir.path().join("out");
    for format in [ModelFormat::SavedModel, ModelFormat::Bundle] {
        let written = convert_model(&exported("dense"), None, format, &out, now).unwrap();
        let there: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(there, ["out"]);
        assert!(written.files.iter().all(|file| out.join(file).is_file()));
        assert!(!out.join("variables/of a run that was killed").exists());
        std::fs::remove_dir_all(&out).unwrap();
    }
    let long = dir.path().join("x".repeat(300));
    let error = convert_model(&exported("dense"), None, ModelFormat::Bundle, &long, now).unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
