//! What each layer of Keras becomes. A new layer is one function and one line in the table of its file.

mod activation;
mod attention;
mod convolution;
mod core;
mod encoding;
mod merging;
mod normalization;
mod pooling;
mod recurrent;
mod shape;
mod wrapper;

pub(super) use self::activation::apply as activation;
pub(super) use self::merging::alike;
pub(super) use self::shape::{repeated, reshaped};

use super::convert::{Converter, Inputs, Layer};
use crate::format::traced::target::Step;
use crate::format::traced::tensor::Traced;

/// Converts a call of a layer.
pub(super) type Convert = fn(&mut Converter<'_>, &Layer<'_>, &Inputs) -> Step<Vec<Traced>>;

/// A class, its conversion, and what may be given to a call by name.
pub(super) type Entry = (&'static str, Convert, &'static [&'static str]);

/// The conversion of a class, if there is one.
pub(super) fn converter(class: &str) -> Option<(Convert, &'static [&'static str])> {
    let tables: [&[Entry]; 11] = [
        core::TABLE,
        activation::TABLE,
        normalization::TABLE,
        convolution::TABLE,
        pooling::TABLE,
        recurrent::TABLE,
        wrapper::TABLE,
        shape::TABLE,
        merging::TABLE,
        attention::TABLE,
        encoding::TABLE,
    ];
    find(&tables, class)
}

/// What a layer makes of a mask of its input: which steps count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Masks {
    /// It computes as without one, and its result has the same.
    Kept,
    /// It looks after masks itself.
    Used,
    /// Nobody has looked what it makes of one.
    Unknown,
}

/// What the layers of a class make of masks, as Keras 3 does.
pub(super) fn masks(class: &str) -> Masks {
    match class {
        "Activation"
        | "ActivityRegularization"
        | "AlphaDropout"
        | "BatchNormalization"
        | "Dense"
        | "Dropout"
        | "ELU"
        | "GaussianDropout"
        | "GaussianNoise"
        | "Identity"
        | "LayerNormalization"
        | "LeakyReLU"
        | "ReLU"
        | "SpatialDropout1D" => Masks::Kept,
        "Bidirectional"
        | "Embedding"
        | "Functional"
        | "GlobalAveragePooling1D"
        | "GRU"
        | "LSTM"
        | "Masking"
        | "Model"
        | "Sequential"
        | "SimpleRNN" => Masks::Used,
        _ => Masks::Unknown,
    }
}

/// The entry of a class in some tables.
pub(super) fn find(tables: &[&[Entry]], class: &str) -> Option<(Convert, &'static [&'static str])> {
    let entry = tables.iter().flat_map(|table| table.iter()).find(|(name, _, _)| *name == class);
    entry.map(|(_, convert, taken)| (*convert, *taken))
}
