"""The program that renders chat templates, in a process of its own with little memory and a clock.

A template comes with a model, so it is untrusted: Jinja's sandbox keeps it from reaching into Python, but not from running for
ever or making a string of gigabytes. Read from standard input and written to standard output: frames of a 4-byte
big-endian length and JSON, `{"template", "values"}` for `{"text"}` or `{"error"}`. It imports nothing of Yunmo.
"""

import json
import resource
import signal
import struct
import sys
from datetime import datetime
from typing import Any, BinaryIO

import jinja2
import jinja2.ext
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

SECONDS = 2.0
_MEMORY_BYTES = 64 << 20
_MAX_TEXT = 16 << 20


class _Generation(jinja2.ext.Extension):
    """Accepts `{% generation %}`, which marks the assistant's text for training and changes nothing here."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


class _Dict:
    """`dict` without its attributes."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(jinja2.utils.Namespace):
    """Jinja's namespace without names that reach into Python."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        values = dict(*args, **kwargs)
        for name in values:
            _check_name(name)
        super().__init__(values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def render(template: str, values: dict[str, Any]) -> str:
    """The text that a template makes of these values, the way that transformers renders it."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.globals.update(raise_exception=_raise, strftime_now=_now, dict=_Dict(), namespace=_Namespace)
    return environment.from_string(template).render(**values)


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer frames until the source ends."""
    while len(header := source.read(4)) == 4:
        question = json.loads(source.read(struct.unpack(">I", header)[0]))
        # no handler: the signal ends this process, however deep in a loop it is
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        answer = json.dumps(_answer(question["template"], question["values"])).encode()
        signal.setitimer(signal.ITIMER_REAL, 0)
        sink.write(struct.pack(">I", len(answer)) + answer)
        sink.flush()


def _answer(template: str, values: dict[str, Any]) -> dict[str, str]:
    try:
        text = render(template, values)
    except MemoryError:
        return {"error": "it needs too much memory"}
    except RecursionError:
        return {"error": "it calls itself without end"}
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError, ArithmeticError, LookupError) as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}
    return {"text": text} if len(text) <= _MAX_TEXT else {"error": "it makes a text of many megabytes"}


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a chat template cannot store {name!r}: the name starts with an underscore")


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _limit() -> None:
    """Allow 64 MB beyond what is in use, no files and no processes."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - pathlib is one more import
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY_BYTES, used + _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _limit()
    serve(sys.stdin.buffer, sys.stdout.buffer)
