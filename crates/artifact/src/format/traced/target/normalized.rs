//! Layer normalisation, which Keras writes as a dozen operators on elements.

use std::rc::Rc;

use predictor::{DataType, Tensor};

use super::{Call, Step, Target};
use crate::format::traced::pattern::{either, name, operand, operands, scalar};
use crate::format::traced::tensor::Traced;

/// What `LayerNormalization` takes.
struct Normalized {
    x: String,
    scale: Option<Rc<Tensor>>,
    offset: Option<Rc<Tensor>>,
    epsilon: f64,
}

impl Target {
    /// The sum of `x f` and `-mean(x) f + offset` with `f = scale / √(var(x) + ε)` along the last axis, as one operator; none if the
    /// summands are something else.
    pub(super) fn layer_normalization(&mut self, a: &Traced, b: &Traced) -> Step<Option<Traced>> {
        let Some(found) = self.normalized(a, b) else { return Ok(None) };
        let shape = a.shape.clone();
        let Some(channels) = shape.last().and_then(|axis| axis.size()) else { return Ok(None) };
        let x = Traced {
            dtype: a.dtype,
            shape: shape.clone(),
            content: super::Content::Computed(found.x.into()),
        };
        let vector = |tensor: Option<Rc<Tensor>>, otherwise: f32| {
            let values = match &tensor {
                Some(tensor) => tensor.as_float32().filter(|values| values.len() == channels)?.to_vec(),
                None => vec![otherwise; channels],
            };
            Some(Traced::known(Tensor::float32(vec![channels], values).ok()?))
        };
        let (Some(scale), Some(offset)) = (vector(found.scale, 1.0), vector(found.offset, 0.0)) else {
            return Ok(None);
        };
        let call = Call::new("LayerNormalization", &[&x, &scale, &offset])
            .int("axis", -1)
            .float("epsilon", found.epsilon as f32);
        self.emit(&call, DataType::Float32, shape).map(Some)
    }

    fn normalized(&self, a: &Traced, b: &Traced) -> Option<Normalized> {
        if a.dtype != DataType::Float32 || a.shape != b_shape(a, b) {
            return None;
        }
        either(self, name(a)?, "Mul").into_iter().flatten().find_map(|[x, factor]| {
            let (moved, offset) = self.with_offset(name(b)?);
            let [_, mean] =
                either(self, moved, "Mul").into_iter().flatten().find_map(|[negative, other]| {
                    (other == factor).then(|| Some([other, operand(self, negative, "Neg")?]))?
                })?;
            let (inverse, scale) = match operands(self, factor, "Mul") {
                Some(_) => {
                    either(self, factor, "Mul").into_iter().flatten().find_map(|[inverse, scale]| {
                        Some((inverse, Some(Rc::clone(self.initializer(scale)?))))
                    })?
                }
                None => (factor, None),
            };
            let [variance, epsilon] =
                operands(self, operand(self, operand(self, inverse, "Reciprocal")?, "Sqrt")?, "Add")?;
            let epsilon = scalar(self, epsilon)?;
            let [squares, axes] = self.last_axis_mean(variance, a.rank())?;
            let [left, right] = operands(self, squares, "Mul")?;
            let centered = operands(self, left, "Sub")?;
            let fits = left == right
                && centered == [x, mean]
                && self.last_axis_mean(mean, a.rank())? == [x, axes]
                && (0.0..1.0).contains(&epsilon);
            fits.then(|| Normalized { x: x.to_owned(), scale, offset, epsilon })
        })
    }

    /// What is left of a sum without a known summand.
    fn with_offset<'t>(&'t self, value: &'t str) -> (&'t str, Option<Rc<Tensor>>) {
        let known = either(self, value, "Add")
            .into_iter()
            .flatten()
            .find_map(|[rest, offset]| Some((rest, Some(Rc::clone(self.initializer(offset)?)))));
        known.unwrap_or((value, None))
    }

    /// What is averaged over the last axis, which is kept, and the axes.
    fn last_axis_mean<'t>(&'t self, value: &str, rank: usize) -> Option<[&'t str; 2]> {
        let [x, axes] = operands(self, value, "ReduceMean")?;
        let node = self.node_of(value)?;
        let keeps =
            node.attribute.iter().any(|attribute| attribute.name() == "keepdims" && attribute.i() == 1);
        let axis = Traced::shared(Rc::clone(self.initializer(axes)?)).as_integer()?;
        (keeps && usize::try_from(axis).ok()? + 1 == rank).then_some([x, axes])
    }
}

/// The shape of `a`, if `b` spreads to it along the last axis.
fn b_shape(a: &Traced, b: &Traced) -> Vec<crate::format::traced::dim::Dim> {
    crate::format::traced::dim::broadcast(&a.shape, &b.shape).unwrap_or_default()
}
