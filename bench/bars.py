"""What must be reached, what was reached, and which file of bench/results shows it: the first table of docs/performance.md."""

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.report import share_of_the_best

Figures = Mapping[str, Any]
_OURS = "yunmo"


@dataclass(frozen=True)
class Bar:
    """One promise: its words, the file that holds the figure, how to read it there, and at least or at most how much is wanted (neither: told only)."""

    promise: str
    file: str
    read: Callable[[Figures], float]
    at_least: float | None = None
    at_most: float | None = None

    def is_cleared(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    @property
    def wanted(self) -> str:
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return "–" if self.at_most is None else f"≤ {self.at_most:g}"

    def verdict(self, value: float) -> str:
        if self.wanted == "–":
            return ""
        return "yes" if self.is_cleared(value) else "**no**"


def shares(results: Path) -> dict[str, float]:
    """What is reached of each bare engine, by bar, for those that are measured."""
    found = {bar.promise.split(": ")[0]: _value(bar, results) for bar in BARS if ": share of the" in bar.promise}
    return {name: value for name, value in found.items() if value is not None}


def section(results: Path) -> str:
    """The table as Markdown; a bar without a figure says that it is not measured."""
    rows = ["| what | wanted | reached | | shown by |", "|---|---|---|---|---|"]
    for bar in BARS:
        value = _value(bar, results)
        reached, verdict = ("–", "not measured") if value is None else (f"{value:.4g}", bar.verdict(value))
        rows.append(f"| {bar.promise} | {bar.wanted} | {reached} | {verdict} | `bench/results/{bar.file}` |")
    rows += [f"| {' | '.join(row)} |" for row in _against_peers(results)]
    return "## Bars\n\n" + "\n".join(rows) + "\n"


def _at(*path: str) -> Callable[[Figures], float]:
    def read(figures: Figures) -> float:
        value: Any = figures
        for name in path:
            value = value[name]
        return float(value)

    return read


def _starting(prefix: str) -> Callable[[Figures], float]:
    return lambda figures: next(float(value) for name, value in figures.items() if name.startswith(prefix))


def _peak(figures: Figures) -> float:
    shares = next(value for name, value in figures.items() if name.startswith("% of the measured peak"))
    return max(share for where, share in shares.items() if where.endswith("clients"))


def _classification(title: str, file: str) -> Iterator[Bar]:
    for clients in (32, 64):
        share = f"share of in-process throughput, {clients} clients"
        yield Bar(f"{title} over HTTP, {clients} clients: share of the same plan in process", file, _starting(share), at_least=0.95)
    yield Bar(f"{title}: % of the matrix products that this machine can do at most, best of the two", file, _peak)
    yield Bar(f"{title}: labels equal to fp32's on 2,000 held-out sentences", file, _starting("label agreement with fp32"), at_least=0.995)
    yield Bar(
        f"{title}: a single client's wait, times a single call in process",
        file,
        _at("p50 of 1 client, times a single call in process"),
        at_most=1.2,
    )
    yield Bar(f"{title}: times FastAPI + transformers pipeline, 32 clients", file, _at("times FastAPI + pipeline"), at_least=5)


def _chats(clients: int) -> Bar:
    share = f"share of the better bare engine, {clients} clients"
    promise = f"Chat with 128-token prompts, {clients} clients: share of the better bare engine, prefill counted"
    return Bar(promise, "chat_http.json", _starting(share), at_least=0.95)


def _translation() -> Iterator[Bar]:
    for clients in (16, 32):
        share = f"share of the bare engine, {clients} clients"
        yield Bar(
            f"Bergamot's English-Portuguese over HTTP, {clients} clients: share of the bare engine",
            "translation_http.json",
            _starting(share),
            at_least=0.9,
        )
    for search, times in (("greedy", 3), ("4 beams", 4)):
        promise = f"A Marian model on CTranslate2 in int8, 32 texts together, {search}"
        faster = _at(f"CTranslate2 int8, times transformers fp32, {search}")
        difference = f"chrF2 of CTranslate2 int8, less transformers fp32's, {search}"
        yield Bar(f"{promise}: times transformers in fp32", "translation_marian.json", faster, at_least=times)
        yield Bar(f"{promise}: chrF2, less that of transformers in fp32", "translation_marian.json", _at(difference), at_least=-0.3)


BARS = (
    *_classification("MiniLM", "classification_http.json"),
    *_classification("An encoder of BERT-base's size", "classification_http_bert_base.json"),
    Bar(
        "10,000 texts embedded in requests of 256: share of the same plan in process",
        "embeddings_http.json",
        _at("share of in-process throughput"),
        at_least=0.95,
    ),
    Bar("The same: mean cosine with fp32", "embeddings_http.json", _at("mean cosine with fp32"), at_least=0.999),
    Bar(
        "10,000 texts embedded in a batch: share of the same plan in process",
        "batches.json",
        _at("share of in-process throughput"),
        at_least=0.9,
    ),
    Bar(
        "The same: the wait (p99) of people beside it, times without it",
        "batches.json",
        _at("p99 beside a batch, times without"),
        at_most=1.3,
    ),
    Bar("Batches taken durably, a second", "batches.json", _starting("batches taken durably"), at_least=300),
    Bar(
        "An encoder is fine-tuned: useful tokens/s, times transformers Trainer's defaults",
        "training.json",
        _at("useful tokens per second, times transformers Trainer's defaults"),
        at_least=2.2,
    ),
    Bar(
        "The same: accuracy, less that of transformers Trainer's defaults",
        "training.json",
        _at("accuracy, less transformers Trainer's"),
        at_least=-0.01,
    ),
    Bar(
        "A training's steps on the platform: seconds, times the bare loop's",
        "training.json",
        _at("platform, times the bare loop"),
        at_most=1.03,
    ),
    Bar(
        "A training: the wait (p99) of people beside it, times without it",
        "training.json",
        _at("p99 beside a training, times without"),
        at_most=1.3,
    ),
    *_translation(),
    _chats(8),
    _chats(16),
    Bar(
        "MiniLM, cold: seconds to the first answer", "cold_start.json", _at("bench/minilm", "seconds, forked from a template"), at_most=0.6
    ),
    Bar(
        "SmolLM2-135M, cold: seconds to the first token",
        "cold_start.json",
        _at("bench/smollm2", "seconds, forked from a template"),
        at_most=1.2,
    ),
)


def _value(bar: Bar, results: Path) -> float | None:
    file = results / bar.file
    if not file.exists():
        return None
    try:
        return bar.read(json.loads(file.read_text())["figures"])
    except (KeyError, StopIteration):  # measured by an older form of the program
        return None


def _against_peers(results: Path) -> Iterator[Sequence[str]]:
    """Goodput under five times the capacity, Yunmo's over all sessions; each peer's own, for comparison."""
    kept = [json.loads(file.read_text()) for file in sorted((results / "peers").glob("*.overload.json"))]
    kept = [result for result in kept if result["figures"]]
    promise = "Five times as many requests as can be answered: goodput as a share of the best point"
    if not kept:
        yield promise, "≥ 0.9", "–", "not measured", "`bench/results/peers/*.overload.json`"
        return
    ours = statistics.median(share_of_the_best(result["figures"], _OURS) for result in kept)
    yield f"{promise} (median of {len(kept)} sessions)", "≥ 0.9", f"{ours:.2g}", _verdict(ours), "`bench/results/peers/*.overload.json`"
    for result in kept:
        theirs = share_of_the_best(result["figures"], result["peer"])
        yield f"… {result['title']}, for comparison", "", f"{theirs:.2g}", "", f"`bench/results/peers/{result['peer']}.overload.json`"


def _verdict(share: float) -> str:
    return "yes" if share >= 0.9 else "**no**"
