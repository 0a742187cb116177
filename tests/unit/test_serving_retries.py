import asyncio

import pytest

from yunmo.serving import retries
from yunmo.serving.retries import Retries


@pytest.fixture
def clock(monkeypatch):
    """The time that retries see, in seconds."""
    now = [1000.0]
    monkeypatch.setattr(retries.time, "monotonic", lambda: now[0])
    return now


def test_each_failure_waits_twice_as_long_up_to_a_minute():
    tried = Retries(lambda: None)
    assert [tried.failed() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert [tried.failed() for _ in range(2000)][-1] == 60


def test_a_pause_lasts_until_its_time_or_until_something_else_is_wanted(clock):
    tried = Retries(lambda: None)
    assert tried.pause_seconds == 0
    tried.failed()
    tried.failed()
    clock[0] += 0.5
    assert tried.pause_seconds == 1.5
    clock[0] += 2
    assert tried.pause_seconds == 0
    tried.failed()
    tried.forget()
    assert (tried.pause_seconds, tried.failed()) == (0, 1)
    tried.succeeded()
    assert (tried.pause_seconds, tried.attempts) == (0, 0)


def test_a_replica_that_dies_soon_after_the_last_ones_did_is_replaced_later(clock):
    tried = Retries(lambda: None)
    waits = []
    for _ in range(6):
        tried.succeeded()
        clock[0] += 1
        waits.append(tried.after_crash_seconds())
    assert waits == [0, 0, 1, 2, 4, 8]
    clock[0] += 60
    tried.succeeded()
    assert tried.after_crash_seconds() == 0


async def test_only_the_last_time_that_was_said_wakes():
    woken = asyncio.Event()
    tried = Retries(woken.set)
    tried.look_again_in(0.0)
    tried.look_again_in(3600)
    await asyncio.sleep(0.01)
    assert not woken.is_set()
    tried.look_again_in(0.0)
    await asyncio.wait_for(woken.wait(), 5)
