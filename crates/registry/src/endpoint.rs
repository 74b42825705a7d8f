//! Endpoints, the deployments on them, the traffic split between these, and which changes are legal.
//!
//! The rules are functions of an endpoint as it is and a change; every store applies them in a transaction.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::names_text;
use crate::{DeploymentLimits, Error, FailedAttempt, Result, id};

/// The key of a traffic split that stands for the deployment being made.
pub const NEW_DEPLOYMENT: &str = "0";

/// The most deployments of an endpoint.
const DEPLOYMENTS_MAX: usize = 100;

/// Percent of the requests by deployment id. Sums to 100, or is empty, and then nothing answers. One that is
/// not empty names every deployment of its endpoint.
pub type TrafficSplit = BTreeMap<String, u8>;

/// A name that requests are sent to, and what answers them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The project it belongs to.
    pub project: String,
    /// Its id.
    pub id: String,
    /// What people call it.
    pub display_name: String,
    /// What people say of it.
    #[serde(default)]
    pub description: String,
    /// What is deployed on it, in the order of the deployments' ids as numbers.
    pub deployments: Vec<Deployment>,
    /// Who gets which share of the requests.
    pub traffic_split: TrafficSplit,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// The newest change of what it serves that came to nothing, unless one has succeeded since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_attempt: Option<FailedAttempt>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A model version in service on an endpoint, with what it may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its id, unique on its endpoint.
    pub id: String,
    /// The model's id.
    pub model: String,
    /// The model's version.
    pub version: u32,
    /// What people call it.
    pub display_name: String,
    /// CPU cores it may use.
    pub cpu_cores: f64,
    /// Memory it may use, in GB.
    pub memory_gb: f64,
    /// The machine type it was asked for with.
    pub machine_type: Option<String>,
    /// The engine it was asked to run on; absent: the one its version is pinned to.
    pub engine: Option<String>,
    /// A shadow's percent of its endpoint's requests, 1 to 100: it gets copies of them, and its answers are kept and never
    /// returned, for as long as it has no traffic. Absent: it is no shadow.
    #[serde(default)]
    pub shadow_percent: Option<u8>,
    /// When it is in memory.
    #[serde(default)]
    pub residence: Residence,
    /// What it takes at once.
    #[serde(default)]
    pub limits: DeploymentLimits,
    /// When it was made.
    pub created_at: Timestamp,
}

/// When a deployment is in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Residence {
    /// Always.
    #[default]
    Pinned,
    /// From its first request on, until another one needs the room.
    OnDemand,
}

impl Residence {
    /// `pinned` or `on-demand`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::OnDemand => "on-demand",
        }
    }

    /// The one of this word.
    pub fn named(word: &str) -> Option<Self> {
        [Self::Pinned, Self::OnDemand].into_iter().find(|residence| residence.word() == word)
    }
}

/// An endpoint to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEndpoint {
    /// The project it belongs to.
    pub project: String,
    /// Its id.
    pub id: String,
    /// What people call it.
    pub display_name: String,
    /// What people say of it.
    pub description: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
}

/// What to change of an endpoint; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointUpdate {
    /// What people call it.
    pub display_name: Option<String>,
    /// What people say of it.
    pub description: Option<String>,
    /// All of its labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// The whole split; an empty one takes all traffic away.
    pub traffic_split: Option<TrafficSplit>,
    /// The [etag](Endpoint::etag) of what the change is made to; absent: whatever it is now.
    pub etag: Option<String>,
}

impl Endpoint {
    /// A mark that changes whenever the endpoint does.
    pub fn etag(&self) -> String {
        format!("{:x}", self.updated_at.as_microsecond())
    }
}

impl NewEndpoint {
    pub(crate) fn check(&self) -> Result<()> {
        id::check_project(&self.project)?;
        id::check_endpoint(&self.id)?;
        id::check_display_name(&self.display_name)?;
        id::check_description(&self.description)?;
        id::check_labels(&self.labels)
    }
}

impl Endpoint {
    /// Whether a deployment gets copies of requests and none to answer.
    pub fn is_shadow(&self, deployment: &Deployment) -> bool {
        let share = self.traffic_split.get(&deployment.id).copied().unwrap_or_default();
        deployment.shadow_percent.is_some() && share == 0
    }

