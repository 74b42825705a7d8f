//! How many values a document has, so that a tree is built of small ones alone: an empty list is two bytes of a body and tens of
//! memory.

use super::{Fault, Kind, Reader};

/// Whether a document has at most `max` values, lists and objects and all that is in them.
///
/// # Errors
/// If it is not well-formed as far as it was read, or nested too deeply.
pub(crate) fn is_at_most(document: &[u8], max: usize) -> Result<bool, Fault> {
    let mut left = max;
    walk(&mut Reader::new(document), &mut left)
}

fn walk(reader: &mut Reader<'_>, left: &mut usize) -> Result<bool, Fault> {
    let Some(fewer) = left.checked_sub(1) else { return Ok(false) };
    *left = fewer;
    match reader.ahead()? {
        Kind::List => {
            let mut list = reader.list()?;
            while reader.next_item(&mut list)? {
                if !walk(reader, left)? {
                    return Ok(false);
                }
            }
        }
        Kind::Object => {
            let mut object = reader.object()?;
            while reader.next_key(&mut object)?.is_some() {
                if !walk(reader, left)? {
                    return Ok(false);
                }
            }
        }
        _ => reader.skip()?,
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_counts_wherever_it_is() {
        for (text, values) in
            [("7", 1), ("[]", 1), ("[[], {}, null]", 4), (r#"{"a": 1, "b": {"c": [true, "x"]}}"#, 6)]
        {
            assert!(is_at_most(text.as_bytes(), values).unwrap(), "{text}");
            assert!(!is_at_most(text.as_bytes(), values - 1).unwrap(), "{text}");
        }
    }

    #[test]
    fn what_is_beyond_the_limit_is_not_read() {
        assert!(!is_at_most(b"[1, 2, 3, \xff", 3).unwrap());
        assert!(is_at_most(b"[1, 2, 3, \xff", 5).is_err());
        assert!(is_at_most("[".repeat(10_000).as_bytes(), 100_000).is_err());
    }
}
