"""The GGUF models among a repository's files, by their names alone."""

import glob
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SHARD = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$", re.IGNORECASE)
_QUANTISATION = re.compile(r"(?:^|[-_./])(I?Q\d(?:_[0-9A-Z]{1,3})*|BF16|F16|F32|MXFP4)(?=[-_.]|$)", re.IGNORECASE)
_FAVOURITES = ("Q8_0", "Q4_K_M")


@dataclass(frozen=True, slots=True)
class ChosenGguf:
    """A GGUF model in a repository: the path to open, all its files, their size, and its quantisation's name."""

    path: str
    shards: tuple[str, ...]
    size_bytes: int
    quantisation: str


def choose_gguf(files: Mapping[str, int], wanted: str | None = None) -> ChosenGguf | None:
    """The model to run among a repository's GGUF files: Q8_0, else Q4_K_M, else the smallest; None if there is no whole one.

    Where a file is wanted, it is that one or None; of a split model, its first part.
    """
    whole = [model for model in whole_models(files) if wanted in {None, model.path}]
    if not whole:
        return None

    def rank(model: ChosenGguf) -> tuple[int, int, str]:
        favourite = _FAVOURITES.index(model.quantisation) if model.quantisation in _FAVOURITES else len(_FAVOURITES)
        return favourite, model.size_bytes, model.path

    return min(whole, key=rank)


def whole_models(files: Mapping[str, int]) -> list[ChosenGguf]:
    """Every GGUF model whose shards are all there."""
    found: list[ChosenGguf] = []
    for path, size in files.items():
        name = path.rsplit("/", 1)[-1].lower()
        if not name.endswith(".gguf") or "mmproj" in name or "imatrix" in name:
            continue
        shard = _SHARD.match(path)
        if shard is None:
            found.append(ChosenGguf(path, (path,), size, quantisation(path)))
        elif int(shard["number"]) == 1:
            count = int(shard["count"])
            shards = tuple(f"{shard['stem']}-{number:05d}-of-{count:05d}{path[-5:]}" for number in range(1, count + 1))
            if all(each in files for each in shards):
                found.append(ChosenGguf(path, shards, sum(files[each] for each in shards), quantisation(shard["stem"])))
    return found


def parts(path: Path) -> list[Path]:
    """All files of the model whose first one this is."""
    shard = _SHARD.match(path.name)
    return [path] if shard is None else sorted(path.parent.glob(f"{glob.escape(shard['stem'])}-*-of-{shard['count']}.gguf"))


def quantisation(path: str) -> str:
    """The precision that a file's name states; empty if it states none."""
    matches = _QUANTISATION.findall(path.removesuffix(".gguf"))
    return str(matches[-1]).upper() if matches else ""
