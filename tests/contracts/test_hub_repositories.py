import hashlib
import json
from datetime import timedelta

import pytest

from hub_world import ACME, ADMIN, OTHER, open_hub, principal, push
from yunmo.core.errors import EntryNotFound, Forbidden, Gated, InvalidRequest, RepositoryNotFound, RevisionNotFound, Unauthenticated
from yunmo.core.identity import ANONYMOUS
from yunmo.hub.blobs import blob_key
from yunmo.hub.commits import AddFile, Change
from yunmo.hub.hub import Hub
from yunmo.hub.objects import file_entry
from yunmo.hub.repositories import RepositoryExists
from yunmo.hub.store.repositories import Listing
from yunmo.storage.blobs import DirectoryStore


@pytest.fixture
async def hub(database, tmp_path):
    return Hub(database, DirectoryStore(tmp_path / "blobs"), b"s" * 32)


@pytest.fixture
async def sqlite_hub(tmp_path):
    async with open_hub(tmp_path) as opened:
        yield opened


async def test_a_bare_name_is_created_in_the_callers_namespace(sqlite_hub):
    assert (await sqlite_hub.repositories.create(ACME, "model", "m")).full_name == "acme/m"


async def test_names_compare_without_case_and_keep_theirs(hub):
    await hub.repositories.create(ACME, "model", "acme/Model-A")
    assert (await hub.repositories.find(ANONYMOUS, "model", "ACME/model-a")).full_name == "acme/Model-A"
    with pytest.raises(RepositoryExists) as raised:
        await hub.repositories.create(ACME, "model", "acme/MODEL-a")
    assert raised.value.repository.full_name == "acme/Model-A"
    await hub.repositories.create(ACME, "dataset", "acme/Model-A")


async def test_only_the_owner_and_the_administrator_create_in_a_namespace(sqlite_hub):
    for someone, error in ((OTHER, Forbidden), (ANONYMOUS, Unauthenticated), (principal("acme", "read"), Forbidden)):
        with pytest.raises(error):
            await sqlite_hub.repositories.create(someone, "model", "acme/m")
    await sqlite_hub.repositories.create(ADMIN, "model", "acme/m")
    with pytest.raises(Forbidden):
        await sqlite_hub.repositories.create(principal("library", "read", "write"), "model", "library/m")
    await sqlite_hub.repositories.create(ADMIN, "model", "library/m")


async def test_a_bare_name_means_its_alias_and_then_the_library(hub):
    await hub.repositories.create(ADMIN, "model", "library/bert")
    assert (await hub.repositories.find(ANONYMOUS, "model", "bert")).full_name == "library/bert"
    await hub.repositories.create(ACME, "model", "acme/bert")
    await hub.repositories.alias(ADMIN, "model", "bert", "acme/bert")
    assert (await hub.repositories.find(ANONYMOUS, "model", "Bert")).full_name == "acme/bert"
    assert await hub.repositories.aliases(ADMIN) == (("model", "bert", "acme/bert"),)
    with pytest.raises(Forbidden):
        await hub.repositories.alias(ACME, "model", "mine", "acme/bert")
    await hub.repositories.remove_alias(ADMIN, "model", "bert")
    assert (await hub.repositories.find(ANONYMOUS, "model", "bert")).full_name == "library/bert"


async def test_a_private_repository_exists_only_for_its_owner(hub):
    made = await hub.repositories.create(ACME, "model", "acme/secret", is_private=True)
    for someone in (ANONYMOUS, OTHER, principal("acme", "infer")):
        with pytest.raises(RepositoryNotFound):
            await hub.repositories.find(someone, "model", "acme/secret")
        with pytest.raises(RepositoryNotFound):
            await hub.repositories.delete(someone, "model", "acme/secret")
        assert await hub.repositories.list(someone, Listing("model")) == []
    for someone in (ACME, ADMIN, principal("acme", "read")):
        assert await hub.repositories.find(someone, "model", "acme/secret") == made
        assert await hub.repositories.list(someone, Listing("model")) == [made]


async def test_a_moved_repository_keeps_its_old_name_which_nobody_can_take(hub):
    await hub.repositories.create(ACME, "model", "acme/old")
    moved = await hub.repositories.move(ACME, "model", "acme/old", "acme/new")
    assert (await hub.repositories.find(ACME, "model", "acme/old")).id == moved.id
    with pytest.raises(RepositoryExists):
        await hub.repositories.create(ACME, "model", "acme/old")
    with pytest.raises(Forbidden):
        await hub.repositories.move(ACME, "model", "acme/new", "other/new")
    back = await hub.repositories.move(ACME, "model", "acme/new", "acme/old")
    assert back.full_name == "acme/old"


