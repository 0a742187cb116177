"""What faster-whisper can do with a repository: it takes Whisper models in CTranslate2's format."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import msgspec

from yunmo.core.engine import Engine, Hardware, ModelDescription, Offer, Plan, Progress, check_precision, read_options
from yunmo.core.errors import InvalidRequest

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
_LARGEST_SHARE = 0.5
# Measured with whisper-base: a further window in work takes 95 MB (one beam), beside weights of 145 MB in float16.
_WINDOW_SHARE = 0.65
_WINDOWS = 8
_MOST_WINDOWS = 64
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
        """Offer transcription for a CTranslate2 Whisper directory: model.bin beside its own config.json and vocabulary.

        The safest plan is in float32, one window after another; eight bits, batches of windows and all cores at one recording
        are for calibration to try. Where float32 would take half of the machine's memory, eight bits are the safest.
        """
        vocabulary = next((name for name in _VOCABULARIES if name in model.files), None)
        if "model.bin" not in model.files or vocabulary is None or not any(mark in model.config for mark in _CONFIG_MARKS):
            return None
        plans = list(_plans(hardware))
        if (
            _claimed_bytes(plans[0], model.files["model.bin"]) > hardware.memory_bytes * _LARGEST_SHARE
        ):  # float32 takes too much here: nothing is held against it
            plans = [plan for plan in plans if plan.precision != plans[0].precision]
        wanted = ("model.bin", "config.json", vocabulary, "tokenizer.json", "preprocessor_config.json")
        offer = Offer(
            engine=self.name,
            tasks=("transcribe",),
            plan=plans[0],
            memory_bytes=0,
            preference=_PREFERENCE,
            files=tuple(path for path in wanted if path in model.files),
            missing=None if find_spec("faster_whisper") else "faster-whisper is not installed: pip install 'yunmo[whisper]'",
            problem=None if "tokenizer.json" in model.files else "tokenizer.json is missing: push the one of the original Whisper model.",
        )
        return replace(self.sized(offer, model), alternatives=tuple(self.sized(replace(offer, plan=plan), model) for plan in plans[1:]))

    def sized(self, offer: Offer, model: ModelDescription) -> Offer:
        """The offer with the memory that its plan takes: claimed with recordings of the longest kind, foretold with short ones."""
        plan, stored = offer.plan, model.files["model.bin"]
        window_bytes = int(_WINDOW_BYTES * (stored / _BASE_BYTES) ** _WINDOW_GROWTH)
        resident_bytes = _LIBRARY_BYTES + _weights(plan, stored) + plan.slots * window_bytes
        return replace(offer, memory_bytes=_claimed_bytes(plan, stored), resident_bytes=resident_bytes)

    def check(self, plan: Plan) -> None:
        """Refuse unknown and impossible options, and precisions that CTranslate2 does not have."""
        read_options(plan, WhisperOptions)
        check_precision(plan, _PRECISIONS)
        if plan.batch_items > _MOST_WINDOWS:
            raise InvalidRequest(f"At most {_MOST_WINDOWS} windows are heard at once, not {plan.batch_items}.", param="batch_items")

    def load(self, directory: Path, derived: Path, plan: Plan, progress: Progress) -> Engine:
        """Load the model. Raises EngineFailed if model.bin is not CTranslate2's."""
        del derived
        from yunmo.engines.whisper.engine import WhisperEngine

        return WhisperEngine.load(directory, plan, progress)


kind = WhisperKind()


def _plans(hardware: Hardware) -> Iterator[Plan]:
    cores = max(1, hardware.cores)
    slots = min(SLOTS, cores)
    layouts = [(slots, max(1, cores // slots))]
    layouts += [(1, cores)] if slots > 1 else []  # the whole machine for one recording: fewer a second, but each sooner
    yield _plan(hardware, "float32", layouts[0], 1)
    yield _plan(hardware, "int8", layouts[0], 1)
    for layout in layouts:
        yield _plan(hardware, "int8", layout, _WINDOWS)
    yield _plan(hardware, "float32", layouts[0], _WINDOWS)


def _plan(hardware: Hardware, precision: str, layout: tuple[int, int], windows: int) -> Plan:
    longest_seconds = LONGEST_SECONDS if hardware.memory_bytes >= _SHORT_MEMORY_BYTES else LONGEST_SECONDS // 4
    return Plan(
        engine=WhisperKind.name,
        format="ctranslate2",
        precision=precision,
        streams=layout[0],
        threads=layout[1],
        slots=layout[0],
        batch_items=windows,
        options={"longest_seconds": longest_seconds},
    )


def _claimed_bytes(plan: Plan, stored: int) -> int:
    """The weights, and for each recording its samples, the work on a block, and the further windows in work."""
    longest_seconds = int(plan.options.get("longest_seconds", LONGEST_SECONDS))
    windows = int((plan.batch_items - 1) * _WINDOW_SHARE * stored)
    each = longest_seconds * _RECORDING_BYTES_PER_SECOND + _BLOCK_BYTES + windows
    return max(stored, _weights(plan, stored)) + plan.slots * each + _OVERHEAD_BYTES


def _weights(plan: Plan, stored: int) -> int:
    """What is in memory of weights that are stored in 16 bits."""
    return int(stored * _WEIGHT_SHARES.get(plan.precision, 1.0))
