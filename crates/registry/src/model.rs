//! Models and their versions, how a version is named, and what an upload may do.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use predictor::Signature;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result, id};

/// The alias that exactly one version of every model has, and that a reference without `@` means.
pub const DEFAULT_ALIAS: &str = "default";

/// The most aliases one upload may set.
const ALIASES_MAX: usize = 100;

/// A registered version of a model: its artifact is whole. Versions still being uploaded are not visible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// The project it belongs to.
    pub project: String,
    /// The model's id.
    pub model: String,
    /// Its number, from 1. A number is never given to another registered version.
    pub version: u32,
    /// Its aliases, sorted.
    pub aliases: Vec<String>,
    /// What is said of the model, whichever version is asked for.
    pub about: ModelTexts,
    /// When the model was made.
    pub model_created_at: Timestamp,
    /// When what is said of the model was last changed.
    pub model_updated_at: Timestamp,
    /// What this version is; free text.
    pub description: String,
    /// Where its bundle lies.
    pub artifact_uri: String,
    /// The bundle's digest.
    pub bundle_digest: String,
    /// The tensors it takes and gives.
    pub signature: Signature,
    /// A document about it (metrics, data set, ...), opaque here.
    pub summary: Value,
    /// Labels of this version.
    pub labels: BTreeMap<String, String>,
    /// When its number was reserved.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What people say of a model as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelTexts {
    /// What they call it.
    pub display_name: String,
    /// What it is; free text.
    pub description: String,
    /// Its labels, which each of its versions has as well.
    pub labels: BTreeMap<String, String>,
}

impl ModelVersion {
    /// The labels of the model and of the version; where both have one, the version's counts.
    pub fn all_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.about.labels.clone();
        labels.extend(self.labels.clone());
        labels
    }

    /// When the version or what is said of its model was last changed.
    pub fn last_updated_at(&self) -> Timestamp {
        self.updated_at.max(self.model_updated_at)
    }

    /// A mark that changes whenever the version or what is said of its model does: `MODEL-VERSION`, each part changing by itself, because
    /// one is changed without the other.
    pub fn etag(&self) -> String {
        format!("{}-{}", self.model_mark(), self.version_mark())
    }

    /// Checks that what is said of the model is still what whoever has `etag` has read, with any of its versions.
    ///
    /// # Errors
    /// [`Error::Aborted`].
    pub(crate) fn check_model_etag(&self, etag: Option<&str>) -> Result<()> {
        let read = etag.map(|etag| etag.split_once('-').map_or(etag, |(model, _)| model));
        if read.is_none_or(|read| read == self.model_mark()) {
            return Ok(());
        }
        Err(Error::changed_since(&format!("model \"{}\"", self.model), &self.etag()))
    }

    /// The same of the version.
    ///
    /// # Errors
    /// [`Error::Aborted`].
    pub(crate) fn check_version_etag(&self, etag: Option<&str>) -> Result<()> {
        let read = etag.map(|etag| etag.split_once('-').map_or(etag, |(_, version)| version));
        if read.is_none_or(|read| read == self.version_mark()) {
            return Ok(());
        }
        let what = format!("version {} of model \"{}\"", self.version, self.model);
        Err(Error::changed_since(&what, &self.etag()))
    }

    fn model_mark(&self) -> String {
        format!("{:x}", self.model_updated_at.as_microsecond())
    }

    fn version_mark(&self) -> String {
        format!("{:x}.{:x}", self.version, self.updated_at.as_microsecond())
    }
}

/// What an upload that has put its artifact in place tells about the version.
#[derive(Debug, Clone, PartialEq)]
pub struct NewVersion {
    /// What is said of the model; counts if this is its first version.
    pub about: ModelTexts,
    /// What the version is; free text.
    pub description: String,
    /// Where its bundle lies.
    pub artifact_uri: String,
    /// The bundle's digest.
    pub bundle_digest: String,
    /// The tensors it takes and gives.
    pub signature: Signature,
    /// A document about it (metrics, data set, ...), opaque here.
    pub summary: Value,
    /// Aliases it gets; another version that has one loses it. `default` moves the default to it.
    pub aliases: Vec<String>,
    /// Labels of the version.
    pub labels: BTreeMap<String, String>,
}

impl ModelTexts {
    pub(crate) fn check(&self) -> Result<()> {
        id::check_display_name(&self.display_name)?;
        id::check_description(&self.description)?;
        id::check_labels(&self.labels)
    }
}

