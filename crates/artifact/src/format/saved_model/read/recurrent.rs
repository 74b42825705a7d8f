//! Loops that walk along a list, as recurrent layers are written.
//!
//! The step is converted once, with placeholders for what changes from step to step. If it is the cell of an LSTM or a
//! GRU, the loop becomes that operator; else, where writing out every step would be long or impossible, ONNX's `Loop`.

mod cell;
mod gru;
mod lstm;
mod repeated;

use std::rc::Rc;

use predictor::DataType;
use protos::onnx::NodeProto;

use super::body::{Body, Source};
use super::convert::Converter;
use super::dim::Dim;
use super::limits;
use super::ops::lists;
use super::target::Step;
use super::value::{Content, Item, List, Traced, Value};

/// Operators that written-out steps may become; beyond, a loop stays one.
const WRITTEN_OUT_MAX: usize = 1500;

/// One step of a loop.
struct Stepped {
    counters: Vec<Counter>,
    states: Vec<State>,
    writes: Vec<Write>,
    /// How many steps there are.
    steps: Dim,
}

/// A loop variable that counts steps.
struct Counter {
    at: usize,
    start: i64,
    value: Traced,
}

/// A tensor that each step changes.
struct State {
    at: usize,
    initial: Traced,
    before: Traced,
    after: Traced,
}

/// A list that each step writes to.
struct Write {
    at: usize,
    /// The place, if it is always the same.
    place: Option<i64>,
    item: Traced,
}

/// What became of a loop variable: the results of an operator, before they take the form the loop's results have.
struct Results {
    /// The last value of each state.
    last: Vec<Traced>,
    /// What each list got, along a new first axis; none if only its last item is asked for.
    lists: Vec<Option<Traced>>,
}

/// The results of the loop, if it is not to be written out step by step.
pub(super) fn convert<'a>(
    c: &mut Converter<'a>,
    [condition, body]: [&str; 2],
    x: &[Value],
) -> Step<Option<Vec<Value>>> {
    let function = c.function(body)?;
    let passed: Vec<bool> = (0..x.len()).map(|at| passes(&function, at)).collect();
    let Some(steps) = length(x, &passed) else { return Ok(None) };
    let scope = c.target.scope.clone();
    let mark = c.target.mark();
    let Some(stepped) = step(c, body, x, &passed, steps)? else {
        c.target.take_back(mark);
        c.target.scope = scope;
        return Ok(None);
    };
    let count = c.target.count_since(mark);
    let known =
        lstm::recognise(c, &stepped, x)?.map(Cell::Lstm).or(gru::recognise(c, &stepped, x)?.map(Cell::Gru));
    let nodes = c.target.take_back(mark);
    c.target.scope.clone_from(&scope);
    if !ends_after(c, condition, x, &stepped)? {
        c.target.scope = scope;
        return Ok(None);
    }
    c.target.scope = scope;
    let results = match known {
        Some(Cell::Lstm(cell)) => lstm::emit(c, &cell, &stepped)?,
        Some(Cell::Gru(cell)) => gru::emit(c, &cell, &stepped)?,
        None => match written_out(&stepped, count) {
            true => return Ok(None),
            false => repeated::emit(c, &stepped, nodes)?,
        },
    };
    results_of_loop(c, &stepped, results, x).map(Some)
}

enum Cell {
    Lstm(lstm::Cell),
    Gru(gru::Cell),
}

fn written_out(stepped: &Stepped, count: usize) -> bool {
    let all = stepped.steps.size().and_then(|steps| steps.checked_mul(count.max(1)));
    all.is_some_and(|all| all <= WRITTEN_OUT_MAX)
}

/// Whether a body gives back an argument as it is.
fn passes(body: &Body, at: usize) -> bool {
    let mut source = body.returns.get(at).copied();
    for _ in 0..limits::CALL_DEPTH {
        match source {
            Some(Source::Parameter(parameter)) => return parameter == at,
            Some(Source::Output(node, 0)) if body.nodes[node].op == "Identity" => {
                source = body.inputs[node].first().copied();
            }
            _ => return false,
        }
    }
    false
}

/// The length of the list that a loop walks along.
fn length(x: &[Value], passed: &[bool]) -> Option<Dim> {
    x.iter().zip(passed).find_map(|(value, passed)| match value {
        Value::List(list) if *passed && lists::whole(list).is_some() => {
            Some(list.length.clone().unwrap_or(Dim::fixed(list.items.len() as i64)))
        }
        _ => None,
    })
}

