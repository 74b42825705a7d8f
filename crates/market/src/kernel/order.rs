//! Quantiles and ranks: the values of a window, sorted.
//!
//! The sorted window slides: a bar costs one removal and one insertion. What it holds depends on the
//! window's values alone, so sliding gives the same bits as sorting each window anew. A short window is one
//! array that is written anew with every bar, since a vector instruction moves many values at once and nothing is
//! guessed; a long one is cut into parts.

use super::one_if;

/// In windows of up to so many bars values are counted and moved rather than searched.
pub(super) const COUNTED_BARS_MAX: usize = 128;

/// A part that grows beyond this many values is cut in two, so that inserting moves few.
const PART_MAX: usize = 512;
/// Added to a value, makes of both zeros the positive one, so that equal values have equal bits.
const POSITIVE_ZERO: f64 = 0.0;

/// The rank of a value among `count`, of which `less` are smaller and `equal` the same as it, itself included: ties
/// averaged, divided by the count. NaN if it is missing itself.
#[inline(always)]
pub(super) fn rank(less: f64, equal: f64, count: f64) -> f64 {
    (less + (equal + 1.0) / 2.0) / if equal > 0.0 { count } else { f64::NAN }
}

/// The rank of the newest value of a window among all.
pub(super) fn rank_of_last(window: &[f64]) -> f64 {
    let newest = window.last().copied().filter(|value| value.is_finite()).unwrap_or(f64::NAN);
    let (mut less, mut equal, mut count) = (0.0, 0.0, 0.0);
    for value in window {
        less += one_if(value.is_finite() & (*value < newest));
        equal += one_if(*value == newest);
        count += one_if(value.is_finite());
    }
    rank(less, equal, count)
}

/// The linear interpolation between the neighbours of a quantile; `at` gives a value by its place in order.
#[inline(always)]
fn interpolate(level: f64, count: usize, at: impl Fn(usize) -> f64) -> f64 {
    let Some(last) = count.checked_sub(1) else { return f64::NAN };
    let place = level * last as f64;
    // Not negative: the same as rounding down.
    let below = place as usize;
    let low = at(below);
    let high = at((below + 1).min(last));
    low + (high - low) * (place - below as f64)
}

/// A window of so many bars that slides, and what of it is known in order.
#[derive(Debug, Clone)]
pub(super) enum SlidingOrder {
    Short(ShortWindow),
    Long(SortedWindow),
}

impl SlidingOrder {
    /// Before the first bar of a window of so many.
    pub(super) fn new(bars: usize) -> Self {
        match bars {
            ..=COUNTED_BARS_MAX => Self::Short(ShortWindow::new(bars)),
            _ => Self::Long(SortedWindow::default()),
        }
    }

    /// Takes a value in and one out that came in before; what is not finite is missing.
    #[inline(always)]
    pub(super) fn slide(&mut self, old: f64, new: f64) {
        match self {
            Self::Short(window) => window.slide(old, new),
            Self::Long(window) => window.replace(old, new),
        }
    }

    /// The quantile, interpolated linearly between neighbours; NaN without any value.
    #[inline(always)]
    pub(super) fn quantile(&self, level: f64) -> f64 {
        match self {
            Self::Short(window) => interpolate(level, window.count, |place| window.values[1 + place]),
            Self::Long(window) => window.quantile(level),
        }
    }

    /// The rank of a value of the window, ties averaged, divided by the number of values; NaN if it is missing.
    #[inline(always)]
    pub(super) fn rank(&self, newest: f64) -> f64 {
        match self {
            Self::Short(window) => window.rank(newest),
            Self::Long(window) => window.rank(newest),
        }
    }
}

/// A short window: as many values as it has bars, missing ones infinite, and so last.
#[derive(Debug, Clone)]
pub(super) struct ShortWindow {
    /// In order, between a first that is smaller than all and a last that is larger.
    values: Vec<f64>,
    /// Where the next order is written.
    next: Vec<f64>,
    /// How many are known.
    count: usize,
}

impl ShortWindow {
    fn new(bars: usize) -> Self {
        // Whole vector registers: more missing values change nothing.
        let mut values = vec![f64::INFINITY; bars.next_multiple_of(4) + 2];
        values[0] = f64::NEG_INFINITY;
        Self { next: values.clone(), values, count: 0 }
    }

