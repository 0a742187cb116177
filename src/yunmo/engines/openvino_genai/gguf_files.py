"""A GGUF file's weights under the names of safetensors, and its tokenizer as tokenizer.json."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from yunmo.core.errors import EngineFailed
from yunmo.engines.openvino_genai.families import Decoder
from yunmo.engines.openvino_genai.gguf_models import CUTTERS, decoder_of
from yunmo.engines.openvino_genai.weights import Floats

_PARTS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_CONTROL, _USER_DEFINED = gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED
_ENDS = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")


class GgufFile:
    """One open file. Raises EngineFailed for one that the graph would not compute exactly."""

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        self._metadata: Mapping[str, Any] = {name: field.contents() for name, field in reader.fields.items()}
        factors = self._tensors.get("rope_freqs.weight")
        decoder = decoder_of(self._metadata, () if factors is None else tuple(map(float, factors.data)))
        if decoder is None:
            raise EngineFailed("OpenVINO GenAI cannot run this GGUF file exactly. Deploy the model with the engine llama_cpp.")
        self._permuted = {"attn_q": decoder.heads, "attn_k": decoder.kv_heads} if self._metadata["general.architecture"] == "llama" else {}
        self.decoder: Decoder = replace(decoder, is_tied="output.weight" not in self._tensors, vocabulary=len(self._list("tokens")))

    def read(self, name: str, shape: tuple[int, ...]) -> Floats:
        """One tensor under its name in safetensors. Raises EngineFailed if it is missing or of another shape."""
        stored, heads = self._place(name)
        tensor = self._tensors.get(stored)
        if tensor is None:
            raise EngineFailed(f"The GGUF file has no tensor {stored}. Push the whole model again.")
        numbers = np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)
        if numbers.shape != shape:
            raise EngineFailed(f"The weights do not fit the metadata: {stored} has the shape {numbers.shape}, not {shape}.")
        if heads:  # llama.cpp has the numbers that turn together side by side, the graph half a head apart
            numbers = numbers.reshape(heads, shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(shape)
        return np.ascontiguousarray(numbers)

    def write_tokenizer(self, directory: Path) -> None:
        """Write tokenizer.json and what goes with it, as a repository of safetensors would have them."""
        tokens = self._list("tokens")
        merges = [tuple(each.split(" ", 1)) for each in self._list("merges")]
        backend = Tokenizer(models.BPE(dict(zip(tokens, range(len(tokens)), strict=True)), merges, ignore_merges=self._pre == "llama-bpe"))
        backend.normalizer = normalizers.NFC() if self._pre == "qwen2" else None
        backend.pre_tokenizer = pre_tokenizers.Sequence([_cutter(each) for each in CUTTERS[self._pre]] + _as_bytes(self._pre))
        backend.decoder = decoders.ByteLevel()
        for kind, is_special in ((_CONTROL, True), (_USER_DEFINED, False)):
            named = [token for token, each in zip(tokens, self._list("token_type"), strict=True) if each == kind]
            backend.add_tokens([AddedToken(token, special=is_special, normalized=False) for token in named])
        first = self._token("tokenizer.ggml.bos_token_id")
        if first is not None and self._metadata.get("tokenizer.ggml.add_bos_token"):
            backend.post_processor = _beginning(first, int(self._metadata["tokenizer.ggml.bos_token_id"]))
        backend.save(str(directory / "tokenizer.json"))
        settings = {
            "bos_token": first,
            "eos_token": self._token("tokenizer.ggml.eos_token_id"),
            "chat_template": self._metadata.get("tokenizer.chat_template"),
        }
        (directory / "tokenizer_config.json").write_text(json.dumps({name: value for name, value in settings.items() if value}))
        (directory / "config.json").write_text(
            json.dumps({"eos_token_id": [self._metadata[name] for name in _ENDS if name in self._metadata]})
        )

    @property
    def _pre(self) -> str:
        return str(self._metadata["tokenizer.ggml.pre"])

    def _list(self, name: str) -> Sequence[Any]:
        found: Sequence[Any] = self._metadata[f"tokenizer.ggml.{name}"]
        return found

    def _token(self, name: str) -> str | None:
        index = self._metadata.get(name)
        return str(self._list("tokens")[index]) if isinstance(index, int) and 0 <= index < len(self._list("tokens")) else None

    def _place(self, name: str) -> tuple[str, int]:
        """The stored name, and the heads whose numbers are stored in another order."""
        owner, _, kind = name.rpartition(".")
        if owner in _WHOLE:
            return f"{_WHOLE[owner]}.{kind}", 0
        _, _, layer, part = owner.split(".", 3)
        stored = _PARTS[part]
        return f"blk.{layer}.{stored}.{kind}", self._permuted.get(stored, 0)


def _cutter(step: str) -> Any:
    match step:
        case "Digits":
            return pre_tokenizers.Digits(individual_digits=True)
        case "ByteLevel":
            return pre_tokenizers.ByteLevel(add_prefix_space=False)
        case _:
            return pre_tokenizers.Split(Regex(step), "isolated")


def _as_bytes(pre: str) -> list[Any]:
    return [] if "ByteLevel" in CUTTERS[pre] else [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]


def _beginning(token: str, index: int) -> Any:
    from tokenizers import processors

    return processors.TemplateProcessing(single=f"{token} $A", pair=f"{token} $A $B", special_tokens=[(token, index)])
