"""The workspace of one training: its rows, its checkpoints, and what it leaves."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from yunmo.core.errors import InvalidRequest
from yunmo.core.rows import Row, rows_of
from yunmo.core.training import (
    HISTORY_FILE,
    MEDIA_FOLDER,
    PARITY_FILE,
    RESULT_FOLDER,
    TRAIN_FILE,
    VALIDATION_FILE,
    Method,
    Objective,
    ParitySample,
)

_CHECKPOINT = "checkpoint-"
_KEPT_CHECKPOINTS = 2
_KEPT_MODELS = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row is: lines count from 1, `offset` is the first byte of its line."""

    line: int
    offset: int
    is_validation: bool = False

    def __str__(self) -> str:
        return f"Line {self.line}{' of the validation rows' if self.is_validation else ''}"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder that this training alone writes to. A checkpoint's folder has its name only when it is complete."""

    root: Path

    @property
    def result(self) -> Path:
        return self.root / RESULT_FOLDER

    @property
    def media(self) -> Path:
        return self.root / MEDIA_FOLDER

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def unfinished(self) -> Path:
        """Where a checkpoint is while it is written."""
        return self.checkpoints / "unfinished"

    @property
    def models(self) -> Path:
        """What was learnt by the end of an epoch, as repositories: `step-N`."""
        return self.root / "models"

    def rows(self, method: Method, objective: Objective | None = None, *, is_validation: bool = False) -> Iterator[Row]:
        """The rows to learn from, or those to be judged by; none if there is no such file. They have been checked before."""
        yield from (row for _, row in self.placed_rows(method, objective, is_validation=is_validation))

    def placed_rows(
        self, method: Method, objective: Objective | None = None, *, is_validation: bool = False
    ) -> Iterator[tuple[Place, Row]]:
        """The same rows, each with its place."""
        path = self._file(is_validation)
        if not path.exists():
            return
        decode = msgspec.json.Decoder(rows_of(method, objective)).decode
        offset = 0
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield Place(number, offset, is_validation), decode(line)
                offset += len(line)

    def row_at(self, method: Method, place: Place) -> Row:
        """The row of this place."""
        with self._file(place.is_validation).open("rb") as lines:
            lines.seek(place.offset)
            row: Row = msgspec.json.decode(lines.readline(), type=rows_of(method))
            return row

    def newest_checkpoint(self) -> Path | None:
        """The complete checkpoint with the most steps; what a crash left unfinished is removed."""
        shutil.rmtree(self.unfinished, ignore_errors=True)
        found = self._numbered(self.checkpoints, _CHECKPOINT)
        return found[-1] if found else None

    def complete_checkpoint(self, step: int) -> Path:
        """Give the checkpoint that was just written its name, once all of it is on the disk; the oldest go."""
        written = self.unfinished / f"{_CHECKPOINT}{step}"
        _sync(written)
        final = self.checkpoints / written.name
        shutil.rmtree(final, ignore_errors=True)
        written.rename(final)
        _sync_folder(self.checkpoints)
        for old in self._numbered(self.checkpoints, _CHECKPOINT)[:-_KEPT_CHECKPOINTS]:
            shutil.rmtree(old)
        return final

    def complete_model(self, written: Path, step: int) -> Path:
        """Keep a written model as that of the step; the oldest go."""
        _sync(written)
        final = self.models / f"step-{step}"
        final.parent.mkdir(exist_ok=True)
        shutil.rmtree(final, ignore_errors=True)
        written.rename(final)
        for old in self._numbered(self.models, "step-")[:-_KEPT_MODELS]:
            shutil.rmtree(old)
        return final

    def write_history(self, entries: list[dict[str, Any]]) -> None:
        """Keep what was told of every step and evaluation."""
        _write_lines(self.root / HISTORY_FILE, entries)

    def write_parity(self, samples: list[ParitySample]) -> None:
        """Keep what the trained model answers."""
        _write_lines(self.root / PARITY_FILE, samples)

    def _file(self, is_validation: bool) -> Path:
        return self.root / (VALIDATION_FILE if is_validation else TRAIN_FILE)

    def _numbered(self, folder: Path, prefix: str) -> list[Path]:
        found = folder.glob(f"{prefix}*") if folder.is_dir() else ()
        return sorted(found, key=lambda path: int(path.name.removeprefix(prefix)))


@contextlib.contextmanager
def line_told(line: int, *, is_validation: bool = False) -> Iterator[None]:
    """Add to an InvalidRequest which row it is about; lines count from 1."""
    try:
        yield
    except InvalidRequest as error:
        where = f"Line {line} of the validation rows" if is_validation else f"Line {line}"
        raise InvalidRequest(f"{where}: {error.message}", param=error.param) from error


def _write_lines(path: Path, values: list[Any]) -> None:
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(b"".join(msgspec.json.encode(value) + b"\n" for value in values))
    unfinished.replace(path)


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
