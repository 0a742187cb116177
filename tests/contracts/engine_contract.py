"""The contract that every engine must pass.

A test module makes a class of it and gives it a `case` and an `engine`:

    class TestMyEngine(EngineContract):
        @pytest.fixture(scope="class")
        def case(self, tmp_path_factory):
            return EngineCase(kind=kind, directory=..., plan=..., requests={"classify": Classify(texts=("a",))}, bad=(Classify(texts=("",)),))

`engine` loads the case's model once per class; override it if loading needs more than the case says.
"""

import asyncio
import inspect
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from yunmo.core.engine import BatchEngine, Engine, EngineKind, Plan
from yunmo.core.errors import Unsupported, YunmoError
from yunmo.core.tasks import (
    TASKS,
    Answers,
    AnyOutput,
    Choices,
    Classify,
    ClassifyAudio,
    Detect,
    Detections,
    Entities,
    Fillings,
    Labels,
    Masks,
    Output,
    Request,
    Speech,
    TableAnswer,
    TextDelta,
    Texts,
    Transcript,
    Vectors,
    fold,
    join,
    split,
    task_name,
)
from yunmo.core.usage import Usage

OUTPUT_OF = {
    "classify": Labels,
    "classify-tokens": Entities,
    "classify-zero-shot": Labels,
    "answer": Answers,
    "fill-mask": Fillings,
    "embed": Vectors,
    "generate": Choices,
    "chat": Choices,
    "summarize": Texts,
    "translate": Texts,
    "classify-image": Labels,
    "classify-image-zero-shot": Labels,
    "detect": Detections,
    "segment": Masks,
    "describe": Texts,
    "answer-image": Labels,
    "answer-document": Answers,
    "answer-table": TableAnswer,
    "transcribe": Transcript,
    "classify-audio": Labels,
    "speak": Speech,
}
DEADLINE_SECONDS = 60


@dataclass(frozen=True)
class EngineCase:
    """A model and what to ask it.

    `requests` holds one valid request per task of the engine, `bad` requests of its tasks that must be refused, `long`
    one that streams many deltas, and `others` further valid requests, which differ from the first.
    """

    kind: EngineKind
    directory: Path
    plan: Plan
    requests: Mapping[str, Request]
    bad: Sequence[Request] = ()
    long: Request | None = None
    others: Sequence[Request] = field(default=())


