import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_world import ADMIN, serve_hub

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "hub_clients"
OLD = {name: ROOT / ".clients" / name / "bin" / "python" for name in ("hub-0.36", "hub-1.5")}
QUIET = {
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serve_hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


def run(python, script, served, home, *arguments, token="acme", **environment):
    """Run a client script as another program with its own cache."""
    given = {"PATH": os.environ["PATH"], "HF_ENDPOINT": served.url, "HF_HOME": str(home), **QUIET, **environment}
    if token:
        given["HF_TOKEN"] = served.tokens[token]
    done = subprocess.run([str(python), str(CLIENTS / script), *arguments], env=given, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_newest_huggingface_hub_does_everything_people_do(served, tmp_path):
    assert "done with" in run(sys.executable, "scenario.py", served, tmp_path, "scenario-new")


@pytest.mark.parametrize("name", OLD)
def test_older_versions_of_huggingface_hub_do_it_too(served, tmp_path, name):
    if not OLD[name].exists():
        pytest.skip("run 'python scripts/clients.py' first")
    assert "done with" in run(OLD[name], "scenario.py", served, tmp_path, f"scenario-{name}")


def test_a_model_pushed_by_transformers_loads_anonymously_by_its_bare_name(served, tmp_path):
    script, arguments = "transformers_flow.py", ("acme/tiny-bert", "tiny-bert")
    pushed = run(sys.executable, script, served, tmp_path / "a", *arguments, "push", token=None, WRITE_TOKEN=served.tokens["acme"])
    served.run(served.hub.repositories.alias(ADMIN, "model", "tiny-bert", "acme/tiny-bert"))
    loaded = run(sys.executable, script, served, tmp_path / "b", *arguments, "load", token=None, WRITE_TOKEN="")
    again = run(sys.executable, script, served, tmp_path / "c", *arguments, "load", token=None, WRITE_TOKEN="", HF_HUB_DISABLE_XET="1")
    assert pushed.split()[-1] == loaded.split()[-1] == again.split()[-1]


def test_datasets_are_pushed_loaded_and_streamed(served, tmp_path):
    assert "done" in run(sys.executable, "datasets_flow.py", served, tmp_path, "acme/pairs")


def test_the_hf_command_line_works(served, tmp_path):
    environment = {"PATH": os.environ["PATH"], "HF_ENDPOINT": served.url, "HF_HOME": str(tmp_path / "home"), **QUIET}

    def hf(*arguments):
        command = [str(Path(sys.executable).parent / "hf"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert done.returncode == 0, f"hf {arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    hf("auth", "login", "--token", served.tokens["acme"])
    assert "acme" in hf("auth", "whoami")
    hf("repos", "create", "acme/cli")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_bytes(os.urandom(300_000))
    (tmp_path / "model" / "notes.txt").write_text("notes")
    hf("upload", "acme/cli", "model", ".")
    hf("repos", "branch", "create", "acme/cli", "dev")
    hf("repos", "tag", "create", "acme/cli", "v1")
    hf("download", "acme/cli", "--local-dir", str(tmp_path / "back"))
    assert (tmp_path / "back" / "weights.bin").read_bytes() == (tmp_path / "model" / "weights.bin").read_bytes()
    hf("repos", "delete-files", "acme/cli", "notes.txt")
    assert "acme/cli" in hf("models", "ls", "--author", "acme", "--format", "json")
    assert "weights.bin" in hf("models", "info", "acme/cli")
    hf("repos", "settings", "acme/cli", "--private")
    hf("repos", "move", "acme/cli", "acme/cli2")
    hf("repos", "delete", "acme/cli2", "--yes")
