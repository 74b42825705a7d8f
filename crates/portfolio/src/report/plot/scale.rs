//! Ticks a person would choose, on numbers, ratios and dates, and the map from value to place.

use jiff::civil::{Date, date};

use super::Spacing;

/// A range of values laid along an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    spacing: Spacing,
}

impl Scale {
    /// A scale over a range; an empty or broken range becomes a usable one around it.
    pub(super) fn new(low: f64, high: f64, spacing: Spacing) -> Scale {
        let usable = low.is_finite() && high.is_finite() && low <= high;
        let (low, high) = if usable { (low, high) } else { (0.0, 1.0) };
        let spacing = if low > 0.0 { spacing } else { Spacing::Linear };
        let (low, high) = if high > low { (low, high) } else { widened(low) };
        Scale { low, high, spacing }
    }

    /// The same scale with its ends moved out to ticks, so that the plot begins and ends on a grid line.
    pub(super) fn to_ticks(self, count: usize) -> Scale {
        let ticks = self.ticks(count).values;
        if self.spacing == Spacing::Logarithmic {
            return Scale { low: self.low / 1.05, high: self.high * 1.05, ..self };
        }
        let [first, second, .., last] = ticks.as_slice() else { return self };
        let step = second - first;
        let low = if self.low < first - step * 1e-9 { first - step } else { *first };
        let high = if self.high > last + step * 1e-9 { last + step } else { *last };
        Scale { low, high, ..self }
    }

    /// 0 at the low end, 1 at the high end.
    pub(super) fn place(&self, value: f64) -> f64 {
        match self.spacing {
            Spacing::Linear => (value - self.low) / (self.high - self.low),
            Spacing::Logarithmic => {
                (value.max(self.low).ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
            }
        }
    }

    /// Whether zero has a place inside the range.
    pub(super) fn shows_zero(&self) -> bool {
        self.spacing == Spacing::Linear && self.low <= 0.0 && self.high >= 0.0
    }

    /// About `count` round values inside the range.
    pub(super) fn ticks(&self, count: usize) -> Ticks {
        match self.spacing {
            Spacing::Linear => linear_ticks(self.low, self.high, count),
            Spacing::Logarithmic => logarithmic_ticks(self.low, self.high, count),
        }
    }
}

fn widened(value: f64) -> (f64, f64) {
    let margin = if value == 0.0 { 1.0 } else { value.abs() * 0.1 };
    (value - margin, value + margin)
}

/// Round values, and the decimals that tell them apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ticks {
    pub(super) values: Vec<f64>,
    pub(super) decimals: usize,
}

/// Multiples of 1, 2, 2.5 or 5 times a power of ten.
fn linear_ticks(low: f64, high: f64, count: usize) -> Ticks {
    let rough = (high - low) / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough * 0.999);
    let factor = factor.unwrap_or(10.0);
    let step = factor * power;
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    let values = (first..=last).take(50).map(|index| index as f64 * step).collect();
    let extra = i32::from(factor == 2.5);
    let decimals = (extra - power.log10().round() as i32 - i32::from(factor == 10.0)).max(0) as usize;
    Ticks { values, decimals: decimals.min(12) }
}

/// 1, 2, 5 per decade; only powers of ten where there are many decades; linear ticks within a small ratio.
fn logarithmic_ticks(low: f64, high: f64, count: usize) -> Ticks {
    let decades = (high / low).log10();
    if decades < 0.7 {
        return linear_ticks(low, high, count);
    }
    let digits: &[f64] = if decades > count as f64 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let every = ((last - first) as usize).div_ceil(count.max(1) * 2).max(1);
    let all = (first..=last)
        .step_by(every)
        .flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)));
    let values: Vec<f64> = all.filter(|value| *value >= low * 0.999 && *value <= high * 1.001).collect();
    let smallest = values.first().copied().unwrap_or(low);
    Ticks { values, decimals: (-smallest.log10().floor()).clamp(0.0, 12.0) as usize }
}

/// Days since 1970-01-01, the x of a date.
pub(in crate::report) fn day_number(day: Date) -> f64 {
    date(1970, 1, 1).duration_until(day).as_hours() as f64 / 24.0
}

/// A period that began this many days before the first date still gets its tick, on the first date: data of a
/// year starts on its first trading day.
const EARLY_DAYS: f64 = 7.0;

/// About `count` dates that begin a year, quarter, month or day, with their labels.
pub(super) fn date_ticks(first: Date, last: Date, count: usize) -> Vec<(f64, String)> {
    let days = day_number(last) - day_number(first);
    let months = days / 30.44;
    let fits = |step: &&i32| months / f64::from(**step) <= count as f64;
    if months < count as f64 / 2.0 {
        return day_ticks(first, days, count);
    }
    let step = [1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200].iter().find(fits).copied().unwrap_or(2400);
    let start = i32::from(first.year()) * 12 + i32::from(first.month()) - 1;
    let from = day_number(first);
    let end = i32::from(last.year()) * 12 + i32::from(last.month()) - 1;
    (start..=end)
        .filter(|month| month.rem_euclid(step) == 0)
        .filter_map(|month| Date::new(month.div_euclid(12) as i16, (month.rem_euclid(12) + 1) as i8, 1).ok())
        .filter(|day| day_number(*day) >= from - EARLY_DAYS)
        .map(|day| {
            (day_number(day).max(from), if step >= 12 { day.year().to_string() } else { month_label(day) })
        })
        .collect()
}

