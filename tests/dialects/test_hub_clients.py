import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
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
    done = subprocess.run(
        [str(python), str(CLIENTS / script), *arguments], env=given, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_newest_huggingface_hub_does_everything_people_do(served, tmp_path):
    assert "done with" in run(sys.executable, "scenario.py", served, tmp_path, "scenario-new")


@pytest.mark.parametrize("name", OLD)
def test_older_versions_of_huggingface_hub_do_it_too(served, tmp_path, name):
    if not OLD[name].exists():
        pytest.skip("run 'python scripts/clients.py' first")
    assert "done with" in run(OLD[name], "scenario.py", served, tmp_path, f"scenario-{name}")


def discuss(python, served, home, name):
    return run(python, "discussions_flow.py", served, home, f"acme/{name}", OTHER_TOKEN=served.tokens["other"])


def test_a_project_proposes_changes_to_another_ones_model_and_its_owner_merges_them(served, tmp_path):
    assert "done with 2." in discuss(sys.executable, served, tmp_path, "discussed-new")


@pytest.mark.parametrize("name", OLD)
def test_older_versions_of_huggingface_hub_make_pull_requests_too(served, tmp_path, name):
    if not OLD[name].exists():
        pytest.skip("run 'python scripts/clients.py' first")
    assert "done with" in discuss(OLD[name], served, tmp_path, f"discussed-{name}")


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
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
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
    hf("upload", "acme/cli", "model/notes.txt", "proposed.txt", "--create-pr")
    hf("discussions", "comment", "acme/cli", "1", "--body", "fine")
    assert "+notes" in hf("discussions", "diff", "acme/cli", "1")
    hf("discussions", "merge", "acme/cli", "1", "--yes")
    assert "proposed.txt" in hf("models", "info", "acme/cli")
    assert "merged" in hf("discussions", "list", "acme/cli", "--status", "merged", "--kind", "pull_request")
    hf("repos", "settings", "acme/cli", "--private")
    hf("repos", "move", "acme/cli", "acme/cli2")
    hf("repos", "delete", "acme/cli2", "--yes")


def test_large_files_travel_over_xet_and_lfs_and_are_copied_only_by_who_may(served, tmp_path):
    assert "done" in run(sys.executable, "large.py", served, tmp_path, "acme/large", "acme/large-copy", OTHER_TOKEN=served.tokens["other"])
    key = {"authorization": f"Bearer {served.tokens['acme']}"}
    with httpx.Client(base_url=served.url, headers=key) as http:
        head = http.head("/acme/large/resolve/main/w.safetensors")
        sha256 = head.headers["etag"].strip('"')
        assert head.headers["x-linked-etag"] == f'"{sha256}"'
        assert head.headers["x-linked-size"] == head.headers["content-length"] == "11000000"
        assert len(sha256) == len(head.headers["x-xet-hash"]) == 64
        assert head.links["xet-auth"]["url"] == head.headers["x-xet-refresh-route"]
        assert head.headers["x-repo-commit"] in head.headers["x-xet-refresh-route"]
        whole = http.get("/acme/large/resolve/main/w.safetensors").content
        assert hashlib.sha256(whole).hexdigest() == sha256
        part = http.get("/acme/large/resolve/main/w.safetensors", headers={"range": "bytes=5000000-5000099"})
        assert (part.status_code, part.content) == (206, whole[5_000_000:5_000_100])
        assert http.get("/acme/large/raw/main/w.safetensors").text.startswith(
            "version https://git-lfs.github.com/spec/v1\noid sha256:" + sha256
        )
        planned = {"files": [{"path": "w.safetensors", "size": 11_000_000, "sample": ""}]}
        (answer,) = http.post("/api/models/acme/large/preupload/main", json=planned).json()["files"]
        assert answer == {"path": "w.safetensors", "uploadMode": "lfs", "shouldIgnore": False, "oid": sha256}
        (item,) = http.post("/api/models/acme/large/paths-info/main", data={"paths": "w.safetensors"}).json()
        assert item["xetHash"] == head.headers["x-xet-hash"]
        assert item["lfs"] == {
            "oid": sha256,
            "size": 11_000_000,
            "pointerSize": len(http.get("/acme/large/raw/main/w.safetensors").content),
        }
        other = {"authorization": f"Bearer {served.tokens['other']}"}
        known = {"key": "lfsFile", "value": {"path": "x", "algo": "sha256", "oid": sha256}}
        body = "\n".join(json.dumps(each) for each in ({"key": "header", "value": {"summary": "steal"}}, known))
        stolen = http.post("/api/models/other/thief/commit/main", content=body, headers=other)
        assert stolen.status_code == 400


def test_thousands_of_files_arrive_in_several_commits(served, tmp_path):
    assert "done" in run(sys.executable, "many.py", served, tmp_path, "acme/many")
