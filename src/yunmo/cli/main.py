"""The command line: `yunmo COMMAND`. Each command's module is imported when it is used, so that `--help` is quick."""

import typer

from yunmo.cli.serve import serve

app = typer.Typer(
    name="yunmo",
    help="Yunmo (云模): push a model, get an API, on your own machines.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command()(serve)


@app.callback()
def _root() -> None:
    """Keep `yunmo COMMAND` a group even while it has one command."""


def main() -> None:
    """Run the command line."""
    app()
