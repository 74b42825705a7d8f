//! What a model computes around its trees, on rten.

use predictor::{PredictError, Predictor, Tensor, TensorData};
use prost::Message;

use super::ensemble::Scored;
use super::finish;
use super::plan::{Draft, Feed};
use crate::Error;
use crate::engine::rten::RtenPredictor;

/// A part of the model, loaded into rten.
pub(super) struct Stage {
    engine: RtenPredictor,
    feeds: Vec<Feed>,
}

impl Stage {
    pub(super) fn load(draft: Draft, threads: usize) -> Result<Self, Error> {
        let engine = RtenPredictor::load(draft.model.encode_to_vec(), &draft.signature, threads)?;
        Ok(Self { engine, feeds: draft.feeds })
    }

    pub(super) fn run(&self, inputs: &[Tensor], scored: &[Scored]) -> Result<Vec<Tensor>, PredictError> {
        let feed = |feed: &Feed| match feed {
            Feed::Input(at) => inputs[*at].clone(),
            Feed::Scores(ensemble) => finish::scores(&scored[*ensemble], &[]),
            Feed::Labels(ensemble) => {
                let labels = scored[*ensemble].labels.clone();
                Tensor::new(vec![labels.len()], TensorData::Int64(labels)).expect("the shape is the count")
            }
        };
        self.engine.predict(self.feeds.iter().map(feed).collect())
    }
}
