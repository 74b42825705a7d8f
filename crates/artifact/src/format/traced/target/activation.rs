//! Functions of one input that networks use as activations, as few operators as keep their digits.

use super::{Call, Step, Target};
use crate::format::traced::tensor::{Traced, scalar};

impl Target {
    /// An operator with the parameter that ONNX calls alpha.
    pub(in crate::format) fn with_alpha(&mut self, operator: &'static str, x: &Traced, alpha: f32) -> Step {
        self.emit(&Call::new(operator, &[x]).float("alpha", alpha), x.dtype, x.shape.clone())
    }

    /// exp(x) - 1 as 2 sinh(x/2) exp(x/2), which keeps the digits near 0: sinh as tanh / sqrt(1 - tanh²) would lose them, so
    /// it is tanh(x/2) (exp(x) + 1).
    pub(in crate::format) fn expm1(&mut self, x: &Traced) -> Step {
        let half = self.with_number("Mul", x, 0.5)?;
        let tanh = self.unary("Tanh", &half)?;
        let exp = self.unary("Exp", x)?;
        let raised = self.with_number("Add", &exp, 1.0)?;
        self.binary("Mul", &tanh, &raised)
    }

    /// `x` between two numbers.
    pub(in crate::format) fn clipped(&mut self, x: &Traced, low: f64, high: f64) -> Step {
        let (low, high) = (scalar(x.dtype, low), scalar(x.dtype, high));
        self.emit(&Call::new("Clip", &[x, &low, &high]), x.dtype, x.shape.clone())
    }

    pub(in crate::format) fn relu6(&mut self, x: &Traced) -> Step {
        self.clipped(x, 0.0, 6.0)
    }

    /// Klambauer et al., Self-Normalizing Neural Networks (2017), equation 2.
    pub(in crate::format) fn selu(&mut self, x: &Traced) -> Step {
        const SCALE: f64 = 1.050_700_987_355_480_5;
        const ALPHA: f32 = 1.673_263_2;
        let elu = self.with_alpha("Elu", x, ALPHA)?;
        self.with_number("Mul", &elu, SCALE)
    }

    /// As max(x, 0) + softplus(-|x|): rten 0.27 takes the exponential of x, which overflows above 88.
    pub(in crate::format) fn softplus(&mut self, x: &Traced) -> Step {
        let below = self.unaries(&["Abs", "Neg"], x)?;
        let rest = self.unary("Softplus", &below)?;
        let above = self.unary("Relu", x)?;
        self.binary("Add", &above, &rest)
    }

    pub(in crate::format) fn softsign(&mut self, x: &Traced) -> Step {
        let size = self.unary("Abs", x)?;
        let divisor = self.with_number("Add", &size, 1.0)?;
        self.binary("Div", x, &divisor)
    }

    /// An operator along one axis that keeps the shape: `Softmax`, `LogSoftmax`.
    pub(in crate::format) fn along(&mut self, operator: &'static str, x: &Traced, axis: i64) -> Step {
        self.emit(&Call::new(operator, &[x]).int("axis", axis), x.dtype, x.shape.clone())
    }
}
