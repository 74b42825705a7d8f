//! Several expressions as one list of steps, each common sub-expression once.

use std::collections::HashMap;

use super::{Binary, Node, Offsets, Unary};
use crate::kernel::{PairStat, Stat, Window};

/// A step's place in the plan; its arguments come before it.
pub(crate) type NodeId = usize;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Field(String),
    /// What was computed across instruments before, by its slot.
    Stored(usize),
    /// A constant, by its bits.
    Number(u64),
    Unary(Unary, NodeId),
    Binary(Binary, [NodeId; 2]),
    If([NodeId; 3]),
    /// The value so many bars ago; negative for later bars.
    Shift(NodeId, i64),
    /// The first value of all.
    First(NodeId),
    Rolling(Stat, NodeId, Window),
    Pair(PairStat, [NodeId; 2], Window),
}

impl Op {
    pub(crate) fn arguments(&self) -> &[NodeId] {
        match self {
            Self::Field(_) | Self::Stored(_) | Self::Number(_) => &[],
            Self::Unary(_, of) | Self::Shift(of, _) | Self::First(of) | Self::Rolling(_, of, _) => {
                std::slice::from_ref(of)
            }
            Self::Binary(_, of) | Self::Pair(_, of, _) => of,
            Self::If(of) => of,
        }
    }

    /// The bars of its arguments that are read for results at `own`.
    fn reads(&self, own: Offsets) -> Offsets {
        match self {
            Self::Shift(_, bars) => own.shifted(*bars),
            Self::First(_) => own.since_the_first_bar(),
            Self::Rolling(_, _, Window::Bars(bars)) | Self::Pair(_, _, Window::Bars(bars)) => {
                own.over(Window::Bars(*bars))
            }
            Self::Rolling(..) | Self::Pair(..) => own.since_the_first_bar(),
            _ => own,
        }
    }
}

/// Steps that are computed together: one, or all statistics of the same series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    One(NodeId),
    Rolling { of: NodeId, results: Vec<NodeId> },
    Pair { of: [NodeId; 2], results: Vec<NodeId> },
}

/// Steps in order, what each is needed for, and which ones are results.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    ops: Vec<Op>,
    /// Bars each step must be computed for, relative to the rows asked for.
    needs: Vec<Offsets>,
    /// The steps in the order they are taken.
    steps: Vec<Step>,
    /// The last of `steps` that reads this one's values; the one that makes them if none does.
    last_uses: Vec<usize>,
    /// The step of each result, in the order of the expressions.
    roots: Vec<NodeId>,
    /// The results that each op is.
    results: Vec<Vec<usize>>,
}

impl Plan {
    pub(crate) fn new<'a>(expressions: impl IntoIterator<Item = &'a Node>) -> Self {
        let mut builder = Builder::default();
        let roots: Vec<NodeId> = expressions.into_iter().map(|root| builder.add(root)).collect();
        let ops = builder.ops;
        let mut needs: Vec<Option<Offsets>> = vec![None; ops.len()];
        for root in &roots {
            widen(&mut needs[*root], Offsets::NOW);
        }
        for id in (0..ops.len()).rev() {
            // Every step was added for a result, so something below it has set its need.
            let read = ops[id].reads(needs[id].unwrap_or(Offsets::NOW));
            for argument in ops[id].arguments() {
                widen(&mut needs[*argument], read);
            }
        }
        let needs: Vec<Offsets> = needs.into_iter().map(|need| need.unwrap_or(Offsets::NOW)).collect();
        let steps = steps(&ops);
        let mut last_uses = vec![0; ops.len()];
        for (index, step) in steps.iter().enumerate() {
            for id in step.results() {
                last_uses[*id] = index;
                for argument in ops[*id].arguments() {
                    last_uses[*argument] = index;
                }
            }
        }
        let mut results = vec![Vec::new(); ops.len()];
        for (result, root) in roots.iter().enumerate() {
            results[*root].push(result);
        }
        Self { ops, needs, steps, last_uses, roots, results }
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(crate) fn ops(&self) -> &[Op] {
        &self.ops
    }

    pub(crate) fn need(&self, id: NodeId) -> Offsets {
        self.needs[id]
    }

    /// Which of the steps is the last to read an op's values.
    pub(crate) fn last_use(&self, id: NodeId) -> usize {
        self.last_uses[id]
    }

    pub(crate) fn roots(&self) -> &[NodeId] {
        &self.roots
    }

    /// The numbers of the expressions whose result an op is.
    pub(crate) fn results_of(&self, id: NodeId) -> &[usize] {
        &self.results[id]
    }
}

impl Step {
    pub(crate) fn results(&self) -> &[NodeId] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Rolling { results, .. } | Self::Pair { results, .. } => results,
        }
    }
}

