//! A bundle is whole or it is none: what is written reads back, what is damaged or foreign is named.

#![allow(clippy::unwrap_used)]

mod sample;

use std::path::Path;

use artifact::Error;
use artifact::bundle::{self, Bundle, Golden, Manifest, ObservedColumn};
use bytes::Bytes;
use sample::Model;
use store::Store;

fn written() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    bundle::write_directory(directory.path(), sample::parts(&Model::new())).unwrap();
    directory
}

fn edit(directory: &Path, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = directory.join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

fn edit_manifest(directory: &Path, from: &str, to: &str) {
    edit(directory, "bundle.json", |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.contains(from));
        *bytes = text.replacen(from, to, 1).into_bytes();
    });
}

#[test]
fn a_bundle_reads_back_and_its_golden_sample_holds() {
    let directory = written();
    let bundle = Bundle::open(directory.path()).unwrap();
    let names: Vec<&str> = bundle.manifest.files.keys().map(String::as_str).collect();
    let expected = [
        "model.onnx",
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ];
    assert_eq!(names, expected);
    assert_eq!(bundle.manifest.tensor_names.saved_model.inputs["features"], "serving_default_features:0");
    assert_eq!(
        bundle.manifest.tensor_names.saved_model.outputs["probabilities"],
        "StatefulPartitionedCall:0"
    );
    let difference = bundle.verify_golden(bundle.load(1).unwrap().as_ref()).unwrap();
    assert!(difference <= 1e-6, "{difference}");
}

#[test]
fn the_same_parts_give_the_same_digest() {
    let (one, two) = (written(), written());
    let digest = Bundle::open(one.path()).unwrap().digest;
    assert_eq!(digest.len(), 64);
    assert_eq!(digest, Bundle::open(two.path()).unwrap().digest);
    // Written over itself, it is the same bundle again.
    bundle::write_directory(one.path(), sample::parts(&Model::new())).unwrap();
    assert_eq!(digest, Bundle::open(one.path()).unwrap().digest);
}

#[test]
fn a_golden_sample_that_differs_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut parts = sample::parts(&Model::new());
    parts.manifest.golden.outputs[1][4] += 1e-3;
    bundle::write_directory(directory.path(), parts.clone()).unwrap();
    let bundle = Bundle::open(directory.path()).unwrap();
    let predictor = bundle.load(1).unwrap();
    let error = bundle.verify_golden(predictor.as_ref()).unwrap_err().to_string();
    assert!(error.contains("row 1, column 4"), "{error}");

    parts.manifest.golden = Golden::default();
    bundle::write_directory(directory.path(), parts.clone()).unwrap();
    let bundle = Bundle::open(directory.path()).unwrap();
    assert!(matches!(bundle.verify_golden(predictor.as_ref()), Err(Error::Golden { .. })));

    parts.manifest.golden.inputs = vec![vec![f32::INFINITY]];
    assert!(matches!(bundle::write_directory(directory.path(), parts), Err(Error::Manifest { .. })));
}

#[test]
fn damage_is_named() {
    let directory = written();
    edit(directory.path(), "model.onnx", |bytes| bytes[1000] ^= 1);
    let error = Bundle::open(directory.path()).unwrap_err();
    assert!(matches!(&error, Error::Digest { file, .. } if file == "model.onnx"), "{error}");

    let directory = written();
    let data = "variables/variables.data-00000-of-00001";
    edit(directory.path(), data, |bytes| bytes.truncate(100));
    let error = Bundle::open(directory.path()).unwrap_err();
    assert!(matches!(&error, Error::Size { file, found: 100, .. } if file == data), "{error}");

    let directory = written();
    std::fs::remove_file(directory.path().join("saved_model.pb")).unwrap();
    let error = Bundle::open(directory.path()).unwrap_err();
    assert!(matches!(&error, Error::Missing { file, .. } if file == "saved_model.pb"), "{error}");

    let directory = written();
    edit(directory.path(), "bundle.json", |bytes| bytes.truncate(200));
    let error = Bundle::open(directory.path()).unwrap_err();
    assert!(matches!(&error, Error::Manifest { .. }), "{error}");
}