    #[inline(always)]
    fn slide(&mut self, old: f64, new: f64) {
        let place = |value: f64| if value.is_finite() { value + POSITIVE_ZERO } else { f64::INFINITY };
        self.count = self.count + usize::from(new.is_finite()) - usize::from(old.is_finite());
        let (old, new) = (place(old), place(new));
        let inside = self.values.len() - 2;
        let (before, at, after) = (&self.values[..inside], &self.values[1..=inside], &self.values[2..]);
        let next = &mut self.next[1..=inside];
        // Without the first that equals `old`, all from it on are one place lower.
        let left = |value: f64, after: f64| if value < old { value } else { after };
        for i in 0..inside {
            let (lower, own) = (left(before[i], at[i]), left(at[i], after[i]));
            let held = if own < new { own } else { new };
            next[i] = if lower > held { lower } else { held };
        }
        std::mem::swap(&mut self.values, &mut self.next);
    }

    fn rank(&self, newest: f64) -> f64 {
        let (mut less, mut equal) = (0.0, 0.0);
        for value in &self.values[1..] {
            less += one_if(*value < newest);
            equal += one_if((*value == newest) & newest.is_finite());
        }
        rank(less, equal, self.count as f64)
    }
}

/// The known values of a window in order, in parts of bounded length.
#[derive(Debug, Clone, Default)]
pub(super) struct SortedWindow {
    /// Never empty parts, ascending, each ascending.
    parts: Vec<Vec<f64>>,
    len: usize,
}

impl SortedWindow {
    /// Takes a value in; one that is not finite is missing.
    #[inline(always)]
    pub(super) fn enter(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        let value = value + POSITIVE_ZERO;
        self.len += 1;
        let Some(last) = self.parts.len().checked_sub(1) else {
            self.parts.push(vec![value]);
            return;
        };
        let index = self.part_of(value).min(last);
        let part = &mut self.parts[index];
        let place = count_below(part, value);
        part.insert(place, value);
        if part.len() > PART_MAX {
            let upper = part.split_off(part.len() / 2);
            self.parts.insert(index + 1, upper);
        }
    }

    /// Takes a value out that came in before.
    #[inline(always)]
    pub(super) fn leave(&mut self, value: f64) {
        if !value.is_finite() || self.len == 0 {
            return;
        }
        let value = value + POSITIVE_ZERO;
        let index = self.part_of(value);
        let Some(part) = self.parts.get_mut(index) else { return };
        let place = count_below(part, value);
        part.remove(place);
        self.len -= 1;
        if part.is_empty() {
            self.parts.remove(index);
        }
    }

    /// [`SortedWindow::enter`] and [`SortedWindow::leave`] in one: only what lies between the two is moved.
    #[inline(always)]
    pub(super) fn replace(&mut self, old: f64, new: f64) {
        let [part] = self.parts.as_mut_slice() else {
            self.enter(new);
            return self.leave(old);
        };
        if !old.is_finite() || !new.is_finite() {
            self.enter(new);
            return self.leave(old);
        }
        let (old, new) = (old + POSITIVE_ZERO, new + POSITIVE_ZERO);
        let from = count_below(part, old);
        let to = count_below(part, new);
        if to > from {
            part.copy_within(from + 1..to, from);
            part[to - 1] = new;
        } else {
            part.copy_within(to..from, to + 1);
            part[to] = new;
        }
    }

    /// The quantile, interpolated linearly between neighbours; NaN without any value.
    #[inline(always)]
    pub(super) fn quantile(&self, level: f64) -> f64 {
        interpolate(level, self.len, |place| self.at(place))
    }

    /// The rank of a value of the window, ties averaged, divided by the number of values; NaN if it is missing.
    #[inline(always)]
    pub(super) fn rank(&self, newest: f64) -> f64 {
        if !newest.is_finite() {
            return f64::NAN;
        }
        let mut less = 0;
        let mut equal = 0;
        for part in &self.parts {
            let below = count_below(part, newest);
            less += below;
            // Ties are few.
            equal += part[below..].iter().take_while(|value| **value == newest).count();
        }
        rank(less as f64, equal as f64, self.len as f64)
    }