fn day_ticks(first: Date, days: f64, count: usize) -> Vec<(f64, String)> {
    let step = (days / count.max(1) as f64).ceil().max(1.0) as usize;
    let days = days.max(0.0) as usize;
    let dates = (0..=days)
        .step_by(step)
        .filter_map(|ahead| first.checked_add(jiff::SignedDuration::from_hours(ahead as i64 * 24)).ok());
    dates.map(|day| (day_number(day), format!("{} {}", day.day(), month_name(day)))).collect()
}

/// "Mar 2020".
fn month_label(day: Date) -> String {
    format!("{} {}", month_name(day), day.year())
}

fn month_name(day: Date) -> &'static str {
    const NAMES: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    NAMES[(day.month() as usize - 1).min(11)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(low: f64, high: f64, count: usize) -> (Vec<String>, usize) {
        let ticks = Scale::new(low, high, Spacing::Linear).ticks(count);
        (ticks.values.iter().map(|value| format!("{value:.*}", ticks.decimals)).collect(), ticks.decimals)
    }

    #[test]
    fn linear_ticks_are_round() {
        assert_eq!(linear(0.0, 1.0, 5).0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(linear(-0.03, 0.07, 4).0, ["-0.025", "0.000", "0.025", "0.050"]);
        assert_eq!(linear(2.29, 2.304, 3).0, ["2.290", "2.295", "2.300"]);
        assert_eq!(linear(0.0, 1000.0, 5).0, ["0", "200", "400", "600", "800", "1000"]);
    }

    #[test]
    fn logarithmic_ticks_are_one_two_five() {
        let ticks = Scale::new(0.04, 3.0, Spacing::Logarithmic).ticks(5);
        let text: Vec<String> =
            ticks.values.iter().map(|value| format!("{value:.*}", ticks.decimals)).collect();
        assert_eq!(text, ["0.05", "0.10", "0.20", "0.50", "1.00", "2.00"]);
    }

    #[test]
    fn a_logarithmic_scale_places_ratios_evenly_and_needs_positive_values() {
        let scale = Scale::new(1.0, 100.0, Spacing::Logarithmic);
        assert!((scale.place(10.0) - 0.5).abs() < 1e-12);
        let fallback = Scale::new(-1.0, 1.0, Spacing::Logarithmic);
        assert!((fallback.place(0.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn broken_and_empty_ranges_are_usable() {
        for (low, high) in
            [(f64::NAN, 1.0), (f64::INFINITY, f64::NEG_INFINITY), (0.0, 0.0), (5.0, 5.0), (-2.0, -2.0)]
        {
            let scale = Scale::new(low, high, Spacing::Linear).to_ticks(4);
            assert!(scale.place(low.clamp(-2.0, 5.0)).is_finite() || low.is_nan());
            assert!(!scale.ticks(4).values.is_empty(), "{low} {high}");
        }
    }

    #[test]
    fn an_axis_rounded_to_ticks_holds_the_range() {
        let scale = Scale::new(0.13, 0.88, Spacing::Linear).to_ticks(4);
        assert!(scale.place(0.13) >= 0.0 && scale.place(0.88) <= 1.0);
        assert!((scale.place(0.0)).abs() < 1e-12 && (scale.place(1.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn day_numbers_count_days() {
        assert_eq!(day_number(date(1970, 1, 2)), 1.0);
        assert_eq!(day_number(date(1969, 12, 31)), -1.0);
        assert_eq!(day_number(date(2000, 3, 1)), 11_017.0);
    }

    #[test]
    fn date_ticks_follow_the_span() {
        let labels = |first, last| -> Vec<String> {
            date_ticks(first, last, 8).into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(labels(date(2018, 1, 2), date(2022, 12, 28)), ["2018", "2019", "2020", "2021", "2022"]);
        assert_eq!(
            labels(date(2020, 1, 10), date(2020, 7, 20)),
            ["Feb 2020", "Mar 2020", "Apr 2020", "May 2020", "Jun 2020", "Jul 2020"]
        );
        assert_eq!(
            labels(date(2020, 2, 27), date(2020, 3, 2)),
            ["27 Feb", "28 Feb", "29 Feb", "1 Mar", "2 Mar"]
        );
        assert_eq!(labels(date(1990, 1, 1), date(2022, 1, 1)).first().map(String::as_str), Some("1990"));
    }
}
