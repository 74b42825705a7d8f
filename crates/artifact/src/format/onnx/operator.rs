//! The operators of the graph as those of ONNX: most have the same name, some become several.

use protos::onnx::AttributeProto;

use super::Writer;
use super::proto::{float, int, ints};
use crate::graph::{Axes, Node, Op, Pooling, Reduction};

/// Axes of `[batch, steps, channels]` in the order in which ONNX's windows take them; the way back is the same.
const CHANNELS_FIRST: [i64; 3] = [0, 2, 1];
/// Axes of a kernel `[width, in, out]` in the order in which ONNX takes them.
const KERNEL_REVERSED: [i64; 3] = [2, 1, 0];

/// An operator and what it works on.
pub(super) struct Call {
    pub operator: &'static str,
    pub inputs: Vec<String>,
    pub attributes: Vec<AttributeProto>,
}

impl Call {
    pub(super) fn new(operator: &'static str, inputs: Vec<String>) -> Self {
        Self { operator, inputs, attributes: Vec::new() }
    }

    fn input(mut self, input: String) -> Self {
        self.inputs.push(input);
        self
    }

    fn with(mut self, attribute: AttributeProto) -> Self {
        self.attributes.push(attribute);
        self
    }
}

impl Writer<'_> {
    /// The operator of a computed node; what it needs beside it is added.
    pub(super) fn computed(&mut self, node: &Node, inputs: Vec<String>) -> Call {
        let name = node.name.as_str();
        match &node.op {
            Op::Clip { min, max } => {
                let min = self.scalar(&part(name, "min"), *min);
                let max = self.scalar(&part(name, "max"), *max);
                Call::new("Clip", inputs).input(min).input(max)
            }
            Op::Square => {
                let again = inputs.clone();
                Call::new("Mul", inputs.into_iter().chain(again).collect())
            }
            Op::LeakyRelu { alpha } => Call::new("LeakyRelu", inputs).with(float("alpha", *alpha)),
            Op::Elu { alpha } => Call::new("Elu", inputs).with(float("alpha", *alpha)),
            Op::Softplus => self.softplus(name, inputs),
            Op::Softmax => Call::new("Softmax", inputs).with(int("axis", -1)),
            Op::Reduce { by, axes, reduced } => {
                let axes = self.vector(&integers(axes));
                let keep = int("keepdims", i64::from(*reduced == Axes::Kept));
                Call::new(reduction(*by), inputs).input(axes).with(keep)
            }
            Op::Reshape => {
                // 0 takes the size of the input's axis, here the batch.
                let target: Vec<i64> = node.shape.iter().map(|axis| axis.unwrap_or(0) as i64).collect();
                let target = self.vector(&target);
                Call::new("Reshape", inputs).input(target)
            }
            Op::Transpose { permutation } => {
                Call::new("Transpose", inputs).with(ints("perm", integers(permutation)))
            }
            Op::Slice { axis, start, end } => {
                let [start, end, axis] = [start, end, axis].map(|place| self.vector(&[*place as i64]));
                Call::new("Slice", inputs).input(start).input(end).input(axis)
            }
            Op::Concat { axis } => Call::new("Concat", inputs).with(int("axis", *axis as i64)),
            Op::Pad { axis, pads } => {
                let rank = node.shape.len();
                let mut all = vec![0; 2 * rank];
                (all[*axis], all[rank + axis]) = (pads[0] as i64, pads[1] as i64);
                let all = self.vector(&all);
                Call::new("Pad", inputs).input(all)
            }
            Op::Conv1d { stride, dilation, pads } => self.conv1d(node, inputs, [*stride, *dilation], *pads),
            Op::Pool1d { by, size, stride, pads } => {
                let x = self.channels_first(name, inputs);
                let pool = Call::new(pooling(*by), vec![x]);
                self.channels_last(name, windows(pool, [*size, *stride], *pads))
            }
            same => Call::new(same_name(same), inputs),
        }
    }

    /// As `max(x, 0) + softplus(-|x|)`: rten 0.27 takes the exponential of `x`, which overflows above 88.
    fn softplus(&mut self, name: &str, inputs: Vec<String>) -> Call {
        let size = self.step(&part(name, "abs"), Call::new("Abs", inputs.clone()));
        let below = self.step(&part(name, "neg"), Call::new("Neg", vec![size]));
        let rest = self.step(&part(name, "softplus"), Call::new("Softplus", vec![below]));
        let above = self.step(&part(name, "relu"), Call::new("Relu", inputs));
        Call::new("Add", vec![above, rest])
    }

    fn conv1d(
        &mut self,
        node: &Node,
        mut inputs: Vec<String>,
        [stride, dilation]: [usize; 2],
        pads: [usize; 2],
    ) -> Call {
        let name = node.name.as_str();
        let kernel_shape = node.inputs.get(1).map(|kernel| self.graph.node(*kernel).shape.as_slice());
        let width = kernel_shape.and_then(|shape| shape.first().copied().flatten()).unwrap_or(1);
        let kernel = Call::new("Transpose", inputs.split_off(1)).with(ints("perm", KERNEL_REVERSED.to_vec()));
        let kernel = self.step(&part(name, "kernel"), kernel);
        let x = self.channels_first(name, inputs);
        // rten 0.27 needs the dilations even where they are 1.
        let conv = Call::new("Conv", vec![x, kernel]).with(ints("dilations", vec![dilation as i64]));
        self.channels_last(name, windows(conv, [width, stride], pads))
    }

    fn channels_first(&mut self, name: &str, x: Vec<String>) -> String {
        let call = Call::new("Transpose", x).with(ints("perm", CHANNELS_FIRST.to_vec()));
        self.step(&part(name, "channels_first"), call)
    }

    fn channels_last(&mut self, name: &str, windows: Call) -> Call {
        let y = self.step(&part(name, "windows"), windows);
        Call::new("Transpose", vec![y]).with(ints("perm", CHANNELS_FIRST.to_vec()))
    }
}

