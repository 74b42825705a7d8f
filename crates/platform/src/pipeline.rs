//! The pipeline file: everything that decides what a trained model is, in one TOML document.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::Date;
use market::{Expression, FeatureSet, LabelConfig, Panel, ProcessorConfig, SplitConfig};
use serde::{Deserialize, Serialize};
use training::{Activation, Columns, FitConfig, LayerKind, Loss, LossConfig, ModelConfig, OutputConfig};

use crate::machine::{DEFAULT_CPU_CORES, DEFAULT_MEMORY_GB};
use crate::search::SearchSection;
use crate::{Error, ImportSettings, Kind, Result};

/// Larger pipeline files are refused unread.
const BYTES_MAX: u64 = 1 << 20;
const NAME_CHARS_MAX: usize = 63;
/// Bars of a row of a sequence model.
pub(crate) const STEPS_MAX: usize = 512;

/// A parsed and checked pipeline file. Unknown keys are errors, everywhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    version: u32,
    name: String,
    /// Where the prices come from and who is traded.
    pub data: DataSection,
    /// What the model sees.
    pub features: FeaturesSection,
    /// What it learns to tell.
    pub label: LabelConfig,
    /// Which dates train, validate and test.
    pub split: SplitConfig,
    /// How raw features are scaled; fitted on the training window.
    #[serde(default)]
    pub processors: ProcessorConfig,
    /// The network.
    pub model: ModelConfig,
    /// How it is fitted.
    #[serde(default)]
    pub fit: FitConfig,
    /// What `search` varies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchSection>,
    /// What `run` deploys it with.
    #[serde(default)]
    pub deploy: DeploySection,
    /// The backtest of the report.
    #[serde(default)]
    pub backtest: BacktestSection,
    #[serde(skip)]
    text: String,
}

/// `[data]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// Name of the data set.
    pub dataset: String,
    /// Files to import it from before training; absent: it is imported already.
    pub source: Option<DataSource>,
    /// How those files are read, and further tables to import with them.
    #[serde(default)]
    pub import: ImportSettings,
    /// Who is traded: symbols, or the name of a universe of the data set; absent: all but the benchmark.
    pub universe: Option<UniverseChoice>,
    /// Only what was known at the end of this day; absent: everything.
    pub as_of: Option<Date>,
    /// The instrument the backtest is compared with; absent: the equally weighted universe.
    pub benchmark: Option<String>,
}

/// Who is traded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum UniverseChoice {
    /// A universe of the data set, whose members change by date.
    Named(String),
    /// These, always.
    Symbols(Vec<String>),
}

/// Where `[data] source` points: files, folders with one file a symbol, URIs of objects.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DataSource {
    /// One of them, or `builtin:NAME` for a data set inside the binary.
    One(String),
    /// Several, put together.
    Many(Vec<String>),
}

/// `[features]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeaturesSection {
    /// A named set: `alpha158`, `alpha158_20` or `alpha360`.
    pub set: Option<String>,
    /// Families of the set to take; absent: all that the fields allow.
    pub families: Option<Vec<String>>,
    /// Further features, `NAME = "EXPRESSION"`, in alphabetical order of their names.
    #[serde(default)]
    pub custom: BTreeMap<String, String>,
    /// How many bars of them a sequence model sees, the oldest first; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
}

impl FeaturesSection {
    /// The features to compute over a panel: those of the named set its fields allow, then the further ones.
    pub(crate) fn choose(&self, panel: &Panel) -> Result<ChosenFeatures> {
        let (named, left_out) = self.named(&panel.field_names())?;
        let set = FeatureSet::new(named)?;
        set.check_fields(panel)?;
        let names = set.names().into_iter().map(str::to_owned).collect();
        Ok(ChosenFeatures { set, columns: Columns { names, steps: 1 }, left_out })
    }

    /// How many bars a row has.
    pub(crate) fn steps(&self) -> usize {
        self.steps.unwrap_or(1)
    }

    /// Names and expressions, and what of the set the fields of the bars do not allow. Whether an expression looks ahead
    /// is not asked.
    #[expect(clippy::type_complexity, reason = "two lists of name and text")]
    pub(crate) fn named(&self, fields: &[&str]) -> Result<(Vec<(String, String)>, Vec<(String, String)>)> {
        let mut named = Vec::new();
        let mut left_out = Vec::new();
        if let Some(set) = &self.set {
            let selection = market::set::select(set, fields, self.families.as_deref())
                .map_err(|error| Error::from(error).context("features"))?;
            named = selection.included;
            left_out = selection.left_out;
        }
        named.extend(self.custom.iter().map(|(name, text)| (name.clone(), text.clone())));
        if named.is_empty() {
            let message = "there is no feature; set [features] set = \"alpha158\" or add [features.custom]";
            return Err(Error::invalid("features", message));
        }
        Ok((named, left_out))
    }
}

