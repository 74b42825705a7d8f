//! Every metric beside Keras, scikit-learn and scipy; batches against one batch; and the edges.

use super::*;
use crate::batch::Batch;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Rows {
    Binary,
    TwoClasses,
    FourClasses,
    Numbers,
    Number,
}

use Rows::{Binary, FourClasses, Number, Numbers, TwoClasses};

/// `tests/golden/metrics_reference.py` made it, and says how rows are chosen.
const FIGURES: &[(&str, Rows, f64)] = &[
    ("accuracy", Binary, 0.5133304963338369),
    ("precision", Binary, 0.5122895240783691),
    ("recall", Binary, 0.5210351347923279),
    ("f1_score", Binary, 0.5166253278115769),
    ("auc", Binary, 0.4840706005751635),
    ("log_loss", Binary, 0.9464317999682407),
    ("brier", Binary, 0.3432391014158769),
    ("auc", TwoClasses, 0.4940885280493152),
    ("brier", TwoClasses, 0.3587819971174538),
    ("accuracy", FourClasses, 0.2084799607352647),
    ("top_2_categorical_accuracy", FourClasses, 0.49498507380485535),
    ("precision", FourClasses, 0.19615654804178348),
    ("recall", FourClasses, 0.13077053678490172),
    ("f1_score", FourClasses, 0.15538125164347327),
    ("auc", FourClasses, 0.43363621707521166),
    ("log_loss", FourClasses, 2.3261000246449197),
    ("brier", FourClasses, 1.0679793287063037),
    ("ic", FourClasses, -0.05596807247853941),
    ("mse", Numbers, 2.3942265096448203),
    ("mae", Numbers, 1.316482381484691),
    ("r2_score", Numbers, -3.515718387656231),
    ("ic", Number, -0.0382328462903116),
    ("rank_ic", Number, -0.10531335543107428),
    ("icir", Number, -0.11360336529255842),
    ("rank_icir", Number, -0.22118544845783686),
];

const ROWS: usize = 60;

/// A batch that owns its rows.
#[derive(Clone)]
struct Owned {
    outputs: Vec<f32>,
    units: usize,
    logits: bool,
    classes: Option<Vec<u32>>,
    values: Vec<f32>,
    weights: Option<Vec<f32>>,
    groups: Vec<u32>,
}

impl Owned {
    fn new(rows: Rows) -> Self {
        let units = match rows {
            Binary | Number => 1,
            TwoClasses | Numbers => 2,
            FourClasses => 4,
        };
        let logit = |i: usize| ((8.0 * (1.3 * i as f64 + 0.5).sin()).round_ties_even() / 4.0) as f32;
        let class = |i: usize| (i * i % 7 % 4) as u32;
        let weight = |i: usize| if i % 7 == 3 { 0.0 } else { (0.3 + (0.37 * i as f64).sin().abs()) as f32 };
        let classes: Vec<u32> = (0..ROWS).map(class).collect();
        Self {
            outputs: (0..ROWS * units).map(logit).collect(),
            units,
            logits: matches!(rows, Binary | TwoClasses | FourClasses),
            classes: match rows {
                Binary | TwoClasses => Some(classes.iter().map(|&class| u32::from(class >= 1)).collect()),
                FourClasses => Some(classes),
                Numbers | Number => None,
            },
            values: (0..ROWS * units).map(|i| (0.9 * i as f64).sin() as f32).collect(),
            weights: Some((0..ROWS).map(weight).collect()),
            groups: (0..ROWS as u32).map(|i| 7 * i % 11).collect(),
        }
    }

    fn update(&self, meter: &mut Meter, rows: std::ops::Range<usize>) {
        let cells = rows.start * self.units..rows.end * self.units;
        let targets = match &self.classes {
            Some(classes) => Targets::Classes(&classes[rows.clone()]),
            None => Targets::Values { values: &self.values[cells.clone()], width: self.units },
        };
        meter.update(&Batch {
            outputs: &self.outputs[cells],
            units: self.units,
            logits: self.logits,
            targets,
            weights: self.weights.as_ref().map(|weights| &weights[rows.clone()]),
            groups: Some(&self.groups[rows]),
        });
    }

    fn measure(&self, metric: &Metric) -> Meter {
        let mut meter = metric.meter();
        self.update(&mut meter, 0..self.outputs.len() / self.units);
        meter
    }

    /// The same with probabilities for logits.
    fn as_probabilities(&self) -> Self {
        let mut owned = self.clone();
        for row in owned.outputs.chunks_mut(self.units) {
            let exponentials: Vec<f64> = row.iter().map(|&x| f64::from(x).exp()).collect();
            let total: f64 = exponentials.iter().sum();
            let total = if self.units == 1 { 1.0 + total } else { total };
            row.iter_mut().zip(&exponentials).for_each(|(p, e)| *p = (e / total) as f32);
        }
        owned.logits = false;
        owned
    }

    /// The same with one number for each class.
    fn one_hot(&self) -> Self {
        let mut owned = self.clone();
        if let Some(classes) = owned.classes.take() {
            owned.values = match self.units {
                1 => classes.iter().map(|&class| class as f32).collect(),
                units => {
                    let hot =
                        |class: u32| (0..units as u32).map(move |unit| f32::from(u8::from(unit == class)));
                    classes.iter().flat_map(|&class| hot(class)).collect()
                }
            };
        }
        owned
    }
}

fn metric(name: &str) -> Metric {
    match name {
        "top_2_categorical_accuracy" => Metric::TopKCategoricalAccuracy(TopKConfig { k: 2 }),
        _ => serde_json::from_value(Value::String(name.to_owned())).unwrap(),
    }
}

fn assert_near(got: f64, expected: f64, name: &str) {
    assert!((got - expected).abs() < 1e-6, "{name}: {got} is not {expected}");
}

