//! Cells of text to numbers, and what has to be repaired on the way.

use serde::{Deserialize, Serialize};

/// What stands for a value that is not there.
const MISSING: [&str; 9] = ["nan", "na", "n/a", "#n/a", "null", "none", "nil", "-", "--"];
const CURRENCIES: [char; 4] = ['$', '€', '£', '¥'];

/// What was repaired, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Repairs {
    /// Cells with thousands separators: `1,234.5` read as 1234.5.
    pub thousands_separators: usize,
    /// Cells with a currency sign: `$12` read as 12.
    pub currency_signs: usize,
    /// Cells with a magnitude: `1.2M` read as 1200000.
    pub magnitudes: usize,
    /// Cells with a word for a missing value: `N/A`.
    pub missing_words: usize,
    /// Rows with a date but without any value, left out.
    pub empty_rows: usize,
    /// Rows that came before earlier ones of their instrument, put in order.
    pub out_of_order: usize,
    /// Rows that repeat another to the last digit, left out.
    pub repeated_rows: usize,
}

impl Repairs {
    /// Adds what was repaired elsewhere.
    pub(crate) fn add(&mut self, other: &Self) {
        self.thousands_separators += other.thousands_separators;
        self.currency_signs += other.currency_signs;
        self.magnitudes += other.magnitudes;
        self.missing_words += other.missing_words;
        self.empty_rows += other.empty_rows;
        self.out_of_order += other.out_of_order;
        self.repeated_rows += other.repeated_rows;
    }

    /// What was done, in words; nothing if there was nothing to repair.
    pub fn words(&self) -> Vec<String> {
        [
            (self.thousands_separators, "cells with thousands separators read as numbers"),
            (self.currency_signs, "cells with a currency sign read as numbers"),
            (self.magnitudes, "cells with K, M or B read as thousands, millions, billions"),
            (self.missing_words, "cells such as N/A read as missing"),
            (self.empty_rows, "rows without any value left out"),
            (self.out_of_order, "rows put in order of time"),
            (self.repeated_rows, "rows that repeat another left out"),
        ]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
    }
}

/// How a file writes its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decimal {
    /// `1,234.5`
    #[default]
    Point,
    /// `1.234,5`
    Comma,
}

/// Reads a cell; NaN for one without a value.
pub(super) fn parse(cell: &str, decimal: Decimal, repairs: &mut Repairs) -> Result<f64, String> {
    if cell.is_empty() {
        return Ok(f64::NAN);
    }
    if decimal == Decimal::Point && cell.as_bytes()[0].is_ascii_digit() {
        if let Some(value) = short(cell.as_bytes()) {
            return Ok(value);
        }
        if let Ok(value) = cell.parse() {
            return Ok(value);
        }
    }
    uncommon(cell, decimal, repairs)
}

/// Digits with at most one point among them, as prices are written: up to 15 digits are a whole number that f64 holds, and
/// so is the power of ten it is divided by, so that the one rounding of the division is right (Clinger 1990).
fn short(cell: &[u8]) -> Option<f64> {
    const DIGITS_MAX: usize = 15;
    const POWERS: [f64; DIGITS_MAX + 1] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    if cell.len() > DIGITS_MAX + 1 {
        return None;
    }
    let (mut whole, mut point) = (0u64, None);
    for (at, byte) in cell.iter().enumerate() {
        match byte {
            b'0'..=b'9' => whole = whole * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(at),
            _ => return None,
        }
    }
    match point {
        None if cell.len() <= DIGITS_MAX => Some(whole as f64),
        None => None,
        Some(at) => Some(whole as f64 / POWERS[cell.len() - at - 1]),
    }
}

fn uncommon(cell: &str, decimal: Decimal, repairs: &mut Repairs) -> Result<f64, String> {
    if MISSING.iter().any(|missing| missing.eq_ignore_ascii_case(cell)) {
        repairs.missing_words += 1;
        return Ok(f64::NAN);
    }
    let mut text = cell;
    let without_sign = text.trim_start_matches(CURRENCIES).trim_end_matches(CURRENCIES).trim();
    let currency = without_sign.len() != text.len();
    text = without_sign;
    let (digits, magnitude) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1e3),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1e6),
        Some(b'B' | b'b') => (&text[..text.len() - 1], 1e9),
        _ => (text, 1.0),
    };
    let plain = match decimal {
        Decimal::Point => ungrouped(digits, ',', '.'),
        Decimal::Comma => ungrouped(digits, '.', ','),
    };
    let grouped = plain.as_deref().is_some_and(|plain| plain.len() != digits.len());
    let Some(value) = plain.and_then(|plain| plain.parse::<f64>().ok()) else {
        let hint = if decimal == Decimal::Point && digits.contains(',') {
            "; if the comma is its decimal sign, say --decimal comma"
        } else {
            ""
        };
        return Err(format!("\"{cell}\" is not a number{hint}"));
    };
    repairs.currency_signs += usize::from(currency);
    repairs.magnitudes += usize::from(magnitude != 1.0);
    repairs.thousands_separators += usize::from(grouped);
    Ok(value * magnitude)
}

