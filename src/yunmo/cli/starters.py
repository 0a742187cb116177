"""`starter list`, `starter install`: small real models to begin with."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yunmo.cli.messages import choose, say
from yunmo.cli.output import Failed, Output, size_text
from yunmo.cli.session import AsJson, Session
from yunmo.cli.transfers import hub

if TYPE_CHECKING:
    from yunmo.cli.starter import StarterModel


def list_models(*, as_json: AsJson = False) -> None:
    """List small real models that a Python package index has.

    列出可直接安装的入门模型。
    """
    from yunmo.cli.starter import catalogue

    models = catalogue().models
    shown = [
        {
            "name": model.name,
            "repository": model.repository,
            "task": model.task,
            "license": model.license,
            "size_bytes": model.size_bytes,
            "languages": list(model.languages),
            "upstream": model.upstream,
            "description_en": model.description_en,
            "description_zh": model.description_zh,
        }
        for model in models
    ]
    columns = {
        "NAME": lambda model: model.name,
        "TASK": lambda model: model.task,
        "SIZE": lambda model: size_text(model.size_bytes),
        "LICENCE": lambda model: model.license,
        "DESCRIPTION": lambda model: choose(model.description_en, model.description_zh),
    }
    Output(as_json=as_json).table(shown, columns, models)


def install(
    session: Session,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Models of 'yunmo starter list'.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Where downloads are kept (default ~/.cache/yunmo/starter).")] = None,
) -> None:
    """Fetch models from the package index, check them, push them to the hub, and show how to call them.

    安装入门模型到模型仓库，并显示调用方法。
    """
    from yunmo.cli.starter import catalogue

    if not names and not every:
        raise typer.BadParameter(say("starter_none"), param_hint="NAME")
    models = catalogue().models if every else [catalogue().model(name) for name in names or ()]
    done = [_install(session, model, cache) for model in models]
    session.output.result(
        [{"name": model.name, "repository": model.repository, "installed": is_new} for model, is_new in zip(models, done, strict=True)],
        "\n\n".join(_how_to_call(session.url, model) for model in models),
    )


def _install(session: Session, model: "StarterModel", cache: Path | None) -> bool:
    """Push the model unless the hub has had this very edition of it; whether it was pushed."""
    from huggingface_hub.errors import RepositoryNotFoundError

    from yunmo.cli.starter import DEFAULT_CACHE, fetch

    edition = f"{model.name} of the starter catalogue, edition {_edition(model)}"
    with hub(session, f"starter install {model.name}") as api:
        try:
            is_there = any(commit.title == edition for commit in api.list_repo_commits(model.repository))
        except RepositoryNotFoundError:
            is_there = False
    if is_there:
        session.output.note(say("starter_there", repository=model.repository))
        return False
    with session.output.progress(model.name) as tell:
        directory = fetch(model, cache or DEFAULT_CACHE, tell)
    with hub(session, f"starter install {model.name}") as api:
        api.create_repo(model.repository, exist_ok=True)
        api.upload_folder(folder_path=directory, repo_id=model.repository, commit_message=edition)
    session.output.note(say("pushed", directory=model.name, url=f"{session.url}/{model.repository}"))
    return True


def _edition(model: "StarterModel") -> str:
    import hashlib

    import msgspec

    return hashlib.sha256(msgspec.json.encode(model)).hexdigest()[:12]


_JSON_CALL = """curl {url}/v1/%s -H "Authorization: Bearer $YUNMO_KEY" -H "Content-Type: application/json" -d '{{"model": "{name}", %s}}'"""
_CALLS = {
    "chat": (
        _JSON_CALL % ("chat/completions", """"messages": [{{"role": "user", "content": "Hello"}}]"""),
        """client.chat.completions.create(model="{name}", messages=[{{"role": "user", "content": "Hello"}}])""",
    ),
    "embed": (
        _JSON_CALL % ("embeddings", '"input": "Hello"'),
        """client.embeddings.create(model="{name}", input="Hello")""",
    ),
    "transcribe": (
        """curl {url}/v1/audio/transcriptions -H "Authorization: Bearer $YUNMO_KEY" -F model={name} -F file=@speech.wav""",
        """client.audio.transcriptions.create(model="{name}", file=open("speech.wav", "rb"))""",
    ),
    "translate": (
        """curl {url}/models/{name} -H "Authorization: Bearer $YUNMO_KEY" -H "Content-Type: application/json" -d '{{"inputs": "Hello"}}'""",
        """client.translation("Hello")""",
    ),
}
_OPENAI = ("from openai import OpenAI", 'client = OpenAI(base_url="{url}/v1", api_key="ym_…")')
_HUGGING_FACE = ("from huggingface_hub import InferenceClient", 'client = InferenceClient(model="{url}/models/{name}", token="ym_…")')


def _how_to_call(url: str, model: "StarterModel") -> str:
    if model.task not in _CALLS:
        raise Failed(f"The catalogue's task {model.task} has no example.")
    client = _HUGGING_FACE if model.task == "translate" else _OPENAI
    shell, *python = (each.format(url=url, name=model.repository) for each in (_CALLS[model.task][0], *client, _CALLS[model.task][1]))
    return "\n".join([f"{model.repository}  {say('starter_call')}", f"  {shell}", *(f"  {line}" for line in python)])
