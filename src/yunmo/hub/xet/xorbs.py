"""Xorbs: up to 8,192 compressed chunks in one object (Xet specification, "Xorb format").

Each chunk is an 8-byte header {version u8, stored length u24, scheme u8, unpacked length u24} and its payload.
Nothing here trusts a length: a chunk is unpacked into at most the bytes that its header declares.
"""

from dataclasses import dataclass

import lz4.frame
import numpy as np
from numpy.typing import NDArray

from yunmo.core.errors import InvalidRequest
from yunmo.hub.xet.hashes import DIGEST_BYTES, chunk_digest, digest_of, xorb_digest

XORB_LIMIT_BYTES = 65 * 1024 * 1024
"""64 MiB of payload, and room for headers and a footer."""

CHUNK_LIMIT_BYTES = 128 * 1024
CHUNKS_LIMIT = 8192

_HEADER_BYTES = 8
_FOOTER_TAG = b"XETBLOB"
_PLAIN, _LZ4, _GROUPED_LZ4 = 0, 1, 2
_ROW = np.dtype([("digest", f"V{DIGEST_BYTES}"), ("end", "<u4"), ("unpacked_end", "<u4")])


@dataclass(frozen=True, slots=True)
class ChunkTable:
    """What a xorb holds, chunk by chunk: digests (joined), and where each chunk ends, stored and unpacked."""

    digests: bytes
    ends: NDArray[np.uint32]
    unpacked_ends: NDArray[np.uint32]

    @property
    def count(self) -> int:
        return len(self.ends)

    @property
    def stored_bytes(self) -> int:
        return int(self.ends[-1])

    @property
    def unpacked_bytes(self) -> int:
        return int(self.unpacked_ends[-1])

    def stored_range(self, first: int, last: int) -> tuple[int, int]:
        """Where the chunks from `first` up to, not including, `last` lie in the object."""
        return _start(self.ends, first), int(self.ends[last - 1])

    def unpacked_range(self, first: int, last: int) -> tuple[int, int]:
        """Where they lie in the xorb's unpacked bytes."""
        return _start(self.unpacked_ends, first), int(self.unpacked_ends[last - 1])

    def lengths(self, first: int, last: int) -> list[int]:
        """Their unpacked lengths."""
        bounds = np.concatenate(([_start(self.unpacked_ends, first)], self.unpacked_ends[first:last]))
        return [int(length) for length in np.diff(bounds.astype(np.int64))]

    def digests_of(self, first: int, last: int) -> bytes:
        """Their digests, joined."""
        return self.digests[first * DIGEST_BYTES : last * DIGEST_BYTES]

    def pack(self) -> bytes:
        """The table as 40 bytes a chunk, for the database."""
        rows = np.empty(self.count, _ROW)
        rows["digest"] = np.frombuffer(self.digests, f"V{DIGEST_BYTES}")
        rows["end"] = self.ends
        rows["unpacked_end"] = self.unpacked_ends
        return rows.tobytes()


def unpack_table(packed: bytes) -> ChunkTable:
    """What `ChunkTable.pack` made."""
    rows = np.frombuffer(packed, _ROW)
    return ChunkTable(rows["digest"].tobytes(), rows["end"].copy(), rows["unpacked_end"].copy())


