//! What differs between two configurations, in words a reader can act on.

use serde_json::Value;

/// Longer values are cut.
const VALUE_CHARS_MAX: usize = 80;

/// One line for each value that differs, with its path: `fit.batch_size: 256 -> 512`. What one side lacks is
/// `not set`. Numbers are compared as numbers: `1` is `1.0`.
pub fn config_diff(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", Some(old), Some(new), &mut found);
    found
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<String>) {
    match (old, new) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            for (key, value) in before {
                compare(&member(path, key), Some(value), after.get(key), found);
            }
            for (key, value) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
                compare(&member(path, key), None, Some(value), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for at in 0..before.len().max(after.len()) {
                compare(&format!("{path}[{at}]"), before.get(at), after.get(at), found);
            }
        }
        _ if same(old, new) => {}
        _ => {
            let path = if path.is_empty() { "the whole" } else { path };
            found.push(format!("{path}: {} -> {}", shown(old), shown(new)));
        }
    }
}

/// Whether two leaves are equal; `null` is what is not set.
fn same(old: Option<&Value>, new: Option<&Value>) -> bool {
    match (old.unwrap_or(&Value::Null), new.unwrap_or(&Value::Null)) {
        (Value::Number(old), Value::Number(new)) if old.is_f64() || new.is_f64() => {
            old.as_f64() == new.as_f64()
        }
        (old, new) => old == new,
    }
}

fn member(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => return "not set".to_owned(),
        Some(value) => value.to_string(),
    };
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text;
    }
    text.chars().take(VALUE_CHARS_MAX).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_difference_has_its_path() {
        let old = json!({
            "fit": {"batch_size": 256, "loss": "mse", "seed": 1, "epochs": 3},
            "model": {"layers": [{"units": 64}, {"units": 10}]},
            "features": {"Ref($close,1)": 1},
        });
        let new = json!({
            "fit": {"batch_size": 512, "loss": {"name": "huber"}, "seed": 1.0, "clipnorm": 1.5, "epochs": null},
            "model": {"layers": [{"units": 32}]},
            "features": {"Ref($close,1)": 2},
        });
        assert_eq!(
            config_diff(&old, &new),
            [
                "features.\"Ref($close,1)\": 1 -> 2",
                "fit.batch_size: 256 -> 512",
                "fit.epochs: 3 -> not set",
                "fit.loss: \"mse\" -> {\"name\":\"huber\"}",
                "fit.clipnorm: not set -> 1.5",
                "model.layers[0].units: 64 -> 32",
                "model.layers[1]: {\"units\":10} -> not set",
            ]
        );
        assert!(config_diff(&old, &old).is_empty());
    }

    #[test]
    fn what_is_not_set_is_null_and_long_values_are_cut() {
        assert!(config_diff(&json!({"a": null}), &json!({})).is_empty());
        assert_eq!(config_diff(&json!(1), &json!("x")), ["the whole: 1 -> \"x\""]);
        let line = &config_diff(&json!({}), &json!({"a": "é".repeat(200)}))[0];
        assert_eq!(line.chars().count(), "a: not set -> ...".len() + VALUE_CHARS_MAX);
        assert_ne!(config_diff(&json!({"seed": u64::MAX}), &json!({"seed": u64::MAX - 1})), [""; 0]);
    }
}
