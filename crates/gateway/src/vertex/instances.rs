//! The body of `:predict`, read straight into vectors of `f32` without a tree of JSON values in between.
//!
//! Whatever is wrong is named by instance and place in it, with the line and column of the body.

pub(crate) mod tensors;

use std::cell::RefCell;
use std::fmt;

use jiff::civil::Date;
use platform::{Error, Instance, Kind};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

const SYMBOL_LENGTH_MAX: usize = 64;
const SHOWN_CHARS_MAX: usize = 40;
const FORMS: &str = r#"[numbers], {"features": [numbers]} or {"symbol": "TEXT"}"#;

/// A predict request as it was sent.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct PredictBody {
    /// What to answer for.
    pub(crate) instances: Vec<Instance>,
    /// `parameters.as_of`
    pub(crate) as_of: Option<Date>,
}

impl PredictBody {
    /// Reads a body of at most `max_instances` instances.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] naming what is wrong and where.
    pub(crate) fn parse(body: &[u8], max_instances: usize) -> Result<Self, Error> {
        let reading = Reading { max_instances, refusal: RefCell::new(None) };
        let mut json = serde_json::Deserializer::from_slice(body);
        let read = Body(&reading).deserialize(&mut json).and_then(|body| json.end().map(|()| body));
        let error = match read {
            Ok(body) => return Ok(body),
            Err(error) => error,
        };
        match reading.refusal.into_inner() {
            Some((field, message)) if error.line() > 0 => {
                let place = format!("line {} column {}", error.line(), error.column());
                Err(Error::invalid(&field, format!("{message} ({place})")))
            }
            Some((field, message)) => Err(Error::invalid(&field, message)),
            None if error.is_data() => {
                Err(Error::new(Kind::InvalidArgument, format!("the request body does not fit: {error}")))
            }
            None => Err(super::fields::not_json(&error)),
        }
    }
}

/// What is shared while one body is read.
struct Reading {
    max_instances: usize,
    /// The field and message of the refusal that stopped the reading.
    refusal: RefCell<Option<(String, String)>>,
}

impl Reading {
    fn refuse<E: serde::de::Error>(&self, field: String, message: String) -> E {
        *self.refusal.borrow_mut() = Some((field, message));
        E::custom("refused")
    }

    fn unknown_key<E: serde::de::Error>(&self, inside: &str, key: &str, known: &str) -> E {
        let key = shown(key);
        let field = if inside.is_empty() { key.clone() } else { format!("{inside}.{key}") };
        self.refuse(field.clone(), format!("unknown key \"{field}\"; known here: {known}"))
    }

    fn twice<E: serde::de::Error>(&self, field: &str) -> E {
        self.refuse(field.to_owned(), format!("{field} is given twice"))
    }
}

struct Body<'a>(&'a Reading);

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = PredictBody;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<PredictBody, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = PredictBody;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object like {\"instances\": [...], \"parameters\": {\"as_of\": \"YYYY-MM-DD\"}}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PredictBody, A::Error> {
        let mut instances = None;
        let mut parameters = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "instances" if instances.is_some() => return Err(self.0.twice("instances")),
                "instances" => instances = Some(map.next_value_seed(Instances(self.0))?),
                "parameters" if parameters.is_some() => return Err(self.0.twice("parameters")),
                "parameters" => parameters = Some(map.next_value_seed(Parameters(self.0))?),
                "labels" => {
                    map.next_value::<IgnoredAny>()?;
                }
                other => return Err(self.0.unknown_key("", other, "instances, parameters, labels")),
            }
        }
        match instances {
            Some(instances) if !instances.is_empty() => {
                Ok(PredictBody { instances, as_of: parameters.flatten() })
            }
            Some(_) => {
                Err(self.0.refuse("instances".to_owned(), "instances is empty; give at least one".to_owned()))
            }
            None => Err(self
                .0
                .refuse("instances".to_owned(), format!("instances is missing; give a list of {FORMS}"))),
        }
    }
}

/// `parameters`: an object or null.
struct Parameters<'a>(&'a Reading);

impl<'de> DeserializeSeed<'de> for Parameters<'_> {
    type Value = Option<Date>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<Date>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Parameters<'_> {
    type Value = Option<Date>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parameters as an object like {\"as_of\": \"YYYY-MM-DD\"}")
    }

    fn visit_unit<E>(self) -> Result<Option<Date>, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Date>, A::Error> {
        let mut as_of = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "as_of" {
                return Err(self.0.unknown_key("parameters", &key, "as_of"));
            }
            if as_of.is_some() {
                return Err(self.0.twice("parameters.as_of"));
            }
            as_of = Some(map.next_value::<Option<String>>()?);
        }
        match as_of.flatten() {
            Some(text) => day(&text).map(Some).ok_or_else(|| {
                let message = format!("as_of \"{}\" is not a date; give it as YYYY-MM-DD", shown(&text));
                self.0.refuse("parameters.as_of".to_owned(), message)
            }),
            None => Ok(None),
        }
    }
}

/// Exactly `YYYY-MM-DD`: other notations of a date hide a time or an order of day and month.
fn day(text: &str) -> Option<Date> {
    text.parse::<Date>().ok().filter(|date| date.to_string() == text)
}

/// `instances`: a list.
struct Instances<'a>(&'a Reading);

