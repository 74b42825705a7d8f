//! What is varied: ranges of values, the combinations or draws of them, and a pipeline with such values in place.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use toml::Value;

use super::{Method, SearchSection};
use crate::pipeline::Pipeline;
use crate::{Error, Result};

/// The values of one field: a list, or an interval to draw from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Range {
    /// One of these.
    Choices(Vec<Value>),
    /// Any number between the two, each equally likely.
    Uniform {
        /// The ends.
        uniform: [f64; 2],
    },
    /// Any number between the two, each order of magnitude equally likely.
    LogUniform {
        /// The ends, above 0.
        log_uniform: [f64; 2],
    },
    /// Any whole number from the first to the last.
    Integer {
        /// The ends.
        integer: [i64; 2],
    },
}

/// Values of the fields that are varied, by their keys.
pub(super) type Parameters = BTreeMap<String, Value>;

impl Range {
    pub(super) fn choices(&self) -> usize {
        match self {
            Self::Choices(values) => values.len(),
            _ => 0,
        }
    }

    pub(super) fn check(&self, path: &str, method: Method) -> Result<()> {
        let refuse =
            |reason: &str| Err(Error::invalid("search.space", format!("search.space.\"{path}\" {reason}")));
        match self {
            Self::Choices(values) if values.is_empty() => refuse("is an empty list; give at least one value"),
            Self::Choices(_) => Ok(()),
            _ if method == Method::Grid => refuse("is an interval; a grid needs a list of values"),
            Self::Uniform { uniform: [from, to] } if !(from.is_finite() && to.is_finite() && from < to) => {
                refuse("must go from a smaller to a larger finite number")
            }
            Self::LogUniform { log_uniform: [from, to] } if !(to.is_finite() && 0.0 < *from && from < to) => {
                refuse("must go from a number above 0 to a larger finite one")
            }
            Self::Integer { integer: [from, to] } if from >= to => {
                refuse("must go from a smaller to a larger whole number")
            }
            _ => Ok(()),
        }
    }

    fn draw(&self, random: &mut ChaCha8Rng) -> Value {
        let unit = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        match self {
            Self::Choices(values) => {
                values[((unit * values.len() as f64) as usize).min(values.len() - 1)].clone()
            }
            Self::Uniform { uniform: [from, to] } => Value::Float(from + unit * (to - from)),
            Self::LogUniform { log_uniform: [from, to] } => {
                Value::Float((from.ln() + unit * (to.ln() - from.ln())).exp().clamp(*from, *to))
            }
            Self::Integer { integer: [from, to] } => {
                let count = to.abs_diff(*from) as f64 + 1.0;
                Value::Integer(from.saturating_add((unit * count) as i64).min(*to))
            }
        }
    }
}

impl SearchSection {
    /// The trials, in the order they are made; the same seed draws the same.
    pub(super) fn candidates(&self) -> Vec<Parameters> {
        match self.method {
            Method::Grid => self.grid(),
            Method::Random | Method::Halving => {
                let mut random = ChaCha8Rng::seed_from_u64(self.seed);
                let draw = |_| {
                    let fields = self.space.iter();
                    fields.map(|(path, range)| (path.clone(), range.draw(&mut random))).collect()
                };
                (0..self.trials).map(draw).collect()
            }
        }
    }

    fn grid(&self) -> Vec<Parameters> {
        let mut all = vec![Parameters::new()];
        for (path, range) in &self.space {
            let Range::Choices(values) = range else { continue };
            let with = |so_far: &Parameters| {
                let so_far = so_far.clone();
                values.iter().map(move |value| {
                    let mut more = so_far.clone();
                    more.insert(path.clone(), value.clone());
                    more
                })
            };
            all = all.iter().flat_map(with).collect();
        }
        all
    }
}

/// The pipeline with such values in place, and without its search.
pub(super) fn with(pipeline: &Pipeline, parameters: &Parameters, epochs: Option<usize>) -> Result<Pipeline> {
    let mut table: toml::Table =
        pipeline.text().parse().map_err(|error| Error::internal("a pipeline that was read before", error))?;
    table.remove("search");
    for (path, value) in parameters {
        set(&mut table, path, value)
            .map_err(|reason| Error::invalid("search.space", format!("search.space.\"{path}\" {reason}")))?;
    }
    let mut whole = Value::Table(table);
    if let (Some(epochs), Some(fit)) = (epochs, whole.get_mut("fit").and_then(Value::as_table_mut)) {
        fit.insert("epochs".to_owned(), Value::Integer(epochs as i64));
    }
    let text =
        toml::to_string(&whole).map_err(|error| Error::internal("cannot write a trial's pipeline", error))?;
    let shown: Vec<String> = parameters.iter().map(|(path, value)| format!("{path} = {value}")).collect();
    Pipeline::parse(&text, &format!("trial with {}", shown.join(", ")))
}

