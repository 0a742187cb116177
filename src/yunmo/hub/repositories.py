"""Repositories: making, finding, moving and deleting them, and who may see what.

Public ones are readable without a key. What a caller may not see does not exist for them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from yunmo.core.errors import Conflict, Forbidden, Gated, InvalidRequest, RepositoryNotFound, Unauthenticated
from yunmo.core.identity import Principal
from yunmo.hub import history
from yunmo.hub.acts import Record
from yunmo.hub.blobs import Blobs
from yunmo.hub.names import DEFAULT_NAMESPACE, RepositoryType, check_name, split_name
from yunmo.hub.records import Gating, Repository
from yunmo.hub.store import repositories as store
from yunmo.hub.store.repositories import Listing
from yunmo.storage.database import Database

ATTRIBUTES = "\n".join(
    f"*{suffix} filter=lfs diff=lfs merge=lfs -text"
    for suffix in [
        ".7z",
        ".arrow",
        ".avro",
        ".bin",
        ".bz2",
        ".ckpt",
        ".ftz",
        ".gguf",
        ".gz",
        ".h5",
        ".joblib",
        ".lz4",
        ".mlmodel",
        ".model",
        ".msgpack",
        ".npy",
        ".npz",
        ".onnx",
        ".ot",
        ".parquet",
        ".pb",
        ".pickle",
        ".pkl",
        ".pt",
        ".pth",
        ".rar",
        ".safetensors",
        ".tar",
        ".tar.gz",
        ".tflite",
        ".tgz",
        ".wasm",
        ".xz",
        ".zip",
        ".zst",
        "tfevents*",
    ]
)
"""The first file of every repository: what git would store as large files."""


_NO_KEY = "An API key is required. Send it as 'Authorization: Bearer <key>'; make one with 'yunmo key create'."


class RepositoryExists(Conflict):
    """A repository of this name is there already; `repository` is it, if the caller may see it."""

    def __init__(self, message: str, repository: Repository | None = None, *, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.repository = repository


@dataclass(frozen=True, slots=True)
class Repositories:
    """All repositories, as far as the caller may see them."""

    database: Database
    blobs: Blobs
    clock: Callable[[], datetime]
    record: Record

    async def find(self, principal: Principal, type_: RepositoryType, name: str) -> Repository:
        """The repository with this name, former name or alias. Raises RepositoryNotFound."""
        return await self.database.read(lambda connection: find_in(connection, principal, type_, name))

    async def find_writable(self, principal: Principal, type_: RepositoryType, name: str) -> Repository:
        """The same, if the caller may change it. Raises Forbidden or Unauthenticated otherwise."""
        repository = await self.find(principal, type_, name)
        require_write(principal, repository.namespace)
        return repository

    async def find_readable(self, principal: Principal, type_: RepositoryType, name: str) -> Repository:
        """The same, if the caller may read its files. Raises Gated where access must be asked for first."""

        def work(connection: sa.Connection) -> Repository:
            repository = find_in(connection, principal, type_, name)
            check_files(connection, principal, repository)
            return repository

        return await self.database.read(work)

    async def find_proposable(self, principal: Principal, type_: RepositoryType, name: str) -> Repository:
        """The same, if the caller may open discussions and pull requests. Raises Forbidden, Unauthenticated or Gated otherwise."""

        def work(connection: sa.Connection) -> Repository:
            repository = find_in(connection, principal, type_, name)
            require_propose(connection, principal, repository)
            return repository

        return await self.database.read(work)

    async def create(self, principal: Principal, type_: RepositoryType, name: str, *, is_private: bool = False) -> Repository:
        """Make a repository with its first commit; a bare name goes to the caller's namespace. Raises RepositoryExists."""
        namespace, bare = split_name(name)
        full_name = f"{namespace or check_name(principal.project or 'nobody', is_namespace=True)}/{bare}"
        require_write(principal, full_name.split("/", maxsplit=1)[0])
        staging = self.blobs.staging()
        content = f"{ATTRIBUTES}\n".encode()
        oid = await staging.add(content)
        await staging.flush()

        def work(connection: sa.Connection) -> Repository:
            existing = store.by_name(connection, type_, full_name) or store.by_alias(connection, type_, full_name)
            if existing is not None:
                raise RepositoryExists(f"The {type_} {full_name} exists already.", existing if may_see(principal, existing) else None)
            at = self.clock()
            repository = store.insert(connection, type_, full_name, is_private=is_private, at=at)
            history.start(connection, repository, (".gitattributes", oid, len(content)), (principal.project, at))
            return repository

        try:
            return await self.database.write(work)
        except sa.exc.IntegrityError as error:  # another process was faster
            raise RepositoryExists(f"The {type_} {full_name} exists already.") from error

    async def delete(self, principal: Principal, type_: RepositoryType, name: str) -> Repository:
        """Forget a repository. Its name stays with its namespace."""
        gone = await self._change(principal, type_, name, lambda connection, repository: store.delete(connection, repository.id))
        await self.record(principal, "repository.deleted", gone.full_name, {"type": type_})
        return gone

    async def move(self, principal: Principal, type_: RepositoryType, name: str, to: str) -> Repository:
        """Rename a repository; its old name keeps leading to it. Raises RepositoryExists."""
        namespace, _ = split_name(to)
        if namespace is None:
            raise InvalidRequest(f"{to!r} is not a full name: write 'namespace/name'.", param="toRepo")
        require_write(principal, namespace)

        def work(connection: sa.Connection, repository: Repository) -> None:
            taken = store.by_name(connection, type_, to) or store.by_alias(connection, type_, to)
            if taken is not None and taken.id != repository.id:
                raise RepositoryExists(f"The {type_} {to} exists already.")
            if to != repository.full_name:
                store.rename(connection, repository, to, self.clock())

        before = await self._change(principal, type_, name, work)
        await self.record(principal, "repository.moved", before.full_name, {"type": type_, "to": to})
        return await self.find(principal, type_, to)

    async def change_settings(
        self, principal: Principal, type_: RepositoryType, name: str, *, is_private: bool | None = None, gated: Gating | None = None
    ) -> Repository:
        """Make a repository private or public, gated or open; None leaves things as they are."""
        given = {"is_private": is_private, "gated": gated}
        changes = {name: value for name, value in given.items() if value is not None}
        values: dict[str, Any] = {"updated_at": self.clock(), **changes}
        repository = await self._change(principal, type_, name, lambda connection, found: store.update(connection, found.id, **values))
        await self.record(principal, "repository.changed", repository.full_name, {"type": type_, **changes})
        return await self.find(principal, type_, repository.full_name)

    async def set_disabled(self, principal: Principal, type_: RepositoryType, name: str, *, is_disabled: bool) -> None:
        """Close a repository to everyone, or open it again; for administrators."""
        principal.require("admin")
        repository = await self.find(principal, type_, name)
        await self.database.write(lambda connection: store.update(connection, repository.id, is_disabled=is_disabled))
        await self.record(principal, "repository.disabled" if is_disabled else "repository.enabled", repository.full_name, {"type": type_})

    async def list(self, principal: Principal, wanted: Listing) -> Sequence[Repository]:
        """The repositories wanted among those that the caller may see, one more than the limit if there are more."""
        may_see_own = principal.may_read_from(principal.project) or principal.may_write_to(principal.project)
        reader = None if principal.is_admin else principal.project if may_see_own else ""
        return await self.database.read(lambda connection: store.listing(connection, replace(wanted, reader=reader)))

    async def alias(self, principal: Principal, type_: RepositoryType, name: str, repository: str) -> None:
        """Let a bare name lead to a repository; for administrators."""
        principal.require("admin")
        if split_name(name)[0] is not None:
            raise InvalidRequest(f"{name!r} is not a bare name: an alias has no namespace.", param="name")
        found = await self.find(principal, type_, repository)
        await self.database.write(lambda connection: store.put_alias(connection, type_, name, found.id))
        await self.record(principal, "alias.set", name, {"type": type_, "repository": found.full_name})

    async def remove_alias(self, principal: Principal, type_: RepositoryType, name: str) -> None:
        """Forget an alias; for administrators. Raises RepositoryNotFound."""
        principal.require("admin")
        if not await self.database.write(lambda connection: store.delete_alias(connection, type_, name)):
            raise RepositoryNotFound(f"There is no alias {name!r}.")
        await self.record(principal, "alias.removed", name, {"type": type_})

    async def aliases(self, principal: Principal) -> tuple[tuple[str, str, str], ...]:
        """Every alias as (type, name, repository's full name); for administrators."""
        principal.require("admin")

        def work(connection: sa.Connection) -> tuple[tuple[str, str, str], ...]:
            found = [(type_, name, store.by_id(connection, identity)) for type_, name, identity in store.aliases(connection)]
            return tuple((type_, name, repository.full_name) for type_, name, repository in found if repository is not None)

        return await self.database.read(work)

    async def _change(
        self, principal: Principal, type_: RepositoryType, name: str, work: Callable[[sa.Connection, Repository], None]
    ) -> Repository:
        def transaction(connection: sa.Connection) -> Repository:
            repository = find_in(connection, principal, type_, name)
            require_write(principal, repository.namespace)
            store.lock(connection, repository.id)
            work(connection, repository)
            return repository

        return await self.database.write(transaction)


