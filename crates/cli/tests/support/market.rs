//! A small market, made up but reproducible, and a pipeline that trains on it in a moment.

use std::fmt::Write;

use jiff::ToSpan;
use jiff::civil::{Date, Weekday, date};

pub(crate) const SYMBOLS: [&str; 12] =
    ["AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG", "HHH", "III", "JJJ", "KKK", "LLL"];

/// Weekdays from 2020-01-01.
pub(crate) fn dates(count: usize) -> Vec<Date> {
    date(2020, 1, 1)
        .series(1.day())
        .filter(|day| !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday))
        .take(count)
        .collect()
}

/// A wide file of closes: random walks of a few percent a day, from a fixed seed.
pub(crate) fn prices_csv(days: usize) -> String {
    let mut state = 42u64;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1u32 << 31)
    };
    let mut closes = [50.0f64; SYMBOLS.len()];
    let mut csv = format!("Date,{}\n", SYMBOLS.join(","));
    for day in dates(days) {
        write!(csv, "{day}").unwrap();
        for close in &mut closes {
            *close *= 1.0 + 0.04 * (uniform() - 0.5);
            write!(csv, ",{close:.4}").unwrap();
        }
        csv.push('\n');
    }
    csv
}

/// A pipeline over `prices.csv` beside it.
pub(crate) const PIPELINE: &str = r#"
version = 1
name = "tiny"

[data]
dataset = "tiny"
source = ["prices.csv"]

[features.custom]
momentum = "$close/Ref($close,5)-1"
volatility = "Std($close/Ref($close,1),10)"

[label]
expression = "Ref($close,-2)/Ref($close,-1)-1"
classes = 4

[split]
train = ["2020-01-01", "2020-08-31"]
valid = ["2020-09-01", "2020-11-30"]
test = ["2020-12-01", "2021-05-31"]
embargo_days = 2

[processors]
normalization = "robust_zscore"
clip = 3.0
nan = "fill"

[[model.layers]]
type = "dense"
units = 8
activation = "relu"

[[model.layers]]
type = "dense"
units = 4
activation = "softmax"

[fit]
epochs = 2
batch_size = 64
seed = 7

[deploy]
endpoint = "tiny"
cpu_cores = 1
memory_gb = 1
"#;
