"""One suite for every placement: the same worker, wherever it runs."""

import asyncio
import site
import sys
import threading
import venv

import psutil
import pytest

from yunmo.core.engine import Plan
from yunmo.core.errors import EngineFailed, Unsupported
from yunmo.core.tasks import Classify, Embed, Label, Labels
from yunmo.core.usage import Usage
from yunmo.runtime.link import WorkerSpec
from yunmo.runtime.placement.inline import InlinePlacement
from yunmo.runtime.placement.process import ProcessPlacement
from yunmo.runtime.placement.templates import Templates


class _Answer:
    def __init__(self):
        self.chunks = []
        self.known = None
        self.ended = asyncio.get_running_loop().create_future()

    def chunk(self, output):
        self.chunks.append(output)

    def spent(self, usage):
        assert not self.chunks, "the price of the prompt comes with the first piece"
        self.known = usage

    def finished(self, usage):
        self.ended.set_result(usage)

    def failed(self, error, usage):
        self.ended.set_exception(error)

    def lost(self):
        self.ended.set_exception(EngineFailed("lost"))


@pytest.fixture(params=["inline", "process", "forked"])
async def placement(request, tmp_path):
    if request.param == "inline":
        yield InlinePlacement()
        return
    templates = Templates(tmp_path / "templates", {"echo": ("yunmo.engines.echo",)}, 1 << 30)
    yield ProcessPlacement(templates if request.param == "forked" else None)
    assert list(templates.running) == (["echo"] if request.param == "forked" else [])
    await templates.close()


@pytest.fixture
async def placed(placement, tmp_path):
    plan = Plan(engine="echo", slots=4)
    spec = WorkerSpec("echo", "echo", tmp_path, tmp_path / "derived", plan, tmp_path / "log")
    started = await placement.start(spec, lambda _step, _share: None)
    await started.worker.load(spec)
    yield started
    await started.stop(5)


async def test_a_worker_answers_and_says_what_it_used(placed):
    answer = _Answer()
    placed.worker.submit(Classify(texts=("two words",)), answer)
    usage = await asyncio.wait_for(answer.ended, 10)
    assert answer.chunks[0].rows[0][0].label == "two words"
    assert usage.input_tokens == 2
    assert placed.worker.tasks == ("classify",)


async def test_a_task_that_the_model_does_not_do_is_refused(placed):
    answer = _Answer()
    placed.worker.submit(Embed(inputs=("x",)), answer)
    with pytest.raises(Unsupported):
        await asyncio.wait_for(answer.ended, 10)


async def test_each_heartbeat_tells_how_much_memory_the_worker_takes_by_now(placed):
    worker = placed.worker
    at_the_start, worker.resident_bytes = worker.resident_bytes, 0
    heart = asyncio.ensure_future(worker.watch(hang_seconds=5))
    await asyncio.sleep(0)  # the watch asks
    await asyncio.wait_for(worker._pong.wait(), 5)
    heart.cancel()
    assert worker.resident_bytes > at_the_start / 2 > 0


async def test_a_stopped_worker_is_gone_and_stopping_again_is_harmless(placed):
    await placed.stop(5)
    await asyncio.wait_for(placed.worker.gone, 5)
    await placed.stop(5)


async def test_a_request_that_is_given_up_before_it_began_ends_too(placed):
    answers = [_Answer() for _ in range(50)]
    for answer in answers:
        placed.worker.cancel(placed.worker.submit(Classify(texts=("unwanted",)), answer))  # both leave in one write
    for answer in answers:
        await asyncio.wait_for(answer.ended, 5)


async def test_an_engine_with_an_environment_of_its_own_is_started_there_and_the_others_are_not(tmp_path):
    venv.create(tmp_path / "other", symlinks=True)
    (packages,) = (tmp_path / "other").glob("lib/python*/site-packages")
    (packages / "these.pth").write_text("\n".join([*site.getsitepackages(), *sys.path]))  # stands for an installation of Yunmo
    python = tmp_path / "other" / "bin" / "python"
    templates = Templates(tmp_path / "templates", {"echo": ("yunmo.engines.echo",)}, 1 << 30)
    for pythons, expected in (({"echo": python}, str(python)), ({"another": python}, sys.executable)):
        spec = WorkerSpec("echo", "echo", tmp_path, tmp_path / "derived", Plan(engine="echo"), tmp_path / "log")
        placed = await ProcessPlacement(templates, pythons).start(spec, lambda _step, _share: None)
        await placed.worker.load(spec)
        assert psutil.Process(placed.worker.pid).cmdline()[0] == expected
        answer = _Answer()
        placed.worker.submit(Classify(texts=("two words",)), answer)
        await asyncio.wait_for(answer.ended, 10)
        await placed.stop(5)
    await templates.close()


class _Gated:
    """A kind of engine, and the engine itself: each text costs a token, once the gate has been opened."""

    name = "gated"
    tasks = ("classify",)

    def __init__(self):
        self.gate, self.entered, self.heard_the_next = threading.Event(), threading.Event(), threading.Event()

    def load(self, directory, derived, plan, progress):
        return self

    def cost(self, request):
        if request.texts == ("the next",):
            self.heard_the_next.set()
        return 1

    def run(self, stream, requests):
        self.entered.set()
        assert self.gate.wait(10)
        return [(Labels(rows=((Label("x", 1.0),),)), Usage(input_tokens=1)) for _ in requests]

    def close(self):
        pass


async def test_an_engine_that_does_not_stream_is_paid_for_what_it_had_begun_when_its_caller_leaves(tmp_path, monkeypatch):
    engine = _Gated()
    monkeypatch.setattr("yunmo.core.plugins.engines", lambda: {"gated": engine})
    spec = WorkerSpec("gated", "gated", tmp_path, tmp_path / "derived", Plan(engine="gated"), tmp_path / "log")
    placed = await InlinePlacement().start(spec, lambda _step, _share: None)
    await placed.worker.load(spec)
    answer = _Answer()
    number = placed.worker.submit(Classify(texts=("one", "two", "three")), answer)
    await asyncio.to_thread(engine.entered.wait, 5)
    placed.worker.cancel(number)
    next_one = _Answer()
    placed.worker.submit(Classify(texts=("the next",)), next_one)
    await asyncio.to_thread(engine.heard_the_next.wait, 5)  # so it has heard of the cancelling too
    engine.gate.set()
    assert await asyncio.wait_for(answer.ended, 5) == Usage(input_tokens=1)
    assert answer.chunks == []
    assert await asyncio.wait_for(next_one.ended, 5) == Usage(input_tokens=1)
    await placed.stop(5)
