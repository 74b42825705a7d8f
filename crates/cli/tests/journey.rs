//! From a file of prices to an answer, verb by verb, in the data directory and over the network.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::market::{PIPELINE, SYMBOLS, prices_csv};
use support::{Bellwether, error_of};

const DAYS: usize = 380;

/// A folder with prices and a pipeline.
fn with_market() -> Bellwether {
    let bellwether = Bellwether::new();
    bellwether.file("prices.csv", &prices_csv(DAYS));
    bellwether.file("tiny.toml", PIPELINE);
    bellwether
}

/// The same, trained, uploaded and deployed.
fn deployed() -> Bellwether {
    let bellwether = with_market();
    bellwether.ok(&["train", "tiny.toml", "--out", "bundle"]);
    bellwether.ok(&["model", "upload", "bundle"]);
    bellwether.ok(&["endpoint", "create", "tiny"]);
    bellwether.ok(&[
        "endpoint",
        "deploy",
        "tiny",
        "--model",
        "tiny@1",
        "--cpu-cores",
        "1",
        "--memory-gb",
        "1",
    ]);
    bellwether
}

#[test]
fn every_verb_works_alone_on_the_data_directory() {
    let bellwether = with_market();
    let imported = bellwether.ok(&["data", "import", "prices.csv", "--name", "tiny", "--note", "made up"]);
    assert_eq!(imported["created"], true);
    assert_eq!(imported["quality"]["rows"], DAYS * SYMBOLS.len());
    let again = bellwether.ok(&["data", "import", "prices.csv", "--name", "tiny", "--note", "made up"]);
    assert_eq!((&again["created"], &again["number"]), (&Value::Bool(false), &imported["number"]));
    assert_eq!(bellwether.ok(&["data", "list"])["datasets"].as_array().unwrap().len(), 1);
    assert_eq!(bellwether.ok(&["data", "show", "tiny@1"])["notes"][0], "made up");

    let report = bellwether.ok(&["train", "tiny.toml"]);
    assert_eq!(report["history"].as_array().unwrap().len(), 2);
    assert!(
        bellwether.dir().join("tiny-bundle/bundle.json").is_file(),
        "the default folder is ./NAME-bundle"
    );

    let model = bellwether.ok(&["model", "upload", "tiny-bundle"]);
    assert_eq!((&model["model"], &model["version"]), (&"tiny".into(), &1.into()));
    assert_eq!(bellwether.ok(&["model", "upload", "tiny-bundle"])["version"], 2);
    assert_eq!(bellwether.ok(&["model", "show", "tiny@1"])["aliases"][0], "default");
    assert_eq!(bellwether.ok(&["model", "list"])["models"].as_array().unwrap().len(), 1);

    bellwether.ok(&["endpoint", "create", "tiny"]);
    let first = bellwether.ok(&["endpoint", "deploy", "tiny", "--model", "tiny@1"]);
    let second = bellwether.ok(&["endpoint", "deploy", "tiny", "--model", "tiny@2"]);
    let (old, new) = (first["deployment"].as_str().unwrap(), second["deployment"].as_str().unwrap());
    assert_eq!(second["endpoint"]["traffic_split"][new], 100);
    bellwether.ok(&["endpoint", "undeploy", "tiny", "--deployment", old]);
    let shown = bellwether.ok(&["endpoint", "show", "tiny"]);
    assert_eq!(shown["deployments"].as_array().unwrap().len(), 1);

    let answer = bellwether.ok(&["predict", "--endpoint", "tiny", "--symbol", "AAA,BBB"]);
    assert_eq!((&answer["model"], &answer["version"]), (&"tiny".into(), &2.into()));
    let rows = answer["predictions"].as_array().unwrap();
    let total: f64 = rows[0]["probabilities"].as_array().unwrap().iter().filter_map(Value::as_f64).sum();
    assert!((total - 1.0).abs() < 1e-5, "{rows:?}");
}

