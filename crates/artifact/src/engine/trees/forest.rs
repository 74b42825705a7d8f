//! Trees laid out to be walked fast: one array of small cells, the two children of a branch side by side, every test turned
//! into `x <= t`, and a leaf as a cell that leads to itself, so that a step has no branch and several walks
//! go side by side.

use super::description::{Description, Node, Test};
use super::number::Number;

/// How many walks go side by side: a step of one waits for memory while the others go on.
pub(super) const LANES: usize = 8;

/// Flags of a cell: it is a branch; a missing value goes to its first child; how it tests.
const BRANCH: u32 = 1;
const MISSING_FIRST: u32 = 2;
const EQUAL: u32 = 4;
const MEMBER: u32 = 8;

/// A node. A row goes to the cell `first` if it passes the test, else to the one behind it.
#[derive(Debug, Clone, Copy)]
struct Cell<T> {
    /// Of a leaf: its first weight.
    threshold: T,
    feature: u32,
    first: u32,
    flags: u32,
}

/// Trees, ready to be walked.
#[derive(Debug)]
pub(super) struct Forest<T> {
    cells: Vec<Cell<T>>,
    roots: Vec<u32>,
    /// Of a leaf: which one it is. Of a test of members: which set it has.
    payload: Vec<u32>,
    /// Where the weights of each leaf begin in `weights`; one more than there are leaves.
    starts: Vec<u32>,
    /// Targets and weights of all leaves.
    weights: Vec<(u32, T)>,
    sets: Vec<Vec<T>>,
    /// The highest feature that is asked for.
    highest_feature: usize,
    walk: Walk,
}

/// Which tests there are: the fewer, the faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// `x <= t` alone.
    Plain,
    /// And missing values that go to the first child.
    Missing,
    /// And all others.
    Any,
}

/// A walk's end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf(u32);

impl<T: Number> Forest<T> {
    /// Lays out the trees of a description.
    ///
    /// # Errors
    /// What is wrong with them: a cycle, a branch with two parents, a threshold that is no number, a leaf without weights.
    pub(super) fn new(description: &Description) -> Result<Self, String> {
        let mut layout = Layout::new(description);
        for root in &description.roots {
            layout.tree(*root)?;
        }
        layout.forest.starts.push(layout.forest.weights.len() as u32);
        Ok(layout.forest)
    }

    pub(super) fn trees(&self) -> usize {
        self.roots.len()
    }

    /// The least width of a row.
    pub(super) fn width(&self) -> usize {
        self.highest_feature + 1
    }

    /// Walks one tree with several rows.
    #[inline]
    pub(super) fn walk_rows(&self, tree: usize, rows: [&[T]; LANES]) -> [Leaf; LANES] {
        self.walk([self.roots[tree]; LANES], rows)
    }

    /// Walks several trees, from `tree` on, with one row. Behind the last tree it walks the last one again.
    #[inline]
    pub(super) fn walk_trees(&self, tree: usize, row: &[T]) -> [Leaf; LANES] {
        let last = self.roots.len() - 1;
        self.walk(std::array::from_fn(|lane| self.roots[(tree + lane).min(last)]), [row; LANES])
    }

    #[inline]
    fn walk(&self, at: [u32; LANES], rows: [&[T]; LANES]) -> [Leaf; LANES] {
        let ends = match self.walk {
            Walk::Plain => self.steps(at, rows, |cell, x, _| x <= cell.threshold),
            Walk::Missing => self.steps(at, rows, |cell, x, _| {
                (x <= cell.threshold) | (x.is_nan() & (cell.flags & MISSING_FIRST != 0))
            }),
            Walk::Any => self.steps(at, rows, |cell, x, at| self.passes(cell, x, at)),
        };
        ends.map(Leaf)
    }

    #[inline(always)]
    fn steps(
        &self,
        mut at: [u32; LANES],
        rows: [&[T]; LANES],
        passes: impl Fn(&Cell<T>, T, u32) -> bool,
    ) -> [u32; LANES] {
        loop {
            let mut moved = 0;
            for lane in 0..LANES {
                let cell = &self.cells[at[lane] as usize];
                let x = rows[lane][cell.feature as usize];
                let fails = u32::from(!passes(cell, x, at[lane]));
                at[lane] = cell.first + (cell.flags & BRANCH & fails);
                moved |= cell.flags;
            }
            if moved & BRANCH == 0 {
                return at;
            }
        }
    }

    fn passes(&self, cell: &Cell<T>, x: T, at: u32) -> bool {
        if x.is_nan() && cell.flags & MISSING_FIRST != 0 {
            true
        } else if cell.flags & MEMBER != 0 {
            self.sets[self.payload[at as usize] as usize].contains(&x)
        } else if cell.flags & EQUAL != 0 {
            x == cell.threshold
        } else {
            x <= cell.threshold
        }
    }

    /// The first weight of a leaf.
    #[inline]
    pub(super) fn first_weight(&self, leaf: Leaf) -> T {
        self.cells[leaf.0 as usize].threshold
    }

    /// Targets and weights of a leaf.
    #[inline]
    pub(super) fn weights(&self, leaf: Leaf) -> &[(u32, T)] {
        let leaf = self.payload[leaf.0 as usize] as usize;
        &self.weights[self.starts[leaf] as usize..self.starts[leaf + 1] as usize]
    }
}

