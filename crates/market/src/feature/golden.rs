//! Alpha158 against pandas, value by value, from the first bar on: `tests/alpha158/make.py` makes the numbers.

use std::collections::BTreeMap;

use jiff::ToSpan;
use jiff::civil::date;
use serde::Deserialize;

use super::*;
use crate::set;

/// Relative difference allowed; below `SMALL` it counts as if the value were that large.
const TOLERANCE: f64 = 1e-9;
const SMALL: f64 = 1e-3;

#[derive(Deserialize)]
struct Golden {
    rows: Vec<usize>,
    instruments: Vec<Instrument>,
}

#[derive(Deserialize)]
struct Instrument {
    bars: BTreeMap<String, Vec<Option<f64>>>,
    features: BTreeMap<String, Vec<Option<f64>>>,
}

impl Instrument {
    fn panel(&self) -> Panel {
        let known = |values: &Vec<Option<f64>>| values.iter().map(|v| v.unwrap_or(f64::NAN)).collect();
        let fields: BTreeMap<String, Vec<f64>> =
            self.bars.iter().map(|(name, values)| (name.clone(), known(values))).collect();
        let dates = (0..fields["close"].len()).map(|i| date(2020, 1, 1) + (i as i64).days()).collect();
        Panel::new(dates, vec!["A".to_owned()], fields).expect("the bars fit")
    }

    /// Computes an expression from the first bar on and compares it with what pandas says of a feature.
    fn compare(&self, rows: &[usize], feature: &str, text: &str) -> Result<(), String> {
        let panel = self.panel();
        let expression = Expression::parse(text).map_err(|error| error.to_string())?;
        let program = Program::new([expression.root()]);
        let series = Series::new(&panel, 0, &[]).ok_or("the instrument has bars")?;
        let mut found = Vec::new();
        Evaluator::default()
            .run(program.plan(), &series, 0..series.len(), |_, values| found.extend_from_slice(values))
            .map_err(|error| error.to_string())?;
        for (row, expected) in rows.iter().zip(&self.features[feature]) {
            let same = match expected {
                None => !found[*row].is_finite(),
                Some(expected) => (found[*row] - expected).abs() <= TOLERANCE * expected.abs().max(SMALL),
            };
            if !same {
                return Err(format!("{feature} at bar {row}: {} but pandas has {expected:?}", found[*row]));
            }
        }
        Ok(())
    }
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../tests/alpha158/golden.json")).expect("the file is as made")
}

#[test]
fn every_feature_agrees_with_pandas_on_every_bar() {
    let golden = golden();
    let selection = set::select("alpha158", &["close", "high", "low", "open", "volume", "vwap"], None)
        .expect("no family");
    assert_eq!(selection.included.len(), golden.instruments[0].features.len());
    for instrument in &golden.instruments {
        for (feature, text) in &selection.included {
            instrument.compare(&golden.rows, feature, text).expect(text);
        }
    }
}

#[test]
fn a_wrong_reading_of_an_operator_is_noticed() {
    let golden = golden();
    for (feature, wrong) in [
        ("ROC5", "Ref($close,4)/$close"),
        ("STD5", "Std($close,5)*Power(0.8,0.5)/$close"),
        ("RSQR5", "Power(Corr($close,$volume,5),2)"),
        ("RESI5", "($close-Mean($close,5))/$close"),
        ("QTLU5", "Quantile($close,5,0.75)/$close"),
        ("RANK5", "(Rank($close,5)*5-1)/4"),
        ("IMAX5", "(6-IdxMax($high,5))/5"),
        ("CNTP5", "Mean(If(Ref($close,1)>0,$close>Ref($close,1),Ref($close,1)),5)"),
        ("SUMP5", "Sum($close-Ref($close,1)>0,5)/(Sum(Abs($close-Ref($close,1)),5)+1e-12)"),
        ("MA60", "Mean($close,59)/$close"),
    ] {
        for instrument in &golden.instruments {
            assert!(instrument.compare(&golden.rows, feature, wrong).is_err(), "{feature} = {wrong}");
        }
    }
}
