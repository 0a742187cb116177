"""Prometheus metrics of the gateway: one for each question that someone asks.

Requests are counted as they come. Everything else is looked up when it is asked for, so that it costs a request nothing.
"""

from collections import Counter as Count
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from msgspec import UnsetType
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from yunmo.cloud.values import DeploymentView, TokenTotals

_REASONS = ("rate_limited", "overloaded", "unavailable")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


T = TypeVar("T")


class Metrics:
    """How many requests come in, how they end, and how long they take until their reply starts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "yunmo_http_requests_total",
            "HTTP requests by dialect, route and status.",
            ("dialect", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "yunmo_http_request_seconds",
            "Seconds from a request's arrival to the start of its reply.",
            ("dialect", "route"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._refusals = Counter(
            "yunmo_refusals_total",
            "Requests that were told to come back later, by reason: the key's limit, a full queue, a model that cannot answer now.",
            ("reason",),
            registry=self.registry,
        )
        for reason in _REASONS:
            self._refusals.labels(reason)
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count(self, dialect: str, route: str, status: int, seconds: float) -> None:
        """One request has its reply."""
        key = (dialect, route, status)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = (self._requests.labels(dialect, route, str(status)), self._seconds.labels(dialect, route))
        found[0].inc()
        found[1].observe(seconds)

    def refuse(self, reason: str) -> None:
        """One request was told to come back later."""
        self._refusals.labels(reason).inc()

    def render(self, moment: "Moment") -> bytes:
        """Everything in Prometheus's text format."""
        looked_up = CollectorRegistry()
        looked_up.register(moment)
        return generate_latest(self.registry) + generate_latest(looked_up)


@dataclass(frozen=True, slots=True, eq=False)
class Moment(Collector):
    """What there is to see of the deployments, the models' memory and the usage at this moment."""

    deployments: Sequence[DeploymentView]
    memory_bytes: int
    claimed_bytes: int
    tokens: Mapping[tuple[str, str], TokenTotals]

    def collect(self) -> Iterator[Metric]:
        """Every metric with its values."""
        states = Count(view.state for view in self.deployments)
        deployments = GaugeMetricFamily("yunmo_deployments", "Deployments by state.", labels=["state"])
        for state, count in sorted(states.items()):
            deployments.add_metric([state], count)
        yield deployments
        yield self._gauge("replicas", "Replicas that are up.", self._sums(lambda view: len(_or(view.replicas, ()))))
        yield self._restarts()
        yield self._gauge("requests_waiting", "Requests that no replica has yet.", self._sums(lambda view: _or(view.waiting, 0)))
        in_work = self._sums(lambda view: sum(replica.outstanding for replica in _or(view.replicas, ())))
        yield self._gauge("requests_in_work", "Requests that replicas work on.", in_work)
        resident = {view.name: sum(replica.resident_bytes for replica in _or(view.replicas, ())) for view in self.deployments}
        yield self._gauge("resident_bytes", "Memory that replicas hold, pages that they share counted for each.", resident)
        predicted = {view.name: _or(view.predicted_bytes, 0) for view in self.deployments}
        yield self._gauge("predicted_bytes", "Memory that all wanted replicas are foretold to hold at ordinary work.", predicted)
        yield GaugeMetricFamily("yunmo_model_memory_bytes", "Memory that all models together may claim.", self.memory_bytes)
        yield GaugeMetricFamily("yunmo_model_memory_claimed_bytes", "Memory that loaded models have claimed.", self.claimed_bytes)
        yield self._tokens()

    def _sums(self, number: Callable[[DeploymentView], int]) -> dict[str, int]:
        """Each deployment's number, its stand-in's counted with it."""
        return {view.name: sum(map(number, view.whole())) for view in self.deployments}

    def _gauge(self, name: str, meaning: str, values: Mapping[str, int]) -> Metric:
        gauge = GaugeMetricFamily(f"yunmo_{name}", meaning, labels=["deployment"])
        for deployment, value in values.items():
            gauge.add_metric([deployment], value)
        return gauge

    def _restarts(self) -> Metric:
        restarts = CounterMetricFamily("yunmo_replica_restarts", "Replicas that died or hung and were replaced.", labels=["deployment"])
        for name, count in self._sums(lambda view: _or(view.restarts, 0)).items():
            restarts.add_metric([name], count)
        return restarts

    def _tokens(self) -> Metric:
        tokens = CounterMetricFamily("yunmo_tokens", "Tokens read and written since the start.", labels=["model", "task", "direction"])
        for (model, task), totals in sorted(self.tokens.items()):
            tokens.add_metric([model, task, "in"], totals.read)
            tokens.add_metric([model, task, "out"], totals.written)
        return tokens


def _or(value: T | UnsetType, default: T) -> T:
    """A field of a view, which only an operator's has for certain."""
    return default if isinstance(value, UnsetType) else value
