"""Conversions to CTranslate2's format: whole or not there, proven or not served."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tiny_translators
from yunmo.core.engine import Plan
from yunmo.core.errors import EngineFailed, InvalidRequest
from yunmo.core.tasks import Translate
from yunmo.engines.ctranslate2 import convert as program
from yunmo.engines.ctranslate2.converted import FOLDER, read_facts, versions
from yunmo.engines.ctranslate2.derive import derive
from yunmo.engines.ctranslate2.kind import kind
from yunmo.engines.transformers.kind import describe_directory

FILES = [f"{precision}/{name}" for precision in ("fp32", "int8") for name in ("config.json", "model.bin", "shared_vocabulary.json")]
DERIVE = """
import sys
from pathlib import Path
from yunmo.engines.ctranslate2.derive import derive
derive(Path(sys.argv[1]), Path(sys.argv[2]), lambda step, share: print(step, flush=True))
"""


@pytest.fixture(scope="module")
def marian(tmp_path_factory):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny products take longer on several threads, far longer beside other work
    yield tiny_translators.build("marian", tmp_path_factory.mktemp("conversion") / "marian")
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def made(marian, tmp_path_factory):
    """A whole conversion, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    program.convert(marian, folder)
    return folder


def silent(_step, _share):
    """Nobody listens."""


def converted(directory, derived):
    (derived / FOLDER).mkdir(parents=True)
    return program.convert(directory, derived / FOLDER)


def test_a_load_converts_in_a_process_of_its_own_tells_its_progress_and_keeps_what_it_made(marian, tmp_path, monkeypatch):
    told = []
    engine = kind.load(marian, tmp_path, Plan(engine="ctranslate2", precision="int8"), lambda step, share: told.append((step, share)))
    engine.close()
    assert [share for _, share in told] == sorted(share for _, share in told)
    assert told[-1][1] == 1.0
    assert {"loading the reference", "converting to fp32", "converting to int8", "comparing with the reference"} <= {
        step for step, _ in told
    }
    facts = read_facts(tmp_path / FOLDER)
    assert sorted(facts.sizes) == FILES
    assert facts.agreement == 1.0
    assert facts.error < 0.0005
    assert facts.int8_error > 0.0
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", FOLDER]

    monkeypatch.setattr(subprocess, "Popen", None)
    for precision in ("fp32", "int8", ""):
        again = kind.load(marian, tmp_path, Plan(engine="ctranslate2", precision=precision), silent)
        assert again.run(0, [Translate(texts=("hello world",))])[0][0].texts
        again.close()


