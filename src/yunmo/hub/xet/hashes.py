"""Xet's hashes: chunk, node, file and verification hashes, and how they are written.

A digest is 32 bytes; its text is four little-endian 64-bit numbers in hexadecimal (Xet specification, "Hashing").
"""

import re
from collections.abc import Sequence

import numpy as np
from blake3 import blake3

from yunmo.core.errors import InvalidRequest

DIGEST_BYTES = 32

_DATA_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_VERIFICATION_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
_FILE_KEY = bytes(32)
_TEXT = re.compile(r"[0-9a-f]{64}\Z")
_LEAST_CHILDREN = 2
_MOST_CHILDREN = 9
_DEDUP_MODULUS = 1024


def text_of(digest: bytes) -> str:
    """The digest as the protocol writes it."""
    return np.frombuffer(digest, "<u8").astype(">u8").tobytes().hex()


def digest_of(text: str) -> bytes:
    """The digest that this text stands for. Raises InvalidRequest unless it is 64 lower-case hexadecimal digits."""
    if not _TEXT.match(text):
        raise InvalidRequest("A Xet hash is written as 64 lower-case hexadecimal digits.")
    return np.frombuffer(bytes.fromhex(text), ">u8").astype("<u8").tobytes()


def chunk_digest(data: bytes | memoryview) -> bytes:
    """The digest of one chunk's uncompressed bytes."""
    return blake3(data, key=_DATA_KEY).digest()


def verification_digest(chunk_digests: bytes) -> bytes:
    """The proof that whoever made it knows these chunks (their digests, joined)."""
    return blake3(chunk_digests, key=_VERIFICATION_KEY).digest()


def keyed_digest(key: bytes, digest: bytes) -> bytes:
    """A digest that only those recognise who know both the key and the digest."""
    return blake3(digest, key=key).digest()


def xorb_digest(chunk_digests: bytes, lengths: Sequence[int]) -> bytes:
    """The root of the Merkle tree over the chunks (their digests joined, and their uncompressed lengths)."""
    digests, sizes = chunk_digests, list(lengths)
    if not sizes:
        return bytes(DIGEST_BYTES)
    while len(sizes) > 1:
        digests, sizes = _parents(digests, sizes)
    return digests


def file_digest(chunk_digests: bytes, lengths: Sequence[int]) -> bytes:
    """A file's hash, from all its chunks in order."""
    if not lengths:
        return bytes(DIGEST_BYTES)
    return keyed_digest(_FILE_KEY, xorb_digest(chunk_digests, lengths))


def dedup_positions(chunk_digests: bytes) -> list[int]:
    """Which of these chunks clients ask the global index for: about one in 1,024."""
    last_words = np.frombuffer(chunk_digests, "<u8").reshape(-1, 4)[:, 3]
    return [int(at) for at in np.flatnonzero(last_words % _DEDUP_MODULUS == 0)]


def _parents(digests: bytes, sizes: list[int]) -> tuple[bytes, list[int]]:
    """One level up the tree."""
    texts = np.frombuffer(digests, "<u8").astype(">u8").tobytes().hex()
    # A node ends after a child whose last word is divisible by 4: the low bits of byte 24.
    ends_here = (np.frombuffer(digests, np.uint8)[24::DIGEST_BYTES] & 3 == 0).tolist()
    count = len(sizes)
    parents: list[bytes] = []
    lengths: list[int] = []
    start = 0
    while start < count:
        end = _node_end(ends_here, start, count)
        lines = [f"{texts[at * 64 : at * 64 + 64]} : {sizes[at]}\n" for at in range(start, end)]
        parents.append(blake3("".join(lines).encode(), key=_NODE_KEY).digest())
        lengths.append(sum(sizes[start:end]))
        start = end
    return b"".join(parents), lengths


def _node_end(ends_here: list[bool], start: int, count: int) -> int:
    if count - start <= _LEAST_CHILDREN:
        return count
    limit = min(start + _MOST_CHILDREN, count)
    for at in range(start + _LEAST_CHILDREN, limit):
        if ends_here[at]:
            return at + 1
    return limit