/// `[deploy]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeploySection {
    /// The endpoint; absent: the pipeline's name.
    pub endpoint: Option<String>,
    /// Engine threads.
    pub cpu_cores: f64,
    /// Memory budget in GB (10^9 bytes).
    pub memory_gb: f64,
}

impl Default for DeploySection {
    fn default() -> Self {
        Self { endpoint: None, cpu_cores: DEFAULT_CPU_CORES, memory_gb: DEFAULT_MEMORY_GB }
    }
}

/// `[backtest]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BacktestSection {
    /// Long the top one of so many groups, short the bottom one.
    pub groups: usize,
    /// Cost per side in basis points of traded value.
    pub cost_bps: f64,
}

impl Default for BacktestSection {
    fn default() -> Self {
        Self { groups: 10, cost_bps: 10.0 }
    }
}

/// The features a pipeline computes, and those its data could not give.
#[derive(Debug, Clone)]
pub struct ChosenFeatures {
    /// What is computed.
    pub set: FeatureSet,
    /// Which features a bar has, and how many bars a row.
    pub columns: Columns,
    /// Name and missing field of what the named set has and the data lacks.
    pub left_out: Vec<(String, String)>,
}

impl Pipeline {
    /// Parses and checks a pipeline; `origin` names it in errors.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] with line and column for what is not TOML or not a key of ours, and for
    /// values that cannot be.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let parsed: std::result::Result<Self, toml::de::Error> = toml::from_str(text);
        let mut pipeline = parsed.map_err(|error| syntax_error(text, origin, &error))?;
        text.clone_into(&mut pipeline.text);
        pipeline.check().map_err(|error| error.context(origin))?;
        Ok(pipeline)
    }

    /// Reads and parses a pipeline file.
    ///
    /// # Errors
    /// As [`Pipeline::parse`]; [`Kind::NotFound`] if the file is not there.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&read_text(path, "pipeline file")?, &path.display().to_string())
    }

    /// The name, which is also the model's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The endpoint that `run` deploys to.
    pub fn endpoint(&self) -> &str {
        self.deploy.endpoint.as_deref().unwrap_or(&self.name)
    }

    /// How many classes the label has; none if it is a number.
    pub fn classes(&self) -> Option<usize> {
        self.label.class_count()
    }

    /// The features to compute over a panel.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for an unknown set or family, a bad expression, a field the data lacks, or
    /// no feature at all.
    pub fn features(&self, panel: &Panel) -> Result<ChosenFeatures> {
        let (named, left_out) = self.named_features(panel)?;
        let names = named.iter().map(|(name, _)| name.clone()).collect();
        let columns = Columns { names, steps: self.features.steps() };
        let set = FeatureSet::new(by_step(&named, columns.steps))?;
        set.check_fields(panel)?;
        Ok(ChosenFeatures { set, columns, left_out })
    }

    /// What a ready architecture ends with.
    pub(crate) fn output(&self) -> OutputConfig {
        output(self.label.class_count(), &self.fit)
    }

    /// The same before it is asked whether an expression looks ahead: with what processors make of them.
    #[expect(clippy::type_complexity, reason = "two lists of name and text")]
    pub(crate) fn named_features(
        &self,
        panel: &Panel,
    ) -> Result<(Vec<(String, String)>, Vec<(String, String)>)> {
        self.named_over(&panel.field_names())
    }

    /// The columns of a row over bars that have these fields.
    pub(crate) fn columns(&self, fields: &[&str]) -> Result<Columns> {
        let names = self.named_over(fields)?.0.into_iter().map(|(name, _)| name).collect();
        Ok(Columns { names, steps: self.features.steps() })
    }

    #[expect(clippy::type_complexity, reason = "two lists of name and text")]
    fn named_over(&self, fields: &[&str]) -> Result<(Vec<(String, String)>, Vec<(String, String)>)> {
        let (named, left_out) = self.features.named(fields)?;
        Ok((self.processors.features(named)?, left_out))
    }

    fn check(&self) -> Result<()> {
        check_header(self.version, &self.name)?;
        check_name("data.dataset", &self.data.dataset)?;
        if matches!(&self.data.universe, Some(UniverseChoice::Symbols(symbols)) if symbols.is_empty()) {
            return Err(Error::invalid(
                "data.universe",
                "data.universe is empty; name instruments or leave it out",
            ));
        }
        if self.features.set.is_none() && self.features.families.is_some() {
            let message = "features.families needs features.set = \"alpha158\"";
            return Err(Error::invalid("features.families", message));
        }
        for (name, text) in &self.features.custom {
            Expression::parse(text).map_err(|error| Error::from(error).context(format!("feature {name}")))?;
        }
        self.label.check().map_err(|error| Error::from(error).context("label"))?;
        self.split.check()?;
        self.processors.check()?;
        self.model.check()?;
        self.fit.check()?;
        if !(1..=STEPS_MAX).contains(&self.features.steps()) {
            let message = format!("features.steps must be 1 to {STEPS_MAX}, got {}", self.features.steps());
            return Err(Error::invalid("features.steps", message));
        }
        check_label(self.label.class_count(), &self.model, &self.fit)?;
        if let Some(search) = &self.search {
            search.check()?;
        }
        if !(2..=1000).contains(&self.backtest.groups) {
            let message = format!("backtest.groups must be 2 to 1000, got {}", self.backtest.groups);
            return Err(Error::invalid("backtest.groups", message));
        }
        if !(0.0..=10_000.0).contains(&self.backtest.cost_bps) {
            let message = format!("backtest.cost_bps must be 0 to 10000, got {}", self.backtest.cost_bps);
            return Err(Error::invalid("backtest.cost_bps", message));
        }
        crate::ResourceRequest {
            cpu_cores: Some(self.deploy.cpu_cores),
            memory_gb: Some(self.deploy.memory_gb),
            ..Default::default()
        }
        .resolve()?;
        Ok(())
    }
}

