//! `predict --input FILE`: killed and gone on with, from and to streams, and by a server to the same bytes.

mod support;

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::Bellwether;
use support::market::{PIPELINE, SYMBOLS, dates, prices_csv};
use support::table::{table_pipeline, write_table};

const ROWS: usize = 400_000;

/// A registered model of two columns.
fn with_model() -> Bellwether {
    let bellwether = Bellwether::new();
    write_table(&bellwether.dir().join("rows.parquet"), 400);
    bellwether.file("rows.toml", &table_pipeline("rows.parquet"));
    bellwether.ok(&["train", "rows.toml", "--out", "bundle"]);
    bellwether.ok(&["model", "upload", "bundle"]);
    bellwether
}

fn rows_csv(bellwether: &Bellwether, rows: usize) {
    let mut text = "id,b,a\n".to_owned();
    for n in 0..rows {
        text += &format!("r{n},{},{}\n", n % 5, n as f64 / 7.0 % 11.0 - 5.0);
    }
    bellwether.file("many.csv", &text);
}

fn journal_lines(bellwether: &Bellwether, out: &str) -> usize {
    let journal = bellwether.dir().join(format!("{out}.partial/journal.jsonl"));
    std::fs::read_to_string(journal).map_or(0, |text| text.lines().count())
}

#[test]
fn a_run_that_is_killed_goes_on_without_a_row_twice_or_missing() {
    let bellwether = with_model();
    rows_csv(&bellwether, ROWS);
    let line = |out: &str| {
        let words = ["predict", "--model", "rows", "--input", "many.csv", "--out", out, "--keep", "id"];
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        words.extend(["--part-rows", "5000", "--threads", "1", "--resume"].map(str::to_owned));
        words
    };
    let whole: Vec<String> = line("whole.csv");
    let report = bellwether.ok(&whole.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((&report["rows"], &report["errors"]), (&ROWS.into(), &0.into()));

    let words = line("out.csv");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (mut kills, mut runs) = (0, 0);
    while kills < 3 {
        let before = journal_lines(&bellwether, "out.csv");
        let mut child =
            bellwether.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while journal_lines(&bellwether, "out.csv") < before + 4 && child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing is written");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        runs += 1;
        if bellwether.dir().join("out.csv").exists() {
            // A busy machine let it end before it was killed.
            std::fs::remove_file(bellwether.dir().join("out.csv")).unwrap();
            kills = 0;
        }
        assert!(runs < 30, "it always ends before it is killed");
    }
    let report = bellwether.ok(&words);
    assert!(report["resumed_rows"].as_u64().unwrap() >= 3 * 4 * 4000, "{report}");
    let read = |name: &str| std::fs::read(bellwether.dir().join(name)).unwrap();
    assert!(read("out.csv") == read("whole.csv"), "the bytes differ");
}

#[test]
fn an_interrupted_run_keeps_what_it_has_and_says_how_to_go_on() {
    let bellwether = with_model();
    rows_csv(&bellwether, ROWS);
    let words =
        ["predict", "--model", "rows", "--input", "many.csv", "--out", "o.csv", "--part-rows", "5000"];
    let interrupted = || {
        let mut child = bellwether.command(&words).stderr(Stdio::piped()).spawn().unwrap();
        while journal_lines(&bellwether, "o.csv") < 3 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let kill = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        child.wait_with_output().unwrap()
    };
    let mut output = interrupted();
    for _ in 0..10 {
        if !output.status.success() {
            break;
        }
        // A busy machine let it end before that.
        std::fs::remove_file(bellwether.dir().join("o.csv")).unwrap();
        output = interrupted();
    }
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("--resume goes on after what is written"), "{said}");
    assert_eq!(bellwether.ok(&[&words[..], &["--resume"]].concat())["rows"], ROWS);
}

#[test]
fn standard_input_is_answered_on_standard_output() {
    let bellwether = with_model();
    let words = ["predict", "--model", "rows@1", "--input", "-", "--input-format", "csv", "--out", "-"];
    let mut child = bellwether
        .command(&words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"a,b\n1,2\n-3,4\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{stdout}");
    assert!(lines[0].ends_with(",model_version") && lines[1].ends_with(",rows@1"), "{stdout}");
    assert!(stderr.contains("rows@1"), "{stderr}");
    bellwether.fails(&words, 2, &["--json prints a document", "--out"]);
}

