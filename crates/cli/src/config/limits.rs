//! What a server allows its clients: whole numbers within bounds, each as every setting.

use std::time::Duration;

use gateway::GatewayOptions;
use platform::Error;

use super::{Layers, Setting, Surroundings, count, variable};
use crate::args::serve_limits::ServeLimitArgs;

const BYTES_PER_MIB: u64 = 1 << 20;

/// The limits in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServeLimits {
    max_connections: Setting<u64>,
    max_requests: Setting<u64>,
    max_body_mib: Setting<u64>,
    max_request_rows: Setting<u64>,
    request_timeout_s: Setting<u64>,
    head_timeout_s: Setting<u64>,
    body_timeout_s: Setting<u64>,
}

impl ServeLimits {
    /// All of them, by key.
    pub(crate) fn all(&self) -> [(&'static str, &Setting<u64>); 7] {
        [
            ("max_connections", &self.max_connections),
            ("max_requests", &self.max_requests),
            ("max_body_mib", &self.max_body_mib),
            ("max_request_rows", &self.max_request_rows),
            ("request_timeout_s", &self.request_timeout_s),
            ("head_timeout_s", &self.head_timeout_s),
            ("body_timeout_s", &self.body_timeout_s),
        ]
    }

    /// The options of a gateway with these limits.
    pub(crate) fn options(&self) -> GatewayOptions {
        // They are within bounds.
        let count = |setting: &Setting<u64>| usize::try_from(setting.value).unwrap_or(usize::MAX);
        let seconds = |setting: &Setting<u64>| Duration::from_secs(setting.value);
        GatewayOptions {
            max_connections: count(&self.max_connections),
            max_concurrent_requests: count(&self.max_requests),
            max_body_bytes: usize::try_from(self.max_body_mib.value * BYTES_PER_MIB).unwrap_or(usize::MAX),
            max_instances: count(&self.max_request_rows),
            request_timeout: seconds(&self.request_timeout_s),
            head_timeout: seconds(&self.head_timeout_s),
            body_timeout: seconds(&self.body_timeout_s),
            ..GatewayOptions::default()
        }
    }
}

/// A limit: how it is said, its default, and what it may be.
struct Limit {
    flag: &'static str,
    variable: &'static str,
    default: u64,
    bounds: (u64, u64),
}

/// Resolves all of them.
///
/// # Errors
/// [`platform::Kind::InvalidArgument`] naming the flag, for a number that is out of bounds; naming the variable, for one that
/// holds no number.
pub(super) fn resolve(
    flags: &ServeLimitArgs,
    file: &ServeLimitArgs,
    layers: &Layers<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<ServeLimits, Error> {
    let GatewayOptions {
        max_connections,
        max_concurrent_requests,
        max_body_bytes,
        max_instances,
        request_timeout,
        head_timeout,
        body_timeout,
        ..
    } = GatewayOptions::default();
    let one = |of: fn(&ServeLimitArgs) -> Option<u64>, limit: Limit| -> Result<Setting<u64>, Error> {
        let Limit { flag, variable: name, default, bounds: (least, most) } = limit;
        let varied = variable(surroundings, name)?;
        let varied = varied.map(|(name, text)| count(name, &text).map(|value| (name, value as u64)));
        let given = of(flags).map(|value| (flag, value));
        let setting = layers.choose(given, varied.transpose()?, of(file), || default);
        if (least..=most).contains(&setting.value) {
            return Ok(setting);
        }
        let Setting { value, origin } = setting;
        Err(Error::invalid(flag, format!("{flag} must be {least} to {most}, got {value} ({origin})")))
    };
    let limit = |flag, variable, default, bounds| Limit { flag, variable, default, bounds };
    Ok(ServeLimits {
        max_connections: one(
            |args| args.max_connections,
            limit("--max-connections", "BELLWETHER_MAX_CONNECTIONS", max_connections as u64, (1, 1_000_000)),
        )?,
        max_requests: one(
            |args| args.max_requests,
            limit(
                "--max-requests",
                "BELLWETHER_MAX_REQUESTS",
                max_concurrent_requests as u64,
                (1, 1_000_000),
            ),
        )?,
        max_body_mib: one(
            |args| args.max_body_mib,
            limit(
                "--max-body-mib",
                "BELLWETHER_MAX_BODY_MIB",
                max_body_bytes as u64 / BYTES_PER_MIB,
                (1, 2_047),
            ),
        )?,
        max_request_rows: one(
            |args| args.max_request_rows,
            limit("--max-request-rows", "BELLWETHER_MAX_REQUEST_ROWS", max_instances as u64, (1, 16_777_216)),
        )?,
        request_timeout_s: one(
            |args| args.request_timeout_s,
            limit(
                "--request-timeout-s",
                "BELLWETHER_REQUEST_TIMEOUT_S",
                request_timeout.as_secs(),
                (1, 86_400),
            ),
        )?,
        head_timeout_s: one(
            |args| args.head_timeout_s,
            limit("--head-timeout-s", "BELLWETHER_HEAD_TIMEOUT_S", head_timeout.as_secs(), (1, 3_600)),
        )?,
        body_timeout_s: one(
            |args| args.body_timeout_s,
            limit("--body-timeout-s", "BELLWETHER_BODY_TIMEOUT_S", body_timeout.as_secs(), (1, 3_600)),
        )?,
    })
}
