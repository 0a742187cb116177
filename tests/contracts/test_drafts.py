"""A model whose answers a smaller one of another repository drafts: the same answers, with the drafts of a model of other tokens refused."""

import asyncio
import datetime as dt
import json

import pytest
from test_llama_cpp_conversion import converted
from test_llama_cpp_conversion import plan as llama_plan

import tiny_adapters
import tiny_decoders
from hub_world import ACME, ADMIN, OTHER, push
from yunmo.assembly import open_cloud
from yunmo.core.errors import InvalidRequest, Unavailable
from yunmo.core.tasks import Generate, Sampling
from yunmo.engines.llama_cpp.adapters import write_adapter
from yunmo.engines.llama_cpp.server import Server
from yunmo.serving.drafts import offers_of
from yunmo.serving.specification import DeploymentSpec
from yunmo.settings import ServingSettings, Settings

PROMPTS = ("the quick brown fox", "hello world", "something else")
GREEDY = Sampling(max_tokens=24, temperature=0.0)


class Made:
    """A model, a smaller one with its tokens and one with other tokens, as GGUF files."""

    def __init__(self, root):
        self.base = tiny_decoders.build("llama", root / "model")
        small = tiny_decoders.build("llama", root / "small", num_hidden_layers=1)
        other = tiny_decoders.build("llama-2", root / "other")
        self.gguf = {}
        for directory in (self.base, small, other):
            converted(directory, root / directory.name)
            self.gguf[directory.name] = root / directory.name / "llama_cpp" / "converted-F32.gguf"
        self.adapter = root / "adapter.gguf"
        write_adapter(tiny_adapters.build(self.base, root / "adapter"), self.adapter, [self.gguf["model"]])

    def files(self, name):
        return {f"{name}-F32.gguf": self.gguf[name].read_bytes()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Made(tmp_path_factory.mktemp("made"))


@pytest.fixture
async def cloud(tmp_path, made):
    serving = ServingSettings(follow_seconds=0.1, calibrate=False)
    async with open_cloud(Settings(data=tmp_path / "cloud", serving=serving)) as (opened, _):
        for name in made.gguf:
            await pushed(opened, f"acme/{name}", made.files(name))
        yield opened


async def pushed(cloud, name, files, by=ACME, **settings):
    repository = await cloud.hub.repositories.create(by, "model", name)
    if settings:
        await cloud.hub.repositories.change_settings(by, "model", name, **settings)
    return (await push(cloud.hub, repository, files, by=by)).oid


def wish(name="acme/drafted", **options):
    return DeploymentSpec(name, "acme", "acme/model", "", dt.datetime.now(dt.UTC), branch="main", options=options)


async def text(cloud, model, prompt):
    answering = await cloud.inference.begin(ACME, model, Generate(prompt=prompt, sampling=GREEDY))
    return (await answering.whole()).choices[0].text


def told(server, prompt, adapter=None):
    """The text, and how many tokens were drafted and how many of them were right."""
    chunks = []
    body = {"prompt": prompt, "max_tokens": 24, "temperature": 0, "stream": True, **server.selected(adapter)}
    server.generate(json.dumps(body).encode(), lambda data: bool(chunks.append(json.loads(data))))
    timings = [chunk["timings"] for chunk in chunks if "timings" in chunk][-1]
    said = "".join(choice["text"] for chunk in chunks for choice in chunk.get("choices", ()))
    return said, timings.get("draft_n", 0), timings.get("draft_n_accepted", 0)


@pytest.mark.parametrize("draft", ["small", "model"])
def test_with_a_draft_every_answer_is_the_same_with_adapters_too(made, draft):
    plan = llama_plan(options={})
    plain = Server(made.gguf["model"], plan, is_exact=True, adapters=[made.adapter])
    expected = [told(plain, prompt, adapter) for prompt in PROMPTS for adapter in (None, 0)]
    plain.close()
    drafted = Server(made.gguf["model"], plan, is_exact=True, adapters=[made.adapter], draft=made.gguf[draft])
    found = [told(drafted, prompt, adapter) for prompt in PROMPTS for adapter in (None, 0)]
    drafted.close()
    assert [said for said, _, _ in found] == [said for said, _, _ in expected]
    assert all(tried == 0 for _, tried, _ in expected)
    assert all(tried > 0 for _, tried, _ in found)
    if draft == "model":
        assert sum(right for _, _, right in found) > 0


async def test_a_deployment_with_a_draft_answers_as_without(cloud):
    await cloud.deployments.create(ACME, wish(draft="acme/small"))
    await cloud.deployments.create(ACME, wish("acme/plain"))
    revision = await cloud.hub.models.find(ADMIN, "acme/small", "main")
    for prompt in PROMPTS:
        assert await text(cloud, "acme/drafted", prompt) == await text(cloud, "acme/plain", prompt)
    view, plain = (cloud.deployments.view(ADMIN, name) for name in ("acme/drafted", "acme/plain"))
    assert view.plan.options["draft"] == f"acme/small@{revision.commit}"
    assert "draft" not in plain.plan.options
    assert view.memory_bytes > plain.memory_bytes
    assert revision.commit in cloud.deployments._wanted_revisions()


async def test_calibration_is_offered_each_plan_with_its_draft_and_without(cloud):
    await cloud.deployments.create(ACME, wish(draft="acme/small"))
    runner = cloud.deployments.get("acme/drafted")
    _, offers = await offers_of(cloud.deployments._world, runner.spec)
    drafted = [offer for offer in offers if offer.draft is not None]
    assert drafted[0] is offers[0]
    for offer in drafted:
        assert "draft" in offer.plan.options
        assert any(other.draft is None and other.plan.precision == offer.plan.precision for other in offers)


async def test_a_draft_stays_at_its_commit_and_another_may_be_named(cloud, made):
    await cloud.deployments.create(ACME, wish(draft="acme/small"))
    first = cloud.deployments.get("acme/drafted").spec.options["draft"]
    repository = await cloud.hub.repositories.find(ACME, "model", "acme/small")
    await push(cloud.hub, repository, {"README.md": b"new"})
    await asyncio.sleep(0.3)
    assert cloud.deployments.get("acme/drafted").spec.options["draft"] == first
    await cloud.deployments.create(ACME, wish(draft="acme/small"))
    assert cloud.deployments.get("acme/drafted").spec.options["draft"] != first


@pytest.mark.parametrize(
    ("draft", "reason"), [("acme/nothing", "not here"), ("other/secret", "not here"), (7, "name of a model"), ("", "name")]
)
async def test_a_draft_that_the_project_may_not_use_is_no_draft(cloud, made, draft, reason):
    await pushed(cloud, "other/secret", made.files("small"), by=OTHER, is_private=True)
    with pytest.raises(InvalidRequest, match=reason):
        await cloud.deployments.create(ACME, wish(draft=draft))


async def test_a_draft_of_other_tokens_is_refused_with_the_reason(cloud):
    await cloud.deployments.create(ACME, wish(draft="acme/other"))
    with pytest.raises(Unavailable, match="vocabulary is another"):
        await text(cloud, "acme/drafted", "hello")


async def test_what_writes_no_text_is_no_draft(cloud):
    await pushed(cloud, "acme/encoder", {"config.json": b'{"architectures": ["BertModel"], "model_type": "bert"}'})
    with pytest.raises(InvalidRequest, match="cannot be a draft"):
        await cloud.deployments.create(ACME, wish(draft="acme/encoder"))


async def test_a_draft_that_is_closed_to_the_project_later_is_not_loaded_again(cloud, made):
    await pushed(cloud, "other/open", made.files("small"), by=OTHER)
    await cloud.deployments.create(ACME, wish(draft="other/open"))
    await text(cloud, "acme/drafted", "hello")
    await cloud.hub.repositories.change_settings(OTHER, "model", "other/open", is_private=True)
    await cloud.deployments.get("acme/drafted")._evict()
    with pytest.raises((Unavailable, InvalidRequest), match="may not use it"):
        await text(cloud, "acme/drafted", "hello")
