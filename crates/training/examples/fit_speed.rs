//! How long epochs take: `cargo run --release -p training --example fit_speed`.

use std::io::Write;

use training::{
    Activation, Columns, DenseConfig, Fit, FitConfig, LayerKind, ModelConfig, OutputConfig, Samples, Silent,
    fit,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for [columns, batch_size, rows, epochs] in [[64, 32, 60_000, 3], [75, 256, 75_000, 10]] {
        let value = |at: usize| (at as u32).wrapping_mul(2_654_435_761) as f32 / u32::MAX as f32 - 0.5;
        let features: Vec<f32> = (0..rows * columns).map(value).collect();
        let labels: Vec<u32> = features.chunks(columns).map(|row| (row[0] * 9.9 + 4.95) as u32).collect();
        let dense = |units, activation| LayerKind::Dense(DenseConfig::new(units, activation));
        let model =
            ModelConfig::sequential(vec![dense(128, Activation::Relu), dense(10, Activation::Softmax)]);
        let config = FitConfig { epochs, batch_size, ..FitConfig::default() };
        let job = Fit {
            model: &model,
            output: OutputConfig { units: 10, activation: Activation::Softmax },
            config: &config,
            columns: &Columns::numbered(columns),
            train: Samples::classes(&features, columns, &labels),
            valid: None,
            start: None,
            device: training::ComputeDevice::Cpu,
            directory: None,
        };
        let trained = fit(&job, &mut Silent)?;
        let mut out = std::io::stdout().lock();
        for report in trained.history() {
            let steps = rows.div_ceil(batch_size) as f64;
            let step = report.seconds / steps * 1e6;
            writeln!(
                out,
                "{columns}-128-10, batch {batch_size}: {:.3} s, {step:.0} us a step",
                report.seconds
            )?;
        }
    }
    Ok(())
}
