//! What is asked of each output of a network: its loss, its metrics, and which numbers of a row are its targets.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::activation::Activation;
use crate::batch::{Batch, Targets};
use crate::config::{LossConfig, MetricsConfig, config};
use crate::loss::{Loss, LossValue};
use crate::metric::{Meter, Metric};
use crate::network::Network;
use crate::sample::Samples;
use crate::{Error, FitConfig};

/// What is asked of an output.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// Before its figures in reports; empty if it is the only output.
    pub(super) prefix: String,
    pub(super) units: usize,
    pub(super) loss: Loss,
    pub(super) weight: f64,
    pub(super) metrics: Vec<Metric>,
    /// The last activation, if the loss takes it off.
    pub(super) taken_off: Option<Activation>,
    targets: Which,
}

/// Which of a row's targets are those of an output.
#[derive(Debug, Clone)]
enum Which {
    Classes,
    Values(Range<usize>),
}

/// Targets of some rows, gathered.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    classes: Vec<u32>,
    values: Vec<f32>,
    width: usize,
    is_classes: bool,
}

impl Gathered {
    pub(super) fn targets(&self) -> Targets<'_> {
        if self.is_classes {
            Targets::Classes(&self.classes)
        } else {
            Targets::Values { values: &self.values, width: self.width }
        }
    }
}

impl Head {
    /// The outputs of a network under a configuration, checked against the rows of both sets.
    pub(super) fn all(
        network: &Network,
        fit: &FitConfig,
        train: &Samples<'_>,
        valid: Option<&Samples<'_>>,
    ) -> Result<Vec<Self>, Error> {
        let single = network.outputs.len() == 1;
        check_names(network, fit)?;
        let mut heads = Vec::with_capacity(network.outputs.len());
        let mut next_value = 0;
        for head in &network.outputs {
            let loss = match &fit.loss {
                LossConfig::All(loss) => loss.clone(),
                LossConfig::Outputs(losses) => losses[&head.name].clone(),
            };
            let metrics = match &fit.metrics {
                MetricsConfig::All(metrics) => metrics.clone(),
                MetricsConfig::Outputs(metrics) => metrics.get(&head.name).cloned().unwrap_or_default(),
            };
            let taken_off = loss.link().filter(|link| *link == head.activation());
            let targets = which(&loss, head.units, train, &mut next_value)?;
            let built = Self {
                prefix: if single { String::new() } else { format!("{}_", head.name) },
                units: head.units,
                loss,
                weight: fit.loss_weights.get(&head.name).copied().unwrap_or(1.0),
                metrics,
                taken_off,
                targets,
            };
            built.check("training", train)?;
            if let Some(valid) = valid {
                built.check("validation", valid)?;
            }
            heads.push(built);
        }
        Ok(heads)
    }

    fn check(&self, set: &'static str, samples: &Samples<'_>) -> Result<(), Error> {
        let missing = |what: String, needs, way_out| Error::Missing { what, needs, set, way_out };
        if samples.groups.is_none() {
            let by_date = self.metrics.iter().find(|metric| metric.needs_groups()).map(Metric::name);
            let what = if self.loss.needs_groups() {
                Some(format!("loss \"{}\"", self.loss.name()))
            } else {
                by_date.map(|name| format!("metric \"{name}\""))
            };
            if let Some(what) = what {
                return Err(missing(what, "the date of each row", "name the column that has it"));
            }
        }
        let whole = self.of(samples).ok_or_else(|| {
            let needs = if matches!(self.targets, Which::Classes) { "classes" } else { "numbers" };
            let way_out = "use a loss for what the label is";
            missing(format!("loss \"{}\"", self.loss.name()), needs, way_out)
        })?;
        self.loss.check_output(self.units, &whole.targets())?;
        if let Targets::Classes(_) = whole.targets() {
            samples.check_classes(set, self.units.max(2))?;
        }
        for metric in &self.metrics {
            metric.check_output(self.units, &whole.targets())?;
        }
        Ok(())
    }

    /// The targets of all rows; none if the rows have no such.
    pub(super) fn of(&self, samples: &Samples<'_>) -> Option<Gathered> {
        let all: Vec<u32> = (0..samples.rows() as u32).collect();
        let mut gathered = Gathered::default();
        self.gather(samples, &all, &mut gathered).then_some(gathered)
    }

