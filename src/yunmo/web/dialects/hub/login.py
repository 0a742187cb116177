"""Logins without a token: `hf auth login` by OAuth's device flow (RFC 8628), a CI job by exchanging its identity (RFC 8693)."""

import math
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import LoginKey, Refusal
from yunmo.core.errors import Forbidden, InvalidRequest, NotFound, RateLimited, TooLarge, Unauthenticated, Unavailable
from yunmo.web.base_url import base_url
from yunmo.web.dialects.hub.login_page import Outcome, page
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

_PAGE_PATH = "/oauth/verify"
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_REFRESH_GRANT = "refresh_token"
_EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 (a type, not a token)
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 (the same)
_NOT_CHOSEN = ("scope", "audience", "actor_token", "actor_token_type")
_FORM_BYTES = 16 * 1024
_FORM_FIELDS = 100
_REASONS: dict[Refusal, str] = {
    "authorization_pending": "Nobody has answered yet.",
    "slow_down": "Wait 5 seconds longer between questions from now on.",
    "expired_token": "Nobody answered in time. Run 'hf auth login' again.",
    "access_denied": "The login was denied, or the key that allowed it is no longer in force.",
    "invalid_grant": "This login is unknown, over, or was forgotten at a restart of the server. Run 'hf auth login' again.",
}


class LoginRoutes:
    """The routes of the device and the CI job, and the page of the person."""

    def __init__(self, cloud: Cloud) -> None:
        self._logins = cloud.tenancy.logins
        self._publishers = cloud.tenancy.publishers

    def routes(self) -> Iterator[Route]:
        """The routes of this group; an Authorization header says nothing to them."""
        for method, path, handler in (
            ("POST", "/oauth/device", self.ask),
            ("POST", "/oauth/token", self.give),
            ("GET", _PAGE_PATH, self.show),
            ("POST", _PAGE_PATH, self.answer),
        ):
            yield Route(method, path, handler, is_documented=False, checks_key=False)

    async def ask(self, request: Request) -> Response:
        """Give a device its codes and the address to show to its person."""
        try:
            asked = self._logins.ask((await _fields(request)).get("client_id", ""))
        except (InvalidRequest, TooLarge) as error:
            return _refusal("invalid_request", error.message)
        address = f"{base_url(request)}{_PAGE_PATH}"
        return _private(
            {
                "device_code": asked.device_code,
                "user_code": asked.user_code,
                "verification_uri": address,
                "verification_uri_complete": f"{address}?user_code={asked.user_code}",
                "expires_in": asked.expires_in_seconds,
                "interval": asked.interval_seconds,
            }
        )

    async def give(self, request: Request) -> Response:
        """Give a device its key once a person has let it in, and a CI job one for its identity."""
        try:
            fields = await _fields(request)
        except (InvalidRequest, TooLarge) as error:
            return _refusal("invalid_request", error.message)
        grant = fields.get("grant_type")
        if grant == _REFRESH_GRANT:
            return _refusal("invalid_grant", "Keys are not renewed here. Run 'hf auth login' again.")
        if grant == _EXCHANGE_GRANT:
            return await self._exchange(fields)
        if grant != _DEVICE_GRANT:
            known = f"'{_DEVICE_GRANT}' and '{_EXCHANGE_GRANT}'"
            return _refusal("unsupported_grant_type", f"Only {known} are known here. Programs send an API key as HF_TOKEN.")
        made = await self._logins.collect(fields.get("device_code", ""), fields.get("client_id", ""))
        if not isinstance(made, LoginKey):
            return _refusal(made, _REASONS[made])
        return _private(_given(made))

    async def _exchange(self, fields: dict[str, str]) -> Response:
        if not self._publishers.are_declared:
            return _refusal(
                "unsupported_grant_type",
                "No CI job is trusted here. The operator declares them under [[publishers]] in yunmo.toml; others send an API key as HF_TOKEN.",
            )
        if (complaint := _complaint(fields)) is not None:
            return _refusal("invalid_request", complaint)
        try:
            made = await self._publishers.log_in(fields["subject_token"], fields["resource"])
        except Unauthenticated as error:
            return _refusal("invalid_grant", error.message)
        except (InvalidRequest, Forbidden) as error:
            return _refusal("invalid_target", error.message)
        except Unavailable as error:
            reply = _refusal("temporarily_unavailable", error.message, 503)
            reply.headers["retry-after"] = str(math.ceil(error.retry_after_seconds or 1))
            return reply
        return _private(_given(made) | {"issued_token_type": _ACCESS_TOKEN})

    async def show(self, request: Request) -> Response:
        """The page where a person types the code."""
        return page(request.query_params.get("user_code", ""))

    async def answer(self, request: Request) -> Response:
        """Let the device in or turn it away, and say so on the page."""
        try:
            fields = await _fields(request)
        except (InvalidRequest, TooLarge):
            return page("", "incomplete")
        code, key, answer = fields.get("user_code", ""), fields.get("key", "").strip(), fields.get("answer")
        if not code or not key or answer not in {"approve", "deny"}:
            return page(code, "incomplete")
        outcome: Outcome = "approved" if answer == "approve" else "denied"
        try:
            principal = await self._logins.answer(key, code, approves=outcome == "approved")
        except Unauthenticated:
            return page(code, "bad_key")
        except NotFound:
            return page(code, "bad_code")
        except RateLimited as error:
            return page(code, "too_many", retry_after_seconds=error.retry_after_seconds)
        return page("", outcome, project=principal.project)


async def _fields(request: Request) -> dict[str, str]:
    """The form's texts. Clients that exchange a CI provider's token send them as JSON."""
    if request.headers.get("content-type", "").startswith("application/json"):
        content = await request.struct(dict[str, Any], _FORM_BYTES)
        return {name: value for name, value in content.items() if isinstance(value, str)}
    body = await request.bytes(_FORM_BYTES)
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=_FORM_FIELDS))
    except ValueError as error:
        raise InvalidRequest(f"The form cannot be read: send it url-encoded, in UTF-8, with at most {_FORM_FIELDS} fields.") from error


def _complaint(fields: dict[str, str]) -> str | None:
    """What is wrong with the form of a token exchange (RFC 8693 §2.1)."""
    for name in ("subject_token", "subject_token_type", "resource"):
        if not fields.get(name):
            return f"'{name}' is missing."
    if fields["subject_token_type"] != _ID_TOKEN:
        return f"'subject_token_type' has to be '{_ID_TOKEN}'."
    if fields.get("requested_token_type", _ACCESS_TOKEN) != _ACCESS_TOKEN:
        return f"Only '{_ACCESS_TOKEN}' is given here. Leave 'requested_token_type' out."
    chosen = next((name for name in _NOT_CHOSEN if name in fields), None)
    return f"'{chosen}' cannot be chosen here: the operator declares what a job may do. Leave it out." if chosen else None


def _given(made: LoginKey) -> dict[str, object]:
    return {
        "access_token": made.key,
        "token_type": "bearer",
        "expires_in": made.expires_in_seconds,
        "scope": " ".join(made.scopes),
    }


def _refusal(error: str, description: str, status: int = 400) -> Response:
    return _private({"error": error, "error_description": description}, status)


def _private(content: dict[str, object], status: int = 200) -> Response:
    return json_reply(content, status, {"cache-control": "no-store"})
