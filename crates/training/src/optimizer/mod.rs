//! How gradients become updates: one file per rule, and the configuration that chooses one.
//!
//! Formulas and defaults are those of Keras 3. Gradients are clipped first, then weights decay, then the rule is
//! applied, all in one pass over a tensor (`update.rs`). Deliberately not here: the learning rate of a step, which
//! [`crate::Schedule`] decides.

mod adagrad;
mod adam;
mod adamw;
mod lamb;
mod lion;
mod rmsprop;
mod sgd;

mod limits;
mod state;
mod update;

#[cfg(test)]
mod keras;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub use adagrad::AdagradConfig;
pub use adam::AdamConfig;
pub use adamw::AdamwConfig;
pub use lamb::LambConfig;
pub use lion::LionConfig;
pub use rmsprop::RmspropConfig;
pub use sgd::SgdConfig;
pub(crate) use state::Optimizer;

use crate::Error;
use crate::config::{config, split_tag};
use crate::name::{self, Kind};
use limits::Limits;

/// `optimizer = { name = "adam", ... }`, or just `optimizer = "adam"`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum OptimizerConfig {
    /// Gradient descent, with momentum if asked for.
    Sgd(SgdConfig),
    /// Adaptive moment estimation.
    Adam(AdamConfig),
    /// Adam whose weights decay by default.
    Adamw(AdamwConfig),
    /// Steps divided by the root of a running mean of squared gradients.
    Rmsprop(RmspropConfig),
    /// Steps divided by the root of the sum of squared gradients.
    Adagrad(AdagradConfig),
    /// Adam with steps in proportion to the norm of each tensor.
    Lamb(LambConfig),
    /// The sign of a running mean of gradients.
    Lion(LionConfig),
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Adam(AdamConfig::default())
    }
}

type Reader = fn(Value) -> serde_json::Result<OptimizerConfig>;

const KNOWN: &[(&str, Reader)] = &[
    ("adagrad", |keys| AdagradConfig::deserialize(keys).map(OptimizerConfig::Adagrad)),
    ("adam", |keys| AdamConfig::deserialize(keys).map(OptimizerConfig::Adam)),
    ("adamw", |keys| AdamwConfig::deserialize(keys).map(OptimizerConfig::Adamw)),
    ("lamb", |keys| LambConfig::deserialize(keys).map(OptimizerConfig::Lamb)),
    ("lion", |keys| LionConfig::deserialize(keys).map(OptimizerConfig::Lion)),
    ("rmsprop", |keys| RmspropConfig::deserialize(keys).map(OptimizerConfig::Rmsprop)),
    ("sgd", |keys| SgdConfig::deserialize(keys).map(OptimizerConfig::Sgd)),
];

impl<'de> Deserialize<'de> for OptimizerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const KIND: Kind = Kind { one: "optimizer", all: "optimizers" };
        let (name, keys) = split_tag(deserializer, "name", KIND)?;
        let read = name::find(KIND, &name, KNOWN).map_err(D::Error::custom)?;
        read(keys).map_err(D::Error::custom)
    }
}

