"""Every request gives back what it took, whatever became of it: a router with inline workers under a random history.

The workers are real replicas of the echo engine behind real wires; only processes are spared. Requests are sent, read, given up
before and after their work began, run into their deadline, fail, and meet a full queue; replicas come and go.
"""

import asyncio
import random
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from yunmo.core.engine import Plan
from yunmo.core.errors import YunmoError
from yunmo.core.identity import Limits, Principal
from yunmo.core.tasks import Chat, Classify, Embed, Generate, Message
from yunmo.runtime.link import WorkerSpec
from yunmo.runtime.placement.inline import InlinePlacement
from yunmo.serving.infer import Answering
from yunmo.serving.router import Router, Seat
from yunmo.tenancy.limits import Limiter

CALLER = Principal("acme", "key", frozenset({"infer"}), limits=Limits(tokens_per_minute=10**9, concurrent_requests=30))
OPTIONS = {"tasks": ["classify", "chat", "generate"], "error_on": "fail", "delay_seconds": 0.001}


class _Ledger:
    """Keeps every event that is recorded."""

    def __init__(self):
        self.events = []

    def record(self, event):
        self.events.append(event)


class _World:
    """One deployment with its limits and its ledger."""

    def __init__(self, seed, directory, stack):
        self.random = random.Random(seed)
        self.slots = self.random.randint(1, 3)
        self.directory = directory
        self.stack = stack
        self.router = Router("test", queue_limit=self.random.randint(0, 8))
        spec = SimpleNamespace(name="test", repository="echo", revision="r1", created=SimpleNamespace(timestamp=float), project="acme")
        self.runner = SimpleNamespace(
            router=self.router, spec=spec, offer=None, pipeline_tag=None, state="ready", reason="", progress=1.0, ceilings=Limits()
        )
        self.limiter = Limiter()
        self.tenancy = SimpleNamespace(ledger=_Ledger(), limiter=self.limiter)
        self.begun = []
        self.readers = []

    async def add_replica(self):
        plan = Plan(engine="echo", slots=self.slots, options=OPTIONS)
        spec = WorkerSpec("test", "echo", self.directory, self.directory / "derived", plan, self.directory / "log")
        placed = await InlinePlacement().start(spec, lambda _step, _share: None)
        self.stack.push_async_callback(placed.stop, 5)
        await placed.worker.load(spec)
        self.router.seat(Seat(placed.worker, self.slots, "r1"))

    def send(self):
        request = self.random.choice(
            [
                Classify(texts=("hello",)),
                Classify(texts=("fail",)),
                Embed(inputs=("a task that the model does not do",)),
                Chat(messages=(Message("system", "no user message"),)),
                Chat(messages=(Message("user", "word " * self.random.randint(0, 30)),), choices=self.random.randint(1, 2)),
                Generate(prompt="word " * self.random.randint(1, 30)),
            ]
        )
        try:
            ticket = self.limiter.enter(CALLER, "test", self.runner.ceilings, 1)
        except YunmoError:
            return
        answering = Answering(CALLER, self.runner, request, ticket, self.tenancy)
        try:
            answering.start(deadline_seconds=self.random.choice([0.0, 0.004, 60.0]), cold_wait_seconds=self.random.choice([0.0, 60.0]))
        except YunmoError:
            ticket.settle(0)
            return
        self.begun.append(answering)
        how = self.random.choice([self.read, self.read_whole, self.read_a_little, self.wait_a_little])
        self.readers.append(asyncio.ensure_future(how(answering)))

    async def read(self, answering):
        async with answering:
            async for _ in answering:
                pass

    async def read_whole(self, answering):
        await answering.whole()

    async def read_a_little(self, answering):
        async for _ in answering:
            break
        await answering.close()

    async def wait_a_little(self, answering):
        """As a dialect does before a stream that is slow to begin."""
        for _ in range(3):
            try:
                async with asyncio.timeout(0.001):
                    await answering.ready()
            except TimeoutError:
                continue
        await answering.close()

    async def step(self):
        match self.random.choice(["send", "send", "send", "close", "cancel", "turn", "turn", "lose", "drain"]):
            case "send":
                self.send()
            case "close" if self.begun:
                await self.random.choice(self.begun).close()
            case "cancel" if self.readers:
                self.random.choice(self.readers).cancel()
            case "turn":
                await asyncio.sleep(self.random.choice([0, 0, 0.002]))
            case "lose" if self.random.random() < 0.2:
                seat = self.random.choice(self.router.seats)
                seat.worker.close()
                await seat.worker.gone
                self.router.lose(seat)
                await self.add_replica()
            case "drain" if self.random.random() < 0.2:
                self.router.drain(self.random.choice(self.router.seats))
                await self.add_replica()

    async def end(self):
        """Let everything that is under way end; who was cancelled leaves as a web handler does: by closing."""
        async with asyncio.timeout(20):
            await asyncio.gather(*self.readers, return_exceptions=True)
            for answering in self.begun:
                await answering.close()
            while self.router.in_flight or self.router.waiting:  # noqa: ASYNC110 - the workers end without telling us
                await asyncio.sleep(0.001)

    def check(self):
        events = self.tenancy.ledger.events
        assert len(events) == len(self.begun), "each request is metered exactly once"
        for seat in self.router.seats:
            assert seat.is_draining or seat.free == self.slots, "a slot has not come back"
            assert not seat.worker._receivers, "a request is still waited for"
        key = self.limiter._keys.get("key")
        assert key is None or key.running == 0, "a place of the key's has not come back"


async def _live(seed, steps):
    with tempfile.TemporaryDirectory() as directory:
        async with AsyncExitStack() as stack:
            world = _World(seed, Path(directory), stack)
            for _ in range(world.random.randint(1, 2)):
                await world.add_replica()
            for _ in range(steps):
                await world.step()
            await world.end()
            world.check()


@given(st.integers(0, 10**9), st.integers(1, 60))
@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # a shorter seed is no simpler one
def test_after_everything_has_ended_every_slot_is_free_and_each_request_was_metered_once(seed, steps):
    asyncio.run(_live(seed, steps))
