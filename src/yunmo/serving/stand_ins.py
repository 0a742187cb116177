"""Requests that a deployment's plan cannot answer as asked: another engine's replica of the same model answers them.

The fastest engine for a model may lack what a few requests need (the log probabilities of alternatives, a bias on
tokens). A deployment may be run by it all the same: such requests go to its *stand-in*, which is a runner of its own with
another plan of the same model. It is loaded when the first of them comes, in memory that it claims then, and unloaded
when it is idle, as every model is.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from yunmo.core.engine import Offer
from yunmo.core.errors import YunmoError
from yunmo.core.needs import needs_of
from yunmo.core.tasks import Chat, Generate, Request
from yunmo.core.usage import Usage
from yunmo.serving.offers import done_elsewhere
from yunmo.serving.router import Router
from yunmo.serving.specification import DeploymentSpec

if TYPE_CHECKING:
    from yunmo.serving.runner import Runner


class StandIn:
    """The stand-in of the runner with this router. `begin` makes and starts it: a runner whose plan lacks none of the given names."""

    def __init__(self, router: Router, begin: Callable[[frozenset[str]], "Runner | None"]) -> None:
        self._router = router
        self._begin = begin
        router.on_requeue = self.relieve
        self._does: frozenset[str] = frozenset()
        self.runner: Runner | None = None

    def settle(self, offer: Offer, offers: Sequence[Offer]) -> None:
        """The deployment is run by this one of its offers from now on."""
        self._does = done_elsewhere(offer, offers)
        if self._does and self.runner is not None:
            self.runner.do(self._does)

    def runner_for(self, request: Request) -> "Runner | None":
        """The stand-in for a request that it has to answer; None for all others."""
        if not self._answers(request):
            return None
        if self.runner is None:
            self.runner = self._begin(self._does)
        return self.runner

    def relieve(self) -> None:
        """Take over the requests that wait for the deployment's own replicas and that those could not answer."""
        taken = self._router.give_away(self._answers) if self._does else []
        if not taken:
            return
        runner = self.runner_for(taken[0].request)
        assert runner is not None  # who has a queue is at work, and may begin another
        try:
            runner.wake()
        except YunmoError as error:
            for flight in taken:
                flight.sink.end(Usage(), error)
            return
        runner.router.take_over(taken)

    def change(self, spec: DeploymentSpec) -> None:
        """The deployment has become this."""
        if self.runner is not None:
            self.runner.change(on_demand(spec))

    def withdraw(self, reason: str) -> None:
        """What the deployment serves is gone."""
        if self.runner is not None:
            self.runner.withdraw(reason)

    def revisions(self) -> set[str]:
        """The revisions whose files it uses."""
        return self.runner.revisions() if self.runner is not None else set()

    async def end(self) -> None:
        """Finish what is in work and stop."""
        if self.runner is not None:
            await self.runner.end()

    def _answers(self, request: Request) -> bool:
        if not self._does or not isinstance(request, Chat | Generate) or request.adapter is not None:
            return False
        return not self._does.isdisjoint(needs_of(request))


def on_demand(spec: DeploymentSpec) -> DeploymentSpec:
    """The deployment as its stand-in is to be: one replica, loaded when it is asked for."""
    return replace(spec, replicas=1, is_pinned=False)