impl OptimizerConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`], naming the first key whose value cannot be.
    pub fn check(&self) -> Result<(), Error> {
        positive("learning_rate", self.learning_rate())?;
        self.limits().check()?;
        match self {
            Self::Sgd(sgd) => sgd.check(),
            Self::Adam(adam) => adam.check(),
            Self::Adamw(adamw) => adamw.check(),
            Self::Rmsprop(rmsprop) => rmsprop.check(),
            Self::Adagrad(adagrad) => adagrad.check(),
            Self::Lamb(lamb) => lamb.check(),
            Self::Lion(lion) => lion.check(),
        }
    }

    /// The learning rate a schedule starts from.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::Sgd(sgd) => sgd.learning_rate,
            Self::Adam(adam) => adam.learning_rate,
            Self::Adamw(adamw) => adamw.learning_rate,
            Self::Rmsprop(rmsprop) => rmsprop.learning_rate,
            Self::Adagrad(adagrad) => adagrad.learning_rate,
            Self::Lamb(lamb) => lamb.learning_rate,
            Self::Lion(lion) => lion.learning_rate,
        }
    }

    /// A fresh optimizer for parameter tensors of so many elements.
    pub(crate) fn build(&self, sizes: &[usize]) -> Optimizer {
        Optimizer::new(self.clone(), sizes)
    }

    fn limits(&self) -> Limits {
        match self {
            Self::Sgd(sgd) => sgd.limits(),
            Self::Adam(adam) => adam.limits(),
            Self::Adamw(adamw) => adamw.limits(),
            Self::Rmsprop(rmsprop) => rmsprop.limits(),
            Self::Adagrad(adagrad) => adagrad.limits(),
            Self::Lamb(lamb) => lamb.limits(),
            Self::Lion(lion) => lion.limits(),
        }
    }
}

fn positive(key: &str, value: f64) -> Result<(), Error> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(config(format!("fit.optimizer.{key}"), &value, "it must be a positive finite number"))
}

fn not_negative(key: &str, value: f64) -> Result<(), Error> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(config(format!("fit.optimizer.{key}"), &value, "it must be a finite number of at least 0"))
}

fn below_one(key: &str, value: f64) -> Result<(), Error> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(config(format!("fit.optimizer.{key}"), &value, "it must be at least 0 and below 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Table {
        optimizer: OptimizerConfig,
    }

    fn read(value: &str) -> Result<OptimizerConfig, String> {
        let table: Result<Table, _> = toml::from_str(&format!("optimizer = {value}"));
        table.map(|table| table.optimizer).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn every_optimizer_has_a_name_and_survives_its_own_text() {
        for (name, _) in KNOWN {
            let optimizer = read(&format!("\"{name}\"")).unwrap();
            optimizer.check().unwrap();
            let text = toml::to_string(&Table { optimizer: optimizer.clone() }).unwrap();
            assert!(text.contains(&format!("name = \"{name}\"")), "{text}");
            assert_eq!(toml::from_str::<Table>(&text).unwrap().optimizer, optimizer);
        }
    }

    #[test]
    fn defaults_are_those_of_keras() {
        let OptimizerConfig::Sgd(sgd) = read("\"sgd\"").unwrap() else { panic!() };
        assert_eq!((sgd.learning_rate, sgd.momentum, sgd.nesterov), (0.01, 0.0, false));
        let OptimizerConfig::Adam(adam) = read("\"adam\"").unwrap() else { panic!() };
        assert_eq!((adam.learning_rate, adam.beta_1, adam.beta_2, adam.epsilon), (0.001, 0.9, 0.999, 1e-7));
        assert_eq!((adam.amsgrad, adam.weight_decay, adam.clipnorm), (false, None, None));
        let OptimizerConfig::Adamw(adamw) = read("\"adamw\"").unwrap() else { panic!() };
        assert_eq!((adamw.learning_rate, adamw.weight_decay, adamw.beta_2), (0.001, 0.004, 0.999));
        let OptimizerConfig::Rmsprop(rmsprop) = read("\"rmsprop\"").unwrap() else { panic!() };
        assert_eq!((rmsprop.learning_rate, rmsprop.rho, rmsprop.momentum), (0.001, 0.9, 0.0));
        assert_eq!((rmsprop.epsilon, rmsprop.centered), (1e-7, false));
        let OptimizerConfig::Adagrad(adagrad) = read("\"adagrad\"").unwrap() else { panic!() };
        let adagrad = (adagrad.learning_rate, adagrad.initial_accumulator_value, adagrad.epsilon);
        assert_eq!(adagrad, (0.001, 0.1, 1e-7));
        let OptimizerConfig::Lamb(lamb) = read("\"lamb\"").unwrap() else { panic!() };
        assert_eq!((lamb.learning_rate, lamb.beta_1, lamb.beta_2, lamb.epsilon), (0.001, 0.9, 0.999, 1e-7));
        let OptimizerConfig::Lion(lion) = read("\"lion\"").unwrap() else { panic!() };
        assert_eq!((lion.learning_rate, lion.beta_1, lion.beta_2), (0.001, 0.9, 0.99));
    }

    #[test]
    fn unknown_names_and_keys_are_answered() {
        for (text, expected) in [
            (
                "\"adm\"",
                "unknown optimizer \"adm\"; did you mean \"adam\"? optimizers: adagrad, adam, adamw, lamb, lion, \
                 rmsprop, sgd",
            ),
            (
                "{ name = \"lion\", epsilon = 1 }",
                "unknown field `epsilon`, expected one of `learning_rate`, `beta_1`, `beta_2`, `weight_decay`, \
                 `clipnorm`, `clipvalue`, `global_clipnorm`",
            ),
            ("{ learning_rate = 1 }", "missing field `name`, which names the optimizer"),
        ] {
            assert_eq!(read(text).unwrap_err(), expected);
        }
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        for (text, expected) in [
            (
                "{ name = \"sgd\", learning_rate = 0 }",
                "fit.optimizer.learning_rate is 0; it must be a positive finite number",
            ),
            (
                "{ name = \"sgd\", momentum = 1.5 }",
                "fit.optimizer.momentum is 1.5; it must be between 0 and 1",
            ),
            (
                "{ name = \"sgd\", nesterov = true }",
                "fit.optimizer.nesterov is true; it needs a fit.optimizer.momentum above 0",
            ),
            (
                "{ name = \"adam\", beta_1 = 1 }",
                "fit.optimizer.beta_1 is 1; it must be at least 0 and below 1",
            ),
            (
                "{ name = \"adamw\", weight_decay = -1 }",
                "fit.optimizer.weight_decay is -1; it must be a finite number of at least 0",
            ),
            ("{ name = \"rmsprop\", rho = 2 }", "fit.optimizer.rho is 2; it must be at least 0 and below 1"),
            (
                "{ name = \"adagrad\", initial_accumulator_value = -1 }",
                "fit.optimizer.initial_accumulator_value is -1; it must be a finite number of at least 0",
            ),
            (
                "{ name = \"lamb\", epsilon = 0 }",
                "fit.optimizer.epsilon is 0; it must be a positive finite number",
            ),
            (
                "{ name = \"lion\", clipnorm = 0 }",
                "fit.optimizer.clipnorm is 0; it must be a positive finite number",
            ),
            (
                "{ name = \"adam\", clipnorm = 1, global_clipnorm = 2 }",
                "fit.optimizer.global_clipnorm is 2; gradients are clipped in one way: take either it or clipnorm",
            ),
        ] {
            assert_eq!(read(text).unwrap().check().unwrap_err().to_string(), expected);
        }
    }
}
