//! Functions that loops and branches call: what they use from outside becomes arguments.

use std::collections::BTreeSet;

use protos::onnx::GraphProto;
use protos::tensorflow::{DataType, FunctionDef, OpDef, attr_value};

use super::call::{Call, Given};
use super::lowering::{Lowering, function};
use super::value::{Place, Shape, Value};
use crate::format::onnx::nodes::nested;
use crate::format::saved_model::function::argument;
use crate::format::saved_model::proto::{function_attribute, shape, shapes_attribute, types_attribute};

/// A function that was written, and the types of its results.
pub(super) struct Written {
    name: String,
    results: Vec<Value>,
}

impl Lowering {
    /// Writes a function whose arguments are like these values, and which gives what `write` makes of them.
    ///
    /// # Errors
    /// What `write` says.
    pub(super) fn inner(
        &mut self,
        role: &str,
        arguments: &[Value],
        write: impl FnOnce(&mut Self, &[Value]) -> Result<Vec<Value>, String>,
    ) -> Result<Written, String> {
        let name = |at: usize| format!("argument_{at}");
        let names: BTreeSet<String> = (0..arguments.len()).map(name).collect();
        let inner = self.body.beside(names);
        let outer = std::mem::replace(&mut self.body, inner);
        let inside = |(at, value): (usize, &Value)| Value { place: Place::Node(name(at)), ..value.clone() };
        let inside: Vec<Value> = arguments.iter().enumerate().map(inside).collect();
        let results = write(self, &inside);
        let results = results.map(|values| {
            let references: Vec<String> = values.iter().map(|value| self.refer(value)).collect();
            (values, references)
        });
        let body = std::mem::replace(&mut self.body, outer);
        let (values, references) = results?;
        let arguments = arguments.iter().enumerate().map(|(at, value)| argument(&name(at), value.dtype));
        let name = format!("__inference_{role}_{}", self.functions.len());
        let signature = OpDef { name: name.clone(), input_arg: arguments.collect(), ..OpDef::default() };
        let named = values.iter().zip(references).enumerate();
        let named: Vec<(String, String, DataType)> =
            named.map(|(at, (value, reference))| (format!("result_{at}"), reference, value.dtype)).collect();
        let done: FunctionDef = function(signature, body.nodes, &named);
        self.functions.push(done);
        Ok(Written { name, results: values })
    }

    /// Repeats `step` while `goes_on` says so. Both get the state, then `fixed`; `step` gives the next state.
    ///
    /// # Errors
    /// What they say, or a state that changes its type.
    pub(super) fn repeated(
        &mut self,
        state: &[Value],
        fixed: &[Value],
        goes_on: impl FnOnce(&mut Self, &[Value]) -> Result<Value, String>,
        step: impl FnOnce(&mut Self, &[Value], &[Value]) -> Result<Vec<Value>, String>,
    ) -> Result<Vec<Value>, String> {
        // Shapes of what changes may change too.
        let loose = |value: &Value| Value { known: None, ..value.clone() };
        let all: Vec<Value> = state.iter().chain(fixed).map(loose).collect();
        let count = state.len();
        let condition = self.inner("while_cond", &all, |l, x| Ok(vec![goes_on(l, x)?]))?;
        let body = self.inner("while_body", &all, |l, x| {
            let (state, fixed) = x.split_at(count);
            let mut next = step(l, state, fixed)?;
            next.extend(fixed.iter().cloned());
            Ok(next)
        })?;
        if body.results.iter().zip(&all).any(|(after, before)| after.dtype != before.dtype)
            || body.results.len() != all.len()
        {
            return Err("a value of its loop changes its type".to_owned());
        }
        let shapes: Vec<Shape> =
            all.iter().zip(&body.results).map(|(a, b)| common(&a.shape, &b.shape)).collect();
        let types = types_attribute(all.iter().map(|value| value.dtype).collect());
        let call = Call::new("StatelessWhile", "output", &all.iter().collect::<Vec<_>>())
            .with("T", types)
            .with("cond", function_attribute(&condition.name))
            .with("body", function_attribute(&body.name))
            .with("output_shapes", shapes_attribute(shapes.iter().map(proto_shape).collect()))
            .int("parallel_iterations", 10);
        let given = |(at, (value, shape)): (usize, (&Value, &Shape))| Given {
            output: format!("output:{at}"),
            dtype: value.dtype,
            shape: shape.clone(),
        };
        let given = all.iter().zip(&shapes).enumerate().take(count).map(given).collect();
        Ok(self.emit_all(call, given))
    }

