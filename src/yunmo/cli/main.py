"""The command line: `yunmo COMMAND`. Libraries are imported when a command needs them, so that `--help` is quick."""

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from yunmo.cli import conversion, deployments, doctor, imports, jobs, keys, promotions, records, starters, transfers, translate
from yunmo.cli.documents import translate_files
from yunmo.cli.evaluate import evaluate
from yunmo.cli.output import say_error
from yunmo.cli.serve import serve
from yunmo.cli.session import client_command, examples
from yunmo.cli.train import train


class _Commands(TyperGroup):
    """All commands. With `--json`, also a wrong use of one is told as JSON."""

    def main(self, args: Sequence[str] | None = None, *given: Any, **named: Any) -> Any:
        """Run the command that the arguments name."""
        arguments = list(sys.argv[1:] if args is None else args)
        if "--json" not in arguments:
            return super().main(arguments, *given, **named)
        try:
            sys.exit(super().main(arguments, *given, **(named | {"standalone_mode": False})))
        except TyperException as error:
            say_error("wrong_use", error.format_message())
            sys.exit(error.exit_code)


app = typer.Typer(
    name="yunmo",
    cls=_Commands,
    help="Yunmo (云模): push a model, get an API, on your own machines.\n\n企业自己的大模型云：推送模型，即得接口。",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _group(name: str, text: str) -> typer.Typer:
    group = typer.Typer(name=name, help=text, no_args_is_help=True, rich_markup_mode="rich")
    app.add_typer(group)
    return group


class _Listed(TyperGroup):
    """A group that lists when none of its commands is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` where a command is missing."""
        is_named = bool(args) and (not args[0].startswith("-") or args[0] == "--help")
        return super().parse_args(ctx, args if is_named else ["list", *args])


def _version(wanted: bool) -> None:
    if wanted:
        import yunmo

        typer.echo(yunmo.__version__)
        raise typer.Exit


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False) -> None:
    """Options of every command."""


app.command(epilog=examples("yunmo serve", "yunmo serve --data /srv/yunmo --port 9000", "YUNMO_SERVING__AUTO_DEPLOY=false yunmo serve"))(
    serve
)

app.command(
    epilog=examples(
        "yunmo push ./my-model acme/my-model",
        "yunmo push ./rows acme/rows --type dataset --private",
        "yunmo push . acme/m -m 'better data'",
    )
)(client_command(transfers.push))
app.command(
    epilog=examples("yunmo pull acme/my-model", "yunmo pull acme/my-model ./here --revision v1", "yunmo pull acme/rows --type dataset")
)(client_command(transfers.pull))
app.command(
    epilog=examples(
        "yunmo convert acme/pickled",
        "YUNMO_URL=http://models.example.com YUNMO_KEY=ym_… yunmo convert acme/pickled --branch main",
    )
)(client_command(conversion.convert))
app.command(
    epilog=examples(
        "yunmo deploy echo --name echo",
        "yunmo deploy acme/my-model --replicas 2 --pin --limit requests_per_minute=600",
        "yunmo deploy acme/chat --name assistant --engine llama_cpp --option slots=4",
    )
)(client_command(deployments.deploy))
app.command(epilog=examples("yunmo undeploy echo", "yunmo undeploy acme/my-model"))(client_command(deployments.undeploy))
app.command(epilog=examples("yunmo ps", "yunmo ps --json | jq '.[].state'"))(client_command(deployments.ps))
app.command(epilog=examples("yunmo logs acme/my-model", "yunmo logs echo -n 20 --follow"))(client_command(deployments.logs))
app.command(
    epilog=examples(
        "yunmo calibrate acme/sentiment",
        "yunmo calibrate acme/sentiment --aim latency --seconds 300",
        "yunmo calibrate acme/sentiment --show --plot plans.svg",
    )
)(client_command(deployments.calibrate))
app.command(
    epilog=examples(
        "yunmo promote acme/support acme/chat-v2", "yunmo promote acme/support acme/chat@5f2c…", "yunmo promote acme/support --back"
    )
)(client_command(promotions.promote))
app.command(
    epilog=examples(
        "yunmo train classification reviews.jsonl --base acme/bert --to acme/reviews",
        "yunmo train supervised acme/talks@v2 --base acme/chat --lora 16 --epochs 3 --suffix support",
        "yunmo train seq2seq pairs.csv --base acme/en-zh --column source=en --column target=zh --no-wait --json",
        "yunmo train classification reviews.jsonl --base acme/bert --recipe recipe.yaml --set warmup=0.1",
    )
)(client_command(train))
app.command(
    epilog=examples(
        "yunmo evaluate acme/reviews classification held-out.jsonl",
        "yunmo evaluate acme/en-zh seq2seq acme/pairs@v2 --split test --column source=en --column target=zh",
        "yunmo evaluate acme/support supervised talks.jsonl --no-wait --json",
    )
)(client_command(evaluate))
app.command(epilog=examples("yunmo usage", "yunmo usage --group-by project,hour --since 2026-11-01T00:00:00Z --json"))(
    client_command(records.usage)
)
app.command(epilog=examples("yunmo audit", "yunmo audit -n 10 --json"))(client_command(records.audit))
app.command(epilog=examples("yunmo doctor", "yunmo doctor --url http://models.example.com --json"))(client_command(doctor.doctor))

