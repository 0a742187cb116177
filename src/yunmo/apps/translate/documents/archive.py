"""ZIP archives that documents are kept in: read with limits, and copied with what is unchanged left as it is."""

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Self

from yunmo.apps.translate.documents.output import whole_file
from yunmo.core.errors import InvalidRequest

_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_LOCAL_FIELDS, _CENTRAL_FIELDS, _END_FIELDS = "<4s5H3L2H", "<4s6H3L5H2L", "<4s4H2LH"
_ENCRYPTED, _SIZES_BEHIND, _UTF8_NAME = 0x1, 0x8, 0x800
_ZIP64_EXTRA = 1
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much an archive may hold once it is unpacked. `ratio` is the greatest expansion of a part that is larger than `ratio_free_bytes`."""

    parts: int = 20_000
    part_bytes: int = 256 << 20
    total_bytes: int = 1 << 30
    ratio: int = 200
    ratio_free_bytes: int = 1 << 20


@contextmanager
def open_archive(path: Path, limits: ArchiveLimits | None = None) -> Iterator["Archive"]:
    """The archive at `path`, whose directory was checked; InvalidRequest where it is damaged, encrypted or larger than the limits."""
    with Archive(path, limits or ArchiveLimits()) as archive:
        yield archive


class Archive:
    """An archive that is open for reading. `names` are its parts, in the order in which they stand in the file."""

    def __init__(self, path: Path, limits: ArchiveLimits) -> None:
        self._path, self._limits = path, limits
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, UnicodeDecodeError) as error:
            raise InvalidRequest(
                f"The file is not an archive that can be read ({error}): open it in its own program and save it again."
            ) from error
        try:
            self._parts = {info.orig_filename: info for info in sorted(self._zip.infolist(), key=lambda info: info.header_offset)}
            _check(self._zip.infolist(), limits, self._zip.start_dir)
        except BaseException:
            self._zip.close()
            raise
        self.names = tuple(self._parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    def size(self, name: str) -> int:
        """The bytes of a part once it is unpacked."""
        return self._part(name).file_size

    def read(self, name: str) -> bytes:
        """A part, whole."""
        with self.open(name) as part:
            try:
                return part.read()
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise _damaged(name, error) from error

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A part as a stream, which never gives more than `size`; its checksum is compared at its end."""
        try:
            with self._zip.open(self._part(name)) as part:
                yield part
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise _damaged(name, error) from error

    def write(self, path: Path, changed: Mapping[str, bytes]) -> None:
        """A copy at `path` whose parts `changed` are new; the others stay byte by byte as they are packed, all in the same order.

        A changed part keeps its place, time and compression; one that the archive has not is added at the end.
        """
        if not changed:
            with self._path.open("rb") as source, whole_file(path) as target:
                _copy(source, target, 0, self._path.stat().st_size)
            return
        with self._path.open("rb") as source, whole_file(path) as target:
            starts = [info.header_offset for info in self._parts.values()]
            ends = [*starts[1:], self._zip.start_dir]
            _copy(source, target, 0, starts[0] if starts else 0)
            directory = []
            for (name, info), end in zip(self._parts.items(), ends, strict=True):
                offset = target.tell()
                if name in changed:
                    _write_part(target, info, changed[name])
                else:
                    _copy(source, target, info.header_offset, end)
                directory.append((info, offset))
            for name in changed:
                if name not in self._parts:
                    directory.append((info := _new_part(name), target.tell()))
                    _write_part(target, info, changed[name])
            _write_directory(target, directory, self._zip.comment)

    def _part(self, name: str) -> zipfile.ZipInfo:
        try:
            return self._parts[name]
        except KeyError:
            raise InvalidRequest(f"The file lacks its part {name!r}: open it in its own program and save it again.") from None


def _check(parts: list[zipfile.ZipInfo], limits: ArchiveLimits, directory: int) -> None:
    if len(parts) > limits.parts:
        raise InvalidRequest(f"The archive has {len(parts):,} parts, more than the {limits.parts:,} that are read: split the document.")
    if len({part.orig_filename for part in parts}) < len(parts):
        raise InvalidRequest("The archive has two parts of one name: open it in its own program and save it again.")
    total = sum(part.file_size for part in parts)
    if total > limits.total_bytes:
        raise InvalidRequest(
            f"The archive unpacks to {total:,} bytes, more than the {limits.total_bytes:,} that are read: split the document."
        )
    end = 0
    for part in sorted(parts, key=lambda part: part.header_offset):
        _check_part(part, limits)
        if part.header_offset < end:
            raise InvalidRequest(
                f"The archive's part {part.orig_filename!r} lies over another one: the file is damaged or made to do harm."
            )
        end = part.header_offset + 30 + part.compress_size
    if end > directory:
        raise InvalidRequest("The archive's last part reaches into its directory: the file is damaged or made to do harm.")


