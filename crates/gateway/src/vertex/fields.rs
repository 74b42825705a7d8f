//! The fields of a JSON request body, taken one by one: what is wrong is named with its path, what is left over
//! is refused, and names may be `camelCase` or `snake_case`, as protocol buffers' JSON allows.

use platform::{Error, Kind};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};

use crate::json::{Fault, count, twice};
use crate::refusal::shown;

/// The most bytes of a body that is read as a tree: what changes something says little, however much it trains or serves.
pub(crate) const BODY_BYTES_MAX: usize = 4 << 20;
/// The most values of such a body, and with them its memory, which may be a hundred times its bytes.
const VALUES_MAX: usize = 1 << 16;

/// One object of a body, and where in the body it lies.
#[derive(Debug)]
pub(crate) struct Fields {
    path: String,
    left: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Reads a whole body.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] with line and column if it is not one JSON object.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Error> {
        match tree(body)? {
            Value::Object(map) => Self::new(String::new(), map),
            _ => Err(Error::new(Kind::InvalidArgument, "the request body must be a JSON object")),
        }
    }

    fn new(path: String, map: Map<String, Value>) -> Result<Self, Error> {
        let mut fields = Self { path, left: Map::new(), known: Vec::new() };
        for (name, value) in map {
            let name = camel_case(&name);
            if fields.left.insert(name.clone(), value).is_some() {
                return Err(fields.invalid(&shown(&name), "is given in both of its spellings; give one"));
            }
        }
        Ok(fields)
    }

    /// Takes a field; absent and `null` are the same.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] naming the field, if it has another type.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<Option<T>, Error> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        serde_json::from_value(value).map(Some).map_err(|error| self.invalid(name, &error.to_string()))
    }

    /// Takes a text; empty counts as absent, as in protocol buffers.
    ///
    /// # Errors
    /// As [`Fields::take`].
    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, Error> {
        Ok(self.take::<String>(name)?.filter(|text| !text.is_empty()))
    }

    /// Takes a whole number, which may be written `2`, `2.0` or `"2"`.
    ///
    /// # Errors
    /// As [`Fields::take`].
    pub(crate) fn integer(&mut self, name: &'static str) -> Result<Option<i64>, Error> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let number = whole(&value);
        number.map(Some).ok_or_else(|| self.invalid(name, &format!("must be a whole number, got {value}")))
    }

    /// Takes a nested object.
    ///
    /// # Errors
    /// As [`Fields::take`].
    pub(crate) fn object(&mut self, name: &'static str) -> Result<Option<Self>, Error> {
        let path = self.path_of(name);
        self.take::<Map<String, Value>>(name)?.map(|map| Self::new(path, map)).transpose()
    }

    /// Refuses a field that asks for something this version does not offer.
    ///
    /// # Errors
    /// [`Kind::Unimplemented`] naming the field, if it is there and says anything.
    pub(crate) fn refuse(&mut self, name: &'static str, why: &str) -> Result<(), Error> {
        match self.value(name) {
            Some(value) if !is_empty(&value) => Err(Error::new(
                Kind::Unimplemented,
                format!("{} is not offered by this version: {why}", self.path_of(name)),
            )),
            _ => Ok(()),
        }
    }

    /// Ends the object: nothing may be left but fields that are known to mean nothing here.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] naming the first unknown field and the known ones.
    pub(crate) fn finish(mut self, meaningless: &[&str]) -> Result<(), Error> {
        self.left.retain(|name, _| !meaningless.contains(&name.as_str()));
        let Some(name) = self.left.keys().next() else {
            return Ok(());
        };
        let field = self.path_of(name);
        let message = format!("unknown field \"{field}\"; known here: {}", self.known.join(", "));
        Err(Error::invalid(&field, message))
    }

    /// An error about a field of this object.
    pub(crate) fn invalid(&self, name: &str, what: &str) -> Error {
        let field = self.path_of(name);
        let message = format!("{field}: {what}");
        Error::invalid(&field, message)
    }

    /// An error that a field must be given.
    pub(crate) fn missing(&self, name: &str, example: &str) -> Error {
        self.invalid(name, &format!("must be given, for example {example}"))
    }

    fn value(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name).filter(|value| !value.is_null())
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// A whole document of at most [`BODY_BYTES_MAX`] bytes, no object of which gives a name twice.
///
/// # Errors
/// [`Kind::InvalidArgument`] with line and column if it is not JSON, or with the name; or if it is too large, before anything
/// of it is stored.
pub(crate) fn tree(body: &[u8]) -> Result<Value, Error> {
    if body.len() > BODY_BYTES_MAX {
        let message = format!("the JSON has {} bytes, the limit is {BODY_BYTES_MAX}; give less", body.len());
        return Err(Error::new(Kind::InvalidArgument, message));
    }
    match count::is_at_most(body, VALUES_MAX) {
        Ok(true) => {}
        Ok(false) => {
            let message =
                format!("the request body has more than {VALUES_MAX} values, the limit; give fewer");
            return Err(Error::new(Kind::InvalidArgument, message));
        }
        Err(fault) => {
            return Err(match serde_json::from_slice::<IgnoredAny>(body) {
                Err(error) => not_json(&error),
                // The other reader is content with more, and with texts that are not UTF-8.
                Ok(_) => no_json(fault),
            });
        }
    }
    let value = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    match twice::name(body).map_err(no_json)? {
        None => Ok(value),
        Some(name) => {
            let name = shown(&name);
            Err(Error::invalid(&name, format!("\"{name}\" is given twice in one object of the request body")))
        }
    }
}

