"""Hands a deployment's requests to its replicas: a bounded queue, least outstanding work first, retries after a crash.

Where engines keep the prompts that they read, a request goes to the replica that has read most of its prompt, within
bounds: no slot stays free while a request waits, that replica has at most half its slots more in work than the idlest,
and nobody who waits is overtaken more than once per slot, which is about the time of one request.

A request whose replica died before its first chunk is tried again. Those in flight at a crash are *suspects*: each is
tried again alone on an idle replica; one that kills a second replica is poison. So one bad request costs at most two
replica lives, and its bystanders all get their answers.
"""

import hashlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import msgspec
import structlog

from yunmo.core.errors import EngineFailed, Overloaded, PoisonRequest, YunmoError
from yunmo.core.tasks import Chat, Generate, Output, Request
from yunmo.core.usage import Usage
from yunmo.runtime.link import Worker
from yunmo.serving.prefixes import Prefixes, prefix_of
from yunmo.serving.use import Use

_POISON_SECONDS = 600.0
_POISON_KEPT = 1000
_SMOOTHING = 0.1
_LOOKED_AT = 16
"""Waiting requests among which one is chosen for a slot that comes free."""

_log = structlog.get_logger()


class Sink(Protocol):
    """Who the router delivers to (an Answering): chunks, then exactly one end."""

    def deliver(self, chunk: Output) -> None: ...

    def end(self, usage: Usage, error: YunmoError | None) -> None: ...


@dataclass(slots=True, eq=False)
class Seat:
    """A worker with its number of slots, what it keeps of prompts if its engine does, and the adapters that it has beside its model.

    `at_once` is how many of its requests are computed side by side: the others in its slots wait in the worker.
    """

    worker: Worker
    slots: int
    revision: str
    prefixes: Prefixes | None = None
    adapters: frozenset[str] = frozenset()
    at_once: int = 1
    is_draining: bool = False
    has_suspect: bool = False
    flights: "set[Flight]" = field(default_factory=set)

    @property
    def free(self) -> int:
        return 0 if self.is_draining or self.has_suspect else self.slots - len(self.flights)

    def has_read(self, flight: "Flight") -> int:
        """How many pieces of the request's prompt are in the replica's cache."""
        return 0 if self.prefixes is None else self.prefixes.known(flight.prefix)


@dataclass(slots=True, eq=False)
class Flight:
    """One request on its way; the Receiver of its worker."""

    router: "Router"
    request: Request
    sink: Sink
    seat: Seat | None = None
    number: int = 0
    attempts: int = 0
    is_suspect: bool = False
    is_cancelled: bool = False
    has_started: bool = False
    can_wait: bool = False
    overtaken: int = 0
    since: float = 0.0
    usage: Usage = field(default_factory=Usage)
    _prefix: tuple[int, ...] | None = None

    @property
    def prefix(self) -> tuple[int, ...]:
        """The fingerprint of the request's prompt, made when it is first asked for."""
        if self._prefix is None:
            self._prefix = prefix_of(self.request)
        return self._prefix

    def spent(self, usage: Usage) -> None:
        self.usage = usage

    def chunk(self, output: Output) -> None:
        self.has_started = True
        if not self.is_cancelled:
            self.sink.deliver(output)

    def finished(self, usage: Usage) -> None:
        self.router.land(self, usage, None)

    def failed(self, error: YunmoError, usage: Usage) -> None:
        self.router.land(self, usage, error)

    def lost(self) -> None:
        """The router deals with all flights of a lost worker at once, in `lose`."""


