"""GGUF files, written tensor by tensor so that only one is in memory."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from yunmo.core.errors import InvalidRequest
from yunmo.engines.llama_cpp.families import Decoder
from yunmo.engines.llama_cpp.precisions import FILE_TYPES, Kind, encoded, kind_of, stored_bytes
from yunmo.engines.llama_cpp.tensors import Tensor
from yunmo.engines.llama_cpp.vocabulary import Vocabulary

Share = Callable[[float], None]

_FLOAT = np.dtype(np.float32)
_SPLIT_KEYS = "split."
_DERIVED_KEYS = frozenset({"general.architecture", "general.file_type", "general.quantization_version"})


def write_converted(  # noqa: PLR0913 - what a GGUF consists of
    path: Path, decoder: Decoder, vocabulary: Vocabulary, extra: Mapping[str, Any], tensors: Iterable[Tensor], precision: str, share: Share
) -> None:
    """Write a model that was read from safetensors; `extra` is metadata under its full names."""
    writer = gguf.GGUFWriter(path, decoder.architecture)
    for key, value in decoder.metadata.items():
        _add(writer, f"{decoder.architecture}.{key}", value)
    _add_vocabulary(writer, vocabulary)
    for key, value in extra.items():
        _add(writer, key, value)
    _write(writer, list(tensors), precision, share)


def write_requantised(path: Path, sources: list[Path], precision: str, share: Share) -> None:
    """Write a GGUF model again in another precision; all its metadata is kept."""
    readers = [gguf.GGUFReader(source) for source in sources]
    writer = gguf.GGUFWriter(path, str(readers[0].fields["general.architecture"].contents()))
    for name, stored in readers[0].fields.items():
        if name in _DERIVED_KEYS or name.startswith((_SPLIT_KEYS, "GGUF.")):
            continue
        inner = stored.types[-1] if stored.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, stored.contents(), stored.types[0], inner)
    tensors = [
        Tensor(tensor.name, tuple(int(size) for size in reversed(tensor.shape)), _reading(tensor))
        for reader in readers
        for tensor in reader.tensors
    ]
    _write(writer, tensors, precision, share)


def _reading(tensor: Any) -> Callable[[], Any]:
    return lambda: gguf.quants.dequantize(tensor.data, tensor.tensor_type)


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_int32(key, value) if value < 0 else writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case _:
            writer.add_string(key, value)


def _add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
    if vocabulary.merges:
        writer.add_token_merges(vocabulary.merges)
    if vocabulary.unknown_id is not None:
        writer.add_unk_token_id(vocabulary.unknown_id)
    writer.add_add_space_prefix(vocabulary.adds_space)


def _write(writer: gguf.GGUFWriter, tensors: list[Tensor], precision: str, share: Share) -> None:
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_file_type(FILE_TYPES[precision])
    kinds = [kind_of(tensor.name, tensor.shape, precision) for tensor in tensors]
    for tensor, kind in zip(tensors, kinds, strict=True):
        # the type given along is not looked at when the kind is named, unless it is that of bytes
        writer.add_tensor_info(tensor.name, tensor.shape, _FLOAT, stored_bytes(tensor.shape, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    total = sum(stored_bytes(tensor.shape, kind) for tensor, kind in zip(tensors, kinds, strict=True)) or 1
    done = 0
    for tensor, kind in zip(tensors, kinds, strict=True):
        writer.write_tensor_data(_encoded(tensor, kind))
        done += stored_bytes(tensor.shape, kind)
        share(done / total)
    writer.close()


def _encoded(tensor: Tensor, kind: Kind) -> Any:
    try:
        return encoded(tensor.read(), kind)
    except OverflowError:
        raise InvalidRequest(f"half precision cannot hold the numbers of {tensor.name}; deploy with the precision BF16") from None
