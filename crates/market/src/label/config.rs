//! How a label is made.

use serde::{Deserialize, Serialize};

use crate::{Error, Expression, Result};

const CLASSES_MAX: usize = 100;
/// Up, flat and down.
const DIRECTIONS: usize = 3;
const BARS_MAX: usize = 10_000;

/// What kind of label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelKind {
    /// Classes of equal size within each date.
    #[default]
    Quantiles,
    /// The return itself.
    Return,
    /// Down, flat and up: 0, 1 and 2.
    Threshold,
    /// What is touched first after buying at the next close: 2 an upper barrier, 0 a lower one, 1 neither within
    /// `max_bars` bars.
    ///
    /// Barriers are at entry x (1 + `upper`) and entry x (1 - `lower`); with `volatility_bars`, `upper` and `lower`
    /// are multiples of the volatility known at the bar. Closes decide. The return is to the close that touches a
    /// barrier, or to the last of the bars.
    TripleBarrier,
}

/// What the numbers of a date become before a regression learns them; Qlib's processors of the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelNormalization {
    /// `CSZScoreNorm`: (x - mean) / standard deviation with n - 1.
    CsZscore,
    /// `CSRankNorm`: (rank / n - 0.5) * 3.46, ties sharing their average rank.
    CsRank,
}

/// How a label is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelConfig {
    /// What kind of label.
    pub kind: LabelKind,
    /// The return to tell, as an expression that reads later bars. Not for triple barriers.
    pub expression: String,
    /// Quantiles: how many classes, 2 to 100.
    #[serde(skip_serializing_if = "is_zero")]
    pub classes: usize,
    /// Divides the return, or widens the barriers, by the standard deviation of so many one-bar returns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volatility_bars: Option<usize>,
    /// Return: what it becomes among the returns of its date before it is learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalization: Option<LabelNormalization>,
    /// Threshold: what a move must exceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Triple barrier: how far up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upper: Option<f64>,
    /// Triple barrier: how far down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower: Option<f64>,
    /// Triple barrier: how many bars the position is held at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bars: Option<usize>,
}

fn is_zero(classes: &usize) -> bool {
    *classes == 0
}

impl Default for LabelConfig {
    fn default() -> Self {
        Self {
            kind: LabelKind::Quantiles,
            expression: "Ref($close,-2)/Ref($close,-1)-1".to_owned(),
            classes: 0,
            volatility_bars: None,
            normalization: None,
            threshold: None,
            upper: None,
            lower: None,
            max_bars: None,
        }
    }
}

impl LabelConfig {
    /// How many classes there are; `None` for a label without.
    pub fn class_count(&self) -> Option<usize> {
        match self.kind {
            LabelKind::Return => None,
            LabelKind::Quantiles => Some(self.classes),
            LabelKind::Threshold | LabelKind::TripleBarrier => Some(DIRECTIONS),
        }
    }

    /// The return behind the label alone, without classes or volatility.
    pub fn return_alone(&self) -> Self {
        match self.kind {
            LabelKind::TripleBarrier => Self { volatility_bars: None, ..self.clone() },
            _ => Self { kind: LabelKind::Return, expression: self.expression.clone(), ..Self::default() },
        }
    }

