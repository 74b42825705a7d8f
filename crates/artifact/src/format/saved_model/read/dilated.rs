//! Dilated convolutions that TensorFlow writes as three operators: space is spread over the batch, convolved, and put
//! together again. Beside what each of them becomes by itself, the dilated convolution of the original is made, and
//! taken where the three are complete; the rest is left out because nothing needs it.

use std::collections::HashMap;
use std::rc::Rc;

use super::dim::Dim;
use super::target::{Span, Step, Target};
use super::value::{Content, Traced};

/// What values of the graph stand for, by their names.
#[derive(Debug, Default)]
pub(super) struct Dilated {
    values: HashMap<Rc<str>, Meaning>,
}

/// What a value with space in its batch stands for.
#[derive(Debug, Clone)]
pub(super) struct Meaning {
    /// The same with space where it belongs: padded, and convolved if `convolved`.
    pub whole: Traced,
    /// How far apart neighbours of each axis behind the batch are.
    pub blocks: Vec<i64>,
    pub convolved: bool,
}

impl Dilated {
    pub(super) fn remember(&mut self, value: &Traced, meaning: Meaning) {
        if let Content::Computed(name) = &value.content {
            self.values.insert(Rc::clone(name), meaning);
        }
    }

    pub(super) fn meaning(&self, value: &Traced) -> Option<&Meaning> {
        match &value.content {
            Content::Computed(name) => self.values.get(name),
            _ => None,
        }
    }

    /// The meaning of a value that got an axis of one element.
    pub(super) fn unsqueezed(
        &self,
        target: &mut Target,
        value: &Traced,
        axis: usize,
    ) -> Step<Option<Meaning>> {
        let Some(meaning) = self.meaning(value).filter(|meaning| (1..=meaning.blocks.len()).contains(&axis))
        else {
            return Ok(None);
        };
        let mut blocks = meaning.blocks.clone();
        blocks.insert(axis - 1, 1);
        let whole = target.unsqueeze(&meaning.whole, &[axis])?;
        Ok(Some(Meaning { whole, blocks, convolved: meaning.convolved }))
    }

    /// The meaning of a value that lost axes of one element.
    pub(super) fn squeezed(
        &self,
        target: &mut Target,
        value: &Traced,
        axes: &[usize],
    ) -> Step<Option<Meaning>> {
        let Some(meaning) = self.meaning(value) else { return Ok(None) };
        let [axis] = axes else { return Ok(None) };
        if !(1..=meaning.blocks.len()).contains(axis) || meaning.blocks[axis - 1] != 1 {
            return Ok(None);
        }
        let mut blocks = meaning.blocks.clone();
        blocks.remove(axis - 1);
        let whole = target.squeeze(&meaning.whole, axes)?;
        Ok(Some(Meaning { whole, blocks, convolved: meaning.convolved }))
    }

    /// What is put together of a convolved value with these blocks, without the crops at both ends.
    pub(super) fn together(
        &self,
        target: &mut Target,
        value: &Traced,
        blocks: &[i64],
        crops: &[[i64; 2]],
    ) -> Step<Option<Traced>> {
        let fits = |meaning: &&Meaning| meaning.convolved && meaning.blocks == blocks;
        let Some(meaning) = self.meaning(value).filter(fits) else { return Ok(None) };
        target.slice(&meaning.whole, &crop_spans(crops)).map(Some)
    }
}

/// All but the crops at both ends of the axes behind the batch.
pub(super) fn crop_spans(crops: &[[i64; 2]]) -> Vec<(usize, Span)> {
    let span = |[before, after]: &[i64; 2]| Span {
        start: Some(Dim::fixed(*before)),
        end: (*after > 0).then(|| Dim::fixed(-after)),
        step: 1,
    };
    crops.iter().enumerate().map(|(at, crop)| (at + 1, span(crop))).collect()
}
