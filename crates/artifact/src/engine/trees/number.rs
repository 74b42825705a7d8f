//! The numbers that trees compute in: float32, or float64 where the input is.

/// A floating-point number.
pub(super) trait Number: Copy + PartialOrd + Send + Sync + 'static {
    const ZERO: Self;
    fn of(value: f64) -> Self;
    fn of_count(count: usize) -> Self;
    fn to_f32(self) -> f32;
    fn to_f64(self) -> f64;
    /// The next smaller number: `x < t` is `x <= t.below()`.
    fn below(self) -> Self;
    fn is_nan(self) -> bool;
    fn plus(self, other: Self) -> Self;
    fn over(self, other: Self) -> Self;
    fn minus(self) -> Self;
}

macro_rules! number {
    ($type:ty) => {
        impl Number for $type {
            const ZERO: Self = 0.0;
            fn of(value: f64) -> Self {
                value as $type
            }
            fn of_count(count: usize) -> Self {
                count as $type
            }
            fn to_f32(self) -> f32 {
                self as f32
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn below(self) -> Self {
                self.next_down()
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                <$type>::is_nan(self)
            }
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self + other
            }
            fn over(self, other: Self) -> Self {
                self / other
            }
            fn minus(self) -> Self {
                -self
            }
        }
    };
}
number!(f32);
number!(f64);
