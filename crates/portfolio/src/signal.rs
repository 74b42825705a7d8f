//! The signal table: one score per date and instrument. How scores are made is somebody else's business.

use std::collections::BTreeSet;

use jiff::civil::Date;

use crate::Error;

/// Scores of a universe over time: the higher, the better the expected return. NaN is "no score".
#[derive(Debug, Clone, PartialEq)]
pub struct SignalTable {
    dates: Vec<Date>,
    instruments: Vec<String>,
    scores: Vec<f64>,
}

impl SignalTable {
    /// Makes a table; `scores` is date-major: `scores[date * instruments + instrument]`.
    ///
    /// The dates should be every trading date of the window: the backtest takes consecutive dates for
    /// consecutive trading days.
    ///
    /// # Errors
    /// If the size does not fit, dates do not strictly increase, an instrument repeats, or a score is infinite.
    pub fn new(dates: Vec<Date>, instruments: Vec<String>, scores: Vec<f64>) -> Result<SignalTable, Error> {
        check_length("the score table", dates.len() * instruments.len(), scores.len())?;
        if let Some(index) = (1..dates.len()).find(|&index| dates[index] <= dates[index - 1]) {
            return Err(Error::DateOrder { date: dates[index], index });
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = instruments.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(Error::DuplicateInstrument(twice.clone()));
        }
        let table = SignalTable { dates, instruments, scores };
        if let Some(at) = table.scores.iter().position(|score| score.is_infinite()) {
            let (date, instrument) = table.name_of(at);
            return Err(Error::InfiniteScore { date, instrument, score: table.scores[at] });
        }
        Ok(table)
    }

    /// The decision dates.
    pub fn dates(&self) -> &[Date] {
        &self.dates
    }

    /// The instruments, in the order that breaks ties.
    pub fn instruments(&self) -> &[String] {
        &self.instruments
    }

    /// All scores, date-major.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// The scores of one date, in the order of the instruments.
    pub(crate) fn row(&self, date: usize) -> &[f64] {
        &self.scores[self.range(date)]
    }

    /// Where the values of one date lie in a series of the table's layout.
    pub(crate) fn range(&self, date: usize) -> std::ops::Range<usize> {
        let names = self.instruments.len();
        date * names..(date + 1) * names
    }

    /// Checks a return table of this layout: its size, and that every return is NaN or finite and >= -1.
    pub(crate) fn check_returns(&self, returns: &[f64]) -> Result<(), Error> {
        check_length("the return table", self.scores.len(), returns.len())?;
        match returns.iter().position(|value| value.is_infinite() || *value < -1.0) {
            None => Ok(()),
            Some(at) => {
                let (date, instrument) = self.name_of(at);
                Err(Error::ImpossibleReturn { date, instrument, value: returns[at] })
            }
        }
    }

    /// Checks that `groups` groups can be formed from the instruments.
    pub(crate) fn check_groups(&self, groups: usize) -> Result<(), Error> {
        let instruments = self.instruments.len();
        if (2..=instruments).contains(&groups) { Ok(()) } else { Err(Error::Groups { groups, instruments }) }
    }

    fn name_of(&self, at: usize) -> (Date, String) {
        let names = self.instruments.len();
        (self.dates[at / names], self.instruments[at % names].clone())
    }
}

pub(crate) fn check_length(what: &'static str, expected: usize, got: usize) -> Result<(), Error> {
    if expected == got { Ok(()) } else { Err(Error::Length { what, expected, got }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let days = vec![date(2020, 1, 2), date(2020, 1, 3)];
        let short = SignalTable::new(days.clone(), names(&["A", "B"]), vec![0.0; 3]);
        assert_eq!(short, Err(Error::Length { what: "the score table", expected: 4, got: 3 }));

        let unsorted = SignalTable::new(vec![days[1], days[0]], names(&["A"]), vec![0.0; 2]);
        assert_eq!(unsorted, Err(Error::DateOrder { date: days[0], index: 1 }));

        let twice = SignalTable::new(days.clone(), names(&["A", "A"]), vec![0.0; 4]);
        assert_eq!(twice, Err(Error::DuplicateInstrument("A".to_owned())));

        let infinite = SignalTable::new(days, names(&["A", "B"]), vec![0.0, 1.0, f64::NAN, f64::INFINITY]);
        let text = infinite.expect_err("infinite").to_string();
        assert!(text.contains("\"B\" on 2020-01-03 is inf"), "{text}");
    }

    #[test]
    fn refuses_returns_below_minus_one_and_accepts_missing_ones() {
        let table =
            SignalTable::new(vec![date(2020, 1, 2)], names(&["A", "B"]), vec![1.0, 2.0]).expect("table");
        assert_eq!(table.check_returns(&[f64::NAN, -1.0]), Ok(()));
        let error = table.check_returns(&[0.1, -1.01]).expect_err("below -1").to_string();
        assert!(error.contains("\"B\"") && error.contains("-1.01"), "{error}");
        assert!(table.check_returns(&[0.1]).is_err());
    }

    #[test]
    fn groups_must_fit_the_universe() {
        let table =
            SignalTable::new(vec![date(2020, 1, 2)], names(&["A", "B"]), vec![1.0, 2.0]).expect("table");
        assert_eq!(table.check_groups(2), Ok(()));
        assert_eq!(table.check_groups(1), Err(Error::Groups { groups: 1, instruments: 2 }));
        assert_eq!(table.check_groups(3), Err(Error::Groups { groups: 3, instruments: 2 }));
    }
}
