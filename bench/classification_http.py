"""Classification over HTTP, one text a request, mixed lengths, beside the same plan in process and FastAPI + pipeline.

MiniLM, or an encoder of BERT-base's size (`bert_base.py`).
A sentiment head is trained first (`examples/sentiment`), so that label agreement with PyTorch fp32 means something: it is
measured over HTTP on 2,000 film-review snippets that training did not see. The plan is the one that calibration chooses.
In every round the plan runs in process before and after the windows over HTTP, so that a machine that slows down slows both.

    python bench/classification_http.py [--model bert-base] [--rounds 5] [--seconds 8] [--clients 32 64]
"""

import argparse
import asyncio
import dataclasses
import os
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from bare_encoder import BareEncoder, fp32_labels, gflop_per_text, peak
from harness import ROOT, free_port, keep, load, medians, processor_seconds, program, push_and_deploy
from sentiment import SNIPPETS, trained, unseen
from yunmo.core.tasks import Classify

TEXTS = 256
CALIBRATION_SECONDS = {"minilm": 120.0, "bert-base": 300.0}
PEER_WINDOWS = {"minilm": 1, "bert-base": 3}
"""A slow peer's window is longer, since wrk leaves out what is under way at its end."""

SETTLE_SECONDS = 3.0
"""The peer works off what its clients have left behind, and its threads stop spinning."""

NAME = "bench/sentiment"
MODELS = {"minilm": "classification_http", "bert-base": "classification_http_bert_base"}
"""The names of the results."""


def main() -> None:
    from running import running_server

    warnings.simplefilter("ignore")
    options = _options()
    directory = _model(options.model)
    snippets = unseen()[: options.snippets]
    bodies = [{"inputs": text} for text in mixed(unseen())]
    port = free_port()
    peer = f"http://127.0.0.1:{port}/"
    rounds: list[_Round] = []
    with tempfile.TemporaryDirectory() as data, running_server(Path(data)) as server:
        push_and_deploy(server, NAME, directory, pinned=True)
        plan = server.calibrate(NAME, CALIBRATION_SECONDS[options.model])["plan"]
        requests = [Classify(texts=(body["inputs"],)) for body in bodies]
        engine = BareEncoder(directory, next((server.data / "cache" / "derived").glob("*/onnx")), plan, requests)
        url = f"{server.url}/models/{NAME}"
        agreement = _agreement(directory, snippets, asyncio.run(_labels(url, server.headers, snippets)))
        with program([sys.executable, str(ROOT / "bench/peers/servers/fastapi_pipeline.py"), str(port), str(directory)], peer):
            for _ in range(options.rounds):
                before = engine.throughput(options.seconds / 2)
                ours, shares = {}, {}
                for clients in options.clients:
                    used = processor_seconds(server.process.pid)
                    ours[clients] = load(url, clients, options.seconds, bodies, server.headers)
                    shares[clients] = _share_of_gateway(used, processor_seconds(server.process.pid), server.process.pid)
                alone = (before + engine.throughput(options.seconds / 2)) / 2
                single, one = engine.single_call_ms(), load(url, 1, options.seconds / 2, bodies, server.headers)
                theirs = load(peer, options.clients[0], options.seconds * PEER_WINDOWS[options.model], bodies, {})
                rounds.append(_Round(ours, shares, alone, single, one, theirs))
                httpx.post(peer, json=bodies[0], timeout=120)
                time.sleep(SETTLE_SECONDS)
        engine.close()
    figures = (
        _figures(rounds, plan) | agreement | _of_the_peak(rounds, plan, gflop_per_text(directory, [body["inputs"] for body in bodies]))
    )
    keep(MODELS[options.model], " ".join(["python", *sys.argv]), figures, is_quick=options.quick)


def _model(name: str) -> Path:
    if name == "minilm":
        return trained()
    from bert_base import bert_base

    return bert_base()


@dataclasses.dataclass(frozen=True)
class _Round:
    """What one round measured; `ours` and `gateway_shares` by number of clients."""

    ours: dict[int, dict[str, float]]
    gateway_shares: dict[int, float]
    in_process: float
    single_call_ms: float
    one_client: dict[str, float]
    peer: dict[str, float]