    /// The label in words.
    pub fn describe(&self) -> String {
        let scaled = self.volatility_bars.map_or(String::new(), |bars| {
            format!(", divided by the standard deviation of {bars} one-bar returns")
        });
        match self.kind {
            LabelKind::Return => {
                let among = self.normalization.map_or("", |normalization| match normalization {
                    LabelNormalization::CsZscore => ", as a score among the universe of each date",
                    LabelNormalization::CsRank => ", as a rank among the universe of each date",
                });
                format!("{}{scaled}{among}", self.expression)
            }
            LabelKind::Quantiles => format!(
                "{}{scaled}, cut into equal classes among the universe of each date; tied returns share their average \
                 rank",
                self.expression
            ),
            LabelKind::Threshold => format!(
                "{}{scaled}: down below -{threshold}, up above {threshold}, flat between",
                self.expression,
                threshold = self.threshold.unwrap_or_default()
            ),
            LabelKind::TripleBarrier => {
                let unit = self
                    .volatility_bars
                    .map_or(String::new(), |bars| format!(" standard deviations of {bars} one-bar returns"));
                format!(
                    "bought at the next close, what is touched first within {} bars: {}{unit} above or {}{unit} below \
                     the price paid",
                    self.max_bars.unwrap_or_default(),
                    self.upper.unwrap_or_default(),
                    self.lower.unwrap_or_default()
                )
            }
        }
    }

    /// Checks numbers and keys that do not belong together.
    ///
    /// # Errors
    /// [`Error::Label`] naming the key, [`Error::Expression`].
    pub fn check(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::Label(message));
        Expression::parse(&self.expression)?;
        let own: &[&str] = match self.kind {
            LabelKind::Quantiles => &["classes"],
            LabelKind::Return => &["normalization"],
            LabelKind::Threshold => &["threshold"],
            LabelKind::TripleBarrier => &["upper", "lower", "max_bars"],
        };
        for (key, given) in [
            ("classes", self.classes != 0),
            ("normalization", self.normalization.is_some()),
            ("threshold", self.threshold.is_some()),
            ("upper", self.upper.is_some()),
            ("lower", self.lower.is_some()),
            ("max_bars", self.max_bars.is_some()),
        ] {
            let kind = format!("{:?}", self.kind);
            // Three classes are what these kinds have anyway.
            let harmless = key == "classes" && self.class_count() == Some(self.classes);
            if given && !own.contains(&key) && !harmless {
                return refuse(format!("label.{key} does not apply to a label of kind {kind}; leave it out"));
            }
            if !given && own.contains(&key) && !["classes", "normalization"].contains(&key) {
                return refuse(format!("a label of kind {kind} needs label.{key}"));
            }
        }
        if self.kind == LabelKind::Quantiles && !(2..=CLASSES_MAX).contains(&self.classes) {
            return refuse(format!("label.classes must be 2 to {CLASSES_MAX}, got {}", self.classes));
        }
        for (key, value) in [("threshold", self.threshold), ("upper", self.upper), ("lower", self.lower)] {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value > 0.0)) {
                return refuse(format!("label.{key} must be a finite number above 0, got {value}"));
            }
        }
        for (key, bars, least) in
            [("volatility_bars", self.volatility_bars, 2), ("max_bars", self.max_bars, 1)]
        {
            if let Some(bars) = bars.filter(|bars| !(least..=BARS_MAX).contains(bars)) {
                return refuse(format!("label.{key} must be {least} to {BARS_MAX}, got {bars}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_do_not_belong_to_the_kind_are_refused() {
        let refusal = |config: LabelConfig| config.check().expect_err("it is refused").to_string();
        let threshold = LabelConfig { kind: LabelKind::Threshold, ..LabelConfig::default() };
        assert_eq!(refusal(threshold.clone()), "a label of kind Threshold needs label.threshold");
        let both = LabelConfig { threshold: Some(0.1), upper: Some(1.0), ..threshold.clone() };
        assert_eq!(refusal(both), "label.upper does not apply to a label of kind Threshold; leave it out");
        let below = LabelConfig { threshold: Some(-0.1), ..threshold.clone() };
        assert_eq!(refusal(below), "label.threshold must be a finite number above 0, got -0.1");
        let three = LabelConfig { threshold: Some(0.1), classes: 3, ..threshold };
        assert!(three.check().is_ok());
        let one = LabelConfig { classes: 10, volatility_bars: Some(1), ..LabelConfig::default() };
        assert_eq!(refusal(one), "label.volatility_bars must be 2 to 10000, got 1");
    }
}
