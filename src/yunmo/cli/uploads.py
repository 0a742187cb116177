"""Files of the user's for trainings and translations: sent in parts, with a bar."""

from pathlib import Path
from typing import Any

from yunmo.cli.messages import say
from yunmo.cli.output import Failed, size_text
from yunmo.cli.session import Session, in_path

_PART_BYTES = 16 * 1024 * 1024
_PURPOSE = "fine-tune"


def upload(session: Session, path: Path, filename: str | None = None, purpose: str = _PURPOSE) -> Any:
    """The server's description of the file that was made of this one."""
    size = _size(path)
    announced = {"filename": filename or path.name, "purpose": purpose, "bytes": size, "mime_type": "application/jsonl"}
    made = session.call("POST", "/v1/uploads", json=announced)
    at = f"/v1/uploads/{in_path(made['id'])}"
    parts: list[str] = []
    sent = 0
    with path.open("rb") as source, session.output.progress(path.name) as tell:
        while content := source.read(_PART_BYTES):
            tell(f"{size_text(sent)} / {size_text(size)}", sent / size)
            parts.append(session.send_file(f"{at}/parts", "data", content)["id"])
            sent += len(content)
    return session.call("POST", f"{at}/complete", json={"part_ids": parts})["file"]


def _size(path: Path) -> int:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise Failed(say("unreadable_file", file=path, reason=error.strerror)) from error
    if size == 0:
        raise Failed(say("empty_file", file=path))
    return size
