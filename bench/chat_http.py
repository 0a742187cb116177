"""Chats over OpenAI's HTTP, streaming, beside the bare libraries: OpenVINO GenAI's continuous batching and llama.cpp, in the same rounds.

SmolLM2-135M-Instruct, prompts of 128 tokens of their own (and a question), up to 64 written, greedy; all clients ask at the same
moment, so the rate counts the reading of prompts. Yunmo serves with the plan that calibration chose. The bare libraries have the
same eight-bit weights, as many places as there are clients at most, and neither HTTP nor text to make of tokens. Each round takes
the three in another order. The bar is the better library.

    python bench/chat_http.py [--rounds 5] [--clients 8 16] [--tokens 64]
"""

import argparse
import asyncio
import functools
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from harness import free_port, keep
from peers import models, ours
from peers.loads import chat
from peers.sides import Side

SHAPE = chat.SHAPES[1]
CONTEXT_TOKENS = 1024
STOP = 2
CORES = len(os.sched_getaffinity(0))
YUNMO, OPENVINO, LLAMA_CPP = "yunmo over HTTP", "bare OpenVINO GenAI, int8", "bare llama.cpp, Q8_0"


class Window(NamedTuple):
    """What one window measured; `firsts` are seconds to each request's first token."""

    tokens_per_second: float
    firsts: list[float]


def main() -> None:
    options = _options()
    prepared = ours.prepare("chat")
    found = asyncio.run(_measured(prepared, options))
    figures: dict[str, Any] = {"plan": prepared.plans[ours.CHAT], "prompts": f"{SHAPE} and a question", "tokens written": options.tokens}
    for clients in options.clients:
        figures |= _figures(found[clients], clients)
    keep("chat_http", " ".join(["python", *sys.argv]), figures, is_quick=options.quick)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--quick", action="store_true", help="a smoke run of one short round; nothing is kept in bench/results")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.clients, options.tokens = 1, [2], 8
    return options


async def _measured(prepared: ours.Prepared, options: argparse.Namespace) -> dict[int, list[dict[str, Window]]]:
    """The windows of each way by number of clients and round."""
    slots = max(options.clients)
    openvino, llama_cpp = BareOpenVino(slots), BareLlamaCpp(slots)
    found: dict[int, list[dict[str, Window]]] = {clients: [] for clients in options.clients}
    async with ours.started(prepared) as side:
        ways = {
            YUNMO: functools.partial(_over_http, side),
            OPENVINO: functools.partial(asyncio.to_thread, openvino.window),
            LLAMA_CPP: functools.partial(asyncio.to_thread, llama_cpp.window),
        }
        for clients in options.clients:
            for number in range(options.rounds + 1):
                prompts = [chat.prompt(SHAPE, f"beside the bare, round {number}, {clients} clients", each) for each in range(clients)]
                order = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
                windows = {name: await ways[name](prompts, options.tokens) for name in order}
                if number:  # the first round warms up
                    found[clients].append(windows)
                    print(clients, "clients:", {name: round(each.tokens_per_second, 1) for name, each in windows.items()}, flush=True)
    return found


async def _over_http(side: Side, prompts: Sequence[str], tokens: int) -> Window:
    found = await chat.window(side, prompts, len(prompts), tokens)
    if found["failed"]:
        raise SystemExit(f"{found['failed']} of {len(prompts)} chats over HTTP failed")
    return Window(found["tokens_per_second"], found["first_token_seconds"])


