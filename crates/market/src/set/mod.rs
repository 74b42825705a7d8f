//! Named sets of features.

mod alpha158;
mod alpha360;

use std::collections::BTreeSet;

use crate::nearest::unknown;
use crate::{Error, Expression, Result};

/// The names of the sets: Qlib's Alpha158, the 20 of it that its sequence models take, and its Alpha360.
pub const NAMES: [&str; 3] = ["alpha158", "alpha158_20", "alpha360"];

/// The features that some fields allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Name and expression, in Qlib's column order.
    pub included: Vec<(String, String)>,
    /// Name of each feature asked for that the fields do not allow, and the fields it lacks, with commas.
    pub left_out: Vec<(String, String)>,
}

/// Picks the features of a set that can be computed from `available_fields`; of `alpha158` those of some
/// families alone, if they are named.
///
/// # Errors
/// [`Error::Feature`] for a set or a family that does not exist, with the nearest that does, and for families
/// of a set that has none.
pub fn select(name: &str, available_fields: &[&str], families: Option<&[String]>) -> Result<Selection> {
    let features = match name {
        "alpha158" => {
            let known = alpha158::families();
            let asked = families.unwrap_or_default();
            if let Some(family) = asked.iter().find(|family| !known.contains(&family.as_str())) {
                return Err(Error::Feature(unknown("alpha158 family", family, &known)));
            }
            alpha158::features(|family| families.is_none() || asked.iter().any(|name| name == family))
        }
        _ if !NAMES.contains(&name) => return Err(Error::Feature(unknown("feature set", name, &NAMES))),
        _ if families.is_some() => {
            return Err(Error::Feature(format!("feature set \"{name}\" has no families; leave them out")));
        }
        "alpha360" => alpha360::features(),
        _ => alpha158::top_20(),
    };
    let mut selection = Selection { included: Vec::new(), left_out: Vec::new() };
    for (name, text) in features {
        let fields: BTreeSet<String> = Expression::parse(&text)?.fields();
        let missing: Vec<String> =
            fields.into_iter().filter(|field| !available_fields.contains(&field.as_str())).collect();
        if missing.is_empty() {
            selection.included.push((name, text));
        } else {
            selection.left_out.push((name, missing.join(", ")));
        }
    }
    Ok(selection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FeatureSet;

    const ALL_FIELDS: [&str; 6] = ["close", "high", "low", "open", "volume", "vwap"];

    fn families(names: &str) -> Vec<String> {
        names.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn all_fields_allow_158_features_in_order() {
        let selection = select("alpha158", &ALL_FIELDS, None).expect("no family is asked for");
        assert_eq!(selection.included.len(), 158);
        assert_eq!(selection.left_out, []);
        let names: Vec<&str> = selection.included.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            (names[0], names[12], names[13], names[88], names[157]),
            ("KMID", "VWAP0", "ROC5", "CORR5", "VSUMD60")
        );
        let set = FeatureSet::new(selection.included).expect("every expression is well formed");
        assert_eq!(set.lookback_bars(), 60);
    }

    #[test]
    fn the_close_alone_allows_75_features_and_the_rest_is_named() {
        let asked = families("ROC MA STD BETA RSQR RESI QTLU QTLD RANK CNTP CNTN CNTD SUMP SUMN SUMD");
        let selection = select("alpha158", &["close"], Some(&asked)).expect("all families exist");
        assert_eq!((selection.included.len(), selection.left_out.len()), (75, 0));
        assert_eq!(selection.included[0], ("ROC5".to_owned(), "Ref($close,5)/$close".to_owned()));
        let everything = select("alpha158", &["close"], None).expect("no family is asked for");
        assert_eq!(everything.included, selection.included);
        assert_eq!(everything.left_out.len(), 83);
        assert!(everything.left_out.contains(&("RSV5".to_owned(), "high, low".to_owned())));
    }

    #[test]
    fn other_sets_have_qlibs_columns() {
        let top = select("alpha158_20", &ALL_FIELDS, None).expect("it is known").included;
        assert_eq!((top.len(), top[0].0.as_str(), top[19].0.as_str()), (20, "RESI5", "KLOW"));
        let alpha360 = select("alpha360", &ALL_FIELDS, None).expect("it is known").included;
        assert_eq!(alpha360.len(), 360);
        assert_eq!(alpha360[0], ("CLOSE59".to_owned(), "Ref($close,59)/$close".to_owned()));
        assert_eq!(alpha360[59], ("CLOSE0".to_owned(), "$close/$close".to_owned()));
        assert_eq!(alpha360[359], ("VOLUME0".to_owned(), "$volume/($volume+1e-12)".to_owned()));
        let lookback = |features| FeatureSet::new(features).expect("all are well formed").lookback_bars();
        assert_eq!((lookback(top), lookback(alpha360)), (60, 59));
    }

    #[test]
    fn what_is_not_a_set_is_named_with_the_nearest() {
        let refusal = |name, families: Option<&[String]>| {
            select(name, &["close"], families).expect_err("it is refused").to_string()
        };
        assert_eq!(
            refusal("alpha36", None),
            "unknown feature set \"alpha36\"; did you mean \"alpha360\"? feature sets: alpha158, alpha158_20, alpha360"
        );
        assert!(refusal("alpha360", Some(&families("ROC"))).contains("no families"));
    }

    #[test]
    fn an_unknown_family_is_named_with_the_nearest() {
        let error = select("alpha158", &["close"], Some(&families("ROC BETTA"))).expect_err("no such family");
        assert!(
            error.to_string().starts_with("unknown alpha158 family \"BETTA\"; did you mean \"BETA\"?"),
            "{error}"
        );
    }
}
