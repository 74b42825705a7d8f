"""A peer: LitServe with one worker, and its defaults else."""

import os

import litserve


class Perceptron(litserve.LitAPI):
    """JSON in, JSON out."""

    def setup(self, device: str) -> None:
        # Here, since it runs in the worker's process.
        import engine

        self.engine = engine

    def decode_request(self, request: dict) -> list[list[float]]:
        return request["instances"]

    def predict(self, rows: list[list[float]]) -> list[list[float]]:
        return self.engine.probabilities(rows).tolist()

    def encode_response(self, output: list[list[float]]) -> dict:
        return {"predictions": output}


if __name__ == "__main__":
    server = litserve.LitServer(Perceptron(), accelerator="cpu", devices=1, workers_per_device=1)
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), num_api_servers=1, log_level="warning", generate_client_file=False)
