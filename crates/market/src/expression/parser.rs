//! Tokens to a syntax tree, by precedence climbing.

use super::Node;
use super::lexer::{Placed, SyntaxError, Token, tokens};
use super::operators::{ADDITIVE, COMPARISON, Form, INFIX, MULTIPLICATIVE, OPERATORS, REFUSED, Unary};
use crate::kernel::{Level, Stat, Window};
use crate::nearest::unknown;
use crate::periods::{SEPARATOR, period_order};

/// Longer expressions are refused.
const MAX_CHARS: usize = 4_096;
/// Deeper nesting of parentheses and calls is refused.
const MAX_DEPTH: usize = 64;
/// The longest window or reference, in bars.
const MAX_WINDOW_BARS: usize = 10_000;

/// A syntax tree, and where it refers to later bars first.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) root: Node,
    pub(super) look_ahead_column: Option<usize>,
}

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<Parsed, SyntaxError> {
    let chars = text.chars().count();
    if chars > MAX_CHARS {
        let reason = format!("it has {chars} characters, more than the limit of {MAX_CHARS}");
        return Err(SyntaxError::new(MAX_CHARS + 1, reason));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens, at: 0, depth: 0, look_ahead_column: None, point_in_time: false };
    let root = parser.binary(COMPARISON)?;
    let rest = parser.peek();
    if rest.token != Token::End {
        let reason = format!("{} is not expected here; an operator or the end is", rest.token.shown());
        return Err(SyntaxError::new(rest.column, reason));
    }
    Ok(Parsed { root, look_ahead_column: parser.look_ahead_column })
}

struct Parser {
    tokens: Vec<Placed>,
    at: usize,
    depth: usize,
    look_ahead_column: Option<usize>,
    /// Whether the argument of `P` is being read.
    point_in_time: bool,
}

/// An argument of a call and where it begins.
struct Argument {
    node: Node,
    column: usize,
}

impl Parser {
    fn peek(&self) -> &Placed {
        &self.tokens[self.at]
    }

    fn next(&mut self) -> Placed {
        let placed = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        placed
    }

    fn expect(
        &mut self,
        symbol: &'static str,
        reason: impl FnOnce(&Token) -> String,
    ) -> Result<(), SyntaxError> {
        let placed = self.next();
        if placed.token == Token::Symbol(symbol) {
            return Ok(());
        }
        Err(SyntaxError::new(placed.column, reason(&placed.token)))
    }

    fn binary(&mut self, level: u8) -> Result<Node, SyntaxError> {
        if level > MULTIPLICATIVE {
            return self.signed();
        }
        let mut left = self.binary(level + 1)?;
        let mut compared = false;
        loop {
            let Token::Symbol(symbol) = self.peek().token else { return Ok(left) };
            let Some((_, operator, _)) =
                INFIX.iter().find(|(known, _, binds)| *known == symbol && *binds == level)
            else {
                return Ok(left);
            };
            let column = self.next().column;
            if compared {
                let reason = "comparisons do not chain; write And(a > b, b > c)";
                return Err(SyntaxError::new(column, reason));
            }
            let right = self.binary(level + 1)?;
            left = Node::Binary(*operator, Box::new([left, right]));
            compared = level < ADDITIVE;
        }
    }

    fn signed(&mut self) -> Result<Node, SyntaxError> {
        if self.peek().token != Token::Symbol("-") {
            return self.atom();
        }
        let column = self.next().column;
        let operand = self.nested(column, Self::signed)?;
        Ok(match operand {
            Node::Number(value) => Node::Number(-value),
            other => Node::Unary(Unary::Neg, Box::new(other)),
        })
    }

