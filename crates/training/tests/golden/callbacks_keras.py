"""Prints the tables of src/callback/early_stopping.rs and plateau.rs: what Keras's callbacks do to a fit whose
figure goes as VALUES. Made with keras 3.15.1; epochs are printed from 1.
"""
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras

VALUES = [0.9, 0.7, 0.72, 0.65, 0.66, 0.64, 0.7, 0.645, 0.63, 0.8, 0.9, 0.95]


class Model:
    def __init__(self):
        self.optimizer = keras.optimizers.SGD(1.0)
        self.stop_training = False
        self.epoch, self.kept = 0, []

    def get_weights(self):
        if self.epoch not in self.kept:
            self.kept.append(self.epoch)
        return [self.epoch]

    def set_weights(self, _):
        pass


def text(keys):
    quoted = {True: "true", False: "false"}
    value = lambda v: f'\\"{v}\\"' if isinstance(v, str) else quoted.get(v, v) if isinstance(v, bool) else v
    return "\\n".join(f"{key} = {value(v)}" for key, v in keys.items())


def fit(callback):
    model = Model()
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(VALUES):
        model.epoch = epoch + 1
        callback.on_epoch_end(epoch, {"val_loss": value, "score": value})
        rates.append(float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))
        if model.stop_training:
            break
    return model, rates


for keys in [
    {},
    {"patience": 1},
    {"patience": 2, "restore_best_weights": True},
    {"patience": 3, "restore_best_weights": True},
    {"patience": 2, "min_delta": 0.02, "restore_best_weights": True},
    {"patience": 4, "baseline": 0.64, "restore_best_weights": True},
    {"patience": 2, "baseline": 0.1},
    {"patience": 1, "start_from_epoch": 3, "restore_best_weights": True},
    {"patience": 20, "restore_best_weights": True},
    {"monitor": "score", "mode": "max", "patience": 3, "restore_best_weights": True},
    {"monitor": "score", "mode": "min", "patience": 1},
]:
    callback = keras.callbacks.EarlyStopping(**keys)
    model, _ = fit(callback)
    stopped = callback.stopped_epoch + 1 if model.stop_training else 0
    print(f'        ("{text(keys)}", {stopped}, {callback.best_epoch + 1}, &{model.kept}),')
print()
for keys in [
    {},
    {"patience": 1},
    {"patience": 1, "factor": 0.5, "cooldown": 1},
    {"patience": 1, "factor": 0.5, "cooldown": 3},
    {"patience": 2, "factor": 0.2, "min_delta": 0.02},
    {"patience": 0, "factor": 0.5, "min_lr": 0.3},
    {"monitor": "score", "mode": "max", "patience": 3, "factor": 0.3},
]:
    _, rates = fit(keras.callbacks.ReduceLROnPlateau(**keys))
    print(f'        ("{text(keys)}", {rates}),')
