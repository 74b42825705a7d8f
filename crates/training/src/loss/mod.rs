//! What training makes small: one file per kind of loss, each with its value and its gradient in closed form.
//!
//! Losses are plain loops over what a network gave; nothing here knows the tensor library. Formulas and names are
//! those of Keras 3, and so is the mean: weighted losses divided by rows, not by weights. What is not a number goes
//! in and comes out: a NaN among outputs, targets or weights makes loss and gradient NaN, and never a silent 0.

mod binary_crossentropy;
mod categorical_crossentropy;
mod difference;
mod negative_ic;
mod pairwise_rank;
mod quantile;

mod exponential;
mod softmax;

#[cfg(test)]
mod finite_difference;
#[cfg(test)]
mod keras;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub use binary_crossentropy::BinaryCrossentropyConfig;
pub use categorical_crossentropy::CategoricalCrossentropyConfig;
pub use difference::HuberConfig;
pub use pairwise_rank::PairwiseRankConfig;
pub use quantile::QuantileConfig;

use crate::batch::{Batch, Targets};
use crate::config::{config, split_tag};
use crate::name::{self, Kind};
use crate::{Activation, Error};

/// `loss = { name = "huber", delta = 2 }`, or just `loss = "huber"`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Loss {
    /// `(output - target)^2`, the mean over the outputs of a row; `mse` for short.
    MeanSquaredError,
    /// `|output - target|`, the mean over the outputs of a row; `mae` for short.
    MeanAbsoluteError,
    /// Squared where the error is small, absolute beyond.
    Huber(HuberConfig),
    /// `-ln p(target)` of each output for itself.
    BinaryCrossentropy(BinaryCrossentropyConfig),
    /// `-ln p(target)` of a row's classes; targets are classes or one number for each.
    CategoricalCrossentropy(CategoricalCrossentropyConfig),
    /// `-ln p(class)`.
    SparseCategoricalCrossentropy(CategoricalCrossentropyConfig),
    /// One output for each quantile of the target; `pinball` is the same.
    Quantile(QuantileConfig),
    /// Pairs of rows of a date whose outputs are in the wrong order.
    PairwiseRank(PairwiseRankConfig),
    /// Minus the correlation of outputs and targets of a date.
    NegativeIc,
}

impl Default for Loss {
    fn default() -> Self {
        Self::SparseCategoricalCrossentropy(CategoricalCrossentropyConfig::default())
    }
}

type Reader = fn(Value) -> serde_json::Result<Loss>;

const KNOWN: &[(&str, Reader)] = &[
    ("binary_crossentropy", |keys| read(keys, Loss::BinaryCrossentropy)),
    ("categorical_crossentropy", |keys| read(keys, Loss::CategoricalCrossentropy)),
    ("huber", |keys| read(keys, Loss::Huber)),
    ("mae", |keys| no_keys(keys, Loss::MeanAbsoluteError)),
    ("mean_absolute_error", |keys| no_keys(keys, Loss::MeanAbsoluteError)),
    ("mean_squared_error", |keys| no_keys(keys, Loss::MeanSquaredError)),
    ("mse", |keys| no_keys(keys, Loss::MeanSquaredError)),
    ("negative_ic", |keys| no_keys(keys, Loss::NegativeIc)),
    ("pairwise_rank", |keys| read(keys, Loss::PairwiseRank)),
    ("pinball", |keys| read(keys, Loss::Quantile)),
    ("quantile", |keys| read(keys, Loss::Quantile)),
    ("sparse_categorical_crossentropy", |keys| read(keys, Loss::SparseCategoricalCrossentropy)),
];

fn read<C: DeserializeOwned>(keys: Value, loss: fn(C) -> Loss) -> serde_json::Result<Loss> {
    C::deserialize(keys).map(loss)
}

fn no_keys(keys: Value, loss: Loss) -> serde_json::Result<Loss> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoKeys {}
    NoKeys::deserialize(keys).map(|NoKeys {}| loss)
}

impl<'de> Deserialize<'de> for Loss {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const KIND: Kind = Kind { one: "loss", all: "losses" };
        let (name, keys) = split_tag(deserializer, "name", KIND)?;
        let read = name::find(KIND, &name, KNOWN).map_err(D::Error::custom)?;
        read(keys).map_err(D::Error::custom)
    }
}

/// The loss of a batch: a sum, and what to divide it by.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct LossValue {
    /// Weighted losses of rows, or of dates.
    pub(crate) sum: f64,
    /// Rows, or dates that count.
    pub(crate) count: f64,
}

impl LossValue {
    /// 0 where nothing counts: a batch of dates of one row each has no loss, and is no reason to stop.
    pub(crate) fn mean(self) -> f64 {
        if self.count == 0.0 { 0.0 } else { self.sum / self.count }
    }
}

impl std::ops::AddAssign for LossValue {
    fn add_assign(&mut self, other: Self) {
        self.sum += other.sum;
        self.count += other.count;
    }
}

