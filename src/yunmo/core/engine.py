"""What an engine is: a plugin that runs one loaded model.

A *kind* of engine (`EngineKind`) is what a plugin registers. In the control plane it looks at a model's description and
makes an offer; in the worker it loads the model. Only `load` may import a model library.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar, runtime_checkable

import msgspec

from yunmo.core.errors import InvalidRequest, YunmoError
from yunmo.core.tasks import Output, Request
from yunmo.core.usage import Usage

Count = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a deployment runs its model. What the engine alone understands is in `options`.

    `slots` is how many requests one replica has in work at a time; `streams` × `threads` is the layout of its cores.
    `batch_items` is how many of them are computed as one; an engine that batches continuously takes in all of its slots.
    `engine` names the registered kind, `precision` is fp32, bf16, int8 … or a quantisation's name.
    """

    engine: str
    format: str = ""
    precision: str = ""
    streams: Count = 1
    threads: Count = 1
    slots: Count = 1
    batch_items: Count = 1
    context_tokens: Count | None = None
    options: dict[str, Any] = {}

    @property
    def at_once(self) -> int:
        """How many requests a replica computes side by side."""
        return min(self.slots, self.streams * self.batch_items)


@dataclass(frozen=True, slots=True)
class Hardware:
    """What this machine offers. `instructions` are the processor's that model libraries have special code for.

    `gpu_memory_bytes` is the first NVIDIA GPU's; 0 where there is none.
    """

    cores: int
    memory_bytes: int
    processor: str = ""
    instructions: frozenset[str] = frozenset()
    gpu_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What is known of a revision without loading it. Paths are inside the repository; sizes in bytes.

    `config`, `tokenizer_config` and the like are the parsed JSON files at the root; `documents` maps every small JSON
    file's path to its content. `pipeline_tag`, `library_name`, `tags` and `languages` come from the model card. `gguf` holds the
    metadata of the GGUF file, if there is one. `file` is the one of several models that a deployment asks for, if it does.
    """

    repository: str
    revision: str
    files: Mapping[str, int]
    documents: Mapping[str, Any] = field(default_factory=dict)
    pipeline_tag: str | None = None
    library_name: str | None = None
    tags: Sequence[str] = ()
    gguf: Mapping[str, Any] = field(default_factory=dict)
    file: str | None = None
    languages: Sequence[str] = ()

    @property
    def config(self) -> Mapping[str, Any]:
        return self.documents.get("config.json") or {}

    @property
    def architectures(self) -> tuple[str, ...]:
        return tuple(self.config.get("architectures") or ())

    def has(self, suffix: str) -> bool:
        return any(path.endswith(suffix) for path in self.files)


class Draft(msgspec.Struct, frozen=True):
    """A small model that proposes tokens for another one to try, and how it is run.

    A worker finds it laid out in `directory`, and in `derived` what was made of it.
    """

    repository: str
    revision: str
    plan: Plan
    files: tuple[str, ...] = ()
    directory: str = ""
    derived: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """An engine's proposal for a model.

    The highest `preference` wins (dedicated engines 50 and up, the general one 10). `missing` names what must be
    installed first; `problem` says why a model that this engine knows cannot be run at all ("convert it: …").
    `files` are the paths to lay out before loading (empty means all of them). `memory_bytes` is what one replica may grow to
    when all its caches are full, and is claimed for it; `resident_bytes` is what it holds at ordinary work, where that is less.
    `alternatives` are other ways in which this engine could run the model; calibration may find one of them faster.
    `is_fallback` marks the general engine's behind a dedicated one's: it serves if that one's does not come up.
    `lacks` names what other engines do of these tasks and this one refuses, as `needs.needs_of` calls it: such an offer is only
    taken where another one answers the requests that need it, the deployment does without, or asks for the engine. `keeps_prompts` says that what the engine has read
    of a prompt spares another one with the same beginning the work: requests then go where their beginning was read.
    `takes_adapters` says that the kind is an AdaptedKind for this model, `takes_drafts` that it is a DraftedKind; `draft` is the
    one that the plan's option of that name is about.
    """

    engine: str
    tasks: tuple[str, ...]
    plan: Plan
    memory_bytes: int
    preference: int
    files: tuple[str, ...] = ()
    missing: str | None = None
    problem: str | None = None
    alternatives: tuple["Offer", ...] = ()
    is_fallback: bool = False
    lacks: tuple[str, ...] = ()
    keeps_prompts: bool = False
    takes_adapters: bool = False
    takes_drafts: bool = False
    draft: Draft | None = None
    resident_bytes: int | None = None

    @property
    def predicted_bytes(self) -> int:
        """The resident memory that is foretold of one replica at ordinary work."""
        return self.memory_bytes if self.resident_bytes is None else self.resident_bytes

    def measured(self, resident_bytes: int) -> "Offer":
        """The same with a measured replica in the estimate's place; what caches may still grow by stays claimed."""
        growth = max(0, self.memory_bytes - self.predicted_bytes)
        return replace(self, resident_bytes=resident_bytes, memory_bytes=resident_bytes + growth)


