//! Triple barriers, and the volatility that sets them.

use super::{LabelConfig, Later};
use crate::feature::cells;
use crate::{Error, Expression, Panel, Result, Universe};

const DOWN: u32 = 0;
const FLAT: u32 = 1;
const UP: u32 = 2;

/// The standard deviation (n - 1) of so many one-bar returns up to each bar.
pub(super) fn volatility(panel: &Panel, bars: usize) -> Result<Vec<f64>> {
    let expression = Expression::parse(&format!("Std($close/Ref($close,1)-1,{bars})"))?;
    Ok(cells(panel, &Universe::all(), &[&expression])?.remove(0))
}

/// The return from the next close to the one that touches a barrier, or to the last that counts.
pub(super) fn returns(panel: &Panel, config: &LabelConfig) -> Result<Later> {
    let (Some(upper), Some(lower), Some(max_bars)) = (config.upper, config.lower, config.max_bars) else {
        return Err(Error::Label("a triple barrier needs label.upper, lower and max_bars".to_owned()));
    };
    let close = panel
        .field("close")
        .ok_or_else(|| Error::Label("a triple barrier needs closes, which the data set lacks".to_owned()))?;
    let width = panel.instruments().len();
    let volatility = config.volatility_bars.map(|bars| volatility(panel, bars)).transpose()?;
    let mut later = Events {
        returns: vec![f64::NAN; close.len()],
        ends: (0..close.len()).map(|cell| cell / width.max(1)).collect(),
        touched: vec![FLAT; close.len()],
    };
    for cell in 0..close.len() {
        let width_of_barrier = volatility.as_ref().map_or(1.0, |volatility| volatility[cell]);
        let barriers =
            Barriers { upper: upper * width_of_barrier, lower: lower * width_of_barrier, max_bars };
        if !(barriers.upper.is_finite() && barriers.upper > 0.0) {
            continue;
        }
        let path = close.iter().skip(cell + width).step_by(width.max(1)).take(max_bars + 1);
        if let Some((earned, bars, class)) = barriers.follow(path) {
            later.returns[cell] = earned;
            later.ends[cell] = cell / width + bars;
            later.touched[cell] = class;
        }
    }
    let Events { returns, ends, touched } = later;
    Ok(Later { returns, end_of: Box::new(move |cell| ends[cell]), touched, horizon_bars: 1 + max_bars })
}

struct Events {
    returns: Vec<f64>,
    ends: Vec<usize>,
    touched: Vec<u32>,
}

struct Barriers {
    upper: f64,
    lower: f64,
    max_bars: usize,
}

impl Barriers {
    /// Return, bars from the decision to the end, and class, along the closes from the next one on; `None` while
    /// the end is not known, or if there was nothing to buy.
    fn follow<'a>(&self, mut path: impl Iterator<Item = &'a f64>) -> Option<(f64, usize, u32)> {
        let entry = *path.next()?;
        if entry.is_nan() {
            return None;
        }
        let (mut bars, mut earned) = (0, f64::NAN);
        for close in path {
            bars += 1;
            if close.is_nan() {
                continue;
            }
            earned = close / entry - 1.0;
            let class = match earned {
                earned if earned >= self.upper => UP,
                earned if earned <= -self.lower => DOWN,
                _ => continue,
            };
            return Some((earned, bars + 1, class));
        }
        (bars == self.max_bars && !earned.is_nan()).then_some((earned, bars + 1, FLAT))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::ToSpan;
    use jiff::civil::date;

    use super::super::{LabelKind, label};
    use super::*;

    fn labels(close: &[f64], config: &LabelConfig) -> super::super::Labels {
        let dates = (0..close.len()).map(|i| date(2020, 1, 1) + (i as i64).days()).collect();
        let fields = BTreeMap::from([("close".to_owned(), close.to_vec())]);
        let panel = Panel::new(dates, vec!["A".to_owned()], fields).expect("it fits");
        label(&panel, &Universe::all(), config).expect("it is well formed")
    }

    fn config() -> LabelConfig {
        LabelConfig {
            kind: LabelKind::TripleBarrier,
            upper: Some(0.1),
            lower: Some(0.05),
            max_bars: Some(3),
            ..LabelConfig::default()
        }
    }

    #[test]
    fn what_is_touched_first_decides_and_says_when_it_was_known() {
        //                    0      1      2      3     4      5      6
        let found = labels(&[50.0, 100.0, 104.0, 111.0, 90.0, 100.0, 101.0], &config());
        // Bought at 100: the upper barrier is touched on day 3. Bought at 104: 111 is no 10 %, 90 is 5 % down.
        assert_eq!(found.classes[..3], [Some(2), Some(0), Some(0)]);
        assert!(
            (found.returns[0] - 0.11).abs() < 1e-12
                && (found.returns[1] - (90.0 / 104.0 - 1.0)).abs() < 1e-12
        );
        assert_eq!(found.ends[..3], [3, 4, 4]);
        assert_eq!(found.horizon_bars, 4);
        // Bought at 90 on day 4: 100 is 11 % up. Bought at 100 on day 5: not known yet.
        assert_eq!((found.classes[3], found.classes[4]), (Some(2), None));
    }

    #[test]
    fn without_a_touch_the_last_bar_counts_and_missing_bars_touch_nothing() {
        let found = labels(&[100.0, 100.0, 101.0, f64::NAN, 102.0, 103.0], &config());
        assert_eq!((found.classes[0], found.ends[0]), (Some(1), 4));
        assert!((found.returns[0] - 0.02).abs() < 1e-12);
        assert!(found.returns[2].is_nan(), "there was no close to buy at");
    }

    #[test]
    fn barriers_follow_the_volatility_known_at_the_bar() {
        let close = [100.0, 101.0, 100.0, 101.0, 100.0, 102.5, 100.0, 100.0];
        let wide = LabelConfig { volatility_bars: Some(3), upper: Some(2.0), lower: Some(5.0), ..config() };
        let found = labels(&close, &wide);
        assert!(found.returns[0].is_nan(), "no volatility yet");
        // One-bar returns of about 1 % deviate by about 1.15 %: 2.5 % up is more than twice that.
        assert_eq!((found.classes[3], found.ends[3]), (Some(2), 5));
    }

    #[test]
    fn changing_what_comes_after_the_end_changes_no_label() {
        let mut close = vec![100.0, 100.0, 104.0, 111.0, 90.0, 100.0, 101.0];
        let before = labels(&close, &config());
        close[4] = 300.0;
        let after = labels(&close, &config());
        assert_eq!((before.returns[0], before.classes[0]), (after.returns[0], after.classes[0]));
        assert_ne!(before.classes[1], after.classes[1], "it ended later");
    }
}
