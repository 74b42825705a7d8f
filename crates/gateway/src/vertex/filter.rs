//! The `filter` of a list: <https://google.aip.dev/160>, as far as lists of models, versions, endpoints and operations need it.
//!
//! Comparisons `FIELD OP VALUE` with `=`, `!=`, `<`, `<=`, `>`, `>=` and `:` ("has"), joined by `AND` (or nothing), `OR` and
//! `NOT` (or `-`), in parentheses. As AIP-160 says, `OR` binds more tightly than `AND`. A `*` at either end of a value that is
//! compared with `=` or `!=` stands for any text. What the items are is not known here: see [`Item`].

use jiff::Timestamp;
use platform::Error;

/// The longest filter, in bytes, and how deep its parentheses go.
const BYTES_MAX: usize = 4096;
const DEPTH_MAX: usize = 32;

/// What a filter asks of an item.
pub(crate) trait Item {
    /// The fields a filter may name, in `snake_case`; `labels` stands for all of `labels.KEY`.
    const FIELDS: &'static [&'static str];

    /// The value of one of them. Of `labels` it is never asked.
    fn field(&self, name: &str) -> Field<'_>;

    /// A label; nothing if it has none of this key, or no labels at all.
    fn label(&self, key: &str) -> Option<&str>;
}

/// A value as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Field<'a> {
    /// Text; compared as it is.
    Text(std::borrow::Cow<'a, str>),
    /// A number; compared with a number.
    Number(u64),
    /// A point in time; compared with one in RFC 3339.
    Time(Timestamp),
    /// Several texts: one of them is what is looked for.
    List(&'a [String]),
}

/// A filter that has been read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Compare { path: Path, operator: Operator, value: Value },
}

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Path {
    Field(&'static str),
    Label(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Has,
}

/// What it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Number(u64),
    Time(Timestamp),
    /// `*`: anything.
    Anything,
}

impl Filter {
    /// Reads a filter of items.
    ///
    /// # Errors
    /// [`platform::Kind::InvalidArgument`] naming the place (the first character is 1), what stands there, and what could.
    pub(crate) fn parse<T: Item>(text: &str) -> Result<Self, Error> {
        if text.len() > BYTES_MAX {
            let message =
                format!("the filter has {} bytes, more than the {BYTES_MAX} there may be", text.len());
            return Err(Error::invalid("filter", message));
        }
        let tokens = tokens(text)?;
        let mut parser = Parser { text, tokens, at: 0, fields: T::FIELDS, depth: 0 };
        let filter = parser.expression()?;
        match parser.peek() {
            Some(_) => Err(parser.unexpected("AND, OR or the end")),
            None => Ok(filter),
        }
    }

    /// Whether an item is what is asked for.
    pub(crate) fn matches<T: Item>(&self, item: &T) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.matches(item)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(item)),
            Self::Not(filter) => !filter.matches(item),
            Self::Compare { path: Path::Label(key), operator, value } => match item.label(key) {
                Some(label) => compare(&Field::Text(label.into()), *operator, value),
                // What is not there differs from everything and is otherwise no answer.
                None => *operator == Operator::NotEqual,
            },
            Self::Compare { path: Path::Field(name), operator, value } => {
                compare(&item.field(name), *operator, value)
            }
        }
    }
}

fn compare(field: &Field<'_>, operator: Operator, value: &Value) -> bool {
    use Operator::{Equal, Greater, GreaterEqual, Has, Less, LessEqual, NotEqual};
    let ordering = match (field, value) {
        (Field::List(list), Value::Text(text)) => {
            let found = list.iter().any(|one| like(one, text));
            return if operator == NotEqual { !found } else { found };
        }
        (Field::List(list), _) => return !list.is_empty(),
        (Field::Text(field), Value::Text(text)) => match operator {
            Equal => return like(field, text),
            NotEqual => return !like(field, text),
            Has => return field.contains(text.as_str()),
            _ => field.as_ref().cmp(text.as_str()),
        },
        (Field::Text(field), Value::Anything) => return (operator != NotEqual) != field.is_empty(),
        (Field::Number(field), Value::Number(number)) => field.cmp(number),
        (Field::Time(field), Value::Time(time)) => field.cmp(time),
        // The parser gives each field a value of its type.
        _ => return operator != NotEqual,
    };
    match operator {
        Equal | Has => ordering.is_eq(),
        NotEqual => ordering.is_ne(),
        Less => ordering.is_lt(),
        LessEqual => ordering.is_le(),
        Greater => ordering.is_gt(),
        GreaterEqual => ordering.is_ge(),
    }
}

