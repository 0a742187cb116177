"""Encoder throughput within one process: padded PyTorch batches beside this engine's plans, on texts of mixed lengths.

`python bench/encoder_inprocess.py [DIRECTORY]` takes a sentence encoder's repository (MiniLM-L6 of the starter catalogue unless
told), puts a random classification head with 8 classes on it, and classifies texts of 8 to 128 tokens (log-normal, about 36 on
average). It prints a table and one line of JSON. Label agreement is with PyTorch fp32; with a random head near-ties abound, so a
trained head agrees more. Run it on a calm machine: differences under 20 % are ties.
"""

import json
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from yunmo.core.engine import Plan
from yunmo.core.errors import YunmoError
from yunmo.core.tasks import Classify, Labels
from yunmo.engines.onnx.kind import kind

CLASSES = 8
BATCH = 32
SECONDS = 6.0
TEXTS = 128
MINILM = Path(__file__).parent.parent / "tests" / ".cache" / "starter" / "all-MiniLM-L6-v2"


def main() -> None:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else MINILM
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        directory = with_head(source, Path(folder) / "model")
        texts = mixed_texts(directory)
        rate, reference = padded_torch(directory, texts)
        rows = [("torch fp32, padded batches of 32", rate, 1.0)]
        for precision in ("fp32", "int8"):
            rate, labels = streams(directory, Path(folder) / "derived", precision, texts)
            same = sum(one == other for one, other in zip(labels, reference, strict=True)) / len(texts)
            rows.append((f"onnx {precision}, 2 streams x 1 thread", rate, same))
    print(f"{'plan':36} {'texts/s':>8} {'same label':>11}")
    for name, rate, same in rows:
        print(f"{name:36} {rate:8.1f} {same:11.1%}")
    print(
        json.dumps(
            {"load": os.getloadavg()[0], "rows": [{"plan": name, "texts_per_second": rate, "agreement": same} for name, rate, same in rows]}
        )
    )


def with_head(source: Path, directory: Path) -> Path:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(source, num_labels=CLASSES)
    model.classifier.weight.data.normal_(std=1.0)
    model.save_pretrained(directory)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(directory)
    return directory


def mixed_texts(directory: Path) -> list[str]:
    """Ordinary words of the vocabulary, of which each is one token."""
    from tokenizers import Tokenizer

    random = np.random.default_rng(0)
    words = sorted(
        word
        for word in Tokenizer.from_file(str(directory / "tokenizer.json")).get_vocab()
        if word.isascii() and word.isalpha() and len(word) > 2
    )
    lengths = np.clip(random.lognormal(3.4, 0.6, TEXTS), 8, 128).astype(int) - 2
    return [" ".join(random.choice(words, length)) for length in lengths]


def padded_torch(directory: Path, texts: Sequence[str]) -> tuple[float, list[str]]:
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(directory).eval()

    def label(batch: Sequence[str]) -> list[str]:
        with torch.inference_mode():
            logits = model(**tokenizer(list(batch), padding=True, return_tensors="pt")).logits
        return [model.config.id2label[int(index)] for index in logits.argmax(-1)]

    labels = [found for start in range(0, len(texts), BATCH) for found in label(texts[start : start + BATCH])]
    return rate_of(lambda turn: len(label([texts[(turn * BATCH + place) % len(texts)] for place in range(BATCH)])), 1), labels


def streams(directory: Path, derived: Path, precision: str, texts: Sequence[str]) -> tuple[float, list[str]]:
    plan = Plan(engine="onnx", precision=precision, streams=2, threads=1, options={"head": "classify"})
    engine = kind.load(directory, derived, plan, lambda *_: None)

    def label(text: str) -> str:
        (result,) = engine.run(0, [Classify(texts=(text,), top_k=1)])
        if isinstance(result, YunmoError):
            raise result
        assert isinstance(result[0], Labels)
        return result[0].rows[0][0].label

    labels = [label(text) for text in texts]
    return rate_of(lambda turn: len([label(texts[turn % len(texts)])]), plan.streams), labels


def rate_of(work: Callable[[int], int], threads: int) -> float:
    """Texts per second over all threads; `work` says how many its turn did."""
    done = [0] * threads
    began = time.perf_counter()

    def run(thread: int) -> None:
        turn = thread
        while time.perf_counter() - began < SECONDS:
            done[thread] += work(turn)
            turn += threads

    running = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
    for each in running:
        each.start()
    for each in running:
        each.join()
    return sum(done) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
