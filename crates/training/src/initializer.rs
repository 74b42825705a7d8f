//! The weights a network starts from.

use crate::seed::Generator;

/// A kernel `[inputs, outputs]`, row-major, drawn uniformly from `±sqrt(6 / (inputs + outputs))`: Keras's default
/// `glorot_uniform` (Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural
/// networks", equation 16).
pub(crate) fn glorot_uniform(generator: &mut Generator, [inputs, outputs]: [usize; 2]) -> Vec<f32> {
    let limit = (6.0 / (inputs + outputs) as f64).sqrt() as f32;
    (0..inputs * outputs).map(|_| generator.symmetric(limit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Purpose;

    #[test]
    fn a_kernel_fills_the_glorot_interval() {
        let kernel = glorot_uniform(&mut Generator::new(1, Purpose::Weights), [75, 128]);
        let limit = (6.0f32 / 203.0).sqrt();
        let largest = kernel.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        assert_eq!(kernel.len(), 75 * 128);
        assert!(largest <= limit && largest > 0.99 * limit, "{largest} of {limit}");
    }
}
