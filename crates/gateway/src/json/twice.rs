//! Whether an object gives a name twice. Readers differ in which of the two values they believe, so that who checks a request
//! and who acts on it may see different ones; nobody honest sends it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::{Fault, Kind, Reader};

/// The first name that an object of the document gives twice, if one does.
///
/// # Errors
/// If the document is not well-formed, or nested too deeply.
pub(crate) fn name(document: &[u8]) -> Result<Option<String>, Fault> {
    walk(&mut Reader::new(document))
}

fn walk(reader: &mut Reader<'_>) -> Result<Option<String>, Fault> {
    match reader.ahead()? {
        Kind::List => {
            let mut list = reader.list()?;
            while reader.next_item(&mut list)? {
                if let Some(twice) = walk(reader)? {
                    return Ok(Some(twice));
                }
            }
        }
        Kind::Object => {
            let mut names: BTreeSet<Cow<'_, str>> = BTreeSet::new();
            let mut object = reader.object()?;
            while let Some(name) = reader.next_key(&mut object)? {
                if names.contains(&name) {
                    return Ok(Some(name.into_owned()));
                }
                names.insert(name);
                if let Some(twice) = walk(reader)? {
                    return Ok(Some(twice));
                }
            }
        }
        _ => reader.skip()?,
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_each_object_alone_and_unescaped() {
        for (text, twice) in [
            (r#"{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}"#, None),
            (r#"{"a": 1, "b": 2, "a": 1}"#, Some("a")),
            (r#"[{"b": {"c": 1, "\u0063": 2}}]"#, Some("c")),
            ("7", None),
        ] {
            assert_eq!(name(text.as_bytes()).unwrap().as_deref(), twice, "{text}");
        }
        assert!(name(b"{\"a\": 1,").is_err());
        assert!(name("[".repeat(10_000).as_bytes()).is_err());
    }
}