def _check_part(part: zipfile.ZipInfo, limits: ArchiveLimits) -> None:
    name = part.orig_filename
    if part.flag_bits & _ENCRYPTED:
        raise InvalidRequest(f"The archive's part {name!r} is encrypted: save the document without a password.")
    if part.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise InvalidRequest(
            f"The archive's part {name!r} is packed by method {part.compress_type}: only stored and deflated parts are read."
        )
    if part.file_size > limits.part_bytes:
        raise InvalidRequest(
            f"The archive's part {name!r} unpacks to {part.file_size:,} bytes, more than the {limits.part_bytes:,} that are read: split the document."
        )
    if part.file_size > max(limits.ratio_free_bytes, part.compress_size * limits.ratio):
        raise InvalidRequest(
            f"The archive's part {name!r} unpacks to {part.file_size:,} bytes from {part.compress_size:,}, more than {limits.ratio} times: "
            "the file is damaged or made to do harm."
        )


def _damaged(name: str, error: Exception) -> InvalidRequest:
    return InvalidRequest(f"The archive's part {name!r} is damaged ({error}): open the document in its own program and save it again.")


def _copy(source: BinaryIO, target: BinaryIO, start: int, end: int) -> None:
    source.seek(start)
    left = end - start
    while left > 0 and (chunk := source.read(min(left, _CHUNK))):
        target.write(chunk)
        left -= len(chunk)


def _new_part(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.orig_filename, info.compress_type = name, zipfile.ZIP_DEFLATED
    return info


def _write_part(target: BinaryIO, info: zipfile.ZipInfo, data: bytes) -> None:
    """The part with its sizes in front of it, so that none need follow; `info` is made to say what was written."""
    packed = data
    if info.compress_type == zipfile.ZIP_DEFLATED:
        packer = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = packer.compress(data) + packer.flush()
    info.flag_bits &= ~_SIZES_BEHIND
    info.CRC, info.file_size, info.compress_size = zlib.crc32(data), len(data), len(packed)
    name = _name(info)
    time, date = _dos_time(info)
    sizes = (info.CRC, info.compress_size, info.file_size)
    fields = (_LOCAL, info.extract_version, info.flag_bits, info.compress_type, time, date, *sizes, len(name), 0)
    target.write(struct.pack(_LOCAL_FIELDS, *fields) + name + packed)


def _write_directory(target: BinaryIO, parts: list[tuple[zipfile.ZipInfo, int]], comment: bytes) -> None:
    start = target.tell()
    for info, offset in parts:
        name, extra = _name(info), _without_zip64(info.extra)
        time, date = _dos_time(info)
        made_by = info.create_version | info.create_system << 8
        kept = (made_by, info.extract_version, info.flag_bits, info.compress_type, time, date, info.CRC, info.compress_size, info.file_size)
        lengths = (len(name), len(extra), len(info.comment))
        fields = (_CENTRAL, *kept, *lengths, 0, info.internal_attr, info.external_attr, offset)
        target.write(struct.pack(_CENTRAL_FIELDS, *fields) + name + extra + info.comment)
    size = target.tell() - start
    target.write(struct.pack(_END_FIELDS, _END, 0, 0, len(parts), len(parts), size, start, len(comment)) + comment)


def _name(info: zipfile.ZipInfo) -> bytes:
    if info.orig_filename.isascii():
        return info.orig_filename.encode("ascii")
    if info.flag_bits & _UTF8_NAME:
        return info.orig_filename.encode("utf-8")
    try:
        return info.orig_filename.encode("cp437")
    except UnicodeEncodeError:
        info.flag_bits |= _UTF8_NAME
        return info.orig_filename.encode("utf-8")


def _dos_time(info: zipfile.ZipInfo) -> tuple[int, int]:
    year, month, day, hour, minute, second = info.date_time
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day


def _without_zip64(extra: bytes) -> bytes:
    """Extra fields without the long sizes: the limits keep every archive within short ones."""
    kept, at = b"", 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind != _ZIP64_EXTRA:
            kept += extra[at : at + 4 + length]
        at += 4 + length
    return kept
