"""What llama.cpp can do with a repository: it opens GGUF files, and makes one of a decoder's safetensors.

A conversion is proven before it serves: the token ids of difficult texts are those of the repository's own tokenizer.json,
and log probabilities are those of transformers, where that is installed. So the converted model is offered before the
transformers engine, with no calibration to wait for, and is several times as fast; where it cannot be made or proven, the
deployment falls back to the transformers engine. Its float file is the first plan, and the reference of the others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from yunmo.core.engine import Adapter, Draft, Engine, Hardware, ModelDescription, Offer, Plan, Progress, check_precision, read_options
from yunmo.engines.llama_cpp.converted import FLOATS, QUANTISED
from yunmo.engines.llama_cpp.families import Decoder, decoder_of
from yunmo.engines.llama_cpp.files import ChosenGguf, choose_gguf, quantisation, whole_models
from yunmo.engines.llama_cpp.memory import fit, memory_bytes, metadata_value, resident_bytes
from yunmo.engines.llama_cpp.options import CONTEXT_TOKENS, PROMPT_CACHE_MIB, LlamaCppOptions

_PREFERENCE = 70
_CONVERTED_PREFERENCE = 60
_RERANK_POOLING = 4
_FAST = "Q8_0"
_SLOW_KINDS = frozenset({"Q4_1", "Q5_0", "Q5_1", *FLOATS})
"""What llama.cpp has no packed form of for processors: eight bits read a prompt up to twice as fast, and lose nothing to
Q4_1 and its like (SmolLM2-135M, two cores: 634 tokens/s instead of 309)."""
_SLOTS_TRIED = (16, 4, 1)
_MOST_BYTES_FOR_SLOTS = 1 << 30
"""A larger model takes too much of a calibration's time for plans that differ in their slots or in speculation only."""
_BITS = {"F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q5_1": 6.0, "Q5_0": 5.5, "Q4_1": 5.0, "Q4_0": 4.5}
_FILE_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 32: "BF16"}

_EMBEDDING_ARCHITECTURES = frozenset(
    {"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "eurobert", "gemma-embedding"}
)
_NOT_LANGUAGE_MODELS = frozenset(
    {"clip", "mmproj", "adapter", "imatrix", "flux", "sd1", "sd3", "sdxl", "ltxv", "wan", "lumina2", "qwen_image"}
)
_EMBEDDING_TAGS = frozenset({"feature-extraction", "sentence-similarity"})
_INDEX = "model.safetensors.index.json"
_READ = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
    _INDEX,
)


class LlamaCppKind:
    """The kind of engine that is registered as `llama_cpp`."""

    name = "llama_cpp"
    libraries = ("xllamacpp", "yunmo.engines.llama_cpp.engine")

    def offer(self, model: ModelDescription, hardware: Hardware) -> Offer | None:
        """Offer chat and generation for a language model, embeddings for an encoder in GGUF, nothing for anything else."""
        chosen = choose_gguf(model.files, model.file)
        if chosen is None and model.file is not None:
            return _offer_nothing(model, model.file)
        return _offer_converted(model, hardware) if chosen is None else _offer_gguf(model, chosen, hardware)

    def sized(self, offer: Offer, model: ModelDescription) -> Offer:
        """The offer with the memory that its plan takes."""
        plan = offer.plan
        gguf, file_bytes = _file_of(model, plan.precision)
        sizes = (gguf, file_bytes, plan.slots, plan.context_tokens or CONTEXT_TOKENS)
        cached_mib = int(plan.options.get("prompt_cache_mib", PROMPT_CACHE_MIB))
        return replace(offer, memory_bytes=memory_bytes(*sizes, cached_mib), resident_bytes=resident_bytes(*sizes))

    def check(self, plan: Plan) -> None:
        """Refuse unknown and impossible options and precisions."""
        options = read_options(plan, LlamaCppOptions)
        own = quantisation(options.file) if options.file else ""
        check_precision(plan, (*dict.fromkeys((own, *FLOATS, *QUANTISED)),))

    def load(self, directory: Path, derived: Path, plan: Plan, progress: Progress) -> Engine:
        """Load the plan's GGUF file, made first if it is not there. Raises EngineFailed if that or llama.cpp fails."""
        from yunmo.engines.llama_cpp.engine import LlamaCppEngine

        return LlamaCppEngine.load(directory, derived, plan, progress)

    def load_adapted(self, directory: Path, derived: Path, plan: Plan, progress: Progress, adapters: Sequence[Adapter]) -> Engine:
        """Load the plan's GGUF file with LoRA adapters, each made into a GGUF first."""
        from yunmo.engines.llama_cpp.engine import LlamaCppEngine

        return LlamaCppEngine.load(directory, derived, plan, progress, adapters)

    def load_drafted(
        self, directory: Path, derived: Path, plan: Plan, progress: Progress, draft: Draft, adapters: Sequence[Adapter]
    ) -> Engine:
        """Load the plan's GGUF file with the draft's."""
        from yunmo.engines.llama_cpp.engine import LlamaCppEngine

        return LlamaCppEngine.load(directory, derived, plan, progress, adapters, draft)