    fn deployment_ids(&self) -> Vec<String> {
        self.deployments.iter().map(|deployment| deployment.id.clone()).collect()
    }

    /// Checks a split over `ids` and completes it: a split that is not empty names all of them.
    fn complete_split(&self, split: &TrafficSplit, ids: &[String]) -> Result<TrafficSplit> {
        if let Some(unknown) = split.keys().find(|key| !ids.contains(key)) {
            let message = format!(
                "traffic split names deployment \"{}\", which endpoint \"{}\" does not have; {}",
                unknown.escape_debug(),
                self.id,
                names_text("deployments", ids)
            );
            return Err(Error::invalid("trafficSplit", message));
        }
        let sum: u32 = split.values().map(|percent| u32::from(*percent)).sum();
        if !split.is_empty() && sum != 100 {
            let message = format!("traffic split sums to {sum}, it must sum to 100 or be empty");
            return Err(Error::invalid("trafficSplit", message));
        }
        if split.is_empty() {
            return Ok(TrafficSplit::new());
        }
        Ok(ids.iter().map(|id| (id.clone(), split.get(id).copied().unwrap_or_default())).collect())
    }
}

/// Checks that `new` may be deployed on `endpoint`, and returns the split that the endpoint then has.
///
/// The key [`NEW_DEPLOYMENT`] of `split` stands for `new`. Without a split, or with an empty one, every
/// deployment keeps its share and the new one gets none.
///
/// # Errors
/// [`Error::AlreadyExists`] for a taken id, [`Error::InvalidArgument`] for an id, a resource or a split that
/// cannot be, [`Error::FailedPrecondition`] if the endpoint is full.
pub fn check_deploy(
    endpoint: &Endpoint,
    new: &Deployment,
    split: Option<&TrafficSplit>,
) -> Result<TrafficSplit> {
    check_deployment(new)?;
    let mut ids = endpoint.deployment_ids();
    if ids.contains(&new.id) {
        return Err(Error::AlreadyExists(format!(
            "endpoint \"{}\" already has a deployment {}; choose another id or leave it out",
            endpoint.id, new.id
        )));
    }
    if ids.len() >= DEPLOYMENTS_MAX {
        return Err(Error::FailedPrecondition(format!(
            "endpoint \"{}\" has {DEPLOYMENTS_MAX} deployments, the most there can be; undeploy one first",
            endpoint.id
        )));
    }
    let Some(split) = split.filter(|split| !split.is_empty()) else {
        ids.push(new.id.clone());
        return endpoint.complete_split(&endpoint.traffic_split, &ids);
    };
    ids.push(NEW_DEPLOYMENT.to_owned());
    let mut complete = endpoint.complete_split(split, &ids)?;
    let share = complete.remove(NEW_DEPLOYMENT).unwrap_or_default();
    complete.insert(new.id.clone(), share);
    Ok(complete)
}

/// Checks that `deployment_id` may be undeployed from `endpoint`, and returns the split that is left.
///
/// A deployment with traffic goes only if `split` gives its share to others. The last one always goes, and
/// the split is then empty.
///
/// # Errors
/// [`Error::NotFound`], [`Error::FailedPrecondition`] if it has traffic, [`Error::InvalidArgument`] for a split
/// that cannot be.
pub fn check_undeploy(
    endpoint: &Endpoint,
    deployment_id: &str,
    split: Option<&TrafficSplit>,
) -> Result<TrafficSplit> {
    let mut ids = endpoint.deployment_ids();
    let Some(index) = ids.iter().position(|id| id == deployment_id) else {
        return Err(Error::NotFound(format!(
            "endpoint \"{}\" has no deployment \"{}\"; {}",
            endpoint.id,
            deployment_id.escape_debug(),
            names_text("deployments", &ids)
        )));
    };
    ids.remove(index);
    let mut left = match split.filter(|split| !split.is_empty()) {
        Some(asked) => asked.clone(),
        None => endpoint.traffic_split.clone(),
    };
    let share = left.remove(deployment_id).unwrap_or_default();
    if share > 0 && !ids.is_empty() {
        return Err(Error::FailedPrecondition(format!(
            "deployment {deployment_id} of endpoint \"{}\" has {share} % of the traffic; give a traffic split over \
             the others ({})",
            endpoint.id,
            ids.join(", ")
        )));
    }
    endpoint.complete_split(&left, &ids)
}

