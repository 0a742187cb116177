"""Chats that stream: every client asks at the same moment, greedy; short prompts, prompts of 128 tokens, and a long prefix that all share."""

import asyncio
import functools
import json
import random
import time
from collections.abc import Sequence

from chat_inprocess import TOPICS
from peers import models
from peers.client import Connection
from peers.effort import Effort
from peers.loads.measured import Measured
from peers.sides import Side

PROMPT_TOKENS, PREFIX_TOKENS = 128, 512
SHAPES = ("short", f"{PROMPT_TOKENS} tokens", "shared prefix")
_TOO_SLOW_SECONDS = 20.0
"""After a window of this length, more clients are not tried with this kind of prompt."""
_ALONE_REQUESTS = 3
"""One client asks several times in a window, or a window would be a fraction of a second."""


async def measure(sides: Sequence[Side], effort: Effort, round_number: int) -> Measured:
    """Output tokens per second of all clients together, and every request's time to its first token."""
    found: Measured = {}
    for shape in SHAPES:
        for side in sides:
            await window(side, [prompt(shape, "warm", number) for number in range(2)], 2, effort.chat_tokens)
        slowest = 0.0
        for clients in effort.chat_clients:
            if clients > min(side.most_chat_clients for side in sides) or slowest > _TOO_SLOW_SECONDS:
                continue
            requests = clients if clients > 1 else _ALONE_REQUESTS
            prompts = [prompt(shape, f"{round_number} {clients}", number) for number in range(requests)]
            cell = found.setdefault(f"{shape}, {clients} clients", {})
            for side in sides:
                began = time.perf_counter()
                cell[side.name] = await window(side, prompts, clients, effort.chat_tokens)
                slowest = max(slowest, time.perf_counter() - began)
    return found


async def window(side: Side, prompts: Sequence[str], clients: int, tokens: int) -> dict[str, float | list[float]]:
    """So many clients ask all prompts; tokens per second of all together, and each request's seconds to its first token."""
    began, processor = time.perf_counter(), time.process_time()
    waiting = list(prompts)
    streams: list[_Stream] = []

    async def client() -> None:
        connection = Connection(side.port)
        while waiting:
            stream = _Stream()
            reply = await connection.ask(side.chat(waiting.pop(), tokens), stream.observe)
            stream.is_ok = reply.is_ok
            streams.append(stream)
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    took = time.perf_counter() - began
    good = [stream for stream in streams if stream.is_ok and stream.first is not None]
    return {
        "tokens_per_second": sum(stream.tokens for stream in good) / took,
        "first_token_seconds": [round(stream.first, 4) for stream in good if stream.first is not None],
        "tokens": sum(stream.tokens for stream in good),
        "failed": len(streams) - len(good),
        "client_share_of_a_core": (time.process_time() - processor) / took,
    }


class _Stream:
    """Reads server-sent events as they come: when the first text came, and how many tokens there were."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.is_ok = False
        self._began = time.perf_counter()
        self._rest = b""
        self._pieces = 0
        self._told: int | None = None

    @property
    def tokens(self) -> int:
        """As the server counts them, or else the pieces of text that came."""
        return self._pieces if self._told is None else self._told

    def observe(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                self._event(json.loads(line[6:]))

    def _event(self, event: dict) -> None:
        if any((choice.get("delta") or {}).get("content") for choice in event.get("choices") or ()):
            self._pieces += 1
            if self.first is None:
                self.first = time.perf_counter() - self._began
        if event.get("usage"):
            self._told = event["usage"]["completion_tokens"]


def prompt(shape: str, kind: str, number: int) -> str:
    """A question that nobody asked before in this run, whatever stands before it."""
    source = random.Random(f"{shape} {kind} {number}")
    question = f"Tell me something long about {source.choice(TOPICS)} and about the number {source.randrange(10**6)}."
    if shape == SHAPES[0]:
        return question
    if shape == SHAPES[1]:
        return f"{source.randrange(10**6)} {_prose(PROMPT_TOKENS, source.randrange(10**6))} {question}"
    return f"{_prose(PREFIX_TOKENS, 0)} {question}"


@functools.cache
def _tokenizer():
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(models.chat() / "tokenizer.json"))


def _prose(tokens: int, seed: int) -> str:
    """Sentences of the encoders' texts, in an order of their own, cut to so many tokens."""
    texts = list(models.texts())
    random.Random(seed).shuffle(texts)
    return _tokenizer().decode(_tokenizer().encode(" ".join(texts[:60])).ids[:tokens])
