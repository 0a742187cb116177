"""Which rows are learned from and which are held out: always the same ones, and nothing held out is nearly in the other part."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Features = Collection[str]


def split(items: Sequence[Item], group: Callable[[Item], Hashable], share: float, seed: str) -> tuple[list[Item], list[Item]]:
    """Items to learn from and about `share` of them held out; a group is whole on one side, and the order is kept.

    Groups are drawn in the order of their keys' SHA-256, so that a row more or less moves hardly any other.
    """
    sizes = Counter(group(item) for item in items)
    wanted, held_out = round(share * len(items)), set[Hashable]()
    for key in sorted(sizes, key=lambda key: hashlib.sha256(f"{seed}\0{key}".encode()).digest()):
        if wanted <= 0:
            break
        if sizes[key] <= wanted:
            held_out.add(key)
            wanted -= sizes[key]
    return [item for item in items if group(item) not in held_out], [item for item in items if group(item) in held_out]


def near_duplicates(texts: Sequence[Features], threshold: float) -> list[int]:
    """For each text the number of the first one that it is joined to, over however many steps, by a Jaccard similarity ≥ threshold.

    Exact: only pairs that cannot reach the threshold are passed over (Chaudhuri et al., A Primitive Operator for Similarity
    Joins, ICDE 2006: two such sets share one of their rarest elements).
    """
    frequency = Counter(feature for text in texts for feature in set(text))
    parents = list(range(len(texts)))
    sets = [frozenset(text) for text in texts]
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for number in sorted(range(len(sets)), key=lambda number: len(sets[number])):
        own = sets[number]
        rarest = sorted(own, key=lambda feature: (frequency[feature], feature))
        prefix = rarest[: len(own) - math.ceil(threshold * len(own)) + 1]
        for other in {each for feature in prefix for each in holders[feature]}:
            # Shorter ones are seen first: what is less than threshold times as long cannot reach it.
            if len(sets[other]) >= threshold * len(own) and similarity(own, sets[other]) >= threshold:
                _join(parents, number, other)
        for feature in prefix:
            holders[feature].append(number)
    return [_root(parents, number) for number in range(len(texts))]


def similarity(one: Collection[str], other: Collection[str]) -> float:
    """The Jaccard similarity of two sets; 0 if both are empty."""
    shared = len(set(one) & set(other))
    return shared / (len(set(one)) + len(set(other)) - shared) if shared else 0.0


def words(text: str) -> frozenset[str]:
    """A text's words, without case and punctuation."""
    return frozenset(normal(text).split())


def character_ngrams(text: str, length: int = 3) -> frozenset[str]:
    """A text's runs of so many letters and digits, for languages that write no spaces."""
    joined = normal(text).replace(" ", "")
    return frozenset(joined[start : start + length] for start in range(max(1, len(joined) - length + 1)))


def normal(text: str) -> str:
    """The text's letters and digits in lower case, with single spaces between words: what equal texts have in common."""
    return " ".join("".join(character.lower() if character.isalnum() else " " for character in text).split())


def first_of_each(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[Item]:
    """The items without those whose key has come before."""
    seen: dict[Hashable, Item] = {}
    for item in items:
        seen.setdefault(key(item), item)
    return list(seen.values())


def _root(parents: list[int], number: int) -> int:
    while parents[number] != number:
        parents[number] = parents[parents[number]]
        number = parents[number]
    return number


def _join(parents: list[int], one: int, other: int) -> None:
    first, second = sorted((_root(parents, one), _root(parents, other)))
    parents[second] = first
