//! What a question brings besides its tensors, the same in every protocol: who asks, with whom the caller belongs together,
//! and how long the answer is wanted.

use std::time::{Duration, Instant};

use axum::http::{Extensions, HeaderMap, HeaderName};
use platform::{Caller, Error, ModelName, Platform, Scope, Target, Together, VersionChoice};

use crate::observe;

/// Whoever sends the same text meets the same version, as long as the traffic split stays.
const TRAFFIC_KEY: HeaderName = HeaderName::from_static("x-bellwether-traffic-key");
/// All questions with the same text meet the version that answered the first.
const REBALANCE: HeaderName = HeaderName::from_static("x-bellwether-rebalance");
/// After so many milliseconds the answer is not wanted any more.
const TIMEOUT: HeaderName = HeaderName::from_static("x-bellwether-timeout-ms");
/// The longest of either, in bytes.
pub(crate) const KEY_BYTES_MAX: usize = 256;

/// What a question brings besides its tensors.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    caller: Caller,
    together: Option<Together>,
    deadline: Option<Instant>,
}

impl Asked {
    /// Reads the headers, or the metadata of gRPC.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`](platform::Kind::InvalidArgument) naming the header.
    pub(crate) fn of(headers: &HeaderMap, extensions: &Extensions) -> Result<Self, Error> {
        let caller = extensions.get::<Caller>().cloned().unwrap_or_default();
        let together = together(headers)?;
        let deadline = timeout(headers)?.and_then(|timeout| Instant::now().checked_add(timeout));
        Ok(Self { caller, together, deadline })
    }

    /// The same, with the traffic key that the question itself names, if no header says with whom it belongs together and it
    /// matters at this endpoint.
    pub(crate) fn with_key(
        self,
        platform: &Platform,
        (project, endpoint): (&str, &str),
        key: impl FnOnce() -> Option<String>,
    ) -> Self {
        if self.together.is_some() || !platform.is_split(project, endpoint) {
            return self;
        }
        Self { together: key().map(Together::Key), ..self }
    }

    /// Who answers at an endpoint.
    ///
    /// # Errors
    /// Those of [`Platform::target`]; [`Kind::PermissionDenied`](platform::Kind::PermissionDenied) if the caller's key is
    /// of another project.
    pub(crate) async fn of_endpoint(
        self,
        platform: &Platform,
        project: &str,
        endpoint: &str,
    ) -> Result<Target, Error> {
        self.caller.allow(Some(project), Scope::Predict)?;
        let target = platform.target(project, endpoint, self.together.as_ref()).await?;
        Ok(observe::asked(target.until(self.deadline).by(self.caller)))
    }

    /// Who answers if it is to be this deployment of an endpoint.
    ///
    /// # Errors
    /// Those of [`Platform::deployment_target`], and as [`Asked::of_endpoint`].
    pub(crate) async fn of_deployment(
        self,
        platform: &Platform,
        project: &str,
        (endpoint, deployment): (&str, &str),
    ) -> Result<Target, Error> {
        self.caller.allow(Some(project), Scope::Predict)?;
        let target = platform.deployment_target(project, endpoint, deployment).await?;
        Ok(observe::asked(target.until(self.deadline).by(self.caller)))
    }

    /// Who answers for a model that is named without an endpoint.
    ///
    /// # Errors
    /// As [`Asked::of_endpoint`].
    pub(crate) fn of_model(
        self,
        platform: &Platform,
        name: &ModelName,
        version: &VersionChoice,
    ) -> Result<Target, Error> {
        self.caller.allow(Some(&name.project), Scope::Predict)?;
        let target = platform.model_target_for(name, version, self.together.as_ref())?;
        Ok(observe::asked(target.until(self.deadline).by(self.caller)))
    }
}

/// With whom the caller belongs together, by headers or the metadata of gRPC.
///
/// # Errors
/// [`Kind::InvalidArgument`](platform::Kind::InvalidArgument) naming the header.
pub(crate) fn together(headers: &HeaderMap) -> Result<Option<Together>, Error> {
    Ok(match (text(headers, &REBALANCE)?, text(headers, &TRAFFIC_KEY)?) {
        (Some(token), _) => Some(Together::Rebalance(token)),
        (None, key) => key.map(Together::Key),
    })
}

/// How long an answer is wanted, where the headers say so.
///
/// # Errors
/// [`Kind::InvalidArgument`](platform::Kind::InvalidArgument) naming the header.
pub(crate) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(text) = text(headers, &TIMEOUT)? else { return Ok(None) };
    let millis: u64 = text.parse().map_err(|_| {
        let message = format!("{TIMEOUT} \"{text}\" is not a whole number of milliseconds");
        Error::invalid(TIMEOUT.as_str(), message)
    })?;
    Ok(Some(Duration::from_millis(millis)))
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Error> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    match value.to_str() {
        Ok(text) if (1..=KEY_BYTES_MAX).contains(&text.len()) => Ok(Some(text.to_owned())),
        _ => {
            let message = format!("{name} must be 1 to {KEY_BYTES_MAX} visible ASCII characters");
            Err(Error::invalid(name.as_str(), message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&'static str, &str)]) -> Result<Asked, Error> {
        let pair =
            |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        Asked::of(&headers.iter().map(pair).collect(), &Extensions::new())
    }

    #[test]
    fn headers_say_with_whom_and_how_long() {
        assert_eq!(asked(&[]).unwrap().together, None);
        let key = asked(&[("x-bellwether-traffic-key", "account-7")]).unwrap();
        assert_eq!(key.together, Some(Together::Key("account-7".to_owned())));
        let both =
            asked(&[("x-bellwether-traffic-key", "a"), ("x-bellwether-rebalance", "2024-01")]).unwrap();
        assert_eq!(both.together, Some(Together::Rebalance("2024-01".to_owned())));
        let soon = asked(&[("x-bellwether-timeout-ms", "50")]).unwrap();
        assert!(soon.deadline.unwrap() <= Instant::now() + Duration::from_millis(50));
        for (name, value) in [("x-bellwether-timeout-ms", "1.5"), ("x-bellwether-rebalance", "")] {
            let error = asked(&[(name, value)]).unwrap_err();
            assert_eq!(error.violations()[0].field, name);
        }
    }
}
