"""Bounded readers of model files' headers. They trust nothing in the file and load nothing.

Formats: https://huggingface.co/docs/safetensors and ggml's docs/gguf.md.
"""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SAFETENSORS_HEADER_LIMIT_BYTES = 25 * 1024 * 1024
_SAFETENSORS_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F4": 4, "F6_E2M3": 6,
    "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64,
}  # fmt: skip
_RANK_LIMIT = 16
_TENSOR_LIMIT = 200_000

_GGUF_PAIRS_LIMIT = 4096
_GGUF_STRING_LIMIT = 8 * 1024 * 1024
_GGUF_KEY_LIMIT = 1024
_GGUF_ARRAY_LIMIT = 4_000_000
_GGUF_KEPT_ITEMS = 64
_GGUF_KEPT_CHARACTERS = 1024 * 1024
_GGUF_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_GGUF_STRING, _GGUF_ARRAY = 8, 9
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill", ".mar")
_ZIP_MAGIC = b"PK\x03\x04"
_OTHER_MAGICS = {b"GGUF": "gguf", b"\x89HDF": "hdf5", b"PAR1": "parquet"}


class BadFormat(ValueError):
    """The header breaks its format's rules; the message says which."""


class Incomplete(Exception):
    """The header goes on past the bytes given."""


@dataclass(frozen=True, slots=True)
class Tensors:
    """What a safetensors file holds: parameters by dtype, and the writer's own metadata."""

    parameters: Mapping[str, int]
    metadata: Mapping[str, str]

    @property
    def total(self) -> int:
        return sum(self.parameters.values())


def safetensors_header_size(first: bytes, file_size: int) -> int:
    """The whole header's length, with the 8 bytes that state it. Raises BadFormat."""
    if len(first) < 8:
        raise BadFormat("the file is shorter than a safetensors header")
    length = int.from_bytes(first[:8], "little")
    if length > SAFETENSORS_HEADER_LIMIT_BYTES or 8 + length > file_size:
        raise BadFormat("the header's length is larger than the file or than 25 MiB")
    return 8 + length


