//! Runs the real binary in a folder of its own.
#![allow(dead_code, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up must fail at once")]

pub(crate) mod market;
pub(crate) mod table;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A folder with a data directory in it; nothing of the surrounding environment reaches the binary.
pub(crate) struct Bellwether {
    dir: tempfile::TempDir,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Stdout as the one JSON document it must be.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("stdout is not one JSON document: {error}\n{}\n{}", self.stdout, self.stderr)
        })
    }
}

impl Bellwether {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Writes a file into the folder.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, &[])
    }

    pub(crate) fn run_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Run {
        let Output { status, stdout, stderr } =
            self.command(args).envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
        Run {
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    /// Runs a verb that must succeed, and gives its JSON document.
    pub(crate) fn ok(&self, args: &[&str]) -> Value {
        let run = self.run(&[args, &["--json"]].concat());
        assert_eq!(run.code, 0, "{args:?}: {}{}", run.stdout, run.stderr);
        run.json()
    }

    /// Runs a verb that must fail with this exit code, and gives its message, which must name what it should.
    pub(crate) fn fails(&self, args: &[&str], code: i32, parts: &[&str]) -> String {
        let run = self.run(&[args, &["--json"]].concat());
        assert_eq!(run.code, code, "{args:?}: {}{}", run.stdout, run.stderr);
        let (_, message) = error_of(&run);
        for part in parts {
            assert!(message.contains(part), "{args:?}: \"{part}\" is not in: {message}");
        }
        message
    }

    /// Starts `serve` on a free port and waits until it says where it answers.
    pub(crate) fn serve(&self, more: &[&str]) -> Serving {
        let args = [&["serve", "--listen", "127.0.0.1:0", "--json"], more].concat();
        let mut command = self.command(&args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut document = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let value = loop {
            assert!(lines.read_line(&mut document).unwrap() > 0, "serve ended early: {document}");
            if let Ok(value) = serde_json::from_str::<Value>(&document) {
                break value;
            }
        };
        Serving { child, url: value["url"].as_str().unwrap().to_owned(), started: value }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("BELLWETHER_DATA_DIR", self.data_dir());
        command
    }
}

/// A server that ends with the test.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) url: String,
    pub(crate) started: Value,
}

impl Serving {
    /// Asks the process to end as a service manager does, and gives its exit code.
    pub(crate) fn terminate(mut self) -> i32 {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kind and message of the one error document on stdout; stderr tells the same.
pub(crate) fn error_of(run: &Run) -> (String, String) {
    let document = run.json();
    let part = |key: &str| document["error"][key].as_str().unwrap_or_default().to_owned();
    let message = part("message");
    assert!(run.stderr.contains(message.lines().next().unwrap_or_default()), "{}", run.stderr);
    (part("kind"), message)
}
