//! Named expressions over a panel: what a model sees.

mod cells;
mod cross;
mod evaluate;
mod matrix;
mod program;
mod stream;

#[cfg(test)]
mod golden;

use std::collections::BTreeSet;

pub(crate) use cells::cells;
pub(crate) use evaluate::{Evaluator, Series};
pub use matrix::{FeatureMatrix, RowKey, RowRange, compute, compute_blocks, latest};
pub(crate) use program::Program;
pub use stream::{Closed, FeatureStream, StreamConfig};

use crate::nearest::unknown;
use crate::periods::SEPARATOR;
use crate::{Error, Expression, Panel, Result};

/// The most features one set holds.
const MAX_FEATURES: usize = 10_000;

/// Named expressions, parsed, checked not to look ahead, and planned to compute what they share once.
#[derive(Debug, Clone)]
pub struct FeatureSet {
    features: Vec<(String, Expression)>,
    program: Program,
    lookback_bars: usize,
}

impl FeatureSet {
    /// Makes a set of `(name, expression)` in the order the features will have as columns.
    ///
    /// # Errors
    /// [`Error::Expression`] for one that does not parse or looks ahead (with the column of the reference to
    /// a later bar), [`Error::Feature`] for none, too many, or a name that occurs twice.
    pub fn new(features: Vec<(String, String)>) -> Result<Self> {
        if features.is_empty() {
            return Err(Error::Feature("a feature set needs at least one feature".to_owned()));
        }
        if features.len() > MAX_FEATURES {
            let count = features.len();
            return Err(Error::Feature(format!(
                "{count} features are more than the limit of {MAX_FEATURES}"
            )));
        }
        let mut parsed: Vec<(String, Expression)> = Vec::with_capacity(features.len());
        let mut names = BTreeSet::new();
        for (name, text) in features {
            if !names.insert(name.clone()) {
                return Err(Error::Feature(format!("feature \"{name}\" is named twice; rename one")));
            }
            let expression = Expression::parse(&text)?;
            if expression.horizon_bars() > 0 {
                let bars = expression.horizon_bars();
                return Err(expression.look_ahead_error(format!(
                    "feature \"{name}\" looks ahead by {bars} bars; a negative Ref belongs in a label only"
                )));
            }
            parsed.push((name, expression));
        }
        let program = Program::new(parsed.iter().map(|(_, expression)| expression.root()));
        let lookback_bars = parsed.iter().map(|(_, e)| e.lookback_bars()).max().unwrap_or(0);
        Ok(Self { features: parsed, program, lookback_bars })
    }

    /// The names, in the order of the columns.
    pub fn names(&self) -> Vec<&str> {
        self.features.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Name and canonical expression of each feature; [`FeatureSet::new`] takes them back.
    pub fn expressions(&self) -> Vec<(String, String)> {
        self.features.iter().map(|(name, expression)| (name.clone(), expression.to_string())).collect()
    }

    /// How many bars before its own the longest feature reads.
    pub fn lookback_bars(&self) -> usize {
        self.lookback_bars
    }

    /// Whether a feature reads all bars back to an instrument's first.
    pub fn looks_back_to_the_first_bar(&self) -> bool {
        self.features.iter().any(|(_, expression)| expression.looks_back_to_the_first_bar())
    }

    /// Whether a feature compares an instrument with the others of the universe.
    pub fn is_cross_sectional(&self) -> bool {
        self.features.iter().any(|(_, expression)| expression.is_cross_sectional())
    }

    /// Checks that a panel has every field the features read.
    ///
    /// # Errors
    /// [`Error::Feature`] naming the feature, the field, the nearest one and those there are.
    pub fn check_fields(&self, panel: &Panel) -> Result<()> {
        for (name, expression) in &self.features {
            check_fields(expression, panel)
                .map_err(|reason| Error::Feature(format!("feature \"{name}\": {reason}")))?;
        }
        Ok(())
    }

    /// Name and parsed expression of each feature.
    pub(crate) fn parsed(&self) -> &[(String, Expression)] {
        &self.features
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }
}

/// The message about the first field of an expression that a panel lacks.
pub(crate) fn check_fields(expression: &Expression, panel: &Panel) -> Result<(), String> {
    let known = panel.field_names();
    match expression.fields().iter().find(|field| !panel.has_field(field)) {
        Some(field) => {
            let base = field.split(SEPARATOR).next().unwrap_or_default();
            Err(format!("{expression}: {}", unknown("field", base, &known)))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn set(features: &[(&str, &str)]) -> Result<FeatureSet> {
        FeatureSet::new(
            features.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
        )
    }

    fn refusal(features: &[(&str, &str)]) -> String {
        set(features).expect_err("it is refused").to_string()
    }

    #[test]
    fn a_set_keeps_its_order_and_prints_what_it_can_read_back() {
        let made =
            set(&[("B", "Mean( $close, 5 ) / $close"), ("A", "Ref($close,3)")]).expect("it is well formed");
        assert_eq!(made.names(), ["B", "A"]);
        assert_eq!(made.lookback_bars(), 4);
        let again = FeatureSet::new(made.expressions()).expect("canonical text parses");
        assert_eq!(again.expressions(), made.expressions());
    }

    #[test]
    fn a_feature_that_looks_ahead_is_refused_with_the_place() {
        assert_eq!(
            refusal(&[("F", "$close/Ref($close,-2)")]),
            "expression \"$close/Ref($close,-2)\", column 19: feature \"F\" looks ahead by 2 bars; a negative \
             Ref belongs in a label only"
        );
        assert!(set(&[("F", "Ref(Ref($close,-2),3)")]).is_ok(), "it reads the past in the end");
    }

    #[test]
    fn an_unknown_operator_is_refused_with_place_and_suggestion() {
        assert!(refusal(&[("F", "$close/Meen($close,5)")]).starts_with(
            "expression \"$close/Meen($close,5)\", column 8: unknown operator \"Meen\"; did you mean \"Mean\"?"
        ));
    }

    #[test]
    fn doubled_names_and_empty_sets_are_refused() {
        assert_eq!(refusal(&[("A", "$close"), ("A", "$open")]), "feature \"A\" is named twice; rename one");
        assert_eq!(refusal(&[]), "a feature set needs at least one feature");
    }

    #[test]
    fn a_field_the_panel_lacks_is_named_with_the_nearest() {
        let fields = ["close", "open"].map(|name| (name.to_owned(), vec![1.0])).into();
        let panel = Panel::new(vec![date(2020, 1, 2)], vec!["A".to_owned()], fields).expect("it fits");
        let made = set(&[("F", "Mean($clse,5)")]).expect("it parses");
        assert_eq!(
            made.check_fields(&panel).expect_err("no such field").to_string(),
            "feature \"F\": Mean($clse,5): unknown field \"clse\"; did you mean \"close\"? fields: close, open"
        );
    }
}
