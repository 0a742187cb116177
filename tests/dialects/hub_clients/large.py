"""Large files over Xet (paths) and over Git LFS (objects in memory), copied inside a repository and between two."""

import hashlib
import io
import os
import sys
import tempfile
from pathlib import Path

from huggingface_hub import CommitOperationCopy, HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError

api = HfApi()
repo, other = sys.argv[1:3]
work = Path(tempfile.mkdtemp())
content = os.urandom(11_000_000)
(work / "w.safetensors").write_bytes(content)
api.create_repo(repo)
api.upload_file(path_or_fileobj=work / "w.safetensors", path_in_repo="w.safetensors", repo_id=repo)
api.upload_file(path_or_fileobj=io.BytesIO(content[:300_000]), path_in_repo="memory.bin", repo_id=repo)
api.create_commit(repo, [CommitOperationCopy("w.safetensors", "copies/w.safetensors")], commit_message="copy")
api.upload_file(path_or_fileobj=work / "w.safetensors", path_in_repo="w.safetensors", repo_id=repo)  # the same again: nothing to do
assert len(api.list_repo_commits(repo)) == 4

files = {each.path: each for each in api.list_repo_tree(repo, recursive=True) if hasattr(each, "size")}
for path, wanted in {"w.safetensors": content, "copies/w.safetensors": content, "memory.bin": content[:300_000]}.items():
    assert files[path].lfs.sha256 == hashlib.sha256(wanted).hexdigest()
    assert files[path].size == len(wanted)
    assert Path(hf_hub_download(repo, path, cache_dir=work / "cache")).read_bytes() == wanted

api.create_repo(other, private=True)
cross = CommitOperationCopy("w.safetensors", "theirs.safetensors", src_repo_id=repo, src_repo_type="model")
api.create_commit(other, [cross], commit_message="copy from the other")
assert Path(hf_hub_download(other, "theirs.safetensors", cache_dir=work / "cache2")).read_bytes() == content
duplicate = api.duplicate_repo(repo, other + "-twin")
assert Path(hf_hub_download(duplicate.repo_id, "memory.bin", cache_dir=work / "cache3")).read_bytes() == content[:300_000]
api.update_repo_settings(repo, private=True)
stranger = HfApi(token=os.environ["OTHER_TOKEN"])
try:
    stranger.create_repo("thief", exist_ok=True)
    stranger.create_commit(
        "other/thief", [CommitOperationCopy("w.safetensors", "x", src_repo_id=repo, src_repo_type="model")], commit_message="steal"
    )
except HfHubHTTPError as error:
    refused = error
else:
    raise AssertionError("a private file was copied by a stranger")
assert refused.response.status_code == 404, refused
assert {each.filename for each in api.list_lfs_files(repo)} == {"w.safetensors", "copies/w.safetensors", "memory.bin"}

before = [each.commit_id for each in api.list_repo_commits(repo)]
api.permanently_delete_lfs_files(repo, [each for each in api.list_lfs_files(repo) if each.filename == "memory.bin"])
after = [each.commit_id for each in api.list_repo_commits(repo)]
assert len(after) == len(before)
assert not api.revision_exists(repo, before[0])
assert not any(api.file_exists(repo, "memory.bin", revision=each) for each in after)
assert {each.filename for each in api.list_lfs_files(repo)} == {"w.safetensors", "copies/w.safetensors"}
assert Path(hf_hub_download(repo, "w.safetensors", cache_dir=work / "cache4")).read_bytes() == content
assert api.file_exists(duplicate.repo_id, "memory.bin"), "another repository keeps its own"
api.upload_file(path_or_fileobj=io.BytesIO(content[:300_000]), path_in_repo="memory.bin", repo_id=repo)
assert Path(hf_hub_download(repo, "memory.bin", cache_dir=work / "cache5")).read_bytes() == content[:300_000]
print("done")
