"""Issuers of identity tokens (OpenID Connect): their public keys, and whether a token is theirs, in force and meant for us."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import structlog

from yunmo.core.errors import Unauthenticated, Unavailable

if TYPE_CHECKING:
    import jwt  # at run time only where a publisher is declared: it takes 12 MiB and 0.1 s

_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"})
"""Signatures with a key pair; never `none`, and never HS*, whose secret would be the public key (RFC 8725 §2.1)."""

_CLAIMS = ("iss", "sub", "aud", "exp", "iat")  # what OpenID Connect Core §2 requires of an id token
_LEEWAY_SECONDS = 30
_FRESH_SECONDS = 600.0
_PAUSE_SECONDS = 10.0  # tokens are read before they are proven: nobody may make us ask an issuer faster than this
_FETCH_SECONDS = 10.0
_DOCUMENT_BYTES = 256 * 1024
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_log = structlog.get_logger()


class KeysNotRead(Exception):
    """An issuer's keys could not be read; the message says from where and why."""


class Issuer:
    """One issuer, whose keys are read from `jwks`, or over its discovery document without one."""

    def __init__(self, url: str, jwks: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self.jwks = jwks
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fresh_until = self._next_read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def verify(self, token: str, audiences: Sequence[str]) -> dict[str, Any]:
        """The token's claims, once they are proven. Raises Unauthenticated, or Unavailable while the issuer's keys cannot be read."""
        import jwt

        key = await self._key(str(peek(token)["header"].get("kid", "")))
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=audiences,
                issuer=self.url,
                leeway=_LEEWAY_SECONDS,
                options={"require": list(_CLAIMS), "enforce_minimum_key_length": True},
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthenticated(_reason(error, audiences)) from error

    async def check(self) -> None:
        """Raise KeysNotRead if the keys can never be read; an issuer elsewhere may be away now and come back."""
        if self.jwks is not None:
            await self._read()
        elif not _is_safe(self.url):
            raise KeysNotRead(f"'{self.url}' is no https address. Spell the issuer as its tokens do in 'iss', or name a file as jwks.")

    async def _read(self) -> None:
        content = await (_discover(self.url) if self.jwks is None else asyncio.to_thread(_content, self.jwks))
        self._keys = _signing_keys(content, str(self.jwks or self.url))
        self._fresh_until = self._clock() + _FRESH_SECONDS

    async def _key(self, key_id: str) -> "jwt.PyJWK":
        moment = self._clock()
        is_known = key_id in self._keys and moment < self._fresh_until
        if not is_known and moment >= self._next_read_at:
            self._next_read_at = moment + _PAUSE_SECONDS
            self._reading = asyncio.create_task(self._try_to_read(), name="issuer keys")
        if not is_known and self._reading is not None:
            await asyncio.shield(self._reading)  # a client that leaves must not end what others wait for
        if self._clock() >= self._fresh_until:
            raise Unavailable(
                "The keys of the token's issuer cannot be read at the moment. Try again; the server's log says why.",
                retry_after_seconds=_PAUSE_SECONDS,
            )
        if key_id not in self._keys:
            raise Unauthenticated("The token is signed with a key that its issuer does not publish (see 'kid' in its header).")
        return self._keys[key_id]

    async def _try_to_read(self) -> None:
        try:
            await self._read()
        except KeysNotRead as error:
            _log.warning("issuer_keys_not_read", issuer=self.url, error=str(error))


def peek(token: str) -> dict[str, Any]:
    """The `header` and `payload` that a token claims to have, unproven. Raises Unauthenticated if it is none."""
    import jwt

    try:
        return jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise Unauthenticated("The subject token is not a JWT. Send the id token of your CI provider as it was minted.") from error


async def _discover(issuer: str) -> bytes:
    """The key set that the issuer's discovery document names (OpenID Connect Discovery §4)."""
    address = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    try:
        async with asyncio.timeout(_FETCH_SECONDS):
            document = json.loads(await _fetch(address))
            if not isinstance(document, dict) or document.get("issuer") != issuer:
                raise KeysNotRead(f"{address} describes another issuer than '{issuer}'. Spell the issuer as it does.")
            return await _fetch(str(document.get("jwks_uri")))
    except TimeoutError as error:
        raise KeysNotRead(f"{address} and its keys took longer than {_FETCH_SECONDS:.0f} s.") from error
    except (ValueError, RecursionError) as error:
        raise KeysNotRead(f"{address} is not JSON: {error}") from error


async def _fetch(url: str) -> bytes:
    if not _is_safe(url):
        raise KeysNotRead(f"'{url[:200]}' is no https address.")
    is_outside = urlsplit(url).scheme == "https"
    certificates = await asyncio.to_thread(httpx.create_ssl_context) if is_outside else False  # reading them takes tens of milliseconds
    try:
        async with (
            httpx.AsyncClient(verify=certificates, trust_env=is_outside, timeout=_FETCH_SECONDS) as client,
            client.stream("GET", url, headers={"accept": "application/json"}) as reply,
        ):
            if reply.status_code != httpx.codes.OK:
                raise KeysNotRead(f"{url} answered {reply.status_code}.")
            content = b""
            async for piece in reply.aiter_bytes():
                content += piece
                if len(content) > _DOCUMENT_BYTES:
                    raise KeysNotRead(f"{url} is longer than {_DOCUMENT_BYTES // 1024} KiB.")
            return content
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise KeysNotRead(f"{url} cannot be reached: {str(error) or type(error).__name__}") from error


def _is_safe(url: str) -> bool:
    """Whether keys may be fetched from there: over https, or over http from this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK))


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as content:
            return content.read(_DOCUMENT_BYTES)
    except OSError as error:
        raise KeysNotRead(f"{file} cannot be read: {error.strerror}") from error


def _signing_keys(content: bytes, source: str) -> "dict[str, jwt.PyJWK]":
    """The keys by id that signatures of ours may be made with; those that are broken or for something else are passed over."""
    import jwt

    try:
        listed = jwt.PyJWKSet.from_dict(json.loads(content)).keys
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise KeysNotRead(f"{source} has no JSON Web Key Set (RFC 7517): {error}") from error
    keys = {
        key.key_id: key
        for key in listed
        if key.algorithm_name in _ALGORITHMS and key.public_key_use in {None, "sig"} and isinstance(key.key_id, str)
    }
    if not keys:
        raise KeysNotRead(f"{source} has no key with a 'kid' for {', '.join(sorted(_ALGORITHMS))}.")
    return keys


def _reason(error: Exception, audiences: Sequence[str]) -> str:
    import jwt

    if isinstance(error, jwt.ExpiredSignatureError):
        return "The token has expired. Mint a new one shortly before the login."
    if isinstance(error, jwt.ImmatureSignatureError):
        return "The token is not valid yet: the clocks of its issuer and of this server differ."
    if isinstance(error, jwt.InvalidAudienceError):
        wanted = " or ".join(f"'{each}'" for each in audiences)
        return f"The token was minted for another audience. Have it minted for {wanted}; HF_ENDPOINT has to be spelt so too."
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"The token lacks the claim '{error.claim}'."
    return "The token is not its issuer's: its signature does not verify, or its claims cannot be read."
