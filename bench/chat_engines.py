"""Decoders side by side in one process: llama.cpp and OpenVINO GenAI on SmolLM2-135M-Instruct, with company and alone.

Every request has a prompt of 128 tokens of its own and writes up to 64. The engines take turns in every round, so that
what else the machine does falls on both: read the ratios. Kept in bench/results/chat_engines.json.

    python bench/chat_engines.py [--rounds 3] [--clients 1 8 16]
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from harness import keep
from starter_safetensors import write_smollm2
from yunmo.cli.starter import DEFAULT_CACHE, catalogue, fetch
from yunmo.core.engine import Engine, Hardware, ModelDescription, Plan
from yunmo.core.tasks import Generate, Sampling
from yunmo.core.usage import Usage
from yunmo.engines.llama_cpp.kind import kind as llama_cpp
from yunmo.engines.openvino_genai.kind import kind as openvino_genai

PROMPT_TOKENS, REPLY_TOKENS = 128, 64
CONTEXT_TOKENS = 512
MACHINE = Hardware(cores=2, memory_bytes=16 << 30)


class Round(NamedTuple):
    """What one round measured."""

    tokens_per_second: float
    first_token_seconds: float


def main() -> None:
    options = _options()
    directory = fetch(catalogue().model("SmolLM2-135M-Instruct"), options.cache)
    with tempfile.TemporaryDirectory() as made:
        figures = asyncio.run(_measured(directory, Path(made), options))
    keep("chat_engines", " ".join(["python", *sys.argv]), figures)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 16])
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    return parser.parse_args()


async def _measured(directory: Path, made: Path, options: argparse.Namespace) -> dict[str, Any]:
    slots = max(options.clients)
    engines = {name: _loaded(name, directory, made, slots) for name in ("llama_cpp Q8_0", "openvino_genai int8")}
    for engine in engines.values():
        await _round(engine, 2, 0)  # warms up
    found: dict[str, Any] = {"prompt_tokens": PROMPT_TOKENS, "reply_tokens": REPLY_TOKENS, "rounds": options.rounds}
    for clients in options.clients:
        rounds: dict[str, list[Round]] = {name: [] for name in engines}
        for seed in range(1, options.rounds + 1):
            for name, engine in engines.items():
                rounds[name].append(await _round(engine, clients, seed))
        found[f"{clients} clients"] = {name: _median(measured) for name, measured in rounds.items()}
        print(clients, "clients:", found[f"{clients} clients"], flush=True)
    for engine in engines.values():
        await engine.close()
    return found


def _loaded(name: str, directory: Path, made: Path, slots: int) -> Engine:
    plan = {"slots": slots, "threads": MACHINE.cores, "context_tokens": CONTEXT_TOKENS}
    if name.startswith("openvino"):
        repository = write_smollm2(next(directory.glob("*.gguf")), made / "safetensors")
        return openvino_genai.load(repository, made / "derived", Plan(engine="openvino_genai", precision="int8", **plan), _silent)
    sizes = {path.name: path.stat().st_size for path in directory.iterdir()}
    offer = llama_cpp.offer(ModelDescription(repository="library/smollm2", revision="0" * 40, files=sizes), MACHINE)
    assert offer is not None
    return llama_cpp.load(directory, made / "derived", msgspec.structs.replace(offer.plan, precision=name.split()[1], **plan), _silent)


def _silent(step: str, share: float) -> None:
    """Tell nobody about loading."""
    del step, share


async def _round(engine: Engine, clients: int, seed: int) -> Round:
    start = time.perf_counter()
    firsts: list[float] = []

    async def ask(number: int) -> int:
        source = random.Random(f"{clients} {seed} {number}")
        request = Generate(
            prompt=tuple(source.randrange(1000, 40000) for _ in range(PROMPT_TOKENS)),
            sampling=Sampling(max_tokens=REPLY_TOKENS, temperature=0.0),
        )
        is_first, written = True, 0
        async for item in engine.stream(request):
            if isinstance(item, Usage):
                written = item.output_tokens
            elif is_first:
                firsts.append(time.perf_counter() - start)
                is_first = False
        return written

    written = sum(await asyncio.gather(*(ask(number) for number in range(clients))))
    return Round(written / (time.perf_counter() - start), statistics.median(firsts))


def _median(rounds: list[Round]) -> dict[str, float]:
    speeds, firsts = zip(*rounds, strict=True)
    return {"tokens_per_second": round(statistics.median(speeds), 1), "first_token_seconds": round(statistics.median(firsts), 3)}


if __name__ == "__main__":
    main()
