"""The real clients against a real server whose objects are in S3: pushing, loading in whole and in part, and inference."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import InferenceClient

from running import running_server
from s3_server import ACCESS_KEY, SECRET_KEY, serving_s3

FLOW = Path(__file__).parent / "hub_clients" / "objects_flow.py"
QUIET = {"HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """The folder that the S3 server keeps the bucket in."""
    return tmp_path_factory.mktemp("s3")


@pytest.fixture(scope="module")
def server(bucket, tmp_path_factory):
    with serving_s3(bucket) as endpoint:
        environment = {
            "YUNMO_STORAGE__BLOBS": "s3://bucket/yunmo",
            "YUNMO_STORAGE__S3_ENDPOINT": endpoint,
            "YUNMO_STORAGE__S3_ACCESS_KEY": ACCESS_KEY,
            "YUNMO_STORAGE__S3_SECRET_KEY": SECRET_KEY,
        }
        with running_server(tmp_path_factory.mktemp("yunmo"), environment) as running:
            yield running


@pytest.fixture(scope="module")
def key(server):
    return server.new_key("acme")


@pytest.mark.parametrize(("name", "options"), [("acme/over-xet", {}), ("acme/over-lfs", {"HF_HUB_DISABLE_XET": "1"})])
def test_a_folder_goes_to_s3_and_back_and_its_model_answers(server, bucket, key, tiny_model, tmp_path, name, options):
    folder = tmp_path / "folder"
    shutil.copytree(tiny_model("classify"), folder)
    (folder / "noise.bin").write_bytes(random.Random(name).randbytes(25_000_000))
    given = {"PATH": os.environ["PATH"], "HF_ENDPOINT": server.url, "HF_TOKEN": key, "HF_HOME": str(tmp_path / "home"), **QUIET, **options}
    command = [sys.executable, str(FLOW), name, str(folder), str(tmp_path / "work")]
    done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{server.log()[-3000:]}"
    label, score = done.stdout.splitlines()[-1].split()[1:]

    kept = [path for path in (bucket / "bucket" / "yunmo").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) >= 25_000_000
    assert not [path for folder in ("xorbs", "lfs", "blobs") for path in (server.data / folder).rglob("*") if path.is_file()]

    answers = InferenceClient(model=f"{server.url}/models/{name}", token=key, timeout=120).text_classification("the movie is good")
    assert answers[0].label == label
    assert answers[0].score == pytest.approx(float(score), abs=0.01)
