//! The operators of the graph as those of TensorFlow: most have a like, some become several.

use protos::tensorflow::{self, NodeDef, attr_value};

use super::function::Body;
use super::proto::{WithAttribute, integers_attribute, node, type_attribute};
use crate::graph::{Axes, Node, Op, Pooling, Reduction};

/// A TensorFlow operator and the name of its output.
type Operator = (&'static str, &'static str);

impl Body<'_> {
    /// Adds what computes a node and returns the reference to its result.
    pub(super) fn computed(&mut self, source: &Node, mut inputs: Vec<String>) -> String {
        let name = source.name.as_str();
        match &source.op {
            Op::Clip { min, max } => self.clip(name, inputs, [*min, *max]),
            Op::LeakyRelu { alpha } => {
                let leaky = float_node(name, "LeakyRelu", inputs);
                self.push(leaky.with("alpha", attr_value::Value::F(*alpha)), "activations")
            }
            Op::Elu { alpha } => self.elu(name, inputs, *alpha),
            Op::Power { exponent } => {
                inputs.push(self.scalar(part(name, "exponent"), *exponent));
                self.push(float_node(name, "Pow", inputs), "z")
            }
            Op::LayerNormalization { epsilon } => self.layer_normalization(source, &inputs, *epsilon),
            Op::Reduce { by, axes, reduced } => {
                inputs.push(self.vector(&integers(axes)));
                let reduce = float_node(name, reduction(*by), inputs);
                self.push(reduce.with("keep_dims", attr_value::Value::B(*reduced == Axes::Kept)), "output")
            }
            Op::Reshape => {
                // -1 takes the size that is left, here the batch.
                let target: Vec<i32> = source.shape.iter().map(|axis| axis.map_or(-1, as_i32)).collect();
                inputs.push(self.vector(&target));
                self.push(float_node(name, "Reshape", inputs), "output")
            }
            Op::Transpose { permutation } => {
                inputs.push(self.vector(&integers(permutation)));
                self.push(float_node(name, "Transpose", inputs), "y")
            }
            Op::Slice { axis, start, end } => {
                // A size of -1 takes what is left, here all.
                let (mut begin, mut size) = (vec![0; source.shape.len()], vec![-1; source.shape.len()]);
                (begin[*axis], size[*axis]) = (as_i32(*start), as_i32(end - start));
                inputs.extend([self.vector(&begin), self.vector(&size)]);
                let slice = float_node(name, "Slice", inputs);
                self.push(slice.with("Index", type_attribute(tensorflow::DataType::DtInt32)), "output")
            }
            // ConcatV2 takes two values or more.
            Op::Concat { .. } if inputs.len() == 1 => {
                self.push(float_node(name, "Identity", inputs), "output")
            }
            Op::Concat { axis } => {
                let count = attr_value::Value::I(inputs.len() as i64);
                inputs.push(self.integers(&[], &[as_i32(*axis)]));
                self.push(float_node(name, "ConcatV2", inputs).with("N", count), "output")
            }
            Op::Pad { axis, pads } => {
                let mut all = vec![[0, 0]; source.shape.len()];
                all[*axis] = pads.map(as_i32);
                inputs.push(self.integers(&[all.len(), 2], all.as_flattened()));
                self.push(float_node(name, "Pad", inputs), "output")
            }
            Op::MatMul => {
                let ranks = source.inputs.iter().map(|input| self.graph.node(*input).shape.len());
                let flat = ranks.max() == Some(2);
                let (operator, output) =
                    if flat { ("MatMul", "product") } else { ("BatchMatMulV2", "output") };
                self.push(float_node(name, operator, inputs), output)
            }
            Op::Conv1d { stride, dilation, pads } => self.conv1d(name, inputs, [*stride, *dilation], *pads),
            Op::Pool1d { by, size, stride, pads } => {
                let x = self.insert_axis(part(name, "expanded"), inputs, 1);
                let pool = float_node(&self.free_name(part(name, "windows")), pooling(*by), vec![x]);
                self.remove_axis(name, pool_attributes(pool, [*size, *stride], *pads))
            }
            same => {
                let (operator, output) = same_operator(same);
                self.push(float_node(name, operator, inputs), output)
            }
        }
    }

    fn vector(&mut self, values: &[i32]) -> String {
        self.integers(&[values.len()], values)
    }

    fn clip(&mut self, name: &str, mut inputs: Vec<String>, [min, max]: [f32; 2]) -> String {
        let min = self.scalar(part(name, "min"), min);
        let max = self.scalar(part(name, "max"), max);
        inputs.push(min);
        let low = self.step((name, "low"), ("Maximum", "z"), inputs);
        self.push(float_node(name, "Minimum", vec![low, max]), "z")
    }

    /// TensorFlow's has an alpha of 1: its negative part is multiplied by ours.
    fn elu(&mut self, name: &str, inputs: Vec<String>, alpha: f32) -> String {
        if alpha == 1.0 {
            return self.push(float_node(name, "Elu", inputs), "activations");
        }
        let alpha = self.scalar(part(name, "alpha"), alpha);
        let zero = self.scalar(part(name, "zero"), 0.0);
        let unit = self.step((name, "elu"), ("Elu", "activations"), inputs.clone());
        let below = self.step((name, "below"), ("Minimum", "z"), vec![unit, zero]);
        let scaled = self.step((name, "scaled"), ("Mul", "z"), vec![below, alpha]);
        let above = self.step((name, "relu"), ("Relu", "activations"), inputs);
        self.push(float_node(name, "AddV2", vec![above, scaled]), "z")
    }

    fn layer_normalization(&mut self, source: &Node, inputs: &[String], epsilon: f32) -> String {
        let name = source.name.as_str();
        let [x, gamma, beta] = [0, 1, 2].map(|at: usize| inputs[at].clone());
        let last = self.vector(&[as_i32(source.shape.len()) - 1]);
        let mean = self.step((name, "mean"), ("Mean", "output"), vec![x.clone(), last.clone()]);
        let centered = self.step((name, "centered"), ("Sub", "z"), vec![x, mean]);
        let squares = self.step((name, "squares"), ("Square", "y"), vec![centered.clone()]);
        let variance = self.step((name, "variance"), ("Mean", "output"), vec![squares, last]);
        let epsilon = self.scalar(part(name, "epsilon"), epsilon);
        let above = self.step((name, "above"), ("AddV2", "z"), vec![variance, epsilon]);
        let deviation = self.step((name, "deviation"), ("Sqrt", "y"), vec![above]);
        let unit = self.step((name, "unit"), ("RealDiv", "z"), vec![centered, deviation]);
        let scaled = self.step((name, "scaled"), ("Mul", "z"), vec![unit, gamma]);
        self.push(float_node(name, "AddV2", vec![scaled, beta]), "z")
    }

    /// Adds an operator whose result only others of the same node use; a reduction keeps its axes.
    fn step(
        &mut self,
        (name, role): (&str, &str),
        (operator, output): Operator,
        inputs: Vec<String>,
    ) -> String {
        let mut step = float_node(&self.free_name(part(name, role)), operator, inputs);
        if operator == "Mean" {
            step = step.with("keep_dims", attr_value::Value::B(true));
        }
        self.push(step, output)
    }

    /// As Keras does it: a convolution over images of height 1.
    fn conv1d(
        &mut self,
        name: &str,
        mut inputs: Vec<String>,
        [stride, dilation]: [usize; 2],
        pads: [usize; 2],
    ) -> String {
        let kernel = inputs.split_off(1);
        let kernel = self.insert_axis(part(name, "kernel"), kernel, 0);
        let x = self.insert_axis(part(name, "expanded"), inputs, 1);
        let mut conv = float_node(&self.free_name(part(name, "windows")), "Conv2D", vec![x, kernel])
            .with("strides", along_steps(stride))
            .with("dilations", along_steps(dilation))
            .with("padding", text(if pads == [0, 0] { "VALID" } else { "EXPLICIT" }));
        if pads != [0, 0] {
            let [before, after] = pads.map(|pad| pad as i64);
            conv = conv.with("explicit_paddings", integers_attribute(vec![0, 0, 0, 0, before, after, 0, 0]));
        }
        self.remove_axis(name, conv)
    }

    fn insert_axis(&mut self, name: String, mut inputs: Vec<String>, axis: i32) -> String {
        inputs.push(self.integers(&[], &[axis]));
        let name = self.free_name(name);
        self.push(float_node(&name, "ExpandDims", inputs), "output")
    }

    /// Adds a node that gives images of height 1 and returns its result without the height.
    fn remove_axis(&mut self, name: &str, images: NodeDef) -> String {
        let images = self.push(images, "output");
        let squeeze = float_node(name, "Squeeze", vec![images]);
        self.push(squeeze.with("squeeze_dims", integers_attribute(vec![1])), "output")
    }
}

