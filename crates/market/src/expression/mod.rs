//! The expression language: a subset of Qlib's, parsed, checked and planned here.
//!
//! `Mean($close,5)/$close` names fields by `$`, and operators as Qlib does. How an operator computes lives in
//! `kernel`; how a plan runs over a panel lives in `feature`.

mod display;
mod lexer;
mod operators;
mod parser;
mod plan;

use std::collections::BTreeSet;
use std::fmt;

pub(crate) use operators::{Binary, Rolling, Unary};
pub(crate) use plan::{NodeId, Op, Plan};

use crate::{Error, Result};

/// A parsed expression. It prints in a canonical form that parses to the same expression.
#[derive(Debug, Clone)]
pub struct Expression {
    root: Node,
    text: String,
    look_ahead_column: Option<usize>,
    offsets: Offsets,
}

/// The bars an expression reads, relative to the bar it is computed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub(crate) oldest: i64,
    pub(crate) newest: i64,
}

impl Offsets {
    pub(crate) const NOW: Self = Self { oldest: 0, newest: 0 };

    pub(crate) fn union(self, other: Self) -> Self {
        Self { oldest: self.oldest.min(other.oldest), newest: self.newest.max(other.newest) }
    }

    /// As seen from an operator that reads its argument `bars` ago.
    pub(crate) fn shifted(self, bars: i64) -> Self {
        Self { oldest: self.oldest - bars, newest: self.newest - bars }
    }

    /// As seen from an operator that reads its argument over a window of so many bars.
    pub(crate) fn over(self, window: usize) -> Self {
        Self { oldest: self.oldest - (window as i64 - 1), newest: self.newest }
    }
}

/// A node of the syntax tree; windows are in bars.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Field(String),
    Number(f64),
    Unary(Unary, Box<Node>),
    Binary(Binary, Box<[Node; 2]>),
    If(Box<[Node; 3]>),
    Ref(Box<Node>, i64),
    Delta(Box<Node>, usize),
    Rolling(Rolling, Box<Node>, usize),
    Corr(Box<[Node; 2]>, usize),
}

impl Expression {
    /// Parses an expression.
    ///
    /// # Errors
    /// [`Error::Expression`] with the 1-based column, what is wrong there, and the nearest known operator.
    pub fn parse(text: &str) -> Result<Self> {
        let parsed = parser::parse(text).map_err(|found| Error::Expression {
            text: text.to_owned(),
            column: found.column,
            reason: found.reason,
        })?;
        let offsets = parsed.root.offsets();
        Ok(Self {
            root: parsed.root,
            text: text.to_owned(),
            look_ahead_column: parsed.look_ahead_column,
            offsets,
        })
    }

    /// The fields it reads, without `$`.
    pub fn fields(&self) -> BTreeSet<String> {
        let mut fields = BTreeSet::new();
        self.root.collect_fields(&mut fields);
        fields
    }

    /// How many bars before its own it reads.
    pub fn lookback_bars(&self) -> usize {
        usize::try_from(-self.offsets.oldest).unwrap_or(0)
    }

    /// How many bars after its own it reads: more than 0 for a label, never for a feature.
    pub fn horizon_bars(&self) -> usize {
        usize::try_from(self.offsets.newest).unwrap_or(0)
    }

    /// An error about the place that makes the expression look ahead.
    pub(crate) fn look_ahead_error(&self, reason: String) -> Error {
        let column = self.look_ahead_column.unwrap_or(1);
        Error::Expression { text: self.text.clone(), column, reason }
    }

