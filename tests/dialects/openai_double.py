"""An in-memory cloud that echoes: the contract of `Inference`, without processes or models."""

import asyncio
import io
import json
import math
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import httpx
import msgspec
import numpy as np

from yunmo.core.errors import EngineFailed, ModelNotFound, RateLimited, Unauthenticated, Unsupported, YunmoError
from yunmo.core.identity import Principal
from yunmo.core.tasks import (
    Chat,
    Classify,
    Embed,
    Generate,
    Label,
    Labels,
    Output,
    Request,
    Speak,
    Speech,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Transcribe,
    TranscriptSegment,
    Vector,
    Vectors,
    Word,
    fold,
    task_name,
)
from yunmo.core.usage import Usage
from yunmo.web.app import App
from yunmo.web.dialects.openai.dialect import OpenAIDialect
from yunmo.web.metrics import Metrics

LOOKS_AT_A_COLD_MODEL = 2
REVISION = "0123456789abcdef0123456789abcdef01234567"
KEY = "sk-good"
BLIND_KEY = "sk-without-scopes"
PRINCIPALS = {
    KEY: Principal(project="acme", key_id="k1", scopes=frozenset({"infer"})),
    BLIND_KEY: Principal(project="acme", key_id="k2", scopes=frozenset()),
}


@dataclass
class Rates:
    limit_requests: int | None = 60
    remaining_requests: int | None = 59
    reset_requests_seconds: float | None = 1.0
    limit_tokens: int | None = 1000
    remaining_tokens: int | None = 990
    reset_tokens_seconds: float | None = 0.6


@dataclass
class Served:
    name: str
    tasks: tuple[str, ...]
    repository: str = "acme/echo"
    revision: str = REVISION
    pipeline_tag: str | None = None
    state: str = "ready"
    created: int = 1_760_000_000
    owner: str = "acme"


COLD = {name: Served(name, ("chat", "generate"), state="idle") for name in ("cold", "cold-broken")}


@dataclass
class Answering:
    """An answer that is made chunk by chunk while it is read."""

    served: Served
    request: Request
    chunks: list[Output | YunmoError | asyncio.Event]
    final_usage: Usage
    rates: Rates | None
    attempts: int = 1
    usage: Usage = field(default_factory=Usage)
    closed: int = 0
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    looks: int = 0

    @property
    def is_ready(self) -> bool:
        return self.loaded.is_set()

    @property
    def doing(self) -> str:
        self.looks += 1
        if self.looks == LOOKS_AT_A_COLD_MODEL:
            self.loaded.set()
        return f"loading {self.looks}0% exporting\n to ONNX"

    async def ready(self) -> None:
        await self.loaded.wait()
        if self.chunks and isinstance(self.chunks[0], YunmoError):
            raise self.chunks[0]

    async def __aiter__(self) -> AsyncIterator[Output]:
        for chunk in self.chunks:
            if isinstance(chunk, asyncio.Event):
                await chunk.wait()
                continue
            if isinstance(chunk, YunmoError):
                raise chunk
            yield chunk
        self.usage = self.final_usage

    async def whole(self) -> Output:
        try:
            await self.ready()
            return fold(self.request, [chunk async for chunk in self])
        finally:
            await self.close()

    async def close(self) -> None:
        self.closed += 1


class EchoInference:
    """Answers every request with itself.

    The models `limited-once` and `broken` fail as they are called; `cold…` ones are loaded while somebody watches.
    """

    def __init__(self) -> None:
        tasks = ("chat", "generate", "embed", "classify", "transcribe", "speak")
        self.served = {name: Served(name, tasks) for name in ("echo", "acme/echo", "limited-once", "moderation", "broken")}
        self.served["words-only"] = Served("words-only", ("chat",))
        self.begun: list[Answering] = []
        self.rates: Rates | None = Rates()
        self.error: YunmoError | None = None
        self.extra_chunks: list[asyncio.Event] = []
        self._limited: set[bytes] = set()

    async def find(self, _principal: Principal, model: str) -> Served:
        served = self.served.get(model.partition("@")[0]) or COLD.get(model)
        if served is None:
            raise ModelNotFound(f"There is no model '{model}'.", param="model")
        return served

    async def models(self, _principal: Principal) -> list[Served]:
        return list(self.served.values())

    async def begin(
        self, principal: Principal, model: str, request: Request, *, deadline_seconds: float | None = None, can_wait: bool = False
    ) -> Answering:
        served = await self.find(principal, model)
        if self.error is not None:
            raise self.error
        if task_name(request) not in served.tasks:
            raise Unsupported(f"'{model}' does not do '{task_name(request)}'.", param="model")
        fingerprint = msgspec.msgpack.encode(request)
        if served.name == "limited-once" and fingerprint not in self._limited:
            self._limited.add(fingerprint)
            raise RateLimited("Too many requests in this minute.", retry_after_seconds=0.03)
        chunks, usage = _ECHOES[type(request)](request)
        if served.name == "broken":
            chunks = [*chunks[:2], EngineFailed("The model stopped: out of memory.")]
        if served.name == "cold-broken":
            chunks = [EngineFailed("The model stopped: out of memory.")]
        answering = Answering(served, request, [*chunks, *self.extra_chunks], usage, self.rates)
        if not served.name.startswith("cold"):
            answering.loaded.set()
        self.begun.append(answering)
        return answering


class Keys:
    async def identify(self, token: str) -> Principal:
        principal = PRINCIPALS.get(token)
        if principal is None:
            raise Unauthenticated("This API key is unknown or revoked.")
        return principal