class BareOpenVino:
    """The continuous batching pipeline as its documentation shows it: requests are added, then it is stepped until all are over."""

    def __init__(self, slots: int) -> None:
        import jinja2
        import openvino_genai
        from tokenizers import Tokenizer

        self._library = openvino_genai
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = 1
        scheduler.max_num_seqs = slots
        scheduler.enable_prefix_caching = True
        directory = models.chat_openvino()
        properties = {"INFERENCE_NUM_THREADS": CORES}
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(str(directory), scheduler, "CPU", properties)
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._template = jinja2.Template(json.loads((directory / "tokenizer_config.json").read_text())["chat_template"])
        self._requests = 0

    def window(self, prompts: Sequence[str], tokens: int) -> Window:
        """All prompts at once."""
        began = time.perf_counter()
        handles = [self._add(prompt, tokens) for prompt in prompts]
        firsts: dict[int, float] = {}
        written = 0
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
            for number, handle in enumerate(handles):
                while handle.can_read():
                    written += sum(len(output.generated_ids) for output in handle.read().values())
                    firsts.setdefault(number, time.perf_counter() - began)
        return Window(written / (time.perf_counter() - began), list(firsts.values()))

    def _add(self, prompt: str, tokens: int) -> Any:
        import numpy as np
        import openvino as ov

        self._requests += 1
        messages = [{"role": "user", "content": prompt}]
        text = self._template.render(messages=messages, add_generation_prompt=True, bos_token="", eos_token="")
        ids = ov.Tensor(np.asarray([self._tokenizer.encode(text, add_special_tokens=False).ids], np.int64))
        config = self._library.GenerationConfig(max_new_tokens=tokens, do_sample=False, stop_token_ids={STOP}, eos_token_id=STOP)
        return self._pipeline.add_request(self._requests, ids, config)


class BareLlamaCpp:
    """The library as its documentation shows it: a thread per chat, chunks as dictionaries to a callback."""

    def __init__(self, slots: int) -> None:
        import xllamacpp

        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(models.chat_gguf())
        parameters.port = free_port()
        parameters.n_parallel = slots
        parameters.n_ctx = slots * CONTEXT_TOKENS
        parameters.cpuparams.n_threads = CORES
        parameters.cpuparams_batch.n_threads = CORES
        parameters.verbosity = -1
        self._server = xllamacpp.Server(parameters)

    def window(self, prompts: Sequence[str], tokens: int) -> Window:
        """All prompts at once."""
        firsts: list[float] = []
        counts: list[int] = []
        began = time.perf_counter()
        threads = [threading.Thread(target=self._chat, args=(prompt, tokens, _reader(began, firsts, counts))) for prompt in prompts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(counts) < len(prompts):
            raise SystemExit(f"{len(prompts) - len(counts)} of {len(prompts)} chats of bare llama.cpp failed")
        return Window(sum(counts) / (time.perf_counter() - began), firsts)

    def _chat(self, prompt: str, tokens: int, on_chunk: Callable[[dict[str, Any]], None]) -> None:
        body = {
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        self._server.handle_chat_completions(body, on_chunk)


def _reader(began: float, firsts: list[float], counts: list[int]) -> Callable[[dict[str, Any]], None]:
    """What notes one chat's first text and its tokens."""
    is_first = True

    def on_chunk(chunk: dict[str, Any]) -> None:
        nonlocal is_first
        if is_first and any((choice.get("delta") or {}).get("content") for choice in chunk.get("choices") or ()):
            firsts.append(time.perf_counter() - began)
            is_first = False
        if chunk.get("usage"):
            counts.append(chunk["usage"]["completion_tokens"])

    return on_chunk


def _figures(rounds: Sequence[dict[str, Window]], clients: int) -> dict[str, Any]:
    rates = {name: statistics.median(each[name].tokens_per_second for each in rounds) for name in (YUNMO, OPENVINO, LLAMA_CPP)}
    best = max((OPENVINO, LLAMA_CPP), key=rates.__getitem__)
    shares = [each[YUNMO].tokens_per_second / each[best].tokens_per_second for each in rounds]
    firsts = {name: statistics.median(first for each in rounds for first in each[name].firsts) for name in rates}
    return {
        f"tokens per second, {clients} clients": {name: round(rate, 1) for name, rate in rates.items()},
        f"median seconds to the first token, {clients} clients": {name: round(first, 3) for name, first in firsts.items()},
        f"share of the better bare engine, {clients} clients (median of the rounds')": round(statistics.median(shares), 3),
        f"the better bare engine, {clients} clients": best,
        f"each round's share, {clients} clients": [round(share, 3) for share in shares],
    }


if __name__ == "__main__":
    main()