def safetensors(header: bytes, file_size: int) -> Tensors:
    """Read a whole header. Raises BadFormat unless its tensors fill the file exactly, without gaps or overlaps."""
    size = safetensors_header_size(header, file_size)
    try:
        parsed = json.loads(header[8:size].decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadFormat(f"the header is not JSON without repeated keys: {str(error)[:200]}") from error
    if not isinstance(parsed, dict):
        raise BadFormat("the header is not a JSON object")
    metadata = parsed.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BadFormat("__metadata__ must map strings to strings")
    if len(parsed) > _TENSOR_LIMIT:
        raise BadFormat(f"more than {_TENSOR_LIMIT} tensors")
    spans: list[tuple[int, int]] = []
    parameters: dict[str, int] = {}
    for name, tensor in parsed.items():
        dtype, count, span = _tensor(name, tensor)
        parameters[dtype] = parameters.get(dtype, 0) + count
        spans.append(span)
    at = 0
    for start, end in sorted(spans):
        if start != at:
            raise BadFormat("tensors overlap or leave a gap")
        at = end
    if at != file_size - size:
        raise BadFormat("tensors do not fill the file exactly")
    return Tensors(parameters, metadata)


def gguf(data: bytes, file_size: int) -> dict[str, Any]:
    """The metadata of a GGUF file from its first bytes; long arrays are replaced by their length.

    Adds `gguf.tensor_count` and `gguf.parameters`. Raises Incomplete when more bytes are needed and BadFormat.
    """
    reader = _Gguf(data, file_size)
    if reader.take(4) != b"GGUF":
        raise BadFormat("the file does not start with GGUF")
    if reader.number("<I") not in {2, 3}:
        raise BadFormat("only versions 2 and 3 of GGUF are known")
    tensors, pairs = int(reader.number("<Q")), int(reader.number("<Q"))
    if tensors > _TENSOR_LIMIT or pairs > _GGUF_PAIRS_LIMIT:
        raise BadFormat("too many tensors or metadata entries")
    metadata: dict[str, Any] = {}
    for _ in range(pairs):
        key = reader.string(_GGUF_KEY_LIMIT)
        if key in metadata:
            raise BadFormat(f"the key {key[:100]!r} is repeated")
        metadata[key] = reader.value(int(reader.number("<I")))
    parameters = sum(reader.tensor() for _ in range(tensors))
    return metadata | {"gguf.tensor_count": tensors, "gguf.parameters": parameters}


def is_pickle(path: str, head: bytes) -> bool:
    """Whether loading the file would run Python's pickle, by its first bytes or its name."""
    if head[:1] == b"\x80" and len(head) > 1 and head[1] <= 5:
        return True
    if head.startswith(_ZIP_MAGIC) and (b".pkl" in head[:256] or path.lower().endswith(PICKLE_SUFFIXES)):
        return True
    if head.startswith(b"\x93NUMPY"):
        return b"'|O'" in head[:512] or b"'O'" in head[:512]
    if has_other_magic(head):
        return False
    return path.lower().endswith((".pkl", ".pickle", ".joblib", ".dill")) or _looks_like_text_pickle(head)


def has_other_magic(head: bytes) -> bool:
    """Whether the first bytes belong to a format that has nothing to do with pickle."""
    return head[:4] in _OTHER_MAGICS or head.startswith(b"version https://git-lfs")


def _looks_like_text_pickle(head: bytes) -> bool:
    """Protocol 0 has no magic; what it would need to do harm is a GLOBAL at the start."""
    return (
        head[:1] in {b"c", b"("} and b"\n" in head[1:200] and any(word in head[:200] for word in (b"builtin", b"posix\n", b"os\n", b"nt\n"))
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _tensor(name: str, tensor: Any) -> tuple[str, int, tuple[int, int]]:
    if not isinstance(tensor, dict) or set(tensor) != {"dtype", "shape", "data_offsets"}:
        raise BadFormat(f"the tensor {name[:100]!r} must have dtype, shape and data_offsets")
    dtype, shape, offsets = tensor["dtype"], tensor["shape"], tensor["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _SAFETENSORS_BITS:
        raise BadFormat(f"the tensor {name[:100]!r} has an unknown dtype")
    if not _is_naturals(shape) or len(shape) > _RANK_LIMIT or not _is_naturals(offsets) or len(offsets) != 2:
        raise BadFormat(f"the tensor {name[:100]!r} has a bad shape or bad offsets")
    count = math.prod(shape)
    if offsets[1] < offsets[0] or (count * _SAFETENSORS_BITS[dtype] + 7) // 8 != offsets[1] - offsets[0]:
        raise BadFormat(f"the tensor {name[:100]!r} does not have the size that its shape needs")
    return dtype, count, (offsets[0], offsets[1])


def _is_naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < 2**63 for each in value)


class _Gguf:
    """A cursor over the start of a GGUF file; every count is checked against the file's size before it is used."""

    def __init__(self, data: bytes, file_size: int) -> None:
        self._data = data
        self._at = 0
        self._file_size = file_size

    def take(self, count: int) -> bytes:
        start = self._skip(count)
        return self._data[start : start + count]

    def number(self, form: str) -> Any:
        size = struct.calcsize(form)
        start = self._skip(size)
        return struct.unpack_from(form, self._data, start)[0]

    def string(self, limit: int = _GGUF_STRING_LIMIT) -> str:
        length = self.number("<Q")
        if length > limit:
            raise BadFormat("a string is too long")
        return self.take(length).decode("utf-8", "replace")[:_GGUF_KEPT_CHARACTERS]

    def value(self, kind: int) -> Any:
        if kind in _GGUF_SCALARS:
            found = self.number(_GGUF_SCALARS[kind])
            return found if not isinstance(found, float) or math.isfinite(found) else None
        if kind == _GGUF_STRING:
            return self.string()
        if kind == _GGUF_ARRAY:
            return self._array(int(self.number("<I")), int(self.number("<Q")))
        raise BadFormat(f"a value has the unknown type {kind}")

    def tensor(self) -> int:
        self.string(_GGUF_KEY_LIMIT)
        rank = self.number("<I")
        if rank > _RANK_LIMIT:
            raise BadFormat("a tensor has too many dimensions")
        count = math.prod(int(self.number("<Q")) for _ in range(rank))
        self.number("<I")
        if self.number("<Q") > self._file_size or count > 2**63:
            raise BadFormat("a tensor lies outside the file")
        return count

    def _array(self, kind: int, length: int) -> Any:
        if length > _GGUF_ARRAY_LIMIT or kind == _GGUF_ARRAY:
            raise BadFormat("an array is too long or nested")
        if length <= _GGUF_KEPT_ITEMS:
            return [self.value(kind) for _ in range(length)]
        if kind in _GGUF_SCALARS:
            self._skip(struct.calcsize(_GGUF_SCALARS[kind]) * length)
        elif kind == _GGUF_STRING:
            self._skip_strings(length)
        else:
            raise BadFormat(f"an array has items of the unknown type {kind}")
        return {"length": length}

    def _skip_strings(self, count: int) -> None:
        if self._at + 8 * count > self._file_size:
            raise BadFormat("an array ends past the file")
        for _ in range(count):
            length = self.number("<Q")
            if length > _GGUF_STRING_LIMIT:
                raise BadFormat("a string is too long")
            self._skip(length)

    def _skip(self, count: int) -> int:
        start, self._at = self._at, self._at + count
        if self._at > self._file_size:
            raise BadFormat("the header ends past the file")
        if self._at > len(self._data):
            raise Incomplete
        return start