def test_a_conversion_killed_half_way_leaves_nothing_that_is_taken_for_a_model(marian, made, tmp_path, monkeypatch):
    with subprocess.Popen([sys.executable, "-c", DERIVE, str(marian), str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert any("converting" in line for line in process.stdout)
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / FOLDER).exists()
    (making,) = tmp_path.glob(".making-*")
    deadline = time.monotonic() + 20
    while (alive := _converting(marian)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive, "the child outlived its parent"
    _copying(made, monkeypatch)
    assert derive(marian, tmp_path, silent)[1].problem is None
    assert not making.exists()


@pytest.mark.parametrize("damage", ["cut", "gone", "no facts", "other format"])
def test_a_damaged_conversion_is_made_again(damage, marian, made, tmp_path, monkeypatch):
    folder = shutil.copytree(made, tmp_path / FOLDER)
    binary = folder / "int8" / "model.bin"
    whole = binary.stat().st_size
    if damage == "cut":
        os.truncate(binary, whole - 100)
    elif damage == "gone":
        binary.unlink()
    elif damage == "no facts":
        (folder / "converted.json").write_text("{")
    else:
        facts = json.loads((folder / "converted.json").read_text())
        (folder / "converted.json").write_text(json.dumps(facts | {"format": 0}))
    assert read_facts(folder) is None
    _copying(made, monkeypatch)
    derive(marian, tmp_path, silent)
    assert binary.stat().st_size == whole
    assert read_facts(folder).problem is None


def test_a_wrong_activation_is_found_named_and_remembered(tmp_path, monkeypatch):
    directory = tiny_translators.build("bart", tmp_path / "bart")
    describe = program._describe

    def wrong(model, family):
        describe(model, family)
        model.config.activation_function = "relu"

    monkeypatch.setattr(program, "_describe", wrong)
    _in_this_process(monkeypatch)
    with pytest.raises(EngineFailed, match=r"log probabilities are .* off those of transformers.* The engine transformers can serve it"):
        derive(directory, tmp_path / "derived", silent)
    monkeypatch.setattr("yunmo.engines.ctranslate2.derive._convert", None)
    with pytest.raises(EngineFailed, match="log probabilities"):
        derive(directory, tmp_path / "derived", silent)
    assert not list((tmp_path / "derived").rglob("*.bin"))


def test_a_failure_is_tried_again_with_other_libraries(marian, made, tmp_path, monkeypatch):
    _in_this_process(monkeypatch)
    monkeypatch.setattr(program, "_write", _refuse)
    with pytest.raises(EngineFailed, match="does not take it"):
        derive(marian, tmp_path, silent)
    monkeypatch.undo()
    _copying(made, monkeypatch)
    facts = json.loads((tmp_path / FOLDER / "converted.json").read_text())
    assert facts["versions"] == versions()
    (tmp_path / FOLDER / "converted.json").write_text(json.dumps(facts | {"versions": {"ctranslate2": "4.0"}}))
    assert derive(marian, tmp_path, silent)[1].problem is None


def test_weights_that_do_not_fit_are_refused(marian, tmp_path):
    directory = tmp_path / "model"
    shutil.copytree(marian, directory)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"decoder_layers": 3}))
    with pytest.raises(InvalidRequest, match="do not fit"):
        converted(directory, tmp_path / "derived")


def test_a_decoder_that_does_not_start_from_nothing_is_found(tmp_path):
    import torch
    from transformers import AutoModelForSeq2SeqLM

    directory = tiny_translators.build("marian", tmp_path / "model")
    model = AutoModelForSeq2SeqLM.from_pretrained(directory)
    with torch.no_grad():
        model.get_input_embeddings().weight[model.config.pad_token_id].fill_(1.0)
    model.save_pretrained(directory)
    with pytest.raises(EngineFailed, match="log probabilities"):
        converted(directory, tmp_path / "derived")


def test_neither_pickles_nor_code_of_a_repository_are_read(marian, tmp_path):
    directory = tmp_path / "model"
    shutil.copytree(marian, directory)
    canary = tmp_path / "ran"
    (directory / "modeling_x.py").write_text(f"open({str(canary)!r}, 'w')")
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    assert kind.offer(describe_directory(directory), _machine()) is None
    with pytest.raises(InvalidRequest, match="reference cannot be loaded"):
        converted(directory, tmp_path / "derived")
    config = json.loads((marian / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling_x.X"}}))
    shutil.copy(marian / "model.safetensors", directory)
    assert kind.offer(describe_directory(directory), _machine()) is None
    with pytest.raises(InvalidRequest, match="configuration"):
        converted(directory, tmp_path / "other")
    assert not canary.exists()


def _machine():
    from yunmo.core.engine import Hardware

    return Hardware(cores=2, memory_bytes=8 << 30)


def _refuse(*_arguments):
    raise InvalidRequest("CTranslate2's converter does not take it")


def _copying(made, monkeypatch):
    """Take a conversion that is there instead of making it."""
    monkeypatch.setattr("yunmo.engines.ctranslate2.derive._convert", lambda _directory, making, _tell: _copied(made, making))


def _copied(made, making):
    shutil.copytree(made, making, dirs_exist_ok=True)


def _in_this_process(monkeypatch):
    """Convert here, where a test can change things and no library has to be imported again."""

    def convert(directory, making, progress):
        del progress
        try:
            program.convert(directory, making)
        except (InvalidRequest, EngineFailed) as error:
            return error.message
        return None

    monkeypatch.setattr("yunmo.engines.ctranslate2.derive._convert", convert)


def _converting(directory):
    """The ids of processes that convert this model."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if "ctranslate2.convert" in line and str(directory) in line:
                found.append(entry.name)
    return found
