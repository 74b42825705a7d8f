//! Models by the names of protocols without projects, and what is said of those that do not answer.

use std::borrow::Cow;
use std::str::Utf8Error;

use percent_encoding::percent_decode_str;
use platform::{Error, Kind, ModelName, Platform, Target, VersionChoice};

use crate::asked::Asked;

/// Why nobody answers for a name.
#[derive(Debug)]
pub(crate) enum Absence {
    /// The caller may not ask it.
    Refused(Error),
    /// No version that was asked for is deployed; the facade's words.
    Unknown(String),
    /// It is deployed and not in service, yet or at all; the facade's words.
    Unavailable(String),
}

/// Who answers the next question to a model.
pub(crate) fn find(
    platform: &Platform,
    asked: Asked,
    name: &ModelName,
    choice: &VersionChoice,
) -> Result<Target, Absence> {
    asked.of_model(platform, name, choice).map_err(|error| match error.kind() {
        Kind::NotFound => Absence::Unknown(error.to_string()),
        Kind::Unavailable => Absence::Unavailable(error.to_string()),
        _ => Absence::Refused(error),
    })
}

/// A segment of a path, its escapes resolved.
///
/// # Errors
/// If that is no UTF-8.
pub(crate) fn decoded(raw: &str) -> Result<Cow<'_, str>, Utf8Error> {
    // Most have nothing to decode, and that is seen at once.
    if !raw.as_bytes().contains(&b'%') {
        return Ok(Cow::Borrowed(raw));
    }
    percent_decode_str(raw).decode_utf8()
}

/// The same as a name; nothing if it is no UTF-8 or holds control characters.
pub(crate) fn segment(raw: &str) -> Option<String> {
    let text = decoded(raw).ok()?;
    let sane = !text.is_empty() && !text.chars().any(char::is_control);
    sane.then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_text_or_nothing() {
        assert_eq!(segment("a%20b%C3%A9").as_deref(), Some("a bé"));
        assert_eq!(segment("..%2f..").as_deref(), Some("../.."));
        assert_eq!(segment("a%").as_deref(), Some("a%"));
        for bad in ["", "%ff", "a%00", "%0d%0a"] {
            assert_eq!(segment(bad), None, "{bad}");
        }
    }
}
