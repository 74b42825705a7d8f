//! The evaluator of trees on trees made by hand; `conformance/test_onnx_import.py` compares it with onnxruntime.

#![allow(clippy::unwrap_used)]

mod onnx_model;

use artifact::engine::{self, EngineKind};
use onnx_model::*;
use predictor::{DataType, Predictor, Tensor, TensorData};
use protos::onnx::{AttributeProto, NodeProto, tensor_proto};

const LEAF: (&str, i64, f32, i64, i64, i64) = ("LEAF", 0, 0.0, 0, 0, 0);

/// Yes weighs 1, no weighs 0.
fn stump(mode: &str, threshold: f32, missing_is_yes: i64) -> NodeProto {
    let tree: Tree<'_> = &[(mode, 1, threshold, 1, 2, missing_is_yes), LEAF, LEAF];
    regressor(&[tree], &[(0, 1, 0, 1.0), (0, 2, 0, 0.0)], vec![])
}

fn regressor(trees: &[Tree<'_>], weights: &[(i64, i64, i64, f32)], more: Vec<AttributeProto>) -> NodeProto {
    node("TreeEnsembleRegressor", &["x"], &["y"], [forest("target", trees, weights), more].concat())
}

fn load(ensemble: NodeProto, targets: usize) -> Result<Box<dyn Predictor>, artifact::Error> {
    let output = value("y", tensor_proto::DataType::Float, &[None, Some(targets as i64)]);
    let model = bytes(&model(vec![ensemble], vec![], vec![output]));
    let signature = signature(vec![spec("y", DataType::Float32, &[None, Some(targets)])]);
    engine::load(model, &signature, 1, EngineKind::Trees)
}

fn run(model: &dyn Predictor, rows: &[[f32; 2]]) -> Vec<f32> {
    let input = Tensor::float32(vec![rows.len(), 2], rows.concat()).unwrap();
    model.predict(vec![input]).unwrap()[0].as_float32().unwrap().to_vec()
}

#[test]
fn every_mode_compares_as_it_says() {
    let values = [f32::NEG_INFINITY, -1.0, -0.0, 0.0, 0.5, 0.500_000_06, 2.0, f32::INFINITY];
    type Compare = fn(&f32, &f32) -> bool;
    let modes: [(&str, Compare); 6] = [
        ("BRANCH_LEQ", f32::le),
        ("BRANCH_LT", f32::lt),
        ("BRANCH_GTE", f32::ge),
        ("BRANCH_GT", f32::gt),
        ("BRANCH_EQ", f32::eq),
        ("BRANCH_NEQ", f32::ne),
    ];
    for (mode, compare) in modes {
        for threshold in [0.5, 0.0, f32::NEG_INFINITY, f32::INFINITY, f32::MIN_POSITIVE / 4.0] {
            for missing_is_yes in [0, 1] {
                let model = load(stump(mode, threshold, missing_is_yes), 1).unwrap();
                for x in values {
                    let expected = f32::from(u8::from(compare(&x, &threshold)));
                    assert_eq!(run(&*model, &[[7.0, x]]), [expected], "{x} {mode} {threshold}");
                }
                // No comparison holds of what is missing but that it differs.
                let expected = f32::from(u8::from(missing_is_yes == 1 || mode == "BRANCH_NEQ"));
                assert_eq!(run(&*model, &[[7.0, f32::NAN]]), [expected], "missing {mode} {missing_is_yes}");
            }
        }
    }
}

/// Two trees over both features, with two targets and modes mixed.
fn mixed(more: Vec<AttributeProto>) -> NodeProto {
    let first: Tree<'_> =
        &[("BRANCH_GT", 0, 0.0, 3, 1, 0), ("BRANCH_LEQ", 1, -0.5, 2, 4, 1), LEAF, LEAF, LEAF];
    let second: Tree<'_> = &[("BRANCH_LT", 1, 0.25, 2, 1, 0), LEAF, LEAF];
    let weights = [
        (0, 3, 0, 1.0),
        (0, 3, 1, -2.0),
        (0, 2, 0, 4.0),
        (0, 4, 1, 8.0),
        (1, 1, 1, 16.0),
        (1, 2, 0, -32.0),
        (1, 2, 1, 0.5),
    ];
    regressor(&[first, second], &weights, [more, vec![int("n_targets", 2)]].concat())
}

#[test]
fn trees_are_combined_as_asked() {
    let rows = [[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0], [-1.0, f32::NAN]];
    let aggregated = |name: &str| {
        let more = vec![text("aggregate_function", name), floats("base_values", &[100.0, 200.0])];
        run(&*load(mixed(more), 2).unwrap(), &rows)
    };
    // Leaves by row: (3, 1), (3, 2), (2, 2), (4, 1), (2, 1).
    assert_eq!(aggregated("SUM"), [101., 214., 69., 198.5, 72., 200.5, 100., 224., 104., 216.]);
    assert_eq!(aggregated("AVERAGE"), [100.5, 207., 84.5, 199.25, 86., 200.25, 100., 212., 102., 208.]);
    assert_eq!(aggregated("MIN"), [101., 198., 68., 198., 68., 200.5, 100., 208., 104., 216.]);
    assert_eq!(aggregated("MAX"), [101., 216., 101., 200.5, 104., 200.5, 100., 216., 104., 216.]);
}

#[test]
fn scores_are_transformed_as_asked() {
    let rows = [[1.0f32, 1.0]];
    let transformed = |name: &str| {
        let more = vec![text("post_transform", name), floats("base_values", &[-1.5, -14.75])];
        run(&*load(mixed(more), 2).unwrap(), &rows)
    };
    assert_eq!(transformed("NONE"), [-0.5, -0.75]);
    let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
    let share = 1.0 / (1.0 + (-0.25f64).exp());
    for (found, expected) in [
        (transformed("LOGISTIC"), [logistic(-0.5), logistic(-0.75)]),
        (transformed("SOFTMAX"), [share, 1.0 - share]),
        (transformed("SOFTMAX_ZERO"), [share, 1.0 - share]),
    ] {
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-7, "{found} {expected}");
        }
    }
    // The quantile of 0.975 is 1.96; the approximation is off by some thousandths.
    let more = vec![text("post_transform", "PROBIT"), floats("base_values", &[-0.025, -13.025])];
    let probit = run(&*load(mixed(more), 2).unwrap(), &rows);
    assert!((probit[0] - 1.96).abs() < 5e-3 && (probit[1] - 1.96).abs() < 5e-3, "{probit:?}");
}

