"""Limits per key and per deployment: requests a minute, tokens a minute, requests at a time.

Token buckets in memory: each holds a minute's worth and fills evenly, so a burst is fine and an average is kept.
One process keeps count; nothing waits for a database.
"""

import math
import time
from collections.abc import Callable

import msgspec

from yunmo.core.errors import RateLimited
from yunmo.core.identity import Limits, Principal

_MINUTE = 60.0
_BUSY_SECONDS = 1.0
_ROUNDING_SECONDS = 1e-6  # who waits exactly as long as told must get in
_SWEEP_AT_LEAST = 1024
_UNLIMITED = Limits()


class Rates(msgspec.Struct, frozen=True, gc=False):
    """What is left of the tighter of the key's and the deployment's limits; None where there is none.

    `reset_…_seconds` is the time until the limit is whole again.
    """

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests_seconds: float | None = None
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens_seconds: float | None = None


class Ticket:
    """A request that was let in. Settle it when its true cost is known, whatever became of it."""

    __slots__ = ("_accounts", "_clock", "_estimated", "_is_settled", "rates")

    def __init__(self, accounts: "tuple[_Account, ...]", estimated: int, rates: Rates, clock: Callable[[], float]) -> None:
        self.rates = rates
        self._accounts = accounts
        self._estimated = estimated
        self._is_settled = False
        self._clock = clock

    def settle(self, usage_tokens: int) -> None:
        """Free the place and put the tokens right that were estimated; a second call does nothing."""
        if self._is_settled:
            return
        self._is_settled = True
        for account in self._accounts:
            account.running -= 1
            if account.tokens is not None and usage_tokens != self._estimated:
                account.tokens.fill(self._clock())
                account.tokens.left = min(account.tokens.size, account.tokens.left + self._estimated - usage_tokens)


