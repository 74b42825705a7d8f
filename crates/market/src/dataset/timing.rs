//! When a bar becomes known.

use jiff::civil::{DateTime, Time};
use serde::{Deserialize, Serialize};

use crate::civil_time::{MICROS_A_DAY, MICROS_A_SECOND, civil, micros};
use crate::{Error, Result};

/// A lag longer than a year is a mistake.
const LAG_MINUTES_MAX: u32 = 366 * 24 * 60;

/// What the time of a bar within the day says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stamp {
    /// When it began; it is known one bar later. The careful reading, if a source does not say.
    #[default]
    Start,
    /// When it ended.
    End,
}

/// How the time at which a bar is known follows from the bar's own; the same for all bars of a data set.
///
/// All times are civil times of the data set's zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Whether every bar is a whole day's.
    pub daily: bool,
    /// When the market closes: a daily bar is known then, and so much later as `lag_minutes` says.
    pub close_time: Time,
    /// How long after its close a bar is available.
    pub lag_minutes: u32,
    /// What the time of a bar within the day says.
    pub stamp: Stamp,
    /// Length of a bar within the day.
    pub bar_seconds: u32,
    /// The zone of all times, as the tz database calls it; absent: not said.
    pub time_zone: Option<String>,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            daily: true,
            close_time: Time::constant(16, 0, 0, 0),
            lag_minutes: 0,
            stamp: Stamp::Start,
            bar_seconds: 0,
            time_zone: None,
        }
    }
}

/// What a user says about how bars become known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimingOptions {
    /// When the market closes.
    pub close_time: Option<Time>,
    /// Minutes after its close at which a bar is available.
    pub lag_minutes: Option<u32>,
    /// What the time of a bar within the day says.
    pub stamp: Option<Stamp>,
    /// Length of a bar within the day, in minutes.
    pub bar_minutes: Option<u32>,
    /// The zone of all times.
    #[serde(skip)]
    pub time_zone: Option<String>,
}

impl TimingOptions {
    /// What the user says, and for the rest what is known.
    pub fn over(self, known: &Timing) -> Timing {
        let known = known.clone();
        Timing {
            daily: known.daily,
            close_time: self.close_time.unwrap_or(known.close_time),
            lag_minutes: self.lag_minutes.unwrap_or(known.lag_minutes),
            stamp: self.stamp.unwrap_or(known.stamp),
            bar_seconds: self.bar_minutes.map_or(known.bar_seconds, |minutes| minutes.saturating_mul(60)),
            time_zone: self.time_zone.or(known.time_zone),
        }
    }
}

impl Timing {
    /// Checks what a user chose.
    ///
    /// # Errors
    /// [`Error::Dataset`] for a lag beyond a year, or a length of bars that is missing or beyond a day.
    pub fn check(&self) -> Result<()> {
        if self.lag_minutes > LAG_MINUTES_MAX {
            return Err(Error::Dataset(format!(
                "a lag of {} minutes is longer than a year; give the time from the close to when the bar is \
                 available",
                self.lag_minutes
            )));
        }
        if !self.daily && self.stamp == Stamp::Start && !(1..=86_400).contains(&self.bar_seconds) {
            return Err(Error::Dataset(
                "the length of the bars cannot be told from their times; say it with --bar-minutes"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// When a bar at a time is first known, if nothing delays it.
    pub fn known_time(&self, time: DateTime) -> DateTime {
        civil(self.known(micros(time))).unwrap_or(DateTime::MAX)
    }

    /// When a bar at a time (microseconds since 1970) is first known, if nothing delays it.
    pub(crate) fn known(&self, time: i64) -> i64 {
        let lag = i64::from(self.lag_minutes) * 60 * MICROS_A_SECOND;
        let close = if self.daily {
            let within = self.close_time.duration_since(Time::midnight()).as_micros();
            time - time.rem_euclid(MICROS_A_DAY) + i64::try_from(within).unwrap_or_default()
        } else if self.stamp == Stamp::Start {
            time + i64::from(self.bar_seconds) * MICROS_A_SECOND
        } else {
            time
        };
        close.saturating_add(lag)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::datetime;

    use super::*;

    #[test]
    fn a_daily_bar_is_known_at_the_close_and_one_within_the_day_when_it_ends() {
        let known = |timing: &Timing, time| civil(timing.known(micros(time)));
        let day = datetime(1969, 12, 30, 0, 0, 0, 0);
        let daily = Timing { lag_minutes: 30, ..Timing::default() };
        assert_eq!(known(&daily, day), Some(datetime(1969, 12, 30, 16, 30, 0, 0)));
        let minute = datetime(2020, 1, 2, 23, 59, 0, 0);
        let started = Timing { daily: false, bar_seconds: 60, ..Timing::default() };
        assert_eq!(known(&started, minute), Some(datetime(2020, 1, 3, 0, 0, 0, 0)));
        let ended = Timing { stamp: Stamp::End, ..started };
        assert_eq!(known(&ended, minute), Some(minute));
    }

    #[test]
    fn times_that_cannot_be_are_refused() {
        assert!(Timing { lag_minutes: 600_000, ..Timing::default() }.check().is_err());
        let unknown = Timing { daily: false, ..Timing::default() };
        assert!(unknown.check().is_err_and(|error| error.to_string().contains("--bar-minutes")));
        assert!(Timing { bar_seconds: 60, ..unknown }.check().is_ok());
    }
}
