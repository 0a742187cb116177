"""What this installation is and has: for `doctor`, `/health` and the admin API."""

import importlib.util
from collections.abc import Callable, Collection

import msgspec

import yunmo
from yunmo.core.engine import Hardware
from yunmo.serving.memory import MemoryBudget

_ENGINE_LIBRARIES = {
    "onnx": "onnxruntime",
    "llama_cpp": "xllamacpp",
    "vllm": "vllm",
    "whisper": "faster_whisper",
    "transformers": "transformers",
    "trainer": "peft",
}


class EngineView(msgspec.Struct, frozen=True):
    """A kind of engine and whether its library is installed."""

    name: str
    is_installed: bool


class SystemView(msgspec.Struct, frozen=True):
    """The installation at a glance."""

    version: str
    database: str
    cores: int
    memory_bytes: int
    model_memory_bytes: int
    model_memory_used_bytes: int
    engines: tuple[EngineView, ...]


class System:
    """Facts about the running server."""

    def __init__(self, hardware: Hardware, memory: MemoryBudget, database: str, engines: Callable[[], tuple[EngineView, ...]]) -> None:
        self._hardware = hardware
        self._memory = memory
        self._database = database
        self._engines = engines

    def view(self) -> SystemView:
        """The facts at this moment."""
        return SystemView(
            version=yunmo.__version__,
            database=self._database,
            cores=self._hardware.cores,
            memory_bytes=self._hardware.memory_bytes,
            model_memory_bytes=self._memory.total_bytes,
            model_memory_used_bytes=self._memory.used_bytes,
            engines=self._engines(),
        )


def look_at_engines(names: tuple[str, ...], elsewhere: Collection[str] = ()) -> tuple[EngineView, ...]:
    """Each engine and whether its library is installed, here or `elsewhere`, in an environment of its own; nothing is imported."""
    return tuple(EngineView(name, name in elsewhere or _is_installed(name)) for name in names)


def _is_installed(engine: str) -> bool:
    library = _ENGINE_LIBRARIES.get(engine)
    return library is None or importlib.util.find_spec(library) is not None
