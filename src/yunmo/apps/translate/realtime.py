"""Realtime: a text that grows is translated while it grows. What is concluded stays; what is tentative may be taken back, within a bound.

The sentence that is still growing is translated anew with every piece of it (re-translation); of two translations one after the other, the beginning in
which they agree is thought to last. A sentence that has ended is concluded. Erasure and lag are counted as in Arivazhagan et al., "Re-translation
versus Streaming for Simultaneous Translation" (2020), and Ma et al., "STACL" (2019), but in milliseconds and with the time that models take.
"""

import re
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from yunmo.apps.translate.joining import fitting
from yunmo.apps.translate.orders import Order
from yunmo.apps.translate.segments import segment
from yunmo.apps.translate.sentences import sentences
from yunmo.apps.translate.spacing import UNSPACED
from yunmo.apps.translate.translator import Translator
from yunmo.core.errors import InvalidRequest, TooLarge
from yunmo.core.identity import Principal

OPEN_CHARACTERS = 5000
"""How long a sentence may grow: all of it is translated again with every piece."""

# what counts as one: a character where a script has no spaces, a word elsewhere
_TOKEN = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What listeners can bear: one of the two. Raises InvalidRequest for both, for none, and for what cannot be.

    `max_erasure` is the share of the translation's tokens that may ever have been shown and taken back, 0 for none; it is kept at every moment.
    `max_lag_ms` is how long words that have come may wait for agreement before they are shown anyway.
    """

    max_erasure: float | None = None
    max_lag_ms: float | None = None

    def __post_init__(self) -> None:
        if (self.max_erasure is None) == (self.max_lag_ms is None):
            raise InvalidRequest("Say either how much may be taken back (max_erasure) or how late words may come (max_lag_ms).")
        if self.max_erasure is not None and not 0 <= self.max_erasure <= 10:
            raise InvalidRequest("max_erasure is from 0 to 10.", param="max_erasure")
        if self.max_lag_ms is not None and not 0 <= self.max_lag_ms <= 3_600_000:
            raise InvalidRequest("max_lag_ms is from 0 to 3600000.", param="max_lag_ms")


@dataclass(frozen=True, slots=True)
class Shown:
    """The translation at this moment: `concluded` never changes but for growing, `tentative` follows it and may."""

    concluded: str
    tentative: str


@dataclass(frozen=True, slots=True)
class Measured:
    """How it went: the mean time from a word's coming to its translation's staying, and tokens taken back for each token of the translation."""

    average_lag_ms: float
    normalized_erasure: float
    tokens: int


class Realtime:
    """One text that grows, between two languages. `translate` makes the translation of a text; the clock gives seconds."""

    def __init__(
        self, translate: Callable[[str], Awaitable[str]], source: str, bounds: Bounds, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._translate = translate
        self._source = source
        self._bounds = bounds
        self._clock = clock
        self._concluded = ""
        self._tokens = 0
        self._erased = 0
        self._lags: list[float] = []
        self._open = _Growing()
        self._tentative: tuple[str, ...] = ()
        self._since: list[float] = []
        self._before: tuple[str, ...] = ()

    async def hear(self, text: str) -> Shown:
        """Some more of the text has come, or none of it for a while. Raises TooLarge for a sentence that does not end, and the model's errors."""
        self._open.add(text, self._clock())
        while len(cut := sentences(self._open.text, self._source)) > 1:
            await self._conclude(cut[0])
        if len(self._open.text) > OPEN_CHARACTERS:
            raise TooLarge(
                f"A sentence of more than {OPEN_CHARACTERS} characters has not ended. Send sentence ends, or begin a new session."
            )
        if text.strip() or self._is_late():
            await self._guess()
        return self.shown

    async def end(self) -> Shown:
        """No more will come: everything is concluded."""
        for sentence in sentences(self._open.text, self._source):
            await self._conclude(sentence)
        return self.shown

    @property
    def shown(self) -> Shown:
        """What is to be seen now."""
        return Shown(self._concluded, "".join(self._tentative).strip())

    @property
    def measured(self) -> Measured:
        """How it went so far, for what is concluded."""
        lag = sum(self._lags) / len(self._lags) * 1000 if self._lags else 0.0
        return Measured(lag, self._erased / self._tokens if self._tokens else float(self._erased), self._tokens)

    async def _conclude(self, sentence: str) -> None:
        words = sentence.strip()
        translation = (await self._translate(words)).strip() if words else ""
        tokens = _tokens(translation)
        self._show(tokens)
        self._tokens += len(tokens)
        arrivals = [self._open.came(len(sentence) * index // len(tokens)) for index in range(len(tokens))]
        self._lags += [max(0.0, since - came) for since, came in zip(self._since, arrivals, strict=True)]
        if translation and self._concluded and not self._concluded.endswith("\n"):
            self._concluded += fitting(self._concluded, " ", translation)
        white = sentence[len(sentence.rstrip()) :]
        self._concluded += translation + (white if "\n" in white else "")
        self._open.drop(len(sentence))
        self._tentative, self._since, self._before = (), [], ()

    async def _guess(self) -> None:
        """Translate the open sentence, and show of it what the bound allows."""
        words = self._open.text.strip()
        guess = _tokens((await self._translate(words)).strip()) if words else ()
        agreed = guess[: _common(guess, self._before)]
        self._before = guess
        if self._bounds.max_erasure is None:
            self._show(guess if self._is_late() else max(agreed, self._tentative[: _common(self._tentative, guess)], key=len))
            return
        allowed = self._bounds.max_erasure * self._tokens
        for count in range(len(agreed), -1, -1):
            taken_back = len(self._tentative) - _common(self._tentative, agreed[:count])
            if self._erased + taken_back + count <= allowed:  # even if all of it has to go
                self._show(agreed[:count])
                return

    def _is_late(self) -> bool:
        """Whether words wait for longer than they may."""
        if self._bounds.max_lag_ms is None or not self._open.text.strip():
            return False
        share = len(self._tentative) / max(1, len(self._before))
        waiting_since = self._open.came(int(len(self._open.text) * min(share, 1.0)))
        is_all_shown = bool(self._before) and len(self._tentative) >= len(self._before)
        return not is_all_shown and (self._clock() - waiting_since) * 1000 >= self._bounds.max_lag_ms

    def _show(self, tokens: tuple[str, ...]) -> None:
        same = _common(self._tentative, tokens)
        self._erased += len(self._tentative) - same
        self._since = self._since[:same] + [self._clock()] * (len(tokens) - same)
        self._tentative = tokens


class _Growing:
    """The source that is not concluded, and when each character of it came."""

    def __init__(self) -> None:
        self.text = ""
        self._ends: list[int] = []
        self._times: list[float] = []

    def add(self, text: str, at: float) -> None:
        if text:
            self.text += text
            self._ends.append(len(self.text))
            self._times.append(at)

    def came(self, position: int) -> float:
        """When the character at this position came, or the last one before it."""
        return self._times[min(bisect_left(self._ends, position + 1), len(self._times) - 1)]

    def drop(self, count: int) -> None:
        """Forget the first characters."""
        self.text = self.text[count:]
        kept = [(end - count, at) for end, at in zip(self._ends, self._times, strict=True) if end > count]
        self._ends, self._times = [end for end, _ in kept], [at for _, at in kept]


def translating(translator: Translator, principal: Principal, order: Order) -> Callable[[str], Awaitable[str]]:
    """How a session translates: by the order's languages and options, in the name of this caller."""

    async def translate(text: str) -> str:
        wanted = Order((segment([text]),), order.target, order.source, order.options)
        (translated,) = await translator.translate(principal, wanted)
        return translated.segment.source

    return translate


def _tokens(text: str) -> tuple[str, ...]:
    """The text's tokens, each with the white space before it."""
    ends = [found.end() for found in _TOKEN.finditer(text)]
    return tuple(text[start:end] for start, end in zip([0, *ends], ends, strict=False))


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many tokens the two begin with alike."""
    return next((index for index, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other)))
