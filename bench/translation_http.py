"""Machine translation: Bergamot over HTTP beside its bare engine, and CTranslate2 beside transformers on a Marian model.

Bergamot's English-Portuguese is asked for one sentence a request; the bare engine is fxtranslate in this process with as many threads as
the served plan has streams, on the same sentences, before and after each window over HTTP. They are sentences of film reviews.

A Marian model is translated with 32 texts at a time, greedily and with four beams, by CTranslate2 in eight bits and by transformers in fp32,
one after the other in each round, on all cores; chrF2 is that of all the pairs (lines of a text, a tab and its translation).

    python bench/translation_http.py [--rounds 5] [--seconds 8] [--clients 16 32] [--marian DIRECTORY --pairs FILE] [--quick]
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from harness import keep, load, medians, processor_seconds, push_and_deploy
from sentiment import unseen
from starter_models import bergamot_directory
from yunmo.core.engine import Plan
from yunmo.core.errors import YunmoError
from yunmo.core.tasks import Sampling, Translate
from yunmo.engines.bergamot.sentences import MOST_TOKENS, sentences
from yunmo.engines.ctranslate2.kind import kind as ctranslate2
from yunmo.engines.transformers.kind import describe_directory
from yunmo.serving.hardware import find_hardware

NAME = "bench/en-pt"
TEXTS = 256
TOGETHER = 32
WRITTEN_TOKENS = 128
BEAMS = {"greedy": 1, "4 beams": 4}
CALIBRATION_SECONDS = 60.0
SETTLE_SECONDS = 1.0
"""The server works off what its clients have left behind."""


def main() -> None:
    warnings.simplefilter("ignore")
    options = _options()
    command = " ".join(["python", *sys.argv])
    keep("translation_http", command, _over_http(options), is_quick=options.quick)
    if options.marian:
        keep("translation_marian", command, _marian(options), is_quick=options.quick)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--clients", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--marian", type=Path, help="the directory of a Marian model in safetensors")
    parser.add_argument("--pairs", type=Path, help="its texts and their translations")
    parser.add_argument("--quick", action="store_true", help="a smoke run of one short round; nothing is kept in bench/results")
    options = parser.parse_args()
    if (options.marian is None) != (options.pairs is None):
        parser.error("--marian and --pairs go together")
    if options.quick:
        options.rounds, options.seconds = 1, 2.0
    return options


# ---------------------------------------------------------------- Bergamot


def _over_http(options: argparse.Namespace) -> dict[str, object]:
    from running import running_server

    directory = bergamot_directory()
    texts = _single_sentences()
    bodies = [{"inputs": text} for text in texts]
    ours: dict[int, list[dict[str, float]]] = {clients: [] for clients in options.clients}
    with tempfile.TemporaryDirectory() as data, running_server(Path(data)) as server:
        push_and_deploy(server, NAME, directory, pinned=True)
        plan = server.calibrate(NAME, CALIBRATION_SECONDS)["plan"]
        url = f"{server.url}/models/{NAME}"
        for _ in range(options.rounds):
            for clients, found in ours.items():
                before = _bare(directory, texts, plan["streams"], options.seconds / 2)
                used = _spent(server.process.pid)
                found.append(load(url, clients, options.seconds, bodies, server.headers))
                used = _spent(server.process.pid) - used
                time.sleep(SETTLE_SECONDS)
                after = _bare(directory, texts, plan["streams"], options.seconds / 2)
                rate = found[-1]["requests_per_second"]
                alone, alone_ms = ((one + other) / 2 for one, other in zip(before, after, strict=True))
                spent_ms = 1000 * used / (rate * options.seconds)
                found[-1] |= {"bare_per_second": alone, "share": rate / alone, "processor_ms": spent_ms, "bare_processor_ms": alone_ms}
    figures: dict[str, object] = {"plan": {name: plan[name] for name in ("engine", "precision", "streams", "threads", "slots")}}
    for clients, found in ours.items():
        figures[f"yunmo, {clients} clients"] = medians(found)
        shares = [each["share"] for each in found]
        figures[f"share of the bare engine, {clients} clients (median of the rounds')"] = round(statistics.median(shares), 3)
        figures[f"each round's share, {clients} clients"] = [round(share, 3) for share in shares]
    return figures


def _spent(process: int) -> float:
    """The processor time so far of a server and its workers, in seconds."""
    return sum(processor_seconds(process).values())


def _single_sentences() -> list[str]:
    """Real sentences, which the engine reads as one each, so that both translate the very same."""
    words = (text for text in unseen() if len(text.split()) < MOST_TOKENS / 2)
    return list(itertools.islice((text for text in words if len(sentences(text, "en", lambda part: len(part) // 4)[0]) == 1), TEXTS))


def _bare(directory: Path, texts: Sequence[str], threads: int, seconds: float) -> tuple[float, float]:
    """The library alone: sentences per second, and milliseconds of processor time a sentence.

    Each thread has a translator of its own, made before the clock runs.
    """
    from fxtranslate import Translator

    weights, vocabulary, shortlist = (next(directory.glob(name)).read_bytes() for name in ("model.*.bin", "vocab.*.spm", "lex.*.bin"))
    counts = [0] * threads
    began: list[float] = []
    ready = threading.Barrier(threads, action=lambda: began.extend((time.perf_counter(), time.process_time())))

    def work(place: int) -> None:
        translator = Translator(weights, vocabulary, vocabulary, shortlist)
        translator.translate(texts[place])
        ready.wait()
        for text in itertools.cycle(texts[place::threads]):
            if time.perf_counter() - began[0] >= seconds:
                return
            translator.translate(text)
            counts[place] += 1

    workers = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took, spent = time.perf_counter() - began[0], time.process_time() - began[1]
    return sum(counts) / took, 1000 * spent / sum(counts)


# ---------------------------------------------------------------- Marian


Write = Callable[[Sequence[str], int], list[str]]
"""Translate texts with so many beams."""


def _marian(options: argparse.Namespace) -> dict[str, object]:
    pairs = [line.split("\t") for line in options.pairs.read_text("utf-8").splitlines() if line.count("\t") == 1]
    texts, references = [source for source, _ in pairs], [target for _, target in pairs]
    if options.quick:
        texts, references = texts[:TOGETHER], references[:TOGETHER]
    figures: dict[str, object] = {"texts": len(texts)}
    with tempfile.TemporaryDirectory() as derived:
        peers = {"CTranslate2 int8": _ctranslate2(options.marian, Path(derived)), "transformers fp32": _transformers(options.marian)}
        for name, beams in BEAMS.items():
            for write in peers.values():
                write(texts[:TOGETHER], beams)
            rounds = [{peer: _timed(write, texts, beams) for peer, write in peers.items()} for _ in range(options.rounds)]
            rates = {peer: [len(texts) / each[peer][0] for each in rounds] for peer in peers}
            times = [ours / theirs for ours, theirs in zip(rates["CTranslate2 int8"], rates["transformers fp32"], strict=True)]
            scores = {peer: _chrf(rounds[0][peer][1], references) for peer in peers}
            figures |= {f"{peer}, {name}, sentences per second": round(statistics.median(found), 2) for peer, found in rates.items()}
            figures[f"CTranslate2 int8, times transformers fp32, {name}"] = round(statistics.median(times), 2)
            figures |= {f"{peer}, {name}, chrF2": round(score, 2) for peer, score in scores.items()}
            figures[f"chrF2 of CTranslate2 int8, less transformers fp32's, {name}"] = round(
                scores["CTranslate2 int8"] - scores["transformers fp32"], 2
            )
    return figures


def _timed(write: Write, texts: Sequence[str], beams: int) -> tuple[float, list[str]]:
    began = time.perf_counter()
    written = [found for first in range(0, len(texts), TOGETHER) for found in write(texts[first : first + TOGETHER], beams)]
    return time.perf_counter() - began, written


def _ctranslate2(directory: Path, derived: Path) -> Write:
    """Our engine, with the model converted as a deployment has it."""
    offer = ctranslate2.offer(describe_directory(directory), find_hardware())
    if offer is None:
        raise SystemExit(f"{directory} is no Marian model that CTranslate2 is given")
    plan: Plan = msgspec.structs.replace(offer.plan, precision="int8", slots=TOGETHER, batch_items=TOGETHER)
    engine = ctranslate2.load(directory, derived, plan, lambda _step, _share: None)

    def write(texts: Sequence[str], beams: int) -> list[str]:
        sampling = Sampling(max_tokens=WRITTEN_TOKENS, beams=beams)
        written = []
        for result in engine.run(0, [Translate(texts=(text,), sampling=sampling, truncate=True) for text in texts]):
            if isinstance(result, YunmoError):
                raise result
            written.append(result[0].texts[0])
        return written

    return write


def _transformers(directory: Path) -> Write:
    """The library's own `generate`, on a padded batch."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    torch.set_num_threads(find_hardware().cores)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float32).eval()
    model.generation_config.max_length = None  # the wish below is the one that counts
    most_tokens = min(WRITTEN_TOKENS, model.config.max_position_embeddings - 2)

    def write(texts: Sequence[str], beams: int) -> list[str]:
        inputs = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            tokens = model.generate(**inputs, num_beams=beams, do_sample=False, max_new_tokens=most_tokens)
        return [text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    return write


def _chrf(written: Sequence[str], references: Sequence[str]) -> float:
    from sacrebleu.metrics import CHRF

    return float(CHRF().corpus_score(list(written), [list(references)]).score)


if __name__ == "__main__":
    main()