    fn atom(&mut self) -> Result<Node, SyntaxError> {
        let Placed { token, column } = self.next();
        match token {
            Token::Number(value) => Ok(Node::Number(value)),
            Token::Field(name) if name.starts_with('$') != self.point_in_time => {
                let reason = if self.point_in_time {
                    format!("P takes a field by its date of publication, as in P($${name})")
                } else {
                    format!(
                        "a field by its date of publication is written P(${name}); operators go around it, and run over \
                         bars: Mean(P(${name}),5)"
                    )
                };
                Err(SyntaxError::new(column, reason))
            }
            Token::Field(name) => Ok(Node::Field(name.to_lowercase())),
            Token::Symbol("(") => {
                let inner = self.nested(column, |parser| parser.binary(COMPARISON))?;
                self.expect(")", |found| format!("\")\" is expected, found {}", found.shown()))?;
                Ok(inner)
            }
            Token::Name(name) => self.call(&name, column),
            other => {
                let reason =
                    format!("a field, a number, an operator or \"(\" is expected, found {}", other.shown());
                Err(SyntaxError::new(column, reason))
            }
        }
    }

    /// Runs a step one level deeper.
    fn nested(
        &mut self,
        column: usize,
        step: impl FnOnce(&mut Self) -> Result<Node, SyntaxError>,
    ) -> Result<Node, SyntaxError> {
        if self.depth == MAX_DEPTH {
            return Err(SyntaxError::new(column, format!("it nests deeper than the limit of {MAX_DEPTH}")));
        }
        self.depth += 1;
        let result = step(self);
        self.depth -= 1;
        result
    }

    fn call(&mut self, name: &str, column: usize) -> Result<Node, SyntaxError> {
        let Some((name, form, _)) = OPERATORS.iter().find(|(known, ..)| *known == name) else {
            if let Some((_, why)) = REFUSED.iter().find(|(known, _)| *known == name) {
                return Err(SyntaxError::new(column, format!("{name} is refused: {why}")));
            }
            let names: Vec<&str> = OPERATORS.iter().map(|(name, ..)| *name).collect();
            let reason = unknown("operator", name, &names);
            return Err(SyntaxError::new(column, reason));
        };
        let usage = || format!("{name}({})", form.arguments().join(", "));
        self.expect("(", |found| format!("\"(\" is expected as in {}, found {}", usage(), found.shown()))?;
        let mut arguments = Vec::new();
        loop {
            arguments.push(self.argument(*form, arguments.len())?);
            let placed = self.next();
            match placed.token {
                Token::Symbol(",") => {}
                Token::Symbol(")") => break,
                other => {
                    let reason =
                        format!("\",\" or \")\" is expected in {}, found {}", usage(), other.shown());
                    return Err(SyntaxError::new(placed.column, reason));
                }
            }
        }
        if arguments.len() != form.arguments().len() {
            let reason = format!("{} takes {}, got {}", usage(), form.arguments().len(), arguments.len());
            return Err(SyntaxError::new(column, reason));
        }
        self.build(*form, arguments)
    }

    fn argument(&mut self, form: Form, place: usize) -> Result<Argument, SyntaxError> {
        let Placed { token, column } = self.peek().clone();
        let called = self.tokens.get(self.at + 1).is_some_and(|next| next.token == Token::Symbol("("));
        match (form, place, token) {
            // An instrument's symbol, as it is written.
            (Form::Mask, 1, Token::Name(symbol) | Token::Text(symbol))
            | (Form::ChangeInstrument, 0, Token::Name(symbol) | Token::Text(symbol)) => {
                self.next();
                Ok(Argument { node: Node::Field(symbol), column })
            }
            // A period, as the table of published values writes it.
            (Form::OfPeriod, 1, Token::Text(period)) => {
                self.next();
                Ok(Argument { node: Node::Field(period), column })
            }
            (Form::Neutralize, 1, Token::Name(group)) if !called => {
                self.next();
                Ok(Argument { node: Node::Field(group.to_lowercase()), column })
            }
            _ => {
                let published = form == Form::PointInTime || (form, place) == (Form::OfPeriod, 0);
                let outside = std::mem::replace(&mut self.point_in_time, published);
                let node = self.nested(column, |parser| parser.binary(COMPARISON))?;
                self.point_in_time = outside;
                Ok(Argument { node, column })
            }
        }
    }

