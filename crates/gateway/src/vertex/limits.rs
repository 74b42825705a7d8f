//! `limits` of a deployed model, which we add to Vertex AI's: what it takes at once, `maxBatchRows`, `maxDelayUs`,
//! `maxQueuedRequests` and `maxRowsPerRequest`. In a request what is absent stays, or is the default; a reply has all of them.

use platform::{DeploymentLimits, Error, limits_in_effect};
use serde_json::{Value, json};

use super::fields::Fields;

/// The limits asked for. Which numbers they may be is decided where they are kept.
pub(crate) fn asked(deployed: &mut Fields) -> Result<DeploymentLimits, Error> {
    let Some(mut limits) = deployed.object("limits")? else { return Ok(DeploymentLimits::default()) };
    let asked = DeploymentLimits {
        max_batch_rows: count(&mut limits, "maxBatchRows")?,
        max_delay_us: count(&mut limits, "maxDelayUs")?,
        max_queued_requests: count(&mut limits, "maxQueuedRequests")?,
        max_rows_per_request: count(&mut limits, "maxRowsPerRequest")?,
    };
    limits.finish(&[])?;
    Ok(asked)
}

/// Those of them that a mask names.
pub(crate) fn masked(limits: DeploymentLimits, named: impl Fn(&str) -> bool) -> DeploymentLimits {
    DeploymentLimits {
        max_batch_rows: limits.max_batch_rows.filter(|_| named("limits.maxBatchRows")),
        max_delay_us: limits.max_delay_us.filter(|_| named("limits.maxDelayUs")),
        max_queued_requests: limits.max_queued_requests.filter(|_| named("limits.maxQueuedRequests")),
        max_rows_per_request: limits.max_rows_per_request.filter(|_| named("limits.maxRowsPerRequest")),
    }
}

/// All limits that hold where these were asked for.
pub(crate) fn written(asked: DeploymentLimits) -> Value {
    let DeploymentLimits { max_batch_rows, max_delay_us, max_queued_requests, max_rows_per_request } =
        limits_in_effect(asked);
    json!({
        "maxBatchRows": max_batch_rows,
        "maxDelayUs": max_delay_us,
        "maxQueuedRequests": max_queued_requests,
        "maxRowsPerRequest": max_rows_per_request,
    })
}

fn count(limits: &mut Fields, name: &'static str) -> Result<Option<u32>, Error> {
    let Some(number) = limits.integer(name)? else { return Ok(None) };
    let whole = u32::try_from(number).map_err(|_| limits.invalid(name, &format!("{number} is out of range")));
    whole.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &Value) -> Result<DeploymentLimits, Error> {
        asked(&mut Fields::parse(body.to_string().as_bytes())?)
    }

    #[test]
    fn limits_are_read_masked_and_written() {
        let limits = read(&json!({"limits": {"maxBatchRows": 8, "maxDelayUs": "250"}})).unwrap();
        assert_eq!((limits.max_batch_rows, limits.max_delay_us), (Some(8), Some(250)));
        assert_eq!(limits.max_queued_requests, None);
        assert_eq!(read(&json!({})).unwrap(), DeploymentLimits::default());
        assert_eq!(masked(limits, |path| path == "limits.maxDelayUs").max_batch_rows, None);
        assert_eq!(
            written(limits),
            json!({"maxBatchRows": 8, "maxDelayUs": 250, "maxQueuedRequests": 256, "maxRowsPerRequest": 65_536})
        );
        for (wrong, field) in [
            (json!({"limits": {"maxBatchRows": -1}}), "limits.maxBatchRows"),
            (json!({"limits": {"maxDelayUs": "soon"}}), "limits.maxDelayUs"),
            (json!({"limits": {"maxRows": 1}}), "limits.maxRows"),
        ] {
            assert_eq!(read(&wrong).unwrap_err().violations()[0].field, field);
        }
    }
}
