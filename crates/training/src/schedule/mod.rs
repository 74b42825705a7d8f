//! The learning rate of each step: one file per way it goes, formulas Keras's where Keras has it.
//!
//! A schedule is a function of the step alone, so that a resumed fit goes on with the same rates. All but
//! [`Schedule::OneCycle`], which rises by itself, can begin with a linear warm-up; their own steps count from its end.
//! Deliberately not here: what follows figures of an epoch, which is a callback.

mod cosine;
mod exponential;
mod one_cycle;
mod step;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub use cosine::CosineConfig;
pub use exponential::ExponentialConfig;
pub use one_cycle::OneCycleConfig;
pub use step::{PiecewiseConstantConfig, StepConfig};

use crate::Error;
use crate::config::{config, split_tag};
use crate::name::{self, Kind};

/// `schedule = { name = "cosine", warmup_steps = 100 }`, or just `schedule = "cosine"`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Schedule {
    /// The optimizer's learning rate.
    Constant(ConstantConfig),
    /// Multiplied by a factor every so many steps.
    Step(StepConfig),
    /// Given rates between given steps.
    PiecewiseConstant(PiecewiseConstantConfig),
    /// Multiplied by the same factor over the same number of steps, gradually or at once.
    Exponential(ExponentialConfig),
    /// Down along half a cosine.
    Cosine(CosineConfig),
    /// Up and down once, along cosines.
    OneCycle(OneCycleConfig),
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Constant(ConstantConfig::default())
    }
}

/// A constant rate, after a warm-up if asked for.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConstantConfig {
    /// Steps over which the rate rises linearly.
    pub warmup_steps: u64,
    /// Where it rises from, as a share of the optimizer's learning rate.
    pub warmup_from: f64,
}

/// A linear rise at the start: Keras's of `CosineDecay`.
#[derive(Debug, Clone, Copy, Default)]
struct Warmup {
    steps: u64,
    /// A share of the rate it rises to.
    from: f64,
}

type Reader = fn(Value) -> serde_json::Result<Schedule>;

const KNOWN: &[(&str, Reader)] = &[
    ("constant", |keys| ConstantConfig::deserialize(keys).map(Schedule::Constant)),
    ("cosine", |keys| CosineConfig::deserialize(keys).map(Schedule::Cosine)),
    ("exponential", |keys| ExponentialConfig::deserialize(keys).map(Schedule::Exponential)),
    ("one_cycle", |keys| OneCycleConfig::deserialize(keys).map(Schedule::OneCycle)),
    ("piecewise_constant", |keys| {
        PiecewiseConstantConfig::deserialize(keys).map(Schedule::PiecewiseConstant)
    }),
    ("step", |keys| StepConfig::deserialize(keys).map(Schedule::Step)),
];

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const KIND: Kind = Kind { one: "schedule", all: "schedules" };
        let (name, keys) = split_tag(deserializer, "name", KIND)?;
        let read = name::find(KIND, &name, KNOWN).map_err(D::Error::custom)?;
        read(keys).map_err(D::Error::custom)
    }
}

