"""The sentiment example, as its README tells it: a real training, and a program that does not know of Yunmo."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi

from starter_models import minilm_directory

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "sentiment"
ALIAS = "bert-base-uncased-finetuned-sst-2-english"


def run(program, server, home, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "YUNMO_"))}
    own = {"HF_ENDPOINT": server.url, "HF_HOME": str(home), **environment}
    return subprocess.run(
        [sys.executable, str(EXAMPLE / program)], env=clean | own, capture_output=True, text=True, timeout=1500, check=False
    )


@pytest.mark.timeout(1800)
def test_a_model_tuned_and_pushed_answers_the_program_that_was_there_before(server, tmp_path):
    HfApi(endpoint=server.url, token=server.key).create_repo("library/all-MiniLM-L6-v2", exist_ok=True)
    HfApi(endpoint=server.url, token=server.key).upload_folder(folder_path=minilm_directory(), repo_id="library/all-MiniLM-L6-v2")
    trained = run("train.py", server, tmp_path / "train", HF_TOKEN=server.new_key("yunmo"))
    assert trained.returncode == 0, trained.stderr
    found = re.search(r"held-out accuracy (\d\.\d+)", trained.stdout)
    assert found, trained.stdout
    assert float(found[1]) >= 0.78
    card = httpx.get(f"{server.url}/yunmo/sentiment-en/raw/main/README.md").text
    assert f"**{found[1]}**" in card

    alias = httpx.put(f"{server.url}/admin/aliases/model/{ALIAS}", json={"repository": "yunmo/sentiment-en"}, headers=server.headers)
    assert alias.status_code == 200
    before = run("serve_like_before.py", server, tmp_path / "before")
    assert before.stdout.strip() == "POSITIVE", before.stderr
