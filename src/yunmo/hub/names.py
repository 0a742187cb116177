"""Names of repositories and of branches and tags."""

import re
from typing import Literal, get_args

from yunmo.core.errors import InvalidRequest

RepositoryType = Literal["model", "dataset"]
TYPES: tuple[RepositoryType, ...] = get_args(RepositoryType)

DEFAULT_NAMESPACE = "library"
"""Where bare names live; only an administrator writes there."""

RESERVED_NAMES = frozenset(
    [
        "revision",
        "tree",
        "refs",
        "commits",
        "commit",
        "preupload",
        "paths-info",
        "branch",
        "tag",
        "super-squash",
        "settings",
        "xet-read-token",
        "xet-write-token",
        "auth-check",
        "user-access-request",
        "discussions",
        "lfs-files",
        "resolve",
        "raw",
        "blob",
        "like",
        "likers",
        "treesize",
        "safetensors-metadata",
        "compare",
        "duplicate",
        "scan",
        "jwt",
    ]
)
"""Words that follow a bare repository name in an address."""

RESERVED_NAMESPACES = frozenset(
    [
        "api",
        "datasets",
        "spaces",
        "kernels",
        "models",
        "buckets",
        "cas",
        "oauth",
        "settings",
        "login",
        "join",
        "docs",
        "papers",
        "collections",
        "v1",
        "v2",
        "v3",
        "health",
        "metrics",
        "translate",
        "detect",
        "languages",
        "console",
        "static",
    ]
)
"""First segments of other addresses of this server."""

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REF_PART = re.compile(r"[^\x00-\x20\x7f~^:?*\[\\]+")
_QUOTED = re.compile(r"%[0-9a-fA-F]{2}")
_COMMIT_LIKE = re.compile(r"[0-9a-fA-F]{40}")


def check_name(name: str, *, is_namespace: bool = False) -> str:
    """Return the namespace or repository name if it may be used; raise InvalidRequest otherwise."""
    kind = "namespace" if is_namespace else "repository name"
    reserved = RESERVED_NAMESPACES if is_namespace else RESERVED_NAMES
    if not _NAME.fullmatch(name) or "--" in name or ".." in name or name.lower().endswith(".git"):
        raise InvalidRequest(
            f"{name[:200]!r} is not a valid {kind}: use 1 to 96 of A-Z a-z 0-9 . _ -, with no '-' or '.' at either end, no '--', no '..' "
            "and no ending '.git'.",
            param="name",
        )
    if name.lower() in reserved:
        raise InvalidRequest(f"{name!r} is reserved and cannot be a {kind}.", param="name")
    return name


def split_name(full_name: str) -> tuple[str | None, str]:
    """Split `namespace/name`; the namespace is None for a bare name. Raises InvalidRequest for anything else."""
    parts = full_name.split("/")
    if len(parts) == 1:
        return None, check_name(parts[0])
    if len(parts) == 2:
        return check_name(parts[0], is_namespace=True), check_name(parts[1])
    raise InvalidRequest(f"{full_name[:200]!r} is not a repository: write 'namespace/name'.", param="name")


def check_ref_name(name: str) -> str:
    """Return the name of a branch or tag if git would accept it; raise InvalidRequest otherwise."""
    parts = name.split("/")
    is_good = (
        len(name.encode()) <= 200
        and all(_REF_PART.fullmatch(part) and not part.startswith((".", "-")) and not part.endswith((".", ".lock")) for part in parts)
        and ".." not in name
        and "@{" not in name
        and name not in {"@", "HEAD"}
        and parts[0] != "refs"
        and not _COMMIT_LIKE.fullmatch(name)
        and not _QUOTED.search(name)
    )
    if not is_good:
        raise InvalidRequest(f"{name[:200]!r} is not a valid name for a branch or tag.", param="name")
    return name
