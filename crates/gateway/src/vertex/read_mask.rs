//! `readMask`: which fields of the items of a list are replied with.

use platform::Error;
use serde_json::{Map, Value};

use super::fields::camel_case;
use super::query::Query;
use crate::refusal::shown;

/// Fields that have fields of their own, in any of the resources; no path goes into another one.
const STRUCTURED: &[&str] = &[
    "labels",
    "metadata",
    "trafficSplit",
    "predictSchemata",
    "containerSpec",
    "explanationSpec",
    "encryptionSpec",
    "dataStats",
    "modelSourceInfo",
    "originalModelInfo",
    "baseModelSource",
    "clientConnectionConfig",
    "privateServiceConnectConfig",
    "predictRequestResponseLoggingConfig",
    "genAiAdvancedFeaturesConfig",
];

/// Leaves of each item what `readMask` names, and the whole of it without one. `known` are the fields that an item of this list
/// may have.
///
/// # Errors
/// [`platform::Kind::InvalidArgument`] for a field that no item has.
pub(crate) fn apply(query: &Query, known: &[&[&str]], items: &mut [Value]) -> Result<(), Error> {
    let Some(mask) = query.get("readMask", "read_mask").filter(|mask| *mask != "*") else { return Ok(()) };
    let path = |path: &str| path.trim().split('.').map(camel_case).collect::<Vec<_>>();
    let paths: Vec<Vec<String>> = mask.split(',').map(path).collect();
    for path in &paths {
        let (first, rest) = (path[0].as_str(), &path[1..]);
        let exists = known.iter().any(|fields| fields.contains(&first));
        if !exists || (!rest.is_empty() && !STRUCTURED.contains(&first)) || rest.iter().any(String::is_empty)
        {
            let mut names: Vec<&str> = known.iter().flat_map(|fields| fields.iter().copied()).collect();
            names.sort_unstable();
            let message = format!(
                "readMask names \"{}\", which is no field here; the fields are {}",
                shown(&path.join(".")),
                names.join(", ")
            );
            return Err(Error::invalid("readMask", message));
        }
    }
    for item in items {
        let mut kept = Value::Object(Map::new());
        for path in &paths {
            keep(item, &mut kept, path);
        }
        *item = kept;
    }
    Ok(())
}

fn keep(from: &Value, to: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else { return };
    let (Some(value), Some(to)) = (from.get(first), to.as_object_mut()) else { return };
    if rest.is_empty() || !value.is_object() {
        to.insert(first.clone(), value.clone());
    } else {
        let inner = to.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
        keep(value, inner, rest);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KNOWN: &[&[&str]] = &[&["name", "etag", "network"], &["displayName", "labels"]];

    fn masked(query: &str) -> Result<Value, Error> {
        let query = Query::parse(&format!("/x?{query}").parse().unwrap()).unwrap();
        let mut items =
            [json!({"name": "n", "displayName": "d", "labels": {"a": "1", "b": "2"}, "etag": "e"})];
        apply(&query, KNOWN, &mut items)?;
        let [item] = items;
        Ok(item)
    }

    #[test]
    fn a_mask_leaves_what_it_names() {
        let whole = masked("").unwrap();
        assert_eq!(whole["labels"]["b"], "2");
        for (asked, expected) in [
            ("readMask=name,labels.a", json!({"name": "n", "labels": {"a": "1"}})),
            ("read_mask=display_name", json!({"displayName": "d"})),
            ("readMask=*", whole.clone()),
            // A field that there is and that this item has not.
            ("readMask=network,%20name", json!({"name": "n"})),
            ("readMask=labels.c", json!({"labels": {}})),
        ] {
            assert_eq!(masked(asked).unwrap(), expected, "{asked}");
        }
    }

    #[test]
    fn a_field_that_there_is_not_is_refused() {
        for (asked, named) in [
            ("readMask=bogus", "\"bogus\""),
            ("readMask=name,bo_gus", "\"boGus\""),
            ("readMask=name,", "\"\""),
            ("readMask=name.first", "\"name.first\""),
            ("readMask=labels.", "\"labels.\""),
            ("readMask=*,name", "\"*\""),
        ] {
            let error = masked(asked).unwrap_err();
            assert_eq!(error.violations()[0].field, "readMask", "{asked}");
            assert!(error.to_string().contains(named), "{asked}: {error}");
            assert!(error.to_string().ends_with("displayName, etag, labels, name, network"), "{error}");
        }
    }
}
