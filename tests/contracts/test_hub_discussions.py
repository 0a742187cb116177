"""Discussions and pull requests on every database."""

import asyncio
import os
import subprocess

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from hypothesis import given
from hypothesis import strategies as st

from hub_world import ACME, ADMIN, OTHER, principal, push
from yunmo.core.errors import Conflict, Forbidden, Gated, InvalidRequest, NotFound, RepositoryNotFound, Unauthenticated
from yunmo.core.identity import ANONYMOUS
from yunmo.hub import diffs, discussions, proposals
from yunmo.hub.commits import AddFile, Change, RemoveFile
from yunmo.hub.hub import Hub, Rules
from yunmo.hub.merging import merged
from yunmo.hub.objects import EMPTY_TREE, file_entry
from yunmo.hub.store.discussions import Wanted
from yunmo.hub.trees import TreeEdit, walk
from yunmo.storage.blobs import DirectoryStore
from yunmo.storage.database import open_database

READER = principal("other", "read")


@pytest.fixture
async def hub(database, tmp_path):
    return Hub(database, DirectoryStore(tmp_path / "blobs"), b"s" * 32)


@pytest.fixture
async def repository(hub):
    made = await hub.repositories.create(ACME, "model", "acme/m")
    await push(hub, made, {"a.txt": b"a", "b.txt": b"b", "folder/c.txt": b"c"})
    return made


async def change_of(hub, files, *removed, title="a change", **more):
    staging = hub.uploads.staging()
    operations = [AddFile(path, await staging.add(content), len(content)) for path, content in files.items()]
    await staging.flush()
    return Change(title=title, operations=(*operations, *map(RemoveFile, removed)), **more)


async def propose(hub, repository, files, *removed, by=OTHER, **more):
    """A pull request of this change; its number."""
    made = await hub.commits.commit(by, repository, "main", await change_of(hub, files, *removed, **more), as_proposal=True)
    return int(made.ref.rsplit("/", 1)[-1])


async def contents(hub, repository, revision="main"):
    page = await hub.files.all(repository, revision)
    return {item.path: await hub.files.read(item.entry, None) for item in page.items if item.path != ".gitattributes"}


async def test_a_merge_brings_the_changes_and_keeps_what_the_branch_did_meanwhile(hub, repository):
    number = await propose(hub, repository, {"a.txt": b"theirs", "folder/new.txt": b"new"}, "b.txt")
    await push(hub, repository, {"folder/c.txt": b"ours", "d.txt": b"d"})
    merged = await hub.discussions.merge(ACME, repository, number, "thanks")
    assert merged.status == "merged"
    assert (await hub.refs.resolve(repository, "main")).oid == merged.merged_as
    assert await contents(hub, repository) == {"a.txt": b"theirs", "folder/new.txt": b"new", "folder/c.txt": b"ours", "d.txt": b"d"}
    thread = await hub.discussions.get(repository, number)
    assert [(event.kind, event.text) for event in thread.events] == [("commit", "a change"), ("comment", "thanks"), ("status", "merged")]
    for again in (hub.discussions.merge(ACME, repository, number), hub.discussions.change_status(ACME, repository, number, "open")):
        with pytest.raises(Conflict, match="merged"):
            await again


async def test_what_both_sides_changed_is_named_and_not_merged_unless_they_agree(hub, repository):
    number = await propose(hub, repository, {"a.txt": b"theirs", "same.txt": b"same", "b.txt": b"theirs"})
    await push(hub, repository, {"a.txt": b"ours", "same.txt": b"same"})
    head = await hub.refs.resolve(repository, "main")
    assert (await hub.discussions.get(repository, number)).conflicts == ["a.txt"]
    with pytest.raises(Conflict, match=r"'a\.txt'"):
        await hub.discussions.merge(ACME, repository, number, "not said")
    assert await hub.refs.resolve(repository, "main") == head
    assert [event.kind for event in (await hub.discussions.get(repository, number)).events] == ["commit"]
    change = await change_of(hub, {"a.txt": b"ours"}, title="give in")
    await hub.commits.commit(OTHER, repository, f"refs/pr/{number}", change)
    await hub.discussions.merge(ACME, repository, number)
    assert (await contents(hub, repository))["b.txt"] == b"theirs"


async def test_a_file_in_the_place_of_a_folder_is_a_conflict(hub, repository):
    number = await propose(hub, repository, {"new": b"a file"})
    await push(hub, repository, {"new/one.txt": b"in a folder"})
    assert (await hub.discussions.get(repository, number)).conflicts == ["new"]