/// The number with a decimal point and without separators; `None` if those do not stand every three digits.
fn ungrouped(text: &str, separator: char, point: char) -> Option<String> {
    let (whole, fraction) = match text.split_once(point) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    if fraction.is_some_and(|fraction| fraction.contains(separator) || fraction.contains(point)) {
        return None;
    }
    let mut plain = String::with_capacity(text.len());
    let unsigned = whole.trim_start_matches(['-', '+']);
    plain.push_str(&whole[..whole.len() - unsigned.len()]);
    for (place, group) in unsigned.split(separator).enumerate() {
        let all_digits = group.bytes().all(|byte| byte.is_ascii_digit());
        let sound = if place == 0 { true } else { all_digits && group.len() == 3 };
        let first = place == 0 && unsigned.contains(separator) && !(1..=3).contains(&group.len());
        if !sound || first || (place == 0 && unsigned.contains(separator) && !all_digits) {
            return None;
        }
        plain.push_str(group);
    }
    if let Some(fraction) = fraction {
        plain.push('.');
        plain.push_str(fraction);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cell: &str, decimal: Decimal) -> (Result<f64, String>, Repairs) {
        let mut repairs = Repairs::default();
        (parse(cell, decimal, &mut repairs), repairs)
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (cell, value) in [
            ("1.5", 1.5),
            ("-2", -2.0),
            ("1e3", 1000.0),
            (".5", 0.5),
            ("1,234", 1234.0),
            ("-1,234,567.25", -1_234_567.25),
            ("$12.5", 12.5),
            ("1.2M", 1_200_000.0),
            ("3k", 3000.0),
        ] {
            assert_eq!(read(cell, Decimal::Point).0, Ok(value), "{cell}");
        }
        for (cell, value) in [("1.234,5", 1234.5), ("12,5", 12.5), ("1.234", 1234.0), ("7", 7.0)] {
            assert_eq!(read(cell, Decimal::Comma).0, Ok(value), "{cell}");
        }
        for cell in ["N/A", "null", "-", "NaN", "#N/A"] {
            let (value, repairs) = read(cell, Decimal::Point);
            assert!(value.is_ok_and(f64::is_nan), "{cell}");
            assert_eq!(repairs.missing_words, 1, "{cell}");
        }
    }

    #[test]
    fn short_numbers_are_those_of_the_standard_library() {
        let mut state = 1u64;
        for digits in 1..=15 {
            for point in 0..=digits {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let text = format!("{:015}", state % 1_000_000_000_000_000);
                let text = format!("{}.{}", &text[..point], &text[point..digits]);
                let expected: f64 =
                    if text.starts_with('.') { continue } else { text.parse().expect("digits") };
                assert_eq!(short(text.as_bytes()).map(f64::to_bits), Some(expected.to_bits()), "{text}");
            }
        }
        for none in ["1e5", "1.2.3", "1,2", "12345678901234567", "1234567890123456"] {
            assert_eq!(short(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn what_could_be_two_numbers_or_none_is_refused() {
        for cell in ["12,5", "1,23", "1,2345", ",123", "1,234.5,6", "1.2.3", "abc", "1 2", "1,,234", "$"] {
            assert!(read(cell, Decimal::Point).0.is_err(), "{cell}");
        }
        for cell in ["1.5", "12.34,5", "1,2,3"] {
            assert!(read(cell, Decimal::Comma).0.is_err(), "{cell}");
        }
        assert!(read("12,5", Decimal::Point).0.is_err_and(|error| error.contains("--decimal comma")));
    }

    #[test]
    fn repairs_are_counted_and_plain_numbers_are_none() {
        assert_eq!(read("$1,234", Decimal::Point).1.words().len(), 2);
        assert!(read("-3.5", Decimal::Point).1.words().is_empty());
        assert!(read("", Decimal::Point).1.words().is_empty());
    }
}