    pub(crate) fn root(&self) -> &Node {
        &self.root
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl Node {
    fn children(&self) -> &[Node] {
        match self {
            Self::Field(_) | Self::Number(_) => &[],
            Self::Unary(_, child)
            | Self::Ref(child, _)
            | Self::Delta(child, _)
            | Self::Rolling(_, child, _) => std::slice::from_ref(child),
            Self::Binary(_, children) | Self::Corr(children, _) => children.as_slice(),
            Self::If(children) => children.as_slice(),
        }
    }

    fn collect_fields(&self, fields: &mut BTreeSet<String>) {
        if let Self::Field(name) = self {
            fields.insert(name.clone());
        }
        for child in self.children() {
            child.collect_fields(fields);
        }
    }

    fn offsets(&self) -> Offsets {
        let inner = self.children().iter().map(Self::offsets).reduce(Offsets::union).unwrap_or(Offsets::NOW);
        match self {
            Self::Ref(_, bars) => inner.shifted(*bars),
            Self::Delta(_, bars) => inner.union(inner.shifted(*bars as i64)),
            Self::Rolling(_, _, window) | Self::Corr(_, window) => inner.over(*window),
            _ => inner,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn look_back_and_horizon_follow_the_operators() {
        for (text, lookback, horizon) in [
            ("$close", 0, 0),
            ("Ref($close,60)/$close", 60, 0),
            ("Mean($close,60)", 59, 0),
            ("Sum(Abs($close-Ref($close,1)),60)", 60, 0),
            ("Delta(Mean($close,5),3)", 7, 0),
            ("Ref($close,-2)/Ref($close,-1)-1", 0, 2),
            ("Mean(Ref($close,-5),5)", 0, 5),
            ("Ref(Ref($close,-2),3)", 1, 0),
            ("Corr($close,Log($volume+1),20)", 19, 0),
            ("1", 0, 0),
        ] {
            let parsed = Expression::parse(text).expect(text);
            assert_eq!((parsed.lookback_bars(), parsed.horizon_bars()), (lookback, horizon), "{text}");
        }
    }

    #[test]
    fn fields_are_collected_once() {
        let parsed = Expression::parse("($close-$open)/($high-$low+1e-12)+$close").expect("it parses");
        let fields: Vec<String> = parsed.fields().into_iter().collect();
        assert_eq!(fields, ["close", "high", "low", "open"]);
    }

    fn nodes() -> impl Strategy<Value = Node> {
        let leaf = prop_oneof![
            prop::sample::select(vec!["close", "volume"]).prop_map(|name| Node::Field(name.to_owned())),
            prop_oneof![-1e9..1e9, Just(1e-12), Just(0.5), Just(-3.0)].prop_map(Node::Number),
        ];
        let unary = prop::sample::select(vec![Unary::Neg, Unary::Abs, Unary::Log, Unary::Not]);
        let binary = prop::sample::select(vec![
            Binary::Add,
            Binary::Sub,
            Binary::Mul,
            Binary::Div,
            Binary::Gt,
            Binary::Eq,
            Binary::Power,
            Binary::And,
        ]);
        leaf.prop_recursive(5, 40, 3, move |inner| {
            let boxed = inner.clone().prop_map(Box::new);
            let pair = (inner.clone(), inner.clone()).prop_map(|(a, b)| Box::new([a, b]));
            prop_oneof![
                (unary.clone(), boxed.clone()).prop_filter_map("a signed number is a number", |(op, of)| {
                    let folds = op == Unary::Neg && matches!(*of, Node::Number(_));
                    (!folds).then_some(Node::Unary(op, of))
                }),
                (binary.clone(), pair.clone()).prop_map(|(op, of)| Node::Binary(op, of)),
                (pair.clone(), 2usize..90).prop_map(|(of, window)| Node::Corr(of, window)),
                (boxed.clone(), prop_oneof![-5i64..0, 1i64..90]).prop_map(|(of, bars)| Node::Ref(of, bars)),
                (boxed.clone(), 1usize..90).prop_map(|(of, bars)| Node::Delta(of, bars)),
                (boxed.clone(), 1usize..90).prop_map(|(of, window)| Node::Rolling(
                    Rolling::Slope,
                    of,
                    window
                )),
                (inner.clone(), pair).prop_map(|(condition, of)| {
                    let [yes, no] = *of;
                    Node::If(Box::new([condition, yes, no]))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same_tree(node in nodes()) {
            let text = node.to_string();
            let parsed = Expression::parse(&text).expect("own text is well formed");
            prop_assert_eq!(parsed.root(), &node, "{}", text);
        }
    }
}
