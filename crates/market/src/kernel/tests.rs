//! Each kernel against a naive reading of its definition, and against hand-made windows.

use super::*;
use crate::expression::Expression;

const NAN: f64 = f64::NAN;

fn request(call: &str) -> (Stat, Window) {
    let parsed = Expression::parse(call).expect(call);
    match parsed.root() {
        crate::expression::Node::Rolling(stat, _, window) => (*stat, *window),
        other => panic!("{other} is not rolling"),
    }
}

fn batch(requests: &[(Stat, Window)], input: &[f64], lead: usize) -> Vec<Vec<f64>> {
    let mut outs = vec![vec![0.0; input.len() - lead]; requests.len()];
    rolling(input, Before { lead, unbegun: 0 }, requests, &mut outs, &mut Scratch::default());
    outs
}

fn run(call: &str, input: &[f64]) -> Vec<f64> {
    batch(&[request(call)], input, 0).remove(0)
}

fn correlation(of: [&[f64]; 2], lead: usize, window: usize) -> Vec<f64> {
    let mut outs = vec![vec![0.0; of[0].len() - lead]];
    let requests = [(PairStat::Corr, Window::Bars(window))];
    rolling_pair(of, Before { lead, unbegun: 0 }, &requests, &mut outs, &mut Scratch::default());
    outs.remove(0)
}

fn bits(values: &[f64]) -> Vec<u64> {
    // Which NaN it is does not matter.
    values.iter().map(|value| if value.is_nan() { u64::MAX } else { value.to_bits() }).collect()
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
        assert_close(&run(call, &x), &expected, call);
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
        assert!(run(call, &x).iter().all(|value| value.is_nan()), "{call}");
    }
    assert_eq!(run("Count($x,2)", &x), [0.0, 0.0]);
}

#[test]
fn an_ema_over_all_bars_is_qlibs() {
    // pandas: expanding(min_periods=1).apply(exp_weighted_mean, raw=True) of qlib/data/ops.py.
    let parsed = Expression::parse("EMA($x,0)").expect("it parses");
    assert!(parsed.looks_back_to_the_first_bar());
    let x = [NAN, 2.0, 4.0, NAN, 1.0, f64::INFINITY, 3.0];
    let expected = [
        NAN,
        1.4999999999999998,
        2.8571428571428568,
        1.4338235294117645,
        1.2938388625592416,
        0.8871442013643849,
        1.5299006832429387,
    ];
    assert_close(&batch(&[(Stat::GrowingMean, Window::Expanding)], &x, 0).remove(0), &expected, "EMA(x,0)");
}

#[test]
fn ties_share_their_average_rank() {
    assert_eq!(run("Rank($x,4)", &[2.0, 1.0, 2.0, 2.0]), [1.0, 0.5, 2.5 / 3.0, 0.75]);
}

#[test]
fn a_flat_window_has_no_deviation_at_all() {
    let flat = [0.1; 60];
    assert_eq!(run("Std($x,60)", &flat)[59], 0.0);
    assert_eq!(run("Resi($x,60)", &flat)[59], 0.0);
    assert_eq!(run("Slope($x,60)", &flat)[59], 0.0);
    assert!(run("Rsquare($x,60)", &flat)[59].is_nan());
}

#[test]
fn moves_below_a_cent_are_not_flat() {
    let x: Vec<f64> = (0..10).map(|i| 0.001 + 1e-6 * f64::from(i % 3)).collect();
    assert!(run("R2($x,10)", &x)[9].is_finite());
    assert!(run("Rsquare($x,10)", &x)[9].is_nan(), "Qlib takes them for flat");
}

#[test]
fn the_place_of_an_extreme_counts_from_the_oldest_bar() {
    let x = [3.0, 9.0, 4.0, 9.0, 1.0];
    assert_eq!(run("IdxMax($x,3)", &x), [1.0, 2.0, 2.0, 1.0, 2.0]);
    assert_eq!(run("IdxMin($x,3)", &x), [1.0, 1.0, 1.0, 2.0, 3.0]);
}

#[test]
fn a_perfect_line_is_recovered() {
    let x: Vec<f64> = (0..300).map(|i| 100.0 + 0.25 * f64::from(i)).collect();
    assert_close(&run("Slope($x,20)", &x)[1..], &[0.25; 299], "slope");
    assert_close(&run("Resi($x,20)", &x)[1..], &[0.0; 299], "residual");
    assert_close(&run("Rsquare($x,20)", &x)[1..], &[1.0; 299], "r squared");
}

