//! Operators on one bar at a time.

use pulp::{Arch, Simd, WithSimd};

use crate::expression::{Binary, Unary};

/// Whether a condition holds: not 0 and not missing.
#[inline(always)]
fn holds(value: f64) -> bool {
    value != 0.0 && !value.is_nan()
}

#[inline(always)]
fn truth(condition: bool) -> f64 {
    if condition { 1.0 } else { 0.0 }
}

#[inline(always)]
fn map(of: &[f64], out: &mut [f64], f: impl Fn(f64) -> f64) {
    for (result, value) in out.iter_mut().zip(of) {
        *result = f(*value);
    }
}

#[inline(always)]
fn zip(left: &[f64], right: &[f64], out: &mut [f64], f: impl Fn(f64, f64) -> f64) {
    for ((result, a), b) in out.iter_mut().zip(left).zip(right) {
        *result = f(*a, *b);
    }
}

/// An operator and its arguments, compiled for the vector instructions of the machine.
enum Elementwise<'a> {
    Unary(Unary, &'a [f64]),
    Binary(Binary, [&'a [f64]; 2]),
    Select([&'a [f64]; 3]),
}

struct Into<'a>(Elementwise<'a>, &'a mut [f64]);

impl WithSimd for Into<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.0 {
            Elementwise::Unary(operator, of) => unary_values(operator, of, self.1),
            Elementwise::Binary(operator, of) => binary_values(operator, of, self.1),
            Elementwise::Select(of) => select_values(of, self.1),
        }
    }
}

/// An operator of one argument. `Sign(0)` is 0; `Log` is natural.
pub(crate) fn unary(operator: Unary, of: &[f64], out: &mut [f64]) {
    Arch::new().dispatch(Into(Elementwise::Unary(operator, of), out));
}

#[inline(always)]
fn unary_values(operator: Unary, of: &[f64], out: &mut [f64]) {
    match operator {
        Unary::Neg => map(of, out, |x| -x),
        Unary::Abs => map(of, out, f64::abs),
        Unary::Sign => map(of, out, |x| if x == 0.0 || x.is_nan() { x } else { x.signum() }),
        Unary::Log => map(of, out, f64::ln),
        Unary::Not => map(of, out, |x| truth(!holds(x))),
    }
}

/// An operator of two arguments.
///
/// Comparisons give 1 or 0 and follow IEEE 754, as numpy does: with a missing side all but `!=` are 0.
/// `Greater` and `Less` are the larger and the smaller of the two, missing if either is.
pub(crate) fn binary(operator: Binary, of: [&[f64]; 2], out: &mut [f64]) {
    Arch::new().dispatch(Into(Elementwise::Binary(operator, of), out));
}

#[inline(always)]
fn binary_values(operator: Binary, [left, right]: [&[f64]; 2], out: &mut [f64]) {
    match operator {
        Binary::Add => zip(left, right, out, |a, b| a + b),
        Binary::Sub => zip(left, right, out, |a, b| a - b),
        Binary::Mul => zip(left, right, out, |a, b| a * b),
        Binary::Div => zip(left, right, out, |a, b| a / b),
        Binary::Power => zip(left, right, out, f64::powf),
        Binary::Greater => zip(left, right, out, |a, b| if a.is_nan() || a > b { a } else { b }),
        Binary::Less => zip(left, right, out, |a, b| if a.is_nan() || a < b { a } else { b }),
        Binary::Gt => zip(left, right, out, |a, b| truth(a > b)),
        Binary::Ge => zip(left, right, out, |a, b| truth(a >= b)),
        Binary::Lt => zip(left, right, out, |a, b| truth(a < b)),
        Binary::Le => zip(left, right, out, |a, b| truth(a <= b)),
        Binary::Eq => zip(left, right, out, |a, b| truth(a == b)),
        Binary::Ne => zip(left, right, out, |a, b| truth(a != b)),
        Binary::And => zip(left, right, out, |a, b| truth(holds(a) && holds(b))),
        Binary::Or => zip(left, right, out, |a, b| truth(holds(a) || holds(b))),
    }
}

/// `If(condition, x, y)`: x where the condition holds, else y.
pub(crate) fn select(of: [&[f64]; 3], out: &mut [f64]) {
    Arch::new().dispatch(Into(Elementwise::Select(of), out));
}

#[inline(always)]
fn select_values([condition, yes, no]: [&[f64]; 3], out: &mut [f64]) {
    for (row, result) in out.iter_mut().enumerate() {
        *result = if holds(condition[row]) { yes[row] } else { no[row] };
    }
}
