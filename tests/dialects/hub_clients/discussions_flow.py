"""Pull requests and discussions as people use them, with any version of huggingface_hub; OTHER_TOKEN is a key of another project."""

import io
import os
import sys
import tempfile
from pathlib import Path

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download

try:
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
except ImportError:
    from huggingface_hub.utils import HfHubHTTPError, RepositoryNotFoundError

NAME = sys.argv[1]
WEIGHTS = os.urandom(300_000)
work = Path(tempfile.mkdtemp())
owner, guest, nobody = HfApi(), HfApi(token=os.environ["OTHER_TOKEN"]), HfApi(token=False)


def status_of(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except HfHubHTTPError as error:
        return error.response.status_code
    raise AssertionError(f"{call.__name__} was not refused")


def read(path, revision):
    return Path(hf_hub_download(NAME, path, revision=revision, cache_dir=work / "cache", token=guest.token)).read_bytes()


def talk():
    made = owner.create_discussion(NAME, "A question", description="What is it for?")
    assert (made.num, made.status, made.author, made.is_pull_request) == (1, "open", "acme", False)
    assert [event.content for event in made.events] == ["What is it for?"]
    comment = guest.comment_discussion(NAME, 1, "For <b>tests</b>.")
    assert (comment.author, comment.content) == ("other", "For <b>tests</b>.")
    assert "<b>" not in comment.rendered
    edited = guest.edit_discussion_comment(NAME, 1, comment.id, "For tests only.")
    assert edited.edited
    assert edited.number_of_edits
    assert status_of(owner.edit_discussion_comment, NAME, 1, comment.id, "mine") == 403
    renamed = owner.rename_discussion(NAME, 1, "An old question")
    assert (renamed.old_title, renamed.new_title) == ("A question", "An old question")
    assert status_of(guest.rename_discussion, NAME, 1, "Theirs") == 403
    assert owner.change_discussion_status(NAME, 1, "closed", comment="Answered.").new_status == "closed"
    assert [event.type for event in nobody.get_discussion_details(NAME, 1).events] == [
        "comment",
        "comment",
        "title-change",
        "comment",
        "status-change",
    ]
    hidden = owner.hide_discussion_comment(NAME, 1, comment.id)
    assert (hidden.hidden, hidden.content) == (True, "")
    assert status_of(nobody.comment_discussion, NAME, 1, "hello") == 401
    assert status_of(owner.get_discussion_details, NAME, 99) == 404


def propose_by_commit():
    made = guest.create_commit(
        NAME,
        [
            CommitOperationAdd("weights.bin", WEIGHTS),
            CommitOperationAdd("memory.bin", io.BytesIO(WEIGHTS[:200_000])),
            CommitOperationAdd("notes.txt", b"one\ntwo\nthree\n"),
        ],
        commit_message="Better weights",
        commit_description="They are better.",
        create_pr=True,
    )
    assert made.pr_revision == "refs/pr/2"
    assert read("weights.bin", "refs/pr/2") == WEIGHTS
    assert not owner.file_exists(NAME, "weights.bin")
    guest.upload_file(path_or_fileobj=b"more", path_in_repo="more/deep.txt", repo_id=NAME, revision="refs/pr/2", commit_message="More")
    assert status_of(guest.upload_file, path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=NAME) == 403
    details = owner.get_discussion_details(NAME, 2)
    assert (details.status, details.author, details.target_branch, details.conflicting_files) == ("open", "other", "refs/heads/main", [])
    assert [event.type for event in details.events] == ["comment", "commit", "commit"]
    assert "+two" in details.diff
    assert "oid sha256:" in details.diff
    refs = owner.list_repo_refs(NAME, include_pull_requests=True).pull_requests
    assert [(ref.ref, ref.target_commit) for ref in refs] == [
        ("refs/pr/2", owner.list_repo_commits(NAME, revision="refs/pr/2")[0].commit_id)
    ]
    assert status_of(guest.merge_pull_request, NAME, 2) == 403
    owner.upload_file(path_or_fileobj=b"beside", path_in_repo="beside.txt", repo_id=NAME)
    owner.merge_pull_request(NAME, 2, comment="Thank you.")
    merged = owner.get_discussion_details(NAME, 2)
    assert merged.status == "merged"
    assert merged.merge_commit_oid == owner.model_info(NAME).sha
    assert owner.list_repo_commits(NAME)[0].title == "Better weights (#2)"
    assert {"weights.bin", "memory.bin", "notes.txt", "more/deep.txt", "beside.txt"} <= set(owner.list_repo_files(NAME))
    assert read("weights.bin", "main") == WEIGHTS
    assert status_of(guest.upload_file, path_or_fileobj=b"y", path_in_repo="y.txt", repo_id=NAME, revision="refs/pr/2") == 409


def propose_a_folder():
    folder = work / "folder"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Theirs\n")
    (folder / "data.bin").write_bytes(WEIGHTS[:150_000])
    made = guest.upload_folder(repo_id=NAME, folder_path=folder, create_pr=True, commit_message="A whole folder")
    number = int(made.pr_url.rsplit("/", 1)[-1])
    assert owner.get_discussion_details(NAME, number).title == "A whole folder"
    assert read("data.bin", f"refs/pr/{number}") == WEIGHTS[:150_000]
    owner.change_discussion_status(NAME, number, "open")
    owner.merge_pull_request(NAME, number)
    assert owner.model_info(NAME).card_data["license"] == "mit"


def conflict():
    draft = guest.create_pull_request(NAME, "Words", description="of notes")
    assert (draft.status, draft.git_reference) == ("draft", f"refs/pr/{draft.num}")
    assert draft.diff == ""
    changed = [CommitOperationAdd("notes.txt", b"one\nTWO\nthree\n"), CommitOperationDelete("beside.txt")]
    guest.create_commit(NAME, changed, commit_message="Louder", revision=draft.git_reference)
    assert status_of(owner.merge_pull_request, NAME, draft.num) == 409
    owner.change_discussion_status(NAME, draft.num, "open")
    owner.upload_file(path_or_fileobj=b"four\n", path_in_repo="notes.txt", repo_id=NAME)
    assert owner.get_discussion_details(NAME, draft.num).conflicting_files == ["notes.txt"]
    assert status_of(owner.merge_pull_request, NAME, draft.num) == 409
    guest.change_discussion_status(NAME, draft.num, "closed")


def listing():
    found = list(owner.get_repo_discussions(NAME, discussion_status="all"))
    assert [each.num for each in found] == [4, 3, 2, 1]
    assert [each.num for each in owner.get_repo_discussions(NAME, discussion_type="discussion")] == [1]
    assert [each.num for each in owner.get_repo_discussions(NAME, author="other", discussion_status="closed")] == [4, 3, 2]
    assert list(owner.get_repo_discussions(NAME, discussion_status="open")) == []
    assert status_of(lambda: list(owner.get_repo_discussions(NAME))) == 403


def data_set():
    made = owner.create_repo(f"{NAME}-rows", repo_type="dataset").repo_id
    proposal = guest.create_commit(
        made, [CommitOperationAdd("a.csv", b"a\n1\n")], commit_message="Rows", repo_type="dataset", create_pr=True
    )
    assert proposal.pr_num == 1
    assert [each.title for each in owner.get_repo_discussions(made, repo_type="dataset")] == ["Rows"]
    owner.merge_pull_request(made, 1, repo_type="dataset")
    assert owner.file_exists(made, "a.csv", repo_type="dataset")


def private():
    made = owner.create_repo(f"{NAME}-private", private=True).repo_id
    owner.create_discussion(made, "A secret")
    for api in (guest, nobody):
        for call in (api.get_discussion_details, api.merge_pull_request):
            try:
                call(made, 1)
            except RepositoryNotFoundError:
                continue
            raise AssertionError("the private repository shows")


owner.create_repo(NAME)
talk()
propose_by_commit()
propose_a_folder()
conflict()
listing()
data_set()
private()
print("done with", huggingface_hub.__version__)