async def items_of(engine: Engine | BatchEngine, request: Request) -> list[Output | Usage]:
    """All that the engine yields for a request; of a batch engine: each item alone."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        if isinstance(engine, Engine):
            return [chunk async for chunk in engine.stream(request)]
        outputs, usage = [], Usage()
        for item in split(request):
            result = (await asyncio.to_thread(engine.run, 0, [item]))[0]
            if isinstance(result, YunmoError):
                raise result
            outputs.append(result[0])
            usage += result[1]
        return [join(outputs), usage]


async def chunks_of(engine: Engine | BatchEngine, request: Request) -> list[Output | Usage]:
    """The pieces of the answer and its last usage, which counts."""
    *items, usage = await items_of(engine, request)
    return [*(item for item in items if not isinstance(item, Usage)), usage]


async def answer(engine: Engine | BatchEngine, request: Request) -> tuple[Output, Usage]:
    """The whole answer and its usage."""
    *chunks, usage = await chunks_of(engine, request)
    assert isinstance(usage, Usage)
    return fold(request, chunks), usage


async def close(engine: Engine | BatchEngine) -> None:
    """Close either kind of engine."""
    closing = engine.close()
    if inspect.isawaitable(closing):
        await closing


class EngineContract:
    """The tests. Subclass it with a `case` fixture."""

    @pytest.fixture(scope="class")
    def engine(self, case, tmp_path_factory):
        told = []
        derived = tmp_path_factory.mktemp("derived")
        loaded = case.kind.load(case.directory, derived, case.plan, lambda what, share: told.append((what, share)))
        assert all(0.0 <= share <= 1.0 for _, share in told)
        yield loaded
        asyncio.run(close(loaded))

    def test_it_says_what_it_can_do(self, case, engine):
        assert isinstance(engine, Engine | BatchEngine)
        assert engine.tasks
        assert set(engine.tasks) <= set(TASKS)
        assert set(case.requests) == set(engine.tasks), "the case must try every task"

    async def test_each_task_answers_with_its_own_kind_of_output(self, case, engine):
        for task, request in case.requests.items():
            output, usage = await answer(engine, request)
            assert isinstance(output, OUTPUT_OF[task]), task
            assert usage != Usage() or task in {"classify-image", "detect", "segment", "classify"}, task
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(output), type=AnyOutput) == output

    async def test_a_stream_ends_with_its_usage_and_folds_into_the_whole(self, case, engine):
        for request in case.requests.values():
            *chunks, usage = await chunks_of(engine, request)
            assert isinstance(usage, Usage)
            assert fold(request, chunks) == (await answer(engine, request))[0]

    async def test_a_running_usage_never_says_more_than_a_later_one(self, case, engine):
        for request in case.requests.values():
            usages = [item for item in await items_of(engine, request) if isinstance(item, Usage)]
            for earlier, later in itertools.pairwise(map(msgspec.structs.astuple, usages)):
                assert all(before <= after for before, after in zip(earlier, later, strict=True)), task_name(request)

    async def test_what_was_read_is_known_before_the_answer_begins(self, case, engine):
        if not isinstance(engine, Engine) or case.long is None:
            pytest.skip("nothing streams here")
        stream = engine.stream(case.long)
        async with asyncio.timeout(DEADLINE_SECONDS):
            known = await anext(stream)
            await stream.aclose()
        assert isinstance(known, Usage), "a stream that is left now would be free"
        assert known.input_tokens or known.seconds
        for task in {"chat", "generate"} & set(case.requests):
            *items, whole = await items_of(engine, case.requests[task])
            *_, known = itertools.takewhile(lambda item: isinstance(item, Usage), items)
            assert known.input_tokens == whole.input_tokens

    async def test_every_choice_ends_with_a_reason(self, case, engine):
        for request in case.requests.values():
            if task_name(request) in {"chat", "generate"}:
                *chunks, _ = await chunks_of(engine, request)
                ended = [chunk.choice for chunk in chunks if isinstance(chunk, TextDelta) and chunk.finish_reason]
                ended += [index for chunk in chunks if isinstance(chunk, Choices) for index in range(len(chunk.choices))]
                assert sorted(ended) == list(range(request.choices))

    async def test_requests_at_the_same_time_do_not_mix(self, case, engine):
        requests = [*case.requests.values(), *case.others]
        alone = [(await answer(engine, request))[0] for request in requests]
        # a batch engine is called from `plan.streams` threads at most; the others take what comes
        places = asyncio.Semaphore(case.plan.streams if isinstance(engine, BatchEngine) else len(requests))

        async def admitted(request: Request) -> Output:
            async with places:
                return (await answer(engine, request))[0]

        for _ in range(2):
            assert await asyncio.gather(*map(admitted, requests)) == alone

    async def test_a_bad_request_is_refused_with_reason_and_harms_nobody(self, case, engine):
        good = next(iter(case.requests.values()))
        expected = (await answer(engine, good))[0]
        for bad in case.bad:
            with pytest.raises(YunmoError) as refused:
                await answer(engine, bad)
            assert refused.value.code not in {"engine_failed", "internal_error"}, f"{bad} broke the engine instead of being refused"
            assert refused.value.message
        assert (await answer(engine, good))[0] == expected

    async def test_a_bad_item_does_not_spoil_its_batch(self, case, engine):
        if not isinstance(engine, BatchEngine):
            pytest.skip("this engine takes one request at a time")
        good = split(next(iter(case.requests.values())))[0]
        for bad in case.bad:
            if type(bad) is type(good):
                first, refused, last = await asyncio.to_thread(engine.run, 0, [good, split(bad)[0], good])
                assert isinstance(refused, YunmoError)
                assert not isinstance(first, YunmoError)
                assert first == last

    async def test_a_task_it_does_not_have_is_refused(self, case, engine):
        foreign = next(
            request
            for request in (Classify(texts=("a",)), Detect(image=b"x"), ClassifyAudio(audio=b"x"))
            if task_name(request) not in engine.tasks
        )
        with pytest.raises(Unsupported):
            await answer(engine, foreign)

    async def test_leaving_a_stream_stops_the_work_and_frees_its_place(self, case, engine):
        if not isinstance(engine, Engine) or case.long is None:
            pytest.skip("nothing streams here")
        for _ in range(case.plan.slots + 1):
            stream = engine.stream(case.long)
            async with asyncio.timeout(DEADLINE_SECONDS):
                while isinstance(await anext(stream), Usage):
                    pass
                await stream.aclose()
        for request in case.requests.values():
            await answer(engine, request)

    async def test_a_cancelled_reader_stops_the_work_and_frees_its_place(self, case, engine):
        if not isinstance(engine, Engine) or case.long is None:
            pytest.skip("nothing streams here")
        began = asyncio.Event()

        async def read() -> None:
            async for item in engine.stream(case.long):
                if not isinstance(item, Usage):
                    began.set()

        reader = asyncio.create_task(read())
        async with asyncio.timeout(DEADLINE_SECONDS):
            await began.wait()
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
        await answer(engine, next(iter(case.requests.values())))
