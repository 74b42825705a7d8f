//! `backup` beside a running server and `restore` into a fresh directory that answers the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use support::Bellwether;
use support::table::{table_pipeline, write_table};

/// A registered and deployed model, and a key.
fn deployed() -> Bellwether {
    let bellwether = Bellwether::new();
    write_table(&bellwether.dir().join("rows.parquet"), 400);
    bellwether.file("rows.toml", &table_pipeline("rows.parquet"));
    bellwether.ok(&["train", "rows.toml", "--out", "bundle"]);
    bellwether.ok(&["model", "upload", "bundle"]);
    bellwether.ok(&["endpoint", "create", "e"]);
    let deploy = ["endpoint", "deploy", "e", "--model", "rows", "--cpu-cores", "1", "--memory-gb", "1"];
    bellwether.ok(&deploy);
    bellwether
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_backed_up_beside_a_server_comes_back_and_answers_the_same() {
    let bellwether = deployed();
    let ask = ["predict", "--endpoint", "e", "--vector", "[1, 2]"];
    let answer = bellwether.ok(&ask);
    let serving = bellwether.serve(&[]);
    let first = bellwether.ok(&["backup", "--out", "kept"]);
    assert_eq!(first["files"], first["copied"], "{first}");
    assert!(first["left_out"].as_array().unwrap().is_empty(), "{first}");
    // Only what has changed is copied again.
    let url = serving.url.clone();
    bellwether.ok(&["endpoint", "create", "later", "--server", &url]);
    let second = bellwether.ok(&["backup", "--out", "kept"]);
    assert_eq!((&second["files"], &second["copied"]), (&first["files"], &1.into()), "{second}");
    assert_eq!(serving.terminate(), 0);

    let endpoints = |data_dir: &str| {
        let listed = bellwether.ok(&["endpoint", "list", "--data-dir", data_dir]);
        listed["endpoints"].as_array().unwrap().len()
    };
    let restored = bellwether.ok(&["restore", "--from", "kept", "--data-dir", "newest"]);
    assert_eq!((&restored["name"], &restored["files"]), (&second["name"], &second["files"]));
    assert_eq!(endpoints("newest"), 2);
    let name = first["name"].as_str().unwrap();
    bellwether.ok(&["restore", "--from", "kept", "--backup", name, "--data-dir", "older"]);
    assert_eq!(endpoints("older"), 1);
    let again = bellwether.ok(&[&ask[..], &["--data-dir", "older"]].concat());
    assert_eq!(again["predictions"], answer["predictions"]);
    let shown = bellwether.ok(&["model", "show", "rows", "--data-dir", "older"]);
    assert!(shown["artifact_uri"].as_str().unwrap().ends_with("/older/artifacts/default/rows/1"), "{shown}");
    assert!(!bellwether.dir().join(".older.restoring").exists());
}

#[test]
fn keys_come_back_as_they_are_kept() {
    let bellwether = deployed();
    let made = bellwether.ok(&["key", "create", "--scope", "admin", "--all-projects", "--name", "operator"]);
    let secret = made["key"].as_str().unwrap_or_default().to_owned();
    assert!(!secret.is_empty(), "{made}");
    bellwether.ok(&["backup", "--out", "kept"]);
    for file in files_under(&bellwether.dir().join("kept")) {
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{} has the key itself", file.display());
    }
    bellwether.ok(&["restore", "--from", "kept", "--data-dir", "new"]);
    let keys = bellwether.ok(&["key", "list", "--data-dir", "new"]);
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(1), "{keys}");
}

#[test]
fn nothing_is_overwritten_and_no_half_directory_appears() {
    let bellwether = deployed();
    bellwether.ok(&["backup", "--out", "kept"]);
    bellwether.file("busy.txt", "x");
    bellwether.fails(&["restore", "--from", "kept"], 4, &["is not empty, and nothing is overwritten"]);
    bellwether.fails(&["restore", "--from", "none", "--data-dir", "new"], 3, &["none"]);
    bellwether.fails(
        &["restore", "--from", "kept", "--backup", "x", "--data-dir", "new"],
        3,
        &["no backup \"x\""],
    );
    bellwether.fails(&["backup", "--out", "data/kept"], 2, &["inside the data directory"]);
    bellwether.fails(&["backup", "--out", "kept", "--server", "http://127.0.0.1:1"], 2, &["data directory"]);

    // A restore that was killed has left a folder; it is no data directory, and the next one begins anew.
    let left = bellwether.dir().join(".new.restoring");
    std::fs::create_dir_all(left.join("artifacts")).unwrap();
    std::fs::write(left.join("registry.sqlite"), "half").unwrap();
    std::fs::create_dir(bellwether.dir().join("new")).unwrap();
    bellwether.ok(&["restore", "--from", "kept", "--data-dir", "new"]);
    assert!(!left.exists() && bellwether.dir().join("new/registry.sqlite").is_file());

    // One damaged file is enough.
    let manifests = files_under(&bellwether.dir().join("kept/backups"));
    let manifest: Value = serde_json::from_slice(&std::fs::read(&manifests[0]).unwrap()).unwrap();
    let entry = &manifest["files"]["artifacts/default/rows/1/model.onnx"]["sha256"];
    let digest = entry.as_str().unwrap();
    let object = bellwether.dir().join("kept/objects").join(&digest[..2]).join(digest);
    let mut bytes = std::fs::read(&object).unwrap();
    bytes[17] ^= 1;
    std::fs::write(&object, &bytes).unwrap();
    let words = ["restore", "--from", "kept", "--data-dir", "damaged"];
    bellwether.fails(&words, 4, &["model.onnx cannot be restored"]);
    assert!(!bellwether.dir().join("damaged").exists());
    std::fs::write(&object, &bytes[..bytes.len() / 2]).unwrap();
    bellwether.fails(&words, 4, &["model.onnx cannot be restored", "--backup NAME"]);
    std::fs::remove_file(&object).unwrap();
    bellwether.fails(&words, 4, &["model.onnx cannot be restored"]);
    assert!(!bellwether.dir().join("damaged").exists());
}

