//! Floats as the server writes them: six digits (`%g`) where those are enough to read the same number, else as many as any
//! number needs (9 or 17); `.0` after a whole number; `NaN`, `Infinity` and `-Infinity` as they are.

use crate::json::number::power_of_ten;

/// The digits that tell any two singles apart.
const SINGLE_DIGITS: i32 = 9;
/// The digits that tell any two doubles apart.
const DOUBLE_DIGITS: i32 = 17;
/// The digits that are tried first, for singles and doubles alike.
const SHORT_DIGITS: i32 = 6;

/// Half of the largest step between singles, in units of the last of nine digits: what is off by more is another single.
const SINGLE_STEP_HALF: u64 = 60;

/// Appends a single.
pub(crate) fn single(out: &mut Vec<u8>, value: f32) {
    if !value.is_finite() {
        return bare(out, f64::from(value));
    }
    if let Some((nine, exponent)) = nine_digits(value)
        && nine % 1000 != 500
    {
        let rounded = nine / 1000 + u64::from(nine % 1000 > 500);
        let same = if (rounded * 1000).abs_diff(nine) > SINGLE_STEP_HALF {
            Some(false)
        } else {
            reads_as(rounded, exponent - (SHORT_DIGITS - 1), value)
        };
        match same {
            // Rounded up to the next power of ten.
            Some(true) if rounded == 1_000_000 => {
                return general(out, value < 0.0, b"1", exponent + 1, SHORT_DIGITS);
            }
            Some(true) => {
                return general(out, value < 0.0, &written::<6>(rounded), exponent, SHORT_DIGITS);
            }
            Some(false) => {
                return general(out, value < 0.0, &written::<9>(nine), exponent, SINGLE_DIGITS);
            }
            None => {}
        }
    }
    let short = format!("{value:.5e}");
    let same = short.parse() == Ok(value);
    let text = if same { short } else { format!("{value:.8e}") };
    scientific(out, &text, if same { SHORT_DIGITS } else { SINGLE_DIGITS });
}

/// The decimal digits of a number that has so many.
fn written<const N: usize>(mut number: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    digits
}

/// Appends a double.
pub(crate) fn double(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        return bare(out, value);
    }
    match six_digits(value) {
        Some(Some((six, exponent))) => {
            return general(out, value < 0.0, &written::<6>(six), exponent, SHORT_DIGITS);
        }
        Some(None) => return scientific(out, &format!("{value:.16e}"), DOUBLE_DIGITS),
        None => {}
    }
    let short = format!("{value:.5e}");
    let same = short.parse() == Ok(value);
    let text = if same { short } else { format!("{value:.16e}") };
    scientific(out, &text, if same { SHORT_DIGITS } else { DOUBLE_DIGITS });
}

/// The six digits that are read as a double, and the place of the first one, or that there are none; nothing if it is not certain.
///
/// The product of such digits and a power of ten that a double holds exactly is the nearest double (Clinger, 1990); and if the
/// digits nearest to the number are not read as it, none are.
fn six_digits(value: f64) -> Option<Option<(u64, i32)>> {
    let value = value.abs();
    if !(1e-15..1e15).contains(&value) {
        return None;
    }
    let exponent = decimal_exponent(value);
    let places = SHORT_DIGITS - 1 - exponent;
    let digits = shifted(value, places).round();
    if shifted(digits, -places) != value {
        return Some(None);
    }
    // The estimate of the exponent may be one too low, and there are seven.
    let digits = digits as u64;
    match (digits < 1_000_000, digits % 10) {
        (true, _) => Some(Some((digits, exponent))),
        (false, 0) => Some(Some((digits / 10, exponent + 1))),
        (false, _) => Some(None),
    }
}

/// The place of the first digit, or the one below it.
fn decimal_exponent(value: f64) -> i32 {
    let binary = (value.to_bits() >> 52) as i32 - 1023;
    // The logarithm of 2, which is exact enough for all exponents of doubles.
    (binary * 78_913) >> 18
}

fn bare(out: &mut Vec<u8>, value: f64) {
    let word: &[u8] = match value {
        value if value.is_nan() => b"NaN",
        value if value > 0.0 => b"Infinity",
        _ => b"-Infinity",
    };
    out.extend_from_slice(word);
}

/// The nine digits of a single's magnitude, and the place of the first one, if double precision is certain of them.
fn nine_digits(value: f32) -> Option<(u64, i32)> {
    let value = f64::from(value.abs());
    let mut exponent = decimal_exponent(value);
    // Powers of ten up to the 22nd are exact, and singles of this size normal; the estimate may be one too low.
    if !(-12..27).contains(&exponent) {
        return None;
    }
    let mut digits = shifted(value, SINGLE_DIGITS - 1 - exponent);
    if digits >= 1e9 {
        exponent += 1;
        digits = shifted(value, SINGLE_DIGITS - 1 - exponent);
    }
    // The error of shifting is below 1e-6 of the last digit, so only a number that close to a tie is in doubt.
    let certain = (digits.fract() - 0.5).abs() > 1e-5;
    let digits = digits.round();
    (certain && (1e8..1e9).contains(&digits)).then_some((digits as u64, exponent))
}

