"""The router in simulation: fake workers that answer, crash and lose their poison in any order the seed makes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunmo.core.errors import EngineFailed, Overloaded, PoisonRequest
from yunmo.core.tasks import Classify, Generate, Label, Labels
from yunmo.core.usage import Usage
from yunmo.serving.router import Router, Seat


class _Worker:
    """Holds what it was given until the simulation lets it answer."""

    def __init__(self):
        self.working = {}
        self.cancelled = set()
        self.next_id = 0
        self.most = 0

    def submit(self, request, receiver, *, can_wait=False):
        self.next_id += 1
        self.working[self.next_id] = (request, receiver)
        self.most = max(self.most, len(self.working))
        return self.next_id

    def cancel(self, number):
        self.cancelled.add(number)

    def answer(self, number):
        request, receiver = self.working.pop(number)
        if number not in self.cancelled:
            receiver.chunk(Labels(rows=((Label(request.texts[0], 1.0),),)))
        receiver.finished(Usage(input_tokens=1))


class _Sink:
    def __init__(self):
        self.chunks = []
        self.ends = []

    def deliver(self, chunk):
        self.chunks.append(chunk)

    def end(self, usage, error):
        self.ends.append((usage, error))


def _request(text):
    return Classify(texts=(text,))


def _router(seats=1, slots=2, queue_limit=10):
    router = Router("test", queue_limit)
    for _ in range(seats):
        router.seat(Seat(_Worker(), slots, "r1"))
    return router


def _is_poison(request):
    return request.texts[0].startswith("poison")


class _World:
    """One deployment under a random history: poison kills its worker as soon as it runs, workers are always replaced."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.slots = self.random.randint(1, 4)
        self.router = _router(self.random.randint(1, 3), self.slots, queue_limit=10_000)
        self.sent = []
        self.deaths = 0

    def send(self, text):
        sink = _Sink()
        self.sent.append((text, sink, self.router.submit(_request(text), sink)))

    def step(self):
        seats = [seat for seat in self.router.seats if seat.worker.working]
        if not seats:
            return False
        seat = self.random.choice(seats)
        if any(_is_poison(request) for request, _ in seat.worker.working.values()) and self.random.random() < 0.7:
            self.kill(seat)
        else:
            ready = [number for number, (request, _) in seat.worker.working.items() if not _is_poison(request)]
            if not ready:
                self.kill(seat)
            else:
                seat.worker.answer(self.random.choice(ready))
        return True

    def kill(self, seat):
        self.deaths += 1
        seat.worker.working.clear()
        self.router.lose(seat)
        self.router.seat(Seat(_Worker(), self.slots, "r1"))


@given(st.integers(0, 10**9))
@settings(max_examples=400, deadline=None)
def test_every_request_ends_once_poison_dies_and_bystanders_are_answered(seed):
    world = _World(seed)
    poisons = 0
    for number in range(world.random.randint(5, 60)):
        if world.random.random() < 0.05:
            poisons += 1
            world.send(f"poison {number}")
        else:
            world.send(f"good {number}")
        for _ in range(world.random.randint(0, 3)):
            world.step()
    while world.step():
        pass
    for text, sink, _ in world.sent:
        assert len(sink.ends) == 1, (seed, text)
        _, error = sink.ends[0]
        if text.startswith("poison"):
            assert isinstance(error, PoisonRequest)
        else:
            assert error is None
            assert sink.chunks[0].rows[0][0].label == text
    assert world.deaths <= 2 * poisons
    assert world.router.in_flight == world.router.waiting == 0


@given(st.integers(0, 10**9))
@settings(max_examples=200, deadline=None)
def test_cancelled_requests_end_once_and_no_seat_is_overbooked(seed):
    world = _World(seed)
    for number in range(40):
        world.send(f"good {number}")
        if world.random.random() < 0.4:
            world.router.cancel(world.random.choice(world.sent)[2])
        if world.random.random() < 0.5:
            world.step()
    while world.step():
        pass
    assert all(len(sink.ends) == 1 for _, sink, _ in world.sent)
    assert all(seat.worker.most <= world.slots for seat in world.router.seats)


def test_the_queue_is_bounded_and_says_when_to_come_back():
    router = _router(slots=1, queue_limit=2)
    for number in range(3):
        router.submit(_request(str(number)), _Sink())
    with pytest.raises(Overloaded) as refused:
        router.submit(_request("one too many"), _Sink())
    assert refused.value.retry_after_seconds >= 1
    assert router.waiting == 2


def test_an_answer_that_had_begun_is_not_tried_again():
    router = _router(slots=1)
    sink = _Sink()
    router.submit(_request("begun"), sink)
    seat = router.seats[0]
    _, receiver = next(iter(seat.worker.working.values()))
    receiver.chunk(Labels(rows=((Label("half", 1.0),),)))
    router.lose(seat)
    assert isinstance(sink.ends[0][1], EngineFailed)


