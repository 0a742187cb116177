"""Fixtures that every level of tests shares."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

import tiny_models

hypothesis.settings.register_profile("yunmo", deadline=None)  # how long an example takes is the machine's
hypothesis.settings.load_profile("yunmo")
os.environ.setdefault("YUNMO_SERVING__CALIBRATE", "false")  # a minute of measuring beside each test says nothing; its own tests ask for it


@pytest.fixture(scope="session", autouse=True)
def trainers_in_this_process_keep_its_priority():
    """A trainer lowers the priority of its process for good; in this one all other tests would go with it."""
    from yunmo.engines.trainer import engine

    engine._give_way = lambda: None


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Callable[[str], Path]:
    """The directory of a tiny model by its name in `tiny_models.BUILDERS`; built once per session, so read it only."""
    root = tmp_path_factory.mktemp("tiny_models")

    def directory_of(name: str) -> Path:
        directory = root / name
        return directory if directory.exists() else tiny_models.build(name, directory)

    return directory_of


@pytest.fixture(scope="session")
def tiny_engine(tiny_model):
    """The transformers engine of a tiny model by its name; each is loaded once."""
    from yunmo.core.engine import Hardware
    from yunmo.engines.transformers.kind import describe_directory, kind

    engines = {}

    def load(name: str):
        if name not in engines:
            directory = tiny_model(name)
            offer = kind.offer(describe_directory(directory), Hardware(cores=1, memory_bytes=8 << 30))
            engines[name] = kind.load(directory, directory, offer.plan, lambda _what, _share: None)
        return engines[name]

    yield load
    for engine in engines.values():
        closing = engine.close()
        if closing is not None:
            asyncio.run(closing)


@pytest.fixture(scope="session")
def tiny_pipeline(tiny_model):
    """The library's own pipeline of a task with a tiny model."""
    from transformers import pipeline

    made = {}

    def make(task: str, name: str):
        if (task, name) not in made:
            made[task, name] = pipeline(task, model=str(tiny_model(name)))
        return made[task, name]

    return make
