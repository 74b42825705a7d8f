//! The body of `:predict`, read straight into vectors of `f32` without a tree of JSON values in between.
//!
//! Whatever is wrong is named by instance and place in it, with the line and column of the body.

pub(crate) mod tensors;
pub(crate) mod traffic_key;

use jiff::civil::Date;
use platform::{Error, Instance, Kind};

use crate::json::{self, Fault, Reader};

const SYMBOL_LENGTH_MAX: usize = 64;
const SHOWN_CHARS_MAX: usize = 40;
const FORMS: &str = r#"[numbers], {"features": [numbers]} or {"symbol": "TEXT"}"#;
const BODY: &str = r#"an object like {"instances": [...], "parameters": {"as_of": "YYYY-MM-DD"}}"#;
/// A number and its comma are seldom shorter, so a first row has seldom more of them than its bytes divided by this.
const NUMBER_BYTES: usize = 8;
const FIRST_ROW_MAX: usize = 1024;

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
        let mut json = Reader::new(body);
        let read = whole(&mut json, max_instances).and_then(|read| Ok(json.end().map(|()| read)?));
        read.map_err(|wrong| wrong.said(body))
    }
}

/// Why a body is refused.
enum Wrong {
    /// It is not JSON.
    Syntax(Fault),
    /// A field does not fit, the whole body if it has no name: the value at this byte.
    Field { field: String, message: String, offset: usize },
}

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Self {
        Self::Syntax(fault)
    }
}

impl Wrong {
    fn said(self, body: &[u8]) -> Error {
        match self {
            Self::Syntax(fault) => {
                let message = format!("the request body is not JSON: {}", fault.within(body));
                Error::new(Kind::InvalidArgument, message)
            }
            Self::Field { field, message, offset } => {
                let message = format!("{message} ({})", json::place(body, offset));
                match &*field {
                    "" => Error::new(Kind::InvalidArgument, message),
                    field => Error::invalid(field, message),
                }
            }
        }
    }

    fn field<T>(field: &str, message: String, offset: usize) -> Result<T, Self> {
        Err(Self::Field { field: field.to_owned(), message, offset })
    }

    fn unknown_key<T>(inside: &str, key: &str, known: &str, offset: usize) -> Result<T, Self> {
        let key = shown(key);
        let field = if inside.is_empty() { key } else { format!("{inside}.{key}") };
        Self::field(&field, format!("unknown key \"{field}\"; known here: {known}"), offset)
    }

    fn twice<T>(field: &str, offset: usize) -> Result<T, Self> {
        Self::field(field, format!("{field} is given twice"), offset)
    }
}

fn whole(json: &mut Reader<'_>, max_instances: usize) -> Result<PredictBody, Wrong> {
    let offset = json.offset();
    if json.ahead()? != json::Kind::Object {
        return Wrong::field("", format!("the request body must be {BODY}, got {}", found(json)?), offset);
    }
    let mut instances = None;
    let mut parameters = None;
    let mut body = json.object()?;
    while let Some(key) = json.next_key(&mut body)? {
        let offset = json.offset();
        match &*key {
            "instances" if instances.is_some() => return Wrong::twice("instances", offset),
            "instances" => instances = Some(all(json, max_instances)?),
            "parameters" if parameters.is_some() => return Wrong::twice("parameters", offset),
            "parameters" => parameters = Some(read_parameters(json)?),
            "labels" => json.skip()?,
            other => return Wrong::unknown_key("", other, "instances, parameters, labels", offset),
        }
    }
    let offset = json.offset();
    match instances {
        Some(instances) if !instances.is_empty() => {
            Ok(PredictBody { instances, as_of: parameters.flatten() })
        }
        Some(_) => Wrong::field("instances", "instances is empty; give at least one".to_owned(), offset),
        None => Wrong::field("instances", format!("instances is missing; give a list of {FORMS}"), offset),
    }
}

