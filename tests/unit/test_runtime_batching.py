import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunmo.core.engine import Plan
from yunmo.core.errors import EngineFailed, InvalidRequest
from yunmo.core.tasks import Answer, Classify, Label, Labels
from yunmo.core.usage import Usage
from yunmo.runtime import batching
from yunmo.runtime.batching import Batched


class _Engine:
    """Labels each text with itself; remembers its batches; waits at a gate if it has one."""

    tasks = ("classify",)

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.batches: list[list[str]] = []
        self.gate = gate
        self.entered = threading.Event()
        self.is_closed = False

    def cost(self, request):
        return len(request.texts[0])

    def run(self, stream, requests):
        del stream
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(10)
        self.batches.append([request.texts[0] for request in requests])
        answers = []
        for request in requests:
            text = request.texts[0]
            if text == "boom":
                raise RuntimeError("the library broke")
            answers.append(InvalidRequest("no") if text == "bad" else (Labels(rows=((Label(text, 1.0),),)), Usage(input_tokens=1)))
        return answers

    def close(self):
        self.is_closed = True


def _plan(streams=1, batch_items=1):
    return Plan(engine="test", streams=streams, batch_items=batch_items)


@given(st.lists(st.lists(st.text(max_size=8), min_size=1, max_size=5), min_size=1, max_size=12), st.integers(1, 3), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_every_request_gets_its_own_rows_in_their_order(requests, streams, batch_items):
    clean = [[text for text in texts if text not in {"bad", "boom"}] or ["x"] for texts in requests]

    async def scenario():
        engine = _Engine()
        batched = Batched(engine, _plan(streams, batch_items))
        answers = await asyncio.gather(*(batched.answer(Classify(texts=tuple(texts))) for texts in clean))
        await batched.close()
        return engine, answers

    engine, answers = asyncio.run(scenario())
    for texts, (output, usage) in zip(clean, answers, strict=True):
        assert [row[0].label for row in output.rows] == texts
        assert usage.input_tokens == len(texts)
    assert max(map(len, engine.batches)) <= batch_items
    assert engine.is_closed


async def test_one_bad_item_does_not_spoil_its_batch():
    gate = threading.Event()
    engine = _Engine(gate)
    batched = Batched(engine, _plan(batch_items=4))
    first = asyncio.create_task(batched.answer(Classify(texts=("first",))))
    await asyncio.to_thread(engine.entered.wait, 5)
    good = asyncio.create_task(batched.answer(Classify(texts=("good",))))
    bad = asyncio.create_task(batched.answer(Classify(texts=("bad",))))
    await asyncio.sleep(0)
    gate.set()
    assert (await good)[0].rows[0][0].label == "good"
    with pytest.raises(InvalidRequest):
        await bad
    await first
    assert ["good", "bad"] in engine.batches or ["bad", "good"] in engine.batches
    await batched.close()


async def test_a_cancelled_item_never_joins_a_batch():
    gate = threading.Event()
    engine = _Engine(gate)
    batched = Batched(engine, _plan())
    running = asyncio.create_task(batched.answer(Classify(texts=("running",))))
    await asyncio.to_thread(engine.entered.wait, 5)
    given_up = asyncio.create_task(batched.answer(Classify(texts=("given up", "both rows"))))
    kept = asyncio.create_task(batched.answer(Classify(texts=("kept",))))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(running, kept)
    assert engine.batches == [["running"], ["kept"]]
    await batched.close()


async def test_items_that_can_wait_come_behind_all_others():
    gate = threading.Event()
    engine = _Engine(gate)
    batched = Batched(engine, _plan())
    running = asyncio.create_task(batched.answer(Classify(texts=("running",))))
    await asyncio.to_thread(engine.entered.wait, 5)
    patient = batched.submit(Classify(texts=("batch 1", "batch 2")), can_wait=True)
    person = batched.submit(Classify(texts=("person",)))
    gate.set()
    await asyncio.gather(running, batched.result(patient), batched.result(person))
    assert engine.batches == [["running"], ["person"], ["batch 1"], ["batch 2"]]
    await batched.close()


async def test_the_result_of_somebody_who_waits_is_not_held_for_items_that_can(monkeypatch):
    monkeypatch.setattr(batching, "_QUICK_SECONDS", 0.0)
    monkeypatch.setattr(batching, "_HELD_SECONDS", 3600.0)
    gates = {"person": threading.Event(), "batch": threading.Event()}

    class Slow(_Engine):
        def run(self, stream, requests):
            self.entered.set()
            assert gates[requests[0].texts[0].split()[0]].wait(10)
            return super().run(stream, requests)

    gate = threading.Event()
    gate.set()
    engine = Slow(gate)
    batched = Batched(engine, _plan())
    person = batched.submit(Classify(texts=("person",)))
    await asyncio.to_thread(engine.entered.wait, 5)
    patient = batched.submit(Classify(texts=("batch 1", "batch 2", "batch 3", "batch 4")), can_wait=True)
    gates["person"].set()
    output, _ = await asyncio.wait_for(batched.result(person), 5)
    assert output.rows[0][0].label == "person"
    gates["batch"].set()
    monkeypatch.setattr(batching, "_HELD_SECONDS", 0.01)
    await batched.result(patient)
    await batched.close()


async def _queued(batched, engine, texts):
    """The answers to come: the first text is in the engine, the others wait."""
    first = asyncio.create_task(batched.answer(Classify(texts=texts[:1])))
    await asyncio.to_thread(engine.entered.wait, 5)
    others = [asyncio.create_task(batched.answer(Classify(texts=(text,)))) for text in texts[1:]]
    await asyncio.sleep(0)
    return [first, *others]


async def test_results_are_told_together_while_more_items_wait(monkeypatch):
    monkeypatch.setattr(batching, "_QUICK_SECONDS", 0.0)
    monkeypatch.setattr(batching, "_HELD_SECONDS", 3600.0)
    gate = threading.Event()
    engine = _Engine(gate)
    batched = Batched(engine, _plan())
    turns = []
    answers = await _queued(batched, engine, ("a", "b", "c", "d"))
    monkeypatch.setattr(batched, "_tell", lambda tell=batched._tell: (turns.append(len(batched._done)), tell()))
    gate.set()
    for text, (output, _) in zip("abcd", await asyncio.wait_for(asyncio.gather(*answers), 5), strict=True):
        assert output.rows[0][0].label == text
    assert turns[0] >= 3
    await batched.close()


async def test_a_result_is_not_held_for_an_item_that_takes_long(monkeypatch):
    monkeypatch.setattr(batching, "_QUICK_SECONDS", 0.0)
    gates = {"a": threading.Event(), "b": threading.Event()}

    class Slow(_Engine):
        def run(self, stream, requests):
            self.entered.set()
            assert gates.get(requests[0].texts[0], gates["a"]).wait(10)
            return super().run(stream, requests)

    engine = Slow()
    batched = Batched(engine, _plan())
    first, *others = await _queued(batched, engine, ("a", "b", "c"))
    gates["a"].set()
    assert (await asyncio.wait_for(first, 5))[0].rows[0][0].label == "a"
    assert not any(other.done() for other in others)
    gates["b"].set()
    await asyncio.gather(*others)
    await batched.close()


async def test_the_price_of_what_is_given_up_is_that_of_the_rows_that_had_begun():
    gate = threading.Event()
    engine = _Engine(gate)
    batched = Batched(engine, _plan(batch_items=2))
    items = batched.submit(Classify(texts=("hold", "aa", "bb", "cc")))
    await asyncio.to_thread(engine.entered.wait, 5)
    waiting = asyncio.create_task(batched.result(items))
    await asyncio.sleep(0)
    waiting.cancel()
    spent = asyncio.create_task(batched.spent(items))
    await asyncio.sleep(0)
    assert not spent.done(), "what runs cannot be stopped, and what it costs is not known before it ends"
    gate.set()
    assert await asyncio.wait_for(spent, 5) == Usage(input_tokens=2)
    assert [len(batch) for batch in engine.batches] == [2]
    assert await batched.spent(items) == Usage(input_tokens=2)
    await batched.close()


async def test_what_is_given_up_before_it_began_costs_nothing():
    gate = threading.Event()
    engine = _Engine(gate)
    batched = Batched(engine, _plan())
    running = batched.submit(Classify(texts=("running",)))
    await asyncio.to_thread(engine.entered.wait, 5)
    assert await batched.spent(batched.submit(Classify(texts=("never",)))) == Usage()
    gate.set()
    await batched.result(running)
    assert engine.batches == [["running"]]
    await batched.close()


async def test_a_row_that_failed_costs_nothing_when_its_request_is_given_up():
    gate = threading.Event()
    engine = _Engine(gate)
    batched = Batched(engine, _plan())
    items = batched.submit(Classify(texts=("boom",)))
    await asyncio.to_thread(engine.entered.wait, 5)
    spent = asyncio.create_task(batched.spent(items))
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.wait_for(spent, 5) == Usage()
    await batched.close()


async def test_a_library_error_becomes_an_engine_failure_and_the_stream_lives_on():
    batched = Batched(_Engine(), _plan())
    with pytest.raises(EngineFailed, match="the library broke"):
        await batched.answer(Classify(texts=("boom",)))
    assert (await batched.answer(Classify(texts=("still here",))))[0].rows[0][0].label == "still here"
    await batched.close()


async def test_items_of_a_batch_are_of_one_task_and_alike_in_cost():
    gate = threading.Event()
    engine = _Engine(gate)
    batched = Batched(engine, _plan(batch_items=2))
    waits = [asyncio.create_task(batched.answer(Classify(texts=("hold",))))]
    await asyncio.to_thread(engine.entered.wait, 5)
    waits += [asyncio.create_task(batched.answer(Classify(texts=(text,)))) for text in ("aa", "b" * 50, "cc", "d" * 51)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*waits)
    assert engine.batches[1:] == [["aa", "cc"], ["b" * 50, "d" * 51]]
    await batched.close()


def test_a_request_without_rows_is_its_own_item():
    from yunmo.core.tasks import split

    request = Answer(question="who?", context="me")
    assert split(request) == [request]
