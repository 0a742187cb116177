"""The headers of every success: what is left of the caller's limits, and how long it took."""

import time

from yunmo.cloud.values import Answering, Rates
from yunmo.web.dialects.openai.errors import API_VERSION
from yunmo.web.request import Request


def plain_headers(request: Request, started: float) -> dict[str, str]:
    """For a reply without inference; `started` is `time.perf_counter()` at the request's arrival."""
    return {
        "openai-version": API_VERSION,
        "openai-organization": request.principal.project,
        "openai-processing-ms": str(round((time.perf_counter() - started) * 1000)),
    }


def answer_headers(request: Request, started: float, answering: Answering) -> dict[str, str]:
    """For an answer of a model: also its limits and how many replicas it took."""
    headers = plain_headers(request, started)
    headers["x-attempts"] = str(answering.attempts)
    rates = answering.rates
    if rates is not None:
        headers.update(rate_headers(rates))
    return headers


def rate_headers(rates: Rates) -> dict[str, str]:
    """What is left of the limits; a limit that the caller does not have gives no header."""
    headers: dict[str, str] = {}
    for unit in ("requests", "tokens"):
        limit = getattr(rates, f"limit_{unit}")
        if limit is None:
            continue
        headers[f"x-ratelimit-limit-{unit}"] = str(limit)
        headers[f"x-ratelimit-remaining-{unit}"] = str(getattr(rates, f"remaining_{unit}") or 0)
        headers[f"x-ratelimit-reset-{unit}"] = duration_text(getattr(rates, f"reset_{unit}_seconds") or 0.0)
    return headers


def duration_text(seconds: float) -> str:
    """A duration in the vendor's short form: 20ms, 8.64s, 6m0s, 1h2m3s."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    if seconds < 60:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"
