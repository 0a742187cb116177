"""What every object store promises, and what only one kind must do."""

import errno
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunmo.core.errors import InsufficientStorage, InvalidRequest, Unavailable
from yunmo.storage import blobs
from yunmo.storage.blobs import DirectoryStore, S3Location, S3Store

MIB = 1024 * 1024


async def listed(store, prefix):
    return sorted([key async for key in store.keys(prefix)])


async def test_what_was_put_can_be_read(store):
    await store.put("a/b/c", b"hello")
    assert await store.get("a/b/c") == b"hello"
    assert await store.size("a/b/c") == 5


async def test_an_empty_object_is_an_object(store):
    await store.put("a/empty", b"")
    assert await store.get("a/empty") == b""
    assert await store.get("a/empty", 0, 10) == b""
    assert await store.size("a/empty") == 0


async def test_a_range_is_cut_like_a_slice(store):
    data = b"0123456789"
    await store.put("a/range", data)
    for start in (0, 3, 9, 10, 25):
        for end in (None, 0, 3, 7, 10, 25):
            assert await store.get("a/range", start, end) == data[start:end], (start, end)


async def test_a_negative_range_is_refused(store):
    await store.put("a/range", b"0123456789")
    with pytest.raises(ValueError, match="range"):
        await store.get("a/range", -3)


async def test_putting_a_key_again_keeps_the_first_bytes(store):
    await store.put("a/first", b"first")
    await store.put("a/first", b"other")
    staged = store.staging / "again"
    staged.write_bytes(b"third")
    await store.put_file("a/first", staged)
    assert await store.get("a/first") == b"first"
    assert not staged.exists()


async def test_a_large_file_is_taken_over_and_streams_back_whole_and_in_part(store):
    data = os.urandom(33 * MIB + 7)
    staged = store.staging / "large"
    staged.write_bytes(data)
    await store.put_file("xorbs/ab/large", staged)
    assert not staged.exists()
    assert await store.size("xorbs/ab/large") == len(data)
    pieces = [piece async for piece in store.stream("xorbs/ab/large")]
    assert b"".join(pieces) == data
    assert max(len(piece) for piece in pieces) < 8 * MIB
    part = [piece async for piece in store.stream("xorbs/ab/large", 20 * MIB + 1, 25 * MIB)]
    assert b"".join(part) == data[20 * MIB + 1 : 25 * MIB]


async def test_a_missing_key_has_no_size_and_cannot_be_read(store):
    assert await store.size("a/missing") is None
    for start, end in ((0, None), (0, 0), (2, 5)):
        with pytest.raises(FileNotFoundError):
            await store.get("a/missing", start, end)
    with pytest.raises(FileNotFoundError):
        [piece async for piece in store.stream("a/missing")]


async def test_a_deleted_object_is_gone_and_deleting_again_is_a_no_op(store):
    await store.put("a/gone", b"x")
    await store.delete("a/gone")
    assert await store.size("a/gone") is None
    await store.delete("a/gone")
    await store.put("a/gone", b"y")
    assert await store.get("a/gone") == b"y"


async def test_keys_lists_a_folder_and_not_its_namesakes(store):
    for key in ("a/1", "a/b/2", "ab/3", "c/4"):
        await store.put(key, b"x")
    assert await listed(store, "a") == ["a/1", "a/b/2"]
    assert await listed(store, "a/") == ["a/1", "a/b/2"]
    assert await listed(store, "nothing") == []
    (store.staging / "half-written").write_bytes(b"x")
    assert await listed(store, "") == ["a/1", "a/b/2", "ab/3", "c/4"]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../b",
        "a/..",
        "./a",
        "a/\0b",
        "a\\b",
        "a/%2e%2e/b",
        ".staging/x",
        "a b",
        "C:/x",
        "é",
        "a\n",
        "x" * 300,
    ],
)
async def test_a_key_that_could_leave_the_store_is_refused_by_every_verb(store, key):
    staged = store.staging / "staged"
    staged.write_bytes(b"x")
    for attempt in (store.put(key, b"x"), store.put_file(key, staged), store.get(key), store.size(key), store.delete(key)):
        with pytest.raises(InvalidRequest, match="key"):
            await attempt
    with pytest.raises(InvalidRequest):
        store.local_path(key)
    assert staged.exists()


