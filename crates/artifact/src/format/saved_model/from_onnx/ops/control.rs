//! Loops and branches: their graphs become functions.

use protos::onnx::GraphProto;
use protos::tensorflow::DataType;

use super::Written;
use crate::format::saved_model::from_onnx::call::Call;
use crate::format::saved_model::from_onnx::functions::used_from_outside;
use crate::format::saved_model::from_onnx::lowering::{Lowering, Scope};
use crate::format::saved_model::from_onnx::node::Node;
use crate::format::saved_model::from_onnx::value::{Place, Value, open};

/// What graphs use from outside, by name; constants that need no argument stay as they are.
struct Captured {
    names: Vec<String>,
    values: Vec<Value>,
    constants: Scope,
}

impl Captured {
    fn of(l: &mut Lowering, graphs: &[&GraphProto], scope: &Scope) -> Result<Self, String> {
        let used = graphs.iter().flat_map(|graph| used_from_outside(graph));
        let mut captured = Self { names: vec![], values: vec![], constants: Scope::new() };
        for name in used {
            let value =
                scope.get(&name).ok_or_else(|| format!("it uses \"{name}\", which is not written"))?;
            match value.place {
                Place::Weight(at) if !l.weights[at].is_variable => {
                    captured.constants.insert(name, value.clone());
                }
                _ if captured.names.contains(&name) => {}
                _ => {
                    captured.names.push(name);
                    captured.values.push(value.clone());
                }
            }
        }
        Ok(captured)
    }

    /// What a graph finds inside, where its arguments stand for what was captured.
    fn scope(&self, arguments: &[Value]) -> Scope {
        let mut scope = self.constants.clone();
        scope.extend(self.names.iter().cloned().zip(arguments.iter().cloned()));
        scope
    }
}

/// The results of a graph.
fn results(l: &mut Lowering, graph: &GraphProto, mut scope: Scope) -> Result<Vec<Value>, String> {
    l.graph(graph, &mut scope)?;
    let result =
        |name: &str| scope.get(name).cloned().ok_or_else(|| format!("its \"{name}\" is not written"));
    graph.output.iter().map(|output| result(output.name())).collect()
}

/// A count of rounds and a condition, either of which may be left out, then values that go from a round to the next; the body
/// gives the condition, those values, and elements of lists.
pub(super) fn repeated(l: &mut Lowering, n: &Node<'_>, scope: &Scope) -> Written {
    let body = n.graph("body")?;
    let captured = Captured::of(l, &[body], scope)?;
    let carried = n.inputs.len().saturating_sub(2);
    let lists = body.output.len().checked_sub(1 + carried).ok_or("its body gives too few values")?;
    let rounds = match n.optional(0) {
        Some(rounds) => l.shaped(&rounds, &[]),
        None => l.integer(i64::MAX),
    };
    let begins = match n.optional(1) {
        Some(condition) => l.shaped(&condition, &[]),
        None => {
            let one = l.integer(1);
            l.cast(&one, DataType::DtBool)
        }
    };
    let mut state = vec![l.integer(0), begins];
    for at in 2..n.inputs.len() {
        // What a round makes of it may have other sizes, but as many axes.
        let value = n.input(at)?;
        let shape = value.shape.as_ref().and_then(|shape| open(shape.len()));
        state.push(Value { shape, ..value });
    }
    let types = list_types(body, carried)?;
    for dtype in &types {
        state.push(l.list(*dtype));
    }
    let mut fixed = vec![rounds];
    fixed.extend(captured.values.iter().cloned());
    let goes_on = |l: &mut Lowering, x: &[Value]| {
        let rounds = &x[2 + carried + lists];
        let is_left = l.compared("Less", &x[0], rounds);
        let call = Call::new("LogicalAnd", "z", &[&is_left, &x[1]]);
        Ok(l.emit(call, DataType::DtBool, Some(vec![])))
    };
    let step = |l: &mut Lowering, state: &[Value], fixed: &[Value]| {
        let mut inner = captured.scope(&fixed[1..]);
        for (input, value) in body.input.iter().zip(&state[..2 + carried]) {
            inner.insert(input.name().to_owned(), value.clone());
        }
        let given = results(l, body, inner)?;
        let one = l.integer(1);
        let mut next = vec![l.binary("AddV2", &state[0], &one), l.shaped(&given[0], &[])];
        next.extend(given[1..1 + carried].iter().cloned());
        for (list, element) in state[2 + carried..].iter().zip(&given[1 + carried..]) {
            next.push(l.appended(list, element));
        }
        Ok(next)
    };
    let mut done = l.repeated(&state, &fixed, goes_on, step)?.split_off(2);
    let ends = done.split_off(carried);
    for ((list, dtype), output) in ends.iter().zip(types).zip(&body.output[1 + carried..]) {
        let rank = stated_rank(output).map(|rank| vec![None; rank + 1]);
        done.push(l.listed(list, dtype, rank));
    }
    Ok(done)
}

/// What the lists of a loop hold, as its body says.
fn list_types(body: &GraphProto, carried: usize) -> Result<Vec<DataType>, String> {
    let dtype = |output: &protos::onnx::ValueInfoProto| {
        let stated = tensor_type(output).map(|tensor| tensor.elem_type());
        let stated = stated.and_then(|dtype| protos::onnx::tensor_proto::DataType::try_from(dtype).ok());
        let stated = stated.ok_or_else(|| format!("the type of its \"{}\" is not said", output.name()))?;
        crate::format::saved_model::from_onnx::weight::element_type(stated)
    };
    body.output[1 + carried..].iter().map(dtype).collect()
}

fn tensor_type(value: &protos::onnx::ValueInfoProto) -> Option<&protos::onnx::type_proto::Tensor> {
    match value.r#type.as_ref()?.value.as_ref()? {
        protos::onnx::type_proto::Value::TensorType(tensor) => Some(tensor),
        _ => None,
    }
}

fn stated_rank(value: &protos::onnx::ValueInfoProto) -> Option<usize> {
    tensor_type(value)?.shape.as_ref().map(|shape| shape.dim.len())
}

pub(super) fn chosen(l: &mut Lowering, n: &Node<'_>, scope: &Scope) -> Written {
    let graphs = [n.graph("then_branch")?, n.graph("else_branch")?];
    let captured = Captured::of(l, &graphs, scope)?;
    let condition = n.input(0)?;
    let condition = l.shaped(&condition, &[]);
    let write = |l: &mut Lowering, graph: &GraphProto| {
        l.inner("branch", &captured.values, |l, arguments| results(l, graph, captured.scope(arguments)))
    };
    let branches = [write(l, graphs[0])?, write(l, graphs[1])?];
    l.branched(&condition, &captured.values, branches)
}
