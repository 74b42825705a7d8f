//! JSON read where it lies: no tree of values, so a tensor costs its own bytes and nothing else.
//!
//! [`Reader`] walks a document a value at a time; `number` turns digits into the one nearest float; `tensor` fills typed
//! vectors from nested lists; `count` counts values, `twice` finds names given twice. Texts of syntax errors are those of RapidJSON, which the servers we
//! imitate show their clients. Deliberately not here: what a document means to a protocol.

pub(crate) mod count;
pub(crate) mod number;
pub(crate) mod tensor;
pub(crate) mod twice;

use std::borrow::Cow;

use number::{Number, Plain};

/// Deeper nesting is refused: no tensor has as many axes, and the reader recurses.
pub(crate) const DEPTH_MAX: usize = 100;

/// What the value ahead is, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    False,
    True,
    Number,
    Text,
    List,
    Object,
}

/// Why bytes are not JSON, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The first byte that does not fit.
    pub(crate) offset: usize,
    /// In RapidJSON's words.
    pub(crate) text: &'static str,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.text.trim_end_matches('.');
        write!(f, "{} at byte {}", text.to_ascii_lowercase(), self.offset)
    }
}

impl Fault {
    /// The same, with line and column of the document it was found in.
    pub(crate) fn within(&self, document: &[u8]) -> String {
        format!(
            "{} at {}",
            self.text.trim_end_matches('.').to_ascii_lowercase(),
            place(document, self.offset)
        )
    }
}

