//! Cells to times: days, times within a day, instants in a zone.
//!
//! Times are civil times of the data set's zone. A text with an offset and a count since 1970 are instants: with
//! a zone they are brought to it; without one a text stands for the time it shows, and a count for UTC.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

const NANOS: i128 = 1_000_000_000;

/// How times are to be read.
#[derive(Debug, Clone, Default)]
pub(crate) struct TimeReader {
    /// What the user says they look like: `%d/%m/%Y`.
    format: Option<String>,
    zone: Option<TimeZone>,
}

/// A cell read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// It can be read in one way alone.
    At(DateTime),
    /// `a/b/year`, perhaps with a time: the other cells of the file say which is the month.
    Slashed { year: i16, a: i8, b: i8, time: Time },
}

impl TimeReader {
    /// # Errors
    /// What is wrong with the zone's name.
    pub(super) fn new(format: Option<&str>, zone: Option<&str>) -> Result<Self, String> {
        let zone = zone
            .map(|name| {
                TimeZone::get(name).map_err(|_| {
                    format!(
                        "unknown time zone \"{name}\"; write it as the tz database does: America/New_York"
                    )
                })
            })
            .transpose()?;
        Ok(Self { format: format.map(str::to_owned), zone })
    }

    /// Reads a text.
    pub(super) fn text(&self, text: &str) -> Result<Moment, String> {
        let text = text.trim_ascii();
        if let Some(format) = &self.format {
            return self.formatted(text, format).map(Moment::At);
        }
        if let Some(date) = plain_date(text.as_bytes()) {
            return Ok(Moment::At(date.to_datetime(Time::midnight())));
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.digits(text).map(Moment::At);
        }
        self.written(text).ok_or_else(|| {
            format!("\"{text}\" is not a date; write it as 2020-01-31, or say how it is written with --date-format")
        })
    }

    /// An instant, in nanoseconds since 1970.
    pub(super) fn instant(&self, nanos: i128) -> Result<DateTime, String> {
        let instant = Timestamp::from_nanosecond(nanos).map_err(|_| "the date is out of range".to_owned())?;
        Ok(self.zone.as_ref().unwrap_or(&TimeZone::UTC).to_datetime(instant))
    }

    fn formatted(&self, text: &str, format: &str) -> Result<DateTime, String> {
        let refuse =
            |error: &dyn std::fmt::Display| format!("\"{text}\" is not written as {format}: {error}");
        let parsed = strtime::parse(format, text).map_err(|error| refuse(&error))?;
        if parsed.offset().is_some() || parsed.iana_time_zone().is_some() {
            let instant = parsed.to_timestamp().map_err(|error| refuse(&error))?;
            return self.instant(instant.as_nanosecond());
        }
        let date = parsed.to_date().map_err(|error| refuse(&error))?;
        Ok(date.to_datetime(parsed.to_time().unwrap_or(Time::midnight())))
    }

