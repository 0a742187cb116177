"""What a body asks for: a request of ours, and how to say its answer."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from yunmo.core.tasks import AnyRequest, Generate, Output
from yunmo.web.dialects.hf.replies import Bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """A parsed request with the function that says its answer."""

    request: AnyRequest
    reply: Callable[[Output], Bytes]


@dataclass(frozen=True, slots=True)
class Generation:
    """A parsed text generation: its answer also tells what it used, and may come as a stream."""

    request: Generate
    prompt: str
    is_stream: bool
    has_details: bool
    returns_full_text: bool
    top_tokens: int


Reader = Callable[[bytes], Ask | Generation]


@dataclass(frozen=True, slots=True)
class Form:
    """How one task is asked for and answered. `tag` is the Hub's name of the task, `task` ours."""

    tag: str
    task: str
    read: Reader
    limit_bytes: int
    body: type[msgspec.Struct]
    takes_media: bool = False
