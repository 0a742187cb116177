import io
import random
import struct
import zipfile

import pytest

from yunmo.apps.translate.documents.archive import ArchiveLimits, open_archive
from yunmo.apps.translate.documents.xml import parse_xml
from yunmo.core.errors import InvalidRequest


def packed(parts, **more):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **more) as archive:
        for name, data, method in parts:
            archive.writestr(name, data, method)
    return file.getvalue()


PARTS = [
    ("mimetype", b"application/epub+zip", zipfile.ZIP_STORED),
    ("b.xml", b"<b>" + b"text " * 500 + b"</b>", zipfile.ZIP_DEFLATED),
    ("a/noise", random.Random(1).randbytes(5000), zipfile.ZIP_DEFLATED),
    ("图.xml", "<图/>".encode(), zipfile.ZIP_DEFLATED),
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "document.zip"
    path.write_bytes(packed(PARTS))
    return path


def read_all(path):
    with open_archive(path) as archive:
        return [archive.read(name) for name in archive.names]


def raw(path, name):
    """A part as it is packed."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as data:
        info = archive.getinfo(name)
        data.seek(info.header_offset + 26)
        lengths = struct.unpack("<2H", data.read(4))
        data.seek(sum(lengths), 1)
        return info.compress_type, info.date_time, data.read(info.compress_size)


def test_a_copy_without_changes_is_the_same_file(file, tmp_path):
    with open_archive(file) as archive:
        archive.write(tmp_path / "copy.zip", {})
    assert (tmp_path / "copy.zip").read_bytes() == file.read_bytes()


def test_parts_that_are_not_changed_stay_as_they_are_packed_and_in_their_order(file, tmp_path):
    copy = tmp_path / "copy.zip"
    with open_archive(file) as archive:
        assert archive.names == tuple(name for name, _, _ in PARTS)
        archive.write(copy, {"b.xml": b"<b/>", "new.xml": b"<new/>"})
    with zipfile.ZipFile(copy) as read:
        assert read.testzip() is None
        assert read.namelist() == [*(name for name, _, _ in PARTS), "new.xml"]
        assert (read.read("b.xml"), read.read("new.xml")) == (b"<b/>", b"<new/>")
    for name in ("mimetype", "a/noise", "图.xml"):
        assert raw(copy, name) == raw(file, name)


def test_an_archive_that_was_written_to_a_pipe_is_copied(tmp_path):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise OSError

        tell = seek

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        for name, data, method in PARTS:
            archive.writestr(name, data, method)
    (tmp_path / "piped.zip").write_bytes(pipe.getvalue())
    with open_archive(tmp_path / "piped.zip") as archive:
        archive.write(tmp_path / "copy.zip", {"b.xml": b"<b/>"})
    with zipfile.ZipFile(tmp_path / "copy.zip") as read:
        assert read.testzip() is None
        assert read.read("a/noise") == PARTS[2][1]


def test_an_archive_with_long_sizes_is_copied(tmp_path):
    with zipfile.ZipFile(tmp_path / "long.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("one", "two"):
            with archive.open(name, "w", force_zip64=True) as part:
                part.write(name.encode() * 100)
    with open_archive(tmp_path / "long.zip") as archive:
        archive.write(tmp_path / "copy.zip", {"one": b"changed"})
    with zipfile.ZipFile(tmp_path / "copy.zip") as read:
        assert (read.testzip(), read.read("one"), read.read("two")) == (None, b"changed", b"two" * 100)


def test_a_part_is_read_as_a_stream(file):
    with open_archive(file) as archive, archive.open("b.xml") as part:
        assert part.read(8) == b"<b>text "
        assert archive.size("b.xml") == 2507


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (ArchiveLimits(parts=3), "4 parts"),
        (ArchiveLimits(part_bytes=100), "unpacks to"),
        (ArchiveLimits(total_bytes=6000), "unpacks to"),
        (ArchiveLimits(ratio=5, ratio_free_bytes=100), "more than 5 times"),
    ],
)
def test_an_archive_over_a_limit_is_refused(file, limits, said):
    with pytest.raises(InvalidRequest, match=said), open_archive(file, limits):
        pass


def test_a_bomb_is_refused_by_the_default_limits(tmp_path):
    (tmp_path / "bomb.zip").write_bytes(packed([("zeros", bytes(50 << 20), zipfile.ZIP_DEFLATED)]))
    with pytest.raises(InvalidRequest, match="200 times"), open_archive(tmp_path / "bomb.zip"):
        pass


def test_a_part_that_lies_about_its_size_is_refused_and_not_unpacked_further(tmp_path):
    data = bytearray(packed([("zeros", bytes(1 << 20), zipfile.ZIP_DEFLATED)]))
    at = data.rindex(b"PK\x01\x02")
    struct.pack_into("<L", data, at + 24, 100)
    (tmp_path / "liar.zip").write_bytes(data)
    with open_archive(tmp_path / "liar.zip") as archive, pytest.raises(InvalidRequest, match="damaged"):
        archive.read("zeros")


def test_parts_that_share_bytes_are_refused(tmp_path):
    data = bytearray(packed([("a", b"x" * 500, zipfile.ZIP_STORED), ("b", b"y" * 500, zipfile.ZIP_STORED)]))
    struct.pack_into("<L", data, data.rindex(b"PK\x01\x02") + 42, 10)
    (tmp_path / "over.zip").write_bytes(data)
    with pytest.raises(InvalidRequest, match="lies over"), open_archive(tmp_path / "over.zip"):
        pass


def test_an_encrypted_part_is_refused(tmp_path):
    data = bytearray(packed([("a", b"x", zipfile.ZIP_STORED)]))
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(data)
    with pytest.raises(InvalidRequest, match="without a password"), open_archive(tmp_path / "locked.zip"):
        pass


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"no archive at all" * 10])
def test_what_is_no_archive_is_refused(tmp_path, data):
    (tmp_path / "no.zip").write_bytes(data)
    with pytest.raises(InvalidRequest, match="not an archive"), open_archive(tmp_path / "no.zip"):
        pass


@pytest.mark.parametrize("cut", [30, 200, 2000])
def test_a_damaged_part_is_refused(file, cut):
    data = bytearray(file.read_bytes())
    at = data.index(b"PK\x01\x02") - cut
    data[at : at + 20] = bytes(20)
    file.write_bytes(data)
    with pytest.raises(InvalidRequest):
        read_all(file)


def test_a_copy_that_fails_leaves_nothing_behind(file, tmp_path):
    with open_archive(file) as archive, pytest.raises(TypeError):
        archive.write(tmp_path / "copy.zip", {"b.xml": "no bytes"})
    assert [path.name for path in tmp_path.iterdir()] == ["document.zip"]


def test_xml_is_parsed():
    root = parse_xml(b'<?xml version="1.0" encoding="ISO-8859-1"?><!DOCTYPE a SYSTEM "a.dtd"><a>\xe9</a>', "a.xml")
    assert (root.tag, root.text) == ("a", "é")


BOMB = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><a>&b;</a>'


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (BOMB, "entities"),
        (b'<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/hostname">]><a>&f;</a>', "entities"),
        (b'<!DOCTYPE a [<!ENTITY % f SYSTEM "http://127.0.0.1:9/x"> %f;]><a/>', "entities"),
        (BOMB.decode().encode("utf-16"), "entities"),
        (b"<a>" * 5000 + b"</a>" * 5000, "well-formed"),
        (b"<a><b></a>", "well-formed"),
        (b"", "well-formed"),
        (b"<a>\0</a>", "well-formed"),
        (b"<a>" + b"x" * 200 + b"</a>", "200|split"),
    ],
)
def test_xml_that_is_harmful_or_damaged_is_refused(data, said):
    with pytest.raises(InvalidRequest, match=said):
        parse_xml(data, "part.xml", limit=200 if b"xxx" in data else 1 << 20)
