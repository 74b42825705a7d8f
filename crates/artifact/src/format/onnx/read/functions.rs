//! Functions that a model brings itself. An engine writes out each call of one, so that a file of a few lines can become any number
//! of nodes.

use std::collections::HashMap;

use protos::onnx::{FunctionProto, GraphProto, ModelProto, NodeProto};

use crate::format::onnx::nodes::nested;

/// How deep functions may call each other.
const MAX_DEPTH: usize = 64;

/// Domain, name and which of those of one name.
type Name<'a> = (&'a str, &'a str, &'a str);

/// The functions of a model, and what of them is known.
pub(super) struct Functions<'a> {
    all: HashMap<Name<'a>, &'a FunctionProto>,
    /// Nodes that a call becomes; nothing while that is being counted.
    nodes: HashMap<Name<'a>, Option<usize>>,
}

impl<'a> Functions<'a> {
    pub(super) fn of(model: &'a ModelProto) -> Self {
        let named = |function: &'a FunctionProto| {
            ((function.domain(), function.name(), function.overload()), function)
        };
        Self { all: model.functions.iter().map(named).collect(), nodes: HashMap::new() }
    }

    /// How many nodes this one is once functions are written out, without its inner graphs.
    ///
    /// # Errors
    /// What is wrong with the function that it calls.
    pub(super) fn nodes(&mut self, node: &'a NodeProto) -> Result<usize, String> {
        self.called(node, 0)
    }

    fn called(&mut self, node: &'a NodeProto, depth: usize) -> Result<usize, String> {
        let name = (node.domain(), node.op_type(), node.overload());
        let Some(function) = self.all.get(&name).copied() else { return Ok(1) };
        match self.nodes.get(&name) {
            Some(Some(known)) => return Ok(*known),
            Some(None) => return Err(format!("its function {}.{} calls itself", name.0, name.1)),
            None if depth == MAX_DEPTH => {
                return Err(format!("its functions call each other more than {MAX_DEPTH} deep"));
            }
            None => {}
        }
        self.nodes.insert(name, None);
        let count = self.sum(&function.node, depth + 1)?;
        self.nodes.insert(name, Some(count));
        Ok(count)
    }

    fn sum(&mut self, nodes: &'a [NodeProto], depth: usize) -> Result<usize, String> {
        nodes.iter().try_fold(0usize, |sum, node| {
            let inner = nested(node).into_iter().try_fold(0usize, |sum, graph: &GraphProto| {
                Ok::<_, String>(sum.saturating_add(self.sum(&graph.node, depth)?))
            })?;
            Ok(sum.saturating_add(inner).saturating_add(self.called(node, depth)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str) -> NodeProto {
        NodeProto { domain: Some("own".to_owned()), op_type: Some(name.to_owned()), ..NodeProto::default() }
    }

    /// Each function calls those of these names.
    fn model(functions: &[(&str, &[&str])]) -> ModelProto {
        let function = |(name, calls): &(&str, &[&str])| FunctionProto {
            domain: Some("own".to_owned()),
            name: Some((*name).to_owned()),
            node: calls.iter().map(|name| call(name)).collect(),
            ..FunctionProto::default()
        };
        ModelProto { functions: functions.iter().map(function).collect(), ..ModelProto::default() }
    }

    fn nodes(functions: &[(&str, &[&str])], called: &str) -> Result<usize, String> {
        Functions::of(&model(functions)).nodes(&call(called))
    }

    #[test]
    fn a_call_is_all_that_it_becomes() {
        let functions: &[(&str, &[&str])] = &[("a", &["b", "Relu", "b"]), ("b", &["Add", "Mul"])];
        assert_eq!(nodes(functions, "a"), Ok(5));
        assert_eq!(nodes(functions, "Relu"), Ok(1));
        let doubling: Vec<String> = (0..64).map(|n| n.to_string()).collect();
        let twice: Vec<[&str; 2]> = doubling[1..].iter().map(|next| [next.as_str(); 2]).collect();
        let doubling: Vec<(&str, &[&str])> =
            doubling.iter().zip(&twice).map(|(name, calls)| (name.as_str(), calls.as_slice())).collect();
        assert_eq!(nodes(&doubling, "0"), Ok(1 << 63));
        assert!(nodes(&[("a", &["b"]), ("b", &["a"])], "a").unwrap_err().contains("calls itself"));
    }

    #[test]
    fn functions_call_each_other_only_so_deep() {
        let names: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
        let next: Vec<[&str; 1]> = names[1..].iter().map(|next| [next.as_str()]).collect();
        let chain: Vec<(&str, &[&str])> =
            names.iter().zip(&next).map(|(name, calls)| (name.as_str(), calls.as_slice())).collect();
        assert!(nodes(&chain, "0").unwrap_err().contains("more than 64 deep"));
    }
}
