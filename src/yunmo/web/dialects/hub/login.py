"""`hf auth login` without a token: OAuth's device flow (RFC 8628), answered by a person on a page of ours."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import DeviceKey, Refusal
from yunmo.core.errors import InvalidRequest, NotFound, RateLimited, TooLarge, Unauthenticated
from yunmo.web.dialects.hub.addresses import base_url
from yunmo.web.dialects.hub.login_page import Outcome, page
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

_PAGE_PATH = "/oauth/verify"
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_REFRESH_GRANT = "refresh_token"
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
    """The routes of the device, and the page of the person."""

    def __init__(self, cloud: Cloud) -> None:
        self._logins = cloud.tenancy.logins

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
        """Give a device its key once a person has let it in."""
        try:
            fields = await _fields(request)
        except (InvalidRequest, TooLarge) as error:
            return _refusal("invalid_request", error.message)
        grant = fields.get("grant_type")
        if grant == _REFRESH_GRANT:
            return _refusal("invalid_grant", "Keys are not renewed here. Run 'hf auth login' again.")
        if grant != _DEVICE_GRANT:
            return _refusal("unsupported_grant_type", f"Only '{_DEVICE_GRANT}' is known here. Programs send an API key as HF_TOKEN.")
        made = await self._logins.collect(fields.get("device_code", ""), fields.get("client_id", ""))
        if not isinstance(made, DeviceKey):
            return _refusal(made, _REASONS[made])
        return _private(
            {
                "access_token": made.key,
                "token_type": "bearer",
                "expires_in": made.expires_in_seconds,
                "scope": " ".join(made.scopes),
            }
        )

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


def _refusal(error: str, description: str) -> Response:
    return _private({"error": error, "error_description": description}, 400)


def _private(content: dict[str, object], status: int = 200) -> Response:
    return json_reply(content, status, {"cache-control": "no-store"})