class Router:
    """The queue and the replicas of one deployment."""

    def __init__(self, name: str, queue_limit: int) -> None:
        self._name = name
        self._queue_limit = queue_limit
        self._queue: deque[Flight] = deque()
        self._suspects: deque[Flight] = deque()
        self._held: list[Flight] = []
        self._poison: OrderedDict[bytes, float] = OrderedDict()
        self._seconds_per_request = 0.05
        self.seats: list[Seat] = []
        self.use = Use()
        self.on_idle: Callable[[Seat], None] | None = None
        self.on_requeue: Callable[[], None] | None = None

    @property
    def waiting(self) -> int:
        """Requests that no replica has yet."""
        return len(self._queue) + len(self._suspects) + len(self._held)

    @property
    def in_flight(self) -> int:
        """Requests that replicas work on."""
        return sum(len(seat.flights) for seat in self.seats)

    def submit(self, request: Request, sink: Sink, *, can_wait: bool = False) -> Flight:
        """Send the request off or let it wait; one that `can_wait` gives way to others in its replica, too. Raises Overloaded when the queue is full, PoisonRequest for known poison."""
        self.use.note()
        if self._poison and self._is_poison(request):
            raise PoisonRequest("This request crashed its model twice a short while ago and is not tried again.")
        flight = Flight(self, request, sink, can_wait=can_wait)
        if not self._queue and not self._suspects:
            seat = self._idlest()
            if seat is not None:
                self._board(flight, seat if seat.prefixes is None else self._nearest(flight, seat))
                return flight
        self._check_room()
        self._queue.append(flight)
        if self._suspects:
            self.pump()
        return flight

    def submit_adapted(self, request: Chat | Generate, sink: Sink, *, can_wait: bool = False) -> Flight:
        """As `submit`, for a request that names an adapter: it is held until every replica has that one."""
        if request.adapter is None or self.carries(request.adapter):
            return self.submit(request, sink, can_wait=can_wait)
        self.use.note()
        self._check_room()
        flight = Flight(self, request, sink, can_wait=can_wait)
        self._held.append(flight)
        return flight

    def carries(self, adapter: str) -> bool:
        """Whether there are replicas, and all that may get requests have the adapter."""
        open_seats = [seat for seat in self.seats if not seat.is_draining]
        return bool(open_seats) and all(adapter in seat.adapters for seat in open_seats)

    def cancel(self, flight: Flight) -> None:
        """Nobody waits for this flight any more; its sink hears of its end all the same, with the usage so far."""
        if flight.is_cancelled:
            return
        flight.is_cancelled = True
        if flight.seat is not None:
            flight.seat.worker.cancel(flight.number)
            return
        for queue in (self._held, self._suspects, self._queue):
            if flight in queue:
                queue.remove(flight)
                flight.sink.end(Usage(), None)

    def wait_seconds(self) -> float:
        """How long a request that came now would wait, by the recent pace."""
        slots = sum(seat.slots for seat in self.seats) or 1
        return max(1.0, (self.waiting + 1) * self._seconds_per_request / slots)

    def seat(self, seat: Seat) -> None:
        """A replica is ready: use it."""
        self.seats.append(seat)
        self._release()
        self.pump()

    def drain(self, seat: Seat) -> None:
        """Give the replica nothing more; `on_idle` tells when it has ended its last request."""
        seat.is_draining = True
        if self._held:
            self._release()
            self.pump()
        if not seat.flights and self.on_idle is not None:
            self.on_idle(seat)

    def lose(self, seat: Seat) -> None:
        """The replica died: end what had begun to stream, try the rest again, find the poison."""
        if seat in self.seats:
            self.seats.remove(seat)
        flights = sorted(seat.flights, key=lambda flight: flight.since, reverse=True)
        seat.flights.clear()
        guilty = [flight for flight in flights if flight.is_suspect]
        for flight in flights:
            flight.seat = None
            self._after_crash(flight, is_guilty=flight in guilty, makes_suspects=not guilty)
        if flights:
            _log.warning("replica_lost_requests", deployment=self._name, requests=len(flights), poison=len(guilty))
        if self.on_requeue is not None:
            self.on_requeue()  # before another replica gets what it cannot answer
        self.pump()

    def fail_waiting(self, error: YunmoError) -> None:
        """No replica will come: tell everybody who waits."""
        waiting = [*self._suspects, *self._queue, *self._held]
        self._suspects.clear()
        self._queue.clear()
        self._held.clear()
        for flight in waiting:
            flight.sink.end(Usage(), error)

    def give_away(self, is_others: Callable[[Request], bool]) -> list[Flight]:
        """Take the waiting requests that are another router's out of the queue."""
        given = [flight for flight in (*self._suspects, *self._queue) if is_others(flight.request)]
        for flight in given:
            (self._suspects if flight.is_suspect else self._queue).remove(flight)
        return given

    def take_over(self, flights: Iterable[Flight]) -> None:
        """Answer requests that another router gave away; they have been admitted, so the queue's limit does not count."""
        for flight in flights:
            flight.router = self
            self.use.note()
            (self._suspects if flight.is_suspect else self._queue).append(flight)
        self.pump()

    def fail_held(self, error: YunmoError, adapter: str | None = None) -> None:
        """No replica will have this adapter (None: any that is waited for): tell everybody who waits for it."""
        failed = [flight for flight in self._held if adapter is None or _adapter(flight) == adapter]
        self._held = [flight for flight in self._held if flight not in failed]
        for flight in failed:
            flight.sink.end(Usage(), error)

    def land(self, flight: Flight, usage: Usage, error: YunmoError | None) -> None:
        """A flight has ended: free its slot, tell its sink, send the next."""
        seat = flight.seat
        if seat is not None:
            seat.flights.discard(flight)
            seat.has_suspect = seat.has_suspect and not flight.is_suspect
            flight.seat = None
            took = time.monotonic() - flight.since
            self._seconds_per_request += _SMOOTHING * (took - self._seconds_per_request)
        flight.sink.end(usage, error)
        if self._queue or self._suspects:
            self.pump()
        if seat is not None and seat.is_draining and not seat.flights and self.on_idle is not None:
            self.on_idle(seat)

    def pump(self) -> None:
        """Hand waiting requests to free slots; suspects first, each alone on a replica that is emptied for it."""
        reserved: Seat | None = None
        while self._suspects:
            open_seats = [seat for seat in self.seats if not seat.is_draining and not seat.has_suspect]
            reserved = min(open_seats, key=lambda seat: len(seat.flights), default=None)
            if reserved is None or reserved.flights:
                break
            reserved.has_suspect = True
            self._board(self._suspects.popleft(), reserved)
        while self._queue:
            idlest = self._idlest(other_than=reserved)
            if idlest is None:
                break
            if idlest.prefixes is None:
                self._board(self._queue.popleft(), idlest)
            else:
                flight = self._next_for(idlest)
                self._board(flight, self._nearest(flight, idlest, other_than=reserved))

    def _release(self) -> None:
        """Let those into the queue whose adapter has come."""
        ready = [flight for flight in self._held if self.carries(_adapter(flight))]
        self._held = [flight for flight in self._held if flight not in ready]
        self._queue.extend(ready)

    def _check_room(self) -> None:
        if self.waiting >= self._queue_limit:
            raise Overloaded(
                f"'{self._name}' has {self.waiting} requests waiting, which is its limit. Try again shortly, or add replicas.",
                retry_after_seconds=self.wait_seconds(),
            )

    def _idlest(self, other_than: Seat | None = None) -> Seat | None:
        """The seat with the most room, if there is any."""
        best: Seat | None = None
        for seat in self.seats:
            if seat is not other_than and seat.free > 0 and (best is None or seat.free > best.free):
                best = seat
        return best

    def _nearest(self, flight: Flight, idlest: Seat, other_than: Seat | None = None) -> Seat:
        """The seat with room that has read most of the prompt, unless it is much busier than the idlest."""
        if len(self.seats) < 2:
            return idlest
        nearest, best = idlest, (idlest.has_read(flight), idlest.free)
        for seat in self.seats:
            if seat is not other_than and seat.free > 0 and len(seat.flights) - len(idlest.flights) <= seat.slots // 2:
                near = (seat.has_read(flight), seat.free)
                if near > best:
                    nearest, best = seat, near
        return nearest

    def _next_for(self, seat: Seat) -> Flight:
        """Take from the queue who gains most by this seat: the first, unless one behind it has its prompt here."""
        if len(self.seats) < 2 or self._queue[0].overtaken >= sum(each.slots for each in self.seats):
            return self._queue.popleft()
        others = [other for other in self.seats if other is not seat and not other.is_draining]
        waiting = list(islice(self._queue, _LOOKED_AT))
        gains = [seat.has_read(flight) - max((other.has_read(flight) for other in others), default=0) for flight in waiting]
        chosen = gains.index(max(gains))
        for flight in waiting[:chosen]:
            flight.overtaken += 1
        del self._queue[chosen]
        return waiting[chosen]

    def _board(self, flight: Flight, seat: Seat) -> None:
        flight.number = seat.worker.submit(flight.request, flight, can_wait=flight.can_wait)
        flight.seat = seat
        flight.attempts += 1
        flight.since = time.monotonic()
        seat.flights.add(flight)
        if seat.prefixes is not None and len(self.seats) > 1:
            seat.prefixes.add(flight.prefix)

    def _after_crash(self, flight: Flight, *, is_guilty: bool, makes_suspects: bool) -> None:
        if flight.is_cancelled:
            flight.sink.end(flight.usage, None)
        elif is_guilty:
            self._remember_poison(flight.request)
            flight.sink.end(
                Usage(),
                PoisonRequest("This request crashed its model twice. It is not tried again; please report it to whoever runs the model."),
            )
        elif flight.has_started:
            flight.sink.end(flight.usage, EngineFailed("The model's process died in the middle of this answer. Send the request again."))
        elif makes_suspects:
            flight.is_suspect = True
            self._suspects.appendleft(flight)
        else:
            self._queue.appendleft(flight)

    def _is_poison(self, request: Request) -> bool:
        until = self._poison.get(_fingerprint(request))
        return until is not None and until > time.monotonic()

    def _remember_poison(self, request: Request) -> None:
        self._poison[_fingerprint(request)] = time.monotonic() + _POISON_SECONDS
        while len(self._poison) > _POISON_KEPT:
            self._poison.popitem(last=False)


def _adapter(flight: Flight) -> str:
    request = flight.request
    return request.adapter or "" if isinstance(request, Chat | Generate) else ""


def _fingerprint(request: Request) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(request)).digest()
