"""Slow answers begin early, and the same question is worked on once."""

import asyncio

import pytest

from yunmo.core.errors import Overloaded
from yunmo.web.dialects.deepl import waiting
from yunmo.web.dialects.deepl.waiting import Flights, held


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(waiting, "QUIET_SECONDS", 0.02)
    monkeypatch.setattr(waiting, "GRACE_SECONDS", 0.05)


class Work:
    """Work that is done when it is let."""

    def __init__(self, outcome="done"):
        self.begun = 0
        self.is_cancelled = asyncio.Event()
        self.may_end = asyncio.Event()
        self._outcome = outcome

    async def __call__(self):
        self.begun += 1
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.is_cancelled.set()
            raise
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return {"text": self._outcome}


class Client:
    """The other end of a reply."""

    def __init__(self, reply):
        self.sent = []
        self.leaves = asyncio.Event()
        self._reply = reply

    async def receive(self):
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    async def read(self):
        await self._reply({"type": "http"}, self.receive, self.send)
        return b"".join(message.get("body", b"") for message in self.sent[1:]), self.sent[-1].get("more_body", False)


async def test_a_quick_answer_is_a_plain_one():
    work = Work()
    work.may_end.set()
    reply = await held(Flights().join("a", work))
    assert (reply.status_code, reply.body) == (200, b'{"text":"done"}')


async def test_a_quick_failure_is_raised():
    work = Work(Overloaded("full"))
    work.may_end.set()
    with pytest.raises(Overloaded):
        await held(Flights().join("a", work))


async def test_a_slow_answer_sends_white_space_until_it_is_there():
    work = Work()
    client = Client(await held(Flights().join("a", work)))
    asyncio.get_running_loop().call_later(0.1, work.may_end.set)
    body, is_open = await client.read()
    assert body.strip() == b'{"text":"done"}'
    assert body.startswith(b"  ")
    assert not is_open
    assert b"content-length" not in dict(client.sent[0]["headers"])


async def test_a_slow_failure_is_said_and_the_answer_left_without_its_end():
    work = Work(Overloaded("full"))
    client = Client(await held(Flights().join("a", work)))
    work.may_end.set()
    body, is_open = await client.read()
    assert body.strip() == b'{"message":"full"}'
    assert is_open


async def test_who_asks_the_same_meanwhile_is_answered_by_the_same_work():
    work, other, flights = Work(), Work(), Flights()
    waiting_for = [asyncio.ensure_future(held(flights.join("a", work))) for _ in range(3)]
    different = asyncio.ensure_future(held(flights.join("b", other)))
    await asyncio.sleep(0)
    work.may_end.set()
    other.may_end.set()
    assert [(await each).body for each in waiting_for] == [b'{"text":"done"}'] * 3
    assert (work.begun, (await different).status_code, other.begun) == (1, 200, 1)
    assert (await held(flights.join("a", work))).status_code == 200
    assert work.begun == 2, "what has ended is not remembered"


async def test_work_for_a_client_that_left_goes_on_for_a_while_and_is_taken_up_by_its_next_request():
    work, flights = Work(), Flights()
    client = Client(await held(flights.join("a", work)))
    client.leaves.set()
    await client.read()
    again = asyncio.ensure_future(held(flights.join("a", work)))
    await asyncio.sleep(0.1)
    work.may_end.set()
    body, _ = await Client(await again).read()
    assert (body.strip(), work.begun, work.is_cancelled.is_set()) == (b'{"text":"done"}', 1, False)


async def test_work_for_nobody_is_given_up():
    work, flights = Work(), Flights()
    asking = asyncio.ensure_future(held(flights.join("a", work)))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    later = asyncio.ensure_future(asyncio.wait_for(work.is_cancelled.wait(), 2))
    await asyncio.sleep(0.04)
    assert not later.done()
    await later
    work.may_end.set()
    assert (await held(flights.join("a", work))).status_code == 200
