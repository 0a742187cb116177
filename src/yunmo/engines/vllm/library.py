"""How vLLM is used: without its reports, its downloads and processes of its own. Told before it is imported."""

import os


def prepare(device: str) -> None:
    """Set the variables that vLLM reads when it is imported, in the worker."""
    os.environ |= {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_PLUGINS": "",  # of what else is installed, nothing is loaded into it
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process, which ends with its gateway and has one memory limit
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
    if device == "cpu":
        os.environ["VLLM_TARGET_DEVICE"] = "cpu"  # its build for processors does not find out everywhere