/// Checks that a deployment of `endpoint` may become `changed`, which has its id.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::InvalidArgument`] for a resource that cannot be, or another model or version.
pub fn check_redeploy(endpoint: &Endpoint, changed: &Deployment) -> Result<()> {
    check_deployment(changed)?;
    let Some(before) = endpoint.deployments.iter().find(|deployment| deployment.id == changed.id) else {
        return Err(Error::NotFound(format!(
            "endpoint \"{}\" has no deployment \"{}\"; {}",
            endpoint.id,
            changed.id.escape_debug(),
            names_text("deployments", &endpoint.deployment_ids())
        )));
    };
    if (&before.model, before.version) == (&changed.model, changed.version) {
        return Ok(());
    }
    let message = format!(
        "deployment {} serves {}@{}; deploy another version beside it and move the traffic",
        before.id, before.model, before.version
    );
    Err(Error::invalid("model", message))
}

/// Checks a change of an endpoint, and returns the split it then has.
///
/// # Errors
/// [`Error::InvalidArgument`] naming the field; [`Error::Aborted`] if the endpoint has changed since its etag was read.
pub fn check_update(endpoint: &Endpoint, update: &EndpointUpdate) -> Result<TrafficSplit> {
    if update.etag.as_ref().is_some_and(|etag| *etag != endpoint.etag()) {
        return Err(Error::changed_since(&format!("endpoint \"{}\"", endpoint.id), &endpoint.etag()));
    }
    update.display_name.as_deref().map_or(Ok(()), id::check_display_name)?;
    update.description.as_deref().map_or(Ok(()), id::check_description)?;
    update.labels.as_ref().map_or(Ok(()), id::check_labels)?;
    match &update.traffic_split {
        Some(split) => endpoint.complete_split(split, &endpoint.deployment_ids()),
        None => Ok(endpoint.traffic_split.clone()),
    }
}

