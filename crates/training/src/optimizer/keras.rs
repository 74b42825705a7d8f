//! Every rule beside Keras: weights after 20 steps.

use serde::Deserialize;

use super::OptimizerConfig;
use super::update::BLOCK;

/// `tests/golden/optimizers_keras.py` made it, and says how weights and gradients are chosen.
const STEPS_20: &[(&str, [f32; 8])] = &[
    (
        r#""sgd""#,
        [0.98322225, 0.5402855, -0.43046078, -0.988462, -0.6356745, 0.28366637, 0.8249297, 0.7520294],
    ),
    (
        r#"{ name = "sgd", momentum = 0.9 }"#,
        [0.8945228, 0.5402686, 0.27518803, -0.97915864, -0.60570574, 0.28360564, -0.13014749, 0.74777395],
    ),
    (
        r#"{ name = "sgd", momentum = 0.9, nesterov = true, weight_decay = 0.1 }"#,
        [0.8701993, 0.52955157, 0.18846457, -0.95927536, -0.5803397, 0.2779967, -0.1575455, 0.7316762],
    ),
    (
        r#"{ name = "adam", learning_rate = 0.05 }"#,
        [0.7532401, 0.4155826, -0.33051166, -0.7331731, -0.506324, 0.23321478, 0.695838, 0.58607936],
    ),
    (
        r#"{ name = "adam", learning_rate = 0.05, amsgrad = true }"#,
        [0.75323164, 0.41558877, -0.33051437, -0.7331731, -0.506324, 0.23321478, 0.695838, 0.5860709],
    ),
    (
        r#"{ name = "adam", learning_rate = 0.05, beta_1 = 0.8, beta_2 = 0.95, epsilon = 0.01, weight_decay = 0.2 }"#,
        [0.6694911, 0.43986276, -0.30170852, -0.70017356, -0.4387322, 0.23123331, 0.61971545, 0.5373274],
    ),
    (
        r#"{ name = "adam", learning_rate = 0.05, clipnorm = 0.5, epsilon = 0.1 }"#,
        [0.9990332, 0.5403069, -0.3786793, -0.9898855, -0.6566251, 0.28362533, 0.9322936, 0.7571931],
    ),
    (
        r#"{ name = "adam", learning_rate = 0.05, clipvalue = 0.5, epsilon = 0.1 }"#,
        [0.9493993, 0.5402588, -0.36159924, -0.980041, -0.63979506, 0.28361923, 0.9324902, 0.7473743],
    ),
    (
        r#"{ name = "adam", learning_rate = 0.05, global_clipnorm = 0.5, epsilon = 0.1 }"#,
        [0.99395126, 0.540298, -0.40310374, -0.98939306, -0.6489683, 0.2836614, 0.9140047, 0.75336844],
    ),
    (
        r#"{ name = "adamw", learning_rate = 0.05 }"#,
        [0.75006646, 0.4138703, -0.32907444, -0.7300702, -0.50422883, 0.23219022, 0.69287723, 0.58364683],
    ),
    (
        r#"{ name = "adamw", learning_rate = 0.05, weight_decay = 0.5, amsgrad = true }"#,
        [0.44050372, 0.24583171, -0.1900388, -0.4277252, -0.2988756, 0.13336733, 0.40471616, 0.34543154],
    ),
    (
        r#"{ name = "rmsprop", learning_rate = 0.02 }"#,
        [0.8808083, 0.48283818, -0.4014218, -0.86466324, -0.5701571, 0.282613, 0.82815087, 0.66368175],
    ),
    (
        r#"{ name = "rmsprop", learning_rate = 0.02, momentum = 0.5 }"#,
        [0.7966194, 0.46102703, -0.3789842, -0.77080494, -0.52769095, 0.269052, 0.7234127, 0.61537695],
    ),
    (
        r#"{ name = "rmsprop", learning_rate = 0.02, centered = true, epsilon = 1e-3 }"#,
        [0.8646373, 0.5392366, -0.3951926, -0.90809757, -0.5624784, 0.2839222, 0.80772394, 0.68199074],
    ),
    (
        r#"{ name = "rmsprop", learning_rate = 0.02, centered = true, momentum = 0.5, epsilon = 1e-3, rho = 0.8 }"#,
        [0.80757946, 0.53901345, -0.38140208, -0.86030644, -0.5374332, 0.28388777, 0.736488, 0.6563106],
    ),
    (
        r#"{ name = "adagrad", learning_rate = 0.1 }"#,
        [0.82829624, 0.53976935, -0.37649933, -0.9438356, -0.5429191, 0.28379223, 0.7491364, 0.70621705],
    ),
    (
        r#"{ name = "adagrad", learning_rate = 0.1, initial_accumulator_value = 0.5, weight_decay = 0.1, clipnorm = 2.0 }"#,
        [0.75384146, 0.44185776, -0.30433446, -0.8027567, -0.4855129, 0.23203488, 0.6660888, 0.61152047],
    ),
    (
        r#"{ name = "lamb", learning_rate = 0.05 }"#,
        [0.80650616, 0.42888704, -0.3592116, -0.79059565, -0.5260094, 0.26254615, 0.7640811, 0.6124214],
    ),
    (
        r#"{ name = "lamb", learning_rate = 0.05, weight_decay = 0.1, global_clipnorm = 1.0 }"#,
        [0.71719337, 0.38327795, -0.33400106, -0.69642717, -0.47347406, 0.25471178, 0.667567, 0.5523168],
    ),
    (
        r#"{ name = "lion", learning_rate = 0.01 }"#,
        [0.96000004, 0.5003023, -0.39614686, -0.94999254, -0.61364365, 0.26366222, 0.9201703, 0.75390226],
    ),
    (
        r#"{ name = "lion", learning_rate = 0.01, beta_1 = 0.7, beta_2 = 0.9, weight_decay = 0.5 }"#,
        [0.8675839, 0.48873678, -0.3783799, -0.8585309, -0.5912665, 0.27718684, 0.8315536, 0.6441925],
    ),
];

