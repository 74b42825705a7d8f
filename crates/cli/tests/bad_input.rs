//! Each wrong input has its own error, exit code and way out, and changes nothing.

mod support;

use serde_json::Value;
use support::Bellwether;
use support::market::{PIPELINE, dates, prices_csv};

const DAYS: usize = 380;

/// What the data directory holds, as its own verbs tell it.
fn holdings(bellwether: &Bellwether) -> [Value; 3] {
    [["data", "list"], ["model", "list"], ["endpoint", "list"]].map(|verb| bellwether.ok(&verb))
}

/// A case of a file that `data import` must refuse.
struct Case {
    csv: String,
    parts: &'static [&'static str],
}

#[test]
fn files_that_cannot_be_imported_are_refused_with_the_place() {
    let head = "date,symbol,close\n2020-01-02,AAA,10\n";
    let cases = [
        Case { csv: format!("{head}2020-13-03,AAA,10\n"), parts: &["bad.csv", "2020-13-03", "3"] },
        Case { csv: format!("{head}2020-01-02,AAA,11\n"), parts: &["bad.csv", "2020-01-02", "AAA", "twice"] },
        Case { csv: format!("{head}2020-01-03,AAA,0\n"), parts: &["bad.csv", "3", "close"] },
        Case { csv: format!("{head}2020-01-03,AAA,-1\n"), parts: &["bad.csv", "3", "-1"] },
        Case { csv: format!("{head}2020-01-03,AAA,x\n"), parts: &["bad.csv", "3", "x"] },
        Case { csv: "date,symbol,volume\n2020-01-02,AAA,5\n".to_owned(), parts: &["bad.csv", "close"] },
        Case { csv: format!("{head}2020-01-03,AAA,5\n"), parts: &["AAA", "2020-01-03", "--accept-jumps"] },
        Case { csv: String::new(), parts: &["bad.csv"] },
    ];
    let bellwether = Bellwether::new();
    let before = holdings(&bellwether);
    for Case { csv, parts } in cases {
        bellwether.file("bad.csv", &csv);
        bellwether.fails(&["data", "import", "bad.csv", "--name", "bad"], 2, parts);
    }
    bellwether.fails(&["data", "import", "gone.csv", "--name", "bad"], 3, &["gone.csv"]);
    bellwether.fails(&["data", "show", "bad"], 3, &["bad"]);
    assert_eq!(holdings(&bellwether), before);
}

#[test]
fn a_jump_is_kept_when_it_is_accepted() {
    let bellwether = Bellwether::new();
    bellwether
        .file("jump.csv", "date,symbol,close\n2020-01-02,AAA,10\n2020-01-03,AAA,5\n2020-01-06,AAA,5.1\n");
    let import = |flag: &str| bellwether.ok(&["data", "import", "jump.csv", "--name", "jump", flag]);
    assert_eq!(import("--accept-jumps=AAA:2020-01-03")["created"], true);
    assert_eq!(import("--accept-jumps")["quality"]["rows"], 3);
    let import = ["data", "import", "jump.csv", "--name", "jump", "--accept-jumps=AAA:2020-01-06"];
    bellwether.fails(&import, 2, &["AAA", "2020-01-03"]);
}

#[test]
fn pipelines_that_cannot_be_run_are_refused_before_anything_is_written() {
    let bellwether = Bellwether::new();
    bellwether.file("prices.csv", &prices_csv(DAYS));
    let cases: [(&str, &str, &[&str]); 9] = [
        ("epochs = 2", "epohcs = 2", &["bad.toml", "epohcs", "epochs"]),
        ("Std($close/Ref($close,1),10)", "Sdt($close,10)", &["volatility", "Sdt", "Std", "1"]),
        ("Std($close/Ref($close,1),10)", "Std($clsoe,10)", &["clsoe", "close"]),
        ("Std($close/Ref($close,1),10)", "Ref($close,-1)", &["volatility", "ahead"]),
        ("[\"2020-12-01\", \"2021-05-31\"]", "[\"2031-12-01\", \"2032-05-31\"]", &["test", "2020-01-01"]),
        ("[\"2020-09-01\", \"2020-11-30\"]", "[\"2020-08-01\", \"2020-11-30\"]", &["train", "valid"]),
        ("source = [\"prices.csv\"]", "source = [\"gone.csv\"]", &["gone.csv"]),
        ("dataset = \"tiny\"", "dataset = \"tiny\"\nuniverse = [\"AAB\"]", &["AAB", "AAA"]),
        ("units = 4", "units = 3", &["last layer has 3 units", "label.classes is 4"]),
    ];
    for (good, bad, parts) in cases {
        assert!(PIPELINE.contains(good), "{good}");
        bellwether.file("bad.toml", &PIPELINE.replacen(good, bad, 1));
        let code = if bad.contains("gone.csv") { 3 } else { 2 };
        bellwether.fails(&["train", "bad.toml", "--out", "bundle"], code, parts);
        assert!(!bellwether.dir().join("bundle/bundle.json").exists(), "{bad}");
    }
    bellwether.fails(&["train", "gone.toml"], 3, &["gone.toml"]);
    assert!(bellwether.ok(&["model", "list"])["models"].as_array().unwrap().is_empty());
}

