//! A loop that stays one: the step becomes the body of ONNX's `Loop`.

use predictor::DataType;
use protos::onnx::{GraphProto, NodeProto};

use super::{Nodes, Results, Stepped};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::dim::Dim;
use crate::format::saved_model::read::finish;
use crate::format::saved_model::read::target::{Call, Step};
use crate::format::saved_model::read::value::{Traced, scalar};

/// The body takes the number of the step, whether to go on, and the states; it gives whether to go on, the states, and
/// what it writes to lists.
pub(super) fn emit(c: &mut Converter, stepped: &Stepped, step: Nodes) -> Step<Results> {
    let number = c.target.placeholder("step", DataType::Int64, vec![]);
    let goes_on = c.target.placeholder("goes_on", DataType::Bool, vec![]);
    let mark = c.target.mark();
    for counter in &stepped.counters {
        let count = c.target.cast(&number, counter.value.dtype)?;
        let count = c.target.with_number("Add", &count, counter.start as f64)?;
        rename(&mut c.target.nodes, &c_name(&count)?, &c_name(&counter.value)?);
    }
    let mut nodes = c.target.take_back(mark);
    nodes.extend(step);
    let mark = c.target.mark();
    let mut results = vec![c.target.emit(&Call::new("Identity", &[&goes_on]), DataType::Bool, vec![])?];
    let carried = stepped.states.iter().map(|state| &state.after);
    for value in carried.chain(stepped.writes.iter().map(|write| &write.item)) {
        // A state keeps the shape it is carried in.
        results.push(c.target.emit(&Call::new("Identity", &[value]), value.dtype, value.shape.clone())?);
    }
    nodes.extend(c.target.take_back(mark));
    let inputs: Vec<&Traced> =
        [&number, &goes_on].into_iter().chain(stepped.states.iter().map(|state| &state.before)).collect();
    let body = GraphProto {
        name: Some("step".to_owned()),
        node: nodes,
        input: inputs.into_iter().map(finish::inner_value).collect(),
        output: results.iter().map(finish::inner_value).collect(),
        ..GraphProto::default()
    };
    let count = Traced::sizes(DataType::Int64, vec![stepped.steps.clone()], 0);
    let truth = scalar(DataType::Bool, 1.0);
    let mut call = Call::new("Loop", &[&count, &truth]);
    for state in &stepped.states {
        call = call.input(&state.initial);
    }
    let states = stepped.states.iter().map(|state| Some((state.after.dtype, state.before.shape.clone())));
    let lists = stepped.writes.iter().map(|write| {
        let shape: Vec<Dim> = std::iter::once(&stepped.steps).chain(&write.item.shape).cloned().collect();
        Some((write.item.dtype, shape))
    });
    let all = c.target.emit_all(&call.graph("body", body), states.chain(lists).collect())?;
    let mut all = all.into_iter().flatten();
    let last = all.by_ref().take(stepped.states.len()).collect();
    Ok(Results { last, lists: all.map(Some).collect() })
}

fn c_name(value: &Traced) -> Step<String> {
    Ok(super::cell::name(value).ok_or("a counter is known")?.to_owned())
}

/// Calls a result otherwise.
fn rename(nodes: &mut [NodeProto], from: &str, to: &str) {
    for name in nodes.iter_mut().flat_map(|node| &mut node.output) {
        if name == from {
            to.clone_into(name);
        }
    }
}
