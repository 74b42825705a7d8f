//! Operators that compute each element of the result from one element of each input.

use predictor::DataType;

use super::super::{Gelu, Node, Op, Value, shape};
use super::{GraphBuilder, fault};
use crate::Error;

impl GraphBuilder {
    /// `x` under another name.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn identity(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        self.unary(name, Op::Identity, x)
    }

    /// Whether each element of a `float32` value is NaN.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn is_nan(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        let shape = self.float(name, x)?;
        let (name, inputs) = (name.to_owned(), vec![x]);
        self.push(Node { name, op: Op::IsNan, inputs, dtype: DataType::Bool, shape })
    }

    /// `yes` where `condition` is true, else `no`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn select(&mut self, name: &str, condition: Value, yes: Value, no: Value) -> Result<Value, Error> {
        let test = self.known(name, condition)?;
        if test.dtype != DataType::Bool {
            let reason = format!("the condition must be bool, \"{}\" is {}", test.name, test.dtype);
            return Err(fault(name, &reason));
        }
        let branches = shape::broadcast(&self.float(name, yes)?, &self.float(name, no)?);
        let whole = branches.and_then(|branches| shape::broadcast(&test.shape, &branches));
        let shape = whole.map_err(|reason| fault(name, &reason))?;
        self.compute(name, Op::Select, &[condition, yes, no], shape)
    }

    /// `a - b`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn sub(&mut self, name: &str, a: Value, b: Value) -> Result<Value, Error> {
        self.binary(name, Op::Sub, [a, b])
    }

    /// `a / b`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn div(&mut self, name: &str, a: Value, b: Value) -> Result<Value, Error> {
        self.binary(name, Op::Div, [a, b])
    }

    /// `a + b`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn add(&mut self, name: &str, a: Value, b: Value) -> Result<Value, Error> {
        self.binary(name, Op::Add, [a, b])
    }

    /// `a * b`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn mul(&mut self, name: &str, a: Value, b: Value) -> Result<Value, Error> {
        self.binary(name, Op::Mul, [a, b])
    }

    /// The larger of `a` and `b`, element by element; of NaN, see [`GraphBuilder::clip`].
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn maximum(&mut self, name: &str, a: Value, b: Value) -> Result<Value, Error> {
        self.binary(name, Op::Maximum, [a, b])
    }

    /// The smaller of `a` and `b`, element by element; of NaN, see [`GraphBuilder::clip`].
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn minimum(&mut self, name: &str, a: Value, b: Value) -> Result<Value, Error> {
        self.binary(name, Op::Minimum, [a, b])
    }

    /// `x` cut to `min..=max`; what becomes of NaN is up to the engine, so fill it before.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; also if `min > max` or one of them is NaN.
    pub fn clip(&mut self, name: &str, x: Value, min: f32, max: f32) -> Result<Value, Error> {
        if min.is_nan() || max.is_nan() || min > max {
            return Err(fault(name, &format!("the interval {min}..={max} is empty")));
        }
        self.unary(name, Op::Clip { min, max }, x)
    }

    /// `-x`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn neg(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        self.unary(name, Op::Neg, x)
    }

    /// `e` to the power of `x`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn exp(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        self.unary(name, Op::Exp, x)
    }

    /// Natural logarithm.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn log(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        self.unary(name, Op::Log, x)
    }

    /// Square root.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn sqrt(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        self.unary(name, Op::Sqrt, x)
    }

    /// `x * x`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn square(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        self.unary(name, Op::Square, x)
    }

    /// The error function.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn erf(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        self.unary(name, Op::Erf, x)
    }

    /// `max(x, 0)`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn relu(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        self.unary(name, Op::Relu, x)
    }

    /// `x`, below 0 `alpha * x` (Keras's `negative_slope`).
    ///
    /// # Errors
    /// See [`GraphBuilder`]; also if `alpha` is not finite.
    pub fn leaky_relu(&mut self, name: &str, x: Value, alpha: f32) -> Result<Value, Error> {
        check_alpha(name, alpha)?;
        self.unary(name, Op::LeakyRelu { alpha }, x)
    }

    /// `x`, below 0 `alpha * (exp(x) - 1)`.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; also if `alpha` is not finite.
    pub fn elu(&mut self, name: &str, x: Value, alpha: f32) -> Result<Value, Error> {
        check_alpha(name, alpha)?;
        self.unary(name, Op::Elu { alpha }, x)
    }

    /// Hyperbolic tangent.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn tanh(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        self.unary(name, Op::Tanh, x)
    }

    /// The logistic function.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn sigmoid(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        self.unary(name, Op::Sigmoid, x)
    }

    /// `ln(1 + exp(x))`.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn softplus(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        self.unary(name, Op::Softplus, x)
    }

    /// `x * sigmoid(x)`. Neither format has an operator for it at the versions we write: it becomes two.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; it also needs the name `NAME/sigmoid`.
    pub fn silu(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        let gate = self.sigmoid(&format!("{name}/sigmoid"), x)?;
        self.mul(name, x, gate)
    }

    /// [`Gelu`]. Neither format has an operator for it at the versions we write: it becomes several, in the order
    /// in which the engine knows them again.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; it also needs names that start with `NAME/`.
    pub fn gelu(&mut self, name: &str, x: Value, form: Gelu) -> Result<Value, Error> {
        let part = |part: &str| format!("{name}/{part}");
        let one = self.scalar(&part("one"), 1.0)?;
        let half = self.scalar(&part("half"), 0.5)?;
        let curve = match form {
            Gelu::Exact => {
                let scale = self.scalar(&part("scale"), std::f32::consts::FRAC_1_SQRT_2)?;
                let scaled = self.mul(&part("scaled"), x, scale)?;
                self.erf(&part("erf"), scaled)?
            }
            Gelu::Tanh => {
                let share = self.scalar(&part("share"), 0.044_715)?;
                let scale = self.scalar(&part("scale"), (2.0 / std::f32::consts::PI).sqrt())?;
                let square = self.square(&part("square"), x)?;
                let cube = self.mul(&part("cube"), square, x)?;
                let share = self.mul(&part("cube_share"), cube, share)?;
                let sum = self.add(&part("sum"), x, share)?;
                let scaled = self.mul(&part("scaled"), sum, scale)?;
                self.tanh(&part("tanh"), scaled)?
            }
        };
        let above = self.add(&part("above"), curve, one)?;
        let twice = self.mul(&part("twice"), x, above)?;
        self.mul(name, twice, half)
    }

    fn unary(&mut self, name: &str, op: Op, x: Value) -> Result<Value, Error> {
        let shape = self.float(name, x)?;
        self.compute(name, op, &[x], shape)
    }

    fn binary(&mut self, name: &str, op: Op, inputs: [Value; 2]) -> Result<Value, Error> {
        let [a, b] = inputs;
        let shape = shape::broadcast(&self.float(name, a)?, &self.float(name, b)?);
        let shape = shape.map_err(|reason| fault(name, &reason))?;
        self.compute(name, op, &inputs, shape)
    }
}

fn check_alpha(name: &str, alpha: f32) -> Result<(), Error> {
    if alpha.is_finite() {
        return Ok(());
    }
    Err(fault(name, &format!("alpha must be finite, it is {alpha}")))
}