async def test_a_new_repository_of_a_deleted_ones_name_shares_nothing_with_it(hub):
    first = await hub.repositories.create(ACME, "model", "acme/m")
    commit = await push(hub, first, {"a": b"1"})
    pinned = await hub.models.find(ACME, "acme/m")
    await hub.repositories.delete(ACME, "model", "acme/m")
    second = await hub.repositories.create(ACME, "model", "acme/m")
    assert second.id != first.id
    with pytest.raises(RevisionNotFound):
        await hub.refs.resolve(second, commit.oid)
    with pytest.raises(RepositoryNotFound):
        await hub.models.lay_out(pinned, ["a"], None)


async def test_lists_filter_by_what_the_revision_says_of_itself(hub):
    texts = {
        "a": "pipeline_tag: text-classification\ntags: [x]\nlanguage: en",
        "b": "pipeline_tag: translation\nlicense: mit",
        "c_d": "tags: [x, y]",
    }
    for name, text in texts.items():
        await push(hub, await hub.repositories.create(ACME, "model", f"acme/{name}"), {"README.md": f"---\n{text}\n---\n".encode()})
    await hub.repositories.create(OTHER, "model", "other/cxd")
    await hub.overviews.catch_up("model")

    async def names(**wanted):
        return {each.full_name for each in await hub.repositories.list(ANONYMOUS, Listing("model", **wanted))}

    assert await names(tags=["x"]) == {"acme/a", "acme/c_d"}
    assert await names(tags=["X", "y"]) == {"acme/c_d"}
    assert await names(tags=["license:mit"]) == {"acme/b"}
    assert await names(pipeline_tag="translation") == {"acme/b"}
    assert await names(tags=["text-classification"], author="acme") == {"acme/a"}
    assert await names(search=["c_d"]) == {"acme/c_d"}
    assert await names(search=["%"]) == set()
    assert len(await names(limit=2)) == 3  # one more than the limit, to say that there are more


async def test_the_overview_follows_the_branch(hub):
    repository = await hub.repositories.create(ACME, "model", "acme/m")
    assert (await hub.overviews.newest(repository)).pipeline_tag is None
    await push(hub, repository, {"README.md": b"---\npipeline_tag: translation\n---\n"})
    assert (await hub.overviews.newest(repository)).pipeline_tag == "translation"


async def test_a_duplicate_has_the_files_and_a_life_of_its_own(hub):
    source = await hub.repositories.create(ACME, "model", "acme/m")
    await push(hub, source, {"a": b"1"})
    copy = await hub.copies.duplicate(OTHER, source, "other/m", is_private=True)
    await push(hub, source, {"a": b"2"})
    page = await hub.files.all(copy, "main")
    assert [item.path for item in page.items] == [".gitattributes", "a"]
    assert await hub.files.read(page.items[1].entry, None) == b"1"


async def test_downloads_are_counted_and_written(hub):
    repository = await hub.repositories.create(ACME, "model", "acme/m")
    for _ in range(3):
        await hub.downloads.count(repository)
    await hub.downloads.write()
    assert (await hub.repositories.find(ACME, "model", "acme/m")).downloads == 3


CONFIG = json.dumps({"architectures": ["BertForSequenceClassification"], "model_type": "bert"}).encode()


@pytest.fixture
async def model(sqlite_hub):
    repository = await sqlite_hub.repositories.create(ACME, "model", "acme/m", is_private=True)
    files = {
        "config.json": CONFIG,
        "1_Pooling/config.json": b'{"a": 1}',
        "a/b/deep.json": b"{}",
        "broken.json": b"{",
        "weights.bin": b"w" * 100_000,
        "tokenizer.json": b"{}",
    }
    await push(sqlite_hub, repository, files)
    return sqlite_hub.models


async def test_a_model_is_described_from_its_small_documents(model):
    described = await model.describe(await model.find(ACME, "acme/m"))
    assert described.architectures == ("BertForSequenceClassification",)
    assert set(described.documents) == {"config.json", "1_Pooling/config.json"}
    assert described.files["weights.bin"] == 100_000
    assert (described.pipeline_tag, described.library_name) == ("text-classification", "transformers")