struct Layout<'a, T> {
    description: &'a Description,
    forest: Forest<T>,
    /// Which branches have a place: one that is met again has two parents, or is its own ancestor.
    placed: Vec<bool>,
}

impl<'a, T: Number> Layout<'a, T> {
    fn new(description: &'a Description) -> Self {
        let forest = Forest {
            cells: Vec::with_capacity(description.nodes.len()),
            roots: Vec::with_capacity(description.roots.len()),
            payload: Vec::with_capacity(description.nodes.len()),
            starts: vec![],
            weights: vec![],
            sets: vec![],
            highest_feature: 0,
            walk: Walk::Plain,
        };
        Self { description, forest, placed: vec![false; description.nodes.len()] }
    }

    fn tree(&mut self, root: usize) -> Result<(), String> {
        let slot = self.room(1)?;
        self.forest.roots.push(slot);
        let mut to_place = vec![(root, slot)];
        while let Some((node, slot)) = to_place.pop() {
            match &self.description.nodes[node] {
                Node::Leaf(weights) => self.leaf(slot, weights)?,
                Node::Branch { feature, test, missing_is_yes, yes, no } => {
                    if std::mem::replace(&mut self.placed[node], true) {
                        return Err("a branch of it has two parents, or is in a cycle".to_owned());
                    }
                    let swapped = self.branch(slot, *feature, test, *missing_is_yes)?;
                    let first = self.forest.cells[slot as usize].first;
                    let (near, far) = if swapped { (*no, *yes) } else { (*yes, *no) };
                    to_place.push((far, first + 1));
                    to_place.push((near, first));
                }
            }
        }
        Ok(())
    }

    /// Room for cells, and the place of the first.
    fn room(&mut self, count: usize) -> Result<u32, String> {
        let at = u32::try_from(self.forest.cells.len()).ok().filter(|at| at.checked_add(2).is_some());
        let at = at.ok_or("it has more nodes than can be numbered")?;
        let nothing = Cell { threshold: T::ZERO, feature: 0, first: at, flags: 0 };
        self.forest.cells.resize(self.forest.cells.len() + count, nothing);
        self.forest.payload.resize(self.forest.cells.len(), 0);
        Ok(at)
    }

    fn leaf(&mut self, slot: u32, weights: &[(usize, f64)]) -> Result<(), String> {
        let Some((_, first_weight)) = weights.first() else {
            return Err("a leaf of it has no weight".to_owned());
        };
        let forest = &mut self.forest;
        let cell = Cell { threshold: T::of(*first_weight), feature: 0, first: slot, flags: 0 };
        forest.cells[slot as usize] = cell;
        forest.payload[slot as usize] = forest.starts.len() as u32;
        forest.starts.push(forest.weights.len() as u32);
        forest.weights.extend(weights.iter().map(|(target, weight)| (*target as u32, T::of(*weight))));
        if u32::try_from(forest.weights.len()).is_err() {
            return Err("it has more weights than can be numbered".to_owned());
        }
        Ok(())
    }

    /// Places a branch, and says whether its children are swapped: `x > t` is `x <= t` the other way round, for all
    /// but what is missing, for which no comparison holds.
    fn branch(
        &mut self,
        slot: u32,
        feature: usize,
        test: &Test,
        missing_is_yes: bool,
    ) -> Result<bool, String> {
        let first = self.room(2)?;
        let set = self.forest.sets.len() as u32;
        let never = T::of(f64::NAN);
        let below = |t: T| if t.to_f64() == f64::NEG_INFINITY { never } else { t.below() };
        let (threshold, how, swapped) = match test {
            Test::AtMost(t) => (number(*t)?, 0, false),
            Test::Above(t) => (number(*t)?, 0, true),
            Test::Below(t) => (below(number(*t)?), 0, false),
            Test::AtLeast(t) => (below(number(*t)?), 0, true),
            Test::Equal(t) => (number(*t)?, EQUAL, false),
            Test::NotEqual(t) => (number(*t)?, EQUAL, true),
            Test::Member(set) => {
                self.forest.sets.push(set.iter().map(|member| T::of(*member)).collect());
                (never, MEMBER, false)
            }
        };
        let missing_first = match test {
            // What is missing differs from everything.
            Test::NotEqual(_) => false,
            _ => missing_is_yes != swapped,
        };
        let missing = if missing_first { MISSING_FIRST } else { 0 };
        let forest = &mut self.forest;
        forest.payload[slot as usize] = set;
        forest.cells[slot as usize] =
            Cell { threshold, feature: feature as u32, first, flags: BRANCH | how | missing };
        forest.highest_feature = forest.highest_feature.max(feature);
        forest.walk = match forest.walk {
            _ if how != 0 => Walk::Any,
            Walk::Plain if missing_first => Walk::Missing,
            walk => walk,
        };
        Ok(swapped)
    }
}

fn number<T: Number>(threshold: f64) -> Result<T, String> {
    if threshold.is_nan() {
        return Err("a threshold of it is not a number".to_owned());
    }
    Ok(T::of(threshold))
}
