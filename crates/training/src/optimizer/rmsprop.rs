//! RMSprop as Keras computes it (Tieleman and Hinton 2012, lecture 6.5): with the gradient g,
//!
//! ```text
//! v = rho v + (1 - rho) g^2
//! a = rho a + (1 - rho) g                         if centered, else 0
//! d = learning_rate g / sqrt(v - a^2 + epsilon)
//! m = momentum m + d                              with momentum, else d
//! w = w - m
//! ```

use serde::{Deserialize, Serialize};

use super::limits::{Limits, Prepare};
use super::state::Moment;
use super::update::{Update, apply};
use super::{below_one, positive};
use crate::Error;

/// RMSprop's parameters; the defaults are Keras's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RmspropConfig {
    /// How far a step goes.
    pub learning_rate: f64,
    /// How long the mean of squared gradients remembers.
    pub rho: f64,
    /// How much of the last step is made again.
    pub momentum: f64,
    /// Keeps the divisor from 0.
    pub epsilon: f64,
    /// Whether steps are divided by the deviation of gradients rather than by their size.
    pub centered: bool,
    /// What share of a weight, times the learning rate, is taken from it before each step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// The largest norm of a tensor's gradient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clipnorm: Option<f64>,
    /// The largest size of a gradient's element.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clipvalue: Option<f64>,
    /// The largest norm of all gradients together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global_clipnorm: Option<f64>,
}

impl Default for RmspropConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            rho: 0.9,
            momentum: 0.0,
            epsilon: 1e-7,
            centered: false,
            weight_decay: None,
            clipnorm: None,
            clipvalue: None,
            global_clipnorm: None,
        }
    }
}

impl RmspropConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        below_one("rho", self.rho)?;
        below_one("momentum", self.momentum)?;
        positive("epsilon", self.epsilon)
    }

    pub(super) fn limits(&self) -> Limits {
        let Self { weight_decay, clipnorm, clipvalue, global_clipnorm, .. } = *self;
        Limits { weight_decay, clipnorm, clipvalue, global_clipnorm }
    }

    pub(super) fn slots(&self) -> Vec<&'static str> {
        let mut slots = vec!["velocity"];
        if self.momentum > 0.0 {
            slots.push("momentum");
        }
        if self.centered {
            slots.push("average_gradient");
        }
        slots
    }
}

pub(super) fn step(
    config: &RmspropConfig,
    moment: Moment,
    prepare: Prepare,
    (weights, gradient, slots): (&mut [f32], &[f32], &mut [Vec<f32>]),
) {
    let rmsprop = Rmsprop {
        learning_rate: moment.learning_rate as f32,
        rho: config.rho as f32,
        gain: (1.0 - config.rho) as f32,
        momentum: config.momentum as f32,
        epsilon: config.epsilon as f32,
        prepare,
    };
    match (config.momentum > 0.0, config.centered) {
        (false, false) => apply(Plain(rmsprop), weights, gradient, slots),
        (true, false) => apply(Heavy(rmsprop), weights, gradient, slots),
        (false, true) => apply(Centered(rmsprop), weights, gradient, slots),
        (true, true) => apply(HeavyCentered(rmsprop), weights, gradient, slots),
    }
}

#[derive(Clone, Copy)]
struct Rmsprop {
    learning_rate: f32,
    rho: f32,
    gain: f32,
    momentum: f32,
    epsilon: f32,
    prepare: Prepare,
}

impl Rmsprop {
    #[inline(always)]
    fn square(&self, v: f32, g: f32) -> f32 {
        self.rho * v + self.gain * (g * g)
    }

    #[inline(always)]
    fn mean(&self, a: f32, g: f32) -> f32 {
        self.rho * a + self.gain * g
    }

    #[inline(always)]
    fn increment(&self, g: f32, variance: f32) -> f32 {
        self.learning_rate * g / (variance + self.epsilon).sqrt()
    }
}

#[derive(Clone, Copy)]
struct Plain(Rmsprop);

impl Update<1> for Plain {
    #[inline(always)]
    fn update(self, weights: &mut [f32], gradient: &[f32], [squares]: [&mut [f32]; 1]) {
        let Self(rule) = self;
        for ((w, &g), v) in weights.iter_mut().zip(gradient).zip(squares) {
            let g = rule.prepare.gradient(g);
            *v = rule.square(*v, g);
            *w = rule.prepare.weight(*w) - rule.increment(g, *v);
        }
    }
}

#[derive(Clone, Copy)]
struct Heavy(Rmsprop);

impl Update<2> for Heavy {
    #[inline(always)]
    fn update(self, weights: &mut [f32], gradient: &[f32], [squares, momenta]: [&mut [f32]; 2]) {
        let Self(rule) = self;
        for (((w, &g), v), m) in weights.iter_mut().zip(gradient).zip(squares).zip(momenta) {
            let g = rule.prepare.gradient(g);
            *v = rule.square(*v, g);
            *m = rule.momentum * *m + rule.increment(g, *v);
            *w = rule.prepare.weight(*w) - *m;
        }
    }
}

#[derive(Clone, Copy)]
struct Centered(Rmsprop);

impl Update<2> for Centered {
    #[inline(always)]
    fn update(self, weights: &mut [f32], gradient: &[f32], [squares, means]: [&mut [f32]; 2]) {
        let Self(rule) = self;
        for (((w, &g), v), a) in weights.iter_mut().zip(gradient).zip(squares).zip(means) {
            let g = rule.prepare.gradient(g);
            *v = rule.square(*v, g);
            *a = rule.mean(*a, g);
            *w = rule.prepare.weight(*w) - rule.increment(g, *v - *a * *a);
        }
    }
}

#[derive(Clone, Copy)]
struct HeavyCentered(Rmsprop);

impl Update<3> for HeavyCentered {
    #[inline(always)]
    fn update(self, weights: &mut [f32], gradient: &[f32], [squares, momenta, means]: [&mut [f32]; 3]) {
        let Self(rule) = self;
        let rows = weights.iter_mut().zip(gradient).zip(squares).zip(momenta).zip(means);
        for ((((w, &g), v), m), a) in rows {
            let g = rule.prepare.gradient(g);
            *v = rule.square(*v, g);
            *a = rule.mean(*a, g);
            *m = rule.momentum * *m + rule.increment(g, *v - *a * *a);
            *w = rule.prepare.weight(*w) - *m;
        }
    }
}
