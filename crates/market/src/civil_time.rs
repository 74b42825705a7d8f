//! Civil days and times as counts since the start of 1970, as files keep them.

use jiff::civil::{Date, DateTime, Time};

pub(crate) const MICROS_A_SECOND: i64 = 1_000_000;
pub(crate) const MICROS_A_DAY: i64 = 86_400 * MICROS_A_SECOND;

/// Days of the proleptic Gregorian calendar, by Howard Hinnant's `days_from_civil`.
pub(crate) fn days_since_epoch(date: Date) -> i32 {
    let month = i32::from(date.month());
    let year = i32::from(date.year()) - i32::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let from_march = (month + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + i32::from(date.day()) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The day so many days after the start of 1970; `None` beyond the years -9999 to 9999.
pub(crate) fn from_epoch_days(days: i32) -> Option<Date> {
    const EPOCH: Date = jiff::civil::date(1970, 1, 1);
    EPOCH.checked_add(jiff::Span::new().try_days(days).ok()?).ok()
}

/// Microseconds of a civil time.
pub(crate) fn micros(time: DateTime) -> i64 {
    let clock = time.time();
    let seconds = i64::from(clock.hour()) * 3600 + i64::from(clock.minute()) * 60 + i64::from(clock.second());
    let within = seconds * MICROS_A_SECOND + i64::from(clock.subsec_nanosecond()) / 1000;
    i64::from(days_since_epoch(time.date())) * MICROS_A_DAY + within
}

/// The civil time so many microseconds after the start of 1970; `None` beyond the years -9999 to 9999.
pub(crate) fn civil(micros: i64) -> Option<DateTime> {
    let date = from_epoch_days(i32::try_from(micros.div_euclid(MICROS_A_DAY)).ok()?)?;
    let within = jiff::Span::new().try_microseconds(micros.rem_euclid(MICROS_A_DAY)).ok()?;
    date.to_datetime(Time::midnight()).checked_add(within).ok()
}

#[cfg(test)]
mod tests {
    use jiff::Unit;
    use jiff::civil::{date, datetime};

    use super::*;

    #[test]
    fn counts_of_days_agree_with_the_calendar_both_ways() {
        let epoch = date(1970, 1, 1);
        for day in [
            epoch,
            date(1969, 12, 31),
            date(2000, 2, 29),
            date(2100, 3, 1),
            date(-9999, 1, 1),
            date(9999, 12, 31),
            date(0, 2, 29),
        ] {
            let expected = epoch.until((Unit::Day, day)).map(|span| span.get_days());
            assert_eq!(expected.ok(), Some(days_since_epoch(day)), "{day}");
            assert_eq!(from_epoch_days(days_since_epoch(day)), Some(day));
        }
        assert_eq!(from_epoch_days(i32::MAX), None);
    }

    #[test]
    fn times_survive_to_the_microsecond() {
        for time in [datetime(1969, 12, 31, 23, 59, 59, 999_999_000), datetime(2020, 1, 2, 9, 30, 0, 1_000)] {
            assert_eq!(civil(micros(time)), Some(time));
        }
        assert_eq!(micros(datetime(1970, 1, 2, 0, 0, 1, 0)), MICROS_A_DAY + MICROS_A_SECOND);
        assert_eq!(civil(i64::MAX), None);
    }
}