#[test]
fn correlation_takes_pairs_that_are_known_on_both_sides() {
    let a = [1.0, 2.0, NAN, 4.0, 7.0];
    let b = [2.0, 4.0, 5.0, 8.0, 1.0];
    let out = correlation([&a, &b], 1, 4);
    assert_close(&out[..3], &[1.0, 1.0, 1.0], "correlation");
    let (a, b): ([f64; 3], [f64; 3]) = ([2.0, 4.0, 7.0], [4.0, 8.0, 1.0]);
    let mean = |x: [f64; 3]| x.iter().sum::<f64>() / 3.0;
    let dot = |x: [f64; 3], y: [f64; 3]| -> f64 {
        x.iter().zip(y).map(|(x1, y1)| (x1 - mean(x)) * (y1 - mean(y))).sum()
    };
    assert_close(&out[3..], &[dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()], "correlation");
    let flat = correlation([&[1.0, 2.0], &[3.0, 3.0]], 0, 2);
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
        let part = batch(&[request(call)], &x, 333).remove(0);
        assert_eq!(bits(&part), bits(&run(call, &x)[333..]), "{call}");
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

const ALL: [Stat; 20] = [
    Stat::Count,
    Stat::Sum,
    Stat::Mean,
    Stat::Var,
    Stat::Std,
    Stat::Skew,
    Stat::Kurt,
    Stat::Max,
    Stat::Min,
    Stat::IdxMax,
    Stat::IdxMin,
    Stat::Quantile(Level::MEDIAN),
    Stat::Rank,
    Stat::Mad,
    Stat::Wma,
    Stat::WeightedMean,
    Stat::Slope,
    Stat::Resi,
    Stat::Rsquare,
    Stat::R2,
];

/// Every statistic of some windows.
fn everything() -> Vec<(Stat, Window)> {
    let windows = [1, 2, 3, 5, 8, 30, 60, 255].map(Window::Bars);
    let all = windows.into_iter().chain([Window::Expanding]);
    let mut requests: Vec<_> = all.flat_map(|window| ALL.map(|stat| (stat, window))).collect();
    requests.push((Stat::Mean, Window::Decay(0.25f64.to_bits())));
    requests.push((Stat::GrowingMean, Window::Expanding));
    requests
}

/// Values with ties, gaps and infinities around `level`.
fn series(len: usize, level: f64) -> Vec<f64> {
    let mut state = 1u64;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match (state >> 33) % 40 {
                0 => f64::NAN,
                1 => f64::INFINITY,
                steps => level + 0.25 * steps as f64,
            }
        })
        .collect()
}

/// The definition of each statistic, from the window's values alone, in two passes.
fn naive(stat: Stat, window: &[f64]) -> f64 {
    let known: Vec<(f64, f64)> = window
        .iter()
        .enumerate()
        .filter(|(_, value)| value.is_finite())
        .map(|(place, value)| ((place + 1) as f64, *value))
        .collect();
    let n = known.len() as f64;
    let sum = |f: &dyn Fn(f64, f64) -> f64| known.iter().map(|(place, value)| f(*place, *value)).sum::<f64>();
    let mean = sum(&|_, value| value) / n;
    let power = |exponent| sum(&|_, value| (value - mean).powi(exponent));
    let place = sum(&|place, _| place) / n;
    let (places, both) = (sum(&|p, _| (p - place).powi(2)), sum(&|p, value| (p - place) * (value - mean)));
    let slope = if n >= 2.0 { both / places } else { NAN };
    let newest = window[window.len() - 1];
    let newest = if newest.is_finite() { newest } else { NAN };
    let mut sorted: Vec<f64> = known.iter().map(|(_, value)| *value).collect();
    sorted.sort_by(f64::total_cmp);
    let extreme = |sign: f64| {
        let mut best = 0;
        for (place, value) in window.iter().enumerate() {
            if !value.is_finite() {
                return (place + 1) as f64;
            }
            if sign * value > sign * window[best] {
                best = place;
            }
        }
        (best + 1) as f64
    };
    match stat {
        Stat::Count => window.iter().filter(|value| !value.is_nan()).count() as f64,
        _ if known.is_empty() => NAN,
        Stat::Sum => sum(&|_, value| value),
        Stat::Mean => mean,
        Stat::Var if n >= 2.0 => power(2) / (n - 1.0),
        Stat::Std if n >= 2.0 => (power(2) / (n - 1.0)).sqrt(),
        Stat::Skew if n >= 3.0 => {
            (n * (n - 1.0)).sqrt() / (n - 2.0) * (power(3) / n) / (power(2) / n).powf(1.5)
        }
        Stat::Kurt if n >= 4.0 => {
            ((n * n - 1.0) * (power(4) / n) / (power(2) / n).powi(2) - 3.0 * (n - 1.0).powi(2))
                / ((n - 2.0) * (n - 3.0))
        }
        Stat::Var | Stat::Std | Stat::Skew | Stat::Kurt => NAN,
        Stat::Max => sorted[sorted.len() - 1],
        Stat::Min => sorted[0],
        Stat::IdxMax => extreme(1.0),
        Stat::IdxMin => extreme(-1.0),
        Stat::Quantile(_) => {
            let middle = (sorted.len() - 1) as f64 / 2.0;
            (sorted[middle.floor() as usize] + sorted[middle.ceil() as usize]) / 2.0
        }
        Stat::Rank if newest.is_nan() => NAN,
        Stat::Rank => {
            let less = sorted.iter().filter(|value| **value < newest).count() as f64;
            let equal = sorted.iter().filter(|value| **value == newest).count() as f64;
            (less + (equal + 1.0) / 2.0) / n
        }
        Stat::Mad => sum(&|_, value| (value - mean).abs()) / n,
        Stat::GrowingMean => {
            let keep: f64 = 1.0 - 2.0 / (1.0 + window.len() as f64);
            let weight = |place: f64| keep.powf(window.len() as f64 - place);
            let weights: f64 = (1..=window.len()).map(|place| weight(place as f64)).sum();
            sum(&|place, value| weight(place) * value) / weights
        }
        Stat::Wma => {
            let weights = (window.len() * (window.len() + 1)) as f64 / 2.0;
            sum(&|place, value| place / weights * value) / n
        }
        Stat::WeightedMean => sum(&|place, value| place * value) / sum(&|place, _| place),
        Stat::Slope => slope,
        Stat::Resi => newest - (mean + slope * (window.len() as f64 - place)),
        Stat::Rsquare | Stat::R2 if n < 2.0 || power(2) == 0.0 => NAN,
        Stat::Rsquare | Stat::R2 => both * both / (places * power(2)),
    }
}