async def test_a_pull_request_starts_at_the_given_parent_and_survives_a_squash_of_the_branch(hub, repository):
    old = await hub.refs.resolve(repository, "main")
    await push(hub, repository, {"d.txt": b"d"})
    number = await propose(hub, repository, {"a.txt": b"theirs"}, parent=old.oid)
    assert "d.txt" not in await contents(hub, repository, f"refs/pr/{number}")
    await hub.commits.squash(ACME, repository, "main", "squashed")
    await hub.discussions.merge(ACME, repository, number)
    assert await contents(hub, repository) == {"a.txt": b"theirs", "b.txt": b"b", "folder/c.txt": b"c", "d.txt": b"d"}


async def test_a_pull_request_is_for_the_branch_it_was_made_from(hub, repository):
    await hub.refs.create(ACME, repository, "refs/heads/", "dev", None)
    change = await change_of(hub, {"a.txt": b"dev"})
    made = await hub.commits.commit(OTHER, repository, "dev", change, as_proposal=True)
    await hub.discussions.merge(ACME, repository, 1)
    assert (await contents(hub, repository, "dev"))["a.txt"] == b"dev"
    assert (await contents(hub, repository))["a.txt"] == b"a"
    with pytest.raises(InvalidRequest, match="another pull request"):
        await hub.commits.commit(OTHER, repository, made.ref, change, as_proposal=True)


async def test_everyone_may_do_what_is_theirs_and_no_more(hub, repository):
    number = await propose(hub, repository, {"a.txt": b"theirs"})
    more, ref = await change_of(hub, {"more.txt": b"more"}), f"refs/pr/{number}"
    third = principal("third")
    refused = [
        (Forbidden, lambda: hub.commits.commit(OTHER, repository, "main", more)),
        (Forbidden, lambda: hub.commits.commit(third, repository, ref, more)),
        (Forbidden, lambda: hub.commits.commit(READER, repository, ref, more)),
        (Forbidden, lambda: hub.commits.commit(READER, repository, "main", more, as_proposal=True)),
        (Unauthenticated, lambda: hub.commits.commit(ANONYMOUS, repository, "main", more, as_proposal=True)),
        (Unauthenticated, lambda: hub.discussions.comment(ANONYMOUS, repository, number, "hi")),
        (Forbidden, lambda: hub.discussions.comment(READER, repository, number, "hi")),
        (Forbidden, lambda: hub.discussions.merge(OTHER, repository, number)),
        (Forbidden, lambda: hub.discussions.rename(third, repository, number, "Mine now")),
        (Forbidden, lambda: hub.discussions.change_status(READER, repository, number, "closed")),
    ]
    for kind, call in refused:
        with pytest.raises(kind):
            await call()
    await hub.commits.commit(OTHER, repository, ref, more)
    await hub.commits.commit(ACME, repository, ref, await change_of(hub, {"yours.txt": b"ours"}))
    await hub.discussions.comment(third, repository, number, "hi")
    await hub.discussions.change_status(OTHER, repository, number, "closed")
    for late in (OTHER, ACME):
        with pytest.raises(Conflict, match="closed"):
            await hub.commits.commit(late, repository, ref, await change_of(hub, {"late.txt": b"late"}))
    await hub.discussions.change_status(ACME, repository, number, "open")
    await hub.discussions.merge(ADMIN, repository, number)


async def test_a_private_repository_hides_its_discussions_and_a_gated_one_is_proposed_to_by_whom_it_was_opened_for(hub, repository):
    await hub.repositories.change_settings(ACME, "model", "acme/m", gated="manual")
    found = await hub.repositories.find(OTHER, "model", "acme/m")
    change = await change_of(hub, {"a.txt": b"theirs"})
    with pytest.raises(Gated):
        await hub.commits.commit(OTHER, found, "main", change, as_proposal=True)
    with pytest.raises(Gated):
        await hub.repositories.find_proposable(OTHER, "model", "acme/m")
    await hub.access.grant(ACME, repository, "other")
    await hub.commits.commit(OTHER, found, "main", change, as_proposal=True)
    await hub.repositories.change_settings(ACME, "model", "acme/m", is_private=True, gated="")
    with pytest.raises(RepositoryNotFound):
        await hub.repositories.find_proposable(OTHER, "model", "acme/m")


async def test_numbers_are_given_once_however_many_ask_at_a_time(hub, repository):
    made = await asyncio.gather(*(hub.discussions.open(OTHER, repository, f"number {n}", as_proposal=n % 2 == 0) for n in range(12)))
    assert sorted(each.number for each in made) == list(range(1, 13))
    found, total = await hub.discussions.list(repository, Wanted(are_pull_requests=True), (0, 4))
    assert (total, [each.is_pull_request for each in found]) == (6, [True] * 4)
    rest, _ = await hub.discussions.list(repository, Wanted(are_pull_requests=True), (4, 4))
    assert sorted(each.number for each in (*found, *rest)) == sorted(each.number for each in made if each.is_pull_request)