/// Sets one field; what is on the way to it must be there, but for the last key.
fn set(table: &mut toml::Table, path: &str, value: &Value) -> std::result::Result<(), String> {
    let mut keys: Vec<&str> = path.split('.').collect();
    let last = keys.pop().filter(|key| !key.is_empty()).ok_or("is no field")?;
    let mut place = table;
    let mut rest = keys.into_iter();
    while let Some(key) = rest.next() {
        let found = place.entry(key).or_insert_with(|| Value::Table(toml::Table::new()));
        // `optimizer = "adam"` is short for `{ name = "adam" }`.
        if let Value::String(name) = found {
            *found = Value::Table(toml::Table::from_iter([("name".to_owned(), Value::String(name.clone()))]));
        }
        place = match found {
            Value::Table(inner) => inner,
            Value::Array(items) => {
                let index = rest.next().unwrap_or_default();
                let item = index.parse::<usize>().ok().and_then(|at| items.get_mut(at));
                let item =
                    item.ok_or_else(|| format!("asks for number \"{index}\" of {key}, which is not there"))?;
                item.as_table_mut()
                    .ok_or_else(|| format!("leads through {key}.{index}, which is no table"))?
            }
            _ => return Err(format!("leads through {key}, which is no table")),
        };
    }
    place.insert(last.to_owned(), value.clone());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> SearchSection {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_grid_is_every_combination_and_draws_are_the_seeds() {
        let grid = section("method = \"grid\"\n[space]\na = [1, 2, 3]\nb = [\"x\", \"y\"]");
        grid.check().unwrap();
        let all = grid.candidates();
        assert_eq!(all.len(), 6);
        assert!(all.iter().enumerate().all(|(at, one)| all[..at].iter().all(|other| other != one)));
        let text = "method = \"random\"\ntrials = 200\nseed = 4\n[space]\nu = { uniform = [-1, 1] }\n\
                    l = { log_uniform = [1e-4, 1e-1] }\ni = { integer = [3, 5] }\nc = [true, false]";
        let random = section(text);
        random.check().unwrap();
        let drawn = random.candidates();
        assert_eq!(drawn, section(text).candidates());
        assert_ne!(drawn, section(&text.replace("seed = 4", "seed = 5")).candidates());
        let small = drawn.iter().filter(|one| one["l"].as_float().unwrap() < 1e-3).count();
        // A third of the orders of magnitude; five standard deviations.
        assert!(small.abs_diff(67) < 34, "{small}");
        let whole: std::collections::BTreeSet<i64> =
            drawn.iter().map(|one| one["i"].as_integer().unwrap()).collect();
        assert_eq!(whole.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
        assert!(drawn.iter().all(|one| one["u"].as_float().unwrap().abs() <= 1.0));
    }

    #[test]
    fn any_field_of_the_file_can_be_set() {
        let pipeline = Pipeline::parse(crate::QUICKSTART_PIPELINE, "p.toml").unwrap();
        let parameters = Parameters::from([
            ("fit.optimizer.learning_rate".to_owned(), Value::Float(0.25)),
            ("model.layers.0.units".to_owned(), Value::Integer(7)),
            ("fit.early_stopping.patience".to_owned(), Value::Integer(2)),
        ]);
        let changed = with(&pipeline, &parameters, Some(3)).unwrap();
        assert_eq!((changed.fit.epochs, changed.fit.optimizer.learning_rate()), (3, 0.25));
        assert!(changed.text().contains("units = 7"), "{}", changed.text());
        assert_eq!(changed.fit.early_stopping.as_ref().unwrap().patience, 2);
        for (path, expected) in [
            ("model.layers.9.units", "asks for number \"9\" of layers, which is not there"),
            ("version.x", "leads through version, which is no table"),
            ("fit.epoch", "unknown key \"epoch\"; did you mean \"epochs\"?"),
        ] {
            let parameters = Parameters::from([(path.to_owned(), Value::Integer(1))]);
            let error = with(&pipeline, &parameters, None).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn ranges_that_cannot_be_are_named() {
        for (text, expected) in [
            ("method = \"grid\"\n[space]\na = { uniform = [0, 1] }", "a grid needs a list of values"),
            ("method = \"random\"\n[space]\na = { log_uniform = [0, 1] }", "a number above 0"),
            ("method = \"random\"\n[space]\na = { integer = [3, 3] }", "larger whole number"),
            ("method = \"grid\"\n[space]\na = []", "an empty list"),
            ("method = \"grid\"\n[space]", "search.space is empty"),
            ("method = \"random\"\nmonitor = \"loss\"\n[space]\na = [1]", "compared on validation rows"),
            ("method = \"random\"\nmonitor = \"val_luck\"\n[space]\na = [1]", "which is no figure of a fit"),
            ("method = \"random\"\ntrials = 0\n[space]\na = [1]", "the search has 0 trials"),
        ] {
            let error = section(text).check().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