impl NewVersion {
    /// Checks everything that can be checked without the database; worth calling before the upload.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] naming the field.
    pub fn check(&self) -> Result<()> {
        self.about.check()?;
        id::check_description(&self.description)?;
        id::check_labels(&self.labels)?;
        if self.aliases.len() > ALIASES_MAX {
            let message = format!("{} aliases, more than {ALIASES_MAX}", self.aliases.len());
            return Err(Error::invalid("versionAliases", message));
        }
        self.aliases.iter().try_for_each(|alias| id::check_alias(alias))
    }

    /// The aliases the version gets: those asked for, and `default` if it is the model's first.
    pub(crate) fn aliases_after(&self, model_has_default: Option<u32>) -> BTreeSet<String> {
        let mut aliases: BTreeSet<String> = self.aliases.iter().cloned().collect();
        if model_has_default.is_none() {
            aliases.insert(DEFAULT_ALIAS.to_owned());
        }
        aliases
    }
}

/// Which model an upload may belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadMode {
    /// One that must not exist yet.
    NewModel,
    /// One that must have a registered version.
    ExistingModel,
    /// Either.
    Either,
}

/// Aliases to give to a version and to take from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AliasChange {
    /// To give; a version that has one loses it.
    pub add: Vec<String>,
    /// To take.
    pub remove: Vec<String>,
}

impl AliasChange {
    pub(crate) fn check(&self) -> Result<()> {
        if self.add.len() + self.remove.len() > ALIASES_MAX {
            let message = format!("more than {ALIASES_MAX} aliases at once");
            return Err(Error::invalid("versionAliases", message));
        }
        if self.remove.iter().any(|alias| alias == DEFAULT_ALIAS) {
            let message =
                "a model always has a default version; give the alias \"default\" to another one instead";
            return Err(Error::invalid("versionAliases", message));
        }
        self.add.iter().chain(&self.remove).try_for_each(|alias| id::check_alias(alias))
    }
}

/// What to change of what is said of a model; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelUpdate {
    /// What people call it.
    pub display_name: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// All of the model's labels; those of its versions stay.
    pub labels: Option<BTreeMap<String, String>>,
    /// The [etag](ModelVersion::etag) of what the change is made to, of any version; absent: whatever it is now.
    pub etag: Option<String>,
}

/// What to change of a version; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionUpdate {
    /// What it is.
    pub description: Option<String>,
    /// All of the version's labels; those of its model stay.
    pub labels: Option<BTreeMap<String, String>>,
    /// The [etag](ModelVersion::etag) of what the change is made to; absent: whatever it is now.
    pub etag: Option<String>,
}

/// A version number that was reserved but never registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedUpload {
    /// The project.
    pub project: String,
    /// The model's id.
    pub model: String,
    /// The number reserved.
    pub version: u32,
}

/// How a caller names a version: `model`, `model@3` or `model@alias`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VersionReference<'a> {
    /// The model's id.
    pub(crate) model: &'a str,
    /// Which version of it.
    pub(crate) selector: VersionSelector<'a>,
}

/// Which version of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionSelector<'a> {
    /// By number.
    Number(u32),
    /// By alias.
    Alias(&'a str),
}

impl<'a> VersionReference<'a> {
    /// Takes a reference apart. A reference without `@` means the alias `default`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if what follows the `@` is neither a version number nor an alias.
    pub(crate) fn parse(reference: &'a str) -> Result<Self> {
        let Some((model, version)) = reference.split_once('@') else {
            return Ok(Self { model: reference, selector: VersionSelector::Alias(DEFAULT_ALIAS) });
        };
        let number = version.bytes().all(|b| b.is_ascii_digit()).then(|| version.parse().ok()).flatten();
        if let Some(number) = number {
            return Ok(Self { model, selector: VersionSelector::Number(number) });
        }
        id::check_alias(version).map_err(|_| {
            let text: String = version.chars().take(id::ALIAS_CHARS_MAX).collect();
            let message = format!(
                "model \"{model}\" has no version \"{}\": after \"@\" comes a version number or an alias",
                text.escape_debug()
            );
            Error::invalid("name", message)
        })?;
        Ok(Self { model, selector: VersionSelector::Alias(version) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        let parsed = |text| VersionReference::parse(text).map(|r| (r.model, r.selector)).ok();
        assert_eq!(parsed("m"), Some(("m", VersionSelector::Alias("default"))));
        assert_eq!(parsed("m@12"), Some(("m", VersionSelector::Number(12))));
        assert_eq!(parsed("m@prod"), Some(("m", VersionSelector::Alias("prod"))));
        for bad in ["m@", "m@99999999999", "m@-1", "m@Prod", "m@a@b", "m@ 1"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
