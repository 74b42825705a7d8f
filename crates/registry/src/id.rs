//! The forms that ids, names, labels and texts must have, checked before anything is written.
//!
//! The rules are those of Vertex AI, with one widening: an id of 1 to 19 digits is legal for models and
//! endpoints, because that is what a server makes when a client names none.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// The most characters of a project, data set, model or endpoint id.
pub const ID_CHARS_MAX: usize = 63;
/// The most characters of a display name.
pub const DISPLAY_NAME_CHARS_MAX: usize = 128;
/// The most bytes of a description.
pub const DESCRIPTION_BYTES_MAX: usize = 64 << 10;
/// The most labels of a resource.
pub const LABELS_MAX: usize = 64;
/// The most characters of a label's key, and of its value.
pub const LABEL_CHARS_MAX: usize = 63;
/// The most digits of an id that a server makes.
pub const GENERATED_DIGITS_MAX: usize = 19;
/// The most digits of a deployment id.
pub const DEPLOYMENT_DIGITS_MAX: usize = 10;
/// The most characters of an alias.
pub const ALIAS_CHARS_MAX: usize = 128;

/// Checks a project id: 1 to 63 of `a-z 0-9 _ -`, beginning with a letter or digit.
///
/// # Errors
/// [`Error::InvalidArgument`] saying the rule.
pub fn check_project(id: &str) -> Result<()> {
    let first = id.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if first && id.len() <= ID_CHARS_MAX && id.bytes().all(is_lower_digit_dash_underscore) {
        return Ok(());
    }
    let rule = "1 to 63 of a-z, 0-9, \"_\" and \"-\", beginning with a letter or a digit";
    Err(Error::invalid("project", format!("project id \"{}\" must be {rule}", shown(id))))
}

/// Checks a data set's name: 1 to 63 of `a-z 0-9 _ -`, beginning with a letter or digit.
///
/// # Errors
/// [`Error::InvalidArgument`] saying the rule.
pub fn check_dataset(name: &str) -> Result<()> {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if first && name.len() <= ID_CHARS_MAX && name.bytes().all(is_lower_digit_dash_underscore) {
        return Ok(());
    }
    let rule = "1 to 63 of a-z, 0-9, \"_\" and \"-\", beginning with a letter or a digit";
    Err(Error::invalid("name", format!("data set name \"{}\" must be {rule}", shown(name))))
}

/// Checks a model id: 1 to 63 of `a-z 0-9 _ -` not beginning with a digit or hyphen, or 1 to 19 digits.
///
/// # Errors
/// [`Error::InvalidArgument`] saying the rule.
pub fn check_model(id: &str) -> Result<()> {
    let first = id.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    let named = first && id.len() <= ID_CHARS_MAX && id.bytes().all(is_lower_digit_dash_underscore);
    if named || is_generated(id) {
        return Ok(());
    }
    let rule = "1 to 63 of a-z, 0-9, \"_\" and \"-\", not beginning with a digit or \"-\", or 1 to 19 digits";
    Err(Error::invalid("modelId", format!("model id \"{}\" must be {rule}", shown(id))))
}

/// Checks an endpoint id: 1 to 63 of `a-z 0-9 -` beginning with a letter, or 1 to 19 digits.
///
/// # Errors
/// [`Error::InvalidArgument`] saying the rule.
pub fn check_endpoint(id: &str) -> Result<()> {
    let first = id.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if first && id.len() <= ID_CHARS_MAX && id.bytes().all(rest) || is_generated(id) {
        return Ok(());
    }
    let rule = "1 to 63 of a-z, 0-9 and \"-\", beginning with a letter, or 1 to 19 digits";
    Err(Error::invalid("endpointId", format!("endpoint id \"{}\" must be {rule}", shown(id))))
}

/// Checks a deployment id: 1 to 10 digits, not beginning with 0, as a traffic split's key `0` stands for the
/// deployment being made.
///
/// # Errors
/// [`Error::InvalidArgument`] saying the rule.
pub fn check_deployment(id: &str) -> Result<()> {
    let digits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
    if digits && id.len() <= DEPLOYMENT_DIGITS_MAX && !id.starts_with('0') {
        return Ok(());
    }
    let rule = "1 to 10 digits, not beginning with 0";
    Err(Error::invalid("deployedModel.id", format!("deployment id \"{}\" must be {rule}", shown(id))))
}

/// Checks a version alias: 2 to 128 of letters, digits and `-`, beginning with `a-z`, ending with `a-z` or a
/// digit. So an alias is never mistaken for a version number.
///
/// # Errors
/// [`Error::InvalidArgument`] saying the rule.
pub fn check_alias(alias: &str) -> Result<()> {
    let bytes = alias.as_bytes();
    let first = bytes.first().is_some_and(u8::is_ascii_lowercase);
    let last = bytes.last().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inside = bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-');
    if first && last && inside && (2..=ALIAS_CHARS_MAX).contains(&bytes.len()) {
        return Ok(());
    }
    let rule = "2 to 128 of letters, digits and \"-\", beginning with a-z and ending with a-z or a digit";
    Err(Error::invalid("versionAliases", format!("alias \"{}\" must be {rule}", shown(alias))))
}

