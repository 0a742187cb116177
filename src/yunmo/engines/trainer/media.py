"""Pictures and recordings of rows: found when a training is prepared, read when a batch needs them."""

import base64
import binascii
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from yunmo.core.errors import InvalidRequest
from yunmo.core.training import Method
from yunmo.engines.trainer.workspace import Place, Workspace

MAX_BYTES = 64 * 1024 * 1024
"""How large the file of a picture or of a recording may be."""

_BASE64 = ";base64"


@dataclass(frozen=True, slots=True)
class Medium:
    """A file of the data set, or one written into its row as a data URL (`name` is empty then). Its bytes are not in the memory."""

    place: Place
    name: str = ""


@dataclass(frozen=True, slots=True)
class Media:
    """What the rows of a method name in this field."""

    workspace: Workspace
    method: Method
    field: str

    def medium(self, place: Place, value: str) -> Medium:
        """What the row of this place names. Raises InvalidRequest if there is no such file, or if it is too large."""
        if value.startswith("data:"):
            if len(value) > MAX_BYTES * 4 // 3 + 1024:
                raise self._error(place, _too_large(len(value) * 3 // 4))
            return Medium(place)
        medium = Medium(place, value)
        self.path(medium)
        return medium

    def path(self, medium: Medium) -> Path | None:
        """The medium's file, if it has one of its own. Raises InvalidRequest if it is not there, or too large."""
        if not medium.name:
            return None
        name = PurePosixPath(medium.name)
        if name.is_absolute() or ".." in name.parts or "\0" in medium.name:
            raise self._error(medium.place, f"'{medium.name}' is not the path of a file in the data set.")
        path = self.workspace.media / name
        try:
            size = path.stat().st_size if path.is_file() else None
        except OSError:  # a name that no file can have
            size = None
        if size is None:
            raise self._error(medium.place, f"the data set has no file '{medium.name}'.")
        if size > MAX_BYTES:
            raise self._error(medium.place, _too_large(size))
        return path

    def read(self, medium: Medium) -> bytes:
        """The medium's bytes."""
        path = self.path(medium)
        if path is not None:
            return path.read_bytes()
        url: str = getattr(self.workspace.row_at(self.method, medium.place), self.field)
        head, comma, written = url.partition(",")
        if not comma or not head.endswith(_BASE64):
            raise self._error(medium.place, "the data URL is not written in base64: data:<type>;base64,<bytes>.")
        try:
            return base64.b64decode(written, validate=True)
        except (binascii.Error, ValueError) as error:
            raise self._error(medium.place, f"the data URL is not valid base64: {error}.") from error

    @contextlib.contextmanager
    def told_of(self, medium: Medium) -> Iterator[None]:
        """Raise errors of what is done with the medium with its line."""
        try:
            yield
        except InvalidRequest as error:
            raise self._error(medium.place, error.message) from error

    def _error(self, place: Place, message: str) -> InvalidRequest:
        return InvalidRequest(f"{place}: {message}", param=self.field)


def _too_large(size: int) -> str:
    return f"the file has {size:,} bytes; at most {MAX_BYTES:,} are read."