const SCALES: [f64; 4] = [1.0, 1e-3, 10.0, 0.1];

fn values(of: impl Fn(f64, f64) -> f64) -> Vec<f32> {
    (0..8).map(|i| of(f64::from(i), SCALES[i as usize % 4]) as f32).collect()
}

fn config(text: &str) -> OptimizerConfig {
    #[derive(Deserialize)]
    struct Table {
        optimizer: OptimizerConfig,
    }
    toml::from_str::<Table>(&format!("optimizer = {text}")).unwrap().optimizer
}

fn gradients(t: u32) -> [Vec<f32>; 2] {
    let mut first = values(|i, scale| scale * (0.7 * f64::from(t) + i).sin());
    let second = first.split_off(5);
    [first, second]
}

#[test]
fn twenty_steps_are_those_of_keras() {
    for (text, expected) in STEPS_20 {
        let config = config(text);
        let mut first = values(|i, _| i.cos());
        let mut second = first.split_off(5);
        let mut optimizer = config.build(&[5, 3]);
        for t in 1..=20 {
            optimizer.step(config.learning_rate(), &mut [&mut first, &mut second], &gradients(t));
        }
        for (expected, got) in [(&expected[..5], &first), (&expected[5..], &second)] {
            let norm = expected.iter().map(|w| w * w).sum::<f32>().sqrt();
            let distance = expected.iter().zip(got).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
            assert!(distance <= 1e-5 * norm, "{text}: {got:?} is not {expected:?}");
        }
    }
}

/// State taken after 7 steps and restored into a fresh optimizer goes on to the same bits.
#[test]
fn a_restored_optimizer_goes_on_as_if_never_stopped() {
    for (text, _) in STEPS_20 {
        let config = config(text);
        let (mut first, mut second) = (values(|i, _| i.cos()), vec![0.5f32; 3]);
        first.truncate(5);
        let mut optimizer = config.build(&[5, 3]);
        let mut kept = None;
        for t in 1..=20 {
            optimizer.step(config.learning_rate(), &mut [&mut first, &mut second], &gradients(t));
            if t == 7 {
                let state: Vec<(String, Vec<f32>)> =
                    optimizer.state().into_iter().map(|(name, values)| (name, values.to_vec())).collect();
                kept = Some((optimizer.iterations(), state, first.clone(), second.clone()));
            }
        }
        let (iterations, state, mut again_first, mut again_second) = kept.unwrap();
        let mut again = config.build(&[5, 3]);
        let mut lookup =
            |name: &str, _: usize| state.iter().find(|(known, _)| known == name).map(|(_, v)| v.clone());
        again.restore(iterations, &mut lookup).unwrap();
        for t in 8..=20 {
            let parameters: &mut [&mut [f32]] = &mut [&mut again_first, &mut again_second];
            again.step(config.learning_rate(), parameters, &gradients(t));
        }
        assert_eq!((first, second), (again_first, again_second), "{text}");
    }
}

#[test]
fn state_of_another_shape_is_refused() {
    let mut adam = config("\"adam\"").build(&[5, 3]);
    let names: Vec<String> = adam.state().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["0/momentum", "0/velocity", "1/momentum", "1/velocity"]);
    let missing = adam.restore(4, &mut |name, size| (name != "1/velocity").then(|| vec![1.0; size]));
    assert_eq!(missing.unwrap_err(), "the optimizer's state has no \"1/velocity\" of 3 values");
    let short = adam.restore(4, &mut |_, _| Some(vec![1.0; 4]));
    let expected = "the optimizer's state \"0/momentum\" has 4 values, its parameter has 5";
    assert_eq!(short.unwrap_err(), expected);
    assert_eq!(adam.iterations(), 0);
    assert!(adam.state().iter().all(|(_, values)| values.iter().all(|&x| x == 0.0)));
}

/// Tensors above and below the size that is divided between threads, on 1 and on several threads.
#[test]
fn threads_change_no_bit() {
    for (text, _) in STEPS_20 {
        let config = config(text);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut weights: Vec<f32> = (0..BLOCK + 77).map(|i| (i as f32 * 0.11).cos()).collect();
            let mut optimizer = config.build(&[weights.len()]);
            pool.install(|| {
                for t in 1..=3 {
                    let gradient = weights.iter().map(|w| w * 0.3 + t as f32).collect();
                    optimizer.step(config.learning_rate(), &mut [&mut weights], &[gradient]);
                }
            });
            weights
        };
        assert!(run(1).iter().zip(&run(3)).all(|(a, b)| a.to_bits() == b.to_bits()), "{text}");
    }
}
