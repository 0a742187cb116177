"""Hugging Face's Inference API: `InferenceClient` with our URL, for every task that we have.

One URL per model answers all of its tasks: `/models/{namespace}/{name}[@revision]`, or `/models/{name}` for a deployment.
"""

from collections.abc import Sequence

import msgspec
from starlette.responses import Response

from yunmo import __version__
from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Answering, Served
from yunmo.core.errors import YunmoError
from yunmo.web.dialects.hf.asks import Form, Generation
from yunmo.web.dialects.hf.errors import error_reply
from yunmo.web.dialects.hf.forms import FORMS, check_accepted, form_of, other_names, read, tags_of
from yunmo.web.dialects.hf.generation import TokenEvents, whole_generation
from yunmo.web.dialects.hf.replies import json_bytes
from yunmo.web.request import Request
from yunmo.web.routing import Handler, Route
from yunmo.web.waiting import ask, begun

_PREFIXES = ("/models", "/hf-inference/models")
_NAMES = ("/{namespace}/{name}", "/{name}")
_WINDOW_SECONDS = 60
_UNHEALTHY = frozenset({"failed", "pending", "preparing", "loading"})
"""States in which a call would fail or wait; an idle model answers after loading, which it begins by itself."""


class ModelReply(msgspec.Struct, frozen=True):
    """What is served under a name."""

    id: str
    sha: str
    pipeline_tag: str | None
    tasks: list[str]
    state: str
    created_at: int
    owner: str


class InfoReply(msgspec.Struct, frozen=True):
    """What `get_endpoint_info` shows."""

    model_id: str
    model_sha: str
    model_pipeline_tag: str | None
    tasks: list[str]
    state: str
    version: str


class HealthReply(msgspec.Struct, frozen=True):
    """Whether the model can be called."""

    status: str


class HuggingFaceDialect:
    """The Inference API of Hugging Face."""

    name = "huggingface"

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> Sequence[Route]:
        """Every layout that the client builds; one of them is documented."""
        found: list[Route] = []
        for prefix in _PREFIXES:
            for name in _NAMES:
                path = prefix + name
                is_documented = path == _PREFIXES[0] + _NAMES[0]
                found += self._model_routes(path, is_documented)
                found.append(
                    Route("POST", path + "/pipeline/{task}", self._infer, "infer", "Run one task of a model.", is_documented=False)
                )
        documented = _PREFIXES[0] + _NAMES[0] + "/pipeline/"
        found += [
            Route("POST", documented + form.tag, self._pinned(form.tag), "infer", _summary(form), body=form.body) for form in FORMS.values()
        ]
        return found

    def error(self, error: YunmoError, request: Request) -> Response:
        """The error in Hugging Face's words."""
        del request
        return error_reply(error)

    def _model_routes(self, path: str, is_documented: bool) -> list[Route]:
        return [
            Route("POST", path, self._infer, "infer", "Run the model's own task (Hugging Face).", is_documented=is_documented),
            Route("GET", path, self._describe, "infer", "What is served under this name.", reply=ModelReply, is_documented=is_documented),
            Route(
                "GET",
                path + "/info",
                self._info,
                "infer",
                "What is served, as an endpoint says it.",
                reply=InfoReply,
                is_documented=is_documented,
            ),
            Route(
                "GET", path + "/health", self._health, "infer", "Whether the model answers.", reply=HealthReply, is_documented=is_documented
            ),
        ]

    def _pinned(self, tag: str) -> Handler:
        async def handle(request: Request) -> Response:
            request.params["task"] = tag
            return await self._infer(request)

        return handle

    async def _infer(self, request: Request) -> Response:
        model = _model(request.params)
        served = await self._cloud.inference.find(request.principal, model)
        tag = request.params.get("task")
        form = form_of(served, tag)
        check_accepted(served, request.headers.get("accept"))
        wanted = read(form, served, tag, await request.bytes(form.limit_bytes))
        answering = await ask(self._cloud, request, model, wanted.request)
        if isinstance(wanted, Generation):
            return await self._generate(wanted, answering, other_names(served, tag))
        try:
            reply = wanted.reply(await answering.whole())
        finally:
            await answering.close()
        headers = _headers(answering)
        if headers:
            reply.add(headers)
        return reply

    async def _generate(self, wanted: Generation, answering: Answering, also: Sequence[str]) -> Response:
        if wanted.is_stream:
            try:
                await begun(answering)
                return TokenEvents(wanted, answering, _headers(answering))
            except BaseException:
                await answering.close()
                raise
        try:
            reply = whole_generation(wanted, await answering.whole(), answering.usage, also)
        finally:
            await answering.close()
        reply.add(_headers(answering))
        return reply

    async def _describe(self, request: Request) -> Response:
        served = await self._served(request)
        return json_bytes(
            ModelReply(served.name, served.revision, served.pipeline_tag, tags_of(served), served.state, served.created, served.owner)
        )

    async def _info(self, request: Request) -> Response:
        served = await self._served(request)
        return json_bytes(InfoReply(served.name, served.revision, served.pipeline_tag, tags_of(served), served.state, __version__))

    async def _health(self, request: Request) -> Response:
        served = await self._served(request)
        return json_bytes(HealthReply(served.state), 503 if served.state in _UNHEALTHY else 200)

    async def _served(self, request: Request) -> Served:
        return await self._cloud.inference.find(request.principal, _model(request.params))


def _summary(form: Form) -> str:
    return f"Run {form.tag} (Hugging Face)" + ("; the body may also be the file itself." if form.takes_media else ".")


def _model(params: dict[str, str]) -> str:
    namespace = params.get("namespace")
    return params["name"] if namespace is None else f"{namespace}/{params['name']}"


def _headers(answering: Answering) -> dict[str, str]:
    """The limits that are left (in the form of the IETF's draft, which the client reads), and how often we had to try."""
    headers = {} if answering.attempts <= 1 else {"x-attempts": str(answering.attempts)}
    rates = answering.rates
    if rates is None:
        return headers
    left: list[str] = []
    policy: list[str] = []
    for name, limit, remaining, reset in (
        ("requests", rates.limit_requests, rates.remaining_requests, rates.reset_requests_seconds),
        ("tokens", rates.limit_tokens, rates.remaining_tokens, rates.reset_tokens_seconds),
    ):
        if limit is None:
            continue
        left.append(f'"{name}";r={max(0, int(remaining or 0))};t={max(0, round(reset or 0))}')
        policy.append(f'"{name}";q={int(limit)};w={_WINDOW_SECONDS}')
    if left:
        headers |= {"ratelimit": ", ".join(left), "ratelimit-policy": ", ".join(policy)}
    return headers
