//! LSTM, GRU and simple recurrent layers: a loop over the steps, in which only the product with the state is computed; the
//! product with the inputs is computed for all steps at once.

use protos::tensorflow::DataType;

use super::activations::{elu, hard_sigmoid, leaky, relu};
use super::{Entry, Written};
use crate::format::onnx::nodes::attribute;
use crate::format::saved_model::from_onnx::call::Call;
use crate::format::saved_model::from_onnx::lowering::Lowering;
use crate::format::saved_model::from_onnx::node::Node;
use crate::format::saved_model::from_onnx::value::{Value, open};

pub(super) const TABLE: &[Entry] = &[
    ("LSTM", |l, n| layer(l, n, Kind::Lstm)),
    ("GRU", |l, n| layer(l, n, Kind::Gru)),
    ("RNN", |l, n| layer(l, n, Kind::Simple)),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lstm,
    Gru,
    Simple,
}

impl Kind {
    /// How many products a step needs.
    fn gates(self) -> i64 {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
            Self::Simple => 1,
        }
    }

    fn activations(self) -> &'static [&'static str] {
        match self {
            Self::Lstm => &["Sigmoid", "Tanh", "Tanh"],
            Self::Gru => &["Sigmoid", "Tanh"],
            Self::Simple => &["Tanh"],
        }
    }

    fn has_cell(self) -> bool {
        self == Self::Lstm
    }
}

/// An activation with its numbers.
struct Activation {
    name: String,
    alpha: Option<f32>,
    beta: Option<f32>,
}

impl Activation {
    fn write(&self, l: &mut Lowering, x: &Value) -> Result<Value, String> {
        let alpha = |default: f32| self.alpha.unwrap_or(default);
        Ok(match self.name.to_lowercase().as_str() {
            "sigmoid" => l.unary("Sigmoid", "y", x),
            "tanh" => l.unary("Tanh", "y", x),
            "relu" => relu(l, x),
            "softplus" => l.unary("Softplus", "activations", x),
            "softsign" => l.unary("Softsign", "activations", x),
            "leakyrelu" => leaky(l, x, alpha(0.01)),
            "elu" => elu(l, x, f64::from(alpha(1.0))),
            "hardsigmoid" => hard_sigmoid(l, x, alpha(0.2), self.beta.unwrap_or(0.5)),
            other => return Err(format!("its activation \"{other}\" is not written")),
        })
    }
}

/// What all directions have in common.
struct Layer {
    kind: Kind,
    units: i64,
    /// A GRU multiplies by its reset gate after the product with the state.
    resets_late: bool,
    /// How many steps each row has, of 64 bits.
    lengths: Option<Value>,
    activations: Vec<Activation>,
}

/// The weights of one direction.
struct Weights {
    /// `[inputs, gates * units]`.
    kernel: Value,
    /// `[units, gates * units]`.
    recurrent: Value,
    /// Of the inputs and of the state, `[gates * units]` each.
    bias: Option<[Value; 2]>,
    /// `[3 * units]`, of an LSTM: input, output, forget.
    peepholes: Option<Value>,
}