fn check_deployment(new: &Deployment) -> Result<()> {
    id::check_deployment(&new.id)?;
    id::check_display_name(&new.display_name)?;
    if new.machine_type.as_ref().is_some_and(|name| name.len() > id::ID_CHARS_MAX) {
        let message = format!("machine type must have at most {} characters", id::ID_CHARS_MAX);
        return Err(Error::invalid("machineType", message));
    }
    for (field, value) in [("cpu_cores", new.cpu_cores), ("memory_gb", new.memory_gb)] {
        if !value.is_finite() || value <= 0.0 {
            return Err(Error::invalid(field, format!("{field} must be above 0, got {value}")));
        }
    }
    if let Some(percent) = new.shadow_percent.filter(|percent| !(1..=100).contains(percent)) {
        let message = format!("a shadow gets 1 to 100 percent of the requests, got {percent}");
        return Err(Error::invalid("shadowPercent", message));
    }
    new.limits.check()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> TrafficSplit {
        let pair = |part: &str| {
            let (id, percent) = part.split_once('=').unwrap();
            (id.to_owned(), percent.parse().unwrap())
        };
        text.split_whitespace().map(pair).collect()
    }

    fn text(split: &TrafficSplit) -> String {
        split.iter().map(|(id, percent)| format!("{id}={percent}")).collect::<Vec<_>>().join(" ")
    }

    fn deployment(id: &str) -> Deployment {
        Deployment {
            id: id.to_owned(),
            model: "m".to_owned(),
            version: 1,
            display_name: String::new(),
            cpu_cores: 2.0,
            memory_gb: 4.0,
            machine_type: None,
            engine: None,
            shadow_percent: None,
            residence: Residence::Pinned,
            limits: DeploymentLimits::default(),
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn endpoint(ids: &[&str], traffic: &str) -> Endpoint {
        Endpoint {
            project: "p".to_owned(),
            id: "e".to_owned(),
            display_name: String::new(),
            deployments: ids.iter().map(|id| deployment(id)).collect(),
            traffic_split: split(traffic),
            description: String::new(),
            labels: BTreeMap::new(),
            failed_attempt: None,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn outcome(result: Result<TrafficSplit>) -> String {
        result.map_or_else(|error| format!("error: {error}"), |split| text(&split))
    }

    #[test]
    fn deploying_follows_the_rules() {
        let check = |(ids, traffic): (&[&str], &str), new: &str, asked: &str, expected: &str| {
            let got = outcome(check_deploy(&endpoint(ids, traffic), &deployment(new), Some(&split(asked))));
            assert_eq!(got, expected, "{ids:?} {traffic:?} + {new} with {asked:?}");
        };
        check((&[], ""), "7", "0=100", "7=100");
        check((&[], ""), "7", "", "");
        check((&["1"], "1=100"), "7", "", "1=100 7=0");
        check((&["1"], "1=100"), "7", "0=30 1=70", "1=70 7=30");
        check((&["1", "2"], "1=100 2=0"), "7", "0=100", "1=0 2=0 7=100");
        check((&["1"], "1=100"), "7", "1=100", "1=100 7=0");
        let sum = |sum: u32| format!("error: traffic split sums to {sum}, it must sum to 100 or be empty");
        check((&["1"], "1=100"), "7", "0=30 1=71", &sum(101));
        check((&["1"], "1=100"), "7", "0=99", &sum(99));
        check((&["1"], "1=100"), "7", "0=200 1=156", &sum(356));
        let unknown = "error: traffic split names deployment \"7\", which endpoint \"e\" does not have; deployments: 1, 0";
        check((&["1"], "1=100"), "7", "7=100", unknown);
        let taken = "error: endpoint \"e\" already has a deployment 1; choose another id or leave it out";
        check((&["1"], "1=100"), "1", "0=100", taken);
        check(
            (&[], ""),
            "0",
            "0=100",
            "error: deployment id \"0\" must be 1 to 10 digits, not beginning with 0",
        );
        assert_eq!(outcome(check_deploy(&endpoint(&["1"], "1=100"), &deployment("7"), None)), "1=100 7=0");
    }

    #[test]
    fn undeploying_follows_the_rules() {
        let check = |(ids, traffic): (&[&str], &str), gone: &str, asked: &str, expected: &str| {
            let got = outcome(check_undeploy(&endpoint(ids, traffic), gone, Some(&split(asked))));
            assert_eq!(got, expected, "{ids:?} {traffic:?} - {gone} with {asked:?}");
        };
        check((&["1"], "1=100"), "1", "", "");
        check((&["1"], "1=100"), "1", "1=100", "");
        check((&["1", "2"], "1=100 2=0"), "2", "", "1=100");
        check((&["1", "2"], "1=60 2=40"), "2", "1=100", "1=100");
        check((&["1", "2"], "1=60 2=40"), "2", "1=100 2=0", "1=100");
        check((&["1", "2"], ""), "2", "", "");
        let traffic = |share: u8, others: &str| {
            format!(
                "error: deployment 2 of endpoint \"e\" has {share} % of the traffic; give a traffic split over the others ({others})"
            )
        };
        check((&["1", "2"], "1=60 2=40"), "2", "", &traffic(40, "1"));
        check((&["1", "2", "3"], "1=60 2=40 3=0"), "2", "1=50 2=50", &traffic(50, "1, 3"));
        check(
            (&["1", "2"], "1=60 2=40"),
            "2",
            "1=60",
            "error: traffic split sums to 60, it must sum to 100 or be empty",
        );
        check(
            (&["1", "2"], "1=60 2=40"),
            "3",
            "",
            "error: endpoint \"e\" has no deployment \"3\"; deployments: 1, 2",
        );
        assert!(matches!(check_undeploy(&endpoint(&[], ""), "1", None), Err(Error::NotFound(_))));
    }

    #[test]
    fn a_split_can_be_changed_or_emptied() {
        let update =
            |asked| EndpointUpdate { traffic_split: Some(split(asked)), ..EndpointUpdate::default() };
        let now = endpoint(&["1", "2"], "1=60 2=40");
        assert_eq!(outcome(check_update(&now, &update("2=100"))), "1=0 2=100");
        assert_eq!(outcome(check_update(&now, &update(""))), "");
        assert_eq!(outcome(check_update(&now, &EndpointUpdate::default())), "1=60 2=40");
        assert!(matches!(check_update(&now, &update("3=100")), Err(Error::InvalidArgument { .. })));
        let name = EndpointUpdate { display_name: Some("x".repeat(129)), ..EndpointUpdate::default() };
        assert!(matches!(check_update(&now, &name), Err(Error::InvalidArgument { .. })));
    }

    #[test]
    fn resources_must_be_above_zero() {
        for (cpu_cores, memory_gb) in
            [(0.0, 1.0), (-1.0, 1.0), (f64::NAN, 1.0), (1.0, 0.0), (1.0, f64::INFINITY)]
        {
            let new = Deployment { cpu_cores, memory_gb, ..deployment("1") };
            let refused = check_deploy(&endpoint(&[], ""), &new, None);
            assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{cpu_cores} {memory_gb}");
        }
    }

    #[test]
    fn a_shadow_is_one_until_it_has_traffic() {
        let shadow = |percent| Deployment { shadow_percent: Some(percent), ..deployment("2") };
        for percent in [0, 101] {
            let refused = check_deploy(&endpoint(&["1"], "1=100"), &shadow(percent), None);
            assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{percent}");
        }
        let mut with_shadow = endpoint(&["1"], "1=100");
        with_shadow.traffic_split = check_deploy(&with_shadow, &shadow(20), None).unwrap();
        with_shadow.deployments.push(shadow(20));
        assert_eq!(text(&with_shadow.traffic_split), "1=100 2=0");
        let are = |endpoint: &Endpoint| -> Vec<bool> {
            endpoint.deployments.iter().map(|deployment| endpoint.is_shadow(deployment)).collect()
        };
        assert_eq!(are(&with_shadow), [false, true]);
        with_shadow.traffic_split = split("1=99 2=1");
        assert_eq!(are(&with_shadow), [false, false]);
    }

    #[test]
    fn a_deployment_changes_its_size_and_not_its_model() {
        let now = endpoint(&["1"], "1=100");
        assert!(check_redeploy(&now, &Deployment { cpu_cores: 0.5, ..deployment("1") }).is_ok());
        let zero = Deployment { memory_gb: 0.0, ..deployment("1") };
        assert!(matches!(check_redeploy(&now, &zero), Err(Error::InvalidArgument { .. })));
        let other = Deployment { version: 2, ..deployment("1") };
        let refused = check_redeploy(&now, &other).unwrap_err().to_string();
        assert_eq!(refused, "deployment 1 serves m@1; deploy another version beside it and move the traffic");
        assert!(matches!(check_redeploy(&now, &deployment("7")), Err(Error::NotFound(_))));
    }

    proptest! {
        #[test]
        fn a_split_is_always_whole(steps in proptest::collection::vec(
            (0u8..3, 1u32..5, proptest::collection::btree_map(0u32..5, 0u8..=100, 0..4)), 0..40)) {
            let mut state = endpoint(&[], "");
            for (what, id, asked) in steps {
                let id = id.to_string();
                let mut asked: TrafficSplit = asked.into_iter().map(|(id, n)| (id.to_string(), n)).collect();
                // Random shares hardly ever sum to 100: let the last one make up for it where it can.
                let sum: u32 = asked.values().map(|n| u32::from(*n)).sum();
                if let Some(mut last) = asked.last_entry() {
                    let rest = sum - u32::from(*last.get());
                    *last.get_mut() = 100u32.saturating_sub(rest) as u8;
                }
                match what {
                    0 => if let Ok(split) = check_deploy(&state, &deployment(&id), Some(&asked)) {
                        state.deployments.push(deployment(&id));
                        state.traffic_split = split;
                    },
                    1 => if let Ok(split) = check_undeploy(&state, &id, Some(&asked)) {
                        state.deployments.retain(|d| d.id != id);
                        state.traffic_split = split;
                    },
                    _ => {
                        let update = EndpointUpdate { traffic_split: Some(asked), ..EndpointUpdate::default() };
                        if let Ok(split) = check_update(&state, &update) {
                            state.traffic_split = split;
                        }
                    }
                }
                let sum: u32 = state.traffic_split.values().map(|n| u32::from(*n)).sum();
                prop_assert!(sum == 100 || state.traffic_split.is_empty(), "{state:?}");
                let mut ids = state.deployment_ids();
                ids.sort();
                let named: Vec<String> = state.traffic_split.keys().cloned().collect();
                prop_assert!(named.is_empty() || named == ids, "{state:?}");
            }
        }
    }
}
