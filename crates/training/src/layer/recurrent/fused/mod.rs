//! `lstm` and `gru` over all steps at once, with a way back of their own, where tensors live on the host.
//!
//! Step by step, a recurrent layer is hundreds of small operations of the tensor library, each with a tensor of its own
//! and too little to do for several threads. Here it is one operation. This is the one place that knows which backend
//! there is: where tensors live elsewhere, [`forward`] gives nothing and the layer goes step by step.

mod ahead;
mod back;
mod cell;
mod curve;
mod matrix;
mod sequence;

use std::marker::PhantomData;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Tensor, TensorData};

pub(super) use cell::{Cell, GruCell, LstmCell};

use super::Recurrent;
use crate::layer::{Shape, Value};
use sequence::{Axes, Weights};

/// A batch and the weights of a layer.
pub(super) struct Inputs {
    /// `[batch, steps, channels]`.
    pub(super) x: Tensor<3>,
    /// `[channels, gates * units]`.
    pub(super) kernel: Tensor<2>,
    /// `[units, gates * units]`.
    pub(super) state_kernel: Tensor<2>,
    /// `[gates * units]`, and as many again if the state's product has its own; none is zeros.
    pub(super) bias: Option<Tensor<1>>,
}

/// What the layer gives for a batch; nothing if its tensors do not live on the host.
pub(super) fn forward<C: Cell>(recurrent: &Recurrent, inputs: Inputs) -> Option<Value> {
    let [batch, steps, channels] = inputs.x.dims();
    let Recurrent { units, return_sequences, go_backwards, .. } = *recurrent;
    let axes = Axes { batch, steps, channels, units, backwards: go_backwards };
    let layer = Pass::<C> { axes, return_sequences, cell: PhantomData };
    let device = inputs.x.device();
    let bias = inputs.bias.unwrap_or_else(|| Tensor::zeros([1], &device));
    if let Ok(x) = inputs.x.clone().try_into_primitive::<Autodiff<Flex>>() {
        let tracked = [
            x,
            inputs.kernel.try_into_primitive::<Autodiff<Flex>>().ok()?,
            inputs.state_kernel.try_into_primitive::<Autodiff<Flex>>().ok()?,
            bias.try_into_primitive::<Autodiff<Flex>>().ok()?,
        ];
        let output = layer.recorded(tracked);
        return Some(if return_sequences {
            Value::Sequence(Tensor::from_primitive::<Autodiff<Flex>>(output))
        } else {
            Value::Rows(Tensor::from_primitive::<Autodiff<Flex>>(output))
        });
    }
    let plain = [
        inputs.x.try_into_primitive::<Flex>().ok()?,
        inputs.kernel.try_into_primitive::<Flex>().ok()?,
        inputs.state_kernel.try_into_primitive::<Flex>().ok()?,
        bias.try_into_primitive::<Flex>().ok()?,
    ];
    let (output, _) = layer.run(plain, false);
    Some(if return_sequences {
        Value::Sequence(Tensor::from_primitive::<Flex>(output))
    } else {
        Value::Rows(Tensor::from_primitive::<Flex>(output))
    })
}

/// Numbers kept for one row: the states, and what the way back needs of each step.
pub(super) fn scratch<C: Cell>(recurrent: &Recurrent, inputs: &[&Shape]) -> usize {
    let steps = inputs[0].first().copied().unwrap_or_default();
    steps * (recurrent.units + C::KEPT * recurrent.units.next_multiple_of(matrix::STRIP))
}

/// A layer that is about to pass over a batch.
#[derive(Debug)]
struct Pass<C> {
    axes: Axes,
    return_sequences: bool,
    cell: PhantomData<C>,
}

/// What the way back needs.
#[derive(Debug)]
struct Saved {
    axes: Axes,
    /// The input, the kernels and the bias.
    inputs: [FlexTensor; 4],
    /// `[batch, steps, units]`.
    hidden: FlexTensor,
    kept: Vec<Vec<f32>>,
}

