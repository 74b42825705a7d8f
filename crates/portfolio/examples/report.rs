//! Writes a report about made-up numbers, to look at the page: `cargo run -p portfolio --example report -- OUT.html`.

#[path = "../tests/sample/mod.rs"]
mod sample;

fn main() -> std::io::Result<()> {
    let out = std::env::args().nth(1).unwrap_or_else(|| "report.html".to_owned());
    let report = sample::report(&sample::Market::new(1255, 0.0), "AAPL");
    std::fs::write(out, portfolio::report::html(&report))
}
