"""A server that takes no pickles, and the commands by which people are told to convert theirs."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import torch
from huggingface_hub import CommitOperationCopy, HfApi
from huggingface_hub.errors import HfHubHTTPError
from safetensors.torch import load_file

from hub_world import ACME, push, serve_hub
from yunmo.core import plugins
from yunmo.core.engine import Hardware
from yunmo.core.errors import InvalidRequest
from yunmo.engines.transformers.kind import describe_directory
from yunmo.hub.commits import AddLargeFile, Change
from yunmo.hub.hub import Rules
from yunmo.serving.offers import offers

HARDWARE = Hardware(cores=1, memory_bytes=8 << 30)
COMMAND = re.compile(r"python (-c \".*\")")


@pytest.fixture
def strict(tmp_path):
    with serve_hub(tmp_path / "hub", rules=Rules(safetensors_only=True)) as running:
        yield running


def api_of(served):
    return HfApi(endpoint=served.url, token=served.tokens["acme"])


def run(message, folder, **environment):
    """Do what an error's message says."""
    arguments = shlex.split(COMMAND.search(message)[1])
    subprocess.run([sys.executable, *arguments], cwd=folder, env={**os.environ, **environment}, check=True, timeout=120)


def test_a_pickle_is_refused_by_name_and_the_command_in_the_error_converts_it(strict, tmp_path):
    api, model = api_of(strict), tmp_path / "model"
    model.mkdir()
    shared = torch.arange(6.0).reshape(2, 3)
    torch.save({"a": shared, "b": shared.T}, model / "pytorch_model.bin")
    (model / "config.json").write_text("{}")
    api.create_repo("acme/strict")
    with pytest.raises(HfHubHTTPError, match=r"'pytorch_model\.bin' is a pickle") as refused:
        api.upload_folder(repo_id="acme/strict", folder_path=model)
    assert "hub.safetensors_only" in str(refused.value)
    assert not api.file_exists("acme/strict", "config.json")
    run(refused.value.response.json()["error"], model)
    (model / "pytorch_model.bin").unlink()
    api.upload_folder(repo_id="acme/strict", folder_path=model)
    assert api.file_exists("acme/strict", "model.safetensors")
    tensors = load_file(model / "model.safetensors")
    assert torch.equal(tensors["a"], shared)
    assert torch.equal(tensors["b"], shared.T)


def test_a_client_that_asks_nothing_before_its_commit_is_refused_too(strict):
    async def make():
        made = await strict.hub.repositories.create(ACME, "model", "acme/direct")
        for path, content in (("a.bin", b"cposix\nsystem\n."), ("b.txt", b"\x80\x04}."), ("weights.pt", b"PK\x03\x04" + bytes(100))):
            with pytest.raises(InvalidRequest, match=re.escape(repr(path))):
                await push(strict.hub, made, {"fine.txt": b"text", path: content})
        await push(strict.hub, made, {"openvino_model.bin": bytes(200), "notes.pt": b"text about pt files", "model.safetensors": b"x"})

    strict.run(make())


def test_a_pickle_from_before_the_rule_is_not_copied(tmp_path):
    pickled, large = b"\x80\x04}.", b"\x80\x04}." + bytes(200_000)
    with serve_hub(tmp_path / "hub") as lenient:
        api = api_of(lenient)
        for name, path, content in (("small", "a.bin", pickled), ("large", "b.bin", large), ("fine", "c.bin", bytes(200_000))):
            api.create_repo(f"acme/{name}")
            api.upload_file(repo_id=f"acme/{name}", path_in_repo=path, path_or_fileobj=content)
    with serve_hub(tmp_path / "hub", rules=Rules(safetensors_only=True)) as strict:
        api = api_of(strict)
        for name, path in (("small", "a.bin"), ("large", "b.bin")):
            with pytest.raises(HfHubHTTPError, match=f"'{path}' is a pickle"):
                api.duplicate_repo(f"acme/{name}", f"acme/{name}-copy")
            assert not api.repo_exists(f"acme/{name}-copy")
        api.duplicate_repo("acme/fine", "acme/fine-copy")
        assert api.file_exists("acme/fine-copy", "c.bin")
        for source, path in (("large", "b.bin"), ("fine", "c.bin")):
            copied = CommitOperationCopy(path, "copy.bin", src_repo_id=f"acme/{source}", src_repo_type="model")
            if source == "fine":
                api.create_commit("acme/small", [copied], commit_message="copy")
                continue
            with pytest.raises(HfHubHTTPError, match="is a pickle"):
                api.create_commit("acme/small", [copied], commit_message="copy")
        assert set(api.list_repo_files("acme/small")) == {".gitattributes", "a.bin", "copy.bin"}

        async def copy_within():
            """What another name and the same repository hide from those who only look at requests."""
            source = await strict.hub.repositories.find(ACME, "model", "acme/large")
            (item,) = (await strict.hub.files.at(source, "main", ["b.bin"])).items
            again = AddLargeFile("notes.txt", item.entry.sha256)
            with pytest.raises(InvalidRequest, match="is a pickle"):
                await strict.hub.commits.commit(ACME, source, "main", Change(title="copy", operations=(again,)))

        strict.run(copy_within())


@pytest.mark.parametrize("name", ["classify", "chat", "yolos", "whisper", "t5"])
def test_what_is_said_of_pickled_weights_is_the_same_for_every_kind_of_model_and_works(name, tmp_path, tiny_model):
    source = tmp_path / "pickled"
    shutil.copytree(tiny_model(name), source)
    tensors = load_file(source / "model.safetensors")
    torch.save(tensors, source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    with pytest.raises(InvalidRequest) as refusal:
        offers(describe_directory(source), HARDWARE, plugins.engines(), {})
    arguments = re.search(r"`yunmo ([^`]+)`", refusal.value.message)[1].replace("pickled", "acme/pickled").split()
    with serve_hub(tmp_path / "hub") as served:
        api = api_of(served)
        api.create_repo("acme/pickled")
        api.upload_folder(repo_id="acme/pickled", folder_path=source)
        environment = {**os.environ, "YUNMO_URL": served.url, "YUNMO_KEY": served.tokens["acme"], "HF_HOME": str(tmp_path / "home")}
        command = [sys.executable, "-c", "from yunmo.cli.main import main; main()", *arguments]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=120)
        api.snapshot_download("acme/pickled", local_dir=tmp_path / "converted")
    converted = load_file(tmp_path / "converted" / "model.safetensors")
    assert converted.keys() == tensors.keys()
    assert all(torch.equal(converted[key], tensors[key]) for key in tensors)
    assert offers(describe_directory(tmp_path / "converted"), HARDWARE, plugins.engines(), {})
