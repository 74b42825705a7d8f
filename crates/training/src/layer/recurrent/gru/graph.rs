//! `gru` as nodes of an operator graph, one set of them for each step.

use artifact::graph::Value;

use super::GruConfig;
use crate::Error;
use crate::layer::Export;

/// The parameters of the state, cut where a step needs them apart.
struct State {
    /// `[units, 3 units]`, or the two parts of it if the reset gate comes before the product.
    kernels: Vec<Value>,
    /// `[1, 3 units]` with `reset_after`.
    bias: Option<Value>,
}

pub(super) fn export(config: &GruConfig, x: Value, export: &mut Export<'_>) -> Result<Value, Error> {
    let (kernel, recurrent_kernel) = (export.variable(0)?, export.variable(1)?);
    let gates = 2 * config.units;
    let name = export.name("MatMul");
    let mut products = export.graph.matmul(&name, x, kernel)?;
    let mut state_bias = None;
    if config.use_bias {
        let mut bias = export.variable(2)?;
        if config.reset_after {
            let name = export.name("recurrent_bias");
            state_bias = Some(export.graph.slice(&name, bias, 0, 1..2)?);
            let name = export.name("input_bias");
            bias = export.graph.slice(&name, bias, 0, 0..1)?;
        }
        let name = export.name("BiasAdd");
        products = export.graph.add(&name, products, bias)?;
    }
    let kernels = if config.reset_after {
        vec![recurrent_kernel]
    } else {
        let name = export.name("kernel_of_gates");
        let of_gates = export.graph.slice(&name, recurrent_kernel, 1, 0..gates)?;
        let name = export.name("kernel_of_candidate");
        vec![of_gates, export.graph.slice(&name, recurrent_kernel, 1, gates..gates + config.units)?]
    };
    let state = State { kernels, bias: state_bias };
    let recurrent = config.recurrent();
    let [steps, _] = export.sequence(x);
    let mut hidden: Vec<Value> = Vec::with_capacity(steps);
    for at in recurrent.order(steps) {
        let part = format!("step_{at}");
        let sums = export.step(products, at, &part)?;
        let mut nodes = Nodes { config, part, export };
        hidden.push(nodes.advance(sums, hidden.last().copied(), &state)?);
    }
    recurrent.export_result(&hidden, export)
}

/// The nodes of one step.
struct Nodes<'a, 'b> {
    config: &'a GruConfig,
    part: String,
    export: &'a mut Export<'b>,
}

impl Nodes<'_, '_> {
    /// As [`GruConfig::advance`].
    fn advance(&mut self, x: Value, before: Option<Value>, state: &State) -> Result<Value, Error> {
        let units = self.config.units;
        let both = self.slice("gates/input", x, 0..2 * units)?;
        let candidate = self.slice("candidate/input", x, 2 * units..3 * units)?;
        let of_state = match (before, self.config.reset_after) {
            (None, _) => state.bias,
            (Some(before), true) => {
                let name = self.name("MatMul");
                let product = self.export.graph.matmul(&name, before, state.kernels[0])?;
                Some(self.sum("BiasAdd", product, state.bias)?)
            }
            (Some(_), false) => None,
        };
        let (mut of_gates, mut of_candidate) = (None, None);
        if let Some(product) = of_state {
            of_gates = Some(self.slice("gates/state", product, 0..2 * units)?);
            of_candidate = Some(self.slice("candidate/state", product, 2 * units..3 * units)?);
        } else if let Some(before) = before {
            let name = self.name("gates/MatMul");
            of_gates = Some(self.export.graph.matmul(&name, before, state.kernels[0])?);
        }
        let sums = self.sum("gates/sums", both, of_gates)?;
        let part = format!("{}/gates", self.part);
        let gates = self.config.recurrent_activation.export_as(sums, &part, self.export)?;
        let update = self.slice("update", gates, 0..units)?;
        let reset = self.slice("reset", gates, units..2 * units)?;
        let more = match (of_candidate, before) {
            (Some(product), _) => Some(self.product("candidate/reset", reset, product)?),
            (None, Some(before)) => {
                let kept = self.product("candidate/kept", reset, before)?;
                let name = self.name("candidate/MatMul");
                Some(self.export.graph.matmul(&name, kept, state.kernels[1])?)
            }
            (None, None) => None,
        };
        let sums = self.sum("candidate/sums", candidate, more)?;
        let part = format!("{}/candidate", self.part);
        let candidate = self.config.activation.export_as(sums, &part, self.export)?;
        let Some(before) = before else {
            let less = self.product("new", update, candidate)?;
            let name = self.name("hidden");
            return Ok(self.export.graph.sub(&name, candidate, less)?);
        };
        let name = self.name("difference");
        let difference = self.export.graph.sub(&name, before, candidate)?;
        let kept = self.product("kept", update, difference)?;
        self.sum("hidden", candidate, Some(kept))
    }

    fn name(&self, part: &str) -> String {
        self.export.name(&format!("{}/{part}", self.part))
    }

    fn slice(&mut self, part: &str, x: Value, columns: std::ops::Range<usize>) -> Result<Value, Error> {
        let name = self.name(part);
        Ok(self.export.graph.slice(&name, x, 1, columns)?)
    }

    fn sum(&mut self, part: &str, a: Value, b: Option<Value>) -> Result<Value, Error> {
        let name = self.name(part);
        b.map_or(Ok(a), |b| Ok(self.export.graph.add(&name, a, b)?))
    }

    fn product(&mut self, part: &str, a: Value, b: Value) -> Result<Value, Error> {
        let name = self.name(part);
        Ok(self.export.graph.mul(&name, a, b)?)
    }
}
