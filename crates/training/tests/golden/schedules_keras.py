"""Prints the table of src/schedule/mod.rs: rates at some steps of a fit of 60. Made with keras 3.15.1. Keras has a
warm-up for the cosine alone."""
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras

s = keras.optimizers.schedules
STEPS = [0, 1, 5, 9, 10, 11, 25, 59, 60]
CASES = {
    '{ name = \\"exponential\\", decay_steps = 10, decay_rate = 0.5 }': s.ExponentialDecay(0.2, 10, 0.5),
    '{ name = \\"exponential\\", decay_steps = 10, decay_rate = 0.5, staircase = true }': s.ExponentialDecay(0.2, 10, 0.5, staircase=True),
    '{ name = \\"step\\", every = 10, factor = 0.5 }': s.ExponentialDecay(0.2, 10, 0.5, staircase=True),
    '{ name = \\"piecewise_constant\\", boundaries = [5, 10], values = [0.3, 0.1, 0.02] }': s.PiecewiseConstantDecay([5, 10], [0.3, 0.1, 0.02]),
    '\\"cosine\\"': s.CosineDecay(0.2, 60),
    '{ name = \\"cosine\\", alpha = 0.1, decay_steps = 20 }': s.CosineDecay(0.2, 20, alpha=0.1),
    '{ name = \\"cosine\\", warmup_steps = 10, alpha = 0.05 }': s.CosineDecay(0.0, 50, alpha=0.05, warmup_target=0.2, warmup_steps=10),
    '{ name = \\"cosine\\", warmup_steps = 10, warmup_from = 0.25, decay_steps = 15 }': s.CosineDecay(0.05, 15, warmup_target=0.2, warmup_steps=10),
}
for text, schedule in CASES.items():
    print(f'        ("{text}", {[float(schedule(step)) for step in STEPS]}),')
