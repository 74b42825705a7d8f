//! Recognises the loops that Keras writes for recurrent layers.

use super::convert::Converter;
use super::target::Step;
use super::value::Value;

/// The results of the loop as one operator, if its cell is known.
pub(super) fn convert(_: &mut Converter, _: [&str; 2], _: &[Value]) -> Step<Option<Vec<Value>>> {
    Ok(None)
}
