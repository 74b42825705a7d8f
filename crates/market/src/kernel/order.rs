//! Quantiles and ranks: the values of a window, sorted.
//!
//! The sorted window slides: a bar costs one removal and one insertion. What it holds depends on the
//! window's values alone, so sliding gives the same bits as sorting each window anew.

/// A part that grows beyond this many values is cut in two, so that inserting moves few.
const PART_MAX: usize = 512;
/// Added to a value, makes of both zeros the positive one, so that equal values have equal bits.
const POSITIVE_ZERO: f64 = 0.0;

/// The known values of a window in order, in parts of bounded length.
#[derive(Debug, Clone, Default)]
pub(super) struct SortedWindow {
    /// Never empty parts, ascending, each ascending.
    parts: Vec<Vec<f64>>,
    len: usize,
}

impl SortedWindow {
    pub(super) fn clear(&mut self) {
        self.parts.clear();
        self.len = 0;
    }

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
        let Some(last) = self.len.checked_sub(1) else { return f64::NAN };
        let place = level * last as f64;
        let below = place.floor();
        let index = below as usize;
        let low = self.at(index);
        let high = self.at((index + 1).min(last));
        low + (high - low) * (place - below)
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
        let equal = equal as f64;
        (less as f64 + (equal + 1.0) / 2.0) / self.len as f64
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
    fn a_short_window_replaces_in_place() {
        let values: Vec<f64> = (0..500u64).map(|i| ((i * 7919) % 23) as f64).collect();
        let (mut replaced, mut moved) = (SortedWindow::default(), SortedWindow::default());
        for (bar, value) in values.iter().enumerate() {
            match bar.checked_sub(20) {
                Some(oldest) => {
                    replaced.replace(values[oldest], *value);
                    moved.enter(*value);
                    moved.leave(values[oldest]);
                }
                None => {
                    replaced.enter(*value);
                    moved.enter(*value);
                }
            }
            assert_eq!(replaced.parts, moved.parts);
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
