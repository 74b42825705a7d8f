//! Features with the future cut off, changed, or on another scale.

use super::{Check, Offender, Subject, Verdict, cuts, found, with_another_future};
use crate::dataset::Adjustment;
use crate::{Panel, Result};

const PRICES: [&str; 5] = ["open", "high", "low", "close", "vwap"];
const VOLUME: &str = "volume";
/// A feature on another scale may differ by this part of its mean magnitude: `Log($volume+1)` is nearly free of scale.
const SCALE_TOLERANCE: f64 = 1e-2;
/// Features may read a missing value on another scale at so many of their rows: Qlib's absolute tolerances.
const SCALE_ROWS_PCT: f64 = 1.0;

/// The features of a panel.
pub(super) struct Computed<'a> {
    pub(super) panel: &'a Panel,
    pub(super) names: Vec<String>,
    pub(super) values: Vec<Vec<f32>>,
}

impl<'a> Computed<'a> {
    pub(super) fn of(subject: &dyn Subject, panel: &'a Panel) -> Result<Self> {
        Ok(Self { panel, names: subject.feature_names(), values: subject.features(panel)? })
    }

    fn offender(&self, feature: usize, cell: usize, evidence: String) -> Offender {
        let width = self.panel.instruments().len();
        Offender {
            what: self.names[feature].clone(),
            symbol: Some(self.panel.instruments()[cell % width].clone()),
            time: Some(self.panel.times()[cell / width]),
            evidence,
        }
    }

    /// The first cell of each feature, up to a time, where other values are not the same to the bit.
    pub(super) fn differences(&self, other: &[Vec<f32>], last: usize, how: &str) -> Vec<Offender> {
        let cells = (last + 1) * self.panel.instruments().len();
        let pairs = self.values.iter().zip(other).enumerate();
        pairs
            .filter_map(|(feature, (own, other))| {
                let same = |cell: &usize| {
                    own[*cell].to_bits() == other[*cell].to_bits()
                        || (own[*cell].is_nan() && other[*cell].is_nan())
                };
                let cell = (0..cells.min(other.len())).find(|cell| !same(cell))?;
                Some(self.offender(feature, cell, format!("{}, but {} {how}", own[cell], other[cell])))
            })
            .collect()
    }
}

/// What was computed when a bar was the newest is what is computed now.
pub(super) fn prefix_invariance(subject: &dyn Subject, computed: &Computed<'_>) -> Result<Check> {
    let cuts = cuts(computed.panel);
    let mut offenders = Vec::new();
    for cut in &cuts {
        let again = subject.features(&computed.panel.prefix(cut + 1))?;
        let how = format!("without the bars after {}", computed.panel.times()[*cut]);
        offenders.extend(computed.differences(&again, *cut, &how));
    }
    Ok(found("prefix_invariance", Verdict::Failed, asked(computed, cuts.len(), "cut off"), once(offenders)))
}

/// Other bars later on change nothing.
pub(super) fn later_bars_changed(subject: &dyn Subject, computed: &Computed<'_>) -> Result<Check> {
    let cuts: Vec<usize> = cuts(computed.panel).into_iter().step_by(2).collect();
    let mut offenders = Vec::new();
    for cut in &cuts {
        let again = subject.features(&with_another_future(computed.panel, *cut))?;
        let how = format!("with other bars after {}", computed.panel.times()[*cut]);
        offenders.extend(computed.differences(&again, *cut, &how));
    }
    Ok(found("later_bars_changed", Verdict::Failed, asked(computed, cuts.len(), "changed"), once(offenders)))
}

fn asked(computed: &Computed<'_>, cuts: usize, what: &str) -> String {
    format!(
        "{} features of {} instruments, to the bit, with what comes after {cuts} points in time {what}",
        computed.names.len(),
        computed.panel.instruments().len()
    )
}

/// The first finding of each feature.
fn once(offenders: Vec<Offender>) -> Vec<Offender> {
    let mut kept: Vec<Offender> = Vec::new();
    for offender in offenders {
        if !kept.iter().any(|known| known.what == offender.what) {
            kept.push(offender);
        }
    }
    kept
}

/// Features that depend on the level of prices: in a back-adjusted series that level tells of later splits and
/// dividends.
pub(super) fn price_scale(subject: &dyn Subject, computed: &Computed<'_>) -> Result<Check> {
    let width = computed.panel.instruments().len();
    // Powers of two scale without rounding.
    let scale = |cell: usize| [2.0, 0.5, 4.0][cell % width.max(1) % 3];
    let scaled = computed.panel.map(|field, cell, value| match field {
        field if PRICES.contains(&field) => value * scale(cell),
        VOLUME => value / scale(cell),
        _ => value,
    });
    let other = subject.features(&scaled)?;
    let offenders = (0..computed.names.len()).filter_map(|feature| {
        let (own, other) = (&computed.values[feature], &other[feature]);
        let known: Vec<usize> = (0..own.len()).filter(|cell| own[*cell].is_finite()).collect();
        let magnitude =
            known.iter().map(|cell| f64::from(own[*cell]).abs()).sum::<f64>() / known.len().max(1) as f64;
        let differs = |cell: &&usize| {
            let gap = (f64::from(own[**cell]) - f64::from(other[**cell])).abs();
            gap.is_nan() || gap > SCALE_TOLERANCE * magnitude
        };
        let count = known.iter().filter(differs).count();
        let cell = *known.iter().find(differs)?;
        let many = count as f64 > SCALE_ROWS_PCT / 100.0 * known.len() as f64;
        many.then(|| {
            let evidence = format!("{}, but {} with prices x {}", own[cell], other[cell], scale(cell));
            computed.offender(feature, cell, evidence)
        })
    });
    let offenders: Vec<Offender> = offenders.collect();
    let back = subject.adjustment() == Adjustment::BackAdjusted;
    let asked = format!(
        "each instrument's prices multiplied and volumes divided by a number of its own; {}",
        if back {
            "the prices are back-adjusted, so that their level tells of later splits and dividends"
        } else {
            "a feature that changes depends on the level of prices and would leak if they were back-adjusted"
        }
    );
    Ok(found("price_scale", if back { Verdict::Failed } else { Verdict::Warned }, asked, offenders))
}

/// Columns that were computed elsewhere.
pub(super) fn foreign_fields(subject: &dyn Subject) -> Check {
    let offenders = subject
        .foreign_fields()
        .into_iter()
        .map(|(field, features)| Offender {
            what: field,
            symbol: None,
            time: None,
            evidence: format!("read by {}", features.join(", ")),
        })
        .collect();
    let asked =
        "fields other than prices, volume and what tables of published values and groups give".to_owned();
    found("foreign_fields", Verdict::NotCertified, asked, offenders)
}
