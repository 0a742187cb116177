"""How much memory one replica takes, estimated from the sizes of its files and its plan."""

from collections.abc import Mapping

from yunmo.core.engine import ModelDescription, Plan

_MIB = 1 << 20
# Fitted to MiniLM-L6 and BERT-base at work (`bench/memory.py`): Python with the libraries, and what a stream's arena grows to.
_LIBRARY_BYTES = {"onnx": 93 * _MIB, "openvino": 157 * _MIB, "torch": 500 * _MIB}
_PER_STREAM_BYTES = {"onnx": 0, "openvino": 45 * _MIB, "torch": 10 * _MIB}
_LONG_TEXT_BYTES = 32 * _MIB
"""Room that a stream may need for texts of the model's full length."""
_VOCABULARY_SHARE = 8
"""A tokenizer in memory, for each byte of its file."""
_HALF_TYPES = frozenset({"float16", "bfloat16"})
_EIGHT_BIT_SHARE = 0.25
_WORD_BYTES = 4


def memory_bytes(model: ModelDescription, plan: Plan) -> int:
    """What a replica may grow to."""
    return resident_bytes(model, plan) + plan.streams * _LONG_TEXT_BYTES


def resident_bytes(model: ModelDescription, plan: Plan) -> int:
    """What a replica holds at work on texts of usual lengths.

    Either runtime maps the graph's weights: words in fp32 and the products' in the plan's precision (OpenVINO makes bf16 of fp32).
    ONNX Runtime's are packed already; OpenVINO packs a copy of the products' weights for itself.
    """
    weights = _weight_bytes(model)
    config = model.config
    words = min(weights, _WORD_BYTES * int(config.get("vocab_size") or 0) * int(config.get("hidden_size") or config.get("dim") or 0))
    products = int((weights - words) * (_EIGHT_BIT_SHARE if plan.precision == "int8" else 1.0))
    runtime = plan.format or "onnx"
    copies = products if runtime == "openvino" else 0
    vocabulary = _VOCABULARY_SHARE * model.files.get("tokenizer.json", 0)
    return _LIBRARY_BYTES[runtime] + plan.streams * _PER_STREAM_BYTES[runtime] + words + products + copies + vocabulary


def _weight_bytes(model: ModelDescription) -> int:
    """In fp32, whatever they are stored in."""
    stored = _stored_bytes(model.files)
    return 2 * stored if (model.config.get("dtype") or model.config.get("torch_dtype")) in _HALF_TYPES else stored


def _stored_bytes(files: Mapping[str, int]) -> int:
    tensors = sum(size for path, size in files.items() if path.endswith(".safetensors"))
    if tensors:
        return tensors
    return sum(size for path, size in files.items() if path.startswith("onnx/model.onnx") or path.endswith(".bin"))
