"""What a model without neurons foretells of a text: interpolated Kneser–Ney n-grams over words, and over bytes.

S.F. Chen and J. Goodman: An Empirical Study of Smoothing Techniques for Language Modeling (Harvard TR-10-98), section 4.1.6.

Every text is scored whole: its words, the white space between them, words never seen (the bytes' model spells them) and its end.
So the bits are comparable with those of any other model that scores the same texts to their ends, whatever its tokens are.
"""

import functools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WORD_ORDER = 5
BYTE_ORDER = 8
_SPELLING_ORDER = 5

_BEGINNING, _END = b"\x02", b"\x03"
_PIECES = re.compile(r"[\u3400-\u9fff]| ?(?:(?![\u3400-\u9fff])\w)+| ?[^\w\s]|\s")
_UNIFORM = 1 / 256
_LONGEST_WORD = 8
"""Characters of a word on average, above which the language does not part its words by spaces."""


@dataclass(frozen=True, slots=True)
class Surprise:
    """How many bits some texts cost, ends included, and what they hold; words are what white space parts."""

    bits: float
    texts: int
    words: int
    characters: int
    bytes: int

    @classmethod
    def of(cls, texts: Sequence[str], bits: float) -> "Surprise":
        """So many bits for these texts."""
        return cls(
            bits=bits,
            texts=len(texts),
            words=sum(len(text.split()) for text in texts),
            characters=sum(map(len, texts)),
            bytes=sum(len(text.encode()) for text in texts),
        )

    @property
    def perplexity_per_word(self) -> float:
        return float(2 ** (self.bits / self.words))

    def __str__(self) -> str:
        each = f"{self.bits / self.bytes:.4f} bits per byte, {self.bits / self.characters:.4f} per character"
        writes_spaces = self.characters < _LONGEST_WORD * self.words
        return f"{each}, perplexity {self.perplexity_per_word:,.1f} per word" if writes_spaces else each


class KneserNey:
    """Sequences' n-grams: each order is discounted by one number and interpolated with the next lower one.

    A sequence is bytes or a tuple of symbols; `beginning` and `end` are sequences of one symbol that occurs in none of them.
    `floor` is the probability of a symbol before anything is known of it: it must sum to at most 1 over all there could be.
    """

    def __init__(self, order: int, beginning: Any, end: Any, floor: Callable[[Any], float]) -> None:
        self.order = order
        self._beginning, self._end, self._floor = beginning * (order - 1), end, floor
        self._counts: list[Counter[Any]] = [Counter() for _ in range(order)]
        self._totals: list[Counter[Any]] = []
        self._kinds: list[Counter[Any]] = []
        self._discounts: list[float] = []

    def learn(self, sequences: Iterable[Any]) -> "KneserNey":
        """Count the sequences; once for a model."""
        longest = self._counts[-1]
        for sequence in sequences:
            padded = self._beginning + sequence + self._end
            longest.update(padded[start : start + self.order] for start in range(len(padded) - self.order + 1))
        for order in range(self.order - 1, 0, -1):  # below the highest order a gram counts once for each symbol seen before it
            self._counts[order - 1].update(gram[1:] for gram in self._counts[order])
        for counts in self._counts:
            totals, kinds = Counter[Any](), Counter[Any]()
            for gram, count in counts.items():
                totals[gram[:-1]] += count
                kinds[gram[:-1]] += 1
            self._totals.append(totals)
            self._kinds.append(kinds)
            self._discounts.append(_discount(counts))
        return self

    def probability(self, gram: Any) -> float:
        """That the gram's last symbol follows the others of it, at most `order` in all."""
        found = self._floor(gram[-1:])
        for order in range(1, len(gram) + 1):
            own = gram[-order:]
            context, tables = own[:-1], order - 1
            total = self._totals[tables].get(context, 0)
            if not total:  # nor has any longer context been seen
                break
            discount = self._discounts[tables]
            kept = max(self._counts[tables].get(own, 0) - discount, 0.0) / total
            found = kept + discount * self._kinds[tables][context] / total * found
        return found

    def bits(self, sequence: Any, given: int = 0) -> float:
        """What the sequence and its end cost, once its first `given` symbols are known."""
        padded = self._beginning + sequence + self._end
        return -sum(math.log2(self.probability(padded[start : start + self.order])) for start in range(given, len(padded) - self.order + 1))


Bits = Callable[[str, str], float]
"""What a text and its end cost, given the text before it ("" for none)."""


def of_bytes(texts: Iterable[str], order: int = BYTE_ORDER) -> Bits:
    """N-grams of the texts' UTF-8 bytes."""
    model = KneserNey(order, _BEGINNING, _END, lambda _byte: _UNIFORM).learn(text.encode() for text in texts)
    return lambda text, before: model.bits((before + text).encode(), len(before.encode()))


def of_words(texts: Sequence[str], order: int = WORD_ORDER) -> Bits:
    """N-grams of the texts' words and signs; a word's floor is what n-grams of bytes give its spelling."""
    learned = [pieces(text) for text in texts]
    spelling = of_bytes(sorted({piece for text in learned for piece in text}), _SPELLING_ORDER)
    # No piece is empty: the empty one is the end, and costs as much as an empty spelling.
    floor = functools.cache(lambda word: 2 ** -spelling(word[0], ""))
    model = KneserNey(order, ("\0",), ("",), floor).learn(learned)
    return lambda text, before: model.bits(pieces(before) + pieces(text), len(pieces(before)))


def pieces(text: str) -> tuple[str, ...]:
    """The text's words and signs, each with the space before it: together they are the text again."""
    return tuple(_PIECES.findall(text))


def measure(train: Sequence[str], valid: Sequence[str], before: Sequence[str] = ()) -> Mapping[str, str]:
    """What n-grams of the texts of `train` foretell of those of `valid`, each given the text of `before` in its place, if there are any."""
    return {
        f"n-grams of words (characters in Chinese), order {WORD_ORDER}": str(surprise(of_words(train), valid, before)),
        f"n-grams of bytes, order {BYTE_ORDER}": str(surprise(of_bytes(train), valid, before)),
    }


def surprise(bits: Bits, texts: Sequence[str], before: Sequence[str] = ()) -> Surprise:
    """The texts' cost under a model."""
    return Surprise.of(texts, sum(bits(text, known) for text, known in zip(texts, before or [""] * len(texts), strict=True)))


def _discount(counts: Counter[Any]) -> float:
    """What is taken from each count (Ney, Essen and Kneser 1994): the share of grams seen once among those seen once or twice."""
    seen: defaultdict[Hashable, int] = defaultdict(int)
    for count in counts.values():
        seen[count] += 1
    return seen[1] / (seen[1] + 2 * seen[2]) if seen[1] and seen[2] else 0.5
