"""What OpenVINO GenAI can do with a repository: it takes decoders of Llama's kind, as safetensors with a tokenizer.json or as GGUF.

A GGUF's tokenizer is rebuilt, and the model loads only if llama.cpp is there to prove that it reads difficult texts alike.
"""

from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import msgspec

from yunmo.core.engine import Engine, Hardware, ModelDescription, Offer, Plan, Progress, check_precision, read_options
from yunmo.core.errors import InvalidRequest
from yunmo.engines.chats.fitting import fit, has_template
from yunmo.engines.openvino_genai import gguf_models
from yunmo.engines.openvino_genai.families import Decoder, decoder_of

PRECISIONS = ("int8", "fp32")
LACKS = ("top_logprobs", "logit_bias", "typical_p")
"""What OpenVINO GenAI (2026.4) has no way to do, its sampler being closed: of a token it tells its own log probability, not its
alternatives' (`GenerationConfig.logprobs` above 1 counts as 1), and nothing but a grammar changes what may be chosen."""

SLOTS = 16
CONTEXT_TOKENS = 4096
BATCH_TOKENS = 256
BLOCK_TOKENS = 32
GRAMMARS = 128
"""How many different grammars are kept at most."""
_PREFERENCE = 55
# The library, its buffers, Python and the tokenizer.
_OVERHEAD_BYTES = 500 << 20
# Fitted to SmolLM2-135M at work (`bench/memory.py`): what of it every replica holds, the share of the cache that loading touches,
# and the tokens of it that each slot's requests fill.
_LIBRARY_BYTES = 178 << 20
_BEGUN_SHARE = 0.18
_USUAL_TOKENS = 250
# The program that tries forms out, from the first one on (143 MiB with SmolLM2's vocabulary).
_TRIAL_BYTES = 150 << 20
# A compiled grammar, for each token of the vocabulary: 0.6 MiB with SmolLM2's 49,152.
_GRAMMAR_BYTES_PER_TOKEN = 12
# The file that is read and the same matrices as the processor wants them.
_COPIES = 2


class OpenVinoGenAiOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of a plan.

    `batch_tokens` is the most that one step reads, and a cancellation waits for its end; `file` is the GGUF to read.
    """

    batch_tokens: Annotated[int, msgspec.Meta(ge=32, le=2**16)] = BATCH_TOKENS
    file: str | None = None


class OpenVinoGenAiKind:
    """The kind of engine that is registered as `openvino_genai`."""

    name = "openvino_genai"
    libraries = ("openvino_genai", "tokenizers", "yunmo.engines.openvino_genai.engine")

    def offer(self, model: ModelDescription, hardware: Hardware) -> Offer | None:
        """Offer generation for a decoder that is known exactly, and chat if it has a template; nothing for other models."""
        found = _safetensors(model) or _gguf(model)
        if found is None:
            return None
        decoder = found.decoder
        slots, context_tokens = fit(
            lambda slots, tokens: memory_bytes(decoder, "int8", slots, tokens),
            hardware.memory_bytes,
            SLOTS,
            min(decoder.context_tokens, CONTEXT_TOKENS),
        )
        plan = Plan(
            engine=self.name,
            format="openvino",
            precision="int8",
            threads=hardware.cores,
            slots=slots,
            batch_items=slots,
            context_tokens=context_tokens,
            options=found.options,
        )
        offer = Offer(
            engine=self.name,
            tasks=("chat", "generate") if found.has_template else ("generate",),
            plan=plan,
            memory_bytes=0,
            preference=_PREFERENCE,
            files=found.files,
            missing=found.missing,
            lacks=LACKS,
            keeps_prompts=True,
        )
        return self.sized(offer, model)

    def sized(self, offer: Offer, model: ModelDescription) -> Offer:
        """The offer with the memory that its plan takes: claimed with the whole cache, foretold with what a few prompts fill of it."""
        found, plan = _safetensors(model) or _gguf(model), offer.plan
        if found is None:
            return offer
        sizes = (plan.precision or "int8", plan.slots, min(plan.context_tokens or CONTEXT_TOKENS, found.decoder.context_tokens))
        return replace(offer, memory_bytes=memory_bytes(found.decoder, *sizes), resident_bytes=resident_bytes(found.decoder, *sizes))

    def check(self, plan: Plan) -> None:
        """Refuse unknown and impossible options."""
        options = read_options(plan, OpenVinoGenAiOptions)
        if options.file is not None:
            _check_file(options.file)
        check_precision(plan, PRECISIONS)
        if plan.streams != 1:
            raise InvalidRequest("The engine openvino_genai batches by itself: leave `streams` at 1.", param="streams")

    def load(self, directory: Path, derived: Path, plan: Plan, progress: Progress) -> Engine:
        """Draw the model as a graph, once, and load it. Raises EngineFailed if the weights do not fit their config.json."""
        from yunmo.engines.openvino_genai.engine import OpenVinoGenAiEngine

        return OpenVinoGenAiEngine.load(directory, derived, plan, progress)


kind = OpenVinoGenAiKind()


@dataclass(frozen=True, slots=True)
class _Found:
    """A model that can be read, and from what."""

    decoder: Decoder
    files: tuple[str, ...]
    has_template: bool
    missing: str | None
    options: dict[str, Any] = field(default_factory=dict)


def _safetensors(model: ModelDescription) -> _Found | None:
    decoder = decoder_of(model.config)
    weights = tuple(path for path in model.files if "/" not in path and path.endswith((".safetensors", ".safetensors.index.json")))
    if decoder is None or "tokenizer.json" not in model.files or not weights:
        return None
    files = (*weights, *(path for path in model.files if "/" not in path and path.endswith((".json", ".jinja"))))
    return _Found(decoder, tuple(dict.fromkeys(files)), has_template(model), _missing("openvino", "openvino_genai"))


def _gguf(model: ModelDescription) -> _Found | None:
    file = gguf_models.chosen(model.files)
    decoder = gguf_models.decoder_of(model.gguf)
    if file is None or decoder is None:
        return None
    has_template = "tokenizer.chat_template" in model.gguf
    missing = _missing("openvino,llama-cpp", "openvino_genai", "gguf", "xllamacpp")
    return _Found(decoder, (file,), has_template, missing, {"file": file})


def _missing(extra: str, *libraries: str) -> str | None:
    absent = any(find_spec(name) is None for name in libraries)
    return f"OpenVINO GenAI is not installed: pip install 'yunmo[{extra}]'" if absent else None


def _check_file(name: str) -> None:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise InvalidRequest(f"The option 'file' is a path inside the repository, not '{name}'.", param="file")


def cache_blocks(slots: int, context_tokens: int) -> int:
    """The blocks of keys and values with which every slot can use its whole context."""
    return slots * (-(-context_tokens // BLOCK_TOKENS) + 1)


def memory_bytes(decoder: Decoder, precision: str, slots: int, context_tokens: int) -> int:
    """What one replica needs: weights, the cache of all slots, the rest."""
    weights = decoder.parameters * (4 if precision == "fp32" else 1) * _COPIES
    cache = cache_blocks(slots, context_tokens) * BLOCK_TOKENS * _cache_bytes_per_token(decoder, precision)
    grammars = GRAMMARS * _GRAMMAR_BYTES_PER_TOKEN * decoder.vocabulary
    return weights + cache + grammars + _TRIAL_BYTES + _OVERHEAD_BYTES


def resident_bytes(decoder: Decoder, precision: str, slots: int, context_tokens: int) -> int:
    """What one replica holds at work on prompts of usual lengths, while most of its cache has never been written to."""
    weights = decoder.parameters * (4 if precision == "fp32" else 1) * _COPIES
    per_token = _cache_bytes_per_token(decoder, precision)
    begun = int(_BEGUN_SHARE * cache_blocks(slots, context_tokens) * BLOCK_TOKENS)
    return weights + (begun + slots * _USUAL_TOKENS) * per_token + _LIBRARY_BYTES


def _cache_bytes_per_token(decoder: Decoder, precision: str) -> int:
    """Keys and values of one token: bytes with scales beside them, as OpenVINO stores them, or 32-bit floats."""
    scales_of_value, scales_of_key = 8, decoder.head_size * 8 // BLOCK_TOKENS
    head = 8 * decoder.head_size if precision == "fp32" else 2 * decoder.head_size + scales_of_value + scales_of_key
    return decoder.layers * decoder.kv_heads * head
