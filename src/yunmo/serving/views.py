"""A deployment at work as people see it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from yunmo.serving.memory import Claim
from yunmo.serving.router import Seat
from yunmo.serving.specification import DeploymentView, ReplicaView

if TYPE_CHECKING:
    from yunmo.serving.runner import Runner


def view_of(runner: "Runner", replicas: Sequence[tuple[Seat, Claim]]) -> DeploymentView:
    """The runner with its replicas and the memory that each has claimed."""
    spec, offer, stand_in = runner.spec, runner.offer, runner.stand_in.runner
    used = [each.last_used for each in (runner, stand_in) if each is not None and each.last_used is not None]
    return DeploymentView(
        name=spec.name,
        project=spec.project,
        repository=spec.repository,
        revision=spec.revision,
        branch=spec.branch,
        state=runner.state,
        reason=runner.reason,
        progress=runner.progress,
        engine=offer.engine if offer else None,
        tasks=offer.tasks if offer else (),
        plan=offer.plan if offer else None,
        replicas_wanted=spec.replicas,
        replicas=tuple(ReplicaView(seat.worker.pid, seat.revision, len(seat.flights), seat.worker.resident_bytes) for seat, _ in replicas),
        predicted_bytes=spec.replicas * offer.predicted_bytes if offer else 0,
        memory_bytes=sum(claim.size for _, claim in replicas),
        waiting=runner.router.waiting,
        is_pinned=spec.is_pinned,
        is_automatic=spec.is_automatic,
        limits=runner.ceilings,
        created=spec.created,
        last_used=datetime.fromtimestamp(max(used), UTC) if used else None,
        restarts=runner.restarts,
        stand_in=None if stand_in is None else stand_in.view(),
    )
