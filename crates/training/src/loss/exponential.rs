//! `exp` and `ln(1 + x)` of single floats as plain arithmetic, so that loops over them are compiled to vectors and give
//! the same bits on every machine.

/// Below it the result is the smallest normal number, beside 1 nothing.
const LOWEST: f32 = -87.336_54;
const HIGHEST: f32 = 88.376_26;

/// `e^x`, to 2 units in the last place; kept to what a normal number holds, NaN of NaN.
///
/// `x = n ln 2 + r` with whole n and `|r| <= ln 2 / 2`; `e^r` by the polynomial of Cephes' `expf` (Moshier 1989).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding it rounds to a whole number, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x < LOWEST { LOWEST } else { x };
    let x = if x > HIGHEST { HIGHEST } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let mut polynomial = 1.987_569_2e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        polynomial = polynomial * r + coefficient;
    }
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    (polynomial * (r * r) + r + 1.0) * power
}

/// `ln(1 + x)` for x between 0 and 1, to 2 units in the last place, NaN of NaN.
///
/// `2 artanh(u)` with `u = x / (2 + x)`, at most 1/3, by its series.
#[inline(always)]
pub(super) fn ln_1p(x: f32) -> f32 {
    let u = x / (2.0 + x);
    let square = u * u;
    let mut series = 1.0 / 13.0;
    for coefficient in [1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0] {
        series = series * square + coefficient;
    }
    2.0 * (u + u * square * series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_right_to_two_units_in_the_last_place() {
        for i in -87_000..=88_000 {
            let x = i as f32 * 1e-3 + 1e-4;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 2.4e-7, "exp({x}) is off by {error:e}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
    }

    #[test]
    fn exponentials_beyond_the_range_are_kept_to_it() {
        for x in [-88.0, -1e4, f32::MIN, f32::NEG_INFINITY] {
            assert!(exp(x) > 0.0 && exp(x) < 1.3e-38, "{}", exp(x));
        }
        for x in [89.0, f32::MAX, f32::INFINITY] {
            assert!(exp(x) > 2e38 && exp(x).is_finite(), "{}", exp(x));
        }
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn logarithms_are_right_to_two_units_in_the_last_place() {
        for i in 1..=100_000 {
            for scale in [1e-5f32, 1e-9, 1e-20] {
                let x = i as f32 * scale;
                let expected = f64::from(x).ln_1p();
                let error = (f64::from(ln_1p(x)) - expected).abs() / expected;
                assert!(error < 2.4e-7, "ln_1p({x}) is off by {error:e}");
            }
        }
        assert_eq!(ln_1p(0.0), 0.0);
        assert!(ln_1p(f32::NAN).is_nan());
    }
}
