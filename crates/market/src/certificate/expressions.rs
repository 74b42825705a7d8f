//! Features of expressions that may look ahead: what a certificate checks when it is handed a leak.

use crate::feature::{cells, check_fields};
use crate::periods::SEPARATOR;
use crate::{Error, Expression, Panel, Result, Universe};

/// Named expressions at every cell of a panel, computed by the kernels of training and serving, but without the
/// refusal of expressions that read later bars.
///
/// # Errors
/// [`Error::Expression`] for one that does not parse, [`Error::Feature`] for a field the panel lacks.
pub fn unchecked_features(
    panel: &Panel,
    universe: &Universe,
    features: &[(String, String)],
) -> Result<Vec<Vec<f32>>> {
    let parsed: Vec<Expression> =
        features.iter().map(|(_, text)| Expression::parse(text)).collect::<Result<_>>()?;
    for ((name, _), expression) in features.iter().zip(&parsed) {
        check_fields(expression, panel)
            .map_err(|reason| Error::Feature(format!("feature \"{name}\" {reason}")))?;
    }
    let columns = cells(panel, universe, &parsed.iter().collect::<Vec<_>>())?;
    Ok(columns.into_iter().map(|column| column.into_iter().map(|value| value as f32).collect()).collect())
}

/// The fields that named expressions read beside those given, each with the names of those that read it.
///
/// # Errors
/// [`Error::Expression`] for one that does not parse.
pub fn fields_beside(known: &[&str], features: &[(String, String)]) -> Result<Vec<(String, Vec<String>)>> {
    let mut readers: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
    for (name, text) in features {
        for field in Expression::parse(text)?.fields() {
            // A period of a published value is as good as the value.
            let base = field.split(SEPARATOR).next().unwrap_or_default();
            if !known.contains(&base) {
                readers.entry(base.to_owned()).or_default().push(name.clone());
            }
        }
    }
    Ok(readers.into_iter().collect())
}
