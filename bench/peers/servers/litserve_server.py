"""LitServe with its batching, one API for each encoder.

python litserve_server.py PORT CLASSIFIER EMBEDDER
"""

import sys

import litserve
from encoder import Classifier, Embedder


class Encoder(litserve.LitAPI):
    """An encoder behind LitServe's hooks; batches are lists of decoded requests."""

    def __init__(self, load, path: str) -> None:
        super().__init__(max_batch_size=32, batch_timeout=0.01, api_path=path)
        self._load = load

    def setup(self, device):
        del device
        self._encoder = self._load()

    def decode_request(self, request):
        return request["inputs"]

    def batch(self, inputs):
        return inputs

    def predict(self, texts):
        return self._encoder(texts)

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return output


def classifier() -> Classifier:
    return Classifier(sys.argv[2])


def embedder() -> Embedder:
    return Embedder(sys.argv[3])


if __name__ == "__main__":
    server = litserve.LitServer([Encoder(classifier, "/classify"), Encoder(embedder, "/embed")], accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
