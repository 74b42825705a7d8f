//! The binary as a user meets it: help, exit codes, where words go, where settings come from.

mod support;

use support::{Bellwether, error_of};

const VERBS: [&[&str]; 23] = [
    &["quickstart"],
    &["run"],
    &["data", "import"],
    &["data", "list"],
    &["data", "show"],
    &["train"],
    &["job", "list"],
    &["job", "show"],
    &["job", "logs"],
    &["job", "cancel"],
    &["job", "resume"],
    &["job", "delete"],
    &["model", "upload"],
    &["model", "list"],
    &["model", "show"],
    &["endpoint", "create"],
    &["endpoint", "list"],
    &["endpoint", "show"],
    &["endpoint", "deploy"],
    &["endpoint", "undeploy"],
    &["serve"],
    &["predict"],
    &["config", "show"],
];

#[test]
fn every_verb_explains_itself_with_an_example() {
    let bellwether = Bellwether::new();
    for verb in VERBS {
        let run = bellwether.run(&[verb, &["--help"]].concat());
        assert_eq!(run.code, 0, "{verb:?}");
        let example = format!("bellwether {}", verb.join(" "));
        let after = run.stdout.split_once("Example").map(|(_, after)| after).unwrap_or_default();
        assert!(after.contains(&example), "{verb:?} shows no example:\n{}", run.stdout);
    }
}

#[test]
fn the_help_lists_the_exit_codes() {
    let help = Bellwether::new().run(&["--help"]).stdout;
    for code in ["0", "1", "2", "3", "4", "5", "130"] {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(&format!("{code} "))),
            "{code}:\n{help}"
        );
    }
}

#[test]
fn wrong_usage_ends_with_2_and_keeps_stdout_clean() {
    let run = Bellwether::new().run(&["data", "imprt"]);
    assert_eq!(run.code, 2);
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("import"), "{}", run.stderr);
}

#[test]
fn wrong_usage_is_one_json_document_when_asked() {
    let run = Bellwether::new().run(&["predict", "--endpoint", "e", "--json"]);
    assert_eq!(run.code, 2);
    let (kind, message) = error_of(&run);
    assert_eq!(kind, "INVALID_ARGUMENT");
    assert!(message.contains("--symbol"), "{message}");
}

#[test]
fn config_show_says_where_each_value_comes_from() {
    let bellwether = Bellwether::new();
    std::fs::write(bellwether.dir().join("bellwether.toml"), "project = \"filed\"\nlog = \"error\"\n")
        .unwrap();
    let run = bellwether.run_with(
        &["config", "show", "--json", "--project", "flagged"],
        &[("BELLWETHER_PROJECT", "varied"), ("BELLWETHER_LISTEN", "127.0.0.1:1")],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let settings = &run.json()["settings"];
    let shown = |key: &str| {
        let setting = &settings[key];
        (setting["value"].as_str().unwrap().to_owned(), setting["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(shown("project"), ("flagged".into(), "flag --project".into()));
    assert_eq!(shown("listen"), ("127.0.0.1:1".into(), "environment BELLWETHER_LISTEN".into()));
    let (log, origin) = shown("log");
    assert_eq!(log, "error");
    assert!(origin.starts_with("file ") && origin.ends_with("bellwether.toml"), "{origin}");
    let (data_dir, origin) = shown("data_dir");
    assert!(
        data_dir.ends_with("/data") && origin == "environment BELLWETHER_DATA_DIR",
        "{data_dir} {origin}"
    );
    assert_eq!(shown("artifact_root").1, "default");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest() {
    let bellwether = Bellwether::new();
    std::fs::write(bellwether.dir().join("bellwether.toml"), "projet = \"x\"\n").unwrap();
    let run = bellwether.run(&["config", "show", "--json"]);
    assert_eq!(run.code, 2);
    let (_, message) = error_of(&run);
    assert!(
        message.contains("bellwether.toml:1") && message.contains("did you mean \"project\""),
        "{message}"
    );
}

#[test]
fn a_wrong_log_filter_is_refused() {
    let run = Bellwether::new().run(&["config", "show", "--log", "a=b=c"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("a=b=c") && run.stderr.contains("try warn"), "{}", run.stderr);
}

#[test]
fn server_is_refused_where_it_means_nothing() {
    let run = Bellwether::new().run(&["data", "list", "--server", "http://127.0.0.1:1"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("`bellwether data list` works on the data directory"), "{}", run.stderr);
}

#[test]
fn no_server_is_unavailable_and_says_how_to_start_one() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let run = Bellwether::new().run(&["model", "list", "--server", &url, "--json"]);
    assert_eq!(run.code, 5);
    let (kind, message) = error_of(&run);
    assert_eq!(kind, "UNAVAILABLE");
    assert!(message.contains(&url) && message.contains("bellwether serve"), "{message}");
}

#[test]
fn serving_beyond_this_machine_is_refused() {
    let bellwether = Bellwether::new();
    let run = bellwether.run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("no API keys"), "{}", run.stderr);
    assert!(!bellwether.data_dir().exists(), "a refused start leaves nothing behind");
}
