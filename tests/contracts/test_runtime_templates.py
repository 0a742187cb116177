"""Workers forked from a template: as closed in, as mortal and as clean as those that are started afresh."""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from starter_models import minilm_directory
from yunmo.core.engine import Hardware, Plan, libraries_of
from yunmo.core.errors import EngineFailed
from yunmo.core.plugins import engines
from yunmo.core.tasks import Classify, Embed
from yunmo.engines.transformers.kind import describe_directory
from yunmo.runtime.link import WorkerSpec
from yunmo.runtime.placement.process import ProcessPlacement
from yunmo.runtime.placement.templates import Child, Templates

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
_LIMIT_BYTES = 1 << 30
_ECHO = {"echo": ("yunmo.engines.echo", "numpy")}


class _Answer:
    def __init__(self):
        self.output = None
        self.ended = asyncio.get_running_loop().create_future()

    def chunk(self, output):
        self.output = output

    def spent(self, usage): ...

    def finished(self, usage):
        self.ended.set_result(self.output)

    def failed(self, error, usage):
        self.ended.set_exception(error)

    def lost(self):
        self.ended.set_exception(EngineFailed("lost"))


async def _ask(placed, request):
    answer = _Answer()
    placed.worker.submit(request, answer)
    return await asyncio.wait_for(answer.ended, 60)


def _spec(folder, options=None, limit_bytes=_LIMIT_BYTES):
    plan = Plan(engine="echo", slots=4, options=options or {})
    return WorkerSpec("echo", "echo", folder, folder / "derived", plan, folder / "log", limit_bytes)


@contextlib.asynccontextmanager
async def _started(placement, spec):
    placed = await placement.start(spec, lambda _step, _share: None)
    try:
        await placed.worker.load(spec)
        yield placed
    finally:
        await placed.stop(5)


class _Others:
    """The children that this process had before the test, such as other tests' databases."""

    def __init__(self):
        self._pids = {child.pid for child in psutil.Process().children()}

    def new(self):
        return {child.pid for child in psutil.Process().children()} - self._pids


@pytest.fixture
def others():
    return _Others()


@pytest.fixture
async def templates(tmp_path):
    opened = Templates(tmp_path / "templates", _ECHO, _LIMIT_BYTES)
    yield opened
    await opened.close()


@pytest.fixture
def forking(templates):
    return ProcessPlacement(templates)


