"""Which versions of which libraries trained, for the result's provenance."""

import platform
import sys
from importlib import metadata

import msgspec

from yunmo.core.training import VERSIONS_FILE
from yunmo.engines.trainer.workspace import Workspace

_PACKAGES = ("torch", "transformers", "accelerate", "peft", "tokenizers", "safetensors", "numpy")


def write_versions(workspace: Workspace) -> None:
    """Leave the versions of what this process has loaded as JSON, by package."""
    loaded = {name: metadata.version(name) for name in _PACKAGES if name in sys.modules}
    (workspace.root / VERSIONS_FILE).write_bytes(msgspec.json.encode({"python": platform.python_version(), **loaded}))
