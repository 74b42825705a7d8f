//! What an expression is made of, for people: its tree, how far it looks back, what a bar costs.

use std::fmt;

use serde::Serialize;

use super::operators::OPERATORS;
use super::{Expression, Node, Plan};
use crate::kernel::{Stat, Window};

/// An expression taken apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// The expression as it is kept.
    pub canonical: String,
    /// The fields it reads.
    pub fields: Vec<String>,
    /// How many bars before its own it reads at least.
    pub lookback_bars: usize,
    /// Whether it reads all bars back to the first.
    pub looks_back_to_the_first_bar: bool,
    /// How many bars after its own it reads; a feature may read none.
    pub horizon_bars: usize,
    /// Whether it reads other instruments.
    pub cross_sectional: bool,
    /// Different steps to compute it.
    pub steps: usize,
    /// Its parts.
    pub tree: Part,
}

/// A part of an expression.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// The part alone.
    pub text: String,
    /// What its operator does; absent for a field or a number.
    pub meaning: Option<&'static str>,
    /// How many bars before its own it reads at least.
    pub lookback_bars: usize,
    /// What its operator costs a bar.
    pub cost: String,
    /// What it is computed from.
    pub of: Vec<Part>,
}

/// An operator, for a list of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operator {
    /// How it is called: `Mean(x, window)`.
    pub call: String,
    /// What it does.
    pub meaning: &'static str,
}

/// Every operator there is, by name.
pub fn operators() -> Vec<Operator> {
    let entry = |(name, form, meaning): &(&str, super::operators::Form, &'static str)| Operator {
        call: format!("{name}({})", form.arguments().join(", ")),
        meaning,
    };
    OPERATORS.iter().map(entry).collect()
}

impl Expression {
    /// Takes the expression apart.
    pub fn explain(&self) -> Explained {
        Explained {
            canonical: self.to_string(),
            fields: self.fields().into_iter().collect(),
            lookback_bars: self.lookback_bars(),
            looks_back_to_the_first_bar: self.looks_back_to_the_first_bar(),
            horizon_bars: self.horizon_bars(),
            cross_sectional: self.is_cross_sectional(),
            steps: Plan::new([&self.root]).ops().len(),
            tree: part(&self.root),
        }
    }
}

fn part(node: &Node) -> Part {
    let text = node.to_string();
    let meaning = text.split_once('(').and_then(|(name, _)| {
        OPERATORS.iter().find(|(known, ..)| *known == name).map(|(_, _, meaning)| *meaning)
    });
    Part {
        meaning: meaning.filter(|_| !matches!(node, Node::Field(_) | Node::Binary(..))),
        lookback_bars: usize::try_from(-node.offsets().oldest).unwrap_or(0),
        cost: cost(node),
        of: node.children().iter().map(part).collect(),
        text,
    }
}

fn cost(node: &Node) -> String {
    match node {
        Node::Rolling(Stat::Mad, _, Window::Bars(bars)) => format!("O({bars})"),
        Node::Rolling(Stat::Mad, ..) | Node::Ema(_, 0.0) => "O(bars so far)".to_owned(),
        Node::Rolling(Stat::Quantile(_) | Stat::Rank, _, Window::Expanding) => {
            "O(log bars so far)".to_owned()
        }
        Node::Rolling(_, _, Window::Bars(bars)) | Node::Pair(_, _, Window::Bars(bars)) => {
            format!("O(log {bars})")
        }
        Node::Cross(..) | Node::Neutralize(_) => "O(log universe), once the time is closed".to_owned(),
        _ => "O(1)".to_owned(),
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.canonical)?;
        write(&self.tree, f, 1)
    }
}

fn write(part: &Part, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
    let indent = "  ".repeat(depth);
    let meaning = part.meaning.map(|meaning| format!("; {meaning}")).unwrap_or_default();
    writeln!(f, "{indent}{}  [looks back {} bars, {}{meaning}]", part.text, part.lookback_bars, part.cost)?;
    // What is read as it is needs no line of its own.
    part.of.iter().filter(|part| !part.of.is_empty()).try_for_each(|part| write(part, f, depth + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_taken_apart() {
        let explained = Expression::parse("Mean($close - Ref($close,1), 20)/Std($close,60)")
            .expect("well formed")
            .explain();
        assert_eq!(explained.canonical, "Mean($close-Ref($close,1),20)/Std($close,60)");
        assert_eq!((explained.lookback_bars, explained.horizon_bars, explained.steps), (59, 0, 6));
        assert_eq!(explained.tree.of[0].lookback_bars, 20);
        assert_eq!(explained.tree.of[0].cost, "O(log 20)");
        assert!(explained.tree.of[0].meaning.is_some_and(|meaning| meaning.starts_with("mean")));
        let shown = explained.to_string();
        assert!(
            shown.contains("\n    Std($close,60)  [looks back 59 bars, O(log 60); standard deviation"),
            "{shown}"
        );
    }

    #[test]
    fn what_reads_the_whole_history_or_other_instruments_says_so() {
        let explained = Expression::parse("CSRank(EMA($close,12))").expect("well formed").explain();
        assert!(explained.looks_back_to_the_first_bar && explained.cross_sectional);
        assert!(operators().iter().any(|operator| operator.call == "Corr(x, y, window)"));
    }
}