    fn build(&mut self, form: Form, arguments: Vec<Argument>) -> Result<Node, SyntaxError> {
        let mut rest = arguments.into_iter();
        let mut take = || rest.next().expect("the number of arguments was checked");
        Ok(match form {
            Form::Unary(operator) => Node::Unary(operator, Box::new(take().node)),
            Form::Binary(operator) => Node::Binary(operator, Box::new([take().node, take().node])),
            Form::If => Node::If(Box::new([take().node, take().node, take().node])),
            Form::Rolling(stat) => {
                let of = Box::new(take().node);
                rolling(stat, of, &take())?
            }
            Form::Ema => {
                let of = Box::new(take().node);
                ema(of, &take())?
            }
            Form::Delta => {
                let of = Box::new(take().node);
                Node::Delta(of, delta(&take())?)
            }
            Form::Pair(stat) => {
                let of = Box::new([take().node, take().node]);
                Node::Pair(stat, of, finite_or_all(&take())?)
            }
            Form::Median => {
                let of = Box::new(take().node);
                rolling(Stat::Quantile(Level::MEDIAN), of, &take())?
            }
            Form::Quantile => {
                let of = Box::new(take().node);
                let window = finite_or_all(&take())?;
                Node::Rolling(Stat::Quantile(level(&take())?), of, window)
            }
            Form::Ref => {
                let of = Box::new(take().node);
                let bars = take();
                let shift = reference(&bars)?;
                if shift < 0 {
                    self.look_ahead_column.get_or_insert(bars.column);
                }
                Node::Ref(of, shift)
            }
            Form::Cross(operator) => Node::Cross(operator, Box::new(take().node)),
            Form::Neutralize => Node::Neutralize(Box::new([take().node, take().node])),
            Form::Mask => {
                let of = take().node;
                masked(of, take(), "Mask($close, 'BRK.B')")?
            }
            Form::ChangeInstrument => {
                let instrument = take();
                masked(take().node, instrument, "ChangeInstrument('BRK.B', $close)")?
            }
            Form::PointInTime => {
                let field = take();
                if !matches!(field.node, Node::Field(_)) {
                    let reason = "P takes a field by its date of publication alone, as in P($$roe); operators go around \
                                  it, and run over bars: Mean(P($$roe),5)";
                    return Err(SyntaxError::new(field.column, reason));
                }
                field.node
            }
            Form::OfPeriod => {
                let field = take();
                of_period(&field, &take())?
            }
        })
    }
}

/// A value of another instrument; `usage` is how it is written.
fn masked(of: Node, instrument: Argument, usage: &str) -> Result<Node, SyntaxError> {
    match instrument.node {
        Node::Field(symbol) => Ok(Node::Mask(Box::new(of), symbol)),
        other => {
            let reason = format!("an instrument's symbol is expected, as in {usage}, got {other}");
            Err(SyntaxError::new(instrument.column, reason))
        }
    }
}

/// One period of a published value, by the name a panel knows it by.
fn of_period(field: &Argument, period: &Argument) -> Result<Node, SyntaxError> {
    let Node::Field(name) = &field.node else {
        let reason = "PRef takes a field by its date of publication alone, as in PRef($$roe, '2020Q1')";
        return Err(SyntaxError::new(field.column, reason));
    };
    let text = match &period.node {
        Node::Field(text) => text.clone(),
        Node::Number(number) => number.to_string(),
        other => other.to_string(),
    };
    if period_order(&text).is_none() {
        let reason =
            format!("a period is expected, such as 2020, 202003, '2020Q1' or '2020-03-31', got {text}");
        return Err(SyntaxError::new(period.column, reason));
    }
    Ok(Node::Field(format!("{name}{SEPARATOR}{text}")))
}