/// Reads a file of ours as text; `what` names its kind in errors.
pub(crate) fn read_text(path: &Path, what: &str) -> Result<String> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::InvalidArgument,
        };
        Error::new(kind, format!("cannot read {what} {shown}: {error}"))
    };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > BYTES_MAX {
        let message = format!("{what} {shown} has {bytes} bytes; at most {BYTES_MAX} are read");
        return Err(Error::new(Kind::InvalidArgument, message));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// The features of each of `steps` bars, the oldest first: `RESI5_19 = Ref(RESI5, 19)`, ..., `RESI5`.
fn by_step(named: &[(String, String)], steps: usize) -> Vec<(String, String)> {
    let at = |lag: usize| {
        named.iter().map(move |(name, text)| match lag {
            0 => (name.clone(), text.clone()),
            lag => (format!("{name}_{lag}"), format!("Ref({text},{lag})")),
        })
    };
    (0..steps).rev().flat_map(at).collect()
}

/// What a ready architecture ends with: a probability for each class, a number for each quantile, or one number.
pub(crate) fn output(classes: Option<usize>, fit: &FitConfig) -> OutputConfig {
    match (classes, &fit.loss) {
        (_, LossConfig::All(loss @ Loss::BinaryCrossentropy(_))) => {
            OutputConfig { units: 1, activation: loss.link().unwrap_or_default() }
        }
        (Some(units), _) => OutputConfig { units, activation: Activation::Softmax },
        (None, LossConfig::All(Loss::Quantile(quantile))) => {
            OutputConfig { units: quantile.quantiles.len(), activation: Activation::Linear }
        }
        (None, _) => OutputConfig { units: 1, activation: Activation::Linear },
    }
}

/// Checks that network and loss are for what the label is: classes or a number.
pub(crate) fn check_label(classes: Option<usize>, model: &ModelConfig, fit: &FitConfig) -> Result<()> {
    let losses: Vec<&Loss> = losses(fit);
    if classes.is_none()
        && let Some(loss) = losses.iter().find(|loss| loss.link().is_some())
    {
        let message = format!(
            "fit.loss \"{}\" is of classes and the label is a number; use mse, huber, quantile, negative_ic or \
             pairwise_rank, or a label of kind quantiles, threshold or triple_barrier",
            loss.name()
        );
        return Err(Error::invalid("fit.loss", message));
    }
    check_units(classes, model, fit)
}

fn losses(fit: &FitConfig) -> Vec<&Loss> {
    match &fit.loss {
        LossConfig::All(loss) => vec![loss],
        LossConfig::Outputs(losses) => losses.values().collect(),
    }
}

/// Checks that the last layer has a unit for each class.
pub(crate) fn check_units(classes: Option<usize>, model: &ModelConfig, fit: &FitConfig) -> Result<()> {
    let losses = losses(fit);
    let Some(classes) = classes else { return Ok(()) };
    let [loss] = losses[..] else { return Ok(()) };
    let units = match model.layers.last().map(|layer| &layer.kind) {
        Some(LayerKind::Dense(dense)) if model.outputs.len() < 2 => dense.units,
        _ => return Ok(()),
    };
    let binary = matches!(loss, Loss::BinaryCrossentropy(_)) && classes == 2;
    if loss.link().is_some() && units != classes && !(binary && units == 1) {
        let message =
            format!("the last layer has {units} units where label.classes is {classes}; make them equal");
        return Err(Error::invalid("model.layers", message));
    }
    Ok(())
}

/// Checks what every pipeline file begins with.
pub(crate) fn check_header(version: u32, name: &str) -> Result<()> {
    if version != 1 {
        let message = format!("pipeline version {version} is unknown; this build reads version 1");
        return Err(Error::invalid("version", message));
    }
    check_name("name", name)
}

fn check_name(field: &str, name: &str) -> Result<()> {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase());
    let rest = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if first && rest && name.len() <= NAME_CHARS_MAX {
        return Ok(());
    }
    let message = format!(
        "{field} \"{name}\" must be 1 to {NAME_CHARS_MAX} of a-z, 0-9 and \"-\", starting with a letter"
    );
    Err(Error::invalid(field, message))
}

