//! What a deployment takes at once: what was asked for, else the defaults of the engine room.

use std::time::Duration;

use registry::DeploymentLimits;
use serving::Limits;

/// All that holds for a deployment of which so much was asked for.
pub fn limits_in_effect(asked: DeploymentLimits) -> DeploymentLimits {
    let Limits { max_rows_per_request, max_queued_requests, max_batch_rows, max_delay } = Limits::default();
    let count = |value: usize| Some(u32::try_from(value).unwrap_or(u32::MAX));
    asked.or(DeploymentLimits {
        max_batch_rows: count(max_batch_rows),
        max_delay_us: Some(u32::try_from(max_delay.as_micros()).unwrap_or(u32::MAX)),
        max_queued_requests: count(max_queued_requests),
        max_rows_per_request: count(max_rows_per_request),
    })
}

/// The same as the engine room takes it.
pub(crate) fn of_engine(asked: DeploymentLimits) -> Limits {
    let default = Limits::default();
    let count = |asked: Option<u32>, default: usize| asked.map_or(default, |value| value as usize);
    Limits {
        max_rows_per_request: count(asked.max_rows_per_request, default.max_rows_per_request),
        max_queued_requests: count(asked.max_queued_requests, default.max_queued_requests),
        max_batch_rows: count(asked.max_batch_rows, default.max_batch_rows),
        max_delay: asked.max_delay_us.map_or(default.max_delay, |us| Duration::from_micros(us.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_is_as_ever() {
        assert_eq!(of_engine(DeploymentLimits::default()), Limits::default());
        let asked =
            DeploymentLimits { max_batch_rows: Some(7), max_delay_us: Some(500), ..Default::default() };
        let engine = of_engine(asked);
        assert_eq!((engine.max_batch_rows, engine.max_delay), (7, Duration::from_micros(500)));
        let all = limits_in_effect(asked);
        assert_eq!((all.max_batch_rows, all.max_delay_us), (Some(7), Some(500)));
        assert_eq!((all.max_queued_requests, all.max_rows_per_request), (Some(256), Some(65_536)));
        assert_eq!(of_engine(all), engine);
    }
}
