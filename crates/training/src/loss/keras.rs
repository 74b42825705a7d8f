//! Every loss beside Keras: values, and gradients by TensorFlow's autodiff.

use serde::Deserialize;

use super::Loss;
use crate::batch::{Batch, Targets};

struct Case {
    loss: &'static str,
    outputs: Outputs,
    units: usize,
    targets: Kind,
    value: f64,
    gradient: &'static [f64],
}

#[derive(Clone, Copy, PartialEq)]
enum Outputs {
    Logits,
    Probabilities,
}

#[derive(Clone, Copy)]
enum Kind {
    Classes,
    /// One a row.
    Number,
    /// One for each output.
    Numbers,
    /// Between 0 and 1, one for each output.
    Shares,
    /// Of sum 1 in a row.
    Distributions,
}

use Kind::{Classes, Distributions, Number, Numbers, Shares};
use Outputs::{Logits, Probabilities};

#[derive(Deserialize)]
struct Table {
    loss: Loss,
}

/// `tests/golden/losses_keras.py` made it, and says how outputs and targets are chosen.
#[rustfmt::skip]
const CASES: &[Case] = &[
    Case {
        loss: r#""mse""#,
        outputs: Logits,
        units: 3,
        targets: Numbers,
        value: 2.4265698226247046,
        gradient: &[0.106539011, 0.129374259, -0.0989651448, -0.129476893, -0.0366028117, 0.127305739, 0.572690712, -0.0812149901, -0.618786746, 0.0, 0.0, 0.0, 0.0361322363, -0.203889201, -0.0552701813, 0.113567346, 0.0343541635, -0.171176874],
    },
    Case {
        loss: r#""mae""#,
        outputs: Logits,
        units: 3,
        targets: Numbers,
        value: 1.2576731544815831,
        gradient: &[0.0555555556, 0.0555555556, -0.0555555556, -0.0277777778, -0.0277777778, 0.0277777778, 0.111111111, -0.111111111, -0.111111111, 0.0, 0.0, 0.0, 0.0833333333, -0.0833333333, -0.0833333333, 0.0555555556, 0.0555555556, -0.0555555556],
    },
    Case {
        loss: r#"{ name = "huber", delta = 0.7 }"#,
        outputs: Logits,
        units: 3,
        targets: Numbers,
        value: 0.6612376678826464,
        gradient: &[0.0388888889, 0.0388888889, -0.0388888889, -0.0194444444, -0.0183014058, 0.0194444444, 0.0777777778, -0.040607495, -0.0777777778, 0.0, 0.0, 0.0, 0.0180661182, -0.0583333333, -0.0276350907, 0.0388888889, 0.0171770818, -0.0388888889],
    },
    Case {
        loss: r#""binary_crossentropy""#,
        outputs: Logits,
        units: 3,
        targets: Shares,
        value: 0.9020411309988261,
        gradient: &[0.0123828732, -0.000914906488, -0.0258969698, -0.0162206575, -0.000812685863, 0.0215817309, 0.0827843459, -0.0105219965, -0.0862965966, 0.0, 0.0, 0.0, 0.025684634, 0.000145399005, -0.00756371651, -0.00225670778, -0.0111809928, -0.0253753508],
    },
    Case {
        loss: r#"{ name = "binary_crossentropy", label_smoothing = 0.2 }"#,
        outputs: Logits,
        units: 3,
        targets: Shares,
        value: 0.9046202625078882,
        gradient: &[0.0123828732, 0.00343690942, -0.0204867052, -0.0150334913, -0.00204190931, 0.0188663695, 0.0741980738, -0.0103351757, -0.0774780643, 0.0, 0.0, 0.0, 0.0175101654, -0.00620446423, -0.00728352402, 0.00220876094, -0.00581622705, -0.0231712366],
    },
    Case {
        loss: r#"{ name = "binary_crossentropy", label_smoothing = 0.2 }"#,
        outputs: Probabilities,
        units: 3,
        targets: Shares,
        value: 1.0399576492222866,
        gradient: &[0.0589103461, 0.119733195, -0.0825217411, -0.249804632, -0.0104282589, 0.117308783, 0.932747318, -0.038809819, -1.72352808, 0.0, 0.0, 0.0, 0.0833344744, -0.23433999, -0.0273242954, 0.0610884424, -0.0329323247, -0.125785197],
    },
    Case {
        loss: r#"{ name = "categorical_crossentropy", label_smoothing = 0.1 }"#,
        outputs: Logits,
        units: 3,
        targets: Distributions,
        value: 1.9699525675363638,
        gradient: &[0.00351698033, 0.0473620649, -0.050879043, -0.0531526582, -0.0170152134, 0.0701678702, 0.259201173, -0.0775308754, -0.181670298, 0.0, 0.0, 0.0, 0.0748868958, -0.024304981, -0.050581909, 0.0444678654, -0.00361260374, -0.0408552617],
    },
    Case {
        loss: r#"{ name = "categorical_crossentropy", label_smoothing = 0.1 }"#,
        outputs: Probabilities,
        units: 3,
        targets: Distributions,
        value: 1.6057498317415886,
        gradient: &[0.0248940053, 0.0108561164, -0.0539861463, -0.707261095, -0.0191767774, 0.0698839701, 0.204584125, -0.022950598, -3.37485575, 0.0, 0.0, 0.0, 0.271472957, -0.627745282, -0.128422719, 0.0222975229, 0.00630261253, -0.104141852],
    },
    Case {
        loss: r#"{ name = "categorical_crossentropy", label_smoothing = 0.1 }"#,
        outputs: Logits,
        units: 3,
        targets: Classes,
        value: 1.833482002754384,
        gradient: &[-0.114951697, 0.103592717, 0.0113589797, 0.000178646928, 0.00381393896, -0.00399258589, 0.281642581, -0.277112001, -0.00453058031, 0.0, 0.0, 0.0, -0.14678984, 0.0171868881, 0.129602952, 0.0968407055, 0.0534602265, -0.150300932],
    },
    Case {
        loss: r#""sparse_categorical_crossentropy""#,
        outputs: Logits,
        units: 3,
        targets: Classes,
        value: 1.8477839012504027,
        gradient: &[-0.126062808, 0.109148273, 0.0169145353, 0.00295642471, 0.00659171674, -0.00954814144, 0.292753692, -0.299334223, 0.00658053081, 0.0, 0.0, 0.0, -0.163456506, 0.0255202214, 0.137936285, 0.102396261, 0.059015782, -0.161412043],
    },
    Case {
        loss: r#""sparse_categorical_crossentropy""#,
        outputs: Probabilities,
        units: 3,
        targets: Classes,
        value: 1.1825208178721807,
        gradient: &[-0.15614871, 0.0767100287, 0.0767100287, 0.0744303763, 0.0744303763, -0.030306585, 0.241618738, -0.549108331, 0.241618738, 0.0, 0.0, 0.0, -0.455033423, 0.30700402, 0.30700402, 0.0858974152, 0.0858974152, -0.601009763],
    },
    Case {
        loss: r#"{ name = "quantile", quantiles = [0.1, 0.5, 0.9] }"#,
        outputs: Logits,
        units: 3,
        targets: Number,
        value: 0.8698349584307937,
        gradient: &[0.05, 0.0277777778, 0.00555555556, -0.00277777778, -0.0138888889, 0.00277777778, 0.1, -0.0555555556, -0.1, 0.0, 0.0, 0.0, -0.00833333333, -0.0416666667, 0.00833333333, 0.05, 0.0277777778, -0.05],
    },
    Case {
        loss: r#"{ name = "pairwise_rank", temperature = 0.5 }"#,
        outputs: Logits,
        units: 1,
        targets: Number,
        value: 0.5678684374931835,
        gradient: &[0.387758457, -0.164771316, -0.452524684, 0.0, 0.0647662272, 0.164771316],
    },
    Case {
        loss: r#""negative_ic""#,
        outputs: Logits,
        units: 1,
        targets: Number,
        value: -0.7281862725430728,
        gradient: &[0.237790781, -7.40148683e-17, -0.413582477, 0.0, 0.175791696, 7.40148683e-17],
    },
];

