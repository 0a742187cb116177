import contextlib
import os
import random
import struct
import time
import tracemalloc

import lz4.frame
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xet_building as client
from yunmo.core.errors import InvalidRequest
from yunmo.hub.xet.hashes import (
    chunk_digest,
    dedup_positions,
    digest_of,
    file_digest,
    keyed_digest,
    text_of,
    verification_digest,
    xorb_digest,
)
from yunmo.hub.xet.reconstruction import answer_v1, answer_v2, cut, merged
from yunmo.hub.xet.shards import TERM, Offer, read_shard, write_offer
from yunmo.hub.xet.xorbs import XorbCheck, unpack_chunks, unpack_table

chunks_strategy = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=40)


def checked(body, name, step=1000):
    """The table that the server makes of a xorb that comes in pieces."""
    check = XorbCheck()
    shown = b""
    for at in range(0, len(body), step):
        shown += body[at : at + step]
        shown = shown[check.feed(memoryview(shown)) :]
    return check.finish(name)


# The reference values are those of the protocol's own implementation.
@pytest.mark.parametrize(
    ("nodes", "xorb", "file"),
    [
        (
            [("cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6", 100)],
            "cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6",
            "8e16257caa3fe079d484d872a8975264b2ff683b0d6db9028cc7c0f968a45661",
        ),
        (
            [
                ("cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6", 100),
                ("c3e67584b5c4fc2a89837ec39e40f2c8a6bb0b2987ac94cd4b31e5fbdd210a72", 200),
                ("0d2beb91b9196929a5ddec9f6e306924ddf4a24268e3e59fd8464738d525af37", 300),
            ],
            "71ec1275fca074724e2dd666921b3277c7cee603e4d025bcab2d4050015be2bc",
            "54e55dccc6653c612bdb5576c5d3cb34bb31bc4e100248abccf4c908b3ef7715",
        ),
        (
            [
                ("cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6", 100),
                ("c3e67584b5c4fc2a89837ec39e40f2c8a6bb0b2987ac94cd4b31e5fbdd210a72", 200),
                ("cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6", 100),
                ("c3e67584b5c4fc2a89837ec39e40f2c8a6bb0b2987ac94cd4b31e5fbdd210a72", 200),
                ("0d2beb91b9196929a5ddec9f6e306924ddf4a24268e3e59fd8464738d525af37", 300),
                ("adf8773496a9b7319b2e50dc98093f344053b17d8ad37100b9c07d9805988784", 400),
            ],
            "52c826f99507aa05d0b45e9837fa1709e0485425cfbcb1e80db3905cf98b3ee9",
            "91d21684db364c8883ab8209fa5eb2e781cf07f37e1fa43e731c30839afe422f",
        ),
    ],
)
def test_hashes_are_those_of_the_reference_implementation(nodes, xorb, file):
    digests = b"".join(digest_of(text) for text, _ in nodes)
    lengths = [length for _, length in nodes]
    assert text_of(xorb_digest(digests, lengths)) == xorb
    assert text_of(file_digest(digests, lengths)) == file


@given(st.binary(min_size=32, max_size=32))
def test_a_hash_survives_being_written_and_read(digest):
    assert digest_of(text_of(digest)) == digest
    assert text_of(digest) == client.text_of(digest)


@pytest.mark.parametrize("text", ["", "ab", "g" * 64, "A" * 64, "../" * 21 + "a", "0" * 64 + "\n", "0" * 65])
def test_anything_else_is_not_a_hash(text):
    with pytest.raises(InvalidRequest):
        digest_of(text)


@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(1, 131072)), min_size=1, max_size=200))
def test_the_tree_is_the_one_that_a_plain_reading_of_the_specification_gives(nodes):
    assert xorb_digest(b"".join(digest for digest, _ in nodes), [length for _, length in nodes]) == client.root_of(nodes)


def test_the_index_is_asked_for_chunks_whose_last_word_is_divisible_by_1024():
    digests = [struct.pack("<4Q", at, at, at, word) for at, word in enumerate([1, 1024, 3, 0, 4096, 1023])]
    assert dedup_positions(b"".join(digests)) == [1, 3, 4]


@settings(max_examples=60, deadline=None)
@given(chunks_strategy, st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=3), st.integers(1, 900), st.data())
def test_a_xorb_survives_being_packed_checked_and_unpacked(chunks, schemes, step, data):
    xorb = client.xorb_of(chunks, schemes)
    table = checked(xorb.body, xorb.name, step)
    again = unpack_table(table.pack())
    assert again.digests == b"".join(chunk_digest(chunk) for chunk in chunks)
    assert again.stored_bytes == len(xorb.body)
    first = data.draw(st.integers(0, len(chunks) - 1))
    last = data.draw(st.integers(first + 1, len(chunks)))
    start, end = again.stored_range(first, last)
    scratch = np.empty(40 * 300, np.uint8)
    assert unpack_chunks(xorb.body[start:end], again, first, last, scratch) == b"".join(chunks[first:last])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 65536, 65537, 131071, 131072])
