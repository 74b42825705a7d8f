//! Text to tokens, each with its 1-based column.

/// What is wrong, and at which 1-based column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) column: usize,
    pub(super) reason: String,
}

impl SyntaxError {
    pub(super) fn new(column: usize, reason: impl Into<String>) -> Self {
        Self { column, reason: reason.into() }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// `$close`, without the `$`; `$$roe` keeps one.
    Field(String),
    /// An operator's name.
    Name(String),
    Number(f64),
    /// `'BRK.B'` or `"BRK.B"`, without the quotes.
    Text(String),
    /// `( ) , + - * / > >= < <= == !=`
    Symbol(&'static str),
    End,
}

impl Token {
    /// The token as a message shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Field(name) => format!("\"${name}\""),
            Self::Name(name) => format!("\"{name}\""),
            Self::Number(value) => format!("\"{value}\""),
            Self::Text(text) => format!("'{text}'"),
            Self::Symbol(symbol) => format!("\"{symbol}\""),
            Self::End => "the end".to_owned(),
        }
    }
}

/// A token and the column it begins at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) column: usize,
}

/// Longest first, so that `>=` is not read as `>`.
const SYMBOLS: [&str; 13] = [">=", "<=", "==", "!=", "(", ")", ",", "+", "-", "*", "/", ">", "<"];

/// What a text stands between; one cannot hold the other, so that every text can be written with the first.
const QUOTES: [char; 2] = ['\'', '"'];

/// Cuts a text into tokens; the last one is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, SyntaxError> {
    let chars: Vec<char> = text.chars().collect();
    let mut placed = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if chars[at].is_whitespace() {
            at += 1;
            continue;
        }
        let (token, next) = token(&chars, at)?;
        placed.push(Placed { token, column: at + 1 });
        at = next;
    }
    placed.push(Placed { token: Token::End, column: chars.len() + 1 });
    Ok(placed)
}

fn token(chars: &[char], at: usize) -> Result<(Token, usize), SyntaxError> {
    let first = chars[at];
    if first == '$' {
        let begin = at + 1 + usize::from(chars.get(at + 1) == Some(&'$'));
        let end = word_end(chars, begin);
        if end == begin {
            return Err(SyntaxError::new(at + 1, "a field's name must follow \"$\", as in $close"));
        }
        return Ok((Token::Field(chars[at + 1..end].iter().collect()), end));
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let end = word_end(chars, at);
        return Ok((Token::Name(chars[at..end].iter().collect()), end));
    }
    if QUOTES.contains(&first) {
        let text: String = chars[at + 1..].iter().take_while(|c| !QUOTES.contains(c)).collect();
        let end = at + 1 + text.chars().count();
        if chars.get(end) != Some(&first) {
            return Err(SyntaxError::new(at + 1, format!("the closing {first} is missing")));
        }
        return Ok((Token::Text(text), end + 1));
    }
    if first.is_ascii_digit() || first == '.' {
        return number(chars, at);
    }
    for symbol in SYMBOLS {
        let fits = symbol.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
        if fits {
            return Ok((Token::Symbol(symbol), at + symbol.len()));
        }
    }
    let hint = if first == '=' { "; write == to compare" } else { "" };
    Err(SyntaxError::new(at + 1, format!("unexpected character \"{first}\"{hint}")))
}

fn word_end(chars: &[char], from: usize) -> usize {
    let word = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    from + chars[from..].iter().take_while(|c| word(c)).count()
}

fn number(chars: &[char], at: usize) -> Result<(Token, usize), SyntaxError> {
    let digits = |from: usize| from + chars[from..].iter().take_while(|c| c.is_ascii_digit()).count();
    let mut end = digits(at);
    if chars.get(end) == Some(&'.') {
        end = digits(end + 1);
    }
    if matches!(chars.get(end), Some('e' | 'E')) {
        let sign = usize::from(matches!(chars.get(end + 1), Some('+' | '-')));
        end = digits(end + 1 + sign);
    }
    end = word_end(chars, end);
    let text: String = chars[at..end].iter().collect();
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok((Token::Number(value), end)),
        _ => Err(SyntaxError::new(at + 1, format!("\"{text}\" is not a number"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_tokens_with_columns() {
        let found = tokens("Mean($close, 5) >= 1e-12").expect("it is well formed");
        let shown: Vec<(usize, String)> = found.iter().map(|p| (p.column, p.token.shown())).collect();
        let expected = [
            (1, "\"Mean\""),
            (5, "\"(\""),
            (6, "\"$close\""),
            (12, "\",\""),
            (14, "\"5\""),
            (15, "\")\""),
            (17, "\">=\""),
            (20, "\"0.000000000001\""),
            (25, "the end"),
        ];
        assert_eq!(shown, expected.map(|(column, text)| (column, text.to_owned())));
    }

    #[test]
    fn what_is_no_token_is_named_with_its_column() {
        for (text, column, reason) in [
            ("$close & 1", 8, "unexpected character \"&\""),
            ("$close = 1", 8, "unexpected character \"=\"; write == to compare"),
            ("1 + $", 5, "a field's name must follow \"$\", as in $close"),
            ("2x", 1, "\"2x\" is not a number"),
            ("1e999", 1, "\"1e999\" is not a number"),
            ("1.2.3", 4, "\".3\" is not expected"),
        ] {
            match tokens(text) {
                Err(error) => assert_eq!(error, SyntaxError::new(column, reason), "{text}"),
                // Two numbers side by side are tokens; the parser refuses the second.
                Ok(found) => assert_eq!((found[1].column, &found[1].token), (column, &Token::Number(0.3))),
            }
        }
    }
}