def _facts(pid):
    """What a process is, apart from its numbers."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    limits = {line[:25].strip(): line[25:].split()[:2] for line in Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]}
    own = Path("/proc/self/ns/net").readlink()
    return {
        "signals": {name: status[name] for name in ("SigBlk", "SigIgn", "SigCgt")},
        "privileges": status["NoNewPrivs"],
        "limits": {name: limits[name] for name in ("Max data size", "Max core file size", "Max open files")},
        "has our network": Path(f"/proc/{pid}/ns/net").readlink() == own,
        "leads": (os.getsid(pid) == pid, os.getpgid(pid) == pid),
        "parent": psutil.Process(pid).ppid(),
        "directory": str(Path(f"/proc/{pid}/cwd").readlink()),
        "first descriptors": [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)],
    }


def _descriptors(pid):
    """Of each kind, how many; socket and pipe numbers do not matter."""
    kinds = [str(each.readlink()).split(":[")[0] for each in Path(f"/proc/{pid}/fd").iterdir()]
    return {kind: kinds.count(kind) for kind in kinds}


async def test_a_forked_worker_is_closed_in_like_one_that_was_started_afresh(forking, tmp_path):
    spec = _spec(tmp_path)
    async with _started(forking, spec) as forked, _started(ProcessPlacement(), spec) as fresh:
        assert _facts(forked.worker.pid) == _facts(fresh.worker.pid)
        assert _descriptors(forked.worker.pid) == _descriptors(fresh.worker.pid)


async def test_neither_template_nor_worker_knows_a_secret_of_the_servers(templates, tmp_path, monkeypatch):
    monkeypatch.setenv("YUNMO_ADMIN_KEY", "a-secret-of-the-operator")
    forking = ProcessPlacement(templates)
    async with _started(forking, _spec(tmp_path)) as placed:
        for pid in (placed.worker.pid, templates.running["echo"].process.pid):
            assert "a-secret-of-the-operator" not in psutil.Process(pid).environ().values()


async def test_a_template_has_no_thread_and_no_file_but_its_log_and_its_socket(templates, tmp_path):
    async with _started(ProcessPlacement(templates), _spec(tmp_path)):
        pid = templates.running["echo"].process.pid
        log = str(tmp_path / "templates" / "echo.log")
        assert _descriptors(pid) == {"/dev/null": 1, log: 2, "socket": 1}
        assert psutil.Process(pid).num_threads() == 1


async def test_each_workers_output_goes_to_its_own_log(forking, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        async with _started(forking, _spec(tmp_path / name)):
            pass
    assert all((tmp_path / name / "log").read_text().count("gateway_gone") == 1 for name in ("one", "two"))
    assert (tmp_path / "templates" / "echo.log").read_text() == ""


async def test_a_forked_worker_cannot_outgrow_its_memory(forking, tmp_path):
    modest = _spec(tmp_path, {"memory_bytes": 64 << 20}, 512 << 20)
    async with _started(forking, modest) as placed:
        assert placed.worker.resident_bytes > 64 << 20
    with pytest.raises(EngineFailed, match="MemoryError"):
        async with _started(forking, _spec(tmp_path, {"memory_bytes": 600 << 20}, 512 << 20)):
            pass


async def test_fifty_workers_in_a_row_leave_nothing_behind(forking, templates, tmp_path, others):
    async with _started(forking, _spec(tmp_path)):
        pass
    template = psutil.Process(templates.running["echo"].process.pid)
    before = psutil.Process().num_fds(), template.num_fds(), template.memory_full_info().uss
    for number in range(50):
        async with _started(forking, _spec(tmp_path)) as placed:
            labels = await _ask(placed, Classify(texts=(f"number {number}",)))
            assert labels.rows[0][0].label == f"number {number}"
    assert (psutil.Process().num_fds(), template.num_fds()) == before[:2]
    assert template.memory_full_info().uss - before[2] < 2 << 20
    assert others.new() == {template.pid}


async def test_a_workers_end_is_seen_and_leaves_no_zombie(forking, templates, tmp_path):
    async with _started(forking, _spec(tmp_path, {"crash_on": "die"})) as placed:
        with pytest.raises(EngineFailed, match="lost"):
            await _ask(placed, Classify(texts=("die",)))
        assert await asyncio.wait_for(placed._process.wait(), 10) == 70
        assert not psutil.pid_exists(placed.worker.pid)


async def test_a_worker_that_hangs_is_killed_with_its_own_children(forking, tmp_path):
    placed = await forking.start(_spec(tmp_path), lambda _step, _share: None)
    os.kill(placed.worker.pid, signal.SIGSTOP)
    await asyncio.wait_for(placed.stop(0.2), 10)
    assert await placed._process.wait() == -signal.SIGKILL
    assert not psutil.pid_exists(placed.worker.pid)


async def test_a_worker_that_hangs_since_its_first_moment_is_killed_too(forking, tmp_path):
    for _ in range(20):
        placed = await forking.start(_spec(tmp_path), lambda _step, _share: None)
        os.kill(placed.worker.pid, signal.SIGSTOP)  # often before it is the leader of a group
        await asyncio.wait_for(placed.stop(0), 10)
        assert not psutil.pid_exists(placed.worker.pid)


async def test_workers_outlive_their_template_and_the_next_start_brings_another(forking, templates, tmp_path):
    async with _started(forking, _spec(tmp_path)) as first:
        lost = templates.running["echo"].process.pid
        os.kill(lost, signal.SIGKILL)
        async with _started(forking, _spec(tmp_path)) as second:
            for placed in (first, second):
                labels = await _ask(placed, Classify(texts=("still here",)))
                assert labels.rows[0][0].label == "still here"
        assert templates.running["echo"].process.pid != lost


async def test_a_template_that_hangs_is_killed_and_replaced(forking, templates, tmp_path, monkeypatch):
    async with _started(forking, _spec(tmp_path)):
        pass
    monkeypatch.setattr("yunmo.runtime.placement.templates._FORK_SECONDS", 1.0)
    template = templates.running["echo"].process
    os.kill(template.pid, signal.SIGSTOP)
    async with _started(forking, _spec(tmp_path)) as placed:
        assert (await _ask(placed, Classify(texts=("hello",)))).rows[0][0].label == "hello"
        assert template.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("modules", "limit_bytes"),
    [(("no_such_library",), _LIMIT_BYTES), (("concurrency",), _LIMIT_BYTES), (("numpy",), 1 << 20), (("numpy",), 0)],
)
async def test_where_no_template_may_be_workers_are_started_afresh(modules, limit_bytes, tmp_path, monkeypatch, others):
    (tmp_path / "concurrency.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    templates = Templates(tmp_path / "templates", {"echo": modules}, limit_bytes)
    async with _started(ProcessPlacement(templates), _spec(tmp_path)) as placed:
        assert "yunmo.runtime.worker" in psutil.Process(placed.worker.pid).cmdline()
        assert (await _ask(placed, Classify(texts=("hello",)))).rows[0][0].label == "hello"
    assert templates.running == {}
    assert others.new() == set()


async def test_templates_stay_within_their_memory_and_the_least_used_one_goes(tmp_path):
    libraries = {"echo": ("yunmo.engines.echo",), "other": ("yunmo.engines.echo",)}
    templates = Templates(tmp_path / "templates", libraries, _LIMIT_BYTES)
    async with _started(ProcessPlacement(templates), _spec(tmp_path)):
        templates._limit_bytes = templates.running["echo"].private_bytes * 3 // 2
        (tmp_path / "templates" / "other.log").touch()
        (tmp_path / "templates" / "echo.log").unlink()
        await templates.warm_up()
        assert list(templates.running) == ["other"]
    await templates.close()


async def test_only_engines_that_were_used_before_are_warmed_up(templates, tmp_path):
    await templates.warm_up()
    assert templates.running == {}
    async with _started(ProcessPlacement(templates), _spec(tmp_path)):
        pass
    await templates.close()
    assert templates.running == {}
    await templates.warm_up()
    assert list(templates.running) == ["echo"]


async def test_a_start_that_is_given_up_leaves_no_worker_behind(forking, templates, tmp_path, others):
    async with _started(forking, _spec(tmp_path)):
        pass
    chance = random.Random(5)
    for _ in range(20):
        start = asyncio.ensure_future(forking.start(_spec(tmp_path), lambda _step, _share: None))
        done, _ = await asyncio.wait({start}, timeout=chance.uniform(0, 0.015))
        if done:
            await start.result().stop(5)
        start.cancel()
        await asyncio.wait({start})
    for pid in others.new() - {templates.running["echo"].process.pid}:
        with contextlib.suppress(ProcessLookupError):  # it ended before we could look at it
            await asyncio.wait_for(Child(pid).wait(), 10)
    async with _started(forking, _spec(tmp_path)) as placed:
        assert (await _ask(placed, Classify(texts=("hello",)))).rows[0][0].label == "hello"


_SERVER = """
import asyncio, json, sys
from pathlib import Path
from yunmo.core.engine import Plan
from yunmo.runtime.link import WorkerSpec
from yunmo.runtime.placement.process import ProcessPlacement
from yunmo.runtime.placement.templates import Templates