/// Whether `digits * 10^exponent` is read as this single; nothing where it is too close to call.
fn reads_as(digits: u64, exponent: i32, value: f32) -> Option<bool> {
    let near = shifted(digits as f64, exponent);
    let by_a_midpoint = (near.to_bits() & 0x1fff_ffff).abs_diff(0x1000_0000) <= 8;
    (!by_a_midpoint).then_some(near as f32 == value.abs())
}

fn shifted(value: f64, places: i32) -> f64 {
    let power = power_of_ten(places.unsigned_abs());
    if places < 0 { value / power } else { value * power }
}

/// Appends `D.DDDe-D` as `%g` with so many digits writes it.
fn scientific(out: &mut Vec<u8>, text: &str, limit: i32) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let negative = mantissa.starts_with('-');
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    general(out, negative, &digits, exponent.parse().unwrap_or_default(), limit);
}

/// Appends digits, the first of which has the place 10^`exponent`, as `%g` with `limit` digits does, and `.0` if nothing
/// else says that it is no integer.
fn general(out: &mut Vec<u8>, negative: bool, digits: &[u8], exponent: i32, limit: i32) {
    if negative {
        out.push(b'-');
    }
    let significant = digits.len() - digits.iter().rev().take_while(|digit| **digit == b'0').count();
    let digits = &digits[..significant.max(1)];
    if exponent < -4 || exponent >= limit {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
        return;
    }
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', exponent.unsigned_abs() as usize - 1));
        out.extend_from_slice(digits);
        return;
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        out.extend_from_slice(digits);
        out.extend(std::iter::repeat_n(b'0', whole - digits.len()));
        out.extend_from_slice(b".0");
    } else {
        out.extend_from_slice(&digits[..whole]);
        out.push(b'.');
        out.extend_from_slice(&digits[whole..]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: f32) -> String {
        let mut out = Vec::new();
        single(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    fn wide(value: f64) -> String {
        let mut out = Vec::new();
        double(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_c_writes_them() {
        for (value, expected) in [
            (3.0, "3.0"),
            (0.2, "0.2"),
            (9_000_000.0, "9e+06"),
            (0.000_03, "3e-05"),
            (0.0001, "0.0001"),
            (-0.0, "-0.0"),
            (0.0, "0.0"),
            (1.0 / 3.0, "0.333333343"),
            (100_000.0, "100000.0"),
            (1_000_000.0, "1e+06"),
            (16_777_216.0, "16777216.0"),
            (123_456_790_000.0, "1.23456791e+11"),
            (f32::MAX, "3.40282347e+38"),
            (f32::MIN_POSITIVE, "1.17549435e-38"),
            (1e-45, "1.4013e-45"),
            (-1.5, "-1.5"),
            (99_999.95, "99999.9531"),
            (999_999.5, "999999.5"),
            (f32::NAN, "NaN"),
            (f32::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(text(value), expected, "{value:e}");
        }
        for (value, expected) in [
            (0.1, "0.1"),
            (1.0 / 3.0, "0.33333333333333331"),
            (1e22, "1e+22"),
            (5e-324, "4.94066e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "Infinity"),
        ] {
            assert_eq!(wide(value), expected, "{value:e}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_and_is_what_the_slow_way_writes(bits: u32) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            let written = text(value);
            prop_assert_eq!(written.parse::<f32>().unwrap().to_bits(), bits);
            let mut slow = Vec::new();
            let short = format!("{value:.5e}");
            if short.parse() == Ok(value) {
                scientific(&mut slow, &short, SHORT_DIGITS);
            } else {
                scientific(&mut slow, &format!("{value:.8e}"), SINGLE_DIGITS);
            }
            prop_assert_eq!(written.into_bytes(), slow);
        }

        #[test]
        fn doubles_too(bits: u64, digits in 0u32..10_000_000, places in -20i32..20) {
            let decimal: f64 = format!("{digits}e{places}").parse().unwrap();
            for value in [f64::from_bits(bits), f64::from(f32::from_bits(bits as u32)), decimal, -decimal / 3.0] {
                if !value.is_finite() {
                    continue;
                }
                let mut slow = Vec::new();
                let short = format!("{value:.5e}");
                if short.parse() == Ok(value) {
                    scientific(&mut slow, &short, SHORT_DIGITS);
                } else {
                    scientific(&mut slow, &format!("{value:.16e}"), DOUBLE_DIGITS);
                }
                prop_assert_eq!(wide(value).into_bytes(), slow, "{:e}", value);
            }
        }

        #[test]
        fn probabilities_too(numerator in 0u32..100_000, denominator in 1u32..100_000) {
            let value = numerator as f32 / denominator as f32;
            prop_assert_eq!(text(value).parse::<f32>().unwrap().to_bits(), value.to_bits());
            prop_assert_eq!(wide(f64::from(value)).parse::<f64>().unwrap(), f64::from(value));
        }
    }
}