/// Inputs `[steps, batch, inputs]`; results `[steps, directions, batch, units]`, and the last states `[directions, batch, units]`.
fn layer(l: &mut Lowering, n: &Node<'_>, kind: Kind) -> Written {
    let (x, kernel) = (n.input(0)?, n.input(1)?);
    if n.int("layout", 0) != 0 || attribute(n.proto, "clip").is_some() || n.int("input_forget", 0) != 0 {
        return Err("it has a layout, a clip or coupled gates, which are not written".to_owned());
    }
    let directions: &[bool] = match n.text("direction", "forward").as_str() {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        other => return Err(format!("its direction is \"{other}\"")),
    };
    let units = n.int("hidden_size", kernel.size(1).map_or(0, |size| size / kind.gates()));
    if units < 1 {
        return Err("its hidden_size is missing".to_owned());
    }
    let stated = activations(n, kind, directions.len())?;
    let lengths = n.optional(4).map(|lengths| l.cast(&lengths, DataType::DtInt64));
    let (mut sequences, mut states, mut cells) = (vec![], vec![], vec![]);
    for (at, (backwards, activations)) in directions.iter().zip(stated).enumerate() {
        let layer = Layer {
            kind,
            units,
            resets_late: n.int("linear_before_reset", 0) != 0,
            lengths: lengths.clone(),
            activations,
        };
        let of =
            |l: &mut Lowering, input: usize| n.optional(input).map(|value| direction(l, &value, at as i64));
        let (kernel, recurrent) =
            (of(l, 1).ok_or("it has no weights")?, of(l, 2).ok_or("it has no weights")?);
        let bias = of(l, 3).map(|bias| {
            let halves = l.parted(&bias, 2, 0);
            [halves[0].clone(), halves[1].clone()]
        });
        let weights = Weights {
            kernel: l.transposed(&kernel, &[1, 0]),
            recurrent: l.transposed(&recurrent, &[1, 0]),
            bias,
            peepholes: of(l, 7).filter(|_| kind.has_cell()),
        };
        let turned = if *backwards { layer.turned(l, &x) } else { x.clone() };
        let initial = [of(l, 5), of(l, 6).filter(|_| kind.has_cell())];
        let (sequence, state, cell) = layer.run(l, &turned, &weights, initial)?;
        sequences.push(if *backwards { layer.turned(l, &sequence) } else { sequence });
        states.push(state);
        cells.push(cell);
    }
    let together =
        |l: &mut Lowering, parts: &[Value], axis: i64| l.stacked(&parts.iter().collect::<Vec<_>>(), axis);
    let mut results = vec![together(l, &sequences, 1), together(l, &states, 0)];
    if kind.has_cell() {
        results.push(together(l, &cells, 0));
    }
    Ok(results)
}

/// Names for all directions, one after the other, and numbers for those that take some.
fn activations(n: &Node<'_>, kind: Kind, directions: usize) -> Result<Vec<Vec<Activation>>, String> {
    let list = attribute(n.proto, "activations");
    let stated: Vec<String> = list
        .iter()
        .flat_map(|list| &list.strings)
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    let numbers = |name: &str| attribute(n.proto, name).map(|list| list.floats.clone()).unwrap_or_default();
    let (alphas, betas) = (numbers("activation_alpha"), numbers("activation_beta"));
    let each = kind.activations().len();
    let default = kind.activations().iter().cycle().take(each * directions);
    let names: Vec<String> =
        if stated.is_empty() { default.map(|name| (*name).to_owned()).collect() } else { stated };
    if names.len() != each * directions {
        return Err(format!("it has {} activations, not {}", names.len(), each * directions));
    }
    // Numbers are listed for those activations alone that take some.
    let (mut alphas, mut betas) = (alphas.into_iter(), betas.into_iter());
    let activation = |name: String| {
        let (takes_alpha, takes_beta) = match name.to_lowercase().as_str() {
            "leakyrelu" | "elu" => (true, false),
            "hardsigmoid" => (true, true),
            _ => (false, false),
        };
        let alpha = if takes_alpha { alphas.next() } else { None };
        let beta = if takes_beta { betas.next() } else { None };
        Activation { name, alpha, beta }
    };
    let mut all: Vec<Activation> = names.into_iter().map(activation).collect();
    let mut parts = Vec::new();
    while !all.is_empty() {
        let rest = all.split_off(each);
        parts.push(std::mem::replace(&mut all, rest));
    }
    Ok(parts)
}

/// A direction's part of a tensor whose first axis they are.
fn direction(l: &mut Lowering, x: &Value, at: i64) -> Value {
    let (place, axis) = (l.integer(at), l.integer(0));
    let shape = x.shape.as_ref().map(|shape| shape.get(1..).unwrap_or_default().to_vec());
    l.gathered(x, &place, &axis, shape)
}