def _figures(rounds: Sequence[_Round], plan: dict[str, object]) -> dict[str, object]:
    found: dict[str, object] = {"plan": {name: plan[name] for name in ("engine", "format", "precision", "streams", "threads", "slots")}}
    for clients in rounds[0].ours:
        shares = [each.ours[clients]["requests_per_second"] / each.in_process for each in rounds]
        found |= {
            f"yunmo, {clients} clients": medians([each.ours[clients] for each in rounds]),
            f"share of in-process throughput, {clients} clients (median of the rounds')": round(statistics.median(shares), 3),
            f"each round's share, {clients} clients": [round(share, 3) for share in shares],
            f"gateway's and wire's share of the processor time, {clients} clients": round(
                statistics.median(each.gateway_shares[clients] for each in rounds), 3
            ),
        }
    first = next(iter(rounds[0].ours))
    p50s = [each.one_client["p50_ms"] / each.single_call_ms for each in rounds]
    times = [each.ours[first]["requests_per_second"] / rate for each in rounds if (rate := each.peer["requests_per_second"])]
    if times:
        found["times FastAPI + pipeline"] = round(statistics.median(times), 2)
    return found | {
        "the same plan in process, texts per second": round(statistics.median(each.in_process for each in rounds), 1),
        "yunmo, 1 client": medians([each.one_client for each in rounds]),
        "p50 of 1 client, times a single call in process": round(statistics.median(p50s), 2),
        f"FastAPI + transformers pipeline, {first} clients": medians([each.peer for each in rounds]),
    }


def _of_the_peak(rounds: Sequence[_Round], plan: dict[str, Any], gflop: float) -> dict[str, object]:
    """What share of the machine's matrix products the texts' own tokens were, in the best number of clients and in process."""
    name, limit = peak(plan["precision"])
    rates = {f"{clients} clients": [each.ours[clients]["requests_per_second"] for each in rounds] for clients in rounds[0].ours}
    rates["in process"] = [each.in_process for each in rounds]
    shares = {where: round(100 * statistics.median(found) * gflop / limit, 1) for where, found in rates.items()}
    return {"useful GFLOP a text": round(gflop, 3), f"% of the measured peak of {limit:g} {name}": shares}


def _share_of_gateway(before: dict[tuple[int, int], float], after: dict[tuple[int, int], float], server: int) -> float:
    """The processor time of the server's process and of the workers' first threads (the wire), as a share of all that is Yunmo's."""
    spent = {thread: seconds - before.get(thread, 0.0) for thread, seconds in after.items()}
    return sum(seconds for (process, thread), seconds in spent.items() if process in (server, thread)) / sum(spent.values())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(MODELS), default="minilm")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--clients", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--quick", action="store_true", help="a smoke run of one short round; nothing is kept in bench/results")
    options = parser.parse_args()
    options.snippets = SNIPPETS
    if options.quick:
        options.rounds, options.seconds, options.snippets = 1, 2.0, 32  # wrk takes whole seconds, and halves are asked of it
    return options


def mixed(snippets: list[str], count: int = TEXTS) -> list[str]:
    """Texts of 8 to about 128 words' worth of tokens, log-normal around 36, cut from the snippets."""
    source = random.Random(7)
    words = " ".join(snippets).split()
    texts = []
    for _ in range(count):
        length = int(min(110, max(6, source.lognormvariate(3.3, 0.6))))
        begin = source.randrange(len(words) - length)
        texts.append(" ".join(words[begin : begin + length]))
    return texts


async def _labels(url: str, headers: dict[str, str], snippets: list[str]) -> list[str]:
    """The best label of each snippet, as a client gets it."""
    turn = asyncio.Semaphore(16)

    async def one(client: httpx.AsyncClient, text: str) -> str:
        async with turn:
            reply = await client.post(url, json={"inputs": text}, headers=headers)
            reply.raise_for_status()
            return str(reply.json()[0][0]["label"])

    async with httpx.AsyncClient(timeout=60) as client:
        return await asyncio.gather(*(one(client, text) for text in snippets))


def _agreement(directory: Path, snippets: list[str], found: list[str]) -> dict[str, float]:
    same = sum(label == other for label, other in zip(found, fp32_labels(directory, snippets), strict=True))
    return {f"label agreement with fp32 on {len(snippets)} snippets": same / len(snippets)}


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
