//! TreeEnsemble (ai.onnx.ml 5): branches and leaves in lists of their own, children by place, sets of members.

use protos::onnx::NodeProto;

use super::attributes::{below, int, ints, same_count, tensor};
use super::{Aggregate, Description, Node, Test, Transform};

pub(super) fn read(node: &NodeProto) -> Result<Description, String> {
    let targets = int(node, "n_targets").unwrap_or(1);
    let targets = usize::try_from(targets).ok().filter(|n| (1..=super::super::MAX_TARGETS).contains(n));
    let targets = targets.ok_or("its n_targets is not a count")?;
    let aggregate = match int(node, "aggregate_function").unwrap_or(1) {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return Err(format!("its aggregate_function {other} is not one of ONNX")),
    };
    let transform = match int(node, "post_transform").unwrap_or(0) {
        0 => Transform::None,
        1 => Transform::Softmax,
        2 => Transform::Logistic,
        3 => Transform::SoftmaxZero,
        4 => Transform::Probit,
        other => return Err(format!("its post_transform {other} is not one of ONNX")),
    };
    let mut nodes = branches(node)?;
    let count = nodes.len();
    nodes.extend(leaves(node, targets)?);
    let root = |root: &i64| below("the root", *root, count);
    let roots = ints(node, "tree_roots").iter().map(root).collect::<Result<_, _>>()?;
    Ok(Description {
        targets,
        nodes,
        roots,
        base_values: vec![],
        aggregate,
        transform,
        labels: None,
        typed_output: true,
    })
}

fn branches(node: &NodeProto) -> Result<Vec<Node>, String> {
    let features = ints(node, "nodes_featureids");
    let modes = tensor(node, "nodes_modes")?;
    let splits = tensor(node, "nodes_splits")?;
    let (yes, no) = (ints(node, "nodes_truenodeids"), ints(node, "nodes_falsenodeids"));
    let (yes_is_leaf, no_is_leaf) = (ints(node, "nodes_trueleafs"), ints(node, "nodes_falseleafs"));
    let missing = ints(node, "nodes_missing_value_tracks_true");
    let lists = [
        ("nodes_modes", modes.len()),
        ("nodes_splits", splits.len()),
        ("nodes_truenodeids", yes.len()),
        ("nodes_falsenodeids", no.len()),
        ("nodes_trueleafs", yes_is_leaf.len()),
        ("nodes_falseleafs", no_is_leaf.len()),
    ];
    let count = features.len();
    for (name, found) in lists {
        same_count(name, found, count)?;
    }
    let leaf_count = ints(node, "leaf_targetids").len();
    let child = |index: i64, is_leaf: i64| match is_leaf {
        0 => below("the node", index, count),
        _ => Ok(count + below("the leaf", index, leaf_count)?),
    };
    let members = tensor(node, "membership_values")?;
    let mut sets = members.split(|value| value.is_nan());
    let mut nodes = Vec::with_capacity(count);
    for at in 0..count {
        let split = splits[at];
        // Modes are small whole numbers; whatever else there is falls through.
        let test = match modes[at] as i64 {
            0 => Test::AtMost(split),
            1 => Test::Below(split),
            2 => Test::AtLeast(split),
            3 => Test::Above(split),
            4 => Test::Equal(split),
            5 => Test::NotEqual(split),
            6 => Test::Member(sets.next().ok_or("its membership_values end before its nodes")?.to_vec()),
            other => return Err(format!("its node mode {other} is not one of ONNX")),
        };
        nodes.push(Node::Branch {
            feature: below("feature", features[at], super::super::MAX_FEATURES)?,
            test,
            missing_is_yes: missing.get(at) == Some(&1),
            yes: child(yes[at], yes_is_leaf[at])?,
            no: child(no[at], no_is_leaf[at])?,
        });
    }
    Ok(nodes)
}

fn leaves(node: &NodeProto, targets: usize) -> Result<Vec<Node>, String> {
    let ids = ints(node, "leaf_targetids");
    let weights = tensor(node, "leaf_weights")?;
    same_count("leaf_weights", weights.len(), ids.len())?;
    let leaf = |(id, weight): (&i64, f64)| Ok(Node::Leaf(vec![(below("target", *id, targets)?, weight)]));
    ids.iter().zip(weights).map(leaf).collect()
}