fn whole(argument: &Argument) -> Option<i64> {
    match argument.node {
        Node::Number(value) if value.fract() == 0.0 && value.abs() <= MAX_WINDOW_BARS as f64 => {
            Some(value as i64)
        }
        _ => None,
    }
}

/// A window of so many bars, or of all bars so far.
fn finite_or_all(argument: &Argument) -> Result<Window, SyntaxError> {
    match whole(argument) {
        Some(0) => Ok(Window::Expanding),
        Some(bars) if bars > 0 => Ok(Window::Bars(bars.unsigned_abs() as usize)),
        _ => {
            let reason = format!(
                "a window must be a whole number of bars from 1 to {MAX_WINDOW_BARS}, or 0 for all bars so far, got {}",
                argument.node
            );
            Err(SyntaxError::new(argument.column, reason))
        }
    }
}

/// The operators whose window Qlib hands to pandas by name: with a decay in its place, each is the exponentially
/// weighted mean.
fn decays_to_mean(stat: Stat) -> bool {
    matches!(stat, Stat::Mean | Stat::Sum | Stat::Std | Stat::Var | Stat::Max | Stat::Min | Stat::Count)
        || stat == Stat::Quantile(Level::MEDIAN)
}

/// A statistic over a window; over a decay what Qlib makes of it.
fn rolling(stat: Stat, of: Box<Node>, argument: &Argument) -> Result<Node, SyntaxError> {
    if let Some(alpha) = decay(argument) {
        if decays_to_mean(stat) {
            return Ok(Node::Rolling(Stat::Mean, of, Window::Decay(alpha.to_bits())));
        }
        let reason = format!(
            "a decay as window ({alpha}) has no meaning for this operator; Mean and EMA take one, and Sum, Std, Var, \
             Max, Min, Med and Count become the mean, as in Qlib"
        );
        return Err(SyntaxError::new(argument.column, reason));
    }
    let window = finite_or_all(argument)?;
    let least = match stat {
        Stat::Skew => 3,
        Stat::Kurt => 4,
        _ => 1,
    };
    match window {
        Window::Bars(bars) if bars < least => {
            let reason = format!("its window must be at least {least} bars, got {bars}");
            Err(SyntaxError::new(argument.column, reason))
        }
        window => Ok(Node::Rolling(stat, of, window)),
    }
}

fn decay(argument: &Argument) -> Option<f64> {
    match argument.node {
        Node::Number(value) if value > 0.0 && value < 1.0 => Some(value),
        _ => None,
    }
}

fn ema(of: Box<Node>, argument: &Argument) -> Result<Node, SyntaxError> {
    if let Some(alpha) = decay(argument) {
        return Ok(Node::Rolling(Stat::Mean, of, Window::Decay(alpha.to_bits())));
    }
    match argument.node {
        Node::Number(span) if span == 0.0 || (1.0..=MAX_WINDOW_BARS as f64).contains(&span) => {
            Ok(Node::Ema(of, span.abs()))
        }
        _ => {
            let reason = format!(
                "EMA needs a span from 1 to {MAX_WINDOW_BARS} bars, a decay between 0 and 1, or 0 for all bars so far, \
                 got {}",
                argument.node
            );
            Err(SyntaxError::new(argument.column, reason))
        }
    }
}

fn reference(argument: &Argument) -> Result<i64, SyntaxError> {
    whole(argument).ok_or_else(|| {
        let reason = format!(
            "Ref needs a whole number of bars up to {MAX_WINDOW_BARS}, negative for later bars, 0 for the first bar of \
             all, got {}",
            argument.node
        );
        SyntaxError::new(argument.column, reason)
    })
}