def find_in(connection: sa.Connection, principal: Principal, type_: RepositoryType, name: str) -> Repository:
    """Look a name up inside the caller's transaction. Raises RepositoryNotFound, also for what the caller may not see."""
    repository = resolve_name(connection, type_, name)
    if repository is None or not may_see(principal, repository):
        raise RepositoryNotFound(f"There is no {type_} {name!r}, or you may not see it. Check the name and, if it is private, your key.")
    if repository.is_disabled and not principal.is_admin:
        raise Forbidden("Access to this resource is disabled.")
    return repository


def resolve_name(connection: sa.Connection, type_: RepositoryType, name: str) -> Repository | None:
    """The repository behind a full name, former name, alias or bare name of the default namespace, whoever asks."""
    if "\0" in name:
        return None  # PostgreSQL cannot even look for it
    if "/" in name:
        return store.by_name(connection, type_, name) or store.by_alias(connection, type_, name)
    return store.by_alias(connection, type_, name) or store.by_name(connection, type_, f"{DEFAULT_NAMESPACE}/{name}")


def may_see(principal: Principal, repository: Repository) -> bool:
    """Whether the repository exists for this caller."""
    if not repository.is_private:
        return True
    return principal.may_read_from(repository.namespace) or principal.may_write_to(repository.namespace)