#[test]
fn a_server_gives_the_same_answers_as_the_data_directory() {
    let bellwether = deployed();
    let question = ["predict", "--endpoint", "tiny", "--symbol", "AAA,CCC", "--as-of", "2021-04-01"];
    let local = bellwether.ok(&question);
    let shown = bellwether.ok(&["model", "show", "tiny"]);
    let endpoint = bellwether.ok(&["endpoint", "show", "tiny"]);

    let root = format!("file://{}", bellwether.dir().canonicalize().unwrap().display());
    let server = bellwether.serve(&["--allow-root", &root]);
    assert_eq!(server.started["ready"], true);
    let at = ["--server", server.url.as_str()];
    assert_eq!(bellwether.ok(&[&question[..], &at].concat()), local);
    assert_eq!(bellwether.ok(&[&["endpoint", "show", "tiny"][..], &at].concat()), endpoint);
    let remote = bellwether.ok(&[&["model", "show", "tiny"][..], &at].concat());
    for key in ["model", "version", "aliases", "artifact_uri", "bundle_digest", "signature", "created_at"] {
        assert_eq!(remote[key], shown[key], "{key}");
    }

    assert_eq!(bellwether.ok(&[&["model", "upload", "bundle"][..], &at].concat())["version"], 2);
    assert_eq!(bellwether.ok(&[&["model", "list"][..], &at].concat())["models"].as_array().unwrap().len(), 1);
    bellwether.ok(&[&["endpoint", "create", "other"][..], &at].concat());
    assert_eq!(
        bellwether.ok(&[&["endpoint", "list"][..], &at].concat())["endpoints"].as_array().unwrap().len(),
        2
    );
    let made = bellwether.ok(&[
        &["endpoint", "deploy", "other", "--model", "tiny@2", "--cpu-cores", "1", "--memory-gb", "1"][..],
        &at,
    ]
    .concat());
    let id = made["deployment"].as_str().unwrap();
    assert_eq!(made["endpoint"]["deployments"][0]["memory_gb"].as_f64(), Some(1.0));
    let vector = ["predict", "--endpoint", "other", "--vector", "[0.01, null]"];
    assert_eq!(bellwether.ok(&[&vector[..], &at].concat())["version"], 2);
    bellwether.ok(&[&["endpoint", "undeploy", "other", "--deployment", id][..], &at].concat());

    // Errors arrive with the server's kind and words.
    bellwether.fails(&[&["model", "show", "tinny"][..], &at].concat(), 3, &["tinny"]);
    bellwether.fails(&[&["endpoint", "create", "tiny"][..], &at].concat(), 4, &["tiny"]);
    bellwether.fails(
        &[&["predict", "--endpoint", "tiny", "--vector", "[1]"][..], &at].concat(),
        2,
        &["2 features"],
    );
}

#[test]
fn a_second_process_is_told_who_holds_the_directory() {
    let bellwether = Bellwether::new();
    let server = bellwether.serve(&[]);
    let pid = server.child.id().to_string();
    bellwether.fails(&["data", "list"], 4, &["bellwether serve", &pid, &server.url]);
    assert_eq!(server.terminate(), 0);
    bellwether.ok(&["data", "list"]);
}

#[test]
fn a_taken_port_names_the_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    Bellwether::new().fails(&["serve", "--listen", &address], 4, &[&address, "taken", "--listen"]);
}

#[test]
fn training_stops_when_asked_and_runs_again_without_clean_up() {
    let bellwether = with_market();
    bellwether.file("long.toml", &PIPELINE.replace("epochs = 2", "epochs = 100000"));
    let mut command = bellwether.command(&["train", "long.toml", "--out", "bundle", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut stderr = String::new();
    while !stderr.contains("epoch") {
        assert!(told.read_line(&mut stderr).unwrap() > 0, "it ends before it trains: {stderr}");
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    told.read_to_string(&mut stderr).unwrap();
    let output = child.wait_with_output().unwrap();
    let run = support::Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr,
    };
    assert_eq!(run.code, 130, "{run:?}");
    assert_eq!(error_of(&run).0, "CANCELLED");
    assert!(!bellwether.dir().join("bundle/bundle.json").exists());
    bellwether.ok(&["train", "tiny.toml", "--out", "bundle"]);
}

#[test]
fn a_deployment_that_fails_to_load_is_listed_and_the_rest_serves() {
    let bellwether = deployed();
    let shown = bellwether.ok(&["model", "show", "tiny"]);
    let uri = shown["artifact_uri"].as_str().unwrap();
    let onnx = std::path::Path::new(uri.strip_prefix("file://").unwrap()).join("model.onnx");
    std::fs::write(&onnx, b"not a model").unwrap();
    let server = bellwether.serve(&[]);
    assert_eq!(server.started["ready"], false);
    let why = server.started["deployments"][0]["error"].as_str().unwrap();
    assert!(why.contains("model.onnx"), "{why}");
}

#[test]
fn the_table_for_people_has_the_ranks() {
    let bellwether = deployed();
    let run = bellwether.run(&[
        "predict",
        "--endpoint",
        "tiny",
        "--symbol",
        "AAA,BBB,CCC",
        "--as-of",
        "2020-05-04",
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for symbol in ["AAA", "BBB", "CCC"] {
        assert!(run.stdout.contains(symbol), "{}", run.stdout);
    }
    assert!(run.stdout.contains("tiny@1") && run.stdout.contains("2020-05-04"), "{}", run.stdout);
    assert!(run.stdout.contains("warning: ") && run.stdout.contains("training window"), "{}", run.stdout);
}
