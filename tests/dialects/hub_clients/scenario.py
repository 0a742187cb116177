"""What people do with huggingface_hub, run by any version of it: HF_ENDPOINT and HF_TOKEN say where and who.

Prints one line for each step that held; any failure ends the program with a traceback.
"""

import io
import os
import sys
import tempfile
from pathlib import Path

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download, snapshot_download

try:
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
except ImportError:
    from huggingface_hub.utils import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

api = HfApi()
endpoint = os.environ["HF_ENDPOINT"]
work = Path(tempfile.mkdtemp())
name = sys.argv[1]
WEIGHTS = os.urandom(700_000)


def step(text):
    print("held:", text, flush=True)


def raises(kind, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f"{call.__name__} did not raise {kind}")


def identity():
    me = api.whoami()
    assert me["type"] == "user"
    assert me["auth"]["accessToken"]["role"] == "write"
    raises((HfHubHTTPError, OSError), api.whoami, token="hf_wrong")
    step("whoami names the project and refuses a wrong token")
    return me["name"]


def create(me):
    repo = f"{me}/{name}"
    url = api.create_repo(name)
    assert url.repo_id == repo
    assert str(url).startswith(endpoint)
    assert api.create_repo(repo, exist_ok=True).repo_id == repo
    assert raises(HfHubHTTPError, api.create_repo, repo).response.status_code == 409
    step("create_repo answers with the address, also when the repository is there")
    return repo


def upload(repo):
    folder = work / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\ntags:\n- demo\npipeline_tag: text-classification\n---\n# Demo\n")
    (folder / "config.json").write_text('{"architectures": ["BertForSequenceClassification"], "model_type": "bert"}')
    (folder / "sub" / "notes.txt").write_text("notes")
    (folder / "empty.txt").write_text("")
    (folder / "weights.bin").write_bytes(WEIGHTS)
    info = api.upload_folder(folder_path=folder, repo_id=repo)
    assert info.commit_url.startswith(f"{endpoint}/{repo}/commit/")
    assert info.oid == api.model_info(repo).sha
    api.upload_file(path_or_fileobj=io.BytesIO(b"in memory"), path_in_repo="memory.txt", repo_id=repo)
    assert set(api.list_repo_files(repo)) == {
        ".gitattributes",
        "README.md",
        "config.json",
        "sub/notes.txt",
        "empty.txt",
        "memory.txt",
        "weights.bin",
    }
    step("upload_folder and upload_file bring every file, with its README checked")


def download(repo):
    path = Path(hf_hub_download(repo, "sub/notes.txt", cache_dir=work / "cache"))
    assert path.read_text() == "notes"
    again = hf_hub_download(repo, "sub/notes.txt", cache_dir=work / "cache")
    assert str(path) == again
    raises(EntryNotFoundError, hf_hub_download, repo, "nothing.txt", cache_dir=work / "cache")
    raises(RevisionNotFoundError, hf_hub_download, repo, "config.json", revision="nope", cache_dir=work / "cache")
    raises(RepositoryNotFoundError, hf_hub_download, repo + "-missing", "config.json", cache_dir=work / "cache")
    raises(RepositoryNotFoundError, hf_hub_download, repo + "-missing", "config.json", cache_dir=work / "cache", token=False)
    assert list((work / "cache").glob("**/.no_exist/*/nothing.txt")), "the missing file should be remembered"
    whole = Path(snapshot_download(repo, cache_dir=work / "cache"))
    assert (whole / "empty.txt").read_bytes() == b""
    assert (whole / "weights.bin").read_bytes() == WEIGHTS
    assert (whole / "memory.txt").read_bytes() == b"in memory"
    step("downloads work and what is missing has the proper error")


def look(repo):
    info = api.model_info(repo, files_metadata=True)
    assert info.pipeline_tag == "text-classification"
    assert info.library_name == "transformers"
    assert {"demo", "license:apache-2.0", "bert"} <= set(info.tags)
    assert info.card_data["license"] == "apache-2.0"
    assert {each.rfilename: each.size for each in info.siblings}["sub/notes.txt"] == 5
    tree = {each.path: each for each in api.list_repo_tree(repo, recursive=True, expand=True)}
    assert set(tree) >= {"sub", "sub/notes.txt"}
    assert tree["sub/notes.txt"].last_commit.title
    assert [each.path for each in api.list_repo_tree(repo, "sub")] == ["sub/notes.txt"]
    raises(EntryNotFoundError, lambda: list(api.list_repo_tree(repo, "nope")))
    found = api.get_paths_info(repo, ["sub", "README.md", "nope"], expand=True)
    assert {each.path for each in found} == {"sub", "README.md"}
    assert api.file_exists(repo, "README.md")
    assert not api.file_exists(repo, "nope")
    assert api.repo_exists(repo)
    assert repo in [each.id for each in api.list_models(search=name, filter="demo")]
    assert repo in [each.id for each in api.list_models(author=repo.split("/")[0], full=True)]
    assert repo in [each.id for each in api.list_models(filter="text-classification")]
    step("information, trees, paths and lists agree")


