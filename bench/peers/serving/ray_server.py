"""A peer: Ray Serve with one replica on a cluster of its own, all on this machine."""

import os
import signal

import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
class Perceptron:
    """JSON in, JSON out."""

    def __init__(self) -> None:
        # Here, since it runs in the replica's process.
        import engine

        self.engine = engine

    async def __call__(self, request: Request) -> dict:
        rows = (await request.json())["instances"]
        return {"predictions": self.engine.probabilities(rows).tolist()}


ray.init(include_dashboard=False, log_to_driver=False, num_cpus=2, object_store_memory=100 << 20, _temp_dir=os.getcwd())
serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
serve.run(Perceptron.bind(), route_prefix="/predict")
signal.sigwait([signal.SIGTERM, signal.SIGINT])
serve.shutdown()
ray.shutdown()
