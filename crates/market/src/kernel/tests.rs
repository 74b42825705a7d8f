//! Each kernel against a naive reading of its definition, and against hand-made windows.

use super::*;
use crate::expression::Expression;

const NAN: f64 = f64::NAN;

fn operator(call: &str) -> Rolling {
    let parsed = Expression::parse(call).expect(call);
    match parsed.root() {
        crate::expression::Node::Rolling(operator, _, _) => *operator,
        other => panic!("{other} is not rolling"),
    }
}

fn run(call: &str, input: &[f64], window: usize) -> Vec<f64> {
    let mut out = vec![0.0; input.len()];
    let of = RollingInput { input, lead: 0, window };
    rolling(operator(call), &of, &mut out, &mut Vec::new());
    out
}

fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (row, (a, b)) in found.iter().zip(expected).enumerate() {
        let same = (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * b.abs().max(1.0);
        assert!(same, "{what}, row {row}: {found:?} but {expected:?}");
    }
}

#[test]
fn windows_fill_from_the_start_and_skip_what_is_missing() {
    let x = [1.0, NAN, 3.0, f64::INFINITY, 5.0];
    for (call, expected) in [
        ("Mean($x,3)", [1.0, 1.0, 2.0, 3.0, 4.0]),
        ("Sum($x,3)", [1.0, 1.0, 4.0, 3.0, 8.0]),
        ("Max($x,3)", [1.0, 1.0, 3.0, 3.0, 5.0]),
        ("Min($x,3)", [1.0, 1.0, 1.0, 3.0, 3.0]),
        ("Count($x,3)", [1.0, 1.0, 2.0, 2.0, 3.0]),
        ("Var($x,3)", [NAN, NAN, 2.0, NAN, 2.0]),
        ("Med($x,3)", [1.0, 1.0, 2.0, 3.0, 4.0]),
        ("Quantile($x,3,0.25)", [1.0, 1.0, 1.5, 3.0, 3.5]),
        ("Rank($x,3)", [1.0, NAN, 1.0, NAN, 1.0]),
        ("Slope($x,3)", [NAN, NAN, 1.0, NAN, 1.0]),
        ("Resi($x,3)", [NAN, NAN, 0.0, NAN, 0.0]),
        ("Rsquare($x,3)", [NAN, NAN, 1.0, NAN, 1.0]),
        ("IdxMax($x,3)", [1.0, 2.0, 2.0, 1.0, 2.0]),
    ] {
        assert_close(&run(call, &x, 3), &expected, call);
    }
}

#[test]
fn a_window_without_any_value_is_missing() {
    let x = [NAN, NAN];
    for call in [
        "Mean($x,2)",
        "Sum($x,2)",
        "Max($x,2)",
        "Std($x,2)",
        "Med($x,2)",
        "Rank($x,2)",
        "Slope($x,2)",
        "IdxMax($x,2)",
    ] {
        assert!(run(call, &x, 2).iter().all(|value| value.is_nan()), "{call}");
    }
    assert_eq!(run("Count($x,2)", &x, 2), [0.0, 0.0]);
}

#[test]
fn ties_share_their_average_rank() {
    assert_eq!(run("Rank($x,4)", &[2.0, 1.0, 2.0, 2.0], 4), [1.0, 0.5, 2.5 / 3.0, 0.75]);
}

#[test]
fn a_flat_window_has_no_deviation_at_all() {
    let flat = [0.1; 60];
    assert_eq!(run("Std($x,60)", &flat, 60)[59], 0.0);
    assert_eq!(run("Resi($x,60)", &flat, 60)[59], 0.0);
    assert_eq!(run("Slope($x,60)", &flat, 60)[59], 0.0);
    assert!(run("Rsquare($x,60)", &flat, 60)[59].is_nan());
}

#[test]
fn moves_below_a_cent_are_not_flat() {
    let x: Vec<f64> = (0..10).map(|i| 0.001 + 1e-6 * f64::from(i % 3)).collect();
    assert!(run("Rsquare($x,10)", &x, 10)[9].is_finite());
}