    #[inline(always)]
    fn at(&self, mut index: usize) -> f64 {
        if let [part] = self.parts.as_slice() {
            return part.get(index).copied().unwrap_or(f64::NAN);
        }
        for part in &self.parts {
            match part.get(index) {
                Some(value) => return *value,
                None => index -= part.len(),
            }
        }
        f64::NAN
    }

    /// The first part whose last value is not smaller.
    #[inline(always)]
    fn part_of(&self, value: f64) -> usize {
        let smaller = |part: &Vec<f64>| part.last().is_some_and(|last| *last < value);
        if self.parts.len() == 1 {
            usize::from(smaller(&self.parts[0]))
        } else {
            self.parts.partition_point(smaller)
        }
    }
}

/// How many values of a sorted part are smaller. Counting beats searching where the part is short: vector
/// instructions compare many at once, and nothing is guessed.
#[inline(always)]
fn count_below(part: &[f64], value: f64) -> usize {
    const SHORT: usize = 128;
    if part.len() > SHORT {
        return part.partition_point(|known| *known < value);
    }
    // A loop rather than an iterator's sum, which is compiled apart and without those instructions.
    let mut below = 0u64;
    for known in part {
        below += u64::from(*known < value);
    }
    below as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_window_in_parts_is_the_same_as_sorting() {
        let values: Vec<f64> = (0..3000u64).map(|i| ((i * 7919) % 1009) as f64 * 0.5 - 100.0).collect();
        let bars = 1500;
        let mut window = SortedWindow::default();
        for (bar, value) in values.iter().enumerate() {
            match bar.checked_sub(bars) {
                Some(oldest) if bar % 2 == 0 => window.replace(values[oldest], *value),
                Some(oldest) => {
                    window.enter(*value);
                    window.leave(values[oldest]);
                }
                None => window.enter(*value),
            }
            if bar % 97 != 0 {
                continue;
            }
            let mut sorted = values[(bar + 1).saturating_sub(bars)..=bar].to_vec();
            sorted.sort_unstable_by(f64::total_cmp);
            let found: Vec<f64> = (0..window.len).map(|index| window.at(index)).collect();
            assert_eq!(found, sorted);
            let less = sorted.iter().filter(|known| *known < value).count() as f64;
            let equal = sorted.iter().filter(|known| *known == value).count() as f64;
            assert_eq!(window.rank(*value), (less + (equal + 1.0) / 2.0) / sorted.len() as f64);
        }
    }

    #[test]
    fn a_short_window_is_a_long_one_to_the_bit() {
        for bars in [1, 3, 20, 60, 128] {
            let value = |i: u64| match i * 7919 % 29 {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => -0.0,
                other => (other as f64 - 14.0) * 0.25,
            };
            let values: Vec<f64> = (0..500).map(value).collect();
            let (mut short, mut long) = (SlidingOrder::new(bars), SortedWindow::default());
            for (bar, value) in values.iter().enumerate() {
                let old = bar.checked_sub(bars).map_or(f64::NAN, |oldest| values[oldest]);
                short.slide(old, *value);
                long.replace(old, *value);
                let bits = |values: [f64; 4]| values.map(f64::to_bits);
                let newest = if value.is_finite() { *value } else { f64::NAN };
                let levels = [0.0, 0.2, 0.8].map(|level| (short.quantile(level), long.quantile(level)));
                let [a, b, c] = levels.map(|(short, _)| short);
                let [d, e, f] = levels.map(|(_, long)| long);
                assert_eq!(
                    bits([a, b, c, short.rank(newest)]),
                    bits([d, e, f, long.rank(newest)]),
                    "{bars} {bar}"
                );
                let window = &values[(bar + 1).saturating_sub(bars)..=bar];
                assert_eq!(rank_of_last(window).to_bits(), long.rank(newest).to_bits(), "{bars} {bar}");
            }
        }
    }

    #[test]
    fn both_zeros_leave_as_they_came() {
        let mut window = SortedWindow::default();
        for value in [0.0, -0.0, 0.0, f64::NAN, 1.0] {
            window.enter(value);
        }
        assert_eq!(window.rank(-0.0), 0.5);
        for value in [-0.0, 0.0, 0.0, f64::NAN] {
            window.leave(value);
        }
        assert_eq!((window.len, window.quantile(0.5)), (1, 1.0));
    }
}