def test_work_goes_to_the_seat_with_the_most_room():
    router = _router(seats=2, slots=4)
    for number in range(4):
        router.submit(_request(str(number)), _Sink())
    assert [len(seat.flights) for seat in router.seats] == [2, 2]


def test_known_poison_is_refused_at_once():
    router = _router(slots=1)
    sink = _Sink()
    router.submit(_request("poison"), sink)
    for _ in range(2):
        router.lose(router.seats[0])
        router.seat(Seat(_Worker(), 1, "r1"))
    assert isinstance(sink.ends[0][1], PoisonRequest)
    with pytest.raises(PoisonRequest):
        router.submit(_request("poison"), _Sink())
    router.submit(_request("another"), _Sink())


def test_a_draining_seat_gets_nothing_more_and_tells_when_it_is_idle():
    router = _router(seats=1, slots=2)
    idle = []
    router.on_idle = idle.append
    router.submit(_request("last"), _Sink())
    seat = router.seats[0]
    router.drain(seat)
    router.submit(_request("waits"), _Sink())
    assert router.waiting == 1
    assert idle == []
    seat.worker.answer(1)
    assert idle == [seat]


def test_everyone_who_waits_is_told_when_no_replica_will_come():
    router = Router("test", 10)
    sinks = [_Sink() for _ in range(3)]
    for sink in sinks:
        router.submit(_request("x"), sink)
    router.fail_waiting(EngineFailed("no"))
    assert all(isinstance(sink.ends[0][1], EngineFailed) for sink in sinks)


def _adapted(adapter, text="x"):
    return Generate(prompt=text, adapter=adapter)


def _seat(*adapters, slots=2):
    return Seat(_Worker(), slots, "r1", adapters=frozenset(adapters))


def test_a_request_for_an_adapter_is_held_until_every_replica_has_it_and_holds_up_nobody():
    router = Router("test", 10)
    old, new = _seat(), _seat("one")
    router.seat(old)
    held = router.submit_adapted(_adapted("one"), _Sink())
    other = router.submit(_request("other"), _Sink())
    assert (held.seat, other.seat, router.waiting) == (None, old, 1)
    router.seat(new)
    assert held.seat is None, "the old replica may still be chosen"
    router.drain(old)
    assert held.seat is new
    assert router.submit_adapted(_adapted("one"), _Sink()).seat is new
    assert router.submit_adapted(_adapted("two"), _Sink()).seat is None


def test_a_held_request_counts_as_waiting_is_cancelled_once_and_fails_when_no_replica_will_have_its_adapter():
    router = Router("test", 3)
    router.seat(_seat())
    one, two, three = (_Sink() for _ in range(3))
    first = router.submit_adapted(_adapted("one"), one)
    router.submit_adapted(_adapted("two"), two)
    router.submit_adapted(_adapted("three"), three)
    with pytest.raises(Overloaded):
        router.submit_adapted(_adapted("two"), _Sink())
    router.cancel(first)
    router.cancel(first)
    assert [len(sink.ends) for sink in (one, two, three)] == [1, 0, 0]
    router.fail_held(EngineFailed("no"), "two")
    assert isinstance(two.ends[0][1], EngineFailed)
    router.fail_waiting(EngineFailed("no"))
    assert [len(sink.ends) for sink in (one, two, three)] == [1, 1, 1]
    assert router.waiting == 0


def test_requests_that_another_router_answers_leave_the_queue_with_their_suspicion_and_are_answered_there():
    busy, other = _router(slots=1), _router(slots=1)
    sinks = {text: _Sink() for text in ("mine", "theirs", "mine too")}
    flights = {text: busy.submit(_request(text), sink) for text, sink in sinks.items()}
    busy.give_away(lambda request: request.texts == ("mine",))
    assert flights["mine"].seat is not None, "what is being answered stays"
    other.take_over(busy.give_away(lambda request: request.texts == ("theirs",)))
    assert busy.waiting == 1
    other.seats[0].worker.answer(1)
    assert sinks["theirs"].ends == [(Usage(input_tokens=1), None)]
    flights["theirs"].router.cancel(flights["theirs"])
    busy.lose(busy.seats[0])
    assert busy.waiting == 2
    suspects = busy.give_away(lambda _: True)
    assert [flight.is_suspect for flight in suspects] == [True, False]
    other.take_over(suspects)
    assert other.in_flight == 1, "a suspect is alone on its replica"


def test_what_comes_back_after_a_crash_may_be_given_away_before_another_replica_gets_it():
    router, given = _router(seats=2, slots=1), []
    router.on_requeue = lambda: given.extend(router.give_away(lambda request: request.texts == ("theirs",)))
    lost = router.submit(_request("theirs"), _Sink()).seat
    router.lose(lost)
    assert [flight.request.texts for flight in given] == [("theirs",)]
    assert router.in_flight == router.waiting == 0
