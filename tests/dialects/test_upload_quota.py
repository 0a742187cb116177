"""What a project may upload before it commits, as the real client meets it."""

import io
import os

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from hub_world import serve_hub
from yunmo.hub.hub import Rules

MEGABYTE = 1000_000


def test_uploads_past_the_quota_are_refused_and_a_commit_frees_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    with serve_hub(tmp_path / "hub", rules=Rules(large_file_bytes=MEGABYTE, unnamed_bytes=20 * MEGABYTE)) as served:
        api = HfApi(endpoint=served.url, token=served.tokens["acme"])
        api.create_repo("acme/quota")
        for name in ("first", "second"):  # each alone fits, and the commit of the first makes room for the second
            api.upload_file(repo_id="acme/quota", path_in_repo=name, path_or_fileobj=write(tmp_path / name, 15))
        with pytest.raises(Exception, match="413"):
            api.upload_file(repo_id="acme/quota", path_in_repo="third", path_or_fileobj=write(tmp_path / "third", 150))
        assert {"first", "second"} <= set(api.list_repo_files("acme/quota"))
        assert not api.file_exists("acme/quota", "third")


def test_files_sent_over_git_lfs_count_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    with serve_hub(tmp_path / "hub", rules=Rules(large_file_bytes=MEGABYTE, unnamed_bytes=4 * MEGABYTE)) as served:
        api = HfApi(endpoint=served.url, token=served.tokens["acme"])
        api.create_repo("acme/quota")
        for name in ("first", "second"):  # an object in memory goes over Git LFS
            api.upload_file(repo_id="acme/quota", path_in_repo=name, path_or_fileobj=io.BytesIO(os.urandom(3 * MEGABYTE)))
        waiting = CommitOperationAdd("waiting", io.BytesIO(os.urandom(3 * MEGABYTE)))
        api.preupload_lfs_files("acme/quota", [waiting])
        with pytest.raises(Exception, match="no commit names"):
            api.upload_file(repo_id="acme/quota", path_in_repo="third", path_or_fileobj=io.BytesIO(os.urandom(2 * MEGABYTE)))
        api.create_commit("acme/quota", [waiting], commit_message="name it")
        api.upload_file(repo_id="acme/quota", path_in_repo="third", path_or_fileobj=io.BytesIO(os.urandom(2 * MEGABYTE)))
        assert {"first", "second", "waiting", "third"} <= set(api.list_repo_files("acme/quota"))
        assert any("/cas/lfs/" in path for _, path in served.requests)


def write(path, megabytes):
    path.write_bytes(os.urandom(megabytes * MEGABYTE))
    return path
