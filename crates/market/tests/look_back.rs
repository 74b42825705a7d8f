//! Bars older than the stated look-back, of any instrument, change nothing: over random expressions and panels in which
//! instruments begin late, fall silent for long, and belong to the universe at times.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::ToSpan;
use jiff::civil::date;
use market::{FeatureSet, FeatureStream, Panel, RowKey, RowRange, StreamConfig, Universe, compute, latest};
use proptest::prelude::*;

/// What count places, counts bars without a value or reads others, each within the other.
const PLANTED: [&str; 9] = [
    "CSRank(IdxMax($close,5))",
    "CSDemean(IdxMin($volume,4)-WMA($close,6))",
    "CSZScore(Mean($close>Ref($close,1),5))",
    "CSDemean(WeightedMean($close,7)+Count($volume>=0,6))",
    "$close/Mask(IdxMax($close,6),N0)",
    "ChangeInstrument('N1',WMA(Not($volume),5))",
    "IdxMax(CSRank(IdxMax($close,3)),4)",
    "CSNeutralize(Sum(If($close>9,1,2),4),$sector)",
    "CSFill(Std(CSDemean(IdxMin($close,4)),5))",
];

/// Operators of `{}`, which look back a day at most.
const PLAIN: &str = "Abs({}) Not({}) Sign({}) Log({}) CSFill({}) CSRank({}) CSZScore({}) CSDemean({}) CSRobustZScore({}) \
                     CSNeutralize({},$sector) Mask({},N1)";
/// Operators that look back to the first bar.
const CARRIED: &str = "Mean({},0) EMA({},3) Ref({},0) Delta({},0) Std({},0.4) IdxMax({},0) Rank({},0) WMA({},0) Skew({},0) \
                       Corr({},$volume,0) Quantile({},0,0.3)";
/// Operators of a window.
const ROLLING: &str =
    "Mean Sum Std Var Max Min IdxMax IdxMin Med Mad Rank Count Slope Rsquare R2 Resi WMA WeightedMean";

/// Random expressions of what reads within a window and of the operators of `forms`.
fn expressions(forms: Vec<&'static str>) -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec!["$close", "$volume", "$close", "1"]).prop_map(str::to_owned);
    let random = leaf.prop_recursive(4, 12, 3, move |inner| {
        let form = prop::sample::select(forms.clone());
        let infix = prop::sample::select(vec!["+", "-", "*", "/", ">", "<=", "==", "!="]);
        let rolling = prop::sample::select(words(ROLLING));
        let pair = prop::sample::select(vec!["Corr", "Pearson", "Cov"]);
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            2 => (form, inner.clone()).prop_map(|(form, x)| form.replace("{}", &x)),
            2 => (rolling, inner.clone(), 1..6).prop_map(|(name, x, bars)| format!("{name}({x},{bars})")),
            1 => (two.clone(), infix).prop_map(|((a, b), infix)| format!("({a}{infix}{b})")),
            1 => (inner.clone(), 4..7).prop_map(|(x, bars)| format!("Skew({x},{bars})-Kurt({x},{bars})")),
            1 => (inner.clone(), 1..5).prop_map(|(x, bars)| format!("Ref({x},{bars})")),
            1 => (inner.clone(), 1..5).prop_map(|(x, bars)| format!("Delta({x},{bars})")),
            1 => (pair, two.clone(), 2..6).prop_map(|(name, (x, y), bars)| format!("{name}({x},{y},{bars})")),
            1 => (inner.clone(), 1..6).prop_map(|(x, bars)| format!("Quantile({x},{bars},0.3)")),
            1 => (inner, two).prop_map(|(c, (x, y))| format!("If({c},{x},{y})")),
        ]
    });
    prop_oneof![3 => random, 1 => prop::sample::select(PLANTED.to_vec()).prop_map(str::to_owned)]
}