    /// Puts the targets of some rows into `gathered`; false if the rows have no such.
    pub(super) fn gather(&self, samples: &Samples<'_>, rows: &[u32], gathered: &mut Gathered) -> bool {
        match &self.targets {
            Which::Classes => {
                let Some(classes) = samples.classes else { return false };
                gathered.is_classes = true;
                gathered.classes.clear();
                gathered.classes.extend(rows.iter().map(|&row| classes[row as usize]));
            }
            Which::Values(columns) => {
                let Some((values, width)) = samples.values else { return false };
                gathered.width = columns.len();
                gathered.values.clear();
                for &row in rows {
                    let row = &values[row as usize * width..(row as usize + 1) * width];
                    gathered.values.extend_from_slice(&row[columns.clone()]);
                }
            }
        }
        true
    }

    /// Loss of outputs, and its gradient, by `weight` of this output.
    pub(super) fn evaluate(&self, batch: &Batch<'_>, gradient: Option<&mut [f32]>) -> LossValue {
        let Some(gradient) = gradient else { return self.loss.evaluate(batch, None) };
        let value = self.loss.evaluate(batch, Some(gradient));
        if self.weight != 1.0 {
            gradient.iter_mut().for_each(|g| *g *= self.weight as f32);
        }
        value
    }

    pub(super) fn meters(&self) -> Vec<Meter> {
        self.metrics.iter().map(Metric::meter).collect()
    }

    /// What meters say beside their figures, under the same names.
    pub(super) fn details(&self, meters: &[Meter]) -> Vec<(String, serde_json::Value)> {
        let named = self.metrics.iter().zip(meters);
        let of = |(metric, meter): (&Metric, &Meter)| {
            Some((format!("{}{}", self.prefix, metric.name()), meter.details()?))
        };
        named.filter_map(of).collect()
    }

    /// The results of meters under their names, those that are defined.
    pub(super) fn results<'a>(&'a self, meters: &'a [Meter]) -> impl Iterator<Item = (String, f64)> + 'a {
        let named = self.metrics.iter().zip(meters);
        named
            .map(move |(metric, meter)| (format!("{}{}", self.prefix, metric.name()), meter.result()))
            .filter(|(_, result)| result.is_finite())
    }
}

/// Which targets a loss takes: classes if it is one of classes and rows have them, else the numbers, of which
/// each output takes its own in order if there are as many as all together need.
fn which(loss: &Loss, units: usize, samples: &Samples<'_>, next: &mut usize) -> Result<Which, Error> {
    if loss.link().is_some() && samples.classes.is_some() {
        return Ok(Which::Classes);
    }
    let Some((_, width)) = samples.values else {
        return Ok(if loss.link().is_some() { Which::Classes } else { Which::Values(0..units) });
    };
    let own =
        if matches!(loss, Loss::Quantile(_) | Loss::PairwiseRank(_) | Loss::NegativeIc) { 1 } else { units };
    if width == own || *next + own > width {
        return Ok(Which::Values(0..width));
    }
    let first = *next;
    *next += own;
    Ok(Which::Values(first..first + own))
}

/// Losses, weights and metrics by output must name outputs, and each output needs a loss.
fn check_names(network: &Network, fit: &FitConfig) -> Result<(), Error> {
    let known: Vec<&str> = network.outputs.iter().map(|head| head.name.as_str()).collect();
    let mut named: BTreeMap<&str, &str> = BTreeMap::new();
    if let LossConfig::Outputs(losses) = &fit.loss {
        named.extend(losses.keys().map(|name| (name.as_str(), "fit.loss")));
        if let Some(without) = known.iter().find(|name| !losses.contains_key(**name)) {
            return Err(config("fit.loss", &format!("without \"{without}\""), "give each output a loss"));
        }
    }
    named.extend(fit.loss_weights.keys().map(|name| (name.as_str(), "fit.loss_weights")));
    if let MetricsConfig::Outputs(metrics) = &fit.metrics {
        named.extend(metrics.keys().map(|name| (name.as_str(), "fit.metrics")));
    }
    match named.into_iter().find(|(name, _)| !known.contains(name)) {
        Some((name, key)) => {
            let way_out = format!("it must name an output: {}", known.join(", "));
            Err(config(format!("{key}.{name}"), &"no output", way_out))
        }
        None => Ok(()),
    }
}
