"""An encoder's engine alone, in this process, with a deployment's plan: what the same texts over HTTP are held against; and PyTorch's answers."""

import hashlib
import json
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness import RESULTS
from yunmo.core.engine import Plan
from yunmo.core.tasks import Request
from yunmo.engines.onnx.kind import kind

_PEAKS = {"int8": "int8 GOP/s", "bf16": "bf16 GFLOP/s"}


class BareEncoder:
    """The loaded engine; the server's own exports are taken, so that both run the very same graph."""

    def __init__(self, directory: Path, derived: Path, plan: dict[str, Any], requests: Sequence[Request]) -> None:
        self._plan = msgspec.convert(plan, Plan)
        self._engine = kind.load(directory, derived, self._plan, lambda _step, _share: None)
        self._requests = requests

    def throughput(self, seconds: float) -> float:
        """Texts per second for some seconds: one thread per stream, each with a text at a time."""
        until = time.monotonic() + seconds
        count = self._run(lambda _number: time.monotonic() < until)
        return count / seconds

    def seconds_for(self, first: int, last: int) -> float:
        """How long the requests from `first` to before `last` take."""
        began = time.perf_counter()
        self._run(lambda number: number < last - first, first)
        return time.perf_counter() - began

    def single_call_ms(self) -> float:
        """The median call, one at a time, in milliseconds."""
        took = []
        for request in self._requests:
            begun = time.perf_counter()
            self._engine.run(0, [request])
            took.append(1000 * (time.perf_counter() - begun))
        return statistics.median(took)

    def close(self) -> None:
        self._engine.close()

    def _run(self, goes_on: Any, first: int = 0) -> int:
        """Each stream takes its turn of the requests as long as that holds; how many were answered."""
        counts = [0] * self._plan.streams

        def work(stream: int) -> None:
            number = stream
            while goes_on(number):
                self._engine.run(stream, [self._requests[(first + number) % len(self._requests)]])
                counts[stream] += 1
                number += self._plan.streams

        threads = [threading.Thread(target=work, args=(stream,)) for stream in range(self._plan.streams)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts)


def fp32_labels(directory: Path, snippets: Sequence[str]) -> list[str]:
    """PyTorch's label of each snippet in fp32, computed once for these texts and weights and kept beside the model."""
    weights = (directory / "model.safetensors").stat()
    named = hashlib.sha256(repr((directory.name, weights.st_size, weights.st_mtime_ns, list(snippets))).encode()).hexdigest()[:12]
    file = directory.parent / f"fp32-labels-{named}.json"
    if not file.exists():
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(directory)
        model = AutoModelForSequenceClassification.from_pretrained(directory).eval()
        with torch.inference_mode():
            logits = [model(**tokenizer(text, return_tensors="pt", truncation=True)).logits for text in snippets]
        file.write_text(json.dumps([model.config.id2label[int(each.argmax())] for each in logits]))
    return json.loads(file.read_text())


def gflop_per_text(directory: Path, texts: Sequence[str]) -> float:
    """The products of the matrices and of attention for a text, on average: 2 for a multiply-add, real tokens only."""
    from tokenizers import Tokenizer

    config = json.loads((directory / "config.json").read_text())
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.no_padding()
    counts = [len(tokenizer.encode(text).ids) for text in texts]
    return sum(_gflop(config, count) for count in counts) / len(counts)


def peak(precision: str) -> tuple[str, float]:
    """The name and figure of what bench/limits.py measured for matrix products in this precision, all threads together."""
    file = RESULTS / "limits.json"
    if not file.exists():
        raise SystemExit("What the machine can do at most is not measured yet: python bench/limits.py")
    name = _PEAKS.get(precision, "fp32 GFLOP/s")
    return name, max(cell[name] for cell in json.loads(file.read_text())["figures"].values())


def _gflop(config: dict[str, int], tokens: int) -> float:
    width, inner = config["hidden_size"], config["intermediate_size"]
    per_token = 2 * (4 * width * width + 2 * width * inner) + 4 * tokens * width
    return config["num_hidden_layers"] * per_token * tokens / 1e9