class World:
    """The app over the echoing cloud."""

    def __init__(self) -> None:
        self.inference = EchoInference()
        cloud = SimpleNamespace(inference=self.inference, tenancy=SimpleNamespace(keys=Keys()))
        self.app = App(cloud, [OpenAIDialect(cloud)], Metrics())  # type: ignore[arg-type]

    @asynccontextmanager
    async def client(self, key: str | None = KEY) -> AsyncIterator[httpx.AsyncClient]:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        transport = httpx.ASGITransport(self.app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://yunmo", headers=headers) as client:
            yield client

    async def post(self, path: str, body: object, key: str | None = KEY) -> httpx.Response:
        async with self.client(key) as client:
            return await client.post(path, json=body)


def events_of(reply: httpx.Response) -> list[str]:
    """The data of each server-sent event."""
    assert reply.headers["content-type"].startswith("text/event-stream")
    return [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]


def _words(text: str) -> list[str]:
    return [word if at == 0 else " " + word for at, word in enumerate(text.split(" "))]


def _count(text: str) -> int:
    return len(text.split())


def _chat(request: Chat) -> tuple[list[Output | YunmoError], Usage]:
    last = request.messages[-1]
    usage = Usage(input_tokens=sum(_count(message.content or "") for message in request.messages), output_tokens=3, cached_tokens=1)
    if request.tools and request.tool_choice != "none" and last.role == "user":
        arguments = json.dumps({"text": last.content})
        pieces = (ToolCallDelta(0, "call_1", request.tools[0].name, ""), ToolCallDelta(0, arguments=arguments))
        return [*(TextDelta(tool_calls=(piece,)) for piece in pieces), TextDelta(finish_reason="tool_calls")], usage
    text = f"You said {last.content}"
    if last.media:
        text += "".join(f" [{part.kind} of {len(part.data)} bytes]" for part in last.media)
    if request.output_format is not None:
        text = json.dumps({"text": last.content, "form": request.output_format.kind})
    return _deltas(text, request.choices, request.top_logprobs), usage


def _generate(request: Generate) -> tuple[list[Output | YunmoError], Usage]:
    prompt = request.prompt if isinstance(request.prompt, str) else " ".join(map(str, request.prompt))
    text = prompt + " and on" if request.echo else " and on"
    return _deltas(text, request.choices, request.top_logprobs), Usage(input_tokens=_count(prompt), output_tokens=2 * request.choices)


def _deltas(text: str, choices: int, top_logprobs: int | None) -> list[Output | YunmoError]:
    found: list[Output | YunmoError] = []
    for choice in range(choices):
        words = _words(text)
        found += [TextDelta(choice=choice, text=word, logprobs=_logprobs(word, top_logprobs)) for word in words[:-1]]
        found.append(TextDelta(choice=choice, text=words[-1], logprobs=_logprobs(words[-1], top_logprobs), finish_reason="stop"))
    return found


def _logprobs(word: str, top_logprobs: int | None) -> tuple[TokenLogprob, ...]:
    if top_logprobs is None:
        return ()
    others = (TokenLogprob(word, -0.5), TokenLogprob("never", -math.inf))
    return (TokenLogprob(word, -0.5, top=others[:top_logprobs]),)


def _embed(request: Embed) -> tuple[list[Output | YunmoError], Usage]:
    size = request.dimensions or 4
    vectors = tuple(Vector(np.full(size, len(each) / 8, "<f4").tobytes(), (size,)) for each in request.inputs)
    return [Vectors(vectors=vectors)], Usage(input_tokens=sum(len(each) for each in request.inputs))


def _classify(request: Classify) -> tuple[list[Output | YunmoError], Usage]:
    rows = []
    for text in request.texts:
        score = 0.9 if "kill" in text else 0.1
        rows.append(tuple(sorted((Label("toxic", score), Label("not toxic", 1 - score)), key=lambda label: -label.score)))
    return [Labels(rows=tuple(rows))], Usage(input_tokens=3)


def _transcribe(request: Transcribe) -> tuple[list[Output | YunmoError], Usage]:
    texts = (" Hello there.", " Good --> bye.")
    segments: list[Output | YunmoError] = []
    for index, text in enumerate(texts):
        words = (
            tuple(Word(word, index + 0.1 * at, index + 0.1 * at + 0.1, 0.9) for at, word in enumerate(text.split()))
            if request.word_timestamps
            else ()
        )
        segments.append(
            TranscriptSegment(
                id=index, start=index * 1.5, end=index * 1.5 + 1.25, text=text, words=words, language=request.language or "en", duration=3.0
            )
        )
    return segments, Usage(seconds=3.0)


def _speak(request: Speak) -> tuple[list[Output | YunmoError], Usage]:
    return [Speech(wav=tone(len(request.text)), sampling_rate=16_000)], Usage(input_tokens=2, output_tokens=5)


def tone(seconds_tenths: int, rate: int = 16_000) -> bytes:
    """A WAV file with a 440 Hz tone."""
    samples = (np.sin(np.arange(rate * seconds_tenths // 10) * 2 * math.pi * 440 / rate) * 8000).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as sink:
        sink.setnchannels(1)
        sink.setsampwidth(2)
        sink.setframerate(rate)
        sink.writeframes(samples.tobytes())
    return file.getvalue()


_ECHOES: dict[type[Request], Callable[..., tuple[list[Output | YunmoError], Usage]]] = {
    Chat: _chat,
    Generate: _generate,
    Embed: _embed,
    Classify: _classify,
    Transcribe: _transcribe,
    Speak: _speak,
}
