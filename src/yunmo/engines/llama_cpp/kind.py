"""What llama.cpp can do with a repository: it takes GGUF files, chooses one, and plans slots and context for it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from yunmo.core.engine import Engine, Hardware, ModelDescription, Offer, Plan, Progress

SLOTS = 8
CONTEXT_TOKENS = 4096
PROMPT_CACHE_MIB = 256
_SMALLEST_CONTEXT_TOKENS = 512
_PREFERENCE = 70
_MIB = 1 << 20
# The library, its compute buffers and Python: 80 MiB beside weights and cache with SmolLM2-135M; large vocabularies take more.
_OVERHEAD_BYTES = 400 * _MIB
# Where the metadata says nothing, the cache is guessed from the weights: 24 KiB a token is right for SmolLM2-135M (98 MB),
# 1/32768 of the file for models of 7 to 8 thousand million parameters with grouped attention (4.7 GB, 128 KiB).
_LEAST_CACHE_BYTES_PER_TOKEN, _MOST_CACHE_BYTES_PER_TOKEN = 24 * 1024, 512 * 1024
_FILE_BYTES_PER_CACHE_BYTE = 32768

_EMBEDDING_ARCHITECTURES = frozenset(
    {"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "eurobert", "gemma-embedding"}
)
_NOT_LANGUAGE_MODELS = frozenset(
    {"clip", "mmproj", "adapter", "imatrix", "flux", "sd1", "sd3", "sdxl", "ltxv", "wan", "lumina2", "qwen_image"}
)
_RERANK_POOLING = 4

_SHARD = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$", re.IGNORECASE)
_QUANTISATION = re.compile(r"(?:^|[-_./])(I?Q\d(?:_[0-9A-Z]{1,3})*|BF16|F16|F32|MXFP4)(?=[-_.]|$)", re.IGNORECASE)
_FAVOURITES = ("Q8_0", "Q4_K_M")


class LlamaCppKind:
    """The kind of engine that is registered as `llama_cpp`."""

    name = "llama_cpp"

    def offer(self, model: ModelDescription, hardware: Hardware) -> Offer | None:
        """Offer chat and generation for a language model, embeddings for an encoder, nothing for a repository without GGUF."""
        chosen = choose_gguf(model.files)
        architecture = _metadata(model.gguf, "architecture") or ""
        if chosen is None or architecture in _NOT_LANGUAGE_MODELS:
            return None
        pooling = _metadata(model.gguf, "pooling_type")
        embeds = architecture in _EMBEDDING_ARCHITECTURES or bool(pooling)
        slots, context_tokens = _fit(model.gguf, chosen.size_bytes, hardware.memory_bytes)
        options: dict[str, Any] = {"file": chosen.path}
        if embeds:
            options["embedding"] = True
        plan = Plan(
            engine=self.name,
            format="gguf",
            precision=chosen.quantisation,
            threads=hardware.cores,
            slots=slots,
            context_tokens=context_tokens,
            options=options,
        )
        return Offer(
            engine=self.name,
            tasks=("embed",) if embeds else ("chat", "generate"),
            plan=plan,
            memory_bytes=_memory_bytes(model.gguf, chosen.size_bytes, slots, context_tokens),
            preference=_PREFERENCE,
            files=chosen.shards,
            missing=None if find_spec("xllamacpp") else "llama.cpp is not installed: pip install 'yunmo[llama-cpp]'",
            problem=_RERANKER_PROBLEM if pooling == _RERANK_POOLING else None,
        )

    def load(self, directory: Path, derived: Path, plan: Plan, progress: Progress) -> Engine:
        """Load the plan's GGUF file. Raises EngineFailed if llama.cpp does not take it."""
        del derived
        from yunmo.engines.llama_cpp.engine import LlamaCppEngine

        return LlamaCppEngine.load(directory, plan, progress)


kind = LlamaCppKind()

_RERANKER_PROBLEM = "This GGUF is a reranker, which is not run from GGUF yet: push the model's safetensors instead."


@dataclass(frozen=True, slots=True)
class ChosenGguf:
    """A GGUF model in a repository: the path to open, all its files, their size, and its quantisation's name."""

    path: str
    shards: tuple[str, ...]
    size_bytes: int
    quantisation: str


