"""Promotions: a name moves to another revision while the one before still answers, and back again by one step."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from yunmo.core.errors import Conflict, NotFound, YunmoError
from yunmo.core.identity import Principal
from yunmo.hub.models import Models
from yunmo.serving.deployments import Deployments
from yunmo.serving.names import check_name
from yunmo.serving.specification import DeploymentSpec
from yunmo.serving.store import Place, PromotionStore
from yunmo.serving.wishes import check_wish
from yunmo.storage.tables import now

Guard = Callable[[str, str], Awaitable[str | None]]
"""Says why a revision, given as repository and commit, is not to be promoted; None if it may be."""

_KEPT = ("project", "replicas", "is_pinned")
_log = structlog.get_logger()


class Promotion(msgspec.Struct, frozen=True):
    """What a name stands for, and what it stood for before, both as `ns/name@revision`. `overridden` is what spoke against it, if it was forced."""

    name: str
    model: str
    repository: str
    commit: str
    previous: str | None
    overridden: str | None = None


class Promotions:
    """Moves the names of deployments. Every move is remembered by one step, so that there is always a way back."""

    def __init__(self, store: PromotionStore, deployments: Deployments, models: Models, guard: Guard) -> None:
        self._store = store
        self._deployments = deployments
        self._models = models
        self._guard = guard
        self._moving = asyncio.Lock()

    async def promote(self, principal: Principal, name: str, model: str, *, force: bool = False) -> Promotion:
        """Have the name stand for `ns/name` or `ns/name@revision`, at the commit that this is now. A name that is new is deployed.

        Raises Conflict for a revision that something speaks against, unless it is forced; RepositoryNotFound and RevisionNotFound;
        and whatever keeps a model from being deployed. Nothing has changed then.
        """
        repository, _, revision = model.partition("@")
        ref = await self._models.find(principal, repository, revision or "main")
        problem = await self._guard(ref.repository, ref.commit)
        if problem and not force:
            raise Conflict(
                f"{ref.repository}@{ref.commit[:12]} is not promoted to '{name}'. {problem} Train it again, have it served by another plan, "
                "or promote it all the same with --force (force: true).",
                param="model",
            )
        async with self._moving:
            runner = self._deployments.get(name)
            is_same_model = runner is not None and runner.spec.repository == ref.repository
            options = runner.spec.options if runner is not None and is_same_model else {}
            await self._move(principal, name, Place(ref.repository, ref.commit, options=options))
            return await self._told(name, problem)

    async def back(self, principal: Principal, name: str) -> Promotion:
        """Have the name stand for what it did before; the same again undoes that. Raises NotFound where nothing is remembered."""
        self._check_own(principal, name)
        principal.require("write")
        async with self._moving:
            previous = await self._previous(name)
            if previous is None:
                raise NotFound(f"'{name}' has not been promoted, so there is nothing to go back to.")
            await self._move(principal, name, previous)
            return await self._told(name)

    async def view(self, principal: Principal, name: str) -> Promotion:
        """What the name stands for now, and before. Raises NotFound for another project's."""
        self._check_own(principal, name)
        return await self._told(name)

    async def _move(self, principal: Principal, name: str, target: Place) -> None:
        runner = self._deployments.get(name)
        wanted = DeploymentSpec(
            name=name,
            project=principal.project,
            repository=target.repository,
            revision=target.revision,
            created=now(),
            branch=target.branch or target.revision,
            options=target.options,
        )
        check_wish(principal, wanted)
        if not principal.is_admin:
            await check_name(self._models, principal, wanted, runner.spec if runner else None)
        before = None if runner is None else _place(runner.spec)
        if before == target:
            return
        earlier = await self._store.find(name)
        await self._store.save(name, before)  # first: a crash in between loses a way back, and never leads to a wrong one
        try:
            await self._deployments.create(principal, wanted, keeping=_KEPT)
        except YunmoError:
            await self._store.save(name, earlier)
            raise
        _log.info("promoted", deployment=name, model=target.model, previous=before.model if before else None)

    async def _told(self, name: str, overridden: str | None = None) -> Promotion:
        runner = self._deployments.get(name)
        if runner is None:
            raise NotFound(f"There is no deployment '{name}' any more.")
        place, previous = _place(runner.spec), await self._previous(name)
        return Promotion(name, place.model, place.repository, place.revision, previous.model if previous else None, overridden)

    async def _previous(self, name: str) -> Place | None:
        runner, previous = self._deployments.get(name), await self._store.find(name)
        return None if runner is not None and previous == _place(runner.spec) else previous

    def _check_own(self, principal: Principal, name: str) -> None:
        view = self._deployments.view(principal, name)
        if view.project is msgspec.UNSET:
            raise NotFound(f"There is no deployment '{name}' in your project.")


def _place(spec: DeploymentSpec) -> Place:
    return Place(spec.repository, spec.revision, spec.branch, spec.options)
