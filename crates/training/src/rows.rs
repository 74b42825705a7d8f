//! Where rows of features come from: memory, or a place that holds more than memory does.

use std::ops::Range;

use crate::Error;

/// Rows of numbers that can be read in stretches, from several threads.
pub trait Rows: std::fmt::Debug + Sync {
    /// How many rows there are.
    fn rows(&self) -> usize;

    /// Numbers of a row.
    fn columns(&self) -> usize;

    /// Replaces `out` by the rows of `range`, row-major. The range lies inside `0..rows()`.
    ///
    /// # Errors
    /// What keeps them from being read.
    fn read(&self, range: Range<usize>, out: &mut Vec<f32>) -> Result<(), Error>;

    /// All of them, row-major, if they are in memory.
    fn values(&self) -> Option<&[f32]> {
        None
    }
}

/// Rows in memory.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    columns: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `columns` numbers each, row-major; `set` names them in errors.
    ///
    /// # Errors
    /// [`Error::Empty`] without columns, [`Error::Shape`] if the last row is not whole.
    pub fn new(values: &'a [f32], columns: usize, set: &'static str) -> Result<Self, Error> {
        if columns == 0 {
            return Err(Error::Empty { set, rows: 0, columns });
        }
        if !values.len().is_multiple_of(columns) {
            return Err(Error::Shape { set, values: values.len(), rows: values.len() / columns, columns });
        }
        Ok(Self { values, columns })
    }
}

impl Rows for Matrix<'_> {
    fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn read(&self, range: Range<usize>, out: &mut Vec<f32>) -> Result<(), Error> {
        out.clear();
        out.extend_from_slice(&self.values[range.start * self.columns..range.end * self.columns]);
        Ok(())
    }

    fn values(&self) -> Option<&[f32]> {
        Some(self.values)
    }
}

/// Takes rows in any order out of a source.
///
/// Rows in memory are copied. Others are read in blocks if they come in an order of blocks, of which the last few
/// are held, and in stretches of neighbours otherwise.
pub(crate) struct Gatherer<'a> {
    source: &'a dyn Rows,
    blocks: Option<Blocks>,
    /// A stretch.
    stretch: Vec<f32>,
}

/// The blocks that were read last.
struct Blocks {
    /// Rows of a block.
    rows: usize,
    /// As many as may be held.
    held: Vec<Vec<f32>>,
    most: usize,
    /// Which block each of `held` is, and where each block is held.
    block_at: Vec<usize>,
    place_of: Vec<Option<usize>>,
    /// The place of the oldest, which the next one takes.
    oldest: usize,
}

impl<'a> Gatherer<'a> {
    /// For an order in which no more than `blocks.1` blocks of `blocks.0` rows are used at a time, or for any.
    pub(crate) fn new(source: &'a dyn Rows, blocks: Option<(usize, usize)>) -> Self {
        let blocks = blocks.filter(|_| source.values().is_none()).map(|(rows, most)| Blocks {
            rows,
            held: Vec::new(),
            most,
            block_at: Vec::new(),
            place_of: vec![None; source.rows().div_ceil(rows)],
            oldest: 0,
        });
        Self { source, blocks, stretch: Vec::new() }
    }

    /// Replaces `out` by the rows asked for, row-major, in their order.
    pub(crate) fn gather(&mut self, rows: &[u32], out: &mut Vec<f32>) -> Result<(), Error> {
        let columns = self.source.columns();
        out.clear();
        out.reserve(rows.len() * columns);
        if let Some(values) = self.source.values() {
            for &row in rows {
                out.extend_from_slice(&values[row as usize * columns..][..columns]);
            }
            return Ok(());
        }
        if let Some(blocks) = &mut self.blocks {
            for &row in rows {
                let (block, at) = (row as usize / blocks.rows, row as usize % blocks.rows);
                let block = blocks.read(block, self.source)?;
                out.extend_from_slice(&block[at * columns..][..columns]);
            }
            return Ok(());
        }
        for neighbours in rows.chunk_by(|&row, &next| Some(next) == row.checked_add(1)) {
            let begin = neighbours[0] as usize;
            self.source.read(begin..begin + neighbours.len(), &mut self.stretch)?;
            out.extend_from_slice(&self.stretch);
        }
        Ok(())
    }
}