impl<C: Cell> Pass<C> {
    fn run(&self, inputs: [FlexTensor; 4], keep: bool) -> (FlexTensor, Saved) {
        let Axes { batch, steps, units, .. } = self.axes;
        let inputs = inputs.map(|tensor| tensor.to_contiguous());
        let (x, weights) = slices(&inputs);
        let passed = ahead::forward::<C>(self.axes, x, &weights, keep);
        let hidden = FlexTensor::from_data(TensorData::new(passed.hidden, [batch, steps, units]));
        let output = if self.return_sequences {
            hidden.clone()
        } else {
            let states = numbers(&hidden).chunks_exact(steps * units);
            let last = states.flat_map(|states| &states[(steps - 1) * units..]).copied().collect();
            FlexTensor::from_data(TensorData::new::<f32, _>(last, [batch, units]))
        };
        (output, Saved { axes: self.axes, inputs, hidden, kept: passed.kept })
    }

    /// [`Pass::run`] with a way back, if any input has one.
    fn recorded(self, inputs: [FloatTensor<Autodiff<Flex>>; 4]) -> FloatTensor<Autodiff<Flex>> {
        let nodes = inputs.each_ref().map(|input| input.node());
        let inputs = inputs.map(|input| input.into_primitive());
        let back = Back::<C>(PhantomData);
        match back.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (output, saved) = self.run(inputs, true);
                prepared.finish(Arc::new(saved), output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(self.run(inputs, false).0),
        }
    }
}

/// The way back.
#[derive(Debug)]
struct Back<C>(PhantomData<C>);

impl<C: Cell> Backward<Flex, 4> for Back<C> {
    type State = Arc<Saved>;

