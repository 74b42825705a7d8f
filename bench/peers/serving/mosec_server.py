"""A peer: mosec with one worker, and its defaults else. Its arguments are mosec's own."""

import mosec


class Perceptron(mosec.Worker):
    """JSON in, JSON out, which is mosec's default."""

    def __init__(self) -> None:
        # Here, since it runs in the worker's process.
        import engine

        self.engine = engine

    def forward(self, data: dict) -> dict:
        return {"predictions": self.engine.probabilities(data["instances"]).tolist()}


if __name__ == "__main__":
    server = mosec.Server()
    server.append_worker(Perceptron, num=1)
    server.run()
