"""The built-in engine without a model: it answers with what it was asked, to try a cloud out and to test its faults.

A deployment of the repository `echo` classifies: the only label of a text is the text itself. These plan options change it:

- `tasks`: which of classify, chat, generate, embed and translate it has (`["classify"]` unless told). Chat repeats the last user
  message and generate the prompt, one token per word; embed gives each text a vector made of its hash; translate writes it in capitals.
- `delay_seconds`: how long an answer takes; of a chat or a generation: each token.
- `error_on`: a text that fails with EngineFailed. `crash_on`: a text that ends the worker process at once (exit code 70).
- `crash_on_load`: end the worker process instead of loading. `load_seconds`: how long loading takes.
- `memory_bytes`: memory to fill while loaded.
"""

import asyncio
import hashlib
import os
import re
import struct
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import msgspec

from yunmo.core.engine import Engine, Hardware, ModelDescription, Offer, Plan, Progress, read_options
from yunmo.core.errors import EngineFailed, InvalidRequest, Unsupported
from yunmo.core.tasks import (
    Chat,
    Classify,
    Embed,
    FinishReason,
    Generate,
    Label,
    Labels,
    Output,
    Request,
    Sampling,
    TextDelta,
    Texts,
    TokenLogprob,
    Translate,
    Vector,
    Vectors,
    task_name,
)
from yunmo.core.usage import Usage

REPOSITORY = "echo"
_LOADING_STEPS = 20
_DIMENSIONS = 16
_SLOTS = 64
_MEMORY_BYTES = 64 << 20
_CRASHED = 70


Duration = Annotated[float, msgspec.Meta(ge=0, le=3600)]


class EchoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of a plan; the module's text tells what they do."""

    tasks: Annotated[tuple[Literal["classify", "chat", "generate", "embed", "translate"], ...], msgspec.Meta(min_length=1)] = ("classify",)
    delay_seconds: Duration = 0.0
    error_on: str | None = None
    crash_on: str | None = None
    crash_on_load: bool = False
    load_seconds: Duration = 0.0
    memory_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**40)] = 0


class EchoKind:
    """The kind of engine that is registered as `echo`."""

    name = "echo"

    def offer(self, model: ModelDescription, hardware: Hardware) -> Offer | None:
        """Take the built-in repository and no other."""
        del hardware
        if model.repository != REPOSITORY:
            return None
        plan = Plan(engine=self.name, slots=_SLOTS)
        return Offer(engine=self.name, tasks=("classify",), plan=plan, memory_bytes=_MEMORY_BYTES, preference=100)

    def check(self, plan: Plan) -> None:
        """Refuse unknown and impossible options."""
        read_options(plan, EchoOptions)

    def load(self, directory: Path, derived: Path, plan: Plan, progress: Progress) -> Engine:
        """Make the engine; nothing is read from the directories."""
        del directory, derived
        options = read_options(plan, EchoOptions)
        for step in range(_LOADING_STEPS):
            progress("loading", step / _LOADING_STEPS)
            time.sleep(options.load_seconds / _LOADING_STEPS)
        if options.crash_on_load:
            _crash()
        engine = EchoEngine(options)
        progress("loading", 1.0)
        return engine


kind = EchoKind()


class EchoEngine:
    """Answers with what it was asked, under the faults that its plan tells."""

    def __init__(self, options: EchoOptions) -> None:
        self.tasks: tuple[str, ...] = options.tasks
        self._delay_seconds = options.delay_seconds
        self._crash_on = options.crash_on
        self._error_on = options.error_on
        self._ballast = os.urandom(1) * options.memory_bytes

    async def stream(self, request: Request) -> AsyncIterator[Output | Usage]:
        """Answer one request; chats and generations word by word."""
        if task_name(request) not in self.tasks:
            raise Unsupported(f"this deployment has no task {task_name(request)!r}; it has {', '.join(self.tasks)}")
        texts = _texts(request)
        for text in texts:
            self._fail_if_told(text)
        words = sum(len(text.split()) for text in texts)
        if isinstance(request, Chat | Generate):
            written = 0
            yield Usage(input_tokens=words, characters=sum(map(len, texts)))
            for delta in _deltas(request, texts[0]):
                await self._wait()
                written += 1 if delta.text else 0
                yield delta
            yield Usage(input_tokens=words, output_tokens=written, characters=sum(map(len, texts)))
            return
        await self._wait()
        yield _answer(request, texts)
        yield Usage(input_tokens=words, characters=sum(map(len, texts)))

    async def close(self) -> None:
        """Give the memory back."""
        self._ballast = b""

    async def _wait(self) -> None:
        await asyncio.sleep(self._delay_seconds)

    def _fail_if_told(self, text: str) -> None:
        if text == self._crash_on:
            _crash()
        if text == self._error_on:
            raise EngineFailed("the echo engine was told to fail on this text")