fn words(list: &'static str) -> Vec<&'static str> {
    list.split_whitespace().collect()
}

/// Sets of expressions of a bounded look-back.
fn bounded_sets() -> impl Strategy<Value = FeatureSet> {
    sets(words(PLAIN))
}

/// Sets of expressions some of which look back to the first bar.
fn all_sets() -> impl Strategy<Value = FeatureSet> {
    sets([words(PLAIN), words(CARRIED)].concat())
}

fn sets(forms: Vec<&'static str>) -> impl Strategy<Value = FeatureSet> {
    prop::collection::vec(expressions(forms), 1..=4).prop_map(|texts| {
        let named = texts.into_iter().enumerate().map(|(i, text)| (format!("F{i}"), text));
        FeatureSet::new(named.collect()).expect("all are well formed")
    })
}

/// A panel and who belongs to the universe at each cell of it.
#[derive(Debug, Clone)]
struct Market {
    panel: Panel,
    members: Vec<bool>,
}

/// Days without a bar: before it begins, and one stretch of silence.
fn silences(days: usize) -> impl Strategy<Value = (usize, Range<usize>)> {
    (0..days / 2, 0..days, 0..days / 2).prop_map(|(first, from, long)| (first, from..from + long))
}

fn markets() -> impl Strategy<Value = Market> {
    (2usize..=4, 24usize..=60).prop_flat_map(|(width, days)| {
        let close = prop::option::weighted(0.9, (60u32..90).prop_map(|ticks| f64::from(ticks) * 0.125));
        let volume = prop::option::weighted(0.9, (0u32..9).prop_map(f64::from));
        let cells = prop::collection::vec((close, volume, prop::bool::weighted(0.9)), width * days);
        let silent = prop::collection::vec(silences(days), width);
        (cells, silent).prop_map(move |(cells, silent)| market(width, &cells, &silent))
    })
}

type Cell = (Option<f64>, Option<f64>, bool);

fn market(width: usize, cells: &[Cell], silent: &[(usize, Range<usize>)]) -> Market {
    let speaks = |cell: usize| {
        let (day, (first, gap)) = (cell / width, &silent[cell % width]);
        day >= *first && !gap.contains(&day)
    };
    let field = |of: fn(&Cell) -> Option<f64>| -> Vec<f64> {
        let value = |(cell, values)| if speaks(cell) { of(values).unwrap_or(f64::NAN) } else { f64::NAN };
        cells.iter().enumerate().map(value).collect()
    };
    let (close, volume) = (field(|cell| cell.0), field(|cell| cell.1));
    let known = |cell: usize| !(close[cell].is_nan() && volume[cell].is_nan());
    let sector = (0..cells.len()).map(|c| if known(c) { (c % width / 2) as f64 } else { f64::NAN }).collect();
    let fields = [("close", close), ("volume", volume), ("sector", sector)];
    let fields = fields.into_iter().map(|(name, values)| (name.to_owned(), values)).collect();
    let dates = (0..cells.len() / width).map(|day| date(2020, 1, 1) + (day as i64).days()).collect();
    let names = (0..width).map(|i| format!("N{i}")).collect();
    let panel = Panel::new(dates, names, fields).expect("the parts fit");
    Market { panel, members: cells.iter().map(|cell| cell.2).collect() }
}

/// What becomes of the bars older than the look-back.
#[derive(Debug, Clone)]
enum Loss {
    /// Their days are not there at all.
    Days,
    /// Each instrument has none before its own day, at most the first of the look-back.
    Before(Vec<usize>),
    /// Each bar is dropped (0, 1), changed (2) or kept.
    Cells(Vec<u8>),
}

fn losses() -> impl Strategy<Value = Loss> {
    prop_oneof![
        Just(Loss::Days),
        prop::collection::vec(0usize..60, 4).prop_map(Loss::Before),
        prop::collection::vec(0u8..5, 240).prop_map(Loss::Cells),
    ]
}

impl Market {
    /// Without bars before the day `start`, as far as `loss` says; days move by as many as are gone.
    fn after(&self, loss: &Loss, start: usize) -> (Self, usize) {
        let width = self.panel.instruments().len();
        let gone = if matches!(loss, Loss::Days) { start } else { 0 };
        let changed = |cell: usize, value: f64| {
            let (day, instrument) = (cell / width, cell % width);
            match loss {
                _ if day >= start => value,
                Loss::Days => value,
                Loss::Before(own) if day < own[instrument] => f64::NAN,
                Loss::Before(_) => value,
                Loss::Cells(fates) => match fates[cell] {
                    0 | 1 => f64::NAN,
                    2 => value * 3.0 + 1.0,
                    _ => value,
                },
            }
        };
        let fields: BTreeMap<String, Vec<f64>> = self
            .panel
            .field_names()
            .into_iter()
            .map(|name| {
                let values = self.panel.field(name).expect("it was named").iter().enumerate();
                let kept = values.skip(gone * width).map(|(cell, value)| changed(cell, *value));
                (name.to_owned(), kept.collect())
            })
            .collect();
        let dates = self.panel.dates()[gone..].to_vec();
        let panel = Panel::new(dates, self.panel.instruments().to_vec(), fields).expect("the parts fit");
        (Self { panel, members: self.members[gone * width..].to_vec() }, gone)
    }

    fn universe(&self) -> Universe {
        Universe::by_time(self.members.clone())
    }

    /// The rows of one day, by instrument.
    fn rows(&self, set: &FeatureSet, day: usize) -> BTreeMap<usize, Vec<u32>> {
        self.rows_of(set, day..day + 1).remove(0)
    }

    /// The rows of each of some days, by instrument.
    fn rows_of(&self, set: &FeatureSet, days: Range<usize>) -> Vec<BTreeMap<usize, Vec<u32>>> {
        let mut rows = vec![BTreeMap::new(); days.len()];
        let range = RowRange { dates: days.clone(), universe: self.universe() };
        let matrix = compute(&self.panel, set, &range).expect("all fields are there");
        for (key, row) in matrix.rows.iter().zip(matrix.values.chunks(matrix.columns)) {
            rows[key.date - days.start].insert(key.instrument, bits(row));
        }
        rows
    }

    /// The rows of each day, bar by bar.
    fn streamed(&self, set: &FeatureSet) -> Vec<BTreeMap<usize, Vec<u32>>> {
        let (panel, width) = (&self.panel, self.panel.instruments().len());
        let fields: Vec<String> = panel.field_names().into_iter().map(str::to_owned).collect();
        let config = StreamConfig {
            instruments: panel.instruments().to_vec(),
            universe: (0..width).collect(),
            fields: fields.clone(),
        };
        let mut stream = FeatureStream::new(set, config).expect("every field is brought");
        let day = |(time, stamp)| {
            let mut rows = Vec::new();
            for instrument in (0..width).filter(|instrument| panel.has_bar(time, *instrument)) {
                let value =
                    |name: &String| panel.field(name).expect("it was named")[time * width + instrument];
                let bar: Vec<f64> = fields.iter().map(value).collect();
                let row = stream.push(instrument, stamp, &bar).expect("bars come in order");
                rows.extend(row.map(|row| (instrument, row)));
            }
            rows.extend(stream.close(stamp).expect("it is open").rows);
            rows.into_iter().map(|(instrument, row)| (instrument, bits(&row))).collect()
        };
        panel.times().iter().copied().enumerate().map(day).collect()
    }
}

/// The bits of values; which NaN it is does not matter.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bars_older_than_the_look_back_of_any_instrument_change_nothing(
        market in markets(),
        set in bounded_sets(),
        loss in losses(),
        ago in 0usize..20,
    ) {
        let day = market.panel.dates().len() - 1 - ago;
        prop_assume!(day >= set.lookback_bars());
        let start = day - set.lookback_bars();
        let full = market.rows(&set, day);
        let (cut, gone) = market.after(&loss, start);
        // A row is there if its instrument had begun when the look-back starts, which a bar before it may show.
        let begun = |instrument: &usize| (0..=start - gone).any(|day| cut.panel.has_bar(day, *instrument));
        let expected: BTreeMap<_, _> = full.into_iter().filter(|(instrument, _)| begun(instrument)).collect();
        prop_assert_eq!(&cut.rows(&set, day - gone), &expected, "{:?}", set.expressions());
        for (instrument, row) in expected {
            let key = RowKey { date: day - gone, instrument };
            let alone = latest(&cut.panel, &set, &cut.universe(), key).expect("it is a row of many");
            prop_assert_eq!(bits(&alone), row);
        }
    }

    #[test]
    fn a_stream_that_begins_with_the_look_back_gives_the_same_rows(market in markets(), set in bounded_sets()) {
        let day = market.panel.dates().len() - 1;
        prop_assume!(day >= set.lookback_bars());
        let market = Market { members: vec![true; market.members.len()], ..market };
        let start = day - set.lookback_bars();
        let (cut, gone) = market.after(&Loss::Days, start);
        let newest = cut.streamed(&set).pop().expect("there is a day");
        let mut full = market.rows(&set, day);
        full.retain(|instrument, _| cut.panel.has_bar(start - gone, *instrument));
        prop_assert_eq!(newest, full, "{:?}", set.expressions());
    }

    #[test]
    fn a_stream_is_the_batch_where_instruments_begin_late(market in markets(), set in all_sets()) {
        let market = Market { members: vec![true; market.members.len()], ..market };
        let days = 0..market.panel.dates().len();
        prop_assert_eq!(market.streamed(&set), market.rows_of(&set, days), "{:?}", set.expressions());
    }
}
