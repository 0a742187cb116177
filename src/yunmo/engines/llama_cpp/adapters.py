"""A PEFT LoRA adapter as a GGUF that llama.cpp adds to a loaded base."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from yunmo.core.errors import InvalidRequest
from yunmo.core.lora import CONFIG_FILE, WEIGHTS_FILE, Lora, read_lora
from yunmo.engines.llama_cpp.converted import document
from yunmo.engines.llama_cpp.tensors import Stored, interleaved, stored_tensors

Array = NDArray[Any]

_PREFIX = "base_model.model."
_LOW_RANK = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(?:\.[^.]+)?\.weight")
_PERMUTED = frozenset({"llama", "smollm3"})
_ARCHITECTURES = _PERMUTED | {"qwen2", "qwen3", "gemma", "gemma2", "gemma3"}


@dataclass(frozen=True, slots=True)
class _Base:
    """What a GGUF model's file tells of the matrices that an adapter may add to; shapes have rows last."""

    architecture: str
    layers: int
    heads: int
    kv_heads: int
    shapes: dict[str, tuple[int, ...]]


def write_adapter(directory: Path, output: Path, base: list[Path]) -> None:
    """Write the adapter in `directory` for the base in these files. Raises InvalidRequest, in plain words, if it does not fit."""
    lora = read_lora(document(directory, CONFIG_FILE))
    described = _read_base(base)
    pairs = _pairs(directory / WEIGHTS_FILE)
    writer = gguf.GGUFWriter(output, described.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 1.0)
    names = gguf.get_tensor_name_map(_enumerated(described.architecture), described.layers)
    for module, (down, up) in pairs.items():
        name = names.get_name(f"{module}.weight", try_suffixes=(".weight",))
        if name is None or name not in described.shapes:
            raise InvalidRequest(f"The adapter changes {module}, which its base does not have.")
        if name == "token_embd.weight":
            raise InvalidRequest("The adapter changes the embeddings of tokens; only linear layers can be served.")
        _check_shapes(module, down, up, described.shapes[name])
        writer.add_tensor(f"{name}.lora_a", down.read())
        writer.add_tensor(f"{name}.lora_b", _scaled(module, up, lora, described))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _scaled(module: str, up: Stored, lora: Lora, base: _Base) -> Array:
    """B with its scale in it (llama.cpp multiplies by 1/rank), its rows turned as those of the base's Q and K are."""
    rank = up.shape[1]
    rows = up.read() * np.float32(lora.scale(module, rank) * rank)
    heads = {"q_proj": base.heads, "k_proj": base.kv_heads}.get(module.rpartition(".")[2])
    return interleaved(rows, heads) if heads and base.architecture in _PERMUTED else rows


def _check_shapes(module: str, down: Stored, up: Stored, shape: tuple[int, ...]) -> None:
    """A of (rank, inputs) and B of (outputs, rank) add to a matrix of (outputs, inputs)."""
    fits = len(down.shape) == len(up.shape) == len(shape) == 2 and down.shape[0] == up.shape[1]
    if not fits or (up.shape[0], down.shape[1]) != shape:
        raise InvalidRequest(
            f"The adapter does not fit its base: for {module} it has {list(down.shape)} and {list(up.shape)}, and the base {list(shape)}. "
            "Is it of another base?"
        )


def _pairs(path: Path) -> dict[str, tuple[Stored, Stored]]:
    """A and B of each module."""
    if not path.is_file():
        raise InvalidRequest(f"The adapter has no {WEIGHTS_FILE}.")
    sides: dict[str, dict[str, Stored]] = {"A": {}, "B": {}}
    for stored in _whole(path):
        found = _LOW_RANK.fullmatch(stored.name.removeprefix(_PREFIX))
        if found is None:
            raise InvalidRequest(f"The adapter holds {stored.name}, which is no low-rank matrix of a linear layer.")
        sides[found["side"]][found["module"]] = stored
    if not sides["A"] or sides["A"].keys() != sides["B"].keys():
        raise InvalidRequest("The adapter's matrices are not whole: each changed layer needs a lora_A and a lora_B.")
    return {module: (sides["A"][module], sides["B"][module]) for module in sorted(sides["A"])}


def _whole(path: Path) -> list[Stored]:
    """The tensors of a file that holds all of their numbers."""
    try:
        found = list(stored_tensors(path))
        for stored in found:
            stored.read()
    except (ValueError, KeyError, TypeError, OverflowError, MemoryError):
        raise InvalidRequest(f"The adapter's {path.name} is damaged: it is no whole safetensors file.") from None
    return found


def _read_base(files: list[Path]) -> _Base:
    readers = [gguf.GGUFReader(file) for file in files]
    fields = readers[0].fields
    architecture = str(fields["general.architecture"].contents())
    if architecture not in _ARCHITECTURES:
        raise InvalidRequest(
            f"The adapter's base is of the kind {architecture}; adapters are served on {', '.join(sorted(_ARCHITECTURES))}."
        )
    layers, heads = (int(fields[f"{architecture}.{key}"].contents()) for key in ("block_count", "attention.head_count"))
    kv_heads = fields.get(f"{architecture}.attention.head_count_kv")
    return _Base(architecture, layers, heads, heads if kv_heads is None else int(kv_heads.contents()), dict(_shapes(readers)))


def _shapes(readers: list[gguf.GGUFReader]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for reader in readers:
        for tensor in reader.tensors:
            yield tensor.name, tuple(int(size) for size in reversed(tensor.shape))


def _enumerated(architecture: str) -> gguf.MODEL_ARCH:
    return next(each for each, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