def test_byte_groups_of_every_length_are_undone(size):
    xorb = client.xorb_of([random.Random(size).randbytes(size)], (2,))
    assert checked(xorb.body, xorb.name, 200_000).unpacked_bytes == size


def test_a_footer_is_tolerated():
    xorb = client.xorb_of([b"one", b"two" * 9000])
    assert checked(xorb.body + b"XETBLOB" + os.urandom(5000), xorb.name).stored_bytes == len(xorb.body)


def test_lz4_frames_of_other_settings_are_read():
    chunk = b"many models, one cloud " * 5000
    for options in ({"block_linked": False}, {"content_checksum": True}, {"store_size": False}, {"block_size": lz4.frame.BLOCKSIZE_MAX4MB}):
        xorb = client.Xorb([chunk], client.record(1, chunk, lz4.frame.compress(chunk, **options)))
        assert checked(xorb.body, xorb.name, 200_000).unpacked_bytes == len(chunk)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        client.record(0, b"hello")[:-1],
        client.record(0, b"hello") + b"\0\1",
        client.record(0, b"hello", length=6),
        client.record(1, b"hello", payload=b"not lz4"),
        client.record(1, b"hello", length=4),
        client.record(1, b"hello", length=6),
        client.record(1, b"hello", payload=lz4.frame.compress(b"hello")[:-3]),
        client.record(1, b"hello", payload=lz4.frame.compress(b"hello") + b"tail"),
        client.record(2, b"hello", payload=b""),
        client.record(0, b""),
        b"\1" + client.record(0, b"hello")[1:],
        bytes([0, 5, 0, 0, 3, 5, 0, 0]) + b"hello",
        client.record(0, b"x" * 131_073),
        bytes([0, 255, 255, 255, 1, 255, 255, 255]),
        b"XETBLOB",
        client.record(0, b"hello") * 8193,
    ],
)
def test_a_malformed_xorb_is_refused(body):
    with pytest.raises(InvalidRequest):
        checked(body, client.xorb_of([b"hello"]).name, 4000)


def test_a_xorb_under_another_name_is_refused():
    with pytest.raises(InvalidRequest, match="hash"):
        checked(client.xorb_of([b"hello"]).body, client.xorb_of([b"hullo"]).name)


def test_a_zip_bomb_is_refused_without_unpacking_it():
    bomb = lz4.frame.compress(bytes(30 * 1024 * 1024))
    assert len(bomb) < 256 * 1024
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest, match="length"):
            checked(client.record(1, b"", payload=bomb, length=131_072), "0" * 64, 300_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


def test_mutated_xorbs_and_shards_give_only_clean_refusals():
    dice = random.Random(20261124)
    xorb = client.xorb_of([dice.randbytes(dice.randint(1, 500)) for _ in range(12)])
    shard = client.shard_of(client.File([(xorb, 0, 5), (xorb, 7, 12)]), client.File([(xorb, 2, 3)]))
    read_shard(shard)
    slowest = 0.0
    for _ in range(2000):
        for body, use in ((xorb.body, lambda data: checked(data, xorb.name, 4000)), (shard, read_shard)):
            mutated = _mutated(dice, body)
            started = time.perf_counter()
            with contextlib.suppress(InvalidRequest):
                use(mutated)
            slowest = max(slowest, time.perf_counter() - started)
    assert slowest < 0.5


def test_a_shard_is_read_as_it_was_written():
    xorb = client.xorb_of([b"a" * 10, b"b" * 20, b"c" * 30])
    file = client.File([(xorb, 1, 3), (xorb, 0, 1)])
    (found,) = read_shard(client.shard_of(file))
    assert (found.name, found.size, found.sha256) == (file.name, 60, file.sha256)
    assert [(term["first"], term["last"], term["bytes"]) for term in found.terms] == [(1, 3, 50), (0, 1, 10)]


def test_a_shard_without_verification_hashes_is_refused():
    file = client.File([(client.xorb_of([b"a"]), 0, 1)])
    with pytest.raises(InvalidRequest, match="verification"):
        read_shard(client.shard_of(file, flags=1 << 30))


@pytest.mark.parametrize("count", [2**32 - 1, 2**31, 1000])
def test_a_shard_that_promises_more_than_it_holds_is_refused_at_once(count):
    head = client.TAG + struct.pack("<QQ", 2, 0) + bytes(32) + struct.pack("<IIQ", 0xC0000000, count, 0)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest):
            read_shard(head + bytes(480))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1024 * 1024


@pytest.mark.parametrize("body", [b"", b"x" * 48, client.TAG, client.TAG + struct.pack("<QQ", 3, 0) + client.BOOKEND * 2])
def test_what_is_not_a_shard_is_refused(body):
    with pytest.raises(InvalidRequest):
        read_shard(body)