async def test_a_reader_that_stops_early_leaves_the_store_usable(store):
    await store.put("a/early", b"x" * (3 * MIB))
    async for _piece in store.stream("a/early"):
        break
    assert await store.get("a/early", 0, 1) == b"x"


async def test_a_directory_gives_the_objects_own_file(tmp_path):
    store = DirectoryStore(tmp_path)
    await store.put("a/file", b"content")
    path = store.local_path("a/file")
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o222 == 0


@given(st.text(max_size=40))
def test_no_key_leads_out_of_the_directory(tmp_path_factory, key):
    root = tmp_path_factory.getbasetemp() / "escape"
    try:
        path = DirectoryStore(root).local_path(key)
    except InvalidRequest:
        return
    assert os.path.normpath(path) == str(path)
    assert path.is_relative_to(root / "objects")


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path, monkeypatch, failing, code):
    store = DirectoryStore(tmp_path)

    def full(*_args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(*((blobs.os, "fsync") if failing == "fsync" else (blobs.Path, "replace")), full)
    with pytest.raises(InsufficientStorage, match="full"):
        await store.put("a/b", b"x")
    monkeypatch.undo()
    assert await store.size("a/b") is None
    assert list(store.staging.iterdir()) == []


async def test_a_directory_flushes_the_bytes_then_renames_then_flushes_every_new_folder(tmp_path, monkeypatch):
    store = DirectoryStore(tmp_path)
    acts = []
    fsync, replace_ = os.fsync, blobs.Path.replace
    monkeypatch.setattr(
        blobs.os, "fsync", lambda fd: (acts.append(("fsync", str(blobs.Path(f"/proc/self/fd/{fd}").readlink()))), fsync(fd))
    )
    monkeypatch.setattr(blobs.Path, "replace", lambda path, target: (acts.append(("rename", str(target))), replace_(path, target)))
    await store.put("a/b/c", b"x")
    objects = tmp_path / "objects"
    assert acts[0][0] == "fsync"
    assert acts[0][1].startswith(str(store.staging))
    assert acts[1:] == [
        ("rename", str(objects / "a/b/c")),
        ("fsync", str(objects / "a/b")),
        ("fsync", str(objects / "a")),
        ("fsync", str(objects)),
    ]


async def test_old_half_written_files_are_removed_at_the_next_start(tmp_path):
    store = DirectoryStore(tmp_path)
    old, young = store.staging / "old", store.staging / "young"
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (0, 0))
    DirectoryStore(tmp_path)
    assert not old.exists()
    assert young.exists()


async def test_wrong_s3_credentials_are_said(s3_location, tmp_path):
    store = S3Store(replace(s3_location, secret_key="wrong"), tmp_path)
    for attempt in (store.put("a/b", b"x"), store.get("a/b"), store.size("a/b")):
        with pytest.raises(Unavailable, match="storage settings"):
            await attempt


async def test_a_missing_bucket_is_said(s3_location, tmp_path):
    store = S3Store(replace(s3_location, url="s3://nowhere"), tmp_path)
    with pytest.raises(Unavailable, match="no such bucket"):
        await store.put("a/b", b"x")


async def test_an_unreachable_s3_server_is_said(s3_location, tmp_path):
    store = S3Store(replace(s3_location, endpoint="http://127.0.0.1:1"), tmp_path, retry_seconds=0.1)
    with pytest.raises(Unavailable, match="cannot be used"):
        await store.get("a/b")


def test_an_address_that_is_no_bucket_is_refused(tmp_path):
    with pytest.raises(ValueError, match="s3://bucket"):
        S3Store(S3Location("https://example.org/bucket"), tmp_path)


def test_a_location_does_not_show_its_secret(s3_location):
    assert "secret-of-the-tests" not in repr(s3_location)