/// Converts one step with placeholders; none if it is of another form.
fn step(c: &mut Converter, body: &str, x: &[Value], passed: &[bool], steps: Dim) -> Step<Option<Stepped>> {
    let mut given = x.to_vec();
    let (mut counters, mut states, mut slots) = (Vec::new(), Vec::new(), Vec::new());
    for (at, value) in x.iter().enumerate().filter(|(at, _)| !passed[*at]) {
        given[at] = match value {
            Value::List(_) => {
                slots.push(at);
                Value::Slot
            }
            Value::Tensor(tensor) => match tensor.as_integer().filter(|_| tensor.rank() == 0) {
                Some(start) => {
                    let value = c.target.placeholder("counter", tensor.dtype, vec![]);
                    counters.push(Counter { at, start, value: value.clone() });
                    Value::Tensor(value)
                }
                None => {
                    let before = c.target.placeholder("state", tensor.dtype, tensor.shape.clone());
                    states.push(State {
                        at,
                        initial: tensor.clone(),
                        before: before.clone(),
                        after: before.clone(),
                    });
                    Value::Tensor(before)
                }
            },
            _ => return Ok(None),
        };
    }
    let results = c.call(body, &given)?;
    let mut writes = Vec::new();
    for counter in &counters {
        match results.get(counter.at) {
            Some(Value::Tensor(next)) if cell::is_next(c, next, &counter.value) => {}
            _ => return Ok(None),
        }
    }
    for state in &mut states {
        match results.get(state.at) {
            Some(Value::Tensor(after))
                if after.dtype == state.before.dtype && after.rank() == state.before.rank() =>
            {
                state.after = after.clone();
            }
            _ => return Ok(None),
        }
    }
    for at in slots {
        let Some(Value::Written(written)) = results.get(at) else { return Ok(None) };
        let [place, item] = written.as_ref();
        let counts = counters.iter().any(|counter| counter.start == 0 && same(&counter.value, place));
        match (counts, place.as_integer()) {
            (true, _) => writes.push(Write { at, place: None, item: item.clone() }),
            (false, Some(place)) => writes.push(Write { at, place: Some(place), item: item.clone() }),
            (false, None) => return Ok(None),
        }
    }
    Ok(Some(Stepped { counters, states, writes, steps }))
}

/// Whether two values are the same value of the graph.
fn same(x: &Traced, y: &Traced) -> bool {
    matches!((&x.content, &y.content), (Content::Computed(x), Content::Computed(y)) if x == y)
}

/// Whether the condition holds before the first and the last step, and not behind the last.
fn ends_after(c: &mut Converter, condition: &str, x: &[Value], stepped: &Stepped) -> Step<bool> {
    let mark = c.target.mark();
    let last = stepped.steps.plus(&Dim::fixed(-1)).ok_or("it has too many steps")?;
    let mut as_expected = true;
    for (done, expected) in [(Dim::fixed(0), true), (last, true), (stepped.steps.clone(), false)] {
        let mut given = x.to_vec();
        for counter in &stepped.counters {
            let count = done.plus(&Dim::fixed(counter.start)).ok_or("it has too many steps")?;
            given[counter.at] = Value::Tensor(Traced::sizes(counter.value.dtype, vec![count], 0));
        }
        let goes_on = match c.call(condition, &given)?.first() {
            Some(Value::Tensor(truth)) => truth.as_bool(),
            _ => None,
        };
        as_expected &= goes_on == Some(expected);
    }
    c.target.take_back(mark);
    Ok(as_expected)
}

/// The loop variables behind the last step.
fn results_of_loop(c: &mut Converter, stepped: &Stepped, results: Results, x: &[Value]) -> Step<Vec<Value>> {
    let mut values = x.to_vec();
    for counter in &stepped.counters {
        let count = stepped.steps.plus(&Dim::fixed(counter.start)).ok_or("it has too many steps")?;
        values[counter.at] = Value::Tensor(Traced::sizes(counter.value.dtype, vec![count], 0));
    }
    for (state, last) in stepped.states.iter().zip(&results.last) {
        values[state.at] = Value::Tensor(last.clone());
    }
    for (write, all) in stepped.writes.iter().zip(results.lists) {
        let dtype: DataType = write.item.dtype;
        let item_shape = Some(write.item.shape.clone());
        let list = match (write.place, all) {
            (None, Some(all)) => {
                List { dtype, items: vec![Item::Whole(all)], item_shape, length: Some(stepped.steps.clone()) }
            }
            (Some(place), all) => {
                let item = match all {
                    Some(all) => c.target.take(&all, 0, -1)?,
                    None => {
                        let state = stepped.states.iter().position(|state| same(&state.after, &write.item));
                        results.last[state.ok_or("a list gets what no state is")?].clone()
                    }
                };
                let Value::List(before) = &x[write.at] else {
                    return Err("it writes to what is no list".into());
                };
                let mut items = before.items.clone();
                let place = usize::try_from(place).ok().filter(|place| *place < items.len());
                items[place.ok_or("it writes outside of its list")?] = Item::Tensor(item);
                List { items, ..before.as_ref().clone() }
            }
            (None, None) => return Err("a list got nothing".into()),
        };
        values[write.at] = Value::List(Rc::new(list));
    }
    Ok(values)
}

/// The nodes of a step.
type Nodes = Vec<NodeProto>;
