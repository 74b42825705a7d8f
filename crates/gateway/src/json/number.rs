//! Digits to numbers: the float nearest to what was written, by a short way where that is certain.
//!
//! With at most 19 digits the digits are an integer `m`, and `m * 10^e` is computed in double precision. For `f64` that is
//! exact where `m < 2^53` and `|e| <= 22` (Clinger, "How to read floating point numbers accurately", 1990). For `f32` two
//! roundings of a double are 29 bits away from mattering, unless the double lies by a midpoint of two `f32`. All else
//! goes to the standard library.

use super::{Fault, INVALID};

const NO_FRACTION: &str = "Miss fraction part in number.";
const NO_EXPONENT: &str = "Miss exponent in number.";
const TOO_BIG: &str = "Number too big to be stored in double.";

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
/// More digits may not fit 64 bits.
const DIGITS_MAX: usize = 19;
/// An exponent beyond this is this: the number is 0 or too big either way.
const EXPONENT_MAX: i64 = 1_000_000;

/// A number as it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Number<'a> {
    text: &'a [u8],
    negative: bool,
    /// The digits without point and exponent.
    digits: u64,
    /// The number is `digits * 10^exponent`.
    exponent: i64,
    /// Whether `digits` holds them all.
    complete: bool,
    /// Whether there is neither point nor exponent.
    whole: bool,
    /// `NaN` or an infinity, which have no digits.
    bare: Option<f64>,
}

impl Number<'_> {
    /// The nearest double; an infinity is one that was written so.
    pub(crate) fn as_f64(&self) -> f64 {
        if let Some(bare) = self.bare {
            return bare;
        }
        if self.complete && self.digits <= 1 << 53 && self.exponent.unsigned_abs() <= 22 {
            return self.signed(self.scaled());
        }
        self.parsed()
    }

    /// The nearest single; an infinity if it is beyond them.
    pub(crate) fn as_f32(&self) -> f32 {
        if let Some(bare) = self.bare {
            return bare as f32;
        }
        if self.complete
            && self.exponent.unsigned_abs() <= 22
            && let Some(narrow) = narrowed(self.scaled())
        {
            return if self.negative { -narrow } else { narrow };
        }
        self.parsed()
    }

    /// The integer; nothing if it was written with a point or an exponent, or does not fit.
    pub(crate) fn as_i64(&self) -> Option<i64> {
        if !self.whole || !self.complete {
            return if self.whole { std::str::from_utf8(self.text).ok()?.parse().ok() } else { None };
        }
        let digits = i128::from(self.digits);
        i64::try_from(if self.negative { -digits } else { digits }).ok()
    }

    /// Whether it was written as an integer.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether it was written as an integer of 64 bits that has more binary digits than `bits`.
    pub(crate) fn is_integer_over(&self, bits: u32) -> bool {
        // With more digits than 64 bits hold, RapidJSON takes it for a double.
        self.whole && self.complete && self.digits >> bits != 0
    }

    /// Whether it is `NaN` or an infinity, written so.
    pub(crate) fn is_bare(&self) -> bool {
        self.bare.is_some()
    }

    fn scaled(&self) -> f64 {
        let power = POWERS[self.exponent.unsigned_abs() as usize];
        let digits = self.digits as f64;
        if self.exponent < 0 { digits / power } else { digits * power }
    }

    fn signed(&self, magnitude: f64) -> f64 {
        if self.negative { -magnitude } else { magnitude }
    }

    fn parsed<T: std::str::FromStr + From<f32>>(&self) -> T {
        // What was scanned is a number to the standard library as well.
        let parsed = std::str::from_utf8(self.text).ok().and_then(|text| text.parse().ok());
        parsed.unwrap_or_else(|| T::from(f32::NAN))
    }
}

/// 10 to a power of at most 22, which a double holds exactly.
pub(crate) fn power_of_ten(exponent: u32) -> f64 {
    POWERS[exponent as usize]
}

/// What tensors are mostly made of: `-12.375`, of at most 19 digits, with a comma, a bracket or a blank after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plain {
    negative: bool,
    /// The digits without the point.
    digits: u64,
    /// How many of them follow the point.
    places: usize,
}

