//! Which column of a table is what: features by name in any order, an instrument, what is to be kept.

use super::RowShape;
use crate::nearest::{nearest, unknown};

/// The column that names an instrument.
pub(super) const SYMBOL: &str = "symbol";
/// The column that says what day counts as today.
pub(super) const AS_OF: &str = "as_of";
/// So many names are listed before it is said that there are more.
const LISTED: usize = 10;

/// What rows are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// Numbers: the place of each feature.
    Features(Vec<usize>),
    /// Instruments, and perhaps days.
    Symbols {
        /// Place of the instrument.
        symbol: usize,
        /// Place of the day.
        as_of: Option<usize>,
    },
}

/// The columns of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    /// What the model is asked.
    pub(super) asked: Asked,
    /// Places of what is to be kept.
    pub(super) kept: Vec<usize>,
    /// Names of columns that mean nothing.
    pub(super) ignored: Vec<String>,
}

impl Columns {
    /// Finds the columns of a shape among those of a table.
    pub(super) fn find(names: &[&str], shape: &RowShape) -> Result<Self, String> {
        let place = |name: &str| -> Result<Option<usize>, String> {
            let mut places = names.iter().enumerate().filter(|(_, known)| **known == name);
            let first = places.next().map(|(at, _)| at);
            match places.next() {
                None => Ok(first),
                Some(_) => Err(format!("column \"{name}\" is there twice; rename or remove one")),
            }
        };
        let mut kept = Vec::with_capacity(shape.keep.len());
        for name in &shape.keep {
            kept.push(place(name)?.ok_or_else(|| unknown("column to keep", name, names))?);
        }
        let asked = Self::asked(names, shape, &kept, place)?;
        let means = |at: &usize| match &asked {
            Asked::Features(places) => places.contains(at),
            Asked::Symbols { symbol, as_of } => at == symbol || Some(*at) == *as_of,
        };
        let ignored = (0..names.len()).filter(|at| !means(at) && !kept.contains(at));
        let ignored = ignored.map(|at| names[at].to_owned()).collect();
        Ok(Self { asked, kept, ignored })
    }

    fn asked(
        names: &[&str],
        shape: &RowShape,
        kept: &[usize],
        place: impl Fn(&str) -> Result<Option<usize>, String>,
    ) -> Result<Asked, String> {
        if shape.features.is_empty() {
            let places: Vec<usize> = (0..names.len()).filter(|at| !kept.contains(at)).collect();
            if places.len() == shape.width {
                return Ok(Asked::Features(places));
            }
            return Err(format!(
                "it has {} columns besides those to keep, and the model, whose columns have no names, takes {}",
                places.len(),
                shape.width
            ));
        }
        let mut places = Vec::with_capacity(shape.features.len());
        let mut missing = Vec::new();
        for name in &shape.features {
            match place(name)? {
                Some(at) => places.push(at),
                None => missing.push(name.as_str()),
            }
        }
        if missing.is_empty() {
            return Ok(Asked::Features(places));
        }
        if let (true, true, Some(symbol)) = (shape.by_symbol, places.is_empty(), place(SYMBOL)?) {
            return Ok(Asked::Symbols { symbol, as_of: place(AS_OF)? });
        }
        Err(lacks(&missing, names))
    }
}

/// `it lacks 2 columns of the model: "A", "B"; did you mean "a"?`
pub(super) fn lacks(missing: &[&str], there: &[&str]) -> String {
    let shown: Vec<String> = missing.iter().take(LISTED).map(|name| format!("\"{name}\"")).collect();
    let more = match missing.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let near = missing.first().and_then(|name| nearest(name, there.iter().copied()));
    let near = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
    let columns = if missing.len() == 1 { "column" } else { "columns" };
    format!("it lacks {} {columns} of the model: {}{more}{near}", missing.len(), shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(features: &[&str], keep: &[&str]) -> RowShape {
        RowShape {
            features: features.iter().map(|name| (*name).to_owned()).collect(),
            width: features.len(),
            by_symbol: true,
            keep: keep.iter().map(|name| (*name).to_owned()).collect(),
            echo: false,
        }
    }

    #[test]
    fn columns_stand_in_any_order_and_others_mean_nothing() {
        let found = Columns::find(&["x", "B", "id", "A"], &shape(&["A", "B"], &["id"])).unwrap();
        assert_eq!(found.asked, Asked::Features(vec![3, 1]));
        assert_eq!((found.kept, found.ignored), (vec![2], vec!["x".to_owned()]));
        let found = Columns::find(&["as_of", "symbol"], &shape(&["A", "B"], &["symbol"])).unwrap();
        assert_eq!(found.asked, Asked::Symbols { symbol: 1, as_of: Some(0) });
        let unnamed = RowShape { width: 2, keep: vec!["id".to_owned()], ..RowShape::default() };
        let found = Columns::find(&["p", "id", "q"], &unnamed).unwrap();
        assert_eq!(found.asked, Asked::Features(vec![0, 2]));
    }

    #[test]
    fn what_is_missing_unknown_or_twice_is_named() {
        let many: Vec<String> = (0..12).map(|n| format!("F{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (names, shape, said) in [
            (
                &["a", "B"][..],
                shape(&["A", "B"], &[]),
                "it lacks 1 column of the model: \"A\"; did you mean \"a\"?",
            ),
            (&["A", "B", "A"], shape(&["A", "B"], &[]), "column \"A\" is there twice"),
            (&["A", "ids"], shape(&["A"], &["id"]), "unknown column to keep \"id\"; did you mean \"ids\"?"),
            (&["symbol", "A"], shape(&["A", "B"], &[]), "it lacks 1 column of the model: \"B\""),
            (&["x"], shape(&many, &[]), "it lacks 12 columns of the model: \"F0\","),
            (&["x"], RowShape { width: 2, ..RowShape::default() }, "it has 1 columns besides"),
        ] {
            let error = Columns::find(names, &shape).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert!(Columns::find(&["x"], &shape(&many, &[])).unwrap_err().contains("\"F9\" and 2 more"));
    }
}
