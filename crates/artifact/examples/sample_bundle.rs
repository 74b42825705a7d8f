//! Writes the sample bundle of the tests into a directory, with `rows.bin` and `expected.bin` (float32, little-endian)
//! beside it, so that any other loader can be tried on it: `cargo run -p artifact --example sample_bundle -- DIR`.

#[path = "../tests/sample/mod.rs"]
mod sample;

use std::path::PathBuf;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let directory = PathBuf::from(std::env::args().nth(1).context("name the directory to write")?);
    let model = sample::Model::new();
    artifact::bundle::write_directory(&directory, sample::parts(&model))?;
    let rows = sample::rows(1000);
    let expected: Vec<f32> = rows.iter().flat_map(|row| model.forward(row)).collect();
    let bytes = |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|x| x.to_le_bytes()).collect() };
    std::fs::write(directory.join("rows.bin"), bytes(&rows.concat()))?;
    std::fs::write(directory.join("expected.bin"), bytes(&expected))?;
    Ok(())
}
