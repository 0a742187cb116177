"""`push`, `pull`: directories to and from the hub, with huggingface_hub's own client."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yunmo.cli.messages import say
from yunmo.cli.output import Failed
from yunmo.cli.session import Session
from yunmo.core.errors import InvalidRequest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_Type = Annotated[str, typer.Option("--type", help="What it is: model or dataset.")]


def push(  # noqa: PLR0913 (each parameter is an option of the command)
    session: Session,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="What to push: all files below it.")],
    repository: Annotated[str, typer.Argument(metavar="REPO", help="ns/name; made if it is new.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository visible to its project only.")] = False,
    kind: _Type = "model",
    branch: Annotated[str, typer.Option(help="The branch to commit to.")] = "main",
    message: Annotated[str | None, typer.Option("--message", "-m", help="What changed.")] = None,
) -> None:
    """Push a directory to the hub as one commit. Content that is there already does not travel again.

    把目录推送到模型仓库。
    """
    if not directory.is_dir():
        raise Failed(say("no_directory", directory=directory))
    check_name(repository)
    with hub(session, f"push {repository}") as api:
        if not api.repo_exists(repository, repo_type=_checked(kind)):  # where it is there, the client hides why it may not be written
            api.create_repo(repository, repo_type=kind, private=private or None, exist_ok=True)
        commit = api.upload_folder(folder_path=directory, repo_id=repository, repo_type=kind, revision=branch, commit_message=message)
    url = f"{session.url}/{'datasets/' if kind == 'dataset' else ''}{repository}"
    session.output.result(
        {"repository": repository, "type": kind, "revision": commit.oid, "url": url}, say("pushed", directory=directory, url=url)
    )


def pull(
    session: Session,
    repository: Annotated[str, typer.Argument(metavar="REPO", help="ns/name, a bare name or an alias.")],
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Where to put it (default: a directory of the repository's name).")
    ] = None,
    revision: Annotated[str, typer.Option(help="A branch, tag or commit.")] = "main",
    kind: _Type = "model",
) -> None:
    """Download a repository's files into a directory. What is there already is not downloaded again.

    下载仓库到本地目录。
    """
    target = directory or Path(repository.rsplit("/", 1)[-1])
    with hub(session, f"pull {repository}", is_public=True) as api:
        # asked first: the download itself takes a refusal for no news where the directory is there already
        commit = api.repo_info(repository, repo_type=_checked(kind), revision=revision).sha
        api.snapshot_download(repository, repo_type=kind, revision=commit, local_dir=target)
    session.output.result(
        {"repository": repository, "type": kind, "directory": str(target)}, say("pulled", repository=repository, directory=target)
    )


@contextmanager
def hub(session: Session, what: str, *, is_public: bool = False) -> Iterator["HfApi"]:
    """huggingface_hub's client for the session's server; its errors become Failed. Progress bars go to standard error.

    What is public needs no key: without one the client asks as nobody, and not with what the user keeps for another hub.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import disable_progress_bars

    if session.output.as_json:
        disable_progress_bars()
    key = session.own_key if is_public else session.key
    try:
        yield HfApi(endpoint=session.url, token=key or False)
    except HFValidationError as error:
        raise Failed(say("hub_failed", what=what, reason=error), InvalidRequest.code) from error
    except HfHubHTTPError as error:
        reason = error.server_message or str(error)
        without_key = "" if key else " " + say("no_key_used")
        code = error.response.headers.get("x-yunmo-error", "failed")
        raise Failed(say("hub_failed", what=what, reason=reason + without_key), code) from error
    except (ValueError, OSError) as error:
        raise Failed(say("hub_failed", what=what, reason=error)) from error


def check_name(repository: str) -> None:
    """Raise Failed unless it is ns/name: a bare one would be made in one namespace and then be looked for in another."""
    if not all(repository.partition("/")) or repository.count("/") > 1:
        raise Failed(say("no_namespace", repository=repository), InvalidRequest.code)


def _checked(kind: str) -> str:
    if kind not in {"model", "dataset"}:
        raise typer.BadParameter(f"'{kind}' is neither model nor dataset.", param_hint="--type")
    return kind
