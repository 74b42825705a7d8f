//! Panels in a store: round trip, numbering, damage.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::civil::date;
use market::snapshot::{self, NewSnapshot, Snapshot};
use market::{Error, ImportOptions, Panel, SourceFile, import, read_parquet, write_parquet};
use store::Store;

fn imported(text: &'static str) -> market::Import {
    let file = SourceFile { name: "p.csv".to_owned(), bytes: Bytes::from_static(text.as_bytes()) };
    import(&[file], &ImportOptions::default()).expect("the file is sound")
}

const FIRST: &str = "Date,A,B\n2020-01-02,1.25,\n2020-01-03,0.1,7\n";
const SECOND: &str = "Date,A,B\n2020-01-02,1.25,\n2020-01-03,0.1,8\n";

async fn put(store: &Store, text: &'static str) -> snapshot::Written {
    let import = imported(text);
    let new = NewSnapshot {
        name: "prices".to_owned(),
        panel: &import.panel,
        quality: import.quality,
        notes: vec!["back-adjusted by its source".to_owned()],
        source: "p.csv".to_owned(),
    };
    snapshot::write(store, new).await.expect("memory takes it")
}

#[tokio::test]
async fn a_panel_comes_back_as_it_was() {
    let store = Store::open("memory://").expect("memory opens");
    let written = put(&store, FIRST).await;
    assert!(written.created);
    let (panel, snapshot) = snapshot::read(&store, "prices", Some(1)).await.expect("it was written");
    assert_eq!(snapshot, written.snapshot);
    assert_eq!(panel.digest(), imported(FIRST).panel.digest());
    assert_eq!((snapshot.number, &snapshot.fields[..]), (1, &["close".to_owned()][..]));
}

#[tokio::test]
async fn the_same_content_is_the_same_snapshot_and_other_content_the_next() {
    let store = Store::open("memory://").expect("memory opens");
    put(&store, FIRST).await;
    let again = put(&store, FIRST).await;
    assert_eq!((again.created, again.snapshot.number), (false, 1));
    let next = put(&store, SECOND).await;
    assert_eq!((next.created, next.snapshot.number), (true, 2));
    let numbers: Vec<u32> = snapshot::list(&store)
        .await
        .expect("both are sound")
        .iter()
        .map(|snapshot| snapshot.number)
        .collect();
    assert_eq!(numbers, [1, 2]);
    let newest = snapshot::show(&store, "prices", None).await.expect("there are two");
    assert_eq!(newest.number, 2);
}

#[tokio::test]
async fn what_a_dead_writer_left_is_not_there_and_in_nobodys_way() {
    let store = Store::open("memory://").expect("memory opens");
    store.put("datasets/prices/1/panel.parquet", Bytes::from_static(b"half")).await.expect("memory takes it");
    assert_eq!(snapshot::list(&store).await.expect("nothing is complete"), []);
    assert_eq!(put(&store, FIRST).await.snapshot.number, 1);
    assert!(snapshot::read(&store, "prices", None).await.is_ok());
}

#[tokio::test]
async fn a_changed_panel_file_is_refused() {
    let store = Store::open("memory://").expect("memory opens");
    let written = put(&store, FIRST).await.snapshot;
    let other = write_parquet(&imported(SECOND).panel).expect("it is small");
    store.put(&written.panel_file, other.into()).await.expect("memory takes it");
    let error = snapshot::read(&store, "prices", Some(1)).await.expect_err("it is not what was written");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("panel.parquet is damaged: its SHA-256 is"), "{error}");
}

#[tokio::test]
async fn unknown_names_and_numbers_are_named_with_what_there_is() {
    let store = Store::open("memory://").expect("memory opens");
    put(&store, FIRST).await;
    let text = |name: &'static str, number| {
        let store = &store;
        async move { snapshot::show(store, name, number).await.expect_err("it is not there").to_string() }
    };
    assert_eq!(
        text("prizes", None).await,
        "unknown dataset \"prizes\"; did you mean \"prices\"? datasets: prices"
    );
    assert_eq!(text("prices", Some(3)).await, "dataset \"prices\" has no snapshot 3; snapshots: 1");
    assert!(text("../x", None).await.starts_with("dataset name \"../x\" must be 1 to 63 of a-z"));
}

#[test]
fn a_stored_manifest_of_version_1_loads() {
    let sample: serde_json::Value =
        serde_json::from_str(include_str!("dataset-v1.json")).expect("the sample is JSON");
    assert_eq!(sample["version"], "1");
    let snapshot: Snapshot = serde_json::from_value(sample).expect("version 1 loads for ever");
    assert_eq!((snapshot.name.as_str(), snapshot.quality.suspicious_jumps.len()), ("prices", 1));
}

#[test]
fn the_same_panel_gives_the_same_bytes() {
    let panel = imported(FIRST).panel;
    assert_eq!(write_parquet(&panel).expect("it is small"), write_parquet(&panel).expect("it is small"));
}

#[test]
fn any_field_survives_a_round_trip_bit_for_bit() {
    let values = vec![f64::NAN, -0.0, 1e-300, f64::MAX, 0.1, f64::MIN_POSITIVE];
    let dates = vec![date(1969, 12, 31), date(1970, 1, 1), date(2022, 12, 28)];
    let fields = BTreeMap::from([("close".to_owned(), vec![1.0; 6]), ("signal".to_owned(), values.clone())]);
    let panel = Panel::new(dates, vec!["A".to_owned(), "Ä".to_owned()], fields).expect("it fits");
    let bytes = write_parquet(&panel).expect("it is small");
    let again = read_parquet(&bytes.into()).expect("own bytes");
    assert_eq!(again.digest(), panel.digest());
    assert_eq!(again.dates(), panel.dates());
}

#[test]
fn bytes_that_are_no_panel_are_refused() {
    let error = read_parquet(&Bytes::from_static(b"PAR1 and nothing else")).expect_err("it is no file");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}