kind = LlamaCppKind()

_RERANKER_PROBLEM = "This GGUF is a reranker, which is not run from GGUF yet: push the model's safetensors instead."


def _offer_gguf(model: ModelDescription, chosen: ChosenGguf, hardware: Hardware) -> Offer | None:
    architecture = metadata_value(model.gguf, "architecture") or ""
    if architecture in _NOT_LANGUAGE_MODELS:
        return None
    pooling = metadata_value(model.gguf, "pooling_type")
    embeds = architecture in _EMBEDDING_ARCHITECTURES or bool(pooling)
    slots, context_tokens = fit(model.gguf, chosen.size_bytes, hardware.memory_bytes)
    options: dict[str, Any] = {"file": chosen.path}
    if embeds:
        options["embedding"] = True
    offer = Offer(
        engine=LlamaCppKind.name,
        tasks=("embed",) if embeds else ("chat", "generate"),
        plan=_plan(chosen.quantisation, hardware, slots, context_tokens, options),
        memory_bytes=0,
        preference=_PREFERENCE,
        files=chosen.shards,
        missing=_missing("xllamacpp"),
        problem=_RERANKER_PROBLEM if pooling == _RERANK_POOLING else None,
        keeps_prompts=not embeds,
        takes_adapters=not embeds,
        takes_drafts=not embeds and find_spec("gguf") is not None,
    )
    offer = kind.sized(offer, model)
    own = chosen.quantisation or _FILE_TYPES.get(metadata_value(model.gguf, "file_type"), "")
    if embeds or own not in _BITS:
        return offer
    is_slow = own in _SLOW_KINDS and find_spec("gguf") is not None
    precisions = [precision for precision in (_FAST, "F16") if is_slow and precision != own and (precision == _FAST or own in FLOATS)]
    sizes = {chosen.quantisation: chosen.size_bytes}
    sizes |= {precision: int(chosen.size_bytes * _BITS[precision] / _BITS[own]) for precision in precisions}
    return replace(offer, alternatives=tuple(_alternatives(offer, model, sizes, hardware)))


def _offer_nothing(model: ModelDescription, wanted: str) -> Offer:
    whole = ", ".join(sorted(each.path for each in whole_models(model.files))) or "none"
    problem = f"it has no GGUF model '{wanted}'. The option 'file' names one of them (of a split model the first part): {whole}"
    return Offer(
        engine=LlamaCppKind.name, tasks=(), plan=Plan(engine=LlamaCppKind.name), memory_bytes=0, preference=_PREFERENCE, problem=problem
    )


def _offer_converted(model: ModelDescription, hardware: Hardware) -> Offer | None:
    """Offer what would be made of safetensors, if the configuration is of a kind that comes out the same."""
    decoder = decoder_of(model.config)
    weights = _weights(model)
    is_embedder = "modules.json" in model.files or model.pipeline_tag in _EMBEDDING_TAGS
    if decoder is None or not weights or is_embedder or "tokenizer.json" not in model.files:
        return None
    metadata = _metadata(decoder)
    sizes = {precision: int(_parameters(model, weights) * _BITS[precision] / 8) for precision in (decoder.floats, _FAST)}
    size = sizes[decoder.floats]
    slots, context_tokens = fit(metadata, size, hardware.memory_bytes)
    offer = Offer(
        engine=LlamaCppKind.name,
        tasks=("chat", "generate") if _has_chat_template(model) else ("generate",),
        plan=_plan(decoder.floats, hardware, slots, context_tokens, {}),
        memory_bytes=0,
        preference=_CONVERTED_PREFERENCE,
        files=tuple(path for path in (*_READ, *weights) if path in model.files),
        missing=_missing("xllamacpp", "gguf", "tokenizers"),
        keeps_prompts=True,
        takes_adapters=True,
        takes_drafts=True,
    )
    offer = kind.sized(offer, model)
    return replace(offer, alternatives=tuple(_alternatives(offer, model, sizes, hardware)))


