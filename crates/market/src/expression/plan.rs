//! Several expressions as one list of steps, each common sub-expression once.

use std::collections::HashMap;

use super::{Binary, Node, Offsets, Rolling, Unary};

/// A step's place in the plan; its arguments come before it.
pub(crate) type NodeId = usize;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Field(String),
    /// A constant, by its bits.
    Number(u64),
    Unary(Unary, NodeId),
    Binary(Binary, [NodeId; 2]),
    If([NodeId; 3]),
    /// The value so many bars ago; negative for later bars.
    Shift(NodeId, i64),
    Rolling(Rolling, NodeId, usize),
    Corr([NodeId; 2], usize),
}

impl Op {
    pub(crate) fn arguments(&self) -> &[NodeId] {
        match self {
            Self::Field(_) | Self::Number(_) => &[],
            Self::Unary(_, of) | Self::Shift(of, _) | Self::Rolling(_, of, _) => std::slice::from_ref(of),
            Self::Binary(_, of) | Self::Corr(of, _) => of,
            Self::If(of) => of,
        }
    }
}

/// Steps in order, what each is needed for, and which ones are results.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    ops: Vec<Op>,
    /// Bars each step must be computed for, relative to the rows asked for.
    needs: Vec<Offsets>,
    /// The last step that reads this one; itself if none does.
    last_uses: Vec<NodeId>,
    /// The step of each result, in the order of the expressions.
    roots: Vec<NodeId>,
}

impl Plan {
    pub(crate) fn new<'a>(expressions: impl IntoIterator<Item = &'a Node>) -> Self {
        let mut builder = Builder::default();
        let roots: Vec<NodeId> = expressions.into_iter().map(|root| builder.add(root)).collect();
        let ops = builder.ops;
        let mut needs: Vec<Option<Offsets>> = vec![None; ops.len()];
        let mut last_uses: Vec<NodeId> = (0..ops.len()).collect();
        for root in &roots {
            widen(&mut needs[*root], Offsets::NOW);
        }
        for id in (0..ops.len()).rev() {
            // Every step was added for a result, so something below it has set its need.
            let own = needs[id].unwrap_or(Offsets::NOW);
            let read = match &ops[id] {
                Op::Shift(_, bars) => own.shifted(*bars),
                Op::Rolling(_, _, window) | Op::Corr(_, window) => own.over(*window),
                _ => own,
            };
            for argument in ops[id].arguments() {
                widen(&mut needs[*argument], read);
                last_uses[*argument] = last_uses[*argument].max(id);
            }
        }
        let needs = needs.into_iter().map(|need| need.unwrap_or(Offsets::NOW)).collect();
        Self { ops, needs, last_uses, roots }
    }

    pub(crate) fn ops(&self) -> &[Op] {
        &self.ops
    }

    pub(crate) fn need(&self, id: NodeId) -> Offsets {
        self.needs[id]
    }

    pub(crate) fn last_use(&self, id: NodeId) -> NodeId {
        self.last_uses[id]
    }

    pub(crate) fn roots(&self) -> &[NodeId] {
        &self.roots
    }
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
            Node::Ref(of, bars) => Op::Shift(self.add(of), *bars),
            Node::Delta(of, bars) => {
                let of = self.add(of);
                let before = self.step(Op::Shift(of, *bars as i64));
                Op::Binary(Binary::Sub, [of, before])
            }
            Node::Rolling(operator, of, window) => Op::Rolling(*operator, self.add(of), *window),
            Node::Corr(of, window) => Op::Corr([self.add(&of[0]), self.add(&of[1])], *window),
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
        assert_eq!(plan.last_use(close), plan.ops().len() - 1);
    }
}