def choose_gguf(files: Mapping[str, int]) -> ChosenGguf | None:
    """The model to run among a repository's GGUF files: Q8_0, else Q4_K_M, else the smallest; None if there is no whole one."""
    whole = _whole_models(files)
    if not whole:
        return None

    def rank(model: ChosenGguf) -> tuple[int, int, str]:
        favourite = _FAVOURITES.index(model.quantisation) if model.quantisation in _FAVOURITES else len(_FAVOURITES)
        return favourite, model.size_bytes, model.path

    return min(whole, key=rank)


def _whole_models(files: Mapping[str, int]) -> list[ChosenGguf]:
    found: list[ChosenGguf] = []
    for path, size in files.items():
        name = path.rsplit("/", 1)[-1].lower()
        if not name.endswith(".gguf") or "mmproj" in name or "imatrix" in name:
            continue
        shard = _SHARD.match(path)
        if shard is None:
            found.append(ChosenGguf(path, (path,), size, _quantisation(path)))
        elif int(shard["number"]) == 1:
            count = int(shard["count"])
            shards = tuple(f"{shard['stem']}-{number:05d}-of-{count:05d}{path[-5:]}" for number in range(1, count + 1))
            if all(each in files for each in shards):
                found.append(ChosenGguf(path, shards, sum(files[each] for each in shards), _quantisation(shard["stem"])))
    return found


def _quantisation(path: str) -> str:
    matches = _QUANTISATION.findall(path.removesuffix(".gguf"))
    return str(matches[-1]).upper() if matches else ""


def _metadata(gguf: Mapping[str, Any], key: str) -> Any:
    """A value under its own name, `general.` or the architecture's prefix."""
    architecture = gguf.get("general.architecture") or gguf.get("architecture") or ""
    for name in (f"{architecture}.{key}", f"general.{key}", key):
        if name in gguf:
            return gguf[name]
    return None


def _number(gguf: Mapping[str, Any], key: str) -> int:
    """A positive number of the metadata, the largest if there is one per layer, 0 if there is none."""
    value = _metadata(gguf, key)
    values = value if isinstance(value, list | tuple) else [value]
    return max((int(each) for each in values if isinstance(each, int | float) and each > 0), default=0)


def _cache_bytes_per_token(gguf: Mapping[str, Any], file_bytes: int) -> int:
    """Keys and values of one token in all layers, as 16-bit floats."""
    layers, heads = _number(gguf, "block_count"), _number(gguf, "attention.head_count")
    if not layers or not heads:
        guess = file_bytes // _FILE_BYTES_PER_CACHE_BYTE
        return max(_LEAST_CACHE_BYTES_PER_TOKEN, min(guess, _MOST_CACHE_BYTES_PER_TOKEN))
    head_size = _number(gguf, "embedding_length") // heads
    key_size = _number(gguf, "attention.key_length") or head_size
    value_size = _number(gguf, "attention.value_length") or head_size
    return layers * (_number(gguf, "attention.head_count_kv") or heads) * (key_size + value_size) * 2


def _memory_bytes(gguf: Mapping[str, Any], file_bytes: int, slots: int, context_tokens: int) -> int:
    cache = slots * context_tokens * _cache_bytes_per_token(gguf, file_bytes)
    return file_bytes + cache + PROMPT_CACHE_MIB * _MIB + _OVERHEAD_BYTES


def _fit(gguf: Mapping[str, Any], file_bytes: int, memory_bytes: int) -> tuple[int, int]:
    """Slots and context per slot: shorter contexts before fewer slots, until it fits or nothing is left to give up."""
    slots = SLOTS
    context_tokens = min(_number(gguf, "context_length") or CONTEXT_TOKENS, CONTEXT_TOKENS)
    while _memory_bytes(gguf, file_bytes, slots, context_tokens) > memory_bytes:
        if context_tokens > 2 * _SMALLEST_CONTEXT_TOKENS:
            context_tokens //= 2
        elif slots > 1:
            slots //= 2
        else:
            break
    return slots, context_tokens