const ROWS: usize = 6;
const WEIGHTS: [f32; ROWS] = [1.0, 0.5, 2.0, 0.0, 1.5, 1.0];
const CLASSES: [u32; ROWS] = [0, 2, 1, 1, 0, 2];
const GROUPS: [u32; ROWS] = [7, 3, 7, 3, 7, 3];

fn wave(count: usize, of: impl Fn(f64) -> f64) -> Vec<f32> {
    (0..count).map(|i| of(i as f64) as f32).collect()
}

fn targets(kind: Kind, units: usize) -> (Vec<f32>, usize) {
    let shares = wave(ROWS * units, |i| 0.5 + 0.5 * (0.9 * i).sin());
    match kind {
        Classes => (vec![], 0),
        Number => (wave(ROWS, |i| (0.9 * i).sin()), 1),
        Numbers => (wave(ROWS * units, |i| (0.9 * i).sin()), units),
        Shares => (shares, units),
        Distributions => {
            let total = |row: &[f32]| row.iter().map(|&x| f64::from(x)).sum::<f64>();
            let divided = |row: &[f32]| -> Vec<f32> {
                row.iter().map(|&x| (f64::from(x) / total(row)) as f32).collect()
            };
            (shares.chunks(units).flat_map(divided).collect(), units)
        }
    }
}

#[test]
fn values_and_gradients_are_those_of_keras() {
    for case in CASES {
        let Case { loss: text, units, .. } = *case;
        let loss = toml::from_str::<Table>(&format!("loss = {text}")).unwrap().loss;
        let outputs = wave(ROWS * units, |i| match case.outputs {
            Logits => 2.0 * (1.3 * i + 0.5).sin(),
            Probabilities => 0.5 + 0.45 * (1.3 * i + 0.5).sin(),
        });
        let (values, width) = targets(case.targets, units);
        let targets =
            if width == 0 { Targets::Classes(&CLASSES) } else { Targets::Values { values: &values, width } };
        let batch = Batch {
            outputs: &outputs,
            units,
            logits: case.outputs == Logits,
            targets,
            weights: Some(&WEIGHTS),
            groups: Some(&GROUPS),
        };
        loss.check().unwrap();
        loss.check_output(units, &targets).unwrap();
        let mut gradient = vec![f32::NAN; outputs.len()];
        let value = loss.evaluate(&batch, Some(&mut gradient));
        assert_eq!(loss.evaluate(&batch, None), value, "{text}");
        let off = (value.mean() - case.value).abs();
        assert!(off < 1e-6 * case.value.abs().max(1.0), "{text}: {} is not {}", value.mean(), case.value);
        let largest = case.gradient.iter().fold(0.0f64, |largest, g| largest.max(g.abs()));
        for (at, (got, expected)) in gradient.iter().zip(case.gradient).enumerate() {
            let off = (f64::from(*got) - expected).abs();
            assert!(off < 1e-6 * largest, "{text}, gradient {at}: {got} is not {expected}");
        }
    }
}
