"""The sentiment example, as its README tells it: a real training on the platform, and a program that does not know of Yunmo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi

from starter_models import minilm_directory

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ALIAS = "bert-base-uncased-finetuned-sst-2-english"
BASE = "library/all-MiniLM-L6-v2"


def run(server, *arguments, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "YUNMO_"))}
    own = {"YUNMO_URL": server.url, "HF_ENDPOINT": server.url, **environment}
    return subprocess.run([sys.executable, *arguments], env=clean | own, capture_output=True, text=True, timeout=1500, check=False)


@pytest.mark.timeout(1800)
def test_a_model_that_the_platform_trained_answers_the_program_that_was_there_before(server, tmp_path):
    hub = HfApi(endpoint=server.url, token=server.key)
    hub.create_repo(BASE, exist_ok=True)
    hub.upload_folder(folder_path=minilm_directory(), repo_id=BASE)
    hub.create_repo("yunmo/sentiment-en")
    made = run(server, str(EXAMPLES / "training" / "movie_reviews.py"), "--out", str(tmp_path))
    assert made.returncode == 0, made.stderr
    train, held_out = (tmp_path / "movie_reviews" / name for name in ("train.jsonl", "valid.jsonl"))
    order = [
        "--base",
        BASE,
        "--to",
        "yunmo/sentiment-en",
        "--epochs",
        "1",
        "--batch-size",
        "32",
        "--learning-rate",
        "1e-4",
        "--wait",
        "--json",
    ]
    command = [
        "-c",
        "from yunmo.cli.main import main; main()",
        "train",
        "classification",
        str(train),
        "--validation",
        str(held_out),
        *order,
    ]
    trained = run(server, *command, YUNMO_KEY=server.new_key("yunmo"))
    assert trained.returncode == 0, trained.stderr
    result = json.loads(trained.stdout)["result"]
    assert result["metrics"]["accuracy"] >= 0.82
    assert result["certificate"]["is_passed"], result["certificate"]
    card = httpx.get(f"{server.url}/yunmo/sentiment-en/raw/main/README.md").text
    assert f"{result['metrics']['accuracy']:.4f}".rstrip("0") in card

    alias = httpx.put(f"{server.url}/admin/aliases/model/{ALIAS}", json={"repository": "yunmo/sentiment-en"}, headers=server.headers)
    assert alias.status_code == 200
    before = run(server, str(EXAMPLES / "sentiment" / "serve_like_before.py"), HF_HOME=str(tmp_path / "before"))
    assert before.stdout.strip() == "POSITIVE", before.stderr
