//! What was known when: bars, corrections, corporate actions and tables, and that nothing later changes it.

use jiff::civil::{date, datetime};
use proptest::prelude::*;

use super::tables::start_of;
use super::*;
use crate::source::{ReadOptions, SourceFile, read_bars};
use crate::{FeatureSet, FeatureStream, RowRange, Universe, compute};

fn bars(text: &str) -> Bars {
    let file = SourceFile::in_memory("bars.csv", text.as_bytes().to_vec());
    read_bars(&[file], &ReadOptions::default()).expect("it is sound")
}

fn append(bars: Option<Bars>, day: i8) -> Append {
    Append {
        bars,
        tables: Tables::default(),
        now: datetime(2020, 2, day, 9, 0, 0, 0),
        known_at: None,
        timing: TimingOptions::default(),
        adjustment: None,
    }
}

fn first(text: &str) -> Dataset {
    Dataset::first(append(Some(bars(text)), 1)).expect("it is sound").0
}

fn close(dataset: &Dataset, as_of: Option<DateTime>) -> Vec<f64> {
    dataset.panel(as_of).expect("it has bars").field("close").expect("a close").to_vec()
}

const TWO_DAYS: &str = "date,symbol,close\n2020-01-02,A,10\n2020-01-03,A,11\n2020-01-02,B,20\n";

#[test]
fn a_bar_is_known_from_the_close_on() {
    let dataset = first(TWO_DAYS);
    let at = |hour| Some(datetime(2020, 1, 3, hour, 0, 0, 0));
    assert_eq!(dataset.panel(at(15)).expect("the first day").dates(), [date(2020, 1, 2)]);
    assert_eq!(dataset.panel(at(16)).expect("both days").dates().len(), 2);
    assert!(dataset.panel(Some(datetime(2020, 1, 1, 0, 0, 0, 0))).expect("nothing yet").times().is_empty());
}

#[test]
fn an_append_adds_new_bars_corrects_changed_ones_and_leaves_the_rest() {
    let dataset = first(TWO_DAYS);
    let more = "date,symbol,close\n2020-01-03,A,11\n2020-01-06,A,12\n2020-01-02,B,21\n2020-01-06,C,1\n";
    let (grown, report) = dataset.append(append(Some(bars(more)), 3)).expect("it fits");
    let expected = Appended { added: 2, late: 0, corrected: 1, unchanged: 1 };
    assert_eq!(report.bars, expected);
    // Before the correction was imported, B closed at 20; C was not there before its own day.
    let before = grown.panel(Some(datetime(2020, 1, 31, 0, 0, 0, 0))).expect("bars");
    assert_eq!(before.field("close").map(|close| close[1]), Some(20.0));
    let after = grown.panel(None).expect("bars");
    assert_eq!(after.field("close").map(|close| close[1]), Some(21.0));
    assert_eq!(grown.restatements(), [datetime(2020, 2, 3, 9, 0, 0, 0)]);
    assert_eq!(grown.corrections(), 1);
    let again = grown.append(append(Some(bars(more)), 4)).expect("the same again");
    assert!(again.1.bars.nothing() && again.0 == grown);
}

#[test]
fn a_late_bar_and_a_told_time_are_known_since_then() {
    let dataset = first("date,close\n2020-01-02,10\n2020-01-06,12\n");
    let (late, report) =
        dataset.append(append(Some(bars("date,close\n2020-01-03,11\n")), 3)).expect("it fits");
    assert_eq!((report.bars.late, report.bars.added), (1, 0));
    assert_eq!(close(&late, Some(datetime(2020, 2, 1, 0, 0, 0, 0))).len(), 2);
    assert_eq!(close(&late, None), [10.0, 11.0, 12.0]);
    let told = Append {
        known_at: Some(datetime(2020, 1, 10, 8, 0, 0, 0)),
        ..append(Some(bars("date,close\n2020-01-06,13\n")), 9)
    };
    let (told, _) = dataset.append(told).expect("it fits");
    assert_eq!(close(&told, Some(datetime(2020, 1, 10, 7, 0, 0, 0)))[1], 12.0);
    assert_eq!(close(&told, Some(datetime(2020, 1, 10, 8, 0, 0, 0)))[1], 13.0);
    let earlier = Append {
        known_at: Some(datetime(2020, 1, 9, 8, 0, 0, 0)),
        ..append(Some(bars("date,close\n2020-01-06,14\n")), 9)
    };
    let error = told.append(earlier).expect_err("before what it corrects").to_string();
    assert!(error.contains("is not after the version known at 2020-01-10T08:00:00"), "{error}");
}

