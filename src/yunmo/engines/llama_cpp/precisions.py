"""Numbers of a GGUF in another precision: which tensors are turned into what, and how."""

from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

Kind = gguf.GGMLQuantizationType
Array = NDArray[Any]

_LARGEST_HALF = 65504.0
_ALWAYS_EIGHT_BITS = ("token_embd.weight", "output.weight")
"""What makes the words is kept at eight bits: fewer cost quality and save little."""

FILE_TYPES = {
    "F32": gguf.LlamaFileType.ALL_F32,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "BF16": gguf.LlamaFileType.MOSTLY_BF16,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "Q5_1": gguf.LlamaFileType.MOSTLY_Q5_1,
    "Q5_0": gguf.LlamaFileType.MOSTLY_Q5_0,
    "Q4_1": gguf.LlamaFileType.MOSTLY_Q4_1,
    "Q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
}


def kind_of(name: str, shape: tuple[int, ...], precision: str) -> Kind:
    """How a tensor of this name and shape (rows last) is stored in a file of the precision: vectors stay 32-bit floats."""
    if len(shape) < 2 or name.endswith("_norm.weight"):
        return Kind.F32
    wanted = Kind.__members__[precision]
    if name in _ALWAYS_EIGHT_BITS and precision.startswith(("Q4", "Q5")):
        wanted = Kind.Q8_0
    block, _ = gguf.GGML_QUANT_SIZES[wanted]
    return wanted if shape[-1] % block == 0 else Kind.F16


def stored_bytes(shape: tuple[int, ...], kind: Kind) -> int:
    """How many bytes a tensor takes."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    count = int(np.prod(shape, dtype=np.int64))
    return count // block * size


def encoded(values: Array, kind: Kind) -> Array:
    """32-bit floats as the kind's bytes. Raises OverflowError for what half precision cannot hold."""
    if kind == Kind.F16 and float(np.abs(values).max(initial=0)) > _LARGEST_HALF:
        raise OverflowError
    return np.asarray(gguf.quants.quantize(values, kind))
