"""`promote`."""

from typing import Annotated, Any

import typer

from yunmo.cli.messages import say
from yunmo.cli.session import Session, in_path


def promote(
    session: Session,
    name: Annotated[str, typer.Argument(help="The name that clients call.")],
    model: Annotated[str | None, typer.Argument(help="What it is to stand for: ns/name or ns/name@revision.")] = None,
    back: Annotated[bool, typer.Option("--back", help="Go back to what the name stood for before.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Promote a model that has failed its certificate, too.")] = False,
) -> None:
    """Move a name to another revision of a model, or back; the one before answers until the new one is loaded. With neither, show it.

    把一个名称切换到模型的另一版本，或一步退回；新版本加载完成之前由旧版本应答。
    """
    if back and (model or force):
        raise typer.BadParameter("--back takes no model and needs no --force.", param_hint="--back")
    path = f"/admin/deployments/{in_path(name)}"
    if back:
        view = session.call("POST", f"{path}/promote-back")
    elif model is not None:
        view = session.call("POST", f"{path}/promote", json={"model": model, "force": force})
    else:
        view = session.call("GET", f"{path}/promotion")
    session.output.result(view, "\n".join(_lines(view)))


def _lines(view: dict[str, Any]) -> list[str]:
    lines = [say("promoted", name=view["name"], model=view["model"])]
    if view["previous"]:
        lines.append(say("promoted_from", name=view["name"], previous=view["previous"]))
    if certificate := view["certificate"]:
        text = "certificate_passed" if certificate["is_passed"] else "certificate_failed"
        lines.append(say(text, **certificate))
    return lines
