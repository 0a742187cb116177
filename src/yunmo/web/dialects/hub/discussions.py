"""Discussions and pull requests (specification: Hub §2.5, §7.4)."""

import html
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.repositories import (
    Discussion,
    DiscussionStatus,
    Event,
    Repository,
    RepositoryType,
    Thread,
    WantedDiscussions,
    is_edit_of,
)
from yunmo.core.errors import Forbidden, Gated, InvalidRequest, NotFound
from yunmo.web.dialects.hub.addresses import api_routes, flag, has_body, number, repository_name, repository_url
from yunmo.web.dialects.hub.shapes import moment
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

T = TypeVar("T")

_PAGE = 50
_PAGES_LIMIT = 10**6
_TYPES: dict[str, bool | None] = {"all": None, "discussion": False, "pull_request": True}
_STATUSES: dict[str, Sequence[DiscussionStatus] | None] = {"all": None, "open": ("open", "draft"), "closed": ("closed", "merged")}
_EVENT_TYPES = {"comment": "comment", "status": "status-change", "title": "title-change", "commit": "commit"}


class NewDiscussion(msgspec.Struct):
    """A discussion or pull request to open."""

    title: str
    description: str = ""
    pullRequest: bool = False  # noqa: N815 (the Hub's name)


class NewComment(msgspec.Struct):
    """What to say."""

    comment: str


class ChangedComment(msgspec.Struct):
    """A comment's new words."""

    content: str


class NewTitle(msgspec.Struct):
    """A discussion's new title."""

    title: str


class NewStatus(msgspec.Struct):
    """A discussion's new status, and what to say of it."""

    status: str
    comment: str = ""


class Merge(msgspec.Struct):
    """What to say of a merge."""

    comment: str = ""


class DiscussionRoutes:
    """Routes for discussions and pull requests."""

    def __init__(self, cloud: Cloud) -> None:
        self._hub = cloud.hub

    def routes(self) -> Iterator[Route]:
        """The routes of this group."""
        yield from api_routes("GET", "/discussions", self.list, "List discussions and pull requests")
        yield from api_routes("POST", "/discussions", self.open, "Open a discussion or pull request")
        yield from api_routes("GET", "/discussions/{number}", self.details, "A discussion with all that happened in it")
        yield from api_routes("POST", "/discussions/{number}/comment", self.comment, "Comment on a discussion")
        yield from api_routes("POST", "/discussions/{number}/comment/{comment}/edit", self.edit, "Edit a comment")
        yield from api_routes("POST", "/discussions/{number}/comment/{comment}/hide", self.hide, "Hide a comment for good")
        yield from api_routes("POST", "/discussions/{number}/title", self.rename, "Rename a discussion")
        yield from api_routes("POST", "/discussions/{number}/status", self.change_status, "Close a discussion or open it again")
        yield from api_routes("POST", "/discussions/{number}/merge", self.merge, "Merge a pull request")

    async def list(self, type_: RepositoryType, request: Request) -> Response:
        """List discussions, newest first; of models only what some filter narrows down.

        transformers answers pickled weights, at any revision, with a thread that asks for a model's list without any filter, and when
        that list has no pull request of a certain bot in it, sends the caller's token to a service outside
        (transformers/safetensors_conversion.py). A refusal stops it, so this one request is refused, whatever the model holds. All else
        that clients ask for has a filter, or is about a data set.
        """
        repository = await self._hub.repositories.find(request.principal, type_, repository_name(request))
        query = request.query_params
        if type_ == "model" and not any(query.get(name) for name in ("type", "status", "author")):
            raise Forbidden(
                "A model's discussions are not listed without a filter: some clients would answer the list by sending your token to a "
                "service outside. Ask for example with discussion_status='all'."
            )
        wanted = WantedDiscussions(
            _choice(query.get("type", "all"), _TYPES, "type"),
            _choice(query.get("status", "all"), _STATUSES, "status"),
            _plain(query.get("author")),
        )
        first = number(request, "p", 0, _PAGES_LIMIT) * _PAGE
        found, total = await self._hub.discussions.list(repository, wanted, (first, _PAGE))
        shapes = [_shape(repository, each) for each in found]
        return json_reply({"discussions": shapes, "count": total, "start": first})

    async def open(self, type_: RepositoryType, request: Request) -> Response:
        """Open a discussion or an empty pull request."""
        repository = await self._hub.repositories.find_proposable(request.principal, type_, repository_name(request))
        wanted = await request.struct(NewDiscussion)
        made = await self._hub.discussions.open(
            request.principal, repository, wanted.title, wanted.description, as_proposal=wanted.pullRequest
        )
        url = f"{repository_url(request, type_, repository.full_name)}/discussions/{made.number}"
        return json_reply({"num": made.number, "pullRequest": made.is_pull_request, "url": url})

    async def details(self, type_: RepositoryType, request: Request) -> Response:
        """A discussion with its events and, with `diff`, a pull request's changes for those who may read the files."""
        repository = await self._hub.repositories.find(request.principal, type_, repository_name(request))
        thread = await self._hub.discussions.get(repository, _number(request))
        shape = _shape(repository, thread.discussion) | {"events": _events(thread)}
        if thread.discussion.is_pull_request:
            changes = {"base": thread.discussion.target, "mergeCommitId": thread.discussion.merged_as}
            shape |= {"changes": {key: value for key, value in changes.items() if value}, "filesWithConflicts": list(thread.conflicts)}
            if flag(request, "diff"):
                shape["diff"] = await self._diff(type_, request, thread.discussion)
        return json_reply(shape)

    async def comment(self, type_: RepositoryType, request: Request) -> Response:
        """Say something."""
        repository, wanted = await self._find(type_, request), await request.struct(NewComment)
        event = await self._hub.discussions.comment(request.principal, repository, _number(request), wanted.comment)
        return json_reply({"newMessage": _event(event)})

    async def edit(self, type_: RepositoryType, request: Request) -> Response:
        """Put other words into a comment."""
        repository, wanted = await self._find(type_, request), await request.struct(ChangedComment)
        comment = _comment_id(request)
        event, edits = await self._hub.discussions.edit(request.principal, repository, _number(request), comment, wanted.content)
        return json_reply({"updatedComment": _event(event, edits)})

    async def hide(self, type_: RepositoryType, request: Request) -> Response:
        """Take a comment's words away."""
        repository = await self._find(type_, request)
        event = await self._hub.discussions.hide(request.principal, repository, _number(request), _comment_id(request))
        return json_reply({"updatedComment": _event(event)})

    async def rename(self, type_: RepositoryType, request: Request) -> Response:
        """Give a discussion another title."""
        repository, wanted = await self._find(type_, request), await request.struct(NewTitle)
        event = await self._hub.discussions.rename(request.principal, repository, _number(request), wanted.title)
        return json_reply({"newTitle": _event(event)})

    async def change_status(self, type_: RepositoryType, request: Request) -> Response:
        """Close a discussion or open it again."""
        repository, wanted = await self._find(type_, request), await request.struct(NewStatus)
        event = await self._hub.discussions.change_status(request.principal, repository, _number(request), wanted.status, wanted.comment)
        return json_reply({"newStatus": _event(event)})

    async def merge(self, type_: RepositoryType, request: Request) -> Response:
        """Bring a pull request into its branch; clients send no body when they have nothing to say."""
        repository = await self._hub.repositories.find_writable(request.principal, type_, repository_name(request))
        wanted = await request.struct(Merge) if has_body(request) else Merge()
        merged = await self._hub.discussions.merge(request.principal, repository, _number(request), wanted.comment)
        return json_reply({"mergeCommitId": merged.merged_as})

    async def _find(self, type_: RepositoryType, request: Request) -> Repository:
        return await self._hub.repositories.find_proposable(request.principal, type_, repository_name(request))

    async def _diff(self, type_: RepositoryType, request: Request, discussion: Discussion) -> str | None:
        try:
            repository = await self._hub.repositories.find_readable(request.principal, type_, repository_name(request))
        except Gated:
            return None
        return await self._hub.discussions.diff(repository, discussion.number)


