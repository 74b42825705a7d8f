//! Sizes of axes that are only known when the model runs: sums of products of symbols, such as `2·batch·steps + 3`.

use std::collections::BTreeMap;

/// The size of an axis of some tensor, unknown until the model runs.
pub(in crate::format) type Symbol = u32;

/// Larger expressions are computed by the engine instead.
const TERMS_MAX: usize = 8;
const FACTORS_MAX: usize = 6;

/// A size: the coefficient of each product of symbols; the empty product is the constant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::format) struct Dim {
    terms: BTreeMap<Vec<Symbol>, i64>,
}

impl Dim {
    pub(in crate::format) fn fixed(size: i64) -> Self {
        Self::of([(vec![], size)].into())
    }

    pub(in crate::format) fn symbol(symbol: Symbol) -> Self {
        Self::of([(vec![symbol], 1)].into())
    }

    fn of(mut terms: BTreeMap<Vec<Symbol>, i64>) -> Self {
        terms.retain(|_, coefficient| *coefficient != 0);
        Self { terms }
    }

    /// The size, if it is known.
    pub(in crate::format) fn known(&self) -> Option<i64> {
        match self.terms.len() {
            0 => Some(0),
            1 => self.terms.get(&vec![]).copied(),
            _ => None,
        }
    }

    /// The size of an axis, if it is known.
    pub(in crate::format) fn size(&self) -> Option<usize> {
        usize::try_from(self.known()?).ok()
    }

    /// The symbol, if it is nothing but one.
    pub(in crate::format) fn as_symbol(&self) -> Option<Symbol> {
        match self.terms.iter().next() {
            Some((product, 1)) if self.terms.len() == 1 && product.len() == 1 => Some(product[0]),
            _ => None,
        }
    }

    pub(in crate::format) fn is_one(&self) -> bool {
        self.known() == Some(1)
    }

    /// The products of symbols with their coefficients.
    pub(in crate::format) fn terms(&self) -> impl Iterator<Item = (&[Symbol], i64)> {
        self.terms.iter().map(|(product, coefficient)| (product.as_slice(), *coefficient))
    }

    /// The sum; none if it is too large to be handled.
    pub(in crate::format) fn plus(&self, other: &Self) -> Option<Self> {
        let mut terms = self.terms.clone();
        for (product, coefficient) in &other.terms {
            let sum = terms.entry(product.clone()).or_insert(0);
            *sum = sum.checked_add(*coefficient)?;
        }
        Self::of(terms).within_limits()
    }

    pub(in crate::format) fn minus(&self, other: &Self) -> Option<Self> {
        self.plus(&other.times(&Self::fixed(-1))?)
    }

    pub(in crate::format) fn times(&self, other: &Self) -> Option<Self> {
        let mut terms: BTreeMap<Vec<Symbol>, i64> = BTreeMap::new();
        for (left, a) in &self.terms {
            for (right, b) in &other.terms {
                let mut product = [left.as_slice(), right].concat();
                product.sort_unstable();
                let sum = terms.entry(product).or_insert(0);
                *sum = sum.checked_add(a.checked_mul(*b)?)?;
            }
        }
        Self::of(terms).within_limits()
    }

    /// The quotient, if the division is exact whatever the symbols are.
    pub(in crate::format) fn divided(&self, other: &Self) -> Option<Self> {
        if self == other && !self.terms.is_empty() {
            return Some(Self::fixed(1));
        }
        let (divisor, by) = other.terms.iter().next().filter(|_| other.terms.len() == 1)?;
        let mut terms = BTreeMap::new();
        for (product, coefficient) in &self.terms {
            let mut left = product.clone();
            for symbol in divisor {
                left.remove(left.iter().position(|factor| factor == symbol)?);
            }
            if coefficient.checked_rem(*by)? != 0 {
                return None;
            }
            terms.insert(left, coefficient.checked_div(*by)?);
        }
        Some(Self::of(terms))
    }

    fn within_limits(self) -> Option<Self> {
        let small =
            self.terms.len() <= TERMS_MAX && self.terms.keys().all(|product| product.len() <= FACTORS_MAX);
        small.then_some(self)
    }
}

/// The product of sizes.
pub(in crate::format) fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Option<Dim> {
    dims.into_iter().try_fold(Dim::fixed(1), |product, dim| product.times(dim))
}

/// Sizes that are all known.
pub(in crate::format) fn known(dims: &[Dim]) -> Option<Vec<usize>> {
    dims.iter().map(Dim::size).collect()
}

/// The shape two shapes spread to, as NumPy does; none if they do not fit or nobody can tell.
pub(in crate::format) fn broadcast(left: &[Dim], right: &[Dim]) -> Option<Vec<Dim>> {
    let rank = left.len().max(right.len());
    let one = Dim::fixed(1);
    let axis = |shape: &[Dim], at: usize| {
        let missing = rank - shape.len();
        at.checked_sub(missing).map_or(one.clone(), |at| shape[at].clone())
    };
    (0..rank)
        .map(|at| match (axis(left, at), axis(right, at)) {
            (a, b) if a == b || b.is_one() => Some(a),
            (a, b) if a.is_one() => Some(b),
            // A known size wins over an open one, which must be it or 1.
            (a, b) if a.known().is_some() && b.known().is_none() => Some(a),
            (a, b) if a.known().is_none() && b.known().is_some() => Some(b),
            // Two open sizes: either may be 1; they are taken as equal, as TensorFlow checks when it runs.
            (a, b) if a.known().is_none() && b.known().is_none() => Some(a),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_compute() {
        let batch = Dim::symbol(0);
        let sum = batch.times(&Dim::fixed(4)).unwrap().plus(&Dim::fixed(2)).unwrap();
        assert_eq!(sum.known(), None);
        assert_eq!(sum.minus(&Dim::fixed(2)).unwrap().divided(&batch), Some(Dim::fixed(4)));
        assert_eq!(sum.divided(&Dim::fixed(2)).unwrap().terms().count(), 2);
        assert_eq!(sum.divided(&Dim::fixed(4)), None);
        assert_eq!(sum.divided(&Dim::fixed(0)), None);
        assert_eq!(sum.minus(&sum).unwrap().known(), Some(0));
        assert_eq!(batch.as_symbol(), Some(0));
        assert_eq!(sum.as_symbol(), None);
    }

    #[test]
    fn overflow_is_none() {
        let large = Dim::fixed(i64::MAX);
        assert_eq!(large.plus(&Dim::fixed(1)), None);
        assert_eq!(large.times(&large), None);
        assert_eq!(Dim::fixed(i64::MIN).divided(&Dim::fixed(-1)), None);
    }

    #[test]
    fn shapes_spread() {
        let [batch, one, three, four] = [Dim::symbol(0), Dim::fixed(1), Dim::fixed(3), Dim::fixed(4)];
        let spread = broadcast(&[batch.clone(), one, three.clone()], &[four.clone(), three.clone()]);
        assert_eq!(spread, Some(vec![batch, four.clone(), three.clone()]));
        assert_eq!(broadcast(&[three], &[four]), None);
    }
}