class XorbCheck:
    """Checks a xorb while it comes in, chunk by chunk, in the same 128 KiB of memory.

    Every method raises InvalidRequest for a body that is not a whole, honest xorb.
    """

    def __init__(self) -> None:
        self._digests: list[bytes] = []
        self._ends: list[int] = []
        self._unpacked_ends: list[int] = []
        self._scratch = np.empty(CHUNK_LIMIT_BYTES, np.uint8)
        self._is_at_footer = False
        self._left = 0

    def feed(self, view: memoryview) -> int:
        """Take the whole chunks at the start of what has come; how many bytes they are. The rest is to be shown again."""
        position = 0
        while not self._is_at_footer and len(view) - position >= _HEADER_BYTES:
            header = bytes(view[position : position + _HEADER_BYTES])
            if header.startswith(_FOOTER_TAG):
                self._is_at_footer = True
                break
            stored = int.from_bytes(header[1:4], "little")
            self._check_header(header, stored)
            end = position + _HEADER_BYTES + stored
            if end > len(view):
                break
            self._take(header, view[position + _HEADER_BYTES : end])
            position = end
        position = len(view) if self._is_at_footer else position
        self._left = len(view) - position
        return position

    def finish(self, expected: str) -> ChunkTable:
        """The table of the whole xorb; its hash must be the `expected` one."""
        if self._left:
            raise InvalidRequest("The xorb ends in the middle of a chunk. Upload it again.")
        if not self._ends:
            raise InvalidRequest("The xorb holds no chunk.")
        digests = b"".join(self._digests)
        table = ChunkTable(digests, np.array(self._ends, np.uint32), np.array(self._unpacked_ends, np.uint32))
        if xorb_digest(digests, table.lengths(0, table.count)) != digest_of(expected):
            raise InvalidRequest(f"The xorb's content does not have the hash {expected}. Upload it again.")
        return table

    def _check_header(self, header: bytes, stored: int) -> None:
        unpacked = int.from_bytes(header[5:8], "little")
        if header[0] != 0 or header[4] not in (_PLAIN, _LZ4, _GROUPED_LZ4):
            raise InvalidRequest(f"Chunk {len(self._ends)} of the xorb has an unknown version or compression scheme.")
        if not 0 < unpacked <= CHUNK_LIMIT_BYTES or not 0 < stored <= 2 * CHUNK_LIMIT_BYTES:
            raise InvalidRequest(f"Chunk {len(self._ends)} of the xorb has a length out of bounds; a chunk has 1 byte to 128 KiB.")
        if len(self._ends) >= CHUNKS_LIMIT:
            raise InvalidRequest(f"The xorb holds more than {CHUNKS_LIMIT} chunks.")

    def _take(self, header: bytes, payload: memoryview) -> None:
        data = self._scratch[: int.from_bytes(header[5:8], "little")]
        unpack_chunk(header[4], payload, data)
        self._digests.append(chunk_digest(data.data))
        self._ends.append((self._ends[-1] if self._ends else 0) + _HEADER_BYTES + len(payload))
        self._unpacked_ends.append((self._unpacked_ends[-1] if self._unpacked_ends else 0) + len(data))


def unpack_chunk(scheme: int, payload: memoryview, into: NDArray[np.uint8]) -> None:
    """Unpack a chunk. Raises InvalidRequest when the payload does not hold exactly as many bytes as `into`."""
    if scheme == _PLAIN and len(payload) == len(into):
        into[:] = np.frombuffer(payload, np.uint8)
    elif scheme == _LZ4:
        into[:] = _unpack_lz4(payload, len(into))
    elif scheme == _GROUPED_LZ4:
        _ungroup(_unpack_lz4(payload, len(into)), into)
    else:
        raise InvalidRequest("A chunk of the xorb has an unknown compression scheme, or not its declared length.")


def unpack_chunks(data: bytes, table: ChunkTable, first: int, last: int, scratch: NDArray[np.uint8]) -> bytes:
    """The unpacked bytes of the chunks from `first` up to, not including, `last`, given their stored bytes.

    `scratch` has room for them: fresh memory for each call would cost more than the unpacking (a page fault each 4 KiB).
    Raises InvalidRequest when they are not what the table says they are.
    """
    view = memoryview(data)
    stored_base, unpacked_base = _start(table.ends, first), _start(table.unpacked_ends, first)
    position = written = 0
    for at in range(first, last):
        end, unpacked_end = int(table.ends[at]) - stored_base, int(table.unpacked_ends[at]) - unpacked_base
        if len(view) < end:
            raise InvalidRequest("The stored xorb is shorter than its table says.")
        part = scratch[written:unpacked_end]
        unpack_chunk(view[position + 4], view[position + _HEADER_BYTES : end], part)
        if chunk_digest(part.data) != table.digests_of(at, at + 1):
            raise InvalidRequest("A stored chunk does not have its hash.")
        position, written = end, unpacked_end
    return scratch[:written].tobytes()


def _unpack_lz4(payload: memoryview, length: int) -> NDArray[np.uint8]:
    context = lz4.frame.create_decompression_context()
    try:
        # One byte more than declared: a frame that holds more shows itself, and never unpacks further.
        data, used, is_whole = lz4.frame.decompress_chunk(context, payload, max_length=length + 1)
    except (RuntimeError, ValueError) as error:
        raise InvalidRequest("A chunk of the xorb is not a valid LZ4 frame.") from error
    if not is_whole or used != len(payload) or len(data) != length:
        raise InvalidRequest("A chunk of the xorb does not unpack to its declared length.")
    return np.frombuffer(data, np.uint8)


def _ungroup(planes: NDArray[np.uint8], into: NDArray[np.uint8]) -> None:
    """Undo byte grouping: four planes, the bytes at positions 0, 1, 2 and 3 modulo 4 of the original."""
    start = 0
    for at in range(4):
        end = start + (len(into) - at + 3) // 4
        into[at::4] = planes[start:end]
        start = end


def _start(ends: NDArray[np.uint32], first: int) -> int:
    return int(ends[first - 1]) if first else 0