impl Loss {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`], naming the first key whose value cannot be.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Huber(huber) => huber.check(),
            Self::BinaryCrossentropy(BinaryCrossentropyConfig { label_smoothing })
            | Self::CategoricalCrossentropy(CategoricalCrossentropyConfig { label_smoothing })
            | Self::SparseCategoricalCrossentropy(CategoricalCrossentropyConfig { label_smoothing }) => {
                if (0.0..=1.0).contains(label_smoothing) {
                    return Ok(());
                }
                Err(config("fit.loss.label_smoothing", label_smoothing, "it must be between 0 and 1"))
            }
            Self::Quantile(quantile) => quantile.check(),
            Self::PairwiseRank(rank) => rank.check(),
            Self::MeanSquaredError | Self::MeanAbsoluteError | Self::NegativeIc => Ok(()),
        }
    }

    /// The name in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::MeanSquaredError => "mean_squared_error",
            Self::MeanAbsoluteError => "mean_absolute_error",
            Self::Huber(_) => "huber",
            Self::BinaryCrossentropy(_) => "binary_crossentropy",
            Self::CategoricalCrossentropy(_) => "categorical_crossentropy",
            Self::SparseCategoricalCrossentropy(_) => "sparse_categorical_crossentropy",
            Self::Quantile(_) => "quantile",
            Self::PairwiseRank(_) => "pairwise_rank",
            Self::NegativeIc => "negative_ic",
        }
    }

    /// The final activation it computes itself, and more exactly, from logits.
    pub fn link(&self) -> Option<Activation> {
        match self {
            Self::BinaryCrossentropy(_) => Some(Activation::Sigmoid),
            Self::CategoricalCrossentropy(_) | Self::SparseCategoricalCrossentropy(_) => {
                Some(Activation::Softmax)
            }
            _ => None,
        }
    }

    /// Whether it compares rows of a date.
    pub(crate) fn needs_groups(&self) -> bool {
        matches!(self, Self::PairwiseRank(_) | Self::NegativeIc)
    }

    /// Checks that the last layer's units and the targets are what it takes.
    ///
    /// # Errors
    /// [`Error::Config`], naming units, targets and what it takes.
    pub(crate) fn check_output(&self, units: usize, targets: &Targets<'_>) -> Result<(), Error> {
        let of_values = targets.width();
        let (fits, takes) = match self {
            Self::MeanSquaredError | Self::MeanAbsoluteError | Self::Huber(_) => {
                (of_values == Some(units), "one number for each unit of the last layer".to_owned())
            }
            Self::BinaryCrossentropy(_) => {
                let of_classes = of_values.is_none() && units == 1;
                let takes =
                    "one number for each unit of the last layer, or classes 0 and 1 for a single unit";
                (of_classes || of_values == Some(units), takes.to_owned())
            }
            Self::CategoricalCrossentropy(_) => {
                let fits = units >= 2 && of_values.is_none_or(|width| width == units);
                (
                    fits,
                    "classes, or one number for each unit of the last layer, of which at least 2".to_owned(),
                )
            }
            Self::SparseCategoricalCrossentropy(_) => {
                let takes = "classes, and one unit of the last layer for each, at least 2";
                (units >= 2 && of_values.is_none(), takes.to_owned())
            }
            Self::Quantile(quantile) => {
                let quantiles = quantile.quantiles.len();
                let takes =
                    format!("one number a row, and a last layer of {quantiles} units, one for each quantile");
                (units == quantiles && of_values == Some(1), takes)
            }
            Self::PairwiseRank(_) | Self::NegativeIc => {
                let fits = units == 1 && of_values.is_none_or(|width| width == 1);
                (fits, "one number or class a row, and a last layer of 1 unit".to_owned())
            }
        };
        if fits {
            return Ok(());
        }
        let way_out = format!("it takes {takes}; {}", targets.beside(units));
        Err(config("fit.loss", &format!("\"{}\"", self.name()), way_out))
    }

    /// The loss of a batch; `gradient`, `[rows, units]`, is overwritten with the derivative of its mean by each
    /// output.
    ///
    /// Losses of dates are means over the dates of the batch that have rows of different targets, and for
    /// [`Loss::NegativeIc`] of different outputs; rows of weight 0 are not among them, and a date counts as much as
    /// its rows do on average.
    ///
    /// # Panics
    /// If slices are not as long as [`Batch`] says, or units and targets are not those of
    /// [`Loss::check_output`].
    pub(crate) fn evaluate(&self, batch: &Batch<'_>, gradient: Option<&mut [f32]>) -> LossValue {
        if batch.outputs.is_empty() {
            return LossValue::default();
        }
        match self {
            Self::MeanSquaredError => difference::squared(batch, gradient),
            Self::MeanAbsoluteError => difference::absolute(batch, gradient),
            Self::Huber(huber) => difference::huber(huber, batch, gradient),
            Self::BinaryCrossentropy(binary) => binary_crossentropy::evaluate(binary, batch, gradient),
            Self::CategoricalCrossentropy(categorical) => {
                categorical_crossentropy::evaluate(categorical, batch, gradient)
            }
            Self::SparseCategoricalCrossentropy(categorical) => {
                categorical_crossentropy::evaluate_sparse(categorical, batch, gradient)
            }
            Self::Quantile(quantile) => quantile::evaluate(quantile, batch, gradient),
            Self::PairwiseRank(rank) => pairwise_rank::evaluate(rank, batch, gradient),
            Self::NegativeIc => negative_ic::evaluate(batch, gradient),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Table {
        loss: Loss,
    }

    fn read(value: &str) -> Result<Loss, String> {
        let table: Result<Table, _> = toml::from_str(&format!("loss = {value}"));
        table.map(|table| table.loss).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn every_loss_has_a_name_and_survives_its_own_text() {
        for (name, _) in KNOWN {
            let loss = read(&format!("\"{name}\"")).unwrap();
            loss.check().unwrap();
            assert!(KNOWN.iter().any(|(known, _)| *known == loss.name()), "{name}");
            let text = toml::to_string(&Table { loss: loss.clone() }).unwrap();
            assert!(text.contains(&format!("name = \"{}\"", loss.name())), "{text}");
            assert_eq!(toml::from_str::<Table>(&text).unwrap().loss, loss);
        }
        assert_eq!(read("\"pinball\""), read("\"quantile\""));
        assert_eq!(read("\"mse\""), Ok(Loss::MeanSquaredError));
        assert_eq!(read("\"mae\""), Ok(Loss::MeanAbsoluteError));
    }

    #[test]
    fn unknown_names_and_keys_are_answered() {
        for (text, expected) in [
            (
                "\"hubert\"",
                "unknown loss \"hubert\"; did you mean \"huber\"? losses: binary_crossentropy, \
                 categorical_crossentropy, huber, mae, mean_absolute_error, mean_squared_error, mse, negative_ic, \
                 pairwise_rank, pinball, quantile, sparse_categorical_crossentropy",
            ),
            ("{ name = \"mse\", delta = 1 }", "unknown field `delta`, there are no fields"),
            ("{ name = \"huber\", dleta = 1 }", "unknown field `dleta`, expected `delta`"),
        ] {
            assert_eq!(read(text).unwrap_err(), expected);
        }
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        for (text, expected) in [
            ("{ name = \"huber\", delta = 0 }", "fit.loss.delta is 0; it must be a positive finite number"),
            (
                "{ name = \"binary_crossentropy\", label_smoothing = 1.5 }",
                "fit.loss.label_smoothing is 1.5; it must be between 0 and 1",
            ),
            (
                "{ name = \"quantile\", quantiles = [] }",
                "the number of fit.loss.quantiles is 0; it must be between 1 and 1024",
            ),
            (
                "{ name = \"quantile\", quantiles = [0.5, 1] }",
                "fit.loss.quantiles[1] is 1; it must be above 0 and below 1",
            ),
            (
                "{ name = \"pairwise_rank\", temperature = -1 }",
                "fit.loss.temperature is -1; it must be a positive finite number",
            ),
        ] {
            assert_eq!(read(text).unwrap().check().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn outputs_that_do_not_fit_are_told_with_what_would() {
        let classes = Targets::Classes(&[0, 1]);
        let of = |width| Targets::Values { values: &[], width };
        for (loss, units, targets, expected) in [
            (
                "\"mse\"",
                3,
                of(2),
                "fit.loss is \"mean_squared_error\"; it takes one number for each unit of the last layer; the last \
                 layer has 3 units, the targets are of 2 numbers a row",
            ),
            (
                "\"sparse_categorical_crossentropy\"",
                1,
                classes,
                "fit.loss is \"sparse_categorical_crossentropy\"; it takes classes, and one unit of the last layer \
                 for each, at least 2; the last layer has 1 unit, the targets are classes",
            ),
            (
                "{ name = \"quantile\", quantiles = [0.1, 0.9] }",
                1,
                of(1),
                "fit.loss is \"quantile\"; it takes one number a row, and a last layer of 2 units, one for each \
                 quantile; the last layer has 1 unit, the targets are of 1 number a row",
            ),
        ] {
            let error = read(loss).unwrap().check_output(units, &targets).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        for (loss, units, targets) in [
            ("\"huber\"", 1, classes),
            ("\"binary_crossentropy\"", 2, classes),
            ("\"categorical_crossentropy\"", 3, of(2)),
            ("\"sparse_categorical_crossentropy\"", 3, of(3)),
            ("\"negative_ic\"", 2, of(1)),
            ("\"pairwise_rank\"", 1, of(2)),
        ] {
            assert!(read(loss).unwrap().check_output(units, &targets).is_err(), "{loss}");
        }
    }
}