#[test]
fn figures_are_those_of_the_references() {
    for &(name, rows, expected) in FIGURES {
        let (metric, owned) = (metric(name), Owned::new(rows));
        assert_eq!(metric.name(), name);
        assert_near(owned.measure(&metric).result(), expected, &format!("{name} of {rows:?}"));
        if owned.logits {
            let given = owned.as_probabilities();
            assert_near(
                given.measure(&metric).result(),
                expected,
                &format!("{name} of probabilities, {rows:?}"),
            );
            if !metric.needs_groups() {
                let got = owned.one_hot().measure(&metric).result();
                assert_near(got, expected, &format!("{name} of one number a class, {rows:?}"));
            }
        }
    }
    let mut names: Vec<&str> = FIGURES.iter().map(|(name, ..)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 15, "all but the table");
}

/// However rows are cut, also if the meter is stored and read again between batches.
#[test]
fn batches_count_as_one_batch_does() {
    for &(name, rows, _) in FIGURES {
        let (metric, owned) = (metric(name), Owned::new(rows));
        let whole = owned.measure(&metric).result();
        for cuts in [vec![0, 60], vec![0, 1, 2, 60], vec![0, 17, 17, 44, 60], (0..=60).collect()] {
            let mut meter = metric.meter();
            for cut in cuts.windows(2) {
                owned.update(&mut meter, cut[0]..cut[1]);
                let text = serde_json::to_string(&meter).unwrap();
                let read: Meter = serde_json::from_str(&text).unwrap();
                assert_eq!(read, meter, "{name}");
                meter = read;
            }
            assert_eq!(meter.result().to_bits(), whole.to_bits(), "{name} of {rows:?}, cut at {cuts:?}");
        }
    }
}

#[test]
fn a_confusion_matrix_is_a_table() {
    let mut owned = Owned::new(FourClasses);
    owned.weights = None;
    let meter = owned.measure(&Metric::ConfusionMatrix);
    let expected = serde_json::json!({
        "classes": 4,
        "counts": [[7.0, 6.0, 6.0, 7.0], [4.0, 3.0, 4.0, 6.0], [7.0, 4.0, 3.0, 3.0], [0.0, 0.0, 0.0, 0.0]],
    });
    assert_eq!(meter.details(), Some(expected));
    assert!(meter.result().is_nan());
    assert_eq!(owned.measure(&Metric::Accuracy).details(), None);
}

#[test]
fn coefficients_come_with_their_t_statistic() {
    let details = Owned::new(Number).measure(&Metric::Ic).details().unwrap();
    // scipy.stats.ttest_1samp(daily, 0).statistic
    assert_near(details["t_statistic"].as_f64().unwrap(), -0.376_779_737_597_099_5, "t");
    assert_eq!(details["days"], 11);
}

#[test]
fn figures_of_nothing_are_undefined() {
    for &(name, rows, _) in FIGURES {
        let (metric, mut owned) = (metric(name), Owned::new(rows));
        assert!(metric.meter().result().is_nan(), "{name} of no batch");
        let mut meter = metric.meter();
        owned.update(&mut meter, 0..0);
        assert!(meter.result().is_nan(), "{name} of an empty batch");
        owned.weights = Some(vec![0.0; ROWS]);
        assert!(owned.measure(&metric).result().is_nan(), "{name} of rows that do not count");
    }
}

#[test]
fn one_class_alone_has_no_auc_and_constant_targets_no_r2() {
    let mut owned = Owned::new(Binary);
    owned.classes = Some(vec![1; ROWS]);
    assert!(owned.measure(&Metric::Auc).result().is_nan());
    assert!(owned.measure(&Metric::Recall).result() > 0.0);
    owned.classes = Some(vec![0; ROWS]);
    assert_eq!(owned.measure(&Metric::Recall).result(), 0.0);
    let mut owned = Owned::new(Numbers);
    owned.values = vec![0.1; 2 * ROWS];
    assert!(owned.measure(&Metric::R2).result().is_nan());
    let mut owned = Owned::new(Number);
    owned.outputs = vec![0.1; ROWS];
    for metric in [Metric::Ic, Metric::RankIc, Metric::Icir, Metric::RankIcir] {
        assert!(owned.measure(&metric).result().is_nan(), "{metric:?}");
    }
}

/// A row whose output is not a number is wrong where hits are counted, and shows everywhere else but in
/// coefficients, which leave it out.
#[test]
fn outputs_that_are_not_numbers_are_not_hidden() {
    for &(name, rows, expected) in FIGURES {
        let (metric, mut owned) = (metric(name), Owned::new(rows));
        owned.outputs.iter_mut().take(owned.units).for_each(|x| *x = f32::NAN);
        let got = owned.measure(&metric).result();
        let finite =
            matches!(metric, Metric::Accuracy | Metric::TopKCategoricalAccuracy(_)) || metric.needs_groups();
        assert_eq!(got.is_finite(), finite, "{name} of {rows:?} is {got}, was {expected}");
    }
}

/// Logits so large that their probabilities are equal in single precision still have an order.
#[test]
fn an_auc_of_logits_sees_beyond_the_probabilities() {
    for units in [1, 2, 3] {
        let mut meter = Metric::Auc.meter();
        let outputs: Vec<f32> = (0..4)
            .flat_map(|row| {
                (0..units).map(move |unit| if unit == units - 1 { 50.0 + row as f32 } else { 0.0 })
            })
            .collect();
        let last = units.max(2) as u32 - 1;
        let classes = [0, 0, last, last];
        let targets = Targets::Classes(&classes);
        meter.update(&Batch { outputs: &outputs, units, logits: true, targets, weights: None, groups: None });
        assert_eq!(meter.result(), 1.0, "{units} units");
    }
}
