"""Whether text can be held to a form at all, and within the time of others: tried out in a process of its own, once for each form."""

from collections.abc import Sequence

import msgspec

from yunmo.core.errors import EngineFailed, InvalidRequest
from yunmo.engines.chats.companion import Companion
from yunmo.engines.chats.constraints import Constraint

_START_SECONDS = 60.0
_SECONDS = 20.0
_REMEMBERED = 256
_HARMLESS = Constraint("regex", "a")
_TOO_MUCH = "it takes too much time or memory to be compiled"


class Trials:
    """Checks before a request. Blocking; answers are remembered. Safe for several threads.

    The engine's `program`, a module, compiles as the engine does: a line of its input is a Constraint as JSON, each is
    answered by a line with {"problem"}, empty for a form that text can be held to.
    """

    def __init__(self, program: str, arguments: Sequence[str]) -> None:
        self._program = Companion(["-X", "utf8", "-m", program, *arguments], None, _START_SECONDS, _SECONDS)
        self._problems: dict[bytes, str] = {}

    def check(self, constraint: Constraint, param: str) -> None:
        """Raise InvalidRequest for a form that text cannot be held to."""
        if constraint.is_known_good():
            return
        key = msgspec.json.encode(constraint)
        if key not in self._problems:
            if len(self._problems) >= _REMEMBERED:
                self._problems.clear()
            self._problems[key] = self._problem(constraint)
        if problem := self._problems[key]:
            name = {"json_schema": "JSON schema", "regex": "regular expression", "calls": "tools' JSON schemas"}.get(
                constraint.kind, "grammar"
            )
            raise InvalidRequest(f"The engine cannot hold text to this {name}: {problem.rstrip('.')}. Simplify it.", param=param)

    def _problem(self, constraint: Constraint) -> str:
        answer = self._program.ask(msgspec.to_builtins(constraint))
        if answer is not None:
            return str(answer["problem"])
        if self._program.ask(msgspec.to_builtins(_HARMLESS)) is None:
            raise EngineFailed(
                "The program that tries out forms does not run; restart the deployment, and see whether it has enough memory."
            )
        return _TOO_MUCH

    def close(self) -> None:
        """End the process."""
        self._program.close()
