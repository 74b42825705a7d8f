//! What a deployment takes at once, as far as somebody asked for it.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What each may be.
const MAX_BATCH_ROWS: (u32, u32) = (1, 65_536);
const MAX_DELAY_US: (u32, u32) = (0, 1_000_000);
const MAX_QUEUED_REQUESTS: (u32, u32) = (1, 100_000);
const MAX_ROWS_PER_REQUEST: (u32, u32) = (1, 16_777_216);

/// What a deployment takes at once; what is absent is the server's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeploymentLimits {
    /// The most rows that are computed at once, 1 to 65,536.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_batch_rows: Option<u32>,
    /// Microseconds a request waits for others to be computed with although a thread is free, 0 to 1,000,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay_us: Option<u32>,
    /// The most requests that wait, 1 to 100,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queued_requests: Option<u32>,
    /// The most rows of one request, 1 to 16,777,216.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rows_per_request: Option<u32>,
}

impl DeploymentLimits {
    /// These, and what they do not say as `other` has it.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            max_batch_rows: self.max_batch_rows.or(other.max_batch_rows),
            max_delay_us: self.max_delay_us.or(other.max_delay_us),
            max_queued_requests: self.max_queued_requests.or(other.max_queued_requests),
            max_rows_per_request: self.max_rows_per_request.or(other.max_rows_per_request),
        }
    }

    pub(crate) fn check(self) -> Result<()> {
        for (field, value, (least, most)) in [
            ("max_batch_rows", self.max_batch_rows, MAX_BATCH_ROWS),
            ("max_delay_us", self.max_delay_us, MAX_DELAY_US),
            ("max_queued_requests", self.max_queued_requests, MAX_QUEUED_REQUESTS),
            ("max_rows_per_request", self.max_rows_per_request, MAX_ROWS_PER_REQUEST),
        ] {
            if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
                let message = format!("{field} must be {least} to {most}, got {value}");
                return Err(Error::invalid(field, message));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_counts_and_is_bounded() {
        let asked = DeploymentLimits { max_batch_rows: Some(8), ..Default::default() };
        let before =
            DeploymentLimits { max_batch_rows: Some(1), max_delay_us: Some(500), ..Default::default() };
        let both = asked.or(before);
        assert_eq!(
            (both.max_batch_rows, both.max_delay_us, both.max_queued_requests),
            (Some(8), Some(500), None)
        );
        assert!(both.check().is_ok() && DeploymentLimits::default().check().is_ok());
        for (wrong, said) in [
            (
                DeploymentLimits { max_batch_rows: Some(0), ..both },
                "max_batch_rows must be 1 to 65536, got 0",
            ),
            (DeploymentLimits { max_delay_us: Some(1_000_001), ..both }, "max_delay_us must be 0 to 1000000"),
            (DeploymentLimits { max_queued_requests: Some(0), ..both }, "max_queued_requests must be 1 to"),
            (
                DeploymentLimits { max_rows_per_request: Some(u32::MAX), ..both },
                "max_rows_per_request must be",
            ),
        ] {
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }
}
