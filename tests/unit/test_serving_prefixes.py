"""Requests find the replica that has read their beginning: the fingerprint, and the router in simulation."""

import random
from collections import Counter, deque

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunmo.core.tasks import Chat, Classify, Generate, Message, Tool
from yunmo.core.usage import Usage
from yunmo.serving.prefixes import Prefixes, prefix_of
from yunmo.serving.router import Router, Seat

CACHE_TOKENS = 4 * 4096


def _rules(name):
    return f"You are the assistant of {name}. " + f"Rule of {name}: be kind and brief. " * 60


RULES = {name: _rules(name) for name in ("acme", "globex", "initech")}


class _Worker:
    """Holds what it was given until the simulation lets it answer."""

    def __init__(self):
        self.working = {}
        self.next_id = 0

    def submit(self, request, receiver, *, can_wait=False):
        self.next_id += 1
        self.working[self.next_id] = (request, receiver)
        return self.next_id

    def cancel(self, number):
        pass

    def answer(self, number=None):
        _, receiver = self.working.pop(number or next(iter(self.working)))
        receiver.finished(Usage())


class _Sink:
    def deliver(self, chunk):
        pass

    def end(self, usage, error):
        pass


def _router(seats=2, slots=4, cache_tokens=CACHE_TOKENS):
    router = Router("test", 10_000)
    for _ in range(seats):
        router.seat(Seat(_Worker(), slots, "r1", Prefixes(cache_tokens) if cache_tokens else None))
    return router


def _chat(system, *turns):
    return Chat(messages=(Message("system", system), *(Message("user", turn) for turn in turns)))


def _send(router, request):
    return router.submit(request, _Sink())


def _served(router, request):
    """The seat that answers the request, at once."""
    flight = _send(router, request)
    seat = flight.seat
    seat.worker.answer(flight.number)
    return seat


def test_chats_that_begin_alike_have_fingerprints_that_begin_alike():
    one, two, other = (
        prefix_of(_chat(system, turn)) for system, turn in ((RULES["acme"], "a"), (RULES["acme"], "b"), (RULES["globex"], "a"))
    )
    assert len(one) > 5
    assert one == two
    assert set(one).isdisjoint(other)
    longer = prefix_of(_chat(RULES["acme"], "a" * 300, "b" * 300))
    assert longer[: len(one)] == one
    assert len(longer) > len(one)


def test_what_comes_before_a_text_is_part_of_its_fingerprint():
    with_tools = Chat(messages=_chat(RULES["acme"]).messages, tools=(Tool("search", "Finds things."),))
    assert set(prefix_of(with_tools)).isdisjoint(prefix_of(_chat(RULES["acme"])))


def test_the_adapter_is_part_of_the_fingerprint():
    request = _chat(RULES["acme"])
    assert set(prefix_of(request)).isdisjoint(prefix_of(msgspec.structs.replace(request, adapter="one")))


def test_prompts_of_text_and_of_tokens_have_fingerprints_and_short_ones_and_other_tasks_none():
    assert prefix_of(Generate(prompt=RULES["acme"] + "a"))[:3] == prefix_of(Generate(prompt=RULES["acme"] + "b"))[:3] != ()
    assert prefix_of(Generate(prompt=(*range(200), 1)))[:3] == prefix_of(Generate(prompt=(*range(200), 2)))[:3] != ()
    assert prefix_of(Generate(prompt="short")) == prefix_of(Classify(texts=(RULES["acme"],))) == ()


def test_a_fingerprint_and_what_is_kept_of_them_are_bounded():
    prefixes = Prefixes(cache_tokens=128 * 64 * 16)
    for number in range(100):
        prefix = prefix_of(Generate(prompt=f"{number} " * 100_000))
        assert len(prefix) == 128
        prefixes.add(prefix)
        assert prefixes.known(prefix) == 128
    assert len(prefixes) == 2048
    assert prefixes.known(prefix_of(Generate(prompt="0 " * 100_000))) == 0


@given(st.integers(0, 10**9))
@settings(max_examples=30, deadline=None)
def test_what_is_known_of_a_prompt_is_always_its_beginning(seed):
    rng = random.Random(seed)
    prefixes = Prefixes(64 * 500)
    prompts = [tuple(hash((seed, group, piece)) for piece in range(rng.randint(1, 128))) for group in range(20)]
    for _ in range(60):
        prefixes.add(rng.choice(prompts))
        for prompt in rng.sample(prompts, 2):
            known = prefixes.known(prompt)
            assert all(prefixes.known((piece,)) for piece in prompt[:known])
            assert not any(prefixes.known((piece,)) for piece in prompt[known:])