/// The operators whose inputs are the node's and which have no attributes but their type. What [`Body::computed`]
/// writes otherwise is listed so that a new operator cannot be forgotten.
fn same_operator(op: &Op) -> Operator {
    match op {
        Op::IsNan => ("IsNan", "y"),
        Op::Select => ("SelectV2", "output"),
        Op::Sub => ("Sub", "z"),
        Op::Div => ("RealDiv", "z"),
        Op::Add => ("AddV2", "z"),
        Op::Mul => ("Mul", "z"),
        Op::Maximum => ("Maximum", "z"),
        Op::Minimum => ("Minimum", "z"),
        Op::Neg => ("Neg", "y"),
        Op::Exp => ("Exp", "y"),
        Op::Log => ("Log", "y"),
        Op::Sqrt => ("Sqrt", "y"),
        Op::Square => ("Square", "y"),
        Op::Erf => ("Erf", "y"),
        Op::Relu => ("Relu", "activations"),
        Op::Tanh => ("Tanh", "y"),
        Op::Sigmoid => ("Sigmoid", "y"),
        Op::Softplus => ("Softplus", "activations"),
        Op::Softmax => ("Softmax", "softmax"),
        Op::Identity => ("Identity", "output"),
        Op::Input | Op::Constant(_) | Op::Variable(_) | Op::Clip { .. } => ("Identity", "output"),
        Op::LayerNormalization { .. } | Op::Power { .. } => ("Identity", "output"),
        Op::LeakyRelu { .. } | Op::Elu { .. } | Op::Reduce { .. } | Op::Reshape => ("Identity", "output"),
        Op::Transpose { .. } | Op::Slice { .. } | Op::Concat { .. } | Op::Pad { .. } => {
            ("Identity", "output")
        }
        Op::MatMul | Op::Conv1d { .. } | Op::Pool1d { .. } => ("Identity", "output"),
    }
}

