//! What becomes of scores, in float32 and step by step as onnxruntime computes it.

use super::description::Transform;

/// Transforms the scores of one row.
pub(super) fn apply(transform: Transform, scores: &mut [f32]) {
    match transform {
        Transform::None => {}
        Transform::Logistic => scores.iter_mut().for_each(|score| *score = logistic(*score)),
        Transform::Probit => scores.iter_mut().for_each(|score| *score = probit(*score)),
        Transform::Softmax => softmax(scores),
        Transform::SoftmaxZero => softmax_zero(scores),
    }
}

pub(super) fn logistic(x: f32) -> f32 {
    let of_magnitude = 1.0 / (1.0 + (-x.abs()).exp());
    if x < 0.0 { 1.0 - of_magnitude } else { of_magnitude }
}

/// The quantile of the normal distribution, by Winitzki's approximation of the inverse error function with a = 0.147
/// and pi = 3.14159, as onnxruntime has it.
pub(super) fn probit(x: f32) -> f32 {
    const A: f32 = 0.147;
    #[allow(clippy::approx_constant)] // What onnxruntime has.
    const PI: f32 = 3.14159;
    let x = 2.0 * x - 1.0;
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let half = 2.0 / (PI * A) + 0.5 * log;
    let inverse = sign * (-half + (half * half - (1.0 / A) * log).sqrt()).sqrt();
    std::f32::consts::SQRT_2 * inverse
}

fn softmax(scores: &mut [f32]) {
    let highest = scores.iter().copied().fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - highest).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

/// Softmax that leaves zeros out.
fn softmax_zero(scores: &mut [f32]) {
    const ZERO: f32 = 1e-7;
    let highest = scores.iter().copied().fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        if score.abs() > ZERO {
            *score = (*score - highest).exp();
            sum += *score;
        } else {
            *score *= (-highest).exp();
        }
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}