/// `parameters`: an object or null. Of what is in it, `as_of`; the traffic key is another's ([`traffic_key`]).
fn read_parameters(json: &mut Reader<'_>) -> Result<Option<Date>, Wrong> {
    let offset = json.offset();
    match json.ahead()? {
        json::Kind::Null => return Ok(json.null().map(|()| None)?),
        json::Kind::Object => {}
        _ => {
            let message = "parameters must be an object like {\"as_of\": \"YYYY-MM-DD\"}, got ";
            return Wrong::field("parameters", message.to_owned() + &found(json)?, offset);
        }
    }
    let mut as_of = None;
    let mut together = [false; traffic_key::NAMES.len()];
    let mut parameters = json.object()?;
    while let Some(key) = json.next_key(&mut parameters)? {
        let offset = json.offset();
        if let Some(place) = traffic_key::NAMES.iter().position(|name| key == *name) {
            let field = format!("parameters.{}", traffic_key::NAMES[place]);
            if std::mem::replace(&mut together[place], true) {
                return Wrong::twice(&field, offset);
            }
            together_by(json, &field)?;
            continue;
        }
        if key != "as_of" {
            return Wrong::unknown_key("parameters", &key, "as_of, strategy, account", offset);
        }
        if as_of.is_some() {
            return Wrong::twice("parameters.as_of", offset);
        }
        as_of = Some(match json.ahead()? {
            json::Kind::Null => json.null().map(|()| None)?,
            json::Kind::Text => {
                let text = json.text()?;
                let Some(day) = day(&text) else {
                    let message = format!("as_of \"{}\" is not a date; give it as YYYY-MM-DD", shown(&text));
                    return Wrong::field("parameters.as_of", message, offset);
                };
                Some(day)
            }
            _ => {
                let message = format!("as_of must be a date as YYYY-MM-DD, got {}", found(json)?);
                return Wrong::field("parameters.as_of", message, offset);
            }
        });
    }
    Ok(as_of.flatten())
}

/// A parameter of the traffic key: text or null.
fn together_by(json: &mut Reader<'_>, field: &str) -> Result<(), Wrong> {
    let offset = json.offset();
    let wrong = match json.ahead()? {
        json::Kind::Null => return Ok(json.null()?),
        json::Kind::Text => match traffic_key::fault(&json.text()?) {
            None => return Ok(()),
            Some(fault) => fault,
        },
        _ => format!("must be text, got {}", found(json)?),
    };
    Wrong::field(field, format!("{field} {wrong}"), offset)
}

/// Exactly `YYYY-MM-DD`: other notations of a date hide a time or an order of day and month.
fn day(text: &str) -> Option<Date> {
    text.parse::<Date>().ok().filter(|date| date.to_string() == text)
}

/// `instances`: a list.
fn all(json: &mut Reader<'_>, max_instances: usize) -> Result<Vec<Instance>, Wrong> {
    let offset = json.offset();
    if json.ahead()? != json::Kind::List {
        let message = format!("instances must be a list of {FORMS}, got {}", found(json)?);
        return Wrong::field("instances", message, offset);
    }
    let mut instances: Vec<Instance> = Vec::new();
    // Rows of one request are equally wide, so the first says how much room the others need.
    let mut width = (json.bytes_left() / NUMBER_BYTES).min(FIRST_ROW_MAX);
    let mut list = json.list()?;
    while json.next_item(&mut list)? {
        if instances.len() == max_instances {
            let message = format!("more than {max_instances} instances; send them in several requests");
            return Wrong::field("instances", message, json.offset());
        }
        let instance = One { index: instances.len(), width }.read(json)?;
        if let Instance::Vector(vector) = &instance {
            width = vector.len();
        }
        instances.push(instance);
    }
    Ok(instances)
}

/// One instance, about as wide.
struct One {
    index: usize,
    width: usize,
}

impl One {
    fn field(&self) -> String {
        format!("instances[{}]", self.index)
    }

    fn wrong<T>(&self, got: &str, offset: usize) -> Result<T, Wrong> {
        Wrong::field(&self.field(), format!("instance {} must be {FORMS}, got {got}", self.index), offset)
    }

    fn read(&self, json: &mut Reader<'_>) -> Result<Instance, Wrong> {
        let offset = json.offset();
        match json.ahead()? {
            json::Kind::List => self.vector(json).map(Instance::Vector),
            json::Kind::Object => self.named(json),
            json::Kind::Text => {
                let text = json.text()?;
                let got =
                    format!("the text \"{0}\"; a symbol is written {{\"symbol\": \"{0}\"}}", shown(&text));
                self.wrong(&got, offset)
            }
            _ => self.wrong(&found(json)?, offset),
        }
    }

