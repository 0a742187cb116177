"""What every client command has: a server, a key, and a way to answer. `client_command` gives a function all of it as its options."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from yunmo.cli.messages import say
from yunmo.cli.output import Failed, Output, fail
from yunmo.core.errors import YunmoError

if TYPE_CHECKING:
    import httpx

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_DATA = Path("yunmo-data")
UNREACHABLE = "unreachable"
_ANSWER_SECONDS = 60.0
_MODEL_SECONDS = 600.0

Url = Annotated[str | None, typer.Option(help=f"The server to speak to (default {DEFAULT_URL}).", envvar="YUNMO_URL", show_envvar=True)]
Data = Annotated[
    Path | None,
    typer.Option(help=f"The server's data directory, where the local key lies (default ./{DEFAULT_DATA}).", envvar="YUNMO_DATA"),
]
Key = Annotated[str | None, typer.Option(help="The key to use instead of the local one.", envvar="YUNMO_KEY", show_envvar=True)]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON, for machines.")]


class Session:
    """One command's connection to one server."""

    def __init__(self, url: str | None, data: Path | None, key: str | None, output: Output) -> None:
        self.is_default_url = url is None
        self.url = (url or DEFAULT_URL).rstrip("/")
        self.data = data or DEFAULT_DATA
        self.output = output
        self._given_key = key

    @functools.cached_property
    def key(self) -> str:
        """The key given, else the operator's from the data directory; Failed if there is none."""
        if self._given_key:
            return self._given_key
        file = self.data / "secrets" / "admin-key"
        try:
            return file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise Failed(say("no_key", file=file)) from None
        except OSError as error:
            raise Failed(say("unreadable_key", file=file, reason=error.strerror)) from error

    @property
    def own_key(self) -> str | None:
        """The key, or None where there is none that this user may read: what is public needs none."""
        try:
            return self.key
        except Failed:
            return None

    def call(self, method: str, path: str, *, json: Any = None, query: dict[str, Any] | None = None, is_public: bool = False) -> Any:
        """The server's answer, decoded; Failed with its message when it refuses."""
        return self._answer(self._send(method, path, json=json, query=query, is_public=is_public))

    def call_once(self, path: str, json: Any, idempotency_key: str) -> Any:
        """The answer to a POST that does nothing the second time: the server finds by its key what the first one made."""
        return self._answer(self._send("POST", path, json=json, headers={"idempotency-key": idempotency_key}))

    def infer(self, path: str, json: Any) -> Any:
        """The answer to a POST that a model works on, which may have to be loaded first."""
        return self._answer(self._send("POST", path, json=json, timeout=_MODEL_SECONDS))

    def send_file(self, path: str, field: str, content: bytes) -> Any:
        """The answer to a multipart POST of these bytes."""
        return self._answer(self._send("POST", path, files={field: (field, content)}))

    def _answer(self, reply: "httpx.Response") -> Any:
        try:
            answer = reply.json()
        except ValueError:
            raise Failed(say("not_yunmo", url=self.url, status=reply.status_code)) from None
        if reply.is_error:
            raise self._refusal(answer, reply.status_code)
        return answer

    def fetch(self, path: str) -> bytes:
        """The bytes of what is no JSON, such as a picture; Failed when the server refuses."""
        reply = self._send("GET", path)
        if reply.is_error:
            raise self._refusal(reply.json(), reply.status_code)
        return reply.content

    def _send(
        self, method: str, path: str, *, query: dict[str, Any] | None = None, is_public: bool = False, **content: Any
    ) -> "httpx.Response":
        import httpx

        headers = {} if is_public else {"authorization": f"Bearer {self.key}"}
        seconds = content.setdefault("timeout", _ANSWER_SECONDS)
        params = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            # trust_env off: a proxy of the environment has no business between the command line and its server's key
            with httpx.Client(base_url=self.url, headers=headers, trust_env=False) as client:
                return client.request(method, path, params=params, **content)
        except httpx.TimeoutException:
            raise Failed(say("too_slow", url=self.url, seconds=seconds), UNREACHABLE) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Failed(say("unreachable", url=self.url, reason=error), UNREACHABLE) from None

    def _refusal(self, answer: Any, status: int) -> Failed:
        said = answer.get("error") if isinstance(answer, dict) else None
        if isinstance(said, dict) and "message" in said:
            return Failed(str(said["message"]), str(said.get("code") or "failed"))
        # the Hugging Face routes say {"error": "…"}
        return Failed(said if isinstance(said, str) else say("not_yunmo", url=self.url, status=status))


def in_path(name: str) -> str:
    """The name as one segment of a path."""
    return quote(name, safe="")


def client_command(function: Callable[..., None]) -> Callable[..., None]:
    """A command of `function`, whose first parameter gets the Session; errors that people can mend become exit code 1."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    hints = {"url": Url, "data": Data, "key": Key, "as_json": AsJson}
    defaults: dict[str, Any] = {"url": None, "data": None, "key": None, "as_json": False}
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=hint) for name, hint in hints.items()
    ]

    @functools.wraps(function)
    def run(*, url: str | None, data: Path | None, key: str | None, as_json: bool, **given: Any) -> None:
        try:
            function(Session(url, data, key, Output(as_json=as_json)), **given)
        except (Failed, YunmoError) as error:
            raise fail(error, as_json=as_json) from error

    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own] + shared
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    del run.__wrapped__
    return run


def examples(*lines: str) -> str:
    """A command's epilog: each example on a line of its own."""
    return "\n\n".join(["Examples:", *(f"$ {line.replace('[', chr(92) + '[')}" for line in lines)])