/// What is wrong with a TOML file of ours, and where.
pub(crate) fn syntax_error(text: &str, origin: &str, error: &toml::de::Error) -> Error {
    let place = error.span().map(|span| {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!(":{line}:{column}")
    });
    let message = nearest_key(error.message()).unwrap_or_else(|| error.message().to_owned());
    Error::new(Kind::InvalidArgument, format!("{origin}{}: {message}", place.unwrap_or_default()))
}

/// Turns serde's list of expected keys into the one that was probably meant.
fn nearest_key(message: &str) -> Option<String> {
    let (head, expected) = message.split_once(", expected ")?;
    let unknown = head.strip_prefix("unknown field `")?.strip_suffix('`')?;
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let nearest = known
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(unknown, a).total_cmp(&strsim::jaro_winkler(unknown, b)))?;
    Some(format!("unknown key \"{unknown}\"; did you mean \"{nearest}\"? keys here: {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = crate::QUICKSTART_PIPELINE;

    fn refusal(from: &str, to: &str) -> String {
        assert!(SOUND.contains(from), "{from}");
        let error = Pipeline::parse(&SOUND.replacen(from, to, 1), "p.toml").unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        error.to_string()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest() {
        let text = refusal("embargo_days = 5", "embargo_day = 5");
        assert!(
            text.starts_with("p.toml:31:1: unknown key \"embargo_day\"; did you mean \"embargo_days\"?"),
            "{text}"
        );
        let text = refusal("[deploy]", "[deployment]");
        assert!(text.contains("unknown key \"deployment\"; did you mean \"deploy\"?"), "{text}");
    }

    #[test]
    fn what_is_not_toml_is_refused_with_its_place() {
        let text = refusal("version = 1", "version 1");
        assert!(text.starts_with("p.toml:3:"), "{text}");
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        assert!(refusal("version = 1", "version = 2").contains("pipeline version 2 is unknown"));
        assert!(refusal("\"sp500-deciles\"", "\"SP500 deciles\"").contains("name \"SP500 deciles\" must be"));
        assert!(refusal("cost_bps = 10", "cost_bps = -1").contains("backtest.cost_bps must be 0 to 10000"));
        assert!(refusal("units = 10", "units = 7").contains("7 units where label.classes is 10"));
        assert!(refusal("groups = 10", "groups = 1").contains("backtest.groups must be 2 to 1000"));
        assert!(refusal("memory_gb = 4", "memory_gb = 0").contains("memory_gb must be a positive number"));
        assert!(refusal("Ref($close,-2)", "Reff($close,-2)").contains("Ref"));
    }

    #[test]
    fn a_missing_file_is_not_found() {
        let error = Pipeline::read(Path::new("/nowhere/p.toml")).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.to_string().contains("/nowhere/p.toml"), "{error}");
    }
}
