"""Deployments: create, list, change, delete; automatic ones at a model's first request; following branches."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import structlog

from yunmo.core.engine import Offer
from yunmo.core.errors import Conflict, InvalidRequest, ModelNotFound, NotFound, RepositoryNotFound, RevisionNotFound, YunmoError
from yunmo.core.identity import Principal
from yunmo.hub.models import Models as HubModels
from yunmo.hub.models import RevisionRef
from yunmo.serving.adapters import BASE, AdapterRunner, find_base, is_adapter, with_base
from yunmo.serving.calibration.report import CalibrationView
from yunmo.serving.drafts import offers_of, pinned
from yunmo.serving.ending import log_end
from yunmo.serving.following import automatic, followed, kept
from yunmo.serving.laid_out import LaidOut
from yunmo.serving.names import check_name, is_of_the_owner, is_the_owners, owner
from yunmo.serving.offers import AIM
from yunmo.serving.runner import Runner
from yunmo.serving.source import ECHO_REVISION
from yunmo.serving.specification import ECHO, DeploymentSpec, DeploymentView
from yunmo.serving.store import DeploymentStore
from yunmo.serving.wishes import check_wish
from yunmo.serving.world import World

_log = structlog.get_logger()


class Deployments:
    """All deployments of this server. First `restore`, then `run`."""

    def __init__(
        self,
        store: DeploymentStore,
        models: HubModels,
        world: World,
        *,
        auto_deploy: bool,
        follow_seconds: float,
        cache_seconds: float,
    ) -> None:
        self._store = store
        self._models = models
        self._world = world
        self._auto_deploy = auto_deploy
        self._follow_seconds = follow_seconds
        self._laid_out = LaidOut(world.cache, cache_seconds)
        self._runners: dict[str, Runner] = {}
        self._group: asyncio.TaskGroup | None = None
        self._deploying = asyncio.Lock()
        self._offers: dict[tuple[str, str], tuple[str | None, Offer]] = {}

    # ------------------------------------------------------------ what dialects ask

    async def create(self, principal: Principal, wanted: DeploymentSpec, keeping: Collection[str] = ()) -> DeploymentView:
        """Deploy a model under a name; the same wish again is a no-op, another one under the same name changes it.

        Of a deployment that is there, the fields named in `keeping` stay, and so do limits that are not given.
        Raises Forbidden and Conflict for a name that is another's, and the reason why the model cannot be served (format, engine,
        memory), before anything is kept.
        """
        check_wish(principal, wanted)
        async with self._deploying:
            existing = self._runners.get(wanted.name)
            if not principal.is_admin:
                await check_name(self._models, principal, wanted, existing.spec if existing else None)
            spec = await self._resolve(principal, wanted)
            if existing is not None:
                spec = await self._resolve(
                    principal, kept(existing.spec, wanted, keeping, is_same_model=spec.repository == existing.spec.repository)
                )
            spec = await self._fitting(spec)
            if existing is not None and isinstance(existing, AdapterRunner) != (BASE in spec.options):
                raise Conflict(
                    f"'{spec.name}' is the name of {'an adapter' if BASE not in spec.options else 'a whole model'}: undeploy that first."
                )
            base = await self._base_of(spec)
            await self._store.save(spec)
            runner = self._start(spec) if existing is None else existing
            if existing is not None:
                existing.change(spec)
            _attach(runner, base)
        runner.wake()
        return runner.view()

    async def change(self, principal: Principal, name: str, changes: dict[str, Any]) -> DeploymentView:
        """Change a deployment's replicas, revision, pinning, options or limits."""
        runner = self._owned(principal, name)
        spec = replace(runner.spec, **changes)
        check_wish(principal, spec)
        spec = await self._resolve(principal, spec) if "branch" in changes or "revision" in changes else spec
        spec = await self._fitting(spec)
        async with self._deploying:
            runner = self._owned(principal, name)
            base = await self._base_of(spec)
            await self._store.save(spec)
            runner.change(spec)
            _attach(runner, base)
        return runner.view()

    async def delete(self, principal: Principal, name: str) -> None:
        """Stop and forget a deployment; requests in work finish first."""
        runner = self._owned(principal, name)
        async with self._deploying:
            await self._store.delete(runner.spec.project, name)
            self._runners.pop(name, None)
        await runner.end()

    def list(self, principal: Principal) -> list[DeploymentView]:
        """Every deployment that the caller may see, by name; of other projects' only what a caller needs."""
        runners = [self._runners[name] for name in sorted(self._runners)]
        return [_view(principal, runner) for runner in runners if self.is_visible(principal, runner.spec)]

    def view(self, principal: Principal, name: str) -> DeploymentView:
        """One deployment; another project's without its details."""
        return _view(principal, self._seen(principal, name))

    def log(self, principal: Principal, name: str, tail_bytes: int) -> str:
        """The end of what the deployment's workers printed."""
        return log_end(self._owned(principal, name).log_path(), tail_bytes)

    def calibration(self, principal: Principal, name: str) -> CalibrationView:
        """What was measured of a deployment's plans, and what is being measured."""
        return self._world.calibrations.view(self._at_home(principal, name).spec)

    async def calibrate(self, principal: Principal, name: str, seconds: float | None, aim: str | None) -> CalibrationView:
        """Measure the deployment's plans, again if need be; with an aim, the deployment has it from now on."""
        if name not in self._runners:
            name = (await self.find_or_deploy(principal, name)).spec.name
        runner = self._owned(principal, name)
        if isinstance(runner, AdapterRunner):
            raise InvalidRequest(f"'{name}' is an adapter and runs by its base's plan. Calibrate its base, {runner.spec.options[BASE]}.")
        if aim is not None and aim != runner.spec.options.get(AIM):
            await self.change(principal, name, {"options": {**runner.spec.options, AIM: aim}})
        description, offers = await offers_of(self._world, runner.spec)
        self._world.calibrations.want(runner, description, offers, seconds)
        return self._world.calibrations.view(runner.spec)

    # ------------------------------------------------------------ what inference asks

    def get(self, name: str) -> Runner | None:
        return self._runners.get(name)

    def runners(self) -> Iterable[Runner]:
        return list(self._runners.values())

    def is_visible(self, principal: Principal, spec: DeploymentSpec) -> bool:
        """Private models are seen by the projects that deployed and that own them, and by the admin only."""
        return not spec.is_private or principal.is_admin or principal.project in {spec.project, owner(spec)}

    async def check_access(self, principal: Principal, runner: Runner) -> None:
        """Raise Gated where the model's owner has not let the caller's project in, RepositoryNotFound where it is gone.

        An adapter is no way to a base that is closed to the caller.
        """
        await self._models.find(principal, runner.spec.repository, runner.spec.revision)
        if isinstance(runner, AdapterRunner):
            if not runner.is_attached:
                async with self._deploying:
                    _attach(runner, await self._base_of(runner.spec))
            if runner.base is not None:
                await self._models.find(principal, runner.base.spec.repository, runner.base.spec.revision)

    async def find_or_deploy(self, principal: Principal, model: str) -> Runner:
        """The runner behind a repository's name, bare name, alias or `name@revision`, deployed now if need be."""
        name, _, revision = model.partition("@")
        ref = await self._models.find(principal, name, revision or "main")
        async with self._deploying:
            return await self._deployed(ref, model)

    async def _deployed(self, ref: RevisionRef, model: str) -> Runner:
        """The runner of what `model` was found to be, made now if there is none. Hold the lock."""
        is_pinned_revision = "@" in model
        canonical = f"{ref.repository}@{ref.commit}" if is_pinned_revision else ref.repository
        of_the_owner = (each for each in self._runners.values() if is_the_owners(each.spec, ref, is_pinned=is_pinned_revision))
        runner = self._runners.get(canonical) or next(of_the_owner, None)
        if runner is not None:
            return runner
        if not self._auto_deploy:
            raise ModelNotFound(f"'{model}' is in the hub but not deployed. Deploy it with 'yunmo deploy {ref.repository}'.", param="model")
        spec = await self._fitting(automatic(ref, canonical))
        base = await self._base_of(spec)
        await self._store.save(spec)
        runner = self._start(spec)
        _attach(runner, base)
        return runner

    @property
    def writes(self) -> int:
        """As long as this number is the same, this process has made, changed and named nothing."""
        return self._models.database.writes

    async def deployable(self, principal: Principal) -> Sequence[RevisionRef]:
        """The models of the hub that the caller may call by name though nobody has deployed them yet."""
        if not self._auto_deploy:
            return []
        deployed = {runner.spec.repository for runner in self._runners.values() if runner.spec.is_automatic or is_of_the_owner(runner.spec)}
        return [ref for ref in await self._models.list(principal) if ref.repository not in deployed]

    async def look_at(self, runner: Runner) -> None:
        """Find out what the runner's model can do, without loading it. Raises the reason why it cannot be served."""
        if isinstance(runner, AdapterRunner):
            runner = runner.base or runner
        await self._check_fit(replace(runner.spec, replicas=1))
        self._prefill(runner)

    # ------------------------------------------------------------ its life

    async def restore(self) -> None:
        """Know again what was deployed when the server stopped; before any request, which would not find its model."""
        for spec in await self._store.every():
            self._start(spec)
        await self._catch_up_all()
        for runner in self.runners():
            await self._attach_again(runner)

    async def _attach_again(self, runner: Runner) -> None:
        try:
            async with self._deploying:
                _attach(runner, await self._base_of(runner.spec))
        except YunmoError as error:  # its own calls are told, and try again
            _log.warning("adapter_without_base", deployment=runner.spec.name, error=error.message)

    async def run(self) -> None:
        """Bring up what is deployed, and keep it up until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for runner in self._runners.values():
                group.create_task(self._live(runner))
            group.create_task(self._laid_out.tidy(self._wanted_revisions))
            await self._follow()

    async def close(self) -> None:
        """Let requests in work finish and stop every replica."""
        await asyncio.gather(*(runner.end() for runner in self._runners.values()))

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._follow_seconds)
            await self._catch_up_all()

    async def _catch_up_all(self) -> None:
        for runner in list(self._runners.values()):
            try:
                await self._catch_up(runner)
            except YunmoError as error:
                _log.warning("revision_not_followed", deployment=runner.spec.name, error=error.message)

    async def sweep(self) -> int:
        """Remove from the cache what no deployment has wanted for long; how many folders went."""
        return await self._laid_out.sweep(self._wanted_revisions)

    def _wanted_revisions(self) -> set[str]:
        return {revision for runner in self._runners.values() for revision in runner.revisions()}

    async def _catch_up(self, runner: Runner) -> None:
        """Serve what the deployment's branch names by now, as its repository is called and guarded by now."""
        spec = runner.spec
        if spec.repository == ECHO:
            return
        try:
            changed = await followed(self._models, spec)
        except RevisionNotFound:
            return
        except RepositoryNotFound:
            changed = None
        if changed == spec and not runner.withdrawn:
            return
        async with self._deploying:
            if self._runners.get(spec.name) is not runner or runner.spec is not spec:
                return  # deleted or changed meanwhile; the next look sees it
            if changed is None:
                await self._give_up(runner)
            elif changed.name != spec.name:
                await self._succeed(runner, changed)
            else:
                _log.info("revision_changed", deployment=spec.name, revision=changed.revision)
                await self._store.save(changed)
                runner.change(changed)

    async def _give_up(self, runner: Runner) -> None:
        """The repository is gone: so is what was deployed for it by itself, and what people deployed says so."""
        spec = runner.spec
        if spec.is_automatic:
            _log.info("undeployed_with_its_repository", deployment=spec.name)
            await self._remove(runner)
        elif not runner.withdrawn:
            runner.withdraw(f"the repository was deleted or closed: {spec.repository}")

    async def _succeed(self, runner: Runner, spec: DeploymentSpec) -> None:
        """The repository was renamed, and with it the deployment that bears its name."""
        _log.info("deployment_renamed", deployment=runner.spec.name, to=spec.name)
        await self._remove(runner)
        if spec.name not in self._runners:
            await self._store.save(spec)
            successor = self._start(spec)
            if runner.is_awake:
                successor.wake()

    async def _remove(self, runner: Runner) -> None:
        await self._store.delete(runner.spec.project, runner.spec.name)
        self._runners.pop(runner.spec.name)
        if self._group is not None:
            self._group.create_task(runner.end())

    def _start(self, spec: DeploymentSpec) -> Runner:
        runner = AdapterRunner(spec, self._world) if BASE in spec.options else Runner(spec, self._world)
        self._runners[spec.name] = runner
        self._prefill(runner)
        if self._group is not None:
            self._group.create_task(self._live(runner))
        return runner

    def _prefill(self, runner: Runner) -> None:
        found = self._offers.get((runner.spec.repository, runner.spec.revision))
        if found is not None:
            runner.pipeline_tag, runner.offer = found
            runner.takes_adapters = runner.offer.takes_adapters

    async def _live(self, runner: Runner) -> None:
        try:
            await runner.run()
        except Exception as error:  # boundary: worker loop, one deployment's bug must not stop the others
            _log.exception("deployment_crashed", deployment=runner.spec.name)
            runner.state, runner.reason = "failed", f"an error of ours: {type(error).__name__}; see the server's log"

    # ------------------------------------------------------------ checks

    async def _fitting(self, spec: DeploymentSpec) -> DeploymentSpec:
        """The deployment as it can be served, an adapter's with its base. Raises the reason why it cannot."""
        if is_adapter(description := await self._world.models.describe(spec)):
            return with_base(spec, description)
        spec = await pinned(self._world.models, spec)
        await self._check_fit(spec)
        return spec

    async def _base_of(self, spec: DeploymentSpec) -> Runner | None:
        """The runner of an adapter's base, deployed now if need be; None for whole models. Hold the lock."""
        if BASE not in spec.options:
            return None
        ref = await find_base(self._models, spec)
        base = await self._deployed(ref, str(spec.options[BASE]))
        if base.offer is None:
            await self.look_at(base)
        return base

    async def _check_fit(self, spec: DeploymentSpec) -> None:
        description, (offer, *_) = await offers_of(self._world, spec)
        self._world.memory.check(spec.name, offer.memory_bytes, spec.replicas)
        self._offers[(spec.repository, spec.revision)] = (description.pipeline_tag, offer)

    async def _resolve(self, principal: Principal, spec: DeploymentSpec) -> DeploymentSpec:
        if spec.repository == ECHO:
            return replace(spec, revision=ECHO_REVISION, branch=None)
        wanted = spec.branch or spec.revision or "main"
        ref = await self._models.find(principal, spec.repository, wanted)
        is_commit = ref.commit.startswith(wanted)
        return replace(
            spec,
            repository=ref.repository,
            revision=ref.commit,
            branch=None if is_commit else wanted,
            is_private=ref.is_private,
            is_gated=ref.is_gated,
        )

    def _owned(self, principal: Principal, name: str) -> Runner:
        runner = self._at_home(principal, name)
        principal.require("write")
        return runner

    def _at_home(self, principal: Principal, name: str) -> Runner:
        runner = self._seen(principal, name)
        if not _is_at_home(principal, runner):
            raise NotFound(f"There is no deployment '{name}' in your project.")
        return runner

    def _seen(self, principal: Principal, name: str) -> Runner:
        runner = self._runners.get(name)
        if runner is None or not self.is_visible(principal, runner.spec):
            raise NotFound(f"There is no deployment '{name}'. 'yunmo ps' lists them.")
        return runner


def _attach(runner: Runner, base: Runner | None) -> None:
    if isinstance(runner, AdapterRunner) and base is not None:
        runner.attach(base)


def _view(principal: Principal, runner: Runner) -> DeploymentView:
    return runner.view() if _is_at_home(principal, runner) else runner.view().for_strangers()


def _is_at_home(principal: Principal, runner: Runner) -> bool:
    """Whether the deployment is the caller's own to look into."""
    return principal.is_admin or principal.project == runner.spec.project
