"""What a pickle would import, read from its opcodes. Nothing is ever unpickled, and no more is read than the limits below.

Only names that are known to be harmless are harmless: lists of bad ones are never complete (specification: Hub §7.2).
"""

import io
import pickletools
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from yunmo.hub.harmless import is_harmless

PICKLE_LIMIT_BYTES = 16 * 1024 * 1024
"""One pickle is read up to here, unpacked."""

FILE_LIMIT_BYTES = 64 * 1024 * 1024
"""All pickles of one file together."""

OPCODES_LIMIT = 1_000_000
"""About two seconds' work; a checkpoint with a thousand tensors has some 40,000."""

_PICKLES_LIMIT = 64
_ENTRIES_LIMIT = 200_000
_DEPTH_LIMIT = 3
_NAMES_KEPT = 100
_NAME_CHARACTERS = 200
_TORCH_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_TORCH_LEGACY_PICKLES = 5
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_NPY_MAGIC = b"\x93NUMPY"
_ENCRYPTED = 0x1
_PLAIN_PACKING = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_INNER_PICKLES = (".pkl", ".pickle", ".joblib", ".dill", ".bin", ".npy")
_INNER_ARCHIVES = (".zip", ".pt", ".pth", ".ckpt", ".npz", ".mar")

Read = Callable[[int, int], bytes]
"""The file's bytes from the first number up to, not including, the second; fewer at the file's end."""

Outcome = Literal["safe", "suspicious", "unreadable"]


@dataclass(frozen=True, slots=True)
class Findings:
    """What pickles would import beyond what is harmless, and why they could not be read to the end (empty if they could)."""

    names: tuple[str, ...] = ()
    problem: str = ""

    @property
    def outcome(self) -> Outcome:
        if self.problem:
            return "unreadable"
        return "suspicious" if self.names else "safe"


def inspect(read: Read, size: int) -> Findings:
    """Look into a pickle, a numpy file with objects, or an archive with such in it."""
    inspection = _Inspection()
    try:
        inspection.file(_Bounded(read, size), size, depth=0)
    except _Unreadable as error:
        return Findings(inspection.found(), str(error))
    return Findings(inspection.found())


def starts_as_pickle(head: bytes) -> bool:
    """Whether a file without any magic (protocols 0 and 1 have none) may be a pickle: whether its first opcodes can be read."""
    inspection = _Inspection()
    try:
        inspection.pickle(io.BytesIO(head))
    except _Unreadable as error:
        return bool(inspection.names) or error.may_go_on
    return True


class _Unreadable(Exception):
    """A pickle breaks its format's rules or a limit; `may_go_on` unless another reader would stop there too."""

    def __init__(self, message: str, *, may_go_on: bool = False) -> None:
        super().__init__(message)
        self.may_go_on = may_go_on


class _Bounded(io.RawIOBase):
    """A file to be read by ranges, that gives no more than `FILE_LIMIT_BYTES` in all."""

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self._size = size
        self._at = 0
        self._left = FILE_LIMIT_BYTES

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("a position before the file's start")
        self._at = base + offset
        return self._at

    def read(self, count: int | None = -1) -> bytes:
        end = self._size if count is None or count < 0 else min(self._at + count, self._size)
        wanted = max(end - self._at, 0)
        if wanted > min(self._left, PICKLE_LIMIT_BYTES):
            raise _Unreadable("more of it would have to be read than is allowed")
        data = self._read(self._at, end) if wanted else b""
        self._at += len(data)
        self._left -= len(data)
        return data


