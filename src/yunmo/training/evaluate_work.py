"""Works on evaluations: asks the model every row when nobody waits, and tells how right its answers were."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from yunmo.core.errors import Conflict, InvalidRequest, YunmoError
from yunmo.core.rows import ROWS, Row, rows_of
from yunmo.core.tasks import AnyRequest, Output
from yunmo.core.training import MEDIA_FOLDER
from yunmo.files.files import Files
from yunmo.jobs.job import Job
from yunmo.jobs.work import Outcome, Work
from yunmo.training.asking import may_pass, patiently
from yunmo.training.data import TrainingData
from yunmo.training.evaluation import Evaluated, Evaluation, EvaluationState
from yunmo.training.examination import EXAMINATIONS, Examination, Setting
from yunmo.training.site import owner_of
from yunmo.training.state import EVALUATE_KIND
from yunmo.training.workspaces import Workspaces

_ROWS_FILE, _ANSWERS_FILE = "rows.jsonl", "answers.jsonl"
_OUTSTANDING = 16
_SAVE_SECONDS = 2.0
_WRONG_LISTED = 1000
_WRONG_PURPOSE = "evaluation-results"


class Served(msgspec.Struct, frozen=True):
    """What stands behind a model's name at the moment, and what it does."""

    commit: str
    tasks: tuple[str, ...]


class Answerer(Protocol):
    """Asks models as they are served, for a job's project, behind everybody who waits."""

    async def look(self, job: Job, model: str) -> Served: ...

    async def ask(self, job: Job, model: str, request: AnyRequest) -> Output: ...


class Answer(msgspec.Struct, omit_defaults=True):
    """What the model said of one row; `error` why nothing."""

    row: int
    found: Any = None
    error: str = ""


class EvaluateWork:
    """The kind of job that an evaluation is."""

    name = EVALUATE_KIND
    slots = 2

    def __init__(self, answerer: Answerer, data: TrainingData, files: Files, workspaces: Workspaces) -> None:
        self._answerer = answerer
        self._data = data
        self._files = files
        self._workspaces = workspaces  # trainings' own, whose sweep knows evaluations

    async def run(self, work: Work) -> Outcome:
        """Ask every row that has no answer yet, then compare."""
        wanted = msgspec.convert(work.job.input, Evaluation)
        state = msgspec.convert(work.checkpoint or {}, EvaluationState)
        root = self._workspaces.of(work.job)
        if not state.rows or not (root / _ROWS_FILE).exists():
            state = await self._begin(work, wanted)
        served = await self._check_same(work.job, wanted, state)
        state.done = 0
        while state.done < state.rows:  # once, unless its owner wanted a pause and thought better of it
            await self._ask_all(work, wanted, state, Setting(root / MEDIA_FOLDER, served.tasks))
        await self._check_same(work.job, wanted, state)
        outcome = await self._compare(work, wanted, state)
        await self._workspaces.remove(work.job)
        return outcome

    async def cancelled(self, work: Work) -> Outcome:
        """Nothing is left."""
        await self._workspaces.remove(work.job)
        return Outcome({})

    async def _begin(self, work: Work, wanted: Evaluation) -> EvaluationState:
        await self._workspaces.empty(work.job)
        target = self._workspaces.of(work.job) / _ROWS_FILE
        written, source = await self._data.write(owner_of(work.job), wanted.rows, rows_of(wanted.method), target)
        if written.problems:
            more = f" ({len(written.problems)} in all)" if len(written.problems) > 1 else ""
            raise InvalidRequest(f"The rows cannot be asked. {written.problems[0].text}{more}", param="rows")
        if not written.count:
            raise InvalidRequest("There are no rows to ask: the file is empty.", param="rows")
        served = await self._answerer.look(work.job, wanted.model)
        state = EvaluationState(rows=written.count, source=msgspec.to_builtins(source), commit=served.commit)
        work.advance(0, state.rows, "rows")
        await work.save(msgspec.to_builtins(state))
        return state

    async def _check_same(self, job: Job, wanted: Evaluation, state: EvaluationState) -> Served:
        served = await self._answerer.look(job, wanted.model)
        if served.commit != state.commit:
            raise Conflict(
                f"'{wanted.model}' has moved from {state.commit[:12]} to {served.commit[:12]} during its evaluation. "
                "Evaluate it as ns/name@commit, which never changes.",
                param="model",
            )
        return served

    async def _ask_all(self, work: Work, wanted: Evaluation, state: EvaluationState, setting: Setting) -> None:
        root = self._workspaces.of(work.job)
        examination = EXAMINATIONS[wanted.method]
        done = {answer.row for answer in await asyncio.to_thread(_answers, root)}
        pending: set[asyncio.Task[Answer]] = set()
        saved_at = time.monotonic()
        try:
            for number, row in enumerate(_read(root, wanted)):
                if number in done:
                    continue
                if work.wanted == "pause":
                    break
                while len(pending) >= _OUTSTANDING:
                    pending = await _collected(pending, root, done)
                pending.add(asyncio.create_task(self._answer(work.job, wanted.model, (number, row), (examination, setting))))
                if time.monotonic() - saved_at >= _SAVE_SECONDS:
                    await _save(work, state, len(done))
                    saved_at = time.monotonic()
            while pending:
                pending = await _collected(pending, root, done)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        await _save(work, state, len(done))

    async def _answer(self, job: Job, model: str, given: tuple[int, Row], how: tuple[Examination, Setting]) -> Answer:
        """What the model says of the row. Raises what will pass and has not: then it is the server's trouble, and no answer."""
        (number, row), (examination, setting) = given, how
        try:
            request = await asyncio.to_thread(examination.ask, row, setting)
            output = await patiently(lambda: self._answerer.ask(job, model, request))
        except YunmoError as error:
            if may_pass(error):
                raise
            return Answer(number, error=error.message)
        return Answer(number, examination.read(row, output))

    async def _compare(self, work: Work, wanted: Evaluation, state: EvaluationState) -> Outcome:
        root, examination = self._workspaces.of(work.job), EXAMINATIONS[wanted.method]
        found, right, wrong = await asyncio.to_thread(_compared, root, wanted, examination)
        failed = sum(1 for each in wrong if each["error"])
        if failed == state.rows:
            raise InvalidRequest(f"'{wanted.model}' has answered no row. The first: {wrong[0]['error']}", param="model")
        metrics = await asyncio.to_thread(examination.metrics, found, right)
        lines = b"".join(msgspec.json.encode(each) + b"\n" for each in wrong[:_WRONG_LISTED])
        name = f"evaluation-{work.job.id}-wrong.jsonl"
        file = await self._files.prepare(work.job.project, name, _WRONG_PURPOSE, _one(lines)) if lines else None
        result = Evaluated(
            model=wanted.model,
            commit=state.commit,
            method=wanted.method,
            rows=state.rows,
            failed=failed,
            metrics=metrics,
            source=state.source,
            wrong_file=None if file is None else file.id,
        )
        return Outcome(msgspec.to_builtins(result), None if file is None else lambda connection: self._files.insert(connection, file))


