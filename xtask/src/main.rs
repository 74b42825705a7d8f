//! Chores of this workspace that are no part of the product: `cargo run -p xtask -- tidy|codegen`.

mod codegen;
mod tidy;

use std::io::Write;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["tidy"] => {
            tidy::run()?;
            writeln!(std::io::stdout(), "tidy: no violations")?;
            Ok(())
        }
        ["codegen"] => codegen::run(),
        _ => bail!("usage: cargo run -p xtask -- tidy|codegen"),
    }
}