#[test]
fn a_missing_value_corrects_nothing_and_a_new_field_is_known_since_it_came() {
    let dataset = first("date,close,volume\n2020-01-02,10,100\n");
    let (same, report) =
        dataset.append(append(Some(bars("date,close\n2020-01-02,10\n")), 3)).expect("it fits");
    assert!(report.bars.nothing() && same == dataset);
    let (grown, report) =
        dataset.append(append(Some(bars("date,close,vwap\n2020-01-02,10,9\n")), 3)).expect("it fits");
    assert_eq!(report.bars.corrected, 1);
    let panel = grown.panel(None).expect("bars");
    assert_eq!(panel.field_names(), ["close", "volume", "vwap"]);
    assert_eq!(panel.field("volume"), Some(&[100.0][..]));
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let dataset = first(TWO_DAYS);
    let refused = |append| dataset.append(append).expect_err("it does not fit").to_string();
    let minutes = "date,time,close\n2020-01-02,09:30:00,1\n2020-01-02,09:31:00,2\n";
    assert!(refused(append(Some(bars(minutes)), 3)).contains("has daily bars, the file bars within the day"));
    let lagging = TimingOptions { lag_minutes: Some(60), ..TimingOptions::default() };
    assert!(refused(Append { timing: lagging, ..append(Some(bars(TWO_DAYS)), 3) }).contains("first import"));
    let adjusted = "date,symbol,close,adj close\n2020-01-02,A,10,5\n";
    assert!(refused(append(Some(bars(adjusted)), 3)).contains("as they came, those of the file as traded"));
}

#[test]
fn a_source_that_rescales_its_factors_is_brought_to_the_stored_scale() {
    let dataset = first("date,close,adj close\n2020-01-02,10,5\n2020-01-03,12,6\n");
    assert_eq!(close(&dataset, None), [10.0, 12.0]);
    // A 2-for-1 split on the 6th: the source has halved its adjusted history.
    let later = "date,close,adj close\n2020-01-03,12,3\n2020-01-06,6.5,3.25\n";
    let (grown, report) = dataset.append(append(Some(bars(later)), 3)).expect("they overlap");
    assert_eq!((report.bars.added, report.bars.corrected), (1, 0));
    assert_eq!(close(&grown, None), [10.0, 12.0, 13.0]);
    assert_eq!(grown.adjustment(), Adjustment::Forward);
    let apart = "date,close,adj close\n2020-01-07,6.5,3.25\n";
    let error = dataset.append(append(Some(bars(apart)), 3)).expect_err("no bar in common").to_string();
    assert!(error.contains("no bar in common with the stored ones"), "{error}");
}

fn split(day: i8, ratio: f64) -> Action {
    let date = date(2020, 1, day);
    Action { symbol: "A".to_owned(), date, split: ratio, dividend: 0.0, known: start_of(date) }
}

#[test]
fn a_split_is_adjusted_forward_and_seen_when_it_is_known() {
    let dataset = first("date,symbol,close,volume\n2020-01-02,A,10,1\n2020-01-03,A,6,2\n");
    let tables = Tables { actions: vec![split(3, 2.0)], ..Tables::default() };
    let (split, report) =
        dataset.append(Append { tables: tables.clone(), ..append(None, 3) }).expect("it fits");
    assert_eq!((report.table_rows, split.adjustment()), (1, Adjustment::Forward));
    let panel = split.panel(None).expect("bars");
    assert_eq!(panel.field("close"), Some(&[10.0, 12.0][..]));
    assert_eq!(panel.field("volume"), Some(&[1.0, 1.0][..]));
    assert_eq!(panel.field("factor"), Some(&[1.0, 2.0][..]));
    let back = Append { adjustment: Some(Adjustment::BackAdjusted), ..append(Some(bars(TWO_DAYS)), 1) };
    let (back, _) = Dataset::first(back).expect("it is said");
    let error = back.append(Append { tables, ..append(None, 3) }).expect_err("twice").to_string();
    assert!(error.contains("back-adjusted already"), "{error}");
}