def _metadata(decoder: Decoder) -> Mapping[str, Any]:
    own = {f"{decoder.architecture}.{key}": value for key, value in decoder.metadata.items()}
    return {"general.architecture": decoder.architecture} | own


def _file_of(model: ModelDescription, precision: str) -> tuple[Mapping[str, Any], int]:
    """The metadata and the size of the GGUF that a plan of this precision opens, also if it is still to be made."""
    chosen = choose_gguf(model.files, model.file)
    if chosen is not None:
        own = chosen.quantisation or _FILE_TYPES.get(metadata_value(model.gguf, "file_type"), "")
        is_made = precision not in {"", chosen.quantisation} and precision in _BITS and own in _BITS
        return model.gguf, int(chosen.size_bytes * _BITS[precision] / _BITS[own]) if is_made else chosen.size_bytes
    decoder = decoder_of(model.config)
    assert decoder is not None
    return _metadata(decoder), int(_parameters(model, _weights(model)) * _BITS.get(precision or decoder.floats, 16.0) / 8)


def _alternatives(offer: Offer, model: ModelDescription, sizes: dict[str, int], hardware: Hardware) -> Iterator[Offer]:
    """Other precisions first, then other numbers of slots with the one that promises most, then speculation.

    What is tried last may find no time.
    """
    own = offer.plan
    promising = _FAST if _FAST in sizes else own.precision
    plans = [(precision, own.slots) for precision in (_FAST, *sizes) if precision in sizes]
    tried = _SLOTS_TRIED if sizes[own.precision] <= _MOST_BYTES_FOR_SLOTS else _SLOTS_TRIED[:1]
    plans += [(promising, slots) for slots in tried]
    for precision, slots in dict.fromkeys(plans):
        plan = _plan(precision, hardware, slots, own.context_tokens or 0, own.options)
        other = kind.sized(replace(offer, plan=plan), model)
        if (precision, slots) != (own.precision, own.slots) and other.memory_bytes <= hardware.memory_bytes:
            yield other
    if sizes[own.precision] <= _MOST_BYTES_FOR_SLOTS:
        plan = _plan(promising, hardware, own.slots, own.context_tokens or 0, {**own.options, "speculation": "prompt_lookup"})
        yield kind.sized(replace(offer, plan=plan), model)


def _plan(precision: str, hardware: Hardware, slots: int, context_tokens: int, options: dict[str, Any]) -> Plan:
    return Plan(
        engine=LlamaCppKind.name,
        format="gguf",
        precision=precision,
        threads=hardware.cores,
        slots=slots,
        batch_items=slots,
        context_tokens=context_tokens,
        options=options,
    )


def _weights(model: ModelDescription) -> tuple[str, ...]:
    """The safetensors at the root: one file, or all the shards that an index names."""
    if "model.safetensors" in model.files:
        return ("model.safetensors",)
    index = model.documents.get(_INDEX)
    named = sorted(set(index.get("weight_map", {}).values())) if isinstance(index, dict) else []
    return tuple(named) if all(path in model.files for path in named) else ()


def _parameters(model: ModelDescription, weights: tuple[str, ...]) -> int:
    stored = str(model.config.get("dtype") or model.config.get("torch_dtype") or "float32")
    return sum(model.files[path] for path in weights) // (2 if "16" in stored else 4)


def _has_chat_template(model: ModelDescription) -> bool:
    in_json = any("chat_template" in (model.documents.get(name) or {}) for name in ("tokenizer_config.json", "chat_template.json"))
    return in_json or "chat_template.jinja" in model.files


def _missing(*libraries: str) -> str | None:
    absent = [name for name in libraries if find_spec(name) is None]
    return "llama.cpp is not installed: pip install 'yunmo[llama-cpp]'" if absent else None
