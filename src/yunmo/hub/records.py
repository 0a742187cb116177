"""What the hub's tables hold, as values."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from yunmo.hub.names import RepositoryType

Gating = Literal["", "auto", "manual"]
RequestStatus = Literal["pending", "accepted", "rejected"]
DiscussionStatus = Literal["draft", "open", "closed", "merged"]
EventKind = Literal["comment", "status", "title", "commit", "edit"]


@dataclass(frozen=True, slots=True)
class Repository:
    """A model or data set, without its revisions."""

    id: int
    type: RepositoryType
    namespace: str
    name: str
    is_private: bool
    gated: Gating
    is_disabled: bool
    downloads: int
    created_at: datetime
    updated_at: datetime

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Commit:
    """One revision: it never changes."""

    repository_id: int
    oid: str
    tree: str
    parent: str | None
    title: str
    message: str
    author: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Ref:
    """A branch (`refs/heads/…`), tag (`refs/tags/…`) or proposal (`refs/pr/N`)."""

    name: str
    oid: str

    @property
    def short_name(self) -> str:
        return self.name.split("/", 2)[2] if self.name.startswith(("refs/heads/", "refs/tags/")) else self.name


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A project that asks for (or was given) access to a gated repository."""

    id: int
    repository_id: int
    project: str
    status: RequestStatus
    reason: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Discussion:
    """A discussion, or a pull request: then `target` is the branch that it is for and `base` the commit that it started from."""

    repository_id: int
    number: int
    title: str
    author: str
    status: DiscussionStatus
    target: str | None
    base: str | None
    merged_as: str | None
    created_at: datetime

    @property
    def is_pull_request(self) -> bool:
        return self.target is not None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a discussion; what `text` and `detail` say depends on its kind (`store/tables.py`)."""

    id: int
    kind: EventKind
    author: str
    text: str
    detail: str | None
    is_hidden: bool
    created_at: datetime
    edited_at: datetime | None


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What a commit says about itself: its card, its main configuration and what its weights hold."""

    commit: str
    card: dict[str, Any] = {}
    tags: tuple[str, ...] = ()
    pipeline_tag: str | None = None
    library_name: str | None = None
    config: dict[str, Any] = {}
    safetensors: dict[str, Any] | None = None
    gguf: dict[str, Any] | None = None
    used_bytes: int = 0
