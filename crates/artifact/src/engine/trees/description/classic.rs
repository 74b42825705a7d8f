//! TreeEnsembleRegressor and TreeEnsembleClassifier (ai.onnx.ml 1 to 4): nodes by tree and number, leaves among
//! them.

use std::collections::HashMap;

use protos::onnx::NodeProto;

use super::attributes::{
    aggregate, base_values, below, int, ints, numbers, same_count, text, texts, transform,
};
use super::{Aggregate, Description, Labels, Node, Test};

/// Tree and number of a node.
type Id = (i64, i64);

pub(super) fn regressor(node: &NodeProto) -> Result<Description, String> {
    let targets = int(node, "n_targets").unwrap_or(1);
    let targets = usize::try_from(targets).ok().filter(|n| (1..=super::super::MAX_TARGETS).contains(n));
    let targets = targets.ok_or("its n_targets is not a count")?;
    let read = Reading { node, part: "target", targets };
    let (nodes, roots) = read.nodes()?;
    Ok(Description {
        targets,
        nodes,
        roots,
        base_values: base_values(numbers(node, "base_values")?, &[targets])?,
        aggregate: aggregate(text(node, "aggregate_function").as_deref().unwrap_or("SUM"))?,
        transform: transform(text(node, "post_transform").as_deref().unwrap_or("NONE"))?,
        labels: None,
        typed_output: false,
    })
}

pub(super) fn classifier(node: &NodeProto) -> Result<Description, String> {
    let strings = texts(node, "classlabels_strings");
    let labels = if strings.is_empty() {
        Labels::Integers(ints(node, "classlabels_int64s").to_vec())
    } else {
        Labels::Strings(strings.len())
    };
    let targets = labels.count();
    if targets == 0 || targets > super::super::MAX_TARGETS {
        return Err(format!("it has {targets} class labels"));
    }
    let read = Reading { node, part: "class", targets };
    let (nodes, roots) = read.nodes()?;
    let allowed: &[usize] = if targets <= 2 { &[targets, 1, 2] } else { &[targets] };
    Ok(Description {
        targets,
        nodes,
        roots,
        base_values: base_values(numbers(node, "base_values")?, allowed)?,
        aggregate: Aggregate::Sum,
        transform: transform(text(node, "post_transform").as_deref().unwrap_or("NONE"))?,
        labels: Some(labels),
        typed_output: false,
    })
}

struct Reading<'a> {
    node: &'a NodeProto,
    /// What the names of the attributes of weights begin with.
    part: &'static str,
    targets: usize,
}

impl Reading<'_> {
    /// The nodes, and the place of each tree's root: the node that is listed first.
    fn nodes(&self) -> Result<(Vec<Node>, Vec<usize>), String> {
        let trees = ints(self.node, "nodes_treeids");
        let numbers_of = ints(self.node, "nodes_nodeids");
        let count = trees.len();
        same_count("nodes_nodeids", numbers_of.len(), count)?;
        let mut places: HashMap<Id, usize> = HashMap::with_capacity(count);
        let mut roots = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for (at, id) in trees.iter().copied().zip(numbers_of.iter().copied()).enumerate() {
            if places.insert(id, at).is_some() {
                return Err(format!("node {} of tree {} is there twice", id.1, id.0));
            }
            if at == 0 || trees[at - 1] != id.0 {
                if !seen.insert(id.0) {
                    return Err(format!("the nodes of tree {} are not listed together", id.0));
                }
                roots.push(at);
            }
        }
        let mut nodes = self.branches_and_leaves(&places)?;
        self.weigh(&mut nodes, &places)?;
        Ok((nodes, roots))
    }

    fn branches_and_leaves(&self, places: &HashMap<Id, usize>) -> Result<Vec<Node>, String> {
        let trees = ints(self.node, "nodes_treeids");
        let modes = texts(self.node, "nodes_modes");
        let features = ints(self.node, "nodes_featureids");
        let (yes, no) = (ints(self.node, "nodes_truenodeids"), ints(self.node, "nodes_falsenodeids"));
        let thresholds = numbers(self.node, "nodes_values")?;
        let missing = ints(self.node, "nodes_missing_value_tracks_true");
        let lists = [
            ("nodes_modes", modes.len()),
            ("nodes_featureids", features.len()),
            ("nodes_truenodeids", yes.len()),
            ("nodes_falsenodeids", no.len()),
            ("nodes_values", thresholds.len()),
        ];
        for (name, found) in lists {
            same_count(name, found, trees.len())?;
        }
        let child = |tree: i64, number: i64| {
            places.get(&(tree, number)).copied().ok_or_else(|| format!("tree {tree} has no node {number}"))
        };
        let mut nodes = Vec::with_capacity(trees.len());
        for (at, tree) in trees.iter().copied().enumerate() {
            let threshold = thresholds[at];
            let test = match modes[at].as_slice() {
                b"LEAF" => {
                    nodes.push(Node::Leaf(vec![]));
                    continue;
                }
                b"BRANCH_LEQ" => Test::AtMost(threshold),
                b"BRANCH_LT" => Test::Below(threshold),
                b"BRANCH_GTE" => Test::AtLeast(threshold),
                b"BRANCH_GT" => Test::Above(threshold),
                b"BRANCH_EQ" => Test::Equal(threshold),
                b"BRANCH_NEQ" => Test::NotEqual(threshold),
                other => {
                    return Err(format!(
                        "its node mode \"{}\" is not one of ONNX",
                        String::from_utf8_lossy(other)
                    ));
                }
            };
            nodes.push(Node::Branch {
                feature: below("feature", features[at], super::super::MAX_FEATURES)?,
                test,
                missing_is_yes: missing.get(at) == Some(&1),
                yes: child(tree, yes[at])?,
                no: child(tree, no[at])?,
            });
        }
        Ok(nodes)
    }

    /// Gives the leaves their weights. Old exporters write weights for branches too, which mean nothing.
    fn weigh(&self, nodes: &mut [Node], places: &HashMap<Id, usize>) -> Result<(), String> {
        let list = |name: &str| ints(self.node, &format!("{}_{name}", self.part));
        let (ids, numbers_of, trees) = (list("ids"), list("nodeids"), list("treeids"));
        let weights = numbers(self.node, &format!("{}_weights", self.part))?;
        same_count("of nodes of weights", numbers_of.len(), ids.len())?;
        same_count("of trees of weights", trees.len(), ids.len())?;
        same_count("of weights", weights.len(), ids.len())?;
        for (at, id) in ids.iter().enumerate() {
            let target = below(self.part, *id, self.targets)?;
            let (tree, number) = (trees[at], numbers_of[at]);
            let place = places.get(&(tree, number));
            let place = *place
                .ok_or_else(|| format!("a weight names node {number} of tree {tree}, which is not there"))?;
            if let Node::Leaf(leaf) = &mut nodes[place] {
                leaf.push((target, weights[at]));
            }
        }
        Ok(())
    }
}