    /// What one of two functions gives.
    pub(super) fn branched(
        &mut self,
        condition: &Value,
        fixed: &[Value],
        [then, otherwise]: [Written; 2],
    ) -> Result<Vec<Value>, String> {
        let pairs = || then.results.iter().zip(&otherwise.results);
        if pairs().any(|(a, b)| a.dtype != b.dtype) || then.results.len() != otherwise.results.len() {
            return Err("its branches give values of different types".to_owned());
        }
        let shapes: Vec<Shape> = pairs().map(|(a, b)| common(&a.shape, &b.shape)).collect();
        let mut inputs = vec![condition];
        inputs.extend(fixed);
        let call = Call::new("StatelessIf", "output", &inputs)
            .dtype("Tcond", DataType::DtBool)
            .with("Tin", types_attribute(fixed.iter().map(|value| value.dtype).collect()))
            .with("Tout", types_attribute(then.results.iter().map(|value| value.dtype).collect()))
            .with("then_branch", function_attribute(&then.name))
            .with("else_branch", function_attribute(&otherwise.name))
            .with("output_shapes", shapes_attribute(shapes.iter().map(proto_shape).collect()));
        let results = then.results.iter().zip(shapes).enumerate();
        let given = results.map(|(at, (value, shape))| Given {
            output: format!("output:{at}"),
            dtype: value.dtype,
            shape,
        });
        Ok(self.emit_all(call, given.collect()))
    }

    /// A list of tensors, still empty.
    pub(super) fn list(&mut self, of: DataType) -> Value {
        let (any, most) = (self.short(-1), self.short(-1));
        let call = Call::new("EmptyTensorList", "handle", &[&any, &most])
            .dtype("element_dtype", of)
            .dtype("shape_type", DataType::DtInt32);
        self.emit(call, DataType::DtVariant, Some(vec![]))
    }

    /// The list with one more.
    pub(super) fn appended(&mut self, list: &Value, element: &Value) -> Value {
        let call = Call::new("TensorListPushBack", "output_handle", &[list, element])
            .dtype("element_dtype", element.dtype);
        self.emit(call, DataType::DtVariant, Some(vec![]))
    }

    /// All of a list along a new first axis.
    pub(super) fn listed(&mut self, list: &Value, of: DataType, shape: Shape) -> Value {
        let any = self.short(-1);
        let call = Call::new("TensorListStack", "tensor", &[list, &any])
            .dtype("element_dtype", of)
            .with("num_elements", attr_value::Value::I(-1));
        self.emit(call, of, shape)
    }
}

/// What holds of both.
fn common(a: &Shape, b: &Shape) -> Shape {
    let (a, b) = (a.as_ref()?, b.as_ref()?);
    (a.len() == b.len()).then(|| a.iter().zip(b).map(|(a, b)| if a == b { *a } else { None }).collect())
}

fn proto_shape(axes: &Shape) -> protos::tensorflow::TensorShapeProto {
    match axes {
        None => protos::tensorflow::TensorShapeProto { unknown_rank: true, dim: vec![] },
        Some(axes) => shape(
            &axes.iter().map(|size| size.and_then(|size| usize::try_from(size).ok())).collect::<Vec<_>>(),
        ),
    }
}

/// The names that a graph takes from the graphs around it.
pub(super) fn used_from_outside(graph: &GraphProto) -> BTreeSet<String> {
    let mut own: BTreeSet<&str> = graph.input.iter().map(|input| input.name()).collect();
    own.extend(graph.initializer.iter().map(|tensor| tensor.name()));
    own.extend(graph.node.iter().flat_map(|node| &node.output).map(String::as_str));
    let mut used = BTreeSet::new();
    for node in &graph.node {
        used.extend(node.input.iter().cloned());
        nested(node).into_iter().for_each(|inner| used.extend(used_from_outside(inner)));
    }
    used.extend(graph.output.iter().map(|output| output.name().to_owned()));
    used.retain(|name| !name.is_empty() && !own.contains(name.as_str()));
    used
}
