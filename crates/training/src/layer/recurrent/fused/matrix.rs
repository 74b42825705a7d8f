//! Products of matrices within one thread, for the shapes of a recurrent layer: a block of rows by weights that stay the
//! same over all steps, and what a block adds to the gradients of the weights.
//!
//! Every number of a result is one chain of fused multiplications and additions in the order of the inner axis. So
//! it does not depend on how many vectors are computed side by side, nor on how many numbers a vector holds.

use pulp::{Arch, Simd, WithSimd};

/// Columns come in multiples of this; it is at least the numbers of a vector.
pub(super) const STRIP: usize = 16;

/// Rows of a result that are computed side by side: with [`vectors`] of columns they fill the registers.
const ROWS: usize = 6;

/// Rows in a slice, each `stride` behind the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn new(values: &'a [f32], stride: usize) -> Self {
        Self { values, stride }
    }
}

/// A matrix `[depth, columns]` in the order a product reads it: panels of columns, each row by row.
#[derive(Debug)]
pub(super) struct Packed {
    depth: usize,
    columns: usize,
    values: Vec<f32>,
}

impl Packed {
    /// The matrix of the elements `at(row, column)`; `columns` is a multiple of [`STRIP`].
    pub(super) fn new(depth: usize, columns: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let width = Arch::new().dispatch(Width);
        let mut values = Vec::with_capacity(depth * columns);
        let mut column = 0;
        while column < columns {
            let width = if column + width.panel <= columns { width.panel } else { width.vector };
            for row in 0..depth {
                values.extend((column..column + width).map(|column| at(row, column)));
            }
            column += width;
        }
        Self { depth, columns, values }
    }
}

/// Columns that are computed side by side.
struct Width;

struct Widths {
    panel: usize,
    vector: usize,
}

impl WithSimd for Width {
    type Output = Widths;

    fn with_simd<S: Simd>(self, _: S) -> Widths {
        Widths { panel: vectors::<S>() * S::F32_LANES, vector: S::F32_LANES }
    }
}

#[inline(always)]
fn vectors<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 4 } else { 2 }
}

/// What a product is added to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start<'a> {
    /// To nothing.
    Zero,
    /// To each row the same numbers.
    Row(&'a [f32]),
    /// To what is there.
    There,
}

/// `c = start + a @ b`.
pub(super) struct Product<'a> {
    pub(super) rows: usize,
    /// `[rows, depth]`; no row is read where there is no depth.
    pub(super) a: Rows<'a>,
    pub(super) b: &'a Packed,
    pub(super) start: Start<'a>,
    /// `[rows, columns]`, with the place of one row behind another.
    pub(super) c: (&'a mut [f32], usize),
}

/// `c += a^T @ b`.
pub(super) struct Outer<'a> {
    pub(super) rows: usize,
    /// `[rows, depth]`.
    pub(super) a: (Rows<'a>, usize),
    /// `[rows, columns]`.
    pub(super) b: (Rows<'a>, usize),
    /// `[depth, columns]`.
    pub(super) c: &'a mut [f32],
}

impl Product<'_> {
    pub(super) fn run(self) {
        Arch::new().dispatch(self);
    }

    #[inline(always)]
    fn panels<S: Simd, const N: usize>(mut self, simd: S) {
        let Packed { depth, columns, ref values } = *self.b;
        let width = N * S::F32_LANES;
        let mut column = 0;
        while column < columns {
            let panel = &values[column * depth..];
            if column + width <= columns {
                self.panel::<S, N>(simd, &panel[..width * depth], column);
                column += width;
            } else {
                self.panel::<S, 1>(simd, &panel[..S::F32_LANES * depth], column);
                column += S::F32_LANES;
            }
        }
    }

    #[inline(always)]
    fn panel<S: Simd, const N: usize>(&mut self, simd: S, panel: &[f32], column: usize) {
        let (panel, _) = S::as_simd_f32s(panel).0.as_chunks::<N>();
        let mut row = 0;
        while row < self.rows {
            let count = (self.rows - row).min(ROWS);
            match count {
                1 => self.tile::<S, 1, N>(simd, panel, row, column),
                2 => self.tile::<S, 2, N>(simd, panel, row, column),
                3 => self.tile::<S, 3, N>(simd, panel, row, column),
                4 => self.tile::<S, 4, N>(simd, panel, row, column),
                5 => self.tile::<S, 5, N>(simd, panel, row, column),
                _ => self.tile::<S, ROWS, N>(simd, panel, row, column),
            }
            row += count;
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        panel: &[[S::f32s; N]],
        row: usize,
        column: usize,
    ) {
        let (c, stride) = &mut self.c;
        let mut sums = [[simd.splat_f32s(0.0); N]; M];
        for (m, sums) in sums.iter_mut().enumerate() {
            match self.start {
                Start::Zero => {}
                Start::Row(start) => *sums = load::<S, N>(start, column),
                Start::There => *sums = load::<S, N>(c, (row + m) * *stride + column),
            }
        }
        if !panel.is_empty() {
            let depth = panel.len();
            let mut a = [&[] as &[f32]; M];
            for (m, a) in a.iter_mut().enumerate() {
                *a = &self.a.values[(row + m) * self.a.stride..][..depth];
            }
            for (k, b) in panel.iter().enumerate() {
                for m in 0..M {
                    let x = simd.splat_f32s(a[m][k]);
                    for n in 0..N {
                        sums[m][n] = simd.mul_add_f32s(x, b[n], sums[m][n]);
                    }
                }
            }
        }
        for (m, sums) in sums.iter().enumerate() {
            store::<S, N>(c, (row + m) * *stride + column, sums);
        }
    }
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if vectors::<S>() == 4 { self.panels::<S, 4>(simd) } else { self.panels::<S, 2>(simd) }
    }
}

