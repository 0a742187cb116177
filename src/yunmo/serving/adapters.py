"""Deployments of LoRA adapters: under names of their own, answered by the replicas of their base."""

import time
from dataclasses import replace
from typing import Any

import msgspec

from yunmo.core.engine import ModelDescription
from yunmo.core.errors import Gated, InvalidRequest, RepositoryNotFound, RevisionNotFound, Unavailable, Unsupported, YunmoError
from yunmo.core.identity import Principal
from yunmo.core.lora import CONFIG_FILE, WEIGHTS_FILE, Lora, read_lora
from yunmo.core.tasks import Chat, Generate, Request
from yunmo.hub.models import Models, RevisionRef
from yunmo.serving.names import owner
from yunmo.serving.router import Flight, Router, Sink
from yunmo.serving.runner import Runner
from yunmo.serving.source import SYSTEM
from yunmo.serving.specification import DeploymentSpec, DeploymentView, public_reason
from yunmo.serving.world import World

BASE = "base"
"""The one option of an adapter's deployment: the model that carries it, if not the one that its adapter_config.json names."""


def is_adapter(description: ModelDescription) -> bool:
    """Whether the repository holds an adapter and no model."""
    return CONFIG_FILE in description.files and "config.json" not in description.files


def with_base(spec: DeploymentSpec, description: ModelDescription) -> DeploymentSpec:
    """An adapter's deployment with its base in it. Raises InvalidRequest for what cannot be served, or an option that it does not have."""
    lora = _lora(description)
    unknown = sorted(set(spec.options) - {BASE})
    if unknown or spec.replicas != 1:
        raise InvalidRequest(
            f"'{spec.name}' is an adapter, which its base's replicas carry: its one option is `{BASE}`. Give the others to the base's deployment.",
            param=unknown[0] if unknown else "replicas",
        )
    named = spec.options.get(BASE) or (f"{lora.base}@{lora.revision}" if lora.revision else lora.base)
    if not isinstance(named, str):
        raise InvalidRequest(f"The option '{BASE}' is the name of a model.", param=BASE)
    return replace(spec, options={BASE: named})


async def find_base(models: Models, spec: DeploymentSpec) -> RevisionRef:
    """The base of an adapter's deployment, which the adapter's owner must be able to use. Raises InvalidRequest if it is not here."""
    name, _, revision = str(spec.options[BASE]).partition("@")
    reader = Principal(owner(spec), SYSTEM.key_id, frozenset({"read", "infer"}))
    try:
        ref = await models.find(reader, name, revision or "main")
    except (RepositoryNotFound, RevisionNotFound, Gated):
        raise InvalidRequest(
            f"'{spec.repository}' is an adapter of '{spec.options[BASE]}', which is not here, or '{owner(spec)}' may not use it. Push the "
            f"base under that name, give it an alias, or deploy the adapter with --option {BASE}=NAME.",
            param="model",
        ) from None
    if is_adapter(await models.describe(ref)):
        raise InvalidRequest(f"'{spec.repository}' is an adapter of '{ref.repository}', which is an adapter itself. Merge the two.")
    return ref


def _lora(description: ModelDescription) -> Lora:
    config = description.documents.get(CONFIG_FILE)
    if not isinstance(config, dict):
        raise InvalidRequest(f"The {CONFIG_FILE} of '{description.repository}' cannot be read.")
    if WEIGHTS_FILE not in description.files:
        raise InvalidRequest(f"'{description.repository}' has no {WEIGHTS_FILE}. Save the adapter as safetensors.")
    return read_lora(config)


def _as_base(name: str) -> Any:
    """What the base is, its adapter is; what was set here counts while there is no base."""

    def read(runner: "AdapterRunner") -> Any:
        return vars(runner)[name] if runner.base is None else getattr(runner.base, name)

    def write(runner: "AdapterRunner", value: Any) -> None:
        vars(runner)[name] = value

    return property(read, write)


