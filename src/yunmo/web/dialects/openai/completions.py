"""POST /v1/completions: prompts in, their continuations out (the older of the two text APIs)."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Answering
from yunmo.core.errors import InternalError, InvalidRequest, YunmoError
from yunmo.core.tasks import Choices, Generate, TextDelta, TokenLogprob
from yunmo.core.usage import Usage
from yunmo.web.dialects.openai.errors import error_event
from yunmo.web.dialects.openai.fields import Refusal, Refusals, read
from yunmo.web.dialects.openai.headers import answer_headers
from yunmo.web.dialects.openai.prompts import PromptBody, prompts_of
from yunmo.web.dialects.openai.sampling import REFUSED, TOP_LOGPROBS_LIMIT, GenerationBody, includes_usage, sampling
from yunmo.web.dialects.openai.streams import DONE, Frame, begin_streaming, deltas
from yunmo.web.dialects.openai.wire import TokenUsage, fingerprint, finite, new_id, token_usage
from yunmo.web.replies import event_reply, json_reply
from yunmo.web.request import Request
from yunmo.web.waiting import ask, comments

PROMPTS_LIMIT = 128
"""Of answers too: prompts times choices."""

DEFAULT_MAX_TOKENS = 16
"""The vendor's own default for this route."""

_PROMPTS_AT_ONCE = 4


class CompletionBody(GenerationBody, kw_only=True):
    """The body of POST /v1/completions."""

    prompt: PromptBody
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=TOP_LOGPROBS_LIMIT)] | None = None


COMPLETION_REFUSED: Refusals = {**REFUSED, "suffix": Refusal("text is only continued, not filled in.", ("",))}


class LegacyLogprobs(msgspec.Struct):
    """Tokens of a choice; `text_offset` counts characters from the prompt's start."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class CompletionChoice(msgspec.Struct):
    """One continuation, or what is new in it."""

    text: str
    index: int
    logprobs: LegacyLogprobs | None = None
    finish_reason: str | None = None


class Completion(msgspec.Struct):
    """The reply of POST /v1/completions."""

    id: str
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: TokenUsage
    system_fingerprint: str
    object: str = "text_completion"


async def completion_handler(cloud: Cloud, request: Request) -> Response:
    """All prompts' continuations, in order of the prompts."""
    started = time.perf_counter()
    body = await read(request, CompletionBody, COMPLETION_REFUSED)
    if not body.model:
        raise InvalidRequest("'model' is missing. GET /v1/models lists what may be asked.", param="model")
    has_usage = includes_usage(body)
    tasks = _tasks(body)
    if body.stream:
        stream = _Stream(cloud, request, body.model, tasks)
        await stream.begin()
        events = stream.events(has_usage=has_usage)
        return event_reply(events, answer_headers(request, started, stream.answering), closing=stream.close)
    answers = await _all_answers(cloud, request, body.model, tasks)
    first = answers[0].answering
    reply = Completion(
        id=new_id("cmpl"),
        created=int(time.time()),
        model=first.served.name,
        choices=[choice for number, answer in enumerate(answers) for choice in _choices(tasks[number], answer.output, number)],
        usage=token_usage(sum((answer.answering.usage for answer in answers), Usage())),
        system_fingerprint=fingerprint(first.served.revision),
    )
    return json_reply(reply, headers=answer_headers(request, started, first))


def _tasks(body: CompletionBody) -> list[Generate]:
    prompts = prompts_of(body.prompt, "prompt", PROMPTS_LIMIT, may_be_empty=True)
    choices = body.n or 1
    if len(prompts) * choices > PROMPTS_LIMIT:
        raise InvalidRequest(
            f"{len(prompts)} prompts with 'n' of {choices} are more than {PROMPTS_LIMIT} answers. Send several requests.", param="n"
        )
    max_tokens = DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens
    if max_tokens == 0 and not body.echo:
        raise InvalidRequest("'max_tokens' of 0 only makes sense with 'echo': true.", param="max_tokens")
    chosen = sampling(body, max_tokens)
    return [
        Generate(prompt=prompt, sampling=chosen, choices=body.n or 1, top_logprobs=body.logprobs, echo=bool(body.echo))
        for prompt in prompts
    ]


