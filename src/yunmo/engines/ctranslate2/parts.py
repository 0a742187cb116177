"""What of a repository is read by the transformers library: configuration and tokenizer, from local files, without code or pickles."""

import warnings
from pathlib import Path
from typing import Any

from yunmo.core.errors import EngineFailed

_FAULTS = (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError)


def load_config(directory: Path) -> Any:
    """The model's configuration. Raises EngineFailed if the library cannot read it."""
    return _load(directory, "AutoConfig")


def load_tokenizer(directory: Path) -> Any:
    """The repository's tokenizer. Raises EngineFailed if the library cannot read it."""
    return _load(directory, "AutoTokenizer")


def _load(directory: Path, auto_class: str) -> Any:
    import transformers

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # recommendations of further packages (sacremoses)
            return getattr(transformers, auto_class).from_pretrained(str(directory), local_files_only=True, trust_remote_code=False)
    except _FAULTS as error:
        part = auto_class.removeprefix("Auto").lower()
        raise EngineFailed(f"the model's {part} could not be loaded: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The error in one line, for people."""
    return f"{type(error).__name__}: {error}".strip().split("\n", 1)[0][:300]