#[test]
fn tables_are_fields_and_universes_as_known_when_the_bar_was() {
    let dataset =
        first("date,symbol,close\n2020-01-02,A,1\n2020-01-03,A,1\n2020-01-06,A,1\n2020-01-03,B,1\n");
    let point = |period: &str, published, value| Point {
        symbol: "A".to_owned(),
        field: "eps".to_owned(),
        period: period.to_owned(),
        published,
        value,
    };
    let day = |day| date(2020, 1, day);
    let tables = Tables {
        points: vec![
            point("2019Q3", datetime(2020, 1, 2, 8, 0, 0, 0), 1.0),
            point("2019Q4", end_of(day(3)), 2.0),
            // The restatement of an older quarter is not news of the newest one.
            point("2019Q3", end_of(day(3)), 9.0),
        ],
        groups: vec![Group {
            field: "sector".to_owned(),
            symbol: "A".to_owned(),
            from: day(3),
            label: "tech".to_owned(),
            code: 0,
            known: start_of(day(3)),
        }],
        members: vec![Member {
            universe: "top".to_owned(),
            symbol: "A".to_owned(),
            from: day(2),
            to: Some(day(6)),
            known: end_of(day(3)),
        }],
        calendar: vec![day(2), day(3), day(4), day(6), day(7)],
        ..Tables::default()
    };
    let (dataset, _) = dataset.append(Append { tables, ..append(None, 3) }).expect("it fits");
    let panel = dataset.panel(None).expect("bars");
    assert_eq!(
        panel.dates(),
        [day(2), day(3), day(4), day(6)],
        "trading days between the first and last bar"
    );
    let of_a = |field| -> Vec<f64> {
        let values: &[f64] = panel.field(field).expect("it is a field");
        values.iter().step_by(2).copied().collect()
    };
    let eps = of_a("$eps");
    assert_eq!((eps[0], eps[1], eps[3]), (1.0, 1.0, 2.0));
    assert!(eps[2].is_nan(), "no bar, no value");
    let periods = ["PRef($$eps,'2019Q3')", "PRef($$eps,'2019Q4')", "PRef($$eps,2019)", "P($$eps)"];
    let set =
        FeatureSet::new(periods.map(|text| (text.to_owned(), text.to_owned())).to_vec()).expect("they parse");
    let rows = RowRange { dates: 0..4, universe: Universe::fixed(vec![0]) };
    let of_periods = |panel: &Panel| compute(panel, &set, &rows).expect("the fields are there").values;
    let none = f32::NAN;
    let expected = [[1.0, none, none, 1.0], [1.0, none, none, 1.0], [9.0, 2.0, none, 2.0]];
    let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|value| value.to_bits()).collect() };
    assert_eq!(bits(&of_periods(&panel)), bits(expected.as_flattened()), "each period as known at the bar");
    let only = panel.select(&["A".to_owned()]).expect("A is there");
    assert_eq!(bits(&of_periods(&only)), bits(expected.as_flattened()));
    let mut stream = FeatureStream::from_panel(&set, &panel.prefix(3), &[0]).expect("the fields are there");
    let bar = [2.0, 1.0, 0.0, f64::NAN, 9.0, 2.0];
    let newest = stream.push(0, start_of(day(6)), &bar).expect("it is next").expect("nothing is missing");
    assert_eq!(bits(&newest), bits(&expected[2]));
    let unknown = FeatureSet::new(vec![("X".to_owned(), "PRef($$esp,2019)".to_owned())]).expect("it parses");
    let refusal = compute(&panel, &unknown, &rows).expect_err("no such value").to_string();
    assert!(refusal.contains("did you mean \"$eps\"?"), "{refusal}");
    let sector = of_a("sector");
    assert!(sector[0].is_nan() && sector[1] == 0.0);
    let members: Vec<bool> =
        (0..4).map(|time| panel.universe("top").expect("it is there").contains(time, 0, 2)).collect();
    assert_eq!(members, [false, false, true, true], "the spell was announced on the evening of the 3rd");
}

