//! Qlib's feature set Alpha158: 158 expressions over open, high, low, close, vwap and volume.
//!
//! Formulas and column order are those of `qlib/contrib/data/loader.py` (microsoft/qlib, MIT).

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

/// The 20 that Qlib's sequence models take, "selected by LightGBM importance", in its order.
const TOP_20: [&str; 20] = [
    "RESI5", "WVMA5", "RSQR5", "KLEN", "RSQR10", "CORR5", "CORD5", "CORR10", "ROC60", "RESI10", "VSTD5",
    "RSQR60", "CORR60", "WVMA60", "STD5", "RSQR20", "CORD60", "CORD10", "CORR20", "KLOW",
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

/// The names of the families.
pub(super) fn families() -> Vec<&'static str> {
    BARS.iter().chain(&ROLLING).map(|(family, _)| *family).collect()
}

/// Name and expression of the 20 features of Qlib's sequence models.
pub(super) fn top_20() -> Vec<(String, String)> {
    let all = features(|_| true);
    let named = |name: &&str| all.iter().find(|(known, _)| known == *name).cloned();
    TOP_20.iter().filter_map(named).collect()
}

/// Name and expression of the features of the wanted families, in Qlib's column order.
pub(super) fn features(wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
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
