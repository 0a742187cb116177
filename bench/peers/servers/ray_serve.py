"""Ray Serve with @serve.batch, one deployment for each encoder.

python ray_serve.py PORT CLASSIFIER EMBEDDER
"""

import signal
import sys

import ray
from encoder import Classifier, Embedder
from ray import serve
from starlette.requests import Request


class _Batched:
    """An encoder whose requests are batched."""

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.01)
    async def batched(self, texts: list[str]) -> list[dict]:
        return self._encoder(texts)

    async def __call__(self, request: Request) -> dict:
        return await self.batched((await request.json())["inputs"])


TWO_CORES = {"num_cpus": 2}
"""Ray gives a worker's libraries as many threads as it asks for processors."""


@serve.deployment(max_ongoing_requests=100, ray_actor_options=TWO_CORES)
class Classify(_Batched):
    """Labels."""

    def __init__(self, directory: str) -> None:
        self._encoder = Classifier(directory)


@serve.deployment(max_ongoing_requests=100, ray_actor_options=TWO_CORES)
class Embed(_Batched):
    """Vectors."""

    def __init__(self, directory: str) -> None:
        self._encoder = Embedder(directory)


def main() -> None:
    ray.init(num_cpus=4, include_dashboard=False, configure_logging=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Classify.bind(sys.argv[2]), name="classify", route_prefix="/classify")
    serve.run(Embed.bind(sys.argv[3]), name="embed", route_prefix="/embed")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
