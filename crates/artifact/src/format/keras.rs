//! Reads what Keras 3 saves as `.keras`, without Keras, and converts it to ONNX: `config.json` says which layers there are and
//! how they are connected, `model.weights.h5` holds their numbers. A file holds no graph, so each layer is computed here as
//! Keras computes it; what is not among `layers` and `operations` is refused. No code of the file is ever run: custom layers
//! and functions, which are Python, are refused with the reason.

mod config;
mod convert;
mod hdf5;
mod layers;
mod network;
mod operations;
mod recurrent;
mod weights;

use std::path::Path;

use serde_json::Value;

use self::convert::Converter;
use self::weights::Weights;
use crate::Error;
use crate::format::files;
use crate::import::ImportedModel;

/// The file that describes the network.
pub const CONFIG: &str = "config.json";
/// The file that holds its weights.
pub const WEIGHTS: &str = "model.weights.h5";
/// The largest `config.json`; one of a network of 1,000 layers has about 1 MiB.
const CONFIG_BYTES: u64 = 64 << 20;
/// The largest file of weights.
const WEIGHTS_BYTES: u64 = crate::bundle::MAX_BUNDLE_BYTES;

/// A model as Keras saved it.
#[derive(Debug)]
pub struct KerasSource {
    config: Value,
    weights: Weights,
}

impl KerasSource {
    /// Reads the two files of an unpacked `.keras` file.
    ///
    /// # Errors
    /// [`Error::Import`] or [`Error::TooLarge`] if the files are none, damaged, or beyond the limits, [`Error::Io`] if they
    /// cannot be read.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let config = files::read(&directory.join(CONFIG), CONFIG_BYTES)?;
        let weights = files::read(&directory.join(WEIGHTS), WEIGHTS_BYTES)?;
        Self::parse(&config, weights)
    }

    /// The same of their contents.
    ///
    /// # Errors
    /// [`Error::Import`] if they are damaged.
    pub fn parse(config: &[u8], weights: Vec<u8>) -> Result<Self, Error> {
        let refuse = |place: &str, reason: String| Error::Import { place: place.to_owned(), reason };
        let config = serde_json::from_slice(config)
            .map_err(|error| refuse(CONFIG, format!("it is no description of a network: {error}")))?;
        let weights = Weights::parse(weights).map_err(|reason| refuse(WEIGHTS, reason))?;
        Ok(Self { config, weights })
    }

    /// Converts the network.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with every layer that stands in the way; [`Error::Import`] if the description is damaged.
    pub fn convert(&self) -> Result<ImportedModel, Error> {
        Converter::new(&self.weights).model(&self.config)
    }
}

/// Whether bytes are the begin of an HDF5 file.
pub(crate) fn is_hdf5(begin: &[u8]) -> bool {
    hdf5::recognised(begin)
}
