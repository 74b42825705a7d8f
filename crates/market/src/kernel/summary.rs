//! What blocks of bars are summarised by: one [`Summary`] for each family of operators.
//!
//! Moments are merged by the formulas of Chan, Golub and LeVeque (1979) and Pébay (2008): deviations are always taken
//! from the mean of their own block, so nothing large is ever subtracted from something as large.

use super::tree::Summary;

/// Count and sum.
#[derive(Debug)]
pub(super) struct Sums;

impl Summary<2> for Sums {
    const EMPTY: [f64; 2] = [0.0; 2];
    const ONE: [f64; 2] = [1.0, 0.0];
    const OF_PLACES: [bool; 2] = [true, false];

    #[inline(always)]
    fn merge(older: [f64; 2], newer: [f64; 2], _: f64) -> [f64; 2] {
        [older[0] + newer[0], older[1] + newer[1]]
    }
}

/// Count, mean, and the sum of squared deviations from it.
#[derive(Debug)]
pub(super) struct Moments;

impl Summary<3> for Moments {
    const EMPTY: [f64; 3] = [0.0; 3];
    const ONE: [f64; 3] = [1.0, 0.0, 0.0];
    const OF_PLACES: [bool; 3] = [true, false, false];

    #[inline(always)]
    fn merge([na, ma, qa]: [f64; 3], [nb, mb, qb]: [f64; 3], _: f64) -> [f64; 3] {
        let n = na + nb;
        let share = nb / n.max(1.0);
        let apart = mb - ma;
        [n, ma + apart * share, qa + qb + apart * apart * (na * share)]
    }
}

/// Count, mean, and the sums of the second, third and fourth powers of deviations.
#[derive(Debug)]
pub(super) struct Shape;

impl Summary<5> for Shape {
    const EMPTY: [f64; 5] = [0.0; 5];
    const ONE: [f64; 5] = [1.0, 0.0, 0.0, 0.0, 0.0];
    const OF_PLACES: [bool; 5] = [true, false, false, false, false];

    #[inline(always)]
    fn merge([na, ma, qa, ca, fa]: [f64; 5], [nb, mb, qb, cb, fb]: [f64; 5], _: f64) -> [f64; 5] {
        let n = na + nb;
        let (share_a, share_b) = (na / n.max(1.0), nb / n.max(1.0));
        let apart = mb - ma;
        let squared = apart * apart;
        let weight = na * share_b;
        let second = qa + qb + squared * weight;
        let third = ca
            + cb
            + squared * apart * weight * (share_a - share_b)
            + 3.0 * apart * (share_a * qb - share_b * qa);
        let fourth = fa
            + fb
            + squared * squared * weight * (share_a * share_a - share_a * share_b + share_b * share_b)
            + 6.0 * squared * (share_a * share_a * qb + share_b * share_b * qa)
            + 4.0 * apart * (share_a * cb - share_b * ca);
        [n, ma + apart * share_b, second, third, fourth]
    }
}

/// Of pairs: count, both means, both sums of squared deviations, and the sum of their products.
#[derive(Debug)]
pub(super) struct Pairs;

#[inline(always)]
fn merge_pairs([na, xa, ya, xxa, yya, xya]: [f64; 6], [nb, xb, yb, xxb, yyb, xyb]: [f64; 6]) -> [f64; 6] {
    let n = na + nb;
    let share = nb / n.max(1.0);
    let weight = na * share;
    let (x, y) = (xb - xa, yb - ya);
    [
        n,
        xa + x * share,
        ya + y * share,
        xxa + xxb + x * x * weight,
        yya + yyb + y * y * weight,
        xya + xyb + x * y * weight,
    ]
}

impl Summary<6> for Pairs {
    const EMPTY: [f64; 6] = [0.0; 6];
    const ONE: [f64; 6] = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    const OF_PLACES: [bool; 6] = [true, false, false, false, false, false];

    #[inline(always)]
    fn merge(older: [f64; 6], newer: [f64; 6], _: f64) -> [f64; 6] {
        merge_pairs(older, newer)
    }
}

/// Pairs of a bar's age, counted from the newest bar of the block, and its value.
#[derive(Debug)]
pub(super) struct Line;

impl Summary<6> for Line {
    const EMPTY: [f64; 6] = [0.0; 6];
    const ONE: [f64; 6] = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    const OF_PLACES: [bool; 6] = [true, true, false, true, false, false];

    #[inline(always)]
    fn merge([n, age, y, xx, yy, xy]: [f64; 6], newer: [f64; 6], newer_bars: f64) -> [f64; 6] {
        merge_pairs([n, age + newer_bars, y, xx, yy, xy], newer)
    }
}

/// The largest value; NaN where there is none.
#[derive(Debug)]
pub(super) struct Largest;

impl Summary<1> for Largest {
    const EMPTY: [f64; 1] = [f64::NAN];
    const ONE: [f64; 1] = [0.0];
    const OF_PLACES: [bool; 1] = [false];

    #[inline(always)]
    fn merge([older]: [f64; 1], [newer]: [f64; 1], _: f64) -> [f64; 1] {
        [if newer.is_nan() | (older > newer) { older } else { newer }]
    }
}

/// Of the first largest value, where a missing one is larger than all: the value, its age, and whether any
/// value is known (1) or none (0).
#[derive(Debug)]
pub(super) struct FirstLargest;

impl Summary<3> for FirstLargest {
    /// Smaller than every value there is: infinite ones count as missing.
    const EMPTY: [f64; 3] = [f64::NEG_INFINITY, 0.0, 0.0];
    const ONE: [f64; 3] = [0.0, 0.0, 1.0];
    const OF_PLACES: [bool; 3] = [false, false, true];

    #[inline(always)]
    fn merge([a, age_a, known_a]: [f64; 3], [b, age_b, known_b]: [f64; 3], newer_bars: f64) -> [f64; 3] {
        // A missing newer value loses to a missing older one only.
        let older = a.is_nan() | (a >= b);
        [
            if older { a } else { b },
            if older { age_a + newer_bars } else { age_b },
            if known_a > known_b { known_a } else { known_b },
        ]
    }
}