async def test_a_hidden_comment_is_gone_with_all_its_former_words(hub, repository):
    await hub.discussions.open(OTHER, repository, "A thread")
    said = await hub.discussions.comment(OTHER, repository, 1, "a key by mistake")
    await hub.discussions.edit(OTHER, repository, 1, said.id, "never mind")
    with pytest.raises(Forbidden):
        await hub.discussions.edit(ACME, repository, 1, said.id, "my words")
    await hub.discussions.hide(ACME, repository, 1, said.id)
    thread = await hub.discussions.get(repository, 1)
    assert [(event.kind, event.text, event.is_hidden) for event in thread.events] == [("comment", "", True)]
    with pytest.raises(Forbidden):
        await hub.discussions.edit(OTHER, repository, 1, said.id, "back again")
    with pytest.raises(NotFound):
        await hub.discussions.hide(ACME, repository, 1, said.id + 100)


@pytest.mark.parametrize("title", ["", "  ab ", "x" * 201, "two\nlines", "nul\0l"])
async def test_a_bad_title_is_refused(hub, repository, title):
    with pytest.raises(InvalidRequest, match="title"):
        await hub.discussions.open(ACME, repository, title)


async def test_comments_and_threads_have_their_limits(hub, repository, monkeypatch):
    await hub.discussions.open(ACME, repository, "A thread")
    for text in ("", " ", "nul\0l", "x" * (discussions.COMMENT_LIMIT + 1)):
        with pytest.raises(InvalidRequest, match="comment"):
            await hub.discussions.comment(ACME, repository, 1, text)
    monkeypatch.setattr(discussions, "EVENTS_LIMIT", 2)
    monkeypatch.setattr(proposals, "EVENTS_LIMIT", 2)
    for text in ("one", "two"):
        await hub.discussions.comment(ACME, repository, 1, text)
    with pytest.raises(InvalidRequest, match="full"):
        await hub.discussions.comment(ACME, repository, 1, "three")
    number = await propose(hub, repository, {"a.txt": b"1"})
    for content in (b"2", b"3"):
        await hub.commits.commit(OTHER, repository, f"refs/pr/{number}", await change_of(hub, {"a.txt": content}))
    assert len((await hub.discussions.get(repository, number)).events) == 2
    assert await contents(hub, repository, f"refs/pr/{number}") == {"a.txt": b"3", "b.txt": b"b", "folder/c.txt": b"c"}


async def test_a_pickle_is_not_merged_where_only_safetensors_are_taken(database, tmp_path, hub, repository):
    number = await propose(hub, repository, {"weights.bin": b"\x80\x04}."})
    strict = Hub(database, DirectoryStore(tmp_path / "blobs"), b"s" * 32, rules=Rules(safetensors_only=True))
    with pytest.raises(InvalidRequest, match=r"'weights\.bin' is a pickle"):
        await strict.discussions.merge(ACME, repository, number)
    with pytest.raises(InvalidRequest, match=r"'more\.bin' is a pickle"):
        await propose(strict, repository, {"more.bin": b"\x80\x04}."})


async def test_a_deleted_repository_takes_its_discussions_with_it(hub, repository):
    await propose(hub, repository, {"a.txt": b"theirs"})
    await hub.repositories.delete(ACME, "model", "acme/m")
    again = await hub.repositories.create(ACME, "model", "acme/m")
    assert await hub.discussions.list(again, Wanted(), (0, 10)) == ([], 0)


async def test_git_applies_the_diff_of_a_pull_request(hub, repository, tmp_path):
    before = {
        "a.txt": b"1\n2\n3\n4\n5\n6\n7\n8\n9\n",
        "no-end.txt": b"one\ntwo",
        "gone.txt": b"gone\n",
        "separator.txt": "a\u2028b\nc\n".encode(),
        "was-empty.txt": b"",
    }
    after = {
        "a.txt": b"1\n2\n3\nfour\n5\nsix\n7\n8\n9\n",
        "no-end.txt": b"one\nTWO\nthree",
        "new/b.txt": b"new\n",
        "separator.txt": "a\u2028B\nc\n".encode(),
        "was-empty.txt": b"not now",
    }
    await push(hub, repository, before)
    number = await propose(hub, repository, after | {"binary.bin": b"\0\1", "long.txt": b"x" * (diffs.FILE_LIMIT_BYTES + 1)}, "gone.txt")
    text = await hub.discussions.diff(repository, number)
    assert "Binary files /dev/null and b/binary.bin differ" in text
    assert "Binary files /dev/null and b/long.txt differ" in text
    for path, content in before.items():
        (tmp_path / "work" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "work" / path).write_bytes(content)
    wanted = ["--exclude=long.txt", "--include=*.txt"]
    git = ["git", "-c", f"safe.directory={tmp_path}", "apply", "-p1", *wanted]
    await asyncio.to_thread(subprocess.run, git, cwd=tmp_path / "work", input=text.encode(), check=True, env={**os.environ, "GIT_DIR": "/"})
    applied = {str(path.relative_to(tmp_path / "work")): path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file()}
    assert applied == after


