//! Each leak is planted where it could be, and caught by the check that should.

use std::collections::BTreeMap;

use jiff::ToSpan;
use jiff::civil::date;

use super::*;
use crate::{Error, LabelConfig, ProcessorConfig, RowKey, SplitConfig, folds, label, set};

const INSTRUMENTS: usize = 6;
const DAYS: usize = 400;

/// A pipeline, with the places where a leak can be planted.
struct Pipeline {
    panel: Panel,
    features: Vec<(String, String)>,
    label: LabelConfig,
    adjustment: Adjustment,
    /// Fills missing closes from the next bar.
    fill_backward: bool,
    /// Members are those of the next day.
    members_early: bool,
    /// Processors are fitted to all rows.
    fit_on_all: bool,
    /// Labels are said to reach nowhere when windows are cut.
    no_purge: bool,
    embargo_days: usize,
}

impl Pipeline {
    fn clean() -> Self {
        let features = [("MOM", "$close/Ref($close,5)-1"), ("VOL", "Std($close/Ref($close,1),10)")];
        Self {
            panel: panel(),
            features: features.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
            label: LabelConfig { classes: 3, ..LabelConfig::default() },
            adjustment: Adjustment::AsTheyCame,
            fill_backward: false,
            members_early: false,
            fit_on_all: false,
            no_purge: false,
            embargo_days: 2,
        }
    }

    fn with_feature(text: &str) -> Self {
        let mut pipeline = Self::clean();
        pipeline.features.push(("PLANTED".to_owned(), text.to_owned()));
        pipeline
    }

    fn filled(&self, panel: &Panel) -> Panel {
        let close = panel.field("close").expect("closes").to_vec();
        let next =
            |cell: usize| close[cell..].iter().step_by(INSTRUMENTS).copied().find(|close| !close.is_nan());
        let filled: Vec<f64> = (0..close.len()).map(|cell| next(cell).unwrap_or(f64::NAN)).collect();
        let mut fields: BTreeMap<String, Vec<f64>> = panel
            .field_names()
            .iter()
            .map(|n| ((*n).to_owned(), panel.field(n).expect("it is").to_vec()))
            .collect();
        fields.insert("close".to_owned(), filled);
        Panel::with_times(panel.times().to_vec(), panel.instruments().to_vec(), fields).expect("it fits")
    }

    fn certificate(&self) -> Certificate {
        certify(self).expect("the whole panel is sound")
    }
}

impl Subject for Pipeline {
    fn panel(&self) -> &Panel {
        &self.panel
    }

    fn feature_names(&self) -> Vec<String> {
        self.features.iter().map(|(name, _)| name.clone()).collect()
    }

    fn features(&self, panel: &Panel) -> Result<Vec<Vec<f32>>> {
        let filled = self.fill_backward.then(|| self.filled(panel));
        unchecked_features(filled.as_ref().unwrap_or(panel), &Universe::all(), &self.features)
    }

    fn foreign_fields(&self) -> Vec<(String, Vec<String>)> {
        fields_beside(&["close", "volume"], &self.features).expect("they parse")
    }

    fn universe(&self, panel: &Panel) -> Result<Universe> {
        let volume = panel.field("volume").ok_or_else(|| Error::Panel("no volume".to_owned()))?;
        let shift = if self.members_early { INSTRUMENTS } else { 0 };
        let member = |cell: usize| volume.get(cell + shift).is_some_and(|volume| *volume > 1e6);
        Ok(Universe::by_time((0..volume.len()).map(member).collect()))
    }

    fn labels(&self, panel: &Panel) -> Result<Labels> {
        label(panel, &Universe::all(), &self.label)
    }

    fn returns(&self, panel: &Panel) -> Result<Vec<f64>> {
        Ok(label(panel, &Universe::all(), &self.label.return_alone())?.returns)
    }

