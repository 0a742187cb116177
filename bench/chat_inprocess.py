"""Chats through our llama.cpp engine beside the bare library, in one process on one loaded model.

SmolLM2-135M-Instruct, eight chats at once, 64 tokens each. The rounds alternate, so that a busy machine slows both; the
processor's time per token is told too, since it hardly depends on what else runs.

    python bench/chat_inprocess.py [--rounds 5] [--chats 8] [--tokens 64]
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from yunmo.cli.starter import DEFAULT_CACHE, catalogue, fetch
from yunmo.core.engine import Hardware, ModelDescription
from yunmo.core.tasks import Chat, Message, Sampling
from yunmo.core.usage import Usage
from yunmo.engines.llama_cpp.engine import LlamaCppEngine
from yunmo.engines.llama_cpp.kind import kind

END_OF_TURN = 2
TOPICS = ("the sea", "bread", "mountains", "trains", "winter", "bees", "music", "glass", "rivers", "clocks", "salt", "kites")


class Round(NamedTuple):
    """What one round measured."""

    tokens_per_second: float
    processor_milliseconds_per_token: float
    first_token_seconds: float


def main() -> None:
    options = _options()
    directory = fetch(catalogue().model("SmolLM2-135M-Instruct"), options.cache)
    files = {path.name: path.stat().st_size for path in directory.iterdir()}
    model = ModelDescription(repository="library/smollm2", revision="0" * 40, files=files)
    offer = kind.offer(model, Hardware(cores=os.cpu_count() or 1, memory_bytes=16 << 30))
    assert offer is not None
    plan = msgspec.structs.replace(offer.plan, slots=options.chats, context_tokens=1024)
    with tempfile.TemporaryDirectory() as derived:
        engine = kind.load(directory, Path(derived), plan, silent)
    assert isinstance(engine, LlamaCppEngine)
    ways: dict[str, Callable[[int], Round]] = {
        "bare xllamacpp": lambda seed: bare(engine, options, seed),
        "our engine": lambda seed: asyncio.run(_ours(engine, options, seed)),
    }
    found: dict[str, list[Round]] = {name: [] for name in ways}
    for seed in range(options.rounds + 1):
        for name, way in ways.items():
            measured = way(seed)
            if seed:  # the first round warms up
                found[name].append(measured)
    asyncio.run(engine.close())
    _report(found, options)


def silent(step: str, share: float) -> None:
    """Tell nobody about loading."""
    del step, share


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chats", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    return parser.parse_args()


def question(number: int, seed: int) -> str:
    return f"Tell me something long about {TOPICS[(number + seed) % len(TOPICS)]} and about the number {number + 100 * seed}."


def bare(engine: LlamaCppEngine, options: argparse.Namespace, seed: int) -> Round:
    """The library as its documentation shows it: a thread per chat, chunks as dictionaries to a callback that only looks at the time."""
    library = engine._server._server  # noqa: SLF001 - the very same loaded model
    firsts: list[float] = []
    counts: list[int] = []

    def chat(number: int) -> None:
        times: list[float] = []

        def on_chunk(chunk: dict[str, object]) -> None:
            times.append(time.perf_counter())
            usage = chunk.get("usage")
            if isinstance(usage, dict):
                counts.append(usage["completion_tokens"])

        library.handle_chat_completions(
            {
                "messages": [{"role": "user", "content": question(number, 2 * seed)}],
                "max_tokens": options.tokens,
                "logit_bias": [[END_OF_TURN, -100.0]],
                "stream": True,
                "stream_options": {"include_usage": True},
            },
            on_chunk,
        )
        firsts.append(times[1] - start)  # the first chunk only names the role

    start, processor = time.perf_counter(), time.process_time()
    threads = [threading.Thread(target=chat, args=(number,)) for number in range(options.chats)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return round_of(start, processor, sum(counts), firsts)


async def _ours(engine: LlamaCppEngine, options: argparse.Namespace, seed: int) -> Round:
    """The same chats as an application would get them from the engine: as typed deltas on the event loop."""
    firsts: list[float] = []
    start, processor = time.perf_counter(), time.process_time()

    async def chat(number: int) -> int:
        sampling = Sampling(max_tokens=options.tokens, logit_bias={str(END_OF_TURN): -100.0})
        first, written = True, 0
        async for item in engine.stream(Chat(messages=(Message("user", question(number, 2 * seed + 1)),), sampling=sampling)):
            if isinstance(item, Usage):
                written = item.output_tokens
            elif first:
                firsts.append(time.perf_counter() - start)
                first = False
        return written

    counts = await asyncio.gather(*(chat(number) for number in range(options.chats)))
    return round_of(start, processor, sum(counts), firsts)


def round_of(start: float, processor: float, tokens: int, firsts: list[float]) -> Round:
    return Round(
        tokens / (time.perf_counter() - start),
        1000 * (time.process_time() - processor) / tokens,
        statistics.median(firsts),
    )


def _report(found: dict[str, list[Round]], options: argparse.Namespace) -> None:
    print(f"SmolLM2-135M-Instruct Q4_1, {options.chats} chats at once, {options.tokens} tokens each, medians of {options.rounds} rounds")
    print(f"{'':16}{'tokens/s':>10}{'CPU ms/token':>14}{'first token s':>15}")
    medians = {name: Round(*(statistics.median(each) for each in zip(*rounds, strict=True))) for name, rounds in found.items()}
    for name, median in medians.items():
        print(f"{name:16}{median.tokens_per_second:10.1f}{median.processor_milliseconds_per_token:14.2f}{median.first_token_seconds:15.2f}")
    bare, ours = medians.values()
    print(f"our share of the bare speed: {100 * ours.tokens_per_second / bare.tokens_per_second:.1f} %")


if __name__ == "__main__":
    main()
