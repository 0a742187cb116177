"""Deployments: create, list, change, delete; automatic ones at a model's first request; following branches."""

import asyncio
import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from yunmo.core.engine import ModelDescription, Offer
from yunmo.core.errors import Conflict, InvalidRequest, ModelNotFound, NotFound, RepositoryNotFound, RevisionNotFound, YunmoError
from yunmo.core.identity import Limits, Principal
from yunmo.hub.models import Models as HubModels
from yunmo.hub.models import RevisionRef
from yunmo.serving.runner import Runner, World
from yunmo.serving.specification import ECHO, DeploymentSpec, DeploymentView
from yunmo.serving.store import DeploymentStore
from yunmo.storage.tables import now

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?(@[0-9a-f]{40})?")
_ECHO_REVISION = "builtin"
_log = structlog.get_logger()


class HubSource:
    """Where runners get models from: the hub, and the built-in echo model."""

    def __init__(self, models: HubModels) -> None:
        self._models = models
        self.refs: dict[tuple[str, str], RevisionRef] = {}

    async def describe(self, spec: DeploymentSpec) -> ModelDescription:
        """The model's description."""
        if spec.repository == ECHO:
            return ModelDescription(repository=ECHO, revision=_ECHO_REVISION, files={}, pipeline_tag="text-classification")
        return await self._models.describe(await self._ref(spec))

    async def lay_out(self, spec: DeploymentSpec, files: tuple[str, ...], directory: Path) -> None:
        """Put the files there; all of them if none are named."""
        if spec.repository == ECHO:
            return
        ref = await self._ref(spec)
        paths = files or tuple((await self._models.describe(ref)).files)
        await self._models.lay_out(ref, paths, directory)

    async def _ref(self, spec: DeploymentSpec) -> RevisionRef:
        key = (spec.repository, spec.revision)
        if key not in self.refs:
            self.refs[key] = await self._models.find(_SYSTEM, spec.repository, spec.revision)
        return self.refs[key]


_SYSTEM = Principal(project="admin", key_id="system", scopes=frozenset({"admin"}))


