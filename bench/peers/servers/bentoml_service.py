"""BentoML with its adaptive batching, one API for each encoder.

CLASSIFIER=… EMBEDDER=… bentoml serve bentoml_service:Encoders
"""

import os
from typing import Any

import bentoml
from encoder import Classifier, Embedder


@bentoml.service
class Encoders:
    """Both encoders in one worker."""

    def __init__(self) -> None:
        self._classifier = Classifier(os.environ["CLASSIFIER"])
        self._embedder = Embedder(os.environ["EMBEDDER"])

    @bentoml.api(batchable=True, max_batch_size=32)
    def classify(self, inputs: list[str]) -> list[dict[str, Any]]:
        return self._classifier(inputs)

    @bentoml.api(batchable=True, max_batch_size=32)
    def embed(self, inputs: list[str]) -> list[dict[str, Any]]:
        return self._embedder(inputs)
