//! Which engines are here, where the library of ONNX Runtime is broken. One test, because a process looks for it once.

#![allow(clippy::unwrap_used)]

mod onnx_model;

use artifact::Error;
use artifact::engine::{self, EngineKind, EngineOrigin, LibraryPlaces};
use onnx_model::*;
use predictor::DataType;
use protos::onnx::tensor_proto::DataType as Onnx;

#[test]
fn a_broken_library_is_named_and_the_built_in_engines_work() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libonnxruntime.so.1.99.0");
    std::fs::write(&library, "no library").unwrap();
    let named = library.clone();
    let places = LibraryPlaces::usual(|name| {
        (name == "BELLWETHER_ONNXRUNTIME").then(|| named.clone().into_os_string())
    });
    assert!(engine::look_for_onnxruntime(places));

    let engines = engine::available();
    assert_eq!(
        engines.iter().map(|engine| engine.name).collect::<Vec<_>>(),
        ["rten", "trees", "onnxruntime"]
    );
    assert_eq!(engines[0].origin, EngineOrigin::BuiltIn);
    assert!(engines[0].version.is_some() && engines[2].version.is_none());
    let EngineOrigin::Missing(reason) = &engines[2].origin else { panic!("{:?}", engines[2]) };
    assert!(
        reason.contains(library.to_str().unwrap()) && reason.contains("BELLWETHER_ONNXRUNTIME"),
        "{reason}"
    );
    assert!(!engine::look_for_onnxruntime(LibraryPlaces::default()), "it is too late to look elsewhere");

    let output = vec![value("y", Onnx::Float, &[None, Some(2)])];
    let relu = model(vec![node("Relu", &["x"], &["y"], vec![])], vec![], output.clone());
    assert_eq!(engine::choose(&relu).unwrap(), EngineKind::Rten);
    let signature = signature(vec![spec("y", DataType::Float32, &[None, Some(2)])]);
    assert!(engine::load(bytes(&relu), &signature, 1, EngineKind::Rten).is_ok());
    match engine::load(bytes(&relu), &signature, 1, EngineKind::OnnxRuntime).map(|_| ()) {
        Err(Error::Load { engine: "onnxruntime", reason }) => {
            assert!(reason.contains("libonnxruntime"), "{reason}");
        }
        other => panic!("{other:?}"),
    }

    // What no built-in engine knows is refused with its node, and with what stands in the way of ONNX Runtime.
    let hardmax = model(vec![node("Hardmax", &["x"], &["y"], vec![])], vec![], output);
    match engine::choose(&hardmax) {
        Err(Error::Unsupported(found)) => {
            assert_eq!((found.len(), found[0].nodes[0].as_str()), (1, "the_hardmax"));
            assert!(
                found[0].reason.contains("rten") && found[0].reason.contains("libonnxruntime"),
                "{}",
                found[0].reason
            );
        }
        other => panic!("{other:?}"),
    }
}
