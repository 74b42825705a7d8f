//! Models by the names of protocols without projects, and what is said of those that do not answer.

use percent_encoding::percent_decode_str;
use platform::{Error, Kind, ModelName, Platform, Target, VersionChoice};

use crate::asked::Asked;

/// Why nobody answers for a name.
#[derive(Debug)]
pub(crate) enum Absence {
    /// The caller may not ask it.
    Refused(Error),
    /// No version that was asked for is deployed; the facade's words.
    Unknown(String),
    /// It is deployed and did not come into service, for this reason.
    Failed(String),
}

/// Who answers the next question to a model.
pub(crate) fn find(
    platform: &Platform,
    asked: Asked,
    name: &ModelName,
    choice: &VersionChoice,
) -> Result<Target, Absence> {
    let error = match asked.of_model(platform, name, choice) {
        Ok(target) => return Ok(target),
        Err(error) if error.kind() == Kind::NotFound => error.to_string(),
        Err(error) => return Err(Absence::Refused(error)),
    };
    Err(match failure(platform, name, choice) {
        Some(reason) => Absence::Failed(reason),
        None => Absence::Unknown(error),
    })
}

/// Why a deployed version that was asked for is not in service.
fn failure(platform: &Platform, name: &ModelName, choice: &VersionChoice) -> Option<String> {
    let models = platform.served_models();
    let model = models.iter().find(|model| model.name == *name)?;
    let mut asked = model.versions.iter().rev().filter(|version| match choice {
        VersionChoice::Default => true,
        VersionChoice::Number(number) => version.number == *number,
        VersionChoice::Alias(alias) => version.aliases.contains(alias),
    });
    asked.find_map(|version| version.deployments.iter().find_map(|status| status.error.clone()))
}

/// A segment of a path, its escapes resolved; nothing if it is no UTF-8 or holds control characters.
pub(crate) fn segment(raw: &str) -> Option<String> {
    let text = percent_decode_str(raw).decode_utf8().ok()?;
    let sane = !text.is_empty() && !text.chars().any(char::is_control);
    sane.then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_text_or_nothing() {
        assert_eq!(segment("a%20b%C3%A9").as_deref(), Some("a bé"));
        assert_eq!(segment("..%2f..").as_deref(), Some("../.."));
        assert_eq!(segment("a%").as_deref(), Some("a%"));
        for bad in ["", "%ff", "a%00", "%0d%0a"] {
            assert_eq!(segment(bad), None, "{bad}");
        }
    }
}
