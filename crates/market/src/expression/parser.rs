//! Tokens to a syntax tree, by precedence climbing.

use super::Node;
use super::lexer::{Placed, SyntaxError, Token, tokens};
use super::operators::{ADDITIVE, COMPARISON, Form, INFIX, Level, MULTIPLICATIVE, OPERATORS, Rolling, Unary};
use crate::nearest::unknown;

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
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, look_ahead_column: None };
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
        let Some((name, form)) = OPERATORS.iter().find(|(known, _)| *known == name) else {
            let names: Vec<&str> = OPERATORS.iter().map(|(name, _)| *name).collect();
            let reason = unknown("operator", name, &names);
            return Err(SyntaxError::new(column, reason));
        };
        let usage = || format!("{name}({})", form.arguments().join(", "));
        self.expect("(", |found| format!("\"(\" is expected as in {}, found {}", usage(), found.shown()))?;
        let mut arguments = Vec::new();
        loop {
            let start = self.peek().column;
            let node = self.nested(start, |parser| parser.binary(COMPARISON))?;
            arguments.push(Argument { node, column: start });
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

    fn build(&mut self, form: Form, arguments: Vec<Argument>) -> Result<Node, SyntaxError> {
        let mut rest = arguments.into_iter();
        let mut take = || rest.next().expect("the number of arguments was checked");
        Ok(match form {
            Form::Unary(operator) => Node::Unary(operator, Box::new(take().node)),
            Form::Binary(operator) => Node::Binary(operator, Box::new([take().node, take().node])),
            Form::If => Node::If(Box::new([take().node, take().node, take().node])),
            Form::Rolling(operator) => Node::Rolling(operator, Box::new(take().node), window(&take())?),
            Form::Delta => Node::Delta(Box::new(take().node), window(&take())?),
            Form::Corr => Node::Corr(Box::new([take().node, take().node]), window(&take())?),
            Form::Median => {
                let of = Box::new(take().node);
                Node::Rolling(Rolling::Quantile(Level::MEDIAN), of, window(&take())?)
            }
            Form::Quantile => {
                let of = Box::new(take().node);
                let window = window(&take())?;
                Node::Rolling(Rolling::Quantile(level(&take())?), of, window)
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
        })
    }
}

fn whole(argument: &Argument) -> Option<i64> {
    match argument.node {
        Node::Number(value) if value.fract() == 0.0 && value.abs() <= MAX_WINDOW_BARS as f64 => {
            Some(value as i64)
        }
        _ => None,
    }
}

fn window(argument: &Argument) -> Result<usize, SyntaxError> {
    whole(argument).and_then(|bars| usize::try_from(bars).ok()).filter(|bars| *bars > 0).ok_or_else(|| {
        let reason = format!(
            "a window must be a whole number of bars from 1 to {MAX_WINDOW_BARS}, got {}; windows without a \
             finite look-back (0, or a decay below 1) are refused",
            argument.node
        );
        SyntaxError::new(argument.column, reason)
    })
}

fn reference(argument: &Argument) -> Result<i64, SyntaxError> {
    whole(argument).filter(|bars| *bars != 0).ok_or_else(|| {
        let reason = format!(
            "Ref needs a whole number of bars from 1 to {MAX_WINDOW_BARS}, or negative for later bars, got {}; 0 \
             would mean the first bar ever, which no finite look-back holds",
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
            ("Mean($close,0)", 13, "got 0"),
            ("Mean($close,0.5)", 13, "got 0.5"),
            ("Mean($close,$open)", 13, "got $open"),
            ("Mean($close,1e9)", 13, "from 1 to 10000"),
            ("Ref($close,0)", 12, "0 would mean the first bar ever"),
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
