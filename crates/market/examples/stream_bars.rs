//! Streams a million bars of 500 instruments through Alpha158, and prints what a bar took as one JSON document.

use std::time::Instant;

use jiff::ToSpan;
use jiff::civil::date;
use market::{FeatureSet, FeatureStream, StreamConfig, set};

const INSTRUMENTS: usize = 500;
const DAYS: i64 = 2_000;

fn main() -> market::Result<()> {
    let fields = ["close", "high", "low", "open", "volume", "vwap"];
    let features = FeatureSet::new(set::select("alpha158", &fields, None)?.included)?;
    let config = StreamConfig {
        instruments: (0..INSTRUMENTS).map(|i| format!("S{i:03}")).collect(),
        universe: (0..INSTRUMENTS).collect(),
        fields: fields.map(str::to_owned).to_vec(),
    };
    let mut stream = FeatureStream::new(&features, config)?;
    let mut state = 7u64;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    let mut closes = vec![50.0; INSTRUMENTS];
    let mut nanos = Vec::with_capacity(INSTRUMENTS * DAYS as usize);
    let mut checksum = 0.0f64;
    for day in 0..DAYS {
        let time = (date(2000, 1, 3) + day.days()).at(0, 0, 0, 0);
        for (instrument, close) in closes.iter_mut().enumerate() {
            let open = *close * (1.0 + 0.01 * noise());
            *close *= 1.0 + 0.04 * noise();
            let (low, high) = (open.min(*close) * 0.995, open.max(*close) * 1.005);
            let volume = (1e6 * (1.0 + noise())).round();
            let bar = [*close, high, low, open, volume, (high + low + *close) / 3.0];
            let begin = Instant::now();
            let row = stream.push(instrument, time, &bar)?;
            nanos.push(begin.elapsed().as_nanos());
            checksum += row.map_or(0.0, |row| f64::from(row[13]));
        }
        stream.close(time)?;
    }
    nanos.sort_unstable();
    let micros = |nanos: u128| nanos as f64 / 1000.0;
    let at = |share: f64| micros(nanos[((nanos.len() - 1) as f64 * share) as usize]);
    let mean = micros(nanos.iter().sum::<u128>()) / nanos.len() as f64;
    let document = serde_json::json!({
        "bars": nanos.len(), "features": stream.features().len(), "mean_us": mean, "p50_us": at(0.5),
        "p99_us": at(0.99), "checksum": checksum,
    });
    // The one result of an example goes to stdout.
    #[allow(clippy::print_stdout)]
    {
        println!("{document}");
    }
    Ok(())
}
