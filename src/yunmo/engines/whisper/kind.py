"""What faster-whisper can do with a repository: it takes Whisper models in CTranslate2's format."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import msgspec

from yunmo.core.engine import Engine, Hardware, ModelDescription, Offer, Plan, Progress, check_precision, read_options

SLOTS = 2
LONGEST_SECONDS = 4 * 3600
MOST_BEAMS = 16
_PREFERENCE = 70
_MIB = 1 << 20
_OVERHEAD_BYTES = 350 * _MIB
# Beside the weights: the decoded recording (16-bit samples, 16 kHz) and the work on one block of it.
_RECORDING_BYTES_PER_SECOND = 32_000
_BLOCK_BYTES = 300 * _MIB
# Fitted to whisper-base at work (`bench/memory.py`): Python with the libraries, and the work on a window of 30 seconds, which grows
# with the heads of attention: 8, 12, 16 and 20 in OpenAI's models of 74, 244, 769 and 1550 million numbers, stored in 16 bits.
_LIBRARY_BYTES = 125 * _MIB
_WINDOW_BYTES = 105 * _MIB
_BASE_BYTES = 145_000_000
_WINDOW_GROWTH = 0.3
_WEIGHT_SHARES = {"": 0.5, "int8": 0.5, "int8_float32": 0.5, "int8_float16": 0.5, "int8_bfloat16": 0.5, "float32": 2.0}
_SHORT_MEMORY_BYTES = 8 << 30
_CONFIG_MARKS = ("suppress_ids", "lang_ids", "alignment_heads")
_PRECISIONS = ("int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32")
_VOCABULARIES = ("vocabulary.json", "vocabulary.txt")


class WhisperOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of a plan: the longest recording, and how many beams search unless a request says it."""

    longest_seconds: Annotated[int, msgspec.Meta(ge=1, le=48 * 3600)] = LONGEST_SECONDS
    beams: Annotated[int, msgspec.Meta(ge=1, le=MOST_BEAMS)] = 5


class WhisperKind:
    """The kind of engine that is registered as `whisper`."""

    name = "whisper"
    libraries = ("faster_whisper", "yunmo.engines.whisper.engine")

    def offer(self, model: ModelDescription, hardware: Hardware) -> Offer | None:
        """Offer transcription for a CTranslate2 Whisper directory: model.bin beside its own config.json and vocabulary."""
        vocabulary = next((name for name in _VOCABULARIES if name in model.files), None)
        if "model.bin" not in model.files or vocabulary is None or not any(mark in model.config for mark in _CONFIG_MARKS):
            return None
        slots = min(SLOTS, hardware.cores)
        longest_seconds = LONGEST_SECONDS if hardware.memory_bytes >= _SHORT_MEMORY_BYTES else LONGEST_SECONDS // 4
        plan = Plan(
            engine=self.name,
            format="ctranslate2",
            precision="int8",
            streams=slots,
            threads=max(1, hardware.cores // slots),
            slots=slots,
            options={"longest_seconds": longest_seconds},
        )
        wanted = ("model.bin", "config.json", vocabulary, "tokenizer.json", "preprocessor_config.json")
        offer = Offer(
            engine=self.name,
            tasks=("transcribe",),
            plan=plan,
            memory_bytes=0,
            preference=_PREFERENCE,
            files=tuple(path for path in wanted if path in model.files),
            missing=None if find_spec("faster_whisper") else "faster-whisper is not installed: pip install 'yunmo[whisper]'",
            problem=None if "tokenizer.json" in model.files else "tokenizer.json is missing: push the one of the original Whisper model.",
        )
        return self.sized(offer, model)

    def sized(self, offer: Offer, model: ModelDescription) -> Offer:
        """The offer with the memory that its plan takes: claimed with recordings of the longest kind, foretold with short ones."""
        plan, stored = offer.plan, model.files["model.bin"]
        longest_seconds = int(plan.options.get("longest_seconds", LONGEST_SECONDS))
        each_bytes = longest_seconds * _RECORDING_BYTES_PER_SECOND + _BLOCK_BYTES
        weights = int(stored * _WEIGHT_SHARES.get(plan.precision, 1.0))
        window_bytes = int(_WINDOW_BYTES * (stored / _BASE_BYTES) ** _WINDOW_GROWTH)
        return replace(
            offer,
            memory_bytes=max(stored, weights) + plan.slots * each_bytes + _OVERHEAD_BYTES,
            resident_bytes=_LIBRARY_BYTES + weights + plan.slots * window_bytes,
        )

    def check(self, plan: Plan) -> None:
        """Refuse unknown and impossible options, and precisions that CTranslate2 does not have."""
        read_options(plan, WhisperOptions)
        check_precision(plan, _PRECISIONS)

    def load(self, directory: Path, derived: Path, plan: Plan, progress: Progress) -> Engine:
        """Load the model. Raises EngineFailed if model.bin is not CTranslate2's."""
        del derived
        from yunmo.engines.whisper.engine import WhisperEngine

        return WhisperEngine.load(directory, plan, progress)


kind = WhisperKind()
