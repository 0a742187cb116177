"""The kind of engine that is registered as `bergamot`: the small models of Bergamot and of Firefox's translations, in eight bits.

They are run by fxtranslate, Mozilla's engine of these models. One call of it reads one sentence on one thread, so a plan's
streams are how many sentences are in work at once.
"""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import msgspec

from yunmo.core.engine import Engine, Hardware, ModelDescription, Offer, Plan, Progress, check_precision, read_options
from yunmo.core.errors import InvalidRequest
from yunmo.engines.bergamot.repository import METADATA, Contents, contents_of

_PREFERENCE = 70
_PRECISIONS = ("int8",)
_LIBRARIES = ("fxtranslate", "sentencepiece", "sentencex")
_STREAMS = 8
_SLOTS_PER_STREAM = 8
"""Sentences are short: a stream that has ended one finds the next in the worker."""

_MIB = 1 << 20
_OVERHEAD_BYTES = 100 * _MIB
# Fitted to Bergamot's English-Portuguese at work on 1, 2, 4 and 8 streams (`bench/memory.py`): Python with the libraries,
# the files as they were read once, and what each stream makes of them for itself.
_LIBRARY_BYTES = 30 * _MIB
_STREAM_SHARE = 1.7


class BergamotOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of a plan: the most tokens of one text, which is read sentence by sentence."""

    most_input_tokens: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 16_384


class BergamotKind:
    """Offers to translate with a Bergamot or Firefox model; see `repository` for the files that it takes."""

    name = "bergamot"
    libraries = ("fxtranslate", "sentencepiece", "sentencex", "yunmo.engines.bergamot.engine")

    def offer(self, model: ModelDescription, hardware: Hardware) -> Offer | None:
        """A sentence on each core; one at a time, and as many as there are cores, are for calibration to try."""
        found = contents_of(model)
        if found is None:
            return None
        cores = max(1, hardware.cores)
        plans = [_plan(streams) for streams in dict.fromkeys((min(cores, _STREAMS), cores, 1))]
        offer = Offer(
            engine=self.name,
            tasks=("translate",),
            plan=plans[0],
            memory_bytes=0,
            preference=_PREFERENCE,
            files=(*found.paths, *({METADATA} & model.files.keys())) if isinstance(found, Contents) else (),
            missing=_missing(),
            problem=found if isinstance(found, str) else None,
        )
        others = (self.sized(replace(offer, plan=plan), model) for plan in plans[1:])
        return replace(self.sized(offer, model), alternatives=tuple(others))

    def sized(self, offer: Offer, model: ModelDescription) -> Offer:
        """The offer with the memory that its plan takes: every stream has the weights and the shortlist for itself."""
        found = contents_of(model)
        if not isinstance(found, Contents):
            return offer
        stored = sum(model.files[path] for path in found.paths)
        resident = _LIBRARY_BYTES + stored + int(offer.plan.streams * _STREAM_SHARE * stored)
        return replace(offer, resident_bytes=resident, memory_bytes=resident + _OVERHEAD_BYTES)

    def check(self, plan: Plan) -> None:
        """Refuse unknown options, other precisions, and threads: a sentence is read on one."""
        read_options(plan, BergamotOptions)
        check_precision(plan, _PRECISIONS)
        if plan.threads != 1 or plan.batch_items != 1:
            raise InvalidRequest(
                f"The engine {plan.engine} reads one sentence on one thread: set `streams` to how many at once.",
                param="threads" if plan.threads != 1 else "batch_items",
            )

    def load(self, directory: Path, derived: Path, plan: Plan, progress: Progress) -> Engine:
        """Load the model. Raises EngineFailed for files that are damaged or do not belong together."""
        del derived
        from yunmo.engines.bergamot.engine import BergamotEngine

        self.check(plan)
        return BergamotEngine.load(directory, plan, progress)


kind = BergamotKind()


def _plan(streams: int) -> Plan:
    return Plan(
        engine=BergamotKind.name,
        format="marian",
        precision="int8",
        streams=streams,
        slots=streams * _SLOTS_PER_STREAM,
    )


def _missing() -> str | None:
    absent = [name for name in _LIBRARIES if find_spec(name) is None]
    return f"{', '.join(absent)} is not installed; run: pip install 'yunmo[bergamot]'" if absent else None
