"""What pickles are said to import: the real ones of torch and numpy, and many that try to hide something."""

import collections
import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from yunmo.hub import pickles
from yunmo.hub.pickles import Findings, inspect, starts_as_pickle

SYSTEM = f"{os.system.__module__}.system"
EVIL = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R."


class Runs:
    def __reduce__(self):
        return os.system, ("id",)


def look(content):
    return inspect(lambda start, end: content[start:end], len(content))


def saved(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def zipped(files, packing=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


STATE = collections.OrderedDict(
    a=torch.ones(3, 4, dtype=torch.bfloat16), b=torch.nn.Parameter(torch.ones(2)), c=torch.zeros(2, dtype=torch.int8), d=torch.ones(2, 2).T
)


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 5}])
def test_what_torch_saves_is_safe_in_its_new_and_its_old_format(options):
    assert look(saved(STATE, **options)) == Findings()


def test_a_whole_module_is_suspicious_by_its_classes():
    found = look(saved(torch.nn.Linear(2, 2)))
    assert found.outcome == "suspicious"
    assert "torch.nn.modules.linear.Linear" in found.names


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_and_arrays_are_safe_in_every_protocol(protocol):
    value = {
        "list": [1, 2.5, None, True, 10**40],
        "set": {1},
        "bytes": b"\0\xff",
        "array": np.ones((2, 3)),
        "text": "模型",
        "t": ((), (1,)),
    }
    assert look(pickle.dumps(value, protocol)) == Findings()


@pytest.mark.parametrize("protocol", range(6))
def test_what_a_pickle_runs_is_named_in_every_protocol(protocol):
    found = look(pickle.dumps({"weights": np.ones(3), "more": Runs()}, protocol))
    assert (found.outcome, found.names) == ("suspicious", (SYSTEM,))


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (b"cposix\nsystem\n(S'id'\ntR.", "posix.system"),
        (b"(iposix\nsystem\n.", "posix.system"),
        (b"(S'id'\niposix\nsystem\n.", "posix.system"),
        (b"(cposix\nsystem\nS'id'\no.", "posix.system"),
        (b"\x80\x02cposix\nsystem\nX\x02\0\0\0id\x85\x81.", "posix.system"),
        (b"c__builtin__\neval\n.", "__builtin__.eval"),
        (b"ctorch\n_utils.os.system\n.", "torch._utils.os.system"),
        (b"ctorch.storage\n_load_from_bytes\n.", "torch.storage._load_from_bytes"),
        (b"ctorch Size\n\n.", "torch.Size "),
        (b"\x80\x02\x82\x01.", "extension 1"),
        # names by way of the memo: written twice, read from elsewhere, remembered out of order
        (b"\x80\x04\x8c\x05torch\x94\x8c\x05posix\x94\x8c\x06system\x940000h\x01h\x02\x93.", ""),
        (b"\x80\x04\x8c\x05torch\x94\x8c\x05posix\x94\x8c\x06system\x94000h\x01h\x02\x93.", "posix.system"),
        (
            b"\x80\x04\x8c\x0bcollections\x94q\x01\x8c\x05posixq\x01\x8c\x0bOrderedDict\x94\x8c\x06systemq\x020000h\x01h\x02\x93.",
            "posix.system",
        ),
        (b"\x80\x04\x8c\x05posix2\x8c\x06system\x93.", "posix.system"),
        (b"\x80\x04(\x8c\x05torch\x8c\x06Tensor1\x8c\x05posix\x8c\x06system\x93.", "posix.system"),
        (b"\x80\x04V\\u0070osix\nV\\u0073ystem\n\x93.", "posix.system"),
        (b"\x80\x04\x8d\x05\0\0\0\0\0\0\0posixT\x06\0\0\0system\x93.", "posix.system"),
        # names that only running the pickle would tell
        (b"\x80\x04c_codecs\nencode\n\x8c\x05posix\x85R\x8c\x06system\x93.", "a name that is computed"),
        (b"\x80\x04(\x8c\x05posixl\x8c\x06system\x93.", "a name that is computed"),
        (b"\x80\x04ccollections\nOrderedDict\n}b.", "a change to what it imports"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fcposix\nsystem\n.", "posix.system"),
    ],
)
def test_a_trick_to_hide_a_name_is_seen_through(code, name):
    found = look(code)
    assert found.outcome != "safe"
    assert found.names == ((name,) if name else ())


@pytest.mark.parametrize("end", range(1, len(EVIL)))
def test_a_pickle_that_ends_in_the_middle_is_never_safe(end):
    assert look(EVIL[:end]).outcome == "unreadable"


def test_a_broken_tail_does_not_hide_what_runs_before_it():
    found = look(EVIL[:-1] + b"\xff")
    assert (found.outcome, found.names) == ("unreadable", ("posix.system",))