impl Plain {
    /// Reads the one at `at`, and says where it ends; nothing for any other number, and for what is none: [`scan`] reads those.
    #[inline]
    pub(super) fn scan(bytes: &[u8], at: usize) -> Option<(Self, usize)> {
        let negative = bytes.get(at) == Some(&b'-');
        let begin = at + usize::from(negative);
        let (mut digits, mut end) = run(bytes, begin, 0);
        let mut count = end - begin;
        if count == 0 || (count > 1 && bytes[begin] == b'0') {
            return None;
        }
        let mut places = 0;
        if bytes.get(end) == Some(&b'.') {
            let point = end + 1;
            (digits, end) = run(bytes, point, digits);
            places = end - point;
            count += places;
            if places == 0 {
                return None;
            }
        }
        let ends = matches!(bytes.get(end), Some(b',' | b']' | b' ' | b'\n' | b'\r' | b'\t'));
        (ends && count <= DIGITS_MAX).then_some((Self { negative, digits, places }, end))
    }

    /// The nearest single; nothing where the short way is not certain.
    #[inline]
    pub(crate) fn as_f32(self) -> Option<f32> {
        let narrow = narrowed(self.digits as f64 / POWERS[self.places])?;
        Some(if self.negative { -narrow } else { narrow })
    }

    /// The nearest double; nothing where the short way is not certain.
    #[inline]
    pub(crate) fn as_f64(self) -> Option<f64> {
        let wide = self.digits as f64 / POWERS[self.places];
        (self.digits <= 1 << 53).then_some(if self.negative { -wide } else { wide })
    }

    /// Whether it is an integer that has more binary digits than `bits`.
    pub(crate) fn is_integer_over(self, bits: u32) -> bool {
        self.places == 0 && self.digits >> bits != 0
    }
}

/// A double that two roundings made, as the single that one rounding would have made; nothing where it is not certain.
#[inline]
fn narrowed(wide: f64) -> Option<f32> {
    let narrow = wide as f32;
    let below = wide.to_bits() & 0x1fff_ffff;
    let by_a_midpoint = below.abs_diff(0x1000_0000) <= 8;
    let normal = (f32::MIN_POSITIVE..f32::MAX).contains(&narrow);
    ((normal && !by_a_midpoint) || wide == 0.0).then_some(narrow)
}

/// The number at `at`, and where it ends.
#[inline]
pub(super) fn scan(bytes: &[u8], at: usize, bare: bool) -> Result<(Number<'_>, usize), Fault> {
    let begin = at;
    let negative = bytes.get(at) == Some(&b'-');
    let at = at + usize::from(negative);
    if bare && let Some((value, length)) = bare_number(&bytes[at..]) {
        let value = if negative { -value } else { value };
        let end = at + length;
        return Ok((Number { bare: Some(value), ..empty(&bytes[begin..end], negative) }, end));
    }
    let (mut digits, mut end) = run(bytes, at, 0);
    let mut count = end - at;
    if count == 0 || (count > 1 && bytes[at] == b'0') {
        // A zero that other digits follow is a number that ends early.
        return Err(Fault { offset: at + usize::from(count > 1), text: INVALID });
    }
    let mut exponent = 0;
    let mut whole = true;
    if bytes.get(end) == Some(&b'.') {
        let point = end + 1;
        (digits, end) = run(bytes, point, digits);
        if end == point {
            return Err(Fault { offset: end, text: NO_FRACTION });
        }
        whole = false;
        count += end - point;
        exponent -= (end - point) as i64;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let (written, after) = exponent_at(bytes, end + 1)?;
        (exponent, end, whole) = (exponent + written, after, false);
    }
    let complete = count <= DIGITS_MAX;
    let number = Number { digits, exponent, complete, whole, ..empty(&bytes[begin..end], negative) };
    if exponent.saturating_add(count as i64) > 308 && number.as_f64().is_infinite() {
        return Err(Fault { offset: begin, text: TOO_BIG });
    }
    Ok((number, end))
}

fn empty(text: &[u8], negative: bool) -> Number<'_> {
    Number { text, negative, digits: 0, exponent: 0, complete: true, whole: false, bare: None }
}