def test_a_deduplication_answer_shows_chunks_only_to_those_who_hold_them():
    xorb = client.xorb_of([b"mine", b"yours", b"secret"])
    table = checked(xorb.body, xorb.name)
    key = os.urandom(32)
    shard = write_offer([Offer(xorb.digest, table, [(0, 2)])], key, 2_000_000_000)
    assert all(digest not in shard for digest, _ in xorb.nodes)
    assert keyed_digest(key, xorb.nodes[0][0]) in shard
    assert keyed_digest(key, xorb.nodes[1][0]) in shard
    assert keyed_digest(key, xorb.nodes[2][0]) not in shard, "a chunk outside the offered ranges must not be recognisable"
    footer = struct.unpack("<9Q32sQQ48x3QQ", shard[-200:])
    assert footer[9] == key
    assert footer[11] == 2_000_000_000
    assert footer[-1] == len(shard) - 200
    words = struct.unpack_from("<" + "QII" * 3, shard, footer[7])[::3]
    assert list(words) == sorted(words), "clients search this table"


def test_touching_ranges_become_one():
    assert merged([(4, 6), (0, 2), (2, 3), (5, 9), (11, 12)]) == [(0, 3), (4, 9), (11, 12)]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=8), min_size=1, max_size=3), st.data())
def test_every_range_of_a_file_is_rebuilt_from_what_the_answer_names(sizes, data):
    dice = random.Random(1)
    xorbs = [client.xorb_of([dice.randbytes(size) for size in lengths]) for lengths in sizes]
    tables = {xorb.digest: checked(xorb.body, xorb.name) for xorb in xorbs}
    terms = []
    for _ in range(data.draw(st.integers(1, 5))):
        xorb = data.draw(st.sampled_from(xorbs))
        first = data.draw(st.integers(0, len(xorb.chunks) - 1))
        terms.append((xorb, first, data.draw(st.integers(first + 1, len(xorb.chunks)))))
    file = client.File(terms)
    rows = np.array([(xorb.digest, 0, sum(map(len, xorb.chunks[a:b])), a, b) for xorb, a, b in terms], TERM)
    start = data.draw(st.integers(0, len(file.content) - 1))
    end = data.draw(st.integers(start + 1, len(file.content)))
    plan = cut(rows, tables, start, end)
    by_name = {xorb.name: xorb for xorb in xorbs}
    for version, answer in ((1, answer_v1), (2, answer_v2)):
        found = answer(plan, tables, lambda xorb, low, high: f"{text_of(xorb)}?{low}-{high}")
        rebuilt = b"".join(_fetched(version, found, term, by_name, tables) for term in found["terms"])
        skip = found["offset_into_first_range"]
        assert rebuilt[skip : skip + end - start] == file.content[start:end]
        assert skip < len(by_name[found["terms"][0]["hash"]].chunks[found["terms"][0]["range"]["start"]])


def _fetched(version, answer, term, xorbs, tables):
    """What a client unpacks for one term: it downloads the range that holds the term, and takes its chunks from there."""
    wanted = term["range"]
    entries = answer["fetch_info"][term["hash"]] if version == 1 else answer["xorbs"][term["hash"]]
    for entry in entries:
        chunks, stored = (
            (entry["range"], entry["url_range"]) if version == 1 else (entry["ranges"][0]["chunks"], entry["ranges"][0]["bytes"])
        )
        if chunks["start"] <= wanted["start"] and wanted["end"] <= chunks["end"]:
            xorb = xorbs[term["hash"]]
            assert entry["url"] == f"{term['hash']}?{stored['start']}-{stored['end'] + 1}"
            body = xorb.body[stored["start"] : stored["end"] + 1]
            unpacked = unpack_chunks(body, tables[xorb.digest], chunks["start"], chunks["end"], np.empty(10_000, np.uint8))
            assert unpacked == b"".join(xorb.chunks[chunks["start"] : chunks["end"]])
            found = b"".join(xorb.chunks[wanted["start"] : wanted["end"]])
            assert len(found) == term["unpacked_length"]
            return found
    raise AssertionError("no range holds the term")


def _mutated(dice, body):
    data = bytearray(body)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(data))
        action = dice.randrange(4)
        if action == 0:
            data[at] ^= 1 << dice.randrange(8)
        elif action == 1:
            data[at : at + 4] = dice.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x80"])
        elif action == 2:
            del data[at : at + dice.randint(1, 60)]
        else:
            data[at:at] = dice.randbytes(dice.randint(1, 60))
        if not data:
            return b""
    return bytes(data)


def test_proofs_are_keyed_hashes_of_the_joined_chunk_hashes():
    assert verification_digest(b"x" * 64) == client.blake3(b"x" * 64, key=client.VERIFICATION_KEY).digest()