impl<'de> DeserializeSeed<'de> for Instances<'_> {
    type Value = Vec<Instance>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Vec<Instance>, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Instances<'_> {
    type Value = Vec<Instance>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instances as a list of {FORMS}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Instance>, A::Error> {
        let mut instances: Vec<Instance> = Vec::new();
        // Rows of one request are equally wide, so the first says how much room the others need.
        let mut width = 0;
        while let Some(instance) =
            seq.next_element_seed(One { reading: self.0, index: instances.len(), width })?
        {
            if instances.len() == self.0.max_instances {
                let message =
                    format!("more than {} instances; send them in several requests", self.0.max_instances);
                return Err(self.0.refuse("instances".to_owned(), message));
            }
            if let Instance::Vector(vector) = &instance {
                width = vector.len();
            }
            instances.push(instance);
        }
        Ok(instances)
    }
}

/// One instance.
struct One<'a> {
    reading: &'a Reading,
    index: usize,
    width: usize,
}

impl One<'_> {
    fn field(&self) -> String {
        format!("instances[{}]", self.index)
    }

    fn wrong<T, E: serde::de::Error>(&self, got: &str) -> Result<T, E> {
        Err(self.reading.refuse(self.field(), format!("instance {} must be {FORMS}, got {got}", self.index)))
    }

    fn vector(&self) -> Vector<'_> {
        Vector { reading: self.reading, index: self.index, width: self.width }
    }
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = Instance;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Instance, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = Instance;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instance {} as {FORMS}", self.index)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Instance, A::Error> {
        self.vector().visit_seq(seq).map(Instance::Vector)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Instance, A::Error> {
        let mut instance = None;
        while let Some(key) = map.next_key::<String>()? {
            let value = match key.as_str() {
                "features" => Instance::Vector(map.next_value_seed(self.vector())?),
                "symbol" => Instance::Symbol(self.symbol(map.next_value::<String>()?)?),
                other => return Err(self.reading.unknown_key(&self.field(), other, "features, symbol")),
            };
            if instance.replace(value).is_some() {
                let message = format!(
                    "instance {} must have exactly one of \"features\" and \"symbol\", once",
                    self.index
                );
                return Err(self.reading.refuse(self.field(), message));
            }
        }
        match instance {
            Some(instance) => Ok(instance),
            None => self.wrong("an empty object"),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Instance, E> {
        self.wrong(&format!("the text \"{0}\"; a symbol is written {{\"symbol\": \"{0}\"}}", shown(text)))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Instance, E> {
        self.wrong("null")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Instance, E> {
        self.wrong(&value.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Instance, E> {
        self.wrong(&format!("the bare number {value}"))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Instance, E> {
        self.wrong(&format!("the bare number {value}"))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Instance, E> {
        self.wrong(&format!("the bare number {value}"))
    }
}

impl One<'_> {
    fn symbol<E: serde::de::Error>(&self, symbol: String) -> Result<String, E> {
        if (1..=SYMBOL_LENGTH_MAX).contains(&symbol.len()) {
            return Ok(symbol);
        }
        let message = format!(
            "instance {} has a symbol of {} bytes; give 1 to {SYMBOL_LENGTH_MAX}",
            self.index,
            symbol.len()
        );
        Err(self.reading.refuse(format!("{}.symbol", self.field()), message))
    }
}

/// The numbers of one instance.
struct Vector<'a> {
    reading: &'a Reading,
    index: usize,
    width: usize,
}

impl<'de> DeserializeSeed<'de> for Vector<'_> {
    type Value = Vec<f32>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Vec<f32>, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Vector<'_> {
    type Value = Vec<f32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the features of instance {} as a list of numbers", self.index)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<f32>, A::Error> {
        let mut values = Vec::with_capacity(self.width);
        while let Some(value) =
            seq.next_element_seed(Number { reading: self.reading, index: self.index, place: values.len() })?
        {
            values.push(value);
        }
        Ok(values)
    }
}

/// One number of an instance; `null` and `"NaN"` are a missing value.
struct Number<'a> {
    reading: &'a Reading,
    index: usize,
    place: usize,
}

impl Number<'_> {
    fn wrong<E: serde::de::Error>(&self, got: &str) -> Result<f32, E> {
        let Self { index, place, .. } = self;
        let message = format!(
            "instance {index} place {place} must be a number, or null or \"NaN\" where it is missing; got {got}"
        );
        Err(self.reading.refuse(format!("instances[{index}][{place}]"), message))
    }
}

impl<'de> DeserializeSeed<'de> for Number<'_> {
    type Value = f32;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<f32, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Number<'_> {
    type Value = f32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, null or \"NaN\"")
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<f32, E> {
        let narrow = value as f32;
        if narrow.is_finite() {
            return Ok(narrow);
        }
        self.wrong(&format!("{value:e}, which does not fit float32"))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<f32, E> {
        Ok(value as f32)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<f32, E> {
        Ok(value as f32)
    }

    fn visit_unit<E>(self) -> Result<f32, E> {
        Ok(f32::NAN)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<f32, E> {
        if text == "NaN" { Ok(f32::NAN) } else { self.wrong(&format!("the text \"{}\"", shown(text))) }
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<f32, E> {
        self.wrong(&value.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<f32, A::Error> {
        self.wrong("a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<f32, A::Error> {
        self.wrong("an object")
    }
}

/// As much of a client's text as an error message repeats.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
