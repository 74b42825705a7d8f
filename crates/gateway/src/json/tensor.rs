//! Nested lists to the elements of a tensor, row-major, in the vector the engine takes.
//!
//! A list's shape is that of its first items; what differs is a [`Misfit`], which says what and where and is put into
//! words by each protocol.

use platform::{DataType, TensorData};

use super::{Fault, Kind, Reader};

/// What a float may be written as, besides a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Floats {
    /// `null` and `"NaN"` are missing values.
    MayBeMissing,
    /// Nothing else, and an integer only if the type holds all integers up to it: TensorFlow Serving's rule.
    Exact,
}

/// Why a value is no element or no part of the tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// The bytes are not JSON.
    Syntax(Fault),
    /// An element of another type: the value at this byte.
    Type { offset: usize },
    /// A number that is no finite value of the type: the value at this byte.
    Range { offset: usize },
    /// An element where the first items had a list: the value at this byte, after `level` lists, where `rank` were due.
    Shallow { offset: usize, level: usize, rank: usize },
    /// A list where the first items had an element.
    Deep { level: usize, rank: usize },
    /// A list of another length than the first at its level.
    Size { got: usize, level: usize, expected: usize },
}

impl From<Fault> for Misfit {
    fn from(fault: Fault) -> Self {
        Self::Syntax(fault)
    }
}

/// No elements of a type yet.
pub(crate) fn empty(dtype: DataType) -> TensorData {
    match dtype {
        DataType::Float32 => TensorData::Float32(Vec::new()),
        DataType::Float64 => TensorData::Float64(Vec::new()),
        DataType::Int32 => TensorData::Int32(Vec::new()),
        DataType::Int64 => TensorData::Int64(Vec::new()),
        DataType::Bool => TensorData::Bool(Vec::new()),
    }
}

/// Makes room for `more` elements that are about to come.
pub(crate) fn reserve(data: &mut TensorData, more: usize) {
    match data {
        TensorData::Float32(values) => values.reserve(more),
        TensorData::Float64(values) => values.reserve(more),
        TensorData::Int32(values) => values.reserve(more),
        TensorData::Int64(values) => values.reserve(more),
        TensorData::Bool(values) => values.reserve(more),
    }
}

/// Appends the element ahead.
///
/// # Errors
/// [`Misfit::Type`], [`Misfit::Range`], [`Misfit::Syntax`].
#[inline]
pub(crate) fn push(reader: &mut Reader<'_>, data: &mut TensorData, floats: Floats) -> Result<(), Misfit> {
    let kind = reader.ahead()?;
    if kind == Kind::Number {
        return number(reader, data, floats);
    }
    let offset = reader.offset();
    match (kind, data) {
        (Kind::True | Kind::False, TensorData::Bool(values)) => values.push(reader.boolean()?),
        (Kind::Null | Kind::Text, TensorData::Float32(values)) if floats == Floats::MayBeMissing => {
            absent(reader, kind, offset)?;
            values.push(f32::NAN);
        }
        (Kind::Null | Kind::Text, TensorData::Float64(values)) if floats == Floats::MayBeMissing => {
            absent(reader, kind, offset)?;
            values.push(f64::NAN);
        }
        _ => {
            reader.skip()?;
            return Err(Misfit::Type { offset });
        }
    }
    Ok(())
}

fn absent(reader: &mut Reader<'_>, kind: Kind, offset: usize) -> Result<(), Misfit> {
    if kind == Kind::Null {
        return Ok(reader.null()?);
    }
    if reader.text()? == "NaN" { Ok(()) } else { Err(Misfit::Type { offset }) }
}

#[inline]
fn number(reader: &mut Reader<'_>, data: &mut TensorData, floats: Floats) -> Result<(), Misfit> {
    let begin = reader.offset();
    let number = reader.number()?;
    match data {
        TensorData::Float32(values) => {
            let value = number.as_f32();
            let too_large = value.is_infinite() && !number.is_bare();
            if too_large || (floats == Floats::Exact && number.is_integer_over(f32::MANTISSA_DIGITS)) {
                return Err(Misfit::Range { offset: begin });
            }
            values.push(value);
        }
        TensorData::Float64(values) => {
            if floats == Floats::Exact && number.is_integer_over(f64::MANTISSA_DIGITS) {
                return Err(Misfit::Range { offset: begin });
            }
            values.push(number.as_f64());
        }
        TensorData::Int32(values) => {
            let value = number.as_i64().and_then(|value| i32::try_from(value).ok());
            values.push(value.ok_or(integer_misfit(number.is_whole(), begin))?);
        }
        TensorData::Int64(values) => {
            values.push(number.as_i64().ok_or(integer_misfit(number.is_whole(), begin))?);
        }
        TensorData::Bool(_) => return Err(Misfit::Type { offset: begin }),
    }
    Ok(())
}

