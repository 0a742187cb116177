"""The program that renders one chat template, in a process of its own: a template comes with a model, so it is not trusted.

Jinja's sandbox keeps it out of Python; the limits set here keep it from running for ever and from filling the memory. A line
of standard input is a JSON object: first {"template"}, then the values of each rendering. Each is answered by a line with
{"text"} or {"error"}. It imports nothing of Yunmo.
"""

import json
import resource
import signal
import sys
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

SECONDS = 2.0
"""Of processor time: where a trainer renders, everybody else's work goes first, and a moment's work takes a while."""

_SPARE_BYTES = 64 << 20
_LONGEST = 16 << 20
_FAULTS = (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError)


class _Marked(Extension):
    """Takes `{% generation %}`, which marks what training looks at, for its content."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)


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


def environment() -> ImmutableSandboxedEnvironment:
    """Jinja as transformers sets it up for chat templates."""
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Marked, loopcontrols])
    made.filters["tojson"] = _as_json
    made.globals.update(raise_exception=_refuse, strftime_now=_today, dict=_Dict(), namespace=_Namespace)
    return made


def main() -> None:
    """Answer lines until there are no more."""
    _limit()
    template: Any = None
    for line in sys.stdin:
        # nothing handles the signal: it ends the process, however deep in a loop it is
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        asked = json.loads(line)
        try:
            if "template" in asked:
                template = environment().from_string(asked["template"])
                answer = {"text": ""}
            else:
                text = template.render(**asked)
                answer = {"text": text} if len(text) <= _LONGEST else {"error": "it makes a text of many megabytes"}
        except _FAULTS as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a chat template cannot store {name!r}: the name starts with an underscore")


def _as_json(value: Any, **options: Any) -> str:
    return json.dumps(value, **{"ensure_ascii": False, **options})


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _today(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _limit() -> None:
    """A little more memory than is in use, no files, no processes."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - pathlib is one more import
        most = int(file.read().split()[0]) * resource.getpagesize() + _SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