fn classifier(weights: &[(i64, i64, i64, f32)], labels: &[i64], more: Vec<AttributeProto>) -> NodeProto {
    let tree: Tree<'_> = &[("BRANCH_LEQ", 0, 0.0, 1, 2, 0), LEAF, LEAF];
    let attributes =
        [forest("class", &[tree], weights), vec![ints("classlabels_int64s", labels)], more].concat();
    node("TreeEnsembleClassifier", &["x"], &["label", "y"], attributes)
}

/// Labels and scores of the rows (-1, 0) and (1, 0).
fn classified(ensemble: NodeProto, classes: usize) -> (Vec<i64>, Vec<f32>) {
    let outputs = vec![
        value("label", tensor_proto::DataType::Int64, &[None]),
        value("y", tensor_proto::DataType::Float, &[None, Some(classes as i64)]),
    ];
    let model = bytes(&model(vec![ensemble], vec![], outputs));
    let signature = signature(vec![
        spec("label", DataType::Int64, &[None]),
        spec("y", DataType::Float32, &[None, Some(classes)]),
    ]);
    let model = engine::load(model, &signature, 1, EngineKind::Trees).unwrap();
    let out = model.predict(vec![Tensor::float32(vec![2, 2], vec![-1.0, 0.0, 1.0, 0.0]).unwrap()]).unwrap();
    let TensorData::Int64(labels) = out[0].data() else { panic!("labels are int64") };
    (labels.clone(), out[1].as_float32().unwrap().to_vec())
}