async def _save(work: Work, state: EvaluationState, done: int) -> None:
    """Raises Paused when that is wanted."""
    state.done = done
    work.advance(done, state.rows, "rows")
    await work.save(msgspec.to_builtins(state))


async def _collected(pending: "set[asyncio.Task[Answer]]", root: Path, done: set[int]) -> "set[asyncio.Task[Answer]]":
    """Write down what has been answered; what is still on its way."""
    ready, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    answers = [task.result() for task in ready]
    await asyncio.to_thread(_write, root, answers)
    done.update(answer.row for answer in answers)
    return pending


def _write(root: Path, answers: list[Answer]) -> None:
    with (root / _ANSWERS_FILE).open("ab") as file:
        file.write(b"".join(msgspec.json.encode(answer) + b"\n" for answer in answers))


def _answers(root: Path) -> list[Answer]:
    """What was written down; a line that a crash has cut off ends the file."""
    path = root / _ANSWERS_FILE
    if not path.exists():
        return []
    whole, newline, _ = path.read_bytes().rpartition(b"\n")
    path.write_bytes(whole + newline)
    return [msgspec.json.decode(line, type=Answer) for line in whole.splitlines()]


def _read(root: Path, wanted: Evaluation) -> Iterator[Row]:
    decode = msgspec.json.Decoder(ROWS[wanted.method]).decode
    with (root / _ROWS_FILE).open("rb") as lines:
        yield from (decode(line) for line in lines)


def _compared(root: Path, wanted: Evaluation, examination: Examination) -> tuple[list[Any], list[Any], list[dict[str, Any]]]:
    """What was found, what is right, and the rows where these differ."""
    answers = {answer.row: answer for answer in _answers(root)}
    found, right, wrong = [], [], []
    for number, row in enumerate(_read(root, wanted)):
        answer, wanted_answer = answers[number], examination.right(row)
        said = examination.nothing(row) if answer.error else answer.found
        found.append(said)
        right.append(wanted_answer)
        if answer.error or not examination.is_right(said, wanted_answer):
            wrong.append({"row": number + 1, "right": wanted_answer, "found": None if answer.error else said, "error": answer.error})
    return found, right, wrong


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data
