//! Numbers in JSON that may be NaN or infinite: finite ones as numbers, which come back to the bit, the others as
//! the texts `"nan"`, `"inf"` and `"-inf"`. For `#[serde(with = "...")]`.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number, in either form.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Finite(f64),
    Other(String),
}

impl From<f64> for Stored {
    fn from(value: f64) -> Self {
        match value {
            _ if value.is_finite() => Self::Finite(value),
            _ if value.is_nan() => Self::Other("nan".to_owned()),
            _ if value > 0.0 => Self::Other("inf".to_owned()),
            _ => Self::Other("-inf".to_owned()),
        }
    }
}

impl Stored {
    fn value<E: serde::de::Error>(self) -> Result<f64, E> {
        match self {
            Self::Finite(value) => Ok(value),
            Self::Other(text) => match text.as_str() {
                "nan" => Ok(f64::NAN),
                "inf" => Ok(f64::INFINITY),
                "-inf" => Ok(f64::NEG_INFINITY),
                _ => Err(E::custom(format!("\"{text}\" is no number, \"nan\", \"inf\" or \"-inf\""))),
            },
        }
    }
}

/// Writes one number.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    Stored::from(*value).serialize(serializer)
}

/// Reads one number.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Stored::deserialize(deserializer)?.value()
}

/// A number that may be missing.
pub mod option {
    use super::*;

    /// Writes it.
    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Stored::from).serialize(serializer)
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Option::<Stored>::deserialize(deserializer)?.map(Stored::value).transpose()
    }
}

/// Numbers by name.
pub mod map {
    use super::*;

    /// Writes them.
    pub fn serialize<S: Serializer>(
        values: &BTreeMap<String, f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(values.iter().map(|(name, &value)| (name, Stored::from(value))))
    }

    /// Reads them.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, f64>, D::Error> {
        let stored = BTreeMap::<String, Stored>::deserialize(deserializer)?;
        stored
            .into_iter()
            .map(|(name, value)| Ok((name, value.value().map_err(D::Error::custom::<D::Error>)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Report {
        #[serde(with = "super")]
        loss: f64,
        #[serde(with = "super::option")]
        val_loss: Option<f64>,
        #[serde(with = "super::map")]
        metrics: BTreeMap<String, f64>,
    }

    #[test]
    fn what_json_lacks_comes_back() {
        let metrics = [("ic", f64::NAN), ("mae", 0.1), ("mse", f64::INFINITY)];
        let report = Report {
            loss: f64::NEG_INFINITY,
            val_loss: Some(f64::NAN),
            metrics: metrics.map(|(name, value)| (name.to_owned(), value)).into(),
        };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(text, r#"{"loss":"-inf","val_loss":"nan","metrics":{"ic":"nan","mae":0.1,"mse":"inf"}}"#);
        let read: Report = serde_json::from_value(serde_json::to_value(&report).unwrap()).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert!(read.metrics["ic"].is_nan() && read.val_loss.unwrap().is_nan());
        let without: Report = serde_json::from_str(r#"{"loss":3,"val_loss":null,"metrics":{}}"#).unwrap();
        assert_eq!((without.loss, without.val_loss), (3.0, None));
        let error = serde_json::from_str::<Report>(r#"{"loss":"many","val_loss":null,"metrics":{}}"#);
        assert!(error.unwrap_err().to_string().starts_with("\"many\" is no number"));
    }
}