async def test_a_diff_that_is_too_long_says_how_many_files_it_leaves_out(hub, repository, monkeypatch):
    monkeypatch.setattr(diffs, "DIFF_LIMIT_CHARACTERS", 1000)
    number = await propose(hub, repository, {f"{n}.txt": b"x" * 400 for n in range(5)})
    assert (await hub.discussions.diff(repository, number)).endswith("# 4 more files are not shown\n")


def test_pull_requests_from_before_there_were_discussions_can_be_merged(database_url, tmp_path):
    async def before():
        database = open_database(database_url)
        await asyncio.to_thread(_migrate, database.engine, "head")
        hub = Hub(database, DirectoryStore(tmp_path / "blobs"), b"s" * 32)
        made = await hub.repositories.create(ACME, "model", "acme/m")
        await push(hub, made, {"a.txt": b"a"})
        number = await propose(hub, made, {"b.txt": b"b"}, by=ACME)
        await push(hub, made, {"c.txt": b"c"}, revision=f"refs/pr/{number}")
        with database.engine.begin() as connection:  # what an older version left
            connection.execute(sa.text("DROP TABLE hub_discussion_event"))
            connection.execute(sa.text("DROP TABLE hub_discussion"))
        await database.close()

    async def after():
        database = open_database(database_url)
        await asyncio.to_thread(_migrate, database.engine, "0007_discussions", "0006_unnamed_xorbs")
        hub = Hub(database, DirectoryStore(tmp_path / "blobs"), b"s" * 32)
        found = await hub.repositories.find(ACME, "model", "acme/m")
        (discussion,), _ = await hub.discussions.list(found, Wanted(), (0, 10))
        assert (discussion.number, discussion.status, discussion.author) == (1, "open", "acme")
        assert [each.path for each in await hub.discussions.changes(found, 1)] == ["b.txt", "c.txt"]
        await hub.discussions.merge(ACME, found, 1)
        assert await contents(hub, found) == {"a.txt": b"a", "b.txt": b"b", "c.txt": b"c"}
        await database.close()

    asyncio.run(before())
    asyncio.run(after())


def _migrate(engine, to, stamped=None):
    configuration = Config()
    configuration.set_main_option("script_location", "yunmo.storage:migrations")
    with engine.begin() as connection:
        configuration.attributes["connection"] = connection
        if stamped:
            command.stamp(configuration, stamped, purge=True)
        command.upgrade(configuration, to)


FILES = st.dictionaries(st.sampled_from(["a", "b", "f/c", "f/d", "g/h/i"]), st.integers(0, 3), max_size=5)


@given(FILES, FILES, FILES)
def test_a_merge_is_what_the_two_sides_changes_add_up_to(base, theirs, ours):
    trees = {EMPTY_TREE: ()}

    def write(files):
        edit = TreeEdit(trees.__getitem__, EMPTY_TREE)
        for path, content in files.items():
            edit.put(path, file_entry(path.rsplit("/", 1)[-1], f"{content:040x}", content))
        root, folders = edit.write()
        trees.update(folders)
        return root

    edit, conflicts = merged(trees.__getitem__, *map(write, (base, theirs, ours)))
    paths = base.keys() | theirs.keys() | ours.keys()
    clashing = {path for path in paths if len({base.get(path), theirs.get(path), ours.get(path)}) == 3}
    clashing |= {path for path in paths if theirs.get(path) != base.get(path) != ours.get(path) != theirs.get(path)}
    assert set(conflicts) == clashing
    if not conflicts:
        root, folders = edit.write()
        trees.update(folders)
        found = {item.path: item.entry.size for item in walk(trees.__getitem__, root) if not item.entry.is_folder}
        sides = {path: (theirs if theirs.get(path) != base.get(path) else ours).get(path) for path in paths}
        assert found == {path: content for path, content in sides.items() if content is not None}