class Limiter:
    """Lets requests in, or says which limit is used up and when it is not."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._keys: dict[str, _Account] = {}
        self._deployments: dict[str, _Account] = {}
        self._sweep_at = _SWEEP_AT_LEAST

    def enter(self, principal: Principal, deployment_name: str, deployment_limits: Limits, estimated_tokens: int) -> Ticket:
        """Count a request in. Raises RateLimited, and counts nothing, if a limit of its key or its deployment is used up.

        A request that alone is over a token limit is let in when that limit is whole; what it took is owed.
        """
        moment = self._clock()
        accounts = self._accounts(principal, deployment_name, deployment_limits, moment)
        for account in accounts:
            reason = account.refusal(estimated_tokens, moment)
            if reason is not None:
                whose = self._whose(account, principal, deployment_name)
                raise RateLimited(f"{whose} {reason[0]}.", retry_after_seconds=reason[1])
        for account in accounts:
            account.take(estimated_tokens)
        return Ticket(accounts, estimated_tokens, _rates(accounts), self._clock)

    def rates(self, principal: Principal, deployment_name: str, deployment_limits: Limits) -> Rates:
        """What is left now, without counting anything."""
        moment = self._clock()
        accounts = self._accounts(principal, deployment_name, deployment_limits, moment)
        for account in accounts:
            account.fill(moment)
        return _rates(accounts)

    def _accounts(self, principal: Principal, deployment_name: str, deployment_limits: Limits, moment: float) -> "tuple[_Account, ...]":
        if len(self._keys) + len(self._deployments) >= self._sweep_at:
            self._sweep(moment)  # before any account is taken up, or a fresh one could be forgotten in between
        key = self._account(self._keys, principal.key_id, principal.limits, moment)
        deployment = self._account(self._deployments, deployment_name, deployment_limits, moment)
        if key is None:
            return () if deployment is None else (deployment,)
        return (key,) if deployment is None else (key, deployment)

    def _account(self, accounts: "dict[str, _Account]", name: str, limits: Limits, moment: float) -> "_Account | None":
        found = accounts.get(name)
        if found is not None and found.limits is limits:
            return found
        if limits == _UNLIMITED:
            return None
        if found is None:
            found = accounts[name] = _Account(limits, moment)
        else:
            found.change(limits, moment)
        return found

    def _sweep(self, moment: float) -> None:
        """Forgets who is as good as new, so that idle keys take no memory."""
        for accounts in (self._keys, self._deployments):
            for name in [name for name, account in accounts.items() if account.is_fresh(moment)]:
                del accounts[name]
        self._sweep_at = max(_SWEEP_AT_LEAST, 2 * (len(self._keys) + len(self._deployments)))

    def _whose(self, account: "_Account", principal: Principal, deployment_name: str) -> str:
        if self._keys.get(principal.key_id) is account:
            return f"Your API key '{principal.key_name or principal.key_id}'"
        return f"The model '{deployment_name}'"


class _Bucket:
    __slots__ = ("at", "left", "size")

    def __init__(self, size: int, moment: float) -> None:
        self.size = size
        self.left = float(size)
        self.at = moment

    def fill(self, moment: float) -> None:
        if moment > self.at:
            left = self.left + (moment - self.at) * self.size / _MINUTE
            self.left = left if left < self.size else self.size  # noqa: FURB136  # min() would cost a call on the hot path
            self.at = moment

    def seconds_until(self, amount: float) -> float:
        return (amount - self.left) * _MINUTE / self.size if self.left < amount else 0.0


class _Account:
    """One key's or one deployment's state."""

    __slots__ = ("limits", "requests", "running", "tokens")

    def __init__(self, limits: Limits, moment: float) -> None:
        self.running = 0
        self.requests: _Bucket | None = None
        self.tokens: _Bucket | None = None
        self.limits = _UNLIMITED
        self.change(limits, moment)

    def change(self, limits: Limits, moment: float) -> None:
        """Other limits from now on; what was used stays used."""
        self.fill(moment)
        self.requests = _resized(self.requests, limits.requests_per_minute, moment)
        self.tokens = _resized(self.tokens, limits.tokens_per_minute, moment)
        self.limits = limits

    def fill(self, moment: float) -> None:
        if self.requests is not None:
            self.requests.fill(moment)
        if self.tokens is not None:
            self.tokens.fill(moment)

    def refusal(self, tokens: int, moment: float) -> tuple[str, float] | None:
        """Why a request of so many tokens cannot come in now, and in how many seconds it could."""
        ceiling = self.limits.concurrent_requests
        if ceiling is not None and self.running >= ceiling:
            return f"has {self.running} requests in work and may have {ceiling} at a time; wait for one to end", _BUSY_SECONDS
        self.fill(moment)
        if self.requests is not None and (wait := self.requests.seconds_until(1)) > _ROUNDING_SECONDS:
            return f"has used its {self.requests.size} requests per minute; try again in {math.ceil(wait)} s", wait
        if self.tokens is not None and (wait := self.tokens.seconds_until(min(tokens, self.tokens.size))) > _ROUNDING_SECONDS:
            return f"has used its {self.tokens.size} tokens per minute; try again in {math.ceil(wait)} s", wait
        return None

    def take(self, tokens: int) -> None:
        self.running += 1
        if self.requests is not None:
            self.requests.left -= 1
        if self.tokens is not None:
            self.tokens.left -= tokens

    def is_fresh(self, moment: float) -> bool:
        self.fill(moment)
        return self.running == 0 and all(bucket is None or bucket.left >= bucket.size for bucket in (self.requests, self.tokens))


def _resized(bucket: _Bucket | None, size: int | None, moment: float) -> _Bucket | None:
    if size is None:
        return None
    resized = _Bucket(size, moment)
    if bucket is not None:
        resized.left = min(size, bucket.left + size - bucket.size)
    return resized


def _rates(accounts: tuple[_Account, ...]) -> Rates:
    requests = _tighter([account.requests for account in accounts])
    tokens = _tighter([account.tokens for account in accounts])
    if requests is None and tokens is None:
        return _NO_RATES
    return Rates(*_left(requests), *_left(tokens))


def _tighter(buckets: list[_Bucket | None]) -> _Bucket | None:
    tighter = None
    for bucket in buckets:
        if bucket is not None and (tighter is None or bucket.left < tighter.left):
            tighter = bucket
    return tighter


def _left(bucket: _Bucket | None) -> tuple[int | None, int | None, float | None]:
    if bucket is None:
        return None, None, None
    return bucket.size, max(0, int(bucket.left)), bucket.seconds_until(bucket.size)


_NO_RATES = Rates()
