//! Every gradient against central differences of the loss's definition in double precision, which is also what values
//! are compared with; and what happens at the edges.

use super::*;

/// Rows for one test, in double precision; outputs and targets are exact in single.
#[derive(Clone)]
struct Rows {
    outputs: Vec<f64>,
    units: usize,
    logits: bool,
    targets: Wanted,
    weights: Option<Vec<f64>>,
    groups: Option<Vec<u32>>,
}

#[derive(Clone)]
enum Wanted {
    Classes(Vec<u32>),
    Values(Vec<f64>, usize),
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

fn exact(count: usize, of: impl Fn(f64) -> f64) -> Vec<f64> {
    (0..count).map(|i| f64::from(of(i as f64) as f32)).collect()
}

impl Rows {
    fn rows(&self) -> usize {
        self.outputs.len() / self.units
    }

    fn weight(&self, row: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[row])
    }

    fn realised(&self, row: usize) -> f64 {
        match &self.targets {
            Wanted::Classes(classes) => f64::from(classes[row]),
            Wanted::Values(values, width) => values[row * width],
        }
    }

    fn targets(&self, row: usize) -> Vec<f64> {
        match &self.targets {
            Wanted::Classes(classes) if self.units == 1 => vec![f64::from(classes[row])],
            Wanted::Classes(classes) => {
                (0..self.units).map(|unit| f64::from(u8::from(unit == classes[row] as usize))).collect()
            }
            Wanted::Values(values, width) => values[row * width..(row + 1) * width].to_vec(),
        }
    }

    fn evaluate(&self, loss: &Loss) -> (LossValue, Vec<f32>) {
        let (outputs, weights) = (single(&self.outputs), self.weights.as_deref().map(single));
        let values;
        let targets = match &self.targets {
            Wanted::Classes(classes) => Targets::Classes(classes),
            Wanted::Values(wanted, width) => {
                values = single(wanted);
                Targets::Values { values: &values, width: *width }
            }
        };
        let batch = Batch {
            outputs: &outputs,
            units: self.units,
            logits: self.logits,
            targets,
            weights: weights.as_deref(),
            groups: self.groups.as_deref(),
        };
        let mut gradient = vec![f32::NAN; outputs.len()];
        let value = loss.evaluate(&batch, Some(&mut gradient));
        (value, gradient)
    }

    /// The mean by definition.
    fn mean(&self, loss: &Loss) -> f64 {
        if loss.needs_groups() {
            return self.mean_of_dates(loss);
        }
        let of_row = |row: usize| {
            let outputs = &self.outputs[row * self.units..(row + 1) * self.units];
            self.weight(row) * self.of_row(loss, outputs, &self.targets(row))
        };
        (0..self.rows()).map(of_row).sum::<f64>() / self.rows() as f64
    }

    fn of_row(&self, loss: &Loss, outputs: &[f64], targets: &[f64]) -> f64 {
        let units = outputs.len() as f64;
        let clip = |p: f64| p.clamp(1e-7, 1.0 - 1e-7);
        let pairs = outputs.iter().zip(targets);
        let smooth = |s: f64, y: &f64, classes: f64| y * (1.0 - s) + s / classes;
        match loss {
            Loss::MeanSquaredError => pairs.map(|(x, y)| (x - y).powi(2)).sum::<f64>() / units,
            Loss::MeanAbsoluteError => pairs.map(|(x, y)| (x - y).abs()).sum::<f64>() / units,
            Loss::Huber(HuberConfig { delta }) => {
                let of = |e: f64| if e <= *delta { e * e / 2.0 } else { delta * (e - delta / 2.0) };
                pairs.map(|(x, y)| of((x - y).abs())).sum::<f64>() / units
            }
            Loss::BinaryCrossentropy(BinaryCrossentropyConfig { label_smoothing }) => {
                let of = |x: &f64, y: &f64| {
                    let p = if self.logits { 1.0 / (1.0 + (-x).exp()) } else { clip(*x) };
                    let y = smooth(*label_smoothing, y, 2.0);
                    -(y * p.ln() + (1.0 - y) * (1.0 - p).ln())
                };
                pairs.map(|(x, y)| of(x, y)).sum::<f64>() / units
            }
            Loss::CategoricalCrossentropy(CategoricalCrossentropyConfig { label_smoothing })
            | Loss::SparseCategoricalCrossentropy(CategoricalCrossentropyConfig { label_smoothing }) => {
                let sparse = matches!(loss, Loss::SparseCategoricalCrossentropy(_));
                let raw: Vec<f64> = match (self.logits, sparse) {
                    (true, _) => outputs.iter().map(|x| x.exp()).collect(),
                    (false, true) => outputs.iter().map(|&p| clip(p)).collect(),
                    (false, false) => outputs.to_vec(),
                };
                let total: f64 = raw.iter().sum();
                let p = raw.iter().map(|x| x / total);
                let p: Vec<f64> = if self.logits || sparse { p.collect() } else { p.map(clip).collect() };
                let pairs = p.iter().zip(targets);
                -pairs.map(|(p, y)| smooth(*label_smoothing, y, units) * p.ln()).sum::<f64>()
            }
            Loss::Quantile(QuantileConfig { quantiles }) => {
                let of = |(x, q): (&f64, &f64)| (q * (targets[0] - x)).max((q - 1.0) * (targets[0] - x));
                outputs.iter().zip(quantiles).map(of).sum::<f64>() / units
            }
            Loss::PairwiseRank(_) | Loss::NegativeIc => unreachable!("they are of dates"),
        }
    }

