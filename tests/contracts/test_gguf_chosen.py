"""Which GGUF of a repository with several is served: the one that the deployment's option names, alone."""

import asyncio
import datetime as dt

import pytest

import tiny_decoders
from hub_world import ACME, push
from yunmo.assembly import open_cloud
from yunmo.core.errors import InvalidRequest
from yunmo.core.tasks import Generate, Sampling
from yunmo.engines.llama_cpp import convert as program
from yunmo.serving.specification import DeploymentSpec
from yunmo.settings import ServingSettings, Settings

ASKED = Generate(prompt="hello world how are you", sampling=Sampling(max_tokens=8, temperature=0.0, logit_bias={"1": -100.0}))


@pytest.fixture(scope="module")
def ggufs(tmp_path_factory):
    """Two models in one repository that answer differently, of different context and precision."""
    root = tmp_path_factory.mktemp("ggufs")
    made = {}
    for name, precision, changes in (
        ("small-F16.gguf", "F16", {"max_position_embeddings": 256}),
        ("q/large-F32.gguf", "F32", {"num_hidden_layers": 3}),
    ):
        directory = tiny_decoders.build("llama", root / precision, **changes)
        program.convert(directory, root / f"{precision}.gguf", precision)
        made[name] = (root / f"{precision}.gguf").read_bytes()
    return made


@pytest.fixture
async def cloud(tmp_path, ggufs):
    async with open_cloud(Settings(data=tmp_path, serving=ServingSettings(calibrate=False))) as (opened, _):
        repository = await opened.hub.repositories.create(ACME, "model", "acme/both")
        await push(opened.hub, repository, {**ggufs, "mmproj-F16.gguf": ggufs["small-F16.gguf"], "README.md": b"# both"})
        yield opened


def wish(name, **options):
    return DeploymentSpec(name, "acme", "acme/both", "", dt.datetime.now(dt.UTC), options=options)


async def answer(cloud, name):
    return (await (await cloud.inference.begin(ACME, name, ASKED)).whole()).choices[0].text


def laid_out(tmp_path):
    return {path.name for path in (tmp_path / "cache" / "models").rglob("*") if path.is_file()}


async def test_the_preferred_file_is_served_where_none_is_named(cloud, tmp_path):
    await cloud.deployments.create(ACME, wish("any"))
    assert await answer(cloud, "any")
    assert laid_out(tmp_path) == {"small-F16.gguf"}


@pytest.mark.parametrize("options", [{"file": "q/large-F32.gguf"}, {"options": {"file": "q/large-F32.gguf"}}], ids=["plain", "nested"])
async def test_the_named_file_is_served_and_laid_out_alone(options, cloud, tmp_path):
    await cloud.deployments.create(ACME, wish("large", **options))
    text = await answer(cloud, "large")
    assert laid_out(tmp_path) == {"large-F32.gguf"}
    plan = cloud.deployments.view(ACME, "large").plan
    assert (plan.options["file"], plan.precision, plan.context_tokens) == ("q/large-F32.gguf", "F32", 512)
    await cloud.deployments.create(ACME, wish("small", file="small-F16.gguf"))
    assert await answer(cloud, "small") != text
    assert cloud.deployments.view(ACME, "small").plan.context_tokens == 256
    assert laid_out(tmp_path) == {"large-F32.gguf", "small-F16.gguf"}
    assert await answer(cloud, "large") == text


async def test_another_file_takes_over_when_it_is_named_later(cloud):
    await cloud.deployments.create(ACME, wish("one", file="small-F16.gguf"))
    first = await answer(cloud, "one")
    await cloud.deployments.change(ACME, "one", {"options": {"file": "q/large-F32.gguf"}})
    async with asyncio.timeout(30):
        while cloud.deployments.view(ACME, "one").plan.options["file"] != "q/large-F32.gguf":
            assert await answer(cloud, "one")
    assert await answer(cloud, "one") != first


@pytest.mark.parametrize("file", ["large.gguf", "README.md", "mmproj-F16.gguf", "../x.gguf", ""])
async def test_a_file_that_is_no_model_of_the_repository_is_refused_when_it_is_named(file, cloud):
    with pytest.raises(InvalidRequest, match=r"no GGUF model '.*'\. .* q/large-F32\.gguf, small-F16\.gguf"):
        await cloud.deployments.create(ACME, wish("wrong", file=file))
    assert cloud.deployments.list(ACME) == []


async def test_what_is_no_path_is_refused(cloud):
    with pytest.raises(InvalidRequest, match="'file' is the path"):
        await cloud.deployments.create(ACME, wish("wrong", file=7))


async def test_a_file_that_is_not_there_is_named_also_where_another_engine_could_serve(cloud, tmp_path, ggufs):
    directory = tiny_decoders.build("llama", tmp_path / "llama")
    repository = await cloud.hub.repositories.create(ACME, "model", "acme/mixed")
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    await push(cloud.hub, repository, files | {"m-F16.gguf": ggufs["small-F16.gguf"]})
    spec = DeploymentSpec("mixed", "acme", "acme/mixed", "", dt.datetime.now(dt.UTC), options={"file": "other.gguf"})
    with pytest.raises(InvalidRequest, match=r"no GGUF model 'other\.gguf'"):
        await cloud.deployments.create(ACME, spec)
