"""The rows of an order: found, checked one by one, and written into a workspace in the one form that trainers read."""

import asyncio
import csv
import fnmatch
import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from yunmo.core.errors import EntryNotFound, InvalidRequest
from yunmo.core.identity import Principal
from yunmo.core.rows import PROBLEMS_TOLD, LabelledPicture, Problem, Row, Spoken, read_row
from yunmo.core.training import MEDIA_FOLDER
from yunmo.files.files import Files
from yunmo.hub.hub import Hub
from yunmo.hub.records import Repository
from yunmo.hub.trees import Item
from yunmo.training.order import Rows
from yunmo.training.state import Source

_DATA_URL = "data:"
_TABLES = {".csv": ",", ".tsv": "\t"}
_FORMS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_FIELD_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class Written:
    """What a file of rows came to. `digests` tell rows that are the same; `media` the files that rows name."""

    count: int = 0
    problems: list[Problem] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    media: dict[str, int] = field(default_factory=dict)


class TrainingData:
    """Finds rows in a project's files and in the hub's data sets."""

    def __init__(self, files: Files, hub: Hub) -> None:
        self._files = files
        self._hub = hub

    async def look_up(self, principal: Principal, rows: Rows) -> None:
        """Raise NotFound, RepositoryNotFound, Gated or RevisionNotFound unless the caller may read them."""
        if rows.file is not None:
            await self._files.get(principal.project, rows.file)
        else:
            repository, revision = await self._data_set(principal, rows)
            await self._hub.files.at(repository, revision, [])

    async def write(self, principal: Principal, rows: Rows, kind: type[Row], target: Path) -> tuple[Written, Source]:
        """Check that every row is of this kind, and write those that are right to `target`; the files that they name go into the folder for media beside it."""
        folder = target.parent / "sources" / target.stem
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        page = None if rows.repository is None else await self._fetch_data_set(principal, rows, folder)
        paths = [await self._fetch_file(principal, rows, folder)] if page is None else page.paths
        written = await asyncio.to_thread(_write_rows, paths, rows.columns, kind, target)
        if written.media:
            await self._fetch_media(page, written, target.parent / MEDIA_FOLDER)
        if page is not None:
            return written, Source(page.repository.full_name, written.count, page.commit, is_data_set=True, split=rows.split or "")
        name = (await self._files.get(principal.project, rows.file or "")).filename
        return written, Source(name, written.count, sha256=await asyncio.to_thread(_sha256, paths[0]))

    async def _fetch_file(self, principal: Principal, rows: Rows, folder: Path) -> Path:
        file = await self._files.get(principal.project, rows.file or "")
        ending = Path(file.filename).suffix.lower()
        path = folder / f"rows{ending if ending in _FORMS else '.jsonl'}"
        with path.open("wb") as out:
            async for piece in self._files.stream(file):
                await asyncio.to_thread(out.write, piece)
        return path

    async def _data_set(self, principal: Principal, rows: Rows) -> tuple[Repository, str]:
        name, _, revision = (rows.repository or "").partition("@")
        return await self._hub.repositories.find_readable(principal, "dataset", name), revision or "main"

    async def _fetch_data_set(self, principal: Principal, rows: Rows, folder: Path) -> "_DataSet":
        repository, revision = await self._data_set(principal, rows)
        page = await self._hub.files.all(repository, revision)
        there = {item.path: item for item in page.items if not item.entry.is_folder}
        paths: list[Path] = []
        for path in _chosen(rows, sorted(there), repository.full_name):
            local = folder / f"{len(paths):05}{Path(path).suffix.lower()}"
            await self._lay_out(repository, there[path], local)
            paths.append(local)
        return _DataSet(repository, page.commit.oid, paths, there)

    async def _fetch_media(self, page: "_DataSet | None", written: Written, folder: Path) -> None:
        for name, line in written.media.items():
            item = None if page is None else page.files.get(name)
            if page is None or item is None:
                where = (
                    "an uploaded file has its pictures and recordings in it, as data URLs"
                    if page is None
                    else "the data set has no such file"
                )
                written.problems.append(Problem(line, f"There is no {name[:200]!r}: {where}."))
                if len(written.problems) >= PROBLEMS_TOLD:
                    return
                continue
            await asyncio.to_thread((folder / name).parent.mkdir, parents=True, exist_ok=True)
            await self._lay_out(page.repository, item, folder / name)

    async def _lay_out(self, repository: Repository, item: Item, target: Path) -> None:
        large = await self._hub.large.known(repository.id, item.entry.sha256) if item.entry.sha256 else None
        if item.entry.sha256 and large is None:
            raise EntryNotFound(f"The content of {item.path!r} in {repository.full_name} is not stored.")
        if large is not None:
            await self._hub.large.lay_out(large, target)
        else:
            await asyncio.to_thread(target.write_bytes, await self._hub.blobs.read(item.entry.oid))