    fn mean_of_dates(&self, loss: &Loss) -> f64 {
        let groups = self.groups.clone().unwrap_or_else(|| vec![0; self.rows()]);
        let mut names = groups.clone();
        names.sort_unstable();
        names.dedup();
        let of_date = |name: u32| {
            let of = |row: &usize| groups[*row] == name && self.weight(*row) > 0.0;
            let rows: Vec<[f64; 3]> = (0..self.rows())
                .filter(of)
                .map(|row| [self.outputs[row], self.realised(row), self.weight(row)])
                .collect();
            let weight: f64 = rows.iter().map(|[_, _, w]| w).sum();
            let value = match loss {
                Loss::PairwiseRank(rank) => rank_by_definition(rank.temperature, &rows),
                _ => negative_ic_by_definition(&rows, weight),
            };
            value.map(|value| value * weight / rows.len() as f64)
        };
        let dates: Vec<f64> = names.into_iter().filter_map(of_date).collect();
        dates.iter().sum::<f64>() / dates.len() as f64
    }
}

fn rank_by_definition(temperature: f64, rows: &[[f64; 3]]) -> Option<f64> {
    let (mut sum, mut pairs) = (0.0, 0.0);
    for [s_i, y_i, w_i] in rows {
        for [s_j, y_j, w_j] in rows {
            if y_i > y_j {
                sum += w_i * w_j * (1.0 + ((s_j - s_i) / temperature).exp()).ln();
                pairs += w_i * w_j;
            }
        }
    }
    (pairs > 0.0).then(|| sum / pairs)
}

fn negative_ic_by_definition(rows: &[[f64; 3]], weight: f64) -> Option<f64> {
    let mean = |at: usize| rows.iter().map(|row| row[at] * row[2]).sum::<f64>() / weight;
    let (s, y) = (mean(0), mean(1));
    let product = |a: (usize, f64), b: (usize, f64)| -> f64 {
        rows.iter().map(|row| row[2] * (row[a.0] - a.1) * (row[b.0] - b.1)).sum()
    };
    let spread = product((0, s), (0, s)) * product((1, y), (1, y));
    (rows.len() > 1 && spread > 1e-12).then(|| -product((0, s), (1, y)) / spread.sqrt())
}