impl Outer<'_> {
    pub(super) fn run(self) {
        Arch::new().dispatch(self);
    }

    #[inline(always)]
    fn panels<S: Simd, const N: usize>(mut self, simd: S) {
        let columns = self.b.1;
        let width = N * S::F32_LANES;
        let mut column = 0;
        while column < columns {
            if column + width <= columns {
                self.panel::<S, N>(simd, column);
                column += width;
            } else {
                self.panel::<S, 1>(simd, column);
                column += S::F32_LANES;
            }
        }
    }

    #[inline(always)]
    fn panel<S: Simd, const N: usize>(&mut self, simd: S, column: usize) {
        let depth = self.a.1;
        let mut first = 0;
        while first < depth {
            let count = (depth - first).min(ROWS);
            match count {
                1 => self.tile::<S, 1, N>(simd, first, column),
                2 => self.tile::<S, 2, N>(simd, first, column),
                3 => self.tile::<S, 3, N>(simd, first, column),
                4 => self.tile::<S, 4, N>(simd, first, column),
                5 => self.tile::<S, 5, N>(simd, first, column),
                _ => self.tile::<S, ROWS, N>(simd, first, column),
            }
            first += count;
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const M: usize, const N: usize>(&mut self, simd: S, first: usize, column: usize) {
        let ((a, _), (b, columns)) = (self.a, self.b);
        let mut sums = [[simd.splat_f32s(0.0); N]; M];
        for (m, sums) in sums.iter_mut().enumerate() {
            *sums = load::<S, N>(self.c, (first + m) * columns + column);
        }
        for row in 0..self.rows {
            let a = &a.values[row * a.stride + first..][..M];
            let b = load::<S, N>(b.values, row * b.stride + column);
            for m in 0..M {
                let x = simd.splat_f32s(a[m]);
                for n in 0..N {
                    sums[m][n] = simd.mul_add_f32s(x, b[n], sums[m][n]);
                }
            }
        }
        for (m, sums) in sums.iter().enumerate() {
            store::<S, N>(self.c, (first + m) * columns + column, sums);
        }
    }
}

impl WithSimd for Outer<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if vectors::<S>() == 4 { self.panels::<S, 4>(simd) } else { self.panels::<S, 2>(simd) }
    }
}

/// `N` vectors from `at` on.
#[inline(always)]
fn load<S: Simd, const N: usize>(values: &[f32], at: usize) -> [S::f32s; N] {
    let (vectors, _) = S::as_simd_f32s(&values[at..at + N * S::F32_LANES]);
    std::array::from_fn(|n| vectors[n])
}

/// Writes `N` vectors from `at` on.
#[inline(always)]
fn store<S: Simd, const N: usize>(values: &mut [f32], at: usize, vectors: &[S::f32s; N]) {
    let (there, _) = S::as_mut_simd_f32s(&mut values[at..at + N * S::F32_LANES]);
    there.copy_from_slice(vectors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Generator, Purpose};

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut generator = Generator::new(seed, Purpose::Weights);
        (0..count).map(|_| generator.symmetric(1.0)).collect()
    }

    /// Of every number of rows and of columns that a tile or a panel leaves over, what a plain loop gives, to the bit.
    #[test]
    fn a_product_is_the_loop_of_fused_steps() {
        for rows in 1..=13 {
            for (depth, columns) in [(0, 16), (1, 16), (5, 32), (7, 48), (20, 64), (9, 80), (3, 144)] {
                let (a_stride, c_stride) = (depth + 3, columns + 16);
                let (a, b) = (numbers(rows * a_stride, 1), numbers(depth * columns, 2));
                let (row, there) = (numbers(columns, 3), numbers(rows * c_stride, 4));
                let packed = Packed::new(depth, columns, |k, n| b[k * columns + n]);
                for start in [Start::Zero, Start::Row(&row), Start::There] {
                    let mut c = there.clone();
                    let a = Rows::new(&a, a_stride);
                    Product { rows, a, b: &packed, start, c: (&mut c, c_stride) }.run();
                    for at in 0..rows * c_stride {
                        let (m, n) = (at / c_stride, at % c_stride);
                        if n >= columns {
                            assert_eq!(c[at], there[at], "nothing is written beside the result");
                            continue;
                        }
                        let begin = match start {
                            Start::Zero => 0.0,
                            Start::Row(row) => row[n],
                            Start::There => there[at],
                        };
                        let step =
                            |sum: f32, k: usize| a.values[m * a_stride + k].mul_add(b[k * columns + n], sum);
                        assert_eq!(c[at], (0..depth).fold(begin, step), "{rows} {depth} {columns}: {m} {n}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_outer_product_is_the_loop_of_fused_steps() {
        for (rows, depth, columns) in [(1, 1, 16), (4, 7, 48), (9, 13, 64), (3, 6, 80), (5, 20, 144)] {
            let (a_stride, b_stride) = (depth + 2, columns + 16);
            let (a, b) = (numbers(rows * a_stride, 1), numbers(rows * b_stride, 2));
            let there = numbers(depth * columns, 3);
            let mut c = there.clone();
            let (left, right) = (Rows::new(&a, a_stride), Rows::new(&b, b_stride));
            Outer { rows, a: (left, depth), b: (right, columns), c: &mut c }.run();
            for at in 0..depth * columns {
                let (m, n) = (at / columns, at % columns);
                let step = |sum: f32, row: usize| a[row * a_stride + m].mul_add(b[row * b_stride + n], sum);
                assert_eq!(c[at], (0..rows).fold(there[at], step), "{rows} {depth} {columns}: {m} {n}");
            }
        }
    }
}
