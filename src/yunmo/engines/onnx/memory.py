"""How much memory one replica takes, estimated from the sizes of its files."""

from collections.abc import Mapping

from yunmo.core.engine import ModelDescription

_MIB = 1 << 20
# measured with MiniLM-L6 on two streams: the libraries, and what a stream's arena grows to
_RUNTIME_BYTES = {"onnx": 130 * _MIB, "openvino": 190 * _MIB}
_PER_STREAM_BYTES = {"onnx": 12 * _MIB, "openvino": 18 * _MIB}
_HALF_TYPES = frozenset({"float16", "bfloat16"})
_EIGHT_BIT_SHARE = 0.35
"""Of the products' weights: some stay in fp32, and each channel has a scale."""
_WORD_BYTES = 4
_HALF_SHARE = 0.5


def memory_bytes(model: ModelDescription, runtime: str, precision: str, streams: int) -> int:
    """The estimate in bytes."""
    config = model.config
    weights = _weight_bytes(model.files)
    if (config.get("dtype") or config.get("torch_dtype")) in _HALF_TYPES:
        weights *= 2
    words = min(weights, _WORD_BYTES * int(config.get("vocab_size") or 0) * int(config.get("hidden_size") or config.get("dim") or 0))
    share = {"int8": _EIGHT_BIT_SHARE, "bf16": _HALF_SHARE}.get(precision, 1.0)
    kept = words + int((weights - words) * share)
    return _RUNTIME_BYTES[runtime] + streams * _PER_STREAM_BYTES[runtime] + kept + _vocabulary_bytes(model.files)


def _weight_bytes(files: Mapping[str, int]) -> int:
    tensors = sum(size for path, size in files.items() if path.endswith(".safetensors"))
    if tensors:
        return tensors
    return sum(size for path, size in files.items() if path.startswith("onnx/model.onnx") or path.endswith(".bin"))


def _vocabulary_bytes(files: Mapping[str, int]) -> int:
    return 8 * files.get("tokenizer.json", 0)
