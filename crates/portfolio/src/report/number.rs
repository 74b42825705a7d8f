//! Numbers as a reader wants them: a true minus sign, grouped thousands, a dash where nothing is defined.

/// What stands where a number is not defined.
pub(super) const NONE: &str = "\u{2013}";

/// A number with so many decimals; never "-0".
pub(super) fn decimal(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
    let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let sign = if value < 0.0 && !is_zero { "\u{2212}" } else { "" };
    match fraction {
        Some(fraction) => format!("{sign}{}.{fraction}", grouped(whole)),
        None => format!("{sign}{}", grouped(whole)),
    }
}

/// [`decimal`] with a plus sign before what is above zero.
pub(super) fn signed(value: f64, decimals: usize) -> String {
    let text = decimal(value, decimals);
    let above_zero = value > 0.0 && text.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    if above_zero { format!("+{text}") } else { text }
}

/// A fraction in percent.
pub(super) fn percent(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{}%", decimal(value * 100.0, decimals)) } else { NONE.to_owned() }
}

/// A count with grouped thousands.
pub(super) fn count(value: usize) -> String {
    grouped(&value.to_string())
}

/// A price step or another small constant: as many decimals as it has.
pub(super) fn plain(value: f64) -> String {
    if value.is_finite() { format!("{value}") } else { NONE.to_owned() }
}

/// "1 day", "2 days".
pub(super) fn counted(value: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        let cases = [
            (1234.567, 2, "1,234.57"),
            (-0.004, 2, "0.00"),
            (-12.5, 1, "\u{2212}12.5"),
            (999_999.6, 0, "1,000,000"),
        ];
        for (value, decimals, want) in cases {
            assert_eq!(decimal(value, decimals), want);
        }
        assert_eq!(decimal(f64::NAN, 2), NONE);
    }

    #[test]
    fn signs_and_percent() {
        assert_eq!(signed(0.5, 1), "+0.5");
        assert_eq!(signed(0.04, 1), "0.0");
        assert_eq!(signed(-0.5, 1), "\u{2212}0.5");
        assert_eq!(percent(-0.1234, 1), "\u{2212}12.3%");
        assert_eq!(percent(f64::INFINITY, 1), NONE);
        assert_eq!(counted(1, "day", "days"), "1 day");
        assert_eq!(counted(8313, "day", "days"), "8,313 days");
    }
}
