//! What no bar outside a feature's look-back may change, over random panels and features.

use std::collections::BTreeMap;

use jiff::ToSpan;
use jiff::civil::{Date, date};
use market::{
    FeatureMatrix, FeatureSet, FeatureStream, Panel, RowKey, RowRange, StreamConfig, Universe, compute,
    latest, set,
};
use proptest::prelude::*;

/// Expressions of every operator of finite look-back within an instrument, beside those of Alpha158.
const OTHERS: [&str; 18] = [
    "Skew($close,9)-Kurt($volume,12)",
    "Mad($close,5)*Cov($close,$volume,8)",
    "WMA($close,6)/WeightedMean($close,6)",
    "R2($close,10)+Pearson($close,$volume,7)",
    "Std($close,3)-Var($volume,33)",
    "Mean(Ref(Ref($close,-2),3),4)",
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

/// Expressions that look back to the first bar.
const FROM_THE_FIRST_BAR: [&str; 7] = [
    "EMA($close,0)-Std($volume,0.4)",
    "EMA($close,12)-EMA($close,26)",
    "Mean($volume,0.2)/Mean($volume,0)",
    "Std($close,0)+Max($close,0)-IdxMin($close,0)",
    "Rank($close,0)*Quantile($volume,0,0.3)",
    "Ref($close,0)/$close+Delta($close,0)",
    "Corr($close,$volume,0)+Slope($close,0)-Rsquare($close,0)",
];

/// Expressions across instruments.
const ACROSS: [&str; 7] = [
    "$volume-ChangeInstrument('N0',Ref($volume,2))",
    "CSRank(Mean($close,5))-CSZScore($volume)",
    "Mean(CSRank($close),5)",
    "CSRank(Mean(CSDemean($close),5)+Mad($volume,4))",
    "CSNeutralize($close/Ref($close,1),$sector)",
    "CSFill(Std($close,3))+CSRobustZScore($close)",
    "$close/Mask(Mean($close,3),N0)",
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
    let has_bar = |cell: usize| {
        let (day, instrument) = (cell / closes.len(), cell % closes.len());
        closes[instrument][day].is_some() || volumes[instrument][day].is_some()
    };
    let sector = (0..days * closes.len())
        .map(|cell| if has_bar(cell) { (cell % closes.len() / 2) as f64 } else { f64::NAN });
    let fields = BTreeMap::from([
        ("close".to_owned(), layout(closes)),
        ("volume".to_owned(), layout(volumes)),
        ("sector".to_owned(), sector.collect()),
    ]);
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
    let mut known =
        set::select("alpha158", &["close", "volume"], None).expect("no family is asked for").included;
    known.extend(OTHERS.iter().enumerate().map(|(i, text)| (format!("OTHER{i}"), (*text).to_owned())));
    prop::sample::subsequence(known, 1..=12)
        .prop_map(|some| FeatureSet::new(some).expect("all are well formed"))
}

/// Sets of every kind of feature.
fn wide_sets() -> impl Strategy<Value = FeatureSet> {
    let mut known =
        set::select("alpha158", &["close", "volume"], None).expect("no family is asked for").included;
    let others = OTHERS.iter().chain(&FROM_THE_FIRST_BAR).chain(&ACROSS);
    known.extend(others.enumerate().map(|(i, text)| (format!("OTHER{i}"), (*text).to_owned())));
    let first = known.len() - ACROSS.len() - FROM_THE_FIRST_BAR.len();
    let (plain, special) = (known[..first].to_vec(), known[first..].to_vec());
    (prop::sample::subsequence(plain, 0..=6), prop::sample::subsequence(special, 1..=4)).prop_map(
        |(mut some, more)| {
            some.extend(more);
            FeatureSet::new(some).expect("all are well formed")
        },
    )
}

fn all(panel: &Panel, set: &FeatureSet) -> FeatureMatrix {
    compute(panel, set, &RowRange { dates: 0..panel.dates().len(), universe: Universe::all() })
        .expect("all fields are there")
}

/// The bits of a value; which NaN it is does not matter.
fn bits_of(value: &f32) -> u32 {
    if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() }
}

