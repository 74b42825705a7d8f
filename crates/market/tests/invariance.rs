//! What no bar outside a feature's look-back may change, over random panels and features.

use std::collections::BTreeMap;

use jiff::ToSpan;
use jiff::civil::{Date, date};
use market::{FeatureMatrix, FeatureSet, Panel, RowKey, RowRange, Universe, alpha158, compute, latest};
use proptest::prelude::*;

/// Expressions of every operator, beside those of Alpha158.
const OTHERS: [&str; 12] = [
    "Delta(Med($close,7),2)",
    "Var($close,9)*Count($volume,4)",
    "If($close>Ref($close,1),Min($close,3),Max($close,4))",
    "Power(Rank($volume,6),2)-Sign(Delta($close,1))",
    "Corr($close,Ref($volume,2),11)",
    "And($close>=Mean($close,5),Not($volume<=Ref($volume,1)))",
    "Or($close!=Ref($close,1),$volume==0)",
    "Mean(Std($close,5),8)/Resi($close,6)",
    "Slope(Rsquare($close,6),5)",
    "IdxMax($close,9)-IdxMin($volume,9)",
    "Less(Greater($close,$volume),Log(Abs(-$close)))",
    "Ref($close,13)",
];

fn panel(closes: &[Vec<Option<f64>>], volumes: &[Vec<Option<f64>>]) -> Panel {
    let days = closes[0].len();
    let dates = (0..days).map(|i| date(2020, 1, 1) + (i as i64).days()).collect();
    let instruments = (0..closes.len()).map(|i| format!("N{i}")).collect();
    let layout = |columns: &[Vec<Option<f64>>]| {
        (0..days)
            .flat_map(|day| columns.iter().map(move |c| c[day].unwrap_or(f64::NAN)))
            .collect::<Vec<f64>>()
    };
    let fields =
        BTreeMap::from([("close".to_owned(), layout(closes)), ("volume".to_owned(), layout(volumes))]);
    Panel::new(dates, instruments, fields).expect("the parts fit")
}

/// One to three instruments over 66 to 90 days, some bars missing, prices on a coarse grid so that ties occur.
fn panels() -> impl Strategy<Value = Panel> {
    (1usize..=3, 66usize..=90).prop_flat_map(|(instruments, days)| {
        let close = prop::option::weighted(0.95, (8u32..40).prop_map(|ticks| f64::from(ticks) * 0.125));
        let volume = prop::option::weighted(0.95, (0u32..1000).prop_map(f64::from));
        let columns = |value| prop::collection::vec(prop::collection::vec(value, days), instruments);
        (columns(close.boxed()), columns(volume.boxed()))
            .prop_map(|(closes, volumes)| panel(&closes, &volumes))
    })
}

fn sets() -> impl Strategy<Value = FeatureSet> {
    let mut known = alpha158::select(&["close", "volume"], None).expect("no family is asked for").included;
    known.extend(OTHERS.iter().enumerate().map(|(i, text)| (format!("OTHER{i}"), (*text).to_owned())));
    prop::sample::subsequence(known, 1..=12)
        .prop_map(|some| FeatureSet::new(some).expect("all are well formed"))
}

fn all(panel: &Panel, set: &FeatureSet) -> FeatureMatrix {
    compute(panel, set, &RowRange { dates: 0..panel.dates().len(), universe: Universe::all() })
        .expect("all fields are there")
}

/// The bits of each row, by day and symbol.
fn rows(panel: &Panel, matrix: &FeatureMatrix) -> BTreeMap<(Date, String), Vec<u32>> {
    let values = matrix.values.chunks(matrix.columns).map(|row| row.iter().map(|v| v.to_bits()).collect());
    let key = |key: &RowKey| (panel.dates()[key.date], panel.instruments()[key.instrument].clone());
    matrix.rows.iter().map(key).zip(values).collect()
}

/// The panel without its first bars.
fn without_first(panel: &Panel, days: usize) -> Panel {
    let width = panel.instruments().len();
    let fields = panel.field_names().into_iter().map(|name| {
        let values = panel.field(name).expect("it was named");
        (name.to_owned(), values[days * width..].to_vec())
    });
    Panel::new(panel.dates()[days..].to_vec(), panel.instruments().to_vec(), fields.collect())
        .expect("it fits")
}