@dataclass(frozen=True, slots=True)
class _DataSet:
    repository: Repository
    commit: str
    paths: list[Path]
    files: Mapping[str, Item]


def hold_back(train: Path, validation: Path, share: float, most: int, seed: int) -> int:
    """Move a share of the rows, at most so many and the same for the same seed, to a file for validation; how many they are."""
    lines = train.read_bytes().splitlines(keepends=True)
    count = min(most, int(share * len(lines)))
    if count:
        chosen = set(random.Random(seed).sample(range(len(lines)), count))  # noqa: S311 - no secret
        validation.write_bytes(b"".join(line for number, line in enumerate(lines) if number in chosen))
        train.write_bytes(b"".join(line for number, line in enumerate(lines) if number not in chosen))
    return count


def _chosen(rows: Rows, paths: Sequence[str], name: str) -> list[str]:
    """The files of the data set that the order means."""
    readable = [
        path for path in paths if Path(path).suffix.lower() in _FORMS and Path(path).name not in {"dataset_info.json", "dataset_infos.json"}
    ]
    if rows.path is not None:
        folder = rows.path.rstrip("/") + "/"
        found = [path for path in readable if path == rows.path or path.startswith(folder) or fnmatch.fnmatchcase(path, rows.path)]
    else:
        split = rows.split or "train"
        found = [path for path in readable if split in Path(path).stem.replace("-", "_").split("_") or f"{split}/" in path]
        if not found and rows.split is None:
            found = readable if len(readable) == 1 else []
    if not found:
        wanted = f"at {rows.path!r}" if rows.path else f"of the split {rows.split or 'train'!r}"
        raise InvalidRequest(
            f"The data set {name} has no rows {wanted}; it has: "
            f"{', '.join(readable[:10]) or 'no file ending in ' + ', '.join(_FORMS)}. Name one as 'path'.",
            param="path" if rows.path else "split",
        )
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_rows(paths: Iterable[Path], columns: Mapping[str, str], kind: type[Row], target: Path) -> Written:
    written = Written()
    decoder: msgspec.json.Decoder[Row] = msgspec.json.Decoder(kind)
    with target.open("wb") as out:
        for path in paths:
            for line, text in _lines(path, columns):
                row = read_row(decoder, line, text)
                if isinstance(row, Problem):
                    written.problems.append(row)
                    if len(written.problems) >= PROBLEMS_TOLD:
                        return written
                    continue
                encoded = msgspec.json.encode(row)
                written.count += 1
                written.digests.append(blake2b(encoded, digest_size=16).digest())
                if isinstance(row, LabelledPicture | Spoken):
                    name = row.image if isinstance(row, LabelledPicture) else row.audio
                    if not name.startswith(_DATA_URL):
                        written.media.setdefault(name, line)
                out.write(encoded + b"\n")
    return written


def _lines(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[int, bytes]]:
    """Each row as the JSON that the method reads, with its line."""
    if path.suffix == ".jsonl" and not columns:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if text.strip():
                    yield number, text
        return
    for number, record in _records(path):
        if isinstance(record, bytes) or not isinstance(record, dict):
            yield number, record if isinstance(record, bytes) else msgspec.json.encode(record)
            continue
        if columns:
            record = {name: record[column] for name, column in columns.items() if column in record}  # noqa: PLW2901 - the same row, renamed
        yield number, msgspec.json.encode(record, enc_hook=str)


def _records(path: Path) -> Iterator[tuple[int, Any]]:
    match path.suffix:
        case ".parquet":
            yield from _of_parquet(path)
        case ".csv" | ".tsv":
            csv.field_size_limit(_FIELD_BYTES)
            with path.open(encoding="utf-8-sig", newline="") as text:
                table = csv.DictReader(text, delimiter=_TABLES[path.suffix])
                for record in table:
                    yield table.line_num, {name: value for name, value in record.items() if name is not None and value not in (None, "")}
        case ".json":
            try:
                found = json.loads(path.read_text("utf-8-sig"))
            except ValueError as error:
                raise InvalidRequest(f"The file is not valid JSON: {error}.", param="rows") from error
            yield from enumerate(found if isinstance(found, list) else [found], 1)
        case _:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        try:
                            yield number, msgspec.json.decode(line)
                        except msgspec.DecodeError:
                            yield number, line


def _of_parquet(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise InvalidRequest(
            "To read Parquet, install what trains: pip install 'yunmo[trainer]'. JSONL and CSV are read without."
        ) from error
    number = 0
    try:
        for batch in ParquetFile(path).iter_batches(batch_size=1024):
            for record in batch.to_pylist():
                number += 1
                yield number, {name: value for name, value in record.items() if value is not None}
    except ArrowInvalid as error:
        raise InvalidRequest(f"The Parquet file cannot be read: {error}.", param="rows") from error
