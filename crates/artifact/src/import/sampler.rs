//! Inputs that take random numbers, and the numbers they are given where a caller gives none.
//!
//! Every row is given the same numbers, which follow from the seed alone: a row's answer does not depend on the rows beside it,
//! and the same question has the same answer wherever and whenever it is asked.

use predictor::{DataType, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// The most numbers of a tensor that is drawn.
const VALUES_MAX: usize = 1 << 28;

/// An input that takes random numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampler {
    /// The input's name.
    pub input: String,
    /// What is drawn.
    pub distribution: Distribution,
    /// What the numbers follow from.
    pub seed: u64,
}

/// How random numbers are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// The standard normal distribution.
    Normal,
    /// From 0 to 1, evenly.
    Uniform,
    /// The standard normal distribution, without what is farther than 2 from 0.
    TruncatedNormal,
}

impl Sampler {
    /// So many rows of this shape, each with the same numbers.
    ///
    /// # Errors
    /// What is wrong with the shape or type, in words.
    pub fn draw(&self, rows: usize, row: &[usize], dtype: DataType) -> Result<Tensor, String> {
        let count = row.iter().try_fold(1usize, |n, size| n.checked_mul(*size));
        let total = count.and_then(|count| count.checked_mul(rows)).filter(|total| *total <= VALUES_MAX);
        let (Some(count), Some(_)) = (count, total) else {
            return Err(format!("input \"{}\" takes more than {VALUES_MAX} random numbers", self.input));
        };
        let mut numbers = Numbers { state: self.seed };
        let row_numbers: Vec<f64> = (0..count).map(|_| numbers.next(self.distribution)).collect();
        let data = match dtype {
            DataType::Float32 => {
                TensorData::Float32(row_numbers.iter().map(|x| *x as f32).collect::<Vec<_>>().repeat(rows))
            }
            DataType::Float64 => TensorData::Float64(row_numbers.repeat(rows)),
            other => return Err(format!("input \"{}\" is {other}, which is not drawn", self.input)),
        };
        let shape = std::iter::once(rows).chain(row.iter().copied()).collect();
        Tensor::new(shape, data).map_err(|error| error.to_string())
    }
}

/// Random numbers (splitmix64; Steele, Lea and Flood 2014).
struct Numbers {
    state: u64,
}

impl Numbers {
    fn next(&mut self, distribution: Distribution) -> f64 {
        match distribution {
            Distribution::Uniform => self.unit(),
            Distribution::Normal => self.normal(),
            Distribution::TruncatedNormal => loop {
                let number = self.normal();
                if number.abs() <= 2.0 {
                    return number;
                }
            },
        }
    }

    /// Box and Muller 1958.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * self.unit()).cos()
    }

    /// From 0 to 1, the latter excluded; 24 bits, so that float32 holds the same number.
    fn unit(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1u32 << 24)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(distribution: Distribution, seed: u64) -> Sampler {
        Sampler { input: "noise".to_owned(), distribution, seed }
    }

    #[test]
    fn numbers_are_distributed_as_they_say() {
        for (distribution, mean, deviation, low, high) in [
            (Distribution::Normal, 0.0, 1.0, -7.0, 7.0),
            (Distribution::Uniform, 0.5, (1.0f64 / 12.0).sqrt(), 0.0, 1.0),
            // The deviation of a normal distribution cut at 2 (Johnson, Kotz and Balakrishnan 1994, 13.134).
            (Distribution::TruncatedNormal, 0.0, 0.879_626, -2.0, 2.0),
        ] {
            let drawn = sampler(distribution, 3).draw(1, &[40_000], DataType::Float64).unwrap();
            let TensorData::Float64(values) = drawn.data() else { panic!() };
            let count = values.len() as f64;
            let found = values.iter().sum::<f64>() / count;
            let spread = (values.iter().map(|x| (x - found).powi(2)).sum::<f64>() / count).sqrt();
            assert!((found - mean).abs() < 0.02 && (spread - deviation).abs() < 0.02, "{found} {spread}");
            assert!(values.iter().all(|x| (low..=high).contains(x)));
        }
    }

    #[test]
    fn every_row_is_given_the_same_and_another_seed_gives_others() {
        let normal = sampler(Distribution::Normal, 0);
        let drawn = normal.draw(3, &[2, 5], DataType::Float32).unwrap();
        assert_eq!(drawn.shape(), [3, 2, 5]);
        let values = drawn.as_float32().unwrap();
        assert_eq!(values[..10], values[10..20]);
        assert_eq!(drawn.slice_rows(0..1), normal.draw(1, &[2, 5], DataType::Float32).unwrap());
        let other = sampler(Distribution::Normal, 1).draw(3, &[2, 5], DataType::Float32).unwrap();
        assert_ne!(drawn, other);
        assert!(normal.draw(1 << 40, &[1 << 40], DataType::Float32).is_err());
        assert!(normal.draw(1, &[1], DataType::Int64).is_err());
    }
}