/// The panel with its instruments in another order, under names that keep that order ascending.
fn permuted(panel: &Panel, order: &[usize]) -> Panel {
    let width = panel.instruments().len();
    let fields = panel.field_names().into_iter().map(|name| {
        let values = panel.field(name).expect("it was named");
        let moved = (0..values.len()).map(|cell| values[cell / width * width + order[cell % width]]);
        (name.to_owned(), moved.collect())
    });
    Panel::new(panel.dates().to_vec(), panel.instruments().to_vec(), fields.collect()).expect("it fits")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn later_bars_change_no_earlier_feature(panel in panels(), set in sets(), kept in 1usize..90) {
        let cut = panel.as_of(panel.dates()[kept.min(panel.dates().len()) - 1]);
        let mut before = rows(&panel, &all(&panel, &set));
        let last = *cut.dates().last().expect("one is kept");
        before.retain(|(date, _), _| *date <= last);
        // Where an instrument has no bar after the cut, neither has its calendar, so rows are the same set.
        prop_assert_eq!(rows(&cut, &all(&cut, &set)), before);
    }

    #[test]
    fn bars_older_than_the_look_back_change_nothing(panel in panels(), set in sets(), dropped in 1usize..30) {
        let full = rows(&panel, &all(&panel, &set));
        let cut = without_first(&panel, dropped);
        let found = rows(&cut, &all(&cut, &set));
        for (key, bits) in &found {
            prop_assert_eq!(full.get(key), Some(bits), "{:?}", key);
        }
        // Nothing that has its whole look-back is lost.
        for (instrument, symbol) in cut.instruments().iter().enumerate() {
            let newest = cut.dates().len() - 1;
            if cut.has_bar(0, instrument) && cut.has_bar(newest, instrument) && newest >= set.lookback_bars() {
                prop_assert!(found.contains_key(&(cut.dates()[newest], symbol.clone())));
            }
        }
    }

    #[test]
    fn one_row_is_the_same_row_of_many(panel in panels(), set in sets()) {
        let matrix = all(&panel, &set);
        for (key, values) in matrix.rows.iter().zip(matrix.values.chunks(matrix.columns)) {
            let alone = latest(&panel, &set, &Universe::all(), *key).expect("it is a row of many");
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
            prop_assert_eq!(bits(&alone), bits(values));
        }
    }

    #[test]
    fn instruments_do_not_see_each_other(panel in panels(), set in sets(), seed in any::<u64>()) {
        let width = panel.instruments().len();
        let order: Vec<usize> = (0..width).map(|i| (i + seed as usize % width) % width).collect();
        let moved = permuted(&panel, &order);
        let names = panel.instruments();
        let expected: BTreeMap<_, _> = rows(&panel, &all(&panel, &set));
        for ((date, symbol), bits) in rows(&moved, &all(&moved, &set)) {
            let place = names.iter().position(|name| *name == symbol).expect("names are the same");
            prop_assert_eq!(expected.get(&(date, names[order[place]].clone())), Some(&bits));
        }
    }
}

#[test]
fn rows_come_by_date_then_instrument_and_only_with_their_whole_look_back() {
    let closes = [vec![Some(1.0); 5], vec![None, Some(2.0), Some(2.0), None, Some(2.0)]];
    let made = panel(&closes, &[vec![Some(1.0); 5], vec![None; 5]]);
    let set =
        FeatureSet::new(vec![("R".to_owned(), "Ref($close,1)/$close".to_owned())]).expect("well formed");
    let matrix = all(&made, &set);
    let keys: Vec<(usize, usize)> = matrix.rows.iter().map(|key| (key.date, key.instrument)).collect();
    assert_eq!(keys, [(1, 0), (2, 0), (2, 1), (3, 0), (4, 0), (4, 1)]);
    assert!(matrix.values[5].is_nan(), "the bar before is missing");
    assert_eq!(matrix.values[..5], [1.0; 5]);
}

#[test]
fn a_row_that_cannot_be_is_refused_in_words() {
    let made = panel(&[vec![None, Some(1.0), Some(1.0), Some(1.0)]], &[vec![None; 4]]);
    let set = FeatureSet::new(vec![("R".to_owned(), "Ref($close,2)".to_owned())]).expect("well formed");
    let one = |instrument, date| latest(&made, &set, &Universe::all(), RowKey { date, instrument });
    let refusal = |date| one(0, date).expect_err("it is refused").to_string();
    assert_eq!(refusal(0), "N0 has no bar on 2020-01-01");
    assert_eq!(refusal(2), "N0 has 1 bars before 2020-01-03, but the features need 2; ask for a later date");
    assert!(one(0, 3).is_ok());
    assert!(refusal(4).contains("not within the panel's 0..4"));
    assert!(one(1, 3).is_err_and(|e| e.to_string().contains("instrument index 1")));
    let others = Universe::by_time(vec![true, true, true, false]);
    let outside = latest(&made, &set, &others, RowKey { date: 3, instrument: 0 });
    assert_eq!(outside.expect_err("it left").to_string(), "N0 is not in the universe on 2020-01-04");
}
