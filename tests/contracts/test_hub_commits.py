import asyncio
import subprocess
import uuid
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub_world import ACME, ADMIN, OTHER, open_hub, principal, push
from yunmo.core.errors import EntryNotFound, Forbidden, InvalidRequest, PreconditionFailed, RevisionNotFound, YunmoError
from yunmo.hub import history
from yunmo.hub.commits import AddFile, AddLargeFile, Change, RemoveFile, RemoveFolder
from yunmo.hub.hub import Hub
from yunmo.hub.objects import CommitText, tree_content
from yunmo.hub.refs import BRANCH, TAG
from yunmo.hub.store import commits as store
from yunmo.hub.trees import find
from yunmo.storage.blobs import DirectoryStore

ATTRIBUTES = ".gitattributes"


@pytest.fixture
async def hub(database, tmp_path):
    return Hub(database, DirectoryStore(tmp_path / "blobs"), b"s" * 32)


@pytest.fixture
async def repository(hub):
    return await hub.repositories.create(ACME, "model", "acme/m")


async def contents(hub, repository, revision="main"):
    page = await hub.files.all(repository, revision)
    return {
        item.path: await hub.files.read(item.entry, page.large.get(item.entry.sha256)) for item in page.items if item.path != ATTRIBUTES
    }


async def commit(hub, repository, *operations, revision="main", by=ACME, **change):
    return (
        await hub.commits.commit(by, repository, revision, Change(title=change.pop("title", "c"), operations=operations, **change))
    ).commit


async def test_a_new_repository_has_one_commit_with_the_attributes(hub, repository):
    (first,) = await hub.commits.history(repository, "main", 10)
    page = await hub.files.all(repository, "main")
    assert [item.path for item in page.items] == [ATTRIBUTES]
    assert len(first.oid) == 40
    assert first.parent is None


async def test_files_come_back_as_they_went_in_small_and_large(hub, repository):
    files = {"a.txt": b"hello", "dir/b.bin": b"x" * 300_000, "dir/sub/empty": b""}
    await push(hub, repository, files)
    assert await contents(hub, repository) == files


async def test_a_range_of_a_stored_file_is_what_a_slice_would_be(hub, repository):
    content = bytes(range(256)) * 1000
    await push(hub, repository, {"inline": content[:1000], "stored": content})
    page = await hub.files.all(repository, "main")
    for item in page.items[1:]:
        whole = content[: item.entry.size]
        for start, end in ((0, 1), (10, 500), (999, None), (0, 0)):
            assert await hub.files.read(item.entry, None, start, end) == whole[start:end]


async def test_a_revision_never_changes(hub, repository):
    first = await push(hub, repository, {"a": b"1"})
    await push(hub, repository, {"a": b"2"})
    assert await contents(hub, repository, first.oid) == {"a": b"1"}
    assert await contents(hub, repository, first.oid[:7]) == {"a": b"1"}


async def test_the_expected_parent_must_be_the_head(hub, repository):
    first = await push(hub, repository, {"a": b"1"})
    await push(hub, repository, {"b": b"1"}, parent=first.oid[:7])
    with pytest.raises(PreconditionFailed):
        await push(hub, repository, {"c": b"1"}, parent=first.oid)
    assert set(await contents(hub, repository)) == {"a", "b"}


async def test_a_retried_commit_is_made_once(hub, repository):
    head = await hub.refs.resolve(repository, "main")
    first = await push(hub, repository, {"a": b"1"}, parent=head.oid)
    assert await push(hub, repository, {"a": b"1"}, parent=head.oid) == first
    again = await push(hub, repository, {"a": b"1"})
    assert again == first
    assert len(await hub.commits.history(repository, "main", 10)) == 2


async def test_the_same_change_after_another_one_is_a_new_commit(hub, repository):
    await push(hub, repository, {"a": b"1"})
    await push(hub, repository, {"a": b"2"})
    await push(hub, repository, {"a": b"1"})
    assert await contents(hub, repository) == {"a": b"1"}
    assert len(await hub.commits.history(repository, "main", 10)) == 4


async def test_nothing_of_a_refused_commit_is_seen(hub, repository):
    before = await hub.refs.resolve(repository, "main")
    staging = hub.uploads.staging()
    oid = await staging.add(b"new")
    await staging.flush()
    with pytest.raises(EntryNotFound, match="doesn't exist"):
        await commit(hub, repository, AddFile("a", oid, 3), RemoveFile("missing"))
    assert await hub.refs.resolve(repository, "main") == before


@pytest.mark.parametrize(
    "second",
    [
        AddFile("a/b", "0" * 40, 1),
        AddFile("d", "0" * 40, 1),
        AddFile("A", "0" * 40, 1),
        AddFile("D/x", "0" * 40, 1),
        AddFile("d/\u212a", "0" * 40, 1),
    ],
)
async def test_a_path_cannot_be_a_file_and_a_folder_nor_differ_in_case_only(hub, repository, second):
    await push(hub, repository, {"a": b"1", "d/k": b"2"})
    with pytest.raises(InvalidRequest):
        await commit(hub, repository, second)


