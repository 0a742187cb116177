"""Who is asking: a project, a key and what the key may do."""

from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

from yunmo.core.errors import Forbidden, InvalidRequest, Unauthenticated

Scope = Literal["infer", "read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

ANONYMOUS_PROJECT = ""
_CEILING_LIMIT = 2**53
"""JSON readers that keep numbers as floats must not change a ceiling."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Ceilings of one key or one deployment; None means no ceiling of its own."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None

    def check(self) -> None:
        """Raise InvalidRequest unless each ceiling lets something through and can be kept."""
        for name, ceiling in asdict(self).items():
            if ceiling is not None and not 1 <= ceiling < _CEILING_LIMIT:
                raise InvalidRequest(f"The limit {name} must be from 1 to {_CEILING_LIMIT - 1}, or not given.", param=name)


@dataclass(frozen=True, slots=True)
class Principal:
    """One caller. `project` is also the hub namespace that the caller may write to.

    The scope `admin` includes every other scope, in every project.
    """

    project: str
    key_id: str
    scopes: frozenset[Scope]
    key_name: str = ""
    limits: Limits = field(default_factory=Limits)

    @property
    def is_anonymous(self) -> bool:
        return self.project == ANONYMOUS_PROJECT

    @property
    def is_admin(self) -> bool:
        return "admin" in self.scopes

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or self.is_admin

    def may_read_from(self, project: str) -> bool:
        """Whether private things of `project` may be seen."""
        return self.is_admin or (project == self.project and self.may("read"))

    def may_write_to(self, project: str) -> bool:
        return self.is_admin or (project == self.project and self.may("write"))

    def require(self, scope: Scope) -> None:
        """Raise unless the key has the scope: Unauthenticated without a key, Forbidden with one."""
        if self.may(scope):
            return
        if self.is_anonymous:
            raise Unauthenticated("An API key is required. Send it as 'Authorization: Bearer <key>'; make one with 'yunmo key create'.")
        raise Forbidden(
            f"This key lacks the scope '{scope}'. Make one that has it: 'yunmo key create --project {self.project} --scope {scope}'."
        )


ANONYMOUS = Principal(project=ANONYMOUS_PROJECT, key_id="", scopes=frozenset())