fn bare_number(bytes: &[u8]) -> Option<(f64, usize)> {
    let words: [(&[u8], f64); 3] =
        [(b"NaN", f64::NAN), (b"Infinity", f64::INFINITY), (b"Inf", f64::INFINITY)];
    words.into_iter().find(|(word, _)| bytes.starts_with(word)).map(|(word, value)| (value, word.len()))
}

/// The digits from `at` on appended to `digits`, which wraps if there are too many, and where they end.
#[inline]
fn run(bytes: &[u8], mut at: usize, mut digits: u64) -> (u64, usize) {
    while let Some(eight) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        let count = leading_digits(word);
        if count == 8 {
            digits = digits.wrapping_mul(100_000_000).wrapping_add(eight_digits(word));
            at += 8;
            continue;
        }
        if count > 0 {
            // Zeros take the place of what follows, and stand before the digits.
            let padded = word << (64 - 8 * count);
            digits = digits.wrapping_mul(INTEGER_POWERS[count]).wrapping_add(eight_digits(padded));
        }
        return (digits, at + count);
    }
    while let Some(byte) = bytes.get(at)
        && byte.is_ascii_digit()
    {
        digits = digits.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        at += 1;
    }
    (digits, at)
}

const INTEGER_POWERS: [u64; 8] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000];

/// How many of the eight bytes, from the lowest on, are `0` to `9`.
fn leading_digits(word: u64) -> usize {
    let low = word ^ 0x3030_3030_3030_3030;
    // Of a byte over 9 the highest bit is set, by the sum or before it; no sum carries into the next byte.
    let over_nine = ((low & 0x7f7f_7f7f_7f7f_7f7f) + 0x7676_7676_7676_7676) | low;
    ((over_nine & 0x8080_8080_8080_8080).trailing_zeros() / 8) as usize
}

/// The number that eight digits write, the first in the lowest byte: neighbours are joined thrice.
fn eight_digits(word: u64) -> u64 {
    let ones = word & 0x0f0f_0f0f_0f0f_0f0f;
    let twos = (ones.wrapping_mul(10) + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos.wrapping_mul(100) + (twos >> 16)) & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff
}

