"""Speed × faithfulness of every plan of an encoder, in process, on a really fine-tuned head and sentences that it never saw.

`python bench/encoder_fidelity.py [--rounds 5] [--seconds 2]` takes the film-review head of `classification_http.py` (trained once
per machine). Speed is that of mixed lengths (8 to about 128 tokens), in rounds that take the plans in turn, each next to fp32 of
the same round: read the ratios, not the texts per second. Agreement is with fp32's labels on 2,000 held-out sentences.
"""

import argparse
import os
import random
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from classification_http import mixed
from harness import keep
from sentiment import trained, unseen
from yunmo.core.engine import BatchEngine, Plan
from yunmo.core.errors import YunmoError
from yunmo.core.tasks import Classify, Labels
from yunmo.engines.onnx.kind import kind

STREAMS = len(os.sched_getaffinity(0))
PLANS = (("onnx", "fp32"), ("onnx", "int8"), ("openvino", "int8"), ("openvino", "bf16"), ("torch", "bf16"))
PACK = {"torch": 16}
SEED = 20261123
READING = (
    "Eight bits are asked to keep 99.5 % of fp32's labels. ONNX Runtime's int8 computes the products that the outputs are sensitive to "
    "with one scale per token, or in fp32; OpenVINO's has eight-bit weights and quantises activations by 64 channels of a token; "
    "PyTorch's bf16 has 16 texts in one sequence. On a busy machine read the processor "
    "time of a text, which neighbours change little. Which is faster depends on the processor and on what else the cores do, so calibration decides."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    snippets = unseen()
    requests = [Classify(texts=(text,)) for text in mixed(snippets)]
    random.Random(SEED).shuffle(requests)
    with tempfile.TemporaryDirectory() as derived:
        engines, made = {}, {}
        for form, precision in PLANS:
            plan = Plan(engine="onnx", format=form, precision=precision, streams=STREAMS, options={"head": "classify"})
            began = time.perf_counter()
            engines[f"{form} {precision}"] = kind.load(trained(), Path(derived), plan, lambda *_: None)
            made[f"{form} {precision}"] = time.perf_counter() - began
        rates: dict[str, list[float]] = {name: [] for name in engines}
        costs: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(options.rounds):
            for name, engine in engines.items():
                began = time.process_time()
                speed, count = rate(engine, requests, options.seconds, PACK.get(name.split()[0], 1))
                rates[name].append(speed)
                costs[name].append(1000 * (time.process_time() - began) / count)
        answers = {name: scores(engine, snippets) for name, engine in engines.items()}
    full = answers["onnx fp32"]
    rows = {}
    print(f"{'plan':16} {'texts/s':>8} {'× fp32':>7} {'same label':>11} {'error':>7} {'cpu ms':>7} {'made in':>8}")
    for name, found in answers.items():
        ratio = statistics.median(one / other for one, other in zip(rates[name], rates["onnx fp32"], strict=True))
        same = float((found.argmax(1) == full.argmax(1)).mean())
        error = float(np.linalg.norm(centred(found) - centred(full)) / np.linalg.norm(centred(full)))
        speed = statistics.median(rates[name])
        print(f"{name:16} {speed:8.1f} {ratio:7.2f} {same:11.2%} {error:7.4f} {statistics.median(costs[name]):7.2f} {made[name]:7.1f}s")
        rows[name] = {
            "texts_per_second": round(speed, 1),
            "times_fp32": round(ratio, 2),
            "label_agreement": round(same, 4),
            "error": round(error, 4),
            "processor_milliseconds_per_text": round(statistics.median(costs[name]), 2),
        }
    keep("encoder_fidelity", "python bench/encoder_fidelity.py", {**rows, "how to read it": READING})


def rate(engine: BatchEngine, requests: list[Classify], seconds: float, items: int) -> tuple[float, int]:
    """Texts per second over all streams, and how many."""
    counts, began = [0] * STREAMS, time.perf_counter()

    def work(stream: int) -> None:
        while time.perf_counter() - began < seconds:
            first = stream * items + counts[stream] * STREAMS
            engine.run(stream, [requests[(first + place) % len(requests)] for place in range(items)])
            counts[stream] += items

    together(work)
    return sum(counts) / (time.perf_counter() - began), sum(counts)


def scores(engine: BatchEngine, texts: list[str]) -> np.ndarray:
    """The raw scores of every text, a column for each label."""
    rows: list[list[float]] = [[]] * len(texts)

    def work(stream: int) -> None:
        for place in range(stream, len(texts), STREAMS):
            (result,) = engine.run(stream, [Classify(texts=(texts[place],), function="none")])
            if isinstance(result, YunmoError):
                raise result
            assert isinstance(result[0], Labels)
            rows[place] = [label.score for label in sorted(result[0].rows[0], key=lambda label: label.label)]

    together(work)
    return np.array(rows)


def together(work) -> None:
    threads = [threading.Thread(target=work, args=(stream,)) for stream in range(STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean(axis=1, keepdims=True)


if __name__ == "__main__":
    main()
