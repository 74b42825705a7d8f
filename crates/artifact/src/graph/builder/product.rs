//! Matrix products, and windows over the steps of `[batch, steps, channels]`.

use super::super::{Conv1d, Op, Padding, Pool1d, Pooling, Value, shape};
use super::{GraphBuilder, fault};
use crate::Error;

impl GraphBuilder {
    /// The product of `a` `[.., n, k]` and `b` `[.., k, m]`, each of 2 to 4 axes; the axes before broadcast.
    ///
    /// # Errors
    /// See [`GraphBuilder`].
    pub fn matmul(&mut self, name: &str, a: Value, b: Value) -> Result<Value, Error> {
        let shape = shape::product(&self.float(name, a)?, &self.float(name, b)?);
        let shape = shape.map_err(|reason| fault(name, &reason))?;
        self.compute(name, Op::MatMul, &[a, b], shape)
    }

    /// Each window of `x` `[batch, steps, in]` times `kernel` `[width, in, out]`: `[batch, windows, out]`. As in
    /// Keras the kernel is not turned around.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; also if a size of `form` is 0, stride and dilation are both above 1, or no window fits.
    pub fn conv1d(&mut self, name: &str, x: Value, kernel: Value, form: Conv1d) -> Result<Value, Error> {
        let Conv1d { stride, dilation, padding } = form;
        let (shape, kernel_shape) = (self.float(name, x)?, self.float(name, kernel)?);
        let (&[batch @ None, Some(steps), Some(channels)], &[Some(width), Some(takes), Some(gives)]) =
            (shape.as_slice(), kernel_shape.as_slice())
        else {
            let texts = [shape::text(&shape), shape::text(&kernel_shape)];
            let reason =
                format!("it takes [batch, steps, in] and [width, in, out], not {}", texts.join(" and "));
            return Err(fault(name, &reason));
        };
        if channels != takes {
            let reason = format!("the kernel takes {takes} channels, {} has {channels}", shape::text(&shape));
            return Err(fault(name, &reason));
        }
        if stride > 1 && dilation > 1 {
            let reason = format!("stride {stride} and dilation {dilation} are both above 1, one must be 1");
            return Err(fault(name, &reason));
        }
        let window = shape::Window { size: width, stride, dilation };
        let (windows, pads) =
            shape::windows(steps, window, padding).map_err(|reason| fault(name, &reason))?;
        let result = vec![batch, Some(windows), Some(gives)];
        self.compute(name, Op::Conv1d { stride, dilation, pads }, &[x, kernel], result)
    }

    /// The largest value of each window and channel of `x` `[batch, steps, channels]`.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; also if a size of `form` is 0, the padding is causal, or no window fits.
    pub fn max_pool1d(&mut self, name: &str, x: Value, form: Pool1d) -> Result<Value, Error> {
        self.pool1d(name, x, Pooling::Max, form)
    }

    /// The mean of each window and channel of `x` `[batch, steps, channels]`; padded steps do not count.
    ///
    /// # Errors
    /// See [`GraphBuilder::max_pool1d`].
    pub fn average_pool1d(&mut self, name: &str, x: Value, form: Pool1d) -> Result<Value, Error> {
        self.pool1d(name, x, Pooling::Average, form)
    }

    fn pool1d(&mut self, name: &str, x: Value, by: Pooling, form: Pool1d) -> Result<Value, Error> {
        let Pool1d { size, stride, padding } = form;
        let shape = self.float(name, x)?;
        let &[batch @ None, Some(steps), channels] = shape.as_slice() else {
            let reason = format!("it takes [batch, steps, channels], not {}", shape::text(&shape));
            return Err(fault(name, &reason));
        };
        if padding == Padding::Causal {
            return Err(fault(name, "a pooling pads as valid or same, not causal"));
        }
        let window = shape::Window { size, stride, dilation: 1 };
        let (windows, pads) =
            shape::windows(steps, window, padding).map_err(|reason| fault(name, &reason))?;
        let result = vec![batch, Some(windows), channels];
        self.compute(name, Op::Pool1d { by, size, stride, pads }, &[x], result)
    }
}