@dataclass(slots=True)
class _Inspection:
    """One file's inspection, with what is left of its limits."""

    names: dict[str, None] = field(default_factory=dict)
    opcodes: int = 0
    unpacked: int = 0

    def found(self) -> tuple[str, ...]:
        return tuple(self.names)

    def file(self, file: io.RawIOBase | io.BytesIO, size: int, depth: int) -> None:
        head = file.read(8) or b""
        if head.startswith(_ZIP_MAGICS):
            self._archive(file, depth)
            return
        start = 0
        if head.startswith(_NPY_MAGIC):
            start = _after_npy_header(head, file)
        file.seek(start)
        data = file.read(min(size - start, PICKLE_LIMIT_BYTES)) or b""
        self._take(len(data))
        self._pickles(data, is_whole=start + len(data) >= size, may_be_torch=start == 0)

    def pickle(self, stream: io.BytesIO) -> Any:
        """Read one pickle; the argument of its first opcode but PROTO."""
        machine = _Machine(self._name)
        first: Any = None
        for opcode, argument in _opcodes(stream):
            self.opcodes += 1
            if self.opcodes > OPCODES_LIMIT:
                raise _Unreadable(f"it has more than {OPCODES_LIMIT} opcodes")
            if first is None and opcode.name != "PROTO":
                first = argument
            machine.step(opcode, argument)
        return first

    def _pickles(self, data: bytes, *, is_whole: bool, may_be_torch: bool) -> None:
        """What follows a pickle is loaded by some programs, so it is read too; torch's old format has five and then raw tensors."""
        stream = io.BytesIO(data)
        count, wanted = 0, _PICKLES_LIMIT
        while stream.tell() < len(data) or count == 0:
            try:
                first = self.pickle(stream)
            except _Unreadable as error:
                if error.may_go_on and not is_whole:
                    raise _Unreadable(
                        f"it goes on past the first {PICKLE_LIMIT_BYTES // 1024**2} MiB, which is all that is read"
                    ) from error
                raise
            count += 1
            if count == 1 and may_be_torch and first == _TORCH_LEGACY_MAGIC:
                wanted = _TORCH_LEGACY_PICKLES
            if count == wanted == _TORCH_LEGACY_PICKLES:
                return
            if count == wanted:
                raise _Unreadable(f"it has more than {_PICKLES_LIMIT} pickles in a row")
        if not is_whole:
            raise _Unreadable(f"it goes on past the first {PICKLE_LIMIT_BYTES // 1024**2} MiB, which is all that is read")

    def _archive(self, file: io.RawIOBase | io.BytesIO, depth: int) -> None:
        if depth >= _DEPTH_LIMIT:
            raise _Unreadable(f"it has archives inside archives, more than {_DEPTH_LIMIT} deep")
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                if len(entries) > _ENTRIES_LIMIT:
                    raise _Unreadable(f"its archive has more than {_ENTRIES_LIMIT} files")
                if len({entry.filename.lower() for entry in entries}) < len(entries):
                    raise _Unreadable("its archive has two files of one name")
                for entry in entries:
                    name = entry.filename.lower()
                    if name.endswith(_INNER_PICKLES + _INNER_ARCHIVES):
                        self._entry(archive, entry, depth)
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            RuntimeError,
            OSError,
            EOFError,
            ValueError,
            struct.error,
            zlib.error,
        ) as error:
            raise _Unreadable(f"its archive is broken: {str(error)[:_NAME_CHARACTERS]}") from error

    def _entry(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, depth: int) -> None:
        shown = _printable(entry.filename)
        if entry.flag_bits & _ENCRYPTED:
            raise _Unreadable(f"{shown} in its archive is encrypted")
        if entry.compress_type not in _PLAIN_PACKING:
            raise _Unreadable(f"{shown} in its archive is packed in an unusual way")
        with archive.open(entry) as file:
            head = file.read(len(_NPY_MAGIC))
            if head == _NPY_MAGIC and not _has_objects(head + file.read(512)):
                return
        with archive.open(entry) as file:
            data = file.read(PICKLE_LIMIT_BYTES + 1)
        if len(data) > PICKLE_LIMIT_BYTES:
            raise _Unreadable(f"{shown} in its archive has more than {PICKLE_LIMIT_BYTES // 1024**2} MiB")
        self._take(len(data))
        if entry.filename.lower().endswith(".bin") and not starts_as_pickle(data[:4096]) and not data.startswith(_ZIP_MAGICS):
            return
        self.file(io.BytesIO(data), len(data), depth + 1)

    def _take(self, count: int) -> None:
        self.unpacked += count
        if self.unpacked > FILE_LIMIT_BYTES:
            raise _Unreadable(f"its pickles have more than {FILE_LIMIT_BYTES // 1024**2} MiB together")

    def _name(self, name: str) -> None:
        if len(self.names) < _NAMES_KEPT:
            self.names[_printable(name)] = None


