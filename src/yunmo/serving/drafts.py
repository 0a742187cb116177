"""Draft models: small ones of another repository that propose what a deployment's model then says or does not say.

The option `draft` names one. It is pinned to a commit, must be open to the deployment's project whenever a replica starts, is
laid out beside the model and counted in a replica's memory. Each plan that takes a draft is offered with it and without.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec

from yunmo.core.engine import Draft, ModelDescription, Offer
from yunmo.core.errors import Gated, InvalidRequest, RepositoryNotFound, RevisionNotFound, YunmoError
from yunmo.serving.offers import DRAFT
from yunmo.serving.specification import DeploymentSpec
from yunmo.serving.world import Models, World


async def pinned(models: Models, spec: DeploymentSpec) -> DeploymentSpec:
    """The deployment with its draft's commit in its options. Raises InvalidRequest for a draft that cannot be one."""
    if DRAFT not in spec.options:
        return spec
    draft = await _found(models, spec)
    return replace(spec, options={**spec.options, DRAFT: f"{draft.repository}@{draft.revision}"})


async def offers_of(world: World, spec: DeploymentSpec) -> tuple[ModelDescription, Sequence[Offer]]:
    """What the deployment's model is and how it can be run, with its draft first and then without. Raises as `pinned` and `offers`."""
    description = await world.models.describe(spec)
    offers = world.offers(description, spec)
    if DRAFT not in spec.options:
        return description, offers
    draft = await _found(world.models, spec)
    described = await world.models.describe(draft)
    engine = next((offer.engine for offer in offers if offer.takes_drafts), None)
    if engine is None:
        raise InvalidRequest(f"The engine {offers[0].engine}, which runs '{spec.repository}' here, takes no draft.", param=DRAFT)
    try:
        proposing = world.offers(described, replace(draft, options={"engine": engine}))[0]
    except YunmoError as error:
        raise InvalidRequest(f"'{draft.repository}' cannot be a draft: {error.message}", param=DRAFT) from error
    if not proposing.takes_drafts:
        raise InvalidRequest(f"'{draft.repository}' does not write text, so it cannot be a draft.", param=DRAFT)
    return description, [*_drafted(offers, draft, proposing), *offers]


def revisions_of(spec: DeploymentSpec) -> set[str]:
    """The commits of the deployment's model and of its draft, if it has one."""
    return {spec.revision, *([str(spec.options[DRAFT]).rpartition("@")[2]] if DRAFT in spec.options else [])}


def _drafted(offers: Sequence[Offer], draft: DeploymentSpec, proposing: Offer) -> Iterator[Offer]:
    """The offers that take a draft, with it: those of the first one's slots, lest calibration take for ever."""
    name = f"{draft.repository}@{draft.revision}"
    made = Draft(draft.repository, draft.revision, proposing.plan, proposing.files)
    for offer in offers:
        if offer.takes_drafts and offer.plan.slots == offers[0].plan.slots and "speculation" not in offer.plan.options:
            plan = msgspec.structs.replace(offer.plan, options={**offer.plan.options, DRAFT: name})
            yield replace(offer, plan=plan, memory_bytes=offer.memory_bytes + proposing.memory_bytes, draft=made)


async def _found(models: Models, spec: DeploymentSpec) -> DeploymentSpec:
    """The draft as a deployment of its own would be."""
    named = spec.options[DRAFT]
    if not isinstance(named, str) or not named:
        raise InvalidRequest(f"The option '{DRAFT}' is the name of a model.", param=DRAFT)
    try:
        return await models.draft(spec, named)
    except (RepositoryNotFound, RevisionNotFound, Gated):
        raise InvalidRequest(
            f"The draft '{named}' is not here, or the project '{spec.project}' may not use it. Push it, or name another one.", param=DRAFT
        ) from None
