//! Expressions as stages: what each instrument computes alone, then across instruments, then alone again.

use std::ops::Range;

use rayon::prelude::*;

use super::cross;
use super::evaluate::{Evaluator, Series, Stored};
use crate::expression::{Cross, Node, Op, Plan};
use crate::nearest::unknown_instrument;
use crate::{Error, Panel, Result, Universe};

/// Everything to compute for some expressions.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    stages: Vec<Stage>,
    /// What each instrument computes alone in the end, from fields and from what the stages stored.
    plan: Plan,
    slots: usize,
}

/// What each instrument computes alone, and what is then computed across instruments from it.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(super) plan: Plan,
    pub(super) across: Vec<Across>,
}

/// An operator across instruments: its arguments are results of the stage's plan. At each time it sees the
/// universe's instruments that have a bar then.
#[derive(Debug, Clone)]
pub(crate) struct Across {
    pub(super) operator: AcrossOperator,
    pub(super) of: usize,
    pub(super) slot: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AcrossOperator {
    Cross(Cross),
    /// The group is this result of the stage's plan.
    Neutralize {
        group: usize,
    },
    Mask(String),
}

impl Program {
    pub(crate) fn new<'a>(expressions: impl IntoIterator<Item = &'a Node>) -> Self {
        let mut lifted = Lifted::default();
        let roots: Vec<Node> = expressions.into_iter().map(|node| lifted.lift(node).0).collect();
        let slots = lifted.known.len();
        let stages = lifted
            .stages
            .into_iter()
            .map(|draft| Stage { plan: Plan::new(&draft.arguments), across: draft.across });
        Self { stages: stages.collect(), plan: Plan::new(&roots), slots }
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Whether a step inside reads a later bar, even if the result in the end does not.
    pub(crate) fn reads_later_bars(&self) -> bool {
        let plans = self.stages.iter().map(|stage| &stage.plan).chain([&self.plan]);
        let later = |op: &Op| matches!(op, Op::Shift(_, bars) if *bars < 0);
        plans.into_iter().any(|plan| plan.ops().iter().any(later))
    }

    /// How many values across instruments there are.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// Computes what is needed across instruments at the times of a range.
    ///
    /// # Errors
    /// [`Error::Feature`] for a field or an instrument the panel lacks.
    pub(crate) fn across(
        &self,
        panel: &Panel,
        universe: &Universe,
        times: Range<usize>,
    ) -> Result<Vec<Stored>> {
        let width = panel.instruments().len();
        let none = Stored { first_time: times.start, width: 1, values: Vec::new() };
        let mut stored = vec![none; self.slots];
        for stage in &self.stages {
            let columns = stage.columns(panel, universe, &times, &stored)?;
            for across in &stage.across {
                stored[across.slot] = Stored {
                    first_time: times.start,
                    width: if matches!(across.operator, AcrossOperator::Mask(_)) { 1 } else { width },
                    values: across.compute(panel, universe, &times, &columns)?,
                };
            }
        }
        Ok(stored)
    }
}

impl Stage {
    /// Results of the plan, each time-major over the range.
    fn columns(
        &self,
        panel: &Panel,
        universe: &Universe,
        times: &Range<usize>,
        stored: &[Stored],
    ) -> Result<Vec<Vec<f64>>> {
        let width = panel.instruments().len();
        let mut instruments = universe.instruments(width);
        for across in &self.across {
            if let AcrossOperator::Mask(symbol) = &across.operator {
                instruments.push(index_of(panel, symbol)?);
            }
        }
        instruments.sort_unstable();
        instruments.dedup();
        let roots = self.plan.roots().len();
        let own = instruments
            .par_iter()
            .map_init(Evaluator::default, |evaluator, instrument| {
                let mut results = vec![Vec::new(); roots];
                let Some(series) = Series::of_all_times(panel, *instrument, stored) else {
                    return Ok((0, results));
                };
                // Nobody reads a result at a time before the first bar.
                let from = panel.span(*instrument).map_or(0, |span| times.start.max(span.first));
                let to = times.end.min(series.len());
                if from < to {
                    evaluator.run(&self.plan, &series, from..to, |root, values| {
                        results[root].extend_from_slice(values);
                    })?;
                }
                Ok((from, results))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut columns = vec![vec![f64::NAN; times.len() * width]; roots];
        for (instrument, (from, results)) in instruments.iter().zip(own) {
            for (column, values) in columns.iter_mut().zip(results) {
                for (row, value) in values.into_iter().enumerate() {
                    column[(from - times.start + row) * width + instrument] = value;
                }
            }
        }
        Ok(columns)
    }
}

impl Across {
    fn compute(
        &self,
        panel: &Panel,
        universe: &Universe,
        times: &Range<usize>,
        columns: &[Vec<f64>],
    ) -> Result<Vec<f64>> {
        let width = panel.instruments().len();
        let values = &columns[self.of];
        if let AcrossOperator::Mask(symbol) = &self.operator {
            let instrument = index_of(panel, symbol)?;
            let at = |time: usize| match panel.has_bar(time, instrument) {
                true => values[(time - times.start) * width + instrument],
                false => f64::NAN,
            };
            return Ok(times.clone().map(at).collect());
        }
        let mut out = vec![f64::NAN; values.len()];
        out.par_chunks_mut(width.max(1)).enumerate().for_each(|(row, out)| {
            let time = times.start + row;
            // Whether an instrument without a bar is only late or gone for good is not known yet.
            let takes_part = |instrument: &usize| {
                universe.contains(time, *instrument, width) && panel.has_bar(time, *instrument)
            };
            let members: Vec<usize> = (0..width).filter(takes_part).collect();
            let of = |column: &[f64]| -> Vec<f64> {
                members.iter().map(|instrument| column[row * width + instrument]).collect()
            };
            let result = self.at_once(&of(values), |group| of(&columns[group]));
            for (instrument, value) in members.iter().zip(result) {
                out[*instrument] = value;
            }
        });
        Ok(out)
    }

    /// The results of one time; `values` are those of the universe's members.
    pub(super) fn at_once(&self, values: &[f64], group: impl Fn(usize) -> Vec<f64>) -> Vec<f64> {
        let mut out = vec![f64::NAN; values.len()];
        match &self.operator {
            AcrossOperator::Cross(operator) => cross::cross(*operator, values, &mut out),
            AcrossOperator::Neutralize { group: result } => {
                cross::neutralize(values, &group(*result), &mut out);
            }
            AcrossOperator::Mask(_) => {}
        }
        out
    }
}

fn index_of(panel: &Panel, symbol: &str) -> Result<usize> {
    panel
        .instrument_index(symbol)
        .ok_or_else(|| Error::Feature(format!("Mask: {}", unknown_instrument(symbol, panel.instruments()))))
}

/// Stages as they are found, deepest first.
#[derive(Default)]
struct Lifted {
    stages: Vec<Draft>,
    known: Vec<(Node, usize)>,
}

#[derive(Default)]
struct Draft {
    arguments: Vec<Node>,
    across: Vec<Across>,
}

impl Lifted {
    /// The node with a stored value in the place of each operator across instruments, and how many stages it
    /// needs.
    fn lift(&mut self, node: &Node) -> (Node, usize) {
        let mut copy = node.clone();
        let mut depth = 0;
        for child in copy.children_mut() {
            let (lifted, needed) = self.lift(child);
            *child = lifted;
            depth = depth.max(needed);
        }
        if !matches!(copy, Node::Cross(..) | Node::Neutralize(_) | Node::Mask(..)) {
            return (copy, depth);
        }
        if let Some((_, slot)) = self.known.iter().find(|(known, _)| *known == copy) {
            return (Node::Stored(*slot), depth + 1);
        }
        let slot = self.known.len();
        self.known.push((copy.clone(), slot));
        if self.stages.len() <= depth {
            self.stages.resize_with(depth + 1, Draft::default);
        }
        let draft = &mut self.stages[depth];
        let (operator, of) = match copy {
            Node::Cross(operator, of) => (AcrossOperator::Cross(operator), draft.argument(*of)),
            Node::Neutralize(of) => {
                let [value, group] = *of;
                let of = draft.argument(value);
                (AcrossOperator::Neutralize { group: draft.argument(group) }, of)
            }
            Node::Mask(of, symbol) => (AcrossOperator::Mask(symbol), draft.argument(*of)),
            other => (AcrossOperator::Cross(Cross::Demean), draft.argument(other)),
        };
        draft.across.push(Across { operator, of, slot });
        (Node::Stored(slot), depth + 1)
    }
}

impl Draft {
    fn argument(&mut self, node: Node) -> usize {
        match self.arguments.iter().position(|known| *known == node) {
            Some(index) => index,
            None => {
                self.arguments.push(node);
                self.arguments.len() - 1
            }
        }
    }
}
