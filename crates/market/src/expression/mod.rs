//! The expression language: Qlib's, and operators across instruments; parsed, checked and planned here.
//!
//! `Mean($close,5)/$close` names fields by `$`, and operators as Qlib does. How an operator computes lives in
//! `kernel`; how a plan runs over a panel lives in `feature`.

mod display;
mod explain;
mod lexer;
mod operators;
mod parser;
mod plan;

use std::collections::BTreeSet;
use std::fmt;

pub use explain::{Explained, Operator, Part, operators};
pub(crate) use operators::{Binary, Cross, Unary};
pub(crate) use plan::{NodeId, Op, Plan, Step};

use crate::kernel::{PairStat, Stat, Window};
use crate::{Error, Result};

/// A parsed expression. It prints in a canonical form that parses to the same expression.
#[derive(Debug, Clone)]
pub struct Expression {
    root: Node,
    text: String,
    look_ahead_column: Option<usize>,
    offsets: Offsets,
}

/// The bars an expression needs, relative to the bar it is computed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub(crate) oldest: i64,
    pub(crate) newest: i64,
}

/// An offset that lies before any first bar, and stays there when others are added to it.
const FIRST_BAR: i64 = i64::MIN / 4;

impl Offsets {
    pub(crate) const NOW: Self = Self { oldest: 0, newest: 0 };

    pub(crate) fn union(self, other: Self) -> Self {
        Self { oldest: self.oldest.min(other.oldest), newest: self.newest.max(other.newest) }
    }

    /// As seen from an operator that reads its argument `bars` ago.
    pub(crate) fn shifted(self, bars: i64) -> Self {
        Self { oldest: self.oldest - bars, newest: self.newest - bars }
    }

    /// As seen from an operator that reads its argument from the first bar on.
    pub(crate) fn since_the_first_bar(self) -> Self {
        Self { oldest: FIRST_BAR, newest: self.newest }
    }

    /// As seen from an operator that reads its argument over a window; of one that reads all bars so far, the
    /// part that every row needs.
    pub(crate) fn over(self, window: Window) -> Self {
        match window {
            Window::Bars(bars) => Self { oldest: self.oldest - (bars as i64 - 1), newest: self.newest },
            Window::Expanding | Window::Decay(_) => self,
        }
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
    /// 0: the first value of all.
    Ref(Box<Node>, i64),
    /// 0: from the first value of all.
    Delta(Box<Node>, usize),
    Rolling(Stat, Box<Node>, Window),
    Ema(Box<Node>, f64),
    Pair(PairStat, Box<[Node; 2]>, Window),
    Cross(Cross, Box<Node>),
    /// The value and its group.
    Neutralize(Box<[Node; 2]>),
    /// Of another instrument.
    Mask(Box<Node>, String),
    /// What was computed across instruments before.
    Stored(usize),
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

    /// Whether it reads all bars back to an instrument's first: by a window of 0, a decay or `Ref(x,0)`.
    pub fn looks_back_to_the_first_bar(&self) -> bool {
        self.root.any(&|node| match node {
            Node::Ref(_, 0) | Node::Delta(_, 0) | Node::Ema(..) => true,
            Node::Rolling(_, _, window) | Node::Pair(_, _, window) => !matches!(window, Window::Bars(_)),
            _ => false,
        })
    }

    /// Whether it reads other instruments than the one it is computed for.
    pub fn is_cross_sectional(&self) -> bool {
        self.root.any(&|node| matches!(node, Node::Cross(..) | Node::Neutralize(_) | Node::Mask(..)))
    }

    /// How many bars before its own it reads, of any instrument; more only if
    /// [`Expression::looks_back_to_the_first_bar`].
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
    pub(crate) fn children(&self) -> &[Node] {
        match self {
            Self::Field(_) | Self::Number(_) | Self::Stored(_) => &[],
            Self::Unary(_, child)
            | Self::Ref(child, _)
            | Self::Delta(child, _)
            | Self::Rolling(_, child, _)
            | Self::Ema(child, _)
            | Self::Cross(_, child)
            | Self::Mask(child, _) => std::slice::from_ref(child),
            Self::Binary(_, children) | Self::Pair(_, children, _) | Self::Neutralize(children) => {
                children.as_slice()
            }
            Self::If(children) => children.as_slice(),
        }
    }

    pub(crate) fn children_mut(&mut self) -> &mut [Self] {
        match self {
            Self::Field(_) | Self::Number(_) | Self::Stored(_) => &mut [],
            Self::Unary(_, child)
            | Self::Ref(child, _)
            | Self::Delta(child, _)
            | Self::Rolling(_, child, _)
            | Self::Ema(child, _)
            | Self::Cross(_, child)
            | Self::Mask(child, _) => std::slice::from_mut(child),
            Self::Binary(_, children) | Self::Pair(_, children, _) | Self::Neutralize(children) => {
                children.as_mut_slice()
            }
            Self::If(children) => children.as_mut_slice(),
        }
    }

    fn any(&self, test: &impl Fn(&Self) -> bool) -> bool {
        test(self) || self.children().iter().any(|child| child.any(test))
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
        self.reach(Offsets::NOW)
    }

    /// The bars that must be there for results at `own`: those of each argument too, even where what it reads
    /// in the end is nearer, as in `Ref(Ref(x,-2),3)`.
    fn reach(&self, own: Offsets) -> Offsets {
        let read = match self {
            Self::Ref(_, bars) => own.shifted(*bars),
            Self::Delta(_, bars) => own.union(own.shifted(*bars as i64)),
            Self::Rolling(_, _, window) | Self::Pair(_, _, window) => own.over(*window),
            _ => own,
        };
        self.children().iter().map(|child| child.reach(read)).fold(own, Offsets::union)
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
            ("Mean(Ref($close,-5),5)", 4, 5),
            ("Ref(Ref($close,-2),3)", 3, 0),
            ("Ref(Ref($close,3),-2)", 1, 2),
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

    fn windows() -> impl Strategy<Value = Window> {
        prop_oneof![Just(Window::Expanding), (1usize..90).prop_map(Window::Bars)]
    }

    fn nodes() -> impl Strategy<Value = Node> {
        let leaf = prop_oneof![
            prop::sample::select(vec!["close", "volume", "$roe"])
                .prop_map(|name| Node::Field(name.to_owned())),
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
                (pair.clone(), windows()).prop_map(|(of, window)| Node::Pair(PairStat::Corr, of, window)),
                pair.clone().prop_map(Node::Neutralize),
                boxed.clone().prop_map(|of| Node::Cross(Cross::Zscore, of)),
                boxed.clone().prop_map(|of| Node::Mask(of, "BRK.B".to_owned())),
                (boxed.clone(), 1u32..90).prop_map(|(of, span)| Node::Ema(of, f64::from(span))),
                (boxed.clone(), -5i64..90).prop_map(|(of, bars)| Node::Ref(of, bars)),
                (boxed.clone(), 0usize..90).prop_map(|(of, bars)| Node::Delta(of, bars)),
                (boxed.clone(), windows()).prop_map(|(of, window)| Node::Rolling(Stat::Slope, of, window)),
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