    /// `20200131`, or seconds, milli-, micro- or nanoseconds since 1970.
    fn digits(&self, text: &str) -> Result<DateTime, String> {
        let unit = match text.len() {
            8 => {
                let dashed = format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..]);
                let date = plain_date(dashed.as_bytes());
                return date
                    .map(|date| date.to_datetime(Time::midnight()))
                    .ok_or_else(|| format!("\"{text}\" is not a date; write it as 2020-01-31"));
            }
            9 | 10 => NANOS,
            12 | 13 => NANOS / 1000,
            15 | 16 => NANOS / 1_000_000,
            18 | 19 => 1,
            _ => {
                return Err(format!(
                    "\"{text}\" is neither a date (20200131) nor seconds, milli-, micro- or nanoseconds since 1970"
                ));
            }
        };
        let count: i128 = text.parse().map_err(|_| format!("\"{text}\" is not a date"))?;
        self.instant(count * unit)
    }

    fn written(&self, text: &str) -> Option<Moment> {
        let split = text.find(['T', ' ']).unwrap_or(text.len());
        let (day, rest) = (&text[..split], text[split..].trim_start_matches(['T', ' ']));
        let moment = written_day(day)?;
        if rest.is_empty() {
            return Some(moment);
        }
        let (clock, offset) = match rest.find(['Z', 'z', '+', '-']) {
            Some(at) => (rest[..at].trim_end(), &rest[at..]),
            None => (rest, ""),
        };
        let time = clock_time(clock)?;
        let at = match moment {
            Moment::At(at) => at,
            // With an offset it could be brought to a zone only if the day were known.
            Moment::Slashed { year, a, b, .. } => {
                return offset.is_empty().then_some(Moment::Slashed { year, a, b, time });
            }
        };
        let civil = at.date().to_datetime(time);
        let (Some(zone), false) = (&self.zone, offset.is_empty()) else {
            return (offset.is_empty() || offset_seconds(offset).is_some()).then_some(Moment::At(civil));
        };
        let instant = TimeZone::UTC.to_timestamp(civil).ok()?;
        let shifted = instant.checked_sub(jiff::SignedDuration::from_secs(offset_seconds(offset)?)).ok()?;
        Some(Moment::At(zone.to_datetime(shifted)))
    }
}

impl Moment {
    /// The time, if the month comes first or not.
    pub(crate) fn resolve(self, month_first: bool) -> Option<DateTime> {
        match self {
            Self::At(time) => Some(time),
            Self::Slashed { year, a, b, time } => {
                let (month, day) = if month_first { (a, b) } else { (b, a) };
                Date::new(year, month, day).ok().map(|date| date.to_datetime(time))
            }
        }
    }
}

/// `2020-01-31` or `2020/01/31`, checked and nothing else.
fn plain_date(text: &[u8]) -> Option<Date> {
    let [y1, y2, y3, y4, s1, m1, m2, s2, d1, d2] = *text else { return None };
    if s1 != s2 || (s1 != b'-' && s1 != b'/') {
        return None;
    }
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i16::from(byte - b'0'));
    let year = digit(y1)? * 1000 + digit(y2)? * 100 + digit(y3)? * 10 + digit(y4)?;
    let month = digit(m1)? * 10 + digit(m2)?;
    let day = digit(d1)? * 10 + digit(d2)?;
    // Two digits fit.
    Date::new(year, month as i8, day as i8).ok()
}

/// A day in one of the shapes that cannot be misread, or with slashes.
fn written_day(day: &str) -> Option<Moment> {
    if let Some(date) = plain_date(day.as_bytes()) {
        return Some(Moment::At(date.to_datetime(Time::midnight())));
    }
    let compact = day.len() == 8 && day.bytes().all(|byte| byte.is_ascii_digit());
    if compact {
        let dashed = format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]);
        return plain_date(dashed.as_bytes()).map(|date| Moment::At(date.to_datetime(Time::midnight())));
    }
    let parts = |separator: char| -> Option<(i8, i8, i16)> {
        let mut parts = day.split(separator);
        let (a, b, year) = (parts.next()?, parts.next()?, parts.next()?);
        let digits = |text: &str, most| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        let sound =
            parts.next().is_none() && digits(a, 2) && digits(b, 2) && year.len() == 4 && digits(year, 4);
        if !sound {
            return None;
        }
        Some((a.parse().ok()?, b.parse().ok()?, year.parse().ok()?))
    };
    if let Some((day, month, year)) = parts('.') {
        return Date::new(year, month, day).ok().map(|date| Moment::At(date.to_datetime(Time::midnight())));
    }
    let (a, b, year) = parts('/')?;
    match (Date::new(year, a, b), Date::new(year, b, a)) {
        (Err(_), Err(_)) => None,
        _ => Some(Moment::Slashed { year, a, b, time: Time::midnight() }),
    }
}