fn exponent_at(bytes: &[u8], at: usize) -> Result<(i64, usize), Fault> {
    let negative = bytes.get(at) == Some(&b'-');
    let begin = at + usize::from(matches!(bytes.get(at), Some(b'-' | b'+')));
    let mut end = begin;
    let mut exponent = 0;
    while let Some(byte) = bytes.get(end)
        && byte.is_ascii_digit()
    {
        exponent = (exponent * 10 + i64::from(byte - b'0')).min(EXPONENT_MAX);
        end += 1;
    }
    if end == begin {
        return Err(Fault { offset: end, text: NO_EXPONENT });
    }
    Ok((if negative { -exponent } else { exponent }, end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number<'_> {
        let (number, end) = scan(text.as_bytes(), 0, true).unwrap();
        assert_eq!(end, text.len(), "{text}");
        number
    }

    #[test]
    fn integers_are_those_written_without_a_point() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("123456789012345678901234567890", None),
            ("3.0", None),
            ("3e0", None),
            ("NaN", None),
        ] {
            assert_eq!(number(text).as_i64(), expected, "{text}");
        }
    }

    #[test]
    fn midpoints_and_edges_round_as_the_standard_library_rounds() {
        for text in [
            "16777217",
            "16777219.0",
            "1.00000005960464477539",
            "1.000000059604644775390625",
            "1.0000000596046447753906250000000001",
            "3.4028235e38",
            "3.4028236e38",
            "3.5e38",
            "1e-45",
            "7e-46",
            "1.17549435e-38",
            "1.1754942e-38",
            "0.1",
            "123456.789e3",
            "9007199254740993",
            "1e22",
            "1e23",
            "0.30000000000000004",
            "5e-324",
            "2e-324",
            "1e-400",
            "0e999999999999",
            "-0.0",
        ] {
            let read = number(text);
            assert_eq!(read.as_f32().to_bits(), text.parse::<f32>().unwrap().to_bits(), "{text}");
            assert_eq!(read.as_f64().to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
    }

    #[test]
    fn bare_tokens_are_numbers_where_they_are_allowed() {
        assert!(number("NaN").as_f32().is_nan() && number("-NaN").as_f64().is_nan());
        assert_eq!(
            (number("Infinity").as_f32(), number("-Inf").as_f64()),
            (f32::INFINITY, f64::NEG_INFINITY)
        );
        assert_eq!(scan(b"NaN", 0, false).unwrap_err().text, INVALID);
    }

    #[test]
    fn what_is_no_number_is_refused_where_it_goes_wrong() {
        for (text, offset, said) in [
            ("-", 1, INVALID),
            ("01", 1, INVALID),
            ("1.", 2, NO_FRACTION),
            ("1.e5", 2, NO_FRACTION),
            ("1e", 2, NO_EXPONENT),
            ("1e+", 3, NO_EXPONENT),
            ("1e309", 0, TOO_BIG),
            ("-1e999999999999999999999", 0, TOO_BIG),
        ] {
            assert_eq!(scan(text.as_bytes(), 0, true).unwrap_err(), Fault { offset, text: said }, "{text}");
        }
        assert_eq!(scan(format!("1{}", "0".repeat(400)).as_bytes(), 0, true).unwrap_err().text, TOO_BIG);
    }

    proptest! {
        #[test]
        fn any_decimal_is_read_as_the_standard_library_reads_it(
            whole in "(0|[1-9][0-9]{0,20})", fraction in "(\\.[0-9]{1,22})?", exponent in "(e-?[0-9]{1,2})?"
        ) {
            let text = format!("{whole}{fraction}{exponent}");
            let read = number(&text);
            prop_assert_eq!(read.as_f32().to_bits(), text.parse::<f32>().unwrap().to_bits());
            prop_assert_eq!(read.as_f64().to_bits(), text.parse::<f64>().unwrap().to_bits());
            if let Some((plain, end)) = Plain::scan(format!("-{text},").as_bytes(), 0) {
                prop_assert_eq!(end, text.len() + 1);
                let bits = |value: f32| (-value).to_bits();
                prop_assert!(plain.as_f32().is_none_or(|got| got.to_bits() == bits(text.parse().unwrap())));
                let wide = (-text.parse::<f64>().unwrap()).to_bits();
                prop_assert!(plain.as_f64().is_none_or(|got| got.to_bits() == wide));
                prop_assert_eq!(plain.is_integer_over(24), read.is_integer_over(24));
            }
        }

        #[test]
        fn what_is_plain_is_a_number_and_ends_where_it_ends(text in "[-0-9.]{0,22}[,\\] \n0-9.e+-]{0,3}") {
            if let Some((plain, end)) = Plain::scan(text.as_bytes(), 0) {
                let (number, same) = scan(text.as_bytes(), 0, false).unwrap();
                prop_assert_eq!(end, same);
                prop_assert!(plain.as_f32().is_none_or(|got| got.to_bits() == number.as_f32().to_bits()));
                prop_assert!(plain.as_f64().is_none_or(|got| got.to_bits() == number.as_f64().to_bits()));
            }
        }

        #[test]
        fn digits_are_counted_up_to_the_first_that_is_none(bytes: [u8; 8], digits in 0usize..9) {
            let mut bytes = bytes;
            for byte in &mut bytes[..digits] {
                *byte = b'0' + *byte % 10;
            }
            let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
            prop_assert_eq!(leading_digits(u64::from_le_bytes(bytes)), count);
        }

        #[test]
        fn any_float_survives_its_shortest_text(bits: u32, wide: u64) {
            let narrow = f32::from_bits(bits);
            prop_assume!(narrow.is_finite() && f64::from_bits(wide).is_finite());
            prop_assert_eq!(number(&narrow.to_string()).as_f32().to_bits(), bits);
            prop_assert_eq!(number(&format!("{narrow:e}")).as_f32().to_bits(), bits);
            prop_assert_eq!(number(&format!("{:e}", f64::from_bits(wide))).as_f64().to_bits(), wide);
        }
    }
}
