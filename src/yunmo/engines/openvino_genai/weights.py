"""The weights of a repository's safetensors, read one tensor at a time where they lie."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yunmo.core.errors import EngineFailed

Floats = NDArray[np.float32]

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True, slots=True)
class _Stored:
    path: Path
    offset: int
    shape: tuple[int, ...]
    kind: str


class Weights:
    """A model's tensors by name, as 32-bit floats of the shape that the graph expects."""

    def __init__(self, directory: Path) -> None:
        self._stored = dict(_stored(directory))

    def read(self, name: str, shape: tuple[int, ...]) -> Floats:
        """One tensor. Raises EngineFailed if it is missing, of another shape or not of floats."""
        stored = self._stored.get(name)
        if stored is None:
            raise EngineFailed(f"The weights do not fit config.json: there is no tensor {name}. Push the whole model again.")
        if stored.shape != shape:
            raise EngineFailed(f"The weights do not fit config.json: {name} has the shape {stored.shape}, not {shape}.")
        if stored.kind not in _TYPES:
            raise EngineFailed(f"The tensor {name} is stored as {stored.kind}; floats of 16 or 32 bits can be read.")
        data = np.memmap(stored.path, dtype=_TYPES[stored.kind], mode="r", offset=stored.offset, shape=shape)
        if stored.kind == "BF16":
            return (np.asarray(data).astype(np.uint32) << 16).view(np.float32)
        return np.asarray(data, dtype=np.float32)


def _stored(directory: Path) -> Iterator[tuple[str, _Stored]]:
    if (directory / SINGLE).is_file():
        yield from _listed(directory / SINGLE)
        return
    if not (directory / INDEX).is_file():
        raise EngineFailed(f"The repository has neither {SINGLE} nor {INDEX}. Push the model's safetensors.")
    shards: dict[str, Any] = json.loads((directory / INDEX).read_text("utf-8"))["weight_map"]
    for shard in sorted(set(shards.values())):
        if Path(shard).name != shard:
            raise EngineFailed(f"{INDEX} names the file '{shard}', which is not beside it.")
        yield from ((name, stored) for name, stored in _listed(directory / shard) if shards.get(name) == shard)


def _listed(path: Path) -> Iterator[tuple[str, _Stored]]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    for name, entry in header.items():
        if name != "__metadata__":
            yield name, _Stored(path, 8 + length + int(entry["data_offsets"][0]), tuple(entry["shape"]), entry["dtype"])