@dataclass(frozen=True, slots=True)
class _Answer:
    answering: Answering
    output: Choices


async def _all_answers(cloud: Cloud, request: Request, model: str, tasks: list[Generate]) -> list[_Answer]:
    """A few prompts at a time, so that one request does not fill the queue; the first error ends them all."""
    gate = asyncio.Semaphore(_PROMPTS_AT_ONCE)

    async def answer(task: Generate) -> _Answer:
        async with gate:
            answering = await ask(cloud, request, model, task)
            output = await answering.whole()
        if not isinstance(output, Choices):
            raise InternalError(f"The model continued a text with {type(output).__name__}.")
        return _Answer(answering, output)

    if len(tasks) == 1:
        return [await answer(tasks[0])]
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(answer(task)) for task in tasks]
    except ExceptionGroup as group_error:
        expected, unexpected = group_error.split(YunmoError)
        raise unexpected or (expected or group_error).exceptions[0] from None
    return [task.result() for task in running]


def _choices(task: Generate, output: Choices, number: int) -> list[CompletionChoice]:
    at = number * task.choices
    return [
        CompletionChoice(choice.text, at + index, _Offsets(task).logprobs(choice.logprobs, choice.text), choice.finish_reason)
        for index, choice in enumerate(output.choices)
    ]


class _Stream:
    """The prompts' streams, one after the other, as one."""

    def __init__(self, cloud: Cloud, request: Request, model: str, tasks: list[Generate]) -> None:
        self._cloud = cloud
        self._request = request
        self._model = model
        self._tasks = tasks
        self._spent = Usage()
        self.answering: Answering

    async def begin(self, number: int = 0) -> None:
        self.answering = await begin_streaming(self._cloud, self._request, self._model, self._tasks[number])

    async def close(self) -> None:
        await self.answering.close()

    async def events(self, *, has_usage: bool) -> AsyncIterator[bytes]:
        served = self.answering.served
        frame = Frame("text_completion", new_id("cmpl"), served.name, fingerprint(served.revision), has_usage=has_usage)
        try:
            for number in range(len(self._tasks)):
                if number > 0:
                    await self.begin(number)
                async for comment in comments(self.answering):
                    yield comment
                async for choice in self._news(number):
                    yield frame.chunk(choice)
                self._spent += self.answering.usage
                await self.close()
        except YunmoError as error:
            yield error_event(error)
            return
        if has_usage:
            yield frame.usage(token_usage(self._spent))
        yield DONE

    async def _news(self, number: int) -> AsyncIterator[CompletionChoice]:
        task = self._tasks[number]
        at = number * task.choices
        offsets = [_Offsets(task) for _ in range(task.choices)]
        unfinished = set(range(task.choices))
        async for delta in deltas(self.answering):
            yield _news(delta, at, offsets[delta.choice])
            if delta.finish_reason is not None:
                unfinished.discard(delta.choice)
        for index in sorted(unfinished):
            yield CompletionChoice("", at + index, finish_reason="stop")


def _news(delta: TextDelta, at: int, offsets: "_Offsets") -> CompletionChoice:
    return CompletionChoice(delta.text, at + delta.choice, offsets.logprobs(delta.logprobs, delta.text), delta.finish_reason)


class _Offsets:
    """Where the next token of a choice begins; an echoed prompt is part of the text, another one before it."""

    def __init__(self, task: Generate) -> None:
        self._next = len(task.prompt) if isinstance(task.prompt, str) and not task.echo else 0
        self._wants_top = bool(task.top_logprobs)

    def logprobs(self, tokens: tuple[TokenLogprob, ...], text: str) -> LegacyLogprobs | None:
        if not tokens:
            self._next += len(text)
            return None
        offsets: list[int] = []
        for token in tokens:
            offsets.append(self._next)
            self._next += len(token.token)
        return LegacyLogprobs(
            [token.token for token in tokens],
            [finite(token.logprob) for token in tokens],
            [{other.token: finite(other.logprob) for other in token.top} for token in tokens] if self._wants_top else None,
            offsets,
        )