    fn named(&self, json: &mut Reader<'_>) -> Result<Instance, Wrong> {
        let begin = json.offset();
        let mut instance = None;
        let mut members = json.object()?;
        while let Some(key) = json.next_key(&mut members)? {
            let offset = json.offset();
            let value = match &*key {
                "features" => Instance::Vector(self.vector(json)?),
                "symbol" => Instance::Symbol(self.symbol(json)?),
                other => return Wrong::unknown_key(&self.field(), other, "features, symbol", offset),
            };
            if instance.replace(value).is_some() {
                let message = format!(
                    "instance {} must have exactly one of \"features\" and \"symbol\", once",
                    self.index
                );
                return Wrong::field(&self.field(), message, offset);
            }
        }
        match instance {
            Some(instance) => Ok(instance),
            None => self.wrong("an empty object", begin),
        }
    }

    fn symbol(&self, json: &mut Reader<'_>) -> Result<String, Wrong> {
        let offset = json.offset();
        let field = || format!("{}.symbol", self.field());
        if json.ahead()? != json::Kind::Text {
            let message =
                format!("instance {} must have its symbol as text, got {}", self.index, found(json)?);
            return Wrong::field(&field(), message, offset);
        }
        let symbol = json.text()?;
        if (1..=SYMBOL_LENGTH_MAX).contains(&symbol.len()) {
            return Ok(symbol.into_owned());
        }
        let message = format!(
            "instance {} has a symbol of {} bytes; give 1 to {SYMBOL_LENGTH_MAX}",
            self.index,
            symbol.len()
        );
        Wrong::field(&field(), message, offset)
    }

    fn vector(&self, json: &mut Reader<'_>) -> Result<Vec<f32>, Wrong> {
        let offset = json.offset();
        if json.ahead()? != json::Kind::List {
            let message = format!(
                "the features of instance {} must be a list of numbers, got {}",
                self.index,
                found(json)?
            );
            return Wrong::field(&format!("{}.features", self.field()), message, offset);
        }
        let mut values = Vec::with_capacity(self.width);
        let mut list = json.list()?;
        while json.next_item(&mut list)? {
            let taken =
                json.plain_numbers(|number| number.as_f32().map(|value| values.push(value)).is_some());
            if taken == 0 {
                values.push(self.number(json, values.len())?);
            }
        }
        Ok(values)
    }

    /// One number; `null` and `"NaN"` are a missing value.
    fn number(&self, json: &mut Reader<'_>, place: usize) -> Result<f32, Wrong> {
        let offset = json.offset();
        let got = match json.ahead()? {
            json::Kind::Number => {
                let number = json.number()?;
                let value = number.as_f32();
                if value.is_finite() {
                    return Ok(value);
                }
                format!("{:e}, which does not fit float32", number.as_f64())
            }
            json::Kind::Null => return Ok(json.null().map(|()| f32::NAN)?),
            json::Kind::Text => match json.text()? {
                text if text == "NaN" => return Ok(f32::NAN),
                text => format!("the text \"{}\"", shown(&text)),
            },
            _ => found(json)?,
        };
        let index = self.index;
        let message = format!(
            "instance {index} place {place} must be a number, or null or \"NaN\" where it is missing; got {got}"
        );
        Wrong::field(&format!("instances[{index}][{place}]"), message, offset)
    }
}

/// What comes ahead, for an error message.
fn found(json: &mut Reader<'_>) -> Result<String, Fault> {
    let begin = json.offset();
    let what = match json.ahead()? {
        json::Kind::Null => "null",
        json::Kind::False => "false",
        json::Kind::True => "true",
        json::Kind::List => "a list",
        json::Kind::Object => "an object",
        json::Kind::Text => return Ok(format!("the text \"{}\"", shown(&json.text()?))),
        json::Kind::Number => {
            json.number()?;
            return Ok(format!("the bare number {}", shown(&String::from_utf8_lossy(json.since(begin)))));
        }
    };
    Ok(what.to_owned())
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
