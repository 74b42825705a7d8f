//! Whether versions on one endpoint take the same questions: a shadow those it gets copies of, and all those that its traffic is
//! divided between.
//!
//! What a version takes is what callers are asked for: inputs that take random numbers do not count. Two versions whose features are both
//! computed here take the same symbols, however many numbers these become. Whether each is asked like that is its callers' to know.

use std::collections::BTreeSet;

use predictor::{Signature, TensorSpec};
use registry::{Deployment, Endpoint, ModelVersion, TrafficSplit};

use crate::deployed::is_of_rows;
use crate::{Error, Platform, Result};

impl Platform {
    /// Refuses a shadow that could answer no copy of what the endpoint is asked, or give no answer that can be compared. Where nothing
    /// answers yet, there is nothing to compare with.
    ///
    /// # Errors
    /// [`crate::Kind::InvalidArgument`] with both signatures.
    pub(crate) async fn check_shadow(
        &self,
        endpoint: &Endpoint,
        shadow: &Deployment,
        version: &ModelVersion,
    ) -> Result<()> {
        if shadow.shadow_percent.is_none() || !endpoint.is_shadow(shadow) {
            return Ok(());
        }
        let others =
            endpoint.deployments.iter().filter(|one| one.id != shadow.id && !endpoint.is_shadow(one));
        let mut other = None;
        for one in others {
            let answering = self.version_of(&endpoint.project, one).await?;
            let (takes, given) = (asked(version), asked(&answering));
            let fits = same_inputs(&takes, &given) || (takes_symbols(version) && takes_symbols(&answering));
            if fits && comparable(&takes, &given) {
                return Ok(());
            }
            other = other.or(Some((one, given)));
        }
        let Some((one, given)) = other else { return Ok(()) };
        let message = format!(
            "the shadow {}@{} {}, and could answer no copy of what deployment {} ({}@{}) answers, which {given}; deploy it to an endpoint \
             of its own, or here without a shadow's percent and without traffic",
            shadow.model,
            shadow.version,
            asked(version),
            one.id,
            one.model,
            one.version
        );
        Err(Error::invalid("shadowPercent", message))
    }

    /// Refuses a split by which a deployment begins to answer beside another one that takes other inputs: whoever asks could not know
    /// which to give. `new` is what the endpoint does not have yet.
    ///
    /// # Errors
    /// [`crate::Kind::InvalidArgument`] with both signatures.
    pub(crate) async fn check_split(
        &self,
        endpoint: &Endpoint,
        split: &TrafficSplit,
        new: Option<&Deployment>,
    ) -> Result<()> {
        let share = |split: &TrafficSplit, id: &str| split.get(id).copied().unwrap_or_default();
        let all = || endpoint.deployments.iter().chain(new);
        let answering: Vec<&Deployment> = all().filter(|one| share(split, &one.id) > 0).collect();
        let begins = |one: &Deployment| share(&endpoint.traffic_split, &one.id) == 0;
        if answering.len() < 2 || !answering.iter().any(|one| begins(one)) {
            return Ok(());
        }
        let mut versions = Vec::with_capacity(answering.len());
        for one in answering {
            let version = self.version_of(&endpoint.project, one).await?;
            versions.push((one, asked(&version), takes_symbols(&version)));
        }
        for (one, takes, symbols) in versions.iter().filter(|(one, ..)| begins(one)) {
            for (other, given, other_symbols) in &versions {
                if same_rows(takes, given) || (*symbols && *other_symbols) {
                    continue;
                }
                let message = format!(
                    "deployment {} ({}@{}) {takes}, and deployment {} ({}@{}) {given}: traffic cannot be divided between them; give all of it \
                     to one, or each an endpoint of its own",
                    one.id, one.model, one.version, other.id, other.model, other.version
                );
                return Err(Error::invalid("trafficSplit", message));
            }
        }
        Ok(())
    }
}

/// Whether a version is asked by symbol too: it was trained on a data set, whose snapshot it names, and its features are computed here.
fn takes_symbols(version: &ModelVersion) -> bool {
    let is_there = |pointer: &str| version.summary.pointer(pointer).is_some_and(|value| !value.is_null());
    !is_there("/origin") && is_there("/dataset/snapshot")
}