/// Whether a text is another, in which a `*` at either end stands for any text.
fn like(text: &str, pattern: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) => text.contains(pattern.trim_matches('*')),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => text == pattern,
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Open,
    Close,
    Minus,
    Dot,
    Operator(Operator),
    /// A word that may mean something, or a value.
    Word(String),
    Quoted(String),
}

/// The tokens, each with its place.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Error> {
    let mut tokens = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        let mut followed_by = |wanted: char| rest.next_if(|(_, next)| *next == wanted).is_some();
        let token = match c {
            c if c.is_whitespace() => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            '.' => Token::Dot,
            ':' => Token::Operator(Operator::Has),
            '=' => Token::Operator(Operator::Equal),
            '!' if followed_by('=') => Token::Operator(Operator::NotEqual),
            '<' if followed_by('=') => Token::Operator(Operator::LessEqual),
            '<' => Token::Operator(Operator::Less),
            '>' if followed_by('=') => Token::Operator(Operator::GreaterEqual),
            '>' => Token::Operator(Operator::Greater),
            '-' if !rest.peek().is_some_and(|(_, next)| next.is_ascii_digit()) => Token::Minus,
            '"' | '\'' => {
                let mut quoted = String::new();
                loop {
                    match rest.next() {
                        None => return Err(invalid(text, at, "a quote that is not closed")),
                        Some((_, end)) if end == c => break,
                        Some((_, '\\')) => quoted.extend(rest.next().map(|(_, escaped)| escaped)),
                        Some((_, other)) => quoted.push(other),
                    }
                }
                Token::Quoted(quoted)
            }
            c if is_of_word(c) || c == '-' => {
                let mut word = String::from(c);
                while let Some((_, next)) = rest.next_if(|(_, next)| is_of_word(*next) || *next == '-') {
                    word.push(next);
                }
                Token::Word(word)
            }
            other => return Err(invalid(text, at, &format!("{other:?}, which means nothing here"))),
        };
        tokens.push((at, token));
    }
    Ok(tokens)
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '*' | '/' | '@' | '+')
}

/// `what` is what stands there, and what could.
fn invalid(text: &str, at: usize, what: &str) -> Error {
    let place = text[..at].chars().count() + 1;
    Error::invalid("filter", format!("the filter has at character {place} {what}"))
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(usize, Token)>,
    at: usize,
    fields: &'static [&'static str],
    depth: usize,
}

