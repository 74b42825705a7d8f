//! Page tokens: after which item of which list the next page begins.
//!
//! A token is good for the list, the filter and the order it was given out with; any other text is refused. It is no secret and not signed:
//! who makes one up sees a page that could be had without.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use platform::Error;
use serde::{Deserialize, Serialize};

use super::filter::Field;
use crate::refusal::shown;

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PageToken {
    /// The list, by its resource name.
    pub(super) list: String,
    /// Filter and order as they were given.
    pub(super) asked: String,
    /// What the last item is ordered by.
    pub(super) keys: Vec<Key>,
    /// What tells the last item from others.
    pub(super) id: String,
}

/// What an item is ordered by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Key {
    Text(String),
    Number(u64),
    /// Nanoseconds since 1970.
    Time(i128),
}

impl From<Field<'_>> for Key {
    fn from(field: Field<'_>) -> Self {
        match field {
            Field::Text(text) => Self::Text(text.into_owned()),
            Field::Number(number) => Self::Number(number),
            Field::Time(time) => Self::Time(time.as_nanosecond()),
            Field::List(list) => Self::Text(list.join(",")),
        }
    }
}

impl PageToken {
    /// Reads a token as it was given out.
    ///
    /// # Errors
    /// [`platform::Kind::InvalidArgument`] if it is none.
    pub(super) fn read(text: &str) -> Result<Self, Error> {
        let json = URL_SAFE_NO_PAD.decode(text).ok();
        let token = json.and_then(|json| serde_json::from_slice(&json).ok());
        token.ok_or_else(|| Self::refused(text, "of this server"))
    }

    /// What a client is given.
    ///
    /// # Errors
    /// [`platform::Kind::Internal`] if it cannot be written.
    pub(super) fn write(&self) -> Result<String, Error> {
        let json = serde_json::to_vec(self);
        let json = json.map_err(|error| Error::internal("cannot write a page token", error))?;
        Ok(URL_SAFE_NO_PAD.encode(json))
    }

    /// Why a token is refused.
    pub(super) fn refused(text: &str, of: &str) -> Error {
        let message = format!("page token \"{}\" is not one {of}; start without one", shown(text));
        Error::invalid("pageToken", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_nothing_else_is() {
        let token = PageToken {
            list: "p/models".to_owned(),
            asked: "a=b\nc".to_owned(),
            keys: vec![Key::Text("é".to_owned()), Key::Number(u64::MAX), Key::Time(-1)],
            id: "m".to_owned(),
        };
        let text = token.write().unwrap();
        assert!(
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'),
            "{text}"
        );
        assert_eq!(PageToken::read(&text).unwrap(), token);
        let cut = &text[..text.len() - 4];
        for bad in ["zzz", "!!", "e1", "e30", "", " ", cut] {
            let error = PageToken::read(bad).unwrap_err();
            assert_eq!(error.violations()[0].field, "pageToken", "{bad}");
        }
    }
}
