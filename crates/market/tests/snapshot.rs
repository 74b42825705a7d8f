//! Panels in a store: round trip, numbering, damage.

use bytes::Bytes;
use jiff::civil::DateTime;
use market::dataset::Adjustment;
use market::snapshot::{self, NewSnapshot};
use market::{Error, ImportRequest, SourceFile, import};
use store::Store;

fn imported(text: &'static str) -> market::Import {
    let now = DateTime::constant(2024, 1, 1, 0, 0, 0, 0);
    import(None, ImportRequest::new(vec![SourceFile::in_memory("p.csv", text)], now))
        .expect("the file is sound")
}

const FIRST: &str = "Date,A,B\n2020-01-02,1.25,\n2020-01-03,0.1,7\n";
const SECOND: &str = "Date,A,B\n2020-01-02,1.25,\n2020-01-03,0.1,8\n";

async fn put(store: &Store, text: &'static str) -> snapshot::Written {
    let import = imported(text);
    let new = NewSnapshot {
        name: "prices".to_owned(),
        dataset: &import.dataset,
        quality: import.quality,
        notes: vec!["back-adjusted by its source".to_owned()],
        source: "p.csv".to_owned(),
    };
    snapshot::write(store, new).await.expect("memory takes it")
}

#[tokio::test]
async fn a_data_set_comes_back_as_it_was() {
    let store = Store::open("memory://").expect("memory opens");
    let written = put(&store, FIRST).await;
    assert!(written.created);
    let (dataset, snapshot) = snapshot::read(&store, "prices", Some(1)).await.expect("it was written");
    assert_eq!(snapshot, written.snapshot);
    assert_eq!(dataset, imported(FIRST).dataset);
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
    store.put("datasets/prices/1/bars.parquet", Bytes::from_static(b"half")).await.expect("memory takes it");
    assert_eq!(snapshot::list(&store).await.expect("nothing is complete"), []);
    assert_eq!(put(&store, FIRST).await.snapshot.number, 1);
    assert!(snapshot::read(&store, "prices", None).await.is_ok());
}

#[tokio::test]
async fn a_changed_file_is_refused() {
    let store = Store::open("memory://").expect("memory opens");
    let written = put(&store, FIRST).await.snapshot;
    let other = imported(SECOND).dataset.to_files().expect("it is small").remove(0).1;
    store.put(&written.files[0].path, other).await.expect("memory takes it");
    let error = snapshot::read(&store, "prices", Some(1)).await.expect_err("it is not what was written");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("bars.parquet is damaged: its SHA-256 is"), "{error}");
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

#[tokio::test]
async fn a_snapshot_of_version_1_is_read_for_ever() {
    let store = Store::open("memory://").expect("memory opens");
    let put = |path: &'static str, bytes: &'static [u8]| store.put(path, Bytes::from_static(bytes));
    put("datasets/prices/1/dataset.json", include_bytes!("dataset-v1/dataset.json"))
        .await
        .expect("memory takes it");
    put("datasets/prices/1/panel.parquet", include_bytes!("dataset-v1/panel.parquet"))
        .await
        .expect("memory takes it");
    let (dataset, snapshot) = snapshot::read(&store, "prices", None).await.expect("version 1 loads for ever");
    assert_eq!((snapshot.name.as_str(), snapshot.quality.rows), ("prices", 3));
    assert_eq!(snapshot.adjustment, Adjustment::AsTheyCame);
    assert_eq!(dataset, imported(FIRST).dataset, "bars of then are known at their close");
}
