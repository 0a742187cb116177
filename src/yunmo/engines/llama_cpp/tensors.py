"""The weights of a decoder, read from safetensors one at a time and turned into what llama.cpp expects under its own names."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from yunmo.core.errors import InvalidRequest
from yunmo.engines.llama_cpp.families import Decoder

Array = NDArray[Any]

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_SUFFIXES = (".weight", ".bias")
_NOT_WEIGHTS = (".rotary_emb.inv_freq", ".masked_bias", ".attn.bias")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the GGUF: its name and shape are known before it is read, as 32-bit floats."""

    name: str
    shape: tuple[int, ...]
    read: Callable[[], Array]


def tensors(directory: Path, decoder: Decoder) -> list[Tensor]:
    """All tensors of the model. Raises InvalidRequest if one is strange, missing or of a wrong type."""
    names = gguf.get_tensor_name_map(_architecture(decoder), decoder.layers)
    found: list[Tensor] = []
    for stored in _stored(directory):
        if stored.name.endswith(_NOT_WEIGHTS) or (decoder.is_tied and stored.name == "lm_head.weight"):
            continue
        name = names.get_name(stored.name, try_suffixes=_SUFFIXES)
        if name is None:
            raise InvalidRequest(f"the tensor {stored.name} has no place in a {decoder.architecture} model")
        found.append(Tensor(name, stored.shape, _turned(stored, decoder)))
    if decoder.rope_factors:
        factors = np.asarray(decoder.rope_factors, dtype=np.float32)
        found.append(Tensor("rope_freqs.weight", factors.shape, lambda: factors))
    _check_whole(found, decoder)
    return found


def _architecture(decoder: Decoder) -> gguf.MODEL_ARCH:
    return next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == decoder.architecture)


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor where it lies in its file."""

    name: str
    path: Path
    offset: int
    shape: tuple[int, ...]
    kind: str

    def read(self) -> Array:
        data = np.memmap(self.path, dtype=_TYPES[self.kind], mode="r", offset=self.offset, shape=self.shape)
        if self.kind == "BF16":
            return (np.asarray(data).astype(np.uint32) << 16).view(np.float32)
        return np.asarray(data, dtype=np.float32)


def _stored(directory: Path) -> Iterator[Stored]:
    """The tensors of the one file, or of the shards that the index names."""
    if (directory / _SINGLE).is_file():
        yield from stored_tensors(directory / _SINGLE)
        return
    if not (directory / _INDEX).is_file():
        raise InvalidRequest(f"there is neither {_SINGLE} nor {_INDEX}")
    shards: dict[str, str] = json.loads((directory / _INDEX).read_text("utf-8"))["weight_map"]
    for shard in sorted(set(shards.values())):
        if Path(shard).name != shard:
            raise InvalidRequest(f"{_INDEX} names the file '{shard}', which is not beside it")
        yield from (stored for stored in stored_tensors(directory / shard) if shards.get(stored.name) == shard)


def stored_tensors(path: Path) -> Iterator[Stored]:
    """The tensors of one file, by its header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in _TYPES:
            raise InvalidRequest(f"the tensor {name} is stored as {entry['dtype']}; floats of 16 or 32 bits can be converted")
        yield Stored(name, path, 8 + length + int(entry["data_offsets"][0]), tuple(entry["shape"]), entry["dtype"])


def _turned(stored: Stored, decoder: Decoder) -> Callable[[], Array]:
    heads = {"q_proj": decoder.heads, "k_proj": decoder.kv_heads}.get(stored.name.split(".")[-2])
    if decoder.permutes and heads:
        return lambda: interleaved(stored.read(), heads)
    if decoder.norm_offset and stored.name.endswith("norm.weight"):
        return lambda: stored.read() + np.float32(decoder.norm_offset)
    return stored.read


def interleaved(rows: Array, heads: int) -> Array:
    """Rows in pairs that rotate together: the library has them half a head apart, llama.cpp's Llama side by side."""
    split = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(rows.shape)


def _check_whole(found: list[Tensor], decoder: Decoder) -> None:
    names = {tensor.name for tensor in found}
    wanted = {"token_embd.weight", "output_norm.weight"} | {f"blk.{layer}.attn_q.weight" for layer in range(decoder.layers)}
    if not decoder.is_tied:
        wanted.add("output.weight")
    missing = sorted(wanted - names)
    if missing:
        raise InvalidRequest(f"the weights do not fit config.json: nothing in them becomes {missing[0]} ({len(missing)} missing in all)")
