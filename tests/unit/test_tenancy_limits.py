"""The limiter's rules, on a clock that the tests turn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunmo.core.errors import RateLimited
from yunmo.core.identity import ANONYMOUS, Limits, Principal
from yunmo.tenancy.limits import Limiter, Rates

FREE = Limits()


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def caller(limits=FREE, key_id="key_1", name="laptop"):
    return Principal("acme", key_id, frozenset({"infer"}), name, limits)


def refused(limiter, *arguments):
    with pytest.raises(RateLimited) as caught:
        limiter.enter(*arguments)
    return caught.value


def test_without_limits_everything_comes_in(clock):
    limiter = Limiter(clock)
    for _ in range(1000):
        assert limiter.enter(caller(), "m", FREE, 10**9).rates == Rates()
    assert limiter.enter(ANONYMOUS, "m", FREE, 1).rates == Rates()


def test_a_minutes_requests_come_in_at_once_and_then_one_by_one(clock):
    limiter = Limiter(clock)
    principal = caller(Limits(requests_per_minute=6))
    for left in (5, 4, 3, 2, 1, 0):
        rates = limiter.enter(principal, "m", FREE, 0).rates
        assert (rates.limit_requests, rates.remaining_requests, rates.limit_tokens) == (6, left, None)
    error = refused(limiter, principal, "m", FREE, 0)
    assert error.retry_after_seconds == pytest.approx(10)
    assert error.message == "Your API key 'laptop' has used its 6 requests per minute; try again in 10 s."
    clock.now += 10
    limiter.enter(principal, "m", FREE, 0)
    refused(limiter, principal, "m", FREE, 0)


def test_the_refusal_names_the_model_when_its_limit_is_used_up(clock):
    limiter = Limiter(clock)
    limits = Limits(requests_per_minute=1)
    limiter.enter(caller(), "qwen", limits, 0)
    assert "The model 'qwen' has used its 1 requests per minute" in refused(limiter, caller(key_id="key_2"), "qwen", limits, 0).message
    limiter.enter(caller(), "other", limits, 0)


def test_a_refusal_by_the_model_costs_the_key_nothing(clock):
    limiter = Limiter(clock)
    principal = caller(Limits(requests_per_minute=10, tokens_per_minute=100))
    full = Limits(concurrent_requests=1)
    limiter.enter(caller(key_id="other"), "m", full, 0)
    before = limiter.rates(principal, "m", full)
    refused(limiter, principal, "m", full, 50)
    assert limiter.rates(principal, "m", full) == before


def test_tokens_are_taken_as_estimated_and_put_right_when_known(clock):
    limiter = Limiter(clock)
    principal = caller(Limits(tokens_per_minute=600))
    ticket = limiter.enter(principal, "m", FREE, 500)
    assert ticket.rates.remaining_tokens == 100
    error = refused(limiter, principal, "m", FREE, 200)
    assert error.retry_after_seconds == pytest.approx(10)
    assert "600 tokens per minute" in error.message
    ticket.settle(50)
    assert limiter.rates(principal, "m", FREE).remaining_tokens == 550
    ticket.settle(50)
    ticket.settle(0)
    assert limiter.rates(principal, "m", FREE).remaining_tokens == 550


def test_more_tokens_than_estimated_are_owed(clock):
    limiter = Limiter(clock)
    principal = caller(Limits(tokens_per_minute=600))
    limiter.enter(principal, "m", FREE, 1).settle(900)
    rates = limiter.rates(principal, "m", FREE)
    assert rates.remaining_tokens == 0
    assert rates.reset_tokens_seconds == pytest.approx(90)
    assert refused(limiter, principal, "m", FREE, 1).retry_after_seconds == pytest.approx(30.1)


def test_a_request_over_the_whole_limit_comes_in_when_the_limit_is_whole(clock):
    limiter = Limiter(clock)
    principal = caller(Limits(tokens_per_minute=60))
    limiter.enter(principal, "m", FREE, 120)
    assert refused(limiter, principal, "m", FREE, 120).retry_after_seconds == pytest.approx(120)
    clock.now += 120
    limiter.enter(principal, "m", FREE, 120)


def test_a_place_is_taken_until_the_ticket_is_settled(clock):
    limiter = Limiter(clock)
    principal = caller(Limits(concurrent_requests=2))
    first = limiter.enter(principal, "m", FREE, 0)
    limiter.enter(principal, "m", FREE, 0)
    error = refused(limiter, principal, "m", FREE, 0)
    assert "2 at a time" in error.message
    assert error.retry_after_seconds > 0
    first.settle(0)
    first.settle(0)
    limiter.enter(principal, "m", FREE, 0)
    refused(limiter, principal, "m", FREE, 0)


def test_the_rates_are_the_tighter_of_key_and_model(clock):
    limiter = Limiter(clock)
    rates = limiter.enter(
        caller(Limits(requests_per_minute=100, tokens_per_minute=50)), "m", Limits(requests_per_minute=10, tokens_per_minute=70), 5
    ).rates
    assert (rates.limit_requests, rates.remaining_requests) == (10, 9)
    assert (rates.limit_tokens, rates.remaining_tokens) == (50, 45)
    assert rates.reset_requests_seconds == pytest.approx(6)
    assert rates.reset_tokens_seconds == pytest.approx(6)


def test_a_changed_limit_holds_at_once_and_keeps_what_was_used(clock):
    limiter = Limiter(clock)
    limiter.enter(caller(Limits(requests_per_minute=2)), "m", FREE, 0)
    assert limiter.enter(caller(Limits(requests_per_minute=10)), "m", FREE, 0).rates.remaining_requests == 8
    refused(limiter, caller(Limits(requests_per_minute=1)), "m", FREE, 0)
    limiter.enter(caller(), "m", FREE, 0)


def test_idle_keys_take_no_memory_and_busy_ones_are_kept(clock):
    limiter = Limiter(clock)
    busy = caller(Limits(concurrent_requests=1), "busy")
    limiter.enter(busy, "m", FREE, 0)
    for number in range(20_000):
        limiter.enter(caller(Limits(requests_per_minute=60), f"key_{number}"), "m", FREE, 0).settle(0)
        clock.now += 0.1
    assert len(limiter._keys) < 3000
    refused(limiter, busy, "m", FREE, 0)


def test_forgetting_idle_keys_loses_no_count_of_a_request_that_comes_in_meanwhile(clock):
    limiter = Limiter(clock)
    for number in range(5000):
        principal = caller(Limits(requests_per_minute=1), f"key_{number}")
        limiter.enter(principal, f"model_{number}", Limits(requests_per_minute=100), 0).settle(0)
        refused(limiter, principal, f"model_{number}", Limits(requests_per_minute=100), 0)
        clock.now += 1


def test_a_clock_that_stands_still_or_goes_back_gives_nothing_away(clock):
    limiter = Limiter(clock)
    principal = caller(Limits(requests_per_minute=1))
    limiter.enter(principal, "m", FREE, 0)
    clock.now -= 500
    refused(limiter, principal, "m", FREE, 0)


steps = st.lists(
    st.tuples(st.floats(0, 30, allow_nan=False), st.integers(0, 150), st.integers(0, 200), st.integers(0, 3)),
    max_size=60,
)


@given(steps, st.integers(1, 20), st.integers(1, 100), st.integers(1, 4))
def test_no_history_gets_more_than_its_limits(history, requests, tokens, places):
    clock = Clock()
    limiter = Limiter(clock)
    principal = caller(Limits(requests, tokens, places))
    begin = clock.now
    admitted, open_tickets = 0, []
    spent = 0
    for wait, estimate, actual, settled in history:
        clock.now += wait
        try:
            open_tickets.append((limiter.enter(principal, "m", FREE, estimate), estimate, actual))
        except RateLimited:
            pass
        else:
            admitted += 1
            # Let in only from what a minute's worth and the time since have brought, less what was spent.
            budget = tokens * (1 + (clock.now - begin) / 60)
            outstanding = sum(each for _, each, _ in open_tickets[:-1])
            assert spent + outstanding + min(estimate, tokens) <= budget + 1e-6
        assert len(open_tickets) <= places
        assert admitted <= requests * (1 + (clock.now - begin) / 60) + 1e-6
        for _ in range(min(settled, len(open_tickets))):
            ticket, _, cost = open_tickets.pop(0)
            ticket.settle(cost)
            spent += cost


@given(steps, st.integers(1, 20), st.integers(1, 100))
def test_who_waits_as_told_gets_in(history, requests, tokens):
    clock = Clock()
    limiter = Limiter(clock)
    principal = caller(Limits(requests, tokens))
    for wait, estimate, actual, _ in history:
        clock.now += wait
        for _attempt in range(3):
            try:
                ticket = limiter.enter(principal, "m", FREE, estimate)
                break
            except RateLimited as error:
                clock.now += error.retry_after_seconds
        else:
            pytest.fail("still refused")
        ticket.settle(actual)