def _shape(repository: Repository, discussion: Discussion) -> dict[str, Any]:
    return {
        "num": discussion.number,
        "title": discussion.title,
        "status": discussion.status,
        "author": _person(discussion.author),
        "repo": {"name": repository.full_name, "type": repository.type},
        "isPullRequest": discussion.is_pull_request,
        "createdAt": moment(discussion.created_at),
        "pinned": False,
    }


def _events(thread: Thread) -> list[dict[str, Any]]:
    return [
        _event(event, [each for each in thread.events if is_edit_of(each, event.id)]) for event in thread.events if event.kind != "edit"
    ]


def _event(event: Event, edits: Sequence[Event] = ()) -> dict[str, Any]:
    shape = {
        "id": f"{event.id:024x}",
        "type": _EVENT_TYPES[event.kind],
        "author": _person(event.author),
        "createdAt": moment(event.created_at),
    }
    match event.kind:
        case "comment":
            data = _comment(event, edits)
        case "status":
            data = {"status": event.text}
        case "title":
            data = {"from": event.detail, "to": event.text}
        case _:
            data = {"subject": event.text, "oid": event.detail}
    return shape | {"data": data}


def _comment(event: Event, edits: Sequence[Event]) -> dict[str, Any]:
    latest = _words(event, event.text) | {"updatedAt": moment(event.edited_at or event.created_at)}
    history = [latest, *(_words(event, edit.text) | {"updatedAt": moment(edit.created_at)} for edit in reversed(edits))] if edits else []
    return {"edited": bool(edits), "hidden": event.is_hidden, "latest": latest, "history": history, "numEdits": len(edits)}


def _words(event: Event, text: str) -> dict[str, Any]:
    # strangers' Markdown is never made into markup on our origin
    return {"raw": text, "html": f"<pre>{html.escape(text)}</pre>", "author": _person(event.author)}


def _person(name: str) -> dict[str, str]:
    return {"name": name, "fullname": name, "type": "user", "avatarUrl": ""}


def _number(request: Request) -> int:
    text = request.params["number"]
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise NotFound(f"{text[:40]!r} is not the number of a discussion.")
    return int(text)


def _comment_id(request: Request) -> int:
    try:
        comment = int(request.params["comment"], 16)
    except ValueError:
        comment = -1
    if not 0 <= comment < 2**63:
        raise NotFound("There is no such comment.")
    return comment


def _choice(text: str, choices: dict[str, T], parameter: str) -> T:
    if text not in choices:
        raise InvalidRequest(f"{text[:40]!r} is not one of {', '.join(choices)}.", param=parameter)
    return choices[text]


def _plain(text: str | None) -> str | None:
    if text is not None and "\0" in text:
        raise InvalidRequest("A query parameter contains a NUL character.")
    return text
