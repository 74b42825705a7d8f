//! The variables that clouds' own tools read, and which of their values must never be shown.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Shorter values are not hidden: they would hide parts of words.
const SECRET_CHARS_MIN: usize = 8;
/// What the names of variables with a secret have in them.
const SECRET_NAMES: [&str; 7] = ["KEY", "SECRET", "TOKEN", "PASSWORD", "SAS", "CONNECTION_STRING", "PROXY"];
/// How the names of variables end that name a file or a place, and no secret.
const PLAIN_ENDS: [&str; 5] = ["_FILE", "_PATH", "_URI", "_ENDPOINT", "_URL"];

/// Variables by name. Shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// The variables of this process; those that are no text are left out.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        std::env::vars_os().filter_map(text).collect()
    }

    /// The value of a variable; one that is empty is not there.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The variables whose names begin so, by name.
    pub(crate) fn beginning(&self, prefix: &'static str) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .filter(move |(name, value)| name.starts_with(prefix) && !value.is_empty())
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The values that must not be shown.
    pub(crate) fn secrets(&self) -> Secrets {
        let is_secret = |name: &str| {
            SECRET_NAMES.iter().any(|part| name.contains(part))
                && !PLAIN_ENDS.iter().any(|end| name.ends_with(end) && !name.contains("PROXY"))
        };
        let values =
            self.variables.iter().filter(|(name, _)| is_secret(name)).map(|(_, value)| value.clone());
        Secrets::default().and(values)
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self { variables: variables.into_iter().collect() }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// Values that must not be shown.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    values: Arc<Vec<String>>,
}

impl Secrets {
    /// These and more.
    pub(crate) fn and(&self, more: impl IntoIterator<Item = String>) -> Self {
        let mut values = self.values.to_vec();
        values.extend(more.into_iter().filter(|value| value.len() >= SECRET_CHARS_MIN));
        // The longest first, so that no part of it is left beside a shorter one.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self { values: Arc::new(values) }
    }

    /// The text without any of them.
    pub(crate) fn hidden_in(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values", self.values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn secrets_are_hidden_and_names_and_places_are_not() {
        let environment = environment(&[
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "AKIDEXAMPLE/longer"),
            ("AWS_ENDPOINT_URL", "http://host:9000"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/run/secrets/token"),
            ("AZURE_STORAGE_KEY", ""),
        ]);
        let shown = environment
            .secrets()
            .hidden_in("AKIDEXAMPLE and AKIDEXAMPLE/longer at http://host:9000 by /run/secrets/token");
        assert_eq!(shown, "*** and *** at http://host:9000 by /run/secrets/token");
        let debug = format!("{environment:?} {:?}", environment.secrets());
        assert!(debug.contains("AWS_SECRET_ACCESS_KEY") && !debug.contains("AKIDEXAMPLE"), "{debug}");
        assert_eq!(environment.get("AZURE_STORAGE_KEY"), None);
    }
}