class Deployments:
    """All deployments of this server. First `restore`, then `run`."""

    def __init__(self, store: DeploymentStore, models: HubModels, world: World, *, auto_deploy: bool, follow_seconds: float) -> None:
        self._store = store
        self._models = models
        self._world = world
        self._auto_deploy = auto_deploy
        self._follow_seconds = follow_seconds
        self._runners: dict[str, Runner] = {}
        self._group: asyncio.TaskGroup | None = None
        self._deploying = asyncio.Lock()
        self._offers: dict[tuple[str, str], tuple[str | None, Offer]] = {}

    # ------------------------------------------------------------ what dialects ask

    async def create(self, principal: Principal, wanted: DeploymentSpec) -> DeploymentView:
        """Deploy a model under a name; the same wish again is a no-op, another one under the same name changes it.

        Raises the reason why the model cannot be served (format, engine, memory) before anything is kept.
        """
        self._check(principal, wanted)
        async with self._deploying:
            spec = await self._resolve(principal, wanted)
            existing = self._runners.get(spec.name)
            if existing is not None and existing.spec.project != spec.project and not principal.is_admin:
                raise Conflict(f"The name '{spec.name}' is taken by another project. Choose another with --name.")
            self._check_fit(spec, await self._world.models.describe(spec))
            await self._store.save(spec)
            runner = self._start(spec) if existing is None else existing
            if existing is not None:
                existing.change(replace(spec, created=existing.spec.created))
        runner.wake()
        return runner.view()

    async def change(self, principal: Principal, name: str, changes: dict[str, Any]) -> DeploymentView:
        """Change a deployment's replicas, revision, pinning, options or limits."""
        runner = self._owned(principal, name)
        spec = replace(runner.spec, **changes)
        self._check(principal, spec)
        spec = await self._resolve(principal, spec) if "branch" in changes or "revision" in changes else spec
        self._check_fit(spec, await self._world.models.describe(spec))
        async with self._deploying:
            runner = self._owned(principal, name)
            await self._store.save(spec)
            runner.change(spec)
        return runner.view()

    async def delete(self, principal: Principal, name: str) -> None:
        """Stop and forget a deployment; requests in work finish first."""
        runner = self._owned(principal, name)
        async with self._deploying:
            await self._store.delete(runner.spec.project, name)
            self._runners.pop(name, None)
        await runner.end()

    def list(self, principal: Principal) -> list[DeploymentView]:
        """Every deployment that the caller may see, by name."""
        return [self._runners[name].view() for name in sorted(self._runners) if self.is_visible(principal, self._runners[name].spec)]

    def view(self, principal: Principal, name: str) -> DeploymentView:
        """One deployment."""
        return self._seen(principal, name).view()

    def log(self, principal: Principal, name: str, tail_bytes: int) -> str:
        """The end of what the deployment's workers printed."""
        path = self._owned(principal, name).log_path()
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - tail_bytes))
            return file.read().decode(errors="replace")

    # ------------------------------------------------------------ what inference asks

    def get(self, name: str) -> Runner | None:
        return self._runners.get(name)

    def runners(self) -> Iterable[Runner]:
        return list(self._runners.values())

    def is_visible(self, principal: Principal, spec: DeploymentSpec) -> bool:
        """Private models are seen by their project and the admin only."""
        return not spec.is_private or principal.is_admin or principal.project == spec.project

    async def find_or_deploy(self, principal: Principal, model: str) -> Runner:
        """The runner behind a repository's name, bare name, alias or `name@revision`, deployed now if need be."""
        name, _, revision = model.partition("@")
        ref = await self._models.find(principal, name, revision or "main")
        canonical = f"{ref.repository}@{ref.commit}" if revision else ref.repository
        async with self._deploying:
            runner = self._runners.get(canonical) or self._by_repository(ref, is_pinned_revision=bool(revision))
            if runner is not None:
                return runner
            if not self._auto_deploy:
                raise ModelNotFound(
                    f"'{model}' is in the hub but not deployed. Deploy it with 'yunmo deploy {ref.repository}'.", param="model"
                )
            spec = DeploymentSpec(
                name=canonical,
                project=ref.project,
                repository=ref.repository,
                revision=ref.commit,
                created=now(),
                branch=None if revision else "main",
                is_private=ref.is_private,
                is_automatic=True,
            )
            description = await self._world.models.describe(spec)
            self._check_fit(spec, description)
            await self._store.save(spec)
            return self._start(spec)

    async def deployable(self, principal: Principal) -> Sequence[RevisionRef]:
        """The models of the hub that the caller may call by name though nobody has deployed them yet."""
        if not self._auto_deploy:
            return []
        deployed = {runner.spec.repository for runner in self._runners.values()}
        return [ref for ref in await self._models.list(principal) if ref.repository not in deployed]

    async def look_at(self, runner: Runner) -> None:
        """Find out what the runner's model can do, without loading it. Raises the reason why it cannot be served."""
        self._check_fit(runner.spec, await self._world.models.describe(runner.spec))
        self._prefill(runner)

    # ------------------------------------------------------------ its life

    async def restore(self) -> None:
        """Know again what was deployed when the server stopped; before any request, which would not find its model."""
        for spec in await self._store.every():
            self._start(spec)

    async def run(self) -> None:
        """Bring up what is deployed, and keep it up until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for runner in self._runners.values():
                group.create_task(self._live(runner))
            await self._follow()

    async def close(self) -> None:
        """Let requests in work finish and stop every replica."""
        await asyncio.gather(*(runner.end() for runner in self._runners.values()))

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._follow_seconds)
            for runner in list(self._runners.values()):
                try:
                    await self._catch_up(runner)
                except YunmoError as error:
                    _log.warning("revision_not_followed", deployment=runner.spec.name, error=error.message)

    async def _catch_up(self, runner: Runner) -> None:
        """Serve what the deployment's branch names by now."""
        spec = runner.spec
        if spec.branch is None or spec.repository == ECHO:
            return
        try:
            ref = await self._models.find(_SYSTEM, spec.repository, spec.branch)
        except (RepositoryNotFound, RevisionNotFound):
            return
        if ref.commit == spec.revision and ref.is_private == spec.is_private:
            return
        changed = replace(spec, revision=ref.commit, is_private=ref.is_private)
        async with self._deploying:
            if self._runners.get(spec.name) is not runner or runner.spec is not spec:
                return  # deleted or changed meanwhile; the next look sees it
            _log.info("revision_changed", deployment=spec.name, revision=ref.commit)
            await self._store.save(changed)
            runner.change(changed)

    def _start(self, spec: DeploymentSpec) -> Runner:
        runner = Runner(spec, self._world)
        self._runners[spec.name] = runner
        self._prefill(runner)
        if self._group is not None:
            self._group.create_task(self._live(runner))
        return runner

    def _prefill(self, runner: Runner) -> None:
        found = self._offers.get((runner.spec.repository, runner.spec.revision))
        if found is not None:
            runner.pipeline_tag, runner.offer = found

    async def _live(self, runner: Runner) -> None:
        try:
            await runner.run()
        except Exception as error:  # boundary: worker loop, one deployment's bug must not stop the others
            _log.exception("deployment_crashed", deployment=runner.spec.name)
            runner.state, runner.reason = "failed", f"an error of ours: {type(error).__name__}; see the server's log"

    # ------------------------------------------------------------ checks

    def _check(self, principal: Principal, spec: DeploymentSpec) -> None:
        principal.require("write")
        if not principal.is_admin and spec.project != principal.project:
            raise NotFound(f"There is no deployment '{spec.name}' in your project.")
        if not _NAME.fullmatch(spec.name):
            raise InvalidRequest(
                f"'{spec.name}' cannot be a deployment's name: use letters, digits, '.', '_', '-', at most one '/'.", param="name"
            )
        if not 1 <= spec.replicas <= 64:
            raise InvalidRequest("replicas must be from 1 to 64.", param="replicas")
        known = {field.name for field in dataclasses.fields(Limits)}
        if set(spec.limits) - known:
            raise InvalidRequest(f"limits takes {', '.join(sorted(known))}.", param="limits")
        spec.ceilings().check()

    def _check_fit(self, spec: DeploymentSpec, description: ModelDescription) -> None:
        offer = self._world.choose(description, spec)
        self._world.memory.check(spec.name, offer.memory_bytes)
        self._offers[(spec.repository, spec.revision)] = (description.pipeline_tag, offer)

    async def _resolve(self, principal: Principal, spec: DeploymentSpec) -> DeploymentSpec:
        if spec.repository == ECHO:
            return replace(spec, revision=_ECHO_REVISION, branch=None)
        wanted = spec.branch or spec.revision or "main"
        ref = await self._models.find(principal, spec.repository, wanted)
        is_commit = ref.commit.startswith(wanted)
        return replace(
            spec, repository=ref.repository, revision=ref.commit, branch=None if is_commit else wanted, is_private=ref.is_private
        )

    def _by_repository(self, ref: RevisionRef, *, is_pinned_revision: bool) -> Runner | None:
        for runner in self._runners.values():
            spec = runner.spec
            if spec.repository != ref.repository or spec.is_automatic:
                continue
            if (is_pinned_revision and spec.revision == ref.commit) or (not is_pinned_revision and spec.branch == "main"):
                return runner
        return None

    def _owned(self, principal: Principal, name: str) -> Runner:
        runner = self._seen(principal, name)
        if not principal.is_admin and runner.spec.project != principal.project:
            raise NotFound(f"There is no deployment '{name}' in your project.")
        principal.require("write")
        return runner

    def _seen(self, principal: Principal, name: str) -> Runner:
        runner = self._runners.get(name)
        if runner is None or not self.is_visible(principal, runner.spec):
            raise NotFound(f"There is no deployment '{name}'. 'yunmo ps' lists them.")
        return runner
