"""The Hub's JSON objects for repositories, files and commits."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from yunmo.cloud.repositories import Commit, Item, LargeFile, Overview, Page, Repository, Verdict, pointer_text

_KEPT_WITH_EXPAND = frozenset({"_id", "id", "modelId"})


def moment(at: datetime) -> str:
    """A moment as the Hub writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def repository_shape(repository: Repository, overview: Overview | None) -> dict[str, Any]:
    """What a list says of a repository."""
    shape: dict[str, Any] = {
        "_id": f"{repository.id:024x}",
        "id": repository.full_name,
        "author": repository.namespace,
        "private": repository.is_private,
        "gated": repository.gated or False,
        "disabled": repository.is_disabled,
        "downloads": repository.downloads,
        "likes": 0,
        "trendingScore": 0,
        "createdAt": moment(repository.created_at),
        "lastModified": moment(repository.updated_at),
        "tags": list(overview.tags) if overview else [],
    }
    if overview is not None:
        shape["sha"] = overview.commit
    if repository.type == "model":
        shape["modelId"] = repository.full_name
        shape |= {"pipeline_tag": overview.pipeline_tag, "library_name": overview.library_name} if overview else {}
    return {key: value for key, value in shape.items() if value is not None}


def overview_shape(overview: Overview) -> dict[str, Any]:
    """What the whole information adds about the revision's content."""
    shape: dict[str, Any] = {"cardData": overview.card, "usedStorage": overview.used_bytes}
    shape |= {"config": overview.config or None, "safetensors": overview.safetensors, "gguf": overview.gguf}
    return {key: value for key, value in shape.items() if value is not None}


def sibling_shapes(page: Page, *, with_blobs: bool) -> list[dict[str, Any]]:
    """Every file of the revision, with sizes and ids if asked for."""
    if not with_blobs:
        return [{"rfilename": item.path} for item in page.items]
    shapes = []
    for item in page.items:
        shape: dict[str, Any] = {"rfilename": item.path, "size": item.entry.size, "blobId": item.entry.oid}
        if item.entry.sha256:
            shape["lfs"] = {"sha256": item.entry.sha256, "size": item.entry.size, "pointerSize": _pointer_size(item)}
        shapes.append(shape)
    return shapes


def expanded(shape: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """Only the fields asked for, and the ids."""
    wanted = _KEPT_WITH_EXPAND.union(fields)
    whole = {**shape, "downloadsAllTime": shape.get("downloads")}
    return {key: value for key, value in whole.items() if key in wanted}


def tag_shapes(tags: Mapping[str, Iterable[str]]) -> dict[str, list[dict[str, str]]]:
    """Tags by type; the type's own prefix is no part of a label."""
    return {kind: [{"type": kind, "id": tag, "label": tag.removeprefix(f"{kind}:")} for tag in found] for kind, found in tags.items()}


def item_shape(item: Item, large: Mapping[str, LargeFile], change: Commit | None = None, verdict: Verdict | None = None) -> dict[str, Any]:
    """A file or folder in a listing."""
    entry = item.entry
    shape: dict[str, Any] = {"type": "directory" if entry.is_folder else "file", "oid": entry.oid, "size": entry.size, "path": item.path}
    if entry.sha256:
        shape["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": _pointer_size(item)}
        known = large.get(entry.sha256)
        if known is not None and known.xet_hash:
            shape["xetHash"] = known.xet_hash
    if change is not None:
        shape["lastCommit"] = {"id": change.oid, "title": change.title, "date": moment(change.created_at)}
    if verdict is not None:
        scan: dict[str, Any] = {"status": verdict.status, "message": verdict.message or None, "reportLink": None, "reportLabel": None}
        scan["imports"] = list(verdict.names)
        shape["securityFileStatus"] = {"status": verdict.status, "avScan": None, "pickleImportScan": scan}
    return shape


def commit_shape(commit: Commit, *, is_formatted: bool) -> dict[str, Any]:
    """A commit in a history."""
    shape: dict[str, Any] = {
        "id": commit.oid,
        "title": commit.title,
        "message": commit.message,
        "authors": [{"user": commit.author, "avatar": ""}],
        "date": moment(commit.created_at),
    }
    if is_formatted:
        shape["formatted"] = {"title": commit.title, "message": commit.message}
    return shape


def _pointer_size(item: Item) -> int:
    return len(pointer_text(item.entry.sha256 or "", item.entry.size))
