"""`yunmo serve`: the server."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def serve(
    data: Annotated[Path | None, typer.Option(help="Data directory (default ./yunmo-data).")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on (default 8000; 0 takes a free one).")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (default ./yunmo.toml, if it is there).")] = None,
) -> None:
    """Serve the hub and the models until Ctrl-C or SIGTERM.

    On the first start an admin key is made, printed once and kept in DATA/secrets/admin-key for the local commands.

    启动服务器，直到 Ctrl-C 或 SIGTERM。
    """
    import asyncio
    import logging

    import structlog
    import uvloop

    from yunmo.assembly import Started, run_server
    from yunmo.core.errors import YunmoError
    from yunmo.settings import HttpSettings, SettingsError, load_settings
    from yunmo.storage.directory import CannotStart

    def tell(started: Started) -> None:
        typer.echo(f"Yunmo is ready at {started.url}")
        if started.is_new_key:
            typer.echo(f"Admin key (shown this once, kept in {started.admin_key_file}): {started.admin_key}")
        sys.stdout.flush()

    try:
        settings = load_settings(config, data=data)
        if host is not None or port is not None:
            http = settings.http.model_copy(update={name: value for name, value in (("host", host), ("port", port)) if value is not None})
            settings = settings.model_copy(update={"http": HttpSettings.model_validate(http.model_dump())})
        level = logging.getLevelNamesMapping()[settings.log_level.upper()]
        processors: list[structlog.types.Processor] = [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level]
        processors += [structlog.processors.TimeStamper(fmt="iso"), structlog.processors.format_exc_info]
        renderer = (
            structlog.processors.JSONRenderer()
            if settings.log_format == "json"
            else structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback,  # never the values of variables: they hold prompts
            )
        )
        structlog.configure(
            processors=[*processors, renderer],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
            cache_logger_on_first_use=True,
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_server(settings, tell))
    except (SettingsError, CannotStart, YunmoError) as error:
        typer.echo(f"yunmo serve: {error}", err=True)
        raise typer.Exit(1) from error
