"""The converted model that a plan needs, made once in a child process and kept in the derived directory."""

import shutil
import tempfile
from pathlib import Path

from yunmo.core.engine import Progress
from yunmo.core.errors import EngineFailed
from yunmo.engines import making
from yunmo.engines.ctranslate2.converted import FOLDER, FORMAT, Converted, read_facts, versions, write_facts


def derive(directory: Path, derived: Path, progress: Progress) -> tuple[Path, Converted]:
    """The folder with the model in every precision, and the facts of its conversion.

    Raises EngineFailed, with what is wrong, if it cannot be made or came out otherwise; what failed is not tried again with
    the same libraries.
    """
    folder = derived / FOLDER
    facts = read_facts(folder)
    if facts is None:
        with making.alone(derived):
            facts = read_facts(folder) or _make(directory, folder, progress)
    if facts.problem:
        raise EngineFailed(f"The model cannot be served by CTranslate2: {facts.problem}. The engine transformers can serve it as it is.")
    return folder, facts


def _make(directory: Path, folder: Path, progress: Progress) -> Converted:
    """Convert beside the folder's place and move it there whole."""
    unfinished = Path(tempfile.mkdtemp(prefix=making.MAKING, dir=folder.parent))
    try:
        problem = _convert(directory, unfinished, progress)
        if problem:
            shutil.rmtree(unfinished)
            unfinished.mkdir()
            write_facts(unfinished, Converted(format=FORMAT, problem=problem.rstrip("."), versions=versions()))
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    facts = read_facts(folder)
    if facts is None:
        raise EngineFailed("The conversion ended without its facts. Deploy the model again.")
    return facts


def _convert(directory: Path, folder: Path, progress: Progress) -> str | None:
    return making.run("yunmo.engines.ctranslate2.convert", (str(directory), str(folder)), progress, name="conversion")
