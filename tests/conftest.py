"""Fixtures that every level of tests shares."""

from collections.abc import Callable
from pathlib import Path

import pytest

import tiny_models


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Callable[[str], Path]:
    """The directory of a tiny model by its name in `tiny_models.BUILDERS`; built once per session, so read it only."""
    root = tmp_path_factory.mktemp("tiny_models")

    def directory_of(name: str) -> Path:
        directory = root / name
        return directory if directory.exists() else tiny_models.build(name, directory)

    return directory_of
