"""How commands answer: text and tables for people, JSON for machines, a moving line while something takes long."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from yunmo.cli.messages import say
from yunmo.core.errors import YunmoError

_PLAIN_WIDTH = 1000
_QUIET_SECONDS = 2.0


class Failed(Exception):
    """The command could not do what was asked; the message is for the person who asked, the code for machines."""

    def __init__(self, message: str, code: str = "failed") -> None:
        super().__init__(message)
        self.code = code


class Output:
    """Standard output takes the answer, standard error everything about the way there."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, value: Any, text: str) -> None:
        """The answer: `value` for machines, `text` for people."""
        typer.echo(_json(value) if self.as_json else text)

    def table(self, value: Any, columns: Mapping[str, Callable[[Any], Any]], rows: Sequence[Any]) -> None:
        """The answer as a table with a function from row to cell for each column."""
        if self.as_json:
            typer.echo(_json(value))
        elif not rows:
            typer.echo(say("nothing"))
        else:
            _print_table(columns, rows)

    def note(self, text: str) -> None:
        """Something worth knowing that is not the answer; machines are not told."""
        if not self.as_json:
            typer.echo(text, err=True)

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[str, float], None]]:
        """Gives a function to call with what is happening and the share done, from 0 to 1. Who sits at a terminal sees it beside JSON, too."""
        if sys.stderr.isatty():
            with _moving_line(title) as tell:
                yield tell
        elif self.as_json:
            yield _say_nothing
        else:
            yield _plain_lines(title)


def fail(error: Failed | YunmoError, *, as_json: bool) -> typer.Exit:
    """Tell why a command failed; the exit to raise."""
    message = error.message if isinstance(error, YunmoError) else str(error)
    if as_json:
        say_error(error.code, message)
    else:
        typer.secho(message, fg=typer.colors.RED, err=True)
    return typer.Exit(1)


def say_error(code: str, message: str) -> None:
    """An error for machines."""
    typer.echo(_json({"error": {"code": code, "message": message}}))


def size_text(size: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None)


def _print_table(columns: Mapping[str, Callable[[Any], Any]], rows: Sequence[Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    is_terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD if is_terminal else None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in (of(row) for of in columns.values())))
    Console(width=None if is_terminal else _PLAIN_WIDTH).print(table)


@contextmanager
def _moving_line(title: str) -> Iterator[Callable[[str, float], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.fields[title]}", style="bold"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("", total=1.0, title=title)
        yield lambda what, share: bars.update(bar, description=what.replace("[", r"\["), completed=share)


def _plain_lines(title: str) -> Callable[[str, float], None]:
    next_at = 0.0

    def tell(what: str, share: float) -> None:
        nonlocal next_at
        if time.monotonic() >= next_at:
            next_at = time.monotonic() + _QUIET_SECONDS
            typer.echo(f"{title}: {what} ({share:.0%})", err=True)

    return tell


def _say_nothing(what: str, share: float) -> None:
    """Machines wait in silence."""
