"""SQL for what each repository's newest revision says about itself, and for its tags."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from yunmo.hub.names import RepositoryType
from yunmo.hub.records import Overview
from yunmo.hub.store import tables
from yunmo.hub.store.rows import insert_or

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Overview).decode
_TAG_LIMIT = 255


def put(connection: sa.Connection, repository_id: int, overview: Overview) -> None:
    """Replace the repository's overview and tags."""
    parameters = (overview.safetensors or {}).get("total") or (overview.gguf or {}).get("total")
    row = {"repository_id": repository_id, "commit": overview.commit, "content": _encode(overview), "parameters": parameters}
    row |= {"pipeline_tag": _short(overview.pipeline_tag), "library_name": _short(overview.library_name)}
    insert_or(connection, tables.overview, [row], update=("commit", "content", "parameters", "pipeline_tag", "library_name"))
    connection.execute(sa.delete(tables.tag).where(tables.tag.c.repository_id == repository_id))
    tags = sorted({tag[:_TAG_LIMIT] for tag in overview.tags})
    insert_or(connection, tables.tag, [{"repository_id": repository_id, "tag": tag} for tag in tags])


def get(connection: sa.Connection, repository_ids: Sequence[int]) -> dict[int, Overview]:
    """The overviews that there are, by repository."""
    table = tables.overview.c
    query = sa.select(table.repository_id, table.content).where(table.repository_id.in_(repository_ids))
    return {row.repository_id: _decode(row.content) for row in connection.execute(query)}


def public_tags(connection: sa.Connection, type_: RepositoryType, limit: int) -> list[tuple[str, str]]:
    """The tags of what everyone may see, each with its type (`license`, `library` …), at most `limit` of them."""
    overview, repository, tag = tables.overview.c, tables.repository.c, tables.tag.c
    is_public = sa.and_(repository.type == type_, repository.is_private == sa.false(), repository.is_disabled == sa.false())
    tagged = sa.join(tables.tag, tables.repository, tag.repository_id == repository.id)
    names = connection.execute(sa.select(tag.tag).distinct().select_from(tagged).where(is_public).order_by(tag.tag).limit(limit)).scalars()
    described = sa.join(tables.overview, tables.repository, overview.repository_id == repository.id)
    own = {
        kind: set(connection.execute(sa.select(column).distinct().select_from(described).where(is_public)).scalars())
        for kind, column in (("pipeline_tag", overview.pipeline_tag), ("library", overview.library_name))
    }
    return [(name, next((kind for kind, found in own.items() if name in found), _type_of(name))) for name in names]


def outdated(connection: sa.Connection, type_: RepositoryType, main: str, limit: int) -> list[int]:
    """Repositories whose overview is missing or is not about the commit that `main` points at."""
    overview, ref, repository = tables.overview.c, tables.ref.c, tables.repository.c
    joined = sa.join(tables.ref, tables.repository, ref.repository_id == repository.id).outerjoin(
        tables.overview, overview.repository_id == repository.id
    )
    query = (
        sa.select(repository.id)
        .select_from(joined)
        .where(repository.type == type_, ref.name == main, sa.or_(overview.commit.is_(None), overview.commit != ref.oid))
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def _type_of(tag: str) -> str:
    prefix, colon, _ = tag.partition(":")
    return prefix if colon else "other"


def _short(text: str | None) -> str | None:
    return None if text is None else text[:96]
