"""How much memory one replica takes, estimated from the sizes of its files."""

from collections.abc import Mapping

from yunmo.core.engine import ModelDescription

_MIB = 1 << 20
_RUNTIME_BYTES = 130 * _MIB
_PER_STREAM_BYTES = 12 * _MIB
_HALF_TYPES = frozenset({"float16", "bfloat16"})


def memory_bytes(model: ModelDescription, streams: int) -> int:
    """The estimate in bytes for fp32."""
    config = model.config
    weights = _weight_bytes(model.files)
    if (config.get("dtype") or config.get("torch_dtype")) in _HALF_TYPES:
        weights *= 2
    return _RUNTIME_BYTES + streams * _PER_STREAM_BYTES + weights + _vocabulary_bytes(model.files)


def _weight_bytes(files: Mapping[str, int]) -> int:
    tensors = sum(size for path, size in files.items() if path.endswith(".safetensors"))
    if tensors:
        return tensors
    return sum(size for path, size in files.items() if path.startswith("onnx/model.onnx") or path.endswith(".bin"))


def _vocabulary_bytes(files: Mapping[str, int]) -> int:
    return 8 * files.get("tokenizer.json", 0)