impl Layer {
    /// The steps in reverse; of rows with lengths of their own so many.
    fn turned(&self, l: &mut Lowering, x: &Value) -> Value {
        match &self.lengths {
            Some(lengths) => l.reversed(x, lengths, 0, 1),
            None => {
                let first = l.vector(&[0]);
                let call = Call::typed("ReverseV2", "output", &[x, &first]).dtype("Tidx", first.dtype);
                l.emit(call, x.dtype, x.shape.clone())
            }
        }
    }

    /// All outputs, the last state and, of an LSTM, the last cell.
    fn run(
        &self,
        l: &mut Lowering,
        x: &Value,
        weights: &Weights,
        initial: [Option<Value>; 2],
    ) -> Result<(Value, Value, Value), String> {
        let mut products = l.product(x, &weights.kernel);
        if let Some([bias, of_state]) = &weights.bias {
            // The reset gate of a GRU may apply to the bias of the state: that one is added later.
            products = l.binary("AddV2", &products, bias);
            if self.kind != Kind::Gru {
                products = l.binary("AddV2", &products, of_state);
            }
        }
        let sizes = l.sizes(x);
        let steps = l.element(&sizes, 0);
        let batch = l.window(&sizes, &[1], &[2]);
        let [state, cell] = initial.map(|given| match given {
            Some(value) => value,
            None => {
                let units = l.vector(&[self.units]);
                let shape = l.concatenated(&[&batch, &units], 0);
                let zero = l.number(0.0, x);
                let call = Call::new("Fill", "output", &[&shape, &zero])
                    .dtype("T", x.dtype)
                    .dtype("index_type", shape.dtype);
                l.emit(call, x.dtype, Some(vec![None, Some(self.units)]))
            }
        });
        let dtype = x.dtype;
        let outputs = l.list(dtype);
        let zero = l.integer(0);
        let mut begin = vec![zero, outputs, state];
        if self.kind.has_cell() {
            begin.push(cell.clone());
        }
        let count = begin.len();
        let mut fixed = vec![steps, products, weights.recurrent.clone()];
        let has_bias = self.kind == Kind::Gru && weights.bias.is_some();
        fixed.extend(weights.bias.iter().map(|bias| bias[1].clone()).filter(|_| has_bias));
        fixed.extend(weights.peepholes.clone());
        fixed.extend(self.lengths.clone());
        let goes_on = |l: &mut Lowering, x: &[Value]| Ok(l.compared("Less", &x[0], &x[count]));
        let step = |l: &mut Lowering, now: &[Value], fixed: &[Value]| {
            let mut rest = fixed[3..].iter();
            let mut next = |is_there: bool| if is_there { rest.next() } else { None };
            let bias = next(has_bias);
            let peepholes = next(weights.peepholes.is_some());
            let lengths = next(self.lengths.is_some());
            let first = l.integer(0);
            let row = l.gathered(&fixed[1], &now[0], &first, open(2));
            let (mut state, mut cell) = match self.kind {
                Kind::Lstm => {
                    let (state, cell) = self.lstm(l, &row, [&now[2], &now[3]], (&fixed[2], peepholes))?;
                    (state, Some(cell))
                }
                Kind::Gru => (self.gru(l, &row, &now[2], (&fixed[2], bias))?, None),
                Kind::Simple => {
                    let product = l.product(&now[2], &fixed[2]);
                    let sum = l.binary("AddV2", &row, &product);
                    (self.activations[0].write(l, &sum)?, None)
                }
            };
            let mut output = state.clone();
            if let Some(lengths) = lengths {
                let is_inside = l.compared("Less", &now[0], lengths);
                let is_inside = l.inserted(&is_inside, 1);
                let nothing = l.number(0.0, &state);
                output = l.select(&is_inside, &state, &nothing);
                state = l.select(&is_inside, &state, &now[2]);
                cell = cell.map(|cell| l.select(&is_inside, &cell, &now[3]));
            }
            let one = l.integer(1);
            let mut after = vec![l.binary("AddV2", &now[0], &one), l.appended(&now[1], &output), state];
            after.extend(cell);
            Ok(after)
        };
        let done = l.repeated(&begin, &fixed, goes_on, step)?;
        let all = l.listed(&done[1], dtype, Some(vec![x.size(0), None, Some(self.units)]));
        Ok((all, done[2].clone(), done.get(3).cloned().unwrap_or(cell)))
    }