impl Blocks {
    fn read(&mut self, block: usize, source: &dyn Rows) -> Result<&[f32], Error> {
        if let Some(place) = self.place_of[block] {
            return Ok(&self.held[place]);
        }
        let place = self.oldest;
        if place == self.held.len() {
            self.held.push(Vec::new());
            self.block_at.push(block);
        }
        // Until it is read whole, nothing is held there.
        self.place_of[self.block_at[place]] = None;
        let begin = block * self.rows;
        source.read(begin..(begin + self.rows).min(source.rows()), &mut self.held[place])?;
        self.block_at[place] = block;
        self.place_of[block] = Some(place);
        self.oldest = (place + 1) % self.most;
        Ok(&self.held[place])
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Rows that are made when they are read: number `c` of row `r` is `100 r + c`.
    #[derive(Debug)]
    pub(crate) struct Made {
        pub(crate) rows: usize,
        /// Reading this row fails.
        pub(crate) broken: Option<usize>,
        /// The stretches that were read.
        pub(crate) reads: Mutex<Vec<Range<usize>>>,
    }

    impl Made {
        pub(crate) fn new(rows: usize) -> Self {
            Self { rows, broken: None, reads: Mutex::default() }
        }

        pub(crate) fn whole(&self) -> Vec<f32> {
            let mut out = Vec::new();
            self.read(0..self.rows, &mut out).unwrap();
            self.reads.lock().unwrap().clear();
            out
        }
    }

    impl Rows for Made {
        fn rows(&self) -> usize {
            self.rows
        }

        fn columns(&self) -> usize {
            3
        }

        fn read(&self, range: Range<usize>, out: &mut Vec<f32>) -> Result<(), Error> {
            if let Some(row) = self.broken.filter(|row| range.contains(row)) {
                return Err(crate::config::config("row", &row, "it is broken"));
            }
            out.clear();
            out.extend(range.clone().flat_map(|row| [0, 1, 2].map(|column| (100 * row + column) as f32)));
            self.reads.lock().unwrap().push(range);
            Ok(())
        }
    }

    #[test]
    fn rows_in_memory_are_copied_in_any_order() {
        let values: Vec<f32> = (0..12).map(|x| x as f32).collect();
        let matrix = Matrix::new(&values, 3, "training").unwrap();
        assert_eq!((matrix.rows(), matrix.columns()), (4, 3));
        let mut out = vec![9.0; 100];
        matrix.read(1..3, &mut out).unwrap();
        assert_eq!(out, &values[3..9]);
        Gatherer::new(&matrix, Some((2, 1))).gather(&[3, 0, 3], &mut out).unwrap();
        assert_eq!(out, [9.0, 10.0, 11.0, 0.0, 1.0, 2.0, 9.0, 10.0, 11.0]);
        assert!(matches!(Matrix::new(&values, 5, "training"), Err(Error::Shape { rows: 2, .. })));
        assert!(matches!(Matrix::new(&values, 0, "training"), Err(Error::Empty { .. })));
    }

    #[test]
    fn neighbours_are_read_at_once() {
        let made = Made::new(20);
        let mut out = Vec::new();
        Gatherer::new(&made, None).gather(&[4, 5, 6, 3, 19, 0], &mut out).unwrap();
        assert_eq!(
            out.iter().step_by(3).copied().collect::<Vec<f32>>(),
            [400.0, 500.0, 600.0, 300.0, 1900.0, 0.0]
        );
        assert_eq!(*made.reads.lock().unwrap(), [4..7, 3..4, 19..20, 0..1]);
    }

    #[test]
    fn few_blocks_are_held() {
        let made = Made::new(10);
        let mut gatherer = Gatherer::new(&made, Some((4, 2)));
        let mut out = Vec::new();
        gatherer.gather(&[9, 0, 8, 3, 1], &mut out).unwrap();
        assert_eq!(out.iter().step_by(3).copied().collect::<Vec<f32>>(), [900.0, 0.0, 800.0, 300.0, 100.0]);
        assert_eq!(*made.reads.lock().unwrap(), [8..10, 0..4]);
        gatherer.gather(&[5, 2, 9], &mut out).unwrap();
        assert_eq!(out[3..6], [200.0, 201.0, 202.0]);
        // The third took the place of the first, which took that of the second.
        assert_eq!(made.reads.lock().unwrap()[2..], [4..8, 8..10]);
    }

    #[test]
    fn a_block_that_could_not_be_read_is_not_held() {
        let mut made = Made::new(10);
        made.broken = Some(5);
        let mut out = Vec::new();
        let mut gatherer = Gatherer::new(&made, Some((4, 1)));
        gatherer.gather(&[0], &mut out).unwrap();
        assert!(gatherer.gather(&[5], &mut out).is_err());
        gatherer.gather(&[1], &mut out).unwrap();
        assert_eq!(out, [100.0, 101.0, 102.0]);
        assert!(gatherer.gather(&[5], &mut out).is_err());
    }
}
