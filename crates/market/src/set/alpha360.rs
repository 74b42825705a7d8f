//! Qlib's feature set Alpha360: 60 days of the six fields, each relative to the newest close or volume.
//!
//! Formulas and column order are those of `qlib/contrib/data/loader.py` (microsoft/qlib, MIT). `CLOSE0` is 1 by
//! construction and is kept, so that the columns are a matrix of 6 fields x 60 days.

/// Days of each field, the bar's own included.
const DAYS: usize = 60;

/// Name and expression of the 360 features: CLOSE59 to CLOSE0, then OPEN, HIGH, LOW, VWAP, VOLUME.
pub(super) fn features() -> Vec<(String, String)> {
    let mut features = Vec::with_capacity(6 * DAYS);
    for field in ["close", "open", "high", "low", "vwap", "volume"] {
        let base = if field == "volume" { "($volume+1e-12)" } else { "$close" };
        for lag in (0..DAYS).rev() {
            let value = if lag == 0 { format!("${field}") } else { format!("Ref(${field},{lag})") };
            features.push((format!("{}{lag}", field.to_uppercase()), format!("{value}/{base}")));
        }
    }
    features
}