class AdapterRunner(Runner):
    """An adapter's deployment at work. It has no replicas and no life of its own; `attach` comes before a request."""

    base: Runner | None = None
    state = _as_base("state")
    reason = _as_base("reason")
    progress = _as_base("progress")
    offer = _as_base("offer")
    pipeline_tag = _as_base("pipeline_tag")

    def __init__(self, spec: DeploymentSpec, world: World) -> None:
        super().__init__(spec, world)
        self._on = ""
        self._way = _Way(spec, world.queue_limit)
        self.router = self._way

    def view(self) -> DeploymentView:
        """What people are shown; its memory is foretold as its base's."""
        return msgspec.structs.replace(super().view(), predicted_bytes=0)

    @property
    def is_attached(self) -> bool:
        """Whether the base is there, and is still what the adapter was made for."""
        base = self.base
        return base is not None and not base.ended.is_set() and not base.withdrawn and base.spec.repository == self._on

    def attach(self, base: Runner) -> None:
        """Be carried by this base from now on. Raises Unsupported if its engine takes no adapters, Conflict if it has too many."""
        if base.offer is not None and not base.takes_adapters:
            raise Unsupported(
                f"'{self.spec.name}' is an adapter of '{base.spec.name}', which the engine {base.offer.engine} runs here: it takes no adapters. "
                "llama_cpp does, for decoders of the Llama, Mistral, Qwen, SmolLM and Gemma families."
            )
        if base is not self.base:
            self._leave()
            self.base = base
        self._on = base.spec.repository
        base.carry(self.spec)
        self._way.lead_to(base.router, self.spec.revision)

    def wake(self) -> None:
        """A request is there. Raises Unavailable if the base cannot answer, or cannot carry the adapter."""
        self.last_used = time.time()
        if self.withdrawn:
            raise Unavailable(f"'{self.spec.name}' cannot answer: {self.withdrawn}")
        if self.base is None or not self.is_attached:
            raise Unavailable(f"The base of '{self.spec.name}' is being deployed anew. Try again shortly.", retry_after_seconds=1)
        if not self._way.is_open and self.base.guests.problem:
            reason = public_reason(self.base.guests.problem)
            raise Unavailable(f"'{self.spec.name}' cannot answer: {reason}", retry_after_seconds=60)
        self.base.wake()
        if not self._way.is_open:
            self.base.reconsider()

    @property
    def limited(self) -> Runner:
        """Its own, or else its base's: an adapter is no way around them."""
        return self if self.base is None or self.spec.limits else self.base

    def change(self, spec: DeploymentSpec) -> None:
        """Become this from now on; the revision that was served goes on until the base carries the new one."""
        is_same_base = spec.options == self.spec.options
        self.spec, self.ceilings, self.withdrawn = spec, spec.ceilings(), ""
        if not is_same_base:
            self._leave()
        elif self.base is not None:
            self.attach(self.base)

    def withdraw(self, reason: str) -> None:
        self._leave()
        self.withdrawn = reason
        self.state, self.reason = "failed", reason

    def revisions(self) -> set[str]:
        return {self.spec.revision}

    async def run(self) -> None:
        """Wait for the end: all that happens, happens to the base."""
        await self._ending.wait()
        self._leave()
        self.ended.set()

    def _leave(self) -> None:
        self.router.fail_waiting(Unavailable(f"'{self.spec.name}' is not served any more."))
        if self.base is not None:
            self.base.guests.remove(self.spec.name)
            self.base.reconsider()
        self.base = None


class _Way(Router):
    """Where an adapter's requests go: to its base's router, with the name of the adapter on them."""

    def __init__(self, spec: DeploymentSpec, queue_limit: int) -> None:
        super().__init__(spec.name, queue_limit)
        self._base: Router | None = None
        self._adapter = ""
        self._before = ""

    def lead_to(self, base: Router, adapter: str) -> None:
        """Ask for this adapter from now on, and for the one before until the base has it."""
        if base is not self._base:
            self._base, self._before = base, ""
        elif adapter != self._adapter:
            self._before = self._adapter
        self._adapter = adapter

    @property
    def is_open(self) -> bool:
        """Whether the base has the adapter, or the one before."""
        return self._base is not None and (self._base.carries(self._adapter) or self._base.carries(self._before))

    def submit(self, request: Request, sink: Sink, *, can_wait: bool = False) -> Flight:
        if self._base is None or not isinstance(request, Chat | Generate):
            raise Unsupported("An adapter chats and generates, and does nothing else.", param="model")
        is_before = not self._base.carries(self._adapter) and self._base.carries(self._before)
        named = msgspec.structs.replace(request, adapter=self._before if is_before else self._adapter)
        return self._base.submit_adapted(named, sink, can_wait=can_wait)

    def fail_waiting(self, error: YunmoError) -> None:
        if self._base is not None:
            self._base.fail_held(error, self._adapter)
