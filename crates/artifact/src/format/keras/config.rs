//! How Keras describes its objects: a class, the module it is of, and its settings.

use serde_json::{Map, Value};

use crate::format::traced::target::Step;

/// A described object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'a> {
    pub class: &'a str,
    pub module: &'a str,
    pub settings: Settings<'a>,
    /// How it is called, each time: of a layer of a network.
    pub calls: &'a [Value],
    /// What it is called there.
    pub name: &'a str,
    /// Under which name a user registered it; none of Keras's own.
    registered: &'a str,
}

impl<'a> Object<'a> {
    pub(super) fn read(value: &'a Value) -> Step<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let (Some(class), Some(Value::Object(settings))) = (text("class_name"), value.get("config")) else {
            return Err("its description is damaged: it has no class_name or config".into());
        };
        let settings = Settings(settings);
        Ok(Self {
            class,
            module: text("module").unwrap_or_default(),
            settings,
            calls: value.get("inbound_nodes").and_then(Value::as_array).map_or(&[], Vec::as_slice),
            name: text("name").unwrap_or_else(|| settings.text("name", class)),
            registered: text("registered_name").unwrap_or_default(),
        })
    }

    /// Whether it is one of Keras, and not code of somebody else.
    pub(super) fn is_of_keras(&self) -> bool {
        let module = self.module == "keras" || self.module.starts_with("keras.");
        module && (self.registered.is_empty() || self.registered == self.class)
    }

    /// Whether it is an operation on tensors (`x + y`) and no layer.
    pub(super) fn is_operation(&self) -> bool {
        self.module.starts_with("keras.src.ops") || self.module.starts_with("keras.ops")
    }

    /// Module and class, as Python would name it.
    pub(super) fn full_name(&self) -> String {
        match self.module {
            "" | "builtins" => self.class.to_owned(),
            module => format!("{module}.{}", self.class),
        }
    }
}

/// The settings of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings<'a>(&'a Map<String, Value>);

impl<'a> Settings<'a> {
    /// A setting that is given and not null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, key: &str, otherwise: &'a str) -> &'a str {
        self.get(key).and_then(Value::as_str).unwrap_or(otherwise)
    }

    pub(super) fn flag(&self, key: &str, otherwise: bool) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(otherwise)
    }

    /// A number, which may be the only one of a list.
    pub(super) fn number(&self, key: &str, otherwise: f64) -> f64 {
        self.get(key).and_then(Value::as_f64).unwrap_or(otherwise)
    }

    /// A whole number that must be there.
    pub(super) fn integer(&self, key: &str) -> Step<i64> {
        let value = self.get(key).and_then(Value::as_i64);
        Ok(value.ok_or_else(|| format!("its {key} is no whole number"))?)
    }

    /// A count that must be there: 1 or more, and no more than any machine holds.
    pub(super) fn count(&self, key: &str) -> Step<usize> {
        const COUNT_MAX: i64 = 1 << 31;
        let count = self.integer(key)?;
        let fits = usize::try_from(count).ok().filter(|_| (1..=COUNT_MAX).contains(&count));
        Ok(fits.ok_or_else(|| format!("its {key} of {count} is not taken"))?)
    }

    /// Whole numbers of a list, or one alone.
    pub(super) fn integers(&self, key: &str) -> Step<Vec<i64>> {
        self.get(key)
            .and_then(integers)
            .ok_or_else(|| format!("its {key} is no list of whole numbers").into())
    }

    /// One whole number for each of `count` axes; one alone counts for all.
    pub(super) fn each(&self, key: &str, count: usize, otherwise: i64) -> Step<Vec<i64>> {
        let given = match self.get(key) {
            None => vec![otherwise; count],
            Some(Value::Number(_)) => vec![self.integer(key)?; count],
            Some(_) => self.integers(key)?,
        };
        match given.len() == count {
            true => Ok(given),
            false => Err(format!("its {key} has {} numbers in place of {count}", given.len()).into()),
        }
    }

    /// Numbers, in lists or not, in their order.
    pub(super) fn numbers(&self, key: &str) -> Option<Vec<f64>> {
        fn gather(value: &Value, into: &mut Vec<f64>) -> Option<()> {
            match value {
                Value::Array(values) => values.iter().try_for_each(|value| gather(value, into)),
                other => other.as_f64().map(|number| into.push(number)),
            }
        }
        let mut numbers = Vec::new();
        gather(self.get(key)?, &mut numbers).map(|()| numbers)
    }

    /// An object inside.
    pub(super) fn object(&self, key: &str) -> Step<Option<Object<'a>>> {
        self.get(key).map(Object::read).transpose()
    }
}

/// Whole numbers of a list, or one alone.
pub(super) fn integers(value: &Value) -> Option<Vec<i64>> {
    match value {
        Value::Array(values) => values.iter().map(Value::as_i64).collect(),
        other => Some(vec![other.as_i64()?]),
    }
}