#[test]
fn files_bring_everything_back() {
    let dataset = first("date,symbol,close\n2020-01-02,A,10\n2020-01-03,A,6\n2020-01-03,B,1\n");
    let tables = Tables {
        actions: vec![split(3, 2.0)],
        points: vec![Point {
            symbol: "A".to_owned(),
            field: "eps".to_owned(),
            period: "2019".to_owned(),
            published: end_of(date(2020, 1, 2)),
            value: 0.1,
        }],
        members: vec![Member {
            universe: "top".to_owned(),
            symbol: "A".to_owned(),
            from: date(2020, 1, 2),
            to: None,
            known: start_of(date(2020, 1, 2)),
        }],
        calendar: vec![date(2020, 1, 2), date(2020, 1, 3)],
        ..Tables::default()
    };
    let correction = bars("date,symbol,close\n2020-01-02,A,10.5\n");
    let (dataset, _) = dataset.append(Append { tables, ..append(Some(correction), 3) }).expect("it fits");
    let files = dataset.to_files().expect("it is small");
    let again =
        Dataset::from_files(&files, dataset.timing().clone(), dataset.adjustment()).expect("own files");
    assert_eq!(again, dataset);
    assert_eq!(again.to_files().expect("it is small"), files, "the same bytes");
    let without: Vec<_> = files.iter().filter(|(name, _)| name != "bars.parquet").cloned().collect();
    let error = Dataset::from_files(&without, Timing::default(), Adjustment::AsTheyCame);
    assert!(error.is_err_and(|error| error.to_string().contains("bars.parquet is damaged: it is missing")));
}

/// Prices of two instruments over some days; an absent one is a missing bar.
fn prices() -> impl Strategy<Value = Vec<(u8, bool, f64)>> {
    prop::collection::btree_map((0u8..20, any::<bool>()), 1.0f64..100.0, 1..30)
        .prop_map(|map| map.into_iter().map(|((day, second), price)| (day, second, price)).collect())
}

fn text(prices: &[(u8, bool, f64)]) -> String {
    let mut text = "date,symbol,close\n".to_owned();
    for (day, second, price) in prices {
        text += &format!("2020-01-{:02},{},{price}\n", day + 1, if *second { "B" } else { "A" });
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_comes_later_changes_nothing_that_was_known(old in prices(), new in prices(), split_day in 0i8..20) {
        let before = first(&text(&old));
        let tables = Tables { actions: vec![split(split_day + 10, 3.0)], ..Tables::default() };
        let (after, _) = before
            .append(Append { tables, ..append(Some(bars(&text(&new))), 20) })
            .expect("corrections and new bars fit");
        for hour in (0..24 * 25).step_by(7) {
            let as_of = start_of(date(2020, 1, 1)).checked_add(jiff::ToSpan::hours(hour)).expect("a time");
            // Whatever was seen before the append, of bars before the split, is seen after it.
            let Ok(seen) = before.panel(Some(as_of)) else { continue };
            let again = after.panel(Some(as_of)).expect("it has bars");
            for (time, at) in seen.times().iter().enumerate() {
                if at.date() >= date(2020, 1, split_day + 10) {
                    continue;
                }
                let now = again.time_index(*at).expect("a bar does not go");
                for (instrument, symbol) in seen.instruments().iter().enumerate() {
                    let there = again.instrument_index(symbol).expect("an instrument does not go");
                    let old = seen.field("close").expect("close")[time * seen.instruments().len() + instrument];
                    let new = again.field("close").expect("close")[now * again.instruments().len() + there];
                    prop_assert!(old.is_nan() || old.to_bits() == new.to_bits(), "{at} {symbol}: {old} {new}");
                }
            }
        }
    }

    #[test]
    fn importing_in_two_parts_is_importing_at_once(all in prices(), cut in 0u8..20) {
        let (early, late): (Vec<_>, Vec<_>) = all.iter().partition(|(day, ..)| *day < cut);
        prop_assume!(!early.is_empty() && !late.is_empty());
        let parts = first(&text(&early)).append(append(Some(bars(&text(&late))), 20)).expect("it fits").0;
        prop_assert_eq!(parts.panel(None).expect("bars").digest(), first(&text(&all)).panel(None).expect("bars").digest());
        prop_assert!(parts.restatements().is_empty());
    }
}

#[test]
fn a_universe_is_of_the_panel_it_is_read_with() {
    let dataset = first(TWO_DAYS);
    let panel = dataset.panel(None).expect("bars");
    assert!(panel.universe_names().is_empty());
    assert!(panel.with_universe("all", Universe::all()).is_ok());
}
