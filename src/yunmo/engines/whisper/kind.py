"""What faster-whisper can do with a repository: it takes Whisper models in CTranslate2's format."""

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
        each_bytes = longest_seconds * _RECORDING_BYTES_PER_SECOND + _BLOCK_BYTES
        wanted = ("model.bin", "config.json", vocabulary, "tokenizer.json", "preprocessor_config.json")
        return Offer(
            engine=self.name,
            tasks=("transcribe",),
            plan=plan,
            memory_bytes=model.files["model.bin"] + slots * each_bytes + _OVERHEAD_BYTES,
            preference=_PREFERENCE,
            files=tuple(path for path in wanted if path in model.files),
            missing=None if find_spec("faster_whisper") else "faster-whisper is not installed: pip install 'yunmo[whisper]'",
            problem=None if "tokenizer.json" in model.files else "tokenizer.json is missing: push the one of the original Whisper model.",
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
