"""Short-lived signed tickets: access tokens of the content-addressed store, and URLs that need no key.

A ticket is `<base64 of the claims>.<base64 of their HMAC-SHA256>`; the claims say what it is for, so that one kind
never passes for another.
"""

import base64
import binascii
import hmac
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import msgspec

from yunmo.storage.tables import now

T = TypeVar("T", bound="Ticket")

_LIMIT_CHARACTERS = 4096


class Ticket(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """What every ticket claims: until when it is good (unix seconds)."""

    expires_at: int


class AccessTicket(Ticket, frozen=True, tag=True):
    """Access of one key to one repository, and what else of its project the key may read."""

    repository_id: int
    project: str
    key_id: str
    is_admin: bool
    may_read_project: bool
    may_write: bool


class XorbTicket(Ticket, frozen=True, tag=True):
    """GET of the bytes `start` up to, not including, `end` of a xorb."""

    xorb: bytes
    start: int
    end: int


class UploadTicket(Ticket, frozen=True, tag=True):
    """PUT of an LFS object, or of one part of it (`upload` names the staged file; parts count from 1), for a project."""

    repository_id: int
    sha256: str
    size: int
    upload: str
    part: int
    part_bytes: int
    project: str | None = None


class CompletionTicket(Ticket, frozen=True, tag=True):
    """POST that ends an LFS upload of several parts."""

    repository_id: int
    sha256: str
    size: int
    upload: str
    project: str | None = None


class DownloadTicket(Ticket, frozen=True, tag=True):
    """GET of an LFS object."""

    repository_id: int
    sha256: str


class Signer:
    """Seals tickets and opens them again."""

    def __init__(self, secret: bytes, clock: Callable[[], datetime] = now) -> None:
        self._secret = secret
        self._clock = clock

    def expiry(self, seconds: int) -> int:
        """The moment so many seconds from now, for a ticket."""
        return int(self._clock().timestamp()) + seconds

    def seal(self, ticket: Ticket) -> str:
        """The ticket as text that fits into a URL."""
        claims = msgspec.msgpack.encode(ticket)
        return f"{_text(claims)}.{_text(self._mac(claims))}"

    def open(self, text: str, kind: type[T]) -> T | None:
        """The ticket, or None if it is not ours, of another kind or expired."""
        head, _, tail = text.partition(".")
        if len(text) > _LIMIT_CHARACTERS:
            return None
        try:
            claims, mac = _bytes(head), _bytes(tail)
        except (ValueError, binascii.Error):
            return None
        if not hmac.compare_digest(mac, self._mac(claims)):
            return None
        try:
            ticket = msgspec.msgpack.decode(claims, type=kind)
        except msgspec.DecodeError:
            return None
        return ticket if ticket.expires_at > self._clock().timestamp() else None

    def key_for(self, purpose: str) -> bytes:
        """A 32-byte key of its own for another purpose."""
        return hmac.digest(self._secret, b"key:" + purpose.encode(), "sha256")

    def _mac(self, claims: bytes) -> bytes:
        return hmac.digest(self._secret, b"ticket:" + claims, "sha256")


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
