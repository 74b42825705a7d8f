//! Quantiles and ranks of many bars at once.

use pulp::{Simd, WithSimd};

use super::order::{self, SlidingOrder};
use super::tree::LANES;
use super::{Request, Stat, all_finite, known, one_if};

/// Quantiles, and ranks in long windows.
pub(super) struct Sorted<'a> {
    pub(super) input: &'a [f64],
    pub(super) lead: usize,
    pub(super) requests: &'a [Request],
    pub(super) outs: &'a mut [Vec<f64>],
}

impl WithSimd for Sorted<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        sorted(self.input, self.lead, self.requests, self.outs);
    }
}

/// Ranks in short windows.
pub(super) struct Ranked<'a> {
    pub(super) input: &'a [f64],
    pub(super) lead: usize,
    pub(super) requests: &'a [Request],
    pub(super) outs: &'a mut [Vec<f64>],
    pub(super) values: &'a mut Vec<f64>,
}

impl WithSimd for Ranked<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { input, lead, requests, outs, values } = self;
        let longest = requests.iter().map(|request| request.bars).max().unwrap_or(1);
        match lead + 1 >= longest && all_finite(input) {
            true => ranked::<true>(input, lead, requests, outs, values),
            false => ranked::<false>(input, lead, requests, outs, values),
        }
    }
}

/// Quantiles, and ranks in long windows; those of one window share its sorted values.
#[inline(always)]
fn sorted(input: &[f64], lead: usize, requests: &[Request], outs: &mut [Vec<f64>]) {
    let mut lengths: Vec<usize> = requests.iter().map(|request| request.bars).collect();
    lengths.sort_unstable();
    lengths.dedup();
    for bars in lengths {
        let own: Vec<&Request> = requests.iter().filter(|request| request.bars == bars).collect();
        let mut window = SlidingOrder::new(bars);
        for bar in (lead + 1).saturating_sub(bars)..input.len() {
            // What leaves came in before: nothing does until the window is full.
            let old = if bar >= bars && bar > lead { input[bar - bars] } else { f64::NAN };
            window.slide(old, input[bar]);
            if bar < lead {
                continue;
            }
            for request in &own {
                outs[request.index][bar - lead] = match request.stat {
                    Stat::Quantile(level) => window.quantile(level.value()),
                    _ => window.rank(input[bar]),
                };
            }
        }
    }
}

/// Ranks in short windows, counted for several bars side by side.
#[inline(always)]
fn ranked<const FULL: bool>(
    input: &[f64],
    lead: usize,
    requests: &[Request],
    outs: &mut [Vec<f64>],
    values: &mut Vec<f64>,
) {
    let mut windows: Vec<Request> = requests.to_vec();
    windows.sort_unstable_by_key(|request| request.bars);
    let longest = windows.last().map_or(1, |request| request.bars);
    values.clear();
    values.resize(longest - 1, f64::NAN);
    values.extend(input.iter().map(|value| known(*value)));
    values.resize(values.len() + LANES, f64::NAN);
    for start in (lead..input.len()).step_by(LANES) {
        let lanes = LANES.min(input.len() - start);
        let mut newest = [0.0; LANES];
        newest.copy_from_slice(&values[longest - 1 + start..][..LANES]);
        let (mut less, mut equal, mut count) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        let mut ages = 0;
        for request in &windows {
            for age in ages..request.bars {
                let mut other = [0.0; LANES];
                other.copy_from_slice(&values[longest - 1 + start - age..][..LANES]);
                for lane in 0..LANES {
                    less[lane] += one_if(other[lane] < newest[lane]);
                    equal[lane] += one_if(other[lane] == newest[lane]);
                    if !FULL {
                        count[lane] += one_if(!other[lane].is_nan());
                    }
                }
            }
            ages = request.bars;
            let out = &mut outs[request.index][start - lead..start - lead + lanes];
            for (lane, out) in out.iter_mut().enumerate() {
                let count = if FULL { request.bars as f64 } else { count[lane] };
                *out = order::rank(less[lane], equal[lane], count);
            }
        }
    }
}