    fn folds(&self, labels: &Labels) -> Result<Vec<Fold>> {
        let dates = self.panel.dates();
        let config = SplitConfig {
            train: Some((dates[0], dates[199])),
            valid: Some((dates[200], dates[299])),
            test: Some((dates[300], dates[399])),
            embargo_days: self.embargo_days,
            ..SplitConfig::default()
        };
        let nowhere: Vec<usize> = (0..dates.len()).collect();
        folds(dates, &config, if self.no_purge { &nowhere } else { &labels.ends })
    }

    fn fitted(&self, rows: &FeatureMatrix, fold: &Fold) -> Result<String> {
        let used = |key: &RowKey| self.fit_on_all || fold.train.binary_search(&key.date).is_ok();
        let values: Vec<f32> = rows
            .rows
            .iter()
            .zip(rows.values.chunks(rows.columns))
            .filter(|(key, _)| used(key))
            .flat_map(|(_, values)| values.to_vec())
            .collect();
        let window = (date(2020, 1, 1), date(2020, 12, 31));
        let fitted = ProcessorConfig::default().fit(&values, rows.columns, window)?;
        Ok(format!("{fitted:?}"))
    }

    fn adjustment(&self) -> Adjustment {
        self.adjustment
    }
}

/// Walks with a few missing bars.
fn panel() -> Panel {
    let dates = (0..DAYS).map(|day| date(2020, 1, 1) + (day as i64).days()).collect();
    let names = (0..INSTRUMENTS).map(|i| format!("S{i}")).collect();
    let mut last = [100.0; INSTRUMENTS];
    let mut fields: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for cell in 0..DAYS * INSTRUMENTS {
        let price = &mut last[cell % INSTRUMENTS];
        *price *= 1.0 + 0.02 * (factor(cell) - 1.1);
        // The last instrument trades on most days only.
        let missing = cell % INSTRUMENTS == INSTRUMENTS - 1 && factor(cell + 7) > 1.8;
        for (name, value) in
            [("close", *price), ("volume", 1e6 * factor(cell + 3)), ("mood", factor(cell + 9))]
        {
            let column = fields.entry(name.to_owned()).or_default();
            column.push(if missing { f64::NAN } else { value });
        }
    }
    Panel::new(dates, names, fields).expect("it fits")
}

/// The names of the checks with a verdict.
fn with(certificate: &Certificate, verdict: Verdict) -> Vec<&str> {
    let found = certificate.checks.iter().filter(|check| check.verdict == verdict);
    found.map(|check| check.name.as_str()).collect()
}

fn offender<'a>(certificate: &'a Certificate, check: &str) -> &'a Offender {
    certificate.check(check).and_then(|check| check.offenders.first()).expect("it found something")
}

#[test]
fn a_clean_pipeline_passes_every_check() {
    let certificate = Pipeline::clean().certificate();
    assert!(certificate.passed());
    assert_eq!(with(&certificate, Verdict::Passed).len(), certificate.checks.len(), "{certificate:?}");
    let text = serde_json::to_string(&certificate).expect("plain data");
    let again: Certificate = serde_json::from_str(&text).expect("own text");
    assert_eq!((again.digest(), again.digest().len()), (certificate.digest(), 64));
    assert_eq!(Pipeline::clean().certificate(), certificate, "the same subject, the same certificate");
}

#[test]
fn an_expression_that_looks_ahead_is_named() {
    for planted in ["Ref($close,-1)/$close", "$close/Ref(Mean($close,5),-2)", "CSRank(Ref($close,-3))"] {
        let certificate = Pipeline::with_feature(planted).certificate();
        let failed = with(&certificate, Verdict::Failed);
        assert!(failed.contains(&"prefix_invariance") && failed.contains(&"later_bars_changed"), "{planted}");
        for check in ["prefix_invariance", "later_bars_changed"] {
            let named: Vec<&str> = certificate
                .check(check)
                .expect("it was made")
                .offenders
                .iter()
                .map(|o| o.what.as_str())
                .collect();
            assert_eq!(named, ["PLANTED"], "{planted}");
        }
    }
}

