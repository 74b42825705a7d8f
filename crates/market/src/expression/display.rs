//! The canonical text of an expression: as few parentheses as it needs, no spaces.

use std::fmt;

use super::operators::{COMPARISON, Form, INFIX, SIGN, Unary, name_of};
use super::{Binary, Node};
use crate::kernel::{Stat, Window};
use crate::periods::SEPARATOR;

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self, f, COMPARISON)
    }
}

/// Writes a node where only operators that bind at least as tightly as `binds` may stand bare.
fn write(node: &Node, f: &mut fmt::Formatter<'_>, binds: u8) -> fmt::Result {
    match node {
        Node::Field(name) if name.starts_with('$') => match name.split_once(SEPARATOR) {
            Some((field, period)) => write!(f, "PRef(${field},'{period}')"),
            None => write!(f, "P(${name})"),
        },
        Node::Field(name) => write!(f, "${name}"),
        Node::Number(value) => number(*value, f),
        Node::Unary(Unary::Neg, of) => {
            write!(f, "-")?;
            write(of, f, SIGN)
        }
        Node::Unary(operator, of) => write!(f, "{}({of})", name_of(Form::Unary(*operator))),
        Node::Binary(operator, operands) => binary(*operator, operands, f, binds),
        Node::If(parts) => write!(f, "If({},{},{})", parts[0], parts[1], parts[2]),
        Node::Ref(of, bars) => write!(f, "Ref({of},{bars})"),
        Node::Delta(of, bars) => write!(f, "Delta({of},{bars})"),
        Node::Rolling(Stat::Quantile(level), of, window) => {
            write!(f, "Quantile({of},{window},{})", level.value())
        }
        Node::Rolling(operator, of, window) => {
            write!(f, "{}({of},{window})", name_of(Form::Rolling(*operator)))
        }
        Node::Ema(of, span) => {
            write!(f, "EMA({of},")?;
            number(*span, f)?;
            write!(f, ")")
        }
        Node::Pair(stat, of, window) => {
            write!(f, "{}({},{},{window})", name_of(Form::Pair(*stat)), of[0], of[1])
        }
        Node::Cross(operator, of) => write!(f, "{}({of})", name_of(Form::Cross(*operator))),
        Node::Neutralize(of) => write!(f, "CSNeutralize({},{})", of[0], of[1]),
        Node::Mask(of, instrument) => write!(f, "Mask({of},'{instrument}')"),
        Node::Stored(slot) => write!(f, "#{slot}"),
    }
}

fn binary(operator: Binary, operands: &[Node; 2], f: &mut fmt::Formatter<'_>, binds: u8) -> fmt::Result {
    let [left, right] = operands;
    let Some((symbol, _, own)) = INFIX.iter().find(|(_, known, _)| *known == operator) else {
        return write!(f, "{}({left},{right})", name_of(Form::Binary(operator)));
    };
    // Comparisons do not chain, so neither side of one may be another.
    let left_binds = if *own == COMPARISON { own + 1 } else { *own };
    let bare = *own >= binds;
    if !bare {
        write!(f, "(")?;
    }
    write(left, f, left_binds)?;
    write!(f, "{symbol}")?;
    write(right, f, own + 1)?;
    if !bare {
        write!(f, ")")?;
    }
    Ok(())
}

fn number(value: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let short = value == 0.0 || (1e-4..1e15).contains(&value.abs());
    if short { write!(f, "{value}") } else { write!(f, "{value:e}") }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bars(bars) => write!(f, "{bars}"),
            Self::Expanding => write!(f, "0"),
            Self::Decay(alpha) => number(f64::from_bits(*alpha), f),
        }
    }
}
