"""Streams of chats and completions: early errors get a status, late ones an event, and each token costs little."""

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Answering
from yunmo.core.errors import InternalError
from yunmo.core.tasks import Chat, Choice, Choices, Generate, TextDelta, ToolCallDelta, Transcribe
from yunmo.web.dialects.openai.wire import TokenUsage
from yunmo.web.request import Request
from yunmo.web.waiting import ask, begun

DONE = b"data: [DONE]\n\n"

_encode = msgspec.json.Encoder().encode


class Frame:
    """What all chunks of a stream have in common, encoded once."""

    def __init__(self, kind: str, id_: str, model: str, system_fingerprint: str, *, has_usage: bool) -> None:
        common = {"id": id_, "object": kind, "created": int(time.time()), "model": model, "system_fingerprint": system_fingerprint}
        self._prefix = b"data: " + _encode(common)[:-1] + b',"choices":['
        self._suffix = b'],"usage":null}\n\n' if has_usage else b"]}\n\n"

    def chunk(self, choice: Any) -> bytes:
        """The event of one choice's news."""
        return self._prefix + _encode(choice) + self._suffix

    def usage(self, usage: TokenUsage) -> bytes:
        """The last event: no choices, but the price."""
        return self._prefix + b'],"usage":' + _encode(usage) + b"}\n\n"


async def begin_streaming(cloud: Cloud, request: Request, model: str, task: Chat | Generate | Transcribe) -> Answering:
    """An answer whose first chunk is there or is slow to come; what goes wrong until then is raised, so that it gets a real status."""
    answering = await ask(cloud, request, model, task)
    try:
        await begun(answering)
    except BaseException:
        await answering.close()
        raise
    return answering


async def deltas(answering: Answering) -> AsyncIterator[TextDelta]:
    """The answer's deltas; an answer that comes whole is cut into one delta per choice."""
    async for chunk in answering:
        if isinstance(chunk, TextDelta):
            yield chunk
        elif isinstance(chunk, Choices):
            for delta in _cut(chunk):
                yield delta
        else:
            raise InternalError(f"The model's stream has a {type(chunk).__name__} in it.")


def _cut(whole: Choices) -> Iterator[TextDelta]:
    for index, choice in enumerate(whole.choices):
        yield _delta(index, choice)


def _delta(index: int, choice: Choice) -> TextDelta:
    calls = tuple(ToolCallDelta(at, call.id, call.name, call.arguments) for at, call in enumerate(choice.tool_calls))
    return TextDelta(
        choice=index,
        text=choice.text,
        reasoning=choice.reasoning,
        tool_calls=calls,
        logprobs=choice.logprobs,
        finish_reason=choice.finish_reason,
    )