/// Appends the elements ahead that are read the short way; how many those are.
#[inline]
fn plain(reader: &mut Reader<'_>, data: &mut TensorData, floats: Floats) -> usize {
    let exact = floats == Floats::Exact;
    match data {
        TensorData::Float32(values) => reader.plain_numbers(|number| {
            let value =
                if exact && number.is_integer_over(f32::MANTISSA_DIGITS) { None } else { number.as_f32() };
            value.map(|value| values.push(value)).is_some()
        }),
        TensorData::Float64(values) => reader.plain_numbers(|number| {
            let value =
                if exact && number.is_integer_over(f64::MANTISSA_DIGITS) { None } else { number.as_f64() };
            value.map(|value| values.push(value)).is_some()
        }),
        TensorData::Int32(_) | TensorData::Int64(_) | TensorData::Bool(_) => 0,
    }
}

fn integer_misfit(whole: bool, offset: usize) -> Misfit {
    if whole { Misfit::Range { offset } } else { Misfit::Type { offset } }
}

/// Appends the elements of the value ahead, a single element or lists of lists of them, and gives its shape.
///
/// # Errors
/// As [`Misfit`] says; what was appended before stays.
pub(crate) fn nested(
    reader: &mut Reader<'_>,
    data: &mut TensorData,
    floats: Floats,
) -> Result<Vec<usize>, Misfit> {
    let mut nest = Nest { sizes: Vec::new(), rank: None, floats };
    nest.fill(reader, data, 0)?;
    Ok(nest.sizes.into_iter().map(Option::unwrap_or_default).collect())
}

/// The shape so far: the size of each level once its first list has ended, the rank once the first element was met.
struct Nest {
    sizes: Vec<Option<usize>>,
    rank: Option<usize>,
    floats: Floats,
}

