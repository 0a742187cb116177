"""Git's objects: blobs, trees, commits and the pointers that stand for large files.

The ids are git's own (SHA-1 of a typed, length-prefixed content), so that a repository can be exported as it is.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec

FILE_MODE = 0o100644
FOLDER_MODE = 0o040000

_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,19})\n?")


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One line of a tree. `size` is the whole file's; `sha256` is set for large files, whose blob is a pointer."""

    name: str
    mode: int
    oid: str
    size: int = 0
    sha256: str | None = None

    @property
    def is_folder(self) -> bool:
        return self.mode == FOLDER_MODE


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a Git LFS pointer file says."""

    sha256: str
    size: int


def blob_oid(content: bytes) -> str:
    """Git's id of a file with this content."""
    return _oid(b"blob", content)


def pointer_text(sha256: str, size: int) -> bytes:
    """The content of the small file that stands for a large one."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def parse_pointer(content: bytes) -> Pointer | None:
    """Read a pointer file; None for any other content."""
    match = _POINTER.fullmatch(content) if len(content) < 1024 else None
    return Pointer(match[1].decode(), int(match[2])) if match else None


def file_entry(name: str, oid: str, size: int) -> Entry:
    """A regular file."""
    return Entry(name, FILE_MODE, oid, size)


def large_entry(name: str, sha256: str, size: int) -> Entry:
    """A large file, through its pointer."""
    return Entry(name, FILE_MODE, blob_oid(pointer_text(sha256, size)), size, sha256)


def tree_content(entries: Iterable[Entry]) -> bytes:
    """The bytes of git's tree object, in git's order: folders sort as if they ended with '/'."""
    ordered = sorted(entries, key=lambda entry: entry.name.encode() + (b"/" if entry.is_folder else b""))
    return b"".join(b"%o %s\0%s" % (entry.mode, entry.name.encode(), bytes.fromhex(entry.oid)) for entry in ordered)


def tree_oid(entries: Iterable[Entry]) -> str:
    """Git's id of a folder with these entries."""
    return _oid(b"tree", tree_content(entries))


@dataclass(frozen=True, slots=True)
class CommitText:
    """What a commit object is made of."""

    tree: str
    parent: str | None
    author: str
    created_at: datetime
    message: str

    def content(self) -> bytes:
        """The bytes of git's commit object."""
        who = f"{self.author} <{self.author}@users.noreply.localhost> {int(self.created_at.timestamp())} +0000"
        parent = f"parent {self.parent}\n" if self.parent else ""
        return f"tree {self.tree}\n{parent}author {who}\ncommitter {who}\n\n{self.message}\n".encode()

    def oid(self) -> str:
        """Git's id of this commit."""
        return _oid(b"commit", self.content())


def _oid(kind: bytes, content: bytes) -> str:
    digest = hashlib.sha1(b"%s %d\0" % (kind, len(content)), usedforsecurity=False)
    digest.update(content)
    return digest.hexdigest()


EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""Git's id of a folder with nothing in it."""