fn reduction(by: Reduction) -> &'static str {
    match by {
        Reduction::Mean => "Mean",
        Reduction::Max => "Max",
        Reduction::Sum => "Sum",
    }
}

fn pooling(by: Pooling) -> &'static str {
    match by {
        Pooling::Max => "MaxPool",
        Pooling::Average => "AvgPool",
    }
}

fn float_node(name: &str, operator: &str, inputs: Vec<String>) -> NodeDef {
    node(name, operator, inputs).with("T", type_attribute(tensorflow::DataType::DtFloat))
}

fn pool_attributes(pool: NodeDef, [size, stride]: [usize; 2], pads: [usize; 2]) -> NodeDef {
    // Windows that are padded at all are padded as SAME computes it.
    let padding = if pads == [0, 0] { "VALID" } else { "SAME" };
    pool.with("ksize", along_steps(size)).with("strides", along_steps(stride)).with("padding", text(padding))
}

/// A size along the steps of images `[batch, 1, steps, channels]`.
fn along_steps(size: usize) -> attr_value::Value {
    integers_attribute(vec![1, 1, size as i64, 1])
}

fn text(value: &str) -> attr_value::Value {
    attr_value::Value::S(value.as_bytes().to_vec())
}

fn integers(values: &[usize]) -> Vec<i32> {
    values.iter().map(|&value| as_i32(value)).collect()
}

/// The builder lets no axis be longer than this type counts.
fn as_i32(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn part(name: &str, part: &str) -> String {
    format!("{name}/{part}")
}