    /// Gates in the order input, output, forget, cell (Hochreiter and Schmidhuber 1997, with peepholes of Gers and
    /// Schmidhuber 2000).
    fn lstm(
        &self,
        l: &mut Lowering,
        row: &Value,
        [state, cell]: [&Value; 2],
        (recurrent, peepholes): (&Value, Option<&Value>),
    ) -> Result<(Value, Value), String> {
        let product = l.product(state, recurrent);
        let sum = l.binary("AddV2", row, &product);
        let gates = l.parted(&sum, 4, 1);
        let looks = peepholes.map(|peepholes| l.parted(peepholes, 3, 0));
        let seen = |l: &mut Lowering, gate: &Value, at: usize, cell: &Value| match &looks {
            None => gate.clone(),
            Some(looks) => {
                let look = l.binary("Mul", cell, &looks[at]);
                l.binary("AddV2", gate, &look)
            }
        };
        let [gate, inner, outer] = [0, 1, 2].map(|at: usize| &self.activations[at]);
        let input = seen(l, &gates[0], 0, cell);
        let input = gate.write(l, &input)?;
        let forget = seen(l, &gates[2], 2, cell);
        let forget = gate.write(l, &forget)?;
        let candidate = inner.write(l, &gates[3])?;
        let kept = l.binary("Mul", &forget, cell);
        let added = l.binary("Mul", &input, &candidate);
        let cell = l.binary("AddV2", &kept, &added);
        let output = seen(l, &gates[1], 1, &cell);
        let output = gate.write(l, &output)?;
        let shown = outer.write(l, &cell)?;
        Ok((l.binary("Mul", &output, &shown), cell))
    }

    /// Gates in the order update, reset, candidate (Cho et al., arXiv:1406.1078).
    fn gru(
        &self,
        l: &mut Lowering,
        row: &Value,
        state: &Value,
        (recurrent, bias): (&Value, Option<&Value>),
    ) -> Result<Value, String> {
        let inputs = l.parted(row, 3, 1);
        let kernels = l.parted(recurrent, 3, 1);
        let biases = bias.map(|bias| l.parted(bias, 3, 0));
        let [gate, inner] = [0, 1].map(|at: usize| &self.activations[at]);
        let of_state = |l: &mut Lowering, at: usize, state: &Value| {
            let product = l.product(state, &kernels[at]);
            match &biases {
                Some(biases) => l.binary("AddV2", &product, &biases[at]),
                None => product,
            }
        };
        let opened = |l: &mut Lowering, at: usize| {
            let product = of_state(l, at, state);
            let sum = l.binary("AddV2", &inputs[at], &product);
            gate.write(l, &sum)
        };
        let (update, reset) = (opened(l, 0)?, opened(l, 1)?);
        let remembered = if self.resets_late {
            let product = of_state(l, 2, state);
            l.binary("Mul", &reset, &product)
        } else {
            let left = l.binary("Mul", &reset, state);
            of_state(l, 2, &left)
        };
        let sum = l.binary("AddV2", &inputs[2], &remembered);
        let candidate = inner.write(l, &sum)?;
        let one = l.number(1.0, &update);
        let rest = l.binary("Sub", &one, &update);
        let new = l.binary("Mul", &rest, &candidate);
        let old = l.binary("Mul", &update, state);
        Ok(l.binary("AddV2", &new, &old))
    }
}
