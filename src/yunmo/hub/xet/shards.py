"""Shards: which files consist of which chunks of which xorbs (Xet specification, "Shard format").

Clients upload them without a footer; the answer to a deduplication query is one with lookup tables and a footer.
"""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yunmo.core.errors import InvalidRequest
from yunmo.hub.xet.hashes import DIGEST_BYTES, keyed_digest, text_of
from yunmo.hub.xet.xorbs import ChunkTable

SHARD_LIMIT_BYTES = 80 * 1024 * 1024

TERM = np.dtype([("xorb", f"V{DIGEST_BYTES}"), ("flags", "<u4"), ("bytes", "<u4"), ("first", "<u4"), ("last", "<u4")])
"""One term of a file: the chunks from `first` up to, not including, `last` of a xorb, `bytes` long unpacked."""

_TAG = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
_VERSION = 2
_FOOTER_VERSION = 1
_FOOTER_BYTES = 200
_RECORD_BYTES = 48
_HEADER_BYTES = 48
_BOOKEND = b"\xff" * DIGEST_BYTES
_BOOKEND_RECORD = _BOOKEND + bytes(16)
_HAS_VERIFICATION = 1 << 31
_HAS_METADATA = 1 << 30
_PROOF = np.dtype([("digest", f"V{DIGEST_BYTES}"), ("unused", "V16")])
_CHUNK = np.dtype([("digest", f"V{DIGEST_BYTES}"), ("start", "<u4"), ("bytes", "<u4"), ("flags", "<u4"), ("unused", "<u4")])
_CHUNK_LOOKUP = np.dtype([("word", "<u8"), ("xorb", "<u4"), ("chunk", "<u4")])
_XORB_LOOKUP = np.dtype([("word", "<u8"), ("xorb", "<u4")])


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A file as its uploader describes it: terms, one proof of possession for each, and the sha256 it claims."""

    digest: bytes
    terms: NDArray[np.void]
    proofs: NDArray[np.void]
    sha256: str | None

    @property
    def name(self) -> str:
        """The file's hash as text."""
        return text_of(self.digest)

    @property
    def size(self) -> int:
        return int(self.terms["bytes"].sum(dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Offer:
    """A xorb in a deduplication answer, and which ranges of its chunks the asker may be told about."""

    digest: bytes
    table: ChunkTable
    ranges: Sequence[tuple[int, int]]


def read_shard(data: bytes) -> list[ShardFile]:
    """The files of an uploaded shard.

    Raises InvalidRequest for anything malformed, and for files without proofs of possession (specification: Hub §3.4).
    """
    if len(data) < _HEADER_BYTES or data[: len(_TAG)] != _TAG:
        raise InvalidRequest("The body is not a Xet shard.")
    version, footer = np.frombuffer(data, "<u8", 2, len(_TAG))
    if version != _VERSION or footer not in (0, _FOOTER_BYTES):
        raise InvalidRequest(f"Only shards of version {_VERSION} can be read.")
    records = _Records(data)
    files: list[ShardFile] = []
    while (head := records.head()) is not None:
        files.append(_read_file(records, *head))
    while (head := records.head()) is not None:
        records.take(head[2])  # the server has read the xorbs themselves; what a client says about them is not needed
    return files


def write_offer(offers: Iterable[Offer], key: bytes, expires_at: int) -> bytes:
    """The answer to a deduplication query: chunks that only those recognise who hold them already.

    Chunks outside an offer's ranges are given random hashes, so that nobody learns which private data exists.
    """
    blocks: list[bytes] = []
    xorb_rows: list[tuple[int, int]] = []
    lookups: list[NDArray[np.void]] = []
    index = 0
    for offer in offers:
        rows = _offer_rows(offer, key)
        head = np.array([offer.table.count, offer.table.unpacked_bytes, offer.table.stored_bytes], "<u4").tobytes()
        blocks.append(offer.digest + bytes(4) + head + rows.tobytes())
        xorb_rows.append((_word(offer.digest), index))
        lookup = np.empty(offer.table.count, _CHUNK_LOOKUP)
        lookup["word"] = np.frombuffer(rows["digest"].tobytes(), "<u8").reshape(-1, 4)[:, 0]
        lookup["xorb"] = index
        lookup["chunk"] = np.arange(offer.table.count)
        lookups.append(lookup)
        index += 1 + offer.table.count
    xorbs = np.array(sorted(xorb_rows), _XORB_LOOKUP)
    chunks = np.sort(np.concatenate(lookups), order="word") if lookups else np.empty(0, _CHUNK_LOOKUP)
    return _assemble(b"".join(blocks), xorbs, chunks, key, expires_at)


class _Records:
    """Reads 48-byte records; every count is bounded by the bytes that are left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = _HEADER_BYTES

    def head(self) -> tuple[bytes, int, int] | None:
        """Digest, flags and count of the next block; None at the section's end."""
        record = self.take(1)
        digest = record[:DIGEST_BYTES]
        if digest == _BOOKEND:
            return None
        return digest, int.from_bytes(record[32:36], "little"), int.from_bytes(record[36:40], "little")

    def take(self, count: int) -> bytes:
        """The next `count` records."""
        end = self._position + count * _RECORD_BYTES
        if end > len(self._data):
            raise InvalidRequest("The shard ends before its last record.")
        start, self._position = self._position, end
        return self._data[start:end]


def _read_file(records: _Records, digest: bytes, flags: int, count: int) -> ShardFile:
    terms = np.frombuffer(records.take(count), TERM)
    if not flags & _HAS_VERIFICATION:
        raise InvalidRequest(f"File {text_of(digest)} comes without verification hashes; they are required.")
    proofs = np.frombuffer(records.take(count), _PROOF)
    sha256 = text_of(records.take(1)[:DIGEST_BYTES]) if flags & _HAS_METADATA else None
    return ShardFile(digest, terms, proofs, sha256)


def _offer_rows(offer: Offer, key: bytes) -> NDArray[np.void]:
    table = offer.table
    hidden = bytearray(os.urandom(table.count * DIGEST_BYTES))
    for first, last in offer.ranges:
        digests = table.digests_of(first, last)
        known = [keyed_digest(key, digests[at : at + DIGEST_BYTES]) for at in range(0, len(digests), DIGEST_BYTES)]
        hidden[first * DIGEST_BYTES : last * DIGEST_BYTES] = b"".join(known)
    rows = np.zeros(table.count, _CHUNK)
    rows["digest"] = np.frombuffer(bytes(hidden), f"V{DIGEST_BYTES}")
    rows["start"][1:] = table.unpacked_ends[:-1]
    rows["bytes"] = table.lengths(0, table.count)
    return rows


def _assemble(xorb_section: bytes, xorbs: NDArray[np.void], chunks: NDArray[np.void], key: bytes, expires_at: int) -> bytes:
    header = _TAG + np.array([_VERSION, _FOOTER_BYTES], "<u8").tobytes()
    files = _BOOKEND_RECORD
    section = xorb_section + _BOOKEND_RECORD
    xorb_info = _HEADER_BYTES + len(files)
    file_lookup = xorb_info + len(section)
    chunk_lookup = file_lookup + xorbs.nbytes
    footer_at = chunk_lookup + chunks.nbytes
    offsets = [_FOOTER_VERSION, _HEADER_BYTES, xorb_info, file_lookup, 0, file_lookup, len(xorbs), chunk_lookup, len(chunks)]
    tail = [int(time.time()), expires_at, *[0] * 9, footer_at]
    footer = np.array(offsets, "<u8").tobytes() + key + np.array(tail, "<u8").tobytes()
    return b"".join((header, files, section, xorbs.tobytes(), chunks.tobytes(), footer))


def _word(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "little")
