"""Prometheus metrics of the gateway: one for each question that someone asks."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


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
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count(self, dialect: str, route: str, status: int, seconds: float) -> None:
        """One request has its reply."""
        key = (dialect, route, status)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = (self._requests.labels(dialect, route, str(status)), self._seconds.labels(dialect, route))
        found[0].inc()
        found[1].observe(seconds)

    def render(self) -> bytes:
        """Everything in the registry in Prometheus's text format."""
        return generate_latest(self.registry)