def _crash() -> NoReturn:
    os._exit(_CRASHED)


def _texts(request: Request) -> list[str]:
    if isinstance(request, Classify):
        return [text if isinstance(text, str) else " ".join(text) for text in request.texts]
    if isinstance(request, Embed):
        return [_as_text(each) for each in request.inputs]
    if isinstance(request, Generate):
        return [_as_text(request.prompt)]
    if isinstance(request, Translate):
        return list(request.texts)
    if isinstance(request, Chat):
        spoken = [message.content or "" for message in request.messages if message.role == "user"]
        if not spoken:
            raise InvalidRequest("the conversation has no user message to echo", param="messages")
        return [spoken[-1]]
    raise Unsupported(f"the echo engine has no task {task_name(request)!r}")


def _as_text(prompt: str | tuple[int, ...]) -> str:
    return prompt if isinstance(prompt, str) else " ".join(map(str, prompt))


def _answer(request: Request, texts: list[str]) -> Output:
    if isinstance(request, Embed):
        return _vectors(request, texts)
    if isinstance(request, Translate):
        return Texts(texts=tuple(text.upper() for text in texts))
    return _labels(texts)


def _labels(texts: list[str]) -> Labels:
    return Labels(rows=tuple((Label(label=text, score=1.0),) for text in texts))


def _vectors(request: Embed, texts: list[str]) -> Vectors:
    dimensions = _DIMENSIONS if request.dimensions is None else request.dimensions
    if not 1 <= dimensions <= _DIMENSIONS:
        raise InvalidRequest(f"the echo engine's vectors have 1 to {_DIMENSIONS} dimensions", param="dimensions")
    if request.pooled:
        return Vectors(vectors=tuple(Vector(data=_vector(text, dimensions), shape=(dimensions,)) for text in texts))
    tokens = [text.split() or [""] for text in texts]
    return Vectors(
        vectors=tuple(
            Vector(data=b"".join(_vector(word, dimensions) for word in words), shape=(len(words), dimensions)) for words in tokens
        )
    )


def _vector(text: str, dimensions: int) -> bytes:
    """The text's hash as a vector of length 1."""
    numbers = struct.unpack(f"<{_DIMENSIONS}i", hashlib.blake2b(text.encode(), digest_size=4 * _DIMENSIONS).digest())[:dimensions]
    length = sum(number * number for number in numbers) ** 0.5 or 1.0
    return struct.pack(f"<{dimensions}f", *(number / length for number in numbers))


def _deltas(request: Chat | Generate, text: str) -> Iterator[TextDelta]:
    if request.output_format is not None:
        raise Unsupported("the echo engine writes no particular format", param="response_format")
    if isinstance(request, Chat) and request.tools and request.tool_choice not in {"auto", "none"}:
        raise Unsupported("the echo engine calls no tools", param="tool_choice")
    echoed, finish_reason = _shortened(text, request.sampling)
    pieces = re.findall(r"\s*\S+\s*?(?=\s|$)|\s+", echoed)
    limit = request.sampling.max_tokens
    if limit is not None and len(pieces) > limit:
        pieces, finish_reason = pieces[:limit], "length"
    for choice in range(request.choices):
        if isinstance(request, Generate) and request.echo:
            yield TextDelta(choice=choice, text=text)
        for piece in pieces:
            yield TextDelta(choice=choice, text=piece, logprobs=_certain(piece, request.top_logprobs))
        yield TextDelta(choice=choice, finish_reason=finish_reason)


def _shortened(text: str, sampling: Sampling) -> tuple[str, FinishReason]:
    ends = [text.find(stop) for stop in sampling.stop if stop and stop in text]
    return (text[: min(ends)] if ends else text), "stop"


def _certain(piece: str, top_logprobs: int | None) -> tuple[TokenLogprob, ...]:
    if top_logprobs is None:
        return ()
    token = TokenLogprob(token=piece, logprob=0.0)
    return (TokenLogprob(token=piece, logprob=0.0, top=(token,) if top_logprobs else ()),)