#[test]
fn a_fill_from_the_next_bar_is_caught() {
    let certificate = Pipeline { fill_backward: true, ..Pipeline::clean() }.certificate();
    assert!(with(&certificate, Verdict::Failed).contains(&"later_bars_changed"), "{certificate:?}");
    assert_eq!(offender(&certificate, "later_bars_changed").symbol.as_deref(), Some("S5"));
}

#[test]
fn a_fit_on_the_whole_sample_is_caught() {
    let certificate = Pipeline { fit_on_all: true, ..Pipeline::clean() }.certificate();
    assert_eq!(with(&certificate, Verdict::Failed), ["fit_window"]);
}

#[test]
fn a_label_that_trades_on_the_day_of_the_decision_is_caught() {
    let mut pipeline = Pipeline::clean();
    pipeline.label.expression = "Ref($close,-1)/$close-1".to_owned();
    assert_eq!(with(&pipeline.certificate(), Verdict::Failed), ["label_entry"]);
}

#[test]
fn a_split_without_purge_or_embargo_is_caught() {
    let unpurged = Pipeline { no_purge: true, embargo_days: 0, ..Pipeline::clean() }.certificate();
    assert_eq!(with(&unpurged, Verdict::Failed), ["purge", "embargo"]);
    assert!(offender(&unpurged, "purge").what.contains("train/valid"));
    let embargoed = Pipeline { no_purge: true, embargo_days: 1, ..Pipeline::clean() }.certificate();
    assert_eq!(with(&embargoed, Verdict::Failed), ["purge"], "the labels reach over the embargo");
}

#[test]
fn a_universe_of_tomorrows_members_is_caught() {
    let certificate = Pipeline { members_early: true, ..Pipeline::clean() }.certificate();
    assert_eq!(with(&certificate, Verdict::Failed), ["universe_known"]);
    assert!(offender(&certificate, "universe_known").evidence.contains("as known then"));
}

#[test]
fn a_feature_of_the_level_of_prices_is_named_and_fails_where_they_are_back_adjusted() {
    let mut pipeline = Pipeline::with_feature("Log($close)");
    let certificate = pipeline.certificate();
    assert_eq!(with(&certificate, Verdict::Warned), ["price_scale"]);
    assert_eq!(offender(&certificate, "price_scale").what, "PLANTED");
    pipeline.adjustment = Adjustment::BackAdjusted;
    assert_eq!(with(&pipeline.certificate(), Verdict::Failed), ["price_scale"]);
}

#[test]
fn a_column_computed_elsewhere_is_not_certified() {
    let certificate = Pipeline::with_feature("Mean($mood,3)").certificate();
    assert_eq!(with(&certificate, Verdict::NotCertified), ["foreign_fields"]);
    let found = offender(&certificate, "foreign_fields");
    assert_eq!((found.what.as_str(), found.evidence.as_str()), ("mood", "read by PLANTED"));
    assert!(certificate.passed(), "what is not known is no leak");
}

#[test]
fn triple_barriers_and_scaled_returns_pass() {
    let mut pipeline = Pipeline::clean();
    pipeline.label = LabelConfig {
        kind: crate::LabelKind::TripleBarrier,
        upper: Some(2.0),
        lower: Some(2.0),
        max_bars: Some(10),
        volatility_bars: Some(20),
        ..LabelConfig::default()
    };
    let certificate = pipeline.certificate();
    assert_eq!(with(&certificate, Verdict::Passed).len(), certificate.checks.len(), "{certificate:?}");
    pipeline.label = LabelConfig { classes: 5, volatility_bars: Some(20), ..LabelConfig::default() };
    assert!(pipeline.certificate().passed());
}

#[test]
fn alpha158_passes_on_prices_of_any_scale() {
    let mut pipeline = Pipeline::clean();
    let selection = set::select("alpha158", &["close", "volume"], None).expect("it is a set");
    pipeline.features = selection.included;
    pipeline.adjustment = Adjustment::BackAdjusted;
    let certificate = pipeline.certificate();
    assert!(certificate.passed(), "{:#?}", certificate.check("price_scale"));
    assert!(pipeline.features.len() > 60, "close and volume give most of it");
}
