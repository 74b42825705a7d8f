//! What a node can compute, and the forms of windows and activations that builders name.

use predictor::Tensor;

/// What a node computes from its inputs, element by element unless said otherwise. Two inputs broadcast as in NumPy.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A tensor the caller gives.
    Input,
    /// A tensor that is part of the graph's structure.
    Constant(Tensor),
    /// A trained tensor, which formats store apart from the graph where they can.
    Variable(Tensor),
    /// The input itself.
    Identity,
    /// Whether the element is NaN.
    IsNan,
    /// The second input where the first is true, else the third.
    Select,
    /// First minus second.
    Sub,
    /// First divided by second.
    Div,
    /// Sum.
    Add,
    /// Product.
    Mul,
    /// The larger of two.
    Maximum,
    /// The smaller of two.
    Minimum,
    /// Cut to the closed interval from `min` to `max`.
    Clip {
        /// The lower end.
        min: f32,
        /// The upper end.
        max: f32,
    },
    /// `-x`.
    Neg,
    /// `e` to the power of `x`.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// `x * x`.
    Square,
    /// The error function.
    Erf,
    /// `max(x, 0)`.
    Relu,
    /// `x`, below 0 `alpha * x`.
    LeakyRelu {
        /// The slope below 0.
        alpha: f32,
    },
    /// `x`, below 0 `alpha * (exp(x) - 1)`.
    Elu {
        /// Minus the limit at minus infinity.
        alpha: f32,
    },
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `ln(1 + exp(x))`, without overflow.
    Softplus,
    /// Exponentials that sum to 1 along the last axis.
    Softmax,
    /// One value for all elements along some axes.
    Reduce {
        /// Which value.
        by: Reduction,
        /// The axes, ascending.
        axes: Vec<usize>,
        /// What becomes of them.
        reduced: Axes,
    },
    /// The same elements in the shape of the node; the batch stays.
    Reshape,
    /// Axis `i` is axis `permutation[i]` of the input.
    Transpose {
        /// An order of all axes.
        permutation: Vec<usize>,
    },
    /// The elements from `start` to before `end` of an axis.
    Slice {
        /// The axis.
        axis: usize,
        /// The first element.
        start: usize,
        /// The element after the last.
        end: usize,
    },
    /// All inputs, end to end.
    Concat {
        /// The axis that grows.
        axis: usize,
    },
    /// Zeros around the elements of an axis.
    Pad {
        /// The axis.
        axis: usize,
        /// How many before and after.
        pads: [usize; 2],
    },
    /// Matrix product of the last two axes, `[.., n, k]` and `[.., k, m]`; the axes before them broadcast.
    MatMul,
    /// Products of windows of `[batch, steps, in]` with a kernel `[width, in, out]`.
    Conv1d {
        /// From a window to the next.
        stride: usize,
        /// From an element of a window to the next.
        dilation: usize,
        /// Steps of zeros before and after.
        pads: [usize; 2],
    },
    /// One value for each window and channel of `[batch, steps, channels]`.
    Pool1d {
        /// Which value; steps of padding do not count.
        by: Pooling,
        /// Steps of a window.
        size: usize,
        /// From a window to the next.
        stride: usize,
        /// Steps before and after that windows reach into.
        pads: [usize; 2],
    },
}

/// What becomes of reduced axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axes {
    /// They have the size 1.
    Kept,
    /// They are gone.
    Dropped,
}

/// The value that stands for many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean.
    Mean,
    /// The largest.
    Max,
    /// Their sum.
    Sum,
}

/// The value that stands for a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The largest.
    Max,
    /// The mean.
    Average,
}

/// Which function is meant by GELU (Hendrycks and Gimpel, arXiv:1606.08415, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gelu {
    /// `x/2 (1 + erf(x/sqrt(2)))`.
    Exact,
    /// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`, Keras's `approximate=True`.
    Tanh,
}

/// How a one-dimensional convolution goes along the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv1d {
    /// Steps from a window to the next.
    pub stride: usize,
    /// Steps from an element of a window to the next; with a stride above 1 only 1, as in Keras.
    pub dilation: usize,
    /// What windows see beyond the ends.
    pub padding: Padding,
}

/// How a one-dimensional pooling goes along the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool1d {
    /// Steps of a window.
    pub size: usize,
    /// Steps from a window to the next.
    pub stride: usize,
    /// What windows do at the ends; not [`Padding::Causal`].
    pub padding: Padding,
}

/// What windows do at the ends of a sequence, under Keras's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Windows lie inside.
    Valid,
    /// As many windows as steps over stride, rounded up; the smaller half of the padding is before.
    Same,
    /// A window sees no later step than the one it is for: all padding is before.
    Causal,
}
