"""The journal of a document's translation: each of its segments as it was translated, one JSON line each, found by what it says.

A job appends to it as it goes on, so that nothing is translated twice; at its end it is a file, from which a later job takes what has not changed.
"""

import hashlib
from collections.abc import AsyncIterator, Iterable

import msgspec

from yunmo.apps.translate.orders import Issue, Translated
from yunmo.apps.translate.segments import Segment
from yunmo.core.errors import InvalidRequest

LINE_BYTES = 16 << 20
_KEY_BYTES = 16


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A segment's translation, and by which revisions of which models; `key` is its source's (see `key_of`)."""

    key: str
    segment: Segment
    source: str
    characters: int
    models: tuple[str, ...] = ()
    revisions: tuple[str, ...] = ()
    issues: tuple[Issue, ...] = ()


def key_of(segment: Segment) -> str:
    """The same for segments that say the same with the same tags."""
    return hashlib.blake2b(msgspec.json.encode(segment), digest_size=_KEY_BYTES).hexdigest()


def entry_of(key: str, translated: Translated, revisions: tuple[str, ...]) -> Entry:
    """What is kept of a translation."""
    return Entry(key, translated.segment, translated.source, translated.characters, translated.models, revisions, translated.issues)


def written(entries: Iterable[Entry]) -> bytes:
    """The entries' lines."""
    return b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)


async def read_entries(pieces: AsyncIterator[bytes]) -> AsyncIterator[Entry]:
    """The entries of a journal. Raises InvalidRequest for what is none."""
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield _entry(line)
        if len(rest) > LINE_BYTES:
            raise InvalidRequest("The earlier job's segments cannot be read: a line of them is too long.", param="previous")
    if rest:
        yield _entry(rest)


_decode = msgspec.json.Decoder(Entry).decode


def _entry(line: bytes) -> Entry:
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The earlier job's segments cannot be read: {error}.", param="previous") from error
