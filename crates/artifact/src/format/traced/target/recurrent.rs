//! Recurrent layers as one operator.

use predictor::{DataType, Tensor};

use super::{Call, Step, Target};
use crate::format::traced::dim::Dim;
use crate::format::traced::tensor::Traced;

impl Target {
    /// An LSTM over `x`, `[steps, batch, inputs]`: every state, and the last one of each kind. `weights` are kernel, recurrent kernel
    /// and bias in ONNX's form and order of gates; `states`, `[batch, units]`, are what it begins with.
    pub(in crate::format) fn lstm(
        &mut self,
        x: &Traced,
        [kernel, recurrent, bias]: [&Traced; 3],
        states: [&Traced; 2],
    ) -> Step<[Traced; 3]> {
        let [hidden, carry] = states.map(|state| self.unsqueeze(state, &[0]));
        let (hidden, carry) = (hidden?, carry?);
        let (units, last, all) = results(x, states[0])?;
        let call = Call::new("LSTM", &[x, kernel, recurrent, bias])
            .without()
            .input(&hidden)
            .input(&carry)
            .int("hidden_size", units);
        let float = DataType::Float32;
        let shapes = vec![Some((float, all)), Some((float, last.clone())), Some((float, last))];
        let results = self.emit_all(&call, shapes)?;
        let [Some(all), Some(hidden), Some(carry)] = results.as_slice() else {
            return Err("it has three results".into());
        };
        Ok([self.squeeze(all, &[1])?, self.squeeze(hidden, &[0])?, self.squeeze(carry, &[0])?])
    }

    /// A GRU whose reset gate is applied behind the recurrent product: every state, and the last one.
    pub(in crate::format) fn gru(
        &mut self,
        x: &Traced,
        [kernel, recurrent, bias]: [&Traced; 3],
        state: &Traced,
    ) -> Step<[Traced; 2]> {
        let hidden = self.unsqueeze(state, &[0])?;
        let (units, last, all) = results(x, state)?;
        let call = Call::new("GRU", &[x, kernel, recurrent, bias])
            .without()
            .input(&hidden)
            .int("hidden_size", units)
            .int("linear_before_reset", 1);
        let float = DataType::Float32;
        let results = self.emit_all(&call, vec![Some((float, all)), Some((float, last))])?;
        let [Some(all), Some(hidden)] = results.as_slice() else { return Err("it has two results".into()) };
        Ok([self.squeeze(all, &[1])?, self.squeeze(hidden, &[0])?])
    }

    /// A kernel `[inputs, gates · units]` with its gates in another order and as rows: `[1, gates · units, inputs]`.
    pub(in crate::format) fn gate_rows(&mut self, kernel: &Traced, order: &[usize]) -> Step {
        let kernel = self.gates(kernel, 1, order)?;
        let rows = self.transpose(&kernel, &[1, 0])?;
        self.unsqueeze(&rows, &[0])
    }

    /// The equal parts of an axis in another order.
    pub(in crate::format) fn gates(&mut self, x: &Traced, axis: usize, order: &[usize]) -> Step {
        let size = x.shape[axis].known().unwrap_or_default() / order.len() as i64;
        let parts = self.split(x, axis, &vec![size; order.len()])?;
        let ordered: Vec<&Traced> = order.iter().map(|place| &parts[*place]).collect();
        self.concat(&ordered, axis)
    }

    /// Two biases `[gates · units]`, of the product with the input and with the state, as ONNX has them; zeros where there is none.
    pub(in crate::format) fn gate_bias(&mut self, biases: [Option<&Traced>; 2], count: usize) -> Step {
        let zeros = Tensor::float32(vec![count], vec![0.0; count]).map_err(|error| error.to_string())?;
        let zeros = Traced::known(zeros);
        let bias = self.concat(&biases.map(|bias| bias.unwrap_or(&zeros)), 0)?;
        self.unsqueeze(&bias, &[0])
    }
}

/// The number of units, and the shapes of the last state and of all.
fn results(x: &Traced, state: &Traced) -> Step<(i64, Vec<Dim>, Vec<Dim>)> {
    let units = state.shape.get(1).and_then(Dim::known).ok_or("its number of units is open")?;
    let [steps, batch, _] = x.shape.as_slice() else {
        return Err("it walks along something else than rows".into());
    };
    let one = Dim::fixed(1);
    let last = vec![one.clone(), batch.clone(), Dim::fixed(units)];
    Ok((units, last, vec![steps.clone(), one, batch.clone(), Dim::fixed(units)]))
}