#[test]
fn the_place_of_an_extreme_counts_from_the_oldest_bar() {
    let x = [3.0, 9.0, 4.0, 9.0, 1.0];
    assert_eq!(run("IdxMax($x,3)", &x, 3), [1.0, 2.0, 2.0, 1.0, 2.0]);
    assert_eq!(run("IdxMin($x,3)", &x, 3), [1.0, 1.0, 1.0, 2.0, 3.0]);
}

#[test]
fn a_perfect_line_is_recovered() {
    let x: Vec<f64> = (0..300).map(|i| 100.0 + 0.25 * f64::from(i)).collect();
    assert_close(&run("Slope($x,20)", &x, 20)[1..], &[0.25; 299], "slope");
    assert_close(&run("Resi($x,20)", &x, 20)[1..], &[0.0; 299], "residual");
    assert_close(&run("Rsquare($x,20)", &x, 20)[1..], &[1.0; 299], "r squared");
}

#[test]
fn correlation_takes_pairs_that_are_known_on_both_sides() {
    let a = [1.0, 2.0, NAN, 4.0, 7.0];
    let b = [2.0, 4.0, 5.0, 8.0, 1.0];
    let mut out = [0.0; 4];
    correlation([&a, &b], 1, 4, &mut out);
    assert_close(&out[..3], &[1.0, 1.0, 1.0], "correlation");
    let (a, b): ([f64; 3], [f64; 3]) = ([2.0, 4.0, 7.0], [4.0, 8.0, 1.0]);
    let mean = |x: [f64; 3]| x.iter().sum::<f64>() / 3.0;
    let dot = |x: [f64; 3], y: [f64; 3]| -> f64 {
        x.iter().zip(y).map(|(x1, y1)| (x1 - mean(x)) * (y1 - mean(y))).sum()
    };
    assert_close(&out[3..], &[dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()], "correlation");
    let mut flat = [0.0; 2];
    correlation([&[1.0, 2.0], &[3.0, 3.0]], 0, 2, &mut flat);
    assert!(flat.iter().all(|value| value.is_nan()));
}

#[test]
fn a_lead_only_moves_where_results_begin() {
    let x: Vec<f64> = (0..700).map(|i| (f64::from(i) * 0.7).sin() * 3.0 + 5.0).collect();
    for call in [
        "Mean($x,30)",
        "Std($x,30)",
        "Max($x,30)",
        "Quantile($x,30,0.8)",
        "Rank($x,30)",
        "Slope($x,30)",
        "Rsquare($x,30)",
        "Resi($x,30)",
        "IdxMin($x,30)",
        "Sum($x,30)",
        "Count($x,30)",
    ] {
        let whole = run(call, &x, 30);
        let of = RollingInput { input: &x, lead: 333, window: 30 };
        let mut part = vec![0.0; x.len() - 333];
        rolling(operator(call), &of, &mut part, &mut Vec::new());
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<u64>>();
        assert_eq!(bits(&part), bits(&whole[333..]), "{call}");
    }
}

#[test]
fn conditions_treat_missing_as_not_true() {
    let mut out = [0.0; 4];
    let x = [NAN, 0.0, 2.0, -1.0];
    unary(crate::expression::Unary::Not, &x, &mut out);
    assert_eq!(out, [1.0, 1.0, 0.0, 0.0]);
    unary(crate::expression::Unary::Sign, &x, &mut out);
    assert!(out[0].is_nan());
    assert_eq!(out[1..], [0.0, 1.0, -1.0]);
    select([&x, &[1.0; 4], &[2.0; 4]], &mut out);
    assert_eq!(out, [2.0, 2.0, 1.0, 1.0]);
    binary(crate::expression::Binary::Gt, [&x, &[-5.0; 4]], &mut out);
    assert_eq!(out, [0.0, 1.0, 1.0, 1.0]);
    binary(crate::expression::Binary::Greater, [&x, &[1.0; 4]], &mut out);
    assert!(out[0].is_nan());
    assert_eq!(out[1..], [1.0, 2.0, 1.0]);
    binary(crate::expression::Binary::Less, [&[1.0; 4], &x], &mut out);
    assert!(out[0].is_nan());
    assert_eq!(out[1..], [0.0, 1.0, -1.0]);
}