Progress = Callable[[str, float], None]
"""Told while loading: what is happening ("exporting to ONNX") and the share done, 0 to 1."""


@runtime_checkable
class Engine(Protocol):
    """A loaded model that batches by itself. `stream` yields outputs or deltas and ends with a Usage.

    What is known of the price earlier (a prompt's tokens, once they are counted) is yielded as a running Usage, each the
    whole price so far: the last one counts, also for a stream that is cancelled or whose process dies. Cancelling the
    iterator stops the work within one token. Errors are YunmoErrors; anything else is an EngineFailed.
    """

    tasks: tuple[str, ...]

    def stream(self, request: Request) -> AsyncIterator[Output | Usage]: ...

    async def close(self) -> None: ...


Options = TypeVar("Options", bound=msgspec.Struct)


def read_options(plan: Plan, kind: type[Options]) -> Options:
    """The plan's options as an engine declares them (a Struct that forbids unknown fields). Raises InvalidRequest that names the option."""
    known = kind.__struct_fields__
    unknown = sorted(set(plan.options) - set(known))
    if unknown:
        raise InvalidRequest(f"The engine {plan.engine} has no option '{unknown[0]}'; it has: {', '.join(known)}.", param=unknown[0])
    try:
        return msgspec.convert(plan.options, kind)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        name = re.split(r"\W", path, maxsplit=1)[0]
        which = f"The option '{name}'" if name else "The plan"
        raise InvalidRequest(f"{which} of the engine {plan.engine} cannot be used: {reason}.", param=name or "options") from error


def check_precision(plan: Plan, known: Sequence[str]) -> None:
    """Raise InvalidRequest unless the plan leaves the precision to the engine or names one of these."""
    if plan.precision not in ("", *known):
        raise InvalidRequest(
            f"The engine {plan.engine} has no precision '{plan.precision}'; it has: {', '.join(known)}.", param="precision"
        )


Result = tuple[Output, Usage]


@runtime_checkable
class BatchEngine(Protocol):
    """A loaded model that runs items in a blocking call; `runtime.batching` queues for it.

    `run` gets 1 to `plan.batch_items` single-row requests of one task (see `tasks.split`) and answers each, in order,
    with its result or with the error of that item alone. It is called from `plan.streams` threads at once.
    `cost` is an item's size in tokens or the like: items of a batch are chosen to be of similar cost.
    """

    tasks: tuple[str, ...]

    def cost(self, request: Request) -> int: ...

    def run(self, stream: int, requests: Sequence[Request]) -> Sequence[Result | YunmoError]: ...

    def close(self) -> None: ...


class EngineKind(Protocol):
    """What a plugin registers under the entry point group `yunmo.engines`.

    A kind may also have `libraries`, see `libraries_of`.
    """

    name: str

    def offer(self, model: ModelDescription, hardware: Hardware) -> Offer | None:
        """What this engine can do with the model; None if it is not for it. No model library is imported."""
        ...

    def check(self, plan: Plan) -> None:
        """Raise InvalidRequest for a plan that cannot be run: an option that there is not, or of a wrong value (`read_options`)."""
        ...

    def load(self, directory: Path, derived: Path, plan: Plan, progress: Progress) -> Engine | BatchEngine:
        """Load the model laid out in `directory` (read-only). `derived` keeps what was made of it (exports) between starts."""
        ...


@runtime_checkable
class SizedKind(Protocol):
    """A kind that knows what each plan takes, also one that a deployment's options have changed."""

    def sized(self, offer: Offer, model: ModelDescription) -> Offer:
        """The offer with the memory that its plan takes with this model."""
        ...


class Adapter(msgspec.Struct, frozen=True):
    """A LoRA adapter, laid out in `directory`, that requests name."""

    name: str
    directory: str


@runtime_checkable
class AdaptedKind(Protocol):
    """A kind that also runs a model with adapters beside it: a chat or generation that names one is answered with it, all others without."""

    def load_adapted(self, directory: Path, derived: Path, plan: Plan, progress: Progress, adapters: Sequence[Adapter]) -> Engine:
        """Load the model with adapters beside it. One that cannot be used fails its own requests, never the others'."""
        ...


@runtime_checkable
class DraftedKind(Protocol):
    """A kind that also runs a model with a draft: its answers are the model's own, and come sooner where the draft guesses well."""

    def load_drafted(
        self, directory: Path, derived: Path, plan: Plan, progress: Progress, draft: Draft, adapters: Sequence[Adapter]
    ) -> Engine:
        """Load the model with its draft, and with adapters if there are any. Raises InvalidRequest for a draft of other tokens."""
        ...


def libraries_of(kind: EngineKind) -> tuple[str, ...]:
    """The modules that the kind names in `libraries`: workers are forked from a process that has imported them already.

    Only for modules whose import starts no thread, opens no file and uses no processor's threads; () where it names none.
    """
    named: tuple[str, ...] = getattr(kind, "libraries", ())
    return named