/// Orders ops so that the statistics of one series come together, where the first of them would.
fn steps(ops: &[Op]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut rolling: HashMap<NodeId, usize> = HashMap::new();
    let mut pairs: HashMap<[NodeId; 2], usize> = HashMap::new();
    for (id, op) in ops.iter().enumerate() {
        match op {
            Op::Rolling(_, of, _) => {
                let at = *rolling.entry(*of).or_insert_with(|| {
                    steps.push(Step::Rolling { of: *of, results: Vec::new() });
                    steps.len() - 1
                });
                if let Step::Rolling { results, .. } = &mut steps[at] {
                    results.push(id);
                }
            }
            Op::Pair(_, of, _) => {
                let at = *pairs.entry(*of).or_insert_with(|| {
                    steps.push(Step::Pair { of: *of, results: Vec::new() });
                    steps.len() - 1
                });
                if let Step::Pair { results, .. } = &mut steps[at] {
                    results.push(id);
                }
            }
            _ => steps.push(Step::One(id)),
        }
    }
    steps
}

fn widen(need: &mut Option<Offsets>, by: Offsets) {
    *need = Some(need.map_or(by, |known| known.union(by)));
}

#[derive(Default)]
struct Builder {
    ops: Vec<Op>,
    known: HashMap<Op, NodeId>,
}

impl Builder {
    fn add(&mut self, node: &Node) -> NodeId {
        let op = match node {
            Node::Field(name) => Op::Field(name.clone()),
            Node::Number(value) => Op::Number(value.to_bits()),
            Node::Unary(operator, of) => Op::Unary(*operator, self.add(of)),
            Node::Binary(operator, of) => Op::Binary(*operator, [self.add(&of[0]), self.add(&of[1])]),
            Node::If(of) => Op::If([self.add(&of[0]), self.add(&of[1]), self.add(&of[2])]),
            Node::Ref(of, 0) => Op::First(self.add(of)),
            Node::Ref(of, bars) => Op::Shift(self.add(of), *bars),
            Node::Delta(of, bars) => {
                let of = self.add(of);
                let before = self.step(if *bars == 0 { Op::First(of) } else { Op::Shift(of, *bars as i64) });
                Op::Binary(Binary::Sub, [of, before])
            }
            Node::Rolling(stat, of, window) => Op::Rolling(*stat, self.add(of), *window),
            Node::Ema(of, 0.0) => Op::Rolling(Stat::GrowingMean, self.add(of), Window::Expanding),
            Node::Ema(of, span) => {
                let alpha = 1.0 / (1.0 + (span - 1.0) / 2.0);
                Op::Rolling(Stat::Mean, self.add(of), Window::Decay(alpha.to_bits()))
            }
            Node::Pair(stat, of, window) => Op::Pair(*stat, [self.add(&of[0]), self.add(&of[1])], *window),
            Node::Stored(slot) => Op::Stored(*slot),
            // A program has put a stored value in the place of each.
            Node::Cross(_, of) | Node::Mask(of, _) => return self.add(of),
            Node::Neutralize(of) => return self.add(&of[0]),
        };
        self.step(op)
    }

    fn step(&mut self, op: Op) -> NodeId {
        if let Some(id) = self.known.get(&op) {
            return *id;
        }
        let id = self.ops.len();
        self.ops.push(op.clone());
        self.known.insert(op, id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::super::Expression;
    use super::*;

    fn plan(texts: &[&str]) -> Plan {
        let parsed: Vec<Expression> = texts.iter().map(|text| Expression::parse(text).expect(text)).collect();
        Plan::new(parsed.iter().map(Expression::root))
    }

    #[test]
    fn common_sub_expressions_are_one_step() {
        let plan =
            plan(&["Mean($close>Ref($close,1),5)", "Mean(Gt($close,Ref($close,1)),10)", "Delta($close,1)"]);
        // $close, Ref, >, two means, and the difference that shares $close and Ref.
        assert_eq!(plan.ops().len(), 6);
        assert_eq!(plan.roots(), [3, 4, 5]);
    }

    #[test]
    fn a_step_is_computed_for_the_bars_its_readers_need() {
        let plan = plan(&["Mean($close-Ref($close,1),5)/$close"]);
        let close =
            plan.ops().iter().position(|op| *op == Op::Field("close".to_owned())).expect("it is read");
        assert_eq!(plan.need(close), Offsets { oldest: -5, newest: 0 });
        assert_eq!(plan.need(plan.roots()[0]), Offsets::NOW);
        assert_eq!(plan.last_use(close), plan.steps().len() - 1);
    }

    #[test]
    fn statistics_of_one_series_are_one_step() {
        let plan = plan(&["Mean($close,5)/Std($close,20)", "Mean($close,0)", "Corr($close,$open,5)"]);
        let together: Vec<usize> = plan.steps().iter().map(|step| step.results().len()).collect();
        assert_eq!(together, [1, 3, 1, 1, 1]);
    }
}
