//! A window that slides over the steps of a sequence: what convolution and pooling share.

use burn::tensor::{Tensor, s};
use serde::{Deserialize, Serialize};

/// What lies beyond the ends of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// Nothing: the window stays inside.
    #[default]
    Valid,
    /// As much at both ends (one more at the later one) as gives one result for each step, or each stride.
    Same,
    /// As much before the first step as lets no result see a later step.
    Causal,
}

impl Padding {
    /// As operator graphs call it.
    pub(super) fn of_graph(self) -> artifact::graph::Padding {
        match self {
            Self::Valid => artifact::graph::Padding::Valid,
            Self::Same => artifact::graph::Padding::Same,
            Self::Causal => artifact::graph::Padding::Causal,
        }
    }
}

/// A window that slides over steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// How many places it has.
    pub(super) size: usize,
    /// Steps from one place to the next.
    pub(super) dilation: usize,
    /// Steps from one position to the next.
    pub(super) strides: usize,
    pub(super) padding: Padding,
}

impl Window {
    /// Steps from its first place to its last, both counted.
    fn extent(&self) -> usize {
        (self.size - 1) * self.dilation + 1
    }

    /// How many positions it has over a sequence of `steps`.
    ///
    /// # Errors
    /// If it is longer than the sequence.
    pub(super) fn positions(&self, steps: usize) -> Result<usize, String> {
        let extent = self.extent();
        match self.padding {
            Padding::Same | Padding::Causal => Ok(steps.div_ceil(self.strides)),
            Padding::Valid if steps >= extent => Ok((steps - extent) / self.strides + 1),
            Padding::Valid => Err(format!(
                "its window spans {extent} steps, its input has {steps}; make it smaller or set padding = \"same\""
            )),
        }
    }

    /// Places before the first step and after the last one, by TensorFlow's arithmetic.
    pub(super) fn pads(&self, steps: usize) -> [usize; 2] {
        let extent = self.extent();
        match self.padding {
            Padding::Valid => [0, 0],
            Padding::Causal => [extent - 1, 0],
            Padding::Same => {
                let spanned = (steps.div_ceil(self.strides) - 1) * self.strides + extent;
                let missing = spanned.saturating_sub(steps);
                [missing / 2, missing - missing / 2]
            }
        }
    }

    /// For each place of the window what lies there, `[batch, positions, channels]`, `beyond` at both ends.
    pub(super) fn places(&self, x: Tensor<3>, beyond: f32) -> Vec<Tensor<3>> {
        let [batch, steps, channels] = x.dims();
        let [before, after] = self.pads(steps);
        let end = |length: usize| Tensor::full([batch, length, channels], beyond, &x.device());
        let mut parts = Vec::with_capacity(3);
        parts.extend((before > 0).then(|| end(before)));
        let ends = (after > 0).then(|| end(after));
        parts.push(x);
        parts.extend(ends);
        let padded = if parts.len() > 1 { Tensor::cat(parts, 1) } else { parts.swap_remove(0) };
        let positions = (steps + before + after - self.extent()) / self.strides + 1;
        let reach = (positions - 1) * self.strides + 1;
        let place = |at: usize| {
            let first = at * self.dilation;
            padded.clone().slice(s![.., first..first + reach; self.strides as isize, ..])
        };
        (0..self.size).map(place).collect()
    }
}
