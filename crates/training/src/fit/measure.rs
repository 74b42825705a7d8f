//! Loss and metrics of a network on rows it is not fitted to: after every epoch, and Keras's `evaluate`.

use std::collections::BTreeMap;

use burn::tensor::Device;
use serde::Serialize;
use serde_json::Value;

use super::head::Head;
use super::run::total;
use crate::batch::Batch;
use crate::network::Network;
use crate::sample::Samples;
use crate::trained::{self, Trained, Weight};
use crate::{Error, FitConfig};

/// What rows say.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) loss: f64,
    /// Those that are defined.
    pub(super) metrics: Vec<(String, f64)>,
    /// What some say beside their figure: the table of a confusion matrix, the t-statistic of an IC.
    pub(super) details: BTreeMap<String, Value>,
}

/// What [`Trained::evaluate`] found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluated {
    /// `loss` and every metric that is defined, by Keras's names.
    pub figures: BTreeMap<String, f64>,
    /// What some metrics say beside their figure.
    pub details: BTreeMap<String, Value>,
}

/// Measures all rows at once, so that dates are whole.
pub(super) fn measure(
    network: &Network,
    weights: &[Weight],
    heads: &[Head],
    samples: &Samples<'_>,
    device: &Device,
) -> Measured {
    let take_off: Vec<bool> = heads.iter().map(|head| head.taken_off.is_some()).collect();
    let outputs = trained::outputs(network, weights, samples.features, device, &take_off);
    let (mut losses, mut metrics, mut details) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (head, outputs) in heads.iter().zip(&outputs) {
        let gathered = head.of(samples).expect("these rows were checked to have the targets of every output");
        let batch = Batch {
            outputs,
            units: head.units,
            logits: head.taken_off.is_some(),
            targets: gathered.targets(),
            weights: samples.weights,
            groups: samples.groups,
        };
        losses.push(head.evaluate(&batch, None));
        let mut meters = head.meters();
        meters.iter_mut().for_each(|meter| meter.update(&batch));
        metrics.extend(head.results(&meters));
        details.extend(head.details(&meters));
    }
    Measured { loss: total(heads, &losses), metrics, details }
}

impl Trained {
    /// `loss` and the metrics of a configuration on rows of processed features; what is not defined is absent.
    ///
    /// # Errors
    /// An error naming row and column for samples that cannot be measured; [`Error::Missing`] if they lack what loss or
    /// metrics need.
    pub fn evaluate(&self, config: &FitConfig, samples: Samples<'_>) -> Result<Evaluated, Error> {
        config.check()?;
        samples.check("test", self.names())?;
        let heads = Head::all(self.network(), config, &samples, None)?;
        let measured = measure(self.network(), self.weights(), &heads, &samples, &Device::flex());
        let figures = measured.metrics.into_iter().chain([("loss".to_owned(), measured.loss)]).collect();
        Ok(Evaluated { figures, details: measured.details })
    }
}
