//! Prices without the jumps of splits and dividends, forward from the first bar.
//!
//! An instrument's factor is 1 at its first bar. On the ex-date of a split of s shares for one it is multiplied by
//! s, on that of a dividend d by c / (c - d), c the close before: the factor of the return with dividends
//! reinvested. Prices are multiplied by it and volume is divided by the splits alone. What happens later changes
//! no earlier value, to the bit; a source that adjusts backwards rewrites the past at every dividend.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::history::FACTOR;
use super::tables::Action;
use crate::{Error, Result};

const PRICES: [&str; 5] = ["open", "high", "low", "close", "vwap"];
const VOLUME: &str = "volume";

/// Fields of a panel to be adjusted: time-major.
pub(crate) type Fields = BTreeMap<String, Vec<f64>>;

/// Adjusts by the column of factors, which becomes 1 at each instrument's first bar; a bar without a factor has
/// that of the bar before.
pub(crate) fn by_column(fields: &mut Fields, instruments: usize) {
    let Some(mut factors) = fields.remove(FACTOR) else { return };
    for instrument in 0..instruments {
        let mut first = f64::NAN;
        let mut last = 1.0;
        for factor in factors.iter_mut().skip(instrument).step_by(instruments) {
            if !factor.is_nan() {
                if first.is_nan() {
                    first = *factor;
                }
                last = *factor / first;
            }
            *factor = last;
        }
    }
    scale(fields, &factors, &factors);
    keep(fields, factors);
}

/// Adjusts by splits and dividends, ordered by symbol and date.
pub(crate) fn by_actions(
    fields: &mut Fields,
    dates: &[Date],
    instruments: &[String],
    actions: &[&Action],
) -> Result<()> {
    let width = instruments.len();
    let mut prices = vec![1.0; dates.len() * width];
    let mut shares = vec![1.0; dates.len() * width];
    for (instrument, symbol) in instruments.iter().enumerate() {
        let from = actions.partition_point(|action| action.symbol < *symbol);
        let mut own = actions[from..].iter().take_while(|action| action.symbol == *symbol).peekable();
        let close = fields.get("close");
        let (mut price, mut share, mut before) = (1.0, 1.0, f64::NAN);
        for (time, date) in dates.iter().enumerate() {
            let cell = time * width + instrument;
            while let Some(action) = own.next_if(|action| action.date <= *date) {
                // Before its first bar there is nothing to adjust.
                if before.is_nan() {
                    continue;
                }
                if action.dividend > 0.0 {
                    price *= reinvested(action, before)?;
                }
                price *= action.split;
                share *= action.split;
                before /= action.split;
            }
            prices[cell] = price;
            shares[cell] = share;
            let now = close.map_or(f64::NAN, |close| close[cell]);
            if !now.is_nan() {
                before = now;
            }
        }
    }
    scale(fields, &prices, &shares);
    keep(fields, prices);
    Ok(())
}

fn reinvested(action: &Action, close: f64) -> Result<f64> {
    if action.dividend < close {
        return Ok(close / (close - action.dividend));
    }
    Err(Error::Dataset(format!(
        "the dividend {} of {} on {} is not below the close before it, {close}; prices and dividends must be in the \
         same currency, neither adjusted for splits",
        action.dividend, action.symbol, action.date
    )))
}

fn scale(fields: &mut Fields, prices: &[f64], shares: &[f64]) {
    for name in PRICES {
        for (value, factor) in fields.get_mut(name).into_iter().flatten().zip(prices) {
            *value *= factor;
        }
    }
    for (value, factor) in fields.get_mut(VOLUME).into_iter().flatten().zip(shares) {
        *value /= factor;
    }
}

/// Keeps the factor as a field, where there is a bar.
fn keep(fields: &mut Fields, mut factors: Vec<f64>) {
    for (cell, factor) in factors.iter_mut().enumerate() {
        if fields.values().all(|values| values[cell].is_nan()) {
            *factor = f64::NAN;
        }
    }
    fields.insert(FACTOR.to_owned(), factors);
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::super::tables::start_of;
    use super::*;

    fn fields(close: &[f64], volume: &[f64]) -> Fields {
        BTreeMap::from([("close".to_owned(), close.to_vec()), ("volume".to_owned(), volume.to_vec())])
    }

    fn action(day: i8, split: f64, dividend: f64) -> Action {
        let date = date(2020, 1, day);
        Action { symbol: "A".to_owned(), date, split, dividend, known: start_of(date) }
    }

    #[test]
    fn a_split_scales_what_follows_and_a_dividend_is_reinvested() {
        let dates: Vec<Date> = (1..=5).map(|day| date(2020, 1, day)).collect();
        let mut found = fields(&[10.0, 12.0, f64::NAN, 6.0, 5.0], &[100.0, 100.0, f64::NAN, 200.0, 200.0]);
        // 2-for-1 on the 3rd, where there is no bar; 1.00 of dividend on the 5th; one before the first bar.
        let actions = [action(1, 3.0, 0.0), action(3, 2.0, 0.0), action(5, 1.0, 1.0)];
        by_actions(&mut found, &dates, &["A".to_owned()], &actions.iter().collect::<Vec<_>>())
            .expect("sound");
        let close = &found["close"];
        assert_eq!((close[0], close[1], close[3], close[4]), (10.0, 12.0, 12.0, 5.0 * 2.0 * (6.0 / 5.0)));
        assert_eq!(found["volume"][3..], [100.0, 100.0]);
        assert!(found["factor"][2].is_nan(), "no bar, no factor");
        assert_eq!(found["factor"][3], 2.0);
    }

    #[test]
    fn a_later_action_changes_no_earlier_value() {
        let dates: Vec<Date> = (1..=4).map(|day| date(2020, 1, day)).collect();
        let raw = fields(&[10.0, 12.0, 11.0, 6.0], &[1.0, 2.0, 3.0, 4.0]);
        let adjusted = |actions: &[Action]| {
            let mut found = raw.clone();
            let actions: Vec<&Action> = actions.iter().collect();
            by_actions(&mut found, &dates, &["A".to_owned()], &actions).expect("sound");
            found
        };
        let early = adjusted(&[action(2, 1.0, 0.5)]);
        let late = adjusted(&[action(2, 1.0, 0.5), action(4, 2.0, 0.25)]);
        for name in ["close", "volume", "factor"] {
            assert_eq!(early[name][..3], late[name][..3], "{name}");
            assert_ne!(early[name][3], late[name][3], "{name}");
        }
    }

    #[test]
    fn a_dividend_beyond_the_price_is_refused() {
        let dates: Vec<Date> = (1..=2).map(|day| date(2020, 1, day)).collect();
        let mut found = fields(&[10.0, 12.0], &[1.0, 1.0]);
        let error = by_actions(&mut found, &dates, &["A".to_owned()], &[&action(2, 1.0, 10.0)]);
        assert!(error.is_err_and(|error| error.to_string().contains("not below the close before it, 10")));
    }

    #[test]
    fn a_column_of_factors_begins_at_one() {
        let mut found = fields(&[10.0, 20.0, f64::NAN], &[4.0, 4.0, f64::NAN]);
        found.insert(FACTOR.to_owned(), vec![0.25, 0.5, f64::NAN]);
        by_column(&mut found, 1);
        assert_eq!(found["close"][..2], [10.0, 40.0]);
        assert_eq!(found["volume"][..2], [4.0, 2.0]);
        assert_eq!(found["factor"][..2], [1.0, 2.0]);
        assert!(found["factor"][2].is_nan());
    }
}
