//! Served equals trained: at deployment the newest training rows are computed again by the serving path.

use artifact::bundle::Manifest;
use market::{FeatureSet, RowKey};

use crate::{Error, Kind, Platform, Result};

impl Platform {
    /// Recomputes the features of the bundle's golden rows from the data set as answers by symbol do, and
    /// compares them bit for bit with what training saw. Says in words what was shown.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`] naming the first feature that differs.
    pub(crate) async fn replay(&self, manifest: &Manifest, set: &FeatureSet) -> Result<String> {
        let name = manifest.dataset["name"].as_str().unwrap_or_default();
        let number = manifest.dataset["snapshot"].as_u64().and_then(|n| u32::try_from(n).ok());
        let dataset = match self.load_dataset(name, number).await {
            Ok(dataset) => dataset,
            Err(error) if error.kind() == Kind::NotFound => {
                return Ok(format!("not replayed: the data set \"{name}\" is not in this data directory"));
            }
            Err(error) => return Err(error),
        };
        if Some(dataset.snapshot.digest.as_str()) != manifest.dataset["digest"].as_str() {
            return Ok(format!(
                "not replayed: data set \"{name}\" here is not the one the model was trained on"
            ));
        }
        let panel = &dataset.panel;
        let universe = crate::predict::universe(manifest, set, panel);
        for (row, raw) in manifest.golden.rows.iter().zip(&manifest.golden.inputs) {
            let instrument = panel.instrument_index(&row.symbol);
            let date = row.date.parse().ok().and_then(|date| panel.date_index(date));
            let (Some(instrument), Some(date)) = (instrument, date) else {
                return Err(differs(&row.symbol, &row.date, "it is not in the data set"));
            };
            let served = market::latest(panel, set, &universe, RowKey { date, instrument })?;
            for ((served, trained), feature) in served.iter().zip(raw).zip(set.names()) {
                // Which NaN it is does not matter: JSON keeps one.
                let same = trained.to_bits() == served.to_bits() || trained.is_nan() && served.is_nan();
                if !same {
                    let why = format!("{feature} is {served} when served, {trained} when trained");
                    return Err(differs(&row.symbol, &row.date, &why));
                }
            }
        }
        Ok(format!(
            "{} rows x {} features replayed: difference 0",
            manifest.golden.rows.len(),
            set.names().len()
        ))
    }
}

fn differs(symbol: &str, date: &str, why: &str) -> Error {
    Error::new(
        Kind::FailedPrecondition,
        format!(
            "serving would not give what training gave: {symbol} on {date}: {why}; train again with this build"
        ),
    )
}