def test_the_turns_of_a_conversation_go_to_one_replica_though_another_is_as_idle():
    router = _router(seats=3)
    busy = _send(router, _chat(RULES["globex"]))
    home = _served(router, _chat(RULES["acme"], "first"))
    busy.seat.worker.answer()
    assert home is not router.seats[0]
    for turns in range(2, 10):
        assert _served(router, _chat(RULES["acme"], *["more"] * turns)) is home


def test_a_replica_that_is_much_busier_is_left_alone_and_the_other_then_has_the_prefix_too():
    router = _router(seats=2, slots=4)
    seats = [_send(router, _chat(RULES["acme"], str(number))).seat for number in range(8)]
    assert seats[:3] == [router.seats[0]] * 3, "half of its slots more than the other's"
    assert seats[3] is router.seats[1]
    assert Counter(map(id, seats)) == {id(seat): 4 for seat in router.seats}


def test_a_prefix_is_forgotten_with_its_replica():
    router = _router(seats=2)
    _send(router, _chat(RULES["globex"]))
    home = _served(router, _chat(RULES["acme"]))
    router.lose(home)
    router.seat(Seat(_Worker(), 4, "r1", Prefixes(CACHE_TOKENS)))
    assert router.seats[1].has_read(_send(router, _chat(RULES["globex"], "x"))) == 0
    assert all(seat.prefixes.known(prefix_of(_chat(RULES["acme"]))) == 0 for seat in router.seats)


def test_requests_without_a_prefix_go_where_the_most_room_is():
    router = _router(seats=2, slots=4)
    for number in range(6):
        _send(router, Classify(texts=(str(number),)))
    assert [len(seat.flights) for seat in router.seats] == [3, 3]
    assert [len(seat.prefixes) for seat in router.seats] == [0, 0]


def test_replicas_that_keep_no_prompts_are_not_asked_and_nothing_is_hashed():
    router = _router(seats=2, slots=4, cache_tokens=None)
    flights = [_send(router, _chat(RULES["acme"])) for _ in range(10)]
    assert [len(seat.flights) for seat in router.seats] == [4, 4]
    assert all(flight._prefix is None for flight in flights)


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_under_load_that_never_ends_far_more_requests_find_their_prefix_than_first_come_first_served(slots):
    assert _reused(slots, finds_prefixes=True) > 1.8 * _reused(slots, finds_prefixes=False)


def _reused(slots, *, finds_prefixes):
    """The share of prompts found in caches: of three replicas, each of which holds a third of the rules. The queue is never empty."""
    rng = random.Random(slots)
    rules = [_rules(f"project {number}") for number in range(3 * slots)]
    router = _router(seats=3, slots=slots, cache_tokens=slots * 64 * 10 if finds_prefixes else None)
    caches = {seat: deque(maxlen=slots) for seat in router.seats}
    reused = 0
    for number in range(630):
        _send(router, _chat(rng.choice(rules)))
        if number < 30:
            continue
        seat = rng.choice(router.seats)
        done, (request, _) = next(iter(seat.worker.working.items()))
        text = request.messages[0].content
        reused += text in caches[seat]
        if text in caches[seat]:
            caches[seat].remove(text)
        caches[seat].append(text)
        seat.worker.answer(done)
    assert router.waiting > 15
    return reused / 600


@given(st.integers(0, 10**9))
@settings(max_examples=150, deadline=None)
def test_no_slot_stays_free_while_somebody_waits_and_nobody_is_overtaken_for_ever(seed):
    rng = random.Random(seed)
    slots = rng.randint(1, 4)
    router = _router(rng.randint(1, 4), slots)
    limit = slots * len(router.seats)
    flights = []
    for number in range(120):
        text = rng.choice([*RULES.values(), "short"])
        flights.append(_send(router, rng.choice([_chat(text, str(number)), Generate(prompt=text), Classify(texts=(text,))])))
        while rng.random() < 0.5 and (working := [seat for seat in router.seats if seat.worker.working]):
            rng.choice(working).worker.answer()
        assert not router.waiting or all(seat.free == 0 for seat in router.seats)
        assert all(len(seat.worker.working) <= slots for seat in router.seats)
    assert max(flight.overtaken for flight in flights) <= limit
    while working := [seat for seat in router.seats if seat.worker.working]:
        rng.choice(working).worker.answer()
    assert router.waiting == router.in_flight == 0
