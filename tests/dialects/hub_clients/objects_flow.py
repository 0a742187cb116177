"""Push a folder twice, load it back whole and in part, and load its model; prints the model's answer to "the movie is good"."""

import hashlib
import sys
from pathlib import Path

import httpx
from huggingface_hub import HfApi, constants, get_token, hf_hub_download, hf_hub_url, snapshot_download
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers

NAME, FOLDER, WORK = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
BROKEN_OFF_AT = 2 * constants.DOWNLOAD_CHUNK_SIZE


def digests(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and ".cache" not in path.parts and path.name != ".gitattributes"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def check_ranges(path, revision):
    """A download that goes on after a break, as the library does it, and pieces from within."""
    content = (FOLDER / path).read_bytes()
    url = hf_hub_url(NAME, path, revision=revision, endpoint=constants.ENDPOINT)
    broken_off = WORK / f"{path}.{revision}.incomplete"
    broken_off.write_bytes(content[:BROKEN_OFF_AT])
    with broken_off.open("ab") as file:
        http_get(url, file, resume_size=BROKEN_OFF_AT, headers=build_hf_headers(), expected_size=len(content))
    assert broken_off.read_bytes() == content
    with httpx.Client(follow_redirects=True, headers={"authorization": f"Bearer {get_token()}"}, timeout=60) as http:
        for first, last in ((0, 0), (len(content) - 7, len(content) - 1), (5_000_000, 5_999_999)):
            reply = http.get(url, headers={"range": f"bytes={first}-{last}"})
            assert reply.status_code == 206, reply.text
            assert reply.headers["content-range"] == f"bytes {first}-{last}/{len(content)}"
            assert reply.content == content[first : last + 1]
        assert http.get(url, headers={"range": f"bytes={len(content)}-"}).status_code == 416


api = HfApi()
api.create_repo(NAME)
first = api.upload_folder(repo_id=NAME, folder_path=FOLDER).oid
assert digests(Path(snapshot_download(NAME, revision=first, local_dir=WORK / "first"))) == digests(FOLDER)
check_ranges("noise.bin", first)

noise = FOLDER / "noise.bin"
before = noise.read_bytes()
noise.write_bytes(before[:9_000_000] + b"a change in the middle" + before[9_000_000:])
(FOLDER / "notes.txt").write_text("the second revision")
second = api.upload_folder(repo_id=NAME, folder_path=FOLDER).oid
assert second != first
assert digests(Path(snapshot_download(NAME, local_dir=WORK / "second"))) == digests(FOLDER)
assert Path(hf_hub_download(NAME, "noise.bin", revision=first)).read_bytes() == before
check_ranges("noise.bin", second)

from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: E402 (loads long, and only when the rest is right)

tokenizer = AutoTokenizer.from_pretrained(NAME)
model = AutoModelForSequenceClassification.from_pretrained(NAME)
scores = model(**tokenizer("the movie is good", return_tensors="pt")).logits.softmax(-1)[0]
print("answer", model.config.id2label[int(scores.argmax())], float(scores.max()))
