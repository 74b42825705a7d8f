//! Arrays in double precision and the plain loops that operators are compared with.

/// Row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

impl Array {
    /// The array whose element at each place `element` gives.
    pub fn of(shape: &[usize], element: impl Fn(&[usize]) -> f64) -> Self {
        let count = shape.iter().product();
        let place = |mut at: usize| {
            let mut place = vec![0; shape.len()];
            for axis in (0..shape.len()).rev() {
                (place[axis], at) = (at % shape[axis], at / shape[axis]);
            }
            place
        };
        Self { shape: shape.to_vec(), data: (0..count).map(|at| element(&place(at))).collect() }
    }

    pub fn from_f32(shape: &[usize], values: &[f32]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        Self { shape: shape.to_vec(), data: values.iter().map(|x| f64::from(*x)).collect() }
    }

    /// The element at a place.
    pub fn at(&self, place: &[usize]) -> f64 {
        assert_eq!(place.len(), self.shape.len());
        let at = place.iter().zip(&self.shape).fold(0, |at, (i, size)| {
            assert!(i < size);
            at * size + i
        });
        self.data[at]
    }

    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self { shape: self.shape.clone(), data: self.data.iter().map(|x| f(*x)).collect() }
    }

    /// `f` of the elements of both, of one shape or with `other` repeated along axes of 1 and before its first.
    pub fn with(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let missing = self.shape.len() - other.shape.len();
        Self::of(&self.shape, |place| {
            let there: Vec<usize> = place[missing..].iter().zip(&other.shape).map(|(i, n)| i % n).collect();
            f(self.at(place), other.at(&there))
        })
    }

    /// The values along an axis at each place, as one.
    pub fn fold(&self, axis: usize, f: impl Fn(&[f64]) -> f64) -> Self {
        let mut shape = self.shape.clone();
        shape[axis] = 1;
        Self::of(&shape, |place| {
            let mut there = place.to_vec();
            let line: Vec<f64> = (0..self.shape[axis])
                .map(|i| {
                    there[axis] = i;
                    self.at(&there)
                })
                .collect();
            f(&line)
        })
    }

    /// The same elements in another shape.
    pub fn shaped(&self, shape: &[usize]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), self.data.len());
        Self { shape: shape.to_vec(), data: self.data.clone() }
    }

    pub fn transposed(&self, permutation: &[usize]) -> Self {
        let shape: Vec<usize> = permutation.iter().map(|axis| self.shape[*axis]).collect();
        Self::of(&shape, |place| {
            let mut there = vec![0; place.len()];
            for (i, axis) in permutation.iter().enumerate() {
                there[*axis] = place[i];
            }
            self.at(&there)
        })
    }

    pub fn sliced(&self, axis: usize, range: std::ops::Range<usize>) -> Self {
        let mut shape = self.shape.clone();
        shape[axis] = range.len();
        Self::of(&shape, |place| {
            let mut there = place.to_vec();
            there[axis] += range.start;
            self.at(&there)
        })
    }

    /// `self` `[.., n, k]` times `other` `[.., k, m]` or `[k, m]`.
    pub fn times(&self, other: &Self) -> Self {
        let (rank, inner) = (self.shape.len(), self.shape[self.shape.len() - 1]);
        let mut shape = self.shape.clone();
        shape[rank - 1] = other.shape[other.shape.len() - 1];
        Self::of(&shape, |place| {
            let (mut left, mut right) = (place.to_vec(), place.to_vec());
            let product = |k: usize| {
                (left[rank - 1], right[rank - 2]) = (k, k);
                self.at(&left) * other.at(&right[rank - other.shape.len()..])
            };
            (0..inner).map(product).sum()
        })
    }

    /// Softmax along the last axis.
    pub fn softmax(&self) -> Self {
        let last = self.shape.len() - 1;
        let largest = self.fold(last, |line| line.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        let exponentials = self.with(&largest, |x, largest| (x - largest).exp());
        let sums = exponentials.fold(last, |line| line.iter().sum());
        exponentials.with(&sums, |x, sum| x / sum)
    }

    /// The values of each window over the steps of `[batch, steps, channels]` at one channel, as one. A window
    /// starts `before` steps early and then every `stride` steps; what lies outside is `None`.
    pub fn windows(
        &self,
        (count, size, stride, before): (usize, usize, usize, usize),
        f: impl Fn(Vec<Option<f64>>) -> f64,
    ) -> Self {
        let [batch, steps, channels] = self.shape[..] else { panic!("three axes") };
        Self::of(&[batch, count, channels], |place| {
            let inside = |i: usize| {
                let step = (place[1] * stride + i).checked_sub(before)?;
                (step < steps).then(|| self.at(&[place[0], step, place[2]]))
            };
            f((0..size).map(inside).collect())
        })
    }

    /// Cross-correlation of `[batch, steps, in]` with `[width, in, out]`; zeros are outside.
    pub fn convolved(
        &self,
        kernel: &Self,
        (count, stride, dilation, before): (usize, usize, usize, usize),
    ) -> Self {
        let [batch, steps, channels] = self.shape[..] else { panic!("three axes") };
        let [width, _, gives] = kernel.shape[..] else { panic!("three axes") };
        Self::of(&[batch, count, gives], |place| {
            let mut sum = 0.0;
            for i in 0..width {
                let step = (place[1] * stride + i * dilation).checked_sub(before);
                let Some(step) = step.filter(|step| *step < steps) else { continue };
                for channel in 0..channels {
                    sum += self.at(&[place[0], step, channel]) * kernel.at(&[i, channel, place[2]]);
                }
            }
            sum
        })
    }
}

/// Along the last axis but one or any: end to end.
pub fn joined(arrays: &[Array], axis: usize) -> Array {
    let mut shape = arrays[0].shape.clone();
    shape[axis] = arrays.iter().map(|array| array.shape[axis]).sum();
    Array::of(&shape, |place| {
        let mut there = place.to_vec();
        for array in arrays {
            if there[axis] < array.shape[axis] {
                return array.at(&there);
            }
            there[axis] -= array.shape[axis];
        }
        panic!("a place beyond the end")
    })
}

pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// By Simpson's rule over its integral.
pub fn erf(x: f64) -> f64 {
    const PARTS: usize = 2000;
    let end = x.abs().min(7.0);
    let width = end / PARTS as f64;
    let weight = |i: usize| match i {
        0 | PARTS => 1.0,
        odd if odd % 2 == 1 => 4.0,
        _ => 2.0,
    };
    let sum: f64 = (0..=PARTS).map(|i| weight(i) * (-(i as f64 * width).powi(2)).exp()).sum();
    x.signum() * sum * width / 3.0 * 2.0 / std::f64::consts::PI.sqrt()
}