/// What is asked of callers, and what the version gives.
fn asked(version: &ModelVersion) -> Signature {
    let samplers = version.summary.pointer("/origin/samplers").and_then(serde_json::Value::as_array);
    let drawn: BTreeSet<&str> =
        samplers.into_iter().flatten().filter_map(|sampler| sampler.get("input")?.as_str()).collect();
    let mut asked = version.signature.clone();
    asked.inputs.retain(|spec| !drawn.contains(spec.name.as_str()));
    asked
}

/// Whether each has the inputs of the other: the same names and types, and shapes that agree where both are fixed.
fn same_inputs(one: &Signature, other: &Signature) -> bool {
    let found = |spec: &TensorSpec| {
        let named = other.inputs.iter().find(|other| other.name == spec.name);
        named.is_some_and(|other| other.dtype == spec.dtype && other.may_have_shape_of(spec))
    };
    one.inputs.len() == other.inputs.len() && one.inputs.iter().all(found)
}

/// The same, where the name of the only input of rows of numbers does not count: Vertex AI's instances have none.
fn same_rows(one: &Signature, other: &Signature) -> bool {
    let rows = |signature: &Signature| is_of_rows(signature).then(|| signature.inputs[0].row_elements());
    same_inputs(one, other) || rows(one).is_some_and(|row| rows(other) == Some(row))
}

/// Whether the answers of a shadow can be compared with those that are given: it has each output, and shapes agree where both are fixed.
/// Numbers of any type can be.
fn comparable(shadow: &Signature, given: &Signature) -> bool {
    given.outputs.iter().all(|spec| {
        let named = shadow.outputs.iter().find(|output| output.name == spec.name);
        named.is_some_and(|output| output.may_have_shape_of(spec))
    })
}

#[cfg(test)]
mod tests {
    use predictor::DataType;

    use super::*;

    fn spec(name: &str, dtype: DataType, shape: &[Option<usize>]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), dtype, shape: shape.to_vec() }
    }

    fn takes(inputs: Vec<TensorSpec>) -> Signature {
        Signature { inputs, outputs: Vec::new() }
    }

    fn gives(outputs: Vec<TensorSpec>) -> Signature {
        Signature { inputs: Vec::new(), outputs }
    }

    #[test]
    fn inputs_are_the_same_by_name_type_and_fixed_axes() {
        let (f, i) = (DataType::Float32, DataType::Int64);
        let a = spec("a", f, &[None, Some(2)]);
        let b = spec("b", i, &[None]);
        for (one, other, same) in [
            (vec![a.clone(), b.clone()], vec![b.clone(), a.clone()], true),
            (vec![a.clone()], vec![spec("a", f, &[Some(1), None])], true),
            (vec![a.clone()], vec![spec("a", f, &[None, Some(3)])], false),
            (vec![a.clone()], vec![spec("a", i, &[None, Some(2)])], false),
            (vec![a.clone()], vec![spec("x", f, &[None, Some(2)])], false),
            (vec![a.clone()], vec![a.clone(), b.clone()], false),
        ] {
            assert_eq!(same_inputs(&takes(one.clone()), &takes(other.clone())), same, "{one:?} {other:?}");
            assert_eq!(same_inputs(&takes(other.clone()), &takes(one.clone())), same, "{other:?} {one:?}");
        }
        let renamed = spec("x", f, &[None, Some(2)]);
        assert!(same_rows(&takes(vec![a.clone()]), &takes(vec![renamed])));
        assert!(!same_rows(&takes(vec![a]), &takes(vec![spec("x", f, &[None, Some(3)])])));
        assert!(
            !same_rows(&takes(vec![b.clone()]), &takes(vec![spec("x", i, &[None])])),
            "{b:?} is no row of numbers"
        );
    }

    #[test]
    fn answers_are_comparable_if_the_shadow_has_each_output() {
        let y = spec("y", DataType::Float32, &[None, Some(2)]);
        let more = spec("z", DataType::Float32, &[None]);
        assert!(comparable(&gives(vec![more.clone(), y.clone()]), &gives(vec![y.clone()])));
        assert!(!comparable(&gives(vec![y.clone()]), &gives(vec![y.clone(), more])));
        assert!(comparable(
            &gives(vec![spec("y", DataType::Float64, &[None, None])]),
            &gives(vec![y.clone()])
        ));
        assert!(!comparable(&gives(vec![spec("y", DataType::Float32, &[None, Some(3)])]), &gives(vec![y])));
    }
}
