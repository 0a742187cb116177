"""llama.cpp's streamed chunks in our words: deltas, usage, errors."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from yunmo.core.errors import ContextTooLong, EngineFailed, InvalidRequest, YunmoError
from yunmo.core.tasks import FinishReason, TextDelta, TokenLogprob, ToolCallDelta
from yunmo.core.usage import Usage


@dataclass(slots=True)
class Answer:
    """Reads the chunks of one call for `top_logprobs` alternatives a token (None: no log probabilities); adds up the usage."""

    top_logprobs: int | None
    first_choice: int = 0
    usages: list[Usage] = field(default_factory=list)
    _read_tokens: int = 0

    def read(self, data: bytes) -> Iterator[TextDelta | Usage]:
        """The deltas of a chunk, or the price until now of a report on the prompt. Raises the error that the chunk carries."""
        chunk = _decode(data)
        if chunk.error is not None:
            raise error_of(chunk.error)
        progress = chunk.prompt_progress
        if progress is not None and progress.processed > self._read_tokens:  # each choice reports on the prompt that all share
            self._read_tokens = progress.processed
            yield Usage(input_tokens=progress.processed, cached_tokens=progress.cache)
        if chunk.usage is not None:
            self.usages.append(chunk.usage.ours())
        for choice in chunk.choices:
            delta = self._delta(choice)
            if delta is not None:
                yield delta

    def usage(self) -> Usage:
        """The price of the call: its choices share one prompt."""
        return Usage(
            input_tokens=max((each.input_tokens for each in self.usages), default=0),
            output_tokens=sum(each.output_tokens for each in self.usages),
            cached_tokens=min((each.cached_tokens for each in self.usages), default=0),
        )

    def _delta(self, choice: "_Choice") -> TextDelta | None:
        said = choice.delta
        text = said.content or choice.text or ""
        if not (text or said.reasoning_content or said.tool_calls or choice.finish_reason or choice.logprobs):
            return None
        return TextDelta(
            choice=self.first_choice + choice.index,
            text=text,
            reasoning=said.reasoning_content or "",
            tool_calls=tuple(call.ours() for call in said.tool_calls) if said.tool_calls else (),
            logprobs=self._logprobs(choice.logprobs) if choice.logprobs else (),
            finish_reason=_FINISH.get(choice.finish_reason, "stop") if choice.finish_reason else None,
        )

    def _logprobs(self, logprobs: "_Logprobs") -> tuple[TokenLogprob, ...]:
        if self.top_logprobs is None or not logprobs.content:
            return ()
        return tuple(
            TokenLogprob(
                token=each.token,
                logprob=each.logprob,
                id=each.id,
                top=tuple(TokenLogprob(token=top.token, logprob=top.logprob, id=top.id) for top in each.top_logprobs[: self.top_logprobs]),
            )
            for each in logprobs.content
        )


_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"}


class ServerError(msgspec.Struct, frozen=True):
    """What llama.cpp's server says when it does not answer."""

    message: str = ""
    type: str = ""
    code: int = 500
    n_prompt_tokens: int = 0
    n_ctx: int = 0


def error_of(error: ServerError) -> YunmoError:
    """Our error for the server's."""
    if error.type == "exceed_context_size_error":
        return ContextTooLong(
            f"The prompt has {error.n_prompt_tokens} tokens, but this deployment reads at most {error.n_ctx}. "
            "Shorten it, or raise the deployment's context_tokens.",
            param="messages",
        )
    if error.code < 500:
        return InvalidRequest(f"llama.cpp refused the request: {error.message}")
    return EngineFailed(f"llama.cpp failed on the request: {error.message}")


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, frozen=True):
    index: int = 0
    id: str | None = None
    function: _Function = msgspec.field(default_factory=_Function)

    def ours(self) -> ToolCallDelta:
        return ToolCallDelta(self.index, self.id or None, self.function.name or None, self.function.arguments or "")


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Top(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    id: int | None = None


class _Token(_Top, frozen=True):
    top_logprobs: list[_Top] = []


class _Logprobs(msgspec.Struct, frozen=True):
    content: list[_Token] | None = None


_SILENT = _Delta()


class _Choice(msgspec.Struct, frozen=True):
    index: int = 0
    delta: _Delta = _SILENT
    text: str | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _PromptDetails(msgspec.Struct, frozen=True):
    cached_tokens: int = 0


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None

    def ours(self) -> Usage:
        cached = self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else 0
        return Usage(input_tokens=self.prompt_tokens, output_tokens=self.completion_tokens, cached_tokens=cached)


class _Progress(msgspec.Struct, frozen=True):
    cache: int = 0
    processed: int = 0


class _Chunk(msgspec.Struct, frozen=True):
    choices: list[_Choice] = []
    prompt_progress: _Progress | None = None
    usage: _Usage | None = None
    error: ServerError | None = None


_decode = msgspec.json.Decoder(_Chunk).decode