#[test]
fn a_bundle_with_a_wrong_digest_is_refused() {
    let bellwether = Bellwether::new();
    bellwether.file("prices.csv", &prices_csv(DAYS));
    bellwether.file("tiny.toml", PIPELINE);
    bellwether.ok(&["train", "tiny.toml", "--out", "bundle"]);
    let before = holdings(&bellwether);
    let onnx = bellwether.dir().join("bundle/model.onnx");
    let mut bytes = std::fs::read(&onnx).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&onnx, bytes).unwrap();
    bellwether.fails(&["model", "upload", "bundle"], 2, &["model.onnx"]);
    bellwether.fails(&["model", "upload", "."], 2, &["bundle.json"]);
    bellwether.fails(&["model", "show", "tiny"], 3, &["tiny"]);
    assert_eq!(holdings(&bellwether), before);
}

#[test]
fn questions_that_cannot_be_answered_say_why() {
    let bellwether = Bellwether::new();
    bellwether.file("prices.csv", &prices_csv(DAYS));
    bellwether.file("tiny.toml", &PIPELINE.replace("nan = \"fill\"", "nan = \"reject\""));
    bellwether.ok(&["train", "tiny.toml", "--out", "bundle"]);
    bellwether.ok(&["model", "upload", "bundle"]);
    bellwether.ok(&["endpoint", "create", "tiny"]);
    bellwether.fails(&["predict", "--endpoint", "tiny", "--symbol", "AAA"], 4, &["endpoint deploy"]);
    bellwether.fails(&["endpoint", "deploy", "tiny", "--model", "tiny@9"], 3, &["tiny", "9", "1"]);
    bellwether.fails(
        &["endpoint", "deploy", "tiny", "--model", "tiny", "--cpu-cores", "0"],
        2,
        &["cpu_cores"],
    );
    bellwether.fails(&["endpoint", "deploy", "tiny", "--model", "tiny", "--traffic", "0=50"], 2, &["100"]);
    let budget = ["endpoint", "deploy", "tiny", "--model", "tiny", "--memory-gb", "0.000001"];
    bellwether.fails(&budget, 5, &["memory"]);
    bellwether.ok(&["endpoint", "deploy", "tiny", "--model", "tiny"]);
    let before = holdings(&bellwether);

    let first = dates(1)[0].to_string();
    let cases: [(&[&str], i32, &[&str]); 7] = [
        (&["--vector", "[1]"], 2, &["1 values", "2 features", "momentum"]),
        (&["--vector", "[1, null]"], 2, &["volatility", "reject"]),
        (&["--vector", "[1, 1e39]"], 2, &["1e+39"]),
        (&["--symbol", "AAB"], 3, &["AAB", "AAA"]),
        (&["--symbol", "AAA", "--as-of", "2019-01-02"], 2, &["2019-01-02", &first]),
        (&["--symbol", "AAA", "--as-of", "2020-01-03"], 4, &["AAA"]),
        (&["--vector", "@gone.json"], 3, &["gone.json"]),
    ];
    for (question, code, parts) in cases {
        bellwether.fails(&[&["predict", "--endpoint", "tiny"], question].concat(), code, parts);
    }
    bellwether.fails(&["predict", "--endpoint", "tinny", "--symbol", "AAA"], 3, &["tinny", "tiny"]);
    assert_eq!(holdings(&bellwether), before);
}
