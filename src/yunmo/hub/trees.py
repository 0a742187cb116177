"""Folders of a revision: looking things up, listing, and editing by operations.

A tree is immutable and shared between commits; an edit writes only the folders on the changed paths.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from yunmo.core.errors import EntryNotFound, InvalidRequest
from yunmo.hub.objects import EMPTY_TREE, FOLDER_MODE, Entry, tree_oid
from yunmo.hub.paths import folded

Load = Callable[[str], tuple[Entry, ...]]
"""Reads the entries of the tree with this id."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file or folder with its whole path."""

    path: str
    entry: Entry


def find(load: Load, root: str, path: str) -> Entry | None:
    """The file or folder at `path`; the root itself for the empty path."""
    entry = Entry("", FOLDER_MODE, root)
    for name in filter(None, path.split("/")):
        if not entry.is_folder:
            return None
        found = next((each for each in load(entry.oid) if each.name == name), None)
        if found is None:
            return None
        entry = found
    return entry


def walk(load: Load, root: str, prefix: str = "", *, is_recursive: bool = True) -> Iterator[Item]:
    """Everything below a folder in order of name, folders before what is in them."""
    for entry in sorted(load(root), key=lambda each: each.name):
        path = f"{prefix}{entry.name}"
        yield Item(path, entry)
        if is_recursive and entry.is_folder:
            yield from walk(load, entry.oid, f"{path}/")


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that is not the same in two trees; None where it is not there at all."""

    path: str
    old: Entry | None
    new: Entry | None


def differences(load: Load, old: str, new: str, prefix: str = "") -> Iterator[Difference]:
    """The files that two trees do not share, in order of name; folders that are the same are not opened."""
    before, after = ({entry.name: entry for entry in load(root)} for root in (old, new))
    for name in sorted(before.keys() | after.keys()):
        pair = (before.get(name), after.get(name))
        if pair[0] == pair[1]:
            continue
        path = f"{prefix}{name}"
        folders = [entry.oid if entry is not None and entry.is_folder else EMPTY_TREE for entry in pair]
        if folders[0] != folders[1]:
            yield from differences(load, folders[0], folders[1], f"{path}/")
        one, other = (entry if entry is not None and not entry.is_folder else None for entry in pair)
        if one != other:
            yield Difference(path, one, other)


@dataclass(slots=True)
class _Folder:
    """A folder in work: what it held, and what has become of it."""

    entries: dict[str, Entry]
    folders: dict[str, "_Folder"] = field(default_factory=dict)
    by_folded: dict[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.entries and not self.folders


class TreeEdit:
    """A tree being changed. `write` gives the new tree's id and the new folders to keep."""

    def __init__(self, load: Load, root: str) -> None:
        self._load = load
        self._root = self._open(root)

    def put(self, path: str, entry: Entry) -> None:
        """Add or replace a file. Raises InvalidRequest where the path crosses a file, is a folder, or differs in case only."""
        *parents, name = path.split("/")
        folder = self._root
        for depth, parent in enumerate(parents):
            if parent in folder.entries and not folder.entries[parent].is_folder:
                crossed = "/".join(parents[: depth + 1])
                raise InvalidRequest(f"{path!r} cannot be added: {crossed!r} is a file, and a path cannot be both a file and a folder.")
            folder = self._enter(folder, parent, path)
        if name in folder.folders or (name in folder.entries and folder.entries[name].is_folder):
            raise InvalidRequest(f"{path!r} cannot be added as a file: it is a folder, and a path cannot be both.")
        self._claim(folder, name, path)
        folder.entries[name] = entry

    def remove_file(self, path: str) -> None:
        """Remove a file; folders left empty go with it. Raises EntryNotFound."""
        chain = self._chain(path)
        name = path.rsplit("/", maxsplit=1)[-1]
        if chain is None or name not in chain[-1].entries or chain[-1].entries[name].is_folder:
            raise EntryNotFound(f"A file with this name doesn't exist: {path!r}.")
        self._drop(chain, path)

    def remove_folder(self, path: str) -> None:
        """Remove a folder and all that is in it. Raises EntryNotFound."""
        chain = self._chain(path)
        name = path.rsplit("/", maxsplit=1)[-1]
        if chain is None or not (name in chain[-1].folders or (name in chain[-1].entries and chain[-1].entries[name].is_folder)):
            raise EntryNotFound(f"A folder with this name doesn't exist: {path!r}.")
        self._drop(chain, path)

    def write(self) -> tuple[str, dict[str, tuple[Entry, ...]]]:
        """The root's id and every folder that was touched, by id."""
        written: dict[str, tuple[Entry, ...]] = {}
        return self._write(self._root, written), written

    def _open(self, oid: str) -> _Folder:
        entries = {entry.name: entry for entry in self._load(oid)} if oid != EMPTY_TREE else {}
        return _Folder(entries, by_folded={folded(name): name for name in entries})

    def _enter(self, folder: _Folder, name: str, path: str) -> _Folder:
        found = self._child(folder, name)
        if found is None:
            self._claim(folder, name, path)
            found = folder.folders[name] = _Folder({})
        return found

    def _child(self, folder: _Folder, name: str) -> _Folder | None:
        if name in folder.folders:
            return folder.folders[name]
        entry = folder.entries.get(name)
        if entry is None or not entry.is_folder:
            return None
        del folder.entries[name]
        opened = folder.folders[name] = self._open(entry.oid)
        return opened

    def _chain(self, path: str) -> list[_Folder] | None:
        """The folders from the root down to the one that holds the last segment."""
        chain = [self._root]
        for name in path.split("/")[:-1]:
            child = self._child(chain[-1], name)
            if child is None:
                return None
            chain.append(child)
        return chain

    def _drop(self, chain: list[_Folder], path: str) -> None:
        for folder, name in zip(reversed(chain), reversed(path.split("/")), strict=True):
            folder.entries.pop(name, None)
            folder.folders.pop(name, None)
            folder.by_folded.pop(folded(name), None)
            if not folder.is_empty:
                return

    def _claim(self, folder: _Folder, name: str, path: str) -> None:
        other = folder.by_folded.setdefault(folded(name), name)
        if other != name:
            raise InvalidRequest(f"{path!r} cannot be added: {other!r} is there, and the two are one file on Windows and macOS.")

    def _write(self, folder: _Folder, written: dict[str, tuple[Entry, ...]]) -> str:
        entries = list(folder.entries.values())
        entries += [Entry(name, FOLDER_MODE, self._write(child, written)) for name, child in folder.folders.items() if not child.is_empty]
        ordered = tuple(sorted(entries, key=lambda entry: entry.name))
        oid = tree_oid(ordered)
        written[oid] = ordered
        return oid
