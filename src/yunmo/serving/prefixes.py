"""Which beginnings of prompts a replica has read: told by a chain of hashes over pieces of the request's text.

No tokenizer is needed, and a mistake costs nothing but a prompt read twice. Python's own hash is seeded anew in each
process, so that nobody can choose texts that meet.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice

from yunmo.core.engine import Offer
from yunmo.core.tasks import Chat, Generate, Request

_PIECE_CHARACTERS = 256
"""About 60 tokens of English: a shared beginning that is shorter is read again faster than it is looked for."""

_PIECE_TOKENS = 64
_MOST_PIECES = 128
_USUAL_CONTEXT_TOKENS = 4096
_MOST_PIECES_KEPT = 4096
"""Of one replica: about 400 KB."""


def prefix_of(request: Request) -> tuple[int, ...]:
    """One number for each whole piece of the prompt, which stands for all the text up to there; none for other tasks."""
    match request:
        case Chat():
            pieces = _cut("".join(_written(request)), _PIECE_CHARACTERS)
        case Generate(prompt=str() as prompt):
            pieces = _cut(prompt, _PIECE_CHARACTERS)
        case Generate(prompt=tokens):
            pieces = _cut(tokens, _PIECE_TOKENS)
        case _:
            return ()
    return tuple(_chained(islice(pieces, _MOST_PIECES), hash(request.adapter)))


class Prefixes:
    """The beginnings that one replica has read: the latest ones, as many as its cache of so many tokens holds."""

    def __init__(self, cache_tokens: int) -> None:
        self._most = min(max(1, cache_tokens // _PIECE_TOKENS), _MOST_PIECES_KEPT)
        self._seen: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def known(self, prefix: Sequence[int]) -> int:
        """How many pieces from the beginning on were read."""
        return bisect_left(prefix, True, key=lambda piece: piece not in self._seen)

    def add(self, prefix: Sequence[int]) -> None:
        """The replica reads this now."""
        for piece in reversed(prefix):  # the last piece is forgotten first, so that `known` may look in the middle
            self._seen.pop(piece, None)
            self._seen[piece] = None
        while len(self._seen) > self._most:
            del self._seen[next(iter(self._seen))]


def prefixes_of(offer: Offer) -> Prefixes | None:
    """For a new replica by this offer; None if its engine keeps nothing."""
    plan = offer.plan
    return Prefixes(plan.slots * (plan.context_tokens or _USUAL_CONTEXT_TOKENS)) if offer.keeps_prompts else None


def _written(chat: Chat) -> Iterator[str]:
    """The chat's text in the order in which templates write it: tools first, then the turns."""
    for tool in chat.tools:
        yield f"{tool.name}\n{tool.description}\n{tool.parameters}\n"
    for message in chat.messages:
        yield f"\n{message.role} {message.name or ''}\n"
        yield message.content or ""
        for call in message.tool_calls:
            yield f"\n{call.name} {call.arguments}"


def _cut(text: str | tuple[int, ...], size: int) -> Iterator[str | tuple[int, ...]]:
    return (text[begin : begin + size] for begin in range(0, len(text) - size + 1, size))


def _chained(pieces: Iterator[str | tuple[int, ...]], before: int) -> Iterator[int]:
    for piece in pieces:
        before = hash((before, piece))
        yield before
