"""Who may go among the requests that can wait."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from yunmo.serving.background import Background


@dataclass(eq=False)
class Queue:
    slots: int = 4
    at_once: int | None = None
    in_flight: int = 0
    waiting: int = 0
    seats: list = field(default_factory=list)

    def __post_init__(self):
        self.seats = [SimpleNamespace(slots=self.slots, at_once=self.at_once or self.slots)]


@pytest.fixture
def clock():
    return SimpleNamespace(at=1000.0)


@pytest.fixture
def background(clock):
    return Background(lambda: clock.at)


async def line_up(background, queue, count):
    """So many tasks that want their turn; what has it is in flight."""
    going = []

    async def go():
        await background.turn(queue)
        queue.in_flight += 1
        going.append(asyncio.current_task())

    tasks = [asyncio.create_task(go()) for _ in range(count)]
    await asyncio.sleep(0.05)
    return tasks, going


def end(background, queue):
    queue.in_flight -= 1
    background.leave(queue)


async def stop(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_with_nobody_there_all_slots_are_taken_and_one_waits_before_them(background):
    queue = Queue(slots=4)
    tasks, going = await line_up(background, queue, 8)
    assert len(going) == 5
    end(background, queue)
    await asyncio.sleep(0)
    assert len(going) == 6
    assert going == tasks[:6]
    await stop(tasks)


async def test_beside_somebody_who_waits_one_goes_if_it_leaves_a_slot(background, clock):
    queue = Queue(slots=4, in_flight=1)
    tasks, going = await line_up(background, queue, 3)
    assert len(going) == 1
    queue.in_flight += 1  # another one comes; two slots are free
    end(background, queue)
    await asyncio.sleep(0.05)
    assert len(going) == 2
    queue.in_flight += 1  # three people: it would take the last slot
    end(background, queue)
    await asyncio.sleep(0.05)
    assert len(going) == 2
    clock.at += 10
    await asyncio.sleep(0.05)
    assert len(going) == 3
    await stop(tasks)


async def test_beside_somebody_who_waits_none_goes_that_the_next_would_wait_for(background, clock):
    queue = Queue(slots=12, at_once=2, in_flight=1)
    tasks, going = await line_up(background, queue, 3)
    assert len(going) == 1  # the one that goes now and then
    end(background, queue)
    await asyncio.sleep(0.05)
    assert len(going) == 1
    queue.in_flight -= 1  # a moment when nobody is there
    await asyncio.sleep(0.05)
    assert len(going) == 2
    await stop(tasks)


async def test_the_slots_are_free_again_a_moment_after_the_last_who_waited(background, clock):
    queue = Queue(slots=1)
    tasks, going = await line_up(background, queue, 4)
    assert len(going) == 2
    background.note(queue)
    queue.in_flight += 1
    end(background, queue)
    end(background, queue)
    await asyncio.sleep(0.05)
    assert len(going) == 2
    queue.in_flight -= 1
    clock.at += 0.2
    await asyncio.sleep(0.05)
    assert len(going) == 2
    clock.at += 0.1
    await asyncio.sleep(0.05)
    assert len(going) == 4
    await stop(tasks)


async def test_a_model_that_is_not_loaded_is_asked_once(background):
    queue = Queue(slots=0)
    tasks, going = await line_up(background, queue, 3)
    assert len(going) == 1
    await stop(tasks)


async def test_one_that_gives_up_leaves_its_turn_to_others(background):
    queue = Queue(slots=1)
    tasks, going = await line_up(background, queue, 4)
    tasks[2].cancel()
    await asyncio.sleep(0)
    end(background, queue)
    end(background, queue)
    await asyncio.sleep(0.05)
    assert [tasks.index(task) for task in going] == [0, 1, 3]
    end(background, queue)
    assert background._lines == {}


async def test_one_cancelled_just_as_its_turn_came_gives_it_back(background):
    queue = Queue(slots=1)
    tasks, _ = await line_up(background, queue, 2)
    third = asyncio.create_task(background.turn(queue))
    await asyncio.sleep(0.01)
    end(background, queue)
    third.cancel()
    await asyncio.gather(third, return_exceptions=True)
    end(background, queue)
    assert background._lines == {}
    await stop(tasks)