impl Schedule {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`], naming the first key whose value cannot be.
    pub fn check(&self) -> Result<(), Error> {
        let from = self.warmup().from;
        if !(0.0..=1.0).contains(&from) {
            return Err(config(key("warmup_from"), &from, "it must be between 0 and 1"));
        }
        match self {
            Self::Constant(_) => Ok(()),
            Self::Step(step) => step.check(),
            Self::PiecewiseConstant(piecewise) => piecewise.check(),
            Self::Exponential(exponential) => exponential.check(),
            Self::Cosine(cosine) => cosine.check(),
            Self::OneCycle(cycle) => cycle.check(),
        }
    }

    /// The learning rate of step `step`, from 0, of a fit of `steps` steps with an optimizer's learning rate of `base`.
    pub fn learning_rate(&self, base: f64, step: u64, steps: u64) -> f64 {
        let warmup = self.warmup();
        if step < warmup.steps {
            let target = self.after_warmup(base, 0, steps.saturating_sub(warmup.steps));
            let done = step as f64 / warmup.steps as f64;
            let start = target * warmup.from;
            return (target - start) * done + start;
        }
        self.after_warmup(base, step - warmup.steps, steps.saturating_sub(warmup.steps))
    }

    fn after_warmup(&self, base: f64, step: u64, steps: u64) -> f64 {
        match self {
            Self::Constant(_) => base,
            Self::Step(config) => config.learning_rate(base, step),
            Self::PiecewiseConstant(config) => config.learning_rate(step),
            Self::Exponential(config) => config.learning_rate(base, step),
            Self::Cosine(config) => config.learning_rate(base, step, steps),
            Self::OneCycle(config) => config.learning_rate(base, step, steps),
        }
    }

    fn warmup(&self) -> Warmup {
        let (steps, from) = match self {
            Self::Constant(config) => (config.warmup_steps, config.warmup_from),
            Self::Step(config) => (config.warmup_steps, config.warmup_from),
            Self::PiecewiseConstant(config) => (config.warmup_steps, config.warmup_from),
            Self::Exponential(config) => (config.warmup_steps, config.warmup_from),
            Self::Cosine(config) => (config.warmup_steps, config.warmup_from),
            Self::OneCycle(_) => (0, 0.0),
        };
        Warmup { steps, from }
    }
}

fn key(name: &str) -> String {
    format!("fit.schedule.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Table {
        schedule: Schedule,
    }

    fn read(value: &str) -> Result<Schedule, String> {
        let table: Result<Table, _> = toml::from_str(&format!("schedule = {value}"));
        table.map(|table| table.schedule).map_err(|error| error.message().to_owned())
    }

    const STEPS: [u64; 9] = [0, 1, 5, 9, 10, 11, 25, 59, 60];

    /// Rates at [`STEPS`] of a fit of 60 steps with base 0.2. `tests/golden/schedules_keras.py` made it.
    #[rustfmt::skip]
    const KERAS: &[(&str, [f64; 9])] = &[
        ("{ name = \"exponential\", decay_steps = 10, decay_rate = 0.5 }", [0.20000000298023224, 0.18660660088062286, 0.1414213627576828, 0.10717735439538956, 0.10000000149011612, 0.09330330044031143, 0.0353553406894207, 0.0033492918591946363, 0.0031250000465661287]),
        ("{ name = \"exponential\", decay_steps = 10, decay_rate = 0.5, staircase = true }", [0.20000000298023224, 0.20000000298023224, 0.20000000298023224, 0.20000000298023224, 0.10000000149011612, 0.10000000149011612, 0.05000000074505806, 0.0062500000931322575, 0.0031250000465661287]),
        ("{ name = \"step\", every = 10, factor = 0.5 }", [0.20000000298023224, 0.20000000298023224, 0.20000000298023224, 0.20000000298023224, 0.10000000149011612, 0.10000000149011612, 0.05000000074505806, 0.0062500000931322575, 0.0031250000465661287]),
        ("{ name = \"piecewise_constant\", boundaries = [5, 10], values = [0.3, 0.1, 0.02] }", [0.30000001192092896, 0.30000001192092896, 0.30000001192092896, 0.10000000149011612, 0.10000000149011612, 0.019999999552965164, 0.019999999552965164, 0.019999999552965164, 0.019999999552965164]),
        ("\"cosine\"", [0.20000000298023224, 0.19986295700073242, 0.19659258425235748, 0.18910065293312073, 0.18660254776477814, 0.18386705219745636, 0.12588191032409668, 0.00013704299635719508, 0.0]),
        ("{ name = \"cosine\", alpha = 0.1, decay_steps = 20 }", [0.20000000298023224, 0.19889195263385773, 0.17363962531089783, 0.12407910823822021, 0.10999999195337296, 0.09592089056968689, 0.020000001415610313, 0.020000001415610313, 0.020000001415610313]),
        ("{ name = \"cosine\", warmup_steps = 10, alpha = 0.05 }", [0.0, 0.020000001415610313, 0.10000000149011612, 0.17999999225139618, 0.20000000298023224, 0.19981254637241364, 0.16083960235118866, 0.010187461040914059, 0.010000000707805157]),
        ("{ name = \"cosine\", warmup_steps = 10, warmup_from = 0.25, decay_steps = 15 }", [0.05000000074505806, 0.06499999761581421, 0.125, 0.1850000023841858, 0.20000000298023224, 0.19781476259231567, 0.0, 0.0, 0.0]),
    ];

    #[test]
    fn rates_are_those_of_keras() {
        for (text, expected) in KERAS {
            let schedule = read(text).unwrap();
            schedule.check().unwrap();
            for (step, expected) in STEPS.into_iter().zip(expected) {
                let got = schedule.learning_rate(0.2, step, 60);
                // Keras computes them in single precision.
                assert!((got - expected).abs() < 1e-7, "{text}: {got} is not {expected} at step {step}");
            }
        }
    }

    #[test]
    fn every_schedule_survives_its_own_text() {
        let all = [
            "\"constant\"",
            "\"cosine\"",
            "\"one_cycle\"",
            "{ name = \"step\", every = 3 }",
            "{ name = \"piecewise_constant\", boundaries = [1], values = [1.0, 2.0] }",
            "{ name = \"exponential\", decay_steps = 3, decay_rate = 0.9 }",
        ];
        assert_eq!(all.len(), KNOWN.len());
        for value in all {
            let schedule = read(value).unwrap();
            schedule.check().unwrap();
            let text = toml::to_string(&Table { schedule: schedule.clone() }).unwrap();
            assert_eq!(toml::from_str::<Table>(&text).unwrap().schedule, schedule, "{text}");
        }
    }

    /// Whatever a fit's length, also one shorter than its warm-up, every rate is a number within the base.
    #[test]
    fn rates_stay_within_the_base() {
        for text in [
            "{ name = \"constant\", warmup_steps = 4 }",
            "{ name = \"step\", every = 3, warmup_steps = 4 }",
            "{ name = \"exponential\", decay_steps = 3, decay_rate = 0.9, warmup_steps = 4 }",
            "{ name = \"cosine\", warmup_steps = 4, alpha = 0.1 }",
            "\"one_cycle\"",
            "{ name = \"one_cycle\", pct_start = 0 }",
            "{ name = \"one_cycle\", pct_start = 1 }",
        ] {
            let schedule = read(text).unwrap();
            for steps in 0..12 {
                for step in 0..steps + 3 {
                    let rate = schedule.learning_rate(0.2, step, steps);
                    assert!((0.0..=0.2 + 1e-12).contains(&rate), "{text}: {rate} at {step} of {steps}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_is_answered() {
        for (text, expected) in [
            (
                "\"cosin\"",
                "unknown schedule \"cosin\"; did you mean \"cosine\"? schedules: constant, cosine, \
              exponential, one_cycle, piecewise_constant, step",
            ),
            ("\"step\"", "missing field `every`"),
            (
                "{ name = \"one_cycle\", warmup_steps = 3 }",
                "unknown field `warmup_steps`, expected one of \
              `pct_start`, `div_factor`, `final_div_factor`",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), expected);
        }
        for (text, expected) in [
            ("{ name = \"cosine\", alpha = 2 }", "fit.schedule.alpha is 2; it must be between 0 and 1"),
            (
                "{ name = \"cosine\", decay_steps = 0 }",
                "fit.schedule.decay_steps is 0; it must be at least 1",
            ),
            (
                "{ name = \"constant\", warmup_from = -1 }",
                "fit.schedule.warmup_from is -1; it must be between 0 and 1",
            ),
            ("{ name = \"step\", every = 0 }", "fit.schedule.every is 0; it must be at least 1"),
            (
                "{ name = \"step\", every = 1, factor = 0 }",
                "fit.schedule.factor is 0; it must be a positive finite number",
            ),
            (
                "{ name = \"exponential\", decay_steps = 1, decay_rate = -1 }",
                "fit.schedule.decay_rate is -1; it must be a positive finite number",
            ),
            (
                "{ name = \"piecewise_constant\", boundaries = [1, 2], values = [0.1] }",
                "the number of fit.schedule.values is 1; it must be one more than the 2 boundaries",
            ),
            (
                "{ name = \"piecewise_constant\", boundaries = [2, 2], values = [0.1, 0.2, 0.3] }",
                "fit.schedule.boundaries[1] is 2; it must be above the one before it",
            ),
            (
                "{ name = \"piecewise_constant\", boundaries = [2], values = [0.1, -0.2] }",
                "fit.schedule.values[1] is -0.2; it must be a positive finite number",
            ),
            (
                "{ name = \"one_cycle\", pct_start = 2 }",
                "fit.schedule.pct_start is 2; it must be between 0 and 1",
            ),
            (
                "{ name = \"one_cycle\", div_factor = 0.5 }",
                "fit.schedule.div_factor is 0.5; it must be a finite number of at least 1",
            ),
        ] {
            assert_eq!(read(text).unwrap().check().unwrap_err().to_string(), expected);
        }
    }
}
