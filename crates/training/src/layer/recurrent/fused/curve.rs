//! `sigmoid` and `tanh` of vectors, within 4e-7 of the exact value of the float and, for `tanh`, of its size.
//!
//! Both are a rational function of one exponential, `e^x = 2^n e^r` with `|r| <= ln(2) / 2`. A number that is none
//! stays none.

use pulp::Simd;

/// `ln(2)` as a number with zeros at its end, so that its product with a small whole number is exact, and the rest.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// Added to a float it leaves the nearest whole number in the last bits.
const TO_WHOLE: f32 = 12_582_912.0;

/// `1 / k!` from 7 down to 2: the series of `(e^r - 1 - r) / r^2`, the rest of which is below half a unit in the last place.
const SERIES: [f32; 6] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5];

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // Beyond 87 the power of 2 is no float.
    let (power, rest) = exponential(simd, simd.neg_f32s(x), 87.0);
    let one = simd.splat_f32s(1.0);
    let exponential = simd.mul_add_f32s(power, rest, power);
    simd.div_f32s(one, simd.add_f32s(exponential, one))
}

/// `(e^2x - 1) / (e^2x + 1)`.
#[inline(always)]
pub(super) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // Beyond 30 it is 1.
    let (power, rest) = exponential(simd, simd.add_f32s(x, x), 30.0);
    let less_one = simd.mul_add_f32s(power, rest, simd.sub_f32s(power, simd.splat_f32s(1.0)));
    simd.div_f32s(less_one, simd.add_f32s(less_one, simd.splat_f32s(2.0)))
}

/// `2^n` and `e^r - 1`, whose product with the first, and it, sum up to `e^x`; `x` is cut off at `bound` on both sides.
#[inline(always)]
fn exponential<S: Simd>(simd: S, x: S::f32s, bound: f32) -> (S::f32s, S::f32s) {
    let (low, high) = (simd.splat_f32s(-bound), simd.splat_f32s(bound));
    let x = simd.select_f32s(simd.less_than_f32s(high, x), high, x);
    let x = simd.select_f32s(simd.less_than_f32s(x, low), low, x);
    let to_whole = simd.splat_f32s(TO_WHOLE);
    let shifted = simd.mul_add_f32s(x, simd.splat_f32s(std::f32::consts::LOG2_E), to_whole);
    let whole = simd.sub_f32s(shifted, to_whole);
    let mut r = x;
    for part in LN_2 {
        r = simd.mul_add_f32s(whole, simd.splat_f32s(-part), r);
    }
    let mut series = simd.splat_f32s(SERIES[0]);
    for coefficient in &SERIES[1..] {
        series = simd.mul_add_f32s(series, r, simd.splat_f32s(*coefficient));
    }
    let rest = simd.mul_add_f32s(simd.mul_f32s(r, r), series, r);
    // The last bits are the exponent, which begins at bit 23 and is written 127 higher.
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let power = simd.transmute_f32s_u32s(simd.add_u32s(exponent, simd.splat_u32s(127 << 23)));
    (power, rest)
}

#[cfg(test)]
mod tests {
    use pulp::{Arch, WithSimd};

    use super::*;

    struct Both<'a>(&'a mut [f32], &'a mut [f32]);

    impl WithSimd for Both<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let (sigmoids, _) = S::as_mut_simd_f32s(self.0);
            let (tanhs, _) = S::as_mut_simd_f32s(self.1);
            for x in sigmoids {
                *x = sigmoid(simd, *x);
            }
            for x in tanhs {
                *x = tanh(simd, *x);
            }
        }
    }

    fn both(x: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (mut sigmoids, mut tanhs) = (x.to_vec(), x.to_vec());
        Arch::new().dispatch(Both(&mut sigmoids, &mut tanhs));
        (sigmoids, tanhs)
    }

    #[test]
    fn they_are_exact_to_a_few_units_in_the_last_place() {
        let mut x: Vec<f32> = (-160_000..160_000).map(|i| i as f32 / 1600.0).collect();
        x.extend((-320..320).map(|i| (i as f32 / 16.0).exp2() * if i % 2 == 0 { 1.0 } else { -1.0 }));
        let (sigmoids, tanhs) = both(&x);
        for (x, (sigmoid, tanh)) in x.iter().zip(sigmoids.iter().zip(&tanhs)) {
            let wide = f64::from(*x);
            let exact = 1.0 / (1.0 + (-wide.clamp(-87.0, 87.0)).exp());
            assert!((f64::from(*sigmoid) - exact).abs() <= 4e-7 * exact, "sigmoid of {x}: {sigmoid}");
            let exact = wide.tanh();
            assert!((f64::from(*tanh) - exact).abs() <= 4e-7 * exact.abs(), "tanh of {x}: {tanh}");
        }
    }

    #[test]
    fn what_is_no_number_stays_none_and_the_ends_are_reached() {
        let mut x = [f32::NAN; 64];
        x[..32].fill(f32::INFINITY);
        x[..16].fill(f32::NEG_INFINITY);
        let (sigmoids, tanhs) = both(&x);
        assert!(sigmoids[..16].iter().all(|y| *y >= 0.0 && *y < 1e-37), "{sigmoids:?}");
        assert!(sigmoids[16..32].iter().all(|y| *y == 1.0));
        assert!(tanhs[..16].iter().all(|y| *y == -1.0) && tanhs[16..32].iter().all(|y| *y == 1.0));
        assert!(sigmoids[32..].iter().chain(&tanhs[32..]).all(|y| y.is_nan()));
    }
}
