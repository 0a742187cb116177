"""The ways in which the installed engines offer to serve a model."""

import dataclasses
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from yunmo.core.engine import EngineKind, Hardware, ModelDescription, Offer, Plan, SizedKind
from yunmo.core.errors import InvalidRequest, Unavailable, Unsupported, YunmoError
from yunmo.core.tasks import TASKS

AIM = "aim"
"""The option that tells calibration what to look for; no engine sees it."""

WITHOUT = "without"
"""The option that names what the deployment's clients never ask for: engines which lack it may be chosen though nothing else does it.

No engine sees it."""

DRAFT = "draft"
"""The option that names a model whose tokens are tried; engines are told of it by their offer's `draft`."""

_FILE = "file"
"""The option that names one of several models in a repository; its engine sees it too."""

_DEDICATED = 50
"""From this preference on, an engine is worth trying beside another one; the general engine is not."""

_PLAN_FIELDS = frozenset(Plan.__struct_fields__)


def offers(
    model: ModelDescription,
    hardware: Hardware,
    kinds: dict[str, EngineKind],
    options: dict[str, object],
    elsewhere: Collection[str] = (),
) -> list[Offer]:
    """Every way to serve the model's task with the deployment's options, the safest first, fallbacks last; never empty.

    `elsewhere` names the engines whose libraries are in another Python environment: that they are missing here says nothing.
    Raises InvalidRequest for a model that no engine may run (with the way to mend it) or for an unknown option,
    Unavailable when the engine it needs is not installed, Unsupported when no engine knows it.
    """
    wanted = options.get("engine")
    if wanted is not None and (not isinstance(wanted, str) or wanted not in kinds):
        raise InvalidRequest(f"There is no engine '{wanted}'; there are: {', '.join(kinds)}.", param="engine")
    asked = [kinds[str(wanted)]] if wanted is not None else list(kinds.values())
    found = [offer for kind in asked if (offer := kind.offer(model, hardware)) is not None]
    made = [dataclasses.replace(offer, missing=None) if offer.engine in elsewhere else offer for offer in found]
    usable = sorted((offer for offer in made if offer.problem is None and offer.missing is None), key=lambda offer: -offer.preference)
    if not usable or (model.file is not None and any(offer.problem and offer.preference > usable[0].preference for offer in made)):
        raise _why_not(model, made)  # also of the file that was asked for, where another engine would serve other files
    forgone = _forgone(options)
    usable = [offer for offer in usable if wanted is not None or _is_made_up_for(offer, usable, forgone)] or usable
    best = usable[0]
    rivals = [offer for offer in usable if offer is best or (offer.preference >= _DEDICATED and offer.tasks[0] == best.tasks[0])]
    every = [each for offer in rivals for each in (offer, *offer.alternatives)]
    every += [dataclasses.replace(offer, is_fallback=True) for offer in usable if offer not in rivals and offer.tasks[0] == best.tasks[0]]
    with_options = [
        offer for each in every if (offer := _with_options(each, kinds[each.engine], model, options, is_first=each is every[0]))
    ]
    whole = [offer for offer in with_options if offer is with_options[0] or _is_made_up_for(offer, with_options, forgone)]
    return [offer for index, offer in enumerate(whole) if all(offer.plan != earlier.plan for earlier in whole[:index])]


def done_elsewhere(offer: Offer, others: Sequence[Offer]) -> frozenset[str]:
    """What the offer lacks and another one does: as much of it as one of them does."""
    return max((frozenset(offer.lacks).difference(other.lacks) for other in others), key=len, default=frozenset())


def wanted_file(options: dict[str, object]) -> str | None:
    """The path of the model's file that a deployment's options name. Raises InvalidRequest for what is no path."""
    given = options.get("options")
    wanted = options.get(_FILE, given.get(_FILE) if isinstance(given, dict) else None)
    if wanted is not None and not isinstance(wanted, str):
        raise InvalidRequest(f"The option '{_FILE}' is the path of one of the repository's GGUF files.", param=_FILE)
    return wanted


def _with_options(offer: Offer, kind: EngineKind, model: ModelDescription, options: dict[str, object], *, is_first: bool) -> Offer | None:
    """The offer with the deployment's options and the memory that they make of it; None for another engine's, or another way, that cannot have them."""
    try:
        changed = _with_plan(offer, apply_options(offer.plan, options))
        kind.check(changed.plan)
    except InvalidRequest:
        if is_first:
            raise
        return None
    return kind.sized(changed, model) if isinstance(kind, SizedKind) and changed.plan != offer.plan else changed


def _is_made_up_for(offer: Offer, others: Sequence[Offer], forgone: AbstractSet[str]) -> bool:
    """Whether one of the others does of the same tasks all that the offer lacks and that nobody forgoes."""
    lacked = set(offer.lacks) - forgone
    return lacked <= done_elsewhere(offer, [other for other in others if other.tasks[0] == offer.tasks[0]])


def _forgone(options: dict[str, object]) -> set[str]:
    named = options.get(WITHOUT, [])
    if not isinstance(named, Sequence) or isinstance(named, str):
        raise InvalidRequest(f"The option '{WITHOUT}' is a list of what your clients never ask for: tools, seed …", param=WITHOUT)
    return set(map(str, named))


def _why_not(model: ModelDescription, made: Sequence[Offer]) -> YunmoError:
    missing = sorted((offer for offer in made if offer.missing is not None and offer.problem is None), key=lambda offer: -offer.preference)
    if missing:
        return Unavailable(f"'{model.repository}' needs an engine that is not installed: {missing[0].missing}")
    problems = sorted(made, key=lambda offer: -offer.preference)
    if problems:
        return InvalidRequest(f"'{model.repository}' cannot be served: {problems[0].problem}")
    found = ", ".join(model.architectures) or model.library_name or "no config.json, no GGUF file"
    return Unsupported(
        f"No engine here knows '{model.repository}' ({found}). A model needs safetensors with config.json, a GGUF file, a CTranslate2 directory, or a Bergamot model's files."
    )


def apply_options(plan: Plan, options: dict[str, object]) -> Plan:
    """The plan with a deployment's options: the plan's own fields, anything else goes to the engine."""
    fields = {name: value for name, value in options.items() if name in _PLAN_FIELDS and name not in {"engine", "options"}}
    extra = {name: value for name, value in options.items() if name not in _PLAN_FIELDS and name not in {AIM, WITHOUT, DRAFT}}
    given = options.get("options", {})
    if not isinstance(given, dict):
        raise InvalidRequest("'options' within the options must be an object: the engine's own options by name.", param="options")
    extra |= given
    merged = msgspec.to_builtins(plan) | fields | {"options": {**plan.options, **extra}}
    try:
        return msgspec.convert(merged, Plan)
    except msgspec.ValidationError as error:
        reason = str(error).replace("`$.", "`")
        raise InvalidRequest(f"An option of the plan cannot be used: {reason}.", param="options") from error


def _with_plan(offer: Offer, plan: Plan) -> Offer:
    tasks = plan.options.get("tasks") or offer.tasks
    if not isinstance(tasks, Sequence) or isinstance(tasks, str) or not set(map(str, tasks)) <= set(TASKS):
        raise InvalidRequest(f"The option 'tasks' is a list of names of tasks: {', '.join(TASKS)}.", param="options")
    return dataclasses.replace(offer, plan=plan, tasks=tuple(tasks))