def test_what_follows_a_pickle_is_read_too():
    assert look(pickle.dumps({}) + EVIL).names == ("posix.system",)
    assert look(pickle.dumps({}) + b"\xff" * 10).outcome == "unreadable"
    assert look(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + EVIL).names == ("posix.system",)


def test_pickles_are_found_inside_archives_inside_archives():
    assert look(zipped({"archive/data.pkl": EVIL})).names == ("posix.system",)
    assert look(zipped({"a/inner.pt": zipped({"b/data.pkl": EVIL})})).names == ("posix.system",)
    assert look(zipped({"data.pkl": zipped({"x.pkl": EVIL})})).names == ("posix.system",)
    deep = zipped({"data.pkl": EVIL})
    for _ in range(5):
        deep = zipped({"inner.zip": deep})
    assert look(deep).outcome == "unreadable"


def test_only_the_pickles_of_an_archive_are_read():
    tensors = os.urandom(3 * pickles.PICKLE_LIMIT_BYTES)
    content = zipped({"archive/data.pkl": pickle.dumps({}), "archive/data/0": tensors}, zipfile.ZIP_STORED)
    read = []

    def reader(start, end):
        read.append(end - start)
        return content[start:end]

    assert inspect(reader, len(content)) == Findings()
    assert sum(read) < 1024 * 1024


def test_a_numpy_file_is_dangerous_only_with_objects():
    plain, objects = io.BytesIO(), io.BytesIO()
    np.save(plain, np.ones(4))
    np.save(objects, np.array([Runs()], dtype=object), allow_pickle=True)
    assert look(objects.getvalue()).names == (SYSTEM,)
    assert look(zipped({"a.npy": plain.getvalue()})) == Findings()
    assert look(zipped({"a.npy": objects.getvalue()})).names == (SYSTEM,)


def test_a_zip_bomb_is_unpacked_no_further_than_the_limit(monkeypatch):
    bomb = b"\x80\x04" + b"0" * (40 * 1024 * 1024)
    assert "MiB" in look(zipped({"data.pkl": bomb})).problem
    monkeypatch.setattr(pickles, "FILE_LIMIT_BYTES", 3 * 1024 * 1024)
    text = pickle.dumps("x" * 1024 * 1024)
    assert "together" in look(zipped({f"{number}.pkl": text for number in range(4)})).problem


def test_work_is_bounded_too(monkeypatch):
    monkeypatch.setattr(pickles, "OPCODES_LIMIT", 1000)
    assert "opcodes" in look(b"\x80\x04" + b"N0" * 1000 + b"N.").problem
    monkeypatch.setattr(pickles, "PICKLE_LIMIT_BYTES", 1024 * 1024)
    assert "1 MiB" in look(pickle.dumps("x" * 1024 * 1024)).problem


@pytest.mark.parametrize("count", [2**31 - 1, 2**32 - 1])
def test_an_announced_length_is_not_believed(count):
    for code in (
        b"B" + struct.pack("<I", count),
        b"X" + struct.pack("<I", count),
        b"\x8e" + struct.pack("<Q", count),
        b"\x8b" + struct.pack("<i", 2**31 - 1),
    ):
        assert look(b"\x80\x04" + code + b"abc").outcome == "unreadable"


def damaged():
    good = zipped({"archive/data.pkl": EVIL}, zipfile.ZIP_STORED)
    at, directory = good.index(EVIL), good.rindex(b"PK\x01\x02")
    yield "checksum", good[:at] + EVIL.replace(b"id", b"ls") + good[at + len(EVIL) :]
    yield "encrypted", good[: directory + 8] + b"\x01\0" + good[directory + 10 :]
    yield "packing", good[: directory + 10] + b"\x0c\0" + good[directory + 12 :]
    yield "another name", good.replace(b"archive/data.pkl", b"archive/data.txt", 1)
    yield "cut", good[:-30]
    yield "no directory", good[:directory]
    yield "twice", zipped({"data.pkl": pickle.dumps({}), "data.pkx": EVIL}).replace(b"data.pkx", b"data.pkl")


def test_a_damaged_archive_is_never_safe():
    for name, content in damaged():
        assert look(content).outcome == "unreadable", name


def test_a_file_without_magic_is_known_by_its_opcodes():
    assert starts_as_pickle(pickle.dumps({"a": 1}, 0))
    assert starts_as_pickle(b"I0x10\n0cposix\nsystem\n.")
    assert starts_as_pickle(EVIL[:20])
    assert not starts_as_pickle(bytes(64))
    assert not starts_as_pickle(b"hello, this is text")


@given(st.binary(max_size=300))
def test_no_bytes_make_the_inspection_fail(content):
    for data in (content, b"\x80\x04" + content, b"PK\x03\x04" + content, b"\x93NUMPY\x01\0" + content, EVIL[:-1] + content):
        assert look(data).outcome in {"safe", "suspicious", "unreadable"}


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.integers(0, 5),
)
def test_no_plain_value_is_called_anything_but_safe(value, protocol):
    assert look(pickle.dumps(value, protocol)) == Findings()
