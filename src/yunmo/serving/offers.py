"""Chooses the engine and the plan for a model among what the installed engines offer."""

import dataclasses
from collections.abc import Sequence

import msgspec

from yunmo.core.engine import EngineKind, Hardware, ModelDescription, Offer, Plan
from yunmo.core.errors import InvalidRequest, Unavailable, Unsupported
from yunmo.core.tasks import TASKS

_PLAN_FIELDS = frozenset(Plan.__struct_fields__)


def choose(model: ModelDescription, hardware: Hardware, kinds: dict[str, EngineKind], options: dict[str, object]) -> Offer:
    """The best offer, with the deployment's options applied to its plan.

    Raises InvalidRequest for a model that no engine may run (with the way to mend it) or for an unknown option,
    Unavailable when the engine it needs is not installed, Unsupported when no engine knows it.
    """
    wanted = options.get("engine")
    if wanted is not None and wanted not in kinds:
        raise InvalidRequest(f"There is no engine '{wanted}'; there are: {', '.join(kinds)}.", param="engine")
    asked = [kinds[str(wanted)]] if wanted is not None else list(kinds.values())
    offers = [offer for kind in asked if (offer := kind.offer(model, hardware)) is not None]
    usable = [offer for offer in offers if offer.problem is None and offer.missing is None]
    if usable:
        best = max(usable, key=lambda offer: offer.preference)
        return _with_plan(best, apply_options(best.plan, options))
    missing = sorted((offer for offer in offers if offer.problem is None), key=lambda offer: -offer.preference)
    if missing:
        raise Unavailable(f"'{model.repository}' needs an engine that is not installed: {missing[0].missing}")
    problems = sorted(offers, key=lambda offer: -offer.preference)
    if problems:
        raise InvalidRequest(f"'{model.repository}' cannot be served: {problems[0].problem}")
    found = ", ".join(model.architectures) or model.library_name or "no config.json, no GGUF file"
    raise Unsupported(
        f"No engine here knows '{model.repository}' ({found}). A model needs safetensors with config.json, a GGUF file, or a CTranslate2 directory."
    )


def apply_options(plan: Plan, options: dict[str, object]) -> Plan:
    """The plan with a deployment's options: the plan's own fields, anything else goes to the engine."""
    fields = {name: value for name, value in options.items() if name in _PLAN_FIELDS and name not in {"engine", "options"}}
    extra = {name: value for name, value in options.items() if name not in _PLAN_FIELDS}
    given = options.get("options")
    if isinstance(given, dict):
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
