"""Ten thousand texts embedded in requests of 256 with OpenAI's own client, beside the same plan in process, turn by turn.

all-MiniLM-L6-v2 and texts of 8 to about 128 tokens (log-normal). The plan is the one that calibration chooses. The texts are taken
in slices, each embedded in process and over HTTP, now one first and now the other, so that a machine that slows down slows both.
Every vector that came over HTTP is compared with PyTorch's in fp32, which are computed once and kept.

    python bench/embeddings_http.py [--texts 10000] [--rounds 2] [--clients 2]
"""

import argparse
import asyncio
import hashlib
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bare_encoder import BareEncoder, gflop_per_text, peak
from classification_http import mixed
from harness import ROOT, keep, push_and_deploy
from sentiment import unseen
from yunmo.core.tasks import Embed

NAME = "bench/embedder"
TEXTS_A_REQUEST = 256
REQUESTS_A_SLICE = 10
CALIBRATION_SECONDS = 120.0
CACHE = ROOT / "bench" / ".cache" / "embeddings"
BATCH = 32


def main() -> None:
    from running import running_server
    from starter_models import minilm_directory

    warnings.simplefilter("ignore")
    options = _options()
    directory = minilm_directory()
    texts = mixed(unseen(), options.texts)
    reference = fp32_vectors(directory, texts)
    with tempfile.TemporaryDirectory() as data, running_server(Path(data)) as server:
        push_and_deploy(server, NAME, directory, pinned=True)
        plan = server.calibrate(NAME, CALIBRATION_SECONDS)["plan"]
        exported = next((server.data / "cache" / "derived").glob("*/onnx"))
        bare = BareEncoder(directory, exported, plan, [Embed(inputs=(text,)) for text in texts])
        slices = _measured(_Client(server.url, server.key, options.clients), bare, texts, options)
        bare.close()
    name, limit = peak(plan["precision"])
    work = gflop_per_text(directory, texts)
    rate = options.rounds * len(texts) / sum(each.over_http for each in slices)
    cosines = np.concatenate([each.vectors for each in slices[: len(slices) // options.rounds]])
    cosines = (cosines * reference).sum(1) / np.linalg.norm(cosines, axis=1) / np.linalg.norm(reference, axis=1)
    figures = {
        "plan": {name: plan[name] for name in ("engine", "format", "precision", "streams", "threads", "slots")},
        "texts": len(texts),
        "texts a request": TEXTS_A_REQUEST,
        "requests under way": options.clients,
        "texts per second over HTTP": round(rate, 1),
        "texts per second of the same plan in process": round(options.rounds * len(texts) / sum(each.in_process for each in slices), 1),
        "share of in-process throughput": round(sum(each.in_process for each in slices) / sum(each.over_http for each in slices), 3),
        "each slice's share": [round(each.in_process / each.over_http, 3) for each in slices],
        "mean cosine with fp32": round(float(cosines.mean()), 5),
        "smallest cosine with fp32": round(float(cosines.min()), 5),
        "median seconds a request": round(statistics.median(seconds for each in slices for seconds in each.requests), 2),
        "useful GFLOP a text": round(work, 3),
        f"% of the measured peak of {limit:g} {name}": round(100 * rate * work / limit, 1),
    }
    keep("embeddings_http", " ".join(["python", *sys.argv]), figures, is_quick=options.quick)


def fp32_vectors(directory: Path, texts: Sequence[str]) -> np.ndarray:
    """PyTorch's vectors in fp32, (texts, width): the mean over the tokens, of length 1. Computed once and kept."""
    file = CACHE / f"fp32-{hashlib.sha256(repr(list(texts)).encode()).hexdigest()[:12]}.npy"
    if not file.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        np.save(file, _computed(directory, texts))
    return np.load(file)


def _computed(directory: Path, texts: Sequence[str]) -> np.ndarray:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModel.from_pretrained(directory).eval()
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    vectors = np.empty((len(texts), model.config.hidden_size), np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            inputs = tokenizer([texts[number] for number in batch], padding=True, truncation=True, max_length=256, return_tensors="pt")
            mask = inputs["attention_mask"].unsqueeze(-1)
            sums = (model(**inputs).last_hidden_state * mask).sum(1)
            vectors[batch] = torch.nn.functional.normalize(sums / mask.sum(1), dim=-1).numpy()
    return vectors


class _Slice:
    """What one slice took on both ways, in seconds; `requests` are the single ones over HTTP, `vectors` what they gave."""

    def __init__(self) -> None:
        self.in_process = self.over_http = 0.0
        self.requests: list[float] = []
        self.vectors = np.empty((0, 0))


class _Client:
    """OpenAI's client as an application uses it, with some requests under way at once."""

    def __init__(self, url: str, key: str, clients: int) -> None:
        self._options = {"base_url": f"{url}/v1", "api_key": key, "timeout": 600, "max_retries": 0}
        self._clients = clients

    def embed(self, texts: Sequence[str], found: _Slice) -> None:
        """Send the texts in requests; note the vectors, each request's seconds, and those of all."""
        asyncio.run(self._embed([list(texts[at : at + TEXTS_A_REQUEST]) for at in range(0, len(texts), TEXTS_A_REQUEST)], found))

    async def _embed(self, requests: Sequence[list[str]], found: _Slice) -> None:
        from openai import AsyncOpenAI

        turn = asyncio.Semaphore(self._clients)

        async def ask(client: AsyncOpenAI, inputs: list[str]) -> list[list[float]]:
            async with turn:
                began = time.perf_counter()
                reply = await client.embeddings.create(model=NAME, input=inputs)
                found.requests.append(time.perf_counter() - began)
            return [each.embedding for each in reply.data]

        async with AsyncOpenAI(**self._options) as client:
            began = time.perf_counter()
            answers = await asyncio.gather(*(ask(client, inputs) for inputs in requests))
            found.over_http = time.perf_counter() - began
        found.vectors = np.asarray([vector for answer in answers for vector in answer], np.float32)


def _measured(client: _Client, bare: BareEncoder, texts: Sequence[str], options: argparse.Namespace) -> list[_Slice]:
    size = TEXTS_A_REQUEST * REQUESTS_A_SLICE
    client.embed(texts[:TEXTS_A_REQUEST], _Slice())
    bare.seconds_for(0, TEXTS_A_REQUEST)
    slices = []
    for _ in range(options.rounds):
        for first in range(0, len(texts), size):
            last, found = min(first + size, len(texts)), _Slice()
            if len(slices) % 2:
                client.embed(texts[first:last], found)
            found.in_process = bare.seconds_for(first, last)
            if not len(slices) % 2:
                client.embed(texts[first:last], found)
            slices.append(found)
            print(f"texts {first} to {last}: in process {found.in_process:.1f} s, over HTTP {found.over_http:.1f} s", flush=True)
    return slices


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clients", type=int, default=2, help="requests that are under way at once")
    parser.add_argument("--quick", action="store_true", help="a smoke run of few texts; nothing is kept in bench/results")
    options = parser.parse_args()
    if options.quick:
        options.texts, options.rounds = 2 * TEXTS_A_REQUEST, 1
    return options


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