fn check(name: &str, loss: &Loss, rows: &Rows) {
    const STEP: f64 = 1e-5;
    let (value, gradient) = rows.evaluate(loss);
    let expected = rows.mean(loss);
    let off = (value.mean() - expected).abs();
    assert!(off < 1e-6 * expected.abs().max(1.0), "{name}: {} is not {expected}", value.mean());
    let slopes: Vec<f64> = (0..rows.outputs.len())
        .map(|at| {
            let moved = |by: f64| {
                let mut moved = rows.clone();
                moved.outputs[at] += by;
                moved.mean(loss)
            };
            (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
        })
        .collect();
    let largest = slopes.iter().fold(0.0f64, |largest, slope| largest.max(slope.abs()));
    for (at, (got, expected)) in gradient.iter().zip(&slopes).enumerate() {
        let off = (f64::from(*got) - expected).abs();
        assert!(off < 1e-6 * largest.max(0.01), "{name}, gradient {at}: {got} is not {expected}");
    }
}

const ROWS: usize = 70;

/// Losses with rows they take: more of them than the fast loss computes at once.
fn cases() -> Vec<(String, Loss, Rows)> {
    let smoothed = |label_smoothing| CategoricalCrossentropyConfig { label_smoothing };
    let weights = exact(ROWS, |i| if i % 7.0 == 3.0 { 0.0 } else { 0.3 + (i * 0.37).sin().abs() });
    let groups: Vec<u32> = (0..ROWS as u32).map(|row| (row * 7 + 3) % 5 * 1000).collect();
    let mut cases = Vec::new();
    let mut add = |loss: Loss, units: usize, logits: bool, targets: Wanted| {
        let outputs = exact(ROWS * units, |i| {
            let wave = (1.7 * i + 0.3).sin();
            if logits { 3.0 * wave } else { 0.5 + 0.49 * wave }
        });
        for (weighted, grouped) in [(false, false), (true, false), (false, true), (true, true)] {
            let rows = Rows {
                outputs: outputs.clone(),
                units,
                logits,
                targets: targets.clone(),
                weights: weighted.then(|| weights.clone()),
                groups: grouped.then(|| groups.clone()),
            };
            let name = format!("{loss:?}, logits {logits}, weights {weighted}, groups {grouped}");
            cases.push((name, loss.clone(), rows));
        }
    };
    let classes = |units: u32| Wanted::Classes((0..ROWS as u32).map(|row| (row * row) % units).collect());
    let numbers = |units: usize| Wanted::Values(exact(ROWS * units, |i| (0.9 * i).cos()), units);
    let shares = |units: usize| Wanted::Values(exact(ROWS * units, |i| 0.5 + 0.5 * (0.9 * i).cos()), units);
    for loss in [Loss::MeanSquaredError, Loss::MeanAbsoluteError, Loss::Huber(HuberConfig { delta: 0.8 })] {
        add(loss, 2, true, numbers(2));
    }
    for label_smoothing in [0.0, 0.3, 1.0] {
        for logits in [true, false] {
            let binary = Loss::BinaryCrossentropy(BinaryCrossentropyConfig { label_smoothing });
            add(binary.clone(), 1, logits, classes(2));
            add(binary, 3, logits, shares(3));
            let config = smoothed(label_smoothing);
            add(Loss::SparseCategoricalCrossentropy(config), 10, logits, classes(10));
            add(Loss::SparseCategoricalCrossentropy(config), 2, logits, classes(2));
            add(Loss::CategoricalCrossentropy(config), 5, logits, classes(5));
            add(Loss::CategoricalCrossentropy(config), 4, logits, shares(4));
        }
    }
    add(Loss::Quantile(QuantileConfig { quantiles: vec![0.05, 0.5, 0.9] }), 3, true, numbers(1));
    add(Loss::PairwiseRank(PairwiseRankConfig { temperature: 0.7 }), 1, true, numbers(1));
    // Ties among targets.
    add(Loss::PairwiseRank(PairwiseRankConfig::default()), 1, true, classes(4));
    add(Loss::NegativeIc, 1, true, numbers(1));
    add(Loss::NegativeIc, 1, true, classes(4));
    cases
}

#[test]
fn gradients_are_finite_differences_of_the_definitions() {
    for (name, loss, rows) in cases() {
        check(&name, &loss, &rows);
    }
}

/// A gradient into memory that held something else, and values with and without one, are the same to the bit.
#[test]
fn the_value_does_not_depend_on_whether_a_gradient_is_wanted() {
    for (name, loss, rows) in cases() {
        let outputs = single(&rows.outputs);
        let weights = rows.weights.as_deref().map(single);
        let values;
        let targets = match &rows.targets {
            Wanted::Classes(classes) => Targets::Classes(classes),
            Wanted::Values(wanted, width) => {
                values = single(wanted);
                Targets::Values { values: &values, width: *width }
            }
        };
        loss.check_output(rows.units, &targets).unwrap();
        let batch = Batch {
            outputs: &outputs,
            units: rows.units,
            logits: rows.logits,
            targets,
            weights: weights.as_deref(),
            groups: rows.groups.as_deref(),
        };
        let mut gradient = vec![7.0; outputs.len()];
        let value = loss.evaluate(&batch, Some(&mut gradient));
        assert_eq!(value.sum.to_bits(), loss.evaluate(&batch, None).sum.to_bits(), "{name}");
        assert_eq!(gradient, rows.evaluate(&loss).1, "{name}");
    }
}

fn dates(outputs: &[f64], targets: &[f64], groups: &[u32]) -> Rows {
    Rows {
        outputs: outputs.to_vec(),
        units: 1,
        logits: true,
        targets: Wanted::Values(targets.to_vec(), 1),
        weights: None,
        groups: Some(groups.to_vec()),
    }
}

#[test]
fn dates_that_tell_nothing_have_no_gradient() {
    let rank = Loss::PairwiseRank(PairwiseRankConfig::default());
    // One row; equal targets; equal outputs, which a rank loss pulls apart and a correlation does not know.
    let rows = dates(&[0.3, 1.0, 2.0, 0.1, 0.1], &[1.0, 0.5, 0.5, 1.0, 2.0], &[1, 2, 2, 3, 3]);
    let (value, gradient) = rows.evaluate(&Loss::NegativeIc);
    assert_eq!((value, gradient), (LossValue::default(), vec![0.0; 5]));
    let (value, gradient) = rows.evaluate(&rank);
    assert_eq!((value.count, gradient), (1.0, vec![0.0, 0.0, 0.0, 0.5, -0.5]));
    // Equal but for the rounding of single precision.
    let rows = dates(&[1e3, 1e3 + 6.2e-5, 1e3], &[1.0, 2.0, 3.0], &[1; 3]);
    assert_eq!(rows.evaluate(&Loss::NegativeIc).1, [0.0; 3]);
    for loss in [rank, Loss::NegativeIc] {
        let alone = dates(&[0.3, 0.2], &[1.0, 2.0], &[1, 2]);
        let (value, gradient) = alone.evaluate(&loss);
        assert_eq!((value.count, value.mean(), gradient), (0.0, 0.0, vec![0.0; 2]));
    }
}

#[test]
fn a_perfect_order_has_the_least_negative_ic_and_no_slope() {
    let rows = dates(&[1.0, 2.0, 4.0], &[10.0, 20.0, 40.0], &[5; 3]);
    let (value, gradient) = rows.evaluate(&Loss::NegativeIc);
    assert!((value.mean() + 1.0).abs() < 1e-12, "{value:?}");
    assert!(gradient.iter().all(|g| g.abs() < 1e-9), "{gradient:?}");
}

/// Weights that all rows of a date share weigh the date.
#[test]
fn a_weight_of_a_whole_date_is_one_of_its_loss() {
    for loss in [Loss::PairwiseRank(PairwiseRankConfig::default()), Loss::NegativeIc] {
        let both = |weights: [f64; 6]| {
            let mut rows =
                dates(&[1.0, 2.0, 0.5, 0.2, 0.7, 0.1], &[0.1, 0.3, 0.2, 1.0, 0.5, 0.2], &[1, 1, 1, 2, 2, 2]);
            rows.weights = Some(weights.to_vec());
            rows.evaluate(&loss).0.sum
        };
        let [first, second] = [[1.0, 0.0], [0.0, 1.0]].map(|[a, b]| both([a, a, a, b, b, b]));
        let weighted = both([3.0, 3.0, 3.0, 0.5, 0.5, 0.5]);
        assert!((weighted - (3.0 * first + 0.5 * second)).abs() < 1e-12, "{weighted}");
    }
}

#[test]
fn what_is_not_a_number_comes_out_again() {
    for (name, loss, mut rows) in cases() {
        let row = (0..rows.rows()).find(|&row| rows.weight(row) > 0.0).unwrap();
        rows.outputs[row * rows.units] = f64::NAN;
        let (value, gradient) = rows.evaluate(&loss);
        assert!(value.mean().is_nan(), "{name}");
        assert!(gradient[row * rows.units].is_nan(), "{name}");
        if let Wanted::Values(values, width) = &mut rows.targets {
            rows.outputs[row * rows.units] = 0.25;
            values[row * *width] = f64::NAN;
            assert!(rows.evaluate(&loss).0.mean().is_nan(), "target of {name}");
            assert!(rows.evaluate(&loss).1[row * rows.units].is_nan(), "target of {name}");
        }
    }
}

#[test]
fn outputs_of_any_size_have_finite_losses_and_gradients() {
    for (name, loss, mut rows) in cases() {
        if !rows.logits {
            // Probabilities of exactly 0 and 1.
            rows.outputs.iter_mut().for_each(|x| *x = f64::from(u8::from(*x > 0.5)));
            if rows.units > 1 {
                rows.outputs.chunks_mut(rows.units).for_each(|row| row[0] = 1.0);
            }
        } else {
            rows.outputs.iter_mut().for_each(|x| *x *= 1e4);
        }
        let (value, gradient) = rows.evaluate(&loss);
        assert!(value.mean().is_finite(), "{name}: {value:?}");
        assert!(gradient.iter().all(|g| g.is_finite()), "{name}");
    }
}

#[test]
fn no_rows_have_no_loss() {
    for (name, loss, mut rows) in cases() {
        rows.outputs.clear();
        assert_eq!(rows.evaluate(&loss), (LossValue::default(), vec![]), "{name}");
    }
}

/// The loss of all rows is the sum over batches, for losses of rows.
#[test]
fn values_of_batches_add_up() {
    let loss = Loss::default();
    let (_, _, rows) = cases().into_iter().find(|(_, known, rows)| *known == loss && rows.logits).unwrap();
    let Wanted::Classes(classes) = &rows.targets else { panic!() };
    let part = |from: usize, to: usize| {
        let mut part = rows.clone();
        part.outputs = rows.outputs[from * rows.units..to * rows.units].to_vec();
        part.targets = Wanted::Classes(classes[from..to].to_vec());
        part.evaluate(&loss).0
    };
    let mut sum = part(0, 33);
    sum += part(33, 34);
    sum += part(34, ROWS);
    let whole = rows.evaluate(&loss).0;
    assert!((sum.mean() - whole.mean()).abs() < 1e-12 && sum.count == whole.count);
}