/// The operators whose inputs are the node's and which have no attributes. What [`Writer::computed`] writes
/// otherwise is listed so that a new operator cannot be forgotten.
fn same_name(op: &Op) -> &'static str {
    match op {
        Op::IsNan => "IsNaN",
        Op::Select => "Where",
        Op::Sub => "Sub",
        Op::Div => "Div",
        Op::Add => "Add",
        Op::Mul => "Mul",
        Op::Maximum => "Max",
        Op::Minimum => "Min",
        Op::Neg => "Neg",
        Op::Exp => "Exp",
        Op::Log => "Log",
        Op::Sqrt => "Sqrt",
        Op::Erf => "Erf",
        Op::Relu => "Relu",
        Op::Tanh => "Tanh",
        Op::Sigmoid => "Sigmoid",
        Op::MatMul => "MatMul",
        Op::Identity => "Identity",
        Op::Input | Op::Constant(_) | Op::Variable(_) => "Identity",
        Op::Clip { .. } | Op::Square | Op::LeakyRelu { .. } | Op::Elu { .. } | Op::Softplus => "Identity",
        Op::Softmax | Op::Reduce { .. } | Op::Reshape | Op::Transpose { .. } | Op::Slice { .. } => "Identity",
        Op::Concat { .. } | Op::Pad { .. } | Op::Conv1d { .. } | Op::Pool1d { .. } => "Identity",
    }
}

fn reduction(by: Reduction) -> &'static str {
    match by {
        Reduction::Mean => "ReduceMean",
        Reduction::Max => "ReduceMax",
        Reduction::Sum => "ReduceSum",
    }
}

fn pooling(by: Pooling) -> &'static str {
    match by {
        Pooling::Max => "MaxPool",
        Pooling::Average => "AveragePool",
    }
}

fn windows(call: Call, [size, stride]: [usize; 2], pads: [usize; 2]) -> Call {
    call.with(ints("kernel_shape", vec![size as i64]))
        .with(ints("strides", vec![stride as i64]))
        .with(ints("pads", integers(&pads)))
}

fn integers(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&value| value as i64).collect()
}

fn part(name: &str, part: &str) -> String {
    format!("{name}/{part}")
}
