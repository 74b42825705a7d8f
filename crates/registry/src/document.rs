//! JSON documents inside the registry: how large they may be, and to and from text.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// The most bytes a document may have as text: 1 MiB.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// The text of a document.
pub(crate) fn to_text<T: Serialize>(field: &'static str, document: &T) -> Result<String> {
    let text = serde_json::to_string(document)
        .map_err(|error| Error::invalid(field, format!("{field} cannot be written as JSON: {error}")))?;
    if text.len() <= DOCUMENT_BYTES_MAX {
        return Ok(text);
    }
    let message = format!("{field} has {} bytes as JSON, more than {DOCUMENT_BYTES_MAX}", text.len());
    Err(Error::invalid(field, message))
}

/// A document from its stored text.
pub(crate) fn from_text<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(Error::unreadable)
}
