"""Keeps one deployment as it is wanted: prepares the model, starts replicas, replaces dead ones, rolls out new revisions."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import structlog

from yunmo.core.engine import Offer
from yunmo.core.errors import EngineFailed, Unavailable, YunmoError
from yunmo.core.tasks import Request
from yunmo.runtime.link import WorkerSpec
from yunmo.runtime.placement.placement import Placed
from yunmo.serving.drafts import offers_of, revisions_of
from yunmo.serving.ending import log_tail, loss_of, unless
from yunmo.serving.guests import Carried, Guests
from yunmo.serving.memory import Claim
from yunmo.serving.prefixes import prefixes_of
from yunmo.serving.replicas import Replica, Wanted, lay_out, worker_spec
from yunmo.serving.retries import Retries
from yunmo.serving.router import Router, Seat
from yunmo.serving.specification import DeploymentSpec, DeploymentView, State, public_reason
from yunmo.serving.stand_ins import StandIn, on_demand
from yunmo.serving.views import view_of
from yunmo.serving.world import World

_ATTEMPTS = 5
_RETRY_FAILED_SECONDS = 60.0
_ROOM_SECONDS = 10.0
"""How often a deployment with too few replicas looks for room for the next."""
_WARM_LOOK_SECONDS = 60.0
_log = structlog.get_logger()


class Runner:
    """One deployment at work. `run` is its life; everything else may be called at any time. Its plan lacks nothing of what it `does`."""

    def __init__(self, spec: DeploymentSpec, world: World, does: frozenset[str] = frozenset()) -> None:
        self.spec = spec
        self.ceilings = spec.ceilings()
        self.router = Router(spec.name, world.queue_limit)
        self.router.on_idle = self._on_idle
        self.offer: Offer | None = None
        self.pipeline_tag: str | None = None
        self.state: State = "pending" if spec.is_pinned else "idle"
        self.reason = ""
        self.progress = 0.0
        self.restarts = 0
        self.takes_adapters = True
        self.guests = Guests()
        self.stand_in = StandIn(self.router, self._begin_stand_in)
        self.last_used: float | None = None
        self._world = world
        self._does = does
        self._claimant = f"{spec.name} (stand-in)" if does else spec.name
        self._replicas: dict[Seat, Replica] = {}
        self._changed = asyncio.Event()
        self.is_awake = spec.is_pinned
        self.withdrawn = ""
        self._ending = asyncio.Event()
        self._failed_at = 0.0
        self._retries = Retries(self._changed.set)
        self._group: asyncio.TaskGroup | None = None
        self._in_hand = spec.revision
        self._stopping: set[asyncio.Task[None]] = set()
        self.ended = asyncio.Event()

    def wake(self) -> None:
        """A request is there: load the model if it is not loaded. Raises Unavailable when loading has failed."""
        self.last_used = time.time()
        if self.withdrawn:
            raise Unavailable(f"'{self.spec.name}' cannot answer: {self.withdrawn}")
        if self.state == "failed":
            if time.monotonic() - self._failed_at < _RETRY_FAILED_SECONDS:
                reason = public_reason(self.reason)
                raise Unavailable(f"'{self.spec.name}' cannot answer: {reason}", retry_after_seconds=_RETRY_FAILED_SECONDS)
            self._set("pending", "")
        if not self.is_awake:
            self.is_awake = True
            self._set("pending", "")
            self._changed.set()

    def answerer(self, request: Request) -> "Runner":
        """Who answers the request: the stand-in, if this deployment's plan lacks what it needs."""
        return self.stand_in.runner_for(request) or self

    @property
    def limited(self) -> "Runner":
        """Whose limits hold for this deployment's requests."""
        return self

    def change(self, spec: DeploymentSpec) -> None:
        """Become this from now on."""
        self.stand_in.change(spec)
        if spec.repository != self.spec.repository:
            self.guests = Guests()
        self.spec = spec
        self.ceilings = spec.ceilings()
        self._retries.forget()
        self.withdrawn = ""
        self.is_awake = self.is_awake or spec.is_pinned
        if self.state == "failed":
            self._set("pending" if self.is_awake else "idle", "")
        self._changed.set()

    def withdraw(self, reason: str) -> None:
        """What the deployment serves is gone: answer nothing more until `change`."""
        self.stand_in.withdraw(reason)
        self.withdrawn = reason
        self.is_awake = False
        self._set("failed", reason)
        self._changed.set()

    def reconsider(self) -> None:
        """The best plan may be another by now."""
        self._changed.set()

    def do(self, does: frozenset[str]) -> None:
        """Have a plan that lacks none of these from now on."""
        if does != self._does:
            self._does = does
            self._changed.set()

    def carry(self, adapter: DeploymentSpec) -> None:
        """Have this adapter beside the model: replicas that have it take over from those that do not."""
        if self.guests.add(adapter):
            self._changed.set()

    async def lay_out(self, spec: DeploymentSpec, offer: Offer) -> None:
        """Put the files where this offer's workers look for them."""
        await lay_out(self._world.models, self._world.cache, spec, offer)

    def worker_spec(self, spec: DeploymentSpec, offer: Offer) -> WorkerSpec:
        """What a worker needs to run the deployment's model by this offer."""
        return worker_spec(self._world.cache, self.log_path(), spec, offer)

    async def end(self) -> None:
        """Finish what is in work, stop every replica, and let `run` return."""
        self._ending.set()
        await self.ended.wait()

    def view(self) -> DeploymentView:
        """What people are shown."""
        return view_of(self, [(seat, replica.claim) for seat, replica in self._replicas.items()])

    def revisions(self) -> set[str]:
        """The revisions whose files are wanted, being loaded or in use."""
        return {self._in_hand}.union(revisions_of(self.spec), self.stand_in.revisions(), (seat.revision for seat in self._replicas))

    def log_path(self) -> Path:
        """Where the workers' output goes."""
        return self._world.logs / f"{self.spec.name.replace('/', '--')}.log"

    async def run(self) -> None:
        """Reconcile whenever something changes, until `end`."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                while not self._ending.is_set():
                    self._changed.clear()
                    await unless(self._ending, self._reconcile())
                    await unless(self._ending, self._wait())
                self._set("draining", "")
                await self._stop_all()
                await self.stand_in.end()
        finally:
            self.router.fail_waiting(Unavailable(f"'{self.spec.name}' has been undeployed."))
            for replica in list(self._replicas.values()):
                await replica.placed.stop(0)
                await self._world.memory.release(replica.claim)
            self.ended.set()

    async def _wait(self) -> None:
        limit, use = self._world.patience.idle, self.router.use
        left = limit - use.idle_seconds if use.idle_seconds < limit else min(_WARM_LOOK_SECONDS, limit / 10)
        timeout = max(0.05, left) if self._replicas and not self.spec.is_pinned else None
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            if self._is_unused() and use.idle_seconds >= limit and not self._world.memory.keeps_warm(self._claimant):
                self.is_awake = False

    async def _reconcile(self) -> None:
        if not self.is_awake:
            await self._stop_all()
            if self.withdrawn:
                self._set("failed", self.withdrawn)
            elif not self.is_awake and self.state not in {"failed", "idle"}:
                self._set("idle", "")
            return
        try:
            await self._bring_up()
        except YunmoError as error:
            await self._after_failure(error)

    async def _bring_up(self) -> None:
        spec = self.spec
        self._in_hand = spec.revision
        self._say("preparing", "reading the model's description", 0.0)
        description, offers = await offers_of(self._world, spec)
        offer = await self._world.calibrations.settle(spec, offers, self._may_serve)
        self.pipeline_tag = description.pipeline_tag
        self.takes_adapters = any(each.takes_adapters for each in offers)
        self.stand_in.settle(offer, offers)
        self.stand_in.relieve()
        carried = await self.guests.lay_out(self._world.models, self._world.cache) if offer.takes_adapters else Carried()
        wanted = Wanted(spec, offer, carried)
        self._foretell(wanted.foretold)
        current = [seat for seat, replica in self._replicas.items() if replica.serves(wanted) and not seat.is_draining]
        if len(current) < spec.replicas:
            self._world.memory.check(spec.name, wanted.memory_bytes)
            self._say("preparing", "laying out the model's files", 0.1)
            await self.lay_out(spec, offer)
            await self._add_replicas(wanted, current)
        for seat in list(self._replicas):
            if seat not in current[: spec.replicas]:
                self.router.drain(seat)
        if current and self.is_awake:
            self._set("ready", self._shortage(wanted, len(current)))
            if not offer.takes_adapters:
                self.router.fail_held(Unavailable(f"'{spec.name}' is run by the engine {offer.engine}, which takes no adapters."))
            self._world.calibrations.is_up(self, description, offers)

    async def _add_replicas(self, wanted: Wanted, current: list[Seat]) -> None:
        """Start what is missing. The first makes other models give way if need be, the others take the room there is."""
        spec, size = wanted.spec, wanted.memory_bytes
        while len(current) < spec.replicas and spec is self.spec and self.is_awake and not self._ending.is_set():
            if current and self._retries.pause_seconds:
                return
            claim = Claim(self._claimant, size, self.router.use, self._may_be_evicted, self._evict)
            if not current:
                self._say("loading", "waiting for memory", 0.15)
                await self._world.memory.take(claim, self._world.patience.cold_wait)
            elif not self._world.memory.take_free(claim):
                return
            try:
                current.append(await self._start(wanted, claim))
            except EngineFailed:
                if not current:
                    self._world.calibrations.distrust(spec, wanted.offer)
                raise
            self._set("ready", f"{len(current)} of {spec.replicas} replicas are up" if len(current) < spec.replicas else "")

    def _shortage(self, wanted: Wanted, count: int) -> str:
        """Why there are fewer replicas than wanted, if so; and have another look for room after a while."""
        if count >= wanted.spec.replicas or wanted.spec is not self.spec:
            return ""
        pause = self._retries.pause_seconds
        self._retries.look_again_in(pause or _ROOM_SECONDS)
        if pause:
            return self.reason  # which tells what failed
        return f"{count} of {wanted.spec.replicas} replicas are up: {self._world.memory.shortage(wanted.memory_bytes)}"

    async def _start(self, wanted: Wanted, claim: Claim) -> Seat:
        placed: Placed | None = None
        worker_spec = replace(self.worker_spec(wanted.spec, wanted.offer), adapters=wanted.carried.adapters)
        try:
            self._say("loading", f"starting the {wanted.offer.engine} engine", 0.2)
            placed = await self._world.placement.start(worker_spec, lambda step, share: self._say("loading", step, 0.2 + 0.8 * share))
            await placed.worker.load(worker_spec)
        except BaseException:
            if placed is not None:
                await placed.stop(1)
            await self._world.memory.release(claim)
            raise
        self.offer = replace(wanted.foretold, tasks=placed.worker.tasks)
        return self._admit(placed, claim, wanted)

    def _admit(self, placed: Placed, claim: Claim, wanted: Wanted) -> Seat:
        assert self._group is not None
        offer, plan, revision = wanted.offer, wanted.offer.plan, wanted.spec.revision
        seat = Seat(placed.worker, plan.slots, revision, prefixes_of(offer), wanted.carried.names, plan.at_once)
        watch = self._group.create_task(self._watch(seat))
        self._replicas[seat] = Replica(seat, placed, claim, watch, offer)
        self._retries.succeeded()
        _log.info("replica_ready", deployment=self.spec.name, revision=revision, pid=placed.worker.pid, adapters=len(seat.adapters))
        self.stand_in.relieve()
        self.router.seat(seat)
        return seat

    async def _watch(self, seat: Seat) -> None:
        """Wait until the worker is gone or hangs, then clear up after it."""
        worker = seat.worker
        hung = await loss_of(worker, self._world.patience.hang)
        replica = self._replicas.pop(seat, None)
        if replica is None:
            return
        self.restarts += 1
        _log.warning("replica_lost", deployment=self.spec.name, pid=worker.pid, hung=hung)
        if hung:
            await replica.placed.stop(0)
        self.router.lose(seat)
        await self._world.memory.release(replica.claim)
        await replica.placed.stop(0)
        if not self._replicas:
            self._set("loading", "the replica ended unexpectedly and is being replaced")
        await asyncio.sleep(self._retries.after_crash_seconds())
        self._changed.set()

    async def _after_failure(self, error: YunmoError) -> None:
        delay, attempts = self._retries.failed(), self._retries.attempts
        reason = error.message + (log_tail(self.log_path()) if isinstance(error, EngineFailed) else "")
        is_final = not isinstance(error, EngineFailed) or attempts >= _ATTEMPTS
        _log.warning("deployment_failed", deployment=self.spec.name, reason=error.message, attempt=attempts, final=is_final)
        if self._replicas:
            self.guests.failed(f"its base could not be started with it: {error.message}")
            self.router.fail_held(Unavailable(f"'{self.spec.name}' could not be started with the adapter: {public_reason(error.message)}"))
            self._serve_on(reason, None if is_final else delay)
        elif is_final:
            self._retries.forget()
            self._failed_at = time.monotonic()
            self.is_awake = False
            self._set("failed", reason)
            public = f"'{self.spec.name}' cannot answer: {public_reason(error.message)}"
            self.router.fail_waiting(Unavailable(public, retry_after_seconds=error.retry_after_seconds))
        else:
            self._set("loading", f"attempt {attempts} of {_ATTEMPTS} failed, the next comes in {delay:.0f} s: {reason}")
            self._retries.look_again_in(delay)

    def _serve_on(self, reason: str, delay: float | None) -> None:
        """Keep what is up. A further replica is tried again for as long as it is wanted, a new revision a few times."""
        up = sum(seat.revision == self.spec.revision for seat in self._replicas)
        what = f"revision {self.spec.revision[:12]} could not be brought up, the previous one serves on"
        if up:
            delay = self._retries.pause_seconds
            what = f"{up} of {self.spec.replicas} replicas are up, the next could not be started"
        if delay is not None:
            self._retries.look_again_in(delay)
            what += f" (tried again in {delay:.0f} s)"
        self._set("ready", f"{what}: {reason}")

    def _is_unused(self) -> bool:
        return self.router.in_flight == 0 and self.router.waiting == 0

    def _may_be_evicted(self) -> bool:
        return not self.spec.is_pinned and bool(self._replicas) and self._is_unused()

    async def _evict(self) -> None:
        _log.info("deployment_evicted", deployment=self.spec.name)
        self.is_awake = False
        self._changed.set()
        await self._stop_all()
        if not self.is_awake:
            self._set("idle", "unloaded to make room for another model; the next request loads it again")

    def _on_idle(self, seat: Seat) -> None:
        replica = self._replicas.pop(seat, None)
        if replica is not None and self._group is not None:
            stopping = self._group.create_task(self._stop(replica))
            self._stopping.add(stopping)
            stopping.add_done_callback(self._stopping.discard)

    async def _stop_all(self) -> None:
        deadline = time.monotonic() + self._world.patience.drain
        for seat in list(self._replicas):
            self.router.drain(seat)
        while self._replicas and time.monotonic() < deadline:  # noqa: ASYNC110 - replicas leave one by one, each by its own way
            await asyncio.sleep(0.02)
        for seat in list(self._replicas):
            replica = self._replicas.pop(seat)
            self.router.lose(seat)
            await self._stop(replica)
        if self._stopping:
            await asyncio.wait(self._stopping)

    async def _stop(self, replica: Replica) -> None:
        if replica.seat in self.router.seats:
            self.router.seats.remove(replica.seat)
        replica.watch.cancel()
        await replica.placed.stop(5)
        await self._world.memory.release(replica.claim)

    def _may_serve(self, offer: Offer) -> bool:
        return self._does.isdisjoint(offer.lacks) and (offer.takes_adapters or not self.guests)

    def _begin_stand_in(self, does: frozenset[str]) -> "Runner | None":
        if self._group is None:
            return None
        runner = Runner(on_demand(self.spec), self._world, does)
        self._group.create_task(runner.run())
        return runner

    def _foretell(self, offer: Offer) -> None:
        """Tell what is known by now of the plan that serves; of the one to come where none does."""
        if not self._replicas:
            self.offer = offer
        elif self.offer is not None and self.offer.plan == offer.plan:
            self.offer = replace(offer, tasks=self.offer.tasks)

    def _say(self, state: State, step: str, share: float) -> None:
        """Report progress, unless replicas of another revision serve meanwhile."""
        self.progress = share
        if not self._replicas:
            self.state, self.reason = state, step

    def _set(self, state: State, reason: str) -> None:
        self.state, self.reason = state, reason
        self.progress = 1.0 if state == "ready" else 0.0