/// Checks the id of something that has no name of its own: 1 to 63 letters, digits, `_` and `-`.
///
/// # Errors
/// [`Error::InvalidArgument`] saying the rule; `what` names the thing.
pub(crate) fn check_plain(what: &str, id: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(plain) {
        return Ok(());
    }
    let rule = "1 to 63 letters, digits, \"_\" and \"-\"";
    Err(Error::invalid("name", format!("{what} id \"{}\" must be {rule}", shown(id))))
}

/// Checks a SHA-256 in hexadecimal: 64 digits of 0-9 and a-f.
///
/// # Errors
/// [`Error::InvalidArgument`] saying the rule.
pub(crate) fn check_digest(digest: &str) -> Result<()> {
    if digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Ok(());
    }
    Err(Error::invalid("digest", "a digest must be 64 digits of 0-9 and a-f"))
}

/// Checks a display name: at most 128 characters.
///
/// # Errors
/// [`Error::InvalidArgument`] with the length.
pub fn check_display_name(name: &str) -> Result<()> {
    let chars = name.chars().count();
    if chars <= DISPLAY_NAME_CHARS_MAX {
        return Ok(());
    }
    let message = format!("display name has {chars} characters, more than {DISPLAY_NAME_CHARS_MAX}");
    Err(Error::invalid("displayName", message))
}

/// Checks a description: at most 64 KiB.
///
/// # Errors
/// [`Error::InvalidArgument`] with the length.
pub fn check_description(text: &str) -> Result<()> {
    if text.len() <= DESCRIPTION_BYTES_MAX {
        return Ok(());
    }
    let message = format!("description has {} bytes, more than {DESCRIPTION_BYTES_MAX}", text.len());
    Err(Error::invalid("description", message))
}

/// Checks labels: at most 64, keys of 1 to 63 characters, values of at most 63.
///
/// # Errors
/// [`Error::InvalidArgument`] naming the label.
pub fn check_labels(labels: &BTreeMap<String, String>) -> Result<()> {
    if labels.len() > LABELS_MAX {
        return Err(Error::invalid("labels", format!("{} labels, more than {LABELS_MAX}", labels.len())));
    }
    for (key, value) in labels {
        if key.is_empty() || key.chars().count() > LABEL_CHARS_MAX {
            let message = format!("label key \"{}\" must have 1 to {LABEL_CHARS_MAX} characters", shown(key));
            return Err(Error::invalid("labels", message));
        }
        if value.chars().count() > LABEL_CHARS_MAX {
            let message =
                format!("label \"{key}\" must have a value of at most {LABEL_CHARS_MAX} characters");
            return Err(Error::invalid("labels", message));
        }
    }
    Ok(())
}

fn is_generated(id: &str) -> bool {
    (1..=GENERATED_DIGITS_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit())
}

fn is_lower_digit_dash_underscore(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_'
}

/// The beginning of a value that may be of any length, safe to put on one line.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(ALIAS_CHARS_MAX + 1).collect();
    start.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&str) -> Result<()>, good: &[&str], bad: &[&str]) {
        for id in good {
            assert!(rule(id).is_ok(), "{id:?} must be accepted");
        }
        for id in bad {
            assert!(matches!(rule(id), Err(Error::InvalidArgument { .. })), "{id:?} must be refused");
        }
    }

    #[test]
    fn ids_have_the_forms_of_vertex() {
        let (long, too_long) = ("a".repeat(63), "a".repeat(64));
        let never = ["", "..", "a/b", "a\\b", "A", "a b", "é", "a\n", "a@1", "a:b", too_long.as_str()];
        check(check_project, &["default", "p-1", "123456", &long], &never);
        check(check_project, &[], &["-a", "_a"]);
        check(check_dataset, &["sp500-20", "20-stocks"], &never);
        check(check_model, &["m", "_m", "sp500-deciles", "a_b-1", "1764000000000000", "7", &long], &never);
        check(check_model, &[], &["1a", "-a", "12345678901234567890"]);
        check(check_endpoint, &["e", "my-endpoint-1", "123456789", "1764000000000000", &long], &never);
        check(check_endpoint, &[], &["1a", "-a", "a_b", "12345678901234567890"]);
        check(check_deployment, &["1", "9999999999"], &["", "0", "07", "12345678901", "a", "-1", "１"]);
    }

    #[test]
    fn an_alias_is_never_a_number() {
        let long = format!("a{}b", "C".repeat(126));
        check(check_alias, &["default", "v1", "aB-c", "ab", &long], &["", "a", "1", "12", "1a", "Ab", "aB"]);
        check(check_alias, &[], &["a-", "a_b", &format!("{long}b"), "a b"]);
    }

    #[test]
    fn what_is_too_long_is_refused_and_not_repeated() {
        let error = check_model(&"x\n".repeat(1 << 20)).unwrap_err().to_string();
        assert!(error.len() < 600 && !error.contains('\n'), "{error}");
        assert!(check_display_name(&"é".repeat(128)).is_ok());
        assert!(check_display_name(&"é".repeat(129)).is_err());
        assert!(check_description(&"x".repeat(DESCRIPTION_BYTES_MAX + 1)).is_err());
        let labels = |n: usize| (0..n).map(|i| (format!("k{i}"), String::new())).collect::<BTreeMap<_, _>>();
        assert!(check_labels(&labels(64)).is_ok());
        assert!(check_labels(&labels(65)).is_err());
        assert!(check_labels(&[(String::new(), String::new())].into()).is_err());
        assert!(check_labels(&[("k".to_owned(), "v".repeat(64))].into()).is_err());
    }
}
