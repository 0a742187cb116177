"""The rules of devices that ask to be let in, on a clock that the tests turn."""

import re

import pytest

from yunmo.core.errors import InvalidRequest, NotFound, Overloaded, RateLimited
from yunmo.core.identity import Principal
from yunmo.tenancy import devices as module
from yunmo.tenancy.devices import Devices

ANNA = Principal("acme", "key_anna", frozenset({"read"}), "anna")
BEN = Principal("other", "key_ben", frozenset({"read"}), "ben")


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def devices(clock):
    return Devices(clock)


def guess(devices, by, code="BBBB-BBBB"):
    with pytest.raises(NotFound, match="No login waits"):
        devices.answer(by, code, approves=True)


def test_a_device_waits_until_a_person_lets_it_in_and_is_told_once(devices, clock):
    asked = devices.ask("hf")
    assert devices.collect(asked.device_code, "hf") == "authorization_pending"
    devices.answer(ANNA, asked.user_code, approves=True)
    assert devices.collect(asked.device_code, "hf") is ANNA
    assert devices.collect(asked.device_code, "hf") == "invalid_grant"


def test_codes_are_long_enough_easy_to_type_and_never_the_same(devices):
    asked = [devices.ask("hf") for _ in range(500)]
    assert all(re.fullmatch("[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", each.user_code) for each in asked)
    assert all(len(each.device_code) >= 43 for each in asked)
    assert len({each.user_code for each in asked}) == len({each.device_code for each in asked}) == 500


@pytest.mark.parametrize("typed", [str.lower, lambda code: code.replace("-", ""), lambda code: f" {code.replace('-', ' ')}\n"])
def test_the_code_may_be_typed_as_people_type(devices, typed):
    asked = devices.ask("hf")
    devices.answer(ANNA, typed(asked.user_code), approves=True)
    assert devices.collect(asked.device_code, "hf") is ANNA


def test_a_denied_device_is_told_so_once(devices):
    asked = devices.ask("hf")
    devices.answer(ANNA, asked.user_code, approves=False)
    assert devices.collect(asked.device_code, "hf") == "access_denied"
    assert devices.collect(asked.device_code, "hf") == "invalid_grant"


@pytest.mark.parametrize("first", [True, False])
def test_a_code_is_answered_once(devices, first):
    asked = devices.ask("hf")
    devices.answer(ANNA, asked.user_code, approves=first)
    for approves in (True, False):
        with pytest.raises(NotFound):
            devices.answer(BEN, asked.user_code, approves=approves)
    assert devices.collect(asked.device_code, "hf") == (ANNA if first else "access_denied")


def test_another_client_cannot_collect_what_was_given_to_this_one(devices):
    asked = devices.ask("hf")
    devices.answer(ANNA, asked.user_code, approves=True)
    assert devices.collect(asked.device_code, "thief") == "invalid_grant"
    assert devices.collect(asked.user_code, "hf") == "invalid_grant"
    assert devices.collect(asked.device_code, "hf") is ANNA


def test_one_persons_answer_lets_in_one_device(devices):
    first, second = devices.ask("hf"), devices.ask("hf")
    devices.answer(ANNA, second.user_code, approves=True)
    assert devices.collect(first.device_code, "hf") == "authorization_pending"
    assert devices.collect(second.device_code, "hf") is ANNA


def test_who_asks_too_often_is_slowed_down_and_then_served(devices, clock):
    asked = devices.ask("hf")
    assert devices.collect(asked.device_code, "hf") == "authorization_pending"
    clock.now += asked.interval_seconds - 1
    assert devices.collect(asked.device_code, "hf") == "slow_down"
    clock.now += asked.interval_seconds + 4
    assert devices.collect(asked.device_code, "hf") == "slow_down"
    clock.now += asked.interval_seconds + 10
    assert devices.collect(asked.device_code, "hf") == "authorization_pending"
    devices.answer(ANNA, asked.user_code, approves=True)
    assert devices.collect(asked.device_code, "hf") is ANNA


def test_who_waits_as_long_as_told_is_never_slowed_down(devices, clock):
    asked = devices.ask("hf")
    for _ in range(100):
        assert devices.collect(asked.device_code, "hf") == "authorization_pending"
        clock.now += asked.interval_seconds


@pytest.mark.parametrize("is_approved", [True, False])
def test_after_its_life_a_login_is_over_whatever_was_answered(devices, clock, is_approved):
    asked = devices.ask("hf")
    if is_approved:
        devices.answer(ANNA, asked.user_code, approves=True)
    clock.now += asked.expires_in_seconds - 0.5
    if not is_approved:
        assert devices.collect(asked.device_code, "hf") == "authorization_pending"
    clock.now += 0.5
    assert devices.collect(asked.device_code, "hf") == "expired_token"
    guess(devices, BEN, asked.user_code)


def test_what_is_long_over_is_forgotten(devices, clock):
    asked = [devices.ask("hf") for _ in range(3)]
    clock.now += 2 * asked[0].expires_in_seconds
    devices.ask("hf")
    assert [devices.collect(each.device_code, "hf") for each in asked] == ["invalid_grant"] * 3
    assert len(devices._devices) == len(devices._unanswered) == 1


def test_the_number_that_wait_is_bounded_and_room_comes_with_time(devices, clock, monkeypatch):
    monkeypatch.setattr(module, "_DEVICES_LIMIT", 5)
    early = devices.ask("hf")
    clock.now += 60
    for _ in range(4):
        devices.ask("hf")
    with pytest.raises(Overloaded, match="Too many logins"):
        devices.ask("hf")
    devices.answer(ANNA, early.user_code, approves=True)
    assert devices.collect(early.device_code, "hf") is ANNA
    devices.ask("hf")
    clock.now += early.expires_in_seconds
    devices.ask("hf")
    assert len(devices._devices) <= 5


@pytest.mark.parametrize("client_id", ["", "x" * 201])
def test_a_client_id_that_cannot_be_is_refused(devices, client_id):
    with pytest.raises(InvalidRequest, match="client_id"):
        devices.ask(client_id)
    devices.ask("x" * 200)


def test_a_key_that_guesses_at_codes_is_stopped_even_from_the_right_one(devices, clock):
    asked = devices.ask("hf")
    for number in range(10):
        guess(devices, ANNA, f"BBBB-BBB{'BCDFGHJKLM'[number]}")
    with pytest.raises(RateLimited) as refused:
        devices.answer(ANNA, asked.user_code, approves=True)
    assert 0 < refused.value.retry_after_seconds <= 600
    devices.answer(BEN, asked.user_code, approves=True)
    assert devices.collect(asked.device_code, "hf") is BEN
    clock.now += refused.value.retry_after_seconds
    later = devices.ask("hf")
    devices.answer(ANNA, later.user_code, approves=True)
    assert devices.collect(later.device_code, "hf") is ANNA


def test_wrong_codes_of_long_ago_do_not_count(devices, clock):
    for _ in range(5):
        for _ in range(9):
            guess(devices, ANNA)
        clock.now += 600
    asked = devices.ask("hf")
    devices.answer(ANNA, asked.user_code, approves=True)


def test_the_memory_of_wrong_codes_is_bounded_by_who_guessed_lately(devices, clock, monkeypatch):
    monkeypatch.setattr(module, "_GUESSERS_SWEPT_AT", 3)
    for number in range(10):
        guess(devices, Principal("acme", f"key_{number}", frozenset({"read"})))
        clock.now += 300
    assert len(devices._guessers) <= 4
