"""Text generation's replies: those of text-generation-inference (TGI), whole and as a stream of tokens."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import structlog
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from yunmo.cloud.values import Answering
from yunmo.core.errors import InternalError, YunmoError
from yunmo.core.tasks import Choice, Choices, FinishReason, Output, TextDelta, TokenLogprob
from yunmo.core.usage import Usage
from yunmo.web.dialects.hf.asks import Generation
from yunmo.web.dialects.hf.errors import error_content
from yunmo.web.dialects.hf.replies import Bytes, json_bytes
from yunmo.web.replies import event
from yunmo.web.waiting import comments

_log = structlog.get_logger()


def whole_generation(ask: Generation, output: Output, usage: Usage, also: Sequence[str] = ()) -> Bytes:
    """A list with one object, which `text_generation` and the JavaScript client both read; `also` are other names for the text."""
    assert isinstance(output, Choices)
    choice = output.choices[0]
    content: dict[str, Any] = dict.fromkeys(("generated_text", *also), _full(ask, choice.text))
    if ask.has_details:
        content["details"] = _details(ask, choice, usage)
    return json_bytes([content])


class TokenEvents(StreamingResponse):
    """The answer as server-sent events; it is closed with the connection, also when nothing was sent yet."""

    def __init__(self, ask: Generation, answering: Answering, headers: dict[str, str]) -> None:
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no", **headers}
        super().__init__(_events(ask, answering), 200, headers, "text/event-stream")
        self._close = answering.close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._close()


async def _events(ask: Generation, answering: Answering) -> AsyncIterator[bytes]:
    """One event per token; the last one carries the whole text and what it took."""
    writing = _Writing(ask)
    try:
        async for comment in comments(answering):
            yield comment
        async for chunk in answering:
            if isinstance(chunk, Choices):
                chunk = _as_delta(chunk)  # noqa: PLW2901 - an engine may answer in one piece
            if isinstance(chunk, TextDelta):
                for content in writing.add(chunk):
                    yield event(content)
        yield event(writing.last(answering.usage))
    except YunmoError as error:
        yield event(error_content(error))
    except Exception as error:  # boundary: the headers are sent, so an event is the only way left to say it
        _log.exception("stream_failed", error=type(error).__name__)
        yield event(error_content(InternalError("Something went wrong on our side while the text was generated.")))


class _Writing:
    """A generation on its way out. The finishing delta is held back until the usage is known."""

    def __init__(self, ask: Generation) -> None:
        self._ask = ask
        self._text: list[str] = []
        self._index = 0
        self._tokens = 0
        self._finish: FinishReason = "stop"
        self._held: dict[str, Any] | None = None

    def add(self, delta: TextDelta) -> list[dict[str, Any]]:
        """The events for this delta."""
        self._text.append(delta.text)
        pieces = _pieces(delta)
        self._tokens += len(pieces)
        contents = [self._content(text, token) for text, token in pieces]
        if delta.finish_reason is not None:
            self._finish = delta.finish_reason
            self._held = contents.pop() if contents else None
        return contents

    def last(self, usage: Usage) -> dict[str, Any]:
        """The event that ends the stream."""
        text = "".join(self._text)
        content = self._held or self._content("", None, is_special=True)
        content["generated_text"] = _full(self._ask, text)
        content["details"] = {
            "finish_reason": _finish_reason(self._ask, self._finish),
            "generated_tokens": usage.output_tokens or self._tokens,
            "input_length": usage.input_tokens,
            "seed": self._ask.request.sampling.seed,
        }
        return content

    def _content(self, text: str, token: TokenLogprob | None, *, is_special: bool = False) -> dict[str, Any]:
        self._index += 1
        content: dict[str, Any] = {"index": self._index, "token": _token(text, token, is_special=is_special)}
        if token is not None and self._ask.top_tokens:
            content["top_tokens"] = [_token(other.token, other) for other in token.top]
        content["generated_text"] = None
        content["details"] = None
        return content


def _pieces(delta: TextDelta) -> list[tuple[str, TokenLogprob | None]]:
    """The delta's tokens with their texts. Half a character is no text yet, so tokens and texts may not agree: then the texts win."""
    tokens = delta.logprobs
    if not tokens:
        return [(delta.text, None)] if delta.text else []
    if "".join(token.token for token in tokens) == delta.text:
        return [(token.token, token) for token in tokens]
    return [*(("", token) for token in tokens[:-1]), (delta.text, tokens[-1])]


def _as_delta(output: Choices) -> TextDelta:
    choice = output.choices[0]
    return TextDelta(text=choice.text, logprobs=choice.logprobs, finish_reason=choice.finish_reason)


def _token(text: str, token: TokenLogprob | None, *, is_special: bool = False) -> dict[str, Any]:
    """A token in TGI's words; an id of -1 and no log probability say that the engine was not asked for them."""
    if token is None:
        return {"id": -1, "text": text, "logprob": None, "special": is_special}
    return {"id": -1 if token.id is None else token.id, "text": text, "logprob": token.logprob, "special": is_special}


def _details(ask: Generation, choice: Choice, usage: Usage) -> dict[str, Any]:
    details: dict[str, Any] = {
        "finish_reason": _finish_reason(ask, choice.finish_reason),
        "generated_tokens": usage.output_tokens or len(choice.logprobs),
        "seed": ask.request.sampling.seed,
        "prefill": [],
        "tokens": [_token(token.token, token) for token in choice.logprobs],
    }
    if ask.top_tokens:
        details["top_tokens"] = [[_token(other.token, other) for other in token.top] for token in choice.logprobs]
    return details


def _finish_reason(ask: Generation, reason: FinishReason) -> str:
    """TGI tells its two ways to stop apart; our engines do not, so with stop sequences given it is taken to be one of them."""
    if reason == "length":
        return "length"
    return "stop_sequence" if ask.request.sampling.stop else "eos_token"


def _full(ask: Generation, text: str) -> str:
    return ask.prompt + text if ask.returns_full_text else text