#[test]
fn a_list_that_was_cut_short_is_refused_and_an_older_one_comes_back() {
    let bellwether = deployed();
    let older = bellwether.ok(&["backup", "--out", "kept"])["name"].as_str().unwrap().to_owned();
    let newer = bellwether.ok(&["backup", "--out", "kept"])["name"].as_str().unwrap().to_owned();
    let path = bellwether.dir().join(format!("kept/backups/{newer}.json"));
    let whole = std::fs::read(&path).unwrap();
    for end in [0, 1, whole.len() / 2, whole.len() - 2] {
        std::fs::write(&path, &whole[..end]).unwrap();
        let words = ["restore", "--from", "kept", "--data-dir", "new"];
        bellwether.fails(&words, 4, &[&newer, "is damaged", &format!("--backup NAME: {older}")]);
        assert!(!bellwether.dir().join("new").exists(), "cut at {end}");
    }
    bellwether.ok(&["restore", "--from", "kept", "--backup", &older, "--data-dir", "new"]);
    assert_eq!(bellwether.ok(&["model", "show", "rows", "--data-dir", "new"])["version"], 1);
}

#[test]
fn versions_that_are_uploaded_meanwhile_are_in_it_whole_or_not_at_all() {
    let bellwether = deployed();
    let folder = bellwether.dir().display().to_string();
    let serving = bellwether.serve(&["--allow-root", &format!("file://{folder}")]);
    let url = serving.url.clone();
    let mut backups = Vec::new();
    std::thread::scope(|scope| {
        let uploading = scope.spawn(|| {
            for _ in 0..8 {
                bellwether.ok(&["model", "upload", "bundle", "--server", &url]);
            }
        });
        // One at least, however soon they are uploaded.
        loop {
            backups.push(bellwether.ok(&["backup", "--out", "kept"])["name"].as_str().unwrap().to_owned());
            if uploading.is_finished() {
                break;
            }
        }
        uploading.join().unwrap();
    });
    assert_eq!(serving.terminate(), 0);
    let mut counts = Vec::new();
    for (at, name) in backups.iter().enumerate() {
        let data_dir = format!("restored-{at}");
        bellwether.ok(&["restore", "--from", "kept", "--backup", name, "--data-dir", &data_dir]);
        let pruned = bellwether.ok(&["model", "prune", "rows", "--keep", "99", "--data-dir", &data_dir]);
        let versions = pruned["kept"].as_array().unwrap().clone();
        // Every one that is there can be loaded: its files are those that were registered.
        let newest = format!("rows@{}", versions.len());
        let words = ["predict", "--model", &newest, "--input", "-", "--input-format", "csv", "--out", "-"];
        let mut child = bellwether.command(&[&words[..], &["--data-dir", &data_dir]].concat());
        child.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"a,b\n1,2\n").unwrap();
        assert!(child.wait().unwrap().success(), "{newest} of {name}");
        counts.push(versions.len());
    }
    assert!(counts.is_sorted() && counts[0] >= 1 && counts.iter().all(|count| *count <= 9), "{counts:?}");
}

#[test]
fn a_list_that_names_files_elsewhere_is_refused() {
    let bellwether = deployed();
    bellwether.ok(&["backup", "--out", "kept"]);
    let path = files_under(&bellwether.dir().join("kept/backups")).remove(0);
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let entry = manifest["files"]["registry.sqlite"].clone();
    let with = |name: &str| {
        let mut changed = manifest.clone();
        changed["files"][name] = entry.clone();
        std::fs::write(&path, changed.to_string()).unwrap();
        bellwether.fails(
            &["restore", "--from", "kept", "--data-dir", "new"],
            4,
            &["names a file that cannot be"],
        );
    };
    with("../escaped");
    with("/tmp/escaped");
    manifest["version"] = 2.into();
    std::fs::write(&path, manifest.to_string()).unwrap();
    let words = ["restore", "--from", "kept", "--data-dir", "new"];
    bellwether.fails(&words, 4, &["is of version 2, this build reads 1"]);
    assert!(!bellwether.dir().join("new").exists() && !bellwether.dir().join("escaped").exists());
}