async def main(folder):
    templates = Templates(folder / "templates", {"echo": ("yunmo.engines.echo",)}, 1 << 30)
    spec = WorkerSpec("echo", "echo", folder, folder / "derived", Plan(engine="echo"), folder / "log")
    placed = [await ProcessPlacement(templates).start(spec, lambda *_: None) for _ in range(3)]
    await asyncio.gather(*(each.worker.load(spec) for each in placed))
    print(json.dumps([templates.running["echo"].process.pid, *(each.worker.pid for each in placed)]), flush=True)
    await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("is_template_gone", [False, True])
def test_a_killed_server_takes_template_and_workers_with_it(tmp_path, is_template_gone):
    with subprocess.Popen([sys.executable, "-c", _SERVER, str(tmp_path)], stdout=subprocess.PIPE) as server:
        template, *workers = [psutil.Process(pid) for pid in json.loads(next(line for line in server.stdout if line.startswith(b"[")))]
        if is_template_gone:
            template.kill()
        for worker in workers:
            worker.suspend()  # so that it cannot see its wire close
        assert all(worker.is_running() for worker in workers)
        server.kill()
    _, alive = psutil.wait_procs([template, *workers], timeout=10)
    assert alive == []


@pytest.mark.parametrize("engine", ["llama_cpp", "onnx", "openvino_genai", "transformers", "whisper"])
async def test_the_libraries_of_every_built_in_engine_can_be_forked(engine, tmp_path):
    libraries = libraries_of(engines()[engine])
    assert libraries
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / f"{engine}.log").touch()
    templates = Templates(tmp_path / "templates", {engine: libraries}, _LIMIT_BYTES)
    await templates.warm_up()
    assert list(templates.running) == [engine]
    await templates.close()


async def test_a_forked_worker_exports_a_model_and_many_answer_alike(tmp_path):
    kind = engines()["onnx"]
    offer = kind.offer(describe_directory(minilm_directory()), Hardware(cores=2, memory_bytes=8 << 30))
    spec = WorkerSpec("minilm", "onnx", minilm_directory(), tmp_path / "derived", offer.plan, tmp_path / "log", 4 << 30)
    templates = Templates(tmp_path / "templates", {"onnx": libraries_of(kind)}, _LIMIT_BYTES)
    vectors = set()
    for _ in range(10):
        async with _started(ProcessPlacement(templates), spec) as placed:
            answers = await asyncio.gather(*(_ask(placed, Embed(inputs=("The quick brown fox",))) for _ in range(8)))
            vectors |= {answer.vectors[0].data for answer in answers}
    assert list(templates.running) == ["onnx"]
    assert len(vectors) == 1
    await templates.close()
