"""Write docs/reference/cli.md and docs/reference/settings.md from the code; with --check, only say whether they are up to date.

Usage: python scripts/reference.py [--check]
"""  # noqa: INP001 (a program, not a package)

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from yunmo.cli.main import app
from yunmo.settings import Settings

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
SHARED = {"url", "data", "key", "as_json"}
_ABOUT = "<!-- Written by scripts/reference.py from the code; change that, not this. -->\n"


def main(arguments: list[str]) -> int:
    """Write the pages, or check them."""
    pages = {REFERENCE / "cli.md": cli_page(), REFERENCE / "settings.md": settings_page()}
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in arguments:
        for path in stale:
            sys.stdout.write(f"{path.name} is out of date: run python scripts/reference.py\n")
        return 1 if stale else 0
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for path in stale:
        path.write_text(pages[path], encoding="utf-8")
        sys.stdout.write(f"wrote {path.name}\n")
    return 0


# ---------------------------------------------------------------- the command line


def cli_page() -> str:
    """Every command with its options and examples."""
    root = typer.main.get_command(app)
    deploy = root.commands["deploy"]  # type: ignore[attr-defined]
    shared = [parameter for parameter in deploy.params if parameter.name in SHARED]
    parts = [
        _ABOUT,
        "# Command line\n",
        "Exit codes: 0 done, 1 failed (the reason is on standard error, with `--json` on standard output), 2 used wrongly.\n",
        "Answers go to standard output, progress and remarks to standard error. Messages are Chinese where `LC_ALL` or `LANG` begins with `zh`.\n",
        "## Options of every client command\n",
        options_table(shared),
        *(command_part(name, command) for name, command in commands("yunmo", root)),
    ]
    return "\n".join(parts)


def commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Every command below this one, with its full name."""
    for child, each in getattr(command, "commands", {}).items():
        if hasattr(each, "commands"):
            yield from commands(f"{name} {child}", each)
        else:
            yield f"{name} {child}", each


def command_part(name: str, command: Any) -> str:
    """One command's part of the page."""
    is_client = {parameter.name for parameter in command.params} >= SHARED
    own = [each for each in command.params if each.name != "help" and not (is_client and each.name in SHARED)]
    arguments = [_metavar(each) for each in own if each.param_type_name == "argument"]
    usage = " ".join([name, *arguments, *(["[OPTIONS]"] if len(own) > len(arguments) or is_client else [])])
    lines = [f"## {name}\n", f"```\n{usage}\n```\n", plain(command.help) + "\n"]
    if own:
        lines.append(options_table(own))
    if is_client:
        lines.append("And the options of every client command.\n")
    examples = [line.removeprefix("$ ") for line in plain(command.epilog or "").split("\n\n") if line.startswith("$ ")]
    lines.append("```console\n" + "\n".join(f"$ {line}" for line in examples) + "\n```\n")
    return "\n".join(lines)


def options_table(parameters: list[Any]) -> str:
    """A table of arguments and options."""
    rows = []
    for each in parameters:
        is_argument = each.param_type_name == "argument"
        names = _metavar(each) if is_argument else ", ".join([*each.opts, *each.secondary_opts])
        notes = ["required"] if each.required else []
        default = each.default
        if default not in (None, "", False, ()) and not callable(default):
            notes.append(f"default `{default}`")
        if getattr(each, "envvar", None):
            notes.append(f"or `{each.envvar}`")
        rows.append(f"| `{names}` | {cell(each.help or '')} | {', '.join(notes)} |")
    return "| | | |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _metavar(argument: Any) -> str:
    return argument.metavar or (argument.name.upper() if argument.required else f"[{argument.name.upper()}]")


def plain(text: str) -> str:
    """Help text without the escapes of rich."""
    return text.replace("\\[", "[")


# ---------------------------------------------------------------- settings


def settings_page() -> str:
    """Every setting with its default and both of its names."""
    parts = [
        _ABOUT,
        "# Settings\n",
        "`yunmo serve` reads `yunmo.toml` from the working directory (or the file named by `--config`) and the environment, which beats the file.",
        "`YUNMO_SERVING__IDLE_SECONDS=600` in the environment is `idle_seconds = 600` under `[serving]` in the file.\n",
    ]
    groups = {"": {name: field for name, field in Settings.model_fields.items() if group_of(field) is None}}
    kinds = {name: kind for name, field in Settings.model_fields.items() if (kind := group_of(field)) is not None}
    groups |= {name: kind.model_fields for name, kind in kinds.items()}
    for group, fields in groups.items():
        title = f"## [{group}]\n\n{kinds[group].__doc__}\n" if group else "## At the top of the file\n"
        rows = [setting_row(group, name, field) for name, field in fields.items()]
        parts.append(settings_table(title, rows))
    for name, field in Settings.model_fields.items():
        if (kind := entry_of(field)) is not None:
            rows = [setting_row("", each, own, variable="") for each, own in kind.model_fields.items()]
            parts.append(settings_table(f"## [[{name}]]\n\n{kind.__doc__}\n", rows))
    return "\n".join(parts)


def settings_table(title: str, rows: list[str]) -> str:
    """One group's part of the page."""
    return f"{title}\n| Setting | Default | |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def group_of(field: FieldInfo) -> type[BaseModel] | None:
    """The settings group that the field is, if it is one."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def entry_of(field: FieldInfo) -> type[BaseModel] | None:
    """What the field lists, if it lists tables."""
    return next((kind for kind in get_args(field.annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def setting_row(group: str, name: str, field: FieldInfo, variable: str | None = None) -> str:
    """One line of a table; `variable` is the setting's in the environment, if that is not made of its name."""
    if variable is None:
        variable = "YUNMO_" + (f"{group}__{name}" if group else name).upper()
    secret = " (secret)" if SecretStr in (field.annotation, *get_args(field.annotation)) else ""
    default = "required" if field.is_required() else "" if field.default is None else f"`{field.default}`"
    names = f"`{name}`<br>`{variable}`" if variable else f"`{name}`"
    return f"| {names} | {default} | {cell(field.description or '')}{secret} |"


def cell(text: str) -> str:
    """Text that a table's cell can hold."""
    return re.sub(r"\s+", " ", plain(text)).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