fn no_json(fault: Fault) -> Error {
    Error::new(Kind::InvalidArgument, format!("the request body is not JSON: {fault}"))
}

/// The error for a body that is not JSON.
pub(crate) fn not_json(error: &serde_json::Error) -> Error {
    Error::new(Kind::InvalidArgument, format!("the request body is not JSON: {error}"))
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64()?;
            (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
        }),
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
        Value::Number(number) => number.as_f64() == Some(0.0),
    }
}

pub(crate) fn camel_case(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &str) -> Fields {
        Fields::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn fields_are_taken_by_either_spelling() {
        let mut body =
            fields(r#"{"display_name": "a", "trafficSplit": {"0": 100}, "n": 2.0, "m": "3", "gone": null}"#);
        assert_eq!(body.text("displayName").unwrap().as_deref(), Some("a"));
        assert_eq!((body.integer("n").unwrap(), body.integer("m").unwrap()), (Some(2), Some(3)));
        assert_eq!(body.take::<String>("gone").unwrap(), None);
        assert!(body.object("trafficSplit").unwrap().is_some());
        body.finish(&[]).unwrap();
    }

    #[test]
    fn a_field_given_twice_is_refused_in_any_spelling() {
        for body in [
            r#"{"scope": "predict", "scope": "admin"}"#,
            r#"{"model": {"a": 1, "a": 2}}"#,
            r#"{"displayName": "a", "display_name": "b"}"#,
        ] {
            let error = Fields::parse(body.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{body}");
        }
        let mut body = fields(r#"{"model": {"displayName": "a", "display_name": "b"}}"#);
        assert_eq!(body.object("model").unwrap_err().violations()[0].field, "model.displayName");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_path() {
        let mut body = fields(r#"{"outer": {"count": 1.5, "text": 3, "extra": 1}, "x": {}}"#);
        let mut outer = body.object("outer").unwrap().unwrap();
        assert_eq!(outer.integer("count").unwrap_err().violations()[0].field, "outer.count");
        assert!(outer.text("text").unwrap_err().to_string().starts_with("outer.text: invalid type"));
        let error = outer.finish(&["x"]).unwrap_err().to_string();
        assert_eq!(error, "unknown field \"outer.extra\"; known here: count, text");
        assert!(body.finish(&["x"]).is_ok());
    }

    #[test]
    fn what_is_not_offered_is_refused_only_if_it_says_something() {
        let mut body = fields(r#"{"spec": {"keyName": ""}, "other": {"keyName": "k"}}"#);
        body.refuse("spec", "why").unwrap();
        let error = body.refuse("other", "why").unwrap_err();
        assert_eq!(error.kind(), Kind::Unimplemented);
        assert_eq!(error.to_string(), "other is not offered by this version: why");
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_stored() {
        let said = |body: &str| Fields::parse(body.as_bytes()).unwrap_err().to_string();
        // Neither is JSON behind the limit, so whoever read on would say so.
        assert!(
            said(&format!("{{\"labels\": [{}!", "{},".repeat(VALUES_MAX))).contains("more than 65536 values")
        );
        assert!(said(&format!("{{\"x\": {}{{", "[".repeat(BODY_BYTES_MAX))).contains("the limit is 4194304"));
        let most = format!("{{\"labels\": [{}]}}", vec!["{}"; VALUES_MAX - 2].join(","));
        assert!(Fields::parse(most.as_bytes()).is_ok());
    }

    #[test]
    fn broken_json_says_where() {
        let error = Fields::parse(b"{\n \"a\": }").unwrap_err().to_string();
        assert_eq!(error, "the request body is not JSON: expected value at line 2 column 7");
        assert!(Fields::parse(b"[1]").unwrap_err().to_string().contains("must be a JSON object"));
        assert!(Fields::parse(b"").unwrap_err().to_string().contains("line 1 column 0"));
    }
}