/// `09:30`, `09:30:15.5` or `093015`.
pub(super) fn clock_time(text: &str) -> Option<Time> {
    if text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!("{}:{}:{}", &text[..2], &text[2..4], &text[4..]).parse().ok();
    }
    let sound = text.contains(':') && text.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'.');
    sound.then(|| text.parse().ok()).flatten()
}

/// Seconds east of UTC: `Z`, `+05`, `+0530` or `-05:00`.
fn offset_seconds(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let digits: String = rest.chars().filter(|c| *c != ':').collect();
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let hours: i64 = digits[..2].parse().ok()?;
    let minutes: i64 = if digits.len() == 4 { digits[2..].parse().ok()? } else { 0 };
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use jiff::civil::{date, datetime};

    use super::*;

    fn read(text: &str, zone: Option<&str>) -> Result<Moment, String> {
        TimeReader::new(None, zone).expect("the zone is known").text(text)
    }

    #[test]
    fn days_are_read_in_the_shapes_that_cannot_be_misread() {
        let day = date(2020, 1, 31).at(0, 0, 0, 0);
        for text in [
            "2020-01-31",
            "2020/01/31",
            "20200131",
            " 2020-01-31 ",
            "2020-01-31 00:00:00",
            "2020-01-31T00:00:00Z",
            "2020-01-31 00:00:00+00:00",
            "2020-01-31T00:00:00-05:00",
            "31.01.2020",
            "1580428800",
            "1580428800000",
        ] {
            assert_eq!(read(text, None), Ok(Moment::At(day)), "{text}");
        }
        for text in [
            "",
            "2020-1-31",
            "13/13/2020",
            "2020-01-31x",
            "2020-01",
            "12345678",
            "2020-02-30",
            "1/2/20",
            "2020-01-31 25:00",
            "2020-01-31 10:00+99",
            "12345",
        ] {
            assert!(read(text, None).is_err(), "{text}");
        }
    }

    #[test]
    fn instants_are_brought_to_the_zone() {
        let new_york = Some("America/New_York");
        let at = |hour, minute| Ok(Moment::At(datetime(2020, 7, 1, hour, minute, 0, 0)));
        assert_eq!(read("2020-07-01T13:30:00Z", new_york), at(9, 30));
        assert_eq!(read("2020-07-01 04:00:00+00:00", new_york), at(0, 0));
        assert_eq!(read("2020-07-01T13:30:00+0530", new_york), at(4, 0));
        assert_eq!(read("1593610200", new_york), at(9, 30));
        assert_eq!(read("2020-07-01 09:30", new_york), at(9, 30), "no offset: the zone's own time");
        assert!(TimeReader::new(None, Some("Mars/Olympus")).is_err());
    }

    #[test]
    fn a_day_with_slashes_waits_for_the_rest_of_the_file() {
        assert_eq!(
            read("1/31/2020", None).map(|m| m.resolve(true)),
            Ok(Some(date(2020, 1, 31).at(0, 0, 0, 0)))
        );
        assert_eq!(read("1/31/2020", None).map(|m| m.resolve(false)), Ok(None));
        let midnight = Time::midnight();
        assert_eq!(read("03/04/2020", None), Ok(Moment::Slashed { year: 2020, a: 3, b: 4, time: midnight }));
        assert_eq!(
            read("4/1/2015 16:00:00", None).map(|m| m.resolve(true)),
            Ok(Some(date(2015, 4, 1).at(16, 0, 0, 0)))
        );
        assert!(read("4/1/2015 16:00:00Z", None).is_err(), "an instant whose day is not known");
    }

    #[test]
    fn a_format_is_followed_to_the_letter() {
        let reader = TimeReader::new(Some("%d %b %Y"), None).expect("no zone");
        assert_eq!(reader.text("02 Jan 2020"), Ok(Moment::At(date(2020, 1, 2).at(0, 0, 0, 0))));
        assert!(reader.text("2020-01-02").is_err_and(|error| error.contains("not written as %d %b %Y")));
    }
}
