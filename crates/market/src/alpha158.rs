//! Qlib's feature set Alpha158: 158 expressions over open, high, low, close, vwap and volume.
//!
//! Formulas and column order are those of `qlib/contrib/data/loader.py` (microsoft/qlib, MIT).

use std::collections::BTreeSet;

use crate::nearest::unknown;
use crate::{Error, Expression, Result};

/// The windows of the rolling families, in bars.
const WINDOWS: [usize; 5] = [5, 10, 20, 30, 60];

/// Features of one bar: name (also the family's) and expression.
const BARS: [(&str, &str); 13] = [
    ("KMID", "($close-$open)/$open"),
    ("KLEN", "($high-$low)/$open"),
    ("KMID2", "($close-$open)/($high-$low+1e-12)"),
    ("KUP", "($high-Greater($open,$close))/$open"),
    ("KUP2", "($high-Greater($open,$close))/($high-$low+1e-12)"),
    ("KLOW", "(Less($open,$close)-$low)/$open"),
    ("KLOW2", "(Less($open,$close)-$low)/($high-$low+1e-12)"),
    ("KSFT", "(2*$close-$high-$low)/$open"),
    ("KSFT2", "(2*$close-$high-$low)/($high-$low+1e-12)"),
    ("OPEN0", "$open/$close"),
    ("HIGH0", "$high/$close"),
    ("LOW0", "$low/$close"),
    ("VWAP0", "$vwap/$close"),
];

/// Features of a window: family, and expression with `{d}` for the window.
const ROLLING: [(&str, &str); 29] = [
    ("ROC", "Ref($close,{d})/$close"),
    ("MA", "Mean($close,{d})/$close"),
    ("STD", "Std($close,{d})/$close"),
    ("BETA", "Slope($close,{d})/$close"),
    ("RSQR", "Rsquare($close,{d})"),
    ("RESI", "Resi($close,{d})/$close"),
    ("MAX", "Max($high,{d})/$close"),
    ("MIN", "Min($low,{d})/$close"),
    ("QTLU", "Quantile($close,{d},0.8)/$close"),
    ("QTLD", "Quantile($close,{d},0.2)/$close"),
    ("RANK", "Rank($close,{d})"),
    ("RSV", "($close-Min($low,{d}))/(Max($high,{d})-Min($low,{d})+1e-12)"),
    ("IMAX", "IdxMax($high,{d})/{d}"),
    ("IMIN", "IdxMin($low,{d})/{d}"),
    ("IMXD", "(IdxMax($high,{d})-IdxMin($low,{d}))/{d}"),
    ("CORR", "Corr($close,Log($volume+1),{d})"),
    ("CORD", "Corr($close/Ref($close,1),Log($volume/Ref($volume,1)+1),{d})"),
    ("CNTP", "Mean($close>Ref($close,1),{d})"),
    ("CNTN", "Mean($close<Ref($close,1),{d})"),
    ("CNTD", "Mean($close>Ref($close,1),{d})-Mean($close<Ref($close,1),{d})"),
    ("SUMP", "Sum(Greater($close-Ref($close,1),0),{d})/(Sum(Abs($close-Ref($close,1)),{d})+1e-12)"),
    ("SUMN", "Sum(Greater(Ref($close,1)-$close,0),{d})/(Sum(Abs($close-Ref($close,1)),{d})+1e-12)"),
    (
        "SUMD",
        "(Sum(Greater($close-Ref($close,1),0),{d})-Sum(Greater(Ref($close,1)-$close,0),{d}))/(Sum(Abs($close-Ref($close,1)),{d})+1e-12)",
    ),
    ("VMA", "Mean($volume,{d})/($volume+1e-12)"),
    ("VSTD", "Std($volume,{d})/($volume+1e-12)"),
    (
        "WVMA",
        "Std(Abs($close/Ref($close,1)-1)*$volume,{d})/(Mean(Abs($close/Ref($close,1)-1)*$volume,{d})+1e-12)",
    ),
    ("VSUMP", "Sum(Greater($volume-Ref($volume,1),0),{d})/(Sum(Abs($volume-Ref($volume,1)),{d})+1e-12)"),
    ("VSUMN", "Sum(Greater(Ref($volume,1)-$volume,0),{d})/(Sum(Abs($volume-Ref($volume,1)),{d})+1e-12)"),
    (
        "VSUMD",
        "(Sum(Greater($volume-Ref($volume,1),0),{d})-Sum(Greater(Ref($volume,1)-$volume,0),{d}))/(Sum(Abs($volume-Ref($volume,1)),{d})+1e-12)",
    ),
];

/// The features that some fields allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Name and expression, in Qlib's column order.
    pub included: Vec<(String, String)>,
    /// Name of each feature asked for that the fields do not allow, and the fields it lacks, with commas.
    pub left_out: Vec<(String, String)>,
}

/// Picks the features of `families` (all, if absent) that can be computed from `available_fields`.
///
/// # Errors
/// [`Error::Feature`] for a family that does not exist, with the nearest that does.
pub fn select(available_fields: &[&str], families: Option<&[String]>) -> Result<Selection> {
    let known: Vec<&str> = BARS.iter().chain(&ROLLING).map(|(family, _)| *family).collect();
    if let Some(family) = families.unwrap_or_default().iter().find(|family| !known.contains(&family.as_str()))
    {
        return Err(Error::Feature(unknown("alpha158 family", family, &known)));
    }
    let wanted = |family: &str| families.is_none_or(|asked| asked.iter().any(|name| name == family));
    let mut selection = Selection { included: Vec::new(), left_out: Vec::new() };
    for (name, text) in all(wanted) {
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

fn all(wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let bars = BARS.iter().filter(|(family, _)| wanted(family));
    let mut features: Vec<(String, String)> =
        bars.map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    for (family, text) in ROLLING.iter().filter(|(family, _)| wanted(family)) {
        for window in WINDOWS {
            features.push((format!("{family}{window}"), text.replace("{d}", &window.to_string())));
        }
    }
    features
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
        let selection = select(&ALL_FIELDS, None).expect("no family is asked for");
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
        let selection = select(&["close"], Some(&asked)).expect("all families exist");
        assert_eq!((selection.included.len(), selection.left_out.len()), (75, 0));
        assert_eq!(selection.included[0], ("ROC5".to_owned(), "Ref($close,5)/$close".to_owned()));
        let everything = select(&["close"], None).expect("no family is asked for");
        assert_eq!(everything.included, selection.included);
        assert_eq!(everything.left_out.len(), 83);
        assert!(everything.left_out.contains(&("RSV5".to_owned(), "high, low".to_owned())));
    }

    #[test]
    fn an_unknown_family_is_named_with_the_nearest() {
        let error = select(&["close"], Some(&families("ROC BETTA"))).expect_err("no such family");
        assert!(
            error.to_string().starts_with("unknown alpha158 family \"BETTA\"; did you mean \"BETA\"?"),
            "{error}"
        );
    }
}
