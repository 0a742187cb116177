"""The environment of workers and templates: what they need of the server's, and nothing secret."""

import os
from pathlib import Path

_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "PYTHONPATH", "TMPDIR")
"""All that they get of the gateway's environment: no key, no password."""

_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime 1.29 and later report to Microsoft unless told not to, with a thread and a database
    "CI": "true",  # OpenVINO reports its import to Google, with a thread, unless it takes itself for a continuous integration's
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait by spinning take the cores from other replicas
    "OPENBLAS_NUM_THREADS": "1",  # numpy's own threads: started when it is imported, beside the threads of the plan
    "PYTHONUNBUFFERED": "1",
}


def worker_environment(home: Path) -> dict[str, str]:
    """All of the environment of a process that lives in this directory."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept | _QUIET | {"HOME": str(home), "HF_HOME": str(home / "hf")}
