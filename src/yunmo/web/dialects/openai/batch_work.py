"""Works on batches: sends their lines when nobody waits, and keeps the answers as they come.

Answers are put aside in parts, each with the checkpoint that says which lines it has: what a crash takes is asked again,
and no line is answered twice in the output or left out of it.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Connection, Failure, Job, Outcome, UploadPart, Work
from yunmo.core.identity import Principal
from yunmo.web.dialects.openai.batch_lines import LINE_BYTES_LIMIT, Answered, Line, LineError, LineResponse, check, parse
from yunmo.web.dialects.openai.batches import KIND, WINDOW_SECONDS

_OUTSTANDING = 64
_BATCHES_AT_ONCE = 4
_TRIES = 6
_LONGEST_WAIT_SECONDS = 30.0
_BUSY = frozenset({429, 503})

_SAVE_SECONDS = 2.0
_SAVE_LINES = 1000
_SAVE_BYTES = 8 * 1024 * 1024
_SAVE_SHARE = 0.01
"""Of the time that the batch has taken: a long one is saved less often, so that it does not get thousands of parts."""


class LineUsage(msgspec.Struct):
    """Tokens of a line."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Reply(msgspec.Struct):
    usage: LineUsage | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What this server answers to one request."""

    status: int
    body: bytes
    retry_seconds: float | None = None


Ask = Callable[[Principal, str, bytes, str], Awaitable[Answer]]
"""Answers a POST for a principal: path, JSON body, request id."""


class _State(msgspec.Struct, omit_defaults=True):
    """The checkpoint: `next` is the first line that is not done, `ahead` are lines behind it that are."""

    output: str
    errors: str
    model: str
    total: int
    in_progress_at: int
    next: int = 0
    ahead: list[int] = []
    completed: int = 0
    failed: int = 0
    read_tokens: int = 0
    written_tokens: int = 0
    finalizing_at: int | None = None
    is_expired: bool = False

    def has(self, number: int) -> bool:
        return number < self.next or number in self.ahead


@dataclass(frozen=True, slots=True)
class _Done:
    """A line that was answered, or could not be."""

    number: int
    text: bytes
    is_failed: bool
    usage: LineUsage


@dataclass(slots=True)
class _Unsaved:
    """What has come since the last checkpoint."""

    lines: list[_Done] = field(default_factory=list)
    size: int = 0
    since: float = field(default_factory=time.monotonic)

    def add(self, done: _Done) -> None:
        self.lines.append(done)
        self.size += len(done.text)

    def is_due(self, began: float) -> bool:
        at = time.monotonic()
        wait = max(_SAVE_SECONDS, _SAVE_SHARE * (at - began))
        return len(self.lines) >= _SAVE_LINES or self.size >= _SAVE_BYTES or (bool(self.lines) and at - self.since >= wait)


class BatchWork:
    """The kind of job that a batch is."""

    name = KIND
    slots = _BATCHES_AT_ONCE

    def __init__(self, cloud: Cloud, ask: Ask) -> None:
        self._files = cloud.files
        self._ask = ask

    async def run(self, work: Work) -> Outcome:
        """Answer every line that has no answer yet."""
        job = work.job
        if work.checkpoint is None:
            problems = await self._begin(work)
            if problems is not None:
                return problems
        state = msgspec.convert(work.checkpoint, _State)
        began = time.monotonic()
        unsaved = _Unsaved()
        pending: set[asyncio.Task[_Done]] = set()
        try:
            async for number, text in self._todo(job, state):
                if work.wanted == "pause":
                    break
                while len(pending) >= _OUTSTANDING:
                    await self._collect(pending, unsaved, work, state, began)
                is_late = _is_late(job)
                state.is_expired |= is_late
                pending.add(asyncio.create_task(self._line(_owner(job), number, text, is_late=is_late)))
            while pending:
                await self._collect(pending, unsaved, work, state, began)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        state.finalizing_at = int(time.time())
        await self._save(work, state, unsaved)
        return await self._publish(job, state)

    async def cancelled(self, work: Work) -> Outcome:
        """The answers so far stay."""
        if work.checkpoint is None:
            return Outcome({})
        return await self._publish(work.job, msgspec.convert(work.checkpoint, _State))

    async def _begin(self, work: Work) -> Outcome | None:
        """Check every line, and begin the files of the answers; the outcome of a batch that cannot be run."""
        job = work.job
        file = await self._files.get(job.project, job.input["input_file_id"])
        checked = await check(self._files.lines(file, LINE_BYTES_LIMIT), job.input["endpoint"])
        if checked.problems:
            first = checked.problems[0]
            where = "" if first.line is None else f"Line {first.line}: "
            failure = Failure("invalid_request", where + first.message, first.param)
            return Outcome({"problems": msgspec.to_builtins(checked.problems)}, error=failure)
        keep = (job.input.get("output_expires_after") or {}).get("seconds")
        output, errors = [
            await self._files.draft(job.project, f"batch_{job.id}_{name}.jsonl", "batch_output", keep) for name in ("output", "error")
        ]
        state = _State(output.id, errors.id, checked.model, checked.lines, int(time.time()))
        work.advance(0, state.total, "requests")
        await work.save(msgspec.to_builtins(state))
        return None

    async def _todo(self, job: Job, state: _State) -> AsyncIterator[tuple[int, bytes]]:
        """The lines that are not done, with their numbers among those that are not empty."""
        file = await self._files.get(job.project, job.input["input_file_id"])
        number = 0
        async for text in self._files.lines(file, LINE_BYTES_LIMIT):
            if not text.strip():
                continue
            if not state.has(number):
                yield number, text
            number += 1

    async def _collect(self, pending: "set[asyncio.Task[_Done]]", unsaved: _Unsaved, work: Work, state: _State, began: float) -> None:
        """Wait for some answers, and save them if it is time."""
        done, _ = await asyncio.wait(pending, timeout=_SAVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        pending -= done
        for task in done:
            unsaved.add(task.result())
        if unsaved.is_due(began):
            await self._save(work, state, unsaved)

    async def _save(self, work: Work, state: _State, unsaved: _Unsaved) -> None:
        """Put the answers aside with the checkpoint that has their lines. Raises Paused when that is wanted."""
        lines, unsaved.lines, unsaved.size, unsaved.since = unsaved.lines, [], 0, time.monotonic()
        parts: list[UploadPart] = []
        for draft, is_failed in ((state.output, False), (state.errors, True)):
            text = b"".join(line.text for line in lines if line.is_failed is is_failed)
            if text:
                parts.append(await self._files.prepare_part(draft, text))
        _count(state, lines)
        work.advance(state.completed + state.failed, state.total, "requests")

        def append(connection: Connection) -> None:
            for part in parts:
                self._files.append(connection, part)

        await work.save(msgspec.to_builtins(state), append)

    async def _publish(self, job: Job, state: _State) -> Outcome:
        """Make files of what was put aside."""
        joined = [await self._files.join(job.project, draft) for draft in (state.output, state.errors)]

        def publish(connection: Connection) -> None:
            for draft, file in joined:
                self._files.publish(connection, draft, file)

        (_, output), (_, errors) = joined
        result = {
            **msgspec.to_builtins(state),
            "output_file_id": None if output is None else output.id,
            "error_file_id": None if errors is None else errors.id,
            "usage": _usage(state),
        }
        return Outcome(result, publish)

    async def _line(self, owner: Principal, number: int, text: bytes, *, is_late: bool) -> _Done:
        line = parse(text)
        request_id = f"batch_req_{secrets.token_hex(12)}"
        if is_late:
            error = LineError("batch_expired", "This request could not be run within the batch's 24 hours.")
            return _Done(number, _written(Answered(request_id, line.custom_id, None, error)), is_failed=True, usage=LineUsage())
        answer = await self._answer(owner, line, request_id)
        response = LineResponse(answer.status, request_id, msgspec.Raw(answer.body))
        is_failed = answer.status >= 400
        usage = LineUsage() if is_failed else msgspec.json.decode(answer.body, type=_Reply).usage or LineUsage()
        return _Done(number, _written(Answered(request_id, line.custom_id, response)), is_failed, usage)

    async def _answer(self, owner: Principal, line: Line, request_id: str) -> Answer:
        """The answer; a model that is busy or away is asked again a few times."""
        for attempt in range(_TRIES):
            answer = await self._ask(owner, line.url, bytes(line.body), request_id)
            if answer.status not in _BUSY:
                break
            if attempt + 1 < _TRIES:
                await asyncio.sleep(min(_LONGEST_WAIT_SECONDS, answer.retry_seconds or 2**attempt))
        return answer


def _owner(job: Job) -> Principal:
    """Who the lines are asked for: whoever made the batch, without a pace of their own."""
    return job.principal("infer")


def _is_late(job: Job) -> bool:
    return time.time() - job.created_at.timestamp() > WINDOW_SECONDS


def _written(answered: Answered) -> bytes:
    return msgspec.json.encode(answered) + b"\n"


def _count(state: _State, lines: list[_Done]) -> None:
    for line in lines:
        state.failed += line.is_failed
        state.completed += not line.is_failed
        state.read_tokens += line.usage.prompt_tokens
        state.written_tokens += line.usage.completion_tokens
    ahead = {*state.ahead, *(line.number for line in lines)}
    while state.next in ahead:
        ahead.remove(state.next)
        state.next += 1
    state.ahead = sorted(ahead)


def _usage(state: _State) -> dict[str, Any]:
    return {
        "input_tokens": state.read_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": state.written_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": state.read_tokens + state.written_tokens,
    }
