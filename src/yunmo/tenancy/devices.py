"""Devices that ask to be let in (RFC 8628): their codes, who answered for them, and who guesses at codes.

All of it is in memory: a code lives for ten minutes, and a login that a restart forgot is begun again.
"""

import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from yunmo.core.errors import InvalidRequest, NotFound, Overloaded, RateLimited
from yunmo.core.identity import Principal

Refusal = Literal["authorization_pending", "slow_down", "expired_token", "access_denied", "invalid_grant"]
"""Why a device is not let in (yet), in the words of RFC 8628 §3.5."""

_LIFE_SECONDS = 600
_INTERVAL_SECONDS = 2
_SLOWER_SECONDS = 5  # RFC 8628 §3.5: both sides add this at each slow_down
_ROUNDING_SECONDS = 0.1  # who waits as long as told must not be called too fast
_DEVICES_LIMIT = 10_000
_CLIENT_CHARACTERS = 200
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 §6.1: without vowels no words, and nothing looks like a digit
_CODE_LETTERS = 8
_WRONG_CODES = 10
_GUESSERS_SWEPT_AT = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """A device's request: `device_code` is its secret, `user_code` is what a person types."""

    device_code: str
    user_code: str
    expires_in_seconds: int
    interval_seconds: int


class Devices:
    """The devices that wait for an answer or have yet to fetch it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._devices: dict[str, _Device] = {}  # oldest first
        self._unanswered: dict[str, _Device] = {}
        self._guessers: dict[str, _Guesser] = {}

    def ask(self, client_id: str) -> Asked:
        """Let a device wait for a person. Raises InvalidRequest for a client id that cannot be, Overloaded when too many wait."""
        if not 1 <= len(client_id) <= _CLIENT_CHARACTERS:
            raise InvalidRequest(f"'client_id' needs 1 to {_CLIENT_CHARACTERS} characters.", param="client_id")
        moment = self._clock()
        self._forget(moment - _LIFE_SECONDS)  # until then who comes late is told that it was too late
        if len(self._devices) >= _DEVICES_LIMIT:
            self._forget(moment)
        if len(self._devices) >= _DEVICES_LIMIT:
            raise Overloaded("Too many logins wait for an answer. Try again in a minute.", retry_after_seconds=60)
        device = _Device(client_id, self._new_user_code(), moment + _LIFE_SECONDS, _INTERVAL_SECONDS)
        device_code = secrets.token_urlsafe(32)
        self._devices[device_code] = self._unanswered[device.user_code] = device
        return Asked(device_code, f"{device.user_code[:4]}-{device.user_code[4:]}", _LIFE_SECONDS, _INTERVAL_SECONDS)

    def answer(self, by: Principal, user_code: str, *, approves: bool) -> None:
        """Let the device with this code in, or turn it away; one code is answered once.

        Raises NotFound if no device waits with this code, RateLimited for a key that was wrong too often.
        """
        moment = self._clock()
        guesser = self._guessers.get(by.key_id)
        if guesser is not None and guesser.wrong_codes >= _WRONG_CODES and moment < guesser.ends_at:
            wait = guesser.ends_at - moment
            raise RateLimited(f"Too many wrong codes. Try again in {math.ceil(wait / 60)} minutes.", retry_after_seconds=wait)
        device = self._unanswered.get(_bare(user_code))
        if device is None or device.expires_at <= moment:
            self._count_wrong_code(by, moment)
            raise NotFound("No login waits with this code: it is mistyped, used or too old.", param="user_code")
        del self._unanswered[device.user_code]
        device.answer = by if approves else "access_denied"

    def collect(self, device_code: str, client_id: str) -> Principal | Refusal:
        """Who let this device in, told once; or why it is not let in."""
        device = self._devices.get(device_code)
        if device is None or device.client_id != client_id:
            return "invalid_grant"
        moment = self._clock()
        if device.expires_at <= moment:
            return "expired_token"
        if device.answer is None:
            return device.wait(moment)
        del self._devices[device_code]
        return device.answer

    def _new_user_code(self) -> str:
        while (code := "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LETTERS))) in self._unanswered:
            pass
        return code

    def _forget(self, expired_before: float) -> None:
        for device_code, device in list(self._devices.items()):
            if device.expires_at > expired_before:
                break
            del self._devices[device_code]
            self._unanswered.pop(device.user_code, None)

    def _count_wrong_code(self, by: Principal, moment: float) -> None:
        guesser = self._guessers.get(by.key_id)
        if guesser is None or guesser.ends_at <= moment:
            if len(self._guessers) >= _GUESSERS_SWEPT_AT:
                self._guessers = {key_id: each for key_id, each in self._guessers.items() if each.ends_at > moment}
            guesser = self._guessers[by.key_id] = _Guesser(moment + _LIFE_SECONDS)
        guesser.wrong_codes += 1


@dataclass(slots=True)
class _Device:
    client_id: str
    user_code: str
    expires_at: float
    interval_seconds: float
    next_poll_at: float = 0.0
    answer: Principal | Literal["access_denied"] | None = None

    def wait(self, moment: float) -> Refusal:
        is_early = moment < self.next_poll_at - _ROUNDING_SECONDS
        if is_early:
            self.interval_seconds += _SLOWER_SECONDS
        self.next_poll_at = moment + self.interval_seconds
        return "slow_down" if is_early else "authorization_pending"


@dataclass(slots=True)
class _Guesser:
    """A key that was used with wrong codes; they are forgotten together."""

    ends_at: float
    wrong_codes: int = 0


def _bare(user_code: str) -> str:
    """The code without what people put around and between its letters."""
    return "".join(letter for letter in user_code.upper() if letter in _LETTERS)
