"""A peer: a service of BentoML with one worker, run by `bentoml serve`."""

import bentoml
import engine


@bentoml.service(workers=1)
class Perceptron:
    """JSON in, JSON out."""

    @bentoml.api
    def predict(self, instances: list[list[float]]) -> list[list[float]]:
        return engine.probabilities(instances).tolist()
