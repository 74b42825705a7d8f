//! `parameters.strategy` and `parameters.account` of a body of `:predict`: callers who give the same belong together.
//!
//! They are looked for before anything else of the body is read, as they say who is to read it. Whoever reads it then says what
//! is wrong with it.

use std::borrow::Cow;

use serde::Deserialize;

use crate::asked::KEY_BYTES_MAX;

/// The names of the parameters.
pub(crate) const NAMES: [&str; 2] = ["strategy", "account"];

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    parameters: Option<Parameters<'a>>,
}

#[derive(Deserialize)]
struct Parameters<'a> {
    #[serde(borrow)]
    strategy: Option<Cow<'a, str>>,
    #[serde(borrow)]
    account: Option<Cow<'a, str>>,
}

/// The traffic key that a body names: the strategy, the account, or both.
pub(crate) fn of(body: &[u8]) -> Option<String> {
    let Parameters { strategy, account } = serde_json::from_slice::<Body<'_>>(body).ok()?.parameters?;
    match (strategy, account) {
        (Some(strategy), Some(account)) => Some(format!("{strategy}/{account}")),
        (strategy, account) => strategy.or(account).map(Cow::into_owned),
    }
}

/// What is wrong with such a parameter, if something is.
pub(crate) fn fault(text: &str) -> Option<String> {
    let bytes = text.len();
    (!(1..=KEY_BYTES_MAX).contains(&bytes)).then(|| format!("has {bytes} bytes; give 1 to {KEY_BYTES_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_with_whom_it_belongs_together() {
        for (body, key) in [
            (r#"{"instances": [[1]], "parameters": {"strategy": "momentum"}}"#, Some("momentum")),
            (r#"{"parameters": {"account": "7\u0041", "as_of": "2020-01-02"}, "instances": []}"#, Some("7A")),
            (r#"{"parameters": {"account": "7", "strategy": "m"}}"#, Some("m/7")),
            (r#"{"parameters": {"account": null}}"#, None),
            (r#"{"parameters": {"account": 7}}"#, None),
            (r#"{"parameters": null}"#, None),
            (r#"{"instances": [{"strategy": "m"}]}"#, None),
            ("{", None),
        ] {
            assert_eq!(of(body.as_bytes()).as_deref(), key, "{body}");
        }
        assert!(fault("").is_some() && fault(&"a".repeat(257)).is_some() && fault("a").is_none());
    }
}
