"""Chats over OpenAI's HTTP, streaming, beside the bare engine on the same model in the same run.

SmolLM2-135M-Instruct, eight clients, 64 tokens each; the rounds alternate.

    python bench/chat_http.py [--rounds 3] [--chats 8] [--tokens 64]
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec

from chat_inprocess import END_OF_TURN, bare, question, silent
from harness import keep

NAME = "bench/smollm2"


def main() -> None:
    from huggingface_hub import HfApi

    from running import running_server
    from starter_models import smollm2_directory

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chats", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()
    directory = smollm2_directory()
    with tempfile.TemporaryDirectory() as data, running_server(Path(data)) as server:
        hub = HfApi(endpoint=server.url, token=server.key)
        hub.create_repo(NAME)
        hub.upload_folder(folder_path=str(directory), repo_id=NAME)
        plan = server.deploy(NAME, pinned=True, options={"slots": options.chats, "context_tokens": 1024})["plan"]
        engine = _engine(directory, Path(data) / "bare", plan)
        rates: dict[str, list[float]] = {"over HTTP": [], "bare engine": []}
        firsts: list[float] = []
        for seed in range(options.rounds + 1):
            tokens_per_second, first = asyncio.run(_over_http(server.url, server.headers, options, seed))
            bare_round = bare(engine, options, seed)
            if seed:  # the first round warms up
                rates["over HTTP"].append(tokens_per_second)
                firsts.append(first)
                rates["bare engine"].append(bare_round.tokens_per_second)
        asyncio.run(engine.close())
    medians = {name: round(statistics.median(found), 1) for name, found in rates.items()}
    share = round(medians["over HTTP"] / medians["bare engine"], 3)
    figures = {"clients": options.chats, "tokens per second": medians, "share of the bare engine": share}
    keep("chat_http", "python bench/chat_http.py", figures | {"median first token over HTTP, s": round(statistics.median(firsts), 2)})


def _engine(directory: Path, derived: Path, plan: dict[str, Any]) -> Any:
    from yunmo.core.engine import Plan
    from yunmo.engines.llama_cpp.kind import kind

    derived.mkdir()
    return kind.load(directory, derived, msgspec.convert(plan, Plan), silent)


async def _over_http(url: str, headers: dict[str, str], options: argparse.Namespace, seed: int) -> tuple[float, float]:
    """Aggregate tokens per second and the median time to the first token."""
    firsts: list[float] = []
    began = time.perf_counter()

    async def chat(client: httpx.AsyncClient, number: int) -> int:
        body = {
            "model": NAME,
            "messages": [{"role": "user", "content": question(number, 2 * seed + 1)}],
            "max_tokens": options.tokens,
            "logit_bias": {str(END_OF_TURN): -100},
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        tokens, is_first = 0, True
        async with client.stream("POST", f"{url}/v1/chat/completions", json=body, headers=headers) as reply:
            async for line in reply.aiter_lines():
                if is_first and '"content":"' in line and '"content":""' not in line:
                    firsts.append(time.perf_counter() - began)
                    is_first = False
                if '"usage":{' in line:
                    tokens = json.loads(line.removeprefix("data: "))["usage"]["completion_tokens"]
        return tokens

    async with httpx.AsyncClient(timeout=300) as client:
        counts = await asyncio.gather(*(chat(client, number) for number in range(options.chats)))
    return sum(counts) / (time.perf_counter() - began), statistics.median(firsts)


if __name__ == "__main__":
    main()
