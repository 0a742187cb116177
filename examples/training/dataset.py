"""What the examples of data sets have in common: their options, and the directory that each writes, ready to be pushed to a hub."""

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sources import DEFAULT_CACHE, Source, fetch, sha256_of, version_of

from yunmo.core.errors import YunmoError

DEFAULT_OUT = Path(".training")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DataSet:
    """Rows to learn from, rows held out, and what a person should know of them."""

    name: str
    title: str
    languages: tuple[str, ...]
    sources: tuple[Source, ...]
    train: Sequence[Row]
    valid: Sequence[Row]
    counts: Mapping[str, int | str]


class Packages:
    """The packages that a data set asks for, fetched into one cache."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def __getitem__(self, source: Source) -> Path:
        return fetch(source, self._cache)


Build = Callable[[Packages], DataSet]
Baseline = Callable[[DataSet], Mapping[str, str]]


def run(about: str, build: Build, baseline: Baseline | None = None) -> None:
    """Read the options, build the data set, write it, tell what is in it; exit with a sentence if a package cannot be had."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="where the data set's directory goes (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where fetched packages are kept (default: %(default)s)")
    if baseline:
        parser.add_argument("--baseline", action="store_true", help="also measure a simple model on the rows held out")
    wanted = parser.parse_args()
    try:
        packages = Packages(wanted.cache)
        made = build(packages)
        directory = write(made, wanted.out, packages)
    except YunmoError as error:
        sys.exit(str(error))
    tell({"train": f"{len(made.train):,}", "valid": f"{len(made.valid):,}", **made.counts, "written to": str(directory)})
    if baseline and wanted.baseline:
        print("measuring the baseline …", file=sys.stderr, flush=True)
        tell(baseline(made))


def write(made: DataSet, out: Path, packages: Packages) -> Path:
    """Write train.jsonl, valid.jsonl and the card into the directory of the data set's name, which is replaced as a whole."""
    out.mkdir(parents=True, exist_ok=True)
    directory = out / made.name
    with tempfile.TemporaryDirectory(dir=out, prefix=".writing-") as scratch:
        room = Path(scratch) / made.name
        room.mkdir()
        for part, rows in (("train", made.train), ("valid", made.valid)):
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
            random.Random(made.name).shuffle(lines)  # the first thousand are then like all of them
            (room / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
        (room / "README.md").write_text(_card(made, packages), encoding="utf-8")
        shutil.rmtree(directory, ignore_errors=True)
        room.rename(directory)
    return directory


def tell(figures: Mapping[str, int | str]) -> None:
    """Print names and figures, one a line."""
    for name, figure in figures.items():
        print(f"{name}: {figure:,}" if isinstance(figure, int) else f"{name}: {figure}")


def _card(made: DataSet, packages: Packages) -> str:
    head = ["---", f"language: [{', '.join(made.languages)}]", "license: other", "configs:", "- config_name: default", "  data_files:"]
    head += ["  - {split: train, path: train.jsonl}", "  - {split: validation, path: valid.jsonl}", "---"]
    counts = {"train": len(made.train), "valid": len(made.valid), **made.counts}
    table = ["| | |", "|---|---|", *(f"| {name} | {count} |" for name, count in counts.items())]
    lines = ["| package | version | SHA-256 | licence |", "|---|---|---|---|"]
    for source in made.sources:
        path = packages[source]
        lines.append(f"| {source.registry}: {source.name} | {version_of(source, path)} | `{sha256_of(path)}` | {source.licence} |")
    origin = f"Made by `examples/training/{made.name}.py` of Yunmo from these packages, each under its own licence:"
    return "\n".join([*head, "", f"# {made.title}", "", *table, "", origin, "", *lines, ""])