#[test]
fn an_unknown_version_is_named() {
    let directory = written();
    edit_manifest(directory.path(), r#""version":"1""#, r#""version":"3""#);
    let error = Bundle::open(directory.path()).unwrap_err();
    assert!(matches!(&error, Error::UnknownVersion { found } if found == "3"), "{error}");
}

#[test]
fn paths_out_of_the_bundle_are_refused() {
    let odd =
        ["../model.onnx", "/etc/passwd", "a//b", "variables/../x", ".hidden", "bundle.json", "a\\\\b", ""];
    for name in odd {
        let directory = written();
        edit_manifest(directory.path(), r#""model.onnx":"#, &format!("\"{name}\":"));
        let error = Bundle::open(directory.path()).unwrap_err();
        assert!(matches!(error, Error::FileName { .. }), "{name}: {error}");
    }
    let directory = tempfile::tempdir().unwrap();
    let mut parts = sample::parts(&Model::new());
    parts.files[0].0 = "../escaped".to_owned();
    assert!(matches!(
        bundle::write_directory(&directory.path().join("in"), parts),
        Err(Error::FileName { .. })
    ));
    assert!(!directory.path().join("escaped").exists());
}

#[cfg(unix)]
#[test]
fn links_out_of_the_bundle_and_folders_are_refused() {
    for file in ["model.onnx", "bundle.json"] {
        let (directory, elsewhere) = (written(), written());
        let path = directory.path().join(file);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join(file), &path).unwrap();
        let error = Bundle::open(directory.path()).unwrap_err();
        assert!(matches!(&error, Error::FileName { name } if name == file), "{error}");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let error = Bundle::open(directory.path()).unwrap_err();
        assert!(matches!(&error, Error::FileName { name } if name == file), "{error}");
    }
}

#[test]
fn a_size_that_lies_is_refused_before_it_is_believed() {
    let directory = written();
    let size = std::fs::metadata(directory.path().join("model.onnx")).unwrap().len();
    edit_manifest(directory.path(), &format!("\"size\":{size}"), "\"size\":18446744073709551615");
    let error = Bundle::open(directory.path()).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn an_upload_is_seen_whole_or_not_at_all() {
    let directory = written();
    let bundle = Bundle::open(directory.path()).unwrap();
    let store = Store::open("memory://").unwrap();
    let prefix = "default/sample/1";
    let missing = Bundle::open_store(&store, prefix).await.unwrap_err();
    assert!(
        matches!(&missing, Error::Missing { place, .. } if place == "memory://default/sample/1"),
        "{missing}"
    );

    // An upload that died before its manifest is not a bundle, and the next one takes its place.
    store.put("default/sample/1/model.onnx", Bytes::from_static(b"half")).await.unwrap();
    store.put("default/sample/1/stale", Bytes::from_static(b"x")).await.unwrap();
    let half = Bundle::open_store(&store, prefix).await.unwrap_err();
    assert!(matches!(&half, Error::Missing { file, .. } if file == "bundle.json"), "{half}");
    bundle.upload(&store, prefix).await.unwrap();
    assert!(!store.exists("default/sample/1/stale").await.unwrap());

    let back = Bundle::open_store(&store, prefix).await.unwrap();
    assert_eq!(back.digest, bundle.digest);
    // As text, because a missing golden input is NaN and equals nothing.
    assert_eq!(back.manifest.to_json().unwrap(), bundle.manifest.to_json().unwrap());
    let again = bundle.upload(&store, prefix).await.unwrap_err();
    assert!(matches!(again, Error::Store(store::Error::AlreadyExists { .. })), "{again}");

    store.put("default/sample/1/model.onnx", Bytes::from_static(b"cut")).await.unwrap();
    let cut = Bundle::open_store(&store, prefix).await.unwrap_err();
    assert!(matches!(&cut, Error::Size { file, found: 3, .. } if file == "model.onnx"), "{cut}");
}

#[test]
fn version_2_is_read_for_ever() {
    let manifest = Manifest::from_json(include_bytes!("bundle_version_2.json")).unwrap();
    assert_eq!(manifest.model, "lstm");
    let origin = manifest.origin.unwrap();
    assert_eq!((origin.format.as_str(), origin.engine.name()), ("saved_model", "rten"));
    let call = manifest.golden.call.unwrap();
    assert_eq!(call.inputs.len(), manifest.signature.inputs.len());
    assert_eq!(call.outputs[0].tensor.shape()[0], 3);
    assert_eq!(manifest.files["model.onnx"].sha256.len(), 64);
}

#[test]
fn version_1_is_read_for_ever() {
    let text = include_bytes!("bundle_version_1.json");
    let manifest = Manifest::from_json(text).unwrap();
    assert_eq!(manifest.model, "sample");
    assert_eq!(manifest.features.names.len(), 75);
    assert_eq!(manifest.golden.inputs.len(), 3);
    assert!(manifest.golden.inputs.concat().iter().any(|x| x.is_nan()));
    assert_eq!(manifest.files["model.onnx"].sha256.len(), 64);
    assert_eq!(manifest.created_at, "2026-01-02T03:04:05Z");
}

#[test]
fn what_training_rows_held_is_kept_and_may_be_missing() {
    let names = ["a", "b"].map(str::to_owned);
    let rows = [1.0, f32::NAN, -2.0, f32::INFINITY, 0.5, f32::NAN];
    let observed = ObservedColumn::of_rows(&names, &rows);
    assert_eq!((observed[0].min, observed[0].max, observed[0].missing), (Some(-2.0), Some(1.0), 0));
    assert_eq!((observed[1].min, observed[1].max, observed[1].missing), (None, None, 3));
    assert!(ObservedColumn::of_rows(&names, &rows[..5]).is_empty());

    let directory = written();
    let bundle = Bundle::open(directory.path()).unwrap();
    let observed = &bundle.manifest.features.observed;
    assert!(observed.iter().map(|column| &column.name).eq(&bundle.manifest.features.names));
    assert!(observed.iter().all(|column| column.min <= column.max));
    // Bundles of before say nothing of it.
    let old = Manifest::from_json(include_bytes!("bundle_version_1.json")).unwrap();
    assert!(old.features.observed.is_empty());
}