#[test]
fn a_server_answers_a_file_to_the_same_bytes() {
    let bellwether = with_model();
    rows_csv(&bellwether, 20_000);
    bellwether.ok(&["endpoint", "create", "e"]);
    let deploy = ["endpoint", "deploy", "e", "--model", "rows", "--cpu-cores", "1", "--memory-gb", "1"];
    bellwether.ok(&deploy);
    let asked = |who: &[&str], out: &str, more: &[&str]| {
        let files = ["--input", "many.csv", "--out", out, "--keep", "id"];
        bellwether.ok(&[&["predict"], who, &files, more].concat())
    };
    asked(&["--model", "rows@1"], "here.csv", &[]);
    asked(&["--endpoint", "e"], "endpoint.csv", &[]);
    let serving = bellwether.serve(&[]);
    let url = serving.url.clone();
    let report = asked(&["--model", "rows"], "there.csv", &["--server", &url]);
    assert_eq!((&report["model"], &report["model_version"]), (&"rows".into(), &1.into()));
    asked(&["--endpoint", "e"], "there-too.csv", &["--server", &url]);
    let read = |name: &str| std::fs::read_to_string(bellwether.dir().join(name)).unwrap();
    let here = read("here.csv");
    assert_eq!(here.lines().count(), 20_001);
    for name in ["endpoint.csv", "there.csv", "there-too.csv"] {
        assert!(read(name) == here, "{name} differs");
    }
    let none = ["predict", "--model", "rows@7", "--input", "many.csv", "--out", "x.csv", "--server", &url];
    bellwether.fails(&none, 3, &["has no version 7"]);
    assert_eq!(serving.terminate(), 0);
    let none = ["predict", "--endpoint", "e2", "--input", "many.csv", "--out", "x.csv"];
    bellwether.fails(&none, 3, &["e2"]);
    assert!(!Path::new(&bellwether.dir().join("x.csv")).exists());
}

#[test]
fn a_server_answers_rows_by_symbol_to_the_same_bytes() {
    let bellwether = Bellwether::new();
    bellwether.file("prices.csv", &prices_csv(380));
    bellwether.file("tiny.toml", PIPELINE);
    bellwether.ok(&["train", "tiny.toml", "--out", "bundle"]);
    bellwether.ok(&["model", "upload", "bundle"]);
    bellwether.ok(&["model", "upload", "bundle"]);
    bellwether.ok(&["endpoint", "create", "e"]);
    let deploy = ["endpoint", "deploy", "e", "--model", "tiny@1", "--cpu-cores", "1", "--memory-gb", "1"];
    bellwether.ok(&deploy);
    // Each day has all instruments, and one that is not there; some rows have no day.
    let mut csv = "as_of,symbol,id\n".to_owned();
    for (at, day) in dates(380).iter().skip(60).step_by(40).enumerate() {
        for (n, symbol) in SYMBOLS.iter().enumerate() {
            let day = if n % 5 == 4 { String::new() } else { day.to_string() };
            csv += &format!("{day},{symbol},{at}-{n}\n");
        }
        csv += &format!("{day},NOBODY,{at}-none\n");
    }
    bellwether.file("days.csv", &csv);
    // Rows by symbol among rows of numbers.
    let mut lines = String::new();
    for n in 0..50 {
        lines += &match n % 3 {
            0 => format!("{{\"id\": {n}, \"symbol\": \"{}\"}}\n", SYMBOLS[n % SYMBOLS.len()]),
            1 => format!("{{\"id\": {n}, \"momentum\": 0.0{n}, \"volatility\": null}}\n"),
            _ => format!("{{\"id\": {n}, \"symbol\": \"BBB\", \"as_of\": \"2021-01-{:02}\"}}\n", 1 + n % 28),
        };
    }
    lines += "{\"symbol\": \"AAA\", \"as_of\": \"1999-01-01\"}\n{\"momentum\": 1}\n";
    bellwether.file("mixed.jsonl", &lines);
    let asked = |input: &str, out: &str, who: &[&str]| {
        let words = ["predict", "--input", input, "--out", out, "--keep", "id", "--max-errors", "9"];
        bellwether.ok(&[&words[..], who].concat())
    };
    let read = |name: &str| std::fs::read_to_string(bellwether.dir().join(name)).unwrap();
    let report = asked("days.csv", "days-here.csv", &["--model", "tiny@1"]);
    assert_eq!((&report["rows"], &report["errors"]), (&(8 * 13).into(), &8.into()), "{report}");
    asked("mixed.jsonl", "mixed-here.jsonl", &["--model", "tiny@1"]);
    let serving = bellwether.serve(&[]);
    let url = serving.url.clone();
    for (at, who) in [["--model", "tiny@1"], ["--endpoint", "e"]].iter().enumerate() {
        let who = [&who[..], &["--server", &url]].concat();
        for (input, kind) in [("days.csv", "csv"), ("mixed.jsonl", "jsonl")] {
            let name = input.split('.').next().unwrap();
            let there = format!("{name}-there-{at}.{kind}");
            asked(input, &there, &who);
            assert_eq!(read(&there), read(&format!("{name}-here.{kind}")), "{who:?}");
            let errors = |of: &str| read(&format!("{of}.errors.jsonl"));
            assert_eq!(errors(&there), errors(&format!("{name}-here.{kind}")), "{who:?}");
        }
    }
    // A version that no endpoint answers with cannot be asked for symbols there.
    let none = ["predict", "--model", "tiny@2", "--input", "days.csv", "--out", "x.csv", "--server", &url];
    bellwether.fails(
        &none,
        2,
        &["days.csv, row 1 (line 2), column \"symbol\"", "tiny@2 alone", "batchPredictionJob"],
    );
    assert_eq!(serving.terminate(), 0);
}