#[test]
fn one_score_for_two_classes_is_completed_by_the_signs_of_weights() {
    // Probabilities: weights of one class, none below zero.
    let (labels, scores) = classified(classifier(&[(0, 1, 0, 0.25), (0, 2, 0, 0.75)], &[3, 7], vec![]), 2);
    assert_eq!((labels, scores), (vec![3, 7], vec![0.75, 0.25, 0.25, 0.75]));
    // Margins.
    let margins = [(0, 1, 0, -1.0), (0, 2, 0, 2.0)];
    let (labels, scores) = classified(classifier(&margins, &[3, 7], vec![]), 2);
    assert_eq!((labels, scores), (vec![3, 7], vec![1.0, -1.0, -2.0, 2.0]));
    let (labels, scores) =
        classified(classifier(&margins, &[3, 7], vec![text("post_transform", "LOGISTIC")]), 2);
    assert_eq!(labels, [3, 7]);
    let logistic = |x: f32| 1.0 / (1.0 + (-x).exp());
    for (found, expected) in scores.iter().zip([logistic(1.0), logistic(-1.0), logistic(-2.0), logistic(2.0)])
    {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}

#[test]
fn the_best_of_many_classes_gives_its_label() {
    let weights = [(0, 1, 0, 0.5), (0, 1, 1, 0.5), (0, 1, 2, 0.0), (0, 2, 2, 1.0)];
    let (labels, scores) = classified(classifier(&weights, &[10, 20, 30], vec![]), 3);
    assert_eq!((labels, scores), (vec![10, 30], vec![0.5, 0.5, 0.0, 0.0, 0.0, 1.0]));
}

#[test]
fn a_row_does_not_depend_on_the_rows_beside_it() {
    let trees: Vec<Vec<_>> = (0..21)
        .map(|t| {
            let threshold = (t as f32 - 10.0) / 7.0;
            vec![
                ("BRANCH_LEQ", t % 2, threshold, 1, 2, t % 3 / 2),
                LEAF,
                ("BRANCH_GT", 0, threshold / 2.0, 3, 4, 0),
                LEAF,
                LEAF,
            ]
        })
        .collect();
    let trees: Vec<Tree<'_>> = trees.iter().map(Vec::as_slice).collect();
    let weights: Vec<_> = (0..21)
        .flat_map(|t| [(t, 1, 0, 0.1 + t as f32 / 3.0), (t, 3, 0, -1.7 / (1.0 + t as f32)), (t, 4, 0, 1e-3)])
        .collect();
    let model = load(regressor(&trees, &weights, vec![floats("base_values", &[0.3])]), 1).unwrap();
    let rows: Vec<[f32; 2]> = (0..150)
        .map(|row| {
            [
                (row * 37 % 101) as f32 / 50.0 - 1.0,
                if row % 11 == 0 { f32::NAN } else { row as f32 / 75.0 - 1.0 },
            ]
        })
        .collect();
    let together = run(&*model, &rows);
    let alone: Vec<f32> = rows.iter().flat_map(|row| run(&*model, &[*row])).collect();
    assert_eq!(together, alone);
    for count in [2, 3, 4, 5, 8, 9, 63, 64, 65, 129] {
        assert_eq!(run(&*model, &rows[..count]), alone[..count], "{count} rows");
    }
    assert!(run(&*model, &[]).is_empty());
}

#[test]
fn a_tree_of_any_depth_is_walked() {
    const DEPTH: i64 = 50_000;
    let mut tree: Vec<_> = (0..DEPTH).map(|at| ("BRANCH_LEQ", 0, at as f32, DEPTH + at, at + 1, 0)).collect();
    tree[DEPTH as usize - 1].4 = 2 * DEPTH;
    tree.extend(std::iter::repeat_n(LEAF, DEPTH as usize + 1));
    let weights: Vec<_> = (0..=DEPTH).map(|at| (0, DEPTH + at, 0, at as f32)).collect();
    let model = load(regressor(&[&tree], &weights, vec![]), 1).unwrap();
    assert_eq!(run(&*model, &[[41_000.5, 0.0], [-1.0, 0.0], [1e9, 0.0]]), [41_001.0, 0.0, 50_000.0]);
}

#[test]
fn trees_that_cannot_be_walked_are_refused() {
    let refused =
        |tree: Tree<'_>, weights: &[(i64, i64, i64, f32)]| match load(regressor(&[tree], weights, vec![]), 1)
        {
            Ok(_) => panic!("{tree:?} was taken"),
            Err(error) => error.to_string(),
        };
    let branch = |yes, no| ("BRANCH_LEQ", 0, 0.0, yes, no, 0);
    let weights = [(0, 1, 0, 1.0), (0, 2, 0, 1.0)];
    for (tree, reason) in [
        (&[branch(0, 1), LEAF, LEAF], "cycle"),
        (&[branch(1, 2), branch(0, 2), LEAF], "cycle"),
        (&[branch(1, 1), branch(2, 2), LEAF], "two parents"),
        (&[branch(1, 3), LEAF, LEAF], "no node 3"),
        (&[branch(1, -1), LEAF, LEAF], "no node -1"),
        (&[("BRANCH_LEQ", 0, f32::NAN, 1, 2, 0), LEAF, LEAF], "not a number"),
        (&[("BRANCH_LEQ", -1, 0.0, 1, 2, 0), LEAF, LEAF], "feature -1"),
        (&[("BRANCH_LEQ", 2, 0.0, 1, 2, 0), LEAF, LEAF], "feature 2"),
        (&[("BRANCH_LEQ", i64::MAX, 0.0, 1, 2, 0), LEAF, LEAF], "feature"),
        (&[("BRANCH_EVEN", 0, 0.0, 1, 2, 0), LEAF, LEAF], "BRANCH_EVEN"),
    ] {
        let said = refused(tree, &weights);
        assert!(said.contains(reason), "{said}");
    }
    let tree: Tree<'_> = &[branch(1, 2), LEAF, LEAF];
    for (weights, reason) in [
        (&[(0, 1, 0, 1.0)][..], "no weight"),
        (&[(0, 1, 0, 1.0), (0, 9, 0, 1.0)], "node 9"),
        (&[(0, 1, 0, 1.0), (5, 2, 0, 1.0)], "tree 5"),
        (&[(0, 1, 0, 1.0), (0, 2, 1, 1.0)], "target 1"),
    ] {
        let said = refused(tree, weights);
        assert!(said.contains(reason), "{said}");
    }
    assert!(refused(&[], &[]).contains("no trees"));
    let many =
        load(regressor(&[tree], &weights, vec![int("n_targets", i64::MAX)]), 1).err().unwrap().to_string();
    assert!(many.contains("n_targets"), "{many}");
}

#[test]
fn the_newest_form_has_sets_of_members() {
    let doubles = |name: &str, values: &[f64]| {
        tensor(
            name,
            protos::onnx::TensorProto {
                data_type: Some(tensor_proto::DataType::Float.into()),
                dims: vec![values.len() as i64],
                float_data: values.iter().map(|x| *x as f32).collect(),
                ..Default::default()
            },
        )
    };
    let modes = protos::onnx::TensorProto {
        data_type: Some(tensor_proto::DataType::Uint8.into()),
        dims: vec![2],
        raw_data: Some(vec![6, 0]),
        ..Default::default()
    };
    let ensemble = node(
        "TreeEnsemble",
        &["x"],
        &["y"],
        vec![
            int("n_targets", 1),
            ints("tree_roots", &[0]),
            ints("nodes_featureids", &[0, 1]),
            tensor("nodes_modes", modes),
            doubles("nodes_splits", &[0.0, 0.5]),
            ints("nodes_truenodeids", &[0, 1]),
            ints("nodes_trueleafs", &[1, 1]),
            ints("nodes_falsenodeids", &[1, 2]),
            ints("nodes_falseleafs", &[0, 1]),
            doubles("membership_values", &[2.0, 4.0, f64::NAN]),
            ints("leaf_targetids", &[0, 0, 0]),
            doubles("leaf_weights", &[10.0, 20.0, 30.0]),
        ],
    );
    let model = load(ensemble, 1).unwrap();
    let rows = [[2.0, 0.0], [4.0, 9.0], [3.0, 0.5], [3.0, 0.75], [f32::NAN, 0.0]];
    assert_eq!(run(&*model, &rows), [10.0, 10.0, 20.0, 30.0, 20.0]);
}

#[test]
fn what_stands_around_trees_is_computed() {
    let scaled = node("Mul", &["x", "two"], &["features"], vec![]);
    let mut ensemble = stump("BRANCH_LEQ", 1.0, 0);
    ensemble.input = vec!["features".to_owned()];
    ensemble.output = vec!["raw".to_owned()];
    let nodes = vec![
        scaled,
        ensemble,
        node("Div", &["raw", "four"], &["quarter"], vec![]),
        node("Exp", &["quarter"], &["simple"], vec![]),
        node("Concat", &["raw", "x"], &["joined"], vec![int("axis", 1)]),
    ];
    let constants = vec![constant("two", &[], &[2.0]), constant("four", &[1], &[4.0])];
    let float = tensor_proto::DataType::Float;
    let outputs = vec![value("simple", float, &[None, Some(1)]), value("joined", float, &[None, Some(3)])];
    let model = model(nodes, constants, outputs);
    assert_eq!(engine::choose(&model).unwrap(), EngineKind::Trees);
    let signature = signature(vec![
        spec("simple", DataType::Float32, &[None, Some(1)]),
        spec("joined", DataType::Float32, &[None, Some(3)]),
    ]);
    let model = engine::load(bytes(&model), &signature, 1, EngineKind::Trees).unwrap();
    let rows = Tensor::float32(vec![2, 2], vec![5.0, 0.5, 6.0, 0.75]).unwrap();
    let out = model.predict(vec![rows]).unwrap();
    assert_eq!(out[0].as_float32().unwrap(), [0.25f32.exp(), 1.0]);
    assert_eq!(out[1].as_float32().unwrap(), [1.0, 5.0, 0.5, 0.0, 6.0, 0.75]);
}