/// Where a byte of a document is: `line L column C`, both from 1 on, columns in bytes.
pub(crate) fn place(document: &[u8], offset: usize) -> String {
    let before = &document[..offset.min(document.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    format!("line {line} column {column}")
}

const EMPTY: &str = "The document is empty.";
const ROOT_NOT_SINGULAR: &str = "The document root must not be followed by other values.";
const INVALID: &str = "Invalid value.";
const NO_NAME: &str = "Missing a name for object member.";
const NO_COLON: &str = "Missing a colon after a name of object member.";
const NO_BRACE: &str = "Missing a comma or } after an object member.";
const NO_BRACKET: &str = "Missing a comma or ] after an array element.";
const NO_QUOTE: &str = "Missing a closing quotation mark in string.";
const BAD_ESCAPE: &str = "Invalid escape character in string.";
const BAD_HEX: &str = "Incorrect hex digit after \\u escape in string.";
const BAD_SURROGATE: &str = "The surrogate pair in string is invalid.";
const BAD_ENCODING: &str = "Invalid encoding in string.";
const TOO_DEEP: &str = "Nested too deeply.";

/// A list or object that is being read.
#[derive(Debug, Default)]
pub(crate) struct Open {
    started: bool,
}

/// A document and a place in it.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// Whether `NaN`, `Infinity` and `Inf` are numbers.
    bare: bool,
}

impl<'a> Reader<'a> {
    /// At the beginning of a document that is JSON and nothing more.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0, bare: false }
    }

    /// At the beginning of a document in which `NaN`, `Infinity`, `Inf` and their negatives are numbers.
    pub(crate) fn with_bare_numbers(bytes: &'a [u8]) -> Self {
        Self { bare: true, ..Self::new(bytes) }
    }

    /// Where the next value begins.
    pub(crate) fn offset(&mut self) -> usize {
        self.space();
        self.at
    }

    /// The bytes from `begin` to here.
    pub(crate) fn since(&self, begin: usize) -> &'a [u8] {
        &self.bytes[begin..self.at]
    }

    /// The same document at another place, where a value begins.
    pub(crate) fn at(&self, offset: usize) -> Self {
        Self { at: offset.min(self.bytes.len()), ..self.clone() }
    }

    /// The bytes that are not read yet: more elements than this cannot come.
    pub(crate) fn bytes_left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What comes next.
    ///
    /// # Errors
    /// If no value can begin here.
    pub(crate) fn ahead(&mut self) -> Result<Kind, Fault> {
        self.space();
        match self.bytes.get(self.at) {
            Some(b'n') => Ok(Kind::Null),
            Some(b'f') => Ok(Kind::False),
            Some(b't') => Ok(Kind::True),
            Some(b'"') => Ok(Kind::Text),
            Some(b'[') => Ok(Kind::List),
            Some(b'{') => Ok(Kind::Object),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b'N' | b'I') if self.bare => Ok(Kind::Number),
            None if self.depth == 0 && self.at == self.bytes.len() && self.blank() => Err(self.fault(EMPTY)),
            _ => Err(self.fault(INVALID)),
        }
    }

    /// Enters a list.
    ///
    /// # Errors
    /// If there is none, or it is nested too deeply.
    pub(crate) fn list(&mut self) -> Result<Open, Fault> {
        self.enter(b'[')
    }

    /// Whether another item comes; if not, the list is left.
    ///
    /// # Errors
    /// If neither a comma nor the list's end comes.
    #[inline]
    pub(crate) fn next_item(&mut self, list: &mut Open) -> Result<bool, Fault> {
        self.next(list, b']', NO_BRACKET)
    }

    /// Enters an object.
    ///
    /// # Errors
    /// As [`Reader::list`].
    pub(crate) fn object(&mut self) -> Result<Open, Fault> {
        self.enter(b'{')
    }

    /// The name of the next member, whose value comes next; if there is none, the object is left.
    ///
    /// # Errors
    /// If there is no name with a colon, and neither a comma nor the object's end before it.
    pub(crate) fn next_key(&mut self, object: &mut Open) -> Result<Option<Cow<'a, str>>, Fault> {
        if !self.next(object, b'}', NO_BRACE)? {
            return Ok(None);
        }
        if self.bytes.get(self.at) != Some(&b'"') {
            return Err(self.fault(NO_NAME));
        }
        let name = self.text()?;
        self.space();
        if self.bytes.get(self.at) != Some(&b':') {
            return Err(self.fault(NO_COLON));
        }
        self.at += 1;
        Ok(Some(name))
    }

    /// `null`.
    ///
    /// # Errors
    /// If something else comes.
    pub(crate) fn null(&mut self) -> Result<(), Fault> {
        self.word(b"null")
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// If something else comes.
    pub(crate) fn boolean(&mut self) -> Result<bool, Fault> {
        self.space();
        if self.bytes.get(self.at) == Some(&b't') {
            return self.word(b"true").map(|()| true);
        }
        self.word(b"false").map(|()| false)
    }

    /// A number.
    ///
    /// # Errors
    /// If none comes, or one that no double can hold.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<Number<'a>, Fault> {
        self.space();
        let (number, end) = number::scan(self.bytes, self.at, self.bare)?;
        self.at = end;
        Ok(number)
    }

    /// Takes the plain numbers ahead, of a list whose next item comes, as far as `take` does; how many those are. After the last
    /// one the list goes on as after any item.
    #[inline]
    pub(crate) fn plain_numbers(&mut self, mut take: impl FnMut(Plain) -> bool) -> usize {
        let mut count = 0;
        let mut at = self.at;
        while let Some((number, end)) = Plain::scan(self.bytes, at)
            && take(number)
        {
            count += 1;
            self.at = end;
            if self.bytes.get(end) != Some(&b',') {
                break;
            }
            at = end + 1 + usize::from(self.bytes.get(end + 1) == Some(&b' '));
        }
        count
    }

    /// A text, its escapes resolved.
    ///
    /// # Errors
    /// If none comes, or one that is not UTF-8.
    pub(crate) fn text(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.space();
        if self.bytes.get(self.at) != Some(&b'"') {
            return Err(self.fault(INVALID));
        }
        let begin = self.at;
        self.at += 1;
        let plain = self.plain()?;
        if self.bytes[self.at] == b'"' {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        loop {
            match self.bytes[self.at] {
                b'"' => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                _ => text.push(self.escape(begin)?),
            }
            text.push_str(self.plain()?);
        }
    }

    /// Passes over a value, whatever it is.
    ///
    /// # Errors
    /// If it is not well-formed.
    pub(crate) fn skip(&mut self) -> Result<(), Fault> {
        match self.ahead()? {
            Kind::Null => self.null(),
            Kind::False | Kind::True => self.boolean().map(|_| ()),
            Kind::Number => self.number().map(|_| ()),
            Kind::Text => self.text().map(|_| ()),
            Kind::List => {
                let mut list = self.list()?;
                while self.next_item(&mut list)? {
                    self.skip()?;
                }
                Ok(())
            }
            Kind::Object => {
                let mut object = self.object()?;
                while self.next_key(&mut object)?.is_some() {
                    self.skip()?;
                }
                Ok(())
            }
        }
    }

    /// Ends the document: nothing but blanks may follow.
    ///
    /// # Errors
    /// If something does.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        self.space();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.fault(ROOT_NOT_SINGULAR)) }
    }

    fn enter(&mut self, bracket: u8) -> Result<Open, Fault> {
        self.space();
        if self.bytes.get(self.at) != Some(&bracket) {
            return Err(self.fault(INVALID));
        }
        if self.depth == DEPTH_MAX {
            return Err(self.fault(TOO_DEEP));
        }
        self.depth += 1;
        self.at += 1;
        Ok(Open::default())
    }

    #[inline]
    fn next(&mut self, open: &mut Open, bracket: u8, missing: &'static str) -> Result<bool, Fault> {
        self.space();
        let byte = self.bytes.get(self.at).copied();
        if byte == Some(bracket) {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        if !open.started {
            open.started = true;
            return Ok(true);
        }
        if byte != Some(b',') {
            return Err(self.fault(missing));
        }
        self.at += 1;
        self.space();
        Ok(true)
    }

    fn word(&mut self, word: &'static [u8]) -> Result<(), Fault> {
        self.space();
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.fault(INVALID));
        }
        self.at += word.len();
        Ok(())
    }

    /// Text up to a quotation mark or an escape, which is not taken.
    fn plain(&mut self) -> Result<&'a str, Fault> {
        let begin = self.at;
        let stop = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
        let Some(length) = self.bytes[begin..].iter().position(stop) else {
            return Err(Fault { offset: self.bytes.len(), text: NO_QUOTE });
        };
        self.at = begin + length;
        if self.bytes[self.at] < 0x20 {
            return Err(self.fault(BAD_ENCODING));
        }
        std::str::from_utf8(&self.bytes[begin..self.at])
            .map_err(|error| Fault { offset: begin + error.valid_up_to(), text: BAD_ENCODING })
    }

    /// One escape, which begins here, of a text that began at `begin`.
    fn escape(&mut self, begin: usize) -> Result<char, Fault> {
        let offset = self.at;
        let fault = |text| Fault { offset, text };
        let Some(letter) = self.bytes.get(self.at + 1) else {
            return Err(Fault { offset: begin, text: NO_QUOTE });
        };
        self.at += 2;
        Ok(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex(offset)?;
                match high {
                    0xd800..=0xdbff => {
                        if self.bytes.get(self.at..self.at + 2) != Some(b"\\u") {
                            return Err(fault(BAD_SURROGATE));
                        }
                        self.at += 2;
                        let low = self.hex(offset)?;
                        if !(0xdc00..=0xdfff).contains(&low) {
                            return Err(fault(BAD_SURROGATE));
                        }
                        let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                        char::from_u32(code).ok_or(fault(BAD_SURROGATE))?
                    }
                    code => char::from_u32(code).ok_or(fault(BAD_SURROGATE))?,
                }
            }
            _ => return Err(fault(BAD_ESCAPE)),
        })
    }

    fn hex(&mut self, offset: usize) -> Result<u32, Fault> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.bytes.get(self.at).and_then(|byte| char::from(*byte).to_digit(16));
            code = code * 16 + digit.ok_or(Fault { offset, text: BAD_HEX })?;
            self.at += 1;
        }
        Ok(code)
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn blank(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_whitespace)
    }

    fn fault(&self, text: &'static str) -> Fault {
        Fault { offset: self.at, text }
    }
}

#[cfg(test)]
mod tests;