_Value = str | None
_MARK = "\0mark"
_GLOBAL = "\0global"
"""Neither is a possible module or attribute; anything else that is no string is None: not known."""


class _Machine:
    """A pickle's stack and memo, as far as they decide which names it imports."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._stack: list[_Value] = []
        self._memo: dict[int, _Value] = {}

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Do what the opcode does to the stack."""
        name = opcode.name
        if name in _STRINGS:
            self._stack.append(str(argument).replace("\0", "\\0"))
        elif name == "MARK":
            self._stack.append(_MARK)
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._top()
        elif name in {"PUT", "BINPUT", "LONG_BINPUT"}:
            self._memo[int(argument)] = self._top()
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            if int(argument) not in self._memo:
                raise _Unreadable("it asks for something that it has not remembered")
            self._stack.append(self._memo[int(argument)])
        elif name == "DUP":
            self._stack.append(self._top())
        elif name in {"GLOBAL", "INST", "STACK_GLOBAL"}:
            self._import(name, argument)
        elif name.startswith("EXT"):
            self._report(f"extension {argument}")
            self._stack.append(_GLOBAL)
        else:
            self._other(opcode)

    def _import(self, name: str, argument: Any) -> None:
        if name == "STACK_GLOBAL":
            attribute, module = self._pop(), self._pop()
            if attribute is None or module is None:
                self._report("a name that is computed")
            else:
                self._check(module, attribute)
        else:
            module, _, attribute = str(argument).partition(" ")
            self._check(module, attribute)
        if name == "INST":
            self._pop_to_mark()
        self._stack.append(None if name == "INST" else _GLOBAL)

    def _check(self, module: str, attribute: str) -> None:
        if not is_harmless(module, attribute):
            self._report(f"{module}.{attribute}")

    def _other(self, opcode: pickletools.OpcodeInfo) -> None:
        before = list(opcode.stack_before)
        if opcode.name == "BUILD" and len(self._stack) > 1 and self._stack[-2] == _GLOBAL:
            self._report("a change to what it imports")
        if pickletools.markobject in before:
            self._pop_to_mark()
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            self._pop()
        self._stack.extend([None] * len(opcode.stack_after))

    def _pop_to_mark(self) -> None:
        while self._pop() != _MARK:
            pass

    def _top(self) -> _Value:
        if not self._stack:
            raise _Unreadable("it takes more from its stack than there is")
        return self._stack[-1]

    def _pop(self) -> _Value:
        top = self._top()
        self._stack.pop()
        return top


def _opcodes(stream: io.BytesIO) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """The opcodes up to STOP with their arguments."""
    while True:
        code = stream.read(1)
        opcode = _BY_CODE.get(code.decode("latin-1"))
        if not code:
            raise _Unreadable("it ends in the middle", may_go_on=True)
        if opcode is None:
            raise _Unreadable(f"it has the unknown opcode {code!r}")
        try:
            argument = opcode.arg.reader(stream) if opcode.arg is not None else None
        except (ValueError, OverflowError, struct.error, UnicodeError) as error:
            raise _Unreadable(f"its opcode {opcode.name} cannot be read: {str(error)[:_NAME_CHARACTERS]}", may_go_on=True) from error
        yield opcode, argument
        if opcode.name == "STOP":
            return


def _after_npy_header(head: bytes, file: io.RawIOBase | io.BytesIO) -> int:
    """Where the pickle of a numpy file begins."""
    form, width = ("<H", 2) if head[6:7] == b"\x01" else ("<I", 4)
    file.seek(8)
    length = file.read(width) or b""
    if len(length) < width:
        raise _Unreadable("its numpy header ends in the middle")
    return int(8 + width + struct.unpack(form, length)[0])


def _has_objects(head: bytes) -> bool:
    return re.search(rb"['\"][|<>=]?O['\"]", head) is not None


def _printable(name: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in name[:_NAME_CHARACTERS])


_BY_CODE = {opcode.code: opcode for opcode in pickletools.opcodes}
_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