/// The bits of each row, by day and symbol.
fn rows(panel: &Panel, matrix: &FeatureMatrix) -> BTreeMap<(Date, String), Vec<u32>> {
    let values = matrix.values.chunks(matrix.columns).map(|row| row.iter().map(bits_of).collect());
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
    fn later_bars_change_no_earlier_feature(
        panel in panels(),
        set in prop_oneof![sets().boxed(), wide_sets().boxed()],
        kept in 1usize..90,
    ) {
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
    fn one_row_is_the_same_row_of_many(panel in panels(), set in prop_oneof![sets().boxed(), wide_sets().boxed()]) {
        let matrix = all(&panel, &set);
        for (key, values) in matrix.rows.iter().zip(matrix.values.chunks(matrix.columns)) {
            let alone = latest(&panel, &set, &Universe::all(), *key).expect("it is a row of many");
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
            prop_assert_eq!(bits(&alone), bits(values));
        }
    }

    #[test]
    fn bar_by_bar_is_the_batch_to_the_bit(
        panel in panels(),
        set in prop_oneof![sets().boxed(), wide_sets().boxed()],
    ) {
        let inside_later = set.expressions().iter().any(|(_, text)| text.contains("-2"));
        prop_assume!(!inside_later);
        let expected = rows(&panel, &all(&panel, &set));
        let width = panel.instruments().len();
        let fields: Vec<String> = panel.field_names().into_iter().map(str::to_owned).collect();
        let config = StreamConfig {
            instruments: panel.instruments().to_vec(),
            universe: (0..width).collect(),
            fields: fields.clone(),
        };
        let mut stream = FeatureStream::new(&set, config).expect("every field is brought");
        let mut found = BTreeMap::new();
        for (time, stamp) in panel.times().iter().enumerate() {
            let mut newest = Vec::new();
            for instrument in (0..width).filter(|instrument| panel.has_bar(time, *instrument)) {
                let cell = time * width + instrument;
                let bar: Vec<f64> =
                    fields.iter().map(|name| panel.field(name).expect("it was named")[cell]).collect();
                let row = stream.push(instrument, *stamp, &bar).expect("bars come in order");
                newest.extend(row.map(|row| (instrument, row)));
            }
            newest.extend(stream.close(*stamp).expect("it is open").rows);
            for (instrument, row) in newest {
                let key = (panel.dates()[time], panel.instruments()[instrument].clone());
                found.insert(key, row.iter().map(bits_of).collect::<Vec<u32>>());
            }
        }
        prop_assert_eq!(found.len(), expected.len());
        for (key, bits) in &expected {
            for ((feature, text), (found, expected)) in
                set.expressions().iter().zip(found[key].iter().zip(bits))
            {
                prop_assert!(
                    found == expected,
                    "{:?} {} = {}: {} but {} in a batch",
                    key,
                    feature,
                    text,
                    f32::from_bits(*found),
                    f32::from_bits(*expected),
                );
            }
        }
    }

    #[test]
    fn another_order_of_instruments_is_another_order_of_rows(panel in panels(), seed in any::<u64>()) {
        let texts = ["CSRank(Mean($close,5))", "CSNeutralize($volume,sector)", "Mean(CSZScore($close),3)"];
        let named = texts.iter().enumerate().map(|(i, text)| (format!("F{i}"), (*text).to_owned()));
        let set = FeatureSet::new(named.collect()).expect("all are well formed");
        let width = panel.instruments().len();
        let order: Vec<usize> = (0..width).map(|i| (i + seed as usize % width) % width).collect();
        let moved = permuted(&panel, &order);
        let expected = all(&panel, &set);
        let found = rows(&moved, &all(&moved, &set));
        prop_assert_eq!(found.len(), expected.rows.len());
        for (key, values) in expected.rows.iter().zip(expected.values.chunks(expected.columns)) {
            let place = order.iter().position(|from| *from == key.instrument).expect("it is a permutation");
            let row = &found[&(panel.dates()[key.date], panel.instruments()[place].clone())];
            for (a, b) in values.iter().zip(row) {
                // Sums across instruments are taken in their order.
                let b = f32::from_bits(*b);
                let same = (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-5 * a.abs().max(1.0);
                prop_assert!(same, "{} {}", a, b);
            }
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
