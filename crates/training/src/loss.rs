//! What training makes small.

use burn::tensor::{Int, Tensor, activation};
use serde::{Deserialize, Serialize};

use crate::metric::Tally;
use crate::name::{self, Kind};

/// What training makes small, under Keras's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Loss {
    /// `-ln p(class)`, the mean over the rows of a batch.
    SparseCategoricalCrossentropy,
}

const KNOWN: &[(&str, Loss)] = &[("sparse_categorical_crossentropy", Loss::SparseCategoricalCrossentropy)];

impl TryFrom<String> for Loss {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        name::find(Kind { one: "loss", all: "losses" }, &text, KNOWN)
    }
}

impl From<Loss> for &'static str {
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::SparseCategoricalCrossentropy => "sparse_categorical_crossentropy",
        }
    }
}

impl Loss {
    /// The loss of a batch, to differentiate: `logits` are `[rows, classes]` before the softmax, so that it is
    /// exact for probabilities next to 0.
    pub(crate) fn forward(self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        match self {
            Self::SparseCategoricalCrossentropy => {
                let of_label = activation::log_softmax(logits, 1).gather(1, labels.unsqueeze_dim(1));
                of_label.mean().neg()
            }
        }
    }

    /// Loss and hits of rows by their logits, summed in double precision.
    pub(crate) fn tally(self, logits: &[f32], labels: &[u32], classes: usize) -> Tally {
        let mut tally = Tally { rows: labels.len(), ..Tally::default() };
        for (row, &label) in logits.chunks_exact(classes).zip(labels) {
            let (mut best, mut peak) = (0, f32::NEG_INFINITY);
            for (class, &logit) in row.iter().enumerate() {
                if logit > peak {
                    (best, peak) = (class, logit);
                }
            }
            let sum: f32 = row.iter().map(|logit| (logit - peak).exp()).sum();
            tally.loss += f64::from(sum.ln()) - f64::from(row[label as usize] - peak);
            tally.correct += usize::from(best == label as usize);
        }
        tally
    }
}
