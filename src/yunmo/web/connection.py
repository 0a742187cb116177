"""What the application may know of the connection that a request came by."""

from collections.abc import Callable
from typing import Protocol

CONNECTION = "yunmo.connection"
"""The ASGI extension under which a request's scope has its Connection."""


class Connection(Protocol):
    """A client's connection: `on_gone`, if it is set, is called once when nobody waits any more for the answer of the running request."""

    on_gone: Callable[[], None] | None
