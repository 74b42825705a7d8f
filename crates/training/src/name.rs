//! Names in a configuration: looked up in the list of those that exist, with the nearest in the error.

/// What a list of names is called in errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// One of them: `activation`.
    pub(crate) one: &'static str,
    /// All of them: `activations`.
    pub(crate) all: &'static str,
}

/// The value listed under `name`.
///
/// # Errors
/// A message with the nearest known name and all of them.
pub(crate) fn find<T: Copy>(kind: Kind, name: &str, known: &[(&'static str, T)]) -> Result<T, String> {
    if let Some((_, value)) = known.iter().find(|(candidate, _)| *candidate == name) {
        return Ok(*value);
    }
    let names: Vec<&str> = known.iter().map(|(candidate, _)| *candidate).collect();
    let Kind { one, all } = kind;
    let list = names.join(", ");
    Err(match nearest(name, &names) {
        Some(near) => format!("unknown {one} \"{name}\"; did you mean \"{near}\"? {all}: {list}"),
        None => format!("unknown {one} \"{name}\"; {all}: {list}"),
    })
}

/// The known name nearest to `name`, if one is near enough to be worth a suggestion.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    const SIMILARITY_MIN: f64 = 0.5;
    let folded = name.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in known {
        let similarity = strsim::normalized_damerau_levenshtein(&folded, candidate);
        if similarity >= SIMILARITY_MIN && best.is_none_or(|(highest, _)| similarity > highest) {
            best = Some((similarity, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { one: "activation", all: "activations" };
    const KNOWN: &[(&str, u8)] = &[("relu", 1), ("tanh", 2)];

    #[test]
    fn a_listed_name_is_found_and_another_is_answered_with_the_nearest() {
        assert_eq!(find(KIND, "tanh", KNOWN), Ok(2));
        assert_eq!(
            find(KIND, "RELU", KNOWN).unwrap_err(),
            "unknown activation \"RELU\"; did you mean \"relu\"? activations: relu, tanh"
        );
        assert_eq!(
            find(KIND, "swish", KNOWN).unwrap_err(),
            "unknown activation \"swish\"; activations: relu, tanh"
        );
    }
}