_starter = _group("starter", "Small real models to begin with.\n\n入门模型。")
_starter.command("list", epilog=examples("yunmo starter list", "yunmo starter list --json"))(starters.list_models)
_starter.command("install", epilog=examples("yunmo starter install all-MiniLM-L6-v2", "yunmo starter install --all"))(
    client_command(starters.install)
)

_key = _group("key", "API keys of projects.\n\n项目的接口密钥。")
_key.command(
    "create",
    epilog=examples(
        "yunmo key create --project acme", "yunmo key create --project acme --name ci --scope infer --scope read --scope write --json"
    ),
)(client_command(keys.create))
_key.command("list", epilog=examples("yunmo key list", "yunmo key list --project acme --json"))(client_command(keys.list_keys))
_key.command("revoke", epilog=examples("yunmo key revoke 3f2a…"))(client_command(keys.revoke))

_alias = _group("alias", "Bare names that stand for repositories.\n\n仓库别名。")
_alias.command("set", epilog=examples("yunmo alias set bert-base-uncased acme/bert", "yunmo alias set imdb acme/imdb --type dataset"))(
    client_command(records.set_alias)
)
_alias.command("list", epilog=examples("yunmo alias list", "yunmo alias list --json"))(client_command(records.list_aliases))
_alias.command("remove", epilog=examples("yunmo alias remove bert-base-uncased"))(client_command(records.remove_alias))

_jobs = _group("jobs", "Durable work: batches and training.\n\n批处理和训练任务。")
_jobs.command("list", epilog=examples("yunmo jobs list", "yunmo jobs list --kind batch --state running --json"))(
    client_command(jobs.list_jobs)
)
_jobs.command("show", epilog=examples("yunmo jobs show 6f2a…", "yunmo jobs show 6f2a… --json"))(client_command(jobs.show))
_jobs.command("logs", epilog=examples("yunmo jobs logs 6f2a…", "yunmo jobs logs 6f2a… --follow"))(client_command(jobs.logs))
_jobs.command("cancel", epilog=examples("yunmo jobs cancel 6f2a…"))(client_command(jobs.cancel))
_jobs.command("pause", epilog=examples("yunmo jobs pause 6f2a…"))(client_command(jobs.pause))
_jobs.command("resume", epilog=examples("yunmo jobs resume 6f2a…"))(client_command(jobs.resume))
_jobs.command("wait", epilog=examples("yunmo jobs wait 6f2a…", "yunmo jobs wait 6f2a… --timeout 3600 --json"))(client_command(jobs.wait))

_translate = _group("translate", "Machine translation by the models that are here.\n\n机器翻译。")
_translate.command(
    "text",
    epilog=examples(
        "yunmo translate text 'Good morning' --to zh",
        "yunmo translate text --from zh --to en --json < letter.txt",
        "yunmo translate text 'The cloud is down' --to zh --model acme/chat --term cloud=云平台 --formality more",
    ),
)(client_command(translate.text))
_translate.command(
    "file",
    epilog=examples(
        "yunmo translate file manual.docx --from en --to zh",
        "yunmo translate file site/*.html --to de --output translated/ --glossary terms.tsv",
        "yunmo translate file strings.csv --from en --to fr --column text --no-wait --json",
    ),
)(client_command(translate_files))
_routes = typer.Typer(
    name="routes",
    cls=_Listed,
    help="Which model translates which pair of languages.\n\n翻译路由。",
    rich_markup_mode="rich",
)
_translate.add_typer(_routes)
_routes.command("list", epilog=examples("yunmo translate routes", "yunmo translate routes list --json"))(
    client_command(translate.list_routes)
)
_routes.command(
    "add",
    epilog=examples("yunmo translate routes add zh en acme/opus-mt-zh-en", "yunmo translate routes add '*' '*' acme/chat --priority -10"),
)(client_command(translate.add_route))
_routes.command("remove", epilog=examples("yunmo translate routes remove zh en acme/opus-mt-zh-en"))(client_command(translate.remove_route))

_import = _group("import", "What you have elsewhere.\n\n从其他平台导入。")
_import.command(
    "openai",
    epilog=examples(
        "yunmo import openai ./openai-export --base acme/chat --dry-run",
        "yunmo import openai ./openai-export --map gpt-4o-mini=acme/small --map gpt-4o=acme/large",
    ),
)(client_command(imports.import_openai))


def main() -> None:
    """Run the command line."""
    app()
