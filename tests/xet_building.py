"""Builds xorbs and shards as a client does, straight from the specification; shares no code with the server's side."""

import hashlib
import struct
from dataclasses import dataclass

import lz4.frame
from blake3 import blake3

DATA_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
VERIFICATION_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
TAG = b"HFRepoMetaData\0" + bytes([85, 105, 103, 69, 106, 123, 129, 87, 131, 165, 189, 217, 92, 205, 209, 74, 169])
BOOKEND = b"\xff" * 32 + bytes(16)


def text_of(digest):
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", digest))


def digest_of(text):
    return struct.pack("<4Q", *(int(text[at : at + 16], 16) for at in range(0, 64, 16)))


def chunk_digest(chunk):
    return blake3(chunk, key=DATA_KEY).digest()


def root_of(nodes):
    """The Merkle root of (digest, length) pairs."""
    while len(nodes) > 1:
        parents, at = [], 0
        while at < len(nodes):
            left = len(nodes) - at
            size = left
            if left > 2:
                size = min(9, left)
                for index in range(2, size):
                    if struct.unpack("<4Q", nodes[at + index][0])[3] % 4 == 0:
                        size = index + 1
                        break
            children = nodes[at : at + size]
            text = "".join(f"{text_of(digest)} : {length}\n" for digest, length in children)
            parents.append((blake3(text.encode(), key=NODE_KEY).digest(), sum(length for _, length in children)))
            at += size
        nodes = parents
    return nodes[0][0]


def grouped(chunk):
    return b"".join(chunk[at::4] for at in range(4))


def record(scheme, chunk, payload=None, length=None):
    """One chunk with its header; `payload` and `length` tell lies if given."""
    if payload is None:
        payload = [lambda: chunk, lambda: lz4.frame.compress(chunk), lambda: lz4.frame.compress(grouped(chunk))][scheme]()
    size = len(chunk) if length is None else length
    return bytes([0]) + len(payload).to_bytes(3, "little") + bytes([scheme]) + size.to_bytes(3, "little") + payload


@dataclass
class Xorb:
    chunks: list
    body: bytes

    @property
    def nodes(self):
        return [(chunk_digest(chunk), len(chunk)) for chunk in self.chunks]

    @property
    def digest(self):
        return root_of(self.nodes)

    @property
    def name(self):
        return text_of(self.digest)


def xorb_of(chunks, schemes=(0, 1, 2)):
    body = b"".join(record(schemes[at % len(schemes)], chunk) for at, chunk in enumerate(chunks))
    return Xorb(list(chunks), body)


@dataclass
class File:
    """A file as terms (xorb, first chunk, end chunk)."""

    terms: list

    @property
    def content(self):
        return b"".join(b"".join(xorb.chunks[first:last]) for xorb, first, last in self.terms)

    @property
    def digest(self):
        nodes = [node for xorb, first, last in self.terms for node in xorb.nodes[first:last]]
        return blake3(root_of(nodes), key=bytes(32)).digest()

    @property
    def name(self):
        return text_of(self.digest)

    @property
    def sha256(self):
        return hashlib.sha256(self.content).hexdigest()


def shard_of(*files, digest=None, sha256=None, proof=None, lengths=None, flags=0xC0000000):
    """A shard as clients upload it; the named arguments tell lies about all its files."""
    parts = [TAG + struct.pack("<QQ", 2, 0)]
    for file in files:
        parts.append((digest or file.digest) + struct.pack("<IIQ", flags, len(file.terms), 0))
        for xorb, first, last in file.terms:
            size = lengths if lengths is not None else sum(len(chunk) for chunk in xorb.chunks[first:last])
            parts.append(xorb.digest + struct.pack("<IIII", 0, size, first, last))
        if flags & 1 << 31:
            for xorb, first, last in file.terms:
                known = b"".join(node[0] for node in xorb.nodes[first:last])
                parts.append((proof or blake3(known, key=VERIFICATION_KEY).digest()) + bytes(16))
        if flags & 1 << 30:
            parts.append(digest_of(sha256 or file.sha256) + bytes(16))
    return b"".join([*parts, BOOKEND, BOOKEND])
