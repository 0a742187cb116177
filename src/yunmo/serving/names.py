"""Whose the names of deployments are: `project/name`, and bare names that lead nowhere else."""

import re

from yunmo.core.errors import Conflict, Forbidden, RepositoryNotFound, RevisionNotFound
from yunmo.core.identity import Principal
from yunmo.hub.models import Models, RevisionRef
from yunmo.hub.names import DEFAULT_NAMESPACE
from yunmo.serving.source import SYSTEM
from yunmo.serving.specification import DeploymentSpec

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?(@[0-9a-f]{40})?")
_RESERVED = frozenset({"moderation"})
"""Bare names that a dialect calls by itself."""


async def check_name(models: Models, principal: Principal, wanted: DeploymentSpec, existing: DeploymentSpec | None) -> None:
    """Raise Forbidden or Conflict unless a project's caller may deploy under this name. A bare name is whose it was first."""
    name = wanted.name.partition("@")[0]
    namespace, slash, bare = name.rpartition("/")
    advice = f"Choose a name of your own, such as --name {principal.project}/{bare}."
    if slash and namespace != principal.project:
        raise Forbidden(f"Names that begin with '{namespace}/' are that project's. {advice}")
    if existing is not None:
        if existing.project != principal.project:
            raise Conflict(f"The name '{name}' is taken by another project. {advice}")
        return
    if name in _RESERVED:
        raise Forbidden(f"The name '{name}' is for the operator to give. {advice}")
    if not slash and await _leads_to_others(models, principal, name):
        raise Conflict(f"'{name}' is the name of a model that others call. {advice}")


def owner(spec: DeploymentSpec) -> str:
    """The project whose repository is deployed."""
    return spec.repository.partition("/")[0]


def is_of_the_owner(spec: DeploymentSpec) -> bool:
    """Whether the owner of the repository has deployed it; of the library's that is the operator."""
    return spec.project == owner(spec) or (owner(spec) == DEFAULT_NAMESPACE and spec.project == SYSTEM.project)


def is_the_owners(spec: DeploymentSpec, ref: RevisionRef, *, is_pinned: bool) -> bool:
    """Whether this is what the repository's owner has deployed of the revision (pinned to it, or following `main`) under another name."""
    is_its = spec.repository == ref.repository and not spec.is_automatic and is_of_the_owner(spec)
    return is_its and (spec.revision == ref.commit if is_pinned else spec.branch == "main")


async def _leads_to_others(models: Models, principal: Principal, name: str) -> bool:
    try:
        ref = await models.find(SYSTEM, name)
    except RepositoryNotFound:
        return False
    except RevisionNotFound:
        return True
    return ref.project != principal.project