#[test]
fn every_statistic_is_what_its_definition_says() {
    for (level, tolerance) in [(0.0, 1e-9), (1e6, 1e-7), (-3.0, 1e-9)] {
        let input = series(700, level);
        let requests = everything();
        for ((stat, window), found) in requests.iter().zip(batch(&requests, &input, 0)) {
            if matches!(window, Window::Decay(_)) {
                continue;
            }
            for (bar, found) in found.iter().enumerate() {
                let first = match window {
                    Window::Bars(bars) => (bar + 1).saturating_sub(*bars),
                    _ => 0,
                };
                let expected = naive(*stat, &input[first..=bar]);
                let same = (found.is_nan() && expected.is_nan())
                    || (found - expected).abs() <= tolerance * expected.abs().max(1.0);
                assert!(same, "{stat:?} {window:?} at bar {bar}: {found} but {expected}");
            }
        }
    }
}

#[test]
fn bar_by_bar_is_the_batch_to_the_bit() {
    let input = series(1500, 50.0);
    let requests = everything();
    let expected = batch(&requests, &input, 0);
    let mut stream = RollingStream::new(&requests);
    stream.begin();
    let mut newest = vec![0.0; requests.len()];
    for (bar, value) in input.iter().enumerate() {
        stream.push(*value, &mut newest);
        let of_bar: Vec<f64> = expected.iter().map(|values| values[bar]).collect();
        for (request, (found, expected)) in requests.iter().zip(newest.iter().zip(&of_bar)) {
            assert_eq!(bits(&[*found]), bits(&[*expected]), "{request:?} at bar {bar}: {found} {expected}");
        }
    }
}

#[test]
fn pairs_bar_by_bar_are_the_batch_to_the_bit() {
    let (left, right) = (series(1500, 50.0), series(1501, -7.0)[1..].to_vec());
    let windows = [1, 2, 5, 21, 60].map(Window::Bars).into_iter().chain([Window::Expanding]);
    let stats = [PairStat::Corr, PairStat::Pearson, PairStat::Cov];
    let requests: Vec<_> = windows.flat_map(|window| stats.map(|stat| (stat, window))).collect();
    let mut outs = vec![vec![0.0; left.len()]; requests.len()];
    rolling_pair(
        [&left, &right],
        Before { lead: 0, unbegun: 0 },
        &requests,
        &mut outs,
        &mut Scratch::default(),
    );
    let mut stream = PairStream::new(&requests);
    stream.begin();
    let mut newest = vec![0.0; requests.len()];
    for bar in 0..left.len() {
        stream.push([left[bar], right[bar]], &mut newest);
        for (request, (found, out)) in requests.iter().zip(newest.iter().zip(&outs)) {
            assert_eq!(bits(&[*found]), bits(&[out[bar]]), "{request:?} at bar {bar}");
        }
    }
}

#[test]
fn older_bars_change_nothing_to_the_bit() {
    let input = series(3000, 9.0);
    let requests: Vec<_> =
        everything().into_iter().filter(|(_, window)| matches!(window, Window::Bars(_))).collect();
    let whole = batch(&requests, &input, 0);
    for dropped in [1, 7, 1024, 2500] {
        for ((request, part), whole) in
            requests.iter().zip(batch(&requests, &input[dropped..], 254)).zip(&whole)
        {
            assert_eq!(bits(&part), bits(&whole[dropped + 254..]), "{request:?} without {dropped} bars");
        }
    }
}

#[test]
fn a_long_history_adds_no_error() {
    // A running sum would have lost the small values after the large ones.
    let mut input = vec![1e15; 500];
    input.extend((0..500).map(|i| 1e-3 * f64::from(i % 7)));
    let found = run("Std($x,20)", &input);
    let expected = naive(Stat::Std, &input[980..1000]);
    assert!((found[999] - expected).abs() < 1e-15, "{} {expected}", found[999]);
}