impl Nest {
    fn fill(&mut self, reader: &mut Reader<'_>, data: &mut TensorData, level: usize) -> Result<(), Misfit> {
        if reader.ahead()? != Kind::List {
            let rank = *self.rank.get_or_insert(level);
            if level != rank {
                let offset = reader.offset();
                reader.skip()?;
                return Err(Misfit::Shallow { offset, level, rank });
            }
            return push(reader, data, self.floats);
        }
        if let Some(rank) = self.rank
            && level >= rank
        {
            return Err(Misfit::Deep { level, rank });
        }
        let mut list = reader.list()?;
        if level == self.sizes.len() {
            self.sizes.push(None);
        }
        if let Some(size) = self.sizes[level] {
            reserve(data, size.min(reader.bytes_left() / 2 + 1));
        }
        let mut got = 0;
        while reader.next_item(&mut list)? {
            // What holds for most tensors: other elements of the innermost list.
            if self.rank == Some(level + 1) && reader.ahead()? != Kind::List {
                match plain(reader, data, self.floats) {
                    0 => push(reader, data, self.floats)?,
                    some => {
                        got += some;
                        continue;
                    }
                }
            } else {
                self.fill(reader, data, level + 1)?;
            }
            got += 1;
        }
        if got == 0 {
            // An empty list is as deep as it looks.
            self.rank.get_or_insert(level + 1);
        }
        let expected = *self.sizes[level].get_or_insert(got);
        if got == expected { Ok(()) } else { Err(Misfit::Size { got, level, expected }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, dtype: DataType) -> Result<(Vec<usize>, TensorData), Misfit> {
        let mut data = empty(dtype);
        let mut reader = Reader::with_bare_numbers(text.as_bytes());
        let shape = nested(&mut reader, &mut data, Floats::MayBeMissing)?;
        reader.end()?;
        Ok((shape, data))
    }

    #[test]
    fn lists_of_lists_are_row_major() {
        let (shape, data) = read("[[[1, 2], [3, 4.5]], [[-5e-1, 6], [7, 8]]]", DataType::Float32).unwrap();
        assert_eq!(shape, [2, 2, 2]);
        assert_eq!(data, TensorData::Float32(vec![1.0, 2.0, 3.0, 4.5, -0.5, 6.0, 7.0, 8.0]));
        assert_eq!(read("7", DataType::Int32).unwrap(), (vec![], TensorData::Int32(vec![7])));
        assert_eq!(read("[]", DataType::Int64).unwrap().0, [0]);
        assert_eq!(read("[[], []]", DataType::Int64).unwrap().0, [2, 0]);
        assert_eq!(read("[true,false]", DataType::Bool).unwrap().1, TensorData::Bool(vec![true, false]));
        let (_, TensorData::Float64(values)) =
            read("[null, \"NaN\", -Infinity, 1]", DataType::Float64).unwrap()
        else {
            panic!("another type")
        };
        assert!(values[0].is_nan() && values[1].is_nan());
        assert_eq!(values[2..], [f64::NEG_INFINITY, 1.0]);
    }

    #[test]
    fn the_short_way_and_the_long_one_meet_in_one_list() {
        let text = "[1,2.5, 3e0,\t-4 ,null, 0.1,12345678901234567890,\n6]";
        let (shape, data) = read(text, DataType::Float32).unwrap();
        let TensorData::Float32(values) = data else { panic!("another type") };
        assert_eq!(shape, [8]);
        assert_eq!(values[..4], [1.0, 2.5, 3.0, -4.0]);
        assert!(values[4].is_nan());
        assert_eq!(values[5..], [0.1, 12_345_678_901_234_567_890.0, 6.0]);
        for text in
            ["[1,2,]", "[1,2", "[1,,2]", "[1,2 3]", "[1,02]", "[1,2.]", "[1,-]", "[1,2,\"a\"]", "[1 ,, 2]"]
        {
            assert!(
                read(text, DataType::Float32).is_err() && read(text, DataType::Float64).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_told_apart() {
        let cases = [
            ("[[1, 2], [3]]", DataType::Float32, Misfit::Size { got: 1, level: 1, expected: 2 }),
            ("[[1, 2], 3]", DataType::Float32, Misfit::Shallow { offset: 9, level: 1, rank: 2 }),
            ("[1, [3]]", DataType::Float32, Misfit::Deep { level: 1, rank: 1 }),
            ("[[], [1]]", DataType::Float32, Misfit::Size { got: 1, level: 1, expected: 0 }),
            ("[[], [[1]]]", DataType::Float32, Misfit::Deep { level: 2, rank: 2 }),
            ("[1, \"a\"]", DataType::Float32, Misfit::Type { offset: 4 }),
            ("[1, {}]", DataType::Float32, Misfit::Type { offset: 4 }),
            ("[1e39]", DataType::Float32, Misfit::Range { offset: 1 }),
            ("[1.0]", DataType::Int32, Misfit::Type { offset: 1 }),
            ("[2147483648]", DataType::Int32, Misfit::Range { offset: 1 }),
            ("[null]", DataType::Int64, Misfit::Type { offset: 1 }),
            ("[1]", DataType::Bool, Misfit::Type { offset: 1 }),
        ];
        for (text, dtype, misfit) in cases {
            assert_eq!(read(text, dtype).unwrap_err(), misfit, "{text}");
        }
        let exact = |text: &str, dtype| {
            nested(&mut Reader::with_bare_numbers(text.as_bytes()), &mut empty(dtype), Floats::Exact)
        };
        for (text, dtype, misfit) in [
            ("null", DataType::Float32, Misfit::Type { offset: 0 }),
            ("\"NaN\"", DataType::Float64, Misfit::Type { offset: 0 }),
            ("16777216", DataType::Float32, Misfit::Range { offset: 0 }),
            ("-9007199254740992", DataType::Float64, Misfit::Range { offset: 0 }),
        ] {
            assert_eq!(exact(text, dtype).unwrap_err(), misfit, "{text}");
        }
        for text in ["16777215", "16777217.0", "NaN", "-Infinity"] {
            assert!(exact(text, DataType::Float32).is_ok(), "{text}");
        }
        let deep = "[".repeat(10_000);
        assert!(matches!(read(&deep, DataType::Float32), Err(Misfit::Syntax(fault)) if fault.offset == 100));
    }
}
