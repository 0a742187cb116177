"""What becomes of a deployment when its repository changes, and when it is deployed again."""

from collections.abc import Collection
from dataclasses import replace

import structlog

from yunmo.core.errors import RevisionNotFound
from yunmo.hub.models import Models, RevisionRef
from yunmo.serving.source import SYSTEM
from yunmo.serving.specification import DeploymentSpec
from yunmo.storage.tables import now

_OF_THE_MODEL = frozenset({"branch", "revision", "options"})
_log = structlog.get_logger()


async def followed(models: Models, spec: DeploymentSpec) -> DeploymentSpec:
    """The deployment as its branch and its repository are by now; one that was made by itself has its repository's name.

    Raises RepositoryNotFound and RevisionNotFound.
    """
    ref = await _newest(models, spec)
    changed = replace(spec, repository=ref.repository, revision=ref.commit, is_private=ref.is_private, is_gated=ref.is_gated)
    if not spec.is_automatic or ref.repository == spec.repository:
        return changed
    return replace(changed, name=ref.repository + spec.name.removeprefix(spec.repository), project=ref.project)


def automatic(ref: RevisionRef, name: str) -> DeploymentSpec:
    """What is deployed by itself when a model is called: under its repository's name it follows `main`, else the revision stays."""
    return DeploymentSpec(
        name=name,
        project=ref.project,
        repository=ref.repository,
        revision=ref.commit,
        created=now(),
        branch="main" if name == ref.repository else None,
        is_private=ref.is_private,
        is_gated=ref.is_gated,
        is_automatic=True,
    )


def kept(before: DeploymentSpec, wanted: DeploymentSpec, keeping: Collection[str], *, is_same_model: bool) -> DeploymentSpec:
    """The wish with what it leaves open as it was; what belongs to a model goes with the model."""
    names = [name for name in keeping if is_same_model or name not in _OF_THE_MODEL]
    fields = {name: getattr(before, name) for name in names}
    return replace(wanted, created=before.created, limits={**before.limits, **wanted.limits}, **fields)


async def _newest(models: Models, spec: DeploymentSpec) -> RevisionRef:
    if spec.branch is not None:
        try:
            return await models.find(SYSTEM, spec.repository, spec.branch)
        except RevisionNotFound:
            _log.debug("branch_gone", deployment=spec.name, branch=spec.branch)
    return await models.find(SYSTEM, spec.repository, spec.revision)
