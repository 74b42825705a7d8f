//! Values of a request as error messages repeat them: laid out with four spaces, cut after 256 bytes.

use super::decimal;
use crate::json::{Kind, Reader};

const BYTES_MAX: usize = 256;

/// The value ahead, which is well-formed.
pub(crate) fn value(reader: &mut Reader<'_>) -> String {
    let mut text = Vec::new();
    if reader.ahead() == Ok(Kind::Number) {
        number(reader, &mut text);
    } else {
        // A fault ends the text; whoever asks knows of it.
        let _ = pretty(reader, 0, &mut text);
    }
    let mut text = String::from_utf8_lossy(&text).into_owned();
    if text.len() > BYTES_MAX {
        let end = (0..=BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
    }
    text
}

/// The name of the type of the value ahead.
pub(crate) fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "Null",
        Kind::False => "False",
        Kind::True => "True",
        Kind::Number => "Number",
        Kind::Text => "String",
        Kind::List => "Array",
        Kind::Object => "Object",
    }
}

fn number(reader: &mut Reader<'_>, text: &mut Vec<u8>) {
    let begin = reader.offset();
    let Ok(number) = reader.number() else { return };
    if number.is_whole() {
        text.extend_from_slice(reader.since(begin));
    } else {
        decimal::double(text, number.as_f64());
    }
}

fn pretty(reader: &mut Reader<'_>, level: usize, text: &mut Vec<u8>) -> Result<(), crate::json::Fault> {
    // Enough is enough; the rest would be cut off.
    if text.len() > BYTES_MAX {
        return reader.skip();
    }
    let line = |text: &mut Vec<u8>, level: usize| {
        text.push(b'\n');
        text.extend(std::iter::repeat_n(b' ', 4 * level));
    };
    match reader.ahead()? {
        Kind::List => {
            text.push(b'[');
            let mut list = reader.list()?;
            let mut count = 0;
            while reader.next_item(&mut list)? {
                if count > 0 {
                    text.push(b',');
                }
                line(text, level + 1);
                pretty(reader, level + 1, text)?;
                count += 1;
                if text.len() > BYTES_MAX {
                    return Ok(());
                }
            }
            if count > 0 {
                line(text, level);
            }
            text.push(b']');
        }
        Kind::Object => {
            text.push(b'{');
            let mut object = reader.object()?;
            let mut count = 0;
            while let Some(key) = reader.next_key(&mut object)? {
                if count > 0 {
                    text.push(b',');
                }
                line(text, level + 1);
                text.extend_from_slice(serde_json::Value::from(&*key).to_string().as_bytes());
                text.extend_from_slice(b": ");
                pretty(reader, level + 1, text)?;
                count += 1;
                if text.len() > BYTES_MAX {
                    return Ok(());
                }
            }
            if count > 0 {
                line(text, level);
            }
            text.push(b'}');
        }
        _ => {
            let begin = reader.offset();
            reader.skip()?;
            text.extend_from_slice(reader.since(begin));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        value(&mut Reader::with_bare_numbers(text.as_bytes()))
    }

    #[test]
    fn values_are_laid_out() {
        assert_eq!(
            shown(r#"{"a":[1, 2.50],"b":{},"c":[]}"#),
            "{\n    \"a\": [\n        1,\n        2.50\n    ],\n    \"b\": {},\n    \"c\": []\n}"
        );
        assert_eq!(shown("\"a\""), "\"a\"");
        assert_eq!(
            (shown("1e39"), shown("16777217"), shown("3.00")),
            ("1e+39".to_owned(), "16777217".to_owned(), "3.0".to_owned())
        );
        assert_eq!(shown(&format!("[{}1]", "1,".repeat(10_000))).len(), 256);
        assert_eq!(shown(&format!("\"{}\"", "é".repeat(1000))).len(), 255);
    }
}