async def test_any_key_of_the_project_may_use_its_private_models_and_no_other(model):
    assert (await model.find(principal("acme", "infer"), "acme/m")).is_private
    assert [each.repository for each in await model.list(principal("acme", "infer"))] == ["acme/m"]
    for someone in (OTHER, ANONYMOUS):
        with pytest.raises(RepositoryNotFound):
            await model.find(someone, "acme/m")
        assert await model.list(someone) == []


async def test_a_gated_model_is_used_only_by_whom_it_was_granted(sqlite_hub, model):
    await sqlite_hub.repositories.change_settings(ACME, "model", "acme/m", is_private=False, gated="auto")
    with pytest.raises(Gated):
        await model.find(OTHER, "acme/m")
    repository = await sqlite_hub.repositories.find(OTHER, "model", "acme/m")
    assert await sqlite_hub.access.ask(OTHER, repository) == "accepted"
    await model.find(OTHER, "acme/m")


async def test_files_are_laid_out_whole_and_those_there_are_kept(model, tmp_path):
    ref = await model.find(ACME, "acme/m")
    target = tmp_path / "out"
    await model.lay_out(ref, ["config.json", "1_Pooling/config.json"], target)
    assert (target / "1_Pooling" / "config.json").read_bytes() == b'{"a": 1}'
    assert not (target / "weights.bin").exists()
    (target / "config.json").write_bytes(b"mine")
    await model.lay_out(ref, [], target)
    assert (target / "config.json").read_bytes() == b"mine"
    assert (target / "weights.bin").read_bytes() == b"w" * 100_000
    assert not list(target.glob("**/.part-*"))
    with pytest.raises(EntryNotFound):
        await model.lay_out(ref, ["../../etc/passwd"], target)


@pytest.mark.parametrize("name", ["a/b/c", "-x", "acme/", "/m", "..", "acme/tree", "api/m", "acme/m\n"])
async def test_bad_names_are_refused(sqlite_hub, name):
    with pytest.raises(InvalidRequest):
        await sqlite_hub.repositories.create(ADMIN, "model", name)


def stored(hub):
    """The sha256 of every small file in the object store."""

    async def work():
        return {key.rsplit("/", 1)[-1] async for key in hub.blobs.objects.keys("blobs")}

    return work()


async def test_what_no_commit_holds_is_collected_after_its_grace(hub):
    kept = await hub.repositories.create(ACME, "model", "acme/kept")
    gone = await hub.repositories.create(ACME, "model", "acme/gone")
    first = await push(hub, kept, {"a": b"a" * 100_000, "d/small": b"s"})
    await push(hub, kept, {"a": b"b" * 100_000})
    await push(hub, gone, {"a": b"a" * 100_000, "c": b"c" * 100_000})
    staging = hub.uploads.staging()
    await staging.add(b"broken off" * 10_000)
    await staging.flush()
    await hub.blobs.objects.put("blobs/ab/ab/" + "ab" * 32, b"written before a crash")
    await hub.repositories.delete(ACME, "model", "acme/gone")
    assert len(await stored(hub)) == 5
    assert await hub.garbage.collect() == 1  # only what no row names: the rest may still get its commit
    assert await hub.garbage.collect(timedelta(seconds=-1)) > 0
    assert len(await stored(hub)) == 2
    page = await hub.files.all(kept, first.oid)
    assert [await hub.files.read(item.entry, None, 0, 1) for item in page.items] == [b"*", b"a", b"s"]
    assert await hub.garbage.collect(timedelta(seconds=-1)) == 0


async def test_a_file_in_an_unfinished_upload_is_not_collected(hub):
    repository = await hub.repositories.create(ACME, "model", "acme/m")
    staging = hub.uploads.staging()
    content = b"in flight" * 20_000
    oid = await staging.add(content)
    assert await hub.garbage.collect(timedelta(seconds=-1)) == 0
    await staging.flush()
    await hub.commits.commit(ACME, repository, "main", Change(title="c", operations=(AddFile("a", oid, len(content)),)))
    assert await hub.files.read(file_entry("a", oid, len(content)), None) == content


async def test_a_repository_whose_content_is_lost_does_not_break_the_lists(sqlite_hub):
    repository = await sqlite_hub.repositories.create(ACME, "model", "acme/m")
    readme = b"---\ntags: [x]\n---\n" + b"x" * 100_000
    await push(sqlite_hub, repository, {"README.md": readme})
    await sqlite_hub.blobs.objects.delete(blob_key(hashlib.sha256(readme).hexdigest()))
    await sqlite_hub.overviews.catch_up("model")
    assert (await sqlite_hub.overviews.newest(repository)).tags == ()