def check_files(connection: sa.Connection, principal: Principal, repository: Repository) -> None:
    """Raise Gated unless the caller may read the repository's files."""
    if not repository.gated or principal.project == repository.namespace or principal.is_admin:
        return
    request = None if principal.is_anonymous else store.access(connection, repository.id, principal.project)
    if request is None or request.status != "accepted":
        raise Gated(
            f"Access to {repository.type} {repository.full_name} is restricted. Ask its owner for access, then send a key of the project "
            "that was given it."
        )


def may_write(principal: Principal, namespace: str) -> bool:
    """Whether the caller may change things in the namespace; only an administrator does in the default one."""
    return principal.may_write_to(namespace) and (namespace.lower() != DEFAULT_NAMESPACE or principal.is_admin)


def require_write(principal: Principal, namespace: str) -> None:
    """Raise unless the caller may change things in the namespace."""
    if may_write(principal, namespace):
        return
    if principal.is_anonymous:
        raise Unauthenticated(_NO_KEY)
    raise Forbidden(f"This key may not write to the namespace {namespace!r}. Use a key of that project with the scope 'write'.")


def require_propose(connection: sa.Connection, principal: Principal, repository: Repository) -> None:
    """Raise unless the caller may open discussions and pull requests, and comment.

    Whoever may read the repository's files may, with a key of any project that has the scope `write`: a key that only reads is handed
    out in the belief that it leaves no traces anywhere.
    """
    if principal.is_anonymous:
        raise Unauthenticated(_NO_KEY)
    if not principal.may("write"):
        raise Forbidden("This key only reads: discussions and pull requests need one with the scope 'write', of any project.")
    check_files(connection, principal, repository)