async def test_a_file_can_make_way_for_a_folder_in_one_commit(hub, repository):
    await push(hub, repository, {"a": b"1"})
    await commit(hub, repository, RemoveFile("a"), AddFile("a/b", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", 0))
    page = await hub.files.all(repository, "main")
    assert [item.path for item in page.items] == [ATTRIBUTES, "a/b"]


@pytest.mark.parametrize("path", ["../x", "a//b", "/x", ".git/config", "a\0"])
async def test_every_operation_checks_its_path(hub, repository, path):
    for operation in (AddFile(path, "0" * 40, 1), AddLargeFile(path, "0" * 64), RemoveFile(path), RemoveFolder(path)):
        with pytest.raises(InvalidRequest):
            await commit(hub, repository, operation)


async def test_a_large_file_that_was_not_uploaded_to_this_repository_is_refused(hub, repository):
    with pytest.raises(InvalidRequest, match="was not uploaded"):
        await commit(hub, repository, AddLargeFile("w.safetensors", "ab" * 32, 10))


async def test_nobody_else_may_commit(hub, repository):
    for someone in (OTHER, principal("acme", "read"), principal("acme", "infer")):
        with pytest.raises(Forbidden):
            await commit(hub, repository, by=someone)
    await commit(hub, repository, by=ADMIN, title="by the administrator")


async def test_a_tag_a_commit_and_a_missing_branch_cannot_be_committed_to(hub, repository):
    head = await hub.refs.resolve(repository, "main")
    await hub.refs.create(ACME, repository, TAG, "v1", None)
    for revision, error in (("v1", InvalidRequest), (head.oid, RevisionNotFound), ("nope", RevisionNotFound)):
        with pytest.raises(error):
            await push(hub, repository, {"a": b"1"}, revision=revision)


async def test_branches_win_over_tags_and_exact_refs_over_both(hub, repository):
    first = await hub.refs.resolve(repository, "main")
    await hub.refs.create(ACME, repository, TAG, "x", None)
    await hub.refs.create(ACME, repository, BRANCH, "x", None)
    second = await push(hub, repository, {"a": b"1"}, revision="x")
    assert (await hub.refs.resolve(repository, "x")).oid == second.oid
    assert (await hub.refs.resolve(repository, "refs/tags/x")).oid == first.oid


async def test_a_proposal_leaves_the_branch_alone(hub, repository):
    staging = hub.uploads.staging()
    oid = await staging.add(b"new")
    await staging.flush()
    made = await hub.commits.commit(ACME, repository, "main", Change(title="p", operations=(AddFile("a", oid, 3),)), as_proposal=True)
    assert made.ref == "refs/pr/1"
    assert await contents(hub, repository) == {}
    assert await contents(hub, repository, "refs/pr/1") == {"a": b"new"}


async def test_squashing_keeps_the_files_and_one_commit(hub, repository):
    await push(hub, repository, {"a": b"1"})
    await push(hub, repository, {"b": b"2"})
    await hub.commits.squash(ACME, repository, "main", "squashed")
    assert [each.title for each in await hub.commits.history(repository, "main", 10)] == ["squashed"]
    assert await contents(hub, repository) == {"a": b"1", "b": b"2"}


async def test_each_file_knows_the_commit_that_last_changed_it(hub, repository):
    first = await push(hub, repository, {"a": b"1", "d/x": b"1"})
    second = await push(hub, repository, {"d/y": b"1"})
    third = await push(hub, repository, {"a": b"2"})
    changes = await hub.files.last_changes(await hub.files.list(repository, "main", is_recursive=True))
    assert {path: each.oid for path, each in changes.items() if path != ATTRIBUTES} == {
        "a": third.oid, "d": second.oid, "d/x": first.oid, "d/y": second.oid,
    }  # fmt: skip


async def test_eight_clients_at_once_lose_nothing(hub, repository):
    async def client(number):
        for turn in range(5):
            await push(
                hub, repository, {f"client-{number}/{turn}.txt": f"{number} {turn}".encode(), "shared.txt": f"{number}-{turn}".encode()}
            )

    await asyncio.gather(*(client(number) for number in range(8)))
    found = await contents(hub, repository)
    assert len(found) == 41
    commits = await hub.commits.history(repository, "main", 100)
    assert len(commits) == 41
    assert Counter(each.parent for each in commits).most_common(1)[0][1] == 1


async def test_of_many_clients_with_the_same_parent_one_wins(hub, repository):
    head = await hub.refs.resolve(repository, "main")
    results = await asyncio.gather(
        *(push(hub, repository, {"f": str(number).encode()}, parent=head.oid) for number in range(8)), return_exceptions=True
    )
    assert sum(isinstance(result, PreconditionFailed) for result in results) == 7


def export(hub, repository, connection, directory):
    """Write the repository's objects into a bare git repository."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", directory], check=True)

    def write(kind, content):
        done = subprocess.run(
            ["git", "hash-object", "-w", "-t", kind, "--stdin"], cwd=directory, input=content, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    load = store.tree_reader(connection)

    def write_tree(oid):
        for entry in load(oid):
            if entry.is_folder:
                write_tree(entry.oid)
            else:
                assert write("blob", store.get_blob(connection, entry.oid).content) == entry.oid
        assert write("tree", tree_content(load(oid))) == oid

    head = store.get_ref(connection, repository.id, history.MAIN)
    for each in reversed(store.history(connection, repository.id, head, 1000)):
        write_tree(each.tree)
        whole = f"{each.title}\n\n{each.message}" if each.message else each.title
        assert write("commit", CommitText(each.tree, each.parent, each.author, each.created_at, whole).content()) == each.oid
    subprocess.run(["git", "update-ref", "refs/heads/main", head], cwd=directory, check=True)


async def test_git_itself_agrees_with_every_object(hub, repository, tmp_path):
    await push(
        hub, repository, {"a.txt": b"1", "a/x": b"2", "a-b": b"3", "é/模型.txt": b"4"}, title="first", message="with words\n\nand more"
    )
    await push(hub, repository, {"a/y/z": b"5", "a0": b"6"})
    await commit(hub, repository, RemoveFolder("é"))
    bare = tmp_path / "bare.git"
    await hub.repositories.database.read(lambda connection: export(hub, repository, connection, bare))
    assert fsck(bare) == ""
    assert listed(bare) == {ATTRIBUTES, "a.txt", "a/x", "a-b", "a/y/z", "a0"}


def fsck(bare):
    """What git complains of."""
    done = subprocess.run(["git", "fsck", "--strict", "--full"], cwd=bare, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def listed(bare):
    """The paths that git finds."""
    done = subprocess.run(["git", "ls-tree", "-r", "--name-only", "-z", "main"], cwd=bare, capture_output=True, check=True)
    return set(done.stdout.decode().strip("\0").split("\0"))


NAMES = st.sampled_from(["a", "b", "c", "A", "d.txt"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
OPERATIONS = st.one_of(
    st.tuples(st.just("add"), PATHS, st.binary(max_size=3)), st.tuples(st.just("remove"), PATHS), st.tuples(st.just("remove-folder"), PATHS)
)


class Refused(Exception):
    pass


def apply(model, operation):
    """The rules once more, on a plain dictionary of paths."""
    kind, path = operation[0], operation[1]
    below = [each for each in model if each.startswith(path + "/")]
    if kind == "add":
        parents = [path.rsplit("/", depth)[0] for depth in range(1, path.count("/") + 1)]
        folders = {each.rsplit("/", depth)[0] for each in model for depth in range(1, each.count("/") + 1)}
        taken = set(model) | folders
        alike = any(each.lower() == mine.lower() and each != mine for each in taken for mine in [path, *parents])
        if below or any(parent in model for parent in parents) or alike:
            raise Refused
        return model | {path: operation[2]}
    gone = below if kind == "remove-folder" else [each for each in model if each == path]
    if not gone:
        raise Refused
    return {each: content for each, content in model.items() if each not in gone}


@pytest.fixture
def runner(tmp_path):
    with asyncio.Runner() as opened:
        yield opened


@pytest.fixture
def sqlite_hub(runner, tmp_path):
    opening = open_hub(tmp_path)
    yield runner.run(opening.__aenter__())
    runner.run(opening.__aexit__(None, None, None))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commits=st.lists(st.lists(OPERATIONS, min_size=1, max_size=5), max_size=6))
def test_any_sequence_of_commits_gives_the_tree_that_a_dictionary_gives(runner, sqlite_hub, commits):
    async def run(hub):
        repository = await hub.repositories.create(ACME, "model", f"acme/{uuid.uuid4().hex}")
        model = {}
        for number, operations in enumerate(commits):
            model = await step(hub, repository, model, (number, operations))
            assert await contents(hub, repository) == model
        head = await hub.refs.resolve(repository, "main")
        await hub.repositories.database.read(lambda connection: no_empty_folders(connection, head.tree))

    async def step(hub, repository, model, numbered):
        number, operations = numbered
        staging = hub.uploads.staging()
        real = []
        for operation in operations:
            if operation[0] == "add":
                real.append(AddFile(operation[1], await staging.add(operation[2]), len(operation[2])))
            else:
                real.append((RemoveFile if operation[0] == "remove" else RemoveFolder)(operation[1]))
        await staging.flush()
        expected = model
        try:
            for operation in operations:
                expected = apply(expected, operation)
        except Refused:
            with pytest.raises(YunmoError):
                await commit(hub, repository, *real, title=f"commit {number}")
            return model
        await commit(hub, repository, *real, title=f"commit {number}")
        return expected

    def no_empty_folders(connection, root):
        load = store.tree_reader(connection)
        pending = [entry for entry in load(root) if entry.is_folder]
        while pending:
            entries = load(pending.pop().oid)
            assert entries
            pending += [entry for entry in entries if entry.is_folder]
        assert find(load, root, "nothing/here") is None

    runner.run(run(sqlite_hub))