    fn backward(self, ops: Ops<Self::State, 4>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let by_output = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let Saved { axes, inputs, hidden, kept } = &*ops.state;
        let (x, weights) = slices(inputs);
        let pull = back::Pull { states: numbers(&by_output), wants_x: ops.parents[0].is_some() };
        let found = back::backward::<C>(*axes, x, &weights, (numbers(hidden), kept), pull);
        let found = [found.x.unwrap_or_default(), found.kernel, found.state_kernel, found.bias];
        for ((parent, values), input) in ops.parents.into_iter().zip(found).zip(inputs) {
            if let Some(parent) = parent {
                let shape = input.layout().shape().clone();
                let gradient = FlexTensor::from_data(TensorData::new(values, shape));
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

fn slices(inputs: &[FlexTensor; 4]) -> (&[f32], Weights<'_>) {
    let [x, kernel, state_kernel, bias] = inputs.each_ref().map(numbers);
    (x, Weights { kernel, state_kernel, bias })
}

fn numbers(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("it was made contiguous, and all tensors are of single precision")
}

#[cfg(test)]
mod tests {

    use super::super::{GruConfig, LstmConfig};
    use super::*;
    use crate::layer::{self, Fitting, Layer, Leaf};
    use crate::seed::{Generator, Purpose};
    use crate::trained::elements;

    const STEPS: usize = 5;

    /// What a layer gives for a batch, and the gradients of its input and of its parameters. Rows are more than those of
    /// one block, units fill no vector.
    fn numbers(
        layer: &dyn Layer,
        [batch, channels]: [usize; 2],
        forward: impl Fn(Tensor<3>, &mut layer::Pass<'_>) -> Value,
    ) -> Vec<Vec<f32>> {
        let device = crate::device::open_for_tests().autodiff();
        let mut generator = Generator::new(3, Purpose::Weights);
        let mut draw = |count: usize| -> Vec<f32> { (0..count).map(|_| generator.symmetric(0.7)).collect() };
        let specs = layer.parameters(&[&vec![STEPS, channels]]);
        let leaves: Vec<Leaf> =
            specs.iter().map(|spec| Leaf::new(&draw(spec.len()), &spec.shape, true, &device)).collect();
        let x = TensorData::new(draw(batch * STEPS * channels), [batch, STEPS, channels]);
        let x = Tensor::<3>::from_data(x, &device).require_grad();
        let mut pass = layer::Pass::new(&device, Some(Fitting { seed: 1, step: 0 }));
        pass.enter(0, 0, &leaves);
        let output = forward(x.clone(), &mut pass).flat();
        let pull = Tensor::<2>::from_data(
            TensorData::new(draw(output.dims().iter().product()), output.dims()),
            &device,
        );
        let gradients = (output.clone() * pull).sum().backward();
        let mut all = vec![elements(output.inner()), elements(x.grad(&gradients).unwrap())];
        for leaf in &leaves {
            all.push(match leaf {
                Leaf::One(tensor) => elements(tensor.grad(&gradients).unwrap()),
                Leaf::Two(tensor) => elements(tensor.grad(&gradients).unwrap()),
                Leaf::Three(tensor) => elements(tensor.grad(&gradients).unwrap()),
            });
        }
        all
    }

    fn assert_near(one: &[Vec<f32>], other: &[Vec<f32>]) {
        assert_eq!(one.len(), other.len());
        for (at, (one, other)) in one.iter().zip(other).enumerate() {
            assert_eq!(one.len(), other.len(), "{at}");
            let size = one.iter().fold(0.0f32, |size, x| size.max(x.abs()));
            for (a, b) in one.iter().zip(other) {
                assert!((a - b).abs() <= 2e-6 * size, "{at}: {a} is not {b}, where the largest is {size}");
            }
        }
    }

    fn lstm(units: usize, return_sequences: bool, go_backwards: bool) -> LstmConfig {
        LstmConfig { return_sequences, go_backwards, ..LstmConfig::new(units) }
    }

    fn gru(units: usize, return_sequences: bool, go_backwards: bool) -> GruConfig {
        GruConfig { return_sequences, go_backwards, ..GruConfig::new(units) }
    }

    #[test]
    fn it_gives_what_the_tensor_library_gives_step_by_step() {
        for (units, channels, sequences, backwards) in
            [(37, 19, true, false), (16, 3, false, true), (70, 40, false, false), (5, 1, true, true)]
        {
            for batch in [1, 7, 83] {
                let shape = [batch, channels];
                let layer = lstm(units, sequences, backwards);
                let fused = numbers(&layer, shape, |x, pass| layer.forward(vec![Value::Sequence(x)], pass));
                assert_near(&fused, &numbers(&layer, shape, |x, pass| layer.by_steps(x, None, pass)));
                let layer = gru(units, sequences, backwards);
                let fused = numbers(&layer, shape, |x, pass| layer.forward(vec![Value::Sequence(x)], pass));
                assert_near(&fused, &numbers(&layer, shape, |x, pass| layer.by_steps(x, None, pass)));
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (lstm, gru) = (lstm(20, true, false), gru(20, false, false));
                let mut all =
                    numbers(&lstm, [700, 6], |x, pass| lstm.forward(vec![Value::Sequence(x)], pass));
                all.extend(numbers(&gru, [700, 6], |x, pass| gru.forward(vec![Value::Sequence(x)], pass)));
                all.concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
            })
        };
        let one = run(1);
        for threads in [2, 3, 8] {
            assert!(run(threads) == one, "{threads} threads");
        }
    }

    /// A network that is fitted and one that is asked share a way there.
    #[test]
    fn being_asked_gives_the_bits_of_being_fitted() {
        let layer = gru(9, true, false);
        let fitted = numbers(&layer, [10, 4], |x, pass| layer.forward(vec![Value::Sequence(x)], pass));
        let asked = numbers(&layer, [10, 4], |x, pass| {
            let device = crate::device::open_for_tests();
            let leaves: Vec<Leaf> = (0..3).map(|at| Leaf::Two(pass.two(at).inner())).collect();
            let mut plain = layer::Pass::new(&device, None);
            plain.enter(0, 0, &leaves);
            let asked = layer.forward(vec![Value::Sequence(x.clone().inner())], &mut plain).sequence();
            let fitted = layer.forward(vec![Value::Sequence(x)], pass).sequence();
            assert_eq!(elements(asked), elements(fitted.clone().inner()));
            Value::Sequence(fitted)
        });
        assert_eq!(fitted, asked);
    }
}
