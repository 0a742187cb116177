"""The real models of the starter catalogue for tests, fetched once per machine into `tests/.cache`."""

import functools
from pathlib import Path

from yunmo.cli.starter import catalogue, fetch, fetch_recording

CACHE = Path(__file__).parent / ".cache" / "starter"


@functools.cache
def minilm_directory() -> Path:
    return fetch(catalogue().model("all-MiniLM-L6-v2"), CACHE)


@functools.cache
def smollm2_directory() -> Path:
    return fetch(catalogue().model("SmolLM2-135M-Instruct"), CACHE)


@functools.cache
def whisper_directory() -> Path:
    return fetch(catalogue().model("whisper-base"), CACHE)


@functools.cache
def bergamot_directory(source: str = "en", target: str = "pt") -> Path:
    return fetch(catalogue().model(f"bergamot-{source}-{target}"), CACHE)


@functools.cache
def two_cities_recording() -> Path:
    return fetch_recording(catalogue().recording("two-cities"), CACHE)


@functools.cache
def beckett_recording() -> Path:
    return fetch_recording(catalogue().recording("beckett"), CACHE)