fn delta(argument: &Argument) -> Result<usize, SyntaxError> {
    whole(argument).and_then(|bars| usize::try_from(bars).ok()).ok_or_else(|| {
        let reason = format!(
            "Delta needs a whole number of bars up to {MAX_WINDOW_BARS}, 0 for the first bar of all, got {}",
            argument.node
        );
        SyntaxError::new(argument.column, reason)
    })
}

fn level(argument: &Argument) -> Result<Level, SyntaxError> {
    match argument.node {
        Node::Number(value) => Level::new(value),
        _ => None,
    }
    .ok_or_else(|| {
        let reason = format!("a quantile's level must be a number from 0 to 1, got {}", argument.node);
        SyntaxError::new(argument.column, reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qlib_reads_a_decay_as_the_mean_whatever_the_operator() {
        for (text, canonical) in [
            ("Std($close,0.3)", "Mean($close,0.3)"),
            ("Med($close,0.3)", "Mean($close,0.3)"),
            ("EMA($close,0.3)", "Mean($close,0.3)"),
            ("EMA($close,0)", "EMA($close,0)"),
            ("ChangeInstrument('BRK.B',$close)", "Mask($close,'BRK.B')"),
            ("Mask($close,\"BRK.B\")", "Mask($close,'BRK.B')"),
            ("ChangeInstrument(SPY,Mean($close,5))", "Mask(Mean($close,5),'SPY')"),
            ("PRef($$EPS,202001)", "PRef($$eps,'202001')"),
            ("PRef($$eps,'2020Q1')-P($$eps)", "PRef($$eps,'2020Q1')-P($$eps)"),
        ] {
            assert_eq!(parse(text).expect(text).root.to_string(), canonical, "{text}");
        }
        for (text, column, reason) in [
            ("Rank($close,0.3)", 13, "a decay as window (0.3) has no meaning for this operator"),
            ("Skew($close,0.3)", 13, "a decay as window (0.3) has no meaning for this operator"),
            (
                "PRef($$eps,'soon')",
                12,
                "a period is expected, such as 2020, 202003, '2020Q1' or '2020-03-31', got soon",
            ),
            ("PRef($close,2020)", 6, "PRef"),
            ("ChangeInstrument($close+1,$close)", 18, "an instrument's symbol is expected"),
            ("TResample($close,'W','sum')", 1, "TResample is refused: a span is stamped with its start"),
        ] {
            let (at, found) = refusal(text);
            assert!(
                found.starts_with(reason) || (reason == "PRef" && found.contains("P($$close)")),
                "{text}: {found}"
            );
            assert_eq!(at, column, "{text}: {found}");
        }
    }

    fn refusal(text: &str) -> (usize, String) {
        let error = parse(text).expect_err(text);
        (error.column, error.reason)
    }

    #[test]
    fn operators_bind_as_in_python() {
        for (text, canonical) in [
            ("1+2*3", "1+2*3"),
            ("(1+2)*3", "(1+2)*3"),
            ("$a-$b-$c", "$a-$b-$c"),
            ("$a-($b-$c)", "$a-($b-$c)"),
            ("$a/($b*$c)", "$a/($b*$c)"),
            ("-$a*$b", "-$a*$b"),
            ("-($a*$b)", "-($a*$b)"),
            ("--2", "2"),
            ("$a+1>$b*2", "$a+1>$b*2"),
            ("($a>$b)-($a<$b)", "($a>$b)-($a<$b)"),
            ("Gt($a, $b)", "$a>$b"),
            ("Sub(Add($a,1),2)", "$a+1-2"),
            (" Mean ( $Close , 5 ) ", "Mean($close,5)"),
            ("Quantile($close,5,.8)", "Quantile($close,5,0.8)"),
            ("Med($close,5)", "Quantile($close,5,0.5)"),
            ("Ref($close,-2)", "Ref($close,-2)"),
            ("If(And($a>1,Not($b)),$a,-$b)", "If(And($a>1,Not($b)),$a,-$b)"),
            ("Corr($close,Log($volume+1),20)", "Corr($close,Log($volume+1),20)"),
            ("Mean($close,0)+Mean($close,.5)", "Mean($close,0)+Mean($close,0.5)"),
            ("EMA($close,20)-EMA($close,0.1)", "EMA($close,20)-Mean($close,0.1)"),
            ("CSNeutralize(CSRank($close), Sector)", "CSNeutralize(CSRank($close),$sector)"),
            ("Mask($close, SP500)/Mask($close,'BRK.B')", "Mask($close,'SP500')/Mask($close,'BRK.B')"),
            ("P($$ROE)/$close", "P($$roe)/$close"),
            ("Ref($close,0)+Delta($close,0)", "Ref($close,0)+Delta($close,0)"),
        ] {
            assert_eq!(parse(text).expect(text).root.to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn an_unknown_operator_is_named_with_column_and_suggestion() {
        let (column, reason) = refusal("1+Maen($close,5)");
        assert_eq!(column, 3);
        assert!(reason.starts_with("unknown operator \"Maen\"; did you mean \"Mean\"? operators: Abs, Add"));
        let (column, reason) = refusal("$close > mean($close,5)");
        assert_eq!(column, 10);
        assert!(reason.contains("did you mean \"Mean\"?"), "{reason}");
    }

    #[test]
    fn mistakes_are_named_with_their_column() {
        for (text, column, reason) in [
            ("", 1, "a field, a number, an operator or \"(\" is expected, found the end"),
            ("$close+", 8, "a field, a number, an operator or \"(\" is expected, found the end"),
            ("($close", 8, "\")\" is expected, found the end"),
            ("$close $open", 8, "\"$open\" is not expected here; an operator or the end is"),
            ("Mean", 5, "\"(\" is expected as in Mean(x, window), found the end"),
            ("Mean($close)", 1, "Mean(x, window) takes 2, got 1"),
            ("Mean($close,5", 14, "\",\" or \")\" is expected in Mean(x, window), found the end"),
            ("$a<$b<$c", 6, "comparisons do not chain; write And(a > b, b > c)"),
            ("Quantile($close,5,1.5)", 19, "a quantile's level must be a number from 0 to 1, got 1.5"),
        ] {
            assert_eq!(refusal(text), (column, reason.to_owned()), "{text}");
        }
        for (text, column, part) in [
            ("Std($close,1.5)", 12, "got 1.5"),
            ("Mean($close,-5)", 13, "got -5"),
            ("Mean($close,$open)", 13, "got $open"),
            ("Mean($close,1e9)", 13, "from 1 to 10000"),
            ("Ref($close,0.5)", 12, "got 0.5"),
            ("Skew($close,2)", 13, "at least 3 bars, got 2"),
            ("EMA($close,-1)", 12, "a span from 1 to 10000 bars"),
            ("P($roe)", 3, "as in P($$roe)"),
            ("$$roe+1", 1, "is written P($$roe)"),
            ("P($$roe+1)", 3, "alone, as in P($$roe); operators go around it"),
            ("P(Mean($$roe,4))", 8, "operators go around it, and run over bars: Mean(P($$roe),5)"),
            ("Mask($close,$open+1)", 13, "an instrument's symbol is expected"),
            ("Mask($close,'SP", 13, "closing"),
        ] {
            let (found, reason) = refusal(text);
            assert_eq!(found, column, "{text}");
            assert!(reason.contains(part), "{text}: {reason}");
        }
    }

    #[test]
    fn size_and_depth_are_limited() {
        let (_, reason) = refusal(&"(".repeat(100));
        assert_eq!(reason, "it nests deeper than the limit of 64");
        let (_, reason) = refusal(&"-".repeat(100));
        assert_eq!(reason, "it nests deeper than the limit of 64");
        let (_, reason) = refusal(&"1+".repeat(3_000));
        assert_eq!(reason, "it has 6000 characters, more than the limit of 4096");
    }
}