impl Parser<'_> {
    fn expression(&mut self) -> Result<Filter, Error> {
        let mut all = vec![self.factor()?];
        while let Some(token) = self.peek() {
            match token {
                Token::Word(word) if word == "AND" => self.at += 1,
                Token::Close => break,
                // Nothing between two terms means AND.
                Token::Open | Token::Minus | Token::Word(_) | Token::Quoted(_) => {}
                _ => break,
            }
            all.push(self.factor()?);
        }
        Ok(one_or(all, Filter::All))
    }

    fn factor(&mut self) -> Result<Filter, Error> {
        let mut any = vec![self.term()?];
        while self.takes_word("OR") {
            any.push(self.term()?);
        }
        Ok(one_or(any, Filter::Any))
    }

    fn term(&mut self) -> Result<Filter, Error> {
        let negated = self.takes_word("NOT") || self.takes(&Token::Minus);
        let filter = if self.takes(&Token::Open) {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return Err(self.unexpected(&format!("parentheses at most {DEPTH_MAX} deep")));
            }
            let inner = self.expression()?;
            if !self.takes(&Token::Close) {
                return Err(self.unexpected("\")\""));
            }
            self.depth -= 1;
            inner
        } else {
            self.comparison()?
        };
        Ok(if negated { Filter::Not(Box::new(filter)) } else { filter })
    }

    fn comparison(&mut self) -> Result<Filter, Error> {
        let path = self.path()?;
        let operator = match self.peek() {
            Some(Token::Operator(operator)) => *operator,
            _ => return Err(self.unexpected("one of = != < <= > >= :")),
        };
        self.at += 1;
        // `labels:KEY` asks for the key itself.
        if path == Path::Field("labels") {
            if operator != Operator::Has {
                self.at -= 1;
                return Err(self.unexpected("labels.KEY=VALUE or labels:KEY"));
            }
            let key = self.text_value()?;
            return Ok(Filter::Compare { path: Path::Label(key), operator, value: Value::Anything });
        }
        let value = self.value(&path)?;
        Ok(Filter::Compare { path, operator, value })
    }

    fn path(&mut self) -> Result<Path, Error> {
        let Some(Token::Word(word)) = self.peek() else { return Err(self.unexpected("a field")) };
        let name = snake_case(word);
        let Some(field) = self.fields.iter().find(|field| **field == name) else {
            let known = self.fields.join(", ");
            return Err(self.unexpected(&format!("one of the fields {known}")));
        };
        self.at += 1;
        if *field != "labels" || !self.takes(&Token::Dot) {
            return Ok(Path::Field(field));
        }
        Ok(Path::Label(self.text_value()?))
    }

    fn text_value(&mut self) -> Result<String, Error> {
        let text = match self.peek() {
            Some(Token::Word(text) | Token::Quoted(text)) => text.clone(),
            _ => return Err(self.unexpected("a value")),
        };
        self.at += 1;
        Ok(text)
    }

    /// A value of the field's type.
    fn value(&mut self, path: &Path) -> Result<Value, Error> {
        let begun = self.at;
        let bare = matches!(self.peek(), Some(Token::Word(_)));
        let mut text = self.text_value()?;
        // A bare time has colons and points, which are tokens of their own: take what touches.
        while bare && let Some(more) = self.touching() {
            text.push_str(&more);
            self.at += 1;
        }
        if bare && text == "*" {
            return Ok(Value::Anything);
        }
        let parsed = match path {
            Path::Field(name) if name.ends_with("_time") => text.parse().ok().map(Value::Time),
            Path::Field("version_id") => text.parse().ok().map(Value::Number),
            // A resource may be named in full or by its id.
            Path::Field("name" | "model" | "endpoint") => {
                Some(Value::Text(text.rsplit('/').next().unwrap_or_default().to_owned()))
            }
            _ => Some(Value::Text(text)),
        };
        parsed.ok_or_else(|| {
            self.at = begun;
            let wanted = match path {
                Path::Field("version_id") => "the number of a version",
                _ => "a time such as \"2026-01-31T00:00:00Z\"",
            };
            self.unexpected(wanted)
        })
    }

    /// What stands right behind the last token, and goes with a bare value.
    fn touching(&self) -> Option<String> {
        let (begin, token) = self.tokens.get(self.at)?;
        let touches = self.text[..*begin].chars().next_back().is_some_and(|c| !c.is_whitespace());
        match token {
            Token::Word(word) if touches => Some(word.clone()),
            Token::Operator(Operator::Has) if touches => Some(":".to_owned()),
            Token::Dot if touches => Some(".".to_owned()),
            _ => None,
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn takes(&mut self, wanted: &Token) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn takes_word(&mut self, wanted: &str) -> bool {
        self.takes(&Token::Word(wanted.to_owned()))
    }

    /// Something else should stand here.
    fn unexpected(&self, wanted: &str) -> Error {
        let (at, found) = match self.tokens.get(self.at) {
            Some((at, token)) => (*at, shown(token)),
            None => (self.text.len(), "its end".to_owned()),
        };
        invalid(self.text, at, &format!("{found} where {wanted} must stand"))
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Open => "\"(\"".to_owned(),
        Token::Close => "\")\"".to_owned(),
        Token::Minus => "\"-\"".to_owned(),
        Token::Dot => "\".\"".to_owned(),
        Token::Operator(_) => "an operator".to_owned(),
        Token::Word(text) | Token::Quoted(text) => {
            format!("{:?}", text.chars().take(60).collect::<String>())
        }
    }
}

fn one_or(mut filters: Vec<Filter>, several: impl Fn(Vec<Filter>) -> Filter) -> Filter {
    match filters.len() {
        1 => filters.remove(0),
        _ => several(filters),
    }
}

/// `displayName` as `display_name`.
pub(crate) fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    struct Thing {
        display_name: &'static str,
        created: Timestamp,
        version: u64,
        aliases: Vec<String>,
        labels: BTreeMap<&'static str, &'static str>,
    }

    impl Item for Thing {
        const FIELDS: &'static [&'static str] =
            &["display_name", "create_time", "version_id", "version_aliases", "labels"];

        fn field(&self, name: &str) -> Field<'_> {
            match name {
                "display_name" => Field::Text(self.display_name.into()),
                "create_time" => Field::Time(self.created),
                "version_id" => Field::Number(self.version),
                _ => Field::List(&self.aliases),
            }
        }

        fn label(&self, key: &str) -> Option<&str> {
            self.labels.get(key).copied()
        }
    }

    fn thing() -> Thing {
        Thing {
            display_name: "Sector \"A\" deciles",
            created: "2026-01-31T12:00:00Z".parse().unwrap(),
            version: 3,
            aliases: vec!["default".to_owned(), "champion".to_owned()],
            labels: BTreeMap::from([("team", "quant"), ("stage", "prod-eu")]),
        }
    }

    #[test]
    fn filters_say_what_they_mean() {
        for (filter, expected) in [
            (r#"display_name="Sector \"A\" deciles""#, true),
            (r#"displayName = 'Sector "A" deciles'"#, true),
            (r#"display_name="sector""#, false),
            (r#"display_name="Sector*""#, true),
            (r#"display_name="*deciles""#, true),
            (r#"display_name="*A*""#, true),
            (r#"display_name:"A""#, true),
            (r#"display_name!="x""#, true),
            ("labels.team=quant", true),
            ("labels.team = \"quant\"", true),
            ("labels.stage=prod-eu", true),
            ("labels.\"team\":quant", true),
            ("labels.team:*", true),
            ("labels:team", true),
            ("labels:desk", false),
            ("labels.desk:*", false),
            ("labels.desk!=x", true),
            ("labels.desk=x", false),
            ("NOT labels.team=quant", false),
            ("-labels.team=quant", false),
            ("create_time>\"2026-01-01T00:00:00Z\"", true),
            ("create_time >= 2026-01-31T12:00:00Z", true),
            ("createTime<2026-01-31T12:00:00.5Z", true),
            ("create_time < \"2026-01-31T12:00:00+00:00\"", false),
            ("version_id=3", true),
            ("version_id>=4", false),
            ("version_aliases:champion", true),
            ("version_aliases:challenger", false),
            ("labels.team=quant AND version_id=3", true),
            ("labels.team=quant version_id=4", false),
            ("labels.team=x OR version_id=3", true),
            ("labels.team=x OR labels.team=y", false),
            // OR binds more tightly than AND.
            ("version_id=3 OR version_id=4 AND labels.team=x", false),
            ("(version_id=3) OR (version_id=4 AND labels.team=x)", true),
            ("NOT (version_id=4 OR labels.team=x)", true),
        ] {
            let parsed = Filter::parse::<Thing>(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
            assert_eq!(parsed.matches(&thing()), expected, "{filter}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_at_its_place() {
        for (filter, said) in [
            ("", "at character 1 its end where a field must stand"),
            ("name", "at character 1 \"name\" where one of the fields display_name, create_time"),
            ("display_name", "at character 13 its end where one of = != < <= > >= : must stand"),
            ("display_name=", "at character 14 its end where a value must stand"),
            ("display_name=\"x", "at character 14 a quote that is not closed"),
            ("é=1", "at character 1 \"é\" where one of"),
            ("labels.é=1 & x", "at character 12 '&', which means nothing here"),
            ("labels=x", "at character 7 an operator where labels.KEY=VALUE or labels:KEY must stand"),
            ("create_time>yesterday", "at character 13 \"yesterday\" where a time such as"),
            ("version_id=one", "at character 12 \"one\" where the number of a version must stand"),
            ("(version_id=1", "at character 14 its end where \")\" must stand"),
            ("version_id=1)", "at character 13 \")\" where AND, OR or the end must stand"),
            ("version_id=1 OR", "at character 16 its end where a field must stand"),
            ("version_id~1", "at character 11 '~'"),
        ] {
            let error = Filter::parse::<Thing>(filter).unwrap_err();
            assert!(error.to_string().contains(said), "{filter}: {error}");
            assert_eq!(error.violations()[0].field, "filter");
        }
        let deep = format!("{}version_id=1{}", "(".repeat(100), ")".repeat(100));
        assert!(Filter::parse::<Thing>(&deep).unwrap_err().to_string().contains("at most 32 deep"));
        let negated = format!("{}version_id=1", "NOT ".repeat(900));
        assert!(Filter::parse::<Thing>(&negated).is_err(), "NOT stands before a term");
        assert!(Filter::parse::<Thing>(&"x".repeat(BYTES_MAX + 1)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "[a-z_.:=!<>()*\"' -]{0,60}|\\PC{0,40}") {
            if let Ok(filter) = Filter::parse::<Thing>(&text) {
                filter.matches(&thing());
            }
        }
    }
}