def refs(repo):
    api.create_branch(repo, branch="dev/x")
    api.create_branch(repo, branch="dev/x", exist_ok=True)
    assert raises(HfHubHTTPError, api.create_branch, repo, branch="dev/x").response.status_code == 409
    api.upload_file(path_or_fileobj=b"on a branch", path_in_repo="branch.txt", repo_id=repo, revision="dev/x")
    assert not api.file_exists(repo, "branch.txt")
    assert api.file_exists(repo, "branch.txt", revision="dev/x")
    assert Path(hf_hub_download(repo, "branch.txt", revision="dev/x", cache_dir=work / "cache")).read_text() == "on a branch"
    api.create_tag(repo, tag="v1", tag_message="first")
    assert raises(HfHubHTTPError, api.create_tag, repo, tag="v1").response.status_code == 409
    listed = api.list_repo_refs(repo, include_pull_requests=True)
    assert {each.name for each in listed.branches} == {"main", "dev/x"}
    assert [each.name for each in listed.tags] == ["v1"]
    api.delete_tag(repo, tag="v1")
    api.delete_branch(repo, branch="dev/x")
    raises(RevisionNotFoundError, api.delete_branch, repo, branch="dev/x")
    step("branches with slashes and tags come and go")


def commits(repo):
    head = api.model_info(repo).sha
    adding = [CommitOperationAdd("a.txt", b"a"), CommitOperationAdd("b/c.txt", b"c"), CommitOperationDelete("memory.txt")]
    made = api.create_commit(repo, adding, commit_message="several", commit_description="at once", parent_commit=head)
    assert made.oid != head
    stale = raises(HfHubHTTPError, api.create_commit, repo, [CommitOperationAdd("d", b"d")], commit_message="late", parent_commit=head)
    assert stale.response.status_code == 412
    raises(EntryNotFoundError, api.create_commit, repo, [CommitOperationDelete("missing.txt")], commit_message="no")
    api.delete_folder("b", repo_id=repo)
    api.delete_file("a.txt", repo_id=repo)
    history = api.list_repo_commits(repo)
    assert "several" in [each.title for each in history]
    assert history[0].commit_id == api.model_info(repo).sha
    assert history[-1].title == "initial commit"
    proposal = api.create_commit(repo, [CommitOperationAdd("p.txt", b"p")], commit_message="proposal", create_pr=True)
    assert proposal.pr_revision == "refs/pr/1"
    assert api.file_exists(repo, "p.txt", revision="refs/pr/1")
    assert not api.file_exists(repo, "p.txt")
    api.upload_file(path_or_fileobj=b"more", path_in_repo="q.txt", repo_id=repo, revision="refs/pr/1")
    api.super_squash_history(repo)
    assert len(api.list_repo_commits(repo)) == 1
    step("commits apply at once, stale ones are refused, proposals and squashes work")


def settings(repo):
    change = getattr(api, "update_repo_settings", None)
    change(repo, private=True)
    raises(RepositoryNotFoundError, HfApi(token=False).model_info, repo)
    assert api.model_info(repo).private
    change(repo, private=False, gated="manual")
    assert HfApi(token=False).model_info(repo).gated == "manual"
    refused = raises(HfHubHTTPError, hf_hub_download, repo, "config.json", cache_dir=work / "gated", token=False)
    assert type(refused).__name__ == "GatedRepoError", refused
    assert list(api.list_pending_access_requests(repo)) == []
    change(repo, gated=False)
    api.auth_check(repo)
    step("private and gated repositories close and open")


def move(repo):
    moved = repo + "-moved"
    api.move_repo(repo, moved)
    assert api.model_info(moved).id == moved
    assert api.model_info(repo).id == moved
    api.delete_repo(moved)
    raises(RepositoryNotFoundError, api.delete_repo, moved)
    api.delete_repo(moved, missing_ok=True)
    step("a moved repository answers to its old name until it is deleted")


def dataset(me):
    repo = f"{me}/{name}-data"
    assert api.create_repo(repo, repo_type="dataset", private=True).repo_type == "dataset"
    api.upload_file(path_or_fileobj=b"a,b\n1,2\n", path_in_repo="data/train.csv", repo_id=repo, repo_type="dataset")
    assert Path(hf_hub_download(repo, "data/train.csv", repo_type="dataset", cache_dir=work / "cache")).read_text() == "a,b\n1,2\n"
    assert api.dataset_info(repo).private
    assert repo in [each.id for each in api.list_datasets(search=f"{name}-data")]
    assert repo not in [each.id for each in HfApi(token=False).list_datasets(search=f"{name}-data")]
    api.delete_repo(repo, repo_type="dataset")
    step("data sets have routes of their own, and private ones do not show in others' lists")


project = identity()
repository = create(project)
upload(repository)
download(repository)
look(repository)
refs(repository)
commits(repository)
settings(repository)
move(repository)
dataset(project)
print("done with", huggingface_hub.__version__)
