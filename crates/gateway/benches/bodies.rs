//! How fast bodies are read and written, in MB/s of one core: 1,000 rows of 158 numbers, by each protocol.
//!
//! `cargo bench -p gateway --bench bodies`. The best of some runs, since other work on the machine only ever makes one slower.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use gateway::speed::Model;

const ROWS: usize = 1000;
const WIDTH: usize = 158;
/// How long each is repeated.
const MEASURED_FOR: Duration = Duration::from_millis(500);

fn main() -> std::io::Result<()> {
    let model = Model::of_rows(WIDTH);
    let numbers = numbers();
    let rows: Vec<String> = numbers.chunks(WIDTH).map(|row| joined(row, ", ")).collect();
    let nested = format!("[[{}]]", rows.join("], ["));
    let instances = format!("{{\"instances\": {nested}}}");
    let inputs = format!(
        "{{\"inputs\": [{{\"name\": \"features\", \"shape\": [{ROWS}, {WIDTH}], \"datatype\": \"FP32\", \"data\": {nested}}}]}}"
    );
    let header: Vec<String> = (0..WIDTH).map(|column| column.to_string()).collect();
    let lines: Vec<String> = numbers.chunks(WIDTH).map(|row| joined(row, ",")).collect();
    let csv = format!("{}\n{}\n", header.join(","), lines.join("\n"));

    let mut table = String::new();
    let mut read = |name: &str, body: &str, taken: &dyn Fn(&[u8]) -> bool| {
        let megabytes = megabytes_per_second(|| {
            assert!(taken(black_box(body.as_bytes())), "{name} refuses its own body");
            body.len()
        });
        let _ = writeln!(table, "read   {name:26} {:9} bytes {megabytes:7.0} MB/s", body.len());
    };
    read("Vertex AI", &instances, &|body| model.read_vertex(body));
    read("TensorFlow Serving", &instances, &|body| model.read_tensorflow_serving(body));
    read("Open Inference", &inputs, &|body| model.read_open_inference(body));
    read("MLflow, instances", &instances, &|body| model.read_mlflow(body));
    read("MLflow, CSV", &csv, &|body| model.read_mlflow(body));

    let answer = model.answer(numbers).map_err(std::io::Error::other)?;
    let mut write = |name: &str, written: &dyn Fn() -> Option<Vec<u8>>| {
        let megabytes = megabytes_per_second(|| black_box(written()).map_or(0, |body| body.len()));
        let size = written().map_or(0, |body| body.len());
        let _ = writeln!(table, "write  {name:26} {size:9} bytes {megabytes:7.0} MB/s");
    };
    write("Vertex AI, MLflow", &|| answer.as_vertex());
    write("TensorFlow Serving", &|| answer.as_tensorflow_serving());
    write("Open Inference", &|| answer.as_open_inference());
    std::io::stdout().write_all(table.as_bytes())
}

/// Numbers as features are, about 0 and of any digits; the same in every run.
fn numbers() -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..ROWS * WIDTH).map(|_| uniform() + uniform() + uniform() - 1.5).collect()
}

fn joined(row: &[f32], between: &str) -> String {
    let numbers: Vec<String> = row.iter().map(f32::to_string).collect();
    numbers.join(between)
}

fn megabytes_per_second(mut run: impl FnMut() -> usize) -> f64 {
    let begun = Instant::now();
    let mut best = 0.0f64;
    while begun.elapsed() < MEASURED_FOR {
        let started = Instant::now();
        let bytes = run();
        best = best.max(bytes as f64 / 1e6 / started.elapsed().as_secs_f64());
    }
    best
}
