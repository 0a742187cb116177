"""What a conversion leaves in the derived directory: the files' names, and the facts about it."""

import contextlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

FORMAT = 1
"""Raised when a conversion of an older version must be made again."""

PRECISIONS = {"fp32": "float32", "int8": "int8_float32"}
"""Our names and the library's types of computation; of int8 models all but the matrix products is computed in fp32."""

FOLDER = "encoder-decoder"
MODEL = "model.bin"
_FACTS = "converted.json"
_LIBRARIES = ("ctranslate2", "transformers", "torch")


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a converted model, or why none could be made (`problem`).

    `rows` is how many tokens it knows; its vocabulary names each by its id. `settings` are what it generates with unless told
    otherwise (generation_config.json). `agreement` is the share of tokens up to the
    first difference that it wrote as transformers did, taking the likeliest token each time; the errors are the root mean
    square differences of the log probabilities of what transformers wrote. `sizes` are the files', in bytes.
    """

    format: int
    rows: int = 0
    settings: dict[str, Any] = {}
    texts: int = 0
    agreement: float = 0.0
    error: float = 0.0
    int8_error: float = 0.0
    sizes: dict[str, int] = {}
    versions: dict[str, str] = {}
    problem: str | None = None


def read_facts(folder: Path) -> Converted | None:
    """The facts of a whole conversion of this format, or of a failure with these very libraries; None if it has to be tried."""
    try:
        facts = msgspec.json.decode((folder / _FACTS).read_bytes(), type=Converted)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    if facts.format != FORMAT:
        return None
    if facts.problem is not None:
        return facts if facts.versions == versions() else None
    return facts if facts.sizes and all(_size(folder / path) == size for path, size in facts.sizes.items()) else None


def write_facts(folder: Path, facts: Converted) -> None:
    """Put the facts into the folder."""
    (folder / _FACTS).write_bytes(msgspec.json.format(msgspec.json.encode(facts)))


def sizes_of(folder: Path) -> dict[str, int]:
    """The sizes of all files below the folder, by their paths in it."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}


def versions() -> dict[str, str]:
    """The libraries whose change may change what a conversion ends in."""
    found = {}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
