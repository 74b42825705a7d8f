//! The name that was probably meant.

/// The known name nearest to `name`, if one is near enough to be worth a suggestion.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const SIMILARITY_MIN: f64 = 0.5;
    let folded = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (strsim::normalized_damerau_levenshtein(&folded, &candidate.to_lowercase()), candidate)
        })
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .fold(None, |best: Option<(f64, &str)>, next| match best {
            Some(best) if best.0 >= next.0 => Some(best),
            _ => Some(next),
        })
        .map(|(_, candidate)| candidate)
}

/// `unknown operator "maen"; did you mean "Mean"? operators: Max, Mean`: what `kind` is called, the name that
/// is not known, and those that are.
pub(crate) fn unknown(kind: &str, name: &str, known: &[&str]) -> String {
    let near = nearest(name, known.iter().copied());
    let near = near.map_or_else(|| ";".to_owned(), |near| format!("; did you mean \"{near}\"?"));
    format!("unknown {kind} \"{name}\"{near} {}: {}", plural(kind), listed(known))
}

fn plural(kind: &str) -> String {
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    }
}

/// A list of names for a message, cut after the first 40.
fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 40;
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}

/// The message for an instrument that a panel does not hold: the nearest one and those there are.
pub fn unknown_instrument(symbol: &str, instruments: &[String]) -> String {
    let known: Vec<&str> = instruments.iter().map(String::as_str).collect();
    unknown("instrument", symbol, &known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_is_not() {
        assert_eq!(nearest("maen", ["Max", "Mean", "Min"]), Some("Mean"));
        assert_eq!(nearest("zzzzzz", ["Max", "Mean", "Min"]), None);
    }

    #[test]
    fn an_unknown_instrument_is_named_with_the_nearest_and_the_list() {
        let known = ["AAPL".to_owned(), "MSFT".to_owned()];
        assert_eq!(
            unknown_instrument("APPL", &known),
            "unknown instrument \"APPL\"; did you mean \"AAPL\"? instruments: AAPL, MSFT"
        );
        assert_eq!(
            unknown_instrument("QQQQ", &known),
            "unknown instrument \"QQQQ\"; instruments: AAPL, MSFT"
        );
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..45).map(|i| format!("N{i}")).collect();
        assert!(unknown_instrument("zzz", &names).ends_with("N39 and 5 more"));
    }
}
